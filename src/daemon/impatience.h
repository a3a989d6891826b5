/* impatience.h - closing what strangers have sent. The last close of a descriptor may wait, and for as long as
 * who made it likes: that of a TCP connection with SO_LINGER and something unsent waits for hours. It also
 * happens to descriptors that we never see, when a message is cut off or a socket closed that holds unread ones.
 *
 * While a thread is impatient a signal cuts short what waits, after a millisecond and again after each. What
 * the kernel does not let a signal end still waits: door.h is for that.
 *
 * Contract: one thread of a process at a time, control's or a door's. 0.3 us a call. */
#ifndef DAEMON_IMPATIENCE_H
#define DAEMON_IMPATIENCE_H

/* Makes the clock for the calling thread, in place of another's. 0 or negative errno. */
int impatience_new(void);
void impatience_begin(void);
void impatience_end(void);
/* close(), impatiently. */
void impatience_close(int fd);

#endif
