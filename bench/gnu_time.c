/* gnu_time.c - the labels are those of GNU time 1.7 to 1.9. The elapsed label itself holds colons
 * ("Elapsed (wall clock) time (h:mm:ss or m:ss): 0:10.05"): splitting a line at its first colon,
 * as is often done, finds nothing there. So: look for the whole label. */
#include "gnu_time.h"

#include <stdlib.h>
#include <string.h>

bool gnu_time_parse_elapsed(const char *text, double *ret_sec)
{
    double sum = 0;
    for (int parts = 1; parts <= 3; parts++) {
        char *end;
        if (*text < '0' || *text > '9')
            return false;
        double part = strtod(text, &end);
        sum = sum * 60 + part;
        if (*end != ':') {
            bool is_end = *end == '\0' || *end == '\n';
            if (is_end && parts > 1)
                *ret_sec = sum;
            return is_end && parts > 1;
        }
        text = end + 1;
    }
    return false;
}

static const char *behind(const char *text, const char *label)
{
    const char *at = strstr(text, label);
    return at ? at + strlen(label) : NULL;
}

static bool find_double(const char *text, const char *label, double *ret_value)
{
    const char *at = behind(text, label);
    char *end;
    if (!at)
        return false;
    double value = strtod(at, &end);
    if (end == at)
        return false;
    *ret_value = value;
    return true;
}

static bool find_uint(const char *text, const char *label, uint64_t *ret_value)
{
    const char *at = behind(text, label);
    char *end;
    if (!at)
        return false;
    uint64_t value = strtoull(at, &end, 10);
    if (end == at)
        return false;
    *ret_value = value;
    return true;
}

bool gnu_time_parse(const char *text, struct gnu_time *ret_time)
{
    struct gnu_time t = {0};
    const char *elapsed = behind(text, "Elapsed (wall clock) time (h:mm:ss or m:ss): ");
    if (!elapsed || !gnu_time_parse_elapsed(elapsed, &t.elapsed_sec) ||
        !find_double(text, "User time (seconds): ", &t.user_sec) ||
        !find_double(text, "System time (seconds): ", &t.system_sec) ||
        !find_double(text, "Percent of CPU this job got: ", &t.cpu_pct) ||
        !find_uint(text, "Maximum resident set size (kbytes): ", &t.max_rss_kib) ||
        !find_uint(text, "Major (requiring I/O) page faults: ", &t.major_faults) ||
        !find_uint(text, "Minor (reclaiming a frame) page faults: ", &t.minor_faults))
        return false;
    *ret_time = t;
    return true;
}
