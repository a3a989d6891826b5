/* plot.c - plots and report of an existing results directory, also of one cut short. */
#include <stdio.h>
#include <string.h>

#include "child.h"
#include "plots.h"
#include "report.h"

#define EXIT_USAGE 64
#define EXIT_SYSTEM 71

static int tell(const char *what, int r)
{
    if (r < 0)
        fprintf(stderr, "plot: %s: %s\n", what, strerror(-r));
    return r;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        puts(
            "usage: plot RESULTS_DIR\n\nDraws RESULTS_DIR/plots/ from all_runs_long.csv and runs/, "
            "and writes report.html.");
        return 0;
    }
    if (argc != 2 || argv[1][0] == '-') {
        fputs("usage: plot RESULTS_DIR (see --help)\n", stderr);
        return EXIT_USAGE;
    }
    children_catch_signals();
    int plots = tell("plots", plots_write(argv[1]));
    int report = children_stop_signal() == 0 ? tell("report.html", report_write(argv[1])) : 0;
    if (children_stop_signal() != 0)
        return 128 + children_stop_signal();
    return plots < 0 || report < 0 ? EXIT_SYSTEM : 0;
}
