/* load.h - how many tasks run or want to, and on how many CPUs: is there one for whoever asks? The kernel's own
 * /proc/loadavg (Documentation/filesystems/proc.rst) says it of this moment and of the whole machine, also to
 * a container. What a cgroup's quota holds up is not in it. Contract: any thread; nothing is allocated. */
#ifndef SYS_LOAD_H
#define SYS_LOAD_H

#define LOAD_PATH "/proc/loadavg"

/* LOAD_PATH, or a test's. A descriptor, or negative errno; -EXDEV: that file is not procfs's. A file system of
 * somebody's says something else, and may keep us waiting. */
int load_open(const char *path);
/* The caller is one of them. About 2 us; 0: not known, so also by what could not be opened. */
unsigned load_nr_running(int fd);
unsigned load_nr_cpus(void); /* that the calling thread may use; 0: not known */

#endif
