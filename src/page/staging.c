/* staging.c - see staging.h. */
#include "page/staging.h"

#include <string.h>

#include "base/mutant.h"
#include "page/page.h"

void staging_init(struct staging *s, struct staging_slot *slots, uint32_t nr)
{
    memset(slots, 0, nr * sizeof *slots);
    *s = (struct staging){ .slots = slots, .nr = nr, .limit = nr };
}

void staging_set_limit(struct staging *s, uint32_t limit)
{
    s->limit = limit < s->nr ? limit : s->nr;
}

uint32_t staging_run(struct staging *s, uint32_t wanted, uint32_t *ret_first)
{
    if (s->next >= s->limit)
        s->next = 0;
    uint32_t run = 0;
    while (run < wanted && s->next + run < s->limit && s->slots[s->next + run].state == SLOT_FREE)
        run++;
    *ret_first = s->next;
    return run;
}

uint32_t staging_take(struct staging *s, uint32_t slot, page_number page)
{
    if (slot >= s->nr || s->slots[slot].state != SLOT_FREE)
        invariant_broken("a staging slot was taken that is not free");
    s->slots[slot] = (struct staging_slot){ .page = page,
                                            .generation = ++s->generation,
                                            .state = SLOT_HOLDS };
    s->next = slot + 1;
    s->nr_used++;
    s->nr_holding++;
    return s->generation;
}

void staging_let_go(struct staging *s, uint32_t slot)
{
    if (slot >= s->nr || s->slots[slot].state != SLOT_HOLDS)
        invariant_broken("a staging slot was let go that holds nothing");
    s->slots[slot].state = SLOT_LEFT;
    s->nr_holding--;
}

bool staging_freed(struct staging *s, uint32_t slot)
{
    if (slot >= s->nr || s->slots[slot].state != SLOT_LEFT)
        return false;
    s->slots[slot].state = SLOT_FREE;
    s->nr_used--;
    return true;
}

bool staging_is_current(const struct staging *s, uint32_t slot, uint32_t generation)
{
    if (slot >= s->nr || s->slots[slot].state != SLOT_HOLDS)
        return false;
    return s->slots[slot].generation == generation || mutant_is(MUTANT_IGNORE_GENERATION);
}

void staging_rekey(struct staging *s, uint32_t slot, page_number page)
{
    if (slot >= s->nr || s->slots[slot].state != SLOT_HOLDS)
        invariant_broken("a page moved that its staging slot does not hold");
    s->slots[slot].page = page;
}
