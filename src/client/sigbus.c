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
#include "client/descriptor.h"
#include "client/fork.h"
#include "process_pager.h"
#include "sys/maps.h"

#define HIGH_NUMBER 500 /* programs that count on getting the lowest descriptor should find it free */
#define YIELDS_BEFORE_NAP 32  /* an event is read, a run has left, in 10-20 us if the agent runs */
#define NAP_NS 50000
#define WAITS_MAX 200 /* some 8 ms: something is wrong that only the agent can find out */
#define ASKED_NAP_NS 100000 /* twice what the agent naps when it must wait for us */
/* So often in a row that a page was there, and then was not: a marker in its hole, over which MOVE never goes,
 * or whatever else only the agent can find out. */
#define AGAIN_MAX 64
#define AT_ONCE_NS 10000000u /* an instruction runs again sooner; on a busy machine it has more tries */

enum place_state { PLACE_FREE, PLACE_STARTING, PLACE_OPEN, PLACE_CLOSING };

static struct place {
    _Atomic uint32_t state;
    _Atomic uint32_t nr_asking; /* threads that may be about to discard bell_page */
    struct direct direct;
    uint64_t uffd_number; /* as direct.uffd goes in and out: descriptor_number() of it */
    void *_Atomic bell_page;
} places[PAGERS_MAX];

static struct sigaction previous; /* written once, before our handler is installed */
static _Atomic bool is_previous_spent; /* SA_RESETHAND: it has been called */

static __thread struct {
    uint64_t refused_page, refused_at; /* the last SIGBUS that nobody claimed, that count then, ... */
    uint64_t refused_ns;               /* ... and when it came */
    uint64_t last_page;                /* the last one that was ours, ... */
    unsigned nr_in_a_row;              /* ... and how often it was */
    unsigned hint;                     /* each thread's own, from 1 */
    unsigned place;                    /* whose page it was */
    struct passes passes;
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
}

static enum direct_result try_place(struct place *p, page_number page, unsigned waits, uint64_t since_ns)
{
    switch ((enum place_state)atomic_load(&p->state)) {
    case PLACE_FREE:     return DIRECT_NOT_OURS;
    case PLACE_STARTING: return DIRECT_NOT_OURS; /* nothing has left */
    case PLACE_CLOSING:  return DIRECT_WAIT; /* everything is back; a hole reads as zeros in a moment */
    case PLACE_OPEN:     break;
    }
    /* Who has had to wait asks for what it needs alone. */
    struct direct_touch touch = { .page = page,
                                  .since_ns = since_ns,
                                  .hint = own_hint(),
                                  .passes = waits ? NULL : &mine.passes };
    enum direct_result r = direct_restore(&p->direct, &touch);
    bool is_of_no_use = r == DIRECT_DONE && mine.nr_in_a_row >= AGAIN_MAX;
    return is_of_no_use || (r == DIRECT_WAIT && waits == WAITS_MAX) ? DIRECT_ASK : r;
}

/* Each agent knows whether it is its page. */
static enum direct_result ask_places(uint32_t which, page_number page)
{
    for (unsigned i = 0; i < PAGERS_MAX; i++)
        if (which >> i & 1)
            ask(&places[i], page, own_hint());
    mine.nr_in_a_row = 0;
    nap(ASKED_NAP_NS);
    return DIRECT_DONE; /* or it faults again */
}

static bool can_be_written(page_number page)
{
    struct maps maps;
    if (maps_open(&maps))
        return true;
    struct maps_vma vma;
    bool is = maps_find(&maps, page_address(page), &vma) || vma.is_read_write;
    maps_close(&maps);
    return is;
}

static enum direct_result try_places(page_number page, unsigned waits, uint64_t since_ns)
{
    enum direct_result best = DIRECT_NOT_OURS;
    uint32_t asked = 0, doubts = 0; /* a bit a place */
    for (unsigned i = 0; i < PAGERS_MAX; i++) {
        unsigned at = (mine.place + i) % PAGERS_MAX; /* to find that a page is another pager's takes long */
        switch (try_place(&places[at], page, waits, since_ns)) {
        case DIRECT_DONE:
            mine.place = at;
            return DIRECT_DONE;
        case DIRECT_ASK:
            asked |= UINT32_C(1) << at;
            break;
        case DIRECT_WAIT:
            best = DIRECT_WAIT;
            break;
        case DIRECT_IN_DOUBT:
            doubts |= UINT32_C(1) << at;
            break;
        case DIRECT_NOT_OURS:
            break;
        }
    }
    if (asked)
        return ask_places(asked, page);
    /* What can be written is somebody else's, then. */
    if (doubts && best == DIRECT_NOT_OURS && !can_be_written(page)) {
        struct direct_touch touch = { .page = page, .since_ns = since_ns, .hint = own_hint(), .in_doubt = true };
        return direct_restore(&places[__builtin_ctz(doubts)].direct, &touch);
    }
    return best;
}

/* It may have been ours when the kernel raised it: a range that was given back, or mapped over, since. Then the
 * instruction does not fault again, and if that page does later, it is another time. */
