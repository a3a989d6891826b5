/* birth.c - how the agent comes to life: its memory, its descriptors, its two threads; and its end. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/point.h"
#include "client/client.h"
#include "client/descriptor.h"
#include "client/fork.h"
#include "client/sigbus.h"
#include "client/sleep.h"
#include "sys/apart.h"
#include "sys/lock.h"
#include "sys/sched.h"
#include "sys/tasks.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FIRST_CLOSED_FD 3u /* their reports need standard error */
#else
#define FIRST_CLOSED_FD 0u
#endif

#define STACK_BYTES ((size_t)1 << 20) /* address space; 20-30 KiB are ever touched */
#define UNMAPPED_MAX 4096u
#define TABLE_BYTES_MAX ((size_t)1 << 30) /* of address space: about 340 GiB of pages at a time */
#define TABLE_BYTES_MIN ((size_t)16 << 20)

/* ---- memory: one region of address space, populated by touch, never managed, not for children */

struct bump {
    unsigned char *next;
};

static void *take(struct bump *b, size_t bytes)
{
    void *memory = b->next;
    b->next += page_round_up(bytes);
    return memory;
}

static size_t region_bytes_without_table(void)
{
    return sizeof(struct agent) + sizeof(struct porter) + 2 * RANGES_MAX * sizeof(struct interval) +
           2 * UNMAPPED_MAX * sizeof(struct interval) + PINS_MAX * sizeof(struct pin) +
           PENDING_FAULTS_MAX * sizeof(struct pending_fault) + GIVE_UP_MAX * sizeof(locator) +
           PORTER_ORDERS_NR * (sizeof(struct porter_order) + sizeof(uint32_t)) +
           STAGING_SLOTS_MAX * (sizeof(struct staging_slot) + sizeof(struct porter_note)) +
           2 * sizeof(struct ring_shared) + pages_to_bytes(MOVE_RUN_MAX + STAGING_SLOTS_MAX) +
           pages_to_bytes(AHEAD_SLOTS) + ZONES_NR * sizeof(struct zone) + 2 * STACK_BYTES +
           64 * PAGE_BYTES;
}

/* What touching threads need beside a table of so many bytes. */
static size_t touchers_bytes(const struct pp_pager *pp, size_t table_bytes)
{
    uint32_t nr_leaves = (uint32_t)(table_bytes / sizeof(struct page_leaf));
    return !pp->is_direct ? 0
                          : direct_leaves_bytes(nr_leaves) + direct_dirty_bytes(nr_leaves) +
                                DIRECT_SLOTS_NR * sizeof(struct direct_scratch) + 5 * PAGE_BYTES;
}

