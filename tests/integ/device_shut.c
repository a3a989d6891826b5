/* device_shut - the next daemon is root's, and yet may not open /dev/userfaultfd, or finds something else
 * there. An ordinary user's client that runs already has its userfaultfd, joins it and goes on; a new one is
 * told what is missing, and so is who reads the daemon's log. The daemon after that has the device, and serves
 * both.
 *
 * Method: each daemon has a mount namespace of its own, in which a node of no mode, or a file, is bound over
 * the device; the machine's own node is not touched. */
#include "command.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR 2048u
#define DEVICE "/dev/userfaultfd"
#define COULD_NOT_BIND 77

enum node { AS_IT_IS, NO_MODE, A_FILE };

static struct shared {
    char socket_path[108], log_path[108], node_path[108];
    enum node node; /* of the next daemon */
    _Atomic uint64_t nr_joins;
    _Atomic bool is_out, must_look; /* of the client that lives on */
    _Atomic bool must_end;
} *shared;

/* ---- the daemon */

static bool make_node(void)
{
    struct stat st;
    if (shared->node == NO_MODE && stat(DEVICE, &st) == 0 &&
        mknod(shared->node_path, S_IFCHR, st.st_rdev) == 0)
        return true;
    int mode = shared->node == NO_MODE ? 0 : 0666;
    int fd = open(shared->node_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bool is_made = fd >= 0 && fchmod(fd, (mode_t)mode) == 0;
    if (fd >= 0)
        close(fd);
    return is_made;
}

static bool bind_node(void)
{
    (void)unlink(shared->node_path);
    return make_node() && unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount(shared->node_path, DEVICE, NULL, MS_BIND, NULL) == 0;
}

/* In the helper, which becomes the daemon. */
static int become_daemon(void *unused)
{
    const char *program = getenv("PP_DAEMON");
    char *const argv[] = { (char *)program, (char *)"--socket", shared->socket_path, (char *)"--cold-age",
                           (char *)"50ms", (char *)"--reclaim-rate", (char *)"4G", NULL };
    (void)unused;
    if (shared->node != AS_IT_IS && !bind_node())
        return COULD_NOT_BIND;
    int log = open(shared->log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    (void)dup2(log, 1);
    (void)dup2(log, 2);
    (void)unsetenv("PP_MUTANT");
    (void)unsetenv("JOURNAL_STREAM");
    execv(program, argv);
    return 127;
}

static pid_t next_daemon(enum node node)
{
    int status = 0;
    shared->node = node;
    (void)unlink(shared->socket_path);
    pid_t pid = helper_start(become_daemon, NULL);
    WAIT_LONG_UNTIL(access(shared->socket_path, F_OK) == 0 || helper_has_ended(pid, &status));
    if (WIFEXITED(status) && WEXITSTATUS(status) == COULD_NOT_BIND)
        test_skip("no mount namespace of one's own, with something bound over " DEVICE ", here");
    CHECK_EQ(status, 0);
    CHECK_EQ(chmod(shared->socket_path, 0666), 0);
    return pid;
}

static bool log_has(const char *text)
{
    char line[1024];
    bool has = false;
    FILE *f = fopen(shared->log_path, "re");
    while (f && !has && fgets(line, sizeof line, f))
        has = strstr(line, text) != NULL;
    if (f)
        fclose(f);
    return has;
}

/* As it says in its status, and process-pager doctor believes. */
static bool hands_over(void)
{
    struct daemon d;
    strcpy(d.socket_path, shared->socket_path);
    return strstr(daemon_status(&d), "\"hands_over_userfaultfd\":true") != NULL;
}

/* ---- clients, both nobody's */

static void become_nobody(void)
{
    CHECK(become_client(NOBODY));
}

/* Each time it is to look: all right at once, and out again once the next daemon has been joined. */
static int lives_on(void *unused)
{
    struct pages p;
    (void)unused;
    become_nobody();
    struct pp_pager *pager = pager_begin(shared->socket_path, &p, NR);
    for (;;) {
        WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
        atomic_store(&shared->is_out, true);
        WAIT_LONG_UNTIL(atomic_load(&shared->must_look));
        pages_check_all(&p);
        pages_write_all(&p);
        atomic_store(&shared->must_look, false);
        if (atomic_load(&shared->must_end))
            break;
        WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") > atomic_load(&shared->nr_joins));
        atomic_fetch_add(&shared->nr_joins, 1);
    }
    CHECK_EQ(pager_stat(pager, "restore_fail"), 0);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    return 0;
}

/* It is told why, has lost nothing, and may ask again. */
static int is_refused(void *text)
{
    struct pages p;
    become_nobody();
    pages_map(&p, 64);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(shared->socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(64)), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pp_start(pager), -EPERM);
        if (!strstr(pp_error(pager), text))
            test_fail(__FILE__, __LINE__, "pp_error is \"%s\"", pp_error(pager));
        CHECK(strstr(pp_error(pager), DEVICE) && strstr(pp_error(pager), "sysctl"));
    }
    pages_check_all(&p);
    pp_close(pager);
    return 0;
}

