/* duel.c - see duel.h. */
#include "duel.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/options.h"
#include "common/pace.h"
#include "files.h"
#include "subject.h"

#define RUN_PATIENCE_NS (180 * UINT64_C(1000000000))
#define END_PATIENCE_NS (5 * UINT64_C(1000000000))
#define ARGUMENTS_MAX 48

static int start_daemon(struct duel *d)
{
    char *argv[] = { (char *)d->spec->daemon_path, "--socket", d->socket_path, "--cold-age",
                     (char *)d->spec->cold_age, "--reclaim-rate", "100G", NULL };
    struct child_spec spec = { .argv = argv,
                               .stdout_path = d->log_path,
                               .stderr_path = d->log_path,
                               .end_signal = SIGTERM };
    int r = child_start(&spec, &d->daemon);
    struct stat st;
    for (int i = 0; r == 0 && stat(d->socket_path, &st); i++) {
        int code;
        if (child_wait_until(&d->daemon, pace_now_ns() + 20000000, &code) != CHILD_RUNS || i > 250)
            r = -ESRCH;
    }
    return r;
}

static int start_subject(struct duel *d, char *const arguments[])
{
    char daemon_pid[32], zram_id[32];
    snprintf(daemon_pid, sizeof daemon_pid, "%d", (int)d->daemon.pid);
    snprintf(zram_id, sizeof zram_id, "%d", d->zram.id < 0 ? 0 : d->zram.id);
    char *argv[ARGUMENTS_MAX] = { "/proc/self/exe", "--subject", "--arm",
                                  (char *)subject_arm_names[d->spec->arm], "--socket", d->socket_path,
                                  "--daemon-pid", daemon_pid, "--zram-id", zram_id };
    for (size_t i = 0, at = 10; arguments[i] && at + 1 < ARGUMENTS_MAX; i++)
        argv[at++] = arguments[i];
    struct child_spec spec = { .argv = argv, .stdout_path = d->out_path, .end_signal = SIGKILL };
    return child_start(&spec, &d->subject);
}

static void take_lines(struct csv_table *t, const struct duel *d)
{
    char *text = file_read(d->out_path);
    char *rest = text;
    for (char *line; text && (line = strtok_r(rest, "\n", &rest));) {
        char *value = strchr(line, ' ');
        if (!value)
            continue;
        *value++ = '\0';
        csv_table_set(t, line, "%s", value);
    }
    free(text);
}

static int make_folder(struct duel *d)
{
    snprintf(d->folder, sizeof d->folder, "/tmp/process-pager-%s.XXXXXX", d->spec->program);
    if (!mkdtemp(d->folder)) {
        fprintf(stderr, "%s: %s: %s\n", d->spec->program, d->folder, strerror(errno));
        return -1;
    }
    snprintf(d->socket_path, sizeof d->socket_path, "%s/pager.sock", d->folder);
    snprintf(d->out_path, sizeof d->out_path, "%s/out", d->folder);
    snprintf(d->log_path, sizeof d->log_path, "%s/log", d->folder);
    return 0;
}

int duel_run(const struct duel_spec *spec, char *const arguments[], struct csv_table *t)
{
    struct duel d = { .spec = spec, .zram = { .id = -1 } };
    if (make_folder(&d))
        return EXIT_SYSTEM;
    char reason[160] = "";
    int r = spec->arm == SUBJECT_ZRAM ? zram_begin(&d.zram, spec->zram_bytes, reason, sizeof reason)
                                      : start_daemon(&d);
    int code = EXIT_SYSTEM;
    if (r == 0)
        r = start_subject(&d, arguments);
    if (r == 0 && child_wait_until(&d.subject, pace_now_ns() + RUN_PATIENCE_NS, &code) != CHILD_ENDED)
        code = EXIT_SYSTEM;
    child_end(&d.subject, END_PATIENCE_NS);
    child_end(&d.daemon, END_PATIENCE_NS);
    zram_end(&d.zram);
    if (r)
        fprintf(stderr, "%s: %s: %s\n", spec->program, subject_arm_names[spec->arm],
                *reason ? reason : strerror(-r));
    else
        take_lines(t, &d);
    (void)unlink(d.out_path);
    (void)unlink(d.log_path);
    (void)unlink(d.socket_path);
    (void)rmdir(d.folder);
    return code;
}

int duel_rounds(struct csv_table *t, unsigned nr_arms, uint64_t repeats,
                int (*run)(struct csv_table *t, unsigned arm, unsigned repeat))
{
    int worst = 0;
    for (unsigned repeat = 0; repeat < repeats; repeat++)
        for (unsigned i = 0; i < nr_arms && !children_stop_signal(); i++) {
            int code = run(t, (i + repeat) % nr_arms, repeat);
            worst = code > worst ? code : worst;
        }
    return worst;
}

/* build/bench/peer -> build/process-pagerd */
const char *duel_find_daemon(void)
{
    static char path[PATH_MAX + 32];
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return "process-pagerd";
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(path, sizeof path, "%s/../process-pagerd", self);
    return access(path, X_OK) == 0 ? path : "process-pagerd";
}

int duel_write(const char *program, const char *folder, const struct csv_table *t,
               void (*print)(FILE *f, const struct csv_table *t))
{
    print(stdout, t);
    if (!folder)
        return 0;
    char path[PATH_MAX];
    int r = folder_make(folder);
    snprintf(path, sizeof path, "%s/%s.csv", folder, program);
    if (r == 0)
        r = csv_table_write(t, path);
    snprintf(path, sizeof path, "%s/%s.txt", folder, program);
    FILE *f = r == 0 ? fopen(path, "we") : NULL;
    if (f) {
        print(f, t);
        r = file_close(f);
    } else if (r == 0) {
        r = -errno;
    }
    if (r)
        fprintf(stderr, "%s: %s: %s\n", program, path, strerror(-r));
    return r ? EXIT_SYSTEM : 0;
}
