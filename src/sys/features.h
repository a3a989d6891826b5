/* features.h - what this kernel and this user can do, found out by trying, not by version numbers. For our
 * programs: process-pagerd --check, process-pager doctor. */
#ifndef SYS_FEATURES_H
#define SYS_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

struct features {
    bool has_page_size;     /* 4 KiB */
    bool has_device;        /* /dev/userfaultfd can be opened: it can be handed to others */
    bool has_syscall;       /* userfaultfd(2) for this user, faults inside system calls too */
    uint64_t uffd;          /* UFFD_FEATURE_* that the kernel offers, to whomever; 0: none, or not for us */
    bool is_unheard_of;     /* the kernel has no userfaultfd(2) */
    bool can_move;          /* a page was moved */
    bool can_track_writes;  /* a write was seen, no fault raised */
    bool can_poison;        /* a page was poisoned */
    bool has_pagemap_scan;
    bool has_swap;          /* some is on; matters to --evict-by pageout only */
    bool has_procmap_query; /* Linux 6.11; without it maps are read as text */
    bool has_own_descriptors; /* CLOSE_RANGE_UNSHARE: a thread's own descriptor table */
    int remote_dontneed;    /* process_madvise(MADV_DONTNEED) on another process: 0, or its errno */
    char release[65];       /* uname -r */
};

void features_find(struct features *ret);
/* The same of has_device alone, for who has fewer rights by now. */
bool features_try_device(void);
/* May this user have a userfaultfd that serves unmodified programs? */
bool features_has_right(const struct features *f);
/* Does the kernel have all that is needed, whoever may use it? */
bool features_has_kernel(const struct features *f);

#endif
