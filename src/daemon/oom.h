/* oom.h - the kernel, short of memory, looks for a process to kill. The daemon has mapped all stores and so
 * looks like the one to take; but clients have mapped them, too, so killing it gives nothing back, and what is
 * stored would come home just then. Contract: at the start, before the sandbox. */
#ifndef DAEMON_OOM_H
#define DAEMON_OOM_H

/* Nobody has said how it is to be judged: as one of the last. Whoever may not (root may) has it as it was. */
void oom_be_last(void);

#endif
