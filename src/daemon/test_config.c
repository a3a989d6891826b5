/* The command line decides over the file, the file over the defaults, and nothing is half taken. Method:
 * files of our own, named with --config; what is said on stderr is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sysexits.h>
#include <unistd.h>

#include "daemon/config.h"

#define MIB ((uint64_t)1 << 20)

/* A text out of a file is kept for good, also when a word takes its place: that is not what
 * LeakSanitizer, where it is linked in, should look for here. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static char path[] = "/tmp/test_config.XXXXXX", said[500];
static struct config config;

static void write_file(const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* The exit code; what was said goes into `said`. */
static int read_words(int nr, const char *const words[])
{
    char *argv[16] = { (char *)"process-pagerd" };
    for (int i = 0; i < nr; i++)
        argv[i + 1] = (char *)words[i];
    FILE *caught = tmpfile();
    assert_non_null(caught);
    int kept = dup(STDERR_FILENO);
    (void)fflush(stderr);
    (void)dup2(fileno(caught), STDERR_FILENO);
    if (__lsan_disable)
        __lsan_disable();
    int code = config_read(nr + 1, argv, &config);
    if (__lsan_enable)
        __lsan_enable();
    (void)fflush(stderr);
    (void)dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(caught);
    said[fread(said, 1, sizeof(said) - 1, caught)] = 0;
    (void)fclose(caught);
    const char *end = strchr(said, '\n');
    assert_true(code ? end && end[1] == 0 : !*said); /* a line, or nothing */
    return code;
}
#define READ(...)                                                                                  \
    read_words((int)(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *)),                    \
               (const char *const[]){ __VA_ARGS__ })

static void nothing_said_means_the_defaults(void **state)
{
    (void)state;
    write_file("");
    assert_int_equal(READ("--config", path), 0);
    assert_int_equal(config.slowdown_ppm, 10000);
    assert_int_equal(config.cold_age_ms, 0);
    assert_int_equal(config.resident_bytes, 0);
    assert_int_equal(config.promotion_ppm, 0);
    assert_int_equal(config_first_age_ms(&config), 5000);
    assert_int_equal(config_limits(&config).kind, BUDGET_SLOWDOWN);
    assert_int_equal(config.store_cap_bytes, 4096 * MIB);
    assert_int_equal(config.reclaim_rate, 500 * MIB);
    assert_int_equal(config.evict_by, EVICT_BY_MOVE);
    assert_int_equal(config.heat, HEAT_AUTO);
    assert_int_equal(config.probe, CHOICE_ON);
    assert_int_equal(config.prefetch, CHOICE_ON);
    assert_int_equal(config.store_cap_total_bytes, 1024 * 1024 * MIB);
    assert_int_equal(config.tiers, TIERS_LZ4_ZSTD);
    assert_int_equal(config.squeeze_age_ms, 30000);
    assert_null(config.socket_path);
    assert_null(config.csv_path);
    assert_false(config.is_dry_run || config.is_verbose || config.is_check);
}

static void the_command_line_decides_over_the_file(void **state)
{
    (void)state;
    write_file("# ours\ncold-age = 2s\nstore-cap = 64M\nsocket = /file\nverbose = yes\n");
    assert_int_equal(READ("--config", path), 0);
    assert_int_equal(config.cold_age_ms, 2000);
    assert_int_equal(config.store_cap_bytes, 64 * MIB);
    assert_int_equal(config.reclaim_rate, 500 * MIB);
    assert_string_equal(config.socket_path, "/file");
    assert_true(config.is_verbose);
    /* Whatever the order of the words. */
    assert_int_equal(READ("--cold-age", "3s", "--config", path, "--socket=/word"), 0);
    assert_int_equal(config.cold_age_ms, 3000);
    assert_int_equal(config.store_cap_bytes, 64 * MIB);
    assert_string_equal(config.socket_path, "/word");
    assert_int_equal(READ("--config", path, "--cold-age", "5s"), 0); /* also when it is the default */
    assert_int_equal(config.cold_age_ms, 5000);
}

