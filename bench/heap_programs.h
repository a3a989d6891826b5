/* heap_programs.h - the programs whose heaps we look at: started, given records (heap_records.h)
 * until their heap stands, stopped, read, ended.
 *
 *   redis   redis-server without persistence on a UNIX socket in a folder of its own; each record a
 *           value of its own (SET record:N); every tenth is then set once more to another version,
 *           so that the heap has holes as that of a server that has run for a while
 *
 *   python  json.loads of lines of 100 records, as a program reads the pages of an API; a dict of
 *           them by id
 *
 *   node    JSON.parse of the same lines; a Map of them by id
 *
 * Contract: one at a time; nothing of it is left when a call returns. SIGPIPE is ignored. */
#ifndef BENCH_HEAP_PROGRAMS_H
#define BENCH_HEAP_PROGRAMS_H

#include <stddef.h>
#include <stdint.h>

#include "heap_pages.h"

enum heap_program { HEAP_REDIS, HEAP_PYTHON, HEAP_NODE, HEAP_PROGRAM_NR };

const char *heap_program_name(enum heap_program p);

struct heap_program_spec {
    enum heap_program program;
    const char *command; /* NULL: its usual name, looked for in PATH */
    uint64_t nr_records, seed;
};

/* The pages, and what the program calls its version. A reason with the errors: -ENOENT: not on this
 * machine; -EBADMSG: its pages do not hold what it was given; -EINTR: we were asked to stop. */
int heap_program_read(const struct heap_program_spec *spec, struct heap_pages *ret_pages,
                      char ret_version[32], char *ret_reason, size_t capacity);

#endif
