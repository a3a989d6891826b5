/* heaps.c - what the heaps of real programs cost when they are stored: by our codec and store, and
 * by the kernel's zram (lz4), the very same pages. Redis, Python and Node are started, given
 * records, and read (heap_programs.h); then each way of keeping pages (heap_held.h) takes them all,
 * gives every one back to be compared, and says what it held. Memory only: nothing here is timed.
 *
 * A further way is one more line in `ways`: the table and the CSV get its columns.
 *
 * Files: heaps.csv (a row a program), heaps.txt (the table that is printed); --save-pages keeps the
 * pages for other experiments, --pages takes such files instead of starting anything. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "common/options.h"
#include "csv.h"
#include "files.h"
#include "heap_held.h"
#include "heap_pages.h"
#include "heap_programs.h"
#include "zram.h"

#define QUICK_DIVISOR 20u
#define REASON_BYTES 256u
#define EXIT_SKIP 77

static struct settings {
    const char *only, *results_dir, *save_dir;
    const char *commands[HEAP_PROGRAM_NR];
    uint64_t records[HEAP_PROGRAM_NR];
    struct option_list pages;
    uint64_t seed;
    bool is_quick, with_zram;
} settings = {
    .records = { [HEAP_REDIS] = 200000, [HEAP_PYTHON] = 300000, [HEAP_NODE] = 300000 },
    .seed = 1,
    .with_zram = true,
};

/* clang-format off */
static const struct option_row rows[] = {
    { "only", OPTION_STRING, &settings.only, 0, 0, NULL, "some of redis,python,node" },
    { "redis-records", OPTION_UINT, &settings.records[HEAP_REDIS], 1, 1e9, NULL, "JSON values" },
    { "python-records", OPTION_UINT, &settings.records[HEAP_PYTHON], 1, 1e9, NULL, "dicts" },
    { "node-records", OPTION_UINT, &settings.records[HEAP_NODE], 1, 1e9, NULL, "objects" },
    { "redis", OPTION_STRING, &settings.commands[HEAP_REDIS], 0, 0, NULL, "instead of redis-server" },
    { "python", OPTION_STRING, &settings.commands[HEAP_PYTHON], 0, 0, NULL, "instead of python3" },
    { "node", OPTION_STRING, &settings.commands[HEAP_NODE], 0, 0, NULL, "instead of node" },
    { "seed", OPTION_UINT, &settings.seed, 0, 1e15, NULL, "of the records" },
    { "quick", OPTION_FLAG, &settings.is_quick, 0, 0, NULL, "a twentieth of the records" },
    { "zram", OPTION_FLAG, &settings.with_zram, 0, 0, NULL, "also through zram; needs root" },
    { "pages", OPTION_LIST, &settings.pages, 0, 0, NULL, "a file of pages, not programs" },
    { "save-pages", OPTION_STRING, &settings.save_dir, 0, 0, NULL, "keep PROGRAM.pages there" },
    { "results-dir", OPTION_STRING, &settings.results_dir, 0, 0, NULL, "where the files go" },
};
/* clang-format on */

/* The first says what the codec does with the pages; the last is what the others are measured by. */
static const struct way {
    const char *name;
    int (*hold)(const struct heap_pages *h, struct heap_held *ret, char *ret_reason,
                size_t capacity);
} ways[] = {
    { "store", heap_store_hold },
    { "tier2", heap_squeezed_hold },
    { "zram", heap_zram_hold },
};
#define WAYS_NR (sizeof ways / sizeof *ways)
#define WAY_PEER (WAYS_NR - 1)

struct row {
    char name[64], version[32];
    size_t nr_pages;
    bool has[WAYS_NR];
    struct heap_held held[WAYS_NR];
    char reason[REASON_BYTES]; /* what is missing and why; "" when nothing is */
};

/* ---- one heap */

/* 0 when every way that is there could be asked; else an exit code. */
static int ask_ways(const struct heap_pages *h, struct row *row)
{
    row->nr_pages = h->nr;
    for (size_t i = 0; i < WAYS_NR; i++) {
        if (i == WAY_PEER && !settings.with_zram)
            continue;
        int r = ways[i].hold(h, &row->held[i], row->reason, sizeof row->reason);
        row->has[i] = r == 0;
        if (r == -EOPNOTSUPP)
            continue;
        if (r)
            return EXIT_SYSTEM;
        if (row->held[i].nr_wrong) {
            snprintf(row->reason, sizeof row->reason, "%s: %llu pages came back wrong",
                     ways[i].name, (unsigned long long)row->held[i].nr_wrong);
            return EXIT_WRONG;
        }
    }
    return 0;
}

static int save(const struct heap_pages *h, struct row *row)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.pages", settings.save_dir, row->name);
    int r = folder_make(settings.save_dir);
    if (r == 0)
        r = heap_pages_save(h, path);
    if (r)
        snprintf(row->reason, sizeof row->reason, "%.200s: %s", path, strerror(-r));
    return r ? EXIT_SYSTEM : 0;
}

