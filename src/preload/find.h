/* find.h - which memory of an unmodified program may leave. The agent calls find_piece() between two
 * looks for faults; it goes through the process's mappings a few at a time, and from time to time.
 *
 * Taken: private anonymous memory that is readable, writable and not executable, in pieces of at least
 * --min-range: brk heap, arenas of any allocator, large mmaps.
 * Left out, and counted by reason: what is smaller; locked; protected otherwise; shared or of a file;
 * stacks and control blocks of threads, because libc's own code reads other threads' there, also when
 * it runs in the agent; libc's and the loader's data for the same reason; our own memory. What turns
 * into any of this later is brought back and left.
 *
 * Contract: find_begin() before the agent runs, then the agent's. No allocation. */
#ifndef PRELOAD_FIND_H
#define PRELOAD_FIND_H

#include <stdint.h>

struct pp_pager;

/* Under command_lock, when the agent's memory is there. */
void find_begin(struct pp_pager *pp, uint64_t min_range_bytes);
void find_piece(struct pp_pager *pp);

#endif
