/* html.h - text into a page: nothing that was read from a file becomes markup. */
#ifndef BENCH_HTML_H
#define BENCH_HTML_H

#include <stdio.h>

/* Escapes < > & and both quotes, so that it may stand in an attribute too. What is no UTF-8, or a
 * character that a page may not hold, becomes U+FFFD. */
void html_text(FILE *out, const char *text);

/* gnuplot's .svg as part of a page: without what stands before <svg>, and every id, and what refers
 * to one, begins with `prefix`: all pictures have the same ids. `label` is read out to who can't
 * see it. Returns 0, or -EINVAL, with nothing written: no svg in it. */
int html_svg(FILE *out, const char *svg, const char *prefix, const char *label);

#endif
