/* forks.h - a fork with pages out, the agent's side, and what the two ends of its socket say to each
 * other. docs/fork.md has the protocol; fork.c is the forking thread, fork_child.c the child,
 * fork_serve.c what the agent does for a child that can't help itself yet.
 *
 * Contract: the agent's, but for the channel's functions, which are anybody's. Nothing allocates. */
#ifndef CLIENT_FORKS_H
#define CLIENT_FORKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/intervals.h"
#include "base/pagesize.h"
#include "page/page.h"

struct agent;
struct pp_pager;

/* Children that are not through yet. With more of them the next fork brings everything back. */
#define FORK_CHILDREN_MAX 16u

/* One page that was out at the fork. */
struct fork_page {
    page_number page;
    struct page what; /* STORED or POISONED */
    uint32_t checksum;
    uint32_t reserved;
};

/* Places to which memory was moved after a fork, before that was certain. With more the child is lost. */
#define FORK_LATER_MAX 64u
#define FORK_TOUCHES_MAX 8u /* of a child, that wait for memory; it has one thread */

/* Why a child can't be covered. */
enum fork_loss {
    FORK_LOSS_NONE,
    FORK_LOSS_MOVED, /* memory was moved when it came to life */
    FORK_LOSS_LIST,  /* what was out can't be written down */
    FORK_LOSS_TOUCH, /* the kernel takes no page for it */
    FORK_LOSS_SEND,  /* nor its userfaultfd */
};

/* A child, from COVER to DONE. */
struct fork_child {
    bool is_taken;
    int socket;
    int uffd; /* the child's, from FORK on; else -1 */
    struct fork_page *pages; /* shared with the child */
    size_t nr_pages, nr_pages_max;
    bool is_settled; /* no event of before the fork can be under way any more */
    bool is_heard;   /* its userfaultfd wakes us */
    enum fork_loss loss; /* it is told so, and then the connection ends */
    bool has_asked, is_given;
    uint64_t asked_ns;
    uint32_t stores; /* bits: those of which it has pages */
    page_number touches[FORK_TOUCHES_MAX]; /* that could not be answered yet */
    uint32_t nr_touches;
    uint64_t unknown_since_ns; /* it could not be found out what they are to read as; 0: it could */
    struct interval later[FORK_LATER_MAX];
    uint32_t nr_later;
};

struct forks {
    int listener; /* -1: the kernel does not tell us of forks */
    struct fork_child children[FORK_CHILDREN_MAX];
    unsigned nr;                 /* taken */
    struct fork_child *expected; /* of the fork that is under way */
    bool has_given_number;       /* /dev/null's, to the event's descriptor */
    unsigned nr_naps;            /* in a row, for what could not be had */
    int nr_filters; /* of system calls, when the agent began: others may be set for all threads later */
    int store_fds[PAGE_STORES_NR]; /* of each store map, for children to map; -1: none */
};

/* Where the forking thread knocks, and what it holds while it forks. In struct pp_pager. */
struct fork_door {
    struct sockaddr_un address; /* written by the agent at its start */
    uint32_t address_bytes;     /* 0: everything has to come back before a fork */
    int socket;
    int reserve[2]; /* numbers that the child is going to need */
    bool is_covering;
    struct refill *refill; /* the child's, between the two steps of fork_child.c */
};

void forks_clear(struct forks *f); /* at birth, in memory that is all zeros */
/* The userfaultfd tells of forks: from now on they can be covered, if there is a socket to be had. */
void forks_begin(struct agent *a, struct fork_door *door);
void forks_end(struct agent *a); /* closes all; children that are not through end */
/* A store was mapped at this place (takes the descriptor), or unmapped (-1). */
void forks_keep_store(struct forks *f, unsigned store, int fd);
/* A child that is not through has pages there, and may touch them before it has mapped it itself. */
bool forks_need_store(const struct forks *f, unsigned store);

/* Why everything came back before a fork. */
enum fork_drained {
    FORK_UNTOLD,   /* the kernel does not tell us of forks */
    FORK_FILTERED, /* forks_may_call() */
    FORK_REFUSED,  /* no descriptor, no /proc, too many children, ... : the next may be covered */
};
void forks_count_drained(struct agent *a, enum fork_drained why);

/* A thread that has set itself a filter of system calls, or the child that has it, too, may be killed for those
 * that cover a fork. As many filters as the agent had when it began were there before the pager was. */
bool forks_may_call(const struct agent *a, pid_t tid);

/* COVER: takes the connection and readies everything that could fail. 0 or negative errno. */
int forks_cover(struct agent *a);
/* THAW: may the parent go on? */
bool forks_are_settled(struct agent *a, uint64_t waiting_ns);
/* What children have said and touched, a bounded piece. True: look again at once. */
bool forks_piece(struct agent *a);

/* The pager's ears. */
void forks_on_fork(void *agent, int uffd);
void forks_on_remapped(void *agent, page_number from, page_number to, size_t nr);
bool forks_on_no_descriptor(void *agent);

/* In a child's list. */
void forks_move_pages(struct fork_child *c, page_number from, page_number to, size_t nr);

/* fork_serve.c: what the child has touched and done to its memory. False: something of it has to wait. */
bool forks_serve_child(struct agent *a, struct fork_child *c);

/* ---- the channel */

enum fork_word {
    FORK_PAGES,  /* to the child; a descriptor: struct fork_page, `bytes` to map */
    FORK_STORE,  /* to the child; a descriptor: store `index`, `bytes` to map */
    FORK_HERE,   /* from the child: its handler runs */
    FORK_UFFD,   /* to the child; a descriptor: its userfaultfd; `bytes` of PAGES are used */
    FORK_LOST,   /* to the child, in place of UFFD: it can't be covered, for `index` (enum fork_loss) */
    FORK_DONE,   /* from the child */
};

struct fork_message {
    uint32_t word; /* enum fork_word */
    uint32_t index;
    uint64_t bytes;
};

/* fd -1: none. 0 or negative errno; never waits. */
int fork_send(int socket, const struct fork_message *m, int fd);
/* Why it was not sent may pass: memory, descriptors that are under way, or a full queue. */
bool fork_may_pass(int error);
/* *ret_fd: -1: none came. -EAGAIN: nothing there, or not now; -ECONNRESET: the other end has gone. Never
 * waits. */
int fork_receive(int socket, struct fork_message *ret_m, int *ret_fd);

/* ---- fork_child.c */

/* In the child, before any of the program's code. Of every pager: gets what it needs, for which the parent
 * waits, or does not return ... */
void fork_child_take(struct pp_pager *pp);
/* ... and brings back what was out. */
void fork_child_refill(struct pp_pager *pp);

#endif
