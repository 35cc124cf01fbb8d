/* The way of bytes to the terminal. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/screen/terminal_state.h"

#define SYNC_ON "\x1b[?2026h"
#define SYNC_OFF "\x1b[?2026l"

static void write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno == EAGAIN) /* somebody who shares it does not want to wait */
            poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
        else if (n < 0 && errno != EINTR)
            return; /* the terminal is gone: reading will tell */
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        }
    }
}

static bool add(struct kg_bytes *to, const char *bytes, size_t length)
{
    if (to->length + length > to->capacity) {
        size_t larger = 2 * (to->length + length) + 4096;
        char *grown = realloc(to->bytes, larger);
        if (!grown)
            return false;
        to->bytes = grown;
        to->capacity = larger;
    }
    if (length)
        memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
    return true;
}

static void put(struct kg_terminal *terminal, const char *bytes, size_t length)
{
    if (add(&terminal->ready, bytes, length))
        return;
    write_all(terminal->out, terminal->ready.bytes, terminal->ready.length);
    write_all(terminal->out, bytes, length);
    terminal->ready.length = 0;
}

/* Puts bytes behind those that are ready, true colours in place of what curses sent for them. */
static void make_ready(struct kg_terminal *terminal, const char *bytes, size_t length)
{
    const char *end = bytes + length;
    while (bytes < end) {
        const char *escape = memchr(bytes, '\x1b', (size_t)(end - bytes));
        size_t plain = escape ? (size_t)(escape - bytes) : (size_t)(end - bytes);
        put(terminal, bytes, plain);
        bytes += plain;
        if (!escape)
            break;
        const struct kg_swap *swap = kg_palette_swap(&terminal->palette, bytes, (size_t)(end - bytes));
        if (swap)
            put(terminal, swap->to, strlen(swap->to));
        else
            put(terminal, "\x1b", 1);
        bytes += swap ? strlen(swap->from) : 1;
    }
}

static void send_ready(struct kg_terminal *terminal)
{
    write_all(terminal->out, terminal->ready.bytes, terminal->ready.length);
    terminal->ready.length = 0;
}

void kg_frame_add(struct kg_terminal *terminal, const char *bytes, size_t length)
{
    if (add(&terminal->frame, bytes, length))
        return;
    make_ready(terminal, terminal->frame.bytes, terminal->frame.length);
    make_ready(terminal, bytes, length);
    send_ready(terminal);
    terminal->frame.length = 0;
}

void kg_frame_take(struct kg_terminal *terminal)
{
    int fd = fileno(terminal->sink);
    char bytes[16384];
    fflush(terminal->sink);
    off_t end = lseek(fd, 0, SEEK_CUR), at = 0;
    while (at < end) {
        size_t most = (size_t)(end - at) < sizeof bytes ? (size_t)(end - at) : sizeof bytes;
        ssize_t n = pread(fd, bytes, most, at);
        if (n <= 0)
            break;
        kg_frame_add(terminal, bytes, (size_t)n);
        at += n;
    }
    lseek(fd, 0, SEEK_SET);
}

void kg_frame_send(struct kg_terminal *terminal)
{
    if (terminal->frame.length == 0)
        return;
    if (terminal->synchronized)
        put(terminal, SYNC_ON, sizeof SYNC_ON - 1);
    make_ready(terminal, terminal->frame.bytes, terminal->frame.length);
    if (terminal->synchronized)
        put(terminal, SYNC_OFF, sizeof SYNC_OFF - 1);
    send_ready(terminal);
    terminal->frame.length = 0;
}
