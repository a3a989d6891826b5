/* order.c - see order.h. */
#include "daemon/order.h"

#include <errno.h>

#include "base/log.h"
#include "daemon/session.h"

/* An agent publishes its numbers every second, its own CPU time among them. */
#define PATIENCE_MS 10000u

bool order_is_allowed(const struct session *asker, const struct session *s)
{
    return asker->uid == 0 || asker->uid == s->uid;
}

/* ---- answering who asked */

static void answer(struct session *asker)
{
    (void)msg_send(asker->socket, MSG_ORDER_DONE, &asker->asker.answer, NULL); /* or it has gone */
}

/* One session less to wait for. */
static void tell(struct session *sessions, struct session *s, int error, uint64_t nr_before,
                 uint64_t nr_after)
{
    struct session *asker = session_find(sessions, s->order.asker);
    if (!asker || !asker->asker.nr_waiting || s->order.is_given_up)
        return;
    struct msg_order_done *a = &asker->asker.answer;
    a->error = a->error ? a->error : error;
    a->nr_before += nr_before;
    a->nr_after += nr_after;
    if (--asker->asker.nr_waiting == 0)
        answer(asker);
}

static void finish(struct session *sessions, struct session *s, int error, uint64_t nr_before,
                   uint64_t nr_after)
{
    tell(sessions, s, error, nr_before, nr_after);
    s->order.stage = ORDER_NONE;
}

/* ---- asking the client */

static void ask_client(struct session *sessions, struct session *s, enum order_op op, uint64_t age_ms)
{
    struct msg_order m = { .op = op, .age_ms = age_ms };
    s->order.stage = ORDER_ASKED;
    s->order.asked_op = op;
    int r = msg_send(s->socket, MSG_ORDER, &m, NULL);
    if (r)
        finish(sessions, s, -ETIMEDOUT, 0, 0); /* its queue is full: it does not read */
}

static int find_obstacle(struct session *sessions, const struct config *config,
                         const struct session *asker, const struct msg_order *m)
{
    int error = -ESRCH;
    for (struct session *s = sessions; s; s = s->next) {
        if (!s->is_joined || s->is_leaving || s->pid != m->pid)
            continue;
        if (!order_is_allowed(asker, s))
            return -EPERM;
        if (!s->takes_orders)
            return -EOPNOTSUPP;
        if (s->order.stage != ORDER_NONE)
            return -EBUSY;
        error = config->is_dry_run ? -ENOTCONN : 0;
    }
    return error;
}

static void begin(struct session *sessions, struct session *asker, struct session *s,
                  const struct msg_order *m)
{
    s->order = (struct order){ .asker = asker->id, .seen_ms = monotonic_ms() };
    s->order.sweep.idle_ms = m->age_ms == ORDER_AGE_COLD ? governor_cold_age_ms(s) : m->age_ms;
    s->is_held = m->op == ORDER_DRAIN;
    ask_client(sessions, s, m->op == ORDER_RECLAIM ? ORDER_WATCH : (enum order_op)m->op,
               s->order.sweep.idle_ms);
}

void order_ask(struct session *sessions, const struct config *config, struct session *asker,
               const struct msg_order *m)
{
    static const char *const names[] = { "reclaim", "drain", "resume" };
    if (asker->asker.nr_waiting)
        return; /* it is told of the first one */
    asker->asker.answer = (struct msg_order_done){ .op = m->op };
    int error = m->op <= ORDER_RESUME && m->pid > 0 ? find_obstacle(sessions, config, asker, m)
                                                    : -EINVAL;
    if (error) {
        asker->asker.answer.error = error;
        answer(asker);
        return;
    }
    log_info("event=by_hand what=%s pid=%d uid=%u", names[m->op], (int)m->pid, asker->uid);
    asker->asker.nr_waiting = 1; /* so that no answer goes before all have been asked */
    for (struct session *s = sessions; s; s = s->next)
        if (s->is_joined && !s->is_leaving && s->pid == m->pid) {
            asker->asker.nr_waiting++;
            begin(sessions, asker, s, m);
        }
    if (--asker->asker.nr_waiting == 0)
        answer(asker);
}

bool order_done(struct session *sessions, struct session *s, const struct msg_order_done *m)
{
    struct order *o = &s->order;
    if (o->stage != ORDER_ASKED || m->op != o->asked_op)
        return false;
    switch ((enum order_op)m->op) {
    case ORDER_WATCH:
        o->nr_before = m->nr_before;
        o->stage = o->is_given_up ? ORDER_NONE : ORDER_SWEEPING;
        break;
    case ORDER_SETTLE:
        finish(sessions, s, m->error, o->nr_before, m->nr_after);
        break;
    case ORDER_DRAIN:
    case ORDER_RESUME:
        finish(sessions, s, m->error, m->nr_before, m->nr_after);
        break;
    case ORDER_RECLAIM:
    case ORDER_OP_NR:
        return false; /* never asked of a client */
    }
    return true;
}

/* What is offered last is in its ring before it reads SETTLE. */
size_t order_sweep(struct session *sessions, struct session *s, size_t pages_max,
                   struct heat_run *ret_runs, size_t nr_max)
{
    if (s->order.sweep.is_over) {
        ask_client(sessions, s, ORDER_SETTLE, 0);
        return 0;
    }
    return heat_sweep(s->heat, &s->order.sweep, pages_max, ret_runs, nr_max);
}

void order_tick(struct session *sessions, struct session *s, uint64_t now_ms)
{
    struct order *o = &s->order;
    if (o->stage == ORDER_NONE || o->is_given_up)
        return;
    uint64_t cpu_ns = stats_get(&s->memory->agent_stats, STAT_agent_cpu_ns);
    if (cpu_ns != o->seen_cpu_ns) {
        o->seen_cpu_ns = cpu_ns;
        o->seen_ms = now_ms;
    }
    bool is_stuck = now_ms > o->seen_ms + PATIENCE_MS;
    if (is_stuck)
        tell(sessions, s, -ETIMEDOUT, 0, 0);
    bool is_wanted = !is_stuck && session_find(sessions, o->asker);
    o->is_given_up = is_stuck;
    if (!is_wanted && o->stage == ORDER_SWEEPING)
        o->stage = ORDER_NONE;
}

void order_cancel(struct session *sessions, struct session *s)
{
    if (s->order.stage != ORDER_NONE)
        finish(sessions, s, -ECONNRESET, 0, 0);
}
