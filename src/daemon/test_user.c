/* One user's ceilings are sums over its sessions, and are given back; the daemon's own user has none.
 * Method: plain calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "daemon/limits.h"
#include "daemon/user.h"

#define SOMEBODY ((uid_t)4321)

static const struct user_share nothing;

static struct user *enter(uid_t uid)
{
    struct user *u = user_enter(uid);
    assert_non_null(u);
    return u;
}

static void connections_are_counted_for_each_user(void **state)
{
    (void)state;
    struct user *u = NULL, *other;
    for (unsigned i = 0; i < USER_SESSIONS_MAX; i++) {
        u = enter(SOMEBODY);
        assert_false(user_has_too_many(u));
    }
    assert_ptr_equal(enter(SOMEBODY), u);
    assert_true(user_has_too_many(u));
    other = enter(SOMEBODY + 1);
    assert_ptr_not_equal(other, u);
    assert_false(user_has_too_many(other));
    user_leave(other, &nothing, 0);
    user_leave(u, &nothing, 0);
    assert_false(user_has_too_many(u));
    for (unsigned i = 0; i < USER_SESSIONS_MAX; i++)
        user_leave(u, &nothing, 0);
}

static void pages_and_ranges_add_up_and_are_given_back(void **state)
{
    (void)state;
    struct user *u = enter(SOMEBODY);
    (void)enter(SOMEBODY);
    struct user_share a = { 0 }, b = { 0 };
    assert_true(user_count(u, &a, USER_PAGES_MAX - 10, 1000));
    assert_true(user_count(u, &b, 10, 1000));
    assert_false(user_count(u, &b, 11, 1000));
    assert_true(user_count(u, &a, 5, 1000)); /* the other one needs less now */
    assert_true(user_count(u, &b, 11, USER_RANGE_BYTES_MAX - 1000));
    assert_false(user_count(u, &a, 5, 1001));
    user_leave(u, &b, 0);
    assert_int_equal(u->nr_pages, 5);
    assert_int_equal(u->range_bytes, 1001);
    user_leave(u, &a, 0);
}

static void a_store_is_full_when_all_stores_of_the_user_are(void **state)
{
    (void)state;
    struct user *u = enter(SOMEBODY);
    (void)enter(SOMEBODY);
    user_hold(u, 700);
    assert_true(user_may_put(u, 1000));
    user_hold(u, 400);
    assert_false(user_may_put(u, 1000));
    user_hold(u, -101);
    assert_true(user_may_put(u, 1000));
    user_hold(u, 101);
    user_leave(u, &nothing, 400); /* a session ends, and its store with it */
    assert_true(user_may_put(u, 1000));
    user_leave(u, &nothing, 700);
}

static void who_talks_too_much_waits(void **state)
{
    (void)state;
    struct user *u = enter(SOMEBODY);
    uint64_t now = now_ns();
    assert_true(user_may_speak(u, now));
    unsigned nr = 0;
    while (user_may_speak(u, now) && nr < 10000000) {
        user_pay(u, USER_MESSAGE_NS, 1);
        nr++;
    }
    assert_in_range(nr, USER_BURST_NS / USER_MESSAGE_NS, USER_BURST_NS / USER_MESSAGE_NS + 1);
    assert_false(user_may_speak(u, now));
    unsigned later = 0; /* of the next second: a quarter */
    for (unsigned ms = 1; ms <= 1000; ms++)
        while (user_may_speak(u, now + ms * NS_PER_MS)) {
            user_pay(u, USER_MESSAGE_NS, 2);
            later++;
        }
    assert_in_range(later, 49000, 51000);
    user_pay(u, 60 * NS_PER_S, 3); /* connections are not kept waiting, and cost all the same */
    assert_false(user_may_speak(u, now + 2900 * NS_PER_MS));
    assert_true(user_may_speak(u, now + 3100 * NS_PER_MS));
    assert_true(user_may_speak(u, now + 3600 * NS_PER_S)); /* an hour of silence is no more than a burst */
    assert_true(u->ns_left <= (int64_t)USER_BURST_NS);
    user_leave(u, &nothing, 0);
}

static void a_turn_has_an_end(void **state)
{
    (void)state;
    struct user *u = enter(SOMEBODY);
    assert_true(user_has_turn(u, 7));
    user_pay(u, USER_TURN_NS - 1, 7);
    assert_true(user_has_turn(u, 7));
    user_pay(u, 1, 7);
    assert_false(user_has_turn(u, 7));
    assert_true(user_has_turn(u, 8));
    user_leave(u, &nothing, 0);
}

static void sessions_share_their_users_turns(void **state)
{
    (void)state;
    struct user *u = enter(SOMEBODY), *other = enter(SOMEBODY + 1);
    for (unsigned i = 0; i < USER_COMPRESS_TURNS; i++)
        assert_true(user_may_compress(u, 5));
    assert_false(user_may_compress(u, 5));
    assert_true(user_may_compress(other, 5));
    assert_true(user_may_compress(u, 6));
    user_leave(u, &nothing, 0);
    user_leave(other, &nothing, 0);
}

static void a_flood_is_none_in_the_log(void **state)
{
    (void)state;
    struct user *u = enter(SOMEBODY);
    assert_true(user_may_log(u, 5000));
    assert_false(user_may_log(u, 5999));
    assert_true(user_may_log(u, 6000));
    user_leave(u, &nothing, 0);
}

/* It connects, speaks, leaves, and comes back. */
static void who_comes_back_is_no_stranger(void **state)
{
    (void)state;
    struct user *u = enter(SOMEBODY + 2);
    uint64_t now = now_ns();
    assert_true(user_may_log(u, now / NS_PER_MS));
    user_pay(u, USER_BURST_NS + USER_MESSAGE_NS, 1);
    assert_false(user_may_speak(u, now));
    user_leave(u, &nothing, 0);
    u = enter(SOMEBODY + 2);
    assert_false(user_may_speak(u, now));
    assert_false(user_may_log(u, now / NS_PER_MS));
    assert_int_equal(u->nr_connections, 1);
    user_leave(u, &nothing, 0);
}

static void our_own_user_has_no_ceiling(void **state)
{
    (void)state;
    struct user *u = NULL;
    for (unsigned i = 0; i < SESSIONS_MAX; i++)
        u = enter(geteuid());
    struct user_share share = { 0 };
    assert_false(user_has_too_many(u));
    assert_true(user_count(u, &share, USER_PAGES_MAX + 1, USER_RANGE_BYTES_MAX + 1));
    user_hold(u, 1 << 20);
    assert_true(user_may_put(u, 1));
    user_pay(u, 100 * NS_PER_S, 1);
    assert_true(user_may_speak(u, now_ns()));
    assert_true(user_has_turn(u, 1));
    for (unsigned i = 0; i < 10 * USER_COMPRESS_TURNS; i++)
        assert_true(user_may_compress(u, 1));
    user_leave(u, &share, 1 << 20);
    for (unsigned i = 1; i < SESSIONS_MAX; i++)
        user_leave(u, &nothing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_are_counted_for_each_user),
        cmocka_unit_test(pages_and_ranges_add_up_and_are_given_back),
        cmocka_unit_test(a_store_is_full_when_all_stores_of_the_user_are),
        cmocka_unit_test(who_talks_too_much_waits),
        cmocka_unit_test(a_turn_has_an_end),
        cmocka_unit_test(sessions_share_their_users_turns),
        cmocka_unit_test(a_flood_is_none_in_the_log),
        cmocka_unit_test(who_comes_back_is_no_stranger),
        cmocka_unit_test(our_own_user_has_no_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
