/* pager.h - the client library as the workloads use it: opened or not, the workload's code is the
 * same. Functions taking NULL do nothing. What fails says so on stderr, in the pager's own words.
 */
#ifndef WORKLOADS_PAGER_H
#define WORKLOADS_PAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json.h"

struct pp_pager;

/* The socket may be NULL: the library looks in its usual places. NULL: it failed. */
struct pp_pager *pager_open(const char *socket_path);
int pager_start(struct pp_pager *pager);
/* direct: the touching threads bring their pages back themselves (PP_DIRECT). */
int pager_register(struct pp_pager *pager, void *address, size_t bytes, bool direct);
int pager_unregister(struct pp_pager *pager, void *address, size_t bytes);
int pager_stop(struct pp_pager *pager);
void pager_close(struct pp_pager *pager);

/* The values of all statistics, to be freed; NULL without a pager. To be read when the clock stops:
 * checking the bytes afterwards brings every page back, and that is not the workload's doing. */
uint64_t *pager_read_stats(const struct pp_pager *pager);
/* Each as a field "<prefix>_<name>"; nothing when values is NULL. */
void pager_report(const uint64_t *values, const char *prefix, struct json *json);

#endif
