/* places.c - beside this program means: in the build directory or where things were installed. */
#include "places.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "common/options.h"
#include "common/pace.h"
#include "files.h"

#define CHECK_PATIENCE_NS UINT64_C(20000000000)

/* The first of the candidates below the folder of this program that is there. */
static bool find_beside(const char *const *candidates, const char *want, char ret_path[PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length < 0)
        return false;
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    for (; *candidates; candidates++) {
        char found[PATH_MAX], probe[2 * PATH_MAX];
        snprintf(probe, sizeof(probe), "%s/%s/%s", self, *candidates, want);
        if (access(probe, X_OK) != 0 || !realpath(probe, found))
            continue;
        snprintf(ret_path, PATH_MAX, "%s", found);
        return true;
    }
    return false;
}

/* What was named must be there before the first run, not be missed in each. */
static bool is_there(const char *option, const struct places_wish *wish, const char *path)
{
    if (access(path, X_OK) == 0)
        return true;
    fprintf(stderr, "%s: %s: %s: %s\n", wish->program, option, path, strerror(errno));
    return false;
}

static bool find_daemon(const struct places_wish *wish, struct places *p)
{
    static const char *const candidates[] = {"../src", "..", ".", "../../sbin", NULL};
    if (wish->daemon_path) {
        snprintf(p->daemon, sizeof(p->daemon), "%s", wish->daemon_path);
        return is_there("--daemon", wish, p->daemon);
    }
    if (!wish->needs_daemon || find_beside(candidates, "process-pagerd", p->daemon))
        return true;
    fprintf(stderr,
            "%s: process-pagerd is not beside this program: build it, or say --daemon PATH\n",
            p->program);
    return false;
}

static bool find_workloads(const struct places_wish *wish, struct places *p)
{
    static const char *const candidates[] = {"../workloads", ".", NULL};
    if (wish->workloads_dir) {
        char probe[PATH_MAX + 16];
        snprintf(p->workloads, sizeof(p->workloads), "%s", wish->workloads_dir);
        snprintf(probe, sizeof(probe), "%s/anon_streamer", p->workloads);
        return is_there("--workloads-dir", wish, probe);
    }
    if (find_beside(candidates, "anon_streamer", p->workloads)) {
        *strrchr(p->workloads, '/') = '\0';
        return true;
    }
    fprintf(stderr,
            "%s: the workloads are not beside this program: build them, or say "
            "--workloads-dir PATH\n",
            p->program);
    return false;
}

bool places_find(const struct places_wish *wish, struct places *ret_places)
{
    *ret_places = (struct places){.program = wish->program};
    if (!find_daemon(wish, ret_places) || !find_workloads(wish, ret_places))
        return false;
    if (access(wish->gnu_time_path, X_OK) == 0)
        ret_places->gnu_time_path = wish->gnu_time_path;
    else
        fprintf(stderr, "%s: no %s (package \"time\"): its columns stay empty; continuing\n",
                wish->program, wish->gnu_time_path);
    return true;
}

int places_check(const struct places *p, const struct arm_args *daemon_args, const char *log_path)
{
    int code = 0;
    struct arm_args args = {.count = 0};
    arm_args_add(&args, p->daemon);
    for (size_t i = 0; i < daemon_args->count; i++)
        arm_args_add(&args, daemon_args->words[i]);
    arm_args_add(&args, "--check");
    struct child_spec spec = {.argv = args.words,
                              .stdout_path = log_path,
                              .stderr_path = log_path,
                              .end_signal = SIGTERM};
    struct child child = {.pid = 0};
    int r = child_start(&spec, &child);
    arm_args_free(&args);
    if (r < 0 ||
        child_wait_until(&child, pace_now_ns() + CHECK_PATIENCE_NS, &code) != CHILD_ENDED) {
        (void)child_end(&child, CHECK_PATIENCE_NS);
        if (children_stop_signal() != 0)
            return 128 + children_stop_signal();
        fprintf(stderr, "%s: %s --check: did not end\n", p->program, p->daemon);
        return EXIT_SYSTEM;
    }
    if (code != 0) {
        char *text = file_read(log_path);
        fprintf(stderr, "%s", text ? text : "");
        free(text);
    }
    return code;
}