/* As much of a table as the address-space limit allows. */
static int reserve_region(struct pp_pager *pp, size_t *ret_table_bytes)
{
    for (size_t table = TABLE_BYTES_MAX; table >= TABLE_BYTES_MIN; table /= 2) {
        size_t bytes = page_round_up(region_bytes_without_table() + table + touchers_bytes(pp, table));
        void *m = point_fails(POINT_REGION) ? MAP_FAILED
                                            : map_apart(bytes, PROT_READ | PROT_WRITE,
                                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
        if (m == MAP_FAILED)
            continue;
        (void)madvise(m, bytes, MADV_NOHUGEPAGE);
        pp->region = m;
        pp->region_bytes = bytes;
        *ret_table_bytes = table;
        return 0;
    }
    return -ENOMEM;
}

static void bind_porter(struct agent *a, struct porter *porter, struct bump *b)
{
    struct ring_shared *shared = take(b, 2 * sizeof *shared);
    void *orders = take(b, PORTER_ORDERS_NR * sizeof(struct porter_order));
    void *freed = take(b, PORTER_ORDERS_NR * sizeof(uint32_t));
    ring_init(&a->pg.to_porter, &shared[0], orders, PORTER_ORDERS_NR, sizeof(struct porter_order));
    ring_init(&porter->orders, &shared[0], orders, PORTER_ORDERS_NR, sizeof(struct porter_order));
    ring_init(&a->pg.from_porter, &shared[1], freed, PORTER_ORDERS_NR, sizeof(uint32_t));
    ring_init(&porter->freed, &shared[1], freed, PORTER_ORDERS_NR, sizeof(uint32_t));
    porter->staging_memory = a->pg.staging_memory;
    porter->notes = a->pg.notes;
}

static bool is_registered(const struct interval *watched)
{
    return watch_state_of(watched) != WATCH_REFUSED;
}

static void lay_out_touchers(struct pp_pager *pp, struct bump *b)
{
    struct pager *pg = &pp->agent->pg;
    struct direct *d = pp->direct;
    d->table = &pg->table;
    d->stores = pg->stores;
    d->staging_memory = pg->staging_memory;
    d->watched = &pg->watched;
    d->is_registered = is_registered;
    d->unsettled = &pg->unmapped;
    d->hole = (uintptr_t)take(b, PAGE_BYTES);
    d->leaves = take(b, direct_leaves_bytes(pg->table.nr_leaves_max));
    d->dirty = take(b, direct_dirty_bytes(pg->table.nr_leaves_max));
    d->scratch = take(b, DIRECT_SLOTS_NR * sizeof *d->scratch);
    memset(d->counts, 0, sizeof d->counts);
    atomic_store(&d->timed, 0);
    atomic_store(&d->may_go_ahead, false); /* until the agent has looked */
    pg->direct = d;
}

static void lay_out(struct pp_pager *pp, size_t table_bytes, void **ret_agent_stack,
                    void **ret_porter_stack)
{
    struct bump b = { .next = pp->region };
    /* Stacks first and inherited by children: libc walks its list of threads there after a fork. */
    *ret_agent_stack = take(&b, STACK_BYTES);
    *ret_porter_stack = take(&b, STACK_BYTES);
    (void)madvise(b.next, pp->region_bytes - 2 * STACK_BYTES, MADV_DONTFORK);

    struct agent *a = pp->agent = take(&b, sizeof *a);
    struct porter *porter = pp->porter = take(&b, sizeof *porter);
    struct pager *pg = &a->pg;
    pg->managed = (struct intervals){ .items = take(&b, RANGES_MAX * sizeof(struct interval)),
                                      .nr_max = RANGES_MAX };
    pg->watched = (struct intervals){ .items = take(&b, RANGES_MAX * sizeof(struct interval)),
                                      .nr_max = RANGES_MAX };
    pg->unmapped = (struct intervals){ .items = take(&b, UNMAPPED_MAX * sizeof(struct interval)),
                                       .nr_max = UNMAPPED_MAX };
    pg->late_unmaps = (struct intervals){ .items = take(&b, UNMAPPED_MAX * sizeof(struct interval)),
                                          .nr_max = UNMAPPED_MAX };
    pg->pins.items = take(&b, PINS_MAX * sizeof(struct pin));
    pg->pins.nr = pp->pins.nr;
    memcpy(pg->pins.items, pp->pins.items, pp->pins.nr * sizeof(struct pin));
    pg->faults = take(&b, PENDING_FAULTS_MAX * sizeof *pg->faults);
    pg->give_up = take(&b, GIVE_UP_MAX * sizeof *pg->give_up);
    pg->notes = take(&b, STAGING_SLOTS_MAX * sizeof *pg->notes);
    staging_init(&pg->staging, take(&b, STAGING_SLOTS_MAX * sizeof(struct staging_slot)),
                 STAGING_SLOTS_MAX);
    pg->landing = take(&b, pages_to_bytes(MOVE_RUN_MAX));
    pg->staging_memory = take(&b, pages_to_bytes(STAGING_SLOTS_MAX));
    pg->stats = &pp->agent_stats;
    pg->on_unwatched = agent_on_unwatched;
    pg->on_feedback = agent_on_feedback;
    pg->on_squeeze = agent_on_squeeze;
    pg->on_fork = forks_on_fork;
    pg->on_remapped = forks_on_remapped;
    pg->on_no_descriptor = forks_on_no_descriptor;
    pg->context = a;
    pg->store_now = -1;
    pg->uffd = pg->uffd_staging = pg->pagemap_fd = pg->maps.fd = -1;
    a->porter_bell_fd = a->timer_fd = a->others_fd = -1;
    session_clear(&a->session);
    forks_clear(&a->forks);
    porter->pp = pp;
    porter->stats = &pp->porter_stats;
    porter->bell_fd = -1;
    atomic_store(&porter->raw_limit, 448);
    bind_porter(a, porter, &b);
    pg->ahead.buffers = take(&b, pages_to_bytes(AHEAD_SLOTS));
    porter->ahead = &pg->ahead;
    prefetch_init(&a->prefetch.policy);
    page_table_init(&pg->table, take(&b, table_bytes), table_bytes);
    a->prefetch.rhythms.zones = take(&b, ZONES_NR * sizeof(struct zone));
    if (pp->is_direct)
        lay_out_touchers(pp, &b);
}

static int lock_from_to(const void *from, const void *to)
{
    return memory_lock(from, (size_t)((const unsigned char *)to - (const unsigned char *)from));
}

/* What a fault needs of ours does not wait for swap: stacks, table, lists, scratch. Not landing, staging and
 * the touchers' hole, out of which nothing is moved that is locked, nor buffers, which are given back. Only where
 * all of it may be locked (root): an ordinary user's limit is left to the application. */
static void lock_region(const struct pp_pager *pp)
{
    const struct pager *pg = &pp->agent->pg;
    const unsigned char *end = (const unsigned char *)pp->region + pp->region_bytes;
    const unsigned char *table_end = pp->is_direct ? (const unsigned char *)pp->direct->hole : end;
    if (lock_from_to(pg->ahead.buffers + pages_to_bytes(AHEAD_SLOTS), table_end))
        return; /* the table is nearly all of it */
    if (pp->is_direct)
        (void)lock_from_to(table_end + PAGE_BYTES, end);
    (void)lock_from_to(pp->region, pg->landing);
    (void)lock_from_to(pg->staging_memory + pages_to_bytes(STAGING_SLOTS_MAX), pg->ahead.buffers);
}

/* ---- descriptors: a table of the agent's own, in which nothing of the application's stays open */

/* kept: one that stays open; -1: none. */
static int own_descriptors(struct agent *a, struct porter *porter, int kept)
{
    if (point_fails(POINT_OWN_TABLE) ||
        syscall(SYS_close_range, kept < 0 ? FIRST_CLOSED_FD : (unsigned)kept + 1, ~0u,
                CLOSE_RANGE_UNSHARE))
        return -errno;
    if (kept > (int)FIRST_CLOSED_FD &&
        syscall(SYS_close_range, FIRST_CLOSED_FD, (unsigned)kept - 1, 0))
        return -errno;
    while (FIRST_CLOSED_FD == 0) { /* nothing of ours may become 0, 1 or 2 */
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        if (fd >= 2)
            break;
    }
    /* Of this thread: a first thread that has called pthread_exit() has no memory any more. */
    a->pg.pagemap_fd = point_fails(POINT_OWN_PAGEMAP) ? -1
                                                      : open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC);
    if (a->pg.pagemap_fd < 0)
        return -errno;
    a->porter_bell_fd = point_fails(POINT_OWN_BELL) ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    porter->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    a->timer_fd = point_fails(POINT_OWN_TIMER) ? -1
                                               : timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    a->others_fd = point_fails(POINT_OWN_EPOLL) ? -1 : epoll_create1(EPOLL_CLOEXEC);
    if (a->porter_bell_fd < 0 || porter->bell_fd < 0 || a->timer_fd < 0 || a->others_fd < 0)
        return -errno;
    a->porter = porter;
    porter->agent_others_fd = a->others_fd;
    headroom_open(&a->prefetch.headroom, "/proc/self/cgroup", CGROUP_ROOT);
    int r = agent_listen(a, a->porter_bell_fd, OTHER_PORTER_BELL);
    if (r == 0)
        r = agent_listen(a, a->timer_fd, OTHER_TIMER);
    if (r)
        return r;
    return maps_open(&a->pg.maps);
}

