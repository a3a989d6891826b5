/* life.h - when the library that is preloaded into every program of a `process-pager run` does anything.
 *
 * A process that is not meant pays one getenv. One that is gets a thread that sleeps. After a second
 * the thread looks how much anonymous memory there is, and again ever more rarely; once there is enough
 * it becomes the agent. Until then there is no socket, no descriptor, no memory but its stack.
 *
 * In the child of a fork it all begins anew. An exec ends it, and the environment begins it again. */
#ifndef PRELOAD_LIFE_H
#define PRELOAD_LIFE_H

#include <stdbool.h>

/* The caller is about to do what can't be done beside other threads, or what they would not survive: all
 * that is out comes back, our threads end and are not begun again. Any thread. errno stays. */
void life_retire(void);
/* The same for a call that concerns the calling thread's rights only: what comes after it begins anew, with
 * the rights that the thread has then. False: nothing was there to end. */
bool life_pause(void);
bool life_pause_waiting(void); /* an agent goes on: false */
void life_resume(void);
/* The caller has set itself a filter of system calls. Threads that are there already go on; none is begun after
 * that, here or in children, because it would have the filter, too. */
void life_note_filter(void);

#endif
