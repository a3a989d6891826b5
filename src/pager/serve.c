/* serve.c - the front door: messages in, answers out.
 *
 * Per fault, in order: one read (about 1 us), the events of the same read, the table lookup (3 loads),
 * the restore (1-2 us to move back, 2-4 us to decompress and copy), which wakes the thread. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "base/point.h"
#include "base/stage.h"
#include "pager/pager.h"

#define READ_BATCH 32

static void queue_fault(struct pager *pg, const struct uffd_msg *m, uint64_t read_ns)
{
    stage_note(STAGE_READ, read_ns);
    pg->faults[pg->nr_faults++] = (struct pending_fault){
        .page = page_of(m->arg.pagefault.address),
        .read_ns = read_ns,
        .thread = (pid_t)m->arg.pagefault.feat.ptid,
    };
}

/* Somebody waits for this one, then: discards of our own page are how we are woken. */
static bool is_of_watched(const struct pager *pg, const struct uffd_msg *m)
{
    if (m->event == UFFD_EVENT_REMAP || m->event == UFFD_EVENT_FORK)
        return true;
    return intervals_overlap(&pg->watched, page_of(m->arg.remove.start), page_of(m->arg.remove.end));
}

/* Faults come out of read() before events, whatever order they happened in: all events of a read are
 * applied before any fault is answered (rule 2). */
static int read_messages(struct pager *pg)
{
    struct uffd_msg messages[READ_BATCH];
    int total = 0;
    while (pg->nr_faults + READ_BATCH <= PENDING_FAULTS_MAX) {
        int n = uffd_read(pg->uffd, messages, READ_BATCH);
        if (n == -EMFILE || n == -ENFILE) { /* of a fork: the event stays until there is one */
            if (pg->on_no_descriptor && pg->on_no_descriptor(pg->context))
                continue;
            break;
        }
        if (n < 0)
            return n;
        uint64_t read_ns = n ? now_ns() : 0;
        for (int i = 0; i < n; i++)
            if (messages[i].event == UFFD_EVENT_PAGEFAULT)
                queue_fault(pg, &messages[i], read_ns);
        if (mutant_is(MUTANT_FAULT_BEFORE_EVENTS))
            pager_answer(pg);
        for (int i = 0; i < n; i++)
            if (messages[i].event != UFFD_EVENT_PAGEFAULT) {
                pg->nr_events++;
                if (is_of_watched(pg, &messages[i]))
                    stats_add(pg->stats, STAT_other_wait_ns, waits_for_event(&pg->waits));
                pager_apply_event(pg, &messages[i]);
            }
        total += n;
        if (n < READ_BATCH || pg->is_read_blocking)
            break;
    }
    return total;
}

/* Whoever raised an event goes on as soon as it is read, so from then until it is applied no touching
 * thread may install from the table as it was. */
static int read_alone(struct pager *pg)
{
    if (poll(&(struct pollfd){ .fd = pg->uffd, .events = POLLIN }, 1, 0) != 1)
        return 0;
    pager_shut_out_touchers(pg);
    int n = read_messages(pg);
    pager_let_in_touchers(pg);
    return n;
}

int pager_read(struct pager *pg)
{
    int total = pg->direct ? read_alone(pg) : read_messages(pg);
    if (total < 0)
        return total;
    pg->needs_events = false;
    if (pg->late_unmaps.nr && !mutant_is(MUTANT_LATE_UNMAP_STAYS) && !pager_is_changing(pg))
        pg->late_unmaps.nr = 0; /* nobody has anything left to say */
    return total;
}

/* True: answered, or nothing more can be done for it. */
static bool answer(struct pager *pg, const struct pending_fault *f)
{
    uint64_t begin_ns = now_ns();
    point_kills(POINT_FAULT_READ);
    if (mutant_is(MUTANT_AGENT_ALLOCATES)) {
        void *volatile memory = malloc(1);
        free(memory);
    }
    pg->is_serving_fault = true;
    pg->serving_thread = f->thread;
    int r = f->is_asked ? pager_restore_asked(pg, f->page) : pager_restore(pg, f->page);
    pg->is_serving_fault = false;
    switch (r) {
    case -ENOMEM:
        stats_add(pg->stats, STAT_restore_no_memory, 1);
        pg->nr_starved++;
        return mutant_is(MUTANT_DROP_FAILED_FAULT);
    case -EAGAIN:
        return mutant_is(MUTANT_DROP_FAILED_FAULT);
    case 0:
        break;
    default: /* its mapping has gone, or who knows: whoever waits looks again and meets what is there now */
        uffd_wake(pg->uffd, page_address(f->page), PAGE_BYTES);
        break;
    }
    uint64_t end_ns = now_ns();
    stats_add(pg->stats, STAT_faults_missing, 1);
    stats_add(pg->stats, STAT_fault_wait_ns,
              waits_on_answered(&pg->waits, f->thread, f->read_ns, end_ns));
    histogram_record(&pg->stats->hists[STAT_HIST_fault_missing_ns], end_ns - f->read_ns);
    histogram_record(&pg->stats->hists[STAT_HIST_restore_wall_ns], end_ns - begin_ns);
    pg->last_fault_thread = f->thread;
    return true;
}

unsigned pager_answer(struct pager *pg)
{
    uint32_t nr_left = 0;
    pg->nr_starved = 0;
    for (uint32_t i = 0; i < pg->nr_faults; i++)
        if (pg->needs_events || !answer(pg, &pg->faults[i]))
            pg->faults[nr_left++] = pg->faults[i];
    pg->nr_faults = nr_left;
    return nr_left;
}
