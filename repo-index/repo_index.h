/* A repository as the model should read it: with beneath.h, by which files are changed, the header of this folder that others see.
 *
 * The worktree is walked as git lists it (ignore rules, tracked files by libgit2, submodules); contents and paths are
 * searchable with FTS5, with identifiers split at case and underscores; files are chosen for a question within a token
 * budget, by their words and definitions, by past commits with like messages, by what includes what and whose names it uses,
 * by what is changed together and what tests what, and by what is open. The index is a SQLite file under KG_PLACE_CACHE/index, one per repository, incremental by file stat and
 * content digest, and can be thrown away at any time. It knows nothing of models: token costs are estimated as bytes /
 * KG_BYTES_PER_TOKEN.
 *
 * Repositories are hostile, whoever owns them: their configuration is never read, so nothing in it can run a program or
 * widen what is read; the root is the directory that holds .git; links are not followed.
 *
 * Opaque handle, one thread at a time per handle; any number of handles and processes per repository. A question to a
 * damaged index answers KG_ERR_CORRUPT once and leaves it empty; kg_index_refresh mends it by itself.
 */
#ifndef KG_REPO_INDEX_H
#define KG_REPO_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/paths.h"

#define KG_BYTES_PER_TOKEN 3.2
#define KG_INDEX_FILE_MAX ((uint64_t)1 << 20) /* bytes; larger files are left out */

struct kg_index;

/* The root of the worktree that holds path (a directory), absolute and without links; KG_ERR_NOT_FOUND outside any
 * repository or in a bare one. */
enum kg_status kg_repo_root(const char *path, char out[KG_PATH_MAX], struct kg_error *err);

/* The same for a directory that lies in no repository: itself. KG_ERR_NOT_FOUND also for one inside a git directory, and for the
 * person's home and what holds it, since nobody means all of that. */
enum kg_status kg_folder_root(const char *path, char out[KG_PATH_MAX], struct kg_error *err);

/* cache_dir NULL = KG_PLACE_CACHE. Opens or makes the index; reads nothing of the worktree yet. */
enum kg_status kg_index_open(const char *root, const char *cache_dir, struct kg_index **out, struct kg_error *err);
void kg_index_close(struct kg_index *index);

/* Patterns as in gitignore(5), set apart by spaces, of what no refresh of this process takes into an index from now on, whether it
 * is tracked or not; it can still be read by its path. "" = nothing. Before other threads use an index. KG_ERR_NOMEM. */
enum kg_status kg_index_leave_out(const char *patterns, struct kg_error *err);

struct kg_index_counts {
    uint32_t files;     /* indexed */
    uint64_t bytes;
    uint32_t fresh;     /* read by the last refresh; the others were known */
    uint32_t removed;   /* by the last refresh */
    uint32_t ignored;   /* by ignore rules, git directories, repositories that are no submodules (directories count once) */
    uint32_t binary, huge, generated, secret, unreadable, links; /* left out, by reason; vendored directories are generated */
    uint32_t submodules;
    const char *doubt; /* what of the repository leads out of it and was not followed, a sentence; NULL = nothing */
};
/* Brings the index up to date with the worktree. progress (may be NULL): files done and found so far; nonzero stops
 * with KG_ERR_CANCELLED, what was read stays. Done and found are 0 while past commits are read. While another handle or process
 * refreshes, waits for its work (done and found 0); KG_ERR_BUSY when that one does not get on. Others see what was read so far
 * about every second. */
enum kg_status kg_index_refresh(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx,
                                struct kg_index_counts *out, struct kg_error *err);

/* From now on this handle watches the worktree, in at most so many directories (0: as many as the system allows, up to
 * 65,536): everything that kg_index_refresh, to be called next, lists. Where they are more, or nothing is announced, it says
 * so by kg_index_watch_lack, and looks at HEAD every second and at the files on a slow clock that takes at most a
 * twentieth of a core. */
