#include "tui/complete/completer.h"

#include <stdlib.h>
#include <string.h>

#include "repo-index/kind.h"
#include "repo-index/repo_index.h"
#include "tui/complete/ending.h"
#include "tui/conversation/includes.h"

#define CONTEXT_TOKENS 4096 /* of files in front, by the index's estimate */
#define NEW_TOKENS     192  /* of them that may be read for it: half a second on a small machine */
#define FILES_MAX      16
#define ABOUT_BYTES    1500 /* before the cursor, for the choice of files */

struct kg_completer {
    struct kg_completer_options options;
    struct kg_engine *engine;
    struct kg_session *session;
    struct kg_index *index;
    struct kg_fill *fill;
    size_t files;
};

bool kg_completer_is_secret(const char *path, const char *text, size_t length)
{
    return kg_kind_by_name(path) == KG_KIND_SECRET || kg_kind_by_content(path, text, length < KG_KIND_HEAD ? length : KG_KIND_HEAD) == KG_KIND_SECRET;
}

enum kg_status kg_completer_open(const struct kg_completer_options *options, struct kg_completer **out, struct kg_error *err)
{
    struct kg_completer *c = calloc(1, sizeof *c);
    *out = c;
    if (!c)
        return kg_fail_nomem(err, "completing a text");
    c->options = *options;
    enum kg_status status = kg_engine_open(&options->engine, &c->engine, err);
    if (status == KG_OK)
        status = kg_engine_can_fill(c->engine, err);
    if (status == KG_OK)
        status = kg_session_open(c->engine, &(struct kg_session_options){ .policy = options->policy, .recall = options->recall, .unsaved = true },
                                 &c->session, err);
    return status;
}

void kg_completer_close(struct kg_completer *completer)
{
    if (!completer)
        return;
    kg_fill_close(completer->fill);
    kg_session_close(completer->session);
    kg_index_close(completer->index);
    kg_engine_close(completer->engine);
    free(completer);
}

void kg_completer_stop(struct kg_completer *completer)
{
    kg_engine_stop(completer->engine);
}

void kg_completer_go(struct kg_completer *completer)
{
    kg_engine_go(completer->engine);
}

const struct kg_engine *kg_completer_engine(const struct kg_completer *completer)
{
    return completer->engine;
}

struct wanted {
    const struct kg_completer *completer;
    char *paths[FILES_MAX];
    size_t count;
};

static int want(struct wanted *wanted, const char *path)
{
    if (strcmp(path, wanted->completer->options.path) == 0)
        return 0;
    for (size_t i = 0; i < wanted->count; i++)
        if (strcmp(wanted->paths[i], path) == 0)
            return 0;
    char *copy = strdup(path);
    if (copy)
        wanted->paths[wanted->count++] = copy;
    return wanted->count == FILES_MAX;
}

static int want_import(void *ctx, const char *path)
{
    return want(ctx, path);
}

static int want_part(void *ctx, const struct kg_context_part *part)
{
    return want(ctx, part->path);
}

/* Best first: what the file includes, then what the lines before the cursor are about. */
static void gather(struct kg_completer *c, const struct kg_cursor_request *request, struct wanted *wanted)
{
    struct kg_error unknown;
    size_t begin = request->prefix_length > ABOUT_BYTES ? request->prefix_length - ABOUT_BYTES : 0;
    kg_index_imports(c->index, c->options.path, want_import, wanted, &unknown); /* a file that is not indexed has none */
    char *about = strndup(request->prefix + begin, request->prefix_length - begin);
    const char *const open[] = { c->options.path };
    const struct kg_context_request near = { .question = about, .tokens = CONTEXT_TOKENS, .files = FILES_MAX, .open = open, .open_count = 1 };
    if (about && wanted->count < FILES_MAX)
        kg_index_context(c->index, &near, want_part, wanted, &unknown);
    free(about);
}

