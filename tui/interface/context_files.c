#include "tui/interface/context_files.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ORIGINS_MOST 4096 /* of paths; the oldest are forgotten */

static const char *const names[] = { [KG_READ_DUE] = "to be read", [KG_READ_CACHED] = "cached", [KG_READ_NOW] = "read" };

const char *kg_read_name(enum kg_read read)
{
    return names[read];
}

void kg_context_file_write(FILE *stream, const struct kg_context_file *file)
{
    fprintf(stream, "%s%c%" PRIu64 "%c%s%c%s%c%s%c%" PRIu64 "%c", file->path, 0, file->tokens, 0, names[file->read], 0, file->why, 0,
            file->talk     ? "talk"
            : file->pinned ? "pinned"
                           : "",
            0, file->again, 0);
}

bool kg_context_file_next(const char *files, size_t length, size_t *at, struct kg_context_file *out)
{
    const char *fields[6];
    for (int i = 0; i < 6; i++) {
        const char *end = *at < length ? memchr(files + *at, '\0', length - *at) : NULL;
        if (!end)
            return false;
        fields[i] = files + *at;
        *at = (size_t)(end - files) + 1;
    }
    *out = (struct kg_context_file){ .path = fields[0], .why = fields[3], .tokens = strtoull(fields[1], NULL, 10), .pinned = fields[4][0] == 'p',
                                     .talk = fields[4][0] == 't', .again = strtoull(fields[5], NULL, 10) };
    for (int i = KG_READ_DUE; i <= KG_READ_NOW; i++)
        if (strcmp(fields[2], names[i]) == 0)
            out->read = (enum kg_read)i;
    return true;
}

struct origin {
    char *path, *why;
    enum kg_read read;
};

struct kg_origins {
    struct origin *rows;
    size_t count, capacity;
};

struct kg_origins *kg_origins_create(void)
{
    return calloc(1, sizeof(struct kg_origins));
}

void kg_origins_clear(struct kg_origins *origins)
{
    for (size_t i = 0; i < origins->count; i++) {
        free(origins->rows[i].path);
        free(origins->rows[i].why);
    }
    origins->count = 0;
}

void kg_origins_free(struct kg_origins *origins)
{
    if (!origins)
        return;
    kg_origins_clear(origins);
    free(origins->rows);
    free(origins);
}

static struct origin *find(const struct kg_origins *origins, const char *path)
{
    for (size_t i = origins->count; i-- > 0;)
        if (strcmp(origins->rows[i].path, path) == 0)
            return &origins->rows[i];
    return NULL;
}

static struct origin *add(struct kg_origins *origins, const char *path)
{
    if (origins->count == ORIGINS_MOST) {
        free(origins->rows[0].path);
        free(origins->rows[0].why);
        memmove(origins->rows, origins->rows + 1, --origins->count * sizeof *origins->rows);
    }
    if (origins->count == origins->capacity) {
        size_t larger = origins->capacity * 2 + 16;
        struct origin *grown = realloc(origins->rows, larger * sizeof *grown);
        if (!grown)
            return NULL;
        origins->rows = grown;
        origins->capacity = larger;
    }
    char *copy = strdup(path);
    if (!copy)
        return NULL;
    origins->rows[origins->count] = (struct origin){ .path = copy };
    return &origins->rows[origins->count++];
}

void kg_origin_set(struct kg_origins *origins, const char *path, const char *why, enum kg_read read)
{
    struct origin *origin = find(origins, path);
    if (!origin)
        origin = add(origins, path);
    if (!origin)
        return;
    origin->read = read;
    char *copy = why ? strdup(why) : NULL;
    if (!copy)
        return;
    free(origin->why);
    origin->why = copy;
}

enum kg_read kg_origin_of(const struct kg_origins *origins, const char *path, const char **why)
{
    const struct origin *origin = find(origins, path);
    *why = origin && origin->why ? origin->why : "";
    return origin ? origin->read : KG_READ_DUE;
}
