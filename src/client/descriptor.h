/* descriptor.h - one descriptor from the agent's table to the application's, over a pair of sockets that
 * was made before the two tables parted. */
#ifndef CLIENT_DESCRIPTOR_H
#define CLIENT_DESCRIPTOR_H

int descriptor_send(int socket, int fd);
/* Does not wait. The descriptor, close-on-exec, moved out of the way of small numbers; negative errno. */
int descriptor_receive(int socket);

#endif
