/* The index of one repository in one SQLite file: files by path, texts by digest, words by FTS5.
 *
 *   file   path -> kind, doc, stat            one row a file of the worktree, as it was read
 *   doc    id -> digest, reading, words,      one row a text as it is read; a text outlives its files until
 *          lines, imports, defined, names     kg_store_collect, so that a branch switched to and fro is read once
 *   symbols  doc -> records of symbol.h       read apart from the words, and after them
 *   past   id -> oid, words, paths             one row a commit that was looked at, whatever branch it is on
 *   history  head, log                         the commits that lie behind HEAD, newest first
 *   graph  edition, edges                     that of kept.h, so that a process need not make it again
 *   words  FTS5, contentless, detail=none     the terms of each doc (terms.h); ranking is not FTS5's but ours
 *
 * The journal is a WAL: readers never wait. Errors: KG_ERR_CORRUPT asks for kg_store_reset; KG_ERR_BUSY after ten seconds of
 * another process writing.
 */
#ifndef KG_INDEX_STORE_H
#define KG_INDEX_STORE_H

#include "base/digest.h"
#include "repo-index/kind.h"
#include "repo-index/language.h"
#include "repo-index/symbol.h"
#include "repo-index/terms.h"
#include "repo-index/walk.h"

struct kg_store;

/* Opens or makes the file with mode 0600; one that is damaged or of another version is emptied. */
enum kg_status kg_store_open(const char *path, struct kg_store **out, struct kg_error *err);
void kg_store_close(struct kg_store *store);
/* Empties it, whatever state it is in. */
enum kg_status kg_store_reset(struct kg_store *store, struct kg_error *err);

/* A number that changes whenever this or another process changes the file. */
enum kg_status kg_store_version(struct kg_store *store, uint64_t *out, struct kg_error *err);

enum kg_status kg_store_begin_read(struct kg_store *store, struct kg_error *err); /* one state until commit */
enum kg_status kg_store_begin(struct kg_store *store, struct kg_error *err);      /* to write; waits for others */
enum kg_status kg_store_commit(struct kg_store *store, struct kg_error *err);
void kg_store_rollback(struct kg_store *store);

struct kg_store_file {
    const char *path;
    enum kg_file_kind kind;
    int64_t doc; /* 0 unless KG_KIND_TEXT */
    struct kg_file_stat stat;
};
/* In the order of strcmp; nonzero from each stops with KG_OK. */
enum kg_status kg_store_files(struct kg_store *store, int (*each)(void *ctx, const struct kg_store_file *file), void *ctx, struct kg_error *err);
enum kg_status kg_store_put_file(struct kg_store *store, const struct kg_store_file *file, struct kg_error *err);
enum kg_status kg_store_remove_file(struct kg_store *store, const char *path, struct kg_error *err);

#define KG_STORE_DIGEST 16 /* bytes of SHA-256, as many as keep two texts apart */

struct kg_store_content {
    struct kg_digest digest;
    uint32_t reading; /* kg_reading_of its path */
    struct kg_terms_view terms;
    const char *imports; /* records of imports.h */
    size_t import_length;
};
/* The doc of a text, new or known. */
enum kg_status kg_store_put_doc(struct kg_store *store, const struct kg_store_content *content, int64_t *out, struct kg_error *err);
/* Digests of all docs by ascending id; nonzero from each stops. */
enum kg_status kg_store_digests(struct kg_store *store, int (*each)(void *ctx, int64_t doc, const unsigned char digest[KG_STORE_DIGEST]), void *ctx,
                                struct kg_error *err);
struct kg_store_names {
    int64_t doc;
    const uint32_t *names; /* as in kg_terms_view */
    uint32_t defined, count;
};
/* Of all docs of code, by ascending id; nonzero stops. */
enum kg_status kg_store_names(struct kg_store *store, int (*each)(void *ctx, const struct kg_store_names *names), void *ctx, struct kg_error *err);
/* What the doc imports, as kg_import_next gives it; each may write over the name, and stops with nonzero. */
enum kg_status kg_store_imports(struct kg_store *store, int64_t doc, int (*each)(void *ctx, char kind, char *name), void *ctx, struct kg_error *err);

