/* direct_strangers - the handler of direct ranges beside what is not its own, and what it can't do alone: the
 * pages of a second pager, ranges that the application has a userfaultfd of its own for, holes with a
 * marker, a SIGBUS that somebody sends, signals while pages are pinned, a descriptor whose number is
 * another file's by now. Method: each once, with everything out. Without the care that is
 * shown here a page reads as zeros, or the test hangs. */
#include "rogue.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/uapi.h"
#include "sys/uffd.h"

#define NR 128u
#define PINNED_NR 64u

static struct arena a;
static struct rogue *rogue;

static void begin_direct(struct arena *one)
{
    one->rogue = rogue;
    pages_map(&one->pages, NR);
    pages_write_all(&one->pages);
    one->pager = pager_open(rogue->socket_path);
    CHECK_EQ(pp_register_flags(one->pager, one->pages.memory, pages_to_bytes(NR), PP_DIRECT), 0);
    pager_start(one->pager);
}

/* ---- another pager */

static void a_second_pager(void)
{
    test_case("two pagers with direct ranges");
    struct arena b;
    begin_direct(&b);
    for (int round = 0; round < 3; round++) {
        arena_all_out(&b);
        arena_all_out(&a);
        pages_check(&a.pages, 0);
        pages_check_all(&b.pages);
        pages_check_all(&a.pages);
        pages_write_all(&b.pages);
        pages_write_all(&a.pages);
    }
    CHECK_EQ(pager_stat(a.pager, "direct_asked") + pager_stat(b.pager, "direct_asked"), 0);
    test_case("two pagers, and pages that can't be written");
    arena_all_out(&b);
    CHECK_EQ(mprotect(b.pages.memory, pages_to_bytes(NR), PROT_READ), 0);
    arena_all_out(&a);
    pages_check(&a.pages, 0); /* where this thread looks first, then */
    pages_check_all(&b.pages);
    CHECK_EQ(mprotect(b.pages.memory, pages_to_bytes(NR), PROT_READ | PROT_WRITE), 0);
    CHECK_EQ(pp_stop(b.pager), 0);
    pages_check_all(&b.pages);
    pp_close(b.pager);
    pages_unmap(&b.pages);
}

/* ---- a mapping of ours that nobody watches: of holes there the kernel has to say whose they are */

