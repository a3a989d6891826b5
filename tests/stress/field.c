/* field.c - see field.h. */
#include "stress/field.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "sys/pagemap.h"

#define HUGE_BYTES ((size_t)2 << 20)
#define GAP_BYTES ((size_t)16 << 10) /* between ranges, so that they stay several */
#define AGED_BYTES ((size_t)16 << 20)
#define EVENT_PAUSE_NS (NS_PER_S / 100)
#define RANDOM_WORDS (PAGE_BYTES / sizeof(uint64_t))

static void *map(size_t bytes, int protection)
{
    void *m = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED)
        stress_broken("mmap");
    return m;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

void field_content(void *ret_bytes, uint32_t salt, uint32_t page, uint32_t version)
{
    version &= ~VERSION_FREED;
    if (version & VERSION_FILE) {
        page = version >> 20 & (FILE_PAGES - 1);
        version &= ~VERSION_COUNT;
    }
    uint64_t *words = ret_bytes;
    uint64_t state = mix((uint64_t)version << 32 | page) + salt;
    unsigned sort = version ? (unsigned)(state & 15) : 2;
    if (sort > 1) {
        pages_fill(ret_bytes, salt, page, version);
        return;
    }
    for (size_t i = 0; i < RANDOM_WORDS; i++)
        words[i] = sort ? mix(state) : mix(state + i * 0x9e3779b97f4a7c15);
}

/* ---- making it */

static size_t place_bytes(const struct field_shape *s)
{
    return pages_to_bytes(s->block_pages) * (s->has_spare_slots ? 2 : 1);
}

static uint32_t blocks_in_range(const struct field *f)
{
    return f->nr_blocks / f->shape->nr_ranges;
}

static size_t range_bytes(const struct field *f)
{
    return blocks_in_range(f) * place_bytes(f->shape);
}

static unsigned char *range_start(const struct field *f, uint32_t range)
{
    size_t gap = f->shape->is_huge ? HUGE_BYTES : GAP_BYTES;
    return f->memory + range * (range_bytes(f) + gap);
}

