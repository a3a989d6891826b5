/* descriptor.h - one descriptor from the agent's table to the application's, over a pair of sockets that
 * was made before the two tables parted. */
#ifndef CLIENT_DESCRIPTOR_H
#define CLIENT_DESCRIPTOR_H

#include <stdint.h>

int descriptor_send(int socket, int fd);
/* Does not wait. The descriptor, close-on-exec, of this number or a higher one if there is room; negative
 * errno. */
int descriptor_receive(int socket, int least);
/* Tells one userfaultfd from another, and from anything else: 0 for what is not open. A system call only. */
uint64_t descriptor_number(int fd);

#endif
