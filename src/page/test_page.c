/* The life of a page is the table in docs/page-lifecycle.md: every event in every state. Method:
 * the matrix stands here once as data; each cell is made by calling the real function on a page in
 * that state and writing down everything that came of it; then the table in the document is read
 * from the source tree and must say the same. So neither the code nor the document can change
 * alone.
 *
 * Also: nothing but the seven columns can be reached from a fresh page, whatever happens in whatever
 * order; a bar on a page that is out (which can't be) would keep nothing from coming back; every
 * event function in page.h has a row; and every mutant the document names is in mutant.def, and
 * each test it names for it stands in the list that the test runner works through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mutant.h"
#include "page/page.h"

/* ---- the columns */

enum column { RESIDENT, BARRED, PAGED_OUT, STAGED, STORED, SQUEEZING, ZERO, POISONED, COLUMNS_NR };
static const char *const column_names[COLUMNS_NR] = { "RESIDENT", "barred",    "paged out", "STAGED",
                                                      "STORED",   "squeezing", "ZERO",      "POISONED" };

/* Where a page is before an event, and where the event's own numbers would put it. */
struct numbers {
    uint32_t slot;
    unsigned store;
    locator place;
};
static const struct numbers old_numbers = { .slot = 7, .store = 2, .place = 0x4567 };
static const struct numbers new_numbers = { .slot = 9, .store = 1, .place = 0x1234 };

static struct page page_in(enum column c, const struct numbers *n)
{
    switch (c) {
    case RESIDENT:   return (struct page){ .state = PAGE_RESIDENT };
    case BARRED:     return (struct page){ .state = PAGE_RESIDENT, .is_barred = 1 };
    case PAGED_OUT:  return (struct page){ .state = PAGE_RESIDENT, .is_paged_out = 1 };
    case STAGED:     return (struct page){ .state = PAGE_STAGED, .where = n->slot };
    case STORED:
    case SQUEEZING:
        return (struct page){ .state = PAGE_STORED,
                              .is_squeezing = c == SQUEEZING,
                              .store = n->store & 3,
                              .where = n->place & (((locator)1 << LOCATOR_BITS) - 1) };
    case ZERO:       return (struct page){ .state = PAGE_ZERO };
    case POISONED:   return (struct page){ .state = PAGE_POISONED };
    case COLUMNS_NR: break;
    }
    abort();
}

/* But for the age, which is no part of what a page is. */
static bool is_same(struct page a, struct page b)
{
    a.age = b.age = 0;
    return memcmp(&a, &b, sizeof a) == 0;
}

static const char *column_of(struct page p, const struct numbers *n)
{
    for (enum column c = 0; c < COLUMNS_NR; c++)
        if (is_same(p, page_in(c, n)))
            return column_names[c];
    return "none of the columns";
}

/* ---- the rows: what came of an event, in the words of the table */

struct cell {
    char text[64];
};

static struct cell cell_of(const char *text)
{
    struct cell c;
    (void)snprintf(c.text, sizeof c.text, "%s", text);
    return c;
}

static void add(struct cell *c, const char *text)
{
    size_t used = strlen(c->text);
    (void)snprintf(c->text + used, sizeof c->text - used, "%s%s", used ? ", " : "", text);
}

static void add_release(struct cell *c, struct page_release r)
{
    switch (r.kind) {
    case RELEASE_NOTHING: return;
    case RELEASE_SLOT:    add(c, r.slot == old_numbers.slot ? "slot" : "wrong slot"); return;
    case RELEASE_PLACE:
        add(c,
            r.place != old_numbers.place || r.store != old_numbers.store ? "wrong place" : "place");
        return;
    }
    add(c, "unknown release");
}

static struct cell became(struct page before, struct page after)
{
    return cell_of(is_same(before, after) ? "same" : column_of(after, &new_numbers));
}

static struct cell became_and_released(struct page before, struct page after, struct page_release r)
{
    struct cell c = became(before, after);
    add_release(&c, r);
    return c;
}

