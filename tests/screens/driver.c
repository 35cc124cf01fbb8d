#include "tests/screens/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <vterm.h>

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define DEADLINE_S 180.0 /* a model computes many times slower */
#else
#define DEADLINE_S 30.0
#endif
#define REST_MS 120

/* What the program's parent, a shell of sorts, tells about it. */
struct news {
    pid_t pid;
    int status;
};

struct driver {
    pid_t leader; /* of the session; it waits for the program */
    pid_t pid;    /* of the program */
    int news;     /* a pipe from the leader */
    bool stopped;
    int master, slave; /* the slave stays open, so that its modes can be read when the program has ended */
    struct termios modes;
    VTerm *terminal;
    VTermScreen *screen;
    char *raw;
    size_t raw_length, raw_capacity;
    char *text;
    bool ended;
    int status;
};

double driver_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void answer_terminal(const char *bytes, size_t length, void *ctx)
{
    struct driver *driver = ctx;
    if (write(driver->master, bytes, length) < 0)
        return;
}

static void run_program(int slave, const char *const *argv, const char *const *environment, const char *term)
{
    for (int i = 0; i < 3; i++)
        dup2(slave, i);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    setenv("TERM", term, 1);
    setenv("LC_ALL", "C.UTF-8", 1);
    unsetenv("NO_COLOR");
    for (; environment && *environment; environment++)
        putenv((char *)(uintptr_t)*environment);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static void tell_news(int to, pid_t pid, int status)
{
    struct news news = { .pid = pid, .status = status };
    if (write(to, &news, sizeof news) < 0)
        _exit(126);
}

/* As a shell does: the program is in a process group of its own, so that it can be stopped. */
static void run_leader(int slave, int to, const char *const *argv, const char *const *environment, const char *term)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setsid();
    ioctl(slave, TIOCSCTTY, 0);
    signal(SIGTTOU, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* it tells how the program ends even when the terminal goes */
    pid_t pid = fork();
    setpgid(pid, pid);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        tcsetpgrp(slave, getpid());
        signal(SIGTTOU, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        run_program(slave, argv, environment, term);
    }
    tell_news(to, pid, -1);
    for (int status; waitpid(pid, &status, WUNTRACED) == pid;) {
        tell_news(to, pid, status);
        if (!WIFSTOPPED(status))
            break;
    }
    _exit(0);
}

struct driver *driver_start(const char *const *argv, const char *const *environment, const char *term, int rows, int columns)
{
    struct driver *driver = calloc(1, sizeof *driver);
    struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };
    assert_int_equal(openpty(&driver->master, &driver->slave, NULL, NULL, &size), 0);
    fcntl(driver->master, F_SETFD, FD_CLOEXEC);
    fcntl(driver->slave, F_SETFD, FD_CLOEXEC);
    tcgetattr(driver->slave, &driver->modes);
    driver->terminal = vterm_new(rows, columns);
    vterm_set_utf8(driver->terminal, 1);
    vterm_output_set_callback(driver->terminal, answer_terminal, driver);
    driver->screen = vterm_obtain_screen(driver->terminal);
    vterm_screen_enable_altscreen(driver->screen, 1);
    vterm_screen_reset(driver->screen, 1);
    int news[2];
    struct news first;
    assert_int_equal(pipe(news), 0);
    driver->leader = fork();
    assert_true(driver->leader >= 0);
    if (driver->leader == 0) {
        close(driver->master);
        close(news[0]);
        run_leader(driver->slave, news[1], argv, environment, term);
    }
    close(news[1]);
    driver->news = news[0];
    assert_int_equal(read(driver->news, &first, sizeof first), sizeof first);
    driver->pid = first.pid;
    return driver;
}

void driver_free(struct driver *driver)
{
    if (!driver->ended)
        kill(driver->pid, SIGKILL);
    waitpid(driver->leader, NULL, 0);
    close(driver->news);
    vterm_free(driver->terminal);
    if (driver->master >= 0)
        close(driver->master);
    if (driver->slave >= 0)
        close(driver->slave);
    free(driver->raw);
    free(driver->text);
    free(driver);
}

static void keep(struct driver *driver, const char *bytes, size_t length)
{
    if (driver->raw_length + length + 1 > driver->raw_capacity) {
        driver->raw_capacity = 2 * (driver->raw_length + length) + 65536;
        driver->raw = realloc(driver->raw, driver->raw_capacity);
        assert_non_null(driver->raw);
    }
    memcpy(driver->raw + driver->raw_length, bytes, length);
    driver->raw_length += length;
    driver->raw[driver->raw_length] = '\0';
}

