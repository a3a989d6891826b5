/* pages.c - touching and checking.
 *
 * Budget of a touch of a page in cache: two clock readings ~45 ns, expected line ~25 ns, compare
 * and write ~20 ns; of a page in memory four or five cache misses more. */
#include "pages.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pace.h"

#define ERRORS_SHOWN 5u /* to each thread: one wrong page is news, a million are a flood */

int pages_new(const struct content *content, uint64_t first_id, size_t count, bool with_memory,
              struct pages *ret_pages)
{
    struct pages p = {.content = *content, .first_id = first_id, .count = count};
    p.versions = calloc(count, sizeof(*p.versions));
    if (!p.versions)
        return -ENOMEM;
    if (with_memory) {
        void *base = mmap(NULL, count * CONTENT_PAGE_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base == MAP_FAILED) {
            free(p.versions);
            return -ENOMEM;
        }
        p.base = base;
    }
    *ret_pages = p;
    return 0;
}

void pages_free(struct pages *p)
{
    if (p->base)
        (void)munmap(p->base, p->count * CONTENT_PAGE_BYTES); /* our own whole map: cannot fail */
    free(p->versions);
    *p = (struct pages){0};
}

static unsigned char *page_at(const struct pages *p, size_t index)
{
    return p->base + index * CONTENT_PAGE_BYTES;
}

static void write_next(const struct pages *p, size_t index)
{
    uint32_t version = p->versions[index];
    if (version == 0)
        content_fill(&p->content, p->first_id + index, 1, page_at(p, index));
    else
        content_bump(&p->content, p->first_id + index, version, page_at(p, index));
    p->versions[index] = version + 1;
}

void pages_fill(const struct pages *p, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++)
        write_next(p, i);
}

static void count_error(const struct pages *p, size_t index, unsigned line, struct toucher *t)
{
    if (t->verify_errors++ >= ERRORS_SHOWN)
        return;
    uint32_t found_version;
    memcpy(&found_version, page_at(p, index) + 8, sizeof(found_version));
    fprintf(stderr,
            "verify error: page %llu line %u: not the bytes of version %u (stamp says %u)\n",
            (unsigned long long)(p->first_id + index), line, p->versions[index], found_version);
}

/* Neither does it belong to the process now, nor will it by itself: it has been taken out. */
static bool is_out(const struct pages *p, size_t index, int pagemap_fd)
{
    uint64_t entry = UINT64_C(1) << 63;
    uint64_t number = (uintptr_t)page_at(p, index) / CONTENT_PAGE_BYTES;
    (void)!pread(pagemap_fd, &entry, sizeof(entry), (off_t)(number * sizeof(entry)));
    return entry >> 63 == 0; /* "page present": Documentation/admin-guide/mm/pagemap.rst */
}

void pages_touch(const struct pages *p, size_t index, struct toucher *t)
{
    uint64_t id = p->first_id + index;
    uint32_t version = p->versions[index];
    unsigned char *at = page_at(p, index);
    uint64_t bits = rng_next(&t->rng);
    unsigned line = (unsigned)(bits >> 58);
    bool is_write = t->write_fraction >= 1 || rng_unit(&t->rng) < t->write_fraction;
    bool stamp_ok = true, line_ok = true;
    unsigned char expected[CONTENT_LINE_BYTES];
    if (t->is_checking)
        content_line(&p->content, id, line, version, expected);
    bool was_out = t->pagemap_fd >= 0 && is_out(p, index, t->pagemap_fd);

    uint64_t start_ns = pace_now_ns();
    if (t->is_checking) {
        stamp_ok = content_stamp_is(&p->content, id, version, at);
        line_ok = memcmp(at + (size_t)line * CONTENT_LINE_BYTES, expected, sizeof(expected)) == 0;
    } else {
        (void)*(volatile unsigned char *)at; /* the touch reads, checked or not */
    }
    if (is_write)
        write_next(p, index);
    t->last_ns = pace_now_ns();

    bool is_warm_up = t->last_ns < t->warm_up_end_ns;
    latency_record(is_warm_up ? &t->warm_up_touches : &t->touches, t->last_ns - start_ns);
    if (was_out && !is_warm_up)
        latency_record(&t->out_touches, t->last_ns - start_ns);
    t->nr_touches++;
    t->nr_warm_up_touches += is_warm_up;
    if (!stamp_ok || !line_ok)
        count_error(p, index, stamp_ok ? line : 0, t);
}

void pages_check(const struct pages *p, size_t index, struct toucher *t)
{
    unsigned line = 0;
    t->pages_checked++;
    if (!content_page_is(&p->content, p->first_id + index, p->versions[index], page_at(p, index),
                         &line))
        count_error(p, index, line, t);
}
