/* pageout.c - see pageout.h. */
#include "pageout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/rng.h"

#define PIECE_BYTES (UINT64_C(2) << 20)

static int add_mapping(struct pageout *p, size_t *capacity, uint64_t start, uint64_t end)
{
    for (uint64_t at = start; at < end;) {
        if (p->nr == *capacity) {
            size_t larger = *capacity ? 2 * *capacity : 256;
            void *pieces = realloc(p->pieces, larger * sizeof *p->pieces);
            if (!pieces)
                return -ENOMEM;
            p->pieces = pieces;
            *capacity = larger;
        }
        uint64_t next = (at / PIECE_BYTES + 1) * PIECE_BYTES;
        next = next < end ? next : end;
        p->pieces[p->nr++] = (struct pageout_piece){ at, next };
        at = next;
    }
    return 0;
}

/* What is private and writable, of no file: "start-end rw-p 00000000 00:00 0   name or nothing". */
static int list_mappings(struct pageout *p, FILE *maps)
{
    char line[4352];
    size_t capacity = 0;
    while (fgets(line, sizeof line, maps)) {
        unsigned long long start, end, inode;
        char permissions[8];
        if (sscanf(line, "%llx-%llx %4s %*x %*s %llu", &start, &end, permissions, &inode) != 4 ||
            strcmp(permissions, "rw-p") || inode || strstr(line, "[stack]"))
            continue;
        int r = add_mapping(p, &capacity, start, end);
        if (r)
            return r;
    }
    return 0;
}

static void shuffle(struct pageout *p, uint64_t seed)
{
    struct rng rng = rng_new(seed, 2);
    for (size_t i = p->nr; i > 1; i--) {
        size_t j = rng_below(&rng, i);
        struct pageout_piece piece = p->pieces[i - 1];
        p->pieces[i - 1] = p->pieces[j];
        p->pieces[j] = piece;
    }
}

int pageout_begin(struct pageout *p, pid_t pid, uint64_t seed)
{
    char path[64];
    *p = (struct pageout){ .pidfd = (int)syscall(SYS_pidfd_open, pid, 0) };
    if (p->pidfd < 0)
        return -errno;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        return -errno;
    int r = list_mappings(p, maps);
    fclose(maps);
    shuffle(p, seed);
    return r;
}

uint64_t pageout_next(struct pageout *p, uint64_t bytes)
{
    uint64_t asked = 0;
    while (asked < bytes && p->next < p->nr) {
        const struct pageout_piece *piece = &p->pieces[p->next++];
        struct iovec iovec = { (void *)piece->start, piece->end - piece->start };
        /* A piece that has been unmapped meanwhile is one less. */
        (void)syscall(SYS_process_madvise, p->pidfd, &iovec, 1ul, MADV_PAGEOUT, 0u);
        asked += iovec.iov_len;
    }
    return asked;
}

void pageout_end(struct pageout *p)
{
    if (p->pidfd >= 0)
        close(p->pidfd);
    free(p->pieces);
    *p = (struct pageout)PAGEOUT_NONE;
}
