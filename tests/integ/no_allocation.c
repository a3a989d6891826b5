/* no_allocation - the agent and the porter never ask for memory: whoever does may wait for a lock that an
 * application thread holds, and that thread for them (rule 5). Method: malloc and its kin are this program's
 * own, and count who calls them, while pages leave, come back, are discarded, moved and forked, get denser,
 * and the daemon dies and the next one is joined. */
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR 2048u

/* ---- the allocator, with a look at who calls */

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t nr, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *memory);

static _Atomic bool is_counting;
static _Atomic uint64_t nr_ours, nr_others;
static void *_Atomic first_caller;

static void note(void *caller)
{
    char name[16] = "";
    void *nobody = NULL;
    if (!atomic_load_explicit(&is_counting, memory_order_relaxed))
        return;
    (void)prctl(PR_GET_NAME, name);
    bool is_ours = !strncmp(name, "pp-", 3);
    atomic_fetch_add(is_ours ? &nr_ours : &nr_others, 1);
    if (is_ours)
        (void)atomic_compare_exchange_strong(&first_caller, &nobody, caller);
}

void *malloc(size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_malloc(bytes);
}

void *calloc(size_t nr, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_calloc(nr, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_realloc(memory, bytes);
}

void *memalign(size_t alignment, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **ret_memory, size_t alignment, size_t bytes)
{
    note(__builtin_return_address(0));
    *ret_memory = __libc_memalign(alignment, bytes);
    return *ret_memory ? 0 : ENOMEM;
}

void free(void *memory)
{
    if (memory)
        note(__builtin_return_address(0));
    __libc_free(memory);
}

/* ---- what they are to do meanwhile */

static const char *const options[] = { "--cold-age", "20ms", "--squeeze-age", "20ms", "--reclaim-rate", "4G",
                                       NULL };
static struct daemon d;
static struct pages p;
static struct pp_pager *pager;

static void all_out(void)
{
    for (int i = 0; i < 100 && pages_nr_present(&p, 0, NR) > NR / 20; i++)
        CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), 0);
}

static void there_and_back(void)
{
    all_out();
    for (uint32_t i = 0; i < NR; i++) /* in order: much of it comes back ahead */
        pages_check(&p, i);
    pages_write_all(&p);
    all_out();
    pages_check_all(&p);
}

static void denser(void)
{
    all_out();
    WAIT_LONG_UNTIL(pager_stat(pager, "pages_squeezed") > NR / 4);
    pages_check_all(&p);
}

static void discard_and_move(void)
{
    size_t bytes = pages_to_bytes(NR / 4);
    all_out();
    CHECK_EQ(madvise(p.memory, bytes, MADV_DONTNEED), 0);
    memset(p.versions, 0, NR / 4 * sizeof *p.versions);
    for (uint32_t i = 0; i < NR / 4; i++)
        pages_check(&p, i);
    unsigned char *aside = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *at = pages_at(&p, NR / 2);
    CHECK(aside != MAP_FAILED);
    CHECK(mremap(at, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, aside) == aside);
    CHECK(mremap(aside, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) == at);
    pages_check_all(&p);
    for (uint32_t i = 0; i < NR / 4; i++)
        p.versions[i] = 1000; /* not one that it had before */
    pages_write_all(&p);
}

static void fork_and_thread(void)
{
    all_out();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(pages_is_right(&p, NR / 2) ? 0 : 1);
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    pages_write_all(&p); /* what the child had in common with us */
}

static void the_next_daemon(void)
{
    all_out();
    uint64_t joins = pager_stat(pager, "daemon_joins");
    CHECK_EQ(helper_kill(d.pid, SIGKILL), SIGKILL);
    pages_check(&p, 1);
    daemon_start(&d, options);
    WAIT_LONG_UNTIL(pager_stat(pager, "daemon_joins") > joins);
    pages_check_all(&p);
}

/* Where the kernel would let us lock so much, what they work in is locked. */
static void is_locked(void)
{
    char line[128];
    unsigned long kib = 0;
    size_t bytes = (size_t)1 << 30;
    void *try = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(try != MAP_FAILED);
    bool may_lock = mlock2(try, bytes, MLOCK_ONFAULT) == 0;
    munmap(try, bytes);
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "VmLck: %lu", &kib) != 1)
        ;
    if (f)
        fclose(f);
    CHECK(!may_lock || kib > 16 * 1024);
}

int main(void)
{
    test_begin("agent and porter never allocate", 60);
    pages_map(&p, NR);
    pages_write_all(&p);
    daemon_start(&d, options);
    pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    is_locked();
    atomic_store(&is_counting, true);
    void *volatile own = malloc(1); /* is seen */
    free(own);
    there_and_back();
    denser();
    discard_and_move();
    fork_and_thread();
    the_next_daemon();
    all_out();
    CHECK_EQ(pp_stop(pager), 0);
    atomic_store(&is_counting, false);
    pages_check_all(&p);
    if (nr_ours)
        test_fail(__FILE__, __LINE__, "they called the allocator %llu times, first from %p (main is at %p)",
                  (unsigned long long)nr_ours, atomic_load(&first_caller), (void *)(uintptr_t)main);
    CHECK(nr_others >= 2);
    pp_close(pager);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
