/* memfd.c - see memfd.h. */
#include "sys/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/pagesize.h"
#include "base/point.h"

int memfd_share(const char *name, size_t bytes, int *ret_fd, void **ret_map)
{
    int fd = point_fails(POINT_SHARED_FILE) ? -1 : memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    void *map = MAP_FAILED;
    if (!point_fails(POINT_SHARED_SIZE) && ftruncate(fd, (off_t)bytes) == 0 && !point_fails(POINT_SHARED_MAP))
        map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED || point_fails(POINT_SHARED_SEAL) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        int r = -errno;
        if (map != MAP_FAILED)
            munmap(map, bytes);
        close(fd);
        return r;
    }
    (void)madvise(map, bytes, MADV_DONTDUMP); /* others' pages go through it */
    *ret_fd = fd;
    *ret_map = map;
    return 0;
}

size_t memfd_populated_bytes(void *map, size_t bytes)
{
    unsigned char there[512];
    size_t nr = 0;
    for (size_t at = 0; at < bytes; at += pages_to_bytes(sizeof there)) {
        size_t length = bytes - at < pages_to_bytes(sizeof there) ? bytes - at
                                                                   : pages_to_bytes(sizeof there);
        if (mincore((unsigned char *)map + at, length, there))
            continue;
        for (size_t i = 0; i < bytes_to_pages(length + PAGE_BYTES - 1); i++)
            nr += there[i] & 1;
    }
    return pages_to_bytes(nr);
}
