/* subject.c - see subject.h. What is timed is the touch as the program feels it: one load between two
 * readings of the clock, alike in every arm. */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/latency.h"
#include "common/options.h"
#include "common/pace.h"
#include "common/rng.h"
#include "memory.h"
#include "process_pager.h"
#include "zram.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define BATCH_BYTES ((size_t)2 << 20)

const char *const subject_arm_names[SUBJECT_ARMS_NR + 1] = { "pager", "zram", "direct", NULL };

void subject_say(const char *name, double value)
{
    printf("%s %.6g\n", name, value);
}

static uint64_t cpu_ns(clockid_t clock)
{
    struct timespec t;
    return clock_gettime(clock, &t) ? 0 : (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t subject_cpu_ns(void)
{
    return cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t subject_daemon_cpu_ns(const struct subject *s)
{
    clockid_t clock;
    if (s->spec->arm == SUBJECT_ZRAM || clock_getcpuclockid((pid_t)s->spec->daemon_pid, &clock))
        return 0;
    return cpu_ns(clock);
}

/* ---- filling and eviction */

int subject_prepare(struct subject *s)
{
    s->nr_pages = s->spec->bytes / CONTENT_PAGE_BYTES;
    s->content = (struct content){ .kind = CONTENT_HEAP, .seed = s->spec->seed };
    s->memory = mmap(NULL, s->spec->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    s->order = malloc(s->nr_pages / 2 * sizeof *s->order);
    if (s->memory == MAP_FAILED || !s->order)
        return -ENOMEM;
    (void)madvise(s->memory, s->spec->bytes, MADV_NOHUGEPAGE);
    for (uint64_t i = 0; i < s->nr_pages; i++)
        content_fill(&s->content, i, 1, s->memory + i * CONTENT_PAGE_BYTES);
    struct rng r = rng_new(s->spec->seed, 1);
    rng_order(&r, s->order, s->nr_pages / 2);
    return 0;
}

int subject_evict(const struct subject *s, unsigned char *at, size_t bytes)
{
    if (s->spec->arm != SUBJECT_ZRAM)
        return pp_reclaim(s->pager, at, bytes);
    for (size_t done = 0; done < bytes; done += BATCH_BYTES)
        if (madvise(at + done, bytes - done < BATCH_BYTES ? bytes - done : BATCH_BYTES, MADV_PAGEOUT))
            return -errno;
    return 0;
}

int subject_register(struct subject *s, void *at, size_t bytes)
{
    return pp_register_flags(s->pager, at, bytes, s->spec->arm == SUBJECT_DIRECT ? PP_DIRECT : 0);
}

int subject_start_pager(struct subject *s)
{
    struct pp_config config = PP_CONFIG_INIT;
    config.socket_path = s->spec->socket_path;
    int r = pp_open(&config, &s->pager);
    if (r == 0)
        r = subject_register(s, s->memory, s->spec->bytes);
    if (r == 0)
        r = pp_start(s->pager);
    if (r && s->pager)
        fprintf(stderr, "%s\n", pp_error(s->pager));
    return r;
}

static int evict_all(struct subject *s)
{
    uint64_t begin_ns = pace_now_ns(), own_ns = subject_cpu_ns(), daemon_ns = subject_daemon_cpu_ns(s);
    int r = subject_evict(s, s->memory, s->spec->bytes);
    if (r)
        return r;
    double elapsed_ns = (double)(pace_now_ns() - begin_ns);
    double pages = (double)s->nr_pages;
    subject_say("evict_mib_per_s", (double)s->spec->bytes / 1048576 / (elapsed_ns / 1e9));
    subject_say("evict_target_cpu_us_per_page", (double)(subject_cpu_ns() - own_ns) / 1e3 / pages);
    subject_say("evict_daemon_cpu_us_per_page",
                (double)(subject_daemon_cpu_ns(s) - daemon_ns) / 1e3 / pages);
    subject_say("evict_cpu_us_per_page",
                (double)(subject_cpu_ns() - own_ns + subject_daemon_cpu_ns(s) - daemon_ns) / 1e3 / pages);
    return 0;
}

/* Pages that are still present although everything was to leave. */
uint64_t subject_count_present(const struct subject *s)
{
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t entries[512], nr = 0;
    for (uint64_t i = 0; fd >= 0 && i < s->nr_pages; i += 512) {
        size_t n = s->nr_pages - i < 512 ? s->nr_pages - i : 512;
        off_t at = (off_t)(((uintptr_t)s->memory / CONTENT_PAGE_BYTES + i) * sizeof *entries);
        if (pread(fd, entries, n * sizeof *entries, at) != (ssize_t)(n * sizeof *entries))
            break;
        for (size_t j = 0; j < n; j++)
            nr += entries[j] >> 63;
    }
    if (fd >= 0)
        close(fd);
    return nr;
}

static void say_memory(const struct subject *s, uint64_t before_kib)
{
    struct memory_sample sample;
    pid_t daemon = s->spec->arm != SUBJECT_ZRAM ? (pid_t)s->spec->daemon_pid : 0;
    if (memory_sample(getpid(), daemon, &sample) < 0)
        return;
    uint64_t paid = memory_paid_kib(&sample);
    if (s->spec->arm == SUBJECT_ZRAM) {
        struct zram z = { .id = (int)s->spec->zram_id };
        paid += zram_used_kib(&z);
    }
    subject_say("memory_before_mib", (double)before_kib / 1024);
    subject_say("memory_after_mib", (double)paid / 1024);
    subject_say("saved_percent", 100.0 * ((double)before_kib - (double)paid) / (double)before_kib);
}

/* ---- touches */

struct touch_result {
    struct latency latency;
    uint64_t begin_ns, own_cpu_ns, daemon_cpu_ns, nr;
};

static void touch(struct subject *s, uint64_t page, struct latency *l)
{
    const unsigned char *at = s->memory + page * CONTENT_PAGE_BYTES;
    uint64_t begin_ns = pace_now_ns();
    (void)*(const volatile unsigned char *)at;
    latency_record(l, pace_now_ns() - begin_ns);
    s->wrong += !content_stamp_is(&s->content, page, 1, at);
}

static void spin(uint64_t ns)
{
    for (uint64_t end_ns = pace_now_ns() + ns; pace_now_ns() < end_ns;)
        ;
}

static void say_named(const char *phase, const char *what, double value)
{
    char name[64];
    snprintf(name, sizeof name, "%s_%s", phase, what);
    subject_say(name, value);
}

static void say_touches(const struct subject *s, const char *phase, const struct touch_result *t)
{
    const struct latency *l = &t->latency;
    double seconds = (double)(pace_now_ns() - t->begin_ns) / 1e9, nr = (double)t->nr;
    say_named(phase, "p50_ns", (double)latency_percentile_ns(l, 0, 500));
    say_named(phase, "p95_ns", (double)latency_percentile_ns(l, 0, 950));
    say_named(phase, "p99_ns", (double)latency_percentile_ns(l, 0, 990));
    if (t->nr >= LATENCY_P999_MIN)
        say_named(phase, "p999_ns", (double)latency_percentile_ns(l, 0, 999));
    say_named(phase, "max_ns", (double)l->max_ns);
    say_named(phase, "n", nr);
    say_named(phase, "pages_per_s", nr / seconds);
    say_named(phase, "target_cpu_us_per_page", (double)(subject_cpu_ns() - t->own_cpu_ns) / 1e3 / nr);
    say_named(phase, "cpu_us_per_page",
              (double)(subject_cpu_ns() - t->own_cpu_ns + subject_daemon_cpu_ns(s) - t->daemon_cpu_ns) / 1e3 / nr);
    say_named(phase, "daemon_cpu_us_per_page",
              (double)(subject_daemon_cpu_ns(s) - t->daemon_cpu_ns) / 1e3 / nr);
}

static void begin_touches(const struct subject *s, struct touch_result *t)
{
    memset(t, 0, sizeof *t);
    t->own_cpu_ns = subject_cpu_ns();
    t->daemon_cpu_ns = subject_daemon_cpu_ns(s);
    t->begin_ns = pace_now_ns();
}

static void touch_all(struct subject *s)
{
    static struct touch_result t;
    uint64_t half = s->nr_pages / 2, at = 0;
    begin_touches(s, &t);
    for (; at < s->spec->nr_paced && at < half; at++, t.nr++) {
        touch(s, s->order[at], &t.latency);
        spin(s->spec->pause_ns);
    }
    say_touches(s, "paced", &t);
    begin_touches(s, &t);
    for (uint64_t end = at + s->spec->nr_back_to_back; at < end && at < half; at++, t.nr++)
        touch(s, s->order[at], &t.latency);
    say_touches(s, "back_to_back", &t);
    begin_touches(s, &t);
    for (uint64_t page = half; page < s->nr_pages; page++, t.nr++)
        touch(s, page, &t.latency);
    say_touches(s, "in_order", &t);
}

void subject_check_all(struct subject *s)
{
    unsigned line;
    for (uint64_t i = 0; i < s->nr_pages; i++)
        s->wrong += !content_page_is(&s->content, i, 1, s->memory + i * CONTENT_PAGE_BYTES, &line);
}

int subject_run(const struct subject_spec *spec)
{
    struct subject s = { .spec = spec };
    int r = subject_prepare(&s);
    struct memory_maps before = { 0 };
    if (r == 0)
        r = memory_read_maps(getpid(), &before);
    if (r == 0 && spec->arm == SUBJECT_PAGER)
        r = subject_start_pager(&s);
    if (r == 0)
        r = evict_all(&s);
    if (r) {
        fprintf(stderr, "%s: %s\n", subject_arm_names[spec->arm], strerror(-r));
        return EXIT_SYSTEM;
    }
    pace_sleep_until_ns(pace_now_ns() + UINT64_C(1500000000)); /* buffers go back when idle */
    subject_say("present_pages", (double)subject_count_present(&s));
    say_memory(&s, before.pss_kib);
    touch_all(&s);
    subject_check_all(&s);
    if (s.pager) {
        r = pp_stop(s.pager);
        subject_check_all(&s);
        s.pager = pp_close(s.pager);
    }
    subject_say("wrong", (double)s.wrong);
    free(s.order);
    return s.wrong || r ? EXIT_WRONG : 0;
}
