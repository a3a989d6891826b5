/* daemon_full - the store's cap is reached: what does not fit stays, nothing is lost, and what comes
 * back makes room again. Method: a cap of 1 MiB for 64 MiB of pages that shrink to an eighth. */
#include "support.h"

#include <signal.h>

#define NR 16384u

int main(void)
{
    static struct daemon d;
    static struct pages p;
    test_begin("a full store keeps what it has and refuses the rest", 50);
    daemon_start(&d, (const char *[]){ "--cold-age", "100ms", "--reclaim-rate", "4G", "--store-cap", "1M",
                                       NULL });
    pages_map(&p, NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    for (int round = 0; round < 3; round++) {
        uint64_t refused = pager_stat(pager, "compress_full");
        WAIT_LONG_UNTIL(pager_stat(pager, "compress_full") > refused && pager_stat(pager, "pages_stored") > 500);
        CHECK(pager_stat(pager, "pages_stored") < NR / 4);
        pages_check_all(&p);
        pages_write_all(&p);
    }
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    return test_end();
}
