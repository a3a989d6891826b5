/* sigbus.c - see sigbus.h and docs/direct.md.
 *
 * Everything below on_sigbus() runs in whatever a thread was doing: no allocation, no lock, no libc call but
 * system calls, errno as found. All signals are blocked in it, so that no other handler runs while a hazard
 * word is held. */
#include "client/sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/client.h"
#include "client/fork.h"
#include "process_pager.h"

#define YIELDS_BEFORE_NAP 32  /* an event is read, a run has left, in 10-20 us if the agent runs */
#define NAP_NS 50000
#define WAITS_MAX 200 /* some 8 ms: something is wrong that only the agent can find out */
#define ASKED_NAP_NS 100000 /* twice what the agent naps when it must wait for us */

enum place_state { PLACE_FREE, PLACE_STARTING, PLACE_OPEN, PLACE_CLOSING };

static struct place {
    _Atomic uint32_t state;
    _Atomic uint32_t nr_asking; /* threads that may be about to discard bell_page */
    struct direct direct;
    void *_Atomic bell_page;
} places[PAGERS_MAX];

static struct sigaction previous; /* written once, before our handler is installed */

static __thread struct {
    uint64_t refused_page, refused_at; /* the last SIGBUS that nobody claimed, and that count then */
    unsigned hint;                     /* each thread's own, from 1 */
} mine __attribute__((tls_model("initial-exec")));

/* ---- in the handler */

static unsigned own_hint(void)
{
    static _Atomic unsigned nr_threads;
    if (!mine.hint)
        mine.hint = atomic_fetch_add(&nr_threads, 1) + 1;
    return mine.hint;
}

static void nap(long ns)
{
    struct timespec t = { .tv_nsec = ns };
    (void)syscall(SYS_nanosleep, &t, NULL); /* not nanosleep(): that is where a thread may be cancelled */
}

static void wait_a_little(unsigned waits)
{
    if (waits < YIELDS_BEFORE_NAP)
        (void)sched_yield();
    else
        nap(NAP_NS);
}

/* The discard returns when the agent has read of it. It is an event, too, and the agent's restore has to wait
 * until we have run again: so there is time between two. */
static void ask(struct place *p, page_number page, unsigned hint)
{
    atomic_fetch_add(&p->nr_asking, 1); /* seq_cst, against sigbus_give_back() */
    if (atomic_load(&p->state) == PLACE_OPEN) {
        direct_ask(&p->direct, page, hint);
        (void)madvise(atomic_load(&p->bell_page), PAGE_BYTES, MADV_DONTNEED);
    }
    atomic_fetch_sub(&p->nr_asking, 1);
    nap(ASKED_NAP_NS);
}

static enum direct_result try_place(struct place *p, page_number page, unsigned waits)
{
    switch ((enum place_state)atomic_load(&p->state)) {
    case PLACE_FREE:     return DIRECT_NOT_OURS;
    case PLACE_STARTING: return DIRECT_WAIT; /* pages may be leaving already */
    case PLACE_CLOSING:  return DIRECT_WAIT; /* everything is back; a hole reads as zeros in a moment */
    case PLACE_OPEN:     break;
    }
    enum direct_result r = direct_restore(&p->direct, page, own_hint());
    if (r == DIRECT_ASK || (r == DIRECT_WAIT && waits == WAITS_MAX)) {
        ask(p, page, own_hint());
        r = DIRECT_DONE; /* or it faults again */
    }
    return r;
}

static enum direct_result try_places(page_number page, unsigned waits)
{
    enum direct_result best = DIRECT_NOT_OURS;
    for (unsigned i = 0; i < PAGERS_MAX; i++) {
        enum direct_result r = try_place(&places[i], page, waits);
        if (r == DIRECT_DONE)
            return r;
        if (r == DIRECT_WAIT)
            best = r;
    }
    return best;
}

/* It may have been ours when the kernel raised it. Then the instruction does not fault again. */
static bool may_have_been_ours(page_number page)
{
    uint64_t now = direct_nr_unregistered();
    bool is_second = mine.refused_page == page && mine.refused_at == now;
    mine.refused_page = page;
    mine.refused_at = now;
    return !is_second;
}

