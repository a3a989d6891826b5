/* rogue.c - see rogue.h. One thread, a round over all sessions: messages, given-up places, raw pages,
 * offers; sleeps at most a millisecond. */
#include "rogue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/intervals.h"
#include "codec/codec.h"
#include "codec/group.h"
#include "wire/msg.h"
#include "wire/session_memory.h"

#define SESSIONS_MAX 20
#define STORE_BYTES ((uint64_t)1 << 30)
#define CLASS_BYTES 512u /* places are multiples of this, for a free list a class */
#define CLASSES_NR (LOCATOR_GROUP_BYTES_MAX / CLASS_BYTES + 1)
#define HELD_MAX STAGING_SLOTS_MAX
#define OFFER_PAGES 64u
#define OFFERS_WAITING 24 /* how many offers lie in the ring at most */
#define RANGES_MAX 65536u

struct free_list {
    uint32_t *units; /* offset / CLASS_BYTES */
    uint32_t nr, nr_max;
};

struct session {
    int socket, store_fd, store_fd_readonly, memory_fd, daemon_bell, agent_bell, porter_bell;
    bool is_welcome;
    unsigned char *store;
    uint64_t store_used;
    struct free_list free_lists[CLASSES_NR];
    struct session_memory *memory;
    unsigned char *members; /* of the group that begins at each place: those not given up */
    struct ring raw, raw_free, stored, given_up, candidates, feedback, squeeze, squeezed;
    struct squeezed_entry squeezed_held[SQUEEZES_NR];
    uint32_t nr_squeezed_held;
    struct intervals ranges;
    uint32_t range;      /* where the round of offers stands */
    page_number at;
    struct stored_entry held[HELD_MAX];
    uint32_t nr_held;
    uint32_t round_answered;
};

static struct rogue *orders; /* in the rogue's process */
static struct session *sessions[SESSIONS_MAX];
static struct codec_encoder *encoder;
static struct group_encoder *group_encoder;
static struct group_decoder group_decoder;

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "rogue: %s: %s\n", what, strerror(errno));
    _exit(1);
}

/* ---- joining */

static int sealed_memory(const char *name, uint64_t bytes, void **ret_map)
{
    int fd = memfd_create(name, MFD_ALLOW_SEALING | MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes))
        give_up(name);
    *ret_map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (*ret_map == MAP_FAILED || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL))
        give_up(name);
    return fd;
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

static void make_session_memory(struct session *s)
{
    void *store, *memory;
    s->store_fd = sealed_memory("rogue-store", STORE_BYTES, &store);
    s->memory_fd = sealed_memory("rogue-session", SESSION_MEMORY_BYTES, &memory);
    s->store = store;
    s->memory = memory;
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", s->store_fd);
    s->store_fd_readonly = open(path, O_RDONLY | O_CLOEXEC);
    s->daemon_bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->agent_bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->porter_bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    bind_rings(s);
    s->ranges = (struct intervals){ .items = calloc(RANGES_MAX, sizeof(struct interval)),
                                    .nr_max = RANGES_MAX };
    s->members = calloc(STORE_BYTES / CLASS_BYTES, 1);
    s->store_used = CLASS_BYTES;
}

static bool welcome(struct session *s)
{
    if (orders->answer == ROGUE_REFUSES) {
        struct msg_refuse refuse = { .error = -EUSERS, .text = "not today" };
        (void)msg_send(s->socket, MSG_REFUSE, &refuse, NULL);
        return false;
    }
    make_session_memory(s);
    struct msg_welcome w = { .version = WIRE_VERSION,
                             .features = orders->prefetches ? WELCOME_PREFETCH : 0,
                             .store_bytes = STORE_BYTES,
                             .session_bytes = SESSION_MEMORY_BYTES,
                             .cold_age_ms = orders->cold_age_ms,
                             .squeeze_age_ms = orders->squeeze_age_ms };
    struct msg_fds fds = { .fd = { s->store_fd_readonly, s->memory_fd, s->daemon_bell, s->agent_bell,
                                   s->porter_bell },
                           .nr = 5 };
    s->is_welcome = true;
    orders->nr_joins++;
    orders->nr_clients++;
    return msg_send(s->socket, MSG_WELCOME, &w, &fds) == 0;
}

