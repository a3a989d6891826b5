/* half_hot_daemon.c - see half_hot.h. */
#include "half_hot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS_MAX 16

static pid_t pid; /* 0: none */
static int log_fd = -1;
static char directory[] = "/tmp/half_hot.XXXXXX", socket_path[64];
static char text[1 << 16];
static size_t nr_text;
static bool has_ended;
static uint64_t nr_offered, nr_returned; /* of the session that has ended */

static void run_daemon(const char *const options[], int write_fd)
{
    const char *program = getenv("PP_DAEMON") ? getenv("PP_DAEMON") : "process-pagerd";
    char *argv[OPTIONS_MAX + 8] = { (char *)program, (char *)"--config", (char *)"/dev/null",
                                    (char *)"--socket", socket_path, (char *)"--verbose" };
    for (unsigned i = 0; options[i] && i < OPTIONS_MAX; i++)
        argv[6 + i] = (char *)options[i];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(write_fd, STDERR_FILENO);
    execvp(program, argv);
    perror(program);
    _exit(127);
}

const char *daemon_begin(const char *const options[])
{
    int fds[2];
    if (!mkdtemp(directory) || pipe2(fds, O_CLOEXEC))
        die("a directory and a pipe", errno);
    (void)snprintf(socket_path, sizeof socket_path, "%s/pager.sock", directory);
    (void)atexit(daemon_end);
    pid = fork();
    if (pid == 0)
        run_daemon(options, fds[1]);
    close(fds[1]);
    log_fd = fds[0];
    (void)fcntl(log_fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 500 && pid && access(socket_path, F_OK); i++) {
        usleep(10000);
        if (waitpid(pid, NULL, WNOHANG) == pid)
            pid = 0;
    }
    if (access(socket_path, F_OK)) {
        ssize_t n = read(log_fd, text, sizeof text - 1);
        die(n > 0 ? text : "the daemon did not start", ECHILD);
    }
    return socket_path;
}

pid_t daemon_pid(void)
{
    return pid;
}

static void take_line(const char *line, void (*offered)(page_number first, uint32_t nr_pages))
{
    const char *first = strstr(line, " first=0x"), *pages = strstr(line, " pages=");
    bool is_offer = strstr(line, "event=offer"), is_probe = strstr(line, "event=probe");
    const char *sum = strstr(line, " offered="), *returned = strstr(line, " returned=");
    if (strstr(line, "event=session_end") && sum && returned) {
        nr_offered = strtoull(sum + 9, NULL, 10);
        nr_returned = strtoull(returned + 10, NULL, 10);
        has_ended = true;
    } else if ((is_offer || is_probe) && first)
        offered(strtoull(first + 9, NULL, 16), pages ? (uint32_t)strtoul(pages + 7, NULL, 10) : 1);
    else if (strstr(line, "error=") || !strstr(line, "event="))
        fprintf(stderr, "half_hot: the daemon says: %s\n", line);
}

void daemon_poll(void (*offered)(page_number first, uint32_t nr_pages))
{
    ssize_t n;
    while ((n = read(log_fd, text + nr_text, sizeof text - 1 - nr_text)) > 0) {
        nr_text += (size_t)n;
        text[nr_text] = 0;
        char *line = text, *end;
        for (; (end = strchr(line, '\n')); line = end + 1) {
            *end = 0;
            take_line(line, offered);
        }
        nr_text -= (size_t)(line - text);
        memmove(text, line, nr_text);
    }
}

static void ignore(page_number first, uint32_t nr_pages)
{
    (void)first;
    (void)nr_pages;
}

bool daemon_sum(uint64_t *ret_nr_offered, uint64_t *ret_nr_returned)
{
    for (int i = 0; i < 200 && !has_ended; i++) {
        daemon_poll(ignore);
        usleep(10000);
    }
    *ret_nr_offered = nr_offered;
    *ret_nr_returned = nr_returned;
    return has_ended;
}

void daemon_end(void)
{
    if (!socket_path[0])
        return;
    if (pid > 0 && kill(pid, SIGTERM) == 0)
        (void)waitpid(pid, NULL, 0);
    pid = 0;
    (void)unlink(socket_path);
    (void)rmdir(directory);
    close(log_fd);
    socket_path[0] = 0;
}
