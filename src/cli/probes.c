/* probes.c - see probes.h. Each tries the thing itself where it can: what a kernel is called says little
 * in a container. */
#include "cli/probes.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/figures.h"
#include "cli/library.h"
#include "sys/cgroup.h"
#include "sys/class.h"
#include "sys/damon.h"
#include "sys/limits.h"
#include "sys/uffd.h"

#define NEWER_KERNEL "apt install linux-image-6.12-cloud-amd64 && reboot"
#define MAP_COUNT_USUAL 65530u /* the kernel's default */
#define ROOM_LEAST ((uint64_t)64 << 20) /* less, and a private daemon's store has no place */

static void say(char *ret_found, size_t capacity, const char *text)
{
    (void)snprintf(ret_found, capacity, "%s", text);
}

/* A number, or the first word, of a small file. False: cannot be read. */
static bool read_word(const char *path, char *ret_word, size_t capacity)
{
    FILE *f = fopen(path, "re");
    bool is_read = f && fgets(ret_word, (int)capacity, f);
    if (f)
        (void)fclose(f);
    if (is_read)
        ret_word[strcspn(ret_word, "\n")] = 0;
    return is_read;
}

/* A root daemon gives its clients a userfaultfd, and does not start where the kernel lacks anything. */
static bool daemon_hands_over(const struct exam *e)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(e->status, "hands_over_userfaultfd"));
}

static enum finding found(bool is_there)
{
    return is_there ? FOUND : FOUND_MISSING;
}

/* Where a sandbox keeps userfaultfd from us nothing can be tried; what the daemon gives works all the
 * same. */
static enum finding tried(const struct exam *e, bool is_there, char *ret_found, size_t capacity)
{
    if (is_there || e->features.uffd || e->features.is_unheard_of) {
        say(ret_found, capacity, is_there ? "tried" : "tried: does not work");
        return found(is_there);
    }
    bool is_vouched = daemon_hands_over(e);
    say(ret_found, capacity, is_vouched ? "not tried; the daemon needs it, too, and runs"
                                        : "cannot be tried: no userfaultfd for this user");
    return is_vouched ? FOUND : FOUND_NOTHING;
}

/* ---- needed */

static enum finding look_pages(const struct exam *e, char *ret_found, size_t capacity)
{
    (void)snprintf(ret_found, capacity, "%ld bytes", sysconf(_SC_PAGESIZE));
    return found(e->features.has_page_size);
}

static enum finding look_move(const struct exam *e, char *ret_found, size_t capacity)
{
    return tried(e, e->features.can_move, ret_found, capacity);
}

static enum finding look_tracking(const struct exam *e, char *ret_found, size_t capacity)
{
    return tried(e, e->features.can_track_writes, ret_found, capacity);
}

static enum finding look_poison(const struct exam *e, char *ret_found, size_t capacity)
{
    return tried(e, e->features.can_poison, ret_found, capacity);
}

static enum finding look_events(const struct exam *e, char *ret_found, size_t capacity)
{
    return tried(e, (e->features.uffd & UFFD_FEATURES_MAIN) == UFFD_FEATURES_MAIN, ret_found, capacity);
}

static enum finding look_descriptors(const struct exam *e, char *ret_found, size_t capacity)
{
    say(ret_found, capacity, e->features.has_own_descriptors ? "tried" : "tried: does not work");
    return found(e->features.has_own_descriptors);
}

static enum finding look_right(const struct exam *e, char *ret_found, size_t capacity)
{
    const struct features *f = &e->features;
    const char *how = f->has_syscall        ? "this user may make one"
                      : f->has_device       ? "by /dev/userfaultfd"
                      : daemon_hands_over(e) ? "handed over by the daemon"
                                             : "neither this user's, nor handed over by a daemon";
    say(ret_found, capacity, how);
    return found(features_has_right(f) || daemon_hands_over(e));
}

/* Of what is installed, or built, with this program. False: none of the places has it. */
static bool find_beside(const char *const places[], const char *name, char *ret_path, size_t capacity)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    for (; *places; places++) {
        const char *base = **places == '/' ? "" : self;
        if (snprintf(ret_path, capacity, "%s%s%s/%s", base, *base ? "/" : "", *places, name) <
                (int)capacity &&
            access(ret_path, R_OK) == 0)
            return true;
    }
    return false;
}

