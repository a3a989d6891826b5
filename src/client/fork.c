/* fork.c - see fork.h. */
#include "client/fork.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "client/client.h"
#include "client/sigbus.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER; /* rank 5: before every pager's */
static struct pp_pager *list[PAGERS_MAX];
static void (*tell_child)(void);

/* In the order of the ranks; released in reverse by parent and child. */
static void before_fork(void)
{
    companions_lock();
    pthread_mutex_lock(&list_lock);
    for (int i = 0; i < PAGERS_MAX; i++) {
        if (!list[i])
            continue;
        pager_lock_commands(list[i]);
        if (atomic_load(&list[i]->is_started))
            (void)pager_command_locked(list[i], COMMAND_FREEZE, 0, 0);
    }
    for (int i = 0; i < PAGERS_MAX; i++)
        if (list[i])
            pthread_mutex_lock(&list[i]->ranges_lock);
}

static void in_parent(void)
{
    for (int i = PAGERS_MAX; i-- > 0;) {
        if (!list[i])
            continue;
        pthread_mutex_unlock(&list[i]->ranges_lock);
        if (atomic_load(&list[i]->is_started))
            (void)pager_command_locked(list[i], COMMAND_THAW, 0, 0);
        pthread_mutex_unlock(&list[i]->command_lock);
    }
    pthread_mutex_unlock(&list_lock);
    companions_unlock();
}

static void in_child(void)
{
    sigbus_forget_all_in_child();
    for (int i = PAGERS_MAX; i-- > 0;) {
        struct pp_pager *pp = list[i];
        if (!pp)
            continue;
        for (uint32_t j = 0; j < pp->ranges.nr; j++)
            pp->ranges.items[j].tag = range_tag(now_ns(), false); /* leaving ones, too: who waited for
                                                                      that is not here */
        atomic_store(&pp->nr_wanting, 0); /* who wanted it is not here */
        pthread_mutex_unlock(&pp->ranges_lock);
        if (atomic_load(&pp->is_started)) {
            agent_forget_in_child(pp);
            pp->direct = NULL;
            atomic_store(&pp->is_started, 0);
        }
        pthread_mutex_unlock(&pp->command_lock);
    }
    pthread_mutex_unlock(&list_lock);
    companions_unlock();
    if (tell_child)
        tell_child();
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void install_handlers(void)
{
    (void)pthread_atfork(before_fork, in_parent, in_child); /* fails for want of memory only */
}

void fork_list_tell(void (*on_child)(void))
{
    tell_child = on_child;
    pthread_once(&once, install_handlers);
}

int fork_list_add(struct pp_pager *pp)
{
    pthread_once(&once, install_handlers);
    pthread_mutex_lock(&list_lock);
    int r = -EMFILE;
    for (uint32_t i = 0; i < PAGERS_MAX && r; i++)
        if (!list[i]) {
            list[i] = pp;
            pp->index = i;
            r = 0;
        }
    pthread_mutex_unlock(&list_lock);
    return r;
}

void fork_list_remove(struct pp_pager *pp)
{
    pthread_mutex_lock(&list_lock);
    list[pp->index] = NULL;
    pthread_mutex_unlock(&list_lock);
}
