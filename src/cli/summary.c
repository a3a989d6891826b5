/* summary.c - see summary.h. */
#include "cli/summary.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    char *header, *line;
};

/* The column's text and its length, or NULL. */
static const char *column(const struct row *r, const char *name, size_t *ret_length)
{
    const char *h = r->header, *l = r->line;
    for (;;) {
        size_t h_length = strcspn(h, ",\n"), l_length = strcspn(l, ",\n");
        *ret_length = l_length;
        if (strlen(name) == h_length && memcmp(h, name, h_length) == 0)
            return l;
        if (h[h_length] != ',' || l[l_length] != ',')
            return NULL;
        h += h_length + 1;
        l += l_length + 1;
    }
}

static double number(const struct row *r, const char *name)
{
    size_t length;
    const char *text = column(r, name, &length);
    return text ? strtod(text, NULL) : 0;
}

static void print_left(const struct row *r, const char *name, const char *what, bool *is_any)
{
    double mib = number(r, name) / 256;
    if (mib < 0.05)
        return;
    fprintf(stderr, "%s%.1f MiB %s", *is_any ? ", " : "; left alone: ", mib, what);
    *is_any = true;
}

static void print_row(const struct row *r)
{
    size_t length = 0;
    const char *name = column(r, "name", &length);
    bool is_any = false;
    fprintf(stderr, "process-pager: %.*s[%.0f]: of %.1f MiB found %.1f MiB left in %.1f s, %.0f faults brought "
            "pages back, %.1f MiB held for it at most, pager CPU %.2f s", (int)length, name ? name : "",
            number(r, "pid"), number(r, "found_pages") / 256, number(r, "client_evict_success") / 256,
            number(r, "wall_ms") / 1000, number(r, "faults_missing") - number(r, "faults_zero"),
            number(r, "store_held_bytes_peak") / (1 << 20),
            (number(r, "agent_cpu_ns") + number(r, "porter_cpu_ns") + number(r, "daemon_cpu_ns")) / 1e9);
    print_left(r, "left_small_pages", "in small pieces", &is_any);
    print_left(r, "left_stack_pages", "stacks", &is_any);
    print_left(r, "left_locked_pages", "locked", &is_any);
    print_left(r, "left_protected_pages", "read-only or executable", &is_any);
    print_left(r, "left_unlisted_pages", "beyond the list of ranges", &is_any);
    fprintf(stderr, "\n");
}

void summary_print(const char *csv_path)
{
    FILE *f = fopen(csv_path, "re");
    if (!f)
        return;
    struct row r = { NULL, NULL };
    size_t header_bytes = 0, line_bytes = 0;
    if (getline(&r.header, &header_bytes, f) > 0)
        while (getline(&r.line, &line_bytes, f) > 0)
            print_row(&r);
    free(r.header);
    free(r.line);
    fclose(f);
}