/* The handshake needs rights for some features; a daemon that has them does it for us. */
static int handshake_by_daemon(struct agent *a, int fd, uint64_t features)
{
    struct msg_uffd_api ask = { .features = features };
    struct msg_fds fds = { .fd = { fd }, .nr = 1 };
    int r = msg_send(a->session.socket, MSG_UFFD_API, &ask, &fds);
    struct msg m;
    struct msg_fds none = { .nr = 0 };
    for (int i = 0; r == 0 && i < 2000; i++) {
        r = msg_recv(a->session.socket, &m, &none);
        if (r == -EAGAIN) {
            usleep(1000);
            r = 0;
        } else if (r == 0) {
            msg_fds_close(&none);
            return m.header.type == MSG_UFFD_API_DONE ? m.payload.uffd_api.error : -EPROTO;
        }
    }
    return r ? r : -ETIMEDOUT;
}

static int open_uffd(struct agent *a, uint64_t features, int *ret_fd)
{
    int fd = uffd_open(a->session.device_fd);
    if (fd < 0)
        return fd;
    uint64_t offered = 0;
    int r = uffd_handshake(fd, features, &offered);
    if (r == -EPERM)
        r = handshake_by_daemon(a, fd, features);
    if (r) {
        close(fd);
        return r == -EINVAL ? -EOPNOTSUPP : r;
    }
    *ret_fd = fd;
    return 0;
}