static struct cell missing_fault(struct page p)
{
    switch (page_on_missing_fault(&p)) {
    case ANSWER_ZERO_OR_WAKE: return cell_of("ZERO_OR_WAKE");
    case ANSWER_ZERO_PAGE:    return cell_of("ZERO_PAGE");
    case ANSWER_MOVE_BACK:    return cell_of("MOVE_BACK");
    case ANSWER_DECOMPRESS:   return cell_of("DECOMPRESS");
    case ANSWER_POISON:       return cell_of("POISON");
    }
    return cell_of("unknown answer");
}

static struct cell installed(struct page p)
{
    struct page before = p;
    struct page_release r = page_on_installed(&p);
    return became_and_released(before, p, r);
}

static struct cell may_leave(struct page p)
{
    return cell_of(page_may_leave(&p) ? "yes" : "no");
}

/* In a child, because a page that may not become that ends the process. */
static struct cell has_left(struct page p, enum column to)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        (void)dup2(null, 2);
        (void)signal(SIGABRT, SIG_DFL); /* cmocka's handler is not for the child */
        if (to == STAGED)
            page_on_moved(&p, new_numbers.slot);
        else if (to == PAGED_OUT)
            page_on_paged_out(&p);
        else
            page_on_squeeze(&p);
        _exit(is_same(p, page_in(to, to == SQUEEZING ? &old_numbers : &new_numbers)) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
        return cell_of("ends");
    return cell_of(WIFEXITED(status) && WEXITSTATUS(status) == 0 ? column_names[to] : "broken");
}

static struct cell moved(struct page p)
{
    return has_left(p, STAGED);
}

static struct cell paged_out(struct page p)
{
    return has_left(p, PAGED_OUT);
}

static struct cell seen_back(struct page p)
{
    struct page before = p;
    bool was_out = page_on_seen_back(&p);
    struct cell c = became(before, p);
    add(&c, was_out ? "yes" : "no");
    return c;
}

static struct cell stored_in(struct page p, uint32_t slot)
{
    struct page before = p;
    bool is_taken = page_on_stored(&p, slot, new_numbers.store, new_numbers.place);
    struct cell c = became(before, p);
    add(&c, is_taken ? "yes" : "no");
    return c;
}

static struct cell stored_zero_in(struct page p, uint32_t slot)
{
    struct page before = p;
    bool is_taken = page_on_stored_zero(&p, slot);
    struct cell c = became(before, p);
    add(&c, is_taken ? "yes" : "no");
    return c;
}

/* The number that stands in the page, slot or not: its state must be asked, too. */
static struct cell stored_its_slot(struct page p)
{
    return stored_in(p, (uint32_t)p.where);
}

static struct cell stored_another_slot(struct page p)
{
    return stored_in(p, (uint32_t)p.where + 1);
}

static struct cell stored_zero_its_slot(struct page p)
{
    return stored_zero_in(p, (uint32_t)p.where);
}

static struct cell stored_zero_another_slot(struct page p)
{
    return stored_zero_in(p, (uint32_t)p.where + 1);
}

static struct cell lap(struct page p)
{
    struct page before = p;
    unsigned age = page_on_lap(&p);
    struct cell c = became(before, p);
    add(&c, age == 0 ? "0" : age == 1 ? "1" : "wrong age");
    return c;
}

static struct cell may_squeeze(struct page p)
{
    return cell_of(page_may_squeeze(&p) ? "yes" : "no");
}

static struct cell squeeze(struct page p)
{
    return has_left(p, SQUEEZING);
}

static struct cell squeezed(struct page p, unsigned store, locator old)
{
    struct page before = p;
    bool is_taken = page_on_squeezed(&p, store, old, new_numbers.place);
    struct numbers now = { .store = old_numbers.store, .place = new_numbers.place };
    struct cell c = cell_of(is_same(before, p) ? "same" : column_of(p, &now));
    add(&c, is_taken ? "yes" : "no");
    return c;
}

/* The numbers that stand in the page, stored or not: its state must be asked, too. */
static struct cell squeezed_its_place(struct page p)
{
    return squeezed(p, (unsigned)p.store, p.where);
}

