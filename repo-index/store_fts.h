/* FTS5's side of the store: the tokenizer that takes prepared terms, and the removal of texts from a contentless table. */
#ifndef KG_INDEX_STORE_FTS_H
#define KG_INDEX_STORE_FTS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes the tokenizer 'kedge' known: terms are what lies between spaces. False when SQLite has no FTS5. */
bool kg_store_add_tokenizer(sqlite3 *db);

/* Removes these docs (ascending) from the table words: a contentless table must be told every term of what it is to forget,
 * so all terms are gone through once. An SQLite result code. */
int kg_store_forget_words(sqlite3 *db, const int64_t *docs, size_t count);

#endif
