/* held_lock - a client that keeps the lock of its own memory, for as long as it likes, keeps nobody else
 * waiting: others join, their pages leave and come back, questions are answered, what `run` has started ends;
 * the daemon loses a few threads to it, and no more. Its sessions may end meanwhile. When it lets go all is as
 * before, and a daemon that is told to end does not wait for it.
 *
 * Method: a touch of a file whose FUSE server does not answer (fuse.h); a thread that maps something stands
 * behind it, and whoever wants to look at that memory behind that. */
#include "command.h"
#include "fuse.h"
#include "greeting.h"
#include "process.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/limits.h"
#include "wire/msg.h"
#include "wire/session_memory.h"

#if defined(__SANITIZE_ADDRESS__)
#define IS_LOOKING_FOR_LEAKS 1 /* at the end: it would wait for all threads, and find what they work on */
#else
#define IS_LOOKING_FOR_LEAKS 0
#endif

#define HOLDER NOBODY
#define OTHER 65533u
#define NR 1024u
#define NR_BY_HAND (USER_AWAY_MAX + 2)
#define FOR_EVER_MS 90000u

static struct shared {
    struct fuse_silence silence;
    char socket_path[108], file[128];
    _Atomic pid_t server;        /* -1: no FUSE here */
    _Atomic bool is_ready;       /* the holder has been served, and could hold its lock */
    _Atomic bool must_hold;      /* ... and does so */
    _Atomic unsigned nr_touched; /* pages of the file */
    _Atomic unsigned nr_maps;    /* of a thread that maps something all the time */
    _Atomic bool must_misbehave; /* with the sessions made by hand */
    _Atomic bool is_back;        /* its pages leave again */
} *shared;

static struct daemon d;

/* ---- who holds */

static void *touch(void *page)
{
    (void)*(volatile char *)page; /* is answered in the end */
    atomic_fetch_add(&shared->nr_touched, 1);
    return NULL;
}

static void *map_all_the_time(void *unused)
{
    for (;;) {
        void *page = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        (void)munmap(page, PAGE_BYTES);
        atomic_fetch_add(&shared->nr_maps, 1);
        test_nap_us(200);
    }
    return unused;
}

/* The last to come are looked at first: these have a thread in them, the first one has none. */
static void misbehave(struct by_hand *b)
{
    const struct msg_range all = { .start = 0, .bytes = pages_to_bytes(SESSION_PAGES_MAX) };
    const struct msg_empty nothing = { 0 };
    struct by_hand *last = &b[NR_BY_HAND - 1];
    atomic_store(&last->memory->raw.head, 0x77777777u); /* ended by the compress thread */
    (void)eventfd_write(last->daemon_bell, 1);
    (void)msg_send(last[-1].socket, MSG_RANGE_DEL, &all, NULL);
    (void)msg_send(last[-2].socket, MSG_RANGES_RESET, &nothing, NULL);
    close(last[-2].socket);
    close(b->socket);
}

