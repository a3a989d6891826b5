/* session.c - see session.h. */
#include "daemon/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "daemon/limits.h"
#include "sys/memfd.h"
#include "sys/uapi.h"

/* What a client maps of its store. The cap counts populated blocks; places lie anywhere in the file, so
 * it may be longer: slabs of all sizes are open at once, and emptied ones leave holes. */
#define FILE_BYTES_PER_CAP 2u

struct session *session_new(int socket, uint32_t id)
{
    struct session *s = point_fails(POINT_SESSION) ? NULL : calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->id = id;
    s->socket = socket;
    s->pagemap_fd = s->daemon_bell = s->agent_bell = s->porter_bell = -1;
    atomic_init(&s->status_fd, -1);
    s->born_ms = monotonic_ms();
    s->uid = (uid_t)-1; /* nobody's, should the kernel not say */
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
        s->pid = peer.pid;
        s->uid = peer.uid;
        s->user = user_enter(s->uid);
    }
    if (!s->user) { /* who has no name here is not let in */
        free(s);
        return NULL;
    }
    return s;
}

struct session *session_find(struct session *sessions, uint32_t id)
{
    while (sessions && sessions->id != id)
        sessions = sessions->next;
    return sessions;
}

bool session_has_process(const struct session *s)
{
    int pidfd;
    socklen_t size = sizeof pidfd;
    if (getsockopt(s->socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size))
        return errno == ENOPROTOOPT || errno == EMFILE || errno == ENFILE; /* it cannot be told */
    struct pollfd ended = { .fd = pidfd, .events = POLLIN };
    int n = poll(&ended, 1, 0);
    close(pidfd);
    return n == 0;
}

bool session_may_lose(const struct session *s, uint64_t now_ms)
{
    return !s->is_held && now_ms >= s->grace_until_ms;
}