static struct cell squeezed_another_place(struct page p)
{
    return squeezed(p, (unsigned)p.store, p.where + 8);
}

static struct cell squeezed_another_store(struct page p)
{
    return squeezed(p, (unsigned)p.store ^ 1, p.where);
}

static struct cell not_squeezed(struct page p, locator old)
{
    struct page before = p, dense = p;
    page_on_not_squeezed(&p, (unsigned)p.store, old, PAGE_STAYS_LOOSE);
    page_on_not_squeezed(&dense, (unsigned)dense.store, old, PAGE_STAYS_DENSE);
    if (!is_same(dense, p) || p.age != 0 || (dense.age && dense.age != PAGE_AGE_DENSE))
        return cell_of("broken");
    return cell_of(is_same(before, p) ? "same" : column_of(p, &old_numbers));
}

static struct cell not_squeezed_its_place(struct page p)
{
    return not_squeezed(p, p.where);
}

static struct cell not_squeezed_another_place(struct page p)
{
    return not_squeezed(p, p.where + 8);
}

static struct cell discard_absent(struct page p)
{
    struct page before = p;
    struct page_release r = page_on_discard(&p, false);
    return became_and_released(before, p, r);
}

static struct cell discard_present(struct page p)
{
    struct page before = p;
    struct page_release r = page_on_discard(&p, true);
    return became_and_released(before, p, r);
}

static struct cell seen_absent(struct page p)
{
    struct page before = p;
    page_on_seen_absent(&p);
    return became(before, p);
}

static struct cell bar_over(struct page p)
{
    struct page before = p;
    page_on_bar_over(&p);
    return became(before, p);
}

/* What `to` becomes: all that `from` was. It held each of these things before. */
static struct cell rekey_from(struct page p)
{
    for (enum column c = 0; c < COLUMNS_NR; c++) {
        struct page to = page_in(c, &new_numbers), from = p;
        (void)page_on_rekey(&to, &from);
        struct page moved_page = p;
        moved_page.is_squeezing = 0;
        if (!is_same(to, moved_page) || to.age != p.age || !is_same(from, page_in(RESIDENT, &new_numbers)))
            return cell_of("broken");
        if (c == COLUMNS_NR - 1)
            return cell_of(column_of(to, &old_numbers));
    }
    return cell_of("broken");
}

/* What `to` held is released, whatever comes there instead. */
static struct cell rekey_to(struct page p)
{
    struct cell first = cell_of("");
    for (enum column c = 0; c < COLUMNS_NR; c++) {
        struct page from = page_in(c, &new_numbers), to = p;
        struct cell now = cell_of("");
        add_release(&now, page_on_rekey(&to, &from));
        if (c && strcmp(now.text, first.text))
            return cell_of("broken");
        first = now;
    }
    return first.text[0] ? first : cell_of("nothing");
}

static struct cell lost(struct page p)
{
    struct page before = p;
    struct page_release r = page_on_lost(&p);
    return became_and_released(before, p, r);
}