static void map_ranges(struct field *f)
{
    const struct field_shape *s = f->shape;
    unsigned char *all = map(s->nr_ranges * (range_bytes(f) + HUGE_BYTES) + HUGE_BYTES, PROT_NONE);
    f->memory = (unsigned char *)(((uintptr_t)all + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));
    for (uint32_t r = 0; r < s->nr_ranges; r++) {
        unsigned char *start = range_start(f, r);
        if (mprotect(start, range_bytes(f), PROT_READ | PROT_WRITE))
            stress_broken("mprotect");
        (void)madvise(start, range_bytes(f), s->is_huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    }
}

struct field *field_new(struct run *run, const struct field_shape *s, uint32_t salt)
{
    struct field *f = calloc(1, sizeof *f);
    if (!f)
        stress_broken("calloc");
    f->run = run;
    f->shape = s;
    f->salt = salt;
    f->nr_blocks = s->nr_pages / s->block_pages / s->nr_ranges * s->nr_ranges;
    f->blocks = map(f->nr_blocks * sizeof *f->blocks, PROT_READ | PROT_WRITE);
    f->versions = map(s->nr_pages * sizeof *f->versions, PROT_READ | PROT_WRITE);
    f->next_event_ns = map((s->nr_ranges + 1) * sizeof *f->next_event_ns, PROT_READ | PROT_WRITE);
    f->parts = map(s->nr_shared * sizeof *f->parts + 1, PROT_READ | PROT_WRITE);
    f->shared = map(pages_to_bytes(s->nr_shared) + 1, PROT_READ | PROT_WRITE);
    map_ranges(f);
    for (uint32_t i = 0; i < f->nr_blocks; i++) {
        struct block *b = &f->blocks[i];
        if (pthread_rwlock_init(&b->lock, NULL))
            stress_broken("pthread_rwlock_init");
        b->first = i * s->block_pages;
        b->range = i / blocks_in_range(f);
        b->home = range_start(f, b->range) + i % blocks_in_range(f) * place_bytes(s);
    }
    return f;
}

static void register_one(struct field *f, struct pp_pager *pager, void *address, size_t bytes)
{
    if (f->shape->is_direct ? pp_register_flags(pager, address, bytes, PP_DIRECT)
                            : pp_register(pager, address, bytes))
        stress_complain(f->run, "pp_register: %s", pp_error(pager));
}

void field_register(struct field *f, struct pp_pager *pager)
{
    for (uint32_t r = 0; r < f->shape->nr_ranges; r++)
        register_one(f, pager, range_start(f, r), range_bytes(f));
    if (f->shape->nr_shared)
        register_one(f, pager, f->shared, pages_to_bytes(f->shape->nr_shared));
}

void field_begin(struct client *c)
{
    struct field *f = c->field;
    for (uint32_t i = 0; i < f->nr_blocks; i++) {
        struct block *b = &f->blocks[i];
        pthread_rwlock_wrlock(&b->lock);
        for (uint32_t p = 0; p < f->shape->block_pages; p++)
            if ((b->first + p) % 8)
                field_write(f, b, p);
        field_unlock(b);
        progress_beat(&c->slot->threads[0], "first writing");
    }
}

/* ---- looking from outside */

static bool read_from(pid_t pid, void *ret, const void *there, size_t bytes)
{
    struct iovec to = { ret, bytes }, from = { (void *)(uintptr_t)there, bytes };
    return process_vm_readv(pid, &to, 1, &from, 1, 0) == (ssize_t)bytes;
}

static double share_out(const struct field *f, const struct block *blocks, const uint32_t *versions,
                        int pagemap_fd)
{
    pagemap_entry entries[BLOCK_PAGES_MAX];
    uint32_t nr = 0, nr_out = 0;
    for (uint32_t i = 0; i < f->nr_blocks; i++) {
        const struct block *b = &blocks[i];
        if (pagemap_read(pagemap_fd, page_of((uintptr_t)b->home), f->shape->block_pages, entries))
            return -1;
        for (uint32_t p = 0; p < f->shape->block_pages; p++) {
            bool has_bytes = versions[b->first + p] != 0;
            nr += has_bytes;
            nr_out += has_bytes && !pagemap_is_present(entries[p]);
        }
    }
    return nr ? (double)nr_out / nr : -1;
}

double field_share_out(const struct client_slot *s)
{
    static struct block *blocks; /* of one kind at a time, so of one size */
    static uint32_t *versions;
    struct field f;
    if (!atomic_load(&s->field) || !read_from(s->pid, &f, atomic_load(&s->field), sizeof f))
        return -1;
    if (!blocks) {
        blocks = map(f.nr_blocks * sizeof *blocks, PROT_READ | PROT_WRITE);
        versions = map(f.shape->nr_pages * sizeof *versions, PROT_READ | PROT_WRITE);
    }
    char path[48];
    (void)snprintf(path, sizeof path, "/proc/%d/pagemap", (int)s->pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    double share = -1;
    if (fd >= 0 && read_from(s->pid, blocks, f.blocks, f.nr_blocks * sizeof *blocks) &&
        read_from(s->pid, versions, f.versions, f.shape->nr_pages * sizeof *versions))
        share = share_out(&f, blocks, versions, fd);
    if (fd >= 0)
        close(fd);
    return share;
}

/* ---- checking */

static void tell(struct field *f, const struct block *b, uint32_t i, const char *when)
{
    _Alignas(8) unsigned char is[PAGE_BYTES], was[PAGE_BYTES];
    memcpy(is, block_page(b, i), PAGE_BYTES);
    uint32_t page = b->first + i, version = f->versions[page];
    for (uint32_t v = version & ~VERSION_FREED, tries = 0; tries < 200; v--, tries++) {
        field_content(was, f->salt, page, v);
        if (memcmp(is, was, PAGE_BYTES) == 0) {
            stress_wrong(f->run, "%s: page %u reads as version %x, should be %x", when, page, v, version);
            return;
        }
        if (!v)
            break;
    }
    field_content(was, f->salt, page, version);
    unsigned nr = 0, first = 0;
    for (unsigned k = PAGE_BYTES; k-- > 0;)
        if (is[k] != was[k]) {
            nr++;
            first = k;
        }
    stress_wrong(f->run, "%s: page %u should be version %x; %u bytes differ, from byte %u on (%02x)",
                 when, page, version, nr, first, is[first]);
}

bool field_is_right(struct field *f, const struct block *b, uint32_t i)
{
    _Alignas(8) unsigned char expected[PAGE_BYTES];
    static const unsigned char zeros[PAGE_BYTES];
    uint32_t version = f->versions[b->first + i];
    field_content(expected, f->salt, b->first + i, version);
    return memcmp(expected, block_page(b, i), PAGE_BYTES) == 0 ||
           (version & VERSION_FREED && memcmp(zeros, block_page(b, i), PAGE_BYTES) == 0);
}

bool field_check(struct field *f, struct block *b, uint32_t i, const char *when)
{
    if (field_is_right(f, b, i))
        return true;
    tell(f, b, i, when);
    return false;
}

void field_write(struct field *f, struct block *b, uint32_t i)
{
    uint32_t *version = field_version(f, b, i);
    uint32_t before = *version & ~VERSION_FREED;
    if (!before) /* an old version must not look like a new one */
        before = atomic_fetch_add_explicit(&f->fresh, 37, memory_order_relaxed) & VERSION_COUNT;
    uint32_t next = (before & VERSION_FILE ? before & VERSION_COUNT : before) + 1;
    field_content(block_page(b, i), f->salt, b->first + i, next);
    *version = next;
}

void field_expect(struct field *f, struct block *b, uint32_t i, uint32_t version)
{
    f->versions[b->first + i] = version;
}

static void fill_part(void *ret_bytes, uint32_t salt, uint32_t page, unsigned part, uint32_t version)
{
    uint64_t *words = ret_bytes, state = mix(((uint64_t)version << 32 | page) * PARTS + part) + salt;
    for (unsigned i = 0; i < PAGE_BYTES / PARTS / sizeof *words; i++)
        words[i] = version ? mix(state + (i & ~7u)) : 0;
}

static void check_part(struct field *f, uint32_t page, unsigned part, const char *when)
{
    _Alignas(8) unsigned char expected[PAGE_BYTES / PARTS];
    const unsigned char *at = f->shared + pages_to_bytes(page) + part * sizeof expected;
    uint32_t version = f->parts[page][part];
    fill_part(expected, f->salt, page, part, version);
    if (memcmp(expected, at, sizeof expected) == 0)
        return;
    for (uint32_t v = version; v-- > 0 && v + 100 > version;) {
        fill_part(expected, f->salt, page, part, v);
        if (memcmp(expected, at, sizeof expected) == 0) {
            stress_wrong(f->run, "%s: part %u of shared page %u reads as version %u, should be %u",
                         when, part, page, v, version);
            return;
        }
    }
    stress_wrong(f->run, "%s: part %u of shared page %u is not version %u", when, part, page, version);
}

void field_check_all(struct client *c, const char *when)
{
    struct field *f = c->field;
    for (uint32_t i = 0; i < f->nr_blocks; i++) {
        struct block *b = &f->blocks[i];
        for (uint32_t p = 0; p < f->shape->block_pages; p++)
            field_check(f, b, p, when);
        progress_beat(&c->slot->threads[0], when);
    }
    for (uint32_t i = 0; i < f->shape->nr_shared; i++)
        for (unsigned part = 0; part < PARTS; part++)
            check_part(f, i, part, when);
}

/* ---- operations */

struct block *field_any_block(struct worker *w)
{
    struct field *f = w->client->field;
    uint32_t permille = atomic_load_explicit(&f->run->hot_permille, memory_order_relaxed);
    uint32_t nr = permille ? f->nr_blocks * permille / 1000 + 1 : f->nr_blocks;
    return &f->blocks[random_below(&w->random, nr < f->nr_blocks ? nr : f->nr_blocks)];
}

struct block *field_lock_any(struct worker *w, bool is_to_write)
{
    struct block *b = field_any_block(w);
    if (is_to_write ? pthread_rwlock_trywrlock(&b->lock) : pthread_rwlock_tryrdlock(&b->lock))
        return NULL;
    return b;
}

bool field_may_raise(struct field *f, uint32_t range)
{
    uint64_t now = now_ns(), next = atomic_load(&f->next_event_ns[range]);
    return now >= next &&
           atomic_compare_exchange_strong(&f->next_event_ns[range], &next, now + EVENT_PAUSE_NS);
}

/* While another thread discards, each word is of the version or zero. */
static void check_in_discard(struct field *f, struct block *b, uint32_t i, uint32_t version)
{
    uint64_t expected[RANDOM_WORDS];
    const volatile uint64_t *words = (void *)block_page(b, i);
    field_content(expected, f->salt, b->first + i, version);
    for (size_t k = 0; k < RANDOM_WORDS; k++) {
        uint64_t word = words[k];
        if (word && word != expected[k]) {
            stress_wrong(f->run, "beside a discard: page %u is neither version %x nor zero",
                         b->first + i, version);
            return;
        }
    }
}

/* Discards happen under the reader's lock, too: what was being discarded is looked at with less trust. */
bool op_read(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, false);
    if (!b)
        return false;
    for (int k = 0; k < 4; k++) {
        uint32_t i = random_below(&w->random, f->shape->block_pages);
        uint32_t before = atomic_load(&b->discards);
        uint32_t version = __atomic_load_n(field_version(f, b, i), __ATOMIC_ACQUIRE);
        if (!(before & 1) && field_is_right(f, b, i))
            continue;
        if (before & 1 || atomic_load(&b->discards) != before)
            check_in_discard(f, b, i, version);
        else
            tell(f, b, i, "read");
    }
    field_unlock(b);
    return true;
}

bool op_write(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, true);
    if (!b)
        return false;
    for (int k = 0; k < 4; k++)
        field_write(f, b, random_below(&w->random, f->shape->block_pages));
    field_unlock(b);
    return true;
}

