/* fork_child.c - the child of a fork with pages out brings back its own copy of them; see docs/fork.md. It
 * runs in the handler of fork(), signals blocked, as the only thread of its process, and none of the program's
 * code runs before it is through. It allocates nothing and touches nothing that may be out: what it touches all
 * the same the parent's agent answers, until the child says that it is done.
 *
 * Per page: as a restore (LZ4 1 us, checksum 0.2), and a sixteenth of a COPY of 16. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "base/point.h"
#include "client/client.h"
#include "store/reader.h"
#include "sys/apart.h"
#include "sys/smaps.h"
#include "sys/uffd.h"

#define RUN 16u          /* neighbours that are installed with one COPY */
#define WIPED_MAX 4096u
#define STACK_BYTES (2 * PAGE_BYTES) /* the most is taken by reading /proc: 4.3 KiB */
#define PATIENCE_NS (10 * NS_PER_S) /* where the kernel says "not now" */

struct refill {
    int socket, uffd;
    const struct fork_page *pages;
    size_t nr_pages, map_bytes;
    struct store_map stores[PAGE_STORES_NR];
    struct intervals wiped;
    struct interval wiped_items[WIPED_MAX];
    page_number run_first;
    unsigned run_nr;
    struct store_scratch scratch;
    _Alignas(4096) unsigned char run[RUN * PAGE_BYTES];
};

/* By SIGKILL: a handler of the program's would be its code on missing memory. The first process of a namespace
 * is not killed by itself. */
_Noreturn static void die(const char *why)
{
    static const char head[] = "process-pager: ending this child of fork(): its memory can't be brought back: ";
    ssize_t unused = write(2, head, sizeof head - 1);
    unused = write(2, why, strlen(why));
    unused = write(2, "\n", 1);
    (void)unused; /* nobody left to tell */
    (void)kill(getpid(), SIGKILL);
    _exit(128 + SIGKILL);
}

/* The call of which this is the answer, first made then, is made again: there may be more of what it wanted. */
static bool is_again(int error, uint64_t begun_ns)
{
    if (!fork_may_pass(error) && error != -EMFILE && error != -ENFILE)
        return false;
    if (now_ns() - begun_ns > PATIENCE_NS)
        return false;
    if (error == -EAGAIN)
        sched_yield();
    else
        usleep(1000);
    return true;
}

/* The stack may be managed, and what it needs is to be there before the parent may end: then nobody answers any
 * more. What is read there meanwhile is nobody's. */
__attribute__((noinline)) static void touch_stack(void)
{
    volatile unsigned char stack[STACK_BYTES];
    for (size_t i = 0; i < sizeof stack; i += PAGE_BYTES / 2)
        stack[i] = 0;
}

/* ---- what the agent sends */

static void *map(int fd, uint64_t bytes)
{
    void *m = point_fails(POINT_FORK_CHILD_MAP) ? MAP_FAILED
                                                : map_apart(bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd);
    if (m == MAP_FAILED)
        die("no room in its address space: raise RLIMIT_AS (ulimit -v)");
    close(fd);
    return m;
}

static bool say(const struct refill *r, enum fork_word word)
{
    uint64_t begun_ns = now_ns();
    int e;
    do
        e = fork_send(r->socket, &(struct fork_message){ .word = word }, -1);
    while (is_again(e, begun_ns));
    return e == 0;
}

/* The next message; false: the other end has gone. */
static bool next_message(struct refill *r, struct fork_message *ret_m, int *ret_fd)
{
    for (;;) {
        int e = fork_receive(r->socket, ret_m, ret_fd);
        if (e == 0)
            return true;
        if (e != -EAGAIN)
            return false;
        (void)poll(&(struct pollfd){ .fd = r->socket, .events = POLLIN }, 1, -1);
    }
}