static bool handle(const siginfo_t *info)
{
    if (info->si_code != BUS_ADRERR) /* what is lost, or the application's */
        return false;
    page_number page = page_of((uintptr_t)info->si_addr);
    for (unsigned waits = 0; waits <= WAITS_MAX; waits++) {
        switch (try_places(page, waits)) {
        case DIRECT_DONE:     return true;
        case DIRECT_NOT_OURS: return may_have_been_ours(page);
        case DIRECT_ASK:
        case DIRECT_WAIT:     break;
        }
        wait_a_little(waits);
    }
    return true;
}

/* As the kernel would call it, had ours not been there. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    if (!(previous.sa_flags & SA_SIGINFO) &&
        (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN)) {
        (void)signal(number, SIG_DFL); /* the instruction runs again and ends the process as it should */
        return;
    }
    sigset_t mask = ((ucontext_t *)context)->uc_sigmask;
    sigorset(&mask, &mask, &previous.sa_mask);
    if (!(previous.sa_flags & SA_NODEFER))
        sigaddset(&mask, number);
    pthread_sigmask(SIG_SETMASK, &mask, NULL); /* the way back takes what was before from the context */
    if (previous.sa_flags & SA_SIGINFO)
        previous.sa_sigaction(number, info, context);
    else
        previous.sa_handler(number);
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    int error = errno;
    bool is_ours = handle(info);
    errno = error;
    if (!is_ours)
        pass_on(number, info, context);
}

int pp_sigbus(const void *siginfo)
{
    int error = errno;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_ours = handle(siginfo);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return is_ours;
}

/* ---- outside of it */

static void install_handler(void)
{
    for (unsigned i = 0; i < PAGERS_MAX; i++)
        atomic_store(&places[i].direct.gate, 1);
    struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigfillset(&action.sa_mask);
    (void)sigaction(SIGBUS, NULL, &previous); /* neither can fail for this signal */
    (void)sigaction(SIGBUS, &action, NULL);
}

static struct place *place_of(struct direct *d)
{
    return (struct place *)((unsigned char *)d - offsetof(struct place, direct));
}

struct direct *sigbus_take_place(struct pp_pager *pp)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install_handler);
    for (unsigned i = 0; i < PAGERS_MAX; i++) {
        uint32_t state = PLACE_FREE;
        if (!atomic_compare_exchange_strong(&places[i].state, &state, PLACE_STARTING))
            continue;
        atomic_store(&places[i].bell_page, pp->bell_page);
        atomic_store(&places[i].direct.uffd, -1);
        return &places[i].direct;
    }
    return NULL;
}

void sigbus_open(struct direct *d)
{
    atomic_store(&place_of(d)->state, PLACE_OPEN);
}

void sigbus_close(struct direct *d)
{
    atomic_store(&place_of(d)->state, PLACE_CLOSING);
    direct_close_gate(d);
}

void sigbus_give_back(struct direct *d)
{
    struct place *p = place_of(d);
    /* Whoever is in the discard of the bell page was let go when the userfaultfd was closed. */
    while (atomic_load(&p->nr_asking))
        nap(NAP_NS);
    direct_note_unregistering();
    atomic_store(&p->state, PLACE_FREE);
    direct_note_unregistering();
}

void sigbus_fill(struct direct *d, page_number first, page_number end)
{
    for (page_number page = first; page < end; page++) {
        unsigned waits = 0;
        while (direct_restore(d, page, own_hint()) == DIRECT_WAIT && waits < WAITS_MAX)
            wait_a_little(waits++);
    }
}

void sigbus_forget_all_in_child(void)
{
    for (unsigned i = 0; i < PAGERS_MAX; i++) {
        struct place *p = &places[i];
        if (atomic_load(&p->state) == PLACE_FREE)
            continue;
        int uffd = atomic_exchange(&p->direct.uffd, -1);
        if (uffd >= 0)
            close(uffd);
        if (atomic_load(&p->direct.gate) % 2 == 0)
            atomic_fetch_add(&p->direct.gate, 1);
        atomic_store(&p->nr_asking, 0);
        memset(p->direct.hazards, 0, sizeof p->direct.hazards);
        memset(p->direct.asked, 0, sizeof p->direct.asked);
        atomic_store(&p->state, PLACE_FREE);
    }
}
