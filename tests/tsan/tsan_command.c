/* A command says to the agent what the application has written, and its result comes back. Method:
 * the real pager_command_locked() of api.c and the real command_piece() of agent.c, which are
 * included here so that the mutants can take their releases away; three application threads under
 * the lock, an agent that has no pages out. Between two commands only the command's own state
 * orders anything: the threads of one command and the next meet in the lock, the agent in nothing
 * else. */
#include "tsan.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/mutant.h"

/* Every store that names its order, in what is included: relaxed with this mutant. */
#define STORE(word, value, order, mutant)                                                          \
    do {                                                                                           \
        if (mutant_is(mutant))                                                                     \
            __atomic_store_n(word, value, __ATOMIC_RELAXED);                                       \
        else                                                                                       \
            __atomic_store_n(word, value, order);                                                  \
    } while (0)
#undef atomic_store_explicit
#define atomic_store_explicit(word, value, order)                                                  \
    STORE(word, value, order, MUTANT_COMMAND_RELAXED_POST)
#include "client/api.c"
#undef atomic_store_explicit
#define atomic_store_explicit(word, value, order)                                                  \
    STORE(word, value, order, MUTANT_COMMAND_RELAXED_DONE)
#include "client/agent.c"

#define APPLICATIONS_NR 3
#define COMMANDS_NR 1500u

static struct pp_pager *pp;
static struct agent own_agent;
static _Atomic bool is_over;

static int give(enum command_op op, page_number first, page_number end)
{
    pthread_mutex_lock(&pp->command_lock);
    int r = pager_command_locked(pp, (int)op, first, end);
    pthread_mutex_unlock(&pp->command_lock);
    return r;
}

/* A pin and its unpin: the interval goes over, and so does what the agent finds out about it. */
static void *be_application(void *argument)
{
    page_number first = 1000 + 10 * (page_number)(uintptr_t)argument;
    for (unsigned i = 0; i < COMMANDS_NR; i++) {
        bool is_wrong = i % 7 == 3; /* -ENOENT: not pinned so */
        CHECK(give(COMMAND_PIN, first, first + 1 + i % 5) == 0);
        if (is_wrong)
            CHECK(give(COMMAND_UNPIN, first, first + 9) == -ENOENT);
        CHECK(give(COMMAND_UNPIN, first, first + 1 + i % 5) == 0);
        CHECK(give(COMMAND_UNREGISTER, first, first + 1) == 0);
    }
    return NULL;
}

static void *be_agent(void *argument)
{
    (void)argument;
    while (!atomic_load_explicit(&is_over, memory_order_relaxed))
        if (!command_piece(&own_agent, pp))
            sched_yield();
    return NULL;
}

int main(void)
{
    static struct pin pins[PINS_MAX];
    static struct interval managed[8], watched[8];
    CHECK(pp_open(NULL, &pp) == 0);
    own_agent.pg.pins.items = pins;
    own_agent.pg.managed = (struct intervals){ .items = managed, .nr_max = 8 };
    own_agent.pg.watched = (struct intervals){ .items = watched, .nr_max = 8 };
    pp->is_started = 1;
    pthread_t agent = begin(be_agent, NULL), applications[APPLICATIONS_NR];
    for (int i = 0; i < APPLICATIONS_NR; i++)
        applications[i] = begin(be_application, (void *)(uintptr_t)i);
    for (int i = 0; i < APPLICATIONS_NR; i++)
        join(applications[i]);
    atomic_store(&is_over, true);
    join(agent);
    CHECK(own_agent.pg.pins.nr == 0);
    pp->is_started = 0;
    CHECK(pp_close(pp) == NULL);
    return 0;
}
