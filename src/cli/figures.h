/* figures.h - the daemon's status, read, and how its numbers are written for people: what `status` prints
 * once and `top` again and again. */
#ifndef CLI_FIGURES_H
#define CLI_FIGURES_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

struct session_figures {
    const cJSON *json; /* everything about it */
    double pid;
    const char *name, *governor;
    double resident_bytes; /* -1: unknown */
    double out_bytes;      /* not in the process: staged, in any tier, or in swap by our wish */
    double stored_bytes;   /* what all tiers take for it */
    double saved_bytes;
    bool is_saved_known;
    double faults_per_s, evictions_per_s;
    double stall_ns; /* 99 of 100 faults take no longer */
};

struct figures {
    cJSON *root;
    const char *heat;
    struct session_figures *sessions;
    size_t nr;
};

/* Reads the daemon's answer. False: it is no such answer, or one of another schema. */
bool figures_read(const char *json, struct figures *ret);
void figures_free(struct figures *f);
/* A number or a text of an object; 0 and "?" where there is none. */
double figures_number(const cJSON *object, const char *name);
const char *figures_text(const cJSON *object, const char *name);

/* The columns of the table: 79 characters in all. */
struct figures_column {
    char key; /* top sorts by it */
    const char *title;
    int width; /* negative: to the left */
    void (*write)(const struct session_figures *s, char *ret_text, size_t capacity);
    double (*value)(const struct session_figures *s); /* NULL: sorted as text */
};
extern const struct figures_column figures_columns[];
extern const size_t figures_columns_nr;

/* A line about the daemon. */
void figures_headline(const struct figures *f, char *ret_text, size_t capacity);
/* The titles (s NULL), or a session's cells. */
void figures_row(const struct session_figures *s, char *ret_text, size_t capacity);

/* "97.0M", "1.25G": at most six characters, powers of 1024. */
const char *figures_size(double bytes, char *ret_text, size_t capacity);
/* "129us", "1.25s": at most six characters. */
const char *figures_time(double ns, char *ret_text, size_t capacity);

#endif
