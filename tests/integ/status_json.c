/* status_json - `process-pager status --json` says what its manual page says, and nothing else. Method: a
 * client that has everything out; each key that the page lists must be there with the type that it names,
 * each key that is there must be listed; then a few numbers are compared with what is known otherwise. */
#include "command.h"
#include "support.h"

#include <cjson/cJSON.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stats/stats.h"

#define NR 4096u
#define REFUSED 16u
#define KEYS_MAX 64u

struct shared {
    char socket_path[108];
    _Atomic uint32_t is_out, must_end;
    pid_t pid;
};

static struct shared *shared;
static struct command c;

static int client(void *unused)
{
    (void)unused;
    struct pages p;
    pages_map(&p, NR);
    pages_write_all(&p);
    void *other = mmap(NULL, pages_to_bytes(REFUSED), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct pp_pager *pager = pager_open(shared->socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    CHECK_EQ(pp_register(pager, other, pages_to_bytes(REFUSED)), 0);
    pager_start(pager);
    WAIT_LONG_UNTIL(pager_stat(pager, "pages_stored") == NR && pager_stat(pager, "pages_refused") == REFUSED);
    pages_check(&p, 7); /* one fault */
    WAIT_LONG_UNTIL(pager_stat(pager, "pages_stored") == NR && pager_stat(pager, "faults_missing") > 0);
    atomic_store(&shared->is_out, 1);
    WAIT_LONG_UNTIL(atomic_load(&shared->must_end));
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    return 0;
}

/* ---- the manual page */

struct key {
    char name[64], type[32];
    bool is_met;
};

static struct key keys[KEYS_MAX];
static size_t nr_keys;

/* The lines ".It Cm name No type" of one .Ss section. */
static void read_page(const char *section)
{
    char path[512], line[512], wanted[64];
    const char *source = getenv("PP_SOURCE");
    (void)snprintf(path, sizeof path, "%s/man/process-pager.1", source ? source : ".");
    (void)snprintf(wanted, sizeof wanted, ".Ss %s\n", section);
    FILE *f = fopen(path, "re");
    if (!f)
        test_skip("the manual page is not here: set PP_SOURCE to the source's folder");
    bool is_inside = false;
    nr_keys = 0;
    while (fgets(line, sizeof line, f)) {
        if (!strncmp(line, ".S", 2))
            is_inside = !strcmp(line, wanted);
        struct key *k = &keys[nr_keys];
        k->is_met = false;
        if (is_inside && sscanf(line, ".It Cm %63s No %31[^\n]", k->name, k->type) == 2)
            CHECK(++nr_keys < KEYS_MAX);
    }
    fclose(f);
    CHECK(nr_keys > 0);
}

static bool is_of_type(const cJSON *item, const char *type)
{
    if (!strcmp(type, "number or null"))
        return cJSON_IsNumber(item) || cJSON_IsNull(item);
    return (!strcmp(type, "number") && cJSON_IsNumber(item)) ||
           (!strcmp(type, "text") && cJSON_IsString(item)) ||
           (!strcmp(type, "boolean") && cJSON_IsBool(item)) ||
           (!strcmp(type, "list") && cJSON_IsArray(item));
}

static bool is_counted(const char *name)
{
    for (size_t i = 0; i < stats_export_count(); i++)
        if (!strcmp(stats_export_name(i), name))
            return true;
    return false;
}

static void compare(const cJSON *object, const char *section, bool has_numbers)
{
    test_case(section);
    read_page(section);
    size_t nr_counted = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, object)
    {
        struct key *k = keys;
        while (k < keys + nr_keys && strcmp(k->name, item->string))
            k++;
        bool is_number = has_numbers && is_counted(item->string) && cJSON_IsNumber(item);
        nr_counted += is_number;
        if (is_number)
            continue;
        if (k == keys + nr_keys)
            test_fail(__FILE__, __LINE__, "%s is not in the manual page", item->string);
        if (!is_of_type(item, k->type))
            test_fail(__FILE__, __LINE__, "%s is no %s", item->string, k->type);
        k->is_met = true;
    }
    for (size_t i = 0; i < nr_keys; i++)
        if (!keys[i].is_met)
            test_fail(__FILE__, __LINE__, "%s is not in the answer", keys[i].name);
    if (has_numbers)
        CHECK_EQ(nr_counted, stats_export_count());
}

/* ---- what is known otherwise */

static double number(const cJSON *object, const char *name)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(object, name);
    CHECK(cJSON_IsNumber(n));
    return n->valuedouble;
}

