/* by_hand - process-pager reclaim and drain move a process's memory when somebody asks for it, for the
 * process's own user and root only, and lose nothing. Method: the real tool, daemon and client; clients are
 * helpers that say what of their memory is present (by pagemap) and compare all bytes when told to. */
#include "command.h"
#include "process.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "wire/msg.h"

#define NR 6000u
#define YOUNG 100u /* pages of a range that is younger than the cold age when it is asked for */

enum wish { WISH_NONE, WISH_CHECK, WISH_REWRITE, WISH_RECLAIM, WISH_YOUNG, WISH_HEAT, WISH_END };

/* A client, as the test sees it. */
struct client {
    char socket_path[108];
    uid_t uid; /* 0: ours */
    _Atomic int wish;
    _Atomic uint32_t nr_present, nr_young;
    _Atomic uint32_t is_up;
    pid_t pid;
};

static struct client *clients; /* two */
static struct daemon d;
static struct command c;
static char tool[512];

/* ---- the client's side */

static struct pages p, young;

static void fulfil(struct client *me, struct pp_pager *pager, int wish)
{
    switch (wish) {
    case WISH_CHECK:
        pages_check_all(&p);
        break;
    case WISH_REWRITE:
        pages_write_all(&p);
        break;
    case WISH_RECLAIM:
        CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), 0);
        break;
    case WISH_YOUNG:
        pages_map(&young, YOUNG);
        pages_write_all(&young);
        CHECK_EQ(pp_register(pager, young.memory, pages_to_bytes(YOUNG)), 0);
        break;
    default:
        break;
    }
    if (wish != WISH_HEAT)
        atomic_store(&me->wish, WISH_NONE);
}

