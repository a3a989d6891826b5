/* plots.h - the pictures of a results directory: for each a gnuplot script, a .png and a .svg in
 * RESULTS_DIR/plots/. docs/plots.md says how to read them. */
#ifndef BENCH_PLOTS_H
#define BENCH_PLOTS_H

#include <stdbool.h>
#include <stddef.h>

struct plots_picture {
    const char *name, *caption; /* the file's, without its end; one sentence for the report */
};
extern const struct plots_picture plots_pictures[];
extern const size_t plots_nr_pictures;

/* Writes all of them; one that fails does not keep the others from being drawn. Without gnuplot
 * there are only the scripts, and one line on stderr. 0, or the first -errno (-EIO: gnuplot failed;
 * it has said why). */
int plots_write(const char *results_dir);

bool plots_can_draw(void); /* there is a gnuplot */
/* Draws what FOLDER/NAME.gp says, in its folder; gnuplot's complaints go to stderr. 0, or -errno. */
int plots_draw(const char *folder, const char *name);

#endif
