#include "tui/config/lines.h"

#include <ini.h>
#include <stdio.h>
#include <string.h>

struct reading {
    const struct kg_line_reader *reader;
    const char *rest, *end;
    int line;
    bool ended;
};

static void refuse(struct reading *reading, const char *why)
{
    reading->ended = !reading->reader->refuse(reading->reader->ctx, reading->line, why);
}

static bool is_clean(struct reading *reading, const char *line, size_t length, int capacity)
{
    char why[96];
    for (size_t i = 0; i < length; i++)
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f) {
            refuse(reading, "a control character; only text and tabs can stand here");
            return false;
        }
    if (length + 1 > (size_t)capacity) {
        snprintf(why, sizeof why, "the line has %zu bytes; at most %d are read", length, capacity - 1);
        refuse(reading, why);
        return false;
    }
    if (!memchr(line, line[0] == '[' ? ']' : '=', length)) {
        refuse(reading, "neither [SECTION] nor NAME = VALUE");
        return false;
    }
    return true;
}

/* The next line for inih, without indentation, which it would take for the line before going on. */
static char *next_line(char *out, int capacity, void *stream)
{
    struct reading *reading = stream;
    while (reading->rest < reading->end && !reading->ended) {
        const char *line = reading->rest, *newline = memchr(line, '\n', (size_t)(reading->end - line));
        const char *behind = newline ? newline : reading->end;
        reading->rest = newline ? newline + 1 : reading->end;
        reading->line++;
        while (behind > line && (behind[-1] == '\r' || behind[-1] == ' ' || behind[-1] == '\t'))
            behind--;
        while (line < behind && (*line == ' ' || *line == '\t'))
            line++;
        size_t length = (size_t)(behind - line);
        if (length == 0 || *line == '#' || *line == ';' || !is_clean(reading, line, length, capacity))
            continue;
        memcpy(out, line, length);
        out[length] = '\0';
        return out;
    }
    return NULL;
}

static int take(void *stream, const char *section, const char *name, const char *value)
{
    struct reading *reading = stream;
    if (!reading->ended)
        reading->ended = !reading->reader->take(reading->reader->ctx, reading->line, section, name, value);
    return 1;
}

bool kg_lines_read(const char *text, size_t length, const struct kg_line_reader *reader)
{
    struct reading reading = { .reader = reader, .rest = text, .end = text + length };
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        reading.rest += 3;
    return ini_parse_stream(next_line, &reading, take, &reading) >= 0;
}