_Noreturn static void die_of(uint32_t loss)
{
    switch ((enum fork_loss)loss) {
    case FORK_LOSS_MOVED:
        die("another thread moved memory (mremap) at that very moment");
    case FORK_LOSS_TOUCH:
        die("the kernel took no page that a handler of fork() had touched (UFFDIO_COPY)");
    case FORK_LOSS_SEND:
        die("the kernel had no memory to send it its userfaultfd");
    case FORK_LOSS_NONE:
    case FORK_LOSS_LIST:
        break;
    }
    die("its parent's agent said what can't be");
}

/* True: it was the last. */
static bool take(struct refill *r, const struct fork_message *m, int fd)
{
    switch ((enum fork_word)m->word) {
    case FORK_PAGES:
        r->map_bytes = m->bytes;
        r->pages = map(fd, m->bytes);
        return false;
    case FORK_STORE:
        r->stores[m->index % PAGE_STORES_NR] = (struct store_map){ .bytes = map(fd, m->bytes),
                                                                   .nr_bytes = m->bytes };
        point_kills(POINT_FORK_CHILD_MAPPED);
        return false;
    case FORK_UFFD:
        r->uffd = fd;
        r->nr_pages = m->bytes / sizeof *r->pages;
        point_kills(POINT_FORK_CHILD_TAKES);
        return true;
    case FORK_LOST:
        die_of(m->index);
    case FORK_HERE:
    case FORK_DONE:
        break;
    }
    die_of(FORK_LOSS_NONE);
}

/* False: there will be nothing. */
static bool take_all(struct refill *r)
{
    point_kills(POINT_FORK_CHILD_BEGINS);
    if (!say(r, FORK_HERE))
        return false;
    point_kills(POINT_FORK_CHILD_ASKED);
    struct fork_message m;
    int fd;
    do
        if (!next_message(r, &m, &fd))
            return false;
    while (!take(r, &m, fd));
    return r->uffd >= 0 && r->pages && r->nr_pages * sizeof *r->pages <= r->map_bytes;
}

/* bytes NULL: poison. 0 or negative errno. */
static int give(const struct refill *r, uintptr_t to, const void *bytes)
{
    uint64_t begun_ns = now_ns();
    int e;
    do
        e = point_fails(POINT_FORK_CHILD_COPY) || point_fails(POINT_FORK_CHILD_REFUSED)
                ? -errno
                : bytes ? uffd_copy(r->uffd, to, bytes) : uffd_poison(r->uffd, to);
    while (is_again(e, begun_ns));
    return e;
}

_Noreturn static void die_of_refusal(void)
{
    die("the kernel takes no page (UFFDIO_COPY)");
}

/* Another thread's clone() may have raised its event at the same time: is this the userfaultfd of this very
 * address space? Nobody reads the bell's page, it is there to be discarded. */
static bool is_ours(struct refill *r, const void *bell_page)
{
    uint64_t word[2] = { (uint64_t)getpid(), now_ns() };
    memcpy(r->run, word, sizeof word);
    int e = give(r, (uintptr_t)bell_page, r->run);
    if (e && e != -EEXIST && e != -ENOENT && e != -ESRCH)
        die_of_refusal();
    return e == 0 && !memcmp(bell_page, word, sizeof word);
}

/* ---- bringing back */

static void install(struct refill *r, page_number page, const void *bytes)
{
    int e = give(r, page_address(page), bytes);
    /* There already: the agent was asked for it. No mapping: it is not for children, or was unmapped. */
    if (e && e != -EEXIST && e != -ENOENT)
        die_of_refusal();
}

static void flush(struct refill *r)
{
    uint64_t copied = 0;
    point_kills(POINT_FORK_CHILD_DECODED);
    if (r->run_nr > 1 && !point_fails(POINT_FORK_CHILD_COPY_RUN))
        (void)uffd_copy_run(r->uffd, page_address(r->run_first), r->run, pages_to_bytes(r->run_nr), &copied);
    for (unsigned i = (unsigned)bytes_to_pages(copied); i < r->run_nr; i++)
        install(r, r->run_first + i, r->run + pages_to_bytes(i));
    r->run_nr = 0;
    point_kills(POINT_FORK_CHILD_RUN);
}

