/* Sizes and times with their units, limits, unknown words, files: one clear line each, nothing half
 * done. Method: a table of our own and argument lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "base/options.h"

static struct {
    bool flag;
    const char *text;
    uint64_t size, time_ms;
    unsigned choice;
    uint64_t share_ppm;
} is;

static const struct option_spec table[] = {
    {"flag", 'f', OPTION_FLAG, &is.flag, 0, 0, NULL, "a flag"},
    {"text", 0, OPTION_TEXT, &is.text, 0, 0, "TEXT", "a text"},
    {"size", 's', OPTION_SIZE, &is.size, 4096, (uint64_t)1 << 40, "SIZE", "a size"},
    {"time", 0, OPTION_TIME, &is.time_ms, 1, 86400000, "TIME", "a time"},
    {"choice", 0, OPTION_CHOICE, &is.choice, 0, 0, "one|two|twofold", "one of three words"},
    {"share", 0, OPTION_SHARE, &is.share_ppm, 100, 500000, "SHARE", "a share"},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
};

static char error[300];

static int parse(int nr, const char *const words[])
{
    char *argv[16] = {(char *)"program"};
    for (int i = 0; i < nr; i++)
        argv[i + 1] = (char *)words[i];
    memset(&is, 0, sizeof(is));
    is.size = 7;
    memset(error, 0, sizeof(error));
    return options_parse(table, nr + 1, argv, error, sizeof(error));
}
#define PARSE(...)                                                                                 \
    parse((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),                           \
          (const char *const[]){__VA_ARGS__})

static void sizes_and_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
        uint64_t value;
    } sizes[] = {
        {"0", 0, 0},           {"17", 0, 17},          {"4K", 0, 4096},
        {"3m", 0, 3 << 20},    {"2G", 0, 2ull << 30},  {"1T", 0, 1ull << 40},
        {"64MiB", 0, 64 << 20}, {"1KB", 0, 1024},      {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},    {"+1", -EINVAL, 0},     {" 1", -EINVAL, 0},
        {"1.5G", -EINVAL, 0},  {"G", -EINVAL, 0},      {"1X", -EINVAL, 0},
        {"1KX", -EINVAL, 0},   {"0x10", -EINVAL, 0},   {"99999999999999999999", -ERANGE, 0},
        {"17000000T", -ERANGE, 0},
    };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t value = 99;
        assert_int_equal(size_parse(sizes[i].text, &value), sizes[i].result);
        assert_int_equal(value, sizes[i].result ? 99 : sizes[i].value);
    }
    static const struct {
        const char *text;
        int result;
        uint64_t value;
    } times[] = {
        {"1ms", 0, 1},        {"5s", 0, 5000},     {"2m", 0, 120000},   {"1h", 0, 3600000},
        {"5", -EINVAL, 0},    {"", -EINVAL, 0},    {"s", -EINVAL, 0},   {"5 s", -EINVAL, 0},
        {"5S", -EINVAL, 0},   {"5sec", -EINVAL, 0}, {"-5s", -EINVAL, 0}, {"0.5s", -EINVAL, 0},
        {"18446744073709551615h", -ERANGE, 0},
    };
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        uint64_t value = 99;
        assert_int_equal(time_parse(times[i].text, &value), times[i].result);
        assert_int_equal(value, times[i].result ? 99 : times[i].value);
    }
}

static void they_are_said_back_as_they_can_be_given(void **state)
{
    (void)state;
    char text[32];
    static const uint64_t values[] = {0, 1, 1023, 1024, 1536, 500ull << 20, 4ull << 30, 5000, 120000,
                                      3600000, 90000, 1ull << 40, 3 * (1ull << 50)};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint64_t back = 0;
        assert_int_equal(size_parse(size_text(values[i], text, sizeof(text)), &back), 0);
        assert_int_equal(back, values[i]);
        assert_int_equal(time_parse(time_text(values[i], text, sizeof(text)), &back), 0);
        assert_int_equal(back, values[i]);
    }
    assert_string_equal(size_text(4ull << 30, text, sizeof(text)), "4G");
    assert_string_equal(time_text(90000, text, sizeof(text)), "90s");
}

static void shares(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
        uint64_t value;
    } shares[] = {
        {"1%", 0, 10000},     {"0.5%", 0, 5000},    {"12.25%", 0, 122500}, {"0.0001%", 0, 1},
        {"0%", 0, 0},         {"100%", 0, 1000000}, {"1", -EINVAL, 0},     {"", -EINVAL, 0},
        {"%", -EINVAL, 0},    {".5%", -EINVAL, 0},  {"1.%", -EINVAL, 0},   {"-1%", -EINVAL, 0},
        {"1 %", -EINVAL, 0},  {"1%%", -EINVAL, 0},  {"1.5.5%", -EINVAL, 0}, {"1.00001%", -ERANGE, 0},
        {"18446744073709551615%", -ERANGE, 0},
    };
    char text[32];
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        uint64_t value = 99;
        assert_int_equal(share_parse(shares[i].text, &value), shares[i].result);
        assert_int_equal(value, shares[i].result ? 99 : shares[i].value);
        if (shares[i].result == 0)
            assert_string_equal(share_text(value, text, sizeof(text)), shares[i].text);
    }
}

static void words_are_taken(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--size", "64K", "-f", "--text=a b", "--time=3s", "rest"), 6);
    assert_true(is.flag);
    assert_string_equal(is.text, "a b");
    assert_int_equal(is.size, 65536);
    assert_int_equal(is.time_ms, 3000);
    assert_int_equal(PARSE("-s", "8K", "--size", "4K"), 5); /* the last one counts */
    assert_int_equal(is.size, 4096);
    assert_int_equal(PARSE("--", "--size"), 2);
    assert_int_equal(is.size, 7);
    assert_int_equal(PARSE("--choice", "two"), 3);
    assert_int_equal(is.choice, 1);
    assert_int_equal(PARSE("--choice=twofold"), 2);
    assert_int_equal(is.choice, 2);
    assert_int_equal(PARSE("--choice=two", "--choice", "one"), 4);
    assert_int_equal(is.choice, 0);
}

