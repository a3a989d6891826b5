/* What `run` says to the preloaded library is understood, and what it does not say has its default.
 * Method: texts and what they must come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "preload/settings.h"

static void what_is_not_said_has_its_default(void **state)
{
    (void)state;
    struct settings s;
    assert_true(settings_read("socket=/run/p.sock", "cat", &s));
    assert_string_equal(s.socket_path, "/run/p.sock");
    assert_int_equal(s.min_range_bytes, MIN_RANGE_BYTES);
    assert_int_equal(s.start_after_ms, START_AFTER_MS);
}

static void what_is_said_is_taken(void **state)
{
    (void)state;
    struct settings s;
    assert_true(settings_read("min-range=4096;socket=/a;start-after=0;of=tomorrow", "cat", &s));
    assert_string_equal(s.socket_path, "/a");
    assert_int_equal(s.min_range_bytes, 4096);
    assert_int_equal(s.start_after_ms, 0);
}

static void excluded_programs_are_left_alone(void **state)
{
    (void)state;
    struct settings s;
    const char *text = "exclude=gcc,cc1,ld;socket=/a";
    assert_false(settings_read(text, "gcc", &s));
    assert_false(settings_read(text, "cc1", &s));
    assert_false(settings_read(text, "ld", &s));
    assert_true(settings_read(text, "c", &s));
    assert_true(settings_read(text, "cc", &s));
    assert_true(settings_read(text, "cc11", &s));
    assert_true(settings_read(text, "", &s));
}

static void what_is_not_ours_does_nothing(void **state)
{
    (void)state;
    struct settings s;
    char longer[200] = "socket=/";
    memset(longer + 8, 'a', 150);
    const char *const texts[] = { "", ";", "socket=", "socket", "min-range=4096", longer,
                                  "socket=/a;min-range=", "socket=/a;min-range=1M",
                                  "socket=/a;start-after=soon" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        print_message("'%s'\n", texts[i]);
        assert_false(settings_read(texts[i], "cat", &s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_said_has_its_default),
        cmocka_unit_test(what_is_said_is_taken),
        cmocka_unit_test(excluded_programs_are_left_alone),
        cmocka_unit_test(what_is_not_ours_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