static const struct row {
    const char *event;
    struct cell (*happen)(struct page p);
    const char *cells[COLUMNS_NR];
} matrix[] = {
    /* clang-format off */
    /*                                                   RESIDENT        barred          paged out        STAGED            STORED             squeezing          ZERO         POISONED */
    { "page_on_missing_fault", missing_fault,          { "ZERO_OR_WAKE", "ZERO_OR_WAKE", "ZERO_OR_WAKE",  "MOVE_BACK",      "DECOMPRESS",      "DECOMPRESS",      "ZERO_PAGE", "POISON" } },
    { "page_on_installed", installed,                  { "same",         "RESIDENT",     "RESIDENT",      "RESIDENT, slot", "RESIDENT, place", "RESIDENT, place", "RESIDENT",  "RESIDENT" } },
    { "page_may_leave", may_leave,                     { "yes",          "no",           "no",            "no",             "no",              "no",              "no",        "no" } },
    { "page_on_moved", moved,                          { "STAGED",       "ends",         "ends",          "ends",           "ends",            "ends",            "ends",      "ends" } },
    { "page_on_paged_out", paged_out,                  { "paged out",    "ends",         "ends",          "ends",           "ends",            "ends",            "ends",      "ends" } },
    { "page_on_seen_back", seen_back,                  { "same, no",     "same, no",     "RESIDENT, yes", "same, no",       "same, no",        "same, no",        "same, no",  "same, no" } },
    { "page_on_stored, its slot", stored_its_slot,     { "same, no",     "same, no",     "same, no",      "STORED, yes",    "same, no",        "same, no",        "same, no",  "same, no" } },
    { "page_on_stored, another slot", stored_another_slot,
                                                       { "same, no",     "same, no",     "same, no",      "same, no",       "same, no",        "same, no",        "same, no",  "same, no" } },
    { "page_on_stored_zero, its slot", stored_zero_its_slot,
                                                       { "same, no",     "same, no",     "same, no",      "ZERO, yes",      "same, no",        "same, no",        "same, no",  "same, no" } },
    { "page_on_stored_zero, another slot", stored_zero_another_slot,
                                                       { "same, no",     "same, no",     "same, no",      "same, no",       "same, no",        "same, no",        "same, no",  "same, no" } },
    { "page_on_lap", lap,                              { "same, 0",      "same, 0",      "same, 0",       "same, 0",        "same, 1",         "same, 1",         "same, 0",   "same, 0" } },
    { "page_may_squeeze", may_squeeze,                 { "no",           "no",           "no",            "no",             "yes",             "no",              "no",        "no" } },
    { "page_on_squeeze", squeeze,                      { "ends",         "ends",         "ends",          "ends",           "squeezing",       "ends",            "ends",      "ends" } },
    { "page_on_squeezed, its place", squeezed_its_place,
                                                       { "same, no",     "same, no",     "same, no",      "same, no",       "same, no",        "STORED, yes",     "same, no",  "same, no" } },
    { "page_on_squeezed, another place", squeezed_another_place,
                                                       { "same, no",     "same, no",     "same, no",      "same, no",       "same, no",        "same, no",        "same, no",  "same, no" } },
    { "page_on_squeezed, another store", squeezed_another_store,
                                                       { "same, no",     "same, no",     "same, no",      "same, no",       "same, no",        "same, no",        "same, no",  "same, no" } },
    { "page_on_not_squeezed, its place", not_squeezed_its_place,
                                                       { "same",         "same",         "same",          "same",           "same",            "STORED",          "same",      "same" } },
    { "page_on_not_squeezed, another place", not_squeezed_another_place,
                                                       { "same",         "same",         "same",          "same",           "same",            "same",            "same",      "same" } },
    { "page_on_discard, absent", discard_absent,       { "same",         "RESIDENT",     "RESIDENT",      "RESIDENT, slot", "RESIDENT, place", "RESIDENT, place", "RESIDENT",  "RESIDENT" } },
    { "page_on_discard, present", discard_present,     { "barred",       "same",         "barred",        "barred, slot",   "barred, place",   "barred, place",   "barred",    "barred" } },
    { "page_on_seen_absent", seen_absent,              { "same",         "RESIDENT",     "same",          "same",           "same",            "same",            "same",      "same" } },
    { "page_on_bar_over", bar_over,                    { "same",         "RESIDENT",     "same",          "same",           "same",            "same",            "same",      "same" } },
    { "page_on_rekey, from", rekey_from,               { "RESIDENT",     "barred",       "paged out",     "STAGED",         "STORED",          "STORED",          "ZERO",      "POISONED" } },
    { "page_on_rekey, to", rekey_to,                   { "nothing",      "nothing",      "nothing",       "slot",           "place",           "place",           "nothing",   "nothing" } },
    { "page_on_lost", lost,                            { "POISONED",     "POISONED",     "POISONED",      "POISONED, slot", "POISONED, place", "POISONED, place", "POISONED",  "same" } },
    /* clang-format on */
};
#define ROWS_NR (sizeof matrix / sizeof *matrix)

