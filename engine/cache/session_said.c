#include "engine/cache/session_said.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cache/db.h"
#include "engine/context/block.h"

_Static_assert(KG_BLOCK_FILE == 2 && KG_BLOCK_TURN == 5 && KG_BLOCK_ANSWER == 6 && KG_BLOCK_SUMMARY == 8, "kinds as in KG_SAID_FILL");

#define WORDS_MOST 16
#define WORD_MOST  200 /* bytes */
#define TRIGRAM    3   /* characters: shorter words are looked for in every text */

static void copy_column(char *out, size_t room, sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    snprintf(out, room, "%s", text ? text : "");
}

bool kg_session_take(sqlite3_stmt *row, struct kg_stored_session *out)
{
    memset(out, 0, sizeof *out);
    out->id = sqlite3_column_int64(row, 0);
    copy_column(out->name, sizeof out->name, row, 1);
    copy_column(out->repository, sizeof out->repository, row, 2);
    copy_column(out->model, sizeof out->model, row, 3);
    out->created = (uint64_t)sqlite3_column_int64(row, 4);
    out->used = (uint64_t)sqlite3_column_int64(row, 5);
    out->parts = (uint32_t)sqlite3_column_int64(row, 6);
    out->turns = (uint32_t)sqlite3_column_int64(row, 7);
    copy_column(out->title, sizeof out->title, row, 8);
    return sqlite3_errcode(sqlite3_db_handle(row)) != SQLITE_NOMEM;
}

static enum kg_status run(sqlite3 *db, const char *sql, int64_t id, const char *text, size_t length, struct kg_error *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, id);
        if (text)
            sqlite3_bind_text64(statement, 2, text, length, SQLITE_STATIC, SQLITE_UTF8);
        rc = sqlite3_step(statement);
    }
    enum kg_status status = rc == SQLITE_DONE ? KG_OK : kg_db_fail(db, rc, "storing a conversation", err);
    sqlite3_finalize(statement);
    return status;
}

enum kg_status kg_said_put(sqlite3 *db, const struct kg_stored_part *part, struct kg_error *err)
{
    bool file = part->kind == KG_BLOCK_FILE;
    const char *text = file ? part->label : part->text;
    size_t length = file ? strlen(part->label) : part->text_length;
    if (!file && part->kind != KG_BLOCK_TURN && part->kind != KG_BLOCK_ANSWER && part->kind != KG_BLOCK_SUMMARY)
        return KG_OK;
    enum kg_status status = run(db, "DELETE FROM said WHERE rowid = ?1", part->id, NULL, 0, err);
    return status == KG_OK ? run(db, "INSERT INTO said(rowid, text) VALUES(?1, ?2)", part->id, length ? text : "", length, err) : status;
}

/* The words of a query; for each a pattern of LIKE, and of those that are long enough one expression of FTS5. */
struct query {
    char patterns[WORDS_MOST][2 * WORD_MOST + 3];
    bool is_short[WORDS_MOST];
    size_t count;
    char match[WORDS_MOST * (2 * WORD_MOST + 3) + 1];
};

static size_t characters(const char *word, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++)
        n += ((unsigned char)word[i] & 0xc0U) != 0x80;
    return n;
}

static void add_word(struct query *query, const char *word, size_t length)
{
    query->is_short[query->count] = characters(word, length) < TRIGRAM;
    char *pattern = query->patterns[query->count++];
    *pattern++ = '%';
    for (size_t i = 0; i < length; i++) {
        if (strchr("%_^", word[i]))
            *pattern++ = '^';
        *pattern++ = word[i];
    }
    strcpy(pattern, "%");
    if (query->is_short[query->count - 1])
        return;
    char *match = query->match + strlen(query->match);
    *match++ = '"';
    for (size_t i = 0; i < length; i++) {
        if (word[i] == '"')
            *match++ = '"';
        *match++ = word[i];
    }
    strcpy(match, "\" ");
}

