/* features.c - see features.h. Each trial has a page or two and a userfaultfd of its own: one that only
 * serves user-mode faults will do, and everybody may have that. None ever raises a fault. */
#include "sys/features.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/pagesize.h"
#include "sys/maps.h"
#include "sys/orphan.h"
#include "sys/pagemap_scan.h"
#include "sys/uffd.h"

#define NEEDED                                                                                     \
    (UFFD_FEATURE_MOVE | UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_EVENT_REMOVE |                       \
     UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_THREAD_ID |                \
     UFFD_FEATURE_POISON)

/* ---- trials */

/* -1: the kernel does not offer these. */
static int open_trial(uint64_t features, uint64_t *ret_offered)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    if (fd < 0)
        fd = uffd_open(-1);
    if (fd < 0)
        return -1;
    if (uffd_handshake(fd, features, ret_offered) == 0)
        return fd;
    close(fd);
    return -1;
}

static unsigned char *map_trial(size_t nr_pages)
{
    void *m = mmap(NULL, pages_to_bytes(nr_pages), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    return m == MAP_FAILED ? NULL : m;
}

/* Closing first: what is then missing reads as zeros instead of waiting for us. */
static void end_trial(int fd, void *memory, size_t nr_pages)
{
    if (fd >= 0)
        close(fd);
    if (memory)
        (void)munmap(memory, pages_to_bytes(nr_pages));
}

static bool try_move(void)
{
    uint64_t offered, moved = 0;
    int fd = open_trial(UFFD_FEATURE_MOVE, &offered);
    unsigned char *pages = map_trial(2), *to = pages ? pages + PAGE_BYTES : NULL;
    bool is_moved = false;
    if (fd >= 0 && pages && uffd_register(fd, (uintptr_t)to, PAGE_BYTES, UFFD_ARM) == 0) {
        pages[5] = 77;
        is_moved = uffd_move(fd, (uintptr_t)to, (uintptr_t)pages, PAGE_BYTES, &moved) == 0 &&
                   moved == PAGE_BYTES && to[5] == 77;
    }
    end_trial(fd, pages, 2);
    return is_moved;
}

/* Is the page there, and written as expected? */
static bool looks(int pagemap_fd, const void *page, enum pagemap_scan_mode mode, bool is_written)
{
    struct pagemap_region region;
    page_number first = page_of((uintptr_t)page);
    return pagemap_scan(pagemap_fd, first, first + 1, mode, &region, 1) == 1 &&
           pagemap_region_is_written(&region) == is_written;
}

static bool try_tracking(void)
{
    uint64_t offered;
    int fd = open_trial(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED, &offered);
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    volatile unsigned char *page = map_trial(1);
    bool is_seen = false;
    if (fd >= 0 && pagemap >= 0 && page) {
        *page = 1;
        is_seen = uffd_register(fd, (uintptr_t)page, PAGE_BYTES, UFFD_WATCH) == 0 &&
                  looks(pagemap, (void *)page, PAGEMAP_SCAN_PROTECT, true) &&
                  looks(pagemap, (void *)page, PAGEMAP_SCAN_LOOK, false);
    }
    if (is_seen) {
        *page = 2;
        is_seen = looks(pagemap, (void *)page, PAGEMAP_SCAN_LOOK, true);
    }
    if (pagemap >= 0)
        close(pagemap);
    end_trial(fd, (void *)page, 1);
    return is_seen;
}

static bool try_poison(void)
{
    uint64_t offered;
    int fd = open_trial(UFFD_FEATURE_POISON, &offered);
    unsigned char *page = map_trial(1);
    bool is_poisoned = fd >= 0 && page && uffd_register(fd, (uintptr_t)page, PAGE_BYTES, UFFD_ARM) == 0 &&
                       uffd_poison(fd, (uintptr_t)page) == 0;
    end_trial(fd, page, 1);
    return is_poisoned;
}

/* ---- questions */

bool features_try_device(void)
{
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device >= 0)
        close(device);
    return device >= 0;
}

static void find_uffd(struct features *f)
{
    f->has_device = features_try_device();
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    f->has_syscall = fd >= 0;
    f->is_unheard_of = fd < 0 && errno == ENOSYS;
    if (fd >= 0)
        close(fd);
    fd = open_trial(0, &f->uffd);
    if (fd >= 0)
        close(fd);
}

static void find_pagemap_scan(struct features *f)
{
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    struct pagemap_region region;
    page_number page = page_of((uintptr_t)&region);
    int r = pagemap_scan(fd, page, page + 1, PAGEMAP_SCAN_LOOK, &region, 1);
    f->has_pagemap_scan = r >= 0 || r == -EPERM; /* our stack is not watched: it knows the question */
    close(fd);
}

static void find_procmap_query(struct features *f)
{
    struct maps m;
    struct maps_vma vma;
    if (maps_open(&m))
        return;
    f->has_procmap_query = maps_find(&m, (uintptr_t)&m, &vma) == 0 && !m.no_query;
    maps_close(&m);
}

static _Noreturn void sleep_until_killed(pid_t parent)
{
    while (orphan_is_ended_by(SIGKILL, parent))
        pause();
    _exit(1);
}

/* The published experiment asked the kernel to drop another process's pages; no kernel allows it. The
 * answer stays a column: EINVAL says "not this advice", EPERM "not you". */
static int try_remote_dontneed(void)
{
    void *page = map_trial(1);
    if (!page)
        return ENOMEM;
    pid_t parent = getpid(), child = fork();
    if (child == 0)
        sleep_until_killed(parent);
    int error = ECHILD;
    if (child > 0) {
        int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
        struct iovec range = { page, PAGE_BYTES };
        long n = syscall(SYS_process_madvise, pidfd, &range, 1, MADV_DONTNEED, 0);
        error = n < 0 ? errno : 0;
        if (pidfd >= 0)
            close(pidfd);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    munmap(page, PAGE_BYTES);
    return error;
}

/* Asked with numbers that no descriptor has; a child, because the table would be unshared for good. */
static bool try_own_descriptors(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(syscall(SYS_close_range, ~0u - 1, ~0u, CLOSE_RANGE_UNSHARE) ? 1 : 0);
    int status = 1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

void features_find(struct features *f)
{
    *f = (struct features){ .has_page_size = sysconf(_SC_PAGESIZE) == (long)PAGE_BYTES };
    struct utsname u;
    if (uname(&u) == 0)
        (void)snprintf(f->release, sizeof f->release, "%.64s", u.release);
    find_uffd(f);
    f->can_move = try_move();
    f->can_track_writes = try_tracking();
    f->can_poison = try_poison();
    find_pagemap_scan(f);
    find_procmap_query(f);
    struct sysinfo info;
    f->has_swap = sysinfo(&info) == 0 && info.totalswap > 0;
    f->has_own_descriptors = try_own_descriptors();
    f->remote_dontneed = try_remote_dontneed();
}

bool features_has_right(const struct features *f)
{
    return f->has_syscall || f->has_device;
}

bool features_has_kernel(const struct features *f)
{
    return (f->uffd & NEEDED) == NEEDED && f->has_pagemap_scan && f->can_move && f->can_track_writes &&
           f->can_poison && f->has_own_descriptors;
}
