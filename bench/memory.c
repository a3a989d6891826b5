/* memory.c - smaps, the daemon's descriptors, and the series of samples. */
#include "memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/pace.h"
#include "files.h"

#define MEMFDS_MAX 256u

/* ---- smaps ---------------------------------------------------------------------------------- */

static bool begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* A mapping's first line: "start-end perms offset device inode   name". */
static bool is_map_line(const char *line)
{
    unsigned long start, end;
    char permissions[8];
    return sscanf(line, "%lx-%lx %4s ", &start, &end, permissions) == 3;
}

static const char *map_name(const char *line)
{
    for (int field = 0; field < 5; field++) {
        line += strcspn(line, " \n");
        line += strspn(line, " ");
    }
    return line;
}

void memory_sum_smaps(FILE *smaps, struct memory_maps *ret_maps)
{
    struct memory_maps sum = {0};
    char line[4352]; /* the longest path and what stands before it */
    bool is_store = false, is_pager = false, is_memfd = false;
    while (fgets(line, sizeof(line), smaps)) {
        unsigned long long kib;
        if (sscanf(line, "Pss: %llu kB", &kib) == 1) {
            sum.pss_kib += kib;
            sum.store_pss_kib += is_store ? kib : 0;
            sum.pager_pss_kib += is_pager ? kib : 0;
            sum.memfd_pss_kib += is_memfd ? kib : 0;
        } else if (sscanf(line, "AnonHugePages: %llu kB", &kib) == 1) {
            sum.anon_huge_kib += kib;
        } else if (is_map_line(line)) {
            const char *name = map_name(line);
            is_store = begins_with(name, MEMORY_STORE_MAP);
            is_pager = begins_with(name, MEMORY_PAGER_MAP);
            is_memfd = begins_with(name, "/memfd:");
        }
    }
    *ret_maps = sum;
}

int memory_read_maps(pid_t pid, struct memory_maps *ret_maps)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
    FILE *smaps = fopen(path, "r");
    if (!smaps)
        return -errno;
    memory_sum_smaps(smaps, ret_maps);
    fclose(smaps);
    return ret_maps->pss_kib > 0 ? 0 : -ESRCH; /* an exiting process has no mappings any more */
}

/* ---- memfds --------------------------------------------------------------------------------- */

struct seen_files {
    struct {
        dev_t device;
        ino_t inode;
    } files[MEMFDS_MAX];
    size_t count;
    uint64_t blocks; /* of 512 bytes */
};

static void see_file(struct seen_files *seen, const struct stat *st)
{
    for (size_t i = 0; i < seen->count; i++) {
        if (seen->files[i].inode == st->st_ino && seen->files[i].device == st->st_dev)
            return;
    }
    if (seen->count == MEMFDS_MAX)
        return;
    seen->files[seen->count].device = st->st_dev;
    seen->files[seen->count++].inode = st->st_ino;
    seen->blocks += (uint64_t)st->st_blocks;
}

/* Entries of /proc/PID/fd or /proc/PID/map_files are links whose text names the file and which
 * lead to the file itself. */
static int see_memfds(pid_t pid, const char *folder, struct seen_files *seen)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, folder);
    DIR *dir = opendir(path);
    if (!dir)
        return -errno;
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        char target[64];
        struct stat st;
        ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        if (length < 0)
            continue;
        target[length] = '\0';
        if (begins_with(target, "/memfd:") && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0)
            see_file(seen, &st);
    }
    closedir(dir);
    return 0;
}

int memory_read_memfd_kib(pid_t pid, uint64_t *ret_kib)
{
    struct seen_files seen = {.count = 0};
    int r = see_memfds(pid, "fd", &seen);
    if (r < 0)
        return r;
    /* Mapped, and the descriptor closed: only root may look; without it the fds are what there is.
     */
    (void)see_memfds(pid, "map_files", &seen);
    *ret_kib = seen.blocks / 2;
    return 0;
}

/* A daemon's: what receives descriptors for it, in processes of its own. */
static void add_children(pid_t pid, struct memory_maps *maps)
{
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    if (file)
        fclose(file);
    text[length] = '\0';
    char *at = text, *end;
    for (pid_t child; (child = (pid_t)strtol(at, &end, 10)) > 0; at = end) {
        struct memory_maps its;
        if (memory_read_maps(child, &its) == 0)
            maps->pss_kib += its.pss_kib;
        add_children(child, maps);
    }
}

