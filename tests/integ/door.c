/* door - the processes that receive what clients send along have one right at most and do little: a door that is
 * stopped costs who has sent something meanwhile, and nobody else; one that is killed is followed by another; they
 * end with their daemon, however that ends. Method: the kernel's account of them in /proc; clients of two users
 * that start and fork; what is no userfaultfd, and too much of it. never_closes has the files that hold them up. */
#include "command.h"
#include "greeting.h"
#include "process.h"
#include "support.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/uffd.h"
#include "wire/msg.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1 /* without a filter of system calls, and it may be looked at */
#else
#define IS_SANITIZED 0
#endif

#define NR 256u
#define FLOOD_NR 200
#define OTHER 65533u

static struct daemon d;
static char *socket_path; /* for helpers, and who they are: */
static unsigned *nobody, *other;

static const char *const options[] = { "--cold-age", "1h", NULL };

/* ---- finding it */

static bool has_name(const char *pid, const char *name)
{
    char path[300], text[32] = "";
    (void)snprintf(path, sizeof path, "/proc/%s/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    (void)!read(fd, text, sizeof text - 1);
    close(fd);
    return !strncmp(text, name, strlen(name)) && text[strlen(name)] == '\n';
}

/* Clock ticks since the machine's boot; proc_pid_stat(5), field 22. */
static unsigned long long started(pid_t pid)
{
    char path[64];
    unsigned long long ticks = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%*d %*s %*c" /* 4 to 21: */
                       "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
                    &ticks) != 1)
        ticks = 0;
    if (f)
        (void)fclose(f);
    return ticks;
}

/* Numbers begin anew some day. */
static bool is_younger(pid_t pid, pid_t than)
{
    unsigned long long start = started(pid), before = started(than);
    return start != before ? start > before : pid > than;
}

/* Its process of that name, the last one made; 0: none. A zombie is one. */
static pid_t child_of(pid_t parent, const char *name)
{
    pid_t found = 0;
    DIR *proc = opendir("/proc");
    CHECK(proc);
    for (struct dirent *e; (e = readdir(proc));) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        if (has_name(e->d_name, name) &&
            process_status_number(pid, "PPid", 10) == (unsigned long long)parent &&
            (!found || is_younger(pid, found)))
            found = pid;
    }
    closedir(proc);
    return found;
}

static pid_t keeper_of(pid_t daemon)
{
    return child_of(daemon, "pp-doorkeeper");
}

static pid_t door_of(pid_t daemon)
{
    pid_t keeper = keeper_of(daemon);
    return keeper ? child_of(keeper, "pp-door") : 0;
}

static bool has_gone(pid_t pid)
{
    return kill(pid, 0) != 0;
}

/* ---- clients of another user */

struct asked {
    bool is_covered; /* of the fork; written by the helper */
    _Atomic bool has_sent;
    _Atomic int step; /* of who is asked late */
    uint64_t start_ms;
};
static struct asked *asked;

