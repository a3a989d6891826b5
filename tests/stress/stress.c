/* stress - the worst that can be thought of, and every byte checked.
 *
 *   stress [--kind NAME|all] [--seconds S] [--seed N] [--until-failure] [--evictions-min N]
 *          [--growth KIB] [--stats]
 *
 * Runs one kind, or all of them in turn, the seconds shared out; prints a line each. Exit code: 0 when
 * no byte was wrong, no thread stood still, no process ended that was not killed, every kind evicted,
 * and all together --evictions-min pages; 1 when not; 64 usage; 77 where it can't run.
 * --growth: by how much the daemon's own memory may grow, in the kind that looks (4096).
 *
 * PP_DAEMON names the daemon; by default it is the one of the same build directory. PP_MUTANT breaks the
 * clients on purpose. */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress/stress.h"
#include "sys/uffd.h"

const struct kind *const stress_kinds[] = {
    &kind_threads,      &kind_direct_io,    &kind_thp,         &kind_discard,     &kind_remap,
    &kind_protect,      &kind_churn,        &kind_syscalls,    &kind_two_clients, &kind_many_clients,
    &kind_kill_client,  &kind_kill_daemon,  &kind_cap,         &kind_faults,      &kind_direct,
    &kind_direct_daemon, &kind_soak,        &kind_moments,     NULL,
};

struct options {
    const char *kind;
    double seconds;
    uint64_t seed, evictions_min, growth_kib;
    bool is_until_failure, wants_stats;
};

static _Noreturn void usage(int code)
{
    FILE *to = code ? stderr : stdout;
    fprintf(to, "usage: stress [--kind NAME|all] [--seconds S] [--seed N] [--until-failure] "
                "[--evictions-min N] [--growth KIB] [--stats]\nkinds:");
    for (const struct kind *const *k = stress_kinds; *k; k++)
        fprintf(to, " %s", (*k)->name);
    fprintf(to, "\n");
    exit(code);
}

static double number(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || value < 0)
        usage(64);
    return value;
}

static struct options read_options(int argc, char **argv)
{
    static const struct option words[] = {
        { "kind", required_argument, NULL, 'k' },       { "seconds", required_argument, NULL, 's' },
        { "seed", required_argument, NULL, 'r' },       { "until-failure", no_argument, NULL, 'u' },
        { "evictions-min", required_argument, NULL, 'e' }, { "stats", no_argument, NULL, 't' },
        { "growth", required_argument, NULL, 'g' },     { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    struct options o = { .kind = "all", .seconds = 140, .seed = 1, .growth_kib = 4096 };
    for (int c; (c = getopt_long(argc, argv, "", words, NULL)) != -1;)
        switch (c) {
        case 'k': o.kind = optarg; break;
        case 's': o.seconds = number(optarg); break;
        case 'r': o.seed = (uint64_t)number(optarg); break;
        case 'u': o.is_until_failure = true; break;
        case 'e': o.evictions_min = (uint64_t)number(optarg); break;
        case 'g': o.growth_kib = (uint64_t)number(optarg); break;
        case 't': o.wants_stats = true; break;
        case 'h': usage(0);
        default:  usage(64);
        }
    if (optind < argc)
        usage(64);
    return o;
}

static void need_userfaultfd(void)
{
    uint64_t offered;
    int fd = uffd_open(-1);
    int r = fd < 0 ? fd : uffd_handshake(fd, UFFD_FEATURES_MAIN, &offered);
    if (fd >= 0)
        close(fd);
    if (!r)
        return;
    printf("SKIP: needs the right to userfaultfd (root), and Linux 6.8\n");
    exit(77);
}

/* ---- transparent huge pages for all memory, the pager's own, too; put back, also after Ctrl-C */

#define THP_SWITCH "/sys/kernel/mm/transparent_hugepage/enabled"

static char thp_before[32]; /* empty: nothing to put back */

static bool thp_set(const char *word)
{
    int fd = open(THP_SWITCH, O_WRONLY | O_CLOEXEC);
    bool is_set = fd >= 0 && write(fd, word, strlen(word)) > 0;
    if (fd >= 0)
        close(fd);
    return is_set;
}

static void thp_put_back(void)
{
    if (*thp_before)
        (void)thp_set(thp_before);
    *thp_before = 0;
}

/* ---- a memory cgroup, which can be removed when the last process in it has gone */

static struct memory_group *group;
static const struct run *running;
static volatile pid_t conductor;

static void group_begin(struct run *r)
{
    char name[32];
    const char *why;
    (void)snprintf(name, sizeof name, "pp-stress-%d", (int)getpid());
    group = &r->group;
    if (!group_make(group, name, &why))
        printf("%s: without pressure of memory: %s\n", r->kind->name, why);
    else if (!group_must_not_kill(group) && group->is_v1)
        stress_broken("memory.oom_control");
}

static void group_end(void)
{
    if (group)
        group_remove(group);
    group = NULL;
}

/* Clients end with the conductor. */
static void on_end_signal(int number)
{
    if (conductor > 0) {
        (void)kill(conductor, SIGKILL);
        (void)waitpid(conductor, NULL, 0);
        (void)unlink(running->socket_path);
        (void)rmdir(running->directory);
    }
    group_end();
    thp_put_back();
    _exit(128 + number);
}

/* Where it can't be switched, as in a container, the kind's own memory asks for them (MADV_HUGEPAGE). */
static void thp_always(void)
{
    char words[64] = "";
    FILE *file = fopen(THP_SWITCH, "re");
    char *chosen = file && fgets(words, sizeof words, file) ? strchr(words, '[') : NULL;
    if (chosen)
        (void)sscanf(chosen, "[%31[a-z]", thp_before);
    if (file)
        fclose(file);
    if (!*thp_before || !thp_set("always")) {
        printf("transparent huge pages: cannot be set to `always` here, only asked for\n");
        *thp_before = 0;
    }
}

static void catch_end_signals(void (*handler)(int))
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)signal(numbers[i], handler);
}

