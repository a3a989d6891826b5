/* urgent.c - see urgent.h. */
#include "client/urgent.h"

#include <sched.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "client/client.h"

#define SLICE_NS (NS_PER_MS / 10) /* the shortest there is */
#define LOOK_EVERY_NS NS_PER_MS   /* so much more than the allowance may be used */
#define LOOK_FOR_WAITS_EVERY_NS (NS_PER_MS / 2)
/* In that time, beyond what idle CPUs take to wake: in a guest 25 us each, which may be half of all time. */
#define WAIT_NS (NS_PER_MS / 2)
#define WAKE_NS (40 * NS_PER_US)
/* So many faults in a row that came so soon after the last answer: in that time both may have been woken on
 * another CPU, and then their thread has used less than their answers did. If not, it may have used more. */
#define NR_SOON 8u
#define SOON_NS (60 * NS_PER_US)
#define CROWDED_FOR_NS NS_PER_S /* then one wait more tells whether it still is */

static void tell(struct agent *a)
{
    const struct urgency *u = &a->urgency;
    stats_set(a->pg.stats, STAT_agents_realtime, u->is_wanted && u->own.kind == CLASS_REALTIME);
    stats_set(a->pg.stats, STAT_agents_nice, u->is_wanted && u->own.kind == CLASS_NICE);
}

/* Also when what was found before is refused: the process has given rights up, or somebody has chosen another
 * class or nice value for this thread. */
static void find(struct agent *a)
{
    struct urgency *u = &a->urgency;
    class_find(&u->own);
    if (u->waits_fd < 0)
        u->own.kind = CLASS_ORDINARY; /* it could not be told when there is a reason */
    (void)class_set_slice(&u->own, SLICE_NS); /* refused: without */
    tell(a);
}

void urgent_begin(struct agent *a)
{
    struct urgency *u = &a->urgency;
    u->waits_fd = class_open_waits();
    allowance_begin(&u->allowance, now_ns());
    u->has_begun = true;
    urgent_set_wanted(a, u->is_wanted);
}

void urgent_end(struct agent *a)
{
    struct urgency *u = &a->urgency;
    if (u->has_begun && u->waits_fd >= 0)
        close(u->waits_fd);
    u->has_begun = false;
}

void urgent_set_wanted(struct agent *a, bool is_wanted)
{
    struct urgency *u = &a->urgency;
    u->is_wanted = is_wanted;
    if (!u->has_begun)
        return;
    urgent_leave(a);
    if (is_wanted) {
        find(a);
        return;
    }
    if (u->own.slice_ns)
        (void)class_set_slice(&u->own, 0);
    tell(a);
}

/* ---- is there a reason? */

/* Only of a time of nothing but faults: while pages leave, porter and daemon keep CPUs busy, and after it the
 * machine may be idle. */
static void look_at_waits(struct urgency *u, uint64_t now)
{
    struct class_waits before = u->waits;
    class_read_waits(u->waits_fd, &u->waits);
    uint64_t usual_ns = (u->waits.nr - before.nr) * WAKE_NS;
    if (u->waits.ns - before.ns >= WAIT_NS + usual_ns && !u->has_worked)
        u->crowded_until_ns = now + CROWDED_FOR_NS;
    u->has_worked = false;
    u->next_look_ns = now + LOOK_FOR_WAITS_EVERY_NS;
}

/* ---- its weight */

static void weigh(struct agent *a, bool is_heavy)
{
    struct urgency *u = &a->urgency;
    if (u->is_heavy == is_heavy || u->own.urgent_nice == u->own.nice)
        return;
    if (class_set_heavy(&u->own, is_heavy) == 0)
        u->is_heavy = is_heavy;
    else if (is_heavy)
        find(a);
}

void urgent_see(struct agent *a, uint64_t after_ns)
{
    struct urgency *u = &a->urgency;
    u->nr_soon = after_ns > SOON_NS ? 0 : u->nr_soon < NR_SOON ? u->nr_soon + 1 : NR_SOON;
}

/* ---- in the class */

/* What has been used of it. False: no more now. */
static bool look_at_use(struct agent *a, uint64_t now)
{
    struct urgency *u = &a->urgency;
    uint64_t cpu_ns = thread_cpu_ns(), used_ns = cpu_ns - u->cpu_ns;
    u->cpu_ns = cpu_ns;
    u->next_look_ns = now + LOOK_EVERY_NS;
    stats_add(a->pg.stats, STAT_agent_urgent_cpu_ns, used_ns);
    return allowance_use(&u->allowance, now, used_ns) || mutant_is(MUTANT_URGENT_UNBOUNDED);
}

/* Downwards one always may, but for filters of system calls. */
void urgent_leave(struct agent *a)
{
    struct urgency *u = &a->urgency;
    u->has_worked = true;
    u->nr_soon = 0;
    if (mutant_is(MUTANT_URGENT_AT_WORK))
        return;
    if (u->is_on) {
        (void)look_at_use(a, now_ns());
        u->is_on = class_leave(&u->own) != 0;
    }
    weigh(a, false);
}

/* The kernel ends a slice when somebody wakes who may preempt, and else at its tick, 4 ms. A thread that has
 * been answered and has used up its share may not, and waits for the tick (docs/stall.md, "Evicting"). While
 * faults come one after the other it would be the others whom we let go first. */
void urgent_give_way(struct agent *a)
{
    struct urgency *u = &a->urgency;
    uint64_t now = u->own.is_slice_kept ? now_ns() : 0;
    if (now < u->next_way_ns || !now || now - a->last_fault_ns < SOON_NS)
        return;
    (void)sched_yield();
    u->next_way_ns = now_ns() + SLICE_NS;
}

static void enter(struct agent *a, uint64_t now)
{
    struct urgency *u = &a->urgency;
    if (!allowance_is_back(&u->allowance, now))
        return;
    if (class_enter(&u->own)) {
        find(a);
        return;
    }
    u->is_on = true;
    u->cpu_ns = thread_cpu_ns();
    u->next_look_ns = now + LOOK_EVERY_NS;
}

static void stay_or_leave(struct agent *a, uint64_t now)
{
    struct urgency *u = &a->urgency;
    bool may = look_at_use(a, now);
    if (!may)
        stats_add(a->pg.stats, STAT_agent_urgent_used_up, 1);
    if (may && now < u->crowded_until_ns)
        return;
    urgent_leave(a);
    class_read_waits(u->waits_fd, &u->waits); /* the next wait is looked for from here on */
    u->has_worked = false;
}

/* In a crowd it is in the class, or has used it up: never is it more than one of both. */
void urgent_rest(struct agent *a)
{
    struct urgency *u = &a->urgency;
    if (!u->is_wanted)
        return;
    bool may_enter = u->own.kind != CLASS_ORDINARY;
    uint64_t now = may_enter ? now_ns() : 0;
    if (u->is_on) {
        if (mutant_is(MUTANT_URGENT_WEIGHED))
            weigh(a, u->nr_soon == NR_SOON); /* it is the ordinary class again */
        if (now >= u->next_look_ns)
            stay_or_leave(a, now);
        return;
    }
    if (may_enter && now >= u->next_look_ns)
        look_at_waits(u, now);
    bool is_crowded = may_enter && now < u->crowded_until_ns;
    weigh(a, !is_crowded && u->nr_soon == NR_SOON);
    if (is_crowded)
        enter(a, now);
}