static int client(void *uid)
{
    struct pages p;
    if (!become_client(*(unsigned *)uid))
        return 1;
    pages_map(&p, NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    uint64_t begun_ms = test_now_ms();
    pager_start(pager);
    asked->start_ms = test_now_ms() - begun_ms;
    WAIT_UNTIL(pp_reclaim(pager, p.memory, pages_to_bytes(NR)) == 0 && pages_nr_present(&p, 0, NR) == 0);
    pages_check_in_child(&p);
    asked->is_covered = pager_stat(pager, "forks_covered") == 1;
    CHECK_EQ(pager_stat(pager, "forks_drained_untold"), !asked->is_covered);
    pages_check_all(&p);
    pp_close(pager);
    return 0;
}

static bool is_told(unsigned *uid)
{
    CHECK_EQ(helper_wait(helper_start(client, uid)), 0);
    return asked->is_covered;
}

/* ---- the cases */

static void start(void)
{
    (void)unlink(socket_path); /* a killed daemon leaves it */
    daemon_start(&d, options);
    /* A door is asked as soon as it has been made; it looks like one a little later. */
    WAIT_UNTIL(door_of(d.pid) && (IS_SANITIZED || process_status_number(door_of(d.pid), "Seccomp", 10) == 2));
    CHECK_EQ(chmod(d.socket_path, 0666), 0);
    strcpy(socket_path, d.socket_path);
}

/* How often it has gone to sleep: once for each request. */
static unsigned long long nr_wakes(pid_t pid)
{
    return process_status_number(pid, "voluntary_ctxt_switches", 10);
}

/* Which closes nothing, and is not to close what the last client left. */
static pid_t idle_door(void)
{
    pid_t door = 0;
    unsigned long long wakes = 0;
    for (int quiet = 0; quiet < 10; test_nap_us(10000)) {
        pid_t now = door_of(d.pid);
        unsigned long long nr = now ? nr_wakes(now) : 0;
        quiet = now && now == door && nr == wakes && process_entries(now, "fd") == 1 + 2 ? quiet + 1 : 0;
        door = now;
        wakes = nr;
    }
    return door;
}

/* As soon as it is itself, and has closed what the last client left. */
static void has_only_its_socket(pid_t pid)
{
    WAIT_UNTIL(process_entries(pid, "fd") == 1 + 2); /* with "." and ".." */
}

static void has_rights(pid_t pid, uint64_t rights)
{
    CHECK(pid > 0);
    CHECK_EQ(process_status_number(pid, "CapPrm", 16), rights);
    CHECK_EQ(process_status_number(pid, "CapEff", 16), rights);
    CHECK_EQ(process_status_number(pid, "CapInh", 16), 0);
    CHECK_EQ(process_status_number(pid, "CapAmb", 16), 0);
    CHECK_EQ(process_status_number(pid, "NoNewPrivs", 10), 1);
    CHECK_EQ(process_status_number(pid, "Threads", 10), 1);
    has_only_its_socket(pid);
}

static void have_one_right(void)
{
    test_case("what the kernel says of them");
    has_rights(keeper_of(d.pid), 1ull << CAP_SYS_PTRACE);
    has_rights(door_of(d.pid), 1ull << CAP_SYS_PTRACE);
    if (!IS_SANITIZED)
        CHECK_EQ(process_status_number(door_of(d.pid), "Seccomp", 10), 2);
    WAIT_UNTIL(is_told(nobody));
}

/* Root, but with no right to look into others. */
static int look_at_it(void *pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/mem", *(pid_t *)pid);
    capng_clear(CAPNG_SELECT_ALL);
    return capng_apply(CAPNG_SELECT_CAPS) == 0 && open(path, O_RDONLY | O_CLOEXEC) < 0 ? 0 : 1;
}

/* All of it is answered, and the helper is as it was. */
static int flood(void *unused)
{
    (void)unused;
    if (!become_client(NOBODY))
        return 1;
    int socket = socket_connect(socket_path), pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), ends[2];
    struct msg_hello hello = { .version = WIRE_VERSION };
    struct msg_uffd_api ask = { .features = UFFD_FEATURES_MAIN | UFFD_FEATURE_EVENT_FORK };
    struct msg_fds fds = { .fd = { pagemap }, .nr = 1 };
    struct msg m;
    CHECK(socket >= 0 && pipe2(ends, O_CLOEXEC) == 0);
    CHECK_EQ(msg_send(socket, MSG_HELLO, &hello, &fds), 0);
    int nr_answers = -1, device = -1; /* the first is WELCOME */
    for (int i = 0; nr_answers < FLOOD_NR;) {
        int uffd = device >= 0 && i % 2 ? uffd_open(device) : dup(ends[0]);
        fds = (struct msg_fds){ .fd = { uffd }, .nr = 1 };
        i += i < FLOOD_NR && msg_send(socket, MSG_UFFD_API, &ask, &fds) == 0;
        close(uffd);
        int r;
        while ((r = msg_recv(socket, &m, &fds)) == 0) {
            if (m.header.type == MSG_WELCOME && fds.nr == 6)
                device = dup(fds.fd[5]);
            nr_answers++;
            msg_fds_close(&fds);
        }
        CHECK_EQ(r, -EAGAIN);
    }
    return 0;
}

