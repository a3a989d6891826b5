/* doctor.c - process-pager doctor: will `run` work here, for this user, and what mends what is missing? */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/probes.h"

static const char *socket_path;

static const struct option_spec table[] = {
    CLI_SOCKET_ROW(&socket_path),
    CLI_LAST_ROWS,
};

static void print_options(void)
{
    options_print_help(table);
}

static void examine(struct exam *e)
{
    char *json = NULL;
    *e = (struct exam){ .daemon_error = ask_status(socket_path, &json) };
    features_find(&e->features);
    e->status = json ? cJSON_Parse(json) : NULL;
    free(json);
}

/* True: it is missing. */
static bool report(const struct probe *p, const struct exam *e)
{
    char what_was[512] = "";
    enum finding finding = p->look(e, what_was, sizeof what_was);
    bool is_missing = finding == FOUND_MISSING;
    printf("%-4s %-22s %s\n", !is_missing ? finding == FOUND ? "yes" : "?" : p->is_needed ? "NO" : "no",
           p->what, what_was);
    if (is_missing)
        printf("       why   %s\n       mend  %s\n", p->why, p->remedy);
    return is_missing;
}

static int run(int argc, char **argv)
{
    int code, first = cli_parse(&cli_doctor, table, argc, argv, &code);
    if (first < 0)
        return code;
    if (first < argc)
        return cli_complain(EX_USAGE, "doctor: '%s' is one word too many", argv[first]);
    struct exam e;
    unsigned nr_missing = 0, nr_rights = 0;
    examine(&e);
    printf("kernel %s, user %d\n", e.features.release, (int)geteuid());
    for (size_t i = 0; i < probes_nr; i++) {
        bool is_missing = report(&probes[i], &e) && probes[i].is_needed;
        nr_missing += is_missing;
        nr_rights += is_missing && probes[i].is_right;
    }
    cJSON_Delete(e.status);
    if (nr_missing)
        printf("process-pager run will not work: %u of what it needs is missing (NO above)\n", nr_missing);
    else
        printf("process-pager run will work\n");
    if (fflush(stdout))
        return EX_OSERR;
    return !nr_missing ? 0 : nr_missing == nr_rights ? EX_NOPERM : EX_UNAVAILABLE;
}

const struct cli_command cli_doctor = {
    .name = "doctor",
    .synopsis = "[options]",
    .about = "What this kernel and this user can do; exit code 0 if run will work.",
    .run = run,
    .print_options = print_options,
};
