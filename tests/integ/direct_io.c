/* direct_io - a read with O_DIRECT whose buffer is offered all the time while the device writes into
 * it: a pinned page must not leave, or the data is lost. Method: a file on a real file system is read
 * again and again into memory that the rogue daemon wants; each result is compared. Also the other
 * way: what is written is read back. */
#include "rogue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NR 64u
#define ROUNDS 150

static struct arena a;
static char path[64] = "pp-direct-io-XXXXXX"; /* in the build directory: /tmp may be a tmpfs */

/* Removed at once: nothing is left behind, however the test ends. */
static int open_direct(void)
{
    int plain = mkstemp(path);
    if (plain < 0)
        return -1;
    close(plain);
    int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    (void)unlink(path);
    return fd;
}

static void fill_file(int fd, uint32_t version)
{
    _Alignas(4096) static unsigned char whole[NR * 4096];
    for (uint32_t i = 0; i < NR; i++)
        pages_fill(whole + pages_to_bytes(i), a.pages.salt, i, version);
    CHECK_EQ(pwrite(fd, whole, sizeof whole, 0), (ssize_t)sizeof whole);
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("O_DIRECT into memory that is leaving loses nothing", 30);
    int fd = open_direct();
    if (fd < 0 && (errno == EINVAL || errno == EACCES || errno == EROFS))
        test_skip("O_DIRECT is not possible in this directory");
    CHECK(fd >= 0);
    arena_begin(&a, r, NR);
    rogue_offer_only(r, a.pages.memory, NR);
    for (uint32_t version = 2; version < 2 + ROUNDS; version++) {
        fill_file(fd, version);
        CHECK_EQ(pread(fd, a.pages.memory, pages_to_bytes(NR), 0), (ssize_t)pages_to_bytes(NR));
        for (uint32_t i = 0; i < NR; i++)
            a.pages.versions[i] = version;
        if (version % 4 == 0)
            test_nap_us(2000); /* until they are out again */
        pages_check_all(&a.pages);
    }
    test_case("written");
    for (int round = 0; round < 20; round++) {
        pages_write_all(&a.pages);
        test_nap_us(1000);
        CHECK_EQ(pwrite(fd, a.pages.memory, pages_to_bytes(NR), 0), (ssize_t)pages_to_bytes(NR));
        memset(a.pages.memory, 0, pages_to_bytes(NR));
        CHECK_EQ(pread(fd, a.pages.memory, pages_to_bytes(NR), 0), (ssize_t)pages_to_bytes(NR));
        pages_check_all(&a.pages);
    }
    rogue_pause(r);
    printf("%lu evictions, %lu refused as busy\n",
           (unsigned long)pager_stat(a.pager, "client_evict_success"),
           (unsigned long)pager_stat(a.pager, "evict_busy"));
    CHECK(pager_stat(a.pager, "client_evict_success") > NR);
    arena_end(&a);
    return test_end();
}
