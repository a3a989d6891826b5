/* run.c - see run.h. The command takes this process's place, so there is nothing between it and its caller:
 * its signals, exit code, terminal and parent are what they would be without us. */
#include "cli/run.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"
#include "cli/ask.h"
#include "cli/keeper.h"
#include "cli/library.h"
#include "cli/program.h"
#include "preload/settings.h"
#include "sys/uffd.h"

/* As env(1) and timeout(1). */
#define EXIT_OURS 125
#define EXIT_NOT_RUNNABLE 126
#define EXIT_NOT_FOUND 127

struct run_settings {
    const char *slowdown, *promotion_rate, *resident, *cold_age, *heat; /* the daemon's */
    const char *exclude, *socket_path;
    uint64_t min_range_bytes, start_after_ms;
    bool has_stats, is_private, is_strict, wants_help;
};

#define OPTIONS_NR 14

static void make_table(struct run_settings *s, struct option_spec ret_table[OPTIONS_NR])
{
    const struct option_spec table[OPTIONS_NR] = {
        /* clang-format off */
        { "slowdown", 0, OPTION_TEXT, &s->slowdown, 0, 0, "SHARE",
          "how much slower the program may become (a daemon of its own)" },
        { "promotion-rate", 0, OPTION_TEXT, &s->promotion_rate, 0, 0, "SHARE",
          "and how much of what is touched may be wanted back (a daemon of its own)" },
        { "resident", 0, OPTION_TEXT, &s->resident, 0, 0, "SIZE",
          "how much of its memory shall stay (a daemon of its own)" },
        { "cold-age", 0, OPTION_TEXT, &s->cold_age, 0, 0, "TIME",
          "pages untouched for so long may leave (a daemon of its own)" },
        { "heat", 0, OPTION_TEXT, &s->heat, 0, 0, "auto|damon|scan",
          "what tells cold pages (a daemon of its own)" },
        { "min-range", 0, OPTION_SIZE, &s->min_range_bytes, 4096, (uint64_t)1 << 40, "SIZE",
          "smaller pieces of memory stay; 16 times as much begins it" },
        { "start-after", 0, OPTION_TIME, &s->start_after_ms, 0, 3600000, "TIME",
          "processes that live shorter are left alone" },
        { "exclude-program", 0, OPTION_TEXT, &s->exclude, 0, 0, "NAME,...",
          "programs of these names are left alone; their children are not" },
        { "stats-on-exit", 0, OPTION_FLAG, &s->has_stats, 0, 0, NULL,
          "say at the end what each process came to (a daemon of its own)" },
        { "socket", 0, OPTION_TEXT, &s->socket_path, 0, 0, "PATH", "of a daemon that must answer" },
        { "private", 0, OPTION_FLAG, &s->is_private, 0, 0, NULL,
          "a daemon of its own, also where one answers" },
        { "strict", 0, OPTION_FLAG, &s->is_strict, 0, 0, NULL,
          "do not run what can't be paged" },
        { "help", 'h', OPTION_FLAG, &s->wants_help, 0, 0, NULL, "this text" },
        { NULL, 0, OPTION_FLAG, NULL, 0, 0, NULL, NULL },
        /* clang-format on */
    };
    memcpy(ret_table, table, sizeof table);
}

static int complain(const char *text, int code)
{
    fprintf(stderr, "process-pager run: %s\n", text);
    return code;
}

static int print_help(const struct option_spec *table)
{
    printf("usage: process-pager run [options] -- command [argument...]\n\n"
           "Runs the command with its cold memory, and its children's, kept compressed: by the daemon that\n"
           "answers, else by one of its own that ends with it.\n\n");
    options_print_help(table);
    printf("\nExit code: the command's; 125 if run itself fails, 126 if the command can't be run, 127 if it is "
           "not found.\n");
    return fflush(stdout) ? EXIT_OURS : 0;
}

/* ---- the command line */