static void leave(unsigned i)
{
    struct session *s = sessions[i];
    sessions[i] = NULL;
    close(s->socket);
    if (s->is_welcome) {
        int fds[] = { s->store_fd, s->store_fd_readonly, s->memory_fd, s->daemon_bell, s->agent_bell,
                      s->porter_bell };
        for (unsigned f = 0; f < sizeof fds / sizeof *fds; f++)
            close(fds[f]);
        munmap(s->store, STORE_BYTES);
        munmap(s->memory, SESSION_MEMORY_BYTES);
        for (unsigned c = 0; c < CLASSES_NR; c++)
            free(s->free_lists[c].units);
        free(s->ranges.items);
        free(s->members);
        orders->nr_clients--;
    }
    free(s);
}

static void accept_one(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    for (unsigned i = 0; fd >= 0 && i < SESSIONS_MAX; i++)
        if (!sessions[i]) {
            sessions[i] = calloc(1, sizeof(struct session));
            sessions[i]->socket = fd;
            return;
        }
    if (fd >= 0)
        close(fd);
}

/* A client with direct ranges has two sessions. */
static uint32_t nr_ranges_of_all(void)
{
    uint32_t nr = 0;
    for (unsigned i = 0; i < SESSIONS_MAX; i++)
        nr += sessions[i] && sessions[i]->is_welcome ? sessions[i]->ranges.nr : 0;
    return nr;
}

/* False: the client has gone. */
static bool take_messages(struct session *s)
{
    for (;;) {
        struct msg m;
        struct msg_fds fds = { .nr = 0 };
        int r = msg_recv(s->socket, &m, &fds);
        if (r)
            return r == -EAGAIN;
        msg_fds_close(&fds);
        page_number first = page_of(m.payload.range.start);
        page_number end = first + bytes_to_pages(m.payload.range.bytes);
        switch ((enum msg_type)m.header.type) {
        case MSG_HELLO:
            if (orders->answer != ROGUE_DEAF && !welcome(s))
                return false;
            break;
        case MSG_RANGE_ADD:
            (void)intervals_set(&s->ranges, first, end, 0);
            break;
        case MSG_RANGE_DEL:
            (void)intervals_clear(&s->ranges, first, end);
            break;
        case MSG_RANGES_RESET:
            s->ranges.nr = 0;
            break;
        case MSG_WELCOME:
        case MSG_REFUSE:
        case MSG_UFFD_API: {
            const struct msg_uffd_api no = { .error = -EPERM };
            (void)msg_send(s->socket, MSG_UFFD_API_DONE, &no, NULL);
            break;
        }
        case MSG_UFFD_API_DONE:
        case MSG_STATUS_GET:
        case MSG_STATUS:
        case MSG_ORDER:
        case MSG_ORDER_DONE:
        case MSG_TYPE_NR:
            return false;
        }
        if (s->is_welcome)
            orders->nr_ranges = nr_ranges_of_all();
    }
}

/* ---- storing */

static uint64_t put_bytes(struct session *s, const void *bytes, size_t size)
{
    unsigned class = (unsigned)((size + CLASS_BYTES - 1) / CLASS_BYTES);
    struct free_list *list = &s->free_lists[class];
    uint64_t offset;
    if (list->nr) {
        offset = (uint64_t)list->units[--list->nr] * CLASS_BYTES;
    } else {
        offset = s->store_used;
        s->store_used += class * CLASS_BYTES;
        if (s->store_used > STORE_BYTES) {
            errno = ENOSPC;
            give_up("store");
        }
    }
    memcpy(s->store + offset, bytes, size);
    return offset;
}