bool driver_take(struct driver *driver, int wait_ms)
{
    char bytes[65536];
    struct pollfd readable = { .fd = driver->master, .events = POLLIN };
    if (poll(&readable, 1, wait_ms) <= 0)
        return false;
    ssize_t n = read(driver->master, bytes, sizeof bytes);
    if (n <= 0)
        return false;
    keep(driver, bytes, (size_t)n);
    vterm_input_write(driver->terminal, bytes, (size_t)n);
    return true;
}

void driver_send_bytes(struct driver *driver, const char *bytes, size_t length)
{
    fcntl(driver->master, F_SETFL, O_NONBLOCK);
    while (length > 0) { /* the program may be waiting to be read from before it reads on */
        ssize_t n = write(driver->master, bytes, length);
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        } else {
            struct pollfd either = { .fd = driver->master, .events = POLLIN | POLLOUT };
            assert_int_equal(errno, EAGAIN);
            poll(&either, 1, 100);
            driver_take(driver, 0);
        }
    }
    fcntl(driver->master, F_SETFL, 0);
}

int driver_process(const struct driver *driver)
{
    return driver->pid;
}

void driver_send(struct driver *driver, const char *keys)
{
    driver_send_bytes(driver, keys, strlen(keys));
}

static void set_size(struct driver *driver, int rows, int columns)
{
    struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };
    vterm_set_size(driver->terminal, rows, columns);
    assert_int_equal(ioctl(driver->master, TIOCSWINSZ, &size), 0);
}

void driver_resize(struct driver *driver, int rows, int columns)
{
    driver_take(driver, 0);
    set_size(driver, rows, columns);
}

bool driver_resize_unread(struct driver *driver, int rows, int columns, int wait_ms)
{
    struct pollfd readable = { .fd = driver->master, .events = POLLIN };
    bool unread = poll(&readable, 1, wait_ms) > 0;
    set_size(driver, rows, columns);
    return unread;
}

void driver_print(struct driver *driver, const char *text)
{
    size_t length = strlen(text);
    assert_int_equal(write(driver->slave, text, length), length);
    while (driver_take(driver, REST_MS))
        ;
}

void driver_hang_up(struct driver *driver)
{
    close(driver->slave);
    close(driver->master);
    driver->slave = driver->master = -1;
}

void driver_signal(struct driver *driver, int number)
{
    kill(driver->pid, number);
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    unsigned more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    out[0] = (char)(lead[more] | (c >> (6 * more)));
    for (unsigned i = 1; i <= more; i++)
        out[i] = (char)(0x80 | ((c >> (6 * (more - i))) & 0x3f));
    return more + 1;
}

const char *driver_screen(struct driver *driver)
{
    int rows, columns;
    vterm_get_size(driver->terminal, &rows, &columns);
    char *out = realloc(driver->text, (size_t)rows * ((size_t)columns * 24 + 2) + 1);
    assert_non_null(out);
    driver->text = out;
    size_t used = 0;
    for (int row = 0; row < rows; row++) {
        size_t end = used;
        for (int column = 0; column < columns; column++) {
            VTermScreenCell cell;
            vterm_screen_get_cell(driver->screen, (VTermPos){ .row = row, .col = column }, &cell);
            bool blank = cell.chars[0] == 0 || cell.chars[0] == ' ';
            for (int i = 0; i < VTERM_MAX_CHARS_PER_CELL && (i == 0 || (!blank && cell.chars[i])); i++) /* a blank one sets the first only */
                used += put_utf8(out + used, i == 0 && blank ? ' ' : cell.chars[i]);
            if (!blank)
                end = used;
            if (cell.width == 2)
                column++;
        }
        used = end;
        out[used++] = '\n';
    }
    out[used] = '\0';
    return out;
}

void driver_cell(struct driver *driver, int row, int column, struct driver_cell *out)
{
    VTermScreenCell cell;
    vterm_screen_get_cell(driver->screen, (VTermPos){ .row = row, .col = column }, &cell);
    *out = (struct driver_cell){ .bold = cell.attrs.bold, .italic = cell.attrs.italic, .underline = cell.attrs.underline != 0, .reverse = cell.attrs.reverse };
    out->chars[0] = cell.chars[0] ? cell.chars[0] : ' ';
    for (int i = 1; i < VTERM_MAX_CHARS_PER_CELL && i < 6 && cell.chars[0] && cell.chars[i - 1]; i++)
        out->chars[i] = cell.chars[i];
}

bool driver_shows(struct driver *driver, const char *text)
{
    return strstr(driver_screen(driver), text) != NULL;
}

static void wait_until(struct driver *driver, const char *text, bool shown)
{
    double end = driver_seconds() + DEADLINE_S;
    while (driver_shows(driver, text) != shown) {
        if (driver_seconds() > end)
            fail_msg("'%s' did not %s in %.0f s; the screen:\n%s", text, shown ? "appear" : "go", DEADLINE_S, driver_screen(driver));
        driver_take(driver, 50);
    }
}

