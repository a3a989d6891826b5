/* held_often - clients that keep the lock of their memory for moments, as often as the daemon comes, do not take
 * their turns from others. And what is left of a session that ended meanwhile goes when the lock is free, also
 * where nobody is connected any more.
 *
 * Method: users who hold theirs (fuse.h) for less time than the daemon takes to lose a thread to each of their
 * sessions, one at a tick; so that at each tick there is one that it can be lost to. They have come last, and
 * are looked at first. Behind them is one whose pages must leave. */
#include "command.h"
#include "fuse.h"
#include "greeting.h"
#include "process.h"
#include "support.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/limits.h"
#include "wire/msg.h"
#include "wire/session_memory.h"

#define NR 1024u
#define USERS 4u
#define SESSIONS USER_AWAY_MAX /* of each of them */
#define HOLD_MS 3000u          /* a tick is 250 ms with this cold age */
#define FOR_EVER_MS 90000u

static struct shared {
    struct fuse_silence silence[USERS];
    char socket_path[108], file[USERS][108];
    _Atomic unsigned nr_ready; /* who joined; then those who hold */
    _Atomic bool has_no_fuse, is_served, must_misbehave, is_over;
} *shared;

static struct daemon d;

/* ---- who is behind */

static int is_served(void *unused)
{
    (void)unused;
    struct pages p;
    struct pp_pager *pager = pager_open(shared->socket_path);
    pages_map(&p, NR);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    atomic_fetch_add(&shared->nr_ready, 1);
    WAIT_LONG_UNTIL(atomic_load(&shared->nr_ready) == 1 + USERS);
    pages_write_all(&p);
    WAIT_FOR(40, pages_nr_present(&p, 0, NR) < NR / 20);
    atomic_store(&shared->is_served, true);
    pages_check_all(&p);
    while (!atomic_load(&shared->is_over)) /* what the daemon holds of us stays as it is meanwhile */
        test_nap_us(10000);
    CHECK_EQ(pager_stat(pager, "daemon_joins"), 1);
    CHECK_EQ(pp_stop(pager), 0);
    pp_close(pager);
    return 0;
}

/* ---- who holds */

/* With a range that is empty, so that nothing of it is ever cold. */
static struct by_hand join_by_hand(void)
{
    void *memory = mmap(NULL, pages_to_bytes(NR), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    struct by_hand b = greeting_watch(shared->socket_path, memory, pages_to_bytes(NR));
    atomic_store(&b.memory->raw.head, 0); /* touched now: later it would have to wait */
    return b;
}

static void *map_all_the_time(void *unused)
{
    for (;;) {
        void *page = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        (void)munmap(page, PAGE_BYTES);
        test_nap_us(200);
    }
    return unused;
}

/* Each page is read from the server once. */
static void *hold_in_turn(void *argument)
{
    unsigned who = *(unsigned *)argument;
    int fd = open(shared->file[who], O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(ftruncate(fd, pages_to_bytes(FUSE_PAGES)), 0);
    volatile char *file = mmap(NULL, pages_to_bytes(FUSE_PAGES), PROT_READ, MAP_SHARED, fd, 0);
    CHECK(file != MAP_FAILED);
    for (uint64_t i = 0; i < FUSE_PAGES; i++)
        (void)file[pages_to_bytes(i)];
    return NULL;
}

static int holder(void *argument)
{
    unsigned who = *(unsigned *)argument;
    pid_t server = fuse_serve(shared->file[who], NOBODY - who, &shared->silence[who]);
    if (!server)
        atomic_store(&shared->has_no_fuse, true);
    if (!server || !become_client(NOBODY - who))
        return 1;
    struct by_hand by_hand[SESSIONS];
    for (unsigned i = 0; i < SESSIONS; i++)
        by_hand[i] = join_by_hand();
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, hold_in_turn, argument), 0);
    CHECK_EQ(pthread_create(&thread, NULL, map_all_the_time, NULL), 0);
    atomic_fetch_add(&shared->nr_ready, 1);
    WAIT_FOR(90, atomic_load(&shared->must_misbehave));
    for (unsigned i = 0; i < SESSIONS; i++) {
        atomic_store(&by_hand[i].memory->raw.head, 0x77777777u); /* ended by the compress thread */
        (void)eventfd_write(by_hand[i].daemon_bell, 1);
    }
    pause();
    return 0;
}

/* ---- */

static pid_t begin(void)
{
    static unsigned numbers[USERS] = { 0, 1, 2, 3 };
    static const char *const options[] = { "--cold-age", "4s", "--heat", "scan", "--reclaim-rate", "4G", NULL };
    for (unsigned i = 0; i < USERS; i++) {
        const char name[] = { (char)('a' + i), 0 };
        (void)snprintf(shared->file[i], sizeof shared->file[i], "%s", test_path(name));
        int fd = open(shared->file[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        CHECK(fd >= 0);
        close(fd);
        atomic_store(&shared->silence[i].of_read_ms, HOLD_MS);
    }
    directory_open_to_all();
    daemon_start(&d, options);
    strcpy(shared->socket_path, d.socket_path);
    CHECK_EQ(chmod(d.socket_path, 0666), 0);
    pid_t client = helper_start(is_served, NULL);
    WAIT_LONG_UNTIL(atomic_load(&shared->nr_ready) == 1);
    for (unsigned i = 0; i < USERS; i++)
        (void)helper_start(holder, &numbers[i]);
    WAIT_LONG_UNTIL(atomic_load(&shared->nr_ready) == 1 + USERS || atomic_load(&shared->has_no_fuse));
    if (atomic_load(&shared->has_no_fuse))
        test_skip("no FUSE here: not root, or a container");

    test_case("others have their turns");
    WAIT_FOR(40, atomic_load(&shared->is_served));
    return client;
}

int main(void)
{
    shared = test_shared(sizeof *shared);
    test_begin("who holds his lock for moments takes nobody's turn", 100);
    if (geteuid() != 0)
        test_skip("no FUSE here: not root, or a container");
    pid_t client = begin();

    test_case("what is left of a session goes with the look at it");
    for (unsigned i = 0; i < USERS; i++)
        atomic_store(&shared->silence[i].of_read_ms, FOR_EVER_MS);
    WAIT_LONG_UNTIL(process_nr_threads(d.pid, "pp-control") == 1 + USERS * SESSIONS);
    unsigned nr_descriptors = process_descriptors_at_rest(d.pid);
    atomic_store(&shared->must_misbehave, true);
    WAIT_LONG_UNTIL(process_entries(d.pid, "fd") == nr_descriptors - USERS * SESSIONS); /* their sockets */
    test_nap_us(500000);
    for (unsigned i = 0; i < USERS; i++)
        atomic_store(&shared->silence[i].of_read_ms, 0);
    WAIT_LONG_UNTIL(process_nr_threads(d.pid, "pp-control") == 1);
    WAIT_UNTIL(process_entries(d.pid, "fd") < nr_descriptors - USERS * SESSIONS); /* bells, stores, pagemaps */

    atomic_store(&shared->is_over, true);
    CHECK_EQ(helper_wait(client), 0);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
