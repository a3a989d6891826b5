/* subject.h - the process that is measured by bench/peer: fills memory, has all of it evicted by one
 * mechanism, touches it, and checks every byte. One run per process, so that each starts alike. Its parts are
 * here, too, for bench/stall, which touches in more ways, and for bench/forks. */
#ifndef BENCH_SUBJECT_H
#define BENCH_SUBJECT_H

#include <stddef.h>
#include <stdint.h>

#include "common/content.h"

enum subject_arm { SUBJECT_PAGER, SUBJECT_ZRAM, SUBJECT_PEER_ARMS_NR,
                   SUBJECT_DIRECT = SUBJECT_PEER_ARMS_NR, SUBJECT_ARMS_NR };
extern const char *const subject_arm_names[SUBJECT_ARMS_NR + 1]; /* NULL at the end */

struct subject_spec {
    unsigned arm; /* enum subject_arm */
    uint64_t bytes;
    uint64_t seed;
    uint64_t nr_paced, nr_back_to_back; /* touches at random; the second half is touched in order */
    uint64_t pause_ns;                  /* of spinning between paced touches */
    const char *socket_path;            /* pager */
    uint64_t daemon_pid;                /* pager: whose CPU time counts, too */
    uint64_t zram_id;                   /* zram */
};

/* Rows of options by which a program calls itself as the subject; beside bench/duel.h, which passes them. */
#define SUBJECT_ROWS(spec, arm_choices)                                                             \
    { "arm", OPTION_CHOICE, &(spec).arm, 0, 0, arm_choices, "(internal)" },                          \
    { "socket", OPTION_STRING, &(spec).socket_path, 0, 0, NULL, "(internal)" },                      \
    { "daemon-pid", OPTION_UINT, &(spec).daemon_pid, 0, 1e9, NULL, "(internal)" },                   \
    { "zram-id", OPTION_UINT, &(spec).zram_id, 0, 1e6, NULL, "(internal)" }

/* ---- parts */

struct subject {
    const struct subject_spec *spec;
    struct content content;
    unsigned char *memory;
    uint64_t nr_pages;
    uint32_t *order; /* of the first half, at random */
    struct pp_pager *pager;
    uint64_t wrong;
};

void subject_say(const char *name, double value);
uint64_t subject_cpu_ns(void);
uint64_t subject_daemon_cpu_ns(const struct subject *s);
/* Maps and fills; negative errno. */
int subject_prepare(struct subject *s);
int subject_start_pager(struct subject *s);
int subject_register(struct subject *s, void *at, size_t bytes);
/* Everything of the interval that may leave, has left. */
int subject_evict(const struct subject *s, unsigned char *at, size_t bytes);
uint64_t subject_count_present(const struct subject *s);
/* Compares every byte, counts in s->wrong. */
void subject_check_all(struct subject *s);

/* ---- all of it */

/* Prints "name value" lines on stdout. Exit code: 0; 1: wrong bytes; else it could not be run. */
int subject_run(const struct subject_spec *spec);

#endif
