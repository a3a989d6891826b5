/* api.c - the public calls, of one pager each; companion.c puts a pager and its direct ranges together. A
 * young range is only a line in a list under ranges_lock; everything that
 * concerns the agent is one command at a time under command_lock, and the caller waits for it.
 *
 * What the agent reads of a call (struct command) lies in the pager's own memory, never on the
 * caller's stack, which may be managed memory. */
#include "process_pager.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/point.h"
#include "client/client.h"
#include "client/fork.h"
#include "sys/apart.h"

const char *pp_version(void)
{
    return PP_VERSION;
}

/* ---- commands */

/* Wakes the agent, which shares no descriptor with us: discarding a page that is registered with its
 * userfaultfd raises an event, and reading the event is what lets us go on. */
static void wake_agent(struct pp_pager *pp)
{
    (void)madvise(pp->bell_page, PAGE_BYTES, MADV_DONTNEED);
}

int pager_command_locked(struct pp_pager *pp, int op, page_number first, page_number end)
{
    struct command *c = &pp->command;
    c->op = (enum command_op)op;
    c->first = first;
    c->end = end;
    atomic_store(&c->is_rung, false);
    atomic_store_explicit(&c->state, COMMAND_POSTED, memory_order_release);
    wake_agent(pp);
    atomic_store(&c->is_rung, true);
    while (atomic_load_explicit(&c->state, memory_order_acquire) != COMMAND_DONE)
        futex_wait_for(&c->state, COMMAND_POSTED, NS_PER_S);
    atomic_store_explicit(&c->state, COMMAND_IDLE, memory_order_relaxed);
    return c->result;
}

/* Who holds the lock may be waiting for a daemon that stands still: the agent ends that wait when it sees
 * that somebody else wants to be heard. */
void pager_lock_commands(struct pp_pager *pp)
{
    if (pthread_mutex_trylock(&pp->command_lock) == 0)
        return;
    atomic_fetch_add(&pp->nr_wanting, 1);
    wake_agent(pp);
    pthread_mutex_lock(&pp->command_lock);
    atomic_fetch_sub(&pp->nr_wanting, 1);
}

static int command(struct pp_pager *pp, enum command_op op, page_number first, page_number end)
{
    pager_lock_commands(pp);
    int r = atomic_load(&pp->is_started) ? pager_command_locked(pp, (int)op, first, end) : 0;
    pthread_mutex_unlock(&pp->command_lock);
    return r;
}

static int fail(struct pp_pager *pp, int error, const char *text)
{
    (void)snprintf(pp->error, sizeof pp->error, "%s", text);
    return error;
}

/* ---- open and close */

#define PAGER_BYTES                                                                                \
    page_round_up(page_round_up(sizeof(struct pp_pager)) + RANGES_MAX * sizeof(struct interval) +  \
                  PINS_MAX * sizeof(struct pin))

static bool copy_config(struct pp_pager *pp, const struct pp_config *config)
{
    if (!config || !config->socket_path)
        return true;
    pp->has_socket_path = true;
    return (size_t)snprintf(pp->socket_path, sizeof pp->socket_path, "%s", config->socket_path) <
           sizeof pp->socket_path;
}

/* The pager's own memory: excluded from management, inherited by children (who must be able to close
 * it). The list of ranges is populated by touch. */