enum kg_status kg_index_watch(struct kg_index *index, uint32_t most, struct kg_error *err);
/* Why the worktree is not watched, printable; NULL while it is. */
const char *kg_index_watch_lack(const struct kg_index *index);
/* To sleep on in poll: readable when something has happened; -1 = none. */
int kg_index_watch_fd(const struct kg_index *index);
/* Takes in what has happened. Seconds until kg_index_catch_up is worth calling: 0 now, negative not before something happens.
 * A change is due a tenth of a second after the last of a flurry, or half a second after its first. */
double kg_index_watch_due(struct kg_index *index);
/* As kg_index_refresh, for what has happened only: of the counts, files, bytes, fresh and removed are those of all. What it
 * does not get to for an error or a stop stays due. */
enum kg_status kg_index_catch_up(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_index_counts *out,
                                 struct kg_error *err);

/* Which files lie near to which is found out for a repository of 1,000 files or more here only, where at least this share of its
 * files (0: any; up to 1) is other than when that was done last, or it never was. It is kept for all handles and processes. Questions
 * and refreshes never wait for it; until then what has changed counts by what it includes, not by the names that it uses. progress
 * as in kg_index_refresh; done and found are 0. KG_ERR_BUSY while another handle or process is at it. What could not be written
 * serves this handle, and the next call tries to write it again. */
#define KG_DRIFT_LARGE 0.01 /* a good reason to do it at once */
enum kg_status kg_index_settle(struct kg_index *index, double drift, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_error *err);

struct kg_index_match {
    const char *path; /* relative to the root, printable */
    double score;     /* larger is better */
    uint32_t line;    /* 1-based line of the best hit, 0 when only the path matched */
    const char *text; /* that line, printable, at most 200 bytes */
};
/* Best first; each returns nonzero to stop. Any text is a valid query; words that the index does not know are ignored. */
enum kg_status kg_index_search(struct kg_index *index, const char *words, uint32_t limit, int (*each)(void *ctx, const struct kg_index_match *), void *ctx, struct kg_error *err);

struct kg_choice {
    const char *path;
    uint64_t bytes;
    uint32_t tokens;    /* estimate */
    const char *reason; /* "named in the question", "matches: sampler, logits" */
};
/* Whole files for a question, best first, whose estimated tokens sum to at most `tokens`. The same question over the same
 * files gives the same list. Paths are as the file system has them, for kg_index_read. */
enum kg_status kg_index_choose(struct kg_index *index, const char *question, uint32_t tokens, int (*each)(void *ctx, const struct kg_choice *), void *ctx, struct kg_error *err);

/* Reads what the indexed texts define, each once ever, with universal-ctags where there is one and else by the look of their
 * lines; after kg_index_refresh, which does not wait for it. progress as there. */
enum kg_status kg_index_read_symbols(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_error *err);

struct kg_index_symbol {
    const char *path; /* as the file system has it; like all texts here, to be made printable */
    const char *kind, *name, *scope, *signature; /* scope and signature may be empty */
    uint32_t line, end; /* 1-based; end 0 = not known */
};
/* Definitions whose names hold all words of the query, in any case; those that are the query first, then those that begin
 * with it. The path of an indexed file asks for what is in it, the empty query for all, in the order of paths and lines. */
enum kg_status kg_index_symbols(struct kg_index *index, const char *query, uint32_t limit, int (*each)(void *ctx, const struct kg_index_symbol *), void *ctx,
                                struct kg_error *err);

/* What any text defines, in the order of its lines, as if it were the content of a file with this path, which need not exist. */
enum kg_status kg_text_symbols(const char *path, const char *text, size_t length, int (*each)(void *ctx, const struct kg_index_symbol *), void *ctx,
                               struct kg_error *err);

/* A map of the repository: signatures of what matters most in the files that most depends on, as many as print in `tokens`
 * (estimate) when each file's path is written once; files in the order of their weight, symbols in that of their lines.
 * Scopes are empty and ends not known. */
enum kg_status kg_index_map(struct kg_index *index, uint32_t tokens, int (*each)(void *ctx, const struct kg_index_symbol *), void *ctx, struct kg_error *err);