static void each_event_in_each_state_does_what_the_matrix_says(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (const struct row *row = matrix; row < matrix + ROWS_NR; row++)
        for (enum column c = 0; c < COLUMNS_NR; c++) {
            struct cell is = row->happen(page_in(c, &old_numbers));
            if (!strcmp(is.text, row->cells[c]))
                continue;
            print_error("%s of a page that is %s: \"%s\", should be \"%s\"\n", row->event,
                        column_names[c], is.text, row->cells[c]);
            wrong++;
        }
    assert_int_equal(wrong, 0);
}

/* ---- a bar stands only on RESIDENT pages, and there it never keeps a page out */

/* All pages that anything can lead to, with two slots, two stores and two places to choose from. */
struct reached {
    struct page pages[256];
    unsigned nr;
};

static void reach(struct reached *r, struct page p)
{
    for (unsigned i = 0; i < r->nr; i++)
        if (is_same(r->pages[i], p))
            return;
    assert_true(r->nr < sizeof r->pages / sizeof *r->pages);
    r->pages[r->nr++] = p;
}

static void reach_all_from(struct reached *r, struct page p)
{
    struct page after = p;
    (void)page_on_installed(&after);
    reach(r, after);
    const struct numbers *ns[] = { &old_numbers, &new_numbers };
    for (unsigned i = 0; i < 2; i++) {
        after = p;
        if (page_may_leave(&p))
            page_on_moved(&after, ns[i]->slot);
        reach(r, after);
        after = p;
        if (page_may_leave(&p))
            page_on_paged_out(&after);
        reach(r, after);
        after = p;
        (void)page_on_seen_back(&after);
        reach(r, after);
        for (unsigned j = 0; j < 2; j++) {
            after = p;
            (void)page_on_stored(&after, ns[i]->slot, ns[j]->store, ns[j]->place);
            reach(r, after);
        }
        after = p;
        (void)page_on_stored_zero(&after, ns[i]->slot);
        reach(r, after);
        after = p;
        (void)page_on_discard(&after, i);
        reach(r, after);
    }
    after = p;
    page_on_seen_absent(&after);
    reach(r, after);
    after = p;
    page_on_bar_over(&after);
    reach(r, after);
    after = p;
    (void)page_on_lap(&after);
    reach(r, after);
    after = p;
    if (page_may_squeeze(&p))
        page_on_squeeze(&after);
    reach(r, after);
    for (unsigned i = 0; i < 2; i++) {
        after = p;
        (void)page_on_squeezed(&after, (unsigned)p.store, p.where, ns[i]->place);
        reach(r, after);
        after = p;
        page_on_not_squeezed(&after, (unsigned)p.store, p.where, (enum page_stays)i);
        reach(r, after);
    }
    after = p;
    (void)page_on_lost(&after);
    reach(r, after);
    for (unsigned i = 0, nr = r->nr; i < nr; i++) {
        struct page to = r->pages[i], from = p;
        (void)page_on_rekey(&to, &from);
        reach(r, to);
        reach(r, from);
    }
}

static void nothing_but_the_columns_can_be_reached(void **state)
{
    (void)state;
    struct reached r = { 0 };
    reach(&r, (struct page){ 0 });
    for (unsigned i = 0; i < r.nr; i++)
        reach_all_from(&r, r.pages[i]);
    bool is_seen[COLUMNS_NR] = { false };
    for (unsigned i = 0; i < r.nr; i++) {
        struct page p = r.pages[i];
        enum column c = p.is_barred ? BARRED : p.is_paged_out ? PAGED_OUT : RESIDENT;
        if (p.state != PAGE_RESIDENT)
            c = (enum column[]){ RESIDENT, STAGED, STORED, ZERO, POISONED }[p.state];
        if (p.is_squeezing)
            c = SQUEEZING;
        assert_true(p.state == PAGE_STORED || !p.age);
        is_seen[c] = true;
        struct numbers own = { .slot = (uint32_t)p.where, .store = p.store, .place = p.where };
        assert_string_equal(column_of(p, &own), column_names[c]); /* no other bit */
    }
    for (enum column c = 0; c < COLUMNS_NR; c++)
        assert_true(is_seen[c]);
    /* Two slots to be staged in; two places to be stored at, in two stores each after a squeeze. */
    assert_int_equal(r.nr, 5 + 2 + 2 * 4);
}

