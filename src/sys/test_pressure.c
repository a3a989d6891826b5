/* Whether somebody waits for a CPU. Method: the file is made here; the kernel's own is read once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "sys/pressure.h"

#define MS UINT64_C(1000000)
#define BEGIN (1000 * MS)

static char path[64];
static struct pressure p;

static void say(const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void say_waited(uint64_t us)
{
    char text[200];
    (void)snprintf(text, sizeof text,
                   "some avg10=1.53 avg60=0.87 avg300=0.73 total=%llu\n"
                   "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
                   (unsigned long long)us);
    say(text);
}

static int begin(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/pp-pressure.XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    pressure_open(&p, path);
    return 0;
}

static int end(void **state)
{
    (void)state;
    pressure_close(&p);
    return unlink(path);
}

static void is_high_while_nothing_is_known(void **state)
{
    (void)state;
    say_waited(5000000);
    assert_true(pressure_is_high(&p, BEGIN));
    say_waited(5000000);
    assert_true(pressure_is_high(&p, BEGIN + 99 * MS)); /* not looked yet */
    assert_false(pressure_is_high(&p, BEGIN + 100 * MS));
}

static void a_twentieth_of_the_time(void **state)
{
    (void)state;
    say_waited(1000);
    (void)pressure_is_high(&p, BEGIN);
    say_waited(1000 + 10000);
    assert_false(pressure_is_high(&p, BEGIN + 200 * MS));
    say_waited(11000 + 10001);
    assert_true(pressure_is_high(&p, BEGIN + 400 * MS));
    say_waited(21001 + 40000); /* over a longer time it is less */
    assert_false(pressure_is_high(&p, BEGIN + 1300 * MS));
}

static void what_cant_be_read_is_high(void **state)
{
    (void)state;
    say_waited(0);
    (void)pressure_is_high(&p, BEGIN);
    assert_false(pressure_is_high(&p, BEGIN + 100 * MS));
    say("Operation not supported\n");
    assert_true(pressure_is_high(&p, BEGIN + 200 * MS));
    struct pressure none;
    pressure_open(&none, "/nowhere/at/all");
    assert_true(pressure_is_high(&none, BEGIN));
    assert_true(pressure_is_high(&none, BEGIN + 100 * MS));
    pressure_close(&none);
}

static void the_kernels_own(void **state)
{
    (void)state;
    struct pressure own;
    pressure_open(&own, PRESSURE_CPU);
    assert_true(pressure_is_high(&own, BEGIN));
    assert_true(own.fd < 0 || own.looked_ns == BEGIN); /* CONFIG_PSI=n, or psi=0 */
    pressure_close(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_high_while_nothing_is_known, begin, end),
        cmocka_unit_test_setup_teardown(a_twentieth_of_the_time, begin, end),
        cmocka_unit_test_setup_teardown(what_cant_be_read_is_high, begin, end),
        cmocka_unit_test(the_kernels_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
