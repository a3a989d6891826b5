/* screen.c - see screen.h. Sequences: ECMA-48 and xterm's control sequences. */
#include "screen.h"

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

#include "support.h"

/* ---- cells */

static int clip(int value, int least, int most)
{
    return value < least ? least : value > most ? most : value;
}

static void go(struct screen *s, int y, int x)
{
    s->y = clip(y, 0, s->rows - 1);
    s->x = clip(x, 0, s->cols - 1);
    s->must_wrap = false;
}

static void blank(struct screen *s, int y, int from, int to)
{
    memset(&s->cells[y][from], ' ', (size_t)(to - from));
}

static void blank_rows(struct screen *s, int from, int to)
{
    for (int y = from; y < to; y++)
        blank(s, y, 0, s->cols);
}

/* Rows of [top, bottom] move by n, upwards if it is positive. */
static void scroll(struct screen *s, int top, int bottom, int n)
{
    int nr = bottom - top + 1, by = clip(n, -nr, nr);
    if (by > 0) {
        memmove(s->cells[top], s->cells[top + by], (size_t)(nr - by) * sizeof s->cells[0]);
        blank_rows(s, bottom + 1 - by, bottom + 1);
    } else {
        memmove(s->cells[top - by], s->cells[top], (size_t)(nr + by) * sizeof s->cells[0]);
        blank_rows(s, top, top - by);
    }
}

static void line_feed(struct screen *s)
{
    if (s->y == s->bottom)
        scroll(s, s->top, s->bottom, 1);
    else
        go(s, s->y + 1, s->x);
}

static void put(struct screen *s, char letter)
{
    if (s->must_wrap) {
        s->x = 0;
        s->must_wrap = false;
        line_feed(s);
    }
    s->cells[s->y][s->x] = s->last = letter;
    if (s->x == s->cols - 1)
        s->must_wrap = true;
    else
        s->x++;
}

/* n cells at the cursor come in or go out; the rest of the row gives way. */
static void shift(struct screen *s, int n)
{
    char *at = &s->cells[s->y][s->x];
    int room = s->cols - s->x, by = clip(n, -room, room);
    if (by > 0) {
        memmove(at + by, at, (size_t)(room - by));
        blank(s, s->y, s->x, s->x + by);
    } else {
        memmove(at, at - by, (size_t)(room + by));
        blank(s, s->y, s->cols + by, s->cols);
    }
}

static void erase(struct screen *s, int what, bool is_screen)
{
    if (what == 0)
        blank(s, s->y, s->x, s->cols);
    else if (what == 1)
        blank(s, s->y, 0, s->x + 1);
    else
        blank(s, s->y, 0, s->cols);
    if (is_screen && what != 1)
        blank_rows(s, what == 2 ? 0 : s->y + 1, s->rows);
    if (is_screen && what != 0)
        blank_rows(s, 0, what == 2 ? s->rows : s->y);
}

/* ---- sequences */

static void set_mode(struct screen *s, int mode, bool is_on)
{
    if (mode == 25)
        s->is_cursor_hidden = !is_on;
    if (mode == 1049 || mode == 47 || mode == 1047)
        s->is_alternate = is_on;
}

/* ESC [ … final. */
static void control(struct screen *s, const char *text, char final)
{
    bool is_private = *text == '?' || *text == '>';
    int n[4] = { 0 };
    unsigned nr = 0;
    for (const char *at = text + is_private; nr < 4; at++) {
        n[nr++] = (int)strtol(at, NULL, 10);
        at = strchr(at, ';');
        if (!at)
            break;
    }
    int one = n[0] ? n[0] : 1;
    switch (final) {
    case 'H':
    case 'f': go(s, one - 1, (n[1] ? n[1] : 1) - 1); break;
    case 'A': go(s, s->y - one, s->x); break;
    case 'B': go(s, s->y + one, s->x); break;
    case 'C': go(s, s->y, s->x + one); break;
    case 'D': go(s, s->y, s->x - one); break;
    case 'G': go(s, s->y, one - 1); break;
    case 'd': go(s, one - 1, s->x); break;
    case 'J': erase(s, n[0], true); break;
    case 'K': erase(s, n[0], false); break;
    case 'X': blank(s, s->y, s->x, clip(s->x + one, 0, s->cols)); break;
    case '@': shift(s, one); break;
    case 'P': shift(s, -one); break;
    case 'L': scroll(s, s->y, s->bottom, -one); break;
    case 'M': scroll(s, s->y, s->bottom, one); break;
    case 'S': scroll(s, s->top, s->bottom, one); break;
    case 'T': scroll(s, s->top, s->bottom, -one); break;
    case 'b':
        for (char last = s->last; one; one--)
            put(s, last);
        break;
    case 'r':
        s->top = one - 1;
        s->bottom = n[1] ? n[1] - 1 : s->rows - 1;
        go(s, 0, 0);
        break;
    case 'h':
    case 'l':
        for (unsigned i = 0; is_private && i < nr; i++)
            set_mode(s, n[i], final == 'h');
        break;
    case 'm': /* colours and the like are not looked at */
    case 't':
    case 'c':
        break;
    default:
        test_fail(__FILE__, __LINE__, "the program wrote ESC [ %s %c, which the model does not know", text,
                  final);
    }
}

