/* support.h - what every integration test stands on: supervision, helper processes, pages whose
 * expected bytes are known outside managed memory, and bounded waiting.
 *
 * test_begin() forks. The parent is the supervisor: it ends the test after its time, starts helper
 * processes for it (a fork() in the test itself would bring every page back first), and at the end
 * kills what is left, by pid, and removes the temporary directory, however the test ended. The child
 * returns from test_begin() and is the test.
 *
 * Exit: 0 passed, 1 failed (also: killed, out of time), 77 skipped, with "SKIP: reason". */
#ifndef INTEG_SUPPORT_H
#define INTEG_SUPPORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/pagesize.h"
#include "process_pager.h"

/* ---- the test */

void test_begin(const char *what_is_shown, unsigned seconds_max);
int test_end(void);
/* Before test_begin(): the supervisor calls it when all helpers have gone, however the test ended. */
void test_cleans_up(void (*clean)(void));
void test_case(const char *name); /* said when the test fails or takes its time */
_Noreturn void test_skip(const char *reason);
_Noreturn void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            test_fail(__FILE__, __LINE__, "%s", #condition);                                       \
    } while (0)
#define CHECK_EQ(is, should_be)                                                                    \
    do {                                                                                           \
        long long is_ = (long long)(is), should_be_ = (long long)(should_be);                      \
        if (is_ != should_be_)                                                                     \
            test_fail(__FILE__, __LINE__, "%s is %lld, should be %lld", #is, is_, should_be_);     \
    } while (0)
/* Up to five seconds; longer where the real daemon has work to do on a machine that has more of it. And
 * all limits of time $PP_PATIENCE times as long, on an emulated machine. */
#define WAIT_UNTIL(condition) WAIT_FOR(5, condition)
#define WAIT_LONG_UNTIL(condition) WAIT_FOR(20, condition)
#define WAIT_FOR(seconds, condition)                                                               \
    do {                                                                                           \
        uint64_t deadline_ = test_now_ms() + test_limit_ms((seconds) * 1000);                      \
        for (bool is_late_ = false; !(condition); is_late_ = test_now_ms() > deadline_) {          \
            if (is_late_)                                                                          \
                test_fail(__FILE__, __LINE__, "still not after %d s: %s", seconds, #condition);    \
            test_nap_us(300);                                                                      \
        }                                                                                          \
    } while (0)

uint64_t test_now_ms(void);
uint64_t test_limit_ms(uint64_t ms); /* ms, times $PP_PATIENCE */
bool test_is_emulated(void);         /* by that: what a machine does within microseconds can't be asked of it */
void test_nap_us(unsigned us);
/* The one descriptor that a test must not close: its way to the supervisor. */
int test_socket(void);
/* A path in the test's own temporary directory; static storage, a few at a time. */
const char *test_path(const char *name);

/* ---- helper processes, children of the supervisor, made from the image before the test began */

/* Memory that the test and all its helpers share; zeros at first. Only before test_begin(). */
void *test_shared(size_t bytes);
pid_t helper_start(int (*function)(void *argument), void *argument);
/* A program; argv ends with NULL. Its output goes to standard error. */
pid_t helper_exec(char *const argv[]);
/* SIGKILL and SIGTERM: returns its wait status when it is gone; else 0 at once. */
int helper_kill(pid_t pid, int signal);
int helper_wait(pid_t pid);              /* its wait status; at most ten seconds */
bool helper_has_ended(pid_t pid, int *ret_status);

/* A child that the test itself has made by fork() (or not: that ends the test): its wait status. */
int child_wait(pid_t pid);

/* ---- pages: all 4096 bytes depend on the page's number and its version; version 0 reads as zeros.
 * They shrink to about an eighth. */
struct pages {
    unsigned char *memory;
    uint32_t nr;
    uint32_t *versions; /* outside managed memory */
    uint32_t salt;
};

void pages_map(struct pages *p, uint32_t nr);        /* fresh private memory, nothing touched */
void pages_unmap(struct pages *p);
unsigned char *pages_at(const struct pages *p, uint32_t i);
void pages_fill(void *ret_bytes, uint32_t salt, uint32_t i, uint32_t version);
void pages_write(struct pages *p, uint32_t i);       /* the next version */
void pages_write_all(struct pages *p);
/* True: the page reads as its expected version. Does not end the test. */
bool pages_is_right(const struct pages *p, uint32_t i);
void pages_check(const struct pages *p, uint32_t i); /* ends the test when wrong */
void pages_check_all(const struct pages *p);         /* in an order of its own */
/* The same, in a child of fork(). */
void pages_check_in_child(const struct pages *p);
/* How many are present in memory now, by pagemap: no touch. */
uint32_t pages_nr_present(const struct pages *p, uint32_t first, uint32_t nr);
uint64_t memory_nr_present(const void *address, size_t nr_pages);

/* ---- a pager and its numbers */

uint64_t pager_stat(const struct pp_pager *pager, const char *name);
/* The same, of a moment after the call: gauges are published at intervals. */
uint64_t pager_stat_now(const struct pp_pager *pager, const char *name);
struct pp_pager *pager_open(const char *socket_path);
void pager_start(struct pp_pager *pager); /* ends the test with pp_error() if it fails */
/* Fresh pages, written, registered with a new pager that has started. */
struct pp_pager *pager_begin(const char *socket_path, struct pages *p, uint32_t nr);
/* So begun, it is served: all of it leaves by itself and comes back right, twice; then it is closed. Others may
 * have done what they liked meanwhile, it has met one daemon. */
void pager_is_served(struct pp_pager *pager, struct pages *p, uint32_t nr);

/* Does the kernel tell this process of its forks, so that pages may stay out (docs/fork.md)? A right. */
bool forks_are_told(void);

/* With PP_TEST_DIRECT=1 in the environment every range of the test is a direct one: touching threads restore
 * their own pages (docs/direct.md). The same must hold as else; meson.build lists which tests run so, too. */
bool test_is_direct(void);
unsigned test_sessions_of_one(void); /* pager: with direct ranges it has a companion, which joins for itself */
int test_register(struct pp_pager *pager, void *address, size_t bytes);
#define pp_register test_register

/* ---- the real daemon: $PP_DAEMON, or it is skipped; options end with NULL */
struct daemon {
    pid_t pid;
    char socket_path[108];
};
void daemon_start(struct daemon *d, const char *const options[]);
/* Its status, as JSON; static storage. */
const char *daemon_status(const struct daemon *d);
/* Until a session has been looked at: then the daemon has all descriptors that it needs for it. */
void daemon_await_look(const struct daemon *d);
/* A number of such a text: the first of that name behind `from` (NULL: behind the beginning). */
uint64_t status_number(const char *status, const char *from, const char *name);

/* ---- threads and time */
bool can_use_fifo(void);               /* a real-time class for this thread's own tests */
void thread_pin(int cpu);              /* the calling thread */
void thread_fifo(int priority);        /* 0: back to the ordinary class */
uint64_t test_random(uint64_t *state); /* xorshift */

#endif