static void one_budget_and_no_other(void **state)
{
    (void)state;
    char text[64];
    write_file("");
    assert_int_equal(READ("--config", path, "--slowdown", "0.5%"), 0);
    assert_string_equal(config_budget_text(&config, text, sizeof(text)), "slowdown 0.5%");
    assert_int_equal(READ("--config", path, "--resident", "512M"), 0);
    assert_string_equal(config_budget_text(&config, text, sizeof(text)), "resident 512M");
    assert_int_equal(config_limits(&config).kind, BUDGET_RESIDENT);
    assert_int_equal(config.slowdown_ppm, 0);
    assert_int_equal(READ("--config", path, "--cold-age", "5s"), 0);
    assert_string_equal(config_budget_text(&config, text, sizeof(text)), "cold-age 5s");
    assert_int_equal(config_limits(&config).kind, BUDGET_COLD_AGE);
    static const char *const no_slowdowns[] = { "0%", "50.1%", "100%", "0.001%", "1", "0.01", "-1%" };
    for (size_t i = 0; i < sizeof(no_slowdowns) / sizeof(no_slowdowns[0]); i++) {
        assert_int_equal(READ("--config", path, "--slowdown", no_slowdowns[i]), EX_USAGE);
        assert_non_null(strstr(said, "--slowdown"));
        assert_non_null(strchr(said, '%')); /* how to write it, or from where to where */
    }
    assert_int_equal(READ("--config", path, "--resident", "0"), EX_USAGE);
    assert_non_null(strstr(said, "1M"));
    assert_int_equal(READ("--config", path, "--promotion-rate", "0%"), EX_USAGE);
    assert_int_equal(READ("--config", path, "--slowdown", "1%", "--cold-age", "5s"), EX_USAGE);
    assert_non_null(strstr(said, "give one"));
    assert_int_equal(READ("--config", path, "--resident", "1G", "--cold-age", "5s"), EX_USAGE);
    assert_int_equal(READ("--config", path, "--slowdown", "1%", "--resident", "1G"), EX_USAGE);
}

static void a_promotion_rate_goes_with_a_slowdown(void **state)
{
    (void)state;
    write_file("");
    assert_int_equal(READ("--config", path, "--promotion-rate", "0.2%"), 0); /* with the default */
    assert_int_equal(config.promotion_ppm, 2000);
    assert_int_equal(config.slowdown_ppm, 10000);
    assert_int_equal(READ("--config", path, "--promotion-rate", "0.2%", "--cold-age", "5s"), EX_USAGE);
    assert_non_null(strstr(said, "--promotion-rate"));
    assert_int_equal(READ("--config", path, "--promotion-rate", "1%", "--resident", "1G"), EX_USAGE);
}

static void a_budget_of_the_command_line_puts_away_the_files(void **state)
{
    (void)state;
    write_file("slowdown = 2%\npromotion-rate = 1%\n");
    assert_int_equal(READ("--config", path), 0);
    assert_int_equal(config.slowdown_ppm, 20000);
    assert_int_equal(config.promotion_ppm, 10000);
    assert_int_equal(READ("--config", path, "--cold-age", "200ms"), 0);
    assert_int_equal(config.cold_age_ms, 200);
    assert_int_equal(config.slowdown_ppm, 0);
    assert_int_equal(config.promotion_ppm, 0);
    write_file("slowdown = 2%\ncold-age = 1s\n");
    assert_int_equal(READ("--config", path), EX_CONFIG);
    assert_non_null(strstr(said, path));
    assert_non_null(strstr(said, "give one"));
    write_file("cold-age = 1s\n");
    assert_int_equal(READ("--config", path, "--promotion-rate", "1%"), EX_USAGE);
}

static void damon_in_disorder_is_refused(void **state)
{
    (void)state;
    write_file("heat = scan\n");
    assert_int_equal(READ("--config", path), 0);
    assert_int_equal(config.heat, HEAT_SCAN);
    assert_int_equal(READ("--config", path, "--heat", "damon"), 0);
    assert_int_equal(config.heat, HEAT_DAMON);
    assert_int_equal(READ("--config", path, "--probe", "off"), 0);
    assert_int_equal(config.probe, CHOICE_OFF);
    assert_int_equal(READ("--config", path, "--heat", "magic"), EX_USAGE);
    assert_non_null(strstr(said, "auto|damon|scan"));
    assert_int_equal(READ("--config", path, "--damon-sample", "200ms"), EX_USAGE);
    assert_non_null(strstr(said, "--damon-aggregation"));
    assert_int_equal(READ("--config", path, "--damon-aggregation", "2s"), EX_USAGE);
    assert_non_null(strstr(said, "--damon-update"));
    assert_int_equal(READ("--config", path, "--damon-aggregation", "2s", "--damon-update", "2s"), 0);
    assert_int_equal(READ("--config", path, "--damon-regions-min", "2000"), EX_USAGE);
    assert_non_null(strstr(said, "--damon-regions-max"));
    assert_int_equal(READ("--config", path, "--damon-regions-min", "2"), EX_USAGE);
}

static void how_to_evict_is_one_of_two_words(void **state)
{
    (void)state;
    write_file("evict-by = pageout\n");
    assert_int_equal(READ("--config", path), 0);
    assert_int_equal(config.evict_by, EVICT_BY_PAGEOUT);
    assert_string_equal(config_evict_by_name(&config), "pageout");
    assert_int_equal(READ("--config", path, "--evict-by", "move"), 0);
    assert_int_equal(config.evict_by, EVICT_BY_MOVE);
    assert_string_equal(config_evict_by_name(&config), "move");
    assert_int_equal(READ("--config", path, "--evict-by", "swap"), EX_USAGE);
    assert_non_null(strstr(said, "move|pageout"));
    write_file("evict-by = yes\n");
    assert_int_equal(READ("--config", path), EX_CONFIG);
}

