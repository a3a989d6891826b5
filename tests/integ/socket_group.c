/* socket_group - the daemon's socket is for root and one group, as the daemon itself makes it (0660): an
 * ordinary user who is not in that group gets no connection, and one clear line from each tool, with the exit
 * code for a missing right; `run` runs the command without a pager, or not at all, as it was told. The same
 * user in the group is served.
 *
 * Method: a root daemon, its socket given to a group that has no name here; the tools as nobody, whose groups
 * are none, and then that one. The mode stays what the daemon made it. */
#include "command.h"
#include "support.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define NR 1024u
#define ITS_GROUP 64999u
#define NO_RIGHT "process-pager: no right to the daemon's socket: join the group process-pager\n"

static struct command c;
static struct daemon d;
static char *program, *variable; /* the tool, where all can reach it; PROCESS_PAGER_SOCKET=... */
static bool is_closed;           /* userfaultfd is root's alone: there is no way but the daemon */

static void copy_programs(void)
{
    static char own[128];
    static const char *const names[] = { "process-pager", "process-pagerd", "libprocess-pager-preload.so" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        program_copy(program_path(names[i]), test_path(names[i]));
    (void)snprintf(own, sizeof own, "%s", test_path("process-pager"));
    program = own;
    directory_open_to_all();
}

/* What the daemon makes of it by itself, before we change whose it is. */
static void as_it_was_made(void)
{
    struct stat st;
    const struct group *g = getgrnam("process-pager");
    test_case("the socket as the daemon makes it");
    CHECK_EQ(stat(d.socket_path, &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0660);
    CHECK(st.st_uid == 0 && st.st_gid == (g ? g->gr_gid : 0));
    CHECK_EQ(chown(d.socket_path, 0, ITS_GROUP), 0);
}

#define TOOL(...) command_run(&c, NOBODY, (const char *const[]){ program, __VA_ARGS__, NULL })
/* With the daemon named in the environment, as on a machine where its socket is in the usual place. */
#define RUN(...) command_run(&c, NOBODY, \
    (const char *const[]){ "/usr/bin/env", variable, program, "run", __VA_ARGS__, NULL })

static unsigned nr_lines(const char *text)
{
    unsigned nr = 0;
    for (; (text = strchr(text, '\n')); text++)
        nr++;
    return nr;
}

static void says(int code, const char *err)
{
    if (c.code != code || strcmp(c.err, err))
        test_fail(__FILE__, __LINE__, "code %d, not %d, out \"%s\", err \"%s\"", c.code, code, c.out, c.err);
}

/* Whatever else it says. */
static void says_ran(void)
{
    if (c.code || strcmp(c.out, "ran\n"))
        test_fail(__FILE__, __LINE__, "code %d, out \"%s\", err \"%s\"", c.code, c.out, c.err);
}

/* ---- outside */

static void tools_outside(void)
{
    test_case("outside: status, reclaim, drain");
    TOOL("status", "--socket", d.socket_path);
    says(EX_NOPERM, NO_RIGHT);
    TOOL("status", "--json", "--socket", d.socket_path);
    says(EX_NOPERM, NO_RIGHT);
    CHECK(!*c.out);
    TOOL("reclaim", "--socket", d.socket_path, "1");
    says(EX_NOPERM, NO_RIGHT);
    TOOL("drain", "--socket", d.socket_path, "1");
    says(EX_NOPERM, NO_RIGHT);
    test_case("outside: doctor");
    TOOL("doctor", "--socket", d.socket_path);
    CHECK(strstr(c.out, "no right to its socket") && !*c.err);
    if (is_closed) {
        CHECK_EQ(c.code, EX_NOPERM);
        CHECK(strstr(c.out, "adduser $USER process-pager"));
        CHECK(strstr(c.out, "process-pager run will not work: 1 of what it needs is missing"));
    }
}

/* What is named must answer. What is not may be done without, unless that is asked for. */
static void run_outside(void)
{
    char line[256];
    test_case("outside: run --socket");
    (void)snprintf(line, sizeof line, "process-pager run: no right to the daemon's socket %s: join its group, "
                   "or leave --socket out\n", d.socket_path);
    TOOL("run", "--socket", d.socket_path, "--", "/bin/echo", "ran");
    says(125, line);
    CHECK(!*c.out);
    test_case("outside: run, run --private, run --strict");
    RUN("--", "/bin/echo", "ran");
    says_ran();
    CHECK_EQ(nr_lines(c.err), is_closed); /* else with a daemon of its own, and silently */
    if (!is_closed)
        return;
    says(0, "process-pager run: no right to the daemon's socket: join the group process-pager; continuing "
            "without\n");
    RUN("--strict", "--", "/bin/echo", "ran");
    says(125, "process-pager run: no right to the daemon's socket: join the group process-pager\n");
    CHECK(!*c.out);
    RUN("--private", "--", "/bin/echo", "ran"); /* is not about that socket */
    says_ran();
    CHECK_EQ(nr_lines(c.err), 1);
    CHECK(strstr(c.err, "no right to userfaultfd") && strstr(c.err, "; continuing without\n"));
}

static int client_outside(void *socket_path)
{
    CHECK(become_user(NOBODY));
    struct pp_pager *pager = pager_open(socket_path);
    CHECK_EQ(pp_start(pager), -EACCES);
    CHECK(strstr(pp_error(pager), "Permission denied") && !strchr(pp_error(pager), '\n'));
    pp_close(pager);
    return 0;
}

/* ---- inside */

static void tools_inside(void)
{
    test_case("in the group: status, doctor, run");
    TOOL("status", "--socket", d.socket_path);
    says(0, "");
    CHECK(strstr(c.out, "0 session(s)"));
    TOOL("doctor", "--socket", d.socket_path);
    says(0, "");
    CHECK(strstr(c.out, "answers") && strstr(c.out, "process-pager run will work"));
    TOOL("run", "--strict", "--socket", d.socket_path, "--", "/bin/echo", "ran");
    says(0, "");
    CHECK(!strcmp(c.out, "ran\n"));
}

static int client_inside(void *socket_path)
{
    struct pages p;
    command_group = ITS_GROUP;
    CHECK(become_client(NOBODY));
    pages_map(&p, NR);
    pages_write_all(&p);
    struct pp_pager *pager = pager_open(socket_path);
    CHECK_EQ(pp_register(pager, p.memory, pages_to_bytes(NR)), 0);
    pager_start(pager);
    CHECK_EQ(pp_reclaim(pager, p.memory, pages_to_bytes(NR)), 0);
    CHECK_EQ(pages_nr_present(&p, 0, NR), 0);
    pages_check_all(&p);
    pp_close(pager);
    pages_check_all(&p);
    return 0;
}

int main(void)
{
    char *socket_path = test_shared(sizeof d.socket_path);
    static char text[160];
    test_begin("who is not in the socket's group is told so, and who is is served", 50);
    if (geteuid() != 0)
        test_skip("only root can start the daemon as root and a client as somebody else");
    copy_programs();
    is_closed = is_userfaultfd_closed_to_users();
    daemon_start(&d, (const char *[]){ "--cold-age", "1h", NULL });
    strcpy(socket_path, d.socket_path);
    (void)snprintf(text, sizeof text, "PROCESS_PAGER_SOCKET=%s", d.socket_path);
    variable = text;
    as_it_was_made();
    tools_outside();
    run_outside();
    test_case("outside: a client");
    CHECK_EQ(helper_wait(helper_start(client_outside, socket_path)), 0);
    command_group = ITS_GROUP;
    tools_inside();
    test_case("in the group: a client");
    CHECK_EQ(helper_wait(helper_start(client_inside, socket_path)), 0);
    CHECK_EQ(helper_kill(d.pid, SIGTERM), 0);
    return test_end();
}