static void floods(void)
{
    test_case("too many questions, half of them without a userfaultfd");
    pid_t pid = door_of(d.pid);
    CHECK_EQ(helper_wait(helper_start(flood, NULL)), 0);
    CHECK_EQ(door_of(d.pid), pid);
    has_only_its_socket(pid);
    WAIT_UNTIL(is_told(nobody));
}

static void is_stopped(void)
{
    test_case("it is stopped: who has come to it waits, and the others have another");
    int status;
    pid_t pid = door_of(d.pid);
    CHECK(process_stop(pid));
    pid_t waiting = helper_start(client, nobody);
    WAIT_UNTIL(door_of(d.pid) != pid);
    uint64_t best_ms = UINT64_MAX; /* who waits for it waits each time */
    for (int i = 0; i < 3 && best_ms >= test_limit_ms(400); i++) {
        CHECK(is_told(other));
        best_ms = asked->start_ms < best_ms ? asked->start_ms : best_ms;
    }
    CHECK(best_ms < test_limit_ms(400));
    CHECK(!helper_has_ended(waiting, &status));
    test_case("it goes on, and is not needed any more");
    CHECK_EQ(kill(pid, SIGCONT), 0);
    CHECK_EQ(helper_wait(waiting), 0);
    CHECK(asked->is_covered);
    WAIT_UNTIL(has_gone(pid));
}

static void ends_with_its_daemon(void)
{
    test_case("the daemon ends: they have ended by then");
    pid_t keeper = keeper_of(d.pid), door = door_of(d.pid);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    CHECK(has_gone(keeper) && has_gone(door));
    test_case("the daemon is killed, and they are stopped");
    start();
    keeper = keeper_of(d.pid);
    door = door_of(d.pid);
    CHECK(keeper > 0 && process_stop(keeper));
    CHECK(door > 0 && process_stop(door));
    CHECK_EQ(helper_kill(d.pid, SIGKILL), SIGKILL);
    WAIT_UNTIL(process_has_ended(keeper) && process_has_ended(door));
}

enum { IS_TOLD, IS_LET_IN };

/* IS_TOLD: its hello is refused, as the door that had it has ended. */
static int is_told_to_try_again(void *unused)
{
    (void)unused;
    struct msg m;
    struct msg_fds fds;
    int socket = socket_connect(socket_path), pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    CHECK(socket >= 0 && pagemap >= 0);
    greeting_send(socket, pagemap);
    asked->has_sent = true;
    CHECK_EQ(greeting_hear(socket, 4000, &m, &fds), 0);
    msg_fds_close(&fds);
    if (m.header.type == MSG_WELCOME)
        return IS_LET_IN;
    CHECK_EQ(m.header.type, MSG_REFUSE);
    CHECK_EQ(m.payload.refuse.error, -ECONNABORTED);
    return IS_TOLD;
}

