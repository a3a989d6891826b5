/* script.c - see script.h. */
#include "script.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "templates.h"

/* Pixels. Text is 12 high, small text 10.5; a character of a name is about 7 wide. */
#define TOP 70.0
#define AXIS 64.0
#define KEY_LINE 22.0
#define NOTE_LINE 16.0
#define FOOT 8.0
#define TIC_DECADES_MAX 6
#define CHAR 7.3
#define CHAR_SMALL 6.3

/* ---- small things --------------------------------------------------------------------------- */

void script_quote(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text; text++) {
        if (*text == '\'')
            fputc('\'', out);
        fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
    }
    fputc('\'', out);
}

/* Three digits that count. */
static void format_digits(double value, const char *unit, char *ret_text, size_t size)
{
    snprintf(ret_text, size, "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, unit);
}

void script_format_ns(double ns, char *ret_text, size_t size)
{
    if (ns < 999.5)
        snprintf(ret_text, size, "%.0f ns", ns);
    else if (ns < 999.5e3)
        format_digits(ns / 1e3, "µs", ret_text, size);
    else if (ns < 999.5e6)
        format_digits(ns / 1e6, "ms", ret_text, size);
    else
        format_digits(ns / 1e9, "s", ret_text, size);
}

void script_format_count(double count, char *ret_text, size_t size)
{
    if (count < 0)
        snprintf(ret_text, size, "%.0f", count);
    else if (count < 999.5)
        snprintf(ret_text, size, "%.0f", count);
    else if (count < 999999.5)
        snprintf(ret_text, size, "%.0f,%03.0f", floor(rint(count) / 1000), fmod(rint(count), 1000));
    else
        format_digits(count / 1e6, "M", ret_text, size);
}

void script_log_range(double min, double max, double *ret_low, double *ret_high)
{
    *ret_low = pow(10, floor(log10(min) + 1e-9));
    *ret_high = pow(10, ceil(log10(max) - 1e-9));
    if (*ret_high <= *ret_low)
        *ret_high = *ret_low * 10;
}

void script_linear_range(double min, double max, double least, double *ret_low, double *ret_high)
{
    double missing = least - (max - min);
    if (missing > 0) {
        min -= missing / 2;
        max += missing / 2;
    }
    double room = (max - min) * 0.06;
    *ret_low = min - room;
    *ret_high = max + room;
}

size_t script_line_length(const char *text, size_t width)
{
    size_t characters = 0, at = 0, blank = 0;
    for (; text[at]; at++) {
        bool is_begin = ((unsigned char)text[at] & 0xc0) != 0x80;
        if (is_begin && characters++ == width)
            return blank ? blank : at;
        if (text[at] == ' ')
            blank = at;
    }
    return at;
}

static size_t count_characters(const char *text)
{
    size_t characters = 0;
    for (; *text; text++)
        characters += ((unsigned char)*text & 0xc0) != 0x80;
    return characters;
}

void script_format_tic(double value, const char *unit, char *ret_text, size_t size)
{
    static const char *const times[] = {"ns", "µs", "ms", "s"};
    static const char *const counts[] = {"", "k", "M", "G"};
    bool is_time = strcmp(unit, "ns") == 0;
    int step = 0;
    while (step < 3 && value >= 999.5) {
        value /= 1000;
        step++;
    }
    snprintf(ret_text, size, "%.0f%s%s", value, is_time ? " " : "",
             is_time ? times[step] : counts[step]);
}

void script_log_tics(FILE *out, const char *axis, double low, double high, const char *unit)
{
    const char *separator = "";
    int decades = (int)rint(log10(high / low));
    fprintf(out, "set %stics (", axis);
    for (int exponent = (int)rint(log10(low)); exponent <= (int)rint(log10(high)); exponent++) {
        char text[32];
        script_format_tic(pow(10, exponent), unit, text, sizeof(text));
        if (decades > TIC_DECADES_MAX && (exponent - (int)rint(log10(low))) % 2 != 0)
            text[0] = '\0'; /* no room for all of them */
        fputs(separator, out);
        script_quote(out, text);
        fprintf(out, " 1e%d", exponent);
        for (int part = 2; part < 10 && exponent < (int)rint(log10(high)); part++)
            fprintf(out, ", '' %de%d 1", part, exponent); /* without a number: a minor one */
        separator = ", ";
    }
    fputs(")\n", out);
}

/* ---- the script ----------------------------------------------------------------------------- */

void script_begin(struct script *s, const char *name, const char *template_text)
{
    *s = (struct script){
        .name = name,
        .template_text = template_text,
        .title = "",
        .subtitle = "",
        .x_label = "",
        .y_label = "",
        .value_title = "",
        .x_unit = "",
        .row_height = 46,
    };
    s->data_out = open_memstream(&s->data, &s->data_size);
    s->marks_out = open_memstream(&s->marks, &s->marks_size);
    if (!s->data_out || !s->marks_out)
        abort(); /* as csv.c: without memory there is nothing to say */
}

FILE *script_data(struct script *s)
{
    return s->data_out;
}

FILE *script_marks(struct script *s)
{
    return s->marks_out;
}

double script_line_y(size_t row, size_t i, size_t n)
{
    return (double)row + 0.5 + 0.1 + 0.8 * ((double)i + 0.5) / (double)n;
}

void script_note(struct script *s, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (const char *at = text; *at && s->nr_notes < SCRIPT_NOTES_MAX;) {
        size_t length = script_line_length(at, SCRIPT_NOTE_CHARS);
        snprintf(s->notes[s->nr_notes++], sizeof(s->notes[0]), "%.*s", (int)length, at);
        at += length;
        at += strspn(at, " ");
    }
}

/* Where things are, in pixels from the left and from the bottom. */
struct layout {
    double height, left, right, top, bottom, key_top;
};

#define KEY_LEFT 22.0
#define KEY_MARK " (INVALID)"

/* The place of entry i in the key, from the left, and on which line, from 0: as words in a text. */
static void place_in_key(const struct script *s, size_t i, double *ret_x, size_t *ret_line)
{
    double x = KEY_LEFT;
    size_t line = 0;
    for (size_t k = 0;; k++) {
        size_t length = count_characters(s->series[k].title);
        if (s->series[k].is_invalid)
            length += strlen(KEY_MARK);
        double width = (double)length * CHAR + 34;
        if (x > KEY_LEFT && x + width > SCRIPT_WIDTH) {
            x = KEY_LEFT;
            line++;
        }
        if (k == i)
            break;
        x += width;
    }
    *ret_x = x;
    *ret_line = line;
}

static double key_height(const struct script *s)
{
    double x;
    size_t line;
    if (s->nr_series == 0 || !s->series[0].title[0])
        return 0;
    place_in_key(s, s->nr_series - 1, &x, &line);
    return (double)(line + 1) * KEY_LINE;
}

static struct layout lay_out(const struct script *s)
{
    size_t label = 0, value = count_characters(s->value_title);
    for (size_t i = 0; i < s->nr_rows; i++) {
        size_t name = count_characters(s->rows[i].label);
        size_t below = count_characters(s->rows[i].below);
        below = (size_t)((double)below * CHAR_SMALL / CHAR) + 1;
        label = name > label ? name : label;
        label = below > label ? below : label;
        for (size_t v = 0; v < s->rows[i].nr_values; v++) {
            size_t number = count_characters(s->rows[i].values[v]);
            value = number > value ? number : value;
        }
    }
    struct layout at = {.left = 70, .right = 24};
    if (s->nr_rows > 0) {
        at.left = (double)label * CHAR + 22;
        at.right = value > 0 ? (double)value * CHAR_SMALL + 18 : 24;
    }
    at.key_top = (double)s->nr_notes * NOTE_LINE + FOOT + key_height(s);
    at.bottom = at.key_top + AXIS;
    at.height =
        TOP + at.bottom + (s->nr_rows > 0 ? (double)s->nr_rows * s->row_height : s->body_height);
    at.top = at.height - TOP;
    return at;
}

static void put_label(FILE *out, const char *text, const char *position, const char *style)
{
    fputs("set label ", out);
    script_quote(out, text);
    fprintf(out, " at %s %s\n", position, style);
}

static void put_at(FILE *out, const char *text, double x, double y, double height,
                   const char *style)
{
    char position[96];
    snprintf(position, sizeof(position), "screen %.5f, screen %.5f", x / SCRIPT_WIDTH, y / height);
    put_label(out, text, position, style);
}

static void put_sizes(FILE *out, const struct script *s, const struct layout *at)
{
    fprintf(out, "name = '%s'\nwidth = %.0f\nheight = %.0f\n", s->name, SCRIPT_WIDTH, at->height);
    fprintf(out, "left = %.5f\nright = %.5f\ntop = %.5f\nbottom = %.5f\n", at->left / SCRIPT_WIDTH,
            1 - at->right / SCRIPT_WIDTH, at->top / at->height,
            (s->nr_rows > 0 ? at->bottom : at->bottom - AXIS) / at->height);
}

/* By hand: gnuplot's own key finds its place by the size of the plot, which may be small here. */
static void put_key(FILE *out, const struct script *s, const struct layout *at)
{
    for (size_t i = 0; i < s->nr_series; i++) {
        const struct script_series *series = &s->series[i];
        char style[192], text[160];
        double x;
        size_t line;
        if (!series->title[0])
            continue;
        place_in_key(s, i, &x, &line);
        snprintf(text, sizeof(text), "%s%s", series->title, series->is_invalid ? KEY_MARK : "");
        snprintf(style, sizeof(style),
                 "left textcolor rgb '%s' point pointtype %d pointsize 1.2 linecolor rgb '%s' "
                 "offset character 1.2, 0",
                 series->is_invalid ? COLOUR_INVALID : COLOUR_INK, (int)series->point,
                 series->colour);
        put_at(out, text, x, at->key_top - ((double)line + 0.5) * KEY_LINE, at->height, style);
    }
}

static void put_frame(FILE *out, const struct script *s, const struct layout *at)
{
    put_at(out, s->title, 14, at->height - 18, at->height, "left font 'sans-serif,14'");
    put_at(out, s->subtitle, 14, at->height - 38, at->height,
           "left font 'sans-serif,10.5' textcolor rgb '" COLOUR_GREY "'");
    for (size_t i = 0; i < s->nr_notes; i++)
        put_at(out, s->notes[i], 14, FOOT + ((double)(s->nr_notes - i) - 0.5) * NOTE_LINE,
               at->height, "left font 'sans-serif,10.5' textcolor rgb '" COLOUR_GREY "'");
    put_key(out, s, at);
    fputs("set xlabel ", out);
    script_quote(out, s->x_label);
    fputs("\nset ylabel ", out);
    script_quote(out, s->y_label);
    fputc('\n', out);
}

static void put_series(FILE *out, const struct script *s)
{
    fprintf(out, "nr_series = %zu\n", s->nr_series);
    if (s->nr_series == 0)
        return;
    /* gnuplot looks at colours[s] even where a loop over s has no turn: they are as long as can be.
     */
    size_t most = sizeof(s->series) / sizeof(s->series[0]);
    fprintf(out, "array colours[%zu]\narray points[%zu]\n", most, most);
    for (size_t i = 0; i < s->nr_series; i++)
        fprintf(out, "colours[%zu] = '%s'; points[%zu] = %d\n", i + 1, s->series[i].colour, i + 1,
                (int)s->series[i].point);
}

static void put_rows(FILE *out, const struct script *s)
{
    char position[64], style[128];
    for (size_t i = 0; i < s->nr_rows; i++) {
        const struct script_row *row = &s->rows[i];
        const char *colour = row->is_invalid ? COLOUR_INVALID : COLOUR_INK;
        double middle = (double)i + 1, shift = row->below[0] ? 8 / s->row_height : 0;
        if (i % 2 == 0)
            fprintf(out,
                    "set object rectangle from graph 0, first %g to graph 1, first %g behind "
                    "fillcolor rgb '#f3f3f3' fillstyle solid noborder\n",
                    middle - 0.5, middle + 0.5);
        snprintf(position, sizeof(position), "graph 0, first %g", middle - shift);
        snprintf(style, sizeof(style), "right offset character -1, 0 textcolor rgb '%s'", colour);
        put_label(out, row->label, position, style);
        snprintf(position, sizeof(position), "graph 0, first %g", middle + shift);
        snprintf(style, sizeof(style),
                 "right offset character -1, 0 font 'sans-serif,10' textcolor rgb '%s'",
                 row->is_invalid ? COLOUR_INVALID : COLOUR_GREY);
        if (row->below[0])
            put_label(out, row->below, position, style);
        snprintf(style, sizeof(style),
                 "left offset character 1, 0 font 'sans-serif,10.5' textcolor rgb '%s'", colour);
        for (size_t v = 0; v < row->nr_values; v++) {
            snprintf(position, sizeof(position), "graph 1, first %g",
                     script_line_y(i, v, row->nr_values));
            put_label(out, row->values[v], position, style);
        }
    }
    fprintf(out, "set yrange [%g:0.5]\n", (double)s->nr_rows + 0.5);
    if (s->value_title[0])
        put_label(out, s->value_title, "graph 1, graph 1",
                  "left offset character 1, 0.7 font 'sans-serif,10' textcolor rgb '" COLOUR_GREY
                  "'");
}

static void put_axes(FILE *out, const struct script *s)
{
    /* A little beyond a decade: gnuplot leaves out a tic that lies just on the end. */
    double room = s->is_log_x ? 1.06 : 1;
    if (s->x_max > s->x_min)
        fprintf(out, "set xrange [%.10g:%.10g]\n", s->x_min / room, s->x_max * room);
    if (!s->is_log_x)
        return;
    fputs("set logscale x\n", out);
    script_log_tics(out, "x", s->x_min, s->x_max, s->x_unit);
}

static void write_script(FILE *out, const struct script *s)
{
    struct layout at = lay_out(s);
    fprintf(out, "# %s.gp - gnuplot %s.gp draws %s.png and %s.svg anew, in this folder.\n\n",
            s->name, s->name, s->name, s->name);
    fputs(text_style_gp, out);
    put_sizes(out, s, &at);
    put_series(out, s);
    fwrite(s->data, 1, s->data_size, out);
    fputs("\ndo for [format in 'png svg'] {\n", out);
    fputs(text_format_gp, out);
    put_frame(out, s, &at);
    if (s->nr_rows > 0)
        put_rows(out, s);
    put_axes(out, s);
    fwrite(s->marks, 1, s->marks_size, out);
    fprintf(out, "\n%s    unset output\n}\n", s->template_text);
}

int script_end(struct script *s, const char *folder)
{
    char path[PATH_MAX];
    int r = -ENAMETOOLONG;
    FILE *out = NULL;
    fclose(s->data_out);
    fclose(s->marks_out);
    if (snprintf(path, sizeof(path), "%s/%s.gp", folder, s->name) < (int)sizeof(path)) {
        out = fopen(path, "w");
        r = -errno;
    }
    if (out) {
        write_script(out, s);
        r = file_close(out);
    }
    free(s->data);
    free(s->marks);
    s->data = s->marks = NULL;
    return r;
}
