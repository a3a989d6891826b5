/* run.h - `process-pager run [options] -- command`: an unmodified program, its threads and children, with
 * their cold memory paged. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

/* argv[0] is "run". Returns only if there is no command: 0 (help), or 125, 126, 127 as env(1) does. */
int run_main(int argc, char **argv);

#endif
