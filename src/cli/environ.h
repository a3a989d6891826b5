/* environ.h - is a text in the environment of any process? Asked to know whether anything of a command's tree
 * is left, whose processes may have any parent, group and session.
 *
 * Reading an environment takes the lock of its process's memory, and opening it that of its folder in /proc;
 * both a process may hold for as long as it likes (tests/integ/held_lock.c, held_folder.c). Whoever holds one
 * for a fifth of a second is passed over.
 *
 * Contract: one thread of a small process, which is forked: what looks may have to be left behind in a wait
 * that no signal ends. */
#ifndef CLI_ENVIRON_H
#define CLI_ENVIRON_H

#include <stdbool.h>

/* Also true if it can't be known: no memory, no process, no /proc. With the caller's own rights: environments
 * that it may not read count as without. A fifth of a second for each that is held, a few ms else. */
bool environ_of_any_has(const char *text);

#endif