/* To be told of forks takes a right that most have not, and a fork can do without: whatever was in the way,
 * one that does not tell is asked for next. A direct pager is not told: before a fork all of its pages come
 * back. */
static int open_main_uffd(struct agent *a, struct pp_pager *pp)
{
    pp->door.address_bytes = 0;
    if (pp->is_direct)
        return open_uffd(a, UFFD_FEATURES_DIRECT, &a->pg.uffd);
    if (open_uffd(a, UFFD_FEATURES_MAIN | UFFD_FEATURE_EVENT_FORK, &a->pg.uffd))
        return open_uffd(a, UFFD_FEATURES_MAIN, &a->pg.uffd);
    forks_begin(a, &pp->door);
    return 0;
}

static int open_uffds(struct agent *a, struct pp_pager *pp)
{
    struct pager *pg = &a->pg;
    int r = open_main_uffd(a, pp);
    if (r == 0)
        r = open_uffd(a, UFFD_FEATURES_STAGING, &pg->uffd_staging);
    if (r == -EPERM)
        (void)snprintf(pp->error, sizeof pp->error, "no right to userfaultfd: %s, or: "
                       "sysctl vm.unprivileged_userfaultfd=1", a->session.device_fd < 0
                       ? "the daemon hands none over; run it as root, able to open /dev/userfaultfd"
                       : "what the daemon handed over is none; mend /dev/userfaultfd");
    else if (r == -EOPNOTSUPP)
        (void)snprintf(pp->error, sizeof pp->error, "this kernel lacks UFFDIO_MOVE or async "
                       "write-protection: Linux 6.8 or later is needed");
    else if (r)
        (void)snprintf(pp->error, sizeof pp->error, "cannot open a userfaultfd (%s)", error_text(r));
    if (r)
        return r;
    /* Write-protect mode: MOVE accepts it as a destination, and its holes never fault. */
    r = uffd_register(pg->uffd, (uintptr_t)pg->landing, pages_to_bytes(MOVE_RUN_MAX), UFFD_WATCH);
    if (r == 0)
        r = uffd_register(pg->uffd_staging, (uintptr_t)pg->staging_memory,
                          pages_to_bytes(STAGING_SLOTS_MAX), UFFD_WATCH);
    if (r == 0)
        r = uffd_register(pg->uffd, (uintptr_t)pp->bell_page, PAGE_BYTES, UFFD_WATCH);
    if (r)
        (void)snprintf(pp->error, sizeof pp->error, "cannot watch the agent's own memory (%s)", error_text(r));
    return r;
}

/* ---- threads */

static int start_thread(pthread_t *ret_thread, void *stack, void *(*main)(void *), void *argument)
{
    pthread_attr_t attributes;
    int r = pthread_attr_init(&attributes);
    if (r)
        return -r;
    r = pthread_attr_setstack(&attributes, stack, STACK_BYTES);
    if (r == 0)
        r = point_fails(POINT_OWN_THREAD) ? errno : pthread_create(ret_thread, &attributes, main, argument);
    pthread_attr_destroy(&attributes);
    return -r;
}

