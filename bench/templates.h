/* templates.h - the texts of bench/plots/, and the report's style: put into the program when it is
 * built, by tools/embed. */
#ifndef BENCH_TEMPLATES_H
#define BENCH_TEMPLATES_H

extern const char text_style_gp[];   /* colours and lines, once in each script */
extern const char text_format_gp[];  /* at the start of each picture */
extern const char text_dots_gp[];    /* a row a workload: median, range, runs */
extern const char text_bars_gp[];    /* a row a workload: bars from zero */
extern const char text_scatter_gp[]; /* a point a run */
extern const char text_memory_gp[];  /* a panel a workload: memory over time */
extern const char text_cdf_gp[];     /* a panel a workload: share of touches above a latency */
extern const char text_report_css[];

#endif