void driver_wait_for(struct driver *driver, const char *text)
{
    wait_until(driver, text, true);
}

void driver_wait_for_either(struct driver *driver, const char *text, const char *other)
{
    double end = driver_seconds() + DEADLINE_S;
    while (!driver_shows(driver, text) && !driver_shows(driver, other)) {
        if (driver_seconds() > end)
            fail_msg("neither '%s' nor '%s' appeared in %.0f s; the screen:\n%s", text, other, DEADLINE_S, driver_screen(driver));
        driver_take(driver, 50);
    }
}

void driver_wait_gone(struct driver *driver, const char *text)
{
    wait_until(driver, text, false);
}

void driver_wait_sent(struct driver *driver, const char *bytes)
{
    double end = driver_seconds() + DEADLINE_S;
    while (!driver->raw || !strstr(driver->raw, bytes)) {
        if (driver_seconds() > end)
            fail_msg("'%s' was not sent in %.0f s", bytes + (bytes[0] == '\x1b'), DEADLINE_S);
        driver_take(driver, 50);
    }
}

void driver_settle(struct driver *driver)
{
    double end = driver_seconds() + DEADLINE_S;
    while (driver_take(driver, REST_MS))
        assert_true(driver_seconds() < end);
}

static bool hear_news(struct driver *driver)
{
    struct news news;
    struct pollfd readable = { .fd = driver->news, .events = POLLIN };
    while (!driver->ended && poll(&readable, 1, 0) > 0 && read(driver->news, &news, sizeof news) == sizeof news) {
        driver->stopped = WIFSTOPPED(news.status);
        driver->ended = !driver->stopped;
        driver->status = WIFSIGNALED(news.status) ? 128 + WTERMSIG(news.status) : WEXITSTATUS(news.status);
    }
    return driver->ended;
}

bool driver_ended(struct driver *driver)
{
    return hear_news(driver);
}

int driver_wait_exit(struct driver *driver)
{
    double end = driver_seconds() + DEADLINE_S;
    while (!hear_news(driver)) {
        if (driver_seconds() > end)
            fail_msg("the program did not end in %.0f s; the screen:\n%s", DEADLINE_S, driver_screen(driver));
        driver_take(driver, 20);
    }
    while (driver_take(driver, 0))
        ;
    return driver->status;
}

void driver_wait_stopped(struct driver *driver)
{
    double end = driver_seconds() + DEADLINE_S;
    while (!driver->stopped) {
        assert_true(driver_seconds() < end);
        hear_news(driver);
        driver_take(driver, 20);
    }
    driver->stopped = false;
    while (driver_take(driver, 0))
        ;
}

void driver_cursor(struct driver *driver, int *row, int *column)
{
    VTermPos position;
    vterm_state_get_cursorpos(vterm_obtain_state(driver->terminal), &position);
    *row = position.row;
    *column = position.col;
}

const char *driver_raw(const struct driver *driver, size_t *length)
{
    *length = driver->raw_length;
    return driver->raw ? driver->raw : "";
}

bool driver_modes_restored(const struct driver *driver)
{
    struct termios now;
    tcgetattr(driver->slave, &now);
    return now.c_iflag == driver->modes.c_iflag && now.c_oflag == driver->modes.c_oflag && now.c_cflag == driver->modes.c_cflag &&
           now.c_lflag == driver->modes.c_lflag && memcmp(now.c_cc, driver->modes.c_cc, sizeof now.c_cc) == 0;
}

static char *read_golden(const char *path)
{
    char *golden = NULL;
    size_t capacity = 0;
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s is missing; UPDATE_GOLDEN=1 writes it", path);
    ssize_t length = getdelim(&golden, &capacity, '\0', file);
    fclose(file);
    assert_true(length > 0);
    return golden;
}

void driver_golden(struct driver *driver, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "tests/screens/golden/%s.txt", name);
    if (getenv("UPDATE_GOLDEN")) {
        driver_settle(driver);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(driver_screen(driver), file);
        fclose(file);
        return;
    }
    char *golden = read_golden(path);
    double end = driver_seconds() + DEADLINE_S;
    while (strcmp(golden, driver_screen(driver)) != 0 && driver_seconds() < end)
        driver_take(driver, 50); /* a frame may have arrived in part */
    if (strcmp(golden, driver_screen(driver)) != 0)
        print_error("the screen differs from %s (UPDATE_GOLDEN=1 writes it anew); it shows:\n%s", path, driver_screen(driver));
    assert_string_equal(golden, driver_screen(driver));
    free(golden);
}
