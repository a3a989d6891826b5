/* bookkeeping - what the pager costs: at 512 MiB all out, everything that client and daemon keep beside
 * payload and fixed buffers is at most 16 bytes for each managed page; staging and the ring of raw
 * pages are at most max(4 MiB, 1/64 of what is managed) and go back when idle. Method: anonymous
 * memory of both processes by smaps, with a small range out and with all out: what is there with the
 * small range (stacks, rings of orders) does not grow; it is printed. Buffers are sampled while
 * everything leaves. */
#include "support.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "wire/session_memory.h"

#define NR 131072u
#define SMALL 64u
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BYTES_PER_PAGE_MAX 128u /* shadow memory is anonymous, too */
#else
#define BYTES_PER_PAGE_MAX 16u
#endif

/* Anonymous memory of a process in bytes. */
static uint64_t anonymous_bytes(pid_t pid)
{
    char path[64], line[256];
    unsigned long kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(path, "re");
    CHECK(f);
    while (fgets(line, sizeof line, f) && sscanf(line, "Anonymous: %lu", &kib) != 1)
        ;
    fclose(f);
    return (uint64_t)kib * 1024;
}

/* Resident bytes of staging, landing and raw pages: the write-protect-registered maps that are not
 * the pages themselves, and the session's memory without its rings. */
static uint64_t buffer_bytes(const struct pages *p)
{
    char line[256];
    unsigned long start = 0, end = 0, rss_kib = 0;
    uint64_t sum = 0;
    bool is_session = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    CHECK(f);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && strchr(line, '-') < line + 17)
            is_session = strstr(line, "process-pager-session") != NULL;
        (void)sscanf(line, "Rss: %lu", &rss_kib);
        bool is_pages = start < (uintptr_t)p->memory + pages_to_bytes(p->nr) && end > (uintptr_t)p->memory;
        if (strncmp(line, "VmFlags:", 8) || is_pages)
            continue;
        if (is_session && rss_kib * 1024 > SESSION_RAW_OFFSET)
            sum += rss_kib * 1024 - SESSION_RAW_OFFSET;
        else if (strstr(line, " uw"))
            sum += rss_kib * 1024;
    }
    fclose(f);
    return sum;
}

int main(void)
{
    static struct daemon d;
    static struct pages p;
    test_begin("the pager's own memory stays within its bounds", 40);
    /* Squeezing begins after half a minute, and stores pages twice for a while: slow machines would meet it. */
    daemon_start(&d, (const char *[]){ "--cold-age", "300ms", "--reclaim-rate", "4G", "--squeeze-age", "1h",
                                       NULL });
    test_nap_us(200000);
    pages_map(&p, NR);
    pages_write_all(&p);
    struct pages small;
    pages_map(&small, SMALL);
    pages_write_all(&small);
    uint64_t client_without = anonymous_bytes(getpid()) - pages_to_bytes(NR + SMALL);
    struct pp_pager *pager = pager_open(d.socket_path);
    CHECK_EQ(pp_register(pager, small.memory, pages_to_bytes(SMALL)), 0);
    pager_start(pager);
    WAIT_UNTIL(pages_nr_present(&small, 0, SMALL) == 0 && buffer_bytes(&p) < ((size_t)1 << 20));
    uint64_t client_fixed = anonymous_bytes(getpid()) - pages_to_bytes(NR);
    uint64_t daemon_fixed = anonymous_bytes(d.pid);

    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    uint64_t buffers_max = 0;
    for (uint64_t until = test_now_ms() + test_limit_ms(15000); pages_nr_present(&p, 0, NR) > NR / 200;) {
        uint64_t now = buffer_bytes(&p);
        buffers_max = now > buffers_max ? now : buffers_max;
        CHECK(test_now_ms() < until);
    }
    WAIT_UNTIL(buffer_bytes(&p) < ((size_t)1 << 20)); /* idle: given back */
    uint64_t here = memory_nr_present(p.memory, NR);
    uint64_t client = anonymous_bytes(getpid()) - pages_to_bytes(here) - client_fixed;
    uint64_t daemon = anonymous_bytes(d.pid) - daemon_fixed;
    printf("client %.2f and daemon %.2f bytes a page, the table alone %.2f; fixed: client %lu KiB; "
           "buffers at most %.2f MiB, idle %.2f\n",
           (double)client / NR, (double)daemon / NR, (double)pager_stat(pager, "table_bytes") / NR,
           (unsigned long)(client_fixed - client_without) / 1024, (double)buffers_max / (1 << 20),
           (double)buffer_bytes(&p) / (1 << 20));
    CHECK(buffers_max <= pages_to_bytes(NR) / 64); /* more than 4 MiB */
    uint64_t touchers = test_is_direct() ? NR / 8 * 3 : 0; /* three bits a page (direct/direct.h) */
    CHECK(client + daemon <= (uint64_t)BYTES_PER_PAGE_MAX * NR + touchers);
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pages_check_all(&small);
    pp_close(pager);
    return test_end();
}
