/* features.c - see features.h. */
#include "daemon/features.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pagesize.h"
#include "sys/maps.h"
#include "sys/pagemap_scan.h"
#include "sys/uffd.h"

#define NEEDED                                                                                     \
    (UFFD_FEATURE_MOVE | UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_EVENT_REMOVE |                       \
     UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_THREAD_ID |                \
     UFFD_FEATURE_POISON)

static void find_uffd(struct features *f)
{
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    f->has_device = device >= 0;
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    f->has_syscall = fd >= 0;
    if (fd < 0 && device >= 0)
        fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        (void)uffd_handshake(fd, 0, &f->uffd);
        close(fd);
    }
    if (device >= 0)
        close(device);
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

/* The published experiment asked the kernel to drop another process's pages; no kernel allows it. The
 * answer stays a column: EINVAL says "not this advice", EPERM "not you". */
static int try_remote_dontneed(void)
{
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return ENOMEM;
    pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
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

void features_find(struct features *f)
{
    *f = (struct features){ .has_page_size = sysconf(_SC_PAGESIZE) == (long)PAGE_BYTES };
    struct utsname u;
    if (uname(&u) == 0)
        (void)snprintf(f->release, sizeof f->release, "%.64s", u.release);
    find_uffd(f);
    find_pagemap_scan(f);
    find_procmap_query(f);
    struct sysinfo info;
    f->has_swap = sysinfo(&info) == 0 && info.totalswap > 0;
    f->remote_dontneed = try_remote_dontneed();
}

const char *features_missing(const struct features *f)
{
    if (!f->has_page_size)
        return "this machine's pages are not 4 KiB: only 4 KiB pages are supported";
    if (!f->uffd && access("/dev/userfaultfd", F_OK) == 0)
        return "no right to userfaultfd: run process-pagerd as root, or once as root: "
               "sysctl vm.unprivileged_userfaultfd=1";
    if (!f->uffd)
        return "this kernel has no userfaultfd (CONFIG_USERFAULTFD): boot one that has, Linux 6.8 or "
               "later";
    if ((f->uffd & NEEDED) != NEEDED || !f->has_pagemap_scan)
        return "this kernel is too old: UFFDIO_MOVE needs Linux 6.8. Install a newer one and reboot, for "
               "example (Debian 12): apt install linux-image-6.12-cloud-amd64 && reboot";
    return NULL;
}

int features_exit_code(const struct features *f)
{
    return f->has_page_size && !f->uffd && access("/dev/userfaultfd", F_OK) == 0 ? EX_NOPERM
                                                                                 : EX_UNAVAILABLE;
}

static void print_one(const char *name, bool is_there, const char *use)
{
    printf("%-34s %-4s %s\n", name, is_there ? "yes" : "no", use);
}

static const char *remote_text(const struct features *f)
{
    switch (f->remote_dontneed) {
    case 0:      return "allowed (never seen)";
    case EINVAL: return "EINVAL: not for another process";
    case EPERM:  return "EPERM: no right to ask";
    default:     return strerror(f->remote_dontneed);
    }
}

void features_print(const struct features *f, const char *heat, const char *heat_reason)
{
    printf("kernel %s\n", f->release);
    print_one("4 KiB pages", f->has_page_size, "");
    print_one("/dev/userfaultfd", f->has_device, "handed to clients that cannot open it");
    print_one("userfaultfd(2) for this user", f->has_syscall, "");
    print_one("UFFDIO_MOVE", f->uffd & UFFD_FEATURE_MOVE, "eviction that no write can race");
    print_one("async write-protection", f->uffd & UFFD_FEATURE_WP_ASYNC, "heat: what is written");
    print_one("PAGEMAP_SCAN", f->has_pagemap_scan, "heat: what is written");
    print_one("events: remove, unmap, remap",
              (f->uffd & UFFD_FEATURE_EVENT_REMOVE) && (f->uffd & UFFD_FEATURE_EVENT_UNMAP) &&
                  (f->uffd & UFFD_FEATURE_EVENT_REMAP),
              "what the application discards");
    print_one("event: fork", f->uffd & UFFD_FEATURE_EVENT_FORK, "not used yet: all comes back first");
    print_one("faulting thread's id", f->uffd & UFFD_FEATURE_THREAD_ID, "the agent follows it");
    print_one("UFFDIO_POISON", f->uffd & UFFD_FEATURE_POISON, "a lost page raises SIGBUS");
    print_one("PROCMAP_QUERY", f->has_procmap_query, "else /proc/self/maps is read as text");
    print_one("swap space", f->has_swap, "only for --evict-by pageout");
    printf("remote process_madvise(DONTNEED)   %s\n", remote_text(f));
    const char *missing = features_missing(f);
    if (missing)
        printf("%s\n", missing);
    else
        printf("source of heat                     %s: %s\n"
               "clients can work: heat source %s, eviction by UFFDIO_MOVE\n",
               heat, heat_reason, heat);
}

void features_log(const struct features *f)
{
    log_info("event=features kernel=%s uffd=0x%llx device=%d pagemap_scan=%d procmap_query=%d "
             "swap=%d remote_dontneed=\"%s\"",
             f->release, (unsigned long long)f->uffd, f->has_device, f->has_pagemap_scan,
             f->has_procmap_query, f->has_swap, remote_text(f));
}
