/* futex.c - waiting for a word of our own memory to change. */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/client.h"

void futex_wait_for(_Atomic uint32_t *word, uint32_t while_is, uint64_t timeout_ns)
{
    struct timespec timeout = { (time_t)(timeout_ns / NS_PER_S), (long)(timeout_ns % NS_PER_S) };
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_is, &timeout, NULL, 0);
}

void futex_wake_all(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
}
