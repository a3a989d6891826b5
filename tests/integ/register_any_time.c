/* register_any_time - a range may be registered before it is ever touched, before and after the
 * start, and holes in it read as zeros. Method: four ranges, one for each combination; all are
 * offered all the time while they are touched for the first time. */
#include "rogue.h"

#define NR 512u

static struct pages early_untouched, early_touched, late_untouched, late_touched;

static void put_in(struct pp_pager *pager, struct pages *p)
{
    CHECK_EQ(pp_register(pager, p->memory, pages_to_bytes(p->nr)), 0);
}

static void first_touches(struct pages *p)
{
    for (uint32_t i = 0; i < p->nr; i++) {
        if (i % 3 == 0)
            pages_write(p, i);
        else if (i % 3 == 1)
            pages_check(p, i); /* a first read */
    }
    pages_check_all(p);
}

/* Pages that hold bytes leave; holes and pages that were only read may stay as they are. */
static bool has_left(const struct pages *p)
{
    uint32_t nr_there = 0;
    for (uint32_t i = 0; i < p->nr; i++)
        nr_there += p->versions[i] && pages_nr_present(p, i, 1);
    return nr_there == 0;
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("ranges may be registered before or after start and first touch", 15);
    rogue_start(r);
    rogue_offer_all(r);
    struct pages *all[] = { &early_untouched, &early_touched, &late_untouched, &late_touched };
    for (int i = 0; i < 4; i++)
        pages_map(all[i], NR);
    pages_write_all(&early_touched);
    pages_write_all(&late_touched);

    struct pp_pager *pager = pager_open(r->socket_path);
    put_in(pager, &early_untouched);
    put_in(pager, &early_touched);
    pager_start(pager);
    put_in(pager, &late_untouched);
    put_in(pager, &late_touched);
    WAIT_UNTIL(pager_stat(pager, "ranges_watched") == 4);
    for (int round = 0; round < 3; round++) {
        WAIT_UNTIL(has_left(&early_touched) && has_left(&late_touched));
        first_touches(&early_untouched);
        first_touches(&late_untouched);
        WAIT_UNTIL(has_left(&early_untouched) && has_left(&late_untouched));
        for (int i = 0; i < 4; i++)
            pages_check_all(all[i]);
    }
    CHECK_EQ(pp_stop(pager), 0);
    for (int i = 0; i < 4; i++)
        pages_check_all(all[i]);
    pp_close(pager);
    return test_end();
}
