/* heap_programs.c - see heap_programs.h. */
#include "heap_programs.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "common/pace.h"
#include "files.h"
#include "heap_feed.h"
#include "heap_records.h"

#define PATIENCE_NS (300 * UINT64_C(1000000000)) /* for all of a program's loading: some 20 s */
#define END_PATIENCE_NS (5 * UINT64_C(1000000000))
#define VERSION_PATIENCE_NS (20 * UINT64_C(1000000000))
#define SETTLE_NS (500 * UINT64_C(1000000)) /* what is done behind the loading: a collection, frees */
#define LOOK_NS (20 * UINT64_C(1000000))
#define RECORDS_A_LINE 100u
#define COMMANDS_A_BATCH 500u /* sent before their answers are read: no buffer fills up */
#define REWRITTEN_EVERY 10u

/* clang-format off */
static const char python_script[] =
    "import json, sys, time\n"
    "kept = {}\n"
    "with open(sys.argv[1]) as lines:\n"
    "    for line in lines:\n"
    "        for record in json.loads(line):\n"
    "            kept[record['id']] = record\n"
    "print('ready', len(kept), flush=True)\n"
    "while True:\n"
    "    time.sleep(60)\n";

static const char node_script[] =
    "const kept = new Map();\n"
    "const input = require('fs').createReadStream(process.argv[1]);\n"
    "const lines = require('readline').createInterface({ input });\n"
    "lines.on('line', line => { for (const r of JSON.parse(line)) kept.set(r.id, r); });\n"
    "lines.on('close', () => {\n"
    "    process.stdout.write(`ready ${kept.size}\\n`);\n"
    "    setInterval(() => kept.size, 60000);\n"
    "});\n";
/* clang-format on */

struct run {
    const struct heap_program_spec *spec;
    const char *command;
    struct child child;
    struct heap_feed feed;
    int code; /* how the child has ended, if it has */
    char folder[48], fifo[64], socket[64], out[64];
    char *reason;
    size_t capacity;
};

struct program {
    const char *name, *command, *package;
    int (*start)(struct run *run);
    int (*load)(struct run *run);
};

/* The reason, and the error for the caller to return. */
__attribute__((format(printf, 3, 4))) static int say(const struct run *run, int r,
                                                     const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(run->reason, run->capacity, format, args);
    va_end(args);
    return r;
}

static int start(struct run *run, char *const *argv, int end_signal)
{
    struct child_spec spec = {
        .argv = argv, .stdout_path = run->out, .stderr_path = run->out, .end_signal = end_signal
    };
    int r = child_start(&spec, &run->child);
    return r ? say(run, r, "%s: %s", run->command, strerror(-r)) : 0;
}

static int say_feed(const struct run *run, int r, const char *what)
{
    char line[128];
    file_last_line(run->out, line, sizeof line);
    if (r == -ESRCH)
        return say(run, r, "%s ended with code %d: %s", run->command, run->code, line);
    return say(run, r, "%s: %s: %s", run->command, what, strerror(-r));
}

/* ---- redis */

static int start_redis(struct run *run)
{
    /* clang-format off */
    char *argv[] = { (char *)run->command, "--port", "0", "--unixsocket", run->socket,
                     "--unixsocketperm", "700", "--save", "", "--appendonly", "no",
                     "--daemonize", "no", "--dir", run->folder, NULL };
    /* clang-format on */
    return start(run, argv, SIGKILL); /* it has nothing to save */
}

static int send_set(struct run *run, uint64_t index, unsigned version)
{
    char record[HEAP_RECORD_MAX], head[96], key[32];
    size_t size = heap_record_write(run->spec->seed, index, version, record);
    int key_size = snprintf(key, sizeof key, "record:%llu", (unsigned long long)index);
    int head_size = snprintf(head, sizeof head, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%zu\r\n",
                             key_size, key, size);
    int r = heap_feed_write(&run->feed, head, (size_t)head_size);
    if (r == 0)
        r = heap_feed_write(&run->feed, record, size);
    return r ? r : heap_feed_write(&run->feed, "\r\n", 2);
}

/* Each answer must be "+OK\r\n". */
static int take_answers(struct run *run, uint64_t nr)
{
    static const char expected[] = "+OK\r\n";
    char answers[4096];
    for (uint64_t taken = 0; taken < nr * 5;) {
        size_t n;
        int r = heap_feed_read(&run->feed, answers, sizeof answers, &n);
        if (r)
            return r;
        for (size_t i = 0; i < n; i++, taken++)
            if (answers[i] != expected[taken % 5])
                return -EPROTO;
    }
    return 0;
}