/* It can't be (the test above); if it were, the touch would be answered all the same. */
static void a_bar_keeps_nothing_from_coming_back(void **state)
{
    (void)state;
    for (enum column c = STAGED; c < COLUMNS_NR; c++) {
        struct page plain = page_in(c, &old_numbers), barred = plain;
        barred.is_barred = 1;
        assert_int_equal(page_on_missing_fault(&barred), page_on_missing_fault(&plain));
        assert_string_equal(installed(barred).text, installed(plain).text);
        assert_string_equal(discard_absent(barred).text, discard_absent(plain).text);
        assert_string_equal(discard_present(barred).text, discard_present(plain).text);
        if (c == STAGED) {
            assert_string_equal(stored_its_slot(barred).text, stored_its_slot(plain).text);
            assert_string_equal(stored_zero_its_slot(barred).text,
                                stored_zero_its_slot(plain).text);
        }
        assert_false(page_may_leave(&barred));
        page_on_bar_over(&barred);
        assert_true(is_same(barred, plain));
    }
}

static void the_names_of_states_are_the_columns(void **state)
{
    (void)state;
    for (enum column c = 0; c < COLUMNS_NR; c++)
        if (c != BARRED && c != PAGED_OUT && c != SQUEEZING)
            assert_string_equal(page_state_name((enum page_state)page_in(c, &old_numbers).state),
                                column_names[c]);
}

/* It decides when to ask for a denser place; nothing inherits it, and it ends at its most. */
static void the_age_is_of_a_stored_page_only(void **state)
{
    (void)state;
    struct page p = page_in(STORED, &old_numbers);
    for (unsigned i = 1; i < 20; i++)
        assert_int_equal(page_on_lap(&p), i < PAGE_AGE_MAX ? i : PAGE_AGE_MAX);
    struct page q = p;
    page_on_squeeze(&q);
    assert_int_equal(q.age, PAGE_AGE_MAX);
    page_on_not_squeezed(&q, old_numbers.store, old_numbers.place, PAGE_STAYS_UNMOVED);
    assert_int_equal(q.age, PAGE_AGE_MAX);
    page_on_squeeze(&q);
    page_on_not_squeezed(&q, old_numbers.store, old_numbers.place, PAGE_STAYS_DENSE);
    assert_int_equal(q.age, PAGE_AGE_DENSE);
    assert_int_equal(page_on_lap(&q), PAGE_AGE_DENSE); /* for good */
    assert_true(page_may_squeeze(&q));                 /* but it may be moved */
    page_on_squeeze(&q);
    assert_true(page_on_squeezed(&q, old_numbers.store, old_numbers.place, new_numbers.place));
    assert_int_equal(q.age, 0);
    struct page to = page_in(RESIDENT, &old_numbers), from = p;
    (void)page_on_rekey(&to, &from);
    assert_int_equal(to.age, PAGE_AGE_MAX);
    assert_int_equal(from.age, 0);
    for (unsigned i = 0; i < 3; i++) {
        q = p;
        if (i == 0)
            (void)page_on_installed(&q);
        else if (i == 1)
            (void)page_on_discard(&q, true);
        else
            (void)page_on_lost(&q);
        assert_int_equal(q.age, 0);
    }
}

/* A blob of its own that has only been moved is as old as before. What is left of a group is not: it may join
 * others, whatever was said of it. */
