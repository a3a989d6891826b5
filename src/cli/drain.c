/* drain.c - process-pager drain: a process's memory comes back and stays, until --resume, a reclaim, or
 * the daemon's end. Before it comes back there must be room for it: the kernel would kill the process. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/pagesize.h"
#include "cli/ask.h"
#include "cli/figures.h"
#include "cli/hand.h"
#include "sys/cgroup.h"

static struct {
    const char *socket_path;
    bool must_resume, is_forced;
} settings;

static const struct option_spec table[] = {
    { "resume", 0, OPTION_FLAG, &settings.must_resume, 0, 0, NULL, "let it leave again when it is cold" },
    { "force", 0, OPTION_FLAG, &settings.is_forced, 0, 0, NULL,
      "also where there seems to be no room for it" },
    CLI_SOCKET_ROW(&settings.socket_path),
    CLI_LAST_ROWS,
};

static void print_options(void)
{
    options_print_help(table);
}

/* What the machine has, in bytes; "MemAvailable:  123 kB". */
static double machine_room(void)
{
    char line[128];
    unsigned long long kib = UINT64_MAX >> 10;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
            break;
    if (f)
        (void)fclose(f);
    return (double)kib * 1024;
}

static double bytes_out(const struct figures *f, pid_t pid)
{
    double bytes = 0;
    for (size_t i = 0; i < f->nr; i++)
        if ((pid_t)f->sessions[i].pid == pid)
            bytes += f->sessions[i].out_bytes;
    return bytes;
}

static int complain_of_room(pid_t pid, double out, double room, const char *where, const char *remedy)
{
    char need[16], has[16];
    return cli_complain(EX_UNAVAILABLE, "process %d has %s out and %s has room for %s: %s, or --force",
                        (int)pid, figures_size(out, need, sizeof need), where,
                        figures_size(room, has, sizeof has), remedy);
}

/* 0: there is, or it cannot be told; else the exit code. */
static int check_room(pid_t pid)
{
    struct figures figures;
    int r = ask_figures(settings.socket_path, &figures);
    if (r)
        return ask_complain(r);
    double out = bytes_out(&figures, pid);
    figures_free(&figures);
    struct cgroup_memory group;
    double room = machine_room();
    if (out > room)
        return complain_of_room(pid, out, room, "the machine", "end or reclaim something else");
    if (cgroup_of(pid, &group) || !*group.path || out <= (double)group.room_bytes)
        return 0;
    return complain_of_room(pid, out, (double)group.room_bytes, group.path, "raise its memory limit");
}

static void print_drained(pid_t pid, const struct msg_order_done *done)
{
    char size[16];
    uint64_t nr_back = done->nr_before > done->nr_after ? done->nr_before - done->nr_after : 0;
    printf("process %d: %s is back; nothing leaves until drain --resume %d\n", (int)pid,
           figures_size((double)pages_to_bytes(nr_back), size, sizeof size), (int)pid);
    if (done->nr_after) /* --evict-by pageout: the kernel brings those back when they are touched */
        printf("process %d: %s stays in the kernel's swap\n", (int)pid,
               figures_size((double)pages_to_bytes(done->nr_after), size, sizeof size));
}

static int run(int argc, char **argv)
{
    int code, first = cli_parse(&cli_drain, table, argc, argv, &code);
    if (first < 0)
        return code;
    struct msg_order order = { .op = settings.must_resume ? ORDER_RESUME : ORDER_DRAIN };
    struct msg_order_done done;
    order.pid = hand_read_pid("drain", argc, argv, first);
    if (!order.pid)
        return EX_USAGE;
    code = settings.must_resume || settings.is_forced ? 0 : check_room(order.pid);
    if (code == 0)
        code = hand_ask(settings.socket_path, &order, &done);
    if (code)
        return code;
    if (settings.must_resume)
        printf("process %d: what is cold leaves again\n", (int)order.pid);
    else
        print_drained(order.pid, &done);
    return fflush(stdout) ? EX_OSERR : 0;
}

const struct cli_command cli_drain = {
    .name = "drain",
    .synopsis = "[--resume] [--force] PID",
    .about = "Brings everything of a process back and keeps it there, until --resume.",
    .run = run,
    .print_options = print_options,
};
