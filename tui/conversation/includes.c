#include "tui/conversation/includes.h"

#include <stdlib.h>
#include <string.h>

#define FILES_MAX 32
#define BYTES_MAX ((size_t)256 << 10)

struct paths {
    char *at[FILES_MAX];
    size_t count;
    bool nomem;
};

static int take_path(void *ctx, const char *path)
{
    struct paths *paths = ctx;
    char *copy = strdup(path);
    paths->nomem = !copy;
    if (copy)
        paths->at[paths->count++] = copy;
    return paths->nomem || paths->count == FILES_MAX;
}

/* Takes the path. */
static void take_file(struct kg_index *index, char *path, struct kg_includes *out)
{
    char *text = NULL;
    size_t length = 0;
    bool secret = false;
    struct kg_error unread;
    if (kg_index_read(index, path, BYTES_MAX - out->bytes, &text, &length, &secret, &unread) != KG_OK || secret) {
        free(text);
        free(path);
        return;
    }
    out->files[out->count++] = (struct kg_include){ .path = path, .text = text, .length = length };
    out->bytes += length;
}

enum kg_status kg_includes_gather(struct kg_index *index, const char *path, struct kg_includes *out, struct kg_error *err)
{
    struct paths paths = { .count = 0 };
    struct kg_error unknown;
    if (!index)
        return KG_OK;
    kg_index_imports(index, path, take_path, &paths, &unknown); /* a file that is not indexed has none */
    out->files = calloc(paths.count + 1, sizeof *out->files);
    for (size_t i = 0; i < paths.count; i++)
        if (out->files)
            take_file(index, paths.at[i], out);
        else
            free(paths.at[i]);
    return out->files && !paths.nomem ? KG_OK : kg_fail_nomem(err, "reading what a file includes");
}

void kg_includes_free(struct kg_includes *includes)
{
    for (size_t i = 0; i < includes->count; i++) {
        free((char *)includes->files[i].path);
        free((char *)includes->files[i].text);
    }
    free(includes->files);
    *includes = (struct kg_includes){ 0 };
}
