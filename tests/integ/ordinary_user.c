/* ordinary_user - a client without a right of its own to userfaultfd works through a root daemon:
 * it gets an open /dev/userfaultfd handed over, and faults inside system calls are answered, too.
 * Method: helpers become nobody, are refused a userfaultfd of their own, and then page. The daemon that may
 * not open that device any more is joined by who has one already, and tells all others what is missing. */
#include "command.h"
#include "points.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/uffd.h"

#define NR 4096u

static struct pages p;
static struct pp_pager *pager;

static void all_out(void)
{
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
}

/* The kernel writes into pages that are out, and reads from them, on our behalf. */
static void system_calls_touch(void)
{
    static unsigned char bytes[PAGE_BYTES];
    int ends[2];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    all_out();
    for (uint32_t i = 0; i < NR; i += 16) {
        CHECK_EQ(write(ends[1], pages_at(&p, i), PAGE_BYTES), PAGE_BYTES);
        CHECK_EQ(read(ends[0], bytes, PAGE_BYTES), PAGE_BYTES);
        CHECK(memcmp(bytes, pages_at(&p, i), PAGE_BYTES) == 0);
        pages_fill(bytes, p.salt, i + 1, ++p.versions[i + 1]);
        CHECK_EQ(write(ends[1], bytes, PAGE_BYTES), PAGE_BYTES);
        CHECK_EQ(read(ends[0], pages_at(&p, i + 1), PAGE_BYTES), PAGE_BYTES);
    }
    close(ends[0]);
    close(ends[1]);
    pages_check_all(&p);
}

/* The daemon's helper has the right to be told of them. Is there one? */
static bool *is_helped;

static void forks(void)
{
    pages_write_all(&p);
    for (int round = 0; round < 2; round++) {
        all_out();
        pages_check_in_child(&p);
        CHECK_EQ(pager_stat(pager, *is_helped ? "forks_covered" : "forks_drained_untold"), round + 1);
        pages_check_all(&p);
        pages_write_all(&p);
    }
}

static int client(void *socket_path)
{
    if (!become_client(NOBODY))
        return 1;
    int fd = uffd_open(-1);
    if (fd >= 0) {
        close(fd);
        fprintf(stderr, "every user may have a userfaultfd here: the handing over is not shown\n");
    }
    pages_map(&p, NR);
    pages_write_all(&p);
    pager = pager_open(socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    for (int round = 0; round < 2; round++) {
        all_out();
        pages_check_all(&p);
        pages_write_all(&p);
    }
    system_calls_touch();
    forks();
    CHECK(pager_stat(pager, "restore_success") > 2 * NR);
    all_out();
    CHECK_EQ(pp_stop(pager), 0); /* with everything out */
    pages_check_all(&p);
    pager_start(pager);
    all_out();
    CHECK_EQ(pp_unregister(pager, p.memory, pages_to_bytes(NR)), 0);
    pages_check_all(&p);
    pp_close(pager);
    return 0;
}

/* No right to the socket: told so, and nothing else happens. */
static int client_outside(void *socket_path)
{
    if (!become_user(NOBODY))
        return 1;
    pager = pager_open(socket_path);
    int r = pp_start(pager);
    CHECK(r == -EACCES && strstr(pp_error(pager), "Permission denied"));
    pp_close(pager);
    return 0;
}

/* ---- the next daemon may not open the device any more */

struct stages {
    char socket_path[108];
    _Atomic bool is_out, is_killed;
};

static int client_that_lives_on(void *argument)
{
    struct stages *s = argument;
    if (!become_client(NOBODY))
        return 1;
    pages_map(&p, NR);
    pages_write_all(&p);
    pager = pager_open(s->socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    all_out();
    atomic_store(&s->is_out, true);
    WAIT_LONG_UNTIL(atomic_load(&s->is_killed));
    pages_check_all(&p);
    pages_write_all(&p);
    WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") == 2);
    all_out();
    pages_check_all(&p);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    int r = pp_start(pager); /* anew: that needs a userfaultfd */
    if (is_userfaultfd_closed_to_users())
        CHECK(r == -EPERM && strstr(pp_error(pager), "no right to userfaultfd"));
    pp_close(pager);
    return 0;
}

static void device_is_gone(struct point_daemon *next, struct stages *s)
{
    test_case("the next daemon has no device to hand over");
    point_daemon_whole(next);
    point_daemon_wait_for_socket(next);
    strcpy(s->socket_path, next->socket_path);
    CHECK_EQ(chmod(next->socket_path, 0666), 0);
    pid_t pid = helper_start(client_that_lives_on, s);
    WAIT_LONG_UNTIL(atomic_load(&s->is_out));
    CHECK_EQ(helper_kill(next->pid, SIGKILL), SIGKILL);
    atomic_store(&s->is_killed, true);
    point_daemon_fails(next, POINT_DEVICE, 1, true);
    point_daemon_wait_for_socket(next);
    CHECK_EQ(chmod(next->socket_path, 0666), 0);
    CHECK_EQ(helper_wait(pid), 0);
    CHECK_EQ(helper_kill(next->pid, SIGTERM), 0);
    CHECK(point_daemon_has_said(next, "fault=DEVICE"));
}

static int run(int (*function)(void *argument), void *argument)
{
    int status = helper_wait(helper_start(function, argument));
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

int main(void)
{
    static struct daemon d;
    char *socket_path = test_shared(sizeof d.socket_path);
    struct point_daemon *next = point_daemon_new((const char *[]){ "--cold-age", "50ms", NULL });
    struct stages *stages = test_shared(sizeof *stages);
    is_helped = test_shared(sizeof *is_helped);
    *is_helped = forks_are_told();
    test_begin("an ordinary user's client works through a root daemon", 60);
    if (geteuid() != 0)
        test_skip("only root can start the daemon as root and a client as somebody else");
    daemon_start(&d, (const char *[]){ "--cold-age", "50ms", "--reclaim-rate", "4G", NULL });
    directory_open_to_all();
    strcpy(socket_path, d.socket_path);
    test_case("a socket that is not for all");
    CHECK_EQ(run(client_outside, socket_path), 0);
    test_case("a socket for all");
    CHECK_EQ(chmod(d.socket_path, 0666), 0);
    CHECK_EQ(run(client, socket_path), 0);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    device_is_gone(next, stages);
    return test_end();
}