static int end_door_with_a_hello(void)
{
    pid_t door = idle_door();
    asked->has_sent = false;
    CHECK(process_stop(door));
    pid_t pid = helper_start(is_told_to_try_again, NULL);
    WAIT_UNTIL(asked->has_sent);
    test_nap_us(100000); /* for the daemon to have asked it */
    CHECK_EQ(kill(door, SIGKILL), 0);
    int status = helper_wait(pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void has_a_hello(void)
{
    test_case("a door ends with a hello");
    int nr_tries = 1;
    while (end_door_with_a_hello() == IS_LET_IN) /* by the next one: it had not been asked */
        CHECK(nr_tries++ < 5);
    WAIT_UNTIL(is_told(nobody));
}

static int goes_on_without(void *unused)
{
    (void)unused;
    if (!become_client(NOBODY))
        return 1;
    struct msg_fds welcome;
    int ends[2], socket = greeting_begin(socket_path, 4000, &welcome);
    const struct msg_uffd_api ask = { .features = UFFD_FEATURES_MAIN };
    const struct msg_empty empty = { 0 };
    struct msg m;
    CHECK(socket >= 0 && pipe2(ends, O_CLOEXEC) == 0);
    const struct msg_fds fds = { .fd = { ends[0] }, .nr = 1 };
    asked->step = 1;
    WAIT_UNTIL(asked->step == 2);
    CHECK_EQ(msg_send(socket, MSG_UFFD_API, &ask, &fds), 0);
    greeting_expect(socket, 4000, MSG_UFFD_API_DONE, &m);
    CHECK_EQ(m.payload.uffd_api.error, -EPERM);
    asked->step = 3;
    WAIT_UNTIL(asked->step == 4);
    test_nap_us(500000); /* for another door to look for the message, in vain */
    CHECK_EQ(msg_send(socket, MSG_STATUS_GET, &empty, NULL), 0);
    greeting_expect(socket, 4000, MSG_STATUS, &m);
    return 0;
}

static void takes_it_late(void)
{
    test_case("a door takes a message after the daemon has said no to it: the session goes on");
    asked->step = 0;
    pid_t pid = helper_start(goes_on_without, NULL);
    WAIT_UNTIL(asked->step == 1);
    pid_t door = idle_door();
    CHECK(process_stop(door));
    asked->step = 2;
    WAIT_UNTIL(asked->step == 3);
    CHECK_EQ(kill(door, SIGCONT), 0);
    WAIT_UNTIL(has_gone(door));
    asked->step = 4;
    CHECK_EQ(helper_wait(pid), 0);
}

/* 0: its hello is not answered, as the daemon cannot have what it brings. */
static int is_not_let_in(void *unused)
{
    (void)unused;
    const struct msg_empty empty = { 0 };
    struct msg m;
    struct msg_fds fds;
    int socket = socket_connect(socket_path), pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    CHECK(socket >= 0 && pagemap >= 0);
    CHECK_EQ(msg_send(socket, MSG_STATUS_GET, &empty, NULL), 0);
    greeting_expect(socket, 4000, MSG_STATUS, &m); /* it has let us in; */
    asked->step = 1;
    WAIT_UNTIL(asked->step == 2); /* and now has room for nothing else */
    greeting_send(socket, pagemap);
    CHECK_EQ(greeting_hear(socket, 4000, &m, &fds), -ECONNRESET);
    return 0;
}

static int first_free(pid_t pid)
{
    char path[64];
    struct stat st;
    int fd = -1;
    do
        (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, ++fd);
    while (lstat(path, &st) == 0);
    return fd;
}

/* Room for no descriptor more. Not less than that: no process may send one along while more of its user's, of all
 * processes, are on their way than it may have open (unix(7), ETOOMANYREFS), and other tests send some. */
static void leave_no_room(pid_t pid, rlim_t max)
{
    struct rlimit full = { .rlim_cur = 0, .rlim_max = max };
    for (int quiet = 0; quiet < 5;) { /* what it has just served and looked at is closed by then */
        rlim_t fd = (rlim_t)first_free(pid);
        quiet = fd == full.rlim_cur ? quiet + 1 : 0;
        full.rlim_cur = fd;
        test_nap_us(20000);
    }
    CHECK_EQ(prlimit(pid, RLIMIT_NOFILE, &full, NULL), 0);
}

static void has_no_descriptors(void)
{
    test_case("the daemon has no descriptor free: doors and keeper outlive that");
    struct rlimit before, none;
    CHECK_EQ(prlimit(d.pid, RLIMIT_NOFILE, NULL, &before), 0);
    pid_t keeper = keeper_of(d.pid), door = door_of(d.pid);
    asked->step = 0;
    pid_t pid = helper_start(is_not_let_in, NULL);
    WAIT_UNTIL(asked->step == 1);
    leave_no_room(d.pid, before.rlim_max);
    asked->step = 2;
    CHECK_EQ(helper_wait(pid), 0);
    CHECK_EQ(door_of(d.pid), door);
    none = (struct rlimit){ .rlim_cur = 3, .rlim_max = before.rlim_max }; /* it sends none now */
    CHECK_EQ(prlimit(d.pid, RLIMIT_NOFILE, &none, NULL), 0);
    unsigned long long nr_asked = nr_wakes(keeper);
    CHECK_EQ(kill(door, SIGKILL), 0);
    WAIT_UNTIL(has_gone(door));
    pid = helper_start(client, nobody); /* it waits in the queue, and has the daemon look for a door */
    WAIT_UNTIL(nr_wakes(keeper) > nr_asked + 1); /* what it makes is lost, again and again, and ends at once */
    test_nap_us(300000);
    CHECK_EQ(prlimit(d.pid, RLIMIT_NOFILE, &before, NULL), 0);
    CHECK_EQ(helper_wait(pid), 0);
    CHECK_EQ(keeper_of(d.pid), keeper);
    WAIT_UNTIL(is_told(nobody));
}

static void is_killed(void)
{
    test_case("a door is killed: there is another");
    start();
    pid_t door = door_of(d.pid);
    CHECK(door > 0 && kill(door, SIGKILL) == 0);
    WAIT_UNTIL(has_gone(door));
    WAIT_UNTIL(is_told(nobody));
    test_case("the keeper is killed: nothing is left of them, and all go on without");
    pid_t keeper = keeper_of(d.pid);
    door = door_of(d.pid);
    CHECK(keeper > 0 && kill(keeper, SIGKILL) == 0);
    WAIT_UNTIL(process_has_ended(keeper) && process_has_ended(door));
    CHECK(!is_told(nobody));
    CHECK(!is_told(nobody));
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
}

static int weak_daemon(void *unused)
{
    (void)unused;
    if (prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0) == 0)
        execl(getenv("PP_DAEMON"), "process-pagerd", "--socket", socket_path, "--cold-age", "1h", NULL);
    return 1;
}

static void has_no_right_to_give(void)
{
    test_case("a daemon without that right");
    pid_t pid = helper_start(weak_daemon, NULL);
    WAIT_UNTIL(access(socket_path, F_OK) == 0);
    CHECK_EQ(chmod(socket_path, 0666), 0);
    CHECK(!is_told(nobody));
    has_rights(keeper_of(pid), 0);
    has_rights(door_of(pid), 0);
    CHECK_EQ(helper_kill(pid, SIGTERM), 0);
}

/* A machine, or a container, where nobody may filter system calls. */
static int daemon_without_seccomp(void *unused)
{
    (void)unused;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    const struct scmp_arg_cmp is_filter = { .arg = 0, .op = SCMP_CMP_EQ, .datum_a = PR_SET_SECCOMP };
    CHECK(filter && seccomp_rule_add(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(seccomp), 0) == 0);
    CHECK_EQ(seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1, &is_filter), 0);
    CHECK_EQ(seccomp_load(filter), 0);
    execl(getenv("PP_DAEMON"), "process-pagerd", "--socket", socket_path, "--cold-age", "1h", "--sandbox", "off", NULL);
    return 1;
}

