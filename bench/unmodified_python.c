/* unmodified_python.c - a Python program that has read some data, keeps it and does nothing; after a while it
 * goes through all of it, twice. What it reads comes through a FIFO: records, an empty line, then "walk". */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/options.h"
#include "common/pace.h"
#include "files.h"
#include "heap_feed.h"
#include "heap_records.h"
#include "unmodified.h"

#define NS_PER_S UINT64_C(1000000000)
#define PATIENCE_NS (300 * NS_PER_S)
#define RECORDS_A_LINE 100u
/* What a record of 544 bytes of JSON takes in Python 3.11: dicts, lists, strings, numbers. */
#define BYTES_A_RECORD 2220u
#define IDLE_PLAIN_NS (6 * NS_PER_S)  /* nothing happens in it */
#define IDLE_ZRAM_NS (30 * NS_PER_S)  /* until as much has left as is wished */
#define CPU_WINDOW_NS (20 * NS_PER_S) /* after the idle time, with nobody looking */

/* clang-format off */
static const char script[] =
    "import hashlib, json, sys, time\n"
    "kept = []\n"
    "def walk():\n"
    "    begin, h = time.perf_counter(), hashlib.blake2b(digest_size=8)\n"
    "    for record in kept:\n"
    "        h.update(json.dumps(record).encode())\n"
    "    print('walk', time.perf_counter() - begin, h.hexdigest(), flush=True)\n"
    "with open(sys.argv[1]) as lines:\n"
    "    for line in lines:\n"
    "        if line == 'walk\\n':\n"
    "            walk()\n"
    "        elif line == '\\n':\n"
    "            print('ready', len(kept), flush=True)\n"
    "        else:\n"
    "            kept.extend(json.loads(line))\n"
    "print('end', flush=True)\n";
/* clang-format on */

static int feed_records(const struct unmodified *m, struct heap_feed *feed)
{
    uint64_t nr = m->bytes / BYTES_A_RECORD;
    int r = 0;
    for (uint64_t i = 0; r == 0 && i < nr; i++) {
        char record[HEAP_RECORD_MAX];
        size_t length = heap_record_write(m->seed, i, 0, record);
        r = heap_feed_write(feed, i % RECORDS_A_LINE ? "," : "[", 1);
        if (r == 0)
            r = heap_feed_write(feed, record, length);
        if (r == 0 && (i % RECORDS_A_LINE == RECORDS_A_LINE - 1 || i == nr - 1))
            r = heap_feed_write(feed, "]\n", 2);
    }
    return r;
}

/* Says a line, and waits for the answer that begins with `word`, the nr-th of its kind; the rest of it. */
static int ask(struct under *u, struct heap_feed *feed, const char *line, const char *word, unsigned nr,
               char ret_answer[64])
{
    char path[PATH_MAX];
    under_path(u, "program.out", path);
    feed->until_ns = pace_now_ns() + PATIENCE_NS;
    int r = heap_feed_write(feed, line, strlen(line));
    if (r == 0)
        r = heap_feed_flush(feed);
    while (r == 0) {
        char *text = file_read(path), *at = text;
        unsigned seen = 0;
        while (at && (at = strstr(at, word)) && seen++ < nr)
            at += strlen(word);
        bool has = at && strchr(at, '\n');
        if (has)
            (void)sscanf(at + strlen(word), " %63[^\n]", ret_answer);
        free(text);
        if (has)
            return 0;
        if (child_wait_until(&u->program, pace_now_ns() + 5000000, &u->program_code) != CHILD_RUNS)
            r = -ESRCH;
        else if (pace_now_ns() > feed->until_ns)
            r = -ETIMEDOUT;
    }
    return r;
}

static uint64_t idle_ns(const struct unmodified *m, const struct under *u)
{
    switch (u->arm) {
    case UNDER_PLAIN: return IDLE_PLAIN_NS;
    case UNDER_ZRAM:  return IDLE_ZRAM_NS;
    case UNDER_PAGER:
    case UNDER_NR:    break;
    }
    return m->idle_ns;
}