static bool takes_value(const struct option_spec *table, const char *word)
{
    for (const struct option_spec *o = table; o->name; o++)
        if (!strncmp(word, "--", 2) && !strcmp(word + 2, o->name))
            return o->kind != OPTION_FLAG;
    return false;
}

/* Where the command begins: what comes after it is not ours to read. */
static int command_at(const struct option_spec *table, int argc, char *const *argv)
{
    int i = 1;
    while (i < argc && argv[i][0] == '-' && argv[i][1] && strcmp(argv[i], "--"))
        i += takes_value(table, argv[i]) ? 2 : 1;
    return i < argc ? i : argc;
}

/* ---- which daemon */

static const char *own_daemon_option(const struct run_settings *s)
{
    return s->slowdown         ? "--slowdown"
           : s->promotion_rate ? "--promotion-rate"
           : s->resident       ? "--resident"
           : s->cold_age       ? "--cold-age"
           : s->heat           ? "--heat"
           : s->has_stats      ? "--stats-on-exit"
                               : NULL;
}

static void pass_on(struct keeper_order *order, unsigned *nr, const char *name, const char *value)
{
    if (!value)
        return;
    order->options[(*nr)++] = name;
    order->options[(*nr)++] = value;
}

/* Without a root daemon that hands the device over, the program needs the right itself. NULL: it has it. */
static const char *missing_right(void)
{
    uint64_t offered;
    int fd = uffd_open(-1);
    if (fd < 0)
        return "no right to userfaultfd: start process-pagerd as root, or: sysctl vm.unprivileged_userfaultfd=1";
    int r = uffd_handshake(fd, UFFD_FEATURES_MAIN, &offered);
    close(fd);
    return r == -EINVAL ? "this kernel lacks UFFDIO_MOVE or its companions: Linux 6.8 or later is needed" : NULL;
}

static int start_own_daemon(const struct run_settings *s, char *ret_path, size_t capacity)
{
    struct keeper_order order = { .has_stats = s->has_stats };
    unsigned nr = 0;
    pass_on(&order, &nr, "--slowdown", s->slowdown);
    pass_on(&order, &nr, "--promotion-rate", s->promotion_rate);
    pass_on(&order, &nr, "--resident", s->resident);
    pass_on(&order, &nr, "--cold-age", s->cold_age);
    pass_on(&order, &nr, "--heat", s->heat);
    char error[400];
    if (keeper_start(&order, ret_path, capacity, error, sizeof error) == 0)
        return 0;
    return complain(error, EXIT_OURS);
}

static bool is_refused(int socket)
{
    return socket == -EACCES || socket == -EPERM;
}

/* What of the command line can't be meant. NULL: nothing. */
static const char *find_contradiction(const struct run_settings *s, int socket, const char *path, char *text,
                                      size_t capacity)
{
    const char *option = own_daemon_option(s);
    bool has_daemon = socket >= 0;
    if (s->is_private && s->socket_path)
        return "--private and --socket: say one of the two";
    if (s->socket_path && is_refused(socket))
        (void)snprintf(text, capacity, "no right to the daemon's socket %s: join its group, or leave --socket "
                       "out", s->socket_path);
    else if (s->socket_path && !has_daemon)
        (void)snprintf(text, capacity, "no daemon answers at %s: start process-pagerd there, or leave --socket out",
                       s->socket_path);
    else if (has_daemon && option)
        (void)snprintf(text, capacity, "%s is for a daemon of its own, and one answers at %s: leave it out, or say "
                       "--private", option, path);
    else
        return NULL;
    return text;
}

/* ---- the command's environment */

