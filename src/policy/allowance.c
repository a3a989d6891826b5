/* allowance.c - see allowance.h. */
#include "policy/allowance.h"

#define REFILL_NS (ALLOWANCE_NS_MAX * 100 / ALLOWANCE_PERCENT) /* from nothing to all of it */

static void refill(struct allowance *w, uint64_t now_ns)
{
    uint64_t passed_ns = now_ns - w->last_ns;
    if (passed_ns > 2 * REFILL_NS) /* also of what is owed */
        passed_ns = 2 * REFILL_NS;
    w->last_ns = now_ns;
    w->left_ns += (int64_t)(passed_ns * ALLOWANCE_PERCENT / 100);
    if (w->left_ns > ALLOWANCE_NS_MAX)
        w->left_ns = ALLOWANCE_NS_MAX;
}

void allowance_begin(struct allowance *w, uint64_t now_ns)
{
    *w = (struct allowance){ .left_ns = ALLOWANCE_NS_MAX, .last_ns = now_ns };
}

bool allowance_use(struct allowance *w, uint64_t now_ns, uint64_t used_ns)
{
    refill(w, now_ns);
    w->left_ns -= (int64_t)used_ns;
    if (w->left_ns < -ALLOWANCE_NS_MAX) /* somebody held us up: not for ever */
        w->left_ns = -ALLOWANCE_NS_MAX;
    return w->left_ns > 0;
}

bool allowance_is_back(struct allowance *w, uint64_t now_ns)
{
    refill(w, now_ns);
    return w->left_ns >= ALLOWANCE_NS_AGAIN;
}
