/* daemon_idle - with the real daemon: idle pages leave by themselves, pages in use stay, and
 * all bytes come back, version after version. Method: half of the pages are rewritten all
 * the time, the other half rests longer than the cold age; then they change roles. */
#include "support.h"

#include <signal.h>
#include <stdio.h>

#define NR 4096u
#define COLD_MS 200u

static struct daemon d;

static void use(struct pages *p, uint32_t first, uint32_t nr, unsigned ms)
{
    for (uint64_t until = test_now_ms() + ms; test_now_ms() < until; test_nap_us(20000))
        for (uint32_t i = first; i < first + nr; i++) {
            pages_check(p, i);
            pages_write(p, i);
        }
}

int main(void)
{
    test_begin("idle pages leave by themselves and come back right", 50);
    daemon_start(&d, (const char *[]){ "--cold-age", "200ms", "--reclaim-rate", "4G", NULL });
    struct pages p;
    pages_map(&p, NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    for (int round = 0; round < 2; round++) {
        uint32_t hot = round ? NR / 2 : 0, cold = NR / 2 - hot;
        uint64_t deadline_ms = test_now_ms() + test_limit_ms(20000);
        /* Where we do not run for the cold age what is hot is cold as well, until it is used again. */
        while (pages_nr_present(&p, cold, NR / 2) > NR / 20 ||
               pages_nr_present(&p, hot, NR / 2) <= NR / 2 - NR / 20) {
            CHECK(test_now_ms() < deadline_ms);
            use(&p, hot, NR / 2, 50);
        }
        pages_check_all(&p);
        for (uint32_t i = cold; i < cold + NR / 2; i++)
            pages_write(&p, i);
    }
    WAIT_LONG_UNTIL(pages_nr_present(&p, 0, NR) < NR / 20);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    CHECK_EQ(kill(d.pid, 0), 0);
    return test_end();
}