/* KG_ERR_NOT_FOUND for what is not worth its reading, does not fit, or cannot be read. */
static enum kg_status add(struct kg_completer *c, const char *path, size_t *bytes, uint32_t *unread, struct kg_error *err)
{
    char *text = NULL;
    size_t length = 0;
    bool secret = false;
    enum kg_status status = kg_index_read(c->index, path, *bytes, &text, &length, &secret, err);
    if (status == KG_OK && secret)
        status = kg_fail(err, KG_ERR_NOT_FOUND, "%s looks secret", path);
    if (status == KG_OK)
        status = kg_add_known_with_includes(c->session, c->index, path, text, length, unread, err);
    else if (status != KG_ERR_NOMEM)
        status = KG_ERR_NOT_FOUND;
    if (status == KG_OK) {
        *bytes -= length;
        c->files++;
    }
    free(text);
    return status == KG_ERR_NOT_FOUND || status == KG_ERR_FULL ? KG_OK : status;
}

enum kg_status kg_completer_choose(struct kg_completer *c, const struct kg_cursor_request *request, struct kg_error *err)
{
    struct wanted wanted = { .completer = c };
    size_t bytes = (size_t)(CONTEXT_TOKENS * KG_BYTES_PER_TOKEN);
    uint32_t unread = NEW_TOKENS;
    if (!c->options.repository || !c->options.context || c->fill)
        return KG_OK;
    enum kg_status status = kg_index_open(c->options.repository, c->options.engine.cache_dir, &c->index, err);
    if (status == KG_OK)
        gather(c, request, &wanted);
    for (size_t i = 0; i < wanted.count; i++) {
        if (status == KG_OK && bytes > 0)
            status = add(c, wanted.paths[i], &bytes, &unread, err);
        free(wanted.paths[i]);
    }
    return status;
}

size_t kg_completer_files(const struct kg_completer *completer)
{
    return completer->files;
}

struct giving {
    const struct kg_cursor_request *request;
    bool blank; /* the one at the end of the prefix, which the model writes itself, is still to come */
    struct kg_ending ending;
};

static void give(struct giving *giving, size_t from)
{
    const struct kg_ending *ending = &giving->ending;
    if (ending->given > from && giving->request->give)
        giving->request->give(giving->request->ctx, ending->text + from, ending->given - from);
}

static int take(void *ctx, const char *text, size_t length)
{
    struct giving *giving = ctx;
    size_t given = giving->ending.given;
    if (giving->blank && length > 0) {
        size_t blank = *text == ' ';
        giving->blank = false;
        text += blank;
        length -= blank;
    }
    bool ended = kg_ending_take(&giving->ending, text, length);
    give(giving, given);
    return ended;
}

static enum kg_status open_fill(struct kg_completer *c, struct kg_error *err)
{
    if (c->fill)
        return KG_OK;
    const struct kg_fill_options options = { .bare = c->files == 0, .stored = !c->options.secret };
    return kg_fill_open(c->session, &options, &c->fill, err);
}

enum kg_status kg_completer_complete(struct kg_completer *c, const struct kg_cursor_request *request, enum kg_end *end, struct kg_counts *counts,
                                     struct kg_error *err)
{
    /* Words have the blank before them in their first token: a prefix that ends with one is read without it. */
    bool blank = request->prefix_length > 0 && request->prefix[request->prefix_length - 1] == ' ';
    struct giving giving = { .request = request,
                             .blank = blank,
                             .ending = { .suffix = request->suffix, .suffix_length = request->suffix_length, .lines = request->lines } };
    struct kg_completion completion = { .prefix = request->prefix, .prefix_length = request->prefix_length - blank,
                                        .suffix = request->suffix, .suffix_length = request->suffix_length,
                                        .path = c->files ? c->options.path : NULL, .max_tokens = request->max_tokens,
                                        .text_out = take, .ctx = &giving };
    enum kg_status status = open_fill(c, err);
    if (status == KG_OK)
        status = kg_fill_complete(c->fill, &completion, end, counts, err);
    size_t given = giving.ending.given;
    if (status == KG_OK && *end != KG_END_STOPPED) {
        kg_ending_finish(&giving.ending);
        give(&giving, given);
    }
    if (status == KG_OK && giving.ending.nomem)
        status = kg_fail_nomem(err, "completing a text");
    kg_ending_clear(&giving.ending);
    return status;
}
