/* forks.c - see forks.h and docs/fork.md. The agent writes down what was out at a fork, hands it to the child
 * with its userfaultfd, and keeps every place that is given up, and every store, until the child is through. */
#include "client/forks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "base/point.h"
#include "client/client.h"
#include "client/sleep.h"
#include "sys/apart.h"
#include "sys/tasks.h"
#include "sys/uapi.h"
#include "sys/uffd.h"

#define BACKLOG 4 /* forks of one process come one at a time; the rest is for strangers, who are sent away */
/* A child that has not come to our handler by then is in a debugger's hands: its parent goes on. */
#define PATIENCE_NS NS_PER_S
/* What the kernel has no memory for now it may have later; a child that gets nothing for so long ends. */
#define GIVE_PATIENCE_NS (5 * NS_PER_S)

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- birth and death */

void forks_clear(struct forks *f)
{
    f->listener = -1;
    for (unsigned i = 0; i < PAGE_STORES_NR; i++)
        f->store_fds[i] = -1;
}

void forks_keep_store(struct forks *f, unsigned store, int fd)
{
    close_fd(&f->store_fds[store]);
    f->store_fds[store] = fd;
}

bool forks_need_store(const struct forks *f, unsigned store)
{
    for (unsigned i = 0; i < FORK_CHILDREN_MAX; i++)
        if (f->children[i].is_taken && f->children[i].stores >> store & 1)
            return !mutant_is(MUTANT_FORK_LETS_STORE_GO);
    return false;
}

/* The kernel chooses the name: nobody has to tidy it up. */
static int listen_anywhere(struct fork_door *door)
{
    const int type = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
    int fd = point_fails(POINT_FORK_DOOR) ? -1 : socket(AF_UNIX, type, 0);
    if (fd < 0)
        return -errno;
    const int no = 0; /* a child sends us no descriptor; what a stranger sends may keep who closes it */
    (void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof no);
    struct sockaddr_un any = { .sun_family = AF_UNIX };
    socklen_t bytes = sizeof door->address;
    if (bind(fd, (struct sockaddr *)&any, sizeof any.sun_family) || listen(fd, BACKLOG) ||
        getsockname(fd, (struct sockaddr *)&door->address, &bytes)) {
        int r = -errno;
        close(fd);
        return r;
    }
    door->address_bytes = bytes;
    return fd;
}

void forks_begin(struct agent *a, struct fork_door *door)
{
    a->forks.nr_filters = task_nr_filters((pid_t)syscall(SYS_gettid));
    int fd = listen_anywhere(door);
    if (fd < 0)
        door->address_bytes = 0; /* everything comes back before a fork */
    else
        a->forks.listener = fd;
}

static void drop(struct agent *a, struct fork_child *c)
{
    if (c->uffd >= 0)
        agent_unlisten(a, c->uffd);
    agent_unlisten(a, c->socket);
    close_fd(&c->uffd); /* before the socket: its end says that nobody else reads the child's faults */
    point_kills(POINT_FORK_LET_GO);
    close_fd(&c->socket);
    if (c->pages)
        munmap(c->pages, c->nr_pages_max * sizeof *c->pages);
    if (a->forks.expected == c)
        a->forks.expected = NULL;
    c->is_taken = false;
    a->forks.nr--;
}

/* The door is closed with the thread's table, as what send_away() leaves open: who ends does not wait. */
void forks_end(struct agent *a)
{
    struct forks *f = &a->forks;
    for (unsigned i = 0; i < FORK_CHILDREN_MAX; i++)
        if (f->children[i].is_taken)
            drop(a, &f->children[i]);
    for (unsigned i = 0; i < PAGE_STORES_NR; i++)
        close_fd(&f->store_fds[i]);
    f->listener = -1;
}

/* ---- before the fork */

/* More than a socket's queue holds (net.unix.max_dgram_qlen, mostly 10): an empty message looks like the end. */
#define TAKEN_OUT_MAX 600

/* Nothing more comes in; of what has come, is there a descriptor? Its last close may wait for hours, and
 * closing the connection would be that close. What has none is taken out. */
static bool brings_descriptors(int socket)
{
    (void)shutdown(socket, SHUT_RDWR);
    for (int i = 0; i < TAKEN_OUT_MAX; i++) {
        struct msghdr m = { .msg_iov = NULL }; /* no room for one: it stays where it is */
        if (recvmsg(socket, &m, MSG_PEEK | MSG_DONTWAIT) < 0)
            return false;
        if (m.msg_flags & MSG_CTRUNC)
            return true;
        (void)recv(socket, NULL, 0, MSG_DONTWAIT);
    }
    return false;
}