static void numbers_are_right(const cJSON *root, const cJSON *s)
{
    test_case("numbers");
    double out = (double)pages_to_bytes(NR), paid = number(s, "paid_bytes");
    CHECK_EQ(number(root, "schema"), 1);
    CHECK_EQ(number(s, "pid"), shared->pid);
    CHECK_EQ(number(s, "uid"), geteuid());
    CHECK_EQ(number(s, "pages_stored"), NR);
    CHECK_EQ(number(s, "ranges_refused_kind"), number(s, "ranges_refused"));
    CHECK_EQ(number(s, "pages_refused"), REFUSED);
    CHECK_EQ(number(s, "saved_net_bytes"), out - paid);
    CHECK(paid >= number(s, "store_held_bytes") && number(s, "store_held_bytes") > 0);
    /* These pages shrink to an eighth and a little; rings and notes take less than 2 MiB. */
    CHECK(paid > out / 8 && paid < number(s, "store_held_bytes") + 2 * (1 << 20));
    CHECK(number(root, "saved_net_bytes") < number(s, "saved_net_bytes"));
    CHECK(number(s, "fault_missing_ns_n") >= 1 && number(s, "fault_missing_ns_p50") > 0);
    CHECK(number(s, "evictions_per_s") > 0);
    CHECK(number(s, "resident_bytes") > 0 && number(s, "resident_bytes") < out);
    double tiers = 0;
    const cJSON *tier;
    cJSON_ArrayForEach(tier, cJSON_GetObjectItemCaseSensitive(s, "tiers"))
        tiers += number(tier, "pages");
    CHECK_EQ(tiers, NR);
}

static void people_read_the_same(const struct daemon *d)
{
    char pid[16];
    (void)snprintf(pid, sizeof pid, "%d", (int)shared->pid);
    const char *tool = program_path("process-pager");
    test_case("the table");
    command_run(&c, 0, (const char *const[]){ tool, "status", "--socket", d->socket_path, NULL });
    CHECK(c.code == 0 && !*c.err && strstr(c.out, pid) && strstr(c.out, "status_json") &&
          strstr(c.out, " 16.0M "));
    for (const char *line = c.out; *line; line = strchr(line, '\n') + 1)
        CHECK(strcspn(line, "\n") < 80);
    test_case("one process at length");
    command_run(&c, 0, (const char *const[]){ tool, "status", "--socket", d->socket_path, pid, NULL });
    CHECK(c.code == 0 && !*c.err && strstr(c.out, "in lz4") && strstr(c.out, "p99.9") &&
          strstr(c.out, "a file's or the kernel's"));
}

int main(void)
{
    static struct daemon d;
    shared = test_shared(sizeof *shared);
    test_begin("the status as JSON is what its manual page says", 50);
    daemon_start(&d, (const char *const[]){ "--cold-age", "50ms", "--reclaim-rate", "4G", NULL });
    strcpy(shared->socket_path, d.socket_path);
    shared->pid = helper_start(client, NULL);
    WAIT_LONG_UNTIL(atomic_load(&shared->is_out));
    test_nap_us(1300000); /* rates are of half a second at least */
    const char *tool = program_path("process-pager");
    char pid[16];
    (void)snprintf(pid, sizeof pid, "%d", (int)shared->pid);
    command_run(&c, 0, (const char *const[]){ tool, "status", "--json", "--socket", d.socket_path, pid, NULL });
    CHECK(c.code == 0 && !*c.err);
    cJSON *root = cJSON_Parse(c.out);
    CHECK(root);
    const cJSON *sessions = cJSON_GetObjectItemCaseSensitive(root, "sessions");
    CHECK_EQ(cJSON_GetArraySize(sessions), 1);
    const cJSON *s = cJSON_GetArrayItem(sessions, 0);
    compare(root, "JSON", false);
    compare(s, "JSON of a session", true);
    const cJSON *tier;
    cJSON_ArrayForEach(tier, cJSON_GetObjectItemCaseSensitive(s, "tiers"))
        compare(tier, "JSON of a tier", false);
    numbers_are_right(root, s);
    cJSON_Delete(root);
    people_read_the_same(&d);
    atomic_store(&shared->must_end, 1);
    CHECK_EQ(helper_wait(shared->pid), 0);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