static locator put(struct session *s, enum locator_kind kind, const void *bytes, size_t size)
{
    return locator_make(kind, put_bytes(s, bytes, size), size);
}

static _Noreturn void never_given(void)
{
    fprintf(stderr, "rogue: a place was given up that was never given\n");
    _exit(1);
}

static void drop(struct session *s, locator place)
{
    uint64_t offset = locator_offset(place);
    size_t size = locator_size(place);
    unsigned class = (unsigned)((size + CLASS_BYTES - 1) / CLASS_BYTES);
    if (!locator_has_blob(place) || offset % CLASS_BYTES || offset + size > s->store_used)
        never_given();
    orders->nr_given_up++;
    if (locator_kind_of(place) == LOCATOR_ZSTD) {
        unsigned char *members = &s->members[offset / CLASS_BYTES];
        if (!(*members >> locator_index(place) & 1))
            never_given();
        *members &= (unsigned char)~(1u << locator_index(place));
        if (*members)
            return;
    }
    memset(s->store + offset, 0xdd, class * CLASS_BYTES);
    struct free_list *list = &s->free_lists[class];
    if (list->nr == list->nr_max) {
        list->nr_max = list->nr_max ? 2 * list->nr_max : 1024;
        list->units = realloc(list->units, list->nr_max * sizeof *list->units);
    }
    list->units[list->nr++] = (uint32_t)(offset / CLASS_BYTES);
}

static locator encode(struct session *s, const void *page)
{
    struct codec_encoded e;
    switch (codec_encode(encoder, page, &e)) {
    case CODEC_FILL32:
        return locator_make_fill32(e.fill);
    case CODEC_BLOB:
        return put(s, e.kind, e.bytes, e.size);
    case CODEC_NOT_WORTH_IT:
        break;
    }
    return 0;
}

static void say_stored(struct session *s, const struct stored_entry *e)
{
    if (ring_put(&s->stored, e)) {
        fprintf(stderr, "rogue: the ring of answers is full\n");
        _exit(1);
    }
    orders->nr_stored++;
}

/* The right answer, or what the orders make of it. */
static void answer_raw(struct session *s, const struct raw_entry *raw)
{
    const unsigned char *page = session_raw_page(s->memory, raw->raw_slot);
    struct stored_entry e = { .staging_slot = raw->staging_slot, .generation = raw->generation };
    struct stored_entry other = e;
    _Alignas(8) unsigned char changed[PAGE_BYTES];
    enum rogue_answer how = orders->answer;
    if (how == ROGUE_NEVER)
        return;
    if (how == ROGUE_FULL || how == ROGUE_TOO_BIG) {
        e.result = how == ROGUE_FULL ? STORED_FULL : STORED_INCOMPRESSIBLE;
        say_stored(s, &e);
        return;
    }
    if (how == ROGUE_OTHER_BYTES) {
        memcpy(changed, page, PAGE_BYTES);
        changed[1000] ^= 1;
        page = changed;
    }
    e.place = encode(s, page);
    if (!e.place)
        e.result = STORED_INCOMPRESSIBLE;
    switch (how) {
    case ROGUE_HOLD:
        s->held[s->nr_held++] = e;
        orders->nr_held++;
        return;
    case ROGUE_TWICE:
        other.place = encode(s, page);
        say_stored(s, &e);
        e = other;
        break;
    case ROGUE_STALE_FIRST:
        memset(changed, 0x42, PAGE_BYTES);
        changed[9] = 1;
        other.place = encode(s, changed);
        other.generation--;
        say_stored(s, &other);
        break;
    case ROGUE_FUTURE:
        e.staging_slot = (e.staging_slot + 1) % STAGING_SLOTS_MAX;
        e.generation++;
        break;
    case ROGUE_WRONG_BYTES:
        memset(changed, 0xff, PAGE_BYTES);
        e.place = put(s, LOCATOR_LZ4, changed, 700);
        break;
    case ROGUE_SAYS_ZERO:
        e.place = locator_make_fill32(0);
        break;
    case ROGUE_OUT_OF_RANGE:
        e.place = locator_make(LOCATOR_LZ4, STORE_BYTES - 16, 600);
        break;
    case ROGUE_NO_SUCH_SLOT:
        e.staging_slot = STAGING_SLOTS_MAX + 7;
        break;
    case ROGUE_HONEST:
    case ROGUE_OTHER_BYTES:
    case ROGUE_BROKEN_STORED:
    case ROGUE_BROKEN_RAW:
    case ROGUE_BROKEN_RAW_FREE:
    case ROGUE_BROKEN_CANDIDATES:
    case ROGUE_WRONG_ORDER:
    case ROGUE_LENDS_LIES:
    case ROGUE_DEAF:
    case ROGUE_REFUSES:
    case ROGUE_NEVER: /* these three have been dealt with */
    case ROGUE_FULL:
    case ROGUE_TOO_BIG:
        break;
    }
    say_stored(s, &e);
}

