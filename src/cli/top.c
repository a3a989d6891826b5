/* top.c - process-pager top: the status, live. Asks the daemon anew for each picture; one that has gone
 * may come again. */
#include "cli/cli.h"

#include <ncurses.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <term.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/figures.h"

#define NO_TERMINAL 2 /* the exit code */

static struct {
    const char *socket_path;
    uint64_t interval_ms;
} settings = { .interval_ms = 1000 };

static const struct option_spec table[] = {
    { "interval", 0, OPTION_TIME, &settings.interval_ms, 100, 3600000, "TIME", "between two pictures" },
    CLI_SOCKET_ROW(&settings.socket_path),
    CLI_LAST_ROWS,
};

/* Asked first: what newterm() has begun for a terminal that it does not know stays in memory. */
static bool is_known_terminal(void)
{
    int error;
    if (setupterm(NULL, STDOUT_FILENO, &error) != OK)
        return false;
    (void)del_curterm(cur_term);
    return true;
}

static void print_options(void)
{
    options_print_help(table);
}

/* ---- order of the rows; qsort(3) has no room for a context */

static const struct figures_column *sort_column;
static bool is_reversed;

/* Texts and PIDs upwards, amounts downwards, and the other way round after the same key again. */
static int compare(const void *a, const void *b)
{
    const struct session_figures *one = a, *two = b;
    int r;
    if (sort_column->value) {
        double x = sort_column->value(one), y = sort_column->value(two);
        r = x < y ? 1 : x > y ? -1 : 0;
        r = sort_column->key == 'p' ? -r : r;
    } else {
        char x[32], y[32];
        sort_column->write(one, x, sizeof x);
        sort_column->write(two, y, sizeof y);
        r = strcmp(x, y);
    }
    if (r == 0)
        return (one->pid > two->pid) - (one->pid < two->pid);
    return is_reversed ? -r : r;
}

/* False: the key sorts by nothing. */
static bool choose_column(int key)
{
    for (size_t i = 0; i < figures_columns_nr; i++)
        if (figures_columns[i].key == key) {
            is_reversed = sort_column == &figures_columns[i] && !is_reversed;
            sort_column = &figures_columns[i];
            return true;
        }
    return false;
}

/* ---- the picture: a line about the daemon, the titles, the rows, the keys */

static void draw_line(int y, const char *text)
{
    (void)mvaddnstr(y, 0, text, COLS); /* ERR: the window is smaller than that */
}

/* The titles, with that of the column which sorts standing out. */
static void draw_titles(int y)
{
    char line[256];
    int x = 0;
    figures_row(NULL, line, sizeof line);
    (void)attron(A_REVERSE);
    draw_line(y, line);
    (void)attroff(A_REVERSE);
    for (size_t i = 0; i < figures_columns_nr; i++) {
        int width = abs(figures_columns[i].width);
        if (&figures_columns[i] == sort_column && x < COLS)
            (void)mvchgat(y, x, width, A_BOLD, 0, NULL);
        x += width + 1;
    }
}

static void draw_keys(int y)
{
    char line[256] = "q:quit";
    size_t used = strlen(line);
    for (size_t i = 0; i < figures_columns_nr && used < sizeof line; i++)
        used += (size_t)snprintf(line + used, sizeof line - used, " %c:%s", figures_columns[i].key,
                                 figures_columns[i].title);
    draw_line(y, line);
}

static void draw(struct figures *f)
{
    char line[256];
    if (f)
        figures_headline(f, line, sizeof line);
    else
        (void)snprintf(line, sizeof line, "no daemon answers; asking again");
    (void)erase();
    draw_line(0, line);
    draw_titles(1);
    if (f)
        qsort(f->sessions, f->nr, sizeof *f->sessions, compare);
    for (size_t i = 0; f && i < f->nr && (int)i < LINES - 3; i++) {
        figures_row(&f->sessions[i], line, sizeof line);
        draw_line((int)i + 2, line);
    }
    if (LINES > 3)
        draw_keys(LINES - 1);
    (void)refresh();
}

/* ---- */

static volatile sig_atomic_t must_end;

static void on_signal(int number)
{
    (void)number;
    must_end = 1;
}

/* Keys until the next picture is due, or another size wants one: a key that sorts draws the same figures
 * anew. */
static void show_once(void)
{
    struct figures figures;
    bool is_there = ask_figures(settings.socket_path, &figures) == 0;
    int key;
    do {
        draw(is_there ? &figures : NULL);
        key = getch();
        if (key == 'q')
            must_end = 1;
    } while (!must_end && choose_column(key));
    if (is_there)
        figures_free(&figures);
}

/* Ends as if q had been pressed: the terminal must be as it was. */
static void take_signals(void)
{
    struct sigaction end = { .sa_handler = on_signal };
    (void)sigaction(SIGINT, &end, NULL);
    (void)sigaction(SIGTERM, &end, NULL);
    (void)sigaction(SIGHUP, &end, NULL);
}

static int run(int argc, char **argv)
{
    int code, first = cli_parse(&cli_top, table, argc, argv, &code);
    if (first < 0)
        return code;
    if (first < argc)
        return cli_complain(EX_USAGE, "top: '%s' is one word too many", argv[first]);
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return cli_complain(NO_TERMINAL, "top needs a terminal: use process-pager status");
    char *json;
    int r = ask_status(settings.socket_path, &json);
    if (r)
        return ask_complain(r);
    free(json);
    SCREEN *screen = is_known_terminal() ? newterm(NULL, stdout, stdin) : NULL;
    if (!screen)
        return cli_complain(NO_TERMINAL, "top does not know this terminal: set TERM, for example to xterm");
    take_signals();
    (void)cbreak();
    (void)noecho();
    (void)curs_set(0);
    timeout((int)settings.interval_ms);
    (void)choose_column('o');
    while (!must_end)
        show_once();
    (void)endwin();
    delscreen(screen);
    return 0;
}

const struct cli_command cli_top = {
    .name = "top",
    .synopsis = "[options]",
    .about = "The status, live, on a terminal; sorted by the key that a column has.",
    .run = run,
    .print_options = print_options,
};
