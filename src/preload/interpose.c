/* interpose.c - calls that do not get along with threads of ours. Before them we retire:
 *
 *   unshare(CLONE_NEWUSER and the like)   fails in a process with a second thread
 *   setns                                 the same for user namespaces, and for mount namespaces as
 *                                         long as another thread shares root and working directory
 *   seccomp with SECCOMP_FILTER_FLAG_TSYNC  puts the filter on our threads, too: it would end them in
 *                                         the middle of a fault. libc has no function for it, so who
 *                                         wants it uses syscall(2).
 *
 *   mlockall                              would populate and lock what we have reserved, a gigabyte and
 *                                         all of the store, and wants the very opposite of us
 *
 * A program that makes these calls without libc is a documented limit. */
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload/life.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#define SECCOMP_FILTER_OP 1u    /* SECCOMP_SET_MODE_FILTER */
#define SECCOMP_TSYNC_FLAG 1u   /* SECCOMP_FILTER_FLAG_TSYNC */
#define ALONE_FLAGS (CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)

#define EXPORT __attribute__((visibility("default")))

/* Called by the code below; the numbers are these. */
_Static_assert(SYS_unshare == 272 && SYS_setns == 308 && SYS_seccomp == 317 && SYS_mlockall == 151, "x86-64");
__attribute__((used)) void interpose_before(long number, unsigned long first, unsigned long second);
void interpose_before(long number, unsigned long first, unsigned long second)
{
    if ((number == SYS_unshare && (first & ALONE_FLAGS)) || number == SYS_setns || number == SYS_mlockall ||
        (number == SYS_seccomp && first == SECCOMP_FILTER_OP && (second & SECCOMP_TSYNC_FLAG)))
        life_retire();
}

EXPORT int unshare(int flags)
{
    return (int)syscall(SYS_unshare, (unsigned long)flags);
}

EXPORT int setns(int fd, int type)
{
    return (int)syscall(SYS_setns, (long)fd, (long)type);
}

EXPORT int mlockall(int flags)
{
    return (int)syscall(SYS_mlockall, (long)flags);
}

/* libc's syscall(), with a look at four numbers before it. In assembly, as libc's: a C function would have
 * a frame, and some of the calls made this way come back on another stack, or twice. */
__asm__(".text\n"
        ".globl syscall\n"
        ".type syscall, @function\n"
        "syscall:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    cmpq $272, %rdi\n"
        "    je 2f\n"
        "    cmpq $308, %rdi\n"
        "    je 2f\n"
        "    cmpq $317, %rdi\n"
        "    je 2f\n"
        "    cmpq $151, %rdi\n"
        "    je 2f\n"
        "1:  movq %rdi, %rax\n"
        "    movq %rsi, %rdi\n"
        "    movq %rdx, %rsi\n"
        "    movq %rcx, %rdx\n"
        "    movq %r8, %r10\n"
        "    movq %r9, %r8\n"
        "    movq 8(%rsp), %r9\n"
        "    syscall\n"
        "    cmpq $-4095, %rax\n"
        "    jae 3f\n"
        "    ret\n"
        "2:  pushq %rdi\n"
        "    pushq %rsi\n"
        "    pushq %rdx\n"
        "    pushq %rcx\n"
        "    pushq %r8\n"
        "    pushq %r9\n"
        "    subq $8, %rsp\n"
        "    .cfi_adjust_cfa_offset 56\n"
        "    call interpose_before\n"
        "    addq $8, %rsp\n"
        "    popq %r9\n"
        "    popq %r8\n"
        "    popq %rcx\n"
        "    popq %rdx\n"
        "    popq %rsi\n"
        "    popq %rdi\n"
        "    .cfi_adjust_cfa_offset -56\n"
        "    jmp 1b\n"
        "3:  negl %eax\n"
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
