/* budget.h - how long a page must have been idle, and how many may be out, so that a process loses no
 * more than its user allows. Numbers in, numbers out; no clock, no I/O.
 *
 * The price list. For each age of base/ages.h two things are known, whether or not such pages are out:
 * how many pages have been idle for so long (what could be out), and how many were touched again after
 * having been idle for at least so long (what would have been wanted back): the most within any 60 s
 * lately, forgotten by half every two minutes. A return costs what returns have cost lately. So the list
 * says what each cold age would cost, and where that is more than allowed, which share of its pages may
 * be out. Taken is what keeps most pages out; then the oldest that keeps nearly as many out, if it spares
 * returns.
 *
 * What is out does not change what is measured, so nothing swings; an age is given up for another that
 * keeps more out only if that is a tenth.
 *
 * The purse. A list is of the past. What threads have waited is added up over a sliding 60 s; what is left
 * of the allowance is the purse. Nothing leaves while more is lost than the budget gives at that time, and
 * until a second and a half later: what left in a burst would only be wanted next. While the purse is empty,
 * or the last two seconds have taken a quarter of it and the list knows of nothing like that, the rate falls,
 * too (choose.h); it recovers by doubling once a second. And where only a part of an age may be out, so much
 * may be that what is likely to come back within a minute could all come back now and be paid.
 *
 * Which age, by the way: what a page that came back had been spared must be longer than what it had been
 * waited for, so a page that is out for less than the cold age came back too soon (heat/pages.c bars it).
 *
 * Sources: the histograms and the promotion rate, "Software-Defined Far Memory in Warehouse-Scale
 * Computers" (ASPLOS 2019); lost time as the measure, "TMO" (ASPLOS 2022). docs/policy.md says more.
 *
 * Contract: one thread; one struct per session. */
#ifndef POLICY_BUDGET_H
#define POLICY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ages.h"
#include "policy/choose.h"

#define BUDGET_SECONDS 60u

enum budget_kind {
    BUDGET_COLD_AGE, /* no budget: a cold age is given. Only what is measured is kept. */
    BUDGET_SLOWDOWN,
    BUDGET_RESIDENT,
};

struct budget_limits {
    enum budget_kind kind;
    uint64_t slowdown_ppm;   /* SLOWDOWN: of the threads' time */
    uint64_t promotion_ppm;  /* SLOWDOWN: of the working set, a minute; 0: no bound */
    uint64_t resident_bytes; /* RESIDENT */
};

/* What has happened since the last sample, about a second ago. By age: at least so old. */
struct budget_sample {
    uint64_t elapsed_ms;
    uint64_t nr_threads;      /* of the process's own */
    uint64_t fault_wait_ns;   /* for faults, ... */
    uint64_t nr_faults;
    uint64_t other_wait_ns;   /* ... and for what takes place also when nothing is out */
    uint64_t nr_returns;      /* pages wanted back */
    uint64_t nr_reused[AGES_NR];
    /* as it is now */
    uint64_t nr_there[AGES_NR];  /* present, and could leave */
    uint64_t nr_barred[AGES_NR]; /* present, and could with another cold age */
    uint64_t nr_out[AGES_NR];   /* not present; their time out is in the age */
    uint64_t nr_pages_there;    /* whatever their age */
    uint64_t nr_pages_out;
    uint64_t resident_bytes;
    bool is_starting; /* nothing may leave yet */
};

struct budget {
    struct budget_limits limits; /* set at birth */
    /* of each of the last 60 seconds, modulo, and of all of them */
    uint64_t lost_ns[BUDGET_SECONDS], life_ns[BUDGET_SECONDS], returned[BUDGET_SECONDS];
    uint32_t reused[AGES_NR][BUDGET_SECONDS];
    uint64_t lost_sum_ns, life_sum_ns, returned_sum, reused_sum[AGES_NR];
    uint64_t second;             /* of the clock: the slot that is filled now */
    uint64_t waited_ns;          /* as last told */
    double meter_ns;             /* lost beyond what the budget gives, just now ... */
    uint64_t meter_ms;           /* ... as of then */
    uint64_t observed_ms;        /* 0: no sample yet */
    uint64_t started_ms;         /* of them, before anything might leave */
    bool is_thrifty;             /* the age is older than what would keep most out */
    double reused_most[AGES_NR]; /* within any 60 s, fading */
    double idle[AGES_NR];        /* pages so old, there or out: a mean of the last half minute */
    double cost_ns, nr_costed;   /* of a return; by how many faults it is known */
    double other_share;          /* of the threads' time: waits that are not for returns */
    uint64_t working_set;        /* pages touched in the last minute */
    unsigned age;                /* index into ages_ms: the choice */
    uint64_t out_max;            /* pages that may be out */
    double return_chance;        /* of each within 60 s; 0: all that are so old may be out */
    bool is_over;                /* RESIDENT: more has to leave */
};

void budget_init(struct budget *b, const struct budget_limits *limits, uint64_t now_ms);
/* Time lost by all causes since birth. Often: whatever else is known later, this is known soon. */
void budget_on_waited(struct budget *b, uint64_t now_ms, uint64_t waited_ns);
/* About once a second. Chooses anew. */
void budget_on_sample(struct budget *b, uint64_t now_ms, const struct budget_sample *sample);

enum choose_advice budget_pace(const struct budget *b);
uint64_t budget_cold_age_ms(const struct budget *b);
/* How many pages may be out at a time; UINT64_MAX: all. */
uint64_t budget_out_max(const struct budget *b);
/* What is measured: lost time over lifetimes, and pages wanted back in the last minute over the working
 * set, which is what was touched in it. */
uint64_t budget_slowdown_ppm(const struct budget *b);
uint64_t budget_promotion_ppm(const struct budget *b);
/* So little of it is used that what comes back too soon does no harm. */
bool budget_has_spare(const struct budget *b);
/* With how many pages a second to begin: if all of a second's came back, the purse would lose a quarter. */
uint64_t budget_first_rate(const struct budget *b);
/* How many pages a second may be write-protected that will be written again, each `fault_ns`. */
uint64_t budget_protects_per_s(const struct budget *b, uint64_t fault_ns);

#endif
