/* SQLite's side of the store: the file, its tables, transactions, statements, and SQLite's errors in our words. What of it others than
 * store.c may use stands in store.h.
 */
#ifndef KG_INDEX_STORE_DB_H
#define KG_INDEX_STORE_DB_H

#include <sqlite3.h>

#include "repo-index/store.h"

#define KG_STORE_BUSY_MS 10000 /* how long another process is waited for */

enum kg_store_statement {
    KG_STORE_PUT_FILE,
    KG_STORE_REMOVE_FILE,
    KG_STORE_FIND_DOC,
    KG_STORE_ADD_DOC,
    KG_STORE_ADD_WORDS,
    KG_STORE_DOCS_WITH,
    KG_STORE_IMPORTS,
    KG_STORE_PUT_SYMBOLS,
    KG_STORE_SYMBOLS,
    KG_STORE_FIND_COMMIT,
    KG_STORE_ADD_COMMIT,
    KG_STORE_PUT_HISTORY,
    KG_STORE_COMMIT,
    KG_STORE_GRAPH_KNOWN,
    KG_STORE_PUT_GRAPH,
    KG_STORE_STATEMENTS
};

struct kg_store {
    sqlite3 *db;
    sqlite3_stmt *statements[KG_STORE_STATEMENTS]; /* NULL until they are asked for */
    char path[KG_PATH_MAX];
    uint64_t own_changes;
};

/* The status for a result code of SQLite's; the text says what to do. */
enum kg_status kg_store_fail(struct kg_store *store, int code, struct kg_error *err);
/* Runs statements whose rows nobody wants. */
enum kg_status kg_store_run(struct kg_store *store, const char *sql, struct kg_error *err);
/* The first column of the first row, else -1; *code is SQLITE_OK, or SQLITE_DONE where there is no row, or tells what failed. */
int64_t kg_store_number(struct kg_store *store, const char *sql, int *code);
/* Steps through the rows of a statement of its own; take returns nonzero to stop. */
enum kg_status kg_store_each_row(struct kg_store *store, const char *sql, int (*take)(void *to, sqlite3_stmt *row), void *to, struct kg_error *err);

/* A statement with nothing running; belongs to the store. */
enum kg_status kg_store_prepared(struct kg_store *store, enum kg_store_statement which, sqlite3_stmt **out, struct kg_error *err);
/* Runs a prepared statement that returns no rows, and takes back what was bound. */
enum kg_status kg_store_finish(struct kg_store *store, sqlite3_stmt *statement, struct kg_error *err);

#endif
