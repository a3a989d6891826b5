/* passes.c - see passes.h. Some 10 ns a touch. */
#include "direct/passes.h"

/* Does a touch of this page carry the pass on, and where to? 0: no. It may lie as far behind the last run
 * as that was long. */
static int8_t direction_to(const struct pass *s, page_number page)
{
    if (!s->end)
        return 0;
    if (s->direction >= 0 && page >= s->end && page - s->end < s->nr_places)
        return 1;
    if (s->direction <= 0 && page < s->first && s->first - page <= s->nr_places)
        return -1;
    return 0;
}

static void go_on(const struct passes *p, const struct pass *s, page_number page, struct pass_plan *plan)
{
    plan->is_held_back =
        s->nr_places == 1 && p->debt >= PASSES_DEBT_HIGH && p->nr_held_back + 1u < PASSES_PROBE;
    if (!plan->is_held_back)
        plan->nr_places = s->nr_places * 2u < DIRECT_RUN_MAX ? s->nr_places * 2u : DIRECT_RUN_MAX;
    page_number aligned = page / DIRECT_RUN_ALIGN * DIRECT_RUN_ALIGN;
    if (plan->direction > 0) {
        page_number end = page + plan->nr_places;
        plan->end = end < aligned + DIRECT_RUN_ALIGN ? end : aligned + DIRECT_RUN_ALIGN;
    } else {
        plan->first = page - aligned >= plan->nr_places ? page + 1 - plan->nr_places : aligned;
    }
    if (s->nr_ahead) {
        plan->passed_first = s->first;
        plan->passed_end = s->end;
    }
}

struct pass_plan passes_plan(const struct passes *p, page_number page)
{
    struct pass_plan plan = { .number = p->turn, .first = page, .end = page + 1, .nr_places = 1 };
    for (unsigned i = 0; i < PASSES_KNOWN && !plan.direction; i++) {
        plan.direction = direction_to(&p->all[i], page);
        if (plan.direction) {
            plan.number = i;
            go_on(p, &p->all[i], page, &plan);
        }
    }
    return plan;
}

unsigned passes_done(struct passes *p, const struct pass_plan *plan, unsigned nr_ahead,
                     unsigned *ret_nr_passed)
{
    struct pass *s = &p->all[plan->number];
    bool is_hit = plan->direction, is_begun = is_hit && s->nr_places == 1 && !plan->is_held_back;
    unsigned nr_wasted = is_hit ? 0 : s->nr_ahead;
    *ret_nr_passed = is_hit ? s->nr_ahead : 0;
    if (nr_wasted)
        p->debt = (uint8_t)(p->debt < PASSES_DEBT_MAX ? p->debt + PASSES_DEBT_OF_END : PASSES_DEBT_MAX);
    else if (*ret_nr_passed && p->debt)
        p->debt--;
    if (plan->is_held_back)
        p->nr_held_back++;
    else if (is_begun)
        p->nr_held_back = 0;
    if (!is_hit)
        p->turn = (uint8_t)((p->turn + 1) % PASSES_KNOWN);
    *s = (struct pass){ .first = plan->first,
                        .end = plan->end,
                        .direction = plan->direction,
                        .nr_places = (uint8_t)plan->nr_places,
                        .nr_ahead = (uint8_t)nr_ahead };
    return nr_wasted;
}