static struct pp_pager *map_pager(void)
{
    void *m = map_apart(PAGER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    void *bell = point_fails(POINT_PAGER_MEMORY)
                     ? MAP_FAILED
                     : map_apart(PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (m == MAP_FAILED || bell == MAP_FAILED) {
        if (m != MAP_FAILED)
            munmap(m, PAGER_BYTES);
        if (bell != MAP_FAILED)
            munmap(bell, PAGE_BYTES);
        return NULL;
    }
    struct pp_pager *pp = m;
    pp->bell_page = bell;
    pp->pager_bytes = PAGER_BYTES;
    pp->ranges.items = (void *)((unsigned char *)m + page_round_up(sizeof *pp));
    pp->ranges.nr_max = RANGES_MAX;
    pp->pins.items = (void *)(pp->ranges.items + RANGES_MAX);
    return pp;
}

static void unmap_pager(struct pp_pager *pp)
{
    munmap(pp->bell_page, PAGE_BYTES);
    munmap(pp, PAGER_BYTES);
}

int pager_open_one(const struct pp_config *config, bool is_direct, struct pp_pager **ret_pager)
{
    if ((config && config->size != sizeof *config) || !ret_pager)
        return -EINVAL;
    if (sysconf(_SC_PAGESIZE) != (long)PAGE_BYTES)
        return -EOPNOTSUPP;
    struct pp_pager *pp = map_pager();
    if (!pp)
        return -ENOMEM;
    pp->is_direct = is_direct;
    pthread_mutex_init(&pp->command_lock, NULL);
    pthread_mutex_init(&pp->ranges_lock, NULL);
    int r = copy_config(pp, config) ? fork_list_add(pp) : -EINVAL;
    if (r) {
        unmap_pager(pp);
        return r;
    }
    *ret_pager = pp;
    return 0;
}

void pager_close_one(struct pp_pager *pp)
{
    (void)pager_stop_one(pp); /* -EALREADY is fine; a lost page stays poisoned */
    fork_list_remove(pp);
    pthread_mutex_destroy(&pp->command_lock);
    pthread_mutex_destroy(&pp->ranges_lock);
    unmap_pager(pp);
}

/* ---- ranges */

/* Whole pages inside [address, address + bytes). False: none. */
static bool round_inwards(const void *address, size_t bytes, page_number *ret_first,
                          page_number *ret_end)
{
    uint64_t start = (uintptr_t)address, end = start + bytes;
    if (end < start || end > UINT64_MAX - PAGE_BYTES)
        return false;
    *ret_first = page_of(page_round_up(start));
    *ret_end = page_of(end);
    return *ret_first < *ret_end && *ret_end <= (page_number)1 << 35;
}

int pager_register_one(struct pp_pager *pp, void *address, size_t bytes)
{
    page_number first, end;
    if (!round_inwards(address, bytes, &first, &end))
        return fail(pp, -EINVAL, "the range holds no whole page of user memory");
    uint64_t born_ns = now_ns();
    pthread_mutex_lock(&pp->ranges_lock);
    int r = intervals_overlap(&pp->ranges, first, end)
                ? -EEXIST
                : intervals_set(&pp->ranges, first, end, range_tag(born_ns, false));
    pthread_mutex_unlock(&pp->ranges_lock);
    if (r == -EEXIST)
        return fail(pp, r, "the range overlaps one that is registered: unregister that first");
    if (r)
        return fail(pp, r, "too many ranges (65536): register larger ones");
    atomic_fetch_add_explicit(&pp->nr_range_add, 1, memory_order_relaxed);
    return 0;
}

/* Takes an exact range off the list, or, when the agent has it, only marks it: nobody may register
 * there before the agent has let go. */
static int take_off_list(struct pp_pager *pp, page_number first, page_number end, bool *ret_is_adopted)
{
    struct interval *range = intervals_find(&pp->ranges, first);
    if (!range || range->first != first || range->end != end || range->tag == RANGE_TAG_LEAVING)
        return -ENOENT;
    *ret_is_adopted = range->tag & 1;
    if (!*ret_is_adopted)
        return intervals_clear(&pp->ranges, first, end);
    range->tag = RANGE_TAG_LEAVING;
    return 0;
}

int pager_unregister_one(struct pp_pager *pp, void *address, size_t bytes)
{
    page_number first, end;
    if (!round_inwards(address, bytes, &first, &end))
        return fail(pp, -EINVAL, "the range holds no whole page of user memory");
    bool is_adopted = false;
    pthread_mutex_lock(&pp->ranges_lock);
    int r = take_off_list(pp, first, end, &is_adopted);
    pthread_mutex_unlock(&pp->ranges_lock);
    if (r)
        return fail(pp, r, "no such range: unregister exactly what was registered");
    atomic_fetch_add_explicit(&pp->nr_range_del, 1, memory_order_relaxed);
    if (is_adopted) {
        r = command(pp, COMMAND_UNREGISTER, first, end);
        pthread_mutex_lock(&pp->ranges_lock);
        (void)intervals_clear(&pp->ranges, first, end); /* a whole one: no room is needed */
        pthread_mutex_unlock(&pp->ranges_lock);
    }
    return r == -EIO ? fail(pp, r, "a page of the range is lost: its stored bytes failed their check")
                     : r;
}

bool pager_has_range(struct pp_pager *pp, const void *address, size_t bytes)
{
    page_number first, end;
    if (!round_inwards(address, bytes, &first, &end))
        return false;
    pthread_mutex_lock(&pp->ranges_lock);
    bool has = intervals_overlap(&pp->ranges, first, end);
    pthread_mutex_unlock(&pp->ranges_lock);
    return has;
}

/* ---- reclaim by hand */

/* So many pages a command: other calls get their turn between two. */
#define RECLAIM_SLICE 4096u

/* Ranges of the interval are as old as can be from now on. */
static void make_old(struct pp_pager *pp, page_number first, page_number end)
{
    pthread_mutex_lock(&pp->ranges_lock);
    for (uint32_t i = intervals_from(&pp->ranges, first);
         i < pp->ranges.nr && pp->ranges.items[i].first < end; i++)
        if (!(pp->ranges.items[i].tag & 1))
            pp->ranges.items[i].tag = range_tag(0, false);
    pthread_mutex_unlock(&pp->ranges_lock);
}

/* A slice of a reclaim, as often as it takes. It does not count as wanting the lock: two reclaims would
 * hand it to each other instead of waiting. */
static int reclaim_slice(struct pp_pager *pp, enum command_op op, page_number first, page_number end)
{
    int r;
    do {
        uint32_t nr;
        while ((nr = atomic_load(&pp->nr_wanting)))
            futex_wait_for(&pp->nr_wanting, nr, NS_PER_MS); /* a mutex is not fair: they go first */
        pthread_mutex_lock(&pp->command_lock);
        r = -ENOTCONN;
        if (atomic_load(&pp->is_started))
            r = pager_command_locked(pp, (int)op, first, end);
        first = pp->command.first;
        pthread_mutex_unlock(&pp->command_lock);
    } while (r == -EINPROGRESS);
    return r;
}

int pager_reclaim_one(struct pp_pager *pp, void *address, size_t bytes)
{
    page_number first, end;
    if (!round_inwards(address, bytes, &first, &end))
        return fail(pp, -EINVAL, "the interval holds no whole page of user memory");
    int r = atomic_load(&pp->is_started) ? 0 : -ENOTCONN;
    if (r == 0)
        make_old(pp, first, end);
    for (page_number at = first; r == 0 && at < end; at += RECLAIM_SLICE)
        r = reclaim_slice(pp, COMMAND_RECLAIM, at, end - at < RECLAIM_SLICE ? end : at + RECLAIM_SLICE);
    for (page_number at = first; r == 0 && at < end; at += RECLAIM_SLICE)
        r = reclaim_slice(pp, COMMAND_SETTLE, at, end - at < RECLAIM_SLICE ? end : at + RECLAIM_SLICE);
    if (r == -ETIMEDOUT)
        return fail(pp, r, "the daemon has answered nothing for 5 s: is it stopped? Nothing is lost");
    return r ? fail(pp, r, "no daemon just now, or not started: nothing can leave") : 0;
}

/* ---- start and stop */

int pager_start_one(struct pp_pager *pp)
{
    pager_lock_commands(pp);
    int r = -EALREADY;
    if (!atomic_load(&pp->is_started)) {
        r = agent_start(pp);
        if (r == 0)
            atomic_store(&pp->is_started, 1);
    } else {
        (void)fail(pp, r, "already started");
    }
    pthread_mutex_unlock(&pp->command_lock);
    return r;
}

/* Every range is young again: the next agent finds out anew what it is. */
static void forget_adoptions(struct pp_pager *pp)
{
    uint64_t now = now_ns();
    pthread_mutex_lock(&pp->ranges_lock);
    for (uint32_t i = 0; i < pp->ranges.nr; i++)
        if (pp->ranges.items[i].tag != RANGE_TAG_LEAVING)
            pp->ranges.items[i].tag = range_tag(now, false);
    pthread_mutex_unlock(&pp->ranges_lock);
}

/* From the moment in which a direct agent shuts touching threads out until agent_end() a touch of a hole waits
 * for this thread, so it must not be this thread that touches, in the handler of some signal. What takes its
 * time is done before. */
static int stop_agent(struct pp_pager *pp)
{
    sigset_t all, before;
    sigfillset(&all);
    if (pp->is_direct) {
        (void)pager_command_locked(pp, COMMAND_FREEZE, 0, 0); /* what fails, fails again */
        pthread_sigmask(SIG_SETMASK, &all, &before);
    }
    int r = pager_command_locked(pp, COMMAND_STOP, 0, 0);
    agent_end(pp);
    if (pp->is_direct)
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

int pager_stop_one(struct pp_pager *pp)
{
    pager_lock_commands(pp);
    int r = -EALREADY;
    if (atomic_load(&pp->is_started)) {
        r = stop_agent(pp);
        atomic_store(&pp->is_started, 0);
        forget_adoptions(pp);
        if (r == -EIO)
            (void)fail(pp, r, "a page is lost: its stored bytes failed their check");
    } else {
        (void)fail(pp, r, "not started");
    }
    pthread_mutex_unlock(&pp->command_lock);
    return r;
}

/* ---- pins */

/* The list is ours, so that pins outlive a stop and may come before a start; a started agent hears of
 * each change. */
static int change_pins(struct pp_pager *pp, enum command_op op, page_number first, page_number end)
{
    pager_lock_commands(pp);
    int r = op == COMMAND_PIN ? pins_add(&pp->pins, first, end) : pins_remove(&pp->pins, first, end);
    if (r == 0 && atomic_load(&pp->is_started))
        r = pager_command_locked(pp, (int)op, first, end);
    pthread_mutex_unlock(&pp->command_lock);
    return r;
}

int pager_pin_one(struct pp_pager *pp, const void *address, size_t bytes)
{
    page_number first, end;
    if (!round_inwards(address, bytes, &first, &end))
        return fail(pp, -EINVAL, "the interval holds no whole page of user memory");
    int r = change_pins(pp, COMMAND_PIN, first, end);
    if (r == -ENOSPC)
        return fail(pp, r, "too many pins (1024 intervals)");
    return r == -EIO ? fail(pp, r, "a page of it is lost: its stored bytes failed their check") : r;
}

int pager_unpin_one(struct pp_pager *pp, const void *address, size_t bytes)
{
    page_number first, end;
    if (!round_inwards(address, bytes, &first, &end))
        return fail(pp, -EINVAL, "the interval holds no whole page of user memory");
    int r = change_pins(pp, COMMAND_UNPIN, first, end);
    return r == -ENOENT ? fail(pp, r, "the interval is not pinned: unpin exactly what was pinned") : r;
}

/* ---- numbers */

const char *pp_error(const struct pp_pager *pp)
{
    return pp->error;
}

size_t pp_stats_count(void)
{
    return stats_export_count();
}

const char *pp_stats_name(size_t index)
{
    return stats_export_name(index);
}

uint64_t pp_stats_value(const struct pp_pager *pp, size_t index)
{
    struct stats_block sum = { 0 };
    stats_merge(&sum, &pp->agent_stats);
    stats_merge(&sum, &pp->porter_stats);
    stats_set(&sum, STAT_range_add_msgs, atomic_load(&pp->nr_range_add));
    stats_set(&sum, STAT_range_del_msgs, atomic_load(&pp->nr_range_del));
    const struct pp_pager *direct = atomic_load(&pp->companion);
    if (direct) {
        stats_merge(&sum, &direct->agent_stats);
        stats_merge(&sum, &direct->porter_stats);
    }
    return stats_export_value(&sum, index);
}