/* 0, EXIT_SKIP, or another exit code; but for 0 the reason is in the row. */
static int do_program(enum heap_program p, struct row *row)
{
    uint64_t nr = settings.is_quick ? settings.records[p] / QUICK_DIVISOR : settings.records[p];
    struct heap_program_spec spec = { .program = p,
                                      .command = settings.commands[p],
                                      .nr_records = nr ? nr : 1,
                                      .seed = settings.seed };
    struct heap_pages h;
    snprintf(row->name, sizeof row->name, "%s", heap_program_name(p));
    fprintf(stderr, "heaps: %s, %llu records\n", row->name, (unsigned long long)spec.nr_records);
    int r = heap_program_read(&spec, &h, row->version, row->reason, sizeof row->reason);
    if (r)
        return r == -ENOENT ? EXIT_SKIP : EXIT_SYSTEM;
    int code = settings.save_dir ? save(&h, row) : 0;
    if (code == 0)
        code = ask_ways(&h, row);
    heap_pages_free(&h);
    return code;
}

static int do_file(const char *path, struct row *row)
{
    struct heap_pages h;
    const char *slash = strrchr(path, '/');
    snprintf(row->name, sizeof row->name, "%s", slash ? slash + 1 : path);
    snprintf(row->version, sizeof row->version, "file");
    int r = heap_pages_load(path, &h);
    if (r) {
        snprintf(row->reason, sizeof row->reason, "%.200s: %s", path, strerror(-r));
        return EXIT_SYSTEM;
    }
    int code = ask_ways(&h, row);
    heap_pages_free(&h);
    return code;
}

/* ---- the table and the CSV */

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100 * (double)part / (double)whole : 0;
}

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

static double mean_blob_bytes(const struct heap_held *held)
{
    return ratio(held->payload_bytes, held->nr_blobs);
}

static void print_head(FILE *f)
{
    fprintf(f, "%-8s %-10s %8s %7s  %7s %9s %6s", "", "", "", "", "same-", "not worth", "mean");
    for (size_t i = 0; i < WAYS_NR; i++)
        fprintf(f, "  %14s", ways[i].name);
    for (size_t i = 0; i < WAY_PEER; i++)
        fprintf(f, "  %6s/%-6s", ways[i].name, ways[WAY_PEER].name);
    fprintf(f, "\n%-8s %-10s %8s %7s  %7s %9s %6s", "program", "version", "pages", "MiB",
            "filled %", "it %", "blob B");
    for (size_t i = 0; i < WAYS_NR; i++)
        fprintf(f, "  %7s %6s", "MiB", "%");
    for (size_t i = 0; i < WAY_PEER; i++)
        fprintf(f, "  %6s %6s", "held", "+table");
    fprintf(f, "\n");
}

static void print_row(FILE *f, const struct row *row)
{
    if (!row->has[0]) {
        fprintf(f, "%-8s %s\n", row->name, row->reason);
        return;
    }
    uint64_t bytes = pages_to_bytes(row->nr_pages);
    const struct heap_held *first = &row->held[0], *peer = &row->held[WAY_PEER];
    fprintf(f, "%-8s %-10s %8zu %7.1f  %8.2f %9.2f %6.0f", row->name, row->version, row->nr_pages,
            (double)bytes / 1048576, percent(first->nr_same, row->nr_pages),
            percent(first->nr_refused, row->nr_pages), mean_blob_bytes(first));
    for (size_t i = 0; i < WAYS_NR; i++)
        if (row->has[i])
            fprintf(f, "  %7.2f %6.2f", (double)row->held[i].held_bytes / 1048576,
                    percent(row->held[i].held_bytes, bytes));
        else
            fprintf(f, "  %7s %6s", "-", "-");
    for (size_t i = 0; i < WAY_PEER; i++)
        if (row->has[i] && row->has[WAY_PEER])
            fprintf(f, "  %6.3f %6.3f", ratio(row->held[i].held_bytes, peer->held_bytes),
                    ratio(row->held[i].held_bytes + row->held[i].table_bytes,
                          peer->held_bytes + peer->table_bytes));
        else
            fprintf(f, "  %6s %6s", "-", "-");
    fprintf(f, "\n");
    if (*row->reason)
        fprintf(f, "%-8s %s\n", "", row->reason);
}

static void print_table(FILE *f, const struct row *all, size_t nr)
{
    print_head(f);
    for (size_t i = 0; i < nr; i++)
        print_row(f, &all[i]);
}

/* A cell of one way: its name, the number's name. */
static void set_number(struct csv_table *t, const struct way *way, const char *name, double value,
                       int digits)
{
    char column[64];
    snprintf(column, sizeof column, "%s_%s", way->name, name);
    csv_table_set(t, column, "%.*f", digits, value);
}

