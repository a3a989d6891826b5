/* fuse.c - see fuse.h. */
#include "fuse.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/pagesize.h"
#include "support.h"

#define FAILED_READS 2u
#define REQUEST_BYTES_MAX (64u << 10)
#define SECONDS_MAX 40u

static void reply(int dev, uint64_t unique, const void *bytes, size_t size, int error)
{
    unsigned char out[sizeof(struct fuse_out_header) + PAGE_BYTES];
    const struct fuse_out_header header = { .len = (uint32_t)(sizeof header + size), .error = error,
                                            .unique = unique };
    memcpy(out, &header, sizeof header);
    memcpy(out + sizeof header, bytes, size);
    (void)!write(dev, out, header.len);
}

static const struct fuse_attr attributes = { .ino = 1, .size = FUSE_PAGES * PAGE_BYTES, .mode = S_IFREG | 0666,
                                             .nlink = 1 };

static void answer_read(int dev, const struct fuse_in_header *h, struct fuse_silence *silence)
{
    static const unsigned char zeros[PAGE_BYTES];
    static unsigned nr_reads;
    if (atomic_load(&silence->of_read_ms) && nr_reads++ % (FAILED_READS + 1) < FAILED_READS)
        return reply(dev, h->unique, "", 0, -5 /* EIO */);
    uint64_t begin_ms = test_now_ms();
    atomic_fetch_add(&silence->nr_kept, 1);
    while (test_now_ms() - begin_ms < atomic_load(&silence->of_read_ms))
        test_nap_us(500);
    reply(dev, h->unique, zeros, sizeof zeros, 0);
}

static void answer(int dev, const struct fuse_in_header *h, struct fuse_silence *silence)
{
    const struct fuse_init_out init = { .major = 7, .minor = 31, .max_readahead = PAGE_BYTES,
                                        .flags = FUSE_WRITEBACK_CACHE, .max_write = PAGE_BYTES };
    const struct fuse_attr_out attr = { .attr = attributes };
    const struct fuse_open_out open = { .fh = 1 };
    const struct fuse_write_out written = { .size = PAGE_BYTES };
    switch (h->opcode) {
    case FUSE_INIT:    return reply(dev, h->unique, &init, sizeof init, 0);
    case FUSE_GETATTR:
    case FUSE_SETATTR: return reply(dev, h->unique, &attr, sizeof attr, 0);
    case FUSE_OPEN:    return reply(dev, h->unique, &open, sizeof open, 0);
    case FUSE_READ:    return answer_read(dev, h, silence);
    case FUSE_WRITE:
        if (!atomic_load(&silence->of_write))
            reply(dev, h->unique, &written, sizeof written, 0);
        return;
    case FUSE_FLUSH:
        (void)usleep(atomic_load(&silence->flush_ms) * 1000);
        if (!atomic_load(&silence->of_flush))
            reply(dev, h->unique, "", 0, 0);
        return;
    case FUSE_FORGET:
    case FUSE_INTERRUPT: /* these want none */
        return;
    default:
        return reply(dev, h->unique, "", 0, -38 /* ENOSYS: and it is not asked again */);
    }
}

_Noreturn static void serve(int dev, struct fuse_silence *silence)
{
    static _Alignas(struct fuse_in_header) unsigned char request[REQUEST_BYTES_MAX];
    (void)alarm(SECONDS_MAX); /* what waits for it cannot be killed, however the test ends */
    while (read(dev, request, sizeof request) > 0) {
        (void)alarm(SECONDS_MAX);
        answer(dev, (const struct fuse_in_header *)request, silence);
    }
    _exit(0);
}

pid_t fuse_serve(const char *path, uid_t owner, struct fuse_silence *silence)
{
    char options[128];
    int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (dev < 0 || unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return 0;
    (void)snprintf(options, sizeof options, "fd=%d,rootmode=100000,user_id=%u,group_id=%u", dev, owner, owner);
    if (mount("fuse", path, "fuse", MS_NOSUID | MS_NODEV, options))
        return 0;
    pid_t pid = fork();
    if (pid == 0)
        serve(dev, silence);
    close(dev);
    return pid > 0 ? pid : 0;
}