/* What it defines, in the order of its lines; nonzero from each stops. */
enum kg_status kg_store_symbols(struct kg_store *store, int64_t doc, int (*each)(void *ctx, const struct kg_symbol_view *symbol), void *ctx, struct kg_error *err);
/* A doc that is no longer there is passed over. */
enum kg_status kg_store_put_symbols(struct kg_store *store, int64_t doc, enum kg_symbols_source source, const char *records, size_t length,
                                    struct kg_error *err);
struct kg_store_unread {
    const char *path; /* of one of its files */
    int64_t doc;
    unsigned char digest[KG_STORE_DIGEST];
};
/* Texts of files whose symbols were not read yet, or by a lesser source. */
enum kg_status kg_store_unread(struct kg_store *store, enum kg_symbols_source source, int (*each)(void *ctx, const struct kg_store_unread *unread), void *ctx,
                               struct kg_error *err);

/* A commit: hashes of the words of its message, those of the subject first, behind their number; the paths that it changed,
 * with a NUL behind each. */
struct kg_store_commit {
    const uint32_t *words;
    size_t word_count;
    const char *paths;
    size_t paths_length;
};
/* The id of a commit that was looked at, else 0. */
enum kg_status kg_store_find_commit(struct kg_store *store, const void *oid, size_t length, int64_t *out, struct kg_error *err);
enum kg_status kg_store_add_commit(struct kg_store *store, const void *oid, size_t length, const struct kg_store_commit *commit, int64_t *out, struct kg_error *err);
/* Calls take unless the commit is not there or changed no file that counts. */
enum kg_status kg_store_commit_of(struct kg_store *store, int64_t id, void (*take)(void *ctx, const struct kg_store_commit *commit), void *ctx, struct kg_error *err);

struct kg_store_history {
    unsigned char head[32];
    size_t head_length; /* 0 = no history */
    int64_t *log;       /* ids, newest first; freed by the caller */
    size_t count;
};
enum kg_status kg_store_history(struct kg_store *store, struct kg_store_history *out, struct kg_error *err);
enum kg_status kg_store_put_history(struct kg_store *store, const void *head, size_t length, const int64_t *log, size_t count, struct kg_error *err);
/* Drops commits that no history has had for long, when they are many. */
enum kg_status kg_store_collect_commits(struct kg_store *store, const struct kg_store_history *history, struct kg_error *err);

struct kg_store_graph {
    bool any;
    unsigned char edition[KG_STORE_DIGEST]; /* tells all that it was made of */
};
/* Which graph is kept, without reading it. */
enum kg_status kg_store_graph_known(struct kg_store *store, struct kg_store_graph *out, struct kg_error *err);
/* Reads its first bytes, at most so many, to where room says, which is called once, or not at all when there is nothing; NULL from
 * room: it is not read. */
enum kg_status kg_store_graph(struct kg_store *store, size_t most, void *(*room)(void *ctx, size_t length), void *ctx, struct kg_error *err);
/* In the place of the one before. */
enum kg_status kg_store_put_graph(struct kg_store *store, const unsigned char *edition, const void *edges, size_t length, struct kg_error *err);
enum kg_status kg_store_drop_graph(struct kg_store *store, struct kg_error *err);

struct kg_store_text {
    const char *path;
    uint64_t bytes;
    int64_t doc;
    const unsigned char *digest; /* of KG_STORE_DIGEST bytes */
    uint32_t reading;
    uint32_t words, lines;
};
/* The files of kind text, in the order of strcmp. */
enum kg_status kg_store_texts(struct kg_store *store, int (*each)(void *ctx, const struct kg_store_text *text), void *ctx, struct kg_error *err);

/* Docs that hold a term (with its mark), or with prefix set any term that begins with it; ascending, each once. */
enum kg_status kg_store_docs_with(struct kg_store *store, const char *term, size_t length, bool prefix, int (*each)(void *ctx, int64_t doc),
                                  void *ctx, struct kg_error *err);

/* Drops texts that no file has had for long, when they outnumber the others; their ids are not given to others. In a transaction. */
enum kg_status kg_store_collect(struct kg_store *store, struct kg_error *err);

#endif
