/* log.h - one line an event, key=value, to stderr; with journal priorities where stderr is the
 * journal's. For programs: library rooms return their errors instead. Any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_AT_ERROR = 3, LOG_AT_WARNING = 4, LOG_AT_INFO = 6, LOG_AT_DEBUG = 7 };

void log_set_level(enum log_level most_detailed);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_AT_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_AT_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_AT_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_AT_DEBUG, __VA_ARGS__)

#endif
