/* zram.c - see zram.h. */
#include "zram.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STATE_PATH "/run/process-pager-bench.zram"
#define LOCK_PATH "/run/process-pager-bench.lock"
#define LOCK_PAUSE_MS 100u
#define PAGE_CLUSTER "/proc/sys/vm/page-cluster"
#define PRIORITY_HIGHEST 32767

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, text, strlen(text));
    int r = n < 0 ? -errno : 0;
    close(fd);
    return r;
}

static int read_int(const char *path, int *ret_value)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return -errno;
    int r = fscanf(f, "%d", ret_value) == 1 ? 0 : -EINVAL;
    fclose(f);
    return r;
}

static void sys_path(const struct zram *z, const char *name, char path[96])
{
    snprintf(path, 96, "/sys/block/zram%d/%s", z->id, name);
}

/* The header that mkswap(8) writes, version 1: one bad-page-free area over the whole device. */
static int write_swap_header(const char *device, uint64_t bytes)
{
    union {
        unsigned char bytes[4096];
        struct {
            unsigned char boot[1024];
            uint32_t version, last_page, nr_bad_pages;
        } header;
    } page;
    memset(&page, 0, sizeof page);
    page.header.version = 1;
    page.header.last_page = (uint32_t)(bytes / 4096 - 1);
    memcpy(page.bytes + 4096 - 10, "SWAPSPACE2", 10);
    int fd = open(device, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = pwrite(fd, &page, sizeof page, 0) == (ssize_t)sizeof page && fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return r;
}

static void write_state(const struct zram *z)
{
    FILE *f = fopen(STATE_PATH, "we");
    if (!f)
        return;
    fprintf(f, "%d %d\n", z->id, z->page_cluster_before);
    fclose(f);
}

/* devtmpfs makes the node; where it is not mounted we make it. */
static void device_path(const struct zram *z, char path[96])
{
    snprintf(path, 96, "/dev/zram%d", z->id);
    char number[96];
    sys_path(z, "dev", number);
    unsigned major_number = 0, minor_number = 0;
    FILE *f = access(path, F_OK) ? fopen(number, "re") : NULL;
    if (!f)
        return;
    if (fscanf(f, "%u:%u", &major_number, &minor_number) == 2)
        (void)mknod(path, S_IFBLK | 0600, makedev(major_number, minor_number));
    fclose(f);
}

static int set_up_disk(struct zram *z, uint64_t bytes)
{
    char path[96], text[32];
    sys_path(z, "comp_algorithm", path);
    int r = write_text(path, "lz4");
    snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
    sys_path(z, "disksize", path);
    if (r == 0)
        r = write_text(path, text);
    return r;
}

static int set_up_swap(struct zram *z, uint64_t bytes)
{
    char path[96];
    int r = set_up_disk(z, bytes);
    device_path(z, path);
    if (r == 0)
        r = write_swap_header(path, bytes);
    if (r == 0 && swapon(path, SWAP_FLAG_PREFER | PRIORITY_HIGHEST))
        r = -errno;
    if (r == 0)
        r = write_text(PAGE_CLUSTER, "0");
    return r;
}

/* Everything as it was; what is in it is read back by the kernel first. -errno: the device is still
 * there, and the state file that says so, for the next one to try. */
static int take_down(const struct zram *z)
{
    char path[96], text[16];
    device_path(z, path);
    if (swapoff(path) != 0 && errno != EINVAL && errno != ENOENT) /* EINVAL: it never was on */
        return -errno;
    snprintf(text, sizeof text, "%d", z->page_cluster_before);
    (void)write_text(PAGE_CLUSTER, text);
    sys_path(z, "reset", path);
    (void)write_text(path, "1");
    snprintf(text, sizeof text, "%d", z->id);
    int r = write_text("/sys/class/zram-control/hot_remove", text);
    if (r == -ENODEV) /* somebody else has removed it */
        r = 0;
    if (r == 0)
        (void)unlink(STATE_PATH);
    return r;
}

int zram_claim(unsigned patience_ms)
{
    int fd = open(LOCK_PATH, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    for (unsigned waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB); waited_ms += LOCK_PAUSE_MS) {
        int error = errno;
        if (error != EWOULDBLOCK || waited_ms >= patience_ms) {
            close(fd);
            return error == EWOULDBLOCK ? -EBUSY : -error;
        }
        struct timespec pause = { 0, (long)LOCK_PAUSE_MS * 1000000 };
        if (nanosleep(&pause, NULL)) { /* a signal: whoever sent it does not want to wait */
            close(fd);
            return -EINTR;
        }
    }
    return fd;
}

/* With the lock, what a state file speaks of is nobody's. */
static int recover(void)
{
    struct zram z;
    FILE *f = fopen(STATE_PATH, "re");
    if (!f)
        return 0;
    int n = fscanf(f, "%d %d", &z.id, &z.page_cluster_before);
    fclose(f);
    int r = n == 2 ? take_down(&z) : 0;
    if (r < 0)
        return r;
    return unlink(STATE_PATH) && errno != ENOENT ? -errno : 0;
}

int zram_recover(void)
{
    int lock = zram_claim(0);
    if (lock < 0)
        return lock == -EBUSY || lock == -EACCES ? 0 : lock;
    int r = recover();
    close(lock);
    return r;
}

static int begin(struct zram *z, uint64_t bytes, int (*set_up)(struct zram *, uint64_t),
                 char *ret_reason, size_t capacity)
{
    *z = (struct zram){ .id = -1, .lock = -1 };
    if (geteuid() != 0) {
        snprintf(ret_reason, capacity, "zram needs root");
        return -EPERM;
    }
    int lock = zram_claim(ZRAM_PATIENCE_MS);
    if (lock < 0) {
        snprintf(ret_reason, capacity, "%s: %s", LOCK_PATH,
                 lock == -EBUSY ? "another run has swap" : strerror(-lock));
        return lock;
    }
    int r = recover();
    if (r) {
        snprintf(ret_reason, capacity, "what an earlier run left cannot be removed: %s", strerror(-r));
        close(lock);
        return r;
    }
    r = read_int(PAGE_CLUSTER, &z->page_cluster_before);
    if (r == 0)
        r = read_int("/sys/class/zram-control/hot_add", &z->id);
    if (r) {
        snprintf(ret_reason, capacity, "this kernel has no zram (%s)", strerror(-r));
        z->id = -1;
        close(lock);
        return r;
    }
    z->lock = lock;
    write_state(z);
    r = set_up(z, bytes);
    if (r) {
        snprintf(ret_reason, capacity, "zram%d: %s", z->id, strerror(-r));
        zram_end(z);
    }
    return r;
}

int zram_begin(struct zram *z, uint64_t bytes, char *ret_reason, size_t capacity)
{
    return begin(z, bytes, set_up_swap, ret_reason, capacity);
}

int zram_begin_disk(struct zram *z, uint64_t bytes, char *ret_reason, size_t capacity)
{
    return begin(z, bytes, set_up_disk, ret_reason, capacity);
}

int zram_open(const struct zram *z, int flags)
{
    char path[96];
    device_path(z, path);
    int fd = open(path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void zram_end(struct zram *z)
{
    if (z->id < 0)
        return;
    int r = take_down(z);
    if (r < 0)
        fprintf(stderr, "zram%d: %s; left behind, the next run tries again\n", z->id, strerror(-r));
    close(z->lock);
    *z = (struct zram){ .id = -1, .lock = -1 };
}

int zram_usage(const struct zram *z, struct zram_usage *ret)
{
    char path[96];
    unsigned long long compressed, used, same, huge;
    sys_path(z, "mm_stat", path);
    FILE *f = fopen(path, "re");
    if (!f)
        return -errno;
    int n = fscanf(f, "%*u %llu %llu %*u %*u %llu %*u %llu", &compressed, &used, &same, &huge);
    fclose(f);
    if (n != 4)
        return -EINVAL;
    *ret = (struct zram_usage){ compressed, used, same, huge };
    return 0;
}

uint64_t zram_used_kib(const struct zram *z)
{
    struct zram_usage u;
    return zram_usage(z, &u) ? 0 : u.used_bytes / 1024;
}