static bool take_raw(struct session *s)
{
    struct raw_entry raw;
    unsigned nr = 0;
    while (nr < 16 && ring_take(&s->raw, &raw) == 1) {
        nr++;
        orders->nr_raw++;
        answer_raw(s, &raw);
        struct raw_free_entry lent = { .raw_slot = raw.raw_slot };
        (void)ring_put(&s->raw_free, &lent);
        if (orders->answer == ROGUE_LENDS_LIES) {
            (void)ring_put(&s->raw_free, &lent);
            lent.raw_slot = 0xffffff00u;
            (void)ring_put(&s->raw_free, &lent);
        }
    }
    if (nr) {
        doorbell_ring(&s->memory->agent_bell, s->agent_bell);
        doorbell_ring(&s->memory->porter_bell, s->porter_bell);
    }
    return nr > 0;
}

static void give_held_answers(struct session *s)
{
    if (orders->answer == ROGUE_HOLD || !s->nr_held)
        return;
    for (uint32_t i = 0; i < s->nr_held; i++)
        say_stored(s, &s->held[i]);
    orders->nr_held -= s->nr_held;
    s->nr_held = 0;
    doorbell_ring(&s->memory->agent_bell, s->agent_bell);
}

static void take_given_up(struct session *s)
{
    struct given_up_entry e;
    while (ring_take(&s->given_up, &e) == 1)
        drop(s, e.place);
    struct feedback_entry f;
    while (ring_take(&s->feedback, &f) == 1) /* without judgement */
        if ((f.word & 0xff) == FEEDBACK_PREFETCHED)
            orders->nr_unwanted += feedback_nr(f);
}

/* ---- other places for what is stored */

static bool unpack(struct session *s, locator place, unsigned char *ret_page)
{
    static unsigned char pages[GROUP_BYTES_MAX];
    const unsigned char *bytes = s->store + locator_offset(place);
    size_t size = locator_size(place);
    if (locator_offset(place) + size > s->store_used)
        return false;
    if (locator_kind_of(place) != LOCATOR_ZSTD)
        return codec_decode(locator_kind_of(place), bytes, size, ret_page) == 0;
    if (group_decode(&group_decoder, bytes, size, pages) <= (int)locator_index(place))
        return false;
    memcpy(ret_page, pages + pages_to_bytes(locator_index(place)), PAGE_BYTES);
    return true;
}

