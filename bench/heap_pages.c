/* heap_pages.c - see heap_pages.h. Two passes over maps and pagemap: one counts, one reads. A page
 * more than needed is mapped, so that no pages at all are no special case. */
#include "heap_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sys/pagemap.h"
#include "sys/pagemap_scan.h"

#define CHUNK_PAGES 512u /* read with one call; the kernel takes up to 1024 pieces */

int heap_pages_new(size_t nr, struct heap_pages *ret)
{
    struct heap_pages h = { .nr = nr };
    void *bytes = mmap(NULL, pages_to_bytes(nr + 1), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes == MAP_FAILED)
        return -errno;
    h.bytes = bytes;
    h.numbers = calloc(nr + 1, sizeof *h.numbers);
    if (!h.numbers) {
        heap_pages_free(&h);
        return -ENOMEM;
    }
    *ret = h;
    return 0;
}

void heap_pages_free(struct heap_pages *h)
{
    if (h->bytes)
        (void)munmap(h->bytes, pages_to_bytes(h->nr + 1));
    free(h->numbers);
    *h = (struct heap_pages){ .nr = 0 };
}

/* ---- out of a process */

static bool is_there(pagemap_entry e)
{
    return (pagemap_is_present(e) || pagemap_is_swapped(e)) && !pagemap_is_file_or_shared(e);
}

/* Not so the zero page, and what a fork has left shared. */
static bool is_owned(pagemap_entry e)
{
    return is_there(e) && (pagemap_is_exclusive(e) || pagemap_is_swapped(e));
}

/* One line of /proc/PID/maps: is it memory that can be paged? Special mappings ([vvar] and the
 * like) are not writable, so a name in brackets needs no look. */
static bool parse_mapping(const char *line, page_number *ret_first, page_number *ret_end)
{
    uint64_t start, end, inode;
    char rights[5];
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*x:%*x %" SCNu64, &start, &end, rights,
               &inode) != 4)
        return false;
    *ret_first = page_of(start);
    *ret_end = page_of(end);
    return strcmp(rights, "rw-p") == 0 && inode == 0;
}

/* How much room the pages need at most: one that is shared now may be owned when it is read. */
static void count_chunk(const pagemap_entry *entries, size_t nr, size_t *count)
{
    for (size_t i = 0; i < nr; i++)
        *count += is_there(entries[i]);
}

/* Appends the owned ones of nr pages. */
static int take_chunk(pid_t pid, page_number first, const pagemap_entry *entries, size_t nr,
                      size_t room, struct heap_pages *h)
{
    struct iovec there[CHUNK_PAGES];
    size_t taken = 0;
    for (size_t i = 0; i < nr; i++) {
        if (!is_owned(entries[i]))
            continue;
        if (h->nr + taken == room)
            return -EFAULT; /* more than were counted */
        there[taken] = (struct iovec){ (void *)(uintptr_t)page_address(first + i), PAGE_BYTES };
        h->numbers[h->nr + taken++] = first + i;
    }
    struct iovec here = { heap_page(h, h->nr), pages_to_bytes(taken) };
    ssize_t n = taken ? process_vm_readv(pid, &here, 1, there, taken, 0) : 0;
    if (n < 0)
        return -errno;
    if ((size_t)n != pages_to_bytes(taken))
        return -EFAULT;
    h->nr += taken;
    return 0;
}

/* h NULL: only counts into room. */
static int take_mapping(pid_t pid, int pagemap, page_number first, page_number end, size_t *room,
                        struct heap_pages *h)
{
    pagemap_entry entries[CHUNK_PAGES];
    for (page_number at = first;; at += CHUNK_PAGES) {
        /* A sanitizer's shadow is 16 TiB of almost nothing. */
        int r = at < end ? pagemap_scan_next(pagemap, at, end, &at) : 0;
        if (r || at >= end)
            return r;
        size_t nr = end - at < CHUNK_PAGES ? (size_t)(end - at) : CHUNK_PAGES;
        r = pagemap_read(pagemap, at, nr, entries);
        if (r == 0 && h)
            r = take_chunk(pid, at, entries, nr, *room, h);
        else if (r == 0)
            count_chunk(entries, nr, room);
        if (r)
            return r;
    }
}

static int take_all(pid_t pid, size_t *room, struct heap_pages *h)
{
    char path[64], line[PATH_MAX + 128];
    snprintf(path, sizeof path, "/proc/%d/pagemap", (int)pid);
    int pagemap = open(path, O_RDONLY | O_CLOEXEC);
    if (pagemap < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    int r = maps ? 0 : -errno;
    while (r == 0 && fgets(line, sizeof line, maps)) {
        page_number first, end;
        if (parse_mapping(line, &first, &end))
            r = take_mapping(pid, pagemap, first, end, room, h);
    }
    if (maps)
        fclose(maps);
    close(pagemap);
    return r;
}

int heap_pages_read(pid_t pid, struct heap_pages *ret)
{
    struct heap_pages h = { .nr = 0 };
    size_t room = 0;
    int r = take_all(pid, &room, NULL);
    if (r == 0)
        r = heap_pages_new(room, &h);
    if (r)
        return r;
    h.nr = 0;
    r = take_all(pid, &room, &h);
    /* What was not needed; a page more than there are stays mapped, as with heap_pages_new(). */
    if (h.nr < room)
        (void)munmap(heap_page(&h, h.nr + 1), pages_to_bytes(room - h.nr));
    if (r)
        heap_pages_free(&h);
    else
        *ret = h;
    return r;
}

/* ---- files */

static void numbers_path(const char *path, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%s.numbers", path);
}

static int write_file(const char *path, const void *bytes, size_t size, size_t nr)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return -errno;
    bool is_written = fwrite(bytes, size, nr, f) == nr;
    return fclose(f) || !is_written ? -EIO : 0;
}

static int read_file(const char *path, void *bytes, size_t size, size_t nr)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return -errno;
    bool is_read = fread(bytes, size, nr, f) == nr;
    fclose(f);
    return is_read ? 0 : -EIO;
}

int heap_pages_save(const struct heap_pages *h, const char *path)
{
    char numbers[PATH_MAX];
    numbers_path(path, numbers);
    int r = write_file(path, h->bytes, PAGE_BYTES, h->nr);
    return r ? r : write_file(numbers, h->numbers, sizeof *h->numbers, h->nr);
}

int heap_pages_load(const char *path, struct heap_pages *ret)
{
    struct stat st;
    if (stat(path, &st))
        return -errno;
    if (st.st_size % (off_t)PAGE_BYTES)
        return -EINVAL;
    struct heap_pages h = { .nr = 0 };
    int r = heap_pages_new(bytes_to_pages((size_t)st.st_size), &h);
    if (r)
        return r;
    char numbers[PATH_MAX];
    numbers_path(path, numbers);
    r = read_file(path, h.bytes, PAGE_BYTES, h.nr);
    if (r == 0) {
        r = read_file(numbers, h.numbers, sizeof *h.numbers, h.nr);
        for (size_t i = 0; r == -ENOENT && i < h.nr; i++)
            h.numbers[i] = i;
        r = r == -ENOENT ? 0 : r;
    }
    if (r)
        heap_pages_free(&h);
    else
        *ret = h;
    return r;
}
