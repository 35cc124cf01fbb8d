/* Files and lines of files that are named by hand. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/changes/request.h"
#include "tui/interface/worker_state.h"

#define FIRST_LINE 160 /* bytes of it that are told */

static void tell(struct kg_worker *worker, enum kg_entry_kind entry, const char *text)
{
    kg_tell_entry(worker->events, entry, text, strlen(text), NULL);
}

/* Lines first .. last of a text (1-based; up to its end when it has fewer); false when it has not so many as first. */
static bool find_lines(const char *text, size_t length, uint32_t first, uint32_t last, size_t *begin, size_t *end, uint32_t *lines)
{
    *lines = 0;
    for (size_t at = 0; at < length && *lines < last;) {
        const char *newline = memchr(text + at, '\n', length - at);
        size_t behind = newline ? (size_t)(newline - text) + 1 : length;
        if (++*lines == first)
            *begin = at;
        at = *end = behind;
    }
    return *lines >= first;
}

enum kg_status kg_worker_read_named(struct kg_worker *worker, const char *name, char **text, size_t *length, bool *secret, struct kg_error *err)
{
    char path[KG_PATH_MAX];
    uint32_t first, last, lines;
    size_t begin = 0, end = 0;
    struct kg_error unread;
    enum kg_status status = kg_worker_read_text(worker, name, text, length, secret, err);
    if (status != KG_ERR_NOT_FOUND || strlen(name) >= sizeof path)
        return status;
    strcpy(path, name);
    if (!kg_take_lines(path, &first, &last) || kg_worker_read_text(worker, path, text, length, secret, &unread) != KG_OK)
        return status;
    if (!find_lines(*text, *length, first, last, &begin, &end, &lines)) {
        free(*text);
        return kg_fail(err, KG_ERR_RANGE, "%s has %" PRIu32 " lines, not %" PRIu32, path, lines, first);
    }
    *length = end - begin;
    memmove(*text, *text + begin, *length);
    (*text)[*length] = '\0';
    return KG_OK;
}

/* Where the lines that a question names begin: the model sees no numbers of lines. Once for each, also when it is asked again. */
static void note_lines(struct kg_worker *worker, const char *question, size_t question_length, const char *word, const char *path, const char *text, size_t length)
{
    char line[FIRST_LINE + 1], note[KG_PATH_MAX + FIRST_LINE + 100];
    size_t from = strspn(text, " \t\r\n");
    from = from < length ? from : 0;
    size_t n = strcspn(text + from, "\r\n");
    n = n < length - from ? n : length - from;
    bool cut = n > FIRST_LINE;
    n = cut ? FIRST_LINE : n;
    while (cut && n > 0 && ((unsigned char)text[from + n] & 0xc0) == 0x80) /* whole characters */
        n--;
    memcpy(line, text + from, n);
    line[n] = '\0';
    int written = snprintf(note, sizeof note, "\n(%s is the part of %s that begins with: %s)", word, path, line);
    if (written < 0 || (size_t)written >= sizeof note || memmem(question, question_length, note, (size_t)written) || (worker->notes && strstr(worker->notes, note)))
        return;
    char *grown = realloc(worker->notes, worker->notes_length + (size_t)written + 1);
    if (!grown)
        return;
    memcpy(grown + worker->notes_length, note, (size_t)written + 1);
    worker->notes = grown;
    worker->notes_length += (size_t)written;
    snprintf(note, sizeof note, "%s begins with: %s", word, line);
    tell(worker, KG_ENTRY_READING, note);
}

/* A file of which lines are meant is read as a whole, which it is once; one that would fill the context is not. */
static bool is_too_long(const struct kg_worker *worker, size_t bytes)
{
    struct kg_counts counts;
    kg_session_counts(worker->session, &counts);
    return (double)bytes / KG_BYTES_PER_TOKEN > counts.context_limit / 3.0;
}

struct named {
    char word[KG_PATH_MAX], path[KG_PATH_MAX]; /* as it was named, and without lines */
    size_t bytes;                              /* of the whole file, when lines are meant */
    char *text;                                /* what was named */
    size_t length;
    bool secret;                               /* nothing of it may stand in a question, which is stored */
};