static bool may_have_been_ours(page_number page, uint64_t since_ns)
{
    uint64_t now = direct_nr_unregistered();
    bool is_second = mine.refused_page == page && mine.refused_at == now &&
                     since_ns - mine.refused_ns < AT_ONCE_NS;
    mine.refused_page = page;
    mine.refused_at = now;
    mine.refused_ns = since_ns;
    return !is_second;
}

static bool bring_back(const siginfo_t *info)
{
    uint64_t since_ns = now_ns();
    page_number page = page_of((uintptr_t)info->si_addr);
    mine.nr_in_a_row = page == mine.last_page ? mine.nr_in_a_row + 1 : 0;
    mine.last_page = page;
    for (unsigned waits = 0; waits <= WAITS_MAX; waits++) {
        switch (try_places(page, waits, since_ns)) {
        case DIRECT_DONE:     return true;
        case DIRECT_NOT_OURS: return may_have_been_ours(page, since_ns);
        case DIRECT_IN_DOUBT:
        case DIRECT_ASK:
        case DIRECT_WAIT:     break;
        }
        wait_a_little(waits);
    }
    return true;
}

static bool handle(const siginfo_t *info)
{
    if (info->si_code != BUS_ADRERR) /* what is lost, or the application's */
        return false;
    int before; /* open() is where a thread may be cancelled, and asynchronously it may be anywhere */
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    bool is_ours = bring_back(info);
    (void)pthread_setcancelstate(before, &before);
    return is_ours;
}

/* The process ends of it as it should: now that a thread runs the instruction again, or as soon as the signal
 * that somebody has sent can be delivered once more. */
static void end_of_it(int number, bool is_sent)
{
    (void)signal(number, SIG_DFL);
    if (is_sent)
        (void)syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), number);
}

/* As the kernel would call it, had ours not been there. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    bool is_sent = info->si_code <= 0; /* by kill() and the like; else the kernel does not let it be ignored */
    bool is_function = previous.sa_flags & SA_SIGINFO ||
                       (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN);
    if (!is_function && previous.sa_handler == SIG_IGN && is_sent)
        return;
    if (!is_function ||
        (previous.sa_flags & SA_RESETHAND && atomic_exchange(&is_previous_spent, true))) {
        end_of_it(number, is_sent);
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

/* Not one that another place has, also if the application has closed that since: theirs would be ours. */
int sigbus_least_descriptor(void)
{
    int least = HIGH_NUMBER;
    for (unsigned i = 0; i < PAGERS_MAX; i++) {
        int fd = atomic_load(&places[i].direct.uffd);
        if (fd >= least)
            least = fd + 1;
    }
    return least;
}

void sigbus_open(struct direct *d, int uffd)
{
    place_of(d)->uffd_number = descriptor_number(uffd);
    atomic_store(&place_of(d)->state, PLACE_OPEN);
    atomic_store(&d->uffd, uffd); /* from now on pages may leave */
}

/* The application may have closed it, and have something else there by now. */
static void close_uffd(struct place *p)
{
    int fd = atomic_exchange(&p->direct.uffd, -1);
    if (fd >= 0 && descriptor_number(fd) == p->uffd_number)
        close(fd);
}

void sigbus_close(struct direct *d)
{
    atomic_store(&place_of(d)->state, PLACE_CLOSING);
    direct_close_gate(d);
}

void sigbus_give_back(struct direct *d)
{
    struct place *p = place_of(d);
    close_uffd(p);
    /* Whoever is in the discard of the bell page was let go when the userfaultfd was closed. */
    while (atomic_load(&p->nr_asking))
        nap(NAP_NS);
    direct_note_unregistering();
    atomic_store(&p->state, PLACE_FREE);
    direct_note_unregistering();
}

/* As in the handler: no signal while a hazard word is held. A handler that touches a direct page would wait for
 * the gate, and the agent at the gate for us. */
static enum direct_result fill(struct direct *d, page_number page)
{
    sigset_t all, before;
    sigfillset(&all);
    int state;
    pthread_sigmask(SIG_SETMASK, &all, &before);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    struct direct_touch touch = { .page = page, .since_ns = now_ns(), .hint = own_hint() };
    enum direct_result r = direct_restore(d, &touch);
    (void)pthread_setcancelstate(state, &state);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

void sigbus_fill(struct direct *d, page_number first, page_number end)
{
    for (page_number page = first; page < end; page++)
        for (unsigned waits = 0; fill(d, page) == DIRECT_WAIT && waits < WAITS_MAX; waits++)
            wait_a_little(waits);
}

void sigbus_forget_all_in_child(void)
{
    for (unsigned i = 0; i < PAGERS_MAX; i++) {
        struct place *p = &places[i];
        if (atomic_load(&p->state) == PLACE_FREE)
            continue;
        close_uffd(p);
        if (atomic_load(&p->direct.gate) % 2 == 0)
            atomic_fetch_add(&p->direct.gate, 1);
        atomic_store(&p->nr_asking, 0);
        memset(p->direct.hazards, 0, sizeof p->direct.hazards);
        memset(p->direct.asked, 0, sizeof p->direct.asked);
        atomic_store(&p->state, PLACE_FREE);
    }
}