static int holder(void *unused)
{
    (void)unused;
    struct by_hand by_hand[NR_BY_HAND];
    pid_t server = fuse_serve(shared->file, HOLDER, &shared->silence);
    atomic_store(&shared->server, server ? server : -1);
    if (!server || !become_client(HOLDER))
        return 1;
    int fd = open(shared->file, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(ftruncate(fd, 2 * PAGE_BYTES), 0); /* else the kernel takes it for empty */
    char *file = mmap(NULL, 2 * PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(file != MAP_FAILED);
    struct pages p;
    struct pp_pager *pager = pager_begin(shared->socket_path, &p, NR);
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
    for (unsigned i = 0; i < NR_BY_HAND; i++)
        by_hand[i] = greeting_watch(shared->socket_path, p.memory, pages_to_bytes(NR));
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, map_all_the_time, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        pages_check_all(&p);
        atomic_store(&shared->is_ready, true);
        WAIT_LONG_UNTIL(atomic_load(&shared->must_hold));
        CHECK_EQ(pthread_create(&thread, NULL, touch, file + i * PAGE_BYTES), 0);
        if (i == 0) {
            WAIT_FOR(90, atomic_load(&shared->must_misbehave));
            misbehave(by_hand);
        }
        WAIT_FOR(40, atomic_load(&shared->nr_touched) == i + 1);
        pages_write_all(&p);
        WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
        pages_check_all(&p);
        CHECK_EQ(pager_stat(pager, "daemon_joins"), 1);
        atomic_store(&shared->is_back, true);
    }
    return 0;
}

static void hold(void)
{
    unsigned nr_kept = atomic_load(&shared->silence.nr_kept);
    atomic_store(&shared->silence.of_read_ms, FOR_EVER_MS);
    atomic_store(&shared->is_back, false);
    WAIT_LONG_UNTIL(atomic_load(&shared->is_ready));
    atomic_store(&shared->is_ready, false);
    atomic_store(&shared->must_hold, true);
    WAIT_UNTIL(atomic_load(&shared->silence.nr_kept) > nr_kept);
    test_nap_us(300000);
    unsigned nr_maps = atomic_load(&shared->nr_maps);
    test_nap_us(300000);
    CHECK_EQ(nr_maps, atomic_load(&shared->nr_maps)); /* it does hold it */
    atomic_store(&shared->must_hold, false);
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

static void questions_are_answered(const char *expected)
{
    for (unsigned i = 0; i < 20; i++) {
        uint64_t begin_ms = test_now_ms();
        CHECK(strstr(daemon_status(&d), expected));
        CHECK(test_now_ms() - begin_ms < test_limit_ms(4500));
        test_nap_us(20000);
    }
}

/* Whether anything is left of a command is asked of every process's environment, which is memory. */
static void what_run_starts_ends(void)
{
    static struct command c;
    command_orphans_ms = 10000;
    command_run(&c, 0, (const char *const[]){ program_path("process-pager"), "run", "--private", "--",
                                              "/bin/true", NULL });
    CHECK_EQ(c.code, 0);
    CHECK(!c.has_left_processes);
}

static void begin(void)
{
    strcpy(shared->file, test_path("file"));
    int fd = open(shared->file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    close(fd);
    daemon_start(&d, (const char *[]){ "--sandbox", "strict", "--cold-age", "50ms", "--heat", "scan",
                                       "--reclaim-rate", "4G", NULL });
    directory_open_to_all();
    strcpy(shared->socket_path, d.socket_path);
    CHECK_EQ(chmod(d.socket_path, 0666), 0);
}

int main(void)
{
    shared = test_shared(sizeof *shared);
    test_begin("a client that keeps the lock of its memory keeps nobody waiting", 110);
    begin();
    pid_t client = helper_start(holder, NULL);
    WAIT_UNTIL(atomic_load(&shared->server));
    if (atomic_load(&shared->server) < 0)
        test_skip("no FUSE here: not root, or a container");

    test_case("others are served");
    hold();
    questions_are_answered("\"sessions\"");
    WAIT_UNTIL(process_nr_threads(d.pid, "pp-control") == 1 + USER_AWAY_MAX);
    questions_are_answered("\"away\"");
    CHECK_EQ(helper_wait(helper_start(is_served, NULL)), 0);
    CHECK_EQ(process_nr_threads(d.pid, "pp-control"), 1 + USER_AWAY_MAX);
    what_run_starts_ends();

    test_case("sessions end while a thread is in a look at them");
    atomic_store(&shared->must_misbehave, true);
    test_nap_us(1000000);
    questions_are_answered("\"sessions\"");

    test_case("it lets go");
    atomic_store(&shared->silence.of_read_ms, 0);
    WAIT_LONG_UNTIL(atomic_load(&shared->is_back));
    WAIT_UNTIL(process_nr_threads(d.pid, "pp-control") == 1);
    CHECK(!strstr(daemon_status(&d), "\"away\""));

    test_case("the daemon ends meanwhile");
    hold();
    WAIT_UNTIL(process_nr_threads(d.pid, "pp-control") > 1);
    if (IS_LOOKING_FOR_LEAKS) {
        atomic_store(&shared->silence.of_read_ms, 0);
        WAIT_LONG_UNTIL(process_nr_threads(d.pid, "pp-control") == 1);
    }
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    CHECK_EQ(kill(client, SIGKILL), 0);
    CHECK_EQ(kill(atomic_load(&shared->server), SIGKILL), 0); /* then the client can end, too */
    (void)helper_wait(client);
    return test_end();
}