static void prefetch_is_on_or_off(void **state)
{
    (void)state;
    write_file("prefetch = off\n");
    assert_int_equal(READ("--config", path), 0);
    assert_int_equal(config.prefetch, CHOICE_OFF);
    assert_int_equal(READ("--config", path, "--prefetch", "on"), 0);
    assert_int_equal(config.prefetch, CHOICE_ON);
    assert_int_equal(READ("--config", path, "--prefetch", "auto"), EX_USAGE);
    assert_non_null(strstr(said, "on|off"));
}

static void agents_have_a_class_or_not(void **state)
{
    (void)state;
    assert_int_equal(READ("--cold-age", "5s"), 0);
    assert_int_equal(config.agent_class, AGENT_CLASS_AUTO);
    write_file("agent-class = normal\n");
    assert_int_equal(READ("--config", path), 0);
    assert_int_equal(config.agent_class, AGENT_CLASS_NORMAL);
    assert_int_equal(READ("--config", path, "--agent-class", "auto"), 0);
    assert_int_equal(config.agent_class, AGENT_CLASS_AUTO);
    assert_int_equal(READ("--config", path, "--agent-class", "rr"), EX_USAGE);
    assert_non_null(strstr(said, "auto|normal"));
}

static void tiers_and_caps(void **state)
{
    (void)state;
    write_file("tiers = lz4\nstore-cap-total = 2G\nsqueeze-age = 1m\n");
    assert_int_equal(READ("--config", path), 0);
    assert_int_equal(config.tiers, TIERS_LZ4);
    assert_string_equal(config_tiers_name(&config), "lz4");
    assert_int_equal(config.store_cap_total_bytes, 2048 * MIB);
    assert_int_equal(config.squeeze_age_ms, 60000);
    assert_int_equal(READ("--config", path, "--tiers", "lz4+zstd"), 0);
    assert_string_equal(config_tiers_name(&config), "lz4+zstd");
    assert_int_equal(READ("--config", path, "--tiers", "zstd"), EX_USAGE);
    assert_non_null(strstr(said, "lz4+zstd|lz4"));
    assert_int_equal(READ("--config", path, "--store-cap-total", "60K"), EX_USAGE);
    assert_non_null(strstr(said, "1M"));
    assert_int_equal(READ("--config", path, "--squeeze-age", "0s"), EX_USAGE);
    assert_non_null(strstr(said, "1ms"));
}

static void a_bad_file_is_78_and_names_its_line(void **state)
{
    (void)state;
    write_file("cold-age = 2s\nfrob = 1\n");
    assert_int_equal(READ("--config", path), EX_CONFIG);
    assert_non_null(strstr(said, path));
    assert_non_null(strstr(said, "line 2"));
    assert_non_null(strstr(said, "frob"));
    write_file("\n\nstore-cap = 1K\n");
    assert_int_equal(READ("--config", path, "--store-cap", "64M"), EX_CONFIG); /* though not needed */
    assert_non_null(strstr(said, "line 3"));
    assert_int_equal(READ("--config", "/nonexistent/file"), EX_CONFIG);
    assert_non_null(strstr(said, "/nonexistent/file"));
    assert_int_equal(READ("--config", "/tmp"), EX_CONFIG);
}

static void a_bad_word_is_64_whatever_the_file_says(void **state)
{
    (void)state;
    write_file("frob = 1\n");
    assert_int_equal(READ("--config", path, "--frob"), EX_USAGE);
    assert_int_equal(READ("--config", path, "more"), EX_USAGE);
    assert_non_null(strstr(said, "more"));
}

static void help_and_version_do_not_need_the_file(void **state)
{
    (void)state;
    write_file("frob = 1\n");
    assert_int_equal(READ("--config", path, "--help"), 0);
    assert_true(config.wants_help);
    assert_int_equal(READ("-V", "--config", path), 0);
    assert_true(config.wants_version);
}

static int begin(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int end(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_said_means_the_defaults),
        cmocka_unit_test(the_command_line_decides_over_the_file),
        cmocka_unit_test(one_budget_and_no_other),
        cmocka_unit_test(a_promotion_rate_goes_with_a_slowdown),
        cmocka_unit_test(a_budget_of_the_command_line_puts_away_the_files),
        cmocka_unit_test(damon_in_disorder_is_refused),
        cmocka_unit_test(how_to_evict_is_one_of_two_words),
        cmocka_unit_test(prefetch_is_on_or_off),
        cmocka_unit_test(agents_have_a_class_or_not),
        cmocka_unit_test(tiers_and_caps),
        cmocka_unit_test(a_bad_file_is_78_and_names_its_line),
        cmocka_unit_test(a_bad_word_is_64_whatever_the_file_says),
        cmocka_unit_test(help_and_version_do_not_need_the_file),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