/* Whatever is there: what does not decode has been given up, and nobody takes the answer. */
static void make_group(struct session *s, const struct squeeze_entry *ask, struct squeezed_entry *e)
{
    static unsigned char pages[GROUP_BYTES_MAX], blob[2 * GROUP_BYTES_MAX];
    memset(pages, 0x42, sizeof pages);
    for (unsigned i = 0; i < ask->nr; i++)
        (void)unpack(s, ask->places[i], pages + pages_to_bytes(i));
    enum rogue_squeeze how = orders->squeeze;
    bool is_mixed_up = how == ROGUE_SQUEEZE_MIXED_UP;
    for (unsigned i = 0; i < ask->nr; i++) {
        bool is_again = locator_kind_of(ask->places[i]) == LOCATOR_ZSTD; /* two, mixed up twice, are right */
        if (how == ROGUE_SQUEEZE_OTHER_BYTES || (is_mixed_up && is_again))
            pages[pages_to_bytes(i) + 1000] = 0xee;
    }
    size_t size = group_encode(group_encoder, pages, ask->nr, blob, LOCATOR_GROUP_BYTES_MAX);
    if (!size) {
        e->result = SQUEEZED_DENSE;
        return;
    }
    if (how == ROGUE_SQUEEZE_NO_FRAME)
        memset(blob, 0x77, size);
    uint64_t offset = put_bytes(s, blob, size);
    for (unsigned i = 0; i < ask->nr; i++) {
        unsigned index = !is_mixed_up ? i : ask->nr > 1 ? (i + 1) % ask->nr : 1;
        s->members[offset / CLASS_BYTES] |= (unsigned char)(1u << index);
        e->places[i] = locator_make_group(offset, size, index);
    }
}

static void answer_squeeze(struct session *s, const struct squeeze_entry *ask)
{
    struct squeezed_entry e = { .cookie = ask->cookie };
    enum rogue_squeeze how = orders->squeeze;
    if (how == ROGUE_SQUEEZE_NEVER)
        return;
    if (ask->nr < 1 || ask->nr > LOCATOR_GROUP_PAGES) {
        fprintf(stderr, "rogue: asked for %u pages\n", ask->nr);
        _exit(1);
    }
    make_group(s, ask, &e);
    if (how == ROGUE_SQUEEZE_OUT_OF_RANGE)
        e.places[0] = locator_make_group(STORE_BYTES - 16, 600, 0);
    else if (how == ROGUE_SQUEEZE_NOT_ASKED)
        e.cookie = SQUEEZES_NR;
    else if (how == ROGUE_SQUEEZE_SAME_PLACE)
        memcpy(e.places, ask->places, sizeof e.places);
    if (how == ROGUE_SQUEEZE_HOLD) {
        s->squeezed_held[s->nr_squeezed_held++] = e;
        orders->nr_squeezed_held += ask->nr;
        return;
    }
    (void)ring_put(&s->squeezed, &e);
}

static void take_squeezes(struct session *s)
{
    struct squeeze_entry ask;
    bool any = false;
    if (orders->squeeze != ROGUE_SQUEEZE_HOLD) {
        for (uint32_t i = 0; i < s->nr_squeezed_held; i++)
            (void)ring_put(&s->squeezed, &s->squeezed_held[i]);
        any |= s->nr_squeezed_held != 0;
        s->nr_squeezed_held = 0;
        orders->nr_squeezed_held = 0; /* one client holds some at a time */
    }
    /* Who answers as long as he is asked never takes what was given up, and the store grows. */
    for (unsigned nr = 0; nr < SQUEEZES_NR && ring_take(&s->squeeze, &ask) == 1; nr++) {
        orders->nr_asked++;
        any = true;
        answer_squeeze(s, &ask);
    }
    if (orders->squeeze == ROGUE_SQUEEZE_BROKEN_RING)
        atomic_store(&s->memory->squeezed.head, 0x77777777);
    if (any)
        doorbell_ring(&s->memory->agent_bell, s->agent_bell);
    for (uint32_t i = 0; i < STORE_LEAVING_NR; i++)
        s->memory->leaving[i] = orders->moves ? i + 1 : 0;
    s->memory->leaving_round += orders->moves;
}