static void say_no_thread(struct pp_pager *pp, int error)
{
    (void)snprintf(pp->error, sizeof pp->error, "cannot start a thread (%s)", error_text(error));
}

static void boot_done(struct pp_pager *pp, int result)
{
    pp->boot_result = result;
    atomic_store_explicit(&pp->boot_state, result ? 2 : 1, memory_order_release);
    futex_wake_all(&pp->boot_state);
}

static void close_descriptors(struct agent *a, struct porter *porter)
{
    forks_end(a);
    int fds[] = { a->pg.uffd, a->pg.uffd_staging, a->pg.pagemap_fd, a->porter_bell_fd,
                  a->timer_fd, a->others_fd, porter->bell_fd };
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    urgent_end(a);
    maps_close(&a->pg.maps);
    headroom_close(&a->prefetch.headroom);
}

static int boot(struct pp_pager *pp)
{
    struct agent *a = pp->agent;
    int kept = pp->is_direct ? pp->direct_sockets[1] : -1;
    int r = own_descriptors(a, pp->porter, kept);
    if (r) {
        (void)snprintf(pp->error, sizeof pp->error, "cannot open /proc/self or an eventfd (%s)",
                       error_text(r));
        return r;
    }
    r = session_begin(a, pp, pp->error, sizeof pp->error);
    if (r)
        return r;
    r = open_uffds(a, pp);
    if (r == 0 && pp->is_direct) {
        r = descriptor_send(kept, a->pg.uffd);
        close(kept);
    }
    if (r)
        return r;
    void *stack = (unsigned char *)pp->region + STACK_BYTES;
    r = start_thread(&pp->porter->thread, stack, porter_main, pp->porter);
    if (r)
        say_no_thread(pp, r);
    return r;
}

/* It may be ringing for us just now, and that ends when we read it. Who stops us may be about to make a call that
 * only a single thread may. */
static void join_porter(struct agent *a, struct porter *porter)
{
    struct timespec until;
    do {
        (void)pager_read(&a->pg);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
    } while (pthread_timedjoin_np(porter->thread, NULL, &until) == ETIMEDOUT);
    task_wait_gone(porter->tid);
}

/* The agent's first steps, in its thread. */
static int wake_up(struct pp_pager *pp)
{
    (void)prctl(PR_SET_NAME, "pp-agent");
    sched_remember();
    int r = boot(pp);
    if (r) {
        session_close(pp->agent);
        close_descriptors(pp->agent, pp->porter);
    } else {
        urgent_begin(pp->agent);
    }
    return r;
}

/* Whoever stops us may still be in the discard that is our bell. The end of our userfaultfd would let it go,
 * but for the copy of it in the application's table, which this very thread is to close. */
static void wait_for_bell(struct pp_pager *pp)
{
    while (pp->is_direct && !atomic_load(&pp->command.is_rung)) {
        (void)pager_read(&pp->agent->pg);
        usleep(50);
    }
}

/* Everything is back: touching threads wait outside until the kernel has let go of the ranges. */
static void end_direct(struct agent *a, struct pp_pager *pp)
{
    if (!a->pg.direct)
        return;
    agent_publish_stats(a, pp);
    sigbus_close(pp->direct);
    a->pg.direct = NULL;
}

void agent_run_here(struct pp_pager *pp)
{
    struct agent *a = pp->agent;
    struct porter *porter = pp->porter;
    agent_loop(a, pp);
    end_direct(a, pp);
    atomic_store(&porter->must_end, true);
    doorbell_ring(&porter->bell, porter->bell_fd);
    (void)eventfd_write(porter->bell_fd, 1);
    join_porter(a, porter);
    wait_for_bell(pp);
    agent_publish_stats(a, pp);
    int result = a->command_result;
    session_close(a);
    close_descriptors(a, porter);
    pp->command.result = result;
    atomic_store_explicit(&pp->command.state, COMMAND_DONE, memory_order_release);
    futex_wake_all(&pp->command.state);
}

static void *agent_main(void *argument)
{
    struct pp_pager *pp = argument;
    int r = wake_up(pp);
    if (r == 0 && pp->is_direct)
        direct_open_gate(pp->direct);
    boot_done(pp, r);
    if (r == 0)
        agent_run_here(pp);
    return NULL;
}

