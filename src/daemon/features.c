/* features.c - see features.h. */
#include "daemon/features.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "sys/uffd.h"

const char *features_missing(const struct features *f)
{
    if (!f->has_page_size)
        return "this machine's pages are not 4 KiB: only 4 KiB pages are supported";
    if (!f->uffd && access("/dev/userfaultfd", F_OK))
        return "this kernel has no userfaultfd (CONFIG_USERFAULTFD): boot one that has, Linux 6.8 or "
               "later";
    if (f->uffd && !features_has_kernel(f))
        return "this kernel is too old: UFFDIO_MOVE needs Linux 6.8. Install a newer one and reboot, for "
               "example (Debian 12): apt install linux-image-6.12-cloud-amd64 && reboot";
    if (!features_has_right(f))
        return "no right to userfaultfd: run process-pagerd as root, or once as root: "
               "sysctl vm.unprivileged_userfaultfd=1";
    return NULL;
}

int features_exit_code(const struct features *f)
{
    bool is_right_missing = f->has_page_size && !features_has_right(f) &&
                            (f->uffd ? features_has_kernel(f) : access("/dev/userfaultfd", F_OK) == 0);
    return is_right_missing ? EX_NOPERM : EX_UNAVAILABLE;
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
    print_one("UFFDIO_MOVE", f->can_move, "eviction that no write can race");
    print_one("async write-protection", f->can_track_writes, "heat: what is written");
    print_one("PAGEMAP_SCAN", f->has_pagemap_scan, "heat: what is written");
    print_one("events: remove, unmap, remap",
              (f->uffd & UFFD_FEATURE_EVENT_REMOVE) && (f->uffd & UFFD_FEATURE_EVENT_UNMAP) &&
                  (f->uffd & UFFD_FEATURE_EVENT_REMAP),
              "what the application discards");
    print_one("event: fork", f->uffd & UFFD_FEATURE_EVENT_FORK,
              "a fork leaves pages out; else all comes back first");
    print_one("faulting thread's id", f->uffd & UFFD_FEATURE_THREAD_ID, "the agent follows it");
    print_one("UFFDIO_POISON", f->can_poison, "a lost page raises SIGBUS");
    print_one("own descriptor tables", f->has_own_descriptors, "what the application closes is not ours");
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
