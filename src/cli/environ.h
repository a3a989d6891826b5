/* environ.h - is a text in the environment of any process? Asked to know whether anything of a command's tree
 * is left, whose processes may have any parent, group and session.
 *
 * Reading an environment takes the lock of its process's memory, and opening it that of its folder in /proc;
 * both a process may hold for as long as it likes (tests/integ/held_lock.c, held_folder.c). Whoever holds one
 * for a fifth of a second is passed over.
 *
 * Contract: one thread of a small process, which is forked: what looks may have to be left behind in a wait
 * that no signal ends. It holds nothing of its parent's. */
#ifndef CLI_ENVIRON_H
#define CLI_ENVIRON_H

enum environ_answer {
    ENVIRON_NONE,
    ENVIRON_SOME,   /* also if it can't be asked: no memory, no process, no /proc */
    ENVIRON_UNTOLD, /* none that could be looked at; some were held, or it took 5 s */
};

/* With the caller's own rights: environments that it may not read count as without. A few ms where nobody holds
 * anything. */
enum environ_answer environ_look_for(const char *text);

#endif
