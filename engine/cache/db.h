/* SQLite as both stores use it: private files, formats with a version, and SQLite's errors in our words. */
#ifndef KG_ENGINE_DB_H
#define KG_ENGINE_DB_H

#include <sqlite3.h>

#include "base/status.h"

/* A file format: what `application_id` and `user_version` must say, and how to get there. */
struct kg_db_format {
    int application_id;
    int version;
    /* steps[v] is the SQL that takes version v to v + 1 (steps[0] makes an empty file ours); NULL: there is no way. */
    const char *const *steps;
    /* The `sql` of every table and index at `version`, in the order of their creation, ending in NULL. A file that holds
     * anything else (a trigger, a view) was not written by us. */
    const char *const *schema;
    const char *creation; /* pragmas for an empty file, before its first table; may be NULL */
    const char *settings; /* pragmas for every connection, once the file is known to be ours */
};

enum kg_db_state {
    KG_DB_CURRENT, /* this format and version, maybe after migration */
    KG_DB_OLDER,   /* a version that no step starts from */
    KG_DB_NEWER,
    KG_DB_FOREIGN, /* not a database, or not ours */
    KG_DB_DAMAGED
};
/* "of a newer format", ... : ends the sentence "FILE is". */
const char *kg_db_state_text(enum kg_db_state state);

/* Makes an empty file of mode 0600 unless there is one, without ever opening one that is there: closing a descriptor
 * would drop the locks that SQLite holds on the same file elsewhere in this process. An existing file loses whatever
 * group and others may do. */
enum kg_status kg_db_make_private(const char *path, struct kg_error *err);

/* Opens path; what waits for a lock gives up after busy_ms. */
enum kg_status kg_db_connect(const char *path, int busy_ms, sqlite3 **out, struct kg_error *err);

/* Looks at the format, makes an empty file ours and migrates an older one, in one transaction. KG_OK whenever *state
 * could be told; nothing is written unless it is KG_DB_CURRENT. */
enum kg_status kg_db_settle(sqlite3 *db, const struct kg_db_format *format, enum kg_db_state *state, struct kg_error *err);

void kg_db_patience(sqlite3 *db, int busy_ms);

enum kg_status kg_db_exec(sqlite3 *db, const char *sql, struct kg_error *err);
/* The first column of the first row. */
enum kg_status kg_db_number(sqlite3 *db, const char *sql, sqlite3_int64 *out, struct kg_error *err);
/* A transaction that writes; one that could not be taken back when it should have been is taken back first. */
enum kg_status kg_db_begin(sqlite3 *db, struct kg_error *err);
/* Ends a transaction that may or may not have begun. Without memory it cannot, and kg_db_begin makes up for it. */
void kg_db_rollback(sqlite3 *db);

/* The status for a result code; the text names `what`, the file, and what to do. db may be NULL. */
enum kg_status kg_db_fail(sqlite3 *db, int rc, const char *what, struct kg_error *err);

#endif
