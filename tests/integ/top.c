/* top - `process-pager top` shows the sessions, sorts them, follows what happens and the terminal's size,
 * and leaves the terminal as it was. Method: the real program on a pseudo-terminal that is an xterm of
 * 80x24 to it; what it writes goes through a model of such a terminal (screen.h). */
#include "command.h"
#include "screen.h"
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

struct client {
    char socket_path[108], name[16];
    uint32_t nr_pages;
    _Atomic uint32_t is_out, must_end;
    pid_t pid;
};

static struct client *clients;
static struct daemon d;
static struct screen s;
static struct command c;
static char tool[512];

static int client_main(void *argument)
{
    struct client *me = argument;
    struct pages p;
    (void)prctl(PR_SET_NAME, me->name);
    pages_map(&p, me->nr_pages);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(me->socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(me->nr_pages)), 0);
    pager_start(pager);
    WAIT_LONG_UNTIL(pager_stat(pager, "pages_stored") == me->nr_pages);
    atomic_store(&me->is_out, 1);
    while (!atomic_load(&me->must_end))
        test_nap_us(5000);
    CHECK_EQ(pp_stop(pager), 0);
    pp_close(pager);
    return 0;
}

static void client_begin(struct client *me, const char *name, uint32_t nr_pages)
{
    strcpy(me->socket_path, d.socket_path);
    strcpy(me->name, name);
    me->nr_pages = nr_pages;
    me->pid = helper_start(client_main, me);
    WAIT_LONG_UNTIL(atomic_load(&me->is_out));
}

static void client_end(struct client *me)
{
    atomic_store(&me->must_end, 1);
    CHECK_EQ(helper_wait(me->pid), 0);
}

/* Until the condition holds for what the screen shows. */
#define SHOWS(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_ = test_now_ms() + test_limit_ms(5000);                                     \
        while (!(condition)) {                                                                     \
            if (test_now_ms() > until_)                                                            \
                show_and_fail(__LINE__, #condition);                                               \
            CHECK(screen_take(&s, 20));                                                            \
        }                                                                                          \
    } while (0)

static void show_and_fail(int line, const char *condition)
{
    for (int y = 0; y < s.rows; y++)
        fprintf(stderr, "|%s|\n", s.cells[y]);
    test_fail(__FILE__, line, "not shown: %s", condition);
}

static bool is_above(const char *one, const char *other)
{
    int y = screen_find(&s, one), z = screen_find(&s, other);
    return y > 1 && z > 1 && y < z;
}

static void start(const char *term)
{
    screen_start(&s, term, 24, 80,
                 (const char *const[]){ tool, "top", "--interval", "300ms", "--socket", d.socket_path, NULL });
}

static void quits(int code)
{
    CHECK_EQ(screen_end(&s), code);
    CHECK(screen_is_restored(&s));
    screen_close(&s);
}

static void the_picture(void)
{
    test_case("the picture at 80x24");
    char pid[16];
    (void)snprintf(pid, sizeof pid, "%d", (int)clients[0].pid);
    start("xterm");
    SHOWS(screen_find(&s, "alpha") > 1 && screen_find(&s, "beta") > 1 && screen_find(&s, "q:quit") == 23);
    CHECK(s.is_alternate && s.is_cursor_hidden);
    CHECK_EQ(screen_find(&s, "daemon"), 0);
    CHECK(strstr(s.cells[0], "2 session(s)"));
    CHECK_EQ(screen_find(&s, "PID NAME"), 1);
    CHECK(strstr(s.cells[23], "g:STATE"));
    CHECK_EQ(screen_find(&s, pid), screen_find(&s, "alpha"));
    CHECK(strstr(s.cells[screen_find(&s, "alpha")], " 4.00M "));
}

static void sorting(void)
{
    test_case("sorting");
    CHECK(is_above("beta", "alpha")); /* it has more out */
    screen_press(&s, 'n');
    SHOWS(is_above("alpha", "beta"));
    screen_press(&s, 'n');
    SHOWS(is_above("beta", "alpha"));
    screen_press(&s, 'p'); /* alpha began first, and numbers have hardly begun anew since */
    SHOWS(clients[0].pid < clients[1].pid ? is_above("alpha", "beta") : is_above("beta", "alpha"));
    screen_press(&s, '?'); /* no key of ours */
    screen_press(&s, 'o');
    SHOWS(is_above("beta", "alpha"));
    screen_press(&s, 'o');
    SHOWS(is_above("alpha", "beta"));
}

static void what_happens(void)
{
    test_case("a session comes and goes");
    client_begin(&clients[2], "gamma", 512);
    SHOWS(screen_find(&s, "gamma") > 1 && strstr(s.cells[0], "3 session(s)"));
    client_end(&clients[2]);
    SHOWS(screen_find(&s, "gamma") < 0);
}

static void sizes(void)
{
    static const int rows[] = { 10, 3, 1, 40, 24 }, cols[] = { 40, 12, 5, 120, 80 };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        test_case("another size");
        screen_resize(&s, rows[i], cols[i]);
        SHOWS(rows[i] < 4 || screen_find(&s, "q:quit") == rows[i] - 1);
        SHOWS(rows[i] < 4 || is_above("alpha", "beta"));
    }
}

static void without_a_daemon(void)
{
    test_case("the daemon goes");
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    SHOWS(screen_find(&s, "no daemon answers") == 0 && screen_find(&s, "alpha") < 0);
    daemon_start(&d, (const char *const[]){ "--cold-age", "50ms", NULL });
    SHOWS(screen_find(&s, "daemon ") == 0 && screen_find(&s, "alpha") > 1);
}

static void ends(void)
{
    test_case("q");
    screen_press(&s, 'q');
    quits(0);
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
    for (unsigned i = 0; i < 3; i++) {
        test_case(strsignal(signals[i]));
        start("xterm");
        SHOWS(screen_find(&s, "alpha") > 1);
        CHECK_EQ(kill(s.pid, signals[i]), 0);
        quits(0);
    }
}

static void no_terminal(void)
{
    test_case("a terminal that nobody knows");
    start("no-such-terminal");
    while (screen_take(&s, 50))
        ;
    CHECK(screen_find(&s, "set TERM") >= 0);
    quits(2);
    test_case("no terminal");
    command_run(&c, 0, (const char *const[]){ tool, "top", "--socket", d.socket_path, NULL });
    CHECK(c.code == 2 && !*c.out && strstr(c.err, "needs a terminal") &&
          strchr(c.err, '\n') == c.err + strlen(c.err) - 1);
}

int main(void)
{
    clients = test_shared(3 * sizeof *clients);
    test_begin("top shows sessions, sorts them, and leaves the terminal as it was", 50);
    (void)snprintf(tool, sizeof tool, "%s", program_path("process-pager"));
    daemon_start(&d, (const char *const[]){ "--cold-age", "50ms", "--reclaim-rate", "4G", NULL });
    client_begin(&clients[0], "alpha", 1024);
    client_begin(&clients[1], "beta", 4096);
    the_picture();
    sorting();
    what_happens();
    sizes();
    without_a_daemon();
    ends();
    no_terminal();
    client_end(&clients[0]);
    client_end(&clients[1]);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
