/* features.h - what this kernel and this user can do, found out by asking, not by version numbers. */
#ifndef DAEMON_FEATURES_H
#define DAEMON_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

struct features {
    bool has_page_size;      /* 4 KiB */
    bool has_device;         /* /dev/userfaultfd can be opened: clients get it from us */
    bool has_syscall;        /* userfaultfd(2) for this user */
    uint64_t uffd;           /* UFFD_FEATURE_* offered; 0: no userfaultfd at all */
    bool has_pagemap_scan;
    bool has_swap;           /* some is on; matters to --evict-by pageout only */
    bool has_procmap_query;  /* Linux 6.11; without it maps are read as text */
    int remote_dontneed;     /* process_madvise(MADV_DONTNEED) on another process: 0, or its errno */
    char release[65];        /* uname -r */
};

void features_find(struct features *ret);
/* NULL: clients can work; else one line that says what is missing and what mends it. */
const char *features_missing(const struct features *f);
/* 69 or 77, when features_missing() is not NULL. */
int features_exit_code(const struct features *f);
/* The report of --check, to stdout. */
void features_print(const struct features *f, const char *heat, const char *heat_reason);
void features_log(const struct features *f);

#endif
