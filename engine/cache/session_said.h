/* Private to sessions.db: what was said in all sessions, found by words. */
#ifndef KG_ENGINE_SESSION_SAID_H
#define KG_ENGINE_SESSION_SAID_H

#include <sqlite3.h>

#include "engine/cache/session_store.h"

/* One row a part, under the part's id. Trigrams find parts of words, and words of languages that set none apart. */
#define KG_SAID_TABLE "CREATE VIRTUAL TABLE said USING fts5(text, tokenize = 'trigram')"
/* Kinds are numbers of enum kg_block_kind, which files hold; session_said.c checks them. */
#define KG_SAID_FILL                                                                                                                       \
    "INSERT INTO said(rowid, text) SELECT id, CASE kind WHEN 2 THEN label ELSE CAST(text AS TEXT) END FROM part WHERE kind IN (2, 5, 6, 8)"
#define KG_SAID_FORGET "DELETE FROM said WHERE rowid IN (SELECT id FROM part WHERE session = ?1)"
#define KG_SAID_MERGE  "INSERT INTO said(said) VALUES('optimize')" /* deleted words leave the file */

#define KG_SESSION_COLUMNS                                                                                                                 \
    "s.id, s.name, s.repository, s.model, s.created, s.used, (SELECT count(*) FROM part p WHERE p.session = s.id),"                         \
    " (SELECT count(*) FROM part p WHERE p.session = s.id AND p.kind = 5),"                                                                \
    " (SELECT substr(CAST(p.text AS TEXT), 1, 120) FROM part p WHERE p.session = s.id AND p.kind = 5 ORDER BY p.id LIMIT 1)"
#define KG_SESSION_COLUMN_COUNT 9
bool kg_session_take(sqlite3_stmt *row, struct kg_stored_session *out); /* false when out of memory */

/* What the part says now, inside a transaction. */
enum kg_status kg_said_put(sqlite3 *db, const struct kg_stored_part *part, struct kg_error *err);
enum kg_status kg_said_search(sqlite3 *db, const char *repository, const char *words, int (*each)(void *ctx, const struct kg_stored_hit *), void *ctx,
                              struct kg_error *err);

#endif