static void break_a_ring(struct session *s)
{
    enum rogue_answer how = orders->answer;
    struct session_memory *m = s->memory;
    struct msg_order order = { .op = ORDER_RECLAIM };
    if (how == ROGUE_WRONG_ORDER)
        (void)msg_send(s->socket, MSG_ORDER, &order, NULL);
    else if (how == ROGUE_BROKEN_STORED)
        atomic_store(&m->stored.head, 0x77777777);
    else if (how == ROGUE_BROKEN_RAW)
        atomic_store(&m->raw.tail, 0x77777777);
    else if (how == ROGUE_BROKEN_RAW_FREE)
        atomic_store(&m->raw_free.head, 0x77777777);
    else if (how == ROGUE_BROKEN_CANDIDATES)
        atomic_store(&m->candidates.head, 0x77777777);
    else
        return;
    (void)eventfd_write(s->agent_bell, 1);
}

/* ---- offering */

static void offer_interval(struct session *s, page_number first, uint64_t nr)
{
    struct candidate_entry e = { .first = first, .nr_pages = (uint32_t)nr };
    (void)ring_put(&s->candidates, &e);
}

static int64_t nr_offers_waiting(struct session *s)
{
    return RING_CANDIDATES_NR - ring_room(&s->candidates);
}

static bool offer(struct session *s)
{
    bool any = false;
    uint64_t only = orders->only_nr;
    if (!orders->offers && !only)
        return false;
    for (int put_now = 0; put_now < 8 && nr_offers_waiting(s) < OFFERS_WAITING; put_now++) {
        any = true;
        if (only) {
            for (uint64_t i = 0; i < only; i += OFFER_PAGES)
                offer_interval(s, orders->only_page + i,
                               only - i < OFFER_PAGES ? only - i : OFFER_PAGES);
            continue;
        }
        if (!s->ranges.nr)
            break;
        if (s->range >= s->ranges.nr)
            s->range = 0;
        struct interval *range = &s->ranges.items[s->range];
        if (s->at < range->first || s->at >= range->end)
            s->at = range->first;
        uint64_t left = range->end - s->at;
        offer_interval(s, s->at, left < OFFER_PAGES ? left : OFFER_PAGES);
        s->at += OFFER_PAGES;
        if (s->at >= range->end) {
            s->range++;
            s->at = 0;
        }
    }
    doorbell_ring(&s->memory->agent_bell, s->agent_bell);
    return any;
}

static void spoil(struct session *s)
{
    for (uint64_t i = 0; i < s->store_used; i++)
        s->store[i] ^= 0xff;
}

/* ---- the loop */

static int listen_at(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)unlink(path);
    if (fd < 0 || bind(fd, (void *)&address, sizeof address) || listen(fd, 32))
        give_up(path);
    return fd;
}

static bool serve(unsigned i)
{
    struct session *s = sessions[i];
    if (!take_messages(s)) {
        leave(i);
        return true;
    }
    if (!s->is_welcome)
        return false;
    take_given_up(s);
    break_a_ring(s);
    give_held_answers(s);
    take_squeezes(s);
    bool is_broken = orders->answer == ROGUE_BROKEN_RAW || orders->answer == ROGUE_BROKEN_RAW_FREE;
    bool did = !is_broken && take_raw(s); /* which would mend it */
    return offer(s) || did;
}

static void sleep_a_little(int listener)
{
    struct pollfd fds[2 * SESSIONS_MAX + 1] = { { .fd = listener, .events = POLLIN } };
    bool has_work = false;
    nfds_t nr = 1;
    for (unsigned i = 0; i < SESSIONS_MAX; i++) {
        struct session *s = sessions[i];
        if (!s)
            continue;
        fds[nr++] = (struct pollfd){ .fd = s->socket, .events = POLLIN };
        if (!s->is_welcome)
            continue;
        doorbell_will_sleep(&s->memory->daemon_bell);
        has_work |= !ring_is_empty(&s->raw);
        fds[nr++] = (struct pollfd){ .fd = s->daemon_bell, .events = POLLIN };
    }
    if (!has_work)
        (void)poll(fds, nr, 1);
    for (unsigned i = 0; i < SESSIONS_MAX; i++)
        if (sessions[i] && sessions[i]->is_welcome)
            doorbell_awake(&sessions[i]->memory->daemon_bell, sessions[i]->daemon_bell);
}

