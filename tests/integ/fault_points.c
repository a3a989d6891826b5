/* fault_points - every allocation and every call that base/point.def names fails once: the client goes on,
 * or says what is wrong and goes on the next time; no byte is wrong; the daemon serves the others and
 * gives one reason. Method: a row for each failure; the test does what makes that point be passed, and then
 * whether it fired. A point without a row is a failure of the test.
 *
 * In the client the points are armed in this process, beside a whole daemon; in the daemon by PP_FAULT. */
#include "forker.h"
#include "points.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rogue.h"
#include "wire/msg.h"

#define NR 128u /* pages: enough for two runs, and for a prefetch */

enum where {
    AT_OPEN,   /* pp_open */
    AT_START,  /* pp_start */
    AT_REJOIN, /* the daemon has died, the next is there */
    AT_WORK,   /* pages leave and come back, ranges come and go */
    AT_FORK,   /* a fork with pages out; the child touches some before our handler */
    DAEMON_START,
    DAEMON_JOIN, /* a client's pp_start */
    DAEMON_WORK, /* as AT_WORK */
};

enum outcome {
    GOES_ON,       /* nobody notices; the daemon says it if it has a word for it */
    REFUSED,       /* the call fails with the point's errno; pp_error(), or what the daemon prints, says it */
    SESSION_ENDS,  /* for a reason in the daemon's log, and the client joins again */
    PAGE_IS_LOST,  /* one: SIGBUS when it is touched */
    COMES_BACK,    /* AT_FORK: everything, before it */
    CHILD_ENDS,    /* AT_FORK: and says why */
};

struct row {
    enum point point;
    enum where where;
    unsigned at_pass, nr_times;
    enum outcome outcome;
    const char *says;
    int code;    /* DAEMON_START: its exit code; REFUSED: another errno than the point's */
    enum point also; /* AT_WORK: fails, too, ... */
    unsigned also_times; /* ... so often; 0: there is none */
    bool is_untold; /* AT_START: it is not told of forks, and all comes back before one */
    bool is_childs; /* AT_FORK: fails in the child; else in its parent */
    bool is_late;   /* AT_FORK: the child touches one more when it has its userfaultfd */
    bool is_slow;   /* not in a short run */
};

#define ROW(name, at, pass, times, what, ...)                                                            \
    {                                                                                                    \
        .point = POINT_##name, .where = at, .at_pass = pass, .nr_times = times, .outcome = what, ##__VA_ARGS__ \
    }

