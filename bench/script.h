/* script.h - writes a gnuplot script: the style, data and labels of a plot, and then its template,
 * drawn once as .png and once as .svg. A script needs nothing but itself: `gnuplot NAME.gp` in its
 * folder draws both pictures again.
 *
 * Two kinds of figure. Rows: a workload (or an arm) a line, values to the right, so that long names
 * have room. Panels: a small plot a workload. Both have a title, a line below it, a key and notes
 * at the foot, each with room of its own; sizes are pixels of the .svg. */
#ifndef BENCH_SCRIPT_H
#define BENCH_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define SCRIPT_WIDTH 860.0
#define SCRIPT_ROWS_MAX 20u
#define SCRIPT_NOTES_MAX 12u
#define SCRIPT_NOTE_CHARS 128u

/* Okabe and Ito's colours, told apart by colour-blind readers too; red is kept for what is invalid,
 * which is never told by its colour alone. */
#define COLOUR_INK "#222222"
#define COLOUR_GREY "#6b6b6b"
#define COLOUR_BLUE "#0072b2"
#define COLOUR_ORANGE "#e69f00"
#define COLOUR_GREEN "#009e73"
#define COLOUR_PURPLE "#cc79a7"
#define COLOUR_SKY "#56b4e9"
#define COLOUR_INVALID "#d00000"

/* gnuplot's numbers for points. */
enum script_point {
    POINT_CROSS = 2,
    POINT_SQUARE = 5,
    POINT_DISC = 7,
    POINT_TRIANGLE = 9,
    POINT_DIAMOND = 13,
    POINT_DIAMOND_OPEN = 12,
    POINT_CIRCLE_OPEN = 6,
    POINT_SQUARE_OPEN = 4,
};

struct script_series {
    const char *title, *colour;
    enum script_point point;
    bool is_invalid; /* told in the key, and in red */
};

struct script_row {
    char label[64];
    char below[96];      /* a smaller line below the label; "" */
    char values[4][128]; /* at the right end, a line a series */
    size_t nr_values;
    bool is_invalid;
};

struct script {
    const char *name, *title, *subtitle, *x_label, *y_label, *value_title;
    const char *template_text;
    struct script_series series[8];
    size_t nr_series;
    /* Rows only. */
    struct script_row rows[SCRIPT_ROWS_MAX];
    size_t nr_rows;
    double row_height;
    /* Panels only: nr_rows is then 0. */
    double body_height;
    bool is_log_x;
    double x_min, x_max;
    const char *x_unit; /* log axes: "ns" is told as µs, ms ...; "" counts */
    char notes[SCRIPT_NOTES_MAX][SCRIPT_NOTE_CHARS + 8];
    size_t nr_notes;
    char *data, *marks; /* what script_data() and script_marks() were given */
    size_t data_size, marks_size;
    FILE *data_out, *marks_out;
};

void script_begin(struct script *s, const char *name, const char *template_text);
/* Streams: for data blocks and variables, which stand before the drawing; for settings and labels
 * of each of its two turns. */
FILE *script_data(struct script *s);
FILE *script_marks(struct script *s);
/* Where line i of n lies in a row, on the y axis; rows count from 0. */
double script_line_y(size_t row, size_t i, size_t n);
/* Text at the foot, broken into lines at blanks. */
void script_note(struct script *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes FOLDER/NAME.gp and frees what the script holds. */
int script_end(struct script *s, const char *folder);

/* ---- small things, pure --------------------------------------------------------------------- */

/* A text as a gnuplot string: in single quotes nothing is expanded, and a quote is doubled. Control
 * characters become blanks. */
void script_quote(FILE *out, const char *text);
/* "850 ns", "27.2 µs", "6.26 ms", "1.50 s". */
void script_format_ns(double ns, char *ret_text, size_t size);
/* "0", "104", "2,456", "245,632"; short, from a million on: "1.25 M". */
void script_format_count(double count, char *ret_text, size_t size);
/* Decades round all of [min, max], both above zero. */
void script_log_range(double min, double max, double *ret_low, double *ret_high);
/* Some room round [min, max], which is made at least `least` wide. */
void script_linear_range(double min, double max, double least, double *ret_low, double *ret_high);
/* How many bytes of text go on a line of `width` characters; breaks at blanks if it can, never
 * inside a character of several bytes. */
size_t script_line_length(const char *text, size_t width);
/* "10 µs", "1 ms" with the unit "ns", else "10", "1k", "1M". */
void script_format_tic(double value, const char *unit, char *ret_text, size_t size);
/* "set xtics ('1 µs' 1000, ...)" for the decades of an axis. */
void script_log_tics(FILE *out, const char *axis, double low, double high, const char *unit);

#endif