static int prepare_environment(const struct run_settings *s, const char *socket_path)
{
    char library[4096], text[4096];
    const char *obstacle = library_find(library, sizeof library);
    if (obstacle)
        return complain(obstacle, EXIT_OURS);
    int n = snprintf(text, sizeof text, "socket=%s;min-range=%llu;start-after=%llu%s%s", socket_path,
                     (unsigned long long)s->min_range_bytes, (unsigned long long)s->start_after_ms,
                     s->exclude ? ";exclude=" : "", s->exclude ? s->exclude : "");
    if (n >= (int)sizeof text || strchr(socket_path, ';'))
        return complain("--exclude-program is too long, or a semicolon is in the socket's path", EXIT_OURS);
    if (setenv(SETTINGS_VARIABLE, text, 1) || setenv("PROCESS_PAGER_SOCKET", socket_path, 1))
        return complain(strerror(errno), EXIT_OURS);
    const char *others = getenv("LD_PRELOAD");
    n = others && *others && !strstr(others, LIBRARY_NAME)
            ? snprintf(text, sizeof text, "%s:%s", library, others)
            : snprintf(text, sizeof text, "%s", library);
    if (n >= (int)sizeof text || setenv("LD_PRELOAD", text, 1))
        return complain("LD_PRELOAD is too long", EXIT_OURS);
    return 0;
}

static int exec_command(char **argv)
{
    execvp(argv[0], argv);
    int error = errno;
    fprintf(stderr, "process-pager run: %s: %s\n", argv[0], strerror(error));
    return error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE;
}

static int complain_of_program(const char *path, const char *obstacle, const char *what_then)
{
    fprintf(stderr, "process-pager run: %s %s: %s\n", path, obstacle, what_then);
    return EXIT_OURS;
}

static int run_command(const struct run_settings *s, char **argv)
{
    char path[4096], text[4400], socket_path[ASK_PLACE_BYTES];
    int r = program_find(argv[0], path, sizeof path);
    if (r) {
        fprintf(stderr, "process-pager run: %s: %s\n", argv[0], strerror(-r));
        return r == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE;
    }
    enum program_kind kind = program_kind_of(path);
    const char *obstacle = program_obstacle(kind);
    if (obstacle && s->is_strict)
        return complain_of_program(path, obstacle, "it can't be paged");
    if (kind == PROGRAM_OTHER_LIBC) {
        (void)complain_of_program(path, obstacle, "it runs as it is");
        return exec_command(argv);
    }
    int socket = s->is_private ? -ENOENT : ask_connect(s->socket_path, socket_path);
    bool has_daemon = socket >= 0;
    if (has_daemon)
        close(socket);
    const char *wrong = find_contradiction(s, socket, socket_path, text, sizeof text);
    if (wrong)
        return complain(wrong, EXIT_OURS);
    const char *missing = has_daemon ? NULL : missing_right();
    if (missing && is_refused(socket))
        missing = "no right to the daemon's socket: join the group process-pager";
    if (missing && s->is_strict)
        return complain(missing, EXIT_OURS);
    if (missing) {
        fprintf(stderr, "process-pager run: %s; continuing without\n", missing);
        return exec_command(argv);
    }
    if (!has_daemon)
        r = start_own_daemon(s, socket_path, sizeof socket_path);
    if (r == 0)
        r = prepare_environment(s, socket_path);
    if (r)
        return r;
    if (obstacle) /* not before: what has failed since would make two lines of it, and this one untrue */
        (void)complain_of_program(path, obstacle, "it runs as it is, only its children are paged");
    return exec_command(argv);
}

int run_main(int argc, char **argv)
{
    struct run_settings s = { .min_range_bytes = MIN_RANGE_BYTES, .start_after_ms = START_AFTER_MS };
    struct option_spec table[OPTIONS_NR];
    char error[400];
    make_table(&s, table);
    int at = command_at(table, argc, argv);
    if (options_parse(table, at, argv, error, sizeof error) < 0)
        return complain(error, EXIT_OURS);
    if (s.wants_help)
        return print_help(table);
    if (at < argc && !strcmp(argv[at], "--"))
        at++;
    if (at == argc)
        return complain("say what to run: process-pager run [options] -- command (see --help)", EXIT_OURS);
    return run_command(&s, argv + at);
}