/* Who has brought one keeps a number of ours until we end; without one left everything comes back before a
 * fork. From Linux 6.16 on nobody can. */
static void send_away(int socket)
{
    if (!brings_descriptors(socket))
        close(socket);
}

/* Strangers that fill the queue would keep the forking thread out for good, even when they have gone. */
static void turn_all_away(const struct forks *f)
{
    for (int i = 0; i < 2 * BACKLOG; i++) {
        int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        send_away(fd);
    }
}

void forks_count_drained(struct agent *a, enum fork_drained why)
{
    stats_add(a->pg.stats, STAT_forks_drained, 1);
    switch (why) {
    case FORK_UNTOLD:
        stats_add(a->pg.stats, STAT_forks_drained_untold, 1);
        break;
    case FORK_FILTERED:
        stats_add(a->pg.stats, STAT_forks_drained_filter, 1);
        break;
    case FORK_REFUSED:
        turn_all_away(&a->forks);
        break;
    }
}

bool forks_may_call(const struct agent *a, pid_t tid)
{
    int theirs = task_nr_filters(tid);
    return theirs == 0 || (theirs > 0 && theirs == a->forks.nr_filters);
}

/* ---- COVER */

/* Strangers may know the name, too. */
static int take_connection(const struct forks *f)
{
    for (int i = 0; i < 2 * BACKLOG; i++) {
        bool is_refused = point_fails(POINT_FORK_ACCEPT);
        int fd = is_refused ? -1 : accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return -errno;
        struct ucred peer;
        socklen_t bytes = sizeof peer;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 && peer.pid == getpid())
            return fd;
        send_away(fd);
    }
    return -ECONNREFUSED;
}

