/* draw.c - see draw.h. */
#include "draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const draw_workload_colours[DRAW_COLOURS] = {COLOUR_BLUE,   COLOUR_ORANGE, COLOUR_GREEN,
                                                         COLOUR_PURPLE, COLOUR_SKY,    COLOUR_INK};
const char *const draw_arm_colours[RESULTS_ARM_NR] = {COLOUR_INK, COLOUR_BLUE, COLOUR_ORANGE};

unsigned draw_colour_number(const char *colour)
{
    return (unsigned)strtoul(colour + 1, NULL, 16);
}

/* ---- rows: what is said of a workload ------------------------------------------------------- */

static void tell_tally(struct results_tally tally, char *ret_text, size_t size)
{
    if (tally.invalid > 0)
        snprintf(ret_text, size, "INVALID: %zu of %zu run%s", tally.invalid, tally.total,
                 tally.total == 1 ? "" : "s");
    else if (tally.failed > 0)
        snprintf(ret_text, size, "%zu of %zu runs failed", tally.failed, tally.total);
    else if (tally.unchecked > 0)
        snprintf(ret_text, size, "bytes not checked");
    else
        snprintf(ret_text, size, "%zu run%s", tally.total, tally.total == 1 ? "" : "s");
}

struct script_row *draw_add_row(struct script *s, const struct results *results,
                                const char *workload)
{
    struct results_tally tally = results_tally(results, workload);
    struct script_row *row = &s->rows[s->nr_rows++];
    *row = (struct script_row){.is_invalid = tally.invalid > 0};
    snprintf(row->label, sizeof(row->label), "%s", workload);
    tell_tally(tally, row->below, sizeof(row->below));
    return row;
}

/* Which runs are not in the picture, or are in it and don't count. */
void draw_note_verdicts(struct script *s, const struct results *results, const char *only)
{
    bool has_invalid = false, has_unchecked = false;
    for (size_t i = 0; i < results->nr_workloads; i++) {
        const char *workload = results->workloads[i];
        if (only && strcmp(only, workload) != 0)
            continue;
        struct results_tally tally = results_tally(results, workload);
        has_invalid = has_invalid || tally.invalid > 0;
        has_unchecked = has_unchecked || tally.unchecked > 0;
        if (tally.failed > 0)
            script_note(s, "%s: %zu of %zu runs failed; left out here.", workload, tally.failed,
                        tally.total);
    }
    if (has_invalid)
        script_note(s,
                    "Red: invalid. Wrong bytes were read in a run of this workload; such a run (a "
                    "red cross) counts in no median.");
    if (has_unchecked)
        script_note(s, "The bytes of some runs were not checked.");
    if (results->nr_workloads == 0)
        script_note(s, "No run has been finished.");
}

void draw_need_row(struct script *s)
{
    if (s->nr_rows == 0)
        snprintf(s->rows[s->nr_rows++].label, sizeof(s->rows[0].label), "nothing to show");
}

void draw_note_no_saving(struct script *s, const struct results *results)
{
    if (results->nr_workloads == 1 && draw_is_churn(results->workloads[0]))
        script_note(s, "The workload that ran keeps its memory for milliseconds: there is nothing "
                       "in it to be saved.");
}

void draw_format_ratio(double value, char *ret_text, size_t size)
{
    snprintf(ret_text, size, "%.3f", value);
}

void draw_format_pct(double value, char *ret_text, size_t size)
{
    snprintf(ret_text, size, "%.*f", fabs(value) < 9.95 ? 2 : 1, value);
}

void draw_tell_spread(const struct results_spread *spread, draw_format *format, const char *unit,
                      char *ret_text, size_t size)
{
    char median[24], min[24], max[24];
    ret_text[0] = '\0';
    if (spread->n == 0)
        return;
    format(spread->median, median, sizeof(median));
    format(spread->min, min, sizeof(min));
    format(spread->max, max, sizeof(max));
    if (spread->n == 1)
        snprintf(ret_text, size, "%s%s", median, unit);
    else
        snprintf(ret_text, size, "%s (%s..%s)%s", median, min, max, unit);
}

void draw_widen(double value, double *least, double *most)
{
    *least = value < *least ? value : *least;
    *most = value > *most ? value : *most;
}

bool draw_is_churn(const char *workload)
{
    return strcmp(workload, RESULTS_CHURN) == 0;
}

size_t draw_saving_arms(const struct results *results, enum results_arm ret_arms[2])
{
    size_t n = 0;
    ret_arms[n++] = RESULTS_PAGER;
    if (results->has_arm[RESULTS_ZRAM])
        ret_arms[n++] = RESULTS_ZRAM;
    return n;
}