static void has_no_filter_to_give(void)
{
    test_case("a daemon where no door can have its filter: it does without");
    pid_t pid = helper_start(daemon_without_seccomp, NULL);
    WAIT_UNTIL(access(socket_path, F_OK) == 0);
    CHECK_EQ(chmod(socket_path, 0666), 0);
    CHECK_EQ(helper_wait(helper_start(client, nobody)), 0);
    CHECK_EQ(keeper_of(pid), 0);
    CHECK_EQ(helper_kill(pid, SIGTERM), 0);
}

int main(void)
{
    pid_t *pid = test_shared(sizeof *pid);
    asked = test_shared(sizeof *asked);
    nobody = test_shared(sizeof *nobody);
    other = test_shared(sizeof *other);
    *nobody = NOBODY;
    *other = OTHER;
    socket_path = test_shared(sizeof d.socket_path);
    test_begin("who receives what clients send has one right, and may be stopped", 40);
    if (geteuid() != 0 || !forks_are_told())
        test_skip("nobody tells this user of forks (CAP_SYS_PTRACE)");
    directory_open_to_all();
    start();
    have_one_right();
    for (int i = 0; i < 2 && !IS_SANITIZED; i++) {
        *pid = i ? keeper_of(d.pid) : door_of(d.pid);
        CHECK_EQ(helper_wait(helper_start(look_at_it, pid)), 0);
    }
    floods();
    has_a_hello();
    is_stopped();
    takes_it_late();
    has_no_descriptors();
    ends_with_its_daemon();
    is_killed();
    has_no_right_to_give();
    if (!IS_SANITIZED)
        has_no_filter_to_give();
    return test_end();
}
