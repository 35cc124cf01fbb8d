#include "tui/conversation/includes.h"

#include <stdlib.h>
#include <string.h>

/* Tokens of them that may be read before the file itself when nobody has read them yet: a person waits. */
#define READ_NOW  512
#define FILES_MAX 32
#define BYTES_MAX ((size_t)256 << 10)

struct includes {
    struct kg_include *files;
    size_t count, bytes;
};

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
static void take_file(struct kg_index *index, char *path, struct includes *out)
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

static enum kg_status gather(struct kg_index *index, const char *path, struct includes *out, struct kg_error *err)
{
    struct paths paths = { .count = 0 };
    struct kg_error unknown;
    kg_index_imports(index, path, take_path, &paths, &unknown); /* a file that is not indexed has none */
    out->files = calloc(paths.count + 1, sizeof *out->files);
    for (size_t i = 0; i < paths.count; i++)
        if (out->files)
            take_file(index, paths.at[i], out);
        else
            free(paths.at[i]);
    return out->files && !paths.nomem ? KG_OK : kg_fail_nomem(err, "reading what a file includes");
}

static void clear(struct includes *includes)
{
    for (size_t i = 0; i < includes->count; i++) {
        free((char *)includes->files[i].path);
        free((char *)includes->files[i].text);
    }
    free(includes->files);
}

enum kg_status kg_add_file_with_includes(struct kg_session *session, struct kg_index *index, const char *path, const char *text, size_t length,
                                         bool secret, struct kg_error *err)
{
    struct includes includes = { 0 };
    enum kg_status status = KG_OK;
    if (index && !kg_session_has_file(session, path, text, length))
        status = gather(index, path, &includes, err);
    if (status == KG_OK)
        status = kg_session_add_linked(session, path, text, length, secret, includes.files, includes.count, READ_NOW, err);
    clear(&includes);
    return status;
}

enum kg_status kg_known_with_includes(struct kg_session *session, struct kg_index *index, const char *path, const char *text, size_t length,
                                      struct kg_known *out, struct kg_error *err)
{
    struct includes includes = { 0 };
    enum kg_status status = index ? gather(index, path, &includes, err) : KG_OK;
    if (status == KG_OK)
        status = kg_session_known(session, text, length, includes.files, includes.count, READ_NOW, out, err);
    clear(&includes);
    return status;
}

enum kg_status kg_read_ahead_with_includes(struct kg_session *session, struct kg_index *index, const char *path, const char *text, size_t length,
                                           uint64_t *computed, struct kg_error *err)
{
    struct includes includes = { 0 };
    enum kg_status status = index ? gather(index, path, &includes, err) : KG_OK;
    if (status == KG_OK)
        status = kg_session_read_ahead(session, path, text, length, includes.files, includes.count, computed, err);
    clear(&includes);
    return status;
}

enum kg_status kg_add_known_with_includes(struct kg_session *session, struct kg_index *index, const char *path, const char *text, size_t length,
                                          uint32_t *left, struct kg_error *err)
{
    struct includes includes = { 0 };
    enum kg_status status = index ? gather(index, path, &includes, err) : KG_OK;
    if (status == KG_OK)
        status = kg_session_add_known(session, path, text, length, includes.files, includes.count, left, err);
    clear(&includes);
    return status;
}