static void what_is_wrong_is_said_in_a_line(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--frob"), -EINVAL);
    assert_non_null(strstr(error, "--frob"));
    assert_int_equal(PARSE("-x"), -EINVAL);
    assert_int_equal(PARSE("--size"), -EINVAL);
    assert_non_null(strstr(error, "--size"));
    assert_int_equal(PARSE("--flag=yes"), -EINVAL);
    assert_int_equal(PARSE("--text="), -EINVAL);
    assert_int_equal(PARSE("--size", "1K"), -EINVAL);
    assert_non_null(strstr(error, "4K")); /* what it must be */
    assert_non_null(strstr(error, "1T"));
    assert_int_equal(PARSE("--size", "2T"), -EINVAL);
    assert_int_equal(PARSE("--size", "big"), -EINVAL);
    assert_int_equal(PARSE("--time", "5"), -EINVAL);
    assert_non_null(strstr(error, "5s"));
    assert_int_equal(PARSE("--time", "25h"), -EINVAL);
    assert_int_equal(PARSE("--share", "0%"), -EINVAL);
    assert_non_null(strstr(error, "0.01% to 50%"));
    assert_int_equal(PARSE("--share", "51%"), -EINVAL);
    assert_int_equal(PARSE("--share", "1"), -EINVAL);
    assert_non_null(strstr(error, "0.5%"));
    assert_int_equal(is.share_ppm, 0);
    static const char *const no_choices[] = {"", "three", "tw", "twofolds", "one|two", "two|", "Two"};
    for (size_t i = 0; i < sizeof(no_choices) / sizeof(no_choices[0]); i++) {
        assert_int_equal(PARSE("--choice", no_choices[i]), -EINVAL);
        assert_non_null(strstr(error, "one|two|twofold")); /* what it may be */
        assert_int_equal(is.choice, 0);
    }
    assert_int_equal(is.size, 7); /* nothing was changed */
    assert_int_equal(is.time_ms, 0);
    assert_null(strchr(error, '\n'));
}

static int read_text(const char *text)
{
    char path[] = "/tmp/test_options.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    memset(&is, 0, sizeof(is));
    int r = options_read_file(table, path, error, sizeof(error));
    unlink(path);
    return r;
}

static void the_file_has_the_same_words(void **state)
{
    (void)state;
    assert_int_equal(read_text("# comment\n\nsize = 8K\ntime=2m\n; more\nflag = yes\ntext = /a/b\n"), 0);
    assert_true(is.flag);
    assert_string_equal(is.text, "/a/b");
    free((void *)(uintptr_t)is.text);
    assert_int_equal(is.size, 8192);
    assert_int_equal(is.time_ms, 120000);
    assert_int_equal(read_text(""), 0);
    assert_int_equal(read_text("choice = two\n"), 0);
    assert_int_equal(is.choice, 1);
    assert_int_equal(read_text("choice = no\n"), -EINVAL);
    assert_int_equal(read_text("flag = no\n"), 0);
    assert_false(is.flag);
    assert_int_equal(read_text("flag = maybe\n"), -EINVAL);
    assert_int_equal(read_text("size = 8K\nfrob = 1\n"), -EINVAL);
    assert_non_null(strstr(error, "line 2"));
    assert_non_null(strstr(error, "frob"));
    assert_int_equal(read_text("size = 1\n"), -EINVAL);
    assert_non_null(strstr(error, "line 1"));
    assert_int_equal(read_text("size\n"), -EINVAL);
    assert_int_equal(options_read_file(table, "/nonexistent/x.conf", error, sizeof(error)), -ENOENT);
    assert_non_null(strstr(error, "/nonexistent/x.conf"));
    assert_int_equal(options_read_file(table, "/tmp", error, sizeof(error)), -ENOENT);
    assert_non_null(strstr(error, "/tmp: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_and_times),
        cmocka_unit_test(they_are_said_back_as_they_can_be_given),
        cmocka_unit_test(shares),
        cmocka_unit_test(words_are_taken),
        cmocka_unit_test(what_is_wrong_is_said_in_a_line),
        cmocka_unit_test(the_file_has_the_same_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
