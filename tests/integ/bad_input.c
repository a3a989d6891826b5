/* bad_input - what is asked for wrongly is answered with one line that says what is wrong, the exit
 * code of sysexits(3), and nothing left behind. Method: each program is run with each kind of mistake;
 * its output, its code, the files around it and its children are looked at. */
#include "command.h"
#include "process.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define WORDS_MAX 12

struct mistake {
    int code;
    const char *says;             /* what the line must contain */
    const char *words[WORDS_MAX]; /* "@name": in the test's directory */
};

static struct command c;

static const char *in_directory(const char *word)
{
    static char paths[WORDS_MAX][128];
    static unsigned next;
    if (word[0] != '@')
        return word;
    return strcpy(paths[next++ % WORDS_MAX], test_path(word + 1));
}

/* How many files and folders stand in the test's directory. */
static unsigned nr_files(void)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s", test_path("x"));
    *strrchr(path, '/') = 0;
    unsigned nr = folder_entries(path);
    CHECK(nr);
    return nr;
}

static bool is_one_line(const char *text)
{
    const char *end = strchr(text, '\n');
    return end && end > text && end[1] == 0;
}

static void try(uid_t uid, const char *program, const struct mistake *m)
{
    const char *argv[WORDS_MAX + 2] = { program };
    char name[600];
    int n = snprintf(name, sizeof name, "%s%s", strrchr(program, '/') + 1, uid ? " (nobody)" : "");
    for (unsigned i = 0; i < WORDS_MAX && m->words[i]; i++) {
        argv[i + 1] = in_directory(m->words[i]);
        n += snprintf(name + n, sizeof name - (size_t)n, " %.30s", m->words[i]);
    }
    test_case(name);
    unsigned before = nr_files();
    command_run(&c, uid, argv);
    if (c.code != m->code || !is_one_line(c.err) || !strstr(c.err, m->says) || *c.out)
        test_fail(__FILE__, __LINE__, "code %d, should be %d, on stderr one line with '%s':\n%s%s%s",
                  c.code, m->code, m->says, c.err, *c.out ? "and on stdout: " : "", c.out);
    CHECK(!c.has_left_processes);
    CHECK_EQ(nr_files(), before);
}

static void try_all(uid_t uid, const char *program, const struct mistake *list, size_t nr)
{
    for (size_t i = 0; i < nr; i++)
        try(uid, program, &list[i]);
}
#define TRY_ALL(uid, program, list) try_all(uid, program, list, sizeof(list) / sizeof *(list))