static void bring_back(struct refill *r, const struct fork_page *p)
{
    if (p->what.state == PAGE_RESIDENT)
        return; /* discarded since */
    if (intervals_find(&r->wiped, p->page) && !mutant_is(MUTANT_FORK_FILLS_WIPED))
        return;
    if (r->run_nr == RUN || (r->run_nr && p->page != r->run_first + r->run_nr))
        flush(r);
    unsigned char *to = r->run + pages_to_bytes(r->run_nr);
    const struct store_map *store = &r->stores[p->what.store];
    int e = -EILSEQ;
    for (int i = 0; i < 2 && e && p->what.state == PAGE_STORED; i++) /* once more, then it is lost */
        e = store_read(store, p->what.where, p->checksum, &r->scratch, to);
    if (e) {
        flush(r);
        install(r, p->page, NULL);
        return;
    }
    if (!r->run_nr)
        r->run_first = p->page;
    r->run_nr++;
}

static void look_for_wiped(struct refill *r)
{
    uint64_t begun_ns = now_ns();
    int e;
    do {
        r->wiped = (struct intervals){ .items = r->wiped_items, .nr_max = WIPED_MAX };
        e = smaps_wiped(&r->wiped);
    } while (is_again(e, begun_ns));
    if (e)
        die("/proc/self/smaps can't be read");
    point_kills(POINT_FORK_CHILD_LOOKED);
}

static void bring_all_back(struct refill *r)
{
    if (r->nr_pages)
        look_for_wiped(r);
    for (size_t i = 0; i < r->nr_pages && !mutant_is(MUTANT_FORK_CHILD_UNFILLED); i++)
        bring_back(r, &r->pages[i]);
    flush(r);
}

/* Returns when nobody else reads this process's faults and events any more. */
static void take_leave(struct refill *r)
{
    struct fork_message m;
    int fd;
    point_kills(POINT_FORK_CHILD_ALL);
    bool is_said = say(r, FORK_DONE);
    point_kills(POINT_FORK_CHILD_DONE);
    while (is_said && next_message(r, &m, &fd))
        if (fd >= 0)
            close(fd);
    point_kills(POINT_FORK_CHILD_ALONE);
    close(r->uffd);
    close(r->socket);
    munmap((void *)(uintptr_t)r->pages, r->map_bytes);
    for (unsigned i = 0; i < PAGE_STORES_NR; i++)
        if (r->stores[i].bytes)
            munmap((void *)(uintptr_t)r->stores[i].bytes, r->stores[i].nr_bytes);
    munmap(r, sizeof *r);
    point_kills(POINT_FORK_CHILD_ENDS);
}

void fork_child_take(struct pp_pager *pp)
{
    touch_stack();
    struct refill *r = point_fails(POINT_FORK_CHILD_ROOM)
                           ? MAP_FAILED
                           : map_apart(sizeof *r, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (r == MAP_FAILED)
        die("no memory");
    r->socket = pp->door.socket;
    r->uffd = -1;
    if (!take_all(r)) {
        if (mutant_is(MUTANT_FORK_CHILD_GOES_ON))
            return;
        die("its parent, or the parent's agent, ended first");
    }
    if (!is_ours(r, pp->bell_page))
        die("another thread of its parent called clone() at the same time");
    point_kills(POINT_FORK_CHILD_OWN);
    pp->door.refill = r;
}

void fork_child_refill(struct pp_pager *pp)
{
    struct refill *r = pp->door.refill;
    if (!r)
        return; /* MUTANT_FORK_CHILD_GOES_ON */
    pp->door.refill = NULL;
    bring_all_back(r);
    take_leave(r);
}