static void read_query(struct query *query, const char *words)
{
    query->count = 0;
    query->match[0] = '\0';
    for (const char *at = words; *at && query->count < WORDS_MOST;) {
        size_t length = strcspn(at, " \t\n");
        if (length)
            add_word(query, at, length < WORD_MOST ? length : WORD_MOST);
        at += length + (at[length] != '\0');
    }
}

/* ?1 the repository, ?2 the expression, from ?3 on the patterns. */
static void write_sql(const struct query *query, FILE *sql)
{
    fprintf(sql, "SELECT " KG_SESSION_COLUMNS ", 0 AS part, 0 AS kind, s.name FROM session s WHERE (?1 IS NULL OR s.repository = ?1)");
    for (size_t i = 0; i < query->count; i++)
        fprintf(sql, " AND s.name LIKE ?%zu ESCAPE '^'", i + 3);
    fprintf(sql, " UNION ALL SELECT " KG_SESSION_COLUMNS ", p.id, p.kind, said.text FROM said JOIN part p ON p.id = said.rowid JOIN session s ON s.id = p.session"
                 " WHERE (?1 IS NULL OR s.repository = ?1)");
    if (query->match[0])
        fprintf(sql, " AND said MATCH ?2");
    for (size_t i = 0; i < query->count; i++) /* FTS5 compares more freely than LIKE where words are no plain Latin */
        if (query->is_short[i])
            fprintf(sql, " AND said.text LIKE ?%zu ESCAPE '^'", i + 3);
    fprintf(sql, " ORDER BY 6 DESC, 1 DESC, part");
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *repository, const struct query *query)
{
    char *sql = NULL;
    size_t length;
    sqlite3_stmt *statement = NULL;
    FILE *memory = open_memstream(&sql, &length);
    if (memory)
        write_sql(query, memory);
    if (memory && fclose(memory) == 0 && sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK) {
        if (repository)
            sqlite3_bind_text(statement, 1, repository, -1, SQLITE_STATIC);
        if (query->match[0])
            sqlite3_bind_text(statement, 2, query->match, -1, SQLITE_STATIC);
        for (size_t i = 0; i < query->count; i++)
            sqlite3_bind_text(statement, (int)i + 3, query->patterns[i], -1, SQLITE_STATIC);
    }
    free(sql);
    return statement;
}

enum kg_status kg_said_search(sqlite3 *db, const char *repository, const char *words, int (*each)(void *ctx, const struct kg_stored_hit *), void *ctx,
                              struct kg_error *err)
{
    struct query *query = malloc(sizeof *query);
    struct kg_stored_session session;
    if (!query)
        return kg_fail_nomem(err, "searching the sessions");
    read_query(query, words);
    sqlite3_stmt *rows = query->count ? prepare(db, repository, query) : NULL;
    int rc = rows || !query->count ? SQLITE_DONE : SQLITE_ERROR;
    while (rows && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        const bool whole = kg_session_take(rows, &session);
        struct kg_stored_hit hit = { .session = &session, .part = sqlite3_column_int64(rows, KG_SESSION_COLUMN_COUNT),
                                     .kind = sqlite3_column_int(rows, KG_SESSION_COLUMN_COUNT + 1) };
        hit.text = (const char *)sqlite3_column_text(rows, KG_SESSION_COLUMN_COUNT + 2);
        hit.length = (size_t)sqlite3_column_bytes(rows, KG_SESSION_COLUMN_COUNT + 2);
        if (!whole || sqlite3_errcode(db) == SQLITE_NOMEM)
            rc = SQLITE_NOMEM;
        if (rc == SQLITE_NOMEM || (hit.text && each(ctx, &hit)))
            break;
    }
    enum kg_status status = rc == SQLITE_ROW || rc == SQLITE_DONE ? KG_OK : kg_db_fail(db, sqlite3_errcode(db), "searching the sessions", err);
    sqlite3_finalize(rows);
    free(query);
    return status;
}