/* One more byte after ESC. True: the sequence is complete. */
static bool escape(struct screen *s, char byte)
{
    const char *text = s->sequence;
    s->sequence[s->nr_sequence++] = byte;
    s->sequence[s->nr_sequence] = 0;
    CHECK(s->nr_sequence < sizeof s->sequence - 1);
    switch (text[0]) {
    case '[':
        if (s->nr_sequence == 1 || byte < '@' || byte > '~')
            return false;
        s->sequence[s->nr_sequence - 1] = 0;
        control(s, text + 1, byte);
        return true;
    case '(':
    case ')':
        return s->nr_sequence == 2;
    case '7':
        s->saved_y = s->y;
        s->saved_x = s->x;
        return true;
    case '8':
        go(s, s->saved_y, s->saved_x);
        return true;
    case 'M':
        if (s->y == s->top)
            scroll(s, s->top, s->bottom, -1);
        else
            go(s, s->y - 1, s->x);
        return true;
    case '=':
    case '>':
        return true;
    default:
        test_fail(__FILE__, __LINE__, "the program wrote ESC %s, which the model does not know", text);
    }
}

static void take(struct screen *s, char byte)
{
    if (s->nr_sequence || s->last == '\033') {
        s->last = ' ';
        if (escape(s, byte))
            s->nr_sequence = 0;
        return;
    }
    switch (byte) {
    case '\033': s->last = '\033'; break;
    case '\r':   go(s, s->y, 0); break;
    case '\n':   line_feed(s); break;
    case '\b':   go(s, s->y, s->x - 1); break;
    case '\t':   go(s, s->y, (s->x / 8 + 1) * 8); break;
    case '\a':
    case 0:
    case '\016':
    case '\017': break;
    default:     put(s, byte);
    }
}

/* ---- the terminal */

static void set_size(struct screen *s, int rows, int cols)
{
    CHECK(rows <= SCREEN_ROWS_MAX && cols <= SCREEN_COLS_MAX);
    s->rows = rows;
    s->cols = cols;
    s->top = 0;
    s->bottom = rows - 1;
    for (int y = 0; y < SCREEN_ROWS_MAX; y++) {
        memset(s->cells[y] + cols, 0, sizeof s->cells[y] - (size_t)cols);
        for (int x = 0; x < cols; x++)
            s->cells[y][x] = s->cells[y][x] ? s->cells[y][x] : ' ';
    }
    go(s, s->y, s->x);
}

void screen_start(struct screen *s, const char *term, int rows, int cols, const char *const words[])
{
    struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };
    memset(s, 0, sizeof *s);
    set_size(s, rows, cols);
    int terminal;
    CHECK_EQ(openpty(&s->fd, &terminal, NULL, NULL, &size), 0);
    CHECK_EQ(tcgetattr(s->fd, &s->before), 0);
    s->pid = fork();
    CHECK(s->pid >= 0);
    if (s->pid == 0) {
        (void)close(s->fd);
        (void)login_tty(terminal);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)setenv("TERM", term, 1);
        (void)unsetenv("LINES");
        (void)unsetenv("COLUMNS");
        execv(words[0], (char *const *)words);
        _exit(127);
    }
    close(terminal);
}

bool screen_take(struct screen *s, unsigned ms)
{
    uint64_t until_ms = test_now_ms() + ms;
    struct pollfd readable = { .fd = s->fd, .events = POLLIN };
    for (uint64_t now_ms; (now_ms = test_now_ms()) < until_ms;) {
        char bytes[4096];
        if (poll(&readable, 1, (int)(until_ms - now_ms)) < 1)
            continue;
        ssize_t n = read(s->fd, bytes, sizeof bytes);
        if (n <= 0)
            return false; /* EIO: nobody has it open any more */
        for (ssize_t i = 0; i < n; i++)
            take(s, bytes[i]);
    }
    return true;
}

void screen_press(const struct screen *s, char key)
{
    CHECK_EQ(write(s->fd, &key, 1), 1);
}

void screen_resize(struct screen *s, int rows, int cols)
{
    struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };
    set_size(s, rows, cols);
    CHECK_EQ(ioctl(s->fd, TIOCSWINSZ, &size), 0); /* the kernel sends SIGWINCH */
}

int screen_find(const struct screen *s, const char *text)
{
    for (int y = 0; y < s->rows; y++)
        if (strstr(s->cells[y], text))
            return y;
    return -1;
}

int screen_end(struct screen *s)
{
    int status;
    uint64_t until_ms = test_now_ms() + test_limit_ms(5000);
    while (waitpid(s->pid, &status, WNOHANG) == 0) {
        CHECK(test_now_ms() < until_ms);
        (void)screen_take(s, 20);
    }
    while (screen_take(s, 50) && test_now_ms() < until_ms)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool screen_is_restored(const struct screen *s)
{
    struct termios now;
    CHECK_EQ(tcgetattr(s->fd, &now), 0);
    return !s->is_alternate && !s->is_cursor_hidden && now.c_lflag == s->before.c_lflag &&
           now.c_iflag == s->before.c_iflag && now.c_oflag == s->before.c_oflag &&
           !memcmp(now.c_cc, s->before.c_cc, sizeof now.c_cc);
}

void screen_close(struct screen *s)
{
    close(s->fd);
    s->fd = -1;
}
