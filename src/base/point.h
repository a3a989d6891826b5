/* point.h - named points at which a test build fails, or dies, on purpose. In other builds a point is
 * always false, and free. point.def lists them; docs/faults.md says how they are used.
 *
 *   int fd = point_fails(POINT_STORE_FILE) ? -1 : memfd_create(...);   errno is the point's
 *   point_kills(POINT_STORED);                                          nothing, or SIGKILL
 *
 * PP_FAULT=NAME:N lets the Nth pass of the point fail, PP_FAULT=NAME:N+ that one and all behind it; with
 * PP_KILL in place of PP_FAULT the process kills itself there, at any point of either sort. */
#ifndef BASE_POINT_H
#define BASE_POINT_H

#include <stdbool.h>
#include <stdint.h>

enum point {
#define FAULT(name, error, text) POINT_##name,
#define KILL(name, text) POINT_##name,
#include "base/point.def"
#undef FAULT
#undef KILL
    POINT_NR
};

#ifdef PP_WITH_MUTANTS
/* True: act as if what stands beside it had failed with errno, which is set. */
bool point_fails(enum point p);
void point_kills(enum point p);

/* For tests that do without the environment. */
#define POINT_FOR_GOOD UINT32_MAX
void point_arm(enum point p, uint32_t at_pass, uint32_t nr_times);
void point_arm_kill(enum point p, uint32_t at_pass);
/* Somebody else is to die there, or whatever the function does, in whichever thread passes; nothing fails. */
void point_arm_call(enum point p, uint32_t at_pass, void (*call)(void));
void point_disarm_all(void);
uint32_t point_nr_fired(enum point p); /* since it was armed */
const char *point_name(enum point p);
bool point_is_kill_only(enum point p);
int point_error(enum point p);
#else
static inline bool point_fails(enum point p)
{
    (void)p;
    return false;
}
static inline void point_kills(enum point p)
{
    (void)p;
}
#endif

#endif
