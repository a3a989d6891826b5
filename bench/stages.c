/* stages.c - see stages.h. */
#include "stages.h"

#include "base/stage.h"
#include "subject.h"

#include <string.h>

#ifdef PP_WITH_MUTANTS
static const char *const names[SPANS_NR] = { "reach", "decode", "install", "back" };

void stages_record(struct stages *st, uint64_t begin_ns, uint64_t end_ns)
{
    uint64_t read_ns = stage_ns(STAGE_READ), ready_ns = stage_ns(STAGE_READY),
             installed_ns = stage_ns(STAGE_INSTALLED);
    if (read_ns < begin_ns || ready_ns < read_ns || ready_ns > end_ns)
        return; /* somebody else's, or none */
    latency_record(&st->spans[SPAN_REACH], read_ns - begin_ns);
    latency_record(&st->spans[SPAN_DECODE], ready_ns - read_ns);
    latency_record(&st->spans[SPAN_BACK], end_ns - ready_ns);
    if (installed_ns >= ready_ns && installed_ns <= end_ns)
        latency_record(&st->spans[SPAN_INSTALL], installed_ns - ready_ns);
}

void stages_say(const char *phase, struct stages *const all[], unsigned nr)
{
    for (unsigned span = 0; span < SPANS_NR; span++) {
        static struct latency sum;
        memset(&sum, 0, sizeof sum);
        for (unsigned i = 0; i < nr; i++)
            latency_merge(&sum, &all[i]->spans[span]);
        if (!latency_count(&sum, 0))
            continue;
        char name[64];
        snprintf(name, sizeof name, "%s_%s_p50_ns", phase, names[span]);
        subject_say(name, (double)latency_percentile_ns(&sum, 0, 500));
        snprintf(name, sizeof name, "%s_%s_p99_ns", phase, names[span]);
        subject_say(name, (double)latency_percentile_ns(&sum, 0, 990));
    }
}
#else
void stages_record(struct stages *st, uint64_t begin_ns, uint64_t end_ns)
{
    (void)st, (void)begin_ns, (void)end_ns;
}

void stages_say(const char *phase, struct stages *const all[], unsigned nr)
{
    (void)phase, (void)all, (void)nr;
}
#endif