/* User and system time of all its threads so far; the kernel gives it in ticks of 10 ms. */
static uint64_t read_cpu_ms(pid_t pid)
{
    char path[64], text[1024];
    unsigned long long user = 0, system = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[length] = '\0';
    const char *behind_name = strrchr(text, ')');
    if (!behind_name ||
        sscanf(behind_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
               &system) != 2)
        return 0;
    return (user + system) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

/* ---- samples -------------------------------------------------------------------------------- */

int memory_sample(pid_t target, pid_t daemon, struct memory_sample *ret_sample)
{
    struct memory_sample s = {.time_ns = pace_now_ns()};
    int r = memory_read_maps(target, &s.target);
    if (r < 0)
        return r;
    if (daemon > 0) {
        r = memory_read_maps(daemon, &s.daemon);
        if (r == 0)
            r = memory_read_memfd_kib(daemon, &s.store_blocks_kib);
        if (r < 0)
            return r;
        add_children(daemon, &s.daemon);
        s.daemon_cpu_ms = read_cpu_ms(daemon);
    }
    s.cost_us = (pace_now_ns() - s.time_ns) / 1000;
    *ret_sample = s;
    return 0;
}

uint64_t memory_paid_kib(const struct memory_sample *s)
{
    if (s->is_zram)
        return s->target.pss_kib + s->zram_used_kib;
    return s->target.pss_kib - s->target.store_pss_kib + s->daemon.pss_kib -
           s->daemon.memfd_pss_kib + s->store_blocks_kib;
}

void memory_series_add(struct memory_series *series, const struct memory_sample *sample)
{
    if (series->count == series->capacity) {
        size_t capacity = series->capacity ? 2 * series->capacity : 64;
        void *larger = realloc(series->samples, capacity * sizeof(*series->samples));
        if (!larger)
            return; /* a sample less */
        series->samples = larger;
        series->capacity = capacity;
    }
    series->samples[series->count++] = *sample;
}

void memory_series_free(struct memory_series *series)
{
    free(series->samples);
    *series = (struct memory_series){0};
}

static uint64_t huge_kib(const struct memory_sample *s)
{
    return s->target.anon_huge_kib;
}

static bool mean_mib(const struct memory_series *series, uint64_t from_ns, uint64_t to_ns,
                     uint64_t (*kib_of)(const struct memory_sample *s), double *ret_mib)
{
    double sum_kib = 0;
    size_t count = 0;
    for (size_t i = 0; i < series->count; i++) {
        const struct memory_sample *s = &series->samples[i];
        if (s->time_ns < from_ns || s->time_ns > to_ns)
            continue;
        sum_kib += (double)kib_of(s);
        count++;
    }
    if (count == 0)
        return false;
    *ret_mib = sum_kib / (double)count / 1024;
    return true;
}

bool memory_series_mean_mib(const struct memory_series *series, uint64_t from_ns, uint64_t to_ns,
                            double *ret_mib)
{
    return mean_mib(series, from_ns, to_ns, memory_paid_kib, ret_mib);
}

bool memory_series_mean_huge_mib(const struct memory_series *series, uint64_t from_ns, uint64_t to_ns,
                                 double *ret_mib)
{
    return mean_mib(series, from_ns, to_ns, huge_kib, ret_mib);
}

int memory_series_write(const struct memory_series *series, uint64_t start_ns, uint64_t end_ns,
                        const char *path)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return -errno;
    fprintf(out, "time_ms,is_in_window,target_pss_kib,target_store_map_pss_kib,"
                 "target_pager_map_pss_kib,daemon_pss_without_memfds_kib,daemon_memfd_blocks_kib,"
                 "paid_kib,daemon_cpu_ms,sample_cost_us,zram_used_kib,target_anon_huge_kib\n");
    for (size_t i = 0; i < series->count; i++) {
        const struct memory_sample *s = &series->samples[i];
        fprintf(out, "%.0f,%d,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu,%llu\n",
                ((double)s->time_ns - (double)start_ns) / 1e6,
                s->time_ns >= start_ns && s->time_ns <= end_ns,
                (unsigned long long)s->target.pss_kib, (unsigned long long)s->target.store_pss_kib,
                (unsigned long long)s->target.pager_pss_kib,
                (unsigned long long)(s->daemon.pss_kib - s->daemon.memfd_pss_kib),
                (unsigned long long)s->store_blocks_kib, (unsigned long long)memory_paid_kib(s),
                (unsigned long long)s->daemon_cpu_ms, (unsigned long long)s->cost_us,
                (unsigned long long)s->zram_used_kib,
                (unsigned long long)s->target.anon_huge_kib);
    }
    return file_close(out);
}