static const struct row rows[] = {
    ROW(PAGER_MEMORY, AT_OPEN, 1, 1, REFUSED),

    ROW(REGION, AT_START, 1, 1, GOES_ON), /* with a smaller table */
    ROW(REGION, AT_START, 1, POINT_FOR_GOOD, REFUSED, .says = "no address space"),
    ROW(OWN_THREAD, AT_START, 1, 1, REFUSED, .says = "cannot start a thread"),
    ROW(OWN_THREAD, AT_START, 2, 1, REFUSED, .says = "cannot start a thread"),
    ROW(OWN_TABLE, AT_START, 1, 1, REFUSED, .says = "cannot open /proc/self or an eventfd"),
    ROW(OWN_PAGEMAP, AT_START, 1, 1, REFUSED, .says = "cannot open /proc/self or an eventfd"),
    ROW(OWN_BELL, AT_START, 1, 1, REFUSED, .says = "cannot open /proc/self or an eventfd"),
    ROW(OWN_TIMER, AT_START, 1, 1, REFUSED, .says = "cannot open /proc/self or an eventfd"),
    ROW(OWN_EPOLL, AT_START, 1, 1, REFUSED, .says = "cannot open /proc/self or an eventfd"),
    ROW(OWN_MAPS, AT_START, 1, 1, REFUSED, .says = "cannot open /proc/self or an eventfd"),
    ROW(OWN_LISTEN, AT_START, 1, 1, REFUSED, .says = "cannot open /proc/self or an eventfd"),
    ROW(OWN_LISTEN, AT_START, 2, 1, REFUSED, .says = "cannot open /proc/self or an eventfd"),
    ROW(OWN_LISTEN, AT_START, 3, 1, REFUSED, .says = "cannot listen to the daemon"),
    ROW(OWN_LISTEN, AT_START, 4, 1, REFUSED, .says = "cannot listen to the daemon"),
    ROW(CONNECT, AT_START, 1, 1, REFUSED, .says = "Too many open files"),
    ROW(SEND, AT_START, 1, 1, REFUSED, .says = "No buffer space"),
    ROW(RECV, AT_START, 1, 1, REFUSED, .says = "Cannot allocate memory"),
    ROW(MAP_SHARED, AT_START, 1, 1, REFUSED, .says = "cannot map the daemon's memory"),
    ROW(MAP_SHARED, AT_START, 2, 1, REFUSED, .says = "cannot map the daemon's memory"),
    ROW(UFFD_OPEN, AT_START, 1, 1, GOES_ON, .is_untold = true), /* one that tells of forks */
    ROW(UFFD_OPEN, AT_START, 1, 2, REFUSED, .says = "Too many open files"), /* and one that does not */
    ROW(UFFD_OPEN, AT_START, 2, 1, REFUSED, .says = "Too many open files"), /* staging's */
    ROW(UFFD_API, AT_START, 1, 1, GOES_ON),
    ROW(UFFD_API, AT_START, 2, 1, GOES_ON),
    ROW(UFFD_WATCH, AT_START, 1, 1, REFUSED, .says = "Cannot allocate memory"),
    ROW(UFFD_WATCH, AT_START, 2, 1, REFUSED, .says = "Cannot allocate memory"),
    ROW(UFFD_WATCH, AT_START, 3, 1, REFUSED, .says = "Cannot allocate memory"),

    ROW(FORK_DOOR, AT_START, 1, 1, GOES_ON, .is_untold = true),

    ROW(CONNECT, AT_REJOIN, 1, 1, GOES_ON),
    ROW(OWN_LISTEN, AT_REJOIN, 1, 1, GOES_ON),
    ROW(OWN_LISTEN, AT_REJOIN, 2, 1, GOES_ON),
    ROW(SEND, AT_REJOIN, 1, 1, GOES_ON), /* HELLO */
    ROW(SEND, AT_REJOIN, 2, 1, GOES_ON), /* RANGES_RESET */
    ROW(SEND, AT_REJOIN, 3, 1, GOES_ON), /* RANGE_ADD */
    ROW(RECV, AT_REJOIN, 2, 1, GOES_ON),
    ROW(MAP_SHARED, AT_REJOIN, 1, 1, GOES_ON),
    ROW(MAP_SHARED, AT_REJOIN, 2, 1, GOES_ON),

    ROW(UFFD_WATCH, AT_WORK, 1, 1, GOES_ON),
    ROW(UFFD_ARM, AT_WORK, 1, 1, GOES_ON),
    ROW(UFFD_UNREGISTER, AT_WORK, 1, 1, GOES_ON),
    ROW(UFFD_PROTECT, AT_WORK, 1, 3, GOES_ON),
    ROW(MAPS_FIND, AT_WORK, 1, 1, GOES_ON),
    ROW(MAPS_FIND, AT_WORK, 2, 1, GOES_ON),
    ROW(PAGEMAP_READ, AT_WORK, 1, 1, GOES_ON),
    ROW(PAGEMAP_READ, AT_WORK, 5, 3, GOES_ON),
    ROW(MOVE_OUT, AT_WORK, 1, 3, GOES_ON),    /* target to landing: pinned, it stays */
    ROW(MOVE_OUT, AT_WORK, 2, 1, GOES_ON),    /* landing to staging: asked again ... */
    ROW(MOVE_OUT, AT_WORK, 2, 1000, GOES_ON), /* ... and copied in the end */
    ROW(MOVE_OUT_CHANGING, AT_WORK, 1, 3, GOES_ON),
    ROW(MOVE_OUT_CHANGING, AT_WORK, 2, 3, GOES_ON),
    ROW(PORTER_FREE, AT_WORK, 1, 3, GOES_ON), /* the next page there meets what was left */
    ROW(STORE_READ, AT_WORK, 1, 1, GOES_ON),  /* read once more */
    ROW(STORE_READ, AT_WORK, 1, 2, PAGE_IS_LOST),
    ROW(POISON, AT_WORK, 1, 1, PAGE_IS_LOST, .also = POINT_STORE_READ, .also_times = 2),
    ROW(MOVE_BACK, AT_WORK, 1, 1000, GOES_ON), /* copied instead, once no event is unread */
    ROW(LOOK_BACK, AT_WORK, 1, 20000, GOES_ON, .also = POINT_MOVE_BACK, .also_times = 40000),
    ROW(COPY_NO_MEMORY, AT_WORK, 1, 100, GOES_ON),
    ROW(COPY_CHANGING, AT_WORK, 1, 100, GOES_ON),
    ROW(COPY_REFUSED, AT_WORK, 1, 1, GOES_ON),
    ROW(COPY_REFUSED, AT_WORK, 1, 2, PAGE_IS_LOST),
    ROW(COPY_RUN, AT_WORK, 1, 3, GOES_ON),
    ROW(ZEROPAGE, AT_WORK, 1, 100, GOES_ON),
    ROW(SEND, AT_WORK, 1, 1, GOES_ON), /* all ranges are told again */
    ROW(RECV, AT_WORK, 1, 1, GOES_ON),

    ROW(FORK_SOCKET, AT_FORK, 1, 1, COMES_BACK),
    ROW(FORK_CONNECT, AT_FORK, 1, 1, COMES_BACK),
    ROW(FORK_RESERVE, AT_FORK, 1, 1, COMES_BACK),
    ROW(FORK_RESERVE, AT_FORK, 2, 1, COMES_BACK),
    ROW(FORK_ACCEPT, AT_FORK, 1, 1, COMES_BACK),
    ROW(FORK_LIST_FILE, AT_FORK, 1, 1, COMES_BACK),
    ROW(FORK_LIST_ROOM, AT_FORK, 1, 1, COMES_BACK),
    ROW(FORK_LIST_MAP, AT_FORK, 1, 1, COMES_BACK),
    ROW(FORK_SEND, AT_FORK, 1, 1, COMES_BACK), /* the list */
    ROW(FORK_SEND, AT_FORK, 2, 1, COMES_BACK), /* a store */
    ROW(OWN_LISTEN, AT_FORK, 1, 1, COMES_BACK), /* to the connection */
    ROW(OWN_LISTEN, AT_FORK, 2, 3, GOES_ON),    /* to the child's userfaultfd: asked again */
    ROW(FORK_RECEIVE, AT_FORK, 1, 3, GOES_ON),
    ROW(FORK_GIVE, AT_FORK, 1, 5, GOES_ON),
    ROW(FORK_GIVE, AT_FORK, 1, POINT_FOR_GOOD, CHILD_ENDS, .says = "no memory to send it", .is_slow = true),
    ROW(FORK_SMAPS, AT_FORK, 1, 3, GOES_ON),
    ROW(STORE_READ, AT_FORK, 1, 1, GOES_ON), /* read once more */
    ROW(STORE_READ, AT_FORK, 1, 2, PAGE_IS_LOST),
    ROW(FORK_ANSWER, AT_FORK, 1, 5, GOES_ON),
    ROW(FORK_ANSWER, AT_FORK, FORKER_EARLY_NR + 1, 5, GOES_ON, .is_late = true),
    ROW(FORK_ANSWER_REFUSED, AT_FORK, 1, 1, GOES_ON),
    ROW(FORK_ANSWER_REFUSED, AT_FORK, 1, 2, PAGE_IS_LOST),
    ROW(FORK_ANSWER_REFUSED, AT_FORK, FORKER_EARLY_NR + 1, 2, PAGE_IS_LOST, .is_late = true),
    ROW(FORK_CHILD_ROOM, AT_FORK, 1, 1, CHILD_ENDS, .says = "no memory", .is_childs = true),
    ROW(FORK_SEND, AT_FORK, 1, 3, GOES_ON, .is_childs = true), /* HERE */
    ROW(FORK_SEND, AT_FORK, 2, 3, GOES_ON, .is_childs = true), /* DONE */
    ROW(FORK_RECEIVE, AT_FORK, 1, 3, GOES_ON, .is_childs = true),
    ROW(FORK_CHILD_MAP, AT_FORK, 1, 1, CHILD_ENDS, .says = "no room in its address space", .is_childs = true),
    ROW(FORK_CHILD_MAP, AT_FORK, 2, 1, CHILD_ENDS, .says = "no room in its address space", .is_childs = true),
    ROW(FORK_SMAPS, AT_FORK, 1, 3, GOES_ON, .is_childs = true),
    ROW(FORK_SMAPS, AT_FORK, 1, POINT_FOR_GOOD, CHILD_ENDS, .says = "smaps", .is_childs = true,
        .is_slow = true),
    ROW(STORE_READ, AT_FORK, 1, 1, GOES_ON, .is_childs = true),
    ROW(FORK_CHILD_COPY, AT_FORK, 1, 3, GOES_ON, .is_childs = true), /* whose userfaultfd is it? */
    ROW(FORK_CHILD_COPY_RUN, AT_FORK, 1, POINT_FOR_GOOD, GOES_ON, .is_childs = true), /* a page at a time */
    ROW(FORK_CHILD_COPY, AT_FORK, 2, 3, GOES_ON, .is_childs = true, .also = POINT_FORK_CHILD_COPY_RUN,
        .also_times = 1),
    ROW(FORK_CHILD_COPY, AT_FORK, 1, POINT_FOR_GOOD, CHILD_ENDS, .says = "takes no page", .is_childs = true,
        .is_slow = true),
    ROW(FORK_CHILD_REFUSED, AT_FORK, 1, 1, CHILD_ENDS, .says = "takes no page", .is_childs = true),
    ROW(FORK_CHILD_REFUSED, AT_FORK, 2, 1, CHILD_ENDS, .says = "takes no page", .is_childs = true,
        .also = POINT_FORK_CHILD_COPY_RUN, .also_times = 1),

    ROW(LISTEN_SOCKET, DAEMON_START, 1, 1, REFUSED, .says = "cannot listen at", .code = 71),
    ROW(LISTEN_BIND, DAEMON_START, 1, 1, REFUSED, .says = "cannot listen at", .code = 77),
    ROW(LISTEN, DAEMON_START, 1, 1, REFUSED, .says = "cannot listen at", .code = 71),
    ROW(CONTROL_EPOLL, DAEMON_START, 1, 1, REFUSED, .says = "event=start error=", .code = 71),
    ROW(CONTROL_SIGNALS, DAEMON_START, 1, 1, REFUSED, .says = "event=start error=", .code = 71),
    ROW(CONTROL_WAKE, DAEMON_START, 1, 1, REFUSED, .says = "event=start error=", .code = 71),
    ROW(CONTROL_TIMER, DAEMON_START, 1, 1, REFUSED, .says = "event=start error=", .code = 71),
    ROW(CONTROL_WATCH, DAEMON_START, 2, 1, REFUSED, .says = "event=start error=", .code = 71),
    ROW(ENCODER, DAEMON_START, 1, 1, REFUSED, .says = "event=start error=", .code = 71),
    ROW(SQUEEZER, DAEMON_START, 1, 1, REFUSED, .says = "event=start error=", .code = 71),
    ROW(GROUP_ENCODER, DAEMON_START, 1, 1, REFUSED, .says = "event=start error=", .code = 71),
    ROW(COMPRESS_EPOLL, DAEMON_START, 1, 1, REFUSED, .says = "event=start error=", .code = 71),
    ROW(LOOK_CLOCK, DAEMON_START, 1, 1, REFUSED, .says = "event=start error=", .code = 71),
    ROW(LOOK_THREAD, DAEMON_START, 1, 1, REFUSED, .says = "event=start error=", .code = 71),
    ROW(COMPRESS_THREAD, DAEMON_START, 1, 1, REFUSED, .says = "event=start error=", .code = 71),

    ROW(DOOR_KEEPER, DAEMON_JOIN, 1, 1, GOES_ON, .says = "event=no_door"),
    ROW(DOOR, DAEMON_JOIN, 1, 1, GOES_ON, .says = "event=no_door"),
    ROW(DOOR_LISTEN, DAEMON_JOIN, 1, 1, GOES_ON, .says = "event=no_door"),
    ROW(DOOR_LISTEN, DAEMON_JOIN, 2, 1, GOES_ON, .says = "event=no_door"),
    ROW(DOOR_ASK, DAEMON_JOIN, 1, 1, GOES_ON),
    ROW(DOOR_HEAR, DAEMON_JOIN, 1, 1, REFUSED, .says = "lost what the hello brought", .code = -ECONNABORTED),

    ROW(ACCEPT, DAEMON_JOIN, 1, 1, GOES_ON, .says = "event=accept error="),
    ROW(SESSION, DAEMON_JOIN, 1, 1, REFUSED, .says = "event=accept error=", .code = -ECONNRESET),
    ROW(USER, DAEMON_JOIN, 1, 1, REFUSED, .says = "event=accept error=", .code = -ECONNRESET),
    ROW(ACCEPT_WATCH, DAEMON_JOIN, 1, 1, REFUSED, .says = "event=accept error=", .code = -ECONNRESET),
    ROW(RECV, DAEMON_JOIN, 1, 1, REFUSED, .code = -ECONNRESET),
    ROW(SEND, DAEMON_JOIN, 1, 1, REFUSED, .says = "the welcome could not be sent"),
#define NO_ROOM REFUSED, .says = "no memory or descriptors for another session"
    ROW(STORE, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(STORE_FILE, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(STORE_SIZE, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(STORE_READONLY, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(STORE_MODE, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(STORE_SEAL, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(STORE_MAP, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(STORE_TABLE, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(STORE_DUP, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(SHARED_FILE, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(SHARED_SIZE, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(SHARED_MAP, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(SHARED_SEAL, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(HEAT, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(SESSION_BELL, DAEMON_JOIN, 1, 1, NO_ROOM),
    ROW(SESSION_BELL, DAEMON_JOIN, 3, 1, NO_ROOM),
    ROW(DEVICE, DAEMON_JOIN, 1, 1, GOES_ON),
    ROW(COMPRESS_LISTEN, DAEMON_JOIN, 1, 1, SESSION_ENDS, .says = "no memory to listen to its bell"),

    ROW(HEAT_CHUNKS, DAEMON_WORK, 1, 1, GOES_ON, .says = "event=no_memory"),
    ROW(HEAT_SPLIT, DAEMON_WORK, 1, 1, GOES_ON),
    ROW(HEAT_PAGES, DAEMON_WORK, 1, 1, GOES_ON),
    /* Here it is asked what this kernel has. */
    ROW(SCAN, DAEMON_START, 1, 1, REFUSED, .says = "this kernel is too old", .code = 69),
    ROW(SCAN, DAEMON_WORK, 10, 1, GOES_ON),
    ROW(STORE_POPULATE, DAEMON_WORK, 1, POINT_FOR_GOOD, GOES_ON),
    ROW(STORE_POPULATE, DAEMON_WORK, 3, 1, GOES_ON),
    ROW(SLAB_BITMAP, DAEMON_WORK, 1, 1, GOES_ON),
    ROW(STORE_PUNCH, DAEMON_WORK, 1, 1, GOES_ON),
    ROW(GROUP_ENCODE, DAEMON_WORK, 1, 1, GOES_ON),
    ROW(RECV, DAEMON_WORK, 4, 1, SESSION_ENDS, .says = "reason=\"cannot receive"),
    ROW(STATUS_FILE, DAEMON_WORK, 1, 1, GOES_ON),
};
#define ROWS_NR (sizeof rows / sizeof *rows)

static const char *const whole_options[] = { "--cold-age", "1h", "--squeeze-age", "20ms", NULL };
static const char *const point_options[] = { "--cold-age", "2ms", "--squeeze-age", "20ms", "--sandbox", "off",
                                             NULL };
static struct daemon whole;
static struct point_daemon *point_daemon;

static const char *name_of(const struct row *row)
{
    static char text[96];
    static const char *const places[] = { "pp_open", "pp_start", "joining again", "work", "a fork",
                                          "the daemon's start", "the daemon, a client joins",
                                          "the daemon's work" };
    (void)snprintf(text, sizeof text, "%s, pass %u, %s%s", point_name(row->point), row->at_pass,
                   places[row->where], row->is_childs ? ", in the child" : "");
    return text;
}

static void is_said(const char *where, const struct row *row)
{
    if (row->says && !strstr(where, row->says))
        test_fail(__FILE__, __LINE__, "it says '%s', should say '%s'", where, row->says);
}

/* ---- pages leave and come back, ranges come and go */

static void touch_holes(struct pages *p, uint32_t first, uint32_t nr)
{
    CHECK_EQ(madvise(pages_at(p, first), pages_to_bytes(nr), MADV_DONTNEED), 0);
    for (uint32_t i = first; i < first + nr; i++)
        p->versions[i] = 0;
    for (uint32_t i = first; i < first + nr; i++)
        pages_check(p, i);
    for (uint32_t i = first; i < first + nr; i++)
        p->versions[i] = 100; /* not one that it had before */
}

static void map_anew(struct pages *p, uint32_t first, uint32_t nr)
{
    void *at = pages_at(p, first);
    int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    CHECK(mmap(at, pages_to_bytes(nr), PROT_READ | PROT_WRITE, how, -1, 0) == at);
    for (uint32_t i = first; i < first + nr; i++)
        p->versions[i] = 0;
    pages_check(p, first);
    for (uint32_t i = first; i < first + nr; i++)
        p->versions[i] = 200;
}

static void reclaim(struct pp_pager *pager, struct pages *p)
{
    int r = pp_reclaim(pager, p->memory, pages_to_bytes(p->nr));
    CHECK(r == 0 || r == -ENOTCONN); /* it may be joining again */
}

/* How many are lost, if that may be. */
static uint32_t check_in_order(const struct pages *p, bool may_be_lost)
{
    struct arena a = { .pages = *p };
    uint32_t nr_lost = 0;
    for (uint32_t i = 0; i < p->nr; i++)
        if (!may_be_lost)
            pages_check(p, i);
        else
            nr_lost += arena_is_lost(&a, i);
    return nr_lost;
}

/* What does not shrink leaves, is refused by the store, and moves back. */
#define RAW_NR 16u
static void move_to_and_fro(struct pp_pager *pager)
{
    static uint64_t should_be[RAW_NR * PAGE_BYTES / sizeof(uint64_t)];
    struct pages raw;
    uint64_t random = 7;
    pages_map(&raw, RAW_NR);
    for (size_t i = 0; i < sizeof should_be / sizeof *should_be; i++)
        should_be[i] = test_random(&random);
    memcpy(raw.memory, should_be, sizeof should_be);
    CHECK_EQ(pp_register(pager, raw.memory, pages_to_bytes(RAW_NR)), 0);
    reclaim(pager, &raw);
    CHECK_EQ(memcmp(raw.memory, should_be, sizeof should_be), 0);
    CHECK_EQ(pp_unregister(pager, raw.memory, pages_to_bytes(RAW_NR)), 0);
    CHECK_EQ(memcmp(raw.memory, should_be, sizeof should_be), 0);
    pages_unmap(&raw);
}

/* One range from its first page to its last, with the point armed. How many pages were lost. */
static uint32_t work(struct pp_pager *pager, bool may_be_lost)
{
    struct pages p;
    if (!may_be_lost)
        move_to_and_fro(pager);
    pages_map(&p, NR);
    pages_write_all(&p);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    reclaim(pager, &p);
    reclaim(pager, &p);
    uint32_t nr_lost = check_in_order(&p, may_be_lost);
    if (!nr_lost) {
        pages_write_all(&p);
        reclaim(pager, &p);
        touch_holes(&p, NR / 4, NR / 4);
        map_anew(&p, NR / 2, NR / 4);
        pages_write_all(&p);
        reclaim(pager, &p);
        pages_check_all(&p);
        reclaim(pager, &p);
    }
    int r = pp_unregister(pager, p.memory, pages_to_bytes(NR));
    CHECK(r == 0 || (nr_lost && r == -EIO));
    if (!nr_lost)
        pages_check_all(&p);
    pages_unmap(&p);
    return nr_lost;
}

/* ---- in the client */

static void arm(const struct row *row)
{
    point_arm(row->point, row->at_pass, row->nr_times);
    if (row->also_times)
        point_arm(row->also, 1, row->also_times);
}

static void has_fired(const struct row *row)
{
    if (!point_nr_fired(row->point) || (row->also_times && !point_nr_fired(row->also)))
        test_fail(__FILE__, __LINE__, "the point was not passed");
    point_disarm_all();
}

static void at_open(const struct row *row)
{
    struct pp_config config = PP_CONFIG_INIT;
    struct pp_pager *pager = NULL;
    arm(row);
    CHECK_EQ(pp_open(&config, &pager), -point_error(row->point));
    CHECK(!pager);
    has_fired(row);
}

#ifdef __SANITIZE_ADDRESS__
static const bool can_count_address_space = false; /* it keeps what is freed for a while */
#else
static const bool can_count_address_space = true;
#endif

static uint64_t address_space(void)
{
    unsigned long nr = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f && fscanf(f, "%lu", &nr) == 1);
    fclose(f);
    return nr;
}

/* With pages out. */
static void fork_once(struct pp_pager *pager, const char *how)
{
    struct pages p;
    pages_map(&p, NR);
    pages_write_all(&p);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    reclaim(pager, &p);
    uint64_t before = pager_stat(pager, how);
    pages_check_in_child(&p);
    CHECK_EQ(pager_stat(pager, how), before + 1);
    pages_check_all(&p);
    CHECK_EQ(pp_unregister(pager, p.memory, pages_to_bytes(NR)), 0);
    pages_unmap(&p);
}

static void at_start(const struct row *row)
{
    struct pp_pager *pager = pager_open(whole.socket_path);
    uint64_t before = address_space();
    arm(row);
    int r = pp_start(pager);
    has_fired(row);
    if (row->outcome == REFUSED) {
        CHECK_EQ(r, -point_error(row->point));
        is_said(pp_error(pager), row);
        CHECK(!can_count_address_space || address_space() == before);
        pager_start(pager);
    } else {
        CHECK_EQ(r, 0);
    }
    if (row->point == POINT_UFFD_OPEN || row->point == POINT_UFFD_API || row->point == POINT_FORK_DOOR)
        fork_once(pager, !row->is_untold && forks_are_told() ? "forks_covered" : "forks_drained_untold");
    CHECK_EQ(work(pager, false), 0);
    CHECK_EQ(pp_stop(pager), 0);
    pp_close(pager);
}

static void at_rejoin(const struct row *row)
{
    struct pages p;
    pages_map(&p, NR);
    pages_write_all(&p);
    point_daemon_whole(point_daemon);
    point_daemon_wait_for_socket(point_daemon);
    struct pp_pager *pager = pager_open(point_daemon->socket_path);
    pager_start(pager);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    reclaim(pager, &p);
    uint64_t joins = pager_stat(pager, "daemon_joins");
    arm(row);
    CHECK_EQ(helper_kill(point_daemon->pid, SIGKILL), SIGKILL);
    point_daemon_whole(point_daemon);
    WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") > joins && point_nr_fired(row->point));
    has_fired(row);
    /* It was told of the range, if not at once: what is cold there leaves by its own wish, also what was out. */
    pages_check_all(&p);
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 2);
    pages_check_all(&p);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    CHECK_EQ(helper_kill(point_daemon->pid, SIGTERM), 0);
    pages_unmap(&p);
}

static struct pp_pager *worker; /* of the rows AT_WORK; stopped before those AT_FORK, who ask the only agent */

static void at_work(const struct row *row)
{
    struct pp_pager *pager = worker;
    bool may_be_lost = row->outcome == PAGE_IS_LOST;
    if (!pager) {
        worker = pager = pager_open(whole.socket_path);
        pager_start(pager);
    }
    uint64_t lost_before = pager_stat(pager, "restore_fail");
    uint64_t joins_before = pager_stat(pager, "daemon_joins");
    uint64_t waits_before = pager_stat(pager, "restore_no_memory");
    arm(row);
    uint32_t nr_lost = work(pager, may_be_lost);
    if (row->point == POINT_RECV) { /* it looks once in a tick, and then joins again */
        WAIT_LONG_UNTIL(point_nr_fired(row->point));
        WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") > joins_before);
    }
    has_fired(row);
    if (row->point == POINT_COPY_NO_MEMORY || row->point == POINT_ZEROPAGE)
        CHECK(pager_stat(pager, "restore_no_memory") > waits_before);
    CHECK_EQ(nr_lost, may_be_lost ? 1 : 0);
    CHECK_EQ(pager_stat(pager, "restore_fail") - lost_before, may_be_lost ? 1 : 0);
    CHECK_EQ(work(pager, false), 0);
}

/* ---- at a fork */

static const struct row *row_of_child;
static struct pages pages_of_child;

static void touch_late(void)
{
    (void)*(volatile unsigned char *)pages_at(&pages_of_child, NR - 1);
}

/* In the child, before anything of ours: what is armed in one of the two is not in the other. */
static void arm_in_child(void)
{
    point_disarm_all();
    if (row_of_child->is_childs)
        arm(row_of_child);
    if (row_of_child->is_late)
        point_arm_call(POINT_FORK_CHILD_OWN, 1, touch_late);
}

static int has_fired_in_child(void)
{
    if (row_of_child->is_childs)
        has_fired(row_of_child);
    return 0;
}

static void child_met(const struct row *row, int status)
{
    int should_be = row->outcome == PAGE_IS_LOST ? SIGBUS : row->outcome == CHILD_ENDS ? SIGKILL : 0;
    bool is_met = should_be ? WIFSIGNALED(status) && WTERMSIG(status) == should_be : status == 0;
    if (row->outcome == CHILD_ENDS)
        is_met &= !forker->has_gone_on && forker_has_said("process-pager: ending this child of fork(): ") &&
                  forker_has_said(row->says);
    if (is_met)
        return;
    forker_show_log();
    test_fail(__FILE__, __LINE__, "the child ended with status 0x%x", (unsigned)status);
}

static struct pp_pager *pager_with_all_out(struct pages *p)
{
    struct pp_pager *pager = pager_open(whole.socket_path);
    pages_map(p, NR);
    pages_write_all(p);
    CHECK_EQ(pp_register(pager, p->memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    WAIT_UNTIL(pp_reclaim(pager, p->memory, pages_to_bytes(NR)) == 0 && pages_nr_present(p, 0, NR) == 0);
    return pager;
}

static void at_fork(const struct row *row)
{
    struct pages p;
    if (worker) {
        CHECK_EQ(pp_stop(worker), 0);
        pp_close(worker);
        worker = NULL;
    }
    struct pp_pager *pager = pager_with_all_out(&p);
    bool is_left_out = row->outcome != COMES_BACK;
    unsigned descriptors = forker_nr_descriptors();
    uint64_t waits_before = pager_stat(pager, "restore_no_memory");
    row_of_child = row;
    pages_of_child = p;
    if (!row->is_childs)
        arm(row);
    pid_t pid = forker_fork(&p, arm_in_child, has_fired_in_child);
    child_met(row, forker_wait(pid));
    if (!row->is_childs)
        has_fired(row);
    CHECK_EQ(pager_stat(pager, is_left_out ? "forks_covered" : "forks_drained"), 1);
    CHECK_EQ(pages_nr_present(&p, 0, NR), is_left_out ? 0 : NR);
    CHECK_EQ(pager_stat(pager, "restore_no_memory") > waits_before, row->point == POINT_FORK_ANSWER);
    WAIT_UNTIL(forker_nr_descriptors() == descriptors && forker_nr_maps("memfd:process-pager-fork") == 0);
    pages_check_all(&p);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    pages_unmap(&p);
}

/* ---- in the daemon */

static void is_in_log(const struct row *row, const char *text)
{
    if (text && !point_daemon_has_said(point_daemon, text)) {
        point_daemon_show_log(point_daemon);
        test_fail(__FILE__, __LINE__, "%s: the daemon's log does not say '%s'", name_of(row), text);
    }
}

static const char *fired_text(const struct row *row)
{
    static char text[64];
    (void)snprintf(text, sizeof text, "fault=%s\n", point_name(row->point));
    return text;
}

static void start_daemon(const struct row *row)
{
    point_daemon_fails(point_daemon, row->point, row->at_pass, row->nr_times == POINT_FOR_GOOD);
}

static void daemon_start_fails(const struct row *row)
{
    start_daemon(row);
    int status = helper_wait(point_daemon->pid);
    is_in_log(row, fired_text(row));
    is_in_log(row, row->says);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), row->code);
    CHECK(access(point_daemon->socket_path, F_OK));
}

static void daemon_ends_well(const struct row *row)
{
    int status = helper_kill(point_daemon->pid, SIGTERM);
    if (status)
        point_daemon_show_log(point_daemon);
    CHECK_EQ(status, 0);
    is_in_log(row, fired_text(row));
    is_in_log(row, row->says);
}

static void daemon_join(const struct row *row)
{
    start_daemon(row);
    point_daemon_wait_for_socket(point_daemon);
    struct pp_pager *pager = pager_open(point_daemon->socket_path);
    int r = pp_start(pager);
    if (row->outcome == REFUSED) {
        CHECK_EQ(r, row->code ? row->code : -point_error(row->point));
        CHECK(*pp_error(pager));
        pager_start(pager);
    } else if (row->outcome == SESSION_ENDS) {
        if (r) /* it may have gone before we were through with the WELCOME */
            pager_start(pager);
        else
            WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") > 1);
    } else {
        CHECK_EQ(r, 0);
    }
    CHECK_EQ(work(pager, false), 0);
    CHECK_EQ(pp_stop(pager), 0);
    pp_close(pager);
    daemon_ends_well(row);
}

/* Whoever asks hears that there is none, instead of waiting. */
static void status_is_refused(void)
{
    struct msg_empty empty = { 0 };
    struct msg m;
    struct msg_fds fds = { .nr = 0 };
    int socket = socket_connect(point_daemon->socket_path);
    CHECK(socket >= 0);
    CHECK_EQ(msg_send(socket, MSG_STATUS_GET, &empty, NULL), 0);
    struct pollfd readable = { .fd = socket, .events = POLLIN };
    CHECK_EQ(poll(&readable, 1, 5000), 1);
    CHECK_EQ(msg_recv(socket, &m, &fds), 0);
    CHECK_EQ(m.header.type, MSG_REFUSE);
    close(socket);
}

/* It trims when it is idle; and squeezes what has been left alone for its age, on a busy machine, too. */
static unsigned work_ends_after_us(enum point p)
{
    return p == POINT_STORE_PUNCH ? 1100000 : p == POINT_GROUP_ENCODE ? 150000 : 20000;
}

static void daemon_work(const struct row *row)
{
    start_daemon(row);
    point_daemon_wait_for_socket(point_daemon);
    struct pp_pager *pager = pager_open(point_daemon->socket_path);
    struct pages p; /* stays, so that something is there to be cold */
    uint32_t nr_rounds = 0;
    pages_map(&p, NR);
    pages_write_all(&p);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    for (uint64_t until = test_now_ms() + 30000;
         !point_daemon_has_said(point_daemon, fired_text(row)) && test_now_ms() < until;) {
        CHECK_EQ(work(pager, false), 0);
        /* Out of the middle of what the daemon watches, wherever its chunks end. Somewhere else each time: what is
         * mapped anew is a chunk of its own afterwards, and it may not have looked yet at the one it was in. */
        map_anew(&p, 2 + 12 * (nr_rounds++ % 10), 10);
        pages_write_all(&p);
        if (row->point == POINT_STATUS_FILE)
            status_is_refused();
        test_nap_us(work_ends_after_us(row->point));
    }
    pages_check_all(&p);
    CHECK_EQ(work(pager, false), 0);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    pages_unmap(&p);
    daemon_ends_well(row);
}

/* With its address and why, for whoever has to find out. */
static void lost_page_is_in_the_log(void)
{
    test_case("a lost page is in the daemon's log");
    point_daemon_whole(point_daemon);
    point_daemon_wait_for_socket(point_daemon);
    struct arena a = { .pager = pager_open(point_daemon->socket_path) };
    char address[64];
    pages_map(&a.pages, NR);
    pages_write_all(&a.pages);
    CHECK_EQ(pp_register(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
    pager_start(a.pager);
    reclaim(a.pager, &a.pages);
    reclaim(a.pager, &a.pages);
    point_arm(POINT_STORE_READ, 1, 2);
    CHECK(arena_is_lost(&a, 17));
    point_disarm_all();
    (void)snprintf(address, sizeof address, "address=%p pages=1 cause=\"the bytes fail",
                   (void *)pages_at(&a.pages, 17));
    WAIT_LONG_UNTIL(point_daemon_has_said(point_daemon, "event=page_lost") &&
                    point_daemon_has_said(point_daemon, address));
    int r = pp_unregister(a.pager, a.pages.memory, pages_to_bytes(NR));
    CHECK(r == 0 || r == -EIO); /* said by then, or not */
    CHECK_EQ(pp_stop(a.pager), 0);
    pp_close(a.pager);
    pages_unmap(&a.pages);
    CHECK_EQ(helper_kill(point_daemon->pid, SIGTERM), 0);
}

/* ---- all of them */

/* A point that only kills is kill_points' business. */
static void each_point_has_a_row(void)
{
    test_case("each point has a row");
    for (int p = 0; p < POINT_NR; p++) {
        bool has_row = point_is_kill_only((enum point)p);
        for (size_t i = 0; i < ROWS_NR; i++)
            has_row |= (int)rows[i].point == p;
        if (!has_row)
            test_fail(__FILE__, __LINE__, "no row for %s", point_name((enum point)p));
    }
}

static void run(const struct row *row)
{
    switch (row->where) {
    case AT_OPEN:      return at_open(row);
    case AT_START:     return at_start(row);
    case AT_REJOIN:    return at_rejoin(row);
    case AT_WORK:      return at_work(row);
    case AT_FORK:      return at_fork(row);
    case DAEMON_START: return daemon_start_fails(row);
    case DAEMON_JOIN:  return daemon_join(row);
    case DAEMON_WORK:  return daemon_work(row);
    }
}

/* A short run takes the first row of each point on each side, of joining again all that is sent, and of a fork all
 * that is quick. */
static bool is_for_short_run(const struct row *row)
{
    if (row->where == AT_FORK)
        return !row->is_slow;
    if (row->where == AT_REJOIN && row->point == POINT_SEND)
        return true;
    for (const struct row *r = rows; r < row; r++)
        if (r->point == row->point && (r->where >= DAEMON_START) == (row->where >= DAEMON_START))
            return false;
    return true;
}

/* fault_points [--all | NAME]: every row, or those of one point; and says how long each took. */
int main(int argc, char **argv)
{
    point_daemon = point_daemon_new(point_options);
    forker_new();
    test_begin("what fails fails clearly, once, and nothing is lost", 100);
    arena_catch_sigbus();
    each_point_has_a_row();
    daemon_start(&whole, whole_options);
    bool are_told = forks_are_told();
    const char *wanted = argc > 1 ? argv[1] : NULL;
    bool is_all = wanted && !strcmp(wanted, "--all");
    for (const struct row *row = rows; row < rows + ROWS_NR; row++) {
        if (wanted ? !is_all && strcmp(wanted, point_name(row->point)) : !is_for_short_run(row))
            continue;
        if (!are_told && (row->where == AT_FORK || row->point == POINT_FORK_DOOR))
            continue; /* all comes back before a fork, and nothing of that is done */
        test_case(name_of(row));
        uint64_t begun_ms = test_now_ms();
        run(row);
        if (wanted)
            printf("%s: %lu ms\n", name_of(row), (unsigned long)(test_now_ms() - begun_ms));
    }
    if (!wanted || is_all)
        lost_page_is_in_the_log();
    return test_end();
}
