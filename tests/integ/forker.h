/* forker.h - forks with pages out, and what became of their children: a child checks all of its bytes, that it
 * has no descriptor and no map of ours, and says so through shared memory; what it prints is kept. It touches
 * some of its pages before the library's handler of fork() runs, which the parent's agent has to answer. */
#ifndef INTEG_FORKER_H
#define INTEG_FORKER_H

#include "support.h"

#define FORKER_EARLY_NR 2u /* of the first pages, touched before our handler */

struct forker {
    char log_path[108];            /* of the child's standard error */
    _Atomic pid_t parent, child;   /* 0: there is none yet */
    _Atomic bool has_gone_on;      /* its fork() has returned */
    _Atomic bool has_passed;       /* and it has found everything right */
    unsigned nr_descriptors;       /* of the parent, before */
};
extern struct forker *forker;

void forker_new(void); /* before test_begin(), and before any pager */

/* Forks. In the child: calls `first` (or NULL) before anything of ours runs, touches, and ends when it has
 * checked: 0, or `code()` if that is not NULL. In the parent as fork(). */
pid_t forker_fork(const struct pages *p, void (*first)(void), int (*code)(void));

/* Its wait status; one that hangs ends the test. */
int forker_wait(pid_t pid);
/* Of the last child, also of one whose parent has gone. */
bool forker_child_is_over(void);
bool forker_has_said(const char *text);
void forker_show_log(void); /* before a test fails */

/* Maps of this process whose file's name has this in it. */
unsigned forker_nr_maps(const char *name);
/* Descriptors of this process's agent of the kinds that a fork costs: sockets, memory, userfaultfds. */
unsigned forker_nr_descriptors(void);

#endif