static void moved_out_of_its_range(void)
{
    test_case("holes of a mapping that was moved out of its range, and can't be written in part");
    struct pages moved;
    pages_map(&moved, NR);
    for (uint32_t i = 0; i < NR; i += 2)
        pages_write(&moved, i);
    void *from = moved.memory;
    CHECK_EQ(pp_register_flags(a.pager, from, pages_to_bytes(NR), PP_DIRECT), 0);
    rogue_offer_all(rogue);
    WAIT_UNTIL(pages_nr_present(&moved, 0, NR) == 0);
    rogue_pause(rogue);
    void *to = mmap(NULL, pages_to_bytes(NR), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(to != MAP_FAILED);
    CHECK(mremap(from, pages_to_bytes(NR), pages_to_bytes(NR), MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
    moved.memory = to;
    CHECK_EQ(mprotect(pages_at(&moved, NR / 2), pages_to_bytes(NR / 2), PROT_READ), 0);
    pages_check_all(&moved);
    CHECK_EQ(pp_unregister(a.pager, from, pages_to_bytes(NR)), 0);
    pages_unmap(&moved);
}

/* ---- a userfaultfd of the application's own, with a handler of its own */

static int own_uffd;
static unsigned char *own_memory;
static _Atomic unsigned nr_own;

static void own_handler(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    static const unsigned char sevens[PAGE_BYTES] __attribute__((aligned(4096))) = { 7, 7 };
    uintptr_t at = (uintptr_t)info->si_addr & ~(uintptr_t)(PAGE_BYTES - 1);
    if (at < (uintptr_t)own_memory || at >= (uintptr_t)own_memory + pages_to_bytes(NR))
        _exit(3); /* a page of ours was passed on */
    atomic_fetch_add(&nr_own, 1);
    (void)uffd_copy(own_uffd, at, sevens);
}

static void own_userfaultfd(void)
{
    test_case("the application's own userfaultfd in SIGBUS mode");
    uint64_t offered;
    own_uffd = uffd_open(-1);
    CHECK(own_uffd >= 0);
    CHECK_EQ(uffd_handshake(own_uffd, UFFD_FEATURE_SIGBUS, &offered), 0);
    own_memory = mmap(NULL, pages_to_bytes(NR), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(own_memory != MAP_FAILED);
    struct uffdio_register r = { .range = { (uintptr_t)own_memory, pages_to_bytes(NR) },
                                 .mode = UFFDIO_REGISTER_MODE_MISSING };
    CHECK_EQ(ioctl(own_uffd, UFFDIO_REGISTER, &r), 0);
    arena_all_out(&a);
    for (uint32_t i = 0; i < NR; i++) {
        CHECK_EQ(((volatile unsigned char *)own_memory)[pages_to_bytes(i) + 1], 7);
        pages_check(&a.pages, i);
    }
    CHECK_EQ(atomic_load(&nr_own), NR);
    CHECK_EQ(munmap(own_memory, pages_to_bytes(NR)), 0);
    own_memory = NULL;
    close(own_uffd);
}

/* ---- a marker where a page was: somebody else's scan leaves it, and no MOVE goes over it */

static void scan_holes(const struct pages *p)
{
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    struct pm_scan_arg s = {
        .size = sizeof s,
        .flags = PM_SCAN_WP_MATCHING,
        .start = (uintptr_t)p->memory,
        .end = (uintptr_t)p->memory + pages_to_bytes(p->nr),
        .category_mask = PAGE_IS_WRITTEN,
        .return_mask = PAGE_IS_WRITTEN,
    };
    CHECK(ioctl(fd, PAGEMAP_SCAN, &s) >= 0);
    close(fd);
}

static void markers(void)
{
    test_case("staged pages with a marker in their hole");
    rogue_answers(rogue, ROGUE_NEVER);
    arena_out(&a, 0, 16);
    uint64_t asked = pager_stat(a.pager, "direct_asked");
    scan_holes(&a.pages);
    for (uint32_t i = 0; i < 16; i++)
        pages_check(&a.pages, i);
    CHECK(pager_stat(a.pager, "direct_asked") > asked);
    rogue_kill(rogue);
    rogue->answer = ROGUE_HONEST;
    rogue_start(rogue);
    WAIT_UNTIL(rogue->nr_ranges > 0);

    test_case("stored pages with a marker in their hole");
    arena_all_out(&a);
    scan_holes(&a.pages);
    pages_check_all(&a.pages);
    pages_write_all(&a.pages);
}

/* ---- SIGBUS that is sent */

static int sent_to_one_that_ignores(void *argument)
{
    (void)argument;
    (void)signal(SIGBUS, SIG_IGN);
    struct arena b;
    begin_direct(&b);
    arena_out(&b, 0, NR);
    CHECK_EQ(kill(getpid(), SIGBUS), 0);
    pages_check_all(&b.pages);
    CHECK_EQ(pp_stop(b.pager), 0);
    return 0;
}

static int sent_to_one_that_does_not(void *argument)
{
    (void)argument;
    (void)signal(SIGBUS, SIG_DFL);
    struct arena b;
    begin_direct(&b);
    CHECK_EQ(kill(getpid(), SIGBUS), 0);
    return 0;
}

static void sent(void)
{
    test_case("a SIGBUS that is sent to a process that ignores it");
    CHECK_EQ(helper_wait(helper_start(sent_to_one_that_ignores, NULL)), 0);
    test_case("a SIGBUS that is sent to a process that does not");
    int status = helper_wait(helper_start(sent_to_one_that_does_not, NULL));
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

/* ---- signals whose handler touches, while this thread fills holes; another one raises events */

static _Atomic bool is_over;
static _Atomic unsigned nr_alarms;

static void touch_any(int number)
{
    (void)number;
    int error = errno;
    static uint64_t random = 5;
    uint32_t i = (uint32_t)(test_random(&random) % NR);
    if (!pages_is_right(&a.pages, i))
        _exit(4);
    atomic_fetch_add(&nr_alarms, 1);
    errno = error;
}

static void *raiser(void *argument)
{
    while (!atomic_load(&is_over)) {
        CHECK_EQ(madvise(argument, 4096, MADV_DONTNEED), 0);
        test_nap_us(1000); /* fewer than what the client takes for churn */
    }
    return NULL;
}

static void pins_under_signals(void)
{
    test_case("pins beside handlers that touch");
    unsigned char *fresh;
    CHECK_EQ(pp_alloc(a.pager, pages_to_bytes(PINNED_NR), (void **)&fresh), 0);
    rogue_offer_all(rogue);
    struct sigaction action = { .sa_handler = touch_any, .sa_flags = SA_RESTART };
    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    pthread_t thread;
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &alarm, NULL), 0);
    CHECK_EQ(pthread_create(&thread, NULL, raiser, fresh), 0);
    CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &alarm, NULL), 0);
    struct itimerval often = { .it_interval = { .tv_usec = 150 }, .it_value = { .tv_usec = 150 } };
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (uint64_t until = test_now_ms() + 500; test_now_ms() < until;) {
        CHECK_EQ(pp_pin(a.pager, fresh, pages_to_bytes(PINNED_NR)), 0);
        CHECK_EQ(pp_unpin(a.pager, fresh, pages_to_bytes(PINNED_NR)), 0);
    }
    CHECK_EQ(setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL), 0);
    atomic_store(&is_over, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(atomic_load(&nr_alarms) > 0);
    rogue_pause(rogue);
    CHECK_EQ(pp_free(a.pager, fresh, pages_to_bytes(PINNED_NR)), 0);
}

/* ---- numbers, and a descriptor that has become another file's */

static void numbers(void)
{
    test_case("what its threads wait is counted, and goes on being counted");
    arena_all_out(&a);
    uint64_t waited = pager_stat_now(a.pager, "fault_wait_ns"), nr = pager_stat_now(a.pager, "direct_restores");
    pages_check_all(&a.pages);
    CHECK_EQ(pager_stat_now(a.pager, "direct_restores"), nr + NR);
    CHECK(pager_stat(a.pager, "fault_wait_ns") - waited > NR * 1000);
    CHECK_EQ(pp_stop(a.pager), 0);
    CHECK_EQ(pager_stat(a.pager, "direct_restores"), nr + NR);
    pager_start(a.pager);
    CHECK_EQ(pager_stat_now(a.pager, "direct_restores"), nr + NR);
    WAIT_UNTIL(rogue->nr_ranges > 0);
}

static int find_uffd(void)
{
    for (int fd = 3; fd < 1024; fd++) {
        char path[64], text[64] = "";
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, text, sizeof text - 1) > 0 && strstr(text, "userfaultfd"))
            return fd;
    }
    test_fail(__FILE__, __LINE__, "no userfaultfd is open");
}

static void another_file(void)
{
    test_case("a descriptor that has become another file's stays open");
    int fd = find_uffd(), pipes[2];
    CHECK_EQ(pipe(pipes), 0);
    arena_all_out(&a);
    CHECK_EQ(dup2(pipes[0], fd), fd); /* ours is closed by that */
    pages_check_all(&a.pages);
    CHECK(pager_stat(a.pager, "direct_asked") >= NR);
    CHECK_EQ(pp_stop(a.pager), 0);
    CHECK(fcntl(fd, F_GETFD) >= 0);
    pages_check_all(&a.pages);
    pager_start(a.pager);
}

int main(void)
{
    rogue = rogue_new("rogue");
    test_begin("direct ranges beside what is not theirs", 30);
    struct sigaction action = { .sa_sigaction = own_handler, .sa_flags = SA_SIGINFO };
    CHECK_EQ(sigaction(SIGBUS, &action, NULL), 0);
    rogue_start(rogue);
    begin_direct(&a);
    WAIT_UNTIL(rogue->nr_ranges > 0);
    a_second_pager();
    moved_out_of_its_range();
    own_userfaultfd();
    markers();
    sent();
    pins_under_signals();
    numbers();
    another_file();
    arena_end(&a);
    return test_end();
}
