/* descriptors - the application may close every descriptor and reuse every number: the pager's two
 * threads have a table of their own, and show nothing in the application's. Method: all numbers are
 * closed with everything out, then reused for something else, then closed again. */
#include "rogue.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define NR 512u

static struct arena a;

static int nr_open(void)
{
    int nr = 0;
    for (int fd = 0; fd < 1024; fd++)
        nr += fcntl(fd, F_GETFD) >= 0;
    return nr;
}

int main(void)
{
    struct rogue *r = rogue_new("rogue");
    test_begin("the application closes and reuses all descriptors", 20);
    rogue_start(r);
    pages_map(&a.pages, NR);
    pages_write_all(&a.pages);
    a.rogue = r;
    a.pager = pager_open(r->socket_path);
    CHECK_EQ(pp_register(a.pager, a.pages.memory, pages_to_bytes(NR)), 0);
    int before = nr_open();
    pager_start(a.pager);
    CHECK_EQ(nr_open(), before);
    arena_all_out(&a);
    /* Standard error and the supervisor's socket stay: the test needs them to fail. */
    for (int fd = 0; fd < 1024; fd++)
        if (fd != 2 && fd != test_socket())
            (void)close(fd);
    for (int i = 0; i < 60; i++)
        (void)open("/dev/zero", O_RDWR);
    pages_check_all(&a.pages);
    for (int round = 0; round < 5; round++) {
        pages_write_all(&a.pages);
        arena_all_out(&a);
        pages_check_all(&a.pages);
    }
    test_case("no descriptor left for the application");
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 4;
    arena_all_out(&a);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    pages_check_all(&a.pages);
    CHECK_EQ(pp_stop(a.pager), 0);
    pages_check_all(&a.pages);
    pp_close(a.pager);
    return test_end();
}