static void free_region(struct pp_pager *pp)
{
    munmap(pp->region, pp->region_bytes);
    pp->region = NULL;
    pp->agent = NULL;
    pp->porter = NULL;
}

/* ---- starting and ending, the application's side */

/* The place of touching threads, and the way for the userfaultfd to come. */
static int prepare_touchers(struct pp_pager *pp)
{
    if (!pp->is_direct)
        return 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pp->direct_sockets))
        return -errno;
    pp->direct = sigbus_take_place(pp);
    return pp->direct ? 0 : -EMFILE;
}

static int let_touchers_in(struct pp_pager *pp)
{
    int fd = descriptor_receive(pp->direct_sockets[0], sigbus_least_descriptor());
    if (fd < 0)
        return fd;
    sigbus_open(pp->direct, fd);
    return 0;
}

static void close_sockets(struct pp_pager *pp)
{
    for (int i = 0; i < 2; i++) {
        if (pp->direct_sockets[i] >= 0)
            close(pp->direct_sockets[i]);
        pp->direct_sockets[i] = -1;
    }
}

/* The agent has closed its descriptor; with ours the kernel lets go of all ranges. */
static void end_touchers(struct pp_pager *pp)
{
    if (!pp->direct)
        return;
    sigbus_give_back(pp->direct);
    pp->direct = NULL;
}

static int make_region(struct pp_pager *pp, void **ret_agent_stack)
{
    size_t table_bytes;
    void *porter_stack;
    int r = reserve_region(pp, &table_bytes);
    if (r) {
        (void)snprintf(pp->error, sizeof pp->error, "no address space for the page table: raise "
                       "RLIMIT_AS (ulimit -v)");
        return r;
    }
    lay_out(pp, table_bytes, ret_agent_stack, &porter_stack);
    lock_region(pp);
    return 0;
}

/* The stack is the thread's own; the one in the region stays unused address space. */
int agent_boot_here(struct pp_pager *pp)
{
    void *unused_stack;
    int r = make_region(pp, &unused_stack);
    if (r)
        return r;
    pp->agent_thread = pthread_self();
    r = wake_up(pp);
    if (r)
        free_region(pp);
    return r;
}

static int start_agent(struct pp_pager *pp)
{
    void *agent_stack;
    int r = make_region(pp, &agent_stack);
    if (r)
        return r;
    atomic_store(&pp->boot_state, 0);

    sigset_t all, old; /* both threads inherit: no signal of the application's is ours */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = start_thread(&pp->agent_thread, agent_stack, agent_main, pp);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r) {
        say_no_thread(pp, r);
        free_region(pp);
        return r;
    }
    while (atomic_load_explicit(&pp->boot_state, memory_order_acquire) == 0)
        futex_wait_for(&pp->boot_state, 0, NS_PER_S);
    if (pp->boot_result) {
        pthread_join(pp->agent_thread, NULL);
        free_region(pp);
    }
    return pp->boot_result;
}

int agent_start(struct pp_pager *pp)
{
    pp->direct_sockets[0] = pp->direct_sockets[1] = -1;
    int r = prepare_touchers(pp);
    if (r)
        (void)snprintf(pp->error, sizeof pp->error, "no descriptor is free for direct ranges (%s)",
                       error_text(r));
    else
        r = start_agent(pp);
    if (r)
        end_touchers(pp);
    else if (pp->is_direct && (r = let_touchers_in(pp))) {
        (void)snprintf(pp->error, sizeof pp->error, "no descriptor is free for direct ranges (%s)",
                       error_text(r));
        (void)pager_command_locked(pp, COMMAND_STOP, 0, 0);
        agent_end(pp);
    }
    close_sockets(pp);
    return r;
}

void agent_end(struct pp_pager *pp)
{
    pthread_join(pp->agent_thread, NULL);
    end_touchers(pp);
    free_region(pp);
}

void agent_forget_in_child(struct pp_pager *pp)
{
    munmap(pp->region, 2 * STACK_BYTES); /* the rest was not inherited */
    pp->region = NULL;
    pp->agent = NULL;
    pp->porter = NULL;
}
