/* lines.h - a file of /proc, line by line. Contract: any thread; nothing is allocated. */
#ifndef SYS_LINES_H
#define SYS_LINES_H

/* Calls on_line for each line from the descriptor's position on, its end cut off, and what is beyond 159 bytes:
 * until it does not return 0. That, 0 at the end, or negative errno. */
int lines_each(int fd, int (*on_line)(void *context, const char *line), void *context);

#endif