static int new_bell(void)
{
    return point_fails(POINT_SESSION_BELL) ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void bind_rings(struct session *s)
{
    struct session_memory *m = s->memory;
    ring_init(&s->raw, &m->raw, m->raw_entries, RAW_SLOTS_MAX, sizeof(struct raw_entry));
    ring_init(&s->raw_free, &m->raw_free, m->raw_free_entries, RAW_SLOTS_MAX,
              sizeof(struct raw_free_entry));
    ring_init(&s->stored, &m->stored, m->stored_entries, STAGING_SLOTS_MAX,
              sizeof(struct stored_entry));
    ring_init(&s->given_up, &m->given_up, m->given_up_entries, RING_GIVEN_UP_NR,
              sizeof(struct given_up_entry));
    ring_init(&s->candidates, &m->candidates, m->candidate_entries, RING_CANDIDATES_NR,
              sizeof(struct candidate_entry));
    ring_init(&s->feedback, &m->feedback, m->feedback_entries, RING_FEEDBACK_NR,
              sizeof(struct feedback_entry));
    ring_init(&s->squeeze, &m->squeeze, m->squeeze_entries, SQUEEZES_NR, sizeof(struct squeeze_entry));
    ring_init(&s->squeezed, &m->squeezed, m->squeezed_entries, SQUEEZES_NR,
              sizeof(struct squeezed_entry));
}

/* The program's name, as a word that is safe in logs and CSV. */
static void copy_name(struct session *s, const char *name)
{
    size_t i = 0;
    for (; i < sizeof s->name - 1 && name[i]; i++)
        s->name[i] = name[i] > ' ' && name[i] < 127 && name[i] != ',' && name[i] != '"' ? name[i] : '_';
    s->name[i] = 0;
}

/* A client in another pid namespace has no pid that DAMON could be told. */
static int new_heat(struct session *s, const struct config *config, struct damon_watcher *watcher,
                    int pagemap_fd)
{
    struct heat_client client = { .pagemap_fd = pagemap_fd, .pid = s->pid,
                                  .cold_age_ms = config_first_age_ms(config), .watcher = watcher,
                                  .is_governed = !config->cold_age_ms,
                                  .is_probing = config->probe == CHOICE_ON && !config->is_dry_run };
    const struct heat_ops *ops = watcher && s->pid > 0 ? &heat_damon_ops : &heat_scan_ops;
    int r = ops->create(&client, &s->heat);
    if (r == 0)
        s->heat_ops = ops;
    return r;
}

int session_fall_back(struct session *s, const struct config *config)
{
    const struct heat_ops *old_ops = s->heat_ops;
    struct heat *old = s->heat;
    int r = new_heat(s, config, NULL, s->pagemap_fd);
    if (r)
        return r;
    r = heat_hand_over(old, s->heat_ops, s->heat);
    if (r == 0) {
        old_ops->destroy(old);
        return 0;
    }
    s->heat_ops->destroy(s->heat);
    s->heat = old;
    s->heat_ops = old_ops;
    return r;
}

/* For a client that may not make a userfaultfd of its own; -1: there is none. If root's daemon is refused (at
 * its start it had more rights), that is said, and not again before it has been opened. */
static int open_device(void)
{
    static bool is_refused; /* control only */
    int device = point_fails(POINT_DEVICE) ? -1 : open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    bool was_refused = is_refused;
    is_refused = device < 0 && errno == EACCES && geteuid() == 0;
    if (is_refused && !was_refused)
        log_warning("event=device error=\"%s\"; look at the mode of /dev/userfaultfd: who has no right of "
                    "its own to userfaultfd can't start; continuing", strerror(EACCES));
    return device;
}

int session_join(struct session *s, const struct config *config, const struct msg_hello *hello,
                 struct damon_watcher *watcher, int pagemap_fd, struct msg_welcome *ret_welcome,
                 struct msg_fds *ret_fds)
{
    uint64_t file_bytes = config->store_cap_bytes * FILE_BYTES_PER_CAP;
    if (file_bytes > LOCATOR_STORE_BYTES_MAX)
        file_bytes = LOCATOR_STORE_BYTES_MAX;
    int memory_fd = -1;
    int r = store_writer_new(config->store_cap_bytes, file_bytes, &s->store);
    if (r == 0)
        r = memfd_share("process-pager-session", SESSION_MEMORY_BYTES, &memory_fd, (void **)&s->memory);
    if (r == 0)
        r = new_heat(s, config, watcher, pagemap_fd);
    if (r)
        goto failed;
    s->daemon_bell = new_bell();
    s->agent_bell = new_bell();
    s->porter_bell = new_bell();
    int store_fd = store_writer_open_readonly(s->store);
    if (s->daemon_bell < 0 || s->agent_bell < 0 || s->porter_bell < 0 || store_fd < 0) {
        if (store_fd >= 0)
            close(store_fd);
        r = -EMFILE;
        goto failed;
    }
    bind_rings(s);
    copy_name(s, hello->name);
    s->takes_orders = hello->features & HELLO_TAKES_ORDERS;
    choose_init(&s->choose, config->reclaim_rate / PAGE_BYTES);
    governor_init(&s->governor, config);
    if (s->governor.budget.limits.kind == BUDGET_SLOWDOWN)
        s->grace_until_ms = monotonic_ms() + (hello->grace_ms < GRACE_MS_MAX ? hello->grace_ms : GRACE_MS_MAX);
    s->pagemap_fd = pagemap_fd;
    s->is_joined = true;
    *ret_fds = (struct msg_fds){
        .fd = { store_fd, memory_fd, s->daemon_bell, s->agent_bell, s->porter_bell }, .nr = 5
    };
    int device = open_device();
    if (device >= 0)
        ret_fds->fd[ret_fds->nr++] = device;
    *ret_welcome = (struct msg_welcome){
        .version = WIRE_VERSION,
        .features = (config->evict_by == EVICT_BY_PAGEOUT ? WELCOME_EVICT_BY_PAGEOUT : 0u) |
                    (config->prefetch == CHOICE_ON ? WELCOME_PREFETCH : 0u) |
                    (config->agent_class == AGENT_CLASS_AUTO ? WELCOME_URGENT : 0u),
        .session_id = s->id,
        .has_device = device >= 0,
        .store_bytes = file_bytes,
        .session_bytes = SESSION_MEMORY_BYTES,
        .cold_age_ms = (uint32_t)config_first_age_ms(config),
        .dry_run = config->is_dry_run,
        .squeeze_age_ms = config->tiers == TIERS_LZ4_ZSTD ? (uint32_t)config->squeeze_age_ms : 0,
    };
    return 0;
failed:
    if (memory_fd >= 0)
        close(memory_fd);
    return r;
}

struct session_heat session_heat(const struct session *s)
{
    if (s->is_away)
        return (struct session_heat){ .nr_pages = s->share.nr_pages,
                                      .bookkeeping_bytes = s->share.range_bytes };
    return (struct session_heat){ .nr_pages = s->heat_ops->nr_pages(s->heat),
                                  .nr_ready = s->heat_ops->nr_ready(s->heat),
                                  .bookkeeping_bytes = s->heat_ops->bookkeeping_bytes(s->heat) };
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

struct session *session_free(struct session *s)
{
    if (!s)
        return NULL;
    if (s->heat_ops)
        s->heat_ops->destroy(s->heat);
    store_writer_free(s->store);
    if (s->memory)
        munmap(s->memory, SESSION_MEMORY_BYTES);
    close_fd(s->socket);
    close_fd(s->pagemap_fd);
    close_fd(atomic_load(&s->status_fd));
    close_fd(s->daemon_bell);
    close_fd(s->agent_bell);
    close_fd(s->porter_bell);
    user_leave(s->user, &s->share, atomic_load(&s->held_bytes));
    free(s);
    return NULL;
}