static enum finding look_daemon(const struct exam *e, char *ret_found, size_t capacity)
{
    static const char *const places[] = { ".", "../sbin", "/usr/sbin", "/usr/local/sbin", NULL };
    char path[PATH_MAX];
    if (e->status) {
        (void)snprintf(ret_found, capacity, "process %.0f answers, heat by %s",
                       figures_number(e->status, "pid"), figures_text(e->status, "heat"));
        return FOUND;
    }
    const char *why = e->daemon_error == -EACCES ? "no right to its socket"
                      : e->daemon_error == -ENOENT || e->daemon_error == -ECONNREFUSED
                          ? "none answers" : "one is there and does not answer";
    bool can_start = find_beside(places, "process-pagerd", path, sizeof path);
    (void)snprintf(ret_found, capacity, can_start ? "%s; run starts %s for itself"
                                                  : "%s, and there is no process-pagerd to start",
                   why, path);
    return found(can_start);
}

/* Loaded as `run` has it loaded: a file that is cut off, or needs what is not installed, is none. Its
 * constructor does nothing in our own programs. */
static enum finding look_preload(const struct exam *e, char *ret_found, size_t capacity)
{
    (void)e;
    char path[PATH_MAX];
    const char *obstacle = library_find(path, sizeof path);
    void *library = obstacle ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    say(ret_found, capacity, library ? path : obstacle ? obstacle : dlerror());
    if (library)
        (void)dlclose(library);
    return found(library != NULL);
}

/* ---- better with */

/* Where a daemon answers its word counts: it may be the one that has the kdamond. */
static enum finding look_damon(const struct exam *e, char *ret_found, size_t capacity)
{
    struct damon *damon = NULL;
    const char *heat = e->status ? figures_text(e->status, "heat") : "";
    int r = *heat ? (strcmp(heat, "damon") ? -ENODEV : 0) : damon_open(DAMON_ROOT, &damon);
    (void)damon_close(damon);
    say(ret_found, capacity, r == -ENODEV ? "the daemon goes by what is written"
                             : r         ? damon_why_not(r)
                             : *heat     ? "the daemon has it"
                                         : "tried");
    return found(r == 0);
}

static enum finding look_procmap(const struct exam *e, char *ret_found, size_t capacity)
{
    say(ret_found, capacity, e->features.has_procmap_query ? "tried" : "maps are read as text");
    return found(e->features.has_procmap_query);
}

static enum finding look_mappings(const struct exam *e, char *ret_found, size_t capacity)
{
    (void)e;
    char word[32];
    if (!read_word("/proc/sys/vm/max_map_count", word, sizeof word)) {
        say(ret_found, capacity, "cannot be read");
        return FOUND_NOTHING;
    }
    (void)snprintf(ret_found, capacity, "vm.max_map_count is %s", word);
    return found(strtoul(word, NULL, 10) >= MAP_COUNT_USUAL);
}

static enum finding look_huge_pages(const struct exam *e, char *ret_found, size_t capacity)
{
    (void)e;
    char word[64];
    if (!read_word("/sys/kernel/mm/transparent_hugepage/enabled", word, sizeof word)) {
        say(ret_found, capacity, "none here");
        return FOUND;
    }
    (void)snprintf(ret_found, capacity, "%s", word);
    return found(!strstr(word, "[always]"));
}

static enum finding look_address_space(const struct exam *e, char *ret_found, size_t capacity)
{
    (void)e;
    bool is_limited = limits_address_space();
    say(ret_found, capacity, is_limited ? "limited, or counted strictly" : "no limit");
    return found(!is_limited);
}

static enum finding look_memory_limit(const struct exam *e, char *ret_found, size_t capacity)
{
    (void)e;
    struct cgroup_memory group;
    char room[16], limit[16];
    if (cgroup_of(getpid(), &group) || !*group.path) {
        say(ret_found, capacity, "no limit");
        return FOUND;
    }
    (void)snprintf(ret_found, capacity, "%s of %s left in %s",
                   figures_size((double)group.room_bytes, room, sizeof room),
                   figures_size((double)group.limit_bytes, limit, sizeof limit), group.path);
    return found(group.room_bytes >= ROOM_LEAST);
}

static enum finding look_cpus(const struct exam *e, char *ret_found, size_t capacity)
{
    (void)e;
    cpu_set_t allowed;
    bool may = sched_getaffinity(0, sizeof allowed, &allowed) == 0 &&
               sched_setaffinity(0, sizeof allowed, &allowed) == 0;
    say(ret_found, capacity, may ? "tried" : strerror(errno));
    return found(may);
}

