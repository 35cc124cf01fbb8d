#include "repo-index/store_fts.h"

#include <stdlib.h>
#include <string.h>

static int create(void *context, const char **arguments, int count, Fts5Tokenizer **out)
{
    (void)arguments;
    (void)count;
    *out = context; /* it has no state */
    return SQLITE_OK;
}

static void destroy(Fts5Tokenizer *tokenizer)
{
    (void)tokenizer;
}

static int tokenize(Fts5Tokenizer *tokenizer, void *ctx, int flags, const char *text, int length,
                    int (*token)(void *ctx, int flags, const char *token, int length, int start, int end))
{
    (void)tokenizer;
    (void)flags;
    const char *end = text + length;
    const char *at = text;
    int code = SQLITE_OK;
    while (at < end && code == SQLITE_OK) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        const char *behind = space ? space : end;
        if (behind > at)
            code = token(ctx, 0, at, (int)(behind - at), (int)(at - text), (int)(behind - text));
        at = behind + 1;
    }
    return code;
}

bool kg_store_add_tokenizer(sqlite3 *db)
{
    static char stateless;
    static fts5_tokenizer ours = { create, destroy, tokenize };
    fts5_api *api = NULL;
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, "SELECT fts5(?1)", -1, &statement, NULL) != SQLITE_OK)
        return false;
    sqlite3_bind_pointer(statement, 1, (void *)&api, "fts5_api_ptr", NULL);
    sqlite3_step(statement);
    sqlite3_finalize(statement);
    return api && api->xCreateTokenizer(api, "kedge", &stateless, &ours, NULL) == SQLITE_OK;
}

struct forgotten {
    char *terms;
    size_t length, capacity;
};

static bool add_term(struct forgotten *doc, const char *term, size_t length)
{
    if (doc->length + length + 1 > doc->capacity) {
        size_t capacity = (doc->capacity ? doc->capacity * 2 : 1024) + length;
        char *bigger = realloc(doc->terms, capacity);
        if (!bigger)
            return false;
        doc->terms = bigger;
        doc->capacity = capacity;
    }
    memcpy(doc->terms + doc->length, term, length);
    doc->terms[doc->length + length] = ' ';
    doc->length += length + 1;
    return true;
}

static int compare_doc(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int gather_terms(sqlite3 *db, const int64_t *docs, size_t count, struct forgotten *forgotten)
{
    sqlite3_stmt *all = NULL;
    int code = sqlite3_exec(db, "CREATE VIRTUAL TABLE IF NOT EXISTS temp.terms USING fts5vocab(main, words, instance)", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(db, "SELECT term, doc FROM temp.terms", -1, &all, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(all)) == SQLITE_ROW) {
        int64_t doc = sqlite3_column_int64(all, 1);
        const int64_t *at = bsearch(&doc, docs, count, sizeof *docs, compare_doc);
        code = SQLITE_OK;
        if (at && !add_term(&forgotten[at - docs], (const char *)sqlite3_column_text(all, 0), (size_t)sqlite3_column_bytes(all, 0)))
            code = SQLITE_NOMEM;
    }
    sqlite3_finalize(all);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int remove_terms(sqlite3 *db, const int64_t *docs, size_t count, const struct forgotten *forgotten)
{
    sqlite3_stmt *forget = NULL;
    int code = sqlite3_prepare_v2(db, "INSERT INTO words(words, rowid, term) VALUES('delete', ?1, ?2)", -1, &forget, NULL);
    for (size_t i = 0; i < count && code == SQLITE_OK; i++) {
        if (forgotten[i].length == 0)
            continue;
        sqlite3_bind_int64(forget, 1, docs[i]);
        sqlite3_bind_text(forget, 2, forgotten[i].terms, (int)forgotten[i].length, SQLITE_STATIC);
        code = sqlite3_step(forget);
        code = code == SQLITE_DONE ? SQLITE_OK : code;
        sqlite3_reset(forget);
    }
    sqlite3_finalize(forget);
    return code;
}

int kg_store_forget_words(sqlite3 *db, const int64_t *docs, size_t count)
{
    struct forgotten *forgotten = calloc(count ? count : 1, sizeof *forgotten);
    if (!forgotten)
        return SQLITE_NOMEM;
    int code = gather_terms(db, docs, count, forgotten);
    if (code == SQLITE_OK)
        code = remove_terms(db, docs, count, forgotten);
    for (size_t i = 0; i < count; i++)
        free(forgotten[i].terms);
    free(forgotten);
    return code;
}