/* Idle, then idle without anybody looking, then the walks. */
static int measure(struct unmodified *m, struct under *u, struct heap_feed *feed)
{
    char answer[64], digest[24] = "", again[24] = "";
    double first = 0, second = 0;
    if (!under_look_until(u, pace_now_ns() + idle_ns(m, u), true))
        return under_fail(u, EXIT_SYSTEM, "python3", "has ended");
    uint64_t paid_kib = under_paid_kib(u), cpu_ns = under_cpu_ns(u);
    if (u->arm == UNDER_PAGER) {
        m->paid_kib = paid_kib;
        if (child_wait_until(&u->program, pace_now_ns() + CPU_WINDOW_NS, &u->program_code) != CHILD_RUNS)
            return under_fail(u, EXIT_SYSTEM, "python3", "has ended");
        cpu_ns = under_cpu_ns(u) - cpu_ns;
        (void)under_look(u, false);
    }
    int r = ask(u, feed, "walk\n", "walk", 0, answer);
    if (r == 0 && sscanf(answer, "%lf %23s", &first, digest) == 2)
        r = ask(u, feed, "walk\n", "walk", 1, answer);
    if (r || sscanf(answer, "%lf %23s", &second, again) != 2)
        return under_fail(u, EXIT_SYSTEM, "python3", r ? strerror(-r) : "has said nothing");
    unmodified_row(m, u, 0);
    csv_table_set(m->table, "paid_mib", "%.1f", (double)paid_kib / 1024);
    if (u->arm == UNDER_PAGER) {
        csv_table_set(m->table, "paid_later_mib", "%.1f", (double)under_paid_kib(u) / 1024);
        csv_table_set(m->table, "idle_cpu_percent", "%.3f", (double)cpu_ns / (double)CPU_WINDOW_NS * 100);
    }
    csv_table_set(m->table, "first_walk_s", "%.3f", first);
    csv_table_set(m->table, "second_walk_s", "%.3f", second);
    csv_table_set(m->table, "digest", "%s", digest);
    static char first_digest[24]; /* all arms read the same */
    if (!*first_digest)
        (void)snprintf(first_digest, sizeof first_digest, "%s", digest);
    return strcmp(digest, again) || strcmp(digest, first_digest)
               ? under_fail(u, EXIT_WRONG, "python3", "its data has changed")
               : 0;
}

int unmodified_python(struct unmodified *m, struct under *u)
{
    char fifo[PATH_MAX], answer[64];
    static struct heap_feed feed;
    under_path(u, "records", fifo);
    u->wanted_kib = m->paid_kib;
    if (mkfifo(fifo, 0600))
        return under_fail(u, EXIT_SYSTEM, fifo, strerror(errno));
    int code = under_start(u, (const char *[]){ "/usr/bin/python3", "-c", script, fifo, NULL });
    if (code)
        return code;
    int r = heap_feed_open_fifo(&feed, fifo, &u->program, pace_now_ns() + PATIENCE_NS, &u->program_code);
    if (r)
        return under_fail(u, EXIT_SYSTEM, "python3", strerror(-r));
    r = feed_records(m, &feed);
    if (r == 0)
        r = ask(u, &feed, "\n", "ready", 0, answer);
    code = r ? under_fail(u, EXIT_SYSTEM, "python3", strerror(-r)) : measure(m, u, &feed);
    heap_feed_close(&feed);
    uint64_t until_ns = pace_now_ns() + PATIENCE_NS; /* it has seen the end of the FIFO */
    if (code == 0 && child_wait_until(&u->program, until_ns, &u->program_code) != CHILD_ENDED)
        code = under_fail(u, EXIT_SYSTEM, "python3", "does not end");
    if (code == 0 && u->program_code)
        code = under_fail(u, EXIT_SYSTEM, "python3", "did not end well");
    return code;
}
