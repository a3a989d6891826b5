/* allowance.h - how much of a CPU may be used in a class that nobody of the ordinary one stands up to: so much
 * at once, and a share of what has passed, so that in any 100 ms others have the rest of it. Pure: told of
 * both clocks, it decides.
 *
 * In any interval of t ns at most ALLOWANCE_NS_MAX + t * ALLOWANCE_PERCENT / 100, and what is used
 * between two looks. */
#ifndef POLICY_ALLOWANCE_H
#define POLICY_ALLOWANCE_H

#include <stdbool.h>
#include <stdint.h>

#define ALLOWANCE_NS_MAX 20000000ll
#define ALLOWANCE_PERCENT 40u
/* Having used it up one waits for so much of it: else each fault would be answered in another class. */
#define ALLOWANCE_NS_AGAIN 4000000ll

struct allowance {
    int64_t left_ns;
    uint64_t last_ns; /* when it was last looked at */
};

void allowance_begin(struct allowance *w, uint64_t now_ns);
/* So much CPU has been used since the last call. False: that is all for now. */
bool allowance_use(struct allowance *w, uint64_t now_ns, uint64_t used_ns);
/* Is there enough again? */
bool allowance_is_back(struct allowance *w, uint64_t now_ns);

#endif
