/* companion.c - the public calls on a pager that may have direct ranges. Those are served by a second pager
 * with a userfaultfd, staging, agent and session of its own, made when the first such range is registered;
 * whoever holds the first one need not know. So no rule of either has to speak of the other. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>

#include "client/client.h"
#include "client/fork.h"
#include "client/sigbus.h"
#include "process_pager.h"

/* Making, starting and stopping companions. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void companions_lock(void)
{
    pthread_mutex_lock(&lock);
}

void companions_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

static struct pp_pager *companion_of(struct pp_pager *pp)
{
    return atomic_load(&pp->companion);
}

static int fail(struct pp_pager *pp, int error, const char *text)
{
    (void)snprintf(pp->error, sizeof pp->error, "%s", text);
    return error;
}

/* The first pager's error is what pp_error() shows. */
static int of_companion(struct pp_pager *pp, int r)
{
    return r ? fail(pp, r, companion_of(pp)->error) : 0;
}

/* ---- open and close, start and stop */

int pp_open(const struct pp_config *config, struct pp_pager **ret_pager)
{
    return pager_open_one(config, false, ret_pager);
}

struct pp_pager *pp_close(struct pp_pager *pp)
{
    if (!pp)
        return NULL;
    companions_lock();
    if (companion_of(pp))
        pager_close_one(companion_of(pp));
    companions_unlock();
    pager_close_one(pp);
    return NULL;
}

int pp_start(struct pp_pager *pp)
{
    companions_lock();
    int r = pager_start_one(pp);
    if (r == 0 && companion_of(pp)) {
        r = of_companion(pp, pager_start_one(companion_of(pp)));
        if (r)
            (void)pager_stop_one(pp); /* nothing has left yet */
    }
    companions_unlock();
    return r;
}

int pp_stop(struct pp_pager *pp)
{
    companions_lock();
    int r = pager_stop_one(pp);
    if (r != -EALREADY && companion_of(pp)) {
        int of_direct = of_companion(pp, pager_stop_one(companion_of(pp)));
        r = r ? r : of_direct;
    }
    companions_unlock();
    return r;
}

/* ---- direct ranges */

/* What holds for the first pager holds for its companion. */
static int make_companion_locked(struct pp_pager *pp)
{
    struct pp_config config = PP_CONFIG_INIT;
    config.socket_path = pp->has_socket_path ? pp->socket_path : NULL;
    struct pp_pager *direct;
    int r = pager_open_one(&config, true, &direct);
    if (r)
        return fail(pp, r, r == -EMFILE ? "too many pagers (16); direct ranges need one of their own"
                                        : "no memory for the pager of direct ranges");
    pager_lock_commands(pp);
    direct->pins.nr = pp->pins.nr;
    for (uint32_t i = 0; i < pp->pins.nr; i++)
        direct->pins.items[i] = pp->pins.items[i];
    bool is_started = atomic_load(&pp->is_started);
    pthread_mutex_unlock(&pp->command_lock);
    r = is_started ? pager_start_one(direct) : 0;
    if (r) {
        (void)fail(pp, r, direct->error);
        pager_close_one(direct);
        return r;
    }
    atomic_store(&pp->companion, direct);
    return 0;
}

static int register_direct(struct pp_pager *pp, void *address, size_t bytes)
{
    companions_lock();
    int r = companion_of(pp) ? 0 : make_companion_locked(pp);
    companions_unlock();
    if (r)
        return r;
    if (pager_has_range(pp, address, bytes))
        return fail(pp, -EEXIST, "the range overlaps one that is registered: unregister that first");
    return of_companion(pp, pager_register_one(companion_of(pp), address, bytes));
}

int pp_register_flags(struct pp_pager *pp, void *address, size_t bytes, unsigned flags)
{
    if (flags & ~PP_DIRECT)
        return fail(pp, -EINVAL, "unknown flags of a range: PP_DIRECT is the only one");
    return flags ? register_direct(pp, address, bytes) : pp_register(pp, address, bytes);
}

int pp_register(struct pp_pager *pp, void *address, size_t bytes)
{
    if (companion_of(pp) && pager_has_range(companion_of(pp), address, bytes))
        return fail(pp, -EEXIST, "the range overlaps a direct one: unregister that first");
    return pager_register_one(pp, address, bytes);
}

int pp_unregister(struct pp_pager *pp, void *address, size_t bytes)
{
    int r = pager_unregister_one(pp, address, bytes);
    return r == -ENOENT && companion_of(pp)
               ? of_companion(pp, pager_unregister_one(companion_of(pp), address, bytes))
               : r;
}

int pp_alloc(struct pp_pager *pp, size_t bytes, void **ret_address)
{
    bytes = page_round_up(bytes);
    if (!bytes || !ret_address)
        return fail(pp, -EINVAL, "an arena of no bytes");
    void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        return fail(pp, -ENOMEM, "no memory for the arena");
    int r = pp_register_flags(pp, m, bytes, PP_DIRECT);
    if (r) {
        munmap(m, bytes);
        return r;
    }
    *ret_address = m;
    return 0;
}

int pp_free(struct pp_pager *pp, void *address, size_t bytes)
{
    bytes = page_round_up(bytes);
    int r = pp_unregister(pp, address, bytes);
    if (r == 0 || r == -EIO)
        munmap(address, bytes);
    return r;
}

void pp_touch(const void *address, size_t bytes)
{
    const volatile unsigned char *at = address;
    for (size_t i = 0; i < bytes; i += PAGE_BYTES)
        (void)at[i];
    if (bytes)
        (void)at[bytes - 1];
}

/* ---- both alike */

/* A system call must not meet a hole either, where nobody but a touch fills it. */
static void fill_holes(struct pp_pager *direct, const void *address, size_t bytes)
{
    uint64_t start = (uintptr_t)address;
    if (direct->direct)
        sigbus_fill(direct->direct, page_of(page_round_up(start)), page_of(start + bytes));
}

int pp_pin(struct pp_pager *pp, const void *address, size_t bytes)
{
    companions_lock(); /* a companion that is being made copies the pins */
    int r = pager_pin_one(pp, address, bytes);
    if (r == 0 && companion_of(pp)) {
        r = of_companion(pp, pager_pin_one(companion_of(pp), address, bytes));
        if (r == -ENOSPC)
            (void)pager_unpin_one(pp, address, bytes);
        if (r == 0 && pager_has_range(companion_of(pp), address, bytes))
            fill_holes(companion_of(pp), address, bytes);
    }
    companions_unlock();
    return r;
}

int pp_unpin(struct pp_pager *pp, const void *address, size_t bytes)
{
    companions_lock();
    int r = pager_unpin_one(pp, address, bytes);
    if (r == 0 && companion_of(pp))
        r = of_companion(pp, pager_unpin_one(companion_of(pp), address, bytes));
    companions_unlock();
    return r;
}

int pp_reclaim(struct pp_pager *pp, void *address, size_t bytes)
{
    struct pp_pager *direct = companion_of(pp);
    bool has_direct = direct && pager_has_range(direct, address, bytes);
    int r = has_direct && !pager_has_range(pp, address, bytes) ? 0 : pager_reclaim_one(pp, address, bytes);
    return r == 0 && has_direct ? of_companion(pp, pager_reclaim_one(direct, address, bytes)) : r;
}
