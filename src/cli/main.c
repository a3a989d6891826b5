/* main.c - process-pager: the commands, and what they share. */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "cli/run.h"

static const struct cli_command *const commands[] = {
    &cli_status, &cli_top, &cli_doctor, &cli_reclaim, &cli_drain,
};
#define COMMANDS_NR (sizeof commands / sizeof *commands)

bool cli_wants_help;
static bool wants_version;

int cli_complain(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "process-pager: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    return code;
}

static void print_help_of(const struct cli_command *c)
{
    printf("usage: process-pager %s %s\n\n%s\n\n", c->name, c->synopsis, c->about);
    c->print_options();
}

int cli_parse(const struct cli_command *c, const struct option_spec *table, int argc, char **argv,
              int *ret_code)
{
    char error[300];
    int first = options_parse(table, argc, argv, error, sizeof error);
    *ret_code = 0;
    if (first < 0)
        *ret_code = cli_complain(EX_USAGE, "%s: %s", c->name, error);
    else if (cli_wants_help)
        print_help_of(c);
    else
        return first;
    return -1;
}

bool cli_read_pid(const char *word, pid_t *ret_pid)
{
    char *end;
    long pid = strtol(word, &end, 10);
    if (*word < '0' || *word > '9' || *end || pid < 1 || pid > 0x3fffffff) {
        (void)cli_complain(EX_USAGE, "'%s' is not a process id: see process-pager status", word);
        return false;
    }
    *ret_pid = (pid_t)pid;
    return true;
}

static void print_help(const struct option_spec *table)
{
    printf("usage: process-pager COMMAND [options]\n\n"
           "Says what process-pagerd keeps, for whom, and moves memory by hand.\n\n");
    options_print_help(table);
    for (size_t i = 0; i < COMMANDS_NR; i++) {
        printf("\nprocess-pager %s %s\n  %s\n", commands[i]->name, commands[i]->synopsis,
               commands[i]->about);
        commands[i]->print_options();
    }
    printf("\nprocess-pager run --help: to run a program with its cold memory kept compressed.\n");
    printf("\nTimes take ms, s, m, h. Exit codes: 64 usage, 69 no daemon or no such session, 71 system "
           "call,\n77 no right; top without a terminal: 2.\n");
}

static int say_what_there_is(const char *word)
{
    char names[128] = "";
    for (size_t i = 0; i < COMMANDS_NR; i++)
        (void)snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "",
                       commands[i]->name);
    return word ? cli_complain(EX_USAGE, "'%s' is no command: %s (see --help)", word, names)
                : cli_complain(EX_USAGE, "say what to do: %s (see --help)", names);
}

/* Options before the command: only the two questions that need none. */
static int without_command(int argc, char **argv)
{
    const struct option_spec table[] = {
        { "version", 'V', OPTION_FLAG, &wants_version, 0, 0, NULL, "the version" },
        CLI_LAST_ROWS,
    };
    char error[300];
    if (options_parse(table, argc, argv, error, sizeof error) < 0)
        return cli_complain(EX_USAGE, "%s", error);
    if (wants_version)
        printf("process-pager %s\n", PP_VERSION);
    else if (cli_wants_help)
        print_help(table);
    else
        return say_what_there_is(NULL);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "run"))
        return run_main(argc - 1, argv + 1);
    if (argc < 2 || argv[1][0] == '-')
        return without_command(argc, argv);
    for (size_t i = 0; i < COMMANDS_NR; i++)
        if (!strcmp(argv[1], commands[i]->name))
            return commands[i]->run(argc - 1, argv + 1);
    return say_what_there_is(argv[1]);
}