/* One byte is enough to lose a page: written twice, so that the version stays what it is. */
bool op_write_word(struct worker *w)
{
    struct field *f = w->client->field;
    struct block *b = field_lock_any(w, true);
    if (!b)
        return false;
    uint32_t i = random_below(&w->random, f->shape->block_pages);
    if (!(*field_version(f, b, i) & VERSION_FREED)) {
        _Atomic uint64_t *word = (void *)(block_page(b, i) + 8 * random_below(&w->random, 512));
        (void)atomic_fetch_xor(word, 0x5555);
        (void)atomic_fetch_xor(word, 0x5555);
        field_check(f, b, i, "after a word was written twice");
    }
    field_unlock(b);
    return true;
}

/* No lock: up to eight threads at once in the page, each in its own eighth. */
bool op_shared(struct worker *w)
{
    struct field *f = w->client->field;
    unsigned part = w->index % PARTS;
    if (!f->shape->nr_shared || w->index >= PARTS)
        return false;
    uint32_t page = random_below(&w->random, f->shape->nr_shared);
    check_part(f, page, part, "without a lock");
    if (w->random >> 50 & 1)
        fill_part(f->shared + pages_to_bytes(page) + part * (PAGE_BYTES / PARTS), f->salt, page, part,
                  ++f->parts[page][part]);
    return true;
}

/* What the kernel's reclaim would do now and then: MOVE then reports errors for pages it has moved. Much at
 * a time, without a lock: it has to meet a page in the very moment in which it leaves. */
bool op_age(struct worker *w)
{
    struct field *f = w->client->field;
    size_t bytes = range_bytes(f);
    size_t at = pages_to_bytes(random_below(&w->random, (uint32_t)bytes_to_pages(bytes)));
    size_t nr = bytes - at < AGED_BYTES ? bytes - at : AGED_BYTES;
    (void)madvise(range_start(f, random_below(&w->random, f->shape->nr_ranges)) + at, nr, MADV_COLD);
    return true;
}

/* Others run meanwhile, the daemon among them. */
bool op_rest(struct worker *w)
{
    test_nap_us(random_below(&w->random, 5000));
    return true;
}
