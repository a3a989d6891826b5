/* fork_serve.c - what the agent does for a child of a fork that can't help itself yet: answers what it touches,
 * and hears what it does to its memory. See forks.h and docs/fork.md.
 *
 * A touch for which there is no memory waits, as one of our own process does, and is asked again; whoever
 * touched is woken in any case, for nobody else would. */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/point.h"
#include "client/client.h"
#include "sys/smaps.h"
#include "sys/uffd.h"

#define UNKNOWN_NS_MAX (5 * NS_PER_S) /* without a descriptor or memory to look into /proc with */

static const unsigned char zeros[PAGE_BYTES] __attribute__((aligned(4096)));

static const struct fork_page *find_page(const struct fork_child *c, page_number page)
{
    for (size_t i = 0; i < c->nr_pages; i++) /* some 0.2 ms for 1 GiB of pages, for a handful of touches */
        if (c->pages[i].page == page && c->pages[i].what.state != PAGE_RESIDENT)
            return &c->pages[i];
    return NULL;
}

/* Asked of our own process: the child's mappings are what ours were. 1, 0, or negative errno: not known. */
static int is_wiped(page_number page)
{
    struct interval items[64];
    struct intervals wiped = { .items = items, .nr_max = sizeof items / sizeof *items };
    int r = smaps_wiped(&wiped);
    return r ? r : intervals_find(&wiped, page) != NULL;
}

/* What the page is to read as, or why that can't be known. */
static int find_bytes(struct pager *pg, const struct fork_child *c, page_number page, const void **ret_bytes)
{
    const struct fork_page *p = find_page(c, page);
    int wiped = p ? is_wiped(page) : 1, r = -EILSEQ;
    if (wiped) {
        *ret_bytes = zeros;
        return wiped < 0 ? wiped : 0;
    }
    for (int i = 0; i < 2 && r && p->what.state == PAGE_STORED; i++) /* once more, then it is lost */
        r = store_read(&pg->stores[p->what.store], p->what.where, p->checksum, &pg->scratch, pg->page);
    *ret_bytes = pg->page;
    return r;
}

static bool is_refusal(int r)
{
    return r && r != -EAGAIN && r != -ENOMEM && r != -EEXIST && r != -ENOENT && r != -ESRCH;
}

/* bytes NULL: poison. */
static int give(const struct fork_child *c, page_number page, const void *bytes)
{
    if (bytes && (point_fails(POINT_FORK_ANSWER) || point_fails(POINT_FORK_ANSWER_REFUSED)))
        return -errno;
    return bytes ? uffd_copy(c->uffd, page_address(page), bytes) : uffd_poison(c->uffd, page_address(page));
}

/* As in the parent: tried once more, then the page is lost. */
static int give_or_poison(const struct fork_child *c, page_number page, const void *bytes)
{
    int r = give(c, page, bytes);
    if (bytes && is_refusal(r))
        r = give(c, page, bytes);
    return bytes && is_refusal(r) ? give(c, page, NULL) : r;
}

/* It is not known what the page is to read as, but may be soon. */
static bool is_for_later(struct fork_child *c, int r)
{
    uint64_t now = now_ns();
    if (r != -ENOMEM && r != -EMFILE && r != -ENFILE) {
        c->unknown_since_ns = 0;
        return false;
    }
    if (!c->unknown_since_ns)
        c->unknown_since_ns = now;
    return now - c->unknown_since_ns < UNKNOWN_NS_MAX;
}

/* False: not now. */
static bool answer(struct agent *a, struct fork_child *c, page_number page)
{
    const void *bytes = NULL;
    point_kills(POINT_FORK_TOUCH_READ);
    int r = find_bytes(&a->pg, c, page, &bytes);
    if (is_for_later(c, r))
        return false;
    r = give_or_poison(c, page, r ? NULL : bytes);
    if (r == -ENOMEM)
        stats_add(a->pg.stats, STAT_restore_no_memory, 1);
    if (r == -ENOMEM || r == -EAGAIN)
        return false;
    if (is_refusal(r))
        c->loss = FORK_LOSS_TOUCH;
    uffd_wake(c->uffd, page_address(page), PAGE_BYTES);
    point_kills(POINT_FORK_TOUCHED);
    return true;
}

static void answer_all(struct agent *a, struct fork_child *c)
{
    uint32_t nr_left = 0;
    for (uint32_t i = 0; i < c->nr_touches; i++)
        if (!answer(a, c, c->touches[i]))
            c->touches[nr_left++] = c->touches[i];
    c->nr_touches = nr_left;
}

static void forget_pages(struct fork_child *c, page_number first, page_number end)
{
    for (size_t i = 0; i < c->nr_pages; i++)
        if (c->pages[i].page >= first && c->pages[i].page < end)
            c->pages[i].what = (struct page){ .state = PAGE_RESIDENT };
}

/* Handlers of the program that run before ours may do what they like. */
static void on_message(struct fork_child *c, const struct uffd_msg *m)
{
    switch (m->event) {
    case UFFD_EVENT_PAGEFAULT:
        c->touches[c->nr_touches++] = page_of(m->arg.pagefault.address);
        return;
    case UFFD_EVENT_REMOVE:
        forget_pages(c, page_of(m->arg.remove.start), page_of(m->arg.remove.end));
        return;
    case UFFD_EVENT_REMAP:
        forks_move_pages(c, page_of(m->arg.remap.from), page_of(m->arg.remap.to),
                         bytes_to_pages(m->arg.remap.len));
        return;
    case UFFD_EVENT_FORK: /* it has no one to serve it */
        close((int)m->arg.fork.ufd);
        return;
    default: /* UNMAP: there is nothing to install into any more */
        return;
    }
}

/* All events that there are before any touch. */
bool forks_serve_child(struct agent *a, struct fork_child *c)
{
    struct uffd_msg messages[FORK_TOUCHES_MAX];
    uint32_t nr_room = FORK_TOUCHES_MAX - c->nr_touches;
    int n = nr_room ? uffd_read(c->uffd, messages, nr_room) : 0;
    for (int i = 0; i < n; i++)
        on_message(c, &messages[i]);
    answer_all(a, c);
    return c->nr_touches == 0;
}
