#include "engine/eval/eval.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define FIRST_ROOM ((size_t)1 << 20)

static enum kg_status damaged(gzFile file, const char *path, struct kg_error *err)
{
    int code = Z_OK;
    const char *text = gzerror(file, &code);
    if (code == Z_MEM_ERROR)
        return kg_fail_nomem(err, "reading evaluation data");
    if (code == Z_ERRNO)
        return kg_fail(err, KG_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    return kg_fail(err, KG_ERR_FORMAT, "%s is damaged (%s); fetch it again", path, text);
}

/* All of it, inflated where it is compressed. */
static enum kg_status inflate_all(gzFile file, const char *path, char **text, size_t *length, struct kg_error *err)
{
    for (size_t room = FIRST_ROOM;; room *= 2) {
        char *grown = realloc(*text, room);
        if (!grown)
            return kg_fail_nomem(err, "reading evaluation data");
        *text = grown;
        while (*length < room - 1) {
            int n = gzread(file, grown + *length, (unsigned)(room - 1 - *length));
            if (n < 0)
                return damaged(file, path, err);
            if (n == 0)
                return KG_OK;
            *length += (size_t)n;
            grown[*length] = '\0';
            if (*length > KG_EVAL_DATA_MAX)
                return kg_fail(err, KG_ERR_RANGE, "%s holds more than %zu MiB of text; split it", path, KG_EVAL_DATA_MAX >> 20);
        }
    }
}

static enum kg_status read_text(const char *path, char **text, size_t *length, struct kg_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would be waited for */
    if (fd < 0)
        return kg_fail(err, errno == ENOENT ? KG_ERR_NOT_FOUND : KG_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return kg_fail(err, KG_ERR_USAGE, "%s is no file; give a .jsonl or .jsonl.gz", path);
    }
    gzFile file = gzdopen(fd, "rb");
    if (!file) {
        close(fd);
        return kg_fail_nomem(err, "reading evaluation data");
    }
    enum kg_status status = inflate_all(file, path, text, length, err);
    if (gzclose_r(file) != Z_OK && status == KG_OK) /* the one that tells of a missing end */
        status = kg_fail(err, KG_ERR_FORMAT, "%s ends too early; fetch it again", path);
    return status;
}

static void free_item(struct kg_eval_item *item)
{
    free(item->task_id);
    free(item->prompt);
    free(item->entry_point);
    free(item->test);
    free(item->canonical_solution);
    free(item->suffix);
}

static char **field(struct kg_eval_item *item, const char *name)
{
    const struct {
        const char *name;
        char **text;
    } fields[] = { { "task_id", &item->task_id }, { "prompt", &item->prompt },
                   { "entry_point", &item->entry_point }, { "test", &item->test },
                   { "canonical_solution", &item->canonical_solution }, { "suffix", &item->suffix } };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(fields[i].name, name) == 0)
            return fields[i].text;
    return NULL;
}

static enum kg_status read_item(const cJSON *line, const char *const *needed, struct kg_eval_item *item, const char *path, size_t number, struct kg_error *err)
{
    for (; *needed; needed++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(line, *needed);
        char **text = field(item, *needed);
        if (!text || !cJSON_IsString(value))
            return kg_fail(err, KG_ERR_FORMAT, "%s, line %zu has no text named %s; it is data of another kind", path, number, *needed);
        *text = strdup(value->valuestring);
        if (!*text)
            return kg_fail_nomem(err, "reading evaluation data");
    }
    return KG_OK;
}

static enum kg_status add_line(struct kg_eval_items *items, const char *text, size_t length, const char *const *needed, const char *path, size_t number,
                               struct kg_error *err)
{
    if (length > KG_EVAL_LINE_MAX)
        return kg_fail(err, KG_ERR_RANGE, "%s, line %zu has more than %zu bytes", path, number, KG_EVAL_LINE_MAX);
    struct kg_eval_item *grown = realloc(items->items, (items->count + 1) * sizeof *grown);
    if (!grown)
        return kg_fail_nomem(err, "reading evaluation data");
    items->items = grown;
    struct kg_eval_item *item = &items->items[items->count++];
    memset(item, 0, sizeof *item);
    cJSON *line = cJSON_ParseWithLength(text, length);
    enum kg_status status = line ? read_item(line, needed, item, path, number, err)
                                 : kg_fail(err, KG_ERR_FORMAT, "%s, line %zu is no JSON; give a .jsonl or .jsonl.gz file of items", path, number);
    cJSON_Delete(line);
    return status;
}

enum kg_status kg_eval_items_read(const char *path, const char *const *needed, struct kg_eval_items *out, struct kg_error *err)
{
    struct kg_eval_items items = { 0 };
    char *text = NULL;
    size_t length = 0, number = 0;
    enum kg_status status = read_text(path, &text, &length, err);
    for (size_t at = 0; at < length && status == KG_OK; number++) {
        const char *end = memchr(text + at, '\n', length - at);
        size_t n = end ? (size_t)(end - text) - at : length - at;
        if (strspn(text + at, " \t\r") < n)
            status = add_line(&items, text + at, n, needed, path, number + 1, err);
        at += n + 1;
    }
    free(text);
    if (status == KG_OK && items.count == 0)
        status = kg_fail(err, KG_ERR_FORMAT, "%s holds no items; give a .jsonl or .jsonl.gz file", path);
    if (status == KG_OK)
        *out = items;
    else
        kg_eval_items_free(&items);
    return status;
}

void kg_eval_items_free(struct kg_eval_items *items)
{
    for (size_t i = 0; i < items->count; i++)
        free_item(&items->items[i]);
    free(items->items);
    *items = (struct kg_eval_items){ 0 };
}

size_t kg_eval_spread(size_t i, size_t n, size_t total)
{
    return n >= total ? i : i * total / n;
}