static int client_main(void *argument)
{
    struct client *me = argument;
    if (me->uid && !become_client(me->uid))
        return 1;
    pages_map(&p, NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(me->socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    atomic_store(&me->is_up, 1);
    for (int wish; (wish = atomic_load(&me->wish)) != WISH_END; test_nap_us(2000)) {
        if (wish == WISH_HEAT) /* the second half is in use */
            for (uint32_t i = NR / 2; i < NR; i++)
                pages_write(&p, i);
        fulfil(me, pager, wish);
        atomic_store(&me->nr_present, pages_nr_present(&p, 0, NR));
        if (young.nr)
            atomic_store(&me->nr_young, pages_nr_present(&young, 0, YOUNG));
    }
    CHECK_EQ(pp_stop(pager), 0);
    pages_check_all(&p);
    pp_close(pager);
    return 0;
}

/* ---- the test's side */

static void client_begin(struct client *me, uid_t uid)
{
    memset(me, 0, sizeof *me);
    strcpy(me->socket_path, d.socket_path);
    me->uid = uid;
    me->pid = helper_start(client_main, me);
    WAIT_UNTIL(atomic_load(&me->is_up));
}

static void client_end(struct client *me)
{
    atomic_store(&me->wish, WISH_END);
    CHECK_EQ(helper_wait(me->pid), 0);
}

static void wish(struct client *me, int what)
{
    atomic_store(&me->wish, what);
    WAIT_LONG_UNTIL(atomic_load(&me->wish) == WISH_NONE);
}

/* What is present, looked at after this call: what is said first may have been begun before. */
static uint32_t nr_present(struct client *me)
{
    for (int i = 0; i < 2; i++) {
        atomic_store(&me->nr_present, UINT32_MAX);
        WAIT_UNTIL(atomic_load(&me->nr_present) != UINT32_MAX);
    }
    return atomic_load(&me->nr_present);
}

static int ask_as(uid_t uid, const char *command, const char *option, pid_t pid)
{
    char word[16];
    (void)snprintf(word, sizeof word, "%d", (int)pid);
    const char *words[8] = { tool, command, "--socket", d.socket_path };
    unsigned nr = 4;
    if (option)
        words[nr++] = option;
    if (option && !strcmp(option, "--age"))
        words[nr++] = "3s";
    words[nr] = word;
    command_run(&c, uid, words);
    return c.code;
}

static void expect(int code, const char *says)
{
    if (c.code != code || !strstr(code ? c.err : c.out, says))
        test_fail(__FILE__, __LINE__, "code %d, should be %d, with '%s':\n%s%s", c.code, code, says, c.err,
                  c.out);
}

static void all_and_back(struct client *me)
{
    test_case("everything, and a range that is young");
    wish(me, WISH_YOUNG);
    CHECK_EQ(nr_present(me), NR);
    (void)ask_as(0, "reclaim", "--all", me->pid);
    expect(0, " is out, 0 was before");
    CHECK_EQ(nr_present(me), 0);
    WAIT_UNTIL(atomic_load(&me->nr_young) == 0);
    wish(me, WISH_CHECK);
    test_case("the same again, written meanwhile");
    wish(me, WISH_REWRITE);
    (void)ask_as(0, "reclaim", "--all", me->pid);
    expect(0, " is out");
    CHECK_EQ(nr_present(me), 0);
    test_case("drain");
    (void)ask_as(0, "drain", NULL, me->pid);
    expect(0, " is back");
    CHECK_EQ(nr_present(me), NR);
    wish(me, WISH_CHECK);
    test_case("a drained process's own pp_reclaim");
    wish(me, WISH_RECLAIM);
    CHECK_EQ(nr_present(me), NR);
    test_case("a reclaim ends the hold");
    (void)ask_as(0, "reclaim", "--all", me->pid);
    expect(0, " is out");
    CHECK_EQ(nr_present(me), 0);
    wish(me, WISH_CHECK);
    (void)ask_as(0, "drain", NULL, me->pid);
    (void)ask_as(0, "drain", "--resume", me->pid);
    expect(0, "leaves again");
    wish(me, WISH_RECLAIM);
    CHECK_EQ(nr_present(me), 0);
    (void)ask_as(0, "drain", NULL, me->pid);
    wish(me, WISH_CHECK);
}

static void by_age(struct client *me)
{
    test_case("by age: half of it, long before the cold age");
    uint64_t begin_ms = test_now_ms();
    wish(me, WISH_REWRITE);
    atomic_store(&me->wish, WISH_HEAT);
    do {
        CHECK(test_now_ms() < begin_ms + test_limit_ms(30000));
        test_nap_us(200000);
        (void)ask_as(0, "reclaim", "--age", me->pid);
        expect(0, " is out");
    } while (nr_present(me) > NR * 6 / 10);
    CHECK(test_now_ms() >= begin_ms + 2500);
    CHECK(nr_present(me) >= NR / 2); /* what is written all the time has not left */
    atomic_store(&me->wish, WISH_NONE);
    wish(me, WISH_CHECK);
}

static void who_may(struct client *me, struct client *other)
{
    test_case("another user's process");
    CHECK_EQ(chmod(d.socket_path, 0666), 0);
    client_begin(other, NOBODY);
    static const char *const commands[] = { "reclaim", "drain" };
    for (unsigned i = 0; i < 2; i++) {
        (void)ask_as(NOBODY, commands[i], NULL, me->pid);
        expect(EX_NOPERM, "another user's");
    }
    (void)ask_as(NOBODY, "drain", "--resume", me->pid);
    expect(EX_NOPERM, "another user's");
    test_case("one's own, and root");
    (void)ask_as(NOBODY, "reclaim", "--all", other->pid);
    expect(0, " is out");
    CHECK_EQ(nr_present(other), 0);
    (void)ask_as(0, "drain", NULL, other->pid);
    expect(0, " is back");
    CHECK_EQ(nr_present(other), NR);
    test_case("who sees whom");
    char name[32];
    const char *const status[] = { tool, "status", "--json", "--socket", d.socket_path, NULL };
    command_run(&c, NOBODY, status);
    (void)snprintf(name, sizeof name, "\"pid\":%d,", (int)me->pid);
    CHECK(c.code == 0 && !strstr(c.out, name) && strstr(c.out, "\"sessions_of_others\":1"));
    (void)snprintf(name, sizeof name, "\"pid\":%d,", (int)other->pid);
    CHECK(strstr(c.out, name));
    (void)ask_as(NOBODY, "status", NULL, me->pid);
    expect(EX_UNAVAILABLE, "that you may see");
    command_run(&c, 0, status);
    CHECK(c.code == 0 && strstr(c.out, name) && strstr(c.out, "\"sessions_of_others\":0"));
    (void)snprintf(name, sizeof name, "\"pid\":%d,", (int)me->pid);
    CHECK(strstr(c.out, name));
    client_end(other);
}

/* A library of before: it says hello without the feature, and must not be sent what it does not know. */
static void an_old_library(void)
{
    test_case("a client that does not take orders");
    int fd = socket_connect(d.socket_path), pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    struct msg_hello hello = { .version = WIRE_VERSION, .name = "old" };
    struct msg_fds fds = { .fd = { pagemap }, .nr = 1 }, got = { .nr = 0 };
    struct msg m;
    CHECK_EQ(msg_send(fd, MSG_HELLO, &hello, &fds), 0);
    WAIT_UNTIL(msg_recv(fd, &m, &got) == 0);
    CHECK_EQ(m.header.type, MSG_WELCOME);
    msg_fds_close(&got);
    (void)ask_as(0, "drain", NULL, getpid());
    expect(EX_UNAVAILABLE, "library");
    CHECK_EQ(msg_recv(fd, &m, &got), -EAGAIN);
    close(pagemap);
    close(fd);
}

static pid_t start_tool(const char *command, pid_t pid)
{
    char word[16];
    (void)snprintf(word, sizeof word, "%d", (int)pid);
    return helper_exec((char *const[]){ tool, (char *)command, "--socket", d.socket_path, "--force", word,
                                        NULL });
}

static void who_stands_still_or_goes(struct client *me)
{
    test_case("no such process");
    (void)ask_as(0, "reclaim", NULL, getpid());
    expect(EX_UNAVAILABLE, "no session");
    test_case("a process that is stopped is busy, and then gone");
    CHECK(process_stop(me->pid));
    pid_t first = start_tool("drain", me->pid);
    uint64_t deadline_ms = test_now_ms() + test_limit_ms(5000);
    do { /* until the first has been heard */
        CHECK(test_now_ms() < deadline_ms);
        (void)ask_as(0, "status", "--json", me->pid);
    } while (!strstr(c.out, "\"drained\""));
    (void)ask_as(0, "drain", "--resume", me->pid);
    CHECK(strstr(c.err, "just now"));
    CHECK_EQ(c.code, EX_UNAVAILABLE);
    CHECK_EQ(helper_kill(me->pid, SIGKILL), SIGKILL);
    int status = helper_wait(first);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EX_UNAVAILABLE);
}

static bool has_left(struct client *me)
{
    return nr_present(me) < NR / 10;
}

/* With a cold age that is short pages leave by themselves, but for the hold. */
static void a_hold_lasts(struct client *me)
{
    test_case("nothing leaves by itself while it is drained");
    client_begin(me, 0);
    WAIT_LONG_UNTIL(has_left(me));
    (void)ask_as(0, "drain", NULL, me->pid);
    expect(0, "nothing leaves");
    for (uint64_t until_ms = test_now_ms() + 1000; test_now_ms() < until_ms; test_nap_us(50000))
        CHECK_EQ(nr_present(me), NR);
    (void)ask_as(0, "drain", "--resume", me->pid);
    WAIT_LONG_UNTIL(has_left(me));
    wish(me, WISH_CHECK);
    test_case("it ends with the daemon");
    (void)ask_as(0, "drain", NULL, me->pid);
    CHECK_EQ(helper_kill(d.pid, SIGKILL), SIGKILL);
    char path[108];
    strcpy(path, d.socket_path);
    daemon_start(&d, (const char *const[]){ "--cold-age", "50ms", NULL });
    CHECK(!strcmp(path, d.socket_path));
    WAIT_LONG_UNTIL(has_left(me));
    wish(me, WISH_CHECK);
    client_end(me);
}

int main(void)
{
    clients = test_shared(2 * sizeof *clients);
    test_begin("memory moves by hand, for those who may, and nothing is lost", 100);
    (void)snprintf(tool, sizeof tool, "%s", program_path("process-pager"));
    daemon_start(&d, (const char *const[]){ "--cold-age", "15s", NULL });
    client_begin(&clients[0], 0);
    all_and_back(&clients[0]);
    by_age(&clients[0]);
    if (geteuid() == 0) {
        directory_open_to_all();
        who_may(&clients[0], &clients[1]);
    } else {
        fprintf(stderr, "not shown without root: that others may not\n");
    }
    an_old_library();
    who_stands_still_or_goes(&clients[0]);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    daemon_start(&d, (const char *const[]){ "--cold-age", "50ms", NULL });
    a_hold_lasts(&clients[0]);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