/* Each kind has a conductor of its own, a child: what goes wrong in one does not reach the next. */
static void run_in_child(struct run *r)
{
    fflush(NULL);
    catch_end_signals(on_end_signal);
    if (r->kind->is_thp_always)
        thp_always();
    if (r->kind->has_group)
        group_begin(r);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        stress_broken("fork");
    if (pid == 0) {
        catch_end_signals(SIG_DFL);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            run_kind(r);
        _exit(0);
    }
    int status;
    running = r;
    conductor = pid;
    (void)waitpid(pid, &status, 0);
    conductor = 0;
    group_end();
    thp_put_back();
    if (status)
        r->result.complaints++;
}

static bool is_good(const struct result *t)
{
    return !t->wrong && !t->hangs && !t->complaints && t->evictions >= 100;
}

static void print_head(void)
{
    printf("%-12s %8s %12s %11s %11s %6s %6s %6s\n", "kind", "seconds", "operations", "evictions",
           "restores", "wrong", "hangs", "other");
}

static void print_row(const char *name, const struct result *t)
{
    printf("%-12s %8.1f %12lu %11lu %11lu %6lu %6lu %6lu  %s", name, t->seconds, (unsigned long)t->ops,
           (unsigned long)t->evictions, (unsigned long)t->restores, (unsigned long)t->wrong,
           (unsigned long)t->hangs, (unsigned long)t->complaints, t->note);
    if (t->first_failure_s > 0)
        printf("%sfirst failure after %.1f s", *t->note ? "; " : "", t->first_failure_s);
    printf("\n");
}

/* Of the time; 0: not at all. */
static unsigned share_of(const struct options *o, const struct kind *k)
{
    if (!strcmp(o->kind, "all"))
        return k->share;
    return !strcmp(o->kind, k->name);
}

int main(int argc, char **argv)
{
    struct options o = read_options(argc, argv);
    unsigned shares = 0, nr_bad = 0;
    for (const struct kind *const *k = stress_kinds; *k; k++)
        shares += share_of(&o, *k);
    if (!shares)
        usage(64);
    need_userfaultfd();
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    (void)signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);

    struct result all = { .seconds = 0 };
    print_head();
    for (const struct kind *const *k = stress_kinds; *k; k++) {
        if (!share_of(&o, *k))
            continue;
        struct run *r = test_shared(sizeof *r);
        r->kind = *k;
        r->seed = o.seed;
        r->seconds = o.seconds * share_of(&o, *k) / shares;
        r->is_until_failure = o.is_until_failure;
        r->growth_kib = o.growth_kib;
        r->wants_stats = o.wants_stats;
        run_in_child(r);
        const struct result *t = &r->result;
        nr_bad += !is_good(t);
        all.seconds += t->seconds;
        all.ops += t->ops;
        all.evictions += t->evictions;
        all.restores += t->restores;
        all.wrong += t->wrong;
        all.hangs += t->hangs;
        all.complaints += t->complaints;
        print_row((*k)->name, t);
        munmap(r, sizeof *r);
    }
    print_row("all", &all);
    if (nr_bad)
        printf("FAIL: %u kinds of stress went wrong\n", nr_bad);
    if (all.evictions < o.evictions_min)
        printf("FAIL: fewer than %lu evictions\n", (unsigned long)o.evictions_min);
    return nr_bad || all.evictions < o.evictions_min ? 1 : 0;
}