static int send_sets(struct run *run, uint64_t every, unsigned version)
{
    uint64_t sent = 0;
    int r = 0;
    for (uint64_t i = 0; r == 0 && i < run->spec->nr_records; i += every) {
        r = send_set(run, i, version);
        if (r == 0 && (++sent == COMMANDS_A_BATCH || i + every >= run->spec->nr_records)) {
            r = heap_feed_flush(&run->feed);
            if (r == 0)
                r = take_answers(run, sent);
            sent = 0;
        }
    }
    return r;
}

static int load_redis(struct run *run)
{
    int r = heap_feed_open_socket(&run->feed, run->socket, &run->child, pace_now_ns() + PATIENCE_NS,
                                  &run->code);
    if (r == 0)
        r = send_sets(run, 1, 0);
    if (r == 0)
        r = send_sets(run, REWRITTEN_EVERY, 1);
    heap_feed_close(&run->feed);
    return r ? say_feed(run, r, "loading") : 0;
}

/* ---- python, node */

static int start_python(struct run *run)
{
    char *argv[] = { (char *)run->command, "-c", (char *)python_script, run->fifo, NULL };
    return start(run, argv, SIGKILL);
}

static int start_node(struct run *run)
{
    char *argv[] = { (char *)run->command, "-e", (char *)node_script, run->fifo, NULL };
    return start(run, argv, SIGKILL);
}

static int send_lines(struct run *run)
{
    char record[HEAP_RECORD_MAX];
    int r = 0;
    for (uint64_t i = 0; r == 0 && i < run->spec->nr_records; i++) {
        bool is_first = i % RECORDS_A_LINE == 0;
        bool is_last = i % RECORDS_A_LINE == RECORDS_A_LINE - 1 || i + 1 == run->spec->nr_records;
        size_t size = heap_record_write(run->spec->seed, i, 0, record);
        r = heap_feed_write(&run->feed, is_first ? "[" : ",", 1);
        if (r == 0)
            r = heap_feed_write(&run->feed, record, size);
        if (r == 0 && is_last)
            r = heap_feed_write(&run->feed, "]\n", 2);
    }
    return r ? r : heap_feed_flush(&run->feed);
}

static int wait_until_ready(struct run *run)
{
    char line[64], expected[64];
    snprintf(expected, sizeof expected, "ready %llu", (unsigned long long)run->spec->nr_records);
    for (;;) {
        switch (child_wait_until(&run->child, pace_now_ns() + LOOK_NS, &run->code)) {
        case CHILD_ENDED:       return -ESRCH;
        case CHILD_INTERRUPTED: return -EINTR;
        case CHILD_RUNS:        break;
        }
        file_last_line(run->out, line, sizeof line);
        if (strcmp(line, expected) == 0)
            return 0;
        if (pace_now_ns() > run->feed.until_ns)
            return -ETIMEDOUT;
    }
}

static int load_script(struct run *run)
{
    int r = heap_feed_open_fifo(&run->feed, run->fifo, &run->child, pace_now_ns() + PATIENCE_NS,
                                &run->code);
    if (r == 0)
        r = send_lines(run);
    heap_feed_close(&run->feed);
    if (r == 0 || r == -EPIPE)
        r = wait_until_ready(run);
    return r ? say_feed(run, r, "loading") : 0;
}

static const struct program programs[HEAP_PROGRAM_NR] = {
    [HEAP_REDIS] = { "redis", "redis-server", "redis-server", start_redis, load_redis },
    [HEAP_PYTHON] = { "python", "python3", "python3", start_python, load_script },
    [HEAP_NODE] = { "node", "node", "nodejs", start_node, load_script },
};

const char *heap_program_name(enum heap_program p)
{
    return programs[p].name;
}

/* ---- what all have in common */

/* The first word that begins with a digit, with "v" or "v=" before it or not. */
static void find_version(const char *line, char ret_version[32])
{
    for (const char *word = line; *word; word += strcspn(word, " "), word += *word == ' ') {
        const char *at = word + (*word == 'v');
        at += *at == '=';
        if (isdigit((unsigned char)*at)) {
            snprintf(ret_version, 32, "%.*s", (int)strcspn(at, " \n"), at);
            return;
        }
    }
    snprintf(ret_version, 32, "unknown");
}

