/* page.c - see page.h. Every function is one row of the matrix in docs/page-lifecycle.md. */
#include "page/page.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mutant.h"

#define LOCATOR_MASK (((locator)1 << LOCATOR_BITS) - 1)

_Noreturn void invariant_broken(const char *what)
{
    static const char head[] = "process-pager: broken invariant, ending before bytes are lost: ";
    /* The agent has a descriptor table of its own, without the program's standard error: the main
     * thread's is reached by name. */
    int fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_CLOEXEC);
    fd = fd < 0 ? 2 : fd;
    ssize_t unused = write(fd, head, sizeof head - 1);
    unused = write(fd, what, strlen(what));
    unused = write(fd, "\n", 1);
    (void)unused; /* nobody left to tell */
    abort();
}

const char *page_state_name(enum page_state state)
{
    switch (state) {
    case PAGE_RESIDENT: return "RESIDENT";
    case PAGE_STAGED:   return "STAGED";
    case PAGE_STORED:   return "STORED";
    case PAGE_ZERO:     return "ZERO";
    case PAGE_POISONED: return "POISONED";
    case PAGE_STATE_NR: break;
    }
    return "?";
}

static enum page_state state_of(const struct page *p)
{
    return (enum page_state)p->state;
}

enum fault_answer page_on_missing_fault(const struct page *p)
{
    switch (state_of(p)) {
    case PAGE_RESIDENT: return ANSWER_ZERO_OR_WAKE;
    case PAGE_STAGED:   return ANSWER_MOVE_BACK;
    case PAGE_STORED:   return ANSWER_DECOMPRESS;
    case PAGE_ZERO:     return ANSWER_ZERO_PAGE;
    case PAGE_POISONED: return ANSWER_POISON;
    case PAGE_STATE_NR: break;
    }
    invariant_broken("page state");
}

/* One store of all eight bytes, after whatever the entry names: a touching thread of a direct pager
 * (src/direct) reads it at any time. */
static void set(struct page *p, struct page value)
{
    __atomic_store(p, &value, __ATOMIC_RELEASE);
}

struct page page_read(const struct page *p)
{
    struct page value;
    __atomic_load(p, &value, __ATOMIC_ACQUIRE);
    return value;
}

static void set_barred(struct page *p, bool is_barred)
{
    struct page value = *p;
    value.is_barred = is_barred;
    set(p, value);
}

static void set_squeezing(struct page *p, bool is_squeezing)
{
    struct page value = *p;
    value.is_squeezing = is_squeezing;
    set(p, value);
}

static void set_age(struct page *p, unsigned age)
{
    struct page value = *p;
    value.age = age & 7;
    set(p, value);
}

static void set_paged_out(struct page *p, bool is_paged_out)
{
    struct page value = *p;
    value.is_paged_out = is_paged_out;
    set(p, value);
}

/* What must be given up when the page stops being what it is; makes it a plain RESIDENT. */
static struct page_release become_resident(struct page *p)
{
    struct page_release release = { .kind = RELEASE_NOTHING };
    switch (state_of(p)) {
    case PAGE_STAGED:
        release = (struct page_release){ .kind = RELEASE_SLOT, .slot = (uint32_t)p->where };
        break;
    case PAGE_STORED:
        release = (struct page_release){ .kind = RELEASE_PLACE,
                                         .store = (unsigned)p->store,
                                         .place = p->where };
        break;
    case PAGE_RESIDENT:
    case PAGE_ZERO:
    case PAGE_POISONED:
        break;
    case PAGE_STATE_NR:
    default:
        invariant_broken("page state");
    }
    set(p, (struct page){ .state = PAGE_RESIDENT });
    return release;
}

struct page_release page_on_installed(struct page *p)
{
    return become_resident(p);
}

bool page_may_leave(const struct page *p)
{
    return p->state == PAGE_RESIDENT && !p->is_barred && !p->is_paged_out;
}

void page_on_moved(struct page *p, uint32_t slot)
{
    if (!page_may_leave(p))
        invariant_broken("a page was moved out that may not leave");
    set(p, (struct page){ .state = PAGE_STAGED, .where = slot });
}

void page_on_paged_out(struct page *p)
{
    if (!page_may_leave(p))
        invariant_broken("a page was paged out that may not leave");
    set_paged_out(p, true);
}

bool page_on_seen_back(struct page *p)
{
    bool was_out = p->is_paged_out;
    if (was_out)
        set_paged_out(p, false);
    return was_out;
}

static bool is_in_slot(const struct page *p, uint32_t slot)
{
    return p->state == PAGE_STAGED && p->where == slot;
}

bool page_on_stored(struct page *p, uint32_t slot, unsigned store, locator place)
{
    if (!is_in_slot(p, slot))
        return false;
    set(p, (struct page){ .state = PAGE_STORED, .store = store & 3, .where = place & LOCATOR_MASK });
    return true;
}

bool page_on_stored_zero(struct page *p, uint32_t slot)
{
    if (!is_in_slot(p, slot))
        return false;
    set(p, (struct page){ .state = PAGE_ZERO });
    return true;
}

unsigned page_on_lap(struct page *p)
{
    if (p->state == PAGE_STORED && p->age < PAGE_AGE_MAX)
        set_age(p, p->age + 1u);
    return p->age;
}

bool page_may_squeeze(const struct page *p)
{
    return p->state == PAGE_STORED && !p->is_squeezing;
}

void page_on_squeeze(struct page *p)
{
    if (!page_may_squeeze(p))
        invariant_broken("another place was asked for twice, or for a page that has none");
    set_squeezing(p, true);
}

/* Is it still the page that was asked for? The place alone does not say so: it may have been given
 * up and used again for the next bytes of the same page. */
static bool is_asked_for(const struct page *p, unsigned store, locator old)
{
    return p->state == PAGE_STORED && p->store == (store & 3) && p->where == old &&
           (p->is_squeezing || mutant_is(MUTANT_SQUEEZE_IGNORES_BIT));
}

bool page_on_squeezed(struct page *p, unsigned store, locator old, locator place)
{
    if (!is_asked_for(p, store, old))
        return false;
    bool is_moved_alone = locator_kind_of(place) == LOCATOR_LZ4 && locator_kind_of(old) == LOCATOR_LZ4;
    set(p, (struct page){ .state = PAGE_STORED, .store = store & 3, .where = place & LOCATOR_MASK,
                          .age = is_moved_alone ? p->age : 0 });
    return true;
}

void page_on_not_squeezed(struct page *p, unsigned store, locator old, enum page_stays why)
{
    if (!is_asked_for(p, store, old))
        return;
    set_squeezing(p, false);
    if (why != PAGE_STAYS_UNMOVED)
        set_age(p, why == PAGE_STAYS_DENSE ? PAGE_AGE_DENSE : 0);
}

struct page_release page_on_discard(struct page *p, bool is_present)
{
    struct page_release release = become_resident(p);
    set_barred(p, is_present);
    return release;
}

void page_on_seen_absent(struct page *p)
{
    if (p->state == PAGE_RESIDENT && p->is_barred)
        set_barred(p, false);
}

void page_on_bar_over(struct page *p)
{
    if (p->is_barred)
        set_barred(p, false);
}

struct page_release page_on_rekey(struct page *to, struct page *from)
{
    struct page_release release = become_resident(to);
    struct page moved = *from;
    moved.is_squeezing = 0;
    set(to, moved);
    set(from, (struct page){ .state = PAGE_RESIDENT });
    return release;
}

struct page_release page_on_lost(struct page *p)
{
    struct page_release release = become_resident(p);
    set(p, (struct page){ .state = PAGE_POISONED });
    return release;
}