static enum kg_status read_word(struct kg_worker *worker, struct named *out, struct kg_error *err)
{
    uint32_t first, last;
    char *whole;
    enum kg_status status = kg_worker_read_named(worker, out->word, &out->text, &out->length, &out->secret, err);
    if (status != KG_OK)
        return status;
    strcpy(out->path, out->word);
    out->bytes = 0;
    if (kg_take_lines(out->path, &first, &last) && kg_worker_read_text(worker, out->path, &whole, &out->bytes, &out->secret, err) == KG_OK)
        free(whole);
    else
        strcpy(out->path, out->word);
    return KG_OK;
}

/* Paths end where a sentence goes on: "what is in @tui/main.c?" */
static enum kg_status find_word(struct kg_worker *worker, const char *word, size_t length, struct named *out, struct kg_error *err)
{
    struct kg_error again;
    memcpy(out->word, word, length);
    out->word[length] = '\0';
    const char *plain = kg_worker_plain(out->word);
    length = strlen(plain);
    memmove(out->word, plain, length + 1);
    enum kg_status status = read_word(worker, out, err);
    while (status == KG_ERR_NOT_FOUND && length > 1 && strchr(",.;:!?)]'\"", out->word[length - 1])) {
        out->word[--length] = '\0';
        status = read_word(worker, out, &again);
        if (status != KG_OK && status != KG_ERR_NOT_FOUND)
            *err = again;
    }
    return status;
}

static enum kg_status add_mention(struct kg_worker *worker, const char *question, size_t question_length, const struct kg_mention *mention, struct kg_error *err)
{
    struct named named;
    if (mention->path_length == 0 || mention->path_length >= sizeof named.word)
        return KG_OK;
    enum kg_status status = find_word(worker, question + mention->path, mention->path_length, &named, err);
    if (status != KG_OK) {
        tell(worker, KG_ENTRY_ERROR, err->text);
        return status;
    }
    bool whole = strcmp(named.path, named.word) == 0 || !is_too_long(worker, named.bytes);
    status = kg_worker_add_file(worker, whole ? named.path : named.word, "named with @", err);
    if (status == KG_OK && whole && !named.secret && strcmp(named.path, named.word) != 0)
        note_lines(worker, question, question_length, named.word, named.path, named.text, named.length);
    free(named.text);
    return status;
}

bool kg_worker_mentioned(struct kg_worker *worker, const char *question, const struct kg_mention *mention, char path[KG_PATH_MAX])
{
    struct named named;
    struct kg_error err;
    if (mention->path_length == 0 || mention->path_length >= sizeof named.word ||
        find_word(worker, question + mention->path, mention->path_length, &named, &err) != KG_OK)
        return false;
    free(named.text);
    strcpy(path, named.path);
    return true;
}

enum kg_status kg_worker_add_mentions(struct kg_worker *worker, const char *question, size_t length, bool *any, struct kg_error *err)
{
    struct kg_mention mention;
    enum kg_status status = KG_OK;
    for (size_t at = 0; status != KG_ERR_CANCELLED && status != KG_ERR_FULL && kg_mention_next(question, length, at, &mention); at = mention.end) {
        if (kg_worker_index(worker, err) != KG_OK) {
            tell(worker, KG_ENTRY_ERROR, err->text);
            return KG_OK;
        }
        status = add_mention(worker, question, length, &mention, err);
        *any |= status == KG_OK;
    }
    return status;
}

char *kg_worker_noted(struct kg_worker *worker, const char *text, size_t *length)
{
    size_t notes = worker->notes ? worker->notes_length : 0;
    char *noted = malloc(*length + notes + 2);
    if (!noted)
        return NULL;
    memcpy(noted, text, *length);
    if (notes) {
        noted[(*length)++] = '\n';
        memcpy(noted + *length, worker->notes, notes);
    }
    *length += notes;
    noted[*length] = '\0';
    return noted;
}

void kg_worker_forget_notes(struct kg_worker *worker)
{
    free(worker->notes);
    worker->notes = NULL;
    worker->notes_length = 0;
}