static int is_served(void *unused)
{
    struct pages p;
    (void)unused;
    become_nobody();
    struct pp_pager *pager = pager_begin(shared->socket_path, &p, NR);
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
    pages_check_all(&p);
    pp_close(pager);
    pages_check_all(&p);
    return 0;
}

/* ---- cases */

static pid_t old_client;

/* The daemon dies with everything out, and there is another. */
static pid_t change(pid_t daemon, enum node node)
{
    uint64_t joins = atomic_load(&shared->nr_joins);
    WAIT_LONG_UNTIL(atomic_load(&shared->is_out));
    atomic_store(&shared->is_out, false);
    CHECK_EQ(helper_kill(daemon, SIGKILL), SIGKILL);
    atomic_store(&shared->must_look, true);
    WAIT_LONG_UNTIL(!atomic_load(&shared->must_look));
    daemon = next_daemon(node);
    WAIT_LONG_UNTIL(atomic_load(&shared->nr_joins) > joins);
    WAIT_LONG_UNTIL(atomic_load(&shared->is_out));
    return daemon;
}

static void newcomer(int (*function)(void *argument), const char *text)
{
    if (function == is_refused && !is_userfaultfd_closed_to_users())
        function = is_served; /* it needs nothing of the daemon's */
    CHECK_EQ(helper_wait(helper_start(function, (void *)text)), 0);
}

static void end(pid_t daemon)
{
    atomic_store(&shared->must_end, true);
    atomic_store(&shared->must_look, true);
    CHECK_EQ(helper_wait(old_client), 0);
    CHECK_EQ(helper_kill(daemon, SIGTERM), 0);
}

int main(void)
{
    shared = test_shared(sizeof *shared);
    atomic_store(&shared->nr_joins, 1);
    test_begin("a daemon that may not open the device serves who has a userfaultfd, and tells the others", 60);
    if (geteuid() != 0)
        test_skip("only root can start the daemon as root and a client as somebody else");
    if (access(program_path("process-pagerd"), X_OK) || access(DEVICE, F_OK))
        test_skip("there is no " DEVICE " here (Linux 6.1)");
    (void)snprintf(shared->socket_path, sizeof shared->socket_path, "%s", test_path("daemon.sock"));
    (void)snprintf(shared->log_path, sizeof shared->log_path, "%s", test_path("log"));
    (void)snprintf(shared->node_path, sizeof shared->node_path, "%s", test_path("node"));
    directory_open_to_all();
    pid_t daemon = next_daemon(AS_IT_IS);
    CHECK(hands_over() && !log_has("event=device"));
    old_client = helper_start(lives_on, NULL);

    test_case("a node of no mode");
    daemon = change(daemon, NO_MODE);
    newcomer(is_refused, "the daemon hands none over");
    CHECK(!hands_over());
    CHECK(log_has("event=device error=\"Permission denied\""));

    test_case("a file where the device should be");
    daemon = change(daemon, A_FILE);
    newcomer(is_refused, "what the daemon handed over is none");

    test_case("the device is there again");
    daemon = change(daemon, AS_IT_IS);
    newcomer(is_served, NULL);
    CHECK(!log_has("event=device"));
    end(daemon);
    return test_end();
}