static void a_blob_that_is_moved_stays_as_old(void **state)
{
    (void)state;
    const locator lz4[] = { locator_make(LOCATOR_LZ4, 4096, 2000), locator_make(LOCATOR_LZ4, 8192, 2000) };
    const locator zstd[] = { locator_make_group(4096, 4000, 1), locator_make_group(8192, 4000, 1) };
    const struct { locator old, now; bool is_kept; } cases[] = {
        { lz4[0], lz4[1], true }, { lz4[0], zstd[1], false }, { zstd[0], lz4[1], false }, { zstd[0], zstd[1], false }
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct page p = page_in(STORED, &old_numbers);
        p.where = cases[i].old & (((locator)1 << LOCATOR_BITS) - 1);
        p.age = PAGE_AGE_DENSE;
        page_on_squeeze(&p);
        assert_true(page_on_squeezed(&p, old_numbers.store, cases[i].old, cases[i].now));
        assert_int_equal(p.age, cases[i].is_kept ? PAGE_AGE_DENSE : 0);
    }
}

/* ---- the document and the list of mutants, from the source tree */

#define DEPTH 3 /* src/page/test_page.c */

/* The compiler was told this file's name as seen from the build directory, which is the one the
 * test program lies in, or one above it. */
static char *read_source_file(const char *path)
{
    char own[512];
    (void)snprintf(own, sizeof own, "%s", __FILE__);
    for (int i = 0; i < DEPTH; i++) {
        char *slash = strrchr(own, '/');
        if (!slash) {
            (void)snprintf(own, sizeof own, ".");
            break;
        }
        *slash = 0;
    }
    char directory[512];
    ssize_t n = readlink("/proc/self/exe", directory, sizeof directory - 1);
    assert_true(n > 0);
    directory[n] = 0;
    FILE *f = NULL;
    for (char *slash; !f && (slash = strrchr(directory, '/')) && slash != directory;) {
        *slash = 0;
        char name[1200];
        (void)snprintf(name, sizeof name, "%s%s%s/%s", own[0] == '/' ? "" : directory,
                       own[0] == '/' ? "" : "/", own, path);
        f = fopen(name, "r");
    }
    if (!f)
        fail_msg("%s is not to be found from %s", path, __FILE__);
    enum { CAPACITY = 1 << 18 };
    char *text = malloc(CAPACITY);
    assert_non_null(text);
    size_t size = fread(text, 1, CAPACITY - 1, f);
    assert_true(size < CAPACITY - 1);
    text[size] = 0;
    (void)fclose(f);
    return text;
}

/* The cells of one line of a Markdown table, without marks and blanks around them. */
#define CELLS_MAX 10
static unsigned split_row(const char *line, char cells[CELLS_MAX][128])
{
    unsigned nr = 0;
    if (*line != '|')
        return 0;
    while (*line == '|' && line[1] && line[1] != '\n' && nr < CELLS_MAX) {
        size_t at = 0;
        for (line++; *line && *line != '|' && *line != '\n'; line++)
            if (*line != '`' && at < 127 && !(at == 0 && *line == ' '))
                cells[nr][at++] = *line;
        while (at && cells[nr][at - 1] == ' ')
            at--;
        cells[nr++][at] = 0;
    }
    return nr;
}

/* The line after this one, or NULL. */
static const char *next_line(const char *line)
{
    line = strchr(line, '\n');
    return line && line[1] ? line + 1 : NULL;
}

static void compare_row(const char *line, bool *is_in_document)
{
    char cells[CELLS_MAX][128];
    unsigned nr = split_row(line, cells);
    for (unsigned i = 0; i < ROWS_NR; i++) {
        if (strcmp(cells[0], matrix[i].event))
            continue;
        assert_int_equal(nr, COLUMNS_NR + 1);
        assert_false(is_in_document[i]);
        is_in_document[i] = true;
        for (enum column c = 0; c < COLUMNS_NR; c++)
            if (strcmp(cells[c + 1], matrix[i].cells[c]))
                fail_msg("the document says \"%s\" for %s of a page that is %s; it is \"%s\"",
                         cells[c + 1], cells[0], column_names[c], matrix[i].cells[c]);
        return;
    }
    fail_msg("docs/page-lifecycle.md has a row \"%s\" that is no event", cells[0]);
}