static bool is_all_dealt_with(void)
{
    for (unsigned i = 0; i < SESSIONS_MAX; i++)
        if (sessions[i] && sessions[i]->is_welcome &&
            (nr_offers_waiting(sessions[i]) > 0 || !ring_is_empty(&sessions[i]->raw)))
            return false;
    return true;
}

static int rogue_main(void *argument)
{
    orders = argument;
    int listener = listen_at(orders->socket_path);
    if (codec_encoder_new(&encoder) || group_encoder_new(&group_encoder))
        give_up("codec");
    atomic_store(&orders->nr_clients, 0);
    atomic_store(&orders->nr_held, 0);
    atomic_store(&orders->nr_squeezed_held, 0);
    for (;;) {
        bool did = false, was_quiet = !orders->offers && !orders->only_nr;
        accept_one(listener);
        for (unsigned i = 0; i < SESSIONS_MAX; i++)
            if (sessions[i])
                did |= serve(i);
        if (atomic_exchange(&orders->spoils_store, false))
            for (unsigned i = 0; i < SESSIONS_MAX; i++)
                if (sessions[i] && sessions[i]->is_welcome)
                    spoil(sessions[i]);
        orders->is_quiet = was_quiet && is_all_dealt_with();
        orders->rounds++;
        if (!did)
            sleep_a_little(listener);
    }
}

/* ---- the test's side */

struct rogue *rogue_new(const char *name)
{
    struct rogue *r = test_shared(sizeof *r);
    (void)snprintf(r->socket_path, sizeof r->socket_path, "%s", name);
    return r;
}

void rogue_start(struct rogue *r)
{
    if (r->socket_path[0] != '/') {
        const char *path = test_path(r->socket_path);
        (void)snprintf(r->socket_path, sizeof r->socket_path, "%s", path);
    }
    uint64_t rounds = r->rounds;
    r->pid = helper_start(rogue_main, r);
    WAIT_UNTIL(r->rounds > rounds);
}

void rogue_kill(struct rogue *r)
{
    (void)helper_kill(r->pid, SIGKILL);
}

void rogue_freeze(struct rogue *r)
{
    (void)helper_kill(r->pid, SIGSTOP);
}

void rogue_thaw(struct rogue *r)
{
    (void)helper_kill(r->pid, SIGCONT);
}

void rogue_offer_all(struct rogue *r)
{
    r->only_nr = 0;
    r->offers = true;
}

void rogue_offer_only(struct rogue *r, const void *address, size_t nr_pages)
{
    r->offers = false;
    r->only_page = page_of((uintptr_t)address);
    r->only_nr = nr_pages;
}

void rogue_pause(struct rogue *r)
{
    r->offers = false;
    r->only_nr = 0;
    uint64_t rounds = r->rounds;
    WAIT_LONG_UNTIL(r->rounds > rounds + 1 && r->is_quiet);
    test_nap_us(2000); /* the offer that the agent has in its hands */
}

void rogue_answers(struct rogue *r, enum rogue_answer answer)
{
    r->answer = answer;
    uint64_t rounds = r->rounds;
    WAIT_UNTIL(r->rounds > rounds + 1);
}

void rogue_squeezes(struct rogue *r, enum rogue_squeeze squeeze)
{
    r->squeeze = squeeze;
    uint64_t rounds = r->rounds;
    WAIT_UNTIL(r->rounds > rounds + 1);
}

/* ---- arena */

