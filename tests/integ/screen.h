/* screen.h - a program on a terminal: a pseudo-terminal, and a model of what an xterm would show, as far as
 * ncurses makes use of one. What the model does not know ends the test. */
#ifndef INTEG_SCREEN_H
#define INTEG_SCREEN_H

#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

#define SCREEN_ROWS_MAX 60
#define SCREEN_COLS_MAX 160

struct screen {
    int fd; /* the terminal's other end; the test looks at it through screen_…() only */
    pid_t pid;
    int rows, cols;
    char cells[SCREEN_ROWS_MAX][SCREEN_COLS_MAX + 1];
    bool is_alternate, is_cursor_hidden;
    struct termios before; /* as the terminal was when the program began */

    /* the model's own */
    int y, x, top, bottom, saved_y, saved_x;
    bool must_wrap;
    char last;
    char sequence[64];
    unsigned nr_sequence;
};

/* Words end with NULL. */
void screen_start(struct screen *s, const char *term, int rows, int cols, const char *const words[]);
/* Takes what has been written, for so long. False: the program has closed the terminal. */
bool screen_take(struct screen *s, unsigned ms);
void screen_press(const struct screen *s, char key);
void screen_resize(struct screen *s, int rows, int cols);
/* The first row that has this text; -1: none. */
int screen_find(const struct screen *s, const char *text);
/* Waits for its end, at most five seconds: the exit code, 128 + n after signal n. */
int screen_end(struct screen *s);
/* Is the terminal as it was? After screen_end(). */
bool screen_is_restored(const struct screen *s);
void screen_close(struct screen *s);

#endif