static void write_file(const char *name, const char *text, mode_t mode)
{
    int fd = open(test_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* A socket file: somebody listens and never answers, or it was left behind. */
static int socket_file(const char *name, int type, bool is_listening)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", test_path(name));
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    if (is_listening)
        CHECK_EQ(listen(fd, 8), 0);
    return fd;
}

#define LONG_WORD                                                                                  \
    "/tmp/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"     \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void daemon_mistakes(const char *program)
{
    static const struct mistake usage[] = {
        { EX_USAGE, "--frob", { "--frob" } },
        { EX_USAGE, "-x", { "-x" } },
        { EX_USAGE, "word", { "word" } },
        { EX_USAGE, "word", { "--dry-run", "--", "word" } },
        { EX_USAGE, "--cold-age", { "--cold-age" } },
        { EX_USAGE, "5s", { "--cold-age", "5" } },
        { EX_USAGE, "--cold-age", { "--cold-age", "" } },
        { EX_USAGE, "1ms", { "--cold-age", "0ms" } },
        { EX_USAGE, "24h", { "--cold-age", "25h" } },
        { EX_USAGE, "--cold-age", { "--cold-age=-5s" } },
        { EX_USAGE, "0.01% to 50%", { "--slowdown", "0%" } },
        { EX_USAGE, "0.01% to 50%", { "--slowdown", "51%" } },
        { EX_USAGE, "0.5%", { "--slowdown", "1" } },
        { EX_USAGE, "1M", { "--resident", "0" } },
        { EX_USAGE, "give one", { "--slowdown", "1%", "--resident", "1G" } },
        { EX_USAGE, "give one", { "--slowdown", "1%", "--cold-age", "5s" } },
        { EX_USAGE, "--promotion-rate", { "--promotion-rate", "1%", "--cold-age", "5s" } },
        { EX_USAGE, "1M", { "--store-cap", "1K" } },
        { EX_USAGE, "1T", { "--store-cap", "2T" } },
        { EX_USAGE, "1M", { "--store-cap-total", "63K" } },
        { EX_USAGE, "lz4+zstd|lz4", { "--tiers", "zstd" } },
        { EX_USAGE, "1ms", { "--squeeze-age", "0ms" } },
        { EX_USAGE, "out of range", { "--store-cap", "99999999999999999999999" } },
        { EX_USAGE, "--store-cap", { "--store-cap", "much" } },
        { EX_USAGE, "--reclaim-rate", { "--reclaim-rate", "0" } },
        { EX_USAGE, "--reclaim-rate", { "--reclaim-rate", "500M/s" } },
        { EX_USAGE, "--dry-run", { "--dry-run=maybe" } },
        { EX_USAGE, "--socket", { "--socket", "" } },
        { EX_USAGE, "107", { "--socket", LONG_WORD } },
        { EX_CONFIG, "none.conf", { "--config", "@none.conf", "--socket", "@s" } },
        { EX_CONFIG, "line 2", { "--config", "@unknown.conf", "--socket", "@s" } },
        { EX_CONFIG, "line 3", { "--config", "@value.conf", "--socket", "@s" } },
        { EX_CONFIG, "line 1", { "--config", "@words.conf", "--socket", "@s" } },
        { EX_CONFIG, "folder", { "--config", "@folder", "--socket", "@s" } },
        { EX_OSERR, "nowhere/s", { "--socket", "/nonexistent/nowhere/s" } },
        { EX_UNAVAILABLE, "no socket", { "--socket", "@file" } },
        { EX_UNAVAILABLE, "no socket", { "--socket", "@folder" } },
        { EX_UNAVAILABLE, "answers at", { "--socket", "@daemon.sock" } },
        { EX_UNAVAILABLE, "somebody else", { "--socket", "@stream.sock" } },
        { EX_OSERR, "--csv", { "--csv", "/nonexistent/file", "--socket", "@s" } },
        { EX_OSERR, "--csv", { "--csv", "@folder", "--socket", "@s" } },
    };
    write_file("unknown.conf", "cold-age = 2s\nfrob = 1\n", 0644);
    write_file("value.conf", "# a comment\ncold-age = 2s\nstore-cap = lots\n", 0644);
    write_file("words.conf", "just some words\n", 0644);
    write_file("file", "not a socket", 0644);
    CHECK_EQ(mkdir(test_path("folder"), 0755), 0);
    int stream = socket_file("stream.sock", SOCK_STREAM, true);
    TRY_ALL(0, program, usage);
    close(stream);
    struct stat st;
    CHECK(stat(test_path("file"), &st) == 0 && st.st_size == 12);
}

static void tool_mistakes(const char *program)
{
    static const struct mistake mistakes[] = {
        { EX_USAGE, "status", { NULL } },
        { EX_USAGE, "status", { "frob" } },
        { EX_USAGE, "status", { "status", "more" } },
        { EX_USAGE, "status", { "status", "1", "2" } },
        { EX_USAGE, "'0'", { "status", "0" } },
        { EX_USAGE, "-5", { "status", "-5" } },
        { EX_USAGE, "99999999999", { "status", "99999999999" } },
        { EX_UNAVAILABLE, "no session", { "status", "--socket", "@daemon.sock", "1" } },
        { EX_USAGE, "reclaim", { "reclaim" } },
        { EX_USAGE, "exclude", { "reclaim", "--all", "--age", "1s", "1" } },
        { EX_USAGE, "--age", { "reclaim", "--age", "0ms", "1" } },
        { EX_UNAVAILABLE, "no session", { "reclaim", "--socket", "@daemon.sock", "1" } },
        { EX_UNAVAILABLE, "process-pagerd", { "reclaim", "--socket", "@none.sock", "1" } },
        { EX_USAGE, "drain", { "drain", "--resume" } },
        { EX_USAGE, "'x'", { "drain", "x" } },
        { EX_UNAVAILABLE, "no session", { "drain", "--socket", "@daemon.sock", "1" } },
        { EX_UNAVAILABLE, "process-pagerd", { "drain", "--socket", "@none.sock", "1" } },
        { EX_USAGE, "word", { "doctor", "word" } },
        { EX_USAGE, "word", { "top", "word" } },
        { EX_USAGE, "--interval", { "top", "--interval", "1ms" } },
        { 2, "terminal", { "top", "--socket", "@daemon.sock" } },
        { EX_USAGE, "--frob", { "status", "--frob" } },
        { EX_USAGE, "--socket", { "status", "--socket" } },
        { EX_USAGE, "--socket", { "status", "--socket=" } },
        { EX_UNAVAILABLE, "process-pagerd", { "status", "--socket", "@none.sock" } },
        { EX_UNAVAILABLE, "process-pagerd", { "status", "--socket", "@file" } },
        { EX_UNAVAILABLE, "process-pagerd", { "status", "--socket", "@stale.sock" } },
        { EX_UNAVAILABLE, "answer", { "status", "--socket", "@silent.sock" } },
    };
    int stale = socket_file("stale.sock", SOCK_SEQPACKET, false);
    int silent = socket_file("silent.sock", SOCK_SEQPACKET, true);
    TRY_ALL(0, program, mistakes);
    close(stale);
    close(silent);
}

/* They share their way of reading words: all of it with one of them, with each only what it adds. */
static void workload_mistakes(const char *program)
{
    static const struct mistake shared[] = {
        { EX_USAGE, "word", { "word" } },
        { EX_USAGE, "--workers", { "--workers", "0" } },
        { EX_USAGE, "--workers", { "--workers", "many" } },
        { EX_USAGE, "--duration-sec", { "--duration-sec", "-1" } },
        { EX_USAGE, "--duration-sec", { "--duration-sec", "nan" } },
        { EX_USAGE, "--seed", { "--seed" } },
        { EX_USAGE, "--content", { "--content", "noise" } },
        { EX_USAGE, "--write-fraction", { "--write-fraction", "1.5" } },
        { EX_USAGE, "--region", { "--region", "-4K" } },
        { EX_USAGE, "--region", { "--region", "1000000000G" } },
        { EX_USAGE, "--warm-up-sec", { "--duration-sec", "1", "--warm-up-sec", "1" } },
        { EX_OSERR, "nonexistent",
          { "--duration-sec", "0.1", "--region", "1M", "--json", "/dev/null", "--touch-latency",
            "/nonexistent/file" } },
        { EX_UNAVAILABLE, "process-pagerd",
          { "--duration-sec", "0.1", "--use-process-pager", "--socket", "@file" } },
    };
    static const struct mistake each[] = {
        { EX_USAGE, "--frob", { "--frob" } },
        { EX_UNAVAILABLE, "process-pagerd",
          { "--duration-sec", "0.1", "--use-process-pager", "--socket", "@none.sock" } },
    };
    static const struct mistake region = { EX_USAGE, "--region", { "--region", "0" } };
    static const struct mistake map = { EX_USAGE, "--map", { "--map", "0" } };
    if (strstr(program, "anon_streamer"))
        TRY_ALL(0, program, shared);
    TRY_ALL(0, program, each);
    try(0, program, strstr(program, "mmap_churn") ? &map : &region);
}

static void ab_mistakes(const char *program)
{
    static const struct mistake mistakes[] = {
        { EX_USAGE, "--frob", { "--frob" } },
        { EX_USAGE, "--only", { "--only", "anon_streamer,none" } },
        { EX_USAGE, "--repeats", { "--repeats", "0" } },
        { EX_USAGE, "--duration-sec", { "--duration-sec", "soon" } },
        { EX_USAGE, "--row-args", { "--row-args", "none=--seed 1" } },
        { EX_USAGE, "--arms", { "--arms", "three" } },
        { EX_OSERR, "nonexistent", { "--results-dir", "/proc/nonexistent/results" } },
    };
    TRY_ALL(0, program, mistakes);
}

static void ab_repeats_mistakes(const char *program)
{
    static const struct mistake mistakes[] = {
        { EX_USAGE, "--frob", { "--frob" } },
        { EX_USAGE, "--runs", { "--runs", "0" } },
        { EX_USAGE, "--runs", { "--runs" } },
        { EX_USAGE, "--only", { "--only", "anon_streamer,none" } },
        { EX_USAGE, "--only", { "--only", "" } },
        { EX_USAGE, "half_idle_heap", { "--profile", "coldtail", "--only", "half_idle_heap" } },
        { EX_USAGE, "--profile", { "--profile", "warm" } },
        { EX_USAGE, "90 or more", { "--profile", "coldtail", "--duration-sec", "60" } },
        { EX_USAGE, "--warm-up-sec", { "--duration-sec", "1", "--warm-up-sec", "2" } },
        { EX_USAGE, "--peer", { "--peer", "zswap" } },
        { EX_USAGE, "--row-args", { "--row-args", "none=--seed 1" } },
        { EX_USAGE, "--seed", { "--seed", "-1" } },
        { EX_USAGE, "aggregate", { "aggregate" } },
        { EX_USAGE, "plot", { "plot", "one", "two" } },
        { EX_USAGE, "none", { "aggregate", "@none" } },
        { EX_USAGE, "neither runs", { "aggregate", "/sys/class" } },
        { EX_OSERR, "nonexistent", { "--results-dir", "/proc/nonexistent/results" } },
    };
    TRY_ALL(0, program, mistakes);
}

/* A daemon of our own for a moment: started, asked, ended. */
static void start_and_end(const char *program, const char *socket_name, int signal)
{
    char path[108];
    (void)snprintf(path, sizeof path, "%s", test_path(socket_name));
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(open("/dev/null", O_WRONLY), 2);
        execl(program, program, "--socket", path, (char *)NULL);
        _exit(127);
    }
    const char *const words[] = { program_path("process-pager"), "status", "--json", "--socket",
                                  path, NULL };
    uint64_t deadline_ms = test_now_ms() + test_limit_ms(10000);
    do {
        CHECK(test_now_ms() < deadline_ms);
        test_nap_us(5000);
        command_run(&c, 0, words);
    } while (c.code != 0);
    CHECK(strstr(c.out, "\"schema\":1") && !*c.err);
    CHECK_EQ(kill(pid, signal), 0);
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    if (signal == SIGKILL)
        return;
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(access(path, F_OK) != 0);
}

