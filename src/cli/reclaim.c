/* reclaim.c - process-pager reclaim: a process's memory leaves now, whatever the governor thinks. */
#include "cli/cli.h"

#include <stdio.h>
#include <sysexits.h>

#include "base/pagesize.h"
#include "cli/figures.h"
#include "cli/hand.h"

static struct {
    const char *socket_path;
    bool is_all;
    uint64_t age_ms; /* 0: not said */
} settings;

static const struct option_spec table[] = {
    { "all", 0, OPTION_FLAG, &settings.is_all, 0, 0, NULL, "everything that may leave, whatever its age" },
    { "age", 0, OPTION_TIME, &settings.age_ms, 1, 86400000, "TIME",
      "what has been idle for so long; else for the cold age" },
    CLI_SOCKET_ROW(&settings.socket_path),
    CLI_LAST_ROWS,
};

static void print_options(void)
{
    options_print_help(table);
}

static int run(int argc, char **argv)
{
    int code, first = cli_parse(&cli_reclaim, table, argc, argv, &code);
    if (first < 0)
        return code;
    if (settings.is_all && settings.age_ms)
        return cli_complain(EX_USAGE, "reclaim: --all and --age exclude each other");
    struct msg_order order = { .op = ORDER_RECLAIM, .age_ms = settings.is_all ? 0
                                                              : settings.age_ms ? settings.age_ms
                                                                                : ORDER_AGE_COLD };
    struct msg_order_done done;
    order.pid = hand_read_pid("reclaim", argc, argv, first);
    if (!order.pid)
        return EX_USAGE;
    code = hand_ask(settings.socket_path, &order, &done);
    if (code)
        return code;
    char before[16], after[16];
    printf("process %d: %s is out, %s was before\n", (int)order.pid,
           figures_size((double)pages_to_bytes(done.nr_after), after, sizeof after),
           figures_size((double)pages_to_bytes(done.nr_before), before, sizeof before));
    return fflush(stdout) ? EX_OSERR : 0;
}

const struct cli_command cli_reclaim = {
    .name = "reclaim",
    .synopsis = "[--all | --age TIME] PID",
    .about = "Takes memory of a process out now, at full rate; ends a drain's hold.",
    .run = run,
    .print_options = print_options,
};