static int ask_version(struct run *run, char ret_version[32])
{
    char *argv[] = { (char *)run->command, "--version", NULL };
    int r = start(run, argv, SIGTERM);
    if (r)
        return r;
    int code = 127;
    enum child_state state =
        child_wait_until(&run->child, pace_now_ns() + VERSION_PATIENCE_NS, &code);
    child_end(&run->child, END_PATIENCE_NS);
    if (state == CHILD_INTERRUPTED)
        return say(run, -EINTR, "interrupted");
    const struct program *p = &programs[run->spec->program];
    if (state != CHILD_ENDED || code)
        return say(run, -ENOENT, "needs %s: apt-get install %s", run->command, p->package);
    char line[256];
    file_last_line(run->out, line, sizeof line);
    find_version(line, ret_version);
    return 0;
}

/* Stops all its threads; returns when they have stopped. */
static int stop(struct run *run)
{
    int status;
    if (kill(run->child.pid, SIGSTOP))
        return say(run, -errno, "%s: SIGSTOP: %s", run->command, strerror(errno));
    for (uint64_t until_ns = pace_now_ns() + END_PATIENCE_NS; pace_now_ns() < until_ns;) {
        pid_t pid = waitpid(run->child.pid, &status, WUNTRACED | WNOHANG);
        if (pid == run->child.pid && WIFSTOPPED(status))
            return 0;
        if (pid != 0 && !(pid < 0 && errno == EINTR)) {
            close(run->child.pidfd); /* it has ended, and is gone */
            run->child = (struct child){ .pidfd = -1 };
            return say(run, -ESRCH, "%s ended before it was read", run->command);
        }
        pace_sleep_until_ns(pace_now_ns() + 1000000);
    }
    return say(run, -ETIMEDOUT, "%s does not stop", run->command);
}

/* Do the pages hold what the program was given? Asked of three records' ids, each of which is one
 * string of bytes in all three programs. */
static int look_for_records(const struct run *run, const struct heap_pages *h)
{
    uint64_t last = run->spec->nr_records - 1, asked[] = { 0, last / 2, last };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        char id[HEAP_RECORD_ID_BYTES];
        heap_record_id(run->spec->seed, asked[i], id);
        if (!memmem(h->bytes, pages_to_bytes(h->nr), id, strlen(id)))
            return say(run, -EBADMSG, "record %llu is not in the pages of %s",
                       (unsigned long long)asked[i], run->command);
    }
    return 0;
}

static int build_and_read(struct run *run, struct heap_pages *ret_pages)
{
    const struct program *p = &programs[run->spec->program];
    int r = p->start(run);
    if (r == 0)
        r = p->load(run);
    if (r == 0 &&
        child_wait_until(&run->child, pace_now_ns() + SETTLE_NS, &run->code) != CHILD_RUNS)
        r = say(run, children_stop_signal() ? -EINTR : -ESRCH, "%s ended too early", run->command);
    if (r == 0)
        r = stop(run);
    if (r)
        return r;
    r = heap_pages_read(run->child.pid, ret_pages);
    if (r)
        return say(run, r, "reading %s: %s", run->command, strerror(-r));
    r = look_for_records(run, ret_pages);
    if (r)
        heap_pages_free(ret_pages);
    return r;
}

int heap_program_read(const struct heap_program_spec *spec, struct heap_pages *ret_pages,
                      char ret_version[32], char *ret_reason, size_t capacity)
{
    struct run run = { .spec = spec,
                       .command = spec->command ? spec->command : programs[spec->program].command,
                       .child = { .pidfd = -1 },
                       .feed = { .fd = -1 },
                       .reason = ret_reason,
                       .capacity = capacity };
    snprintf(run.folder, sizeof run.folder, "/tmp/process-pager-heaps.XXXXXX");
    if (!mkdtemp(run.folder))
        return say(&run, -errno, "%s: %s", run.folder, strerror(errno));
    snprintf(run.fifo, sizeof run.fifo, "%s/records", run.folder);
    snprintf(run.socket, sizeof run.socket, "%s/socket", run.folder);
    snprintf(run.out, sizeof run.out, "%s/out", run.folder);
    int r = mkfifo(run.fifo, 0600) ? say(&run, -errno, "%s: %s", run.fifo, strerror(errno)) : 0;
    if (r == 0)
        r = ask_version(&run, ret_version);
    if (r == 0)
        r = build_and_read(&run, ret_pages);
    child_end(&run.child, END_PATIENCE_NS);
    (void)unlink(run.fifo);
    (void)unlink(run.socket);
    (void)unlink(run.out);
    (void)rmdir(run.folder);
    return r;
}