static enum finding look_class(const struct exam *e, char *ret_found, size_t capacity)
{
    (void)e;
    struct own_class c;
    class_find(&c);
    say(ret_found, capacity, c.kind == CLASS_REALTIME ? "tried" : "may not be taken");
    return found(c.kind == CLASS_REALTIME);
}

static enum finding look_nice(const struct exam *e, char *ret_found, size_t capacity)
{
    (void)e;
    struct own_class c;
    class_find(&c);
    (void)snprintf(ret_found, capacity, "%d, where it is %d now", c.urgent_nice, c.nice);
    return found(c.urgent_nice < c.nice);
}

static enum finding look_idle_cpus(const struct exam *e, char *ret_found, size_t capacity)
{
    (void)e;
    char word[32];
    if (!read_word("/sys/module/haltpoll/parameters/guest_halt_poll_ns", word, sizeof word)) {
        say(ret_found, capacity, "not a guest that halts them");
        return FOUND;
    }
    (void)snprintf(ret_found, capacity, "guest_halt_poll_ns is %s", word);
    return found(strtoul(word, NULL, 10) > 0);
}

/* ---- the table */

const struct probe probes[] = {
    { "pages of 4 KiB", "no other size is supported", "(another machine, or another kernel)", true, false,
      look_pages },
    { "moving pages", "a page leaves in one step that no write can race (Linux 6.8)", NEWER_KERNEL, true,
      false, look_move },
    { "seeing writes", "what was written is found without a fault (Linux 6.7)", NEWER_KERNEL, true, false,
      look_tracking },
    { "poisoning pages", "a page that is lost raises SIGBUS and never reads as zeros (Linux 6.6)",
      NEWER_KERNEL, true, false, look_poison },
    { "events", "what the program discards, unmaps and moves is known", NEWER_KERNEL, true, false,
      look_events },
    { "own descriptor tables", "what the program closes is not ours (Linux 5.9)", NEWER_KERNEL, true, false,
      look_descriptors },
    { "a userfaultfd", "who answers the program's faults must be told of them, those of system calls too",
      "systemctl enable --now process-pagerd.socket; a user who may not ask it: adduser $USER process-pager; "
      "or: sysctl -w vm.unprivileged_userfaultfd=1 (as root)", true, true, look_right },
    { "a daemon", "somebody must find what is cold and keep it", "systemctl enable --now "
      "process-pagerd.socket; a user who may not ask it: adduser $USER process-pager", true, true,
      look_daemon },
    { "the preload library", "programs that do not know us are served by it", "make && make install", true, false, look_preload },
    { "DAMON", "what is only read is known to be in use; without it such a page leaves and comes back",
      "start process-pagerd as root, on a kernel with CONFIG_DAMON_VADDR: " NEWER_KERNEL, false, false,
      look_damon },
    { "PROCMAP_QUERY", "asking about one mapping takes less than reading all (Linux 6.11)", NEWER_KERNEL,
      false, false, look_procmap },
    { "room for mappings", "armed memory may be cut into more mappings", "sysctl -w vm.max_map_count=262144",
      false, false, look_mappings },
    { "huge pages on demand", "watched memory loses its huge pages; where all memory gets them, that costs",
      "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled", false, false, look_huge_pages },
    { "address space", "the page table reserves a gigabyte of it and uses little", "ulimit -v unlimited; "
      "sysctl -w vm.overcommit_memory=0", false, false, look_address_space },
    { "room in the cgroup", "a daemon of run's own keeps its store there, and what comes back must fit",
      "raise memory.max (v1: memory.limit_in_bytes) of that cgroup", false, false, look_memory_limit },
    { "choosing a CPU", "who answers a fault goes where it happened", "allow sched_setaffinity(2) in the "
      "sandbox", false, true, look_cpus },
    { "a real-time class", "where all CPUs are taken, who answers a fault waits its turn", "ulimit -r 1, which "
      "root allows (systemd: LimitRTPRIO=1; PAM: rtprio 1), and no ulimit -R", false, true, look_class },
    { "a lower nice value", "where faults come back to back, who answers chases who waits from CPU to CPU",
      "ulimit -e 30, which root allows (systemd: LimitNICE=-10; PAM: nice -10)", false, true, look_nice },
    { "idle CPUs stay near", "waking a CPU that the host has taken away is the longest part of a stall",
      "echo 200000 >/sys/module/haltpoll/parameters/guest_halt_poll_ns", false, false, look_idle_cpus },
};
const size_t probes_nr = sizeof probes / sizeof *probes;
