/* held_folder - a client that keeps its own folder /proc/PID busy, for as long as it likes, keeps nobody else
 * waiting: others join, their pages leave and come back, questions are answered, what `run` has started ends;
 * and then it is served, too.
 *
 * Method: one thread of it lists the folder into a page of which no fault is answered, and stands in that;
 * another tries to make something there, and waits for the first; whoever opens a file there for the first time
 * waits behind that one. It does so before it joins, so that the daemon has opened nothing there yet. */
#include "command.h"
#include "greeting.h"
#include "process.h"
#include "support.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/uffd.h"

#define HOLDER NOBODY
#define OTHER 65533u
#define NR 1024u

static struct shared {
    char socket_path[108];
    _Atomic bool is_there; /* the holder has joined, and holds */
    _Atomic bool must_let_go;
    _Atomic bool has_let_go;
} *shared;

static struct daemon d;
static _Atomic bool has_listed, has_tried;
static _Atomic int stat_of_lister = -1, stat_of_maker = -1; /* opened while that could be done */
static _Atomic bool may_list, may_make;

/* ---- who holds */

static void wait_for_turn(_Atomic int *own_stat, const _Atomic bool *may_go_on)
{
    int fd = open("/proc/thread-self/stat", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    atomic_store(own_stat, fd);
    while (!atomic_load(may_go_on))
        sched_yield(); /* runs, and does not wait */
}

/* Does the thread wait for something? */
static bool waits(int stat_fd)
{
    char text[256] = "";
    CHECK(pread(stat_fd, text, sizeof text - 1, 0) > 0);
    const char *state = strrchr(text, ')');
    return state && state[2] != 'R';
}

static void *list_into(void *page)
{
    int fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    wait_for_turn(&stat_of_lister, &may_list);
    (void)syscall(SYS_getdents64, fd, page, PAGE_BYTES);
    atomic_store(&has_listed, true);
    close(fd);
    return NULL;
}

static void *make_something(void *unused)
{
    wait_for_turn(&stat_of_maker, &may_make);
    CHECK(mkdir("/proc/self/x", 0700) < 0);
    atomic_store(&has_tried, true);
    return unused;
}

/* A page of which no fault is answered until *ret_uffd is closed. */
static void *unanswered_page(int *ret_uffd)
{
    uint64_t offered;
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = uffd_open(-1);
    CHECK(page != MAP_FAILED && fd >= 0);
    CHECK_EQ(uffd_handshake(fd, UFFD_FEATURES_STAGING, &offered), 0); /* no events, for nobody reads them */
    CHECK_EQ(uffd_register(fd, (uintptr_t)page, PAGE_BYTES, UFFD_ARM), 0);
    *ret_uffd = fd;
    return page;
}

static int holder(void *unused)
{
    (void)unused;
    pthread_t lists, makes;
    struct pages p;
    int uffd;
    void *page = unanswered_page(&uffd); /* root may; who may not gets one from the daemon */
    if (!become_client(HOLDER))
        return 1;
    pages_map(&p, NR);
    pages_write_all(&p);
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC); /* from now on found without waiting */
    CHECK(pagemap >= 0);
    close(pagemap);
    CHECK_EQ(pthread_create(&lists, NULL, list_into, page), 0);
    CHECK_EQ(pthread_create(&makes, NULL, make_something, NULL), 0);
    WAIT_UNTIL(atomic_load(&stat_of_lister) >= 0 && atomic_load(&stat_of_maker) >= 0);
    atomic_store(&may_list, true);
    WAIT_UNTIL(waits(atomic_load(&stat_of_lister)));
    atomic_store(&may_make, true);
    WAIT_UNTIL(waits(atomic_load(&stat_of_maker)));
    CHECK(!atomic_load(&has_listed) && !atomic_load(&has_tried));
    (void)greeting_watch(shared->socket_path, p.memory, pages_to_bytes(NR));
    atomic_store(&shared->is_there, true);
    WAIT_FOR(90, atomic_load(&shared->must_let_go));
    CHECK(!atomic_load(&has_listed) && !atomic_load(&has_tried));
    close(uffd);
    CHECK_EQ(pthread_join(lists, NULL) | pthread_join(makes, NULL), 0);
    atomic_store(&shared->has_let_go, true);
    for (;;)
        (void)pause(); /* until it is killed */
}

/* ---- the others */

static int is_served(void *unused)
{
    (void)unused;
    if (!become_client(OTHER))
        return 1;
    struct pages p;
    struct pp_pager *pager = pager_begin(shared->socket_path, &p, NR);
    pager_is_served(pager, &p, NR);
    return 0;
}

/* But for a process that has looked there and waits, as the thread of the daemon does. */
static void what_run_starts_ends(void)
{
    char where[160];
    const char *place = test_path("place");
    (void)snprintf(where, sizeof where, "TMPDIR=%s", place);
    CHECK_EQ(mkdir(place, 0700), 0);
    char *const words[] = { "/usr/bin/env", "-u", "XDG_RUNTIME_DIR", where,
                            (char *)program_path("process-pager"), "run", "--private", "--", "/bin/true",
                            NULL };
    CHECK_EQ(helper_wait(helper_exec(words)), 0);
    WAIT_LONG_UNTIL(rmdir(place) == 0); /* its keeper removes its folder last */
}

int main(void)
{
    shared = test_shared(sizeof *shared);
    test_begin("a client that keeps its folder of /proc busy keeps nobody waiting", 110);
    if (geteuid() != 0)
        test_skip("only root can start clients of two users");
    daemon_start(&d, (const char *[]){ "--sandbox", "strict", "--cold-age", "50ms", "--heat", "scan", NULL });
    directory_open_to_all();
    strcpy(shared->socket_path, d.socket_path);
    CHECK_EQ(chmod(d.socket_path, 0666), 0);
    pid_t client = helper_start(holder, NULL);
    WAIT_LONG_UNTIL(atomic_load(&shared->is_there));

    test_case("others are served");
    CHECK_EQ(helper_wait(helper_start(is_served, NULL)), 0);
    WAIT_UNTIL(process_nr_threads(d.pid, "pp-control") == 2); /* one is left in the look */
    CHECK(strstr(daemon_status(&d), "\"away\""));

    test_case("what run starts ends");
    what_run_starts_ends();

    test_case("it lets go");
    atomic_store(&shared->must_let_go, true);
    WAIT_LONG_UNTIL(atomic_load(&shared->has_let_go));
    WAIT_UNTIL(process_nr_threads(d.pid, "pp-control") == 1);
    WAIT_UNTIL(!strstr(daemon_status(&d), "\"away\""));
    WAIT_UNTIL(status_number(daemon_status(&d), NULL, "resident_bytes") >= pages_to_bytes(NR));
    CHECK_EQ(helper_kill(client, SIGKILL), SIGKILL);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