void arena_begin(struct arena *a, struct rogue *r, uint32_t nr_pages)
{
    a->rogue = r;
    rogue_start(r);
    pages_map(&a->pages, nr_pages);
    pages_write_all(&a->pages);
    a->pager = pager_open(r->socket_path);
    CHECK_EQ(pp_register(a->pager, a->pages.memory, pages_to_bytes(nr_pages)), 0);
    pager_start(a->pager);
    WAIT_UNTIL(r->nr_ranges > 0);
}

static void wait_for_answers(struct arena *a)
{
    if (a->rogue->answer != ROGUE_NEVER && a->rogue->answer != ROGUE_HOLD)
        WAIT_UNTIL(pager_stat_now(a->pager, "pages_staged") == 0);
}

/* A thread of the test may touch one of them in between. */
void arena_out(struct arena *a, uint32_t first, uint32_t nr)
{
    uint64_t deadline_ms = test_now_ms() + test_limit_ms(5000);
    do {
        CHECK(test_now_ms() < deadline_ms);
        rogue_offer_only(a->rogue, pages_at(&a->pages, first), nr);
        WAIT_UNTIL(pages_nr_present(&a->pages, first, nr) == 0);
        rogue_pause(a->rogue);
    } while (pages_nr_present(&a->pages, first, nr));
    wait_for_answers(a);
}

/* A thread that is running or waits for a CPU may be in the middle of a discard, as far as bars can tell. The agent
 * is, as long as it is offered things without a pause, and whoever polls here: so after a while both rest. */
static void wait_until_all_out(struct arena *a, uint64_t begin_ms)
{
    while (pages_nr_present(&a->pages, 0, a->pages.nr)) {
        uint64_t waited_ms = test_now_ms() - begin_ms;
        CHECK(waited_ms < test_limit_ms(20000));
        test_nap_us(waited_ms < 200 ? 200 : 20000);
        if (waited_ms < 500)
            continue;
        a->rogue->offers = false; /* what it has offered already is not waited for */
        test_nap_us(50000);
        rogue_offer_all(a->rogue);
    }
}

void arena_all_out(struct arena *a)
{
    uint64_t begin_ms = test_now_ms();
    do {
        rogue_offer_all(a->rogue);
        wait_until_all_out(a, begin_ms);
        rogue_pause(a->rogue);
    } while (pages_nr_present(&a->pages, 0, a->pages.nr));
    wait_for_answers(a);
}

static sigjmp_buf before_touch;
static volatile sig_atomic_t is_touching;

/* Where the library has had its handler before, this one is the later: it asks. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (pp_sigbus(info))
        return;
    if (is_touching)
        siglongjmp(before_touch, 1);
    (void)signal(number, SIG_DFL); /* nobody expected that one: it comes again, and ends the test */
}

void arena_catch_sigbus(void)
{
    struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
    CHECK_EQ(sigaction(SIGBUS, &action, NULL), 0);
}

bool arena_is_lost(const struct arena *a, uint32_t i)
{
    volatile bool is_lost = true;
    is_touching = 1;
    if (!sigsetjmp(before_touch, 1)) {
        pages_check(&a->pages, i);
        is_lost = false;
    }
    is_touching = 0;
    return is_lost;
}

uint32_t arena_nr_lost(const struct arena *a, uint32_t first, uint32_t nr)
{
    volatile uint32_t lost = 0;
    for (volatile uint32_t i = first; i < first + nr; i++)
        lost += arena_is_lost(a, i);
    return lost;
}

void arena_end_lost(struct arena *a)
{
    int r = pp_stop(a->pager);
    CHECK(r == 0 || r == -EIO || r == -EALREADY);
    a->pager = pp_close(a->pager);
    pages_unmap(&a->pages);
    rogue_kill(a->rogue);
}

void arena_end(struct arena *a)
{
    pages_check_all(&a->pages);
    CHECK_EQ(pp_stop(a->pager), 0);
    pages_check_all(&a->pages);
    a->pager = pp_close(a->pager);
    pages_check_all(&a->pages);
    pages_unmap(&a->pages);
    rogue_kill(a->rogue);
}