static void add_way(struct csv_table *t, const struct row *row, size_t i)
{
    const struct heap_held *held = &row->held[i], *peer = &row->held[WAY_PEER];
    set_number(t, &ways[i], "held_bytes", (double)held->held_bytes, 0);
    set_number(t, &ways[i], "held_percent",
               percent(held->held_bytes, pages_to_bytes(row->nr_pages)), 2);
    set_number(t, &ways[i], "payload_bytes", (double)held->payload_bytes, 0);
    set_number(t, &ways[i], "not_worth_it_bytes", (double)held->refused_bytes, 0);
    set_number(t, &ways[i], "table_bytes", (double)held->table_bytes, 0);
    set_number(t, &ways[i], "untabled_pages", (double)held->nr_untabled, 0);
    set_number(t, &ways[i], "same_filled_pages", (double)held->nr_same, 0);
    set_number(t, &ways[i], "not_worth_it_pages", (double)held->nr_refused, 0);
    set_number(t, &ways[i], "blobs", (double)held->nr_blobs, 0);
    set_number(t, &ways[i], "mean_blob_bytes", mean_blob_bytes(held), 1);
    if (i != WAY_PEER && row->has[WAY_PEER])
        set_number(t, &ways[i], "to_zram_ratio", ratio(held->held_bytes, peer->held_bytes), 4);
}

static int write_results(const struct row *all, size_t nr)
{
    char path[PATH_MAX];
    int r = folder_make(settings.results_dir);
    struct csv_table *t = csv_table_new();
    for (size_t i = 0; i < nr; i++) {
        csv_table_add_row(t);
        csv_table_set(t, "program", "%s", all[i].name);
        csv_table_set(t, "version", "%s", all[i].version);
        csv_table_set(t, "pages", "%zu", all[i].nr_pages);
        for (size_t way = 0; way < WAYS_NR; way++)
            if (all[i].has[way])
                add_way(t, &all[i], way);
        csv_table_set(t, "reason", "%s", all[i].reason);
    }
    snprintf(path, sizeof path, "%s/heaps.csv", settings.results_dir);
    if (r == 0)
        r = csv_table_write(t, path);
    csv_table_free(t);
    snprintf(path, sizeof path, "%s/heaps.txt", settings.results_dir);
    FILE *f = r == 0 ? fopen(path, "we") : NULL;
    if (!f) {
        fprintf(stderr, "heaps: %s: %s\n", path, strerror(r ? -r : errno));
        return EXIT_SYSTEM;
    }
    print_table(f, all, nr);
    return fclose(f) ? EXIT_SYSTEM : 0;
}

/* ---- all of them */

/* Is the name one of the words? */
static bool is_listed(const char *words, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = words; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return false;
}

static bool is_wanted(enum heap_program p)
{
    return !settings.only || is_listed(settings.only, heap_program_name(p));
}

/* Every word is a program. */
static bool check_only(void)
{
    char word[32];
    for (const char *at = settings.only; at && *at; at += strcspn(at, ","), at += *at == ',') {
        bool is_known = false;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(at, ","), at);
        for (enum heap_program p = 0; p < HEAP_PROGRAM_NR; p++)
            is_known |= strcmp(word, heap_program_name(p)) == 0;
        if (!is_known) {
            fprintf(stderr, "heaps: --only: no program '%s'; there are redis, python, node\n",
                    word);
            return false;
        }
    }
    return true;
}

static int worse(int a, int b)
{
    if (a == 0 || a == EXIT_SKIP)
        return b == 0 || b == EXIT_SKIP ? 0 : b;
    return a;
}

static int run_all(struct row *all, size_t *ret_nr)
{
    int code = 0;
    size_t nr = 0, nr_skipped = 0;
    for (size_t i = 0; i < settings.pages.count && !children_stop_signal(); i++, nr++)
        code = worse(code, do_file(settings.pages.items[i], &all[nr]));
    for (enum heap_program p = 0; p < HEAP_PROGRAM_NR && !children_stop_signal(); p++)
        if (!settings.pages.count && is_wanted(p)) {
            int c = do_program(p, &all[nr++]);
            nr_skipped += c == EXIT_SKIP;
            code = worse(code, c);
        }
    *ret_nr = nr;
    return nr && nr == nr_skipped ? EXIT_SKIP : code;
}

int main(int argc, char **argv)
{
    const struct option_table table = {
        .program = "heaps",
        .about = "Stored bytes of real heaps: our store and zram (lz4), the same pages.",
        .rows = { rows },
        .nr_rows = { sizeof rows / sizeof *rows },
    };
    switch (options_parse(&table, argc, argv)) {
    case OPTIONS_DONE: return 0;
    case OPTIONS_BAD:  return EXIT_USAGE;
    case OPTIONS_RUN:  break;
    }
    if (!check_only())
        return EXIT_USAGE;
    children_catch_signals();
    (void)signal(SIGPIPE, SIG_IGN); /* a program that ends while it is fed is an error, not our end */
    if (settings.with_zram)
        (void)zram_recover(); /* nothing was left, or the next begin says what is wrong */

    static struct row all[OPTION_LIST_MAX + HEAP_PROGRAM_NR];
    size_t nr;
    int code = run_all(all, &nr);
    if (code == EXIT_SKIP) {
        printf("SKIP: %s\n", all[0].reason);
        return EXIT_SKIP;
    }
    print_table(stdout, all, nr);
    int r = settings.results_dir ? write_results(all, nr) : 0;
    return children_stop_signal() ? 128 + children_stop_signal() : code ? code : r;
}
