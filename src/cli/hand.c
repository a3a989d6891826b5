/* hand.c - see hand.h. */
#include "cli/hand.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "cli/ask.h"
#include "cli/cli.h"

pid_t hand_read_pid(const char *command, int argc, char **argv, int first)
{
    pid_t pid = 0;
    if (first != argc - 1)
        (void)cli_complain(EX_USAGE, "%s: say which process, by its id", command);
    else if (!cli_read_pid(argv[first], &pid))
        return 0;
    return pid;
}

int hand_ask(const char *socket_path, const struct msg_order *order, struct msg_order_done *ret_done)
{
    int r = ask_order(socket_path, order, ret_done);
    if (r)
        return ask_complain(r);
    int pid = (int)order->pid;
    switch (-ret_done->error) {
    case 0:
        return 0;
    case ESRCH:
        return cli_complain(EX_UNAVAILABLE, "process %d has no session with this daemon: process-pager "
                            "status lists those that have", pid);
    case EPERM:
        return cli_complain(EX_NOPERM, "process %d is another user's: only that user and root may do this",
                            pid);
    case EBUSY:
        return cli_complain(EX_UNAVAILABLE, "process %d is being reclaimed or drained just now: try again "
                            "when that is done", pid);
    case EOPNOTSUPP:
        return cli_complain(EX_UNAVAILABLE, "process %d uses a library that does not know this: start it "
                            "again with the one of this version", pid);
    case ENOTCONN:
        return cli_complain(EX_UNAVAILABLE, "the daemon only tries (--dry-run): nothing leaves, and nothing "
                            "is out");
    case ETIMEDOUT:
        return cli_complain(EX_UNAVAILABLE, "process %d does not get on: is it stopped? What was asked goes "
                            "on when it does", pid);
    case ECONNRESET:
        return cli_complain(EX_UNAVAILABLE, "process %d has gone meanwhile", pid);
    case EIO:
        return cli_complain(EX_OSERR, "process %d has lost a page: its stored bytes failed their check, and "
                            "its touch raises SIGBUS; all others are back", pid);
    default:
        return cli_complain(EX_OSERR, "process %d: %s", pid, strerror(-ret_done->error));
    }
}