static void the_document_has_the_same_matrix(void **state)
{
    (void)state;
    char *text = read_source_file("docs/page-lifecycle.md");
    const char *line = strstr(text, "\n| event |");
    assert_non_null(line);
    line++;
    char cells[CELLS_MAX][128];
    assert_int_equal(split_row(line, cells), COLUMNS_NR + 1);
    for (enum column c = 0; c < COLUMNS_NR; c++)
        assert_string_equal(cells[c + 1], column_names[c]);
    bool is_in_document[ROWS_NR] = { false };
    line = next_line(next_line(line)); /* past the rule below the head */
    for (; line && *line == '|'; line = next_line(line))
        compare_row(line, is_in_document);
    for (unsigned i = 0; i < ROWS_NR; i++)
        if (!is_in_document[i])
            fail_msg("docs/page-lifecycle.md has no row for %s", matrix[i].event);
    free(text);
}

static bool has_row(const char *function, size_t length)
{
    for (unsigned i = 0; i < ROWS_NR; i++)
        if (!strncmp(matrix[i].event, function, length) &&
            (!matrix[i].event[length] || matrix[i].event[length] == ','))
            return true;
    return false;
}

static void every_event_of_the_header_has_a_row(void **state)
{
    (void)state;
    char *text = read_source_file("src/page/page.h");
    unsigned nr = 0;
    for (const char *at = text; (at = strstr(at, "page_")); at++) {
        size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz_");
        bool is_event = !strncmp(at, "page_on_", 8) || !strncmp(at, "page_may_", 9);
        if (!is_event || at[length] != '(')
            continue;
        nr++;
        if (!has_row(at, length))
            fail_msg("%.*s() has no row in the matrix", (int)length, at);
    }
    assert_int_equal(nr, 18);
    free(text);
}

static bool is_mutant(const char *name)
{
    static const char *const names[] = {
#define MUTANT(mutant, rule, text) #mutant,
#include "base/mutant.def"
#undef MUTANT
    };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

/* Is the pair a line of the list? The runner knows test_x and x for one. */
static bool is_listed(const char *list, const char *mutant, const char *test)
{
    for (const char *line = list; line; line = next_line(line)) {
        char words[2][64];
        if (sscanf(line, "%63s %63s", words[0], words[1]) == 2 && !strcmp(words[0], mutant) &&
            !strcmp(words[1] + (strncmp(test, "test_", 5) && !strncmp(words[1], "test_", 5) ? 5 : 0),
                    test))
            return true;
    }
    return false;
}

static void the_mutants_of_the_document_are_run(void **state)
{
    (void)state;
    char *text = read_source_file("docs/page-lifecycle.md");
    char *list = read_source_file("tests/mutants.txt");
    const char *line = strstr(text, "\n| mutant |");
    assert_non_null(line);
    unsigned nr = 0;
    for (line = next_line(next_line(line + 1)); line && *line == '|'; line = next_line(line)) {
        char cells[CELLS_MAX][128];
        assert_int_equal(split_row(line, cells), 4);
        if (!is_mutant(cells[0]))
            fail_msg("docs/page-lifecycle.md names a mutant %s that there is not", cells[0]);
        char *rest = cells[3];
        for (char *test; (test = strtok_r(rest, ", ", &rest)); nr++)
            if (!is_listed(list, cells[0], test))
                fail_msg("the document says that %s catches %s: tests/mutants.txt does not",
                         test, cells[0]);
    }
    assert_true(nr > 0);
    free(list);
    free(text);
}

int main(void)
{
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }); /* moved() lets children end */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_in_each_state_does_what_the_matrix_says),
        cmocka_unit_test(nothing_but_the_columns_can_be_reached),
        cmocka_unit_test(a_bar_keeps_nothing_from_coming_back),
        cmocka_unit_test(the_names_of_states_are_the_columns),
        cmocka_unit_test(the_age_is_of_a_stored_page_only),
        cmocka_unit_test(a_blob_that_is_moved_stays_as_old),
        cmocka_unit_test(the_document_has_the_same_matrix),
        cmocka_unit_test(every_event_of_the_header_has_a_row),
        cmocka_unit_test(the_mutants_of_the_document_are_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
