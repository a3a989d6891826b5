/* interpose.c - calls that do not get along with threads of ours.
 *
 * Before these we retire:
 *   unshare(CLONE_NEWUSER and the like)   fails in a process with a second thread
 *   setns                                 the same for user namespaces, and for mount namespaces as
 *                                         long as another thread shares root and working directory
 *   seccomp with SECCOMP_FILTER_FLAG_TSYNC  puts the filter on our threads, too: it would end them in
 *                                         the middle of a fault. libc has no function for it, so who
 *                                         wants it uses syscall(2).
 *   mlockall                              would populate and lock what we have reserved, a gigabyte and
 *                                         all of the store, and wants the very opposite of us
 *   userfaultfd                           wants to register its own memory, and one descriptor at a time may
 *
 * Around these we pause, and begin anew with the rights that the caller has then:
 *   capset, prctl on capabilities         change the calling thread only: ours would keep the rights that
 *                                         the program wanted to be rid of
 *
 * Of a filter of system calls for the calling thread only we take note: whatever that thread begins, and its
 * children, have it, too, and it may end the process for a call of ours.
 *
 * setuid and its like reach our threads, too: libc makes all threads do it, and ends the process if it goes
 * differently in one of them. As long as there is no agent we pause nevertheless, for nothing is lost by it.
 * With an agent we do not: a process that has changed its user may not open its own pagemap again.
 *
 * A program that makes these calls without libc is a documented limit. */
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload/life.h"

#define FILTER_MODE 2         /* SECCOMP_MODE_FILTER */
#define SECCOMP_FILTER_OP 1   /* SECCOMP_SET_MODE_FILTER */
#define SECCOMP_TSYNC_FLAG 1  /* SECCOMP_FILTER_FLAG_TSYNC */
#define ALONE_FLAGS (CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)

#define EXPORT __attribute__((visibility("default")))

static long kernel(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (result < 0 && result >= -4095) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

static bool changes_rights(long option)
{
    return option == PR_SET_KEEPCAPS || option == PR_SET_SECUREBITS || option == PR_CAPBSET_DROP ||
           option == PR_CAP_AMBIENT;
}

static bool must_retire(long number, long a, long b)
{
    return (number == SYS_unshare && (a & ALONE_FLAGS)) || number == SYS_setns || number == SYS_mlockall ||
           number == SYS_userfaultfd ||
           (number == SYS_seccomp && a == SECCOMP_FILTER_OP && (b & SECCOMP_TSYNC_FLAG));
}

static bool is_filter(long number, long a, long b)
{
    return (number == SYS_prctl && a == PR_SET_SECCOMP && b == FILTER_MODE) ||
           (number == SYS_seccomp && a == SECCOMP_FILTER_OP);
}

/* The calls that the code at the end of this file knows by their numbers. */
_Static_assert(SYS_unshare == 272 && SYS_setns == 308 && SYS_seccomp == 317 && SYS_mlockall == 151 &&
               SYS_capset == 126 && SYS_prctl == 157 && SYS_userfaultfd == 323, "x86-64");
long interpose_call(long number, long a, long b, long c, long d, long e, long f);
__attribute__((used)) long interpose_call(long number, long a, long b, long c, long d, long e, long f)
{
    if (must_retire(number, a, b))
        life_retire();
    bool pauses = number == SYS_capset || (number == SYS_prctl && changes_rights(a));
    bool must_resume = pauses && life_pause();
    long r = kernel(number, a, b, c, d, e, f);
    if (is_filter(number, a, b) && r == 0)
        life_note_filter();
    if (must_resume)
        life_resume();
    return r;
}

EXPORT int unshare(int flags)
{
    return (int)interpose_call(SYS_unshare, flags, 0, 0, 0, 0, 0);
}

EXPORT int setns(int fd, int type)
{
    return (int)interpose_call(SYS_setns, fd, type, 0, 0, 0, 0);
}

EXPORT int mlockall(int flags)
{
    return (int)interpose_call(SYS_mlockall, flags, 0, 0, 0, 0, 0);
}

int capset(void *header, const void *data);
EXPORT int capset(void *header, const void *data)
{
    return (int)interpose_call(SYS_capset, (long)header, (long)data, 0, 0, 0, 0);
}

EXPORT int prctl(int option, ...)
{
    va_list rest;
    va_start(rest, option);
    long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long), d = va_arg(rest, long);
    va_end(rest);
    return (int)interpose_call(SYS_prctl, option, a, b, c, d, 0);
}

/* libc's own, because it makes all threads do it; found at the first call. */
#define RIGHTS_CALL(name, parameters, arguments)                                                   \
    EXPORT int name parameters                                                                     \
    {                                                                                              \
        static int(*_Atomic next) parameters;                                                      \
        if (!next)                                                                                 \
            next = (int(*) parameters)(uintptr_t)dlsym(RTLD_NEXT, #name);                          \
        bool must_resume = life_pause_waiting();                                                   \
        int result = next arguments;                                                               \
        if (must_resume)                                                                           \
            life_resume();                                                                         \
        return result;                                                                             \
    }
RIGHTS_CALL(setuid, (uid_t u), (u))
RIGHTS_CALL(setgid, (gid_t g), (g))
RIGHTS_CALL(seteuid, (uid_t u), (u))
RIGHTS_CALL(setegid, (gid_t g), (g))
RIGHTS_CALL(setreuid, (uid_t r, uid_t e), (r, e))
RIGHTS_CALL(setregid, (gid_t r, gid_t e), (r, e))
RIGHTS_CALL(setresuid, (uid_t r, uid_t e, uid_t s), (r, e, s))
RIGHTS_CALL(setresgid, (gid_t r, gid_t e, gid_t s), (r, e, s))
RIGHTS_CALL(setgroups, (size_t nr, const gid_t *groups), (nr, groups))
RIGHTS_CALL(initgroups, (const char *user, gid_t group), (user, group))

/* libc's syscall(), but for seven numbers. In assembly, as libc's: a C function would have a frame, and some of
 * the calls made this way come back on another stack, or twice. Those seven do not. */
__asm__(".text\n"
        ".globl syscall\n"
        ".type syscall, @function\n"
        "syscall:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    cmpq $272, %rdi\n"
        "    je interpose_call\n"
        "    cmpq $308, %rdi\n"
        "    je interpose_call\n"
        "    cmpq $317, %rdi\n"
        "    je interpose_call\n"
        "    cmpq $151, %rdi\n"
        "    je interpose_call\n"
        "    cmpq $126, %rdi\n"
        "    je interpose_call\n"
        "    cmpq $157, %rdi\n"
        "    je interpose_call\n"
        "    cmpq $323, %rdi\n"
        "    je interpose_call\n"
        "    movq %rdi, %rax\n"
        "    movq %rsi, %rdi\n"
        "    movq %rdx, %rsi\n"
        "    movq %rcx, %rdx\n"
        "    movq %r8, %r10\n"
        "    movq %r9, %r8\n"
        "    movq 8(%rsp), %r9\n"
        "    syscall\n"
        "    cmpq $-4095, %rax\n"
        "    jae 1f\n"
        "    ret\n"
        "1:  negl %eax\n"
        "    pushq %rax\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    call __errno_location@PLT\n"
        "    popq %rcx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    movl %ecx, (%rax)\n"
        "    movq $-1, %rax\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size syscall, .-syscall\n");