/* The files that an indexed file includes or imports directly, each once, in order of appearance, at most 1,000: C and C++,
 * Python, JavaScript and TypeScript, Go (the files of an imported package), Rust, Java; as the last refresh saw them.
 * What lies outside of the repository or cannot be told is left out. Nonzero from each stops. KG_ERR_NOT_FOUND when the
 * file is not in the index; a file in another language has none. Paths are as the file system has them. */
enum kg_status kg_index_imports(struct kg_index *index, const char *path, int (*each)(void *ctx, const char *path), void *ctx, struct kg_error *err);

struct kg_index_file {
    const char *path; /* as the file system has it */
    uint64_t bytes;
    const unsigned char *digest; /* first 16 bytes of its content's SHA-256; NULL where it is not known */
};
/* All indexed files as the last refresh saw them, those first that are likeliest to be asked about: what much depends on, and
 * neither tests nor notes. each does not use the index; nonzero stops. */
enum kg_status kg_index_likely(struct kg_index *index, int (*each)(void *ctx, const struct kg_index_file *), void *ctx, struct kg_error *err);

struct kg_context_request {
    const char *question;
    uint32_t tokens; /* a budget, or 0: the best files, whatever their size and worth */
    uint32_t files;  /* at most so many */
    bool parts;      /* of a file that does not fit, or would take more than half of the budget, the lines that matter */
    /* Files that are read already, relative to the root: what lies near to them is preferred, they themselves are left out. */
    const char *const *open;
    size_t open_count;
};
struct kg_context_part {
    const char *path; /* as the file system has it */
    uint32_t first, last; /* lines, 1-based, inclusive; 0 = the whole file */
    uint64_t bytes;
    uint32_t tokens;  /* estimate */
    double score;     /* larger is better, comparable within one list */
    const char *reason;
};
/* Best first; the parts of a file one after the other. The same question over the same files and history, once settled, gives the same list. Nonzero from each stops. */
enum kg_status kg_index_context(struct kg_index *index, const struct kg_context_request *request, int (*each)(void *ctx, const struct kg_context_part *),
                                void *ctx, struct kg_error *err);

/* Paths whose characters match the pattern in order, best first: for @path completion. An upper-case letter matches only
 * itself; the empty pattern matches all. Paths are as the file system has them. */
enum kg_status kg_index_complete(struct kg_index *index, const char *pattern, uint32_t limit, int (*each)(void *ctx, const char *path), void *ctx, struct kg_error *err);

/* What the repository defines, by name, in memory: any number of threads search it, also while the handle is busy. */
struct kg_definitions;
/* *definitions (NULL at first) becomes what kg_index_read_symbols has read so far, unless that is what it is already; an error
 * leaves it as it was. progress as in kg_index_refresh. */
enum kg_status kg_index_definitions(struct kg_index *index, struct kg_definitions **definitions, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx,
                                    struct kg_error *err);
void kg_definitions_free(struct kg_definitions *definitions); /* NULL is fine */
size_t kg_definitions_count(const struct kg_definitions *definitions);
/* Definitions whose names' characters match the pattern in order, its first one at the beginning of a word of the name, best
 * first: for @name completion. The empty pattern matches none. Scopes and signatures are empty. */
enum kg_status kg_definitions_complete(const struct kg_definitions *definitions, const char *pattern, uint32_t limit,
                                       int (*each)(void *ctx, const struct kg_index_symbol *), void *ctx, struct kg_error *err);

/* Reads a file of the worktree beneath the root: relative path, no links followed, no "..", no gitdir in any spelling, regular
 * files only. A text in UTF-16 with a byte order mark comes as UTF-8; it is not one that can be written back. secret is set for what looks like credentials by its name or first line. The caller frees *out. */
enum kg_status kg_index_read(struct kg_index *index, const char *path, size_t limit, char **out, size_t *length, bool *secret, struct kg_error *err);

#endif