static void places_are_left_as_they_were(const char *program)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
    for (unsigned i = 0; i < 3; i++) {
        test_case(strsignal(signals[i]));
        start_and_end(program, "own.sock", signals[i]);
    }
    test_case("a stale socket is replaced");
    close(socket_file("own.sock", SOCK_SEQPACKET, false));
    start_and_end(program, "own.sock", SIGTERM);
    test_case("what a killed daemon leaves is replaced");
    start_and_end(program, "own.sock", SIGKILL);
    CHECK(access(test_path("own.sock"), F_OK) == 0);
    start_and_end(program, "own.sock", SIGTERM);
}

static void harmless_questions(const char *program, bool has_version)
{
    test_case(program);
    static const char *const words[] = { "--help", "--version" };
    for (unsigned i = 0; i < (has_version ? 2 : 1); i++) {
        command_run(&c, 0, (const char *const[]){ program, words[i], NULL });
        CHECK(c.code == 0 && *c.out && !*c.err);
    }
}

/* nobody must be able to reach the program: a copy in our directory. */
static const char *copy_of(const char *program)
{
    static char to[128];
    (void)snprintf(to, sizeof to, "%s", test_path("program"));
    program_copy(program, to);
    return to;
}

static void without_rights(const char *daemon, const char *tool)
{
    static const struct mistake no_uffd[] = {
        { EX_NOPERM, "userfaultfd", { "--socket", "@s" } },
    };
    static const struct mistake no_socket[] = {
        { EX_NOPERM, "group", { "status", "--socket", "@daemon.sock" } },
    };
    directory_open_to_all();
    const char *program = copy_of(daemon);
    command_run(&c, NOBODY, (const char *const[]){ program, "--version", NULL });
    if (c.code) {
        fprintf(stderr, "not tried as another user: nothing can be run in the temporary directory\n");
        return;
    }
    if (is_userfaultfd_closed_to_users()) {
        TRY_ALL(NOBODY, program, no_uffd);
        test_case("--check as nobody");
        command_run(&c, NOBODY, (const char *const[]){ program, "--check", NULL });
        CHECK(c.code == EX_NOPERM && strstr(c.out, "userfaultfd") && !*c.err);
    }
    program = copy_of(tool);
    TRY_ALL(NOBODY, program, no_socket);
    (void)unlink(program);
}