static int open_list(void)
{
    if (point_fails(POINT_FORK_LIST_FILE))
        return -1;
    int fd = memfd_create("process-pager-fork", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    return fd < 0 && errno == EINVAL ? memfd_create("process-pager-fork", MFD_CLOEXEC) : fd;
}

/* Of memory that is there: a fault that gets none would end the process, in the middle of the event. */
static void *map_list(int fd, size_t bytes)
{
    if (point_fails(POINT_FORK_LIST_ROOM) || fallocate(fd, 0, 0, (off_t)bytes) ||
        point_fails(POINT_FORK_LIST_MAP))
        return MAP_FAILED;
    return map_apart(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
}

static int map_pages(struct fork_child *c, size_t nr_max, int *ret_fd)
{
    size_t bytes = nr_max * sizeof *c->pages;
    int fd = open_list();
    if (fd < 0)
        return -errno;
    void *map = map_list(fd, bytes);
    if (map == MAP_FAILED) {
        int r = -errno;
        close(fd);
        return r;
    }
    (void)madvise(map, bytes, MADV_DONTFORK);
    (void)madvise(map, bytes, MADV_DONTDUMP);
    c->pages = map;
    c->nr_pages_max = nr_max;
    *ret_fd = fd;
    return 0;
}

/* All that could fail, and all descriptors but the last one, before there is a child. */
static int ready(struct agent *a, struct fork_child *c)
{
    int fd = -1;
    int r = map_pages(c, pager_nr_out(&a->pg) + a->pg.nr_poisoned, &fd);
    if (r)
        return r;
    struct fork_message m = { .word = FORK_PAGES, .bytes = c->nr_pages_max * sizeof *c->pages };
    r = fork_send(c->socket, &m, fd);
    close(fd);
    for (unsigned i = 0; r == 0 && i < PAGE_STORES_NR; i++) {
        m = (struct fork_message){ .word = FORK_STORE, .index = i, .bytes = a->pg.stores[i].nr_bytes };
        if (a->pg.store_pages[i])
            r = a->forks.store_fds[i] < 0 ? -EBADF : fork_send(c->socket, &m, a->forks.store_fds[i]);
    }
    point_kills(POINT_FORK_SENT);
    return r ? r : agent_listen(a, c->socket, OTHER_FORK);
}

int forks_cover(struct agent *a)
{
    struct forks *f = &a->forks;
    struct fork_child *c = NULL;
    for (unsigned i = 0; i < FORK_CHILDREN_MAX && !c; i++)
        if (!f->children[i].is_taken)
            c = &f->children[i];
    int fd = take_connection(f);
    if (fd < 0)
        return fd;
    if (!c) {
        close(fd);
        return -EBUSY;
    }
    memset(c, 0, sizeof *c);
    c->is_taken = true;
    c->socket = fd;
    c->uffd = -1;
    f->nr++;
    point_kills(POINT_FORK_TAKEN);
    int r = ready(a, c);
    if (r)
        drop(a, c);
    else
        f->expected = c;
    return r;
}

/* ---- FORK */

static void write_down(struct pager *pg, struct fork_child *c)
{
    for (uint32_t i = 0; i < pg->table.nr_leaves; i++) {
        const struct page_leaf *leaf = &pg->table.leaves[i];
        for (unsigned j = 0; j < LEAF_PAGES && leaf->nr_out; j++) {
            const struct page *p = &leaf->pages[j];
            if (p->state == PAGE_RESIDENT || p->state == PAGE_ZERO)
                continue; /* there, or a hole, which reads as zeros */
            if (p->state == PAGE_STAGED || c->nr_pages == c->nr_pages_max) {
                c->loss = FORK_LOSS_LIST; /* can't be: nothing leaves since FREEZE */
                return;
            }
            if (p->state == PAGE_STORED)
                c->stores |= 1u << p->store;
            c->pages[c->nr_pages++] = (struct fork_page){ .page = leaf->first + j,
                                                          .what = *p,
                                                          .checksum = leaf->checksums[j] };
        }
    }
}

/* The lowest that is free, so nothing of ours becomes 0, 1 or 2 but a child's userfaultfd. */
static void take_number_back(struct forks *f)
{
    if (!f->has_given_number)
        return;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    f->has_given_number = fd < 0;
    if (fd > 2)
        close(fd);
}

/* Without it the child's touches do not wake us: asked again until it is so. */
static bool is_heard(struct agent *a, struct fork_child *c)
{
    if (!c->is_heard && c->uffd >= 0)
        c->is_heard = agent_listen(a, c->uffd, OTHER_FORK) == 0;
    return c->is_heard || c->uffd < 0;
}

void forks_on_fork(void *context, int uffd)
{
    struct agent *a = context;
    struct fork_child *c = a->forks.expected;
    urgent_leave(a);
    if (!c || c->uffd >= 0) { /* nobody's who waits for us; if both come at once, the child finds out */
        if (a->forks.has_given_number)
            close(uffd); /* the number is wanted back now */
        else
            porter_close(a->porter, uffd);
        take_number_back(&a->forks);
        return;
    }
    c->uffd = uffd;
    point_kills(POINT_FORK_READ);
    take_number_back(&a->forks);
    (void)is_heard(a, c); /* or later */
    write_down(&a->pg, c);
    point_kills(POINT_FORK_LISTED);
    stats_add(a->pg.stats, STAT_forks_covered, 1);
    stats_add(a->pg.stats, STAT_fork_pages, c->nr_pages);
}

/* With no number free the kernel would keep the event, and its raiser asleep for good. */
bool forks_on_no_descriptor(void *context)
{
    struct agent *a = context;
    for (int fd = 0; fd < 3; fd++)
        if (close(fd) == 0) {
            a->forks.has_given_number = true;
            return true;
        }
    usleep(1000);
    return false;
}

/* ---- what came late */

/* In the child. 1, 0, or -EAGAIN: it is changing its mappings just now, and does not say. */
static int is_registered(const struct fork_child *c, page_number page)
{
    int r = uffd_writeprotect(c->uffd, page_address(page), PAGE_BYTES, false);
    return r == -EAGAIN ? r : r != -ENOENT;
}

static bool is_any_listed(const struct fork_child *c, page_number first, page_number end)
{
    for (size_t i = 0; i < c->nr_pages; i++)
        if (c->pages[i].page >= first && c->pages[i].page < end && c->pages[i].what.state != PAGE_RESIDENT)
            return true;
    return false;
}

void forks_move_pages(struct fork_child *c, page_number from, page_number to, size_t nr)
{
    for (size_t i = 0; i < c->nr_pages; i++)
        if (c->pages[i].page >= from && c->pages[i].page < from + nr)
            c->pages[i].page += to - from;
}

/* Memory that came there after the fork is the child's affair in no later move either. */
static void note_later(struct fork_child *c, page_number first, page_number end)
{
    if (c->nr_later == FORK_LATER_MAX)
        c->loss = FORK_LOSS_MOVED;
    else
        c->later[c->nr_later++] = (struct interval){ .first = first, .end = end };
}

static bool was_moved_later(const struct fork_child *c, page_number page)
{
    for (uint32_t i = 0; i < c->nr_later; i++)
        if (page >= c->later[i].first && page < c->later[i].end)
            return true;
    return false;
}

/* Told after FORK. If it happened after the fork the child still has our registration where the memory was. */
static void on_late_remap(struct agent *a, struct fork_child *c, page_number from, page_number to, size_t nr)
{
    int was_there = was_moved_later(c, from) ? 1 : is_registered(c, from);
    int is_here = was_there == 0 ? is_registered(c, to) : 0;
    if (was_there < 0 || is_here < 0)
        c->loss = FORK_LOSS_MOVED; /* a handler of the program's before ours: nothing can be told from that */
    if (was_there > 0)
        note_later(c, to, to + nr);
    if (is_here <= 0)
        return; /* happened later, or not memory that children get */
    stats_add(a->pg.stats, STAT_fork_late_moves, 1);
    if (is_any_listed(c, to, to + nr))
        c->loss = FORK_LOSS_MOVED; /* moved over memory that was out itself: not worth a rule, and never seen */
    if (!mutant_is(MUTANT_FORK_MISSES_REMAP))
        forks_move_pages(c, from, to, nr);
}

void forks_on_remapped(void *context, page_number from, page_number to, size_t nr)
{
    struct agent *a = context;
    for (unsigned i = 0; i < FORK_CHILDREN_MAX; i++) {
        struct fork_child *c = &a->forks.children[i];
        if (c->is_taken && c->uffd >= 0 && !c->is_settled)
            on_late_remap(a, c, from, to, nr);
    }
}

/* ---- in the loop */

/* The child's last word, or its end: true. */
static bool has_ended(struct fork_child *c)
{
    struct fork_message m;
    int fd, r;
    while ((r = fork_receive(c->socket, &m, &fd)) == 0) {
        if (fd >= 0)
            close(fd);
        if (m.word == FORK_DONE) {
            point_kills(POINT_FORK_DONE_READ);
            return true;
        }
        if (m.word != FORK_HERE)
            continue;
        c->has_asked = true;
        c->asked_ns = now_ns();
        point_kills(POINT_FORK_HEARD);
    }
    return r != -EAGAIN;
}

/* It ends, and says why. */
static void lose(struct agent *a, struct fork_child *c)
{
    (void)fork_send(c->socket, &(struct fork_message){ .word = FORK_LOST, .index = c->loss }, -1);
    drop(a, c);
}

/* False: not now, or never, which the next piece tells the child. */
static bool give(struct fork_child *c)
{
    struct fork_message m = { .word = FORK_UFFD, .bytes = c->nr_pages * sizeof *c->pages };
    int r = point_fails(POINT_FORK_GIVE) ? -errno : fork_send(c->socket, &m, c->uffd);
    c->is_given = r == 0;
    if (c->is_given)
        point_kills(POINT_FORK_GIVEN);
    else if (!fork_may_pass(r) || now_ns() - c->asked_ns > GIVE_PATIENCE_NS)
        c->loss = FORK_LOSS_SEND;
    return c->is_given;
}

/* False: something can't be had just now, and is asked for again. */
static bool child_piece(struct agent *a, struct fork_child *c)
{
    if (c->uffd >= 0 && !c->is_settled)
        c->is_settled = !pager_is_changing(&a->pg);
    if (has_ended(c)) {
        drop(a, c);
        return true;
    }
    if (c->loss && !c->is_given) {
        lose(a, c);
        return true;
    }
    bool is_well = is_heard(a, c);
    if (!c->is_settled)
        return is_well;
    is_well &= forks_serve_child(a, c);
    if (c->has_asked && !c->is_given)
        is_well &= give(c);
    return is_well;
}

bool forks_piece(struct agent *a)
{
    bool is_unsettled = false, is_well = true;
    if (a->forks.nr)
        urgent_leave(a);
    for (unsigned i = 0; a->forks.nr && i < FORK_CHILDREN_MAX; i++) {
        struct fork_child *c = &a->forks.children[i];
        if (!c->is_taken)
            continue;
        is_well &= child_piece(a, c);
        is_unsettled |= c->uffd >= 0 && !c->is_settled;
    }
    if (!is_well)
        agent_nap(a, a->forks.nr_naps++);
    else
        a->forks.nr_naps = 0;
    return is_unsettled || !is_well;
}

bool forks_are_settled(struct agent *a, uint64_t waiting_ns)
{
    struct fork_child *c = a->forks.expected;
    if (c && c->uffd < 0)
        drop(a, c); /* the event is read before fork() returns: it has failed */
    else if (c && !c->is_given && waiting_ns < PATIENCE_NS)
        return false;
    if (a->forks.expected)
        point_kills(POINT_FORK_THAWED);
    a->forks.expected = NULL;
    return true;
}
