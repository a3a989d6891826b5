/* foreign_mapping - pages are not taken out of a mapping that came to an address after the one that is
 * managed there has gone. Method: a thread brings the pages back, so that they may leave again, and
 * unmaps them at once; before the agent has read of it another thread maps the same addresses and
 * writes there. Real-time priorities on the agent's CPU decide who runs when. */
#include "actor.h"
#include "rogue.h"

#include <string.h>
#include <sys/mman.h>

#define NR 64u
#define ROUNDS 60

static struct arena a;
static struct actor unmapper, mapper;
static uint32_t new_version;

static void map_and_write(void *argument)
{
    (void)argument;
    void *m = mmap(a.pages.memory, pages_to_bytes(NR), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (m != a.pages.memory)
        test_fail(__FILE__, __LINE__, "somebody else mapped there");
    (void)madvise(m, pages_to_bytes(NR), MADV_NOHUGEPAGE);
    for (uint32_t i = 0; i < NR; i++)
        pages_fill(pages_at(&a.pages, i), a.pages.salt, i, new_version);
}

/* The mapper is told, and runs as soon as this thread waits for the agent, in munmap. */
static void touch_and_unmap(void *argument)
{
    (void)argument;
    for (uint32_t i = 0; i < NR; i++)
        pages_check(&a.pages, i);
    actor_do(&mapper, map_and_write, NULL);
    (void)munmap(a.pages.memory, pages_to_bytes(NR));
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("pages are not taken out of somebody else's mapping", 20);
    stage_begin();
    arena_begin(&a, r, NR);
    actor_begin(&unmapper, 0, PRIORITY_ACTOR + 1);
    actor_begin(&mapper, 0, PRIORITY_ACTOR);
    stage_direct();
    uint64_t unmaps = pager_stat(a.pager, "events_unmap");
    for (new_version = 2; new_version < 2 + ROUNDS; new_version++) {
        rogue_offer_only(r, a.pages.memory, NR);
        WAIT_UNTIL(pages_nr_present(&a.pages, 0, NR) == 0); /* also: armed again */
        if (new_version % 2) /* from the store in half of the rounds, from staging in the others */
            test_nap_us(5000);
        actor_do(&unmapper, touch_and_unmap, NULL);
        actor_wait(&unmapper);
        actor_wait(&mapper);
        for (uint32_t i = 0; i < NR; i++)
            a.pages.versions[i] = new_version;
        pages_check_all(&a.pages);
    }
    WAIT_UNTIL(pager_stat(a.pager, "events_unmap") >= unmaps + ROUNDS); /* the last one: soon */
    rogue_pause(r);
    arena_end(&a);
    return test_end();
}