int main(void)
{
    static struct daemon d;
    test_begin("a mistake gets one line, the right code, and leaves nothing behind", 100);
    command_orphans_ms = 20000; /* the daemon waits 200 ms for its own, and then the kernel ends them */
    daemon_start(&d, (const char *[]){ NULL });
    static const char *const workloads[] = { "workloads/anon_streamer", "workloads/interactive_burst",
                                             "workloads/random_touch_heap", "workloads/mmap_churn" };
    char daemon[512], tool[512], ab[512], ab_repeats[512];
    (void)snprintf(daemon, sizeof daemon, "%s", program_path("process-pagerd"));
    (void)snprintf(tool, sizeof tool, "%s", program_path("process-pager"));
    (void)snprintf(ab, sizeof ab, "%s", program_path("bench/ab"));
    (void)snprintf(ab_repeats, sizeof ab_repeats, "%s", program_path("bench/ab-repeats"));

    daemon_mistakes(daemon);
    tool_mistakes(tool);
    for (unsigned i = 0; i < 4; i++) {
        workload_mistakes(program_path(workloads[i]));
        harmless_questions(program_path(workloads[i]), true);
    }
    ab_mistakes(ab);
    harmless_questions(ab, true);
    ab_repeats_mistakes(ab_repeats);
    harmless_questions(ab_repeats, true);
    harmless_questions(daemon, true);
    harmless_questions(tool, true);
    test_case("--check");
    command_run(&c, 0, (const char *const[]){ daemon, "--check", NULL });
    CHECK(c.code == 0 && strstr(c.out, "userfaultfd") && !*c.err);
    places_are_left_as_they_were(daemon);
    if (geteuid() == 0)
        without_rights(daemon, tool);
    CHECK_EQ(rmdir(test_path("folder")), 0); /* the supervisor removes files only */
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
