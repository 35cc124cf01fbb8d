#include "repo-index/commits.h"

#include <dirent.h>
#include <fcntl.h>
#include <git2.h>
#include <git2/sys/odb_backend.h>
#include <git2/sys/repository.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "repo-index/arena.h"
#include "repo-index/beneath.h"
#include "repo-index/catalog.h"
#include "repo-index/gitdir.h"
#include "repo-index/words.h"

#define VISITED_MAX (4 * KG_COMMITS_MAX) /* commits looked at for one history: merges change nothing by themselves */
#define COMMIT_BYTES ((size_t)256 << 10)
#define TREE_BYTES ((size_t)16 << 20)
#define TREES_MAX 2000 /* read for one commit */
#define DEPTH_MAX 64
#define REFS_BYTES ((size_t)64 << 20)
#define COMMIT_SECONDS 1.0

struct reached {
    git_oid oid;
    git_time_t time;
};

struct reading {
    struct kg_index *index;
    int (*progress)(void *ctx, uint32_t done, uint32_t found);
    void *ctx;
    struct kg_error *err;
    git_odb *odb;
    git_repository *repo;
    struct reached *heap; /* to be looked at, newest first */
    size_t heap_count, heap_capacity;
    git_oid *seen; /* open addressing, zero = free */
    size_t seen_count, seen_capacity;
    int64_t *log;
    size_t log_count, log_capacity;
    size_t fresh;
    char *paths; /* of the commit at hand */
    size_t paths_length, paths_capacity;
    unsigned files, trees;
    uint32_t words[KG_COMMIT_WORDS_MAX + 1]; /* the first is the number of those of the subject */
    size_t word_count;
    double since; /* of the transaction */
    bool no_memory;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Whether the directory is one, and nothing in it a link. */
static bool holds_no_links(const char *path)
{
    struct stat st;
    DIR *stream = lstat(path, &st) == 0 && S_ISDIR(st.st_mode) ? opendir(path) : NULL;
    const struct dirent *e;
    bool clean = stream != NULL;
    while (clean && (e = readdir(stream)) != NULL)
        clean = e->d_type == DT_REG || e->d_type == DT_DIR ||
                (e->d_type == DT_UNKNOWN && fstatat(dirfd(stream), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)));
    if (stream)
        closedir(stream);
    return clean;
}

static bool has_own_objects(const char *common)
{
    char path[KG_PATH_MAX + 32];
    struct stat st;
    snprintf(path, sizeof path, "%s/objects", common);
    if (!holds_no_links(path))
        return false;
    snprintf(path, sizeof path, "%s/objects/pack", common);
    if (lstat(path, &st) == 0 && !holds_no_links(path))
        return false;
    for (unsigned i = 0; i < 256; i++) {
        snprintf(path, sizeof path, "%s/objects/%02x", common, i);
        if (lstat(path, &st) == 0 && !holds_no_links(path))
            return false;
    }
    return true;
}

/* The line of packed-refs for a name. */
static bool find_packed(const char *common, const char *name, git_oid *out)
{
    char path[KG_PATH_MAX + 16];
    char *text = NULL;
    size_t length = 0, n = strlen(name);
    bool found = false;
    snprintf(path, sizeof path, "%s/packed-refs", common);
    if (kg_read_file(path, REFS_BYTES, &text, &length, NULL) != KG_OK)
        return false;
    for (const char *line = text; line && !found; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        found = strlen(line) > GIT_OID_HEXSZ + n && line[GIT_OID_HEXSZ] == ' ' && strncmp(line + GIT_OID_HEXSZ + 1, name, n) == 0 &&
                (line[GIT_OID_HEXSZ + 1 + n] == '\n' || line[GIT_OID_HEXSZ + 1 + n] == '\0') && git_oid_fromstrn(out, line, GIT_OID_HEXSZ) == 0;
    free(text);
    return found;
}

static bool resolve_head(const struct kg_gitdir *gitdir, git_oid *out)
{
    char name[1024] = "HEAD";
    const char *dir = gitdir->own;
    for (int links = 0; links < 5; links++) {
        char path[KG_PATH_MAX + sizeof name + 2];
        char *text = NULL;
        size_t length = 0;
        snprintf(path, sizeof path, "%s/%s", dir, name);
        if (kg_read_file(path, sizeof name - 1, &text, &length, NULL) != KG_OK)
            return find_packed(gitdir->common, name, out);
        while (length && strchr("\r\n ", text[length - 1]))
            text[--length] = '\0';
        bool link = length > 5 && memcmp(text, "ref: ", 5) == 0;
        bool found = !link && length >= GIT_OID_HEXSZ && git_oid_fromstrn(out, text, GIT_OID_HEXSZ) == 0;
        snprintf(name, sizeof name, "%s", link ? text + 5 : "");
        free(text);
        if (!link)
            return found;
        if (strncmp(name, "refs/", 5) != 0 || !kg_beneath_path_is_plain(name))
            return false;
        dir = gitdir->common;
    }
    return false;
}

static bool open_objects(struct reading *r, const char *common)
{
    char path[KG_PATH_MAX + 16];
    git_odb_backend *packed = NULL, *loose = NULL;
    snprintf(path, sizeof path, "%s/objects", common);
    if (git_odb_new(&r->odb) != 0)
        return false;
    if (git_odb_backend_loose(&loose, path, -1, 0, 0, 0) != 0 || git_odb_add_backend(r->odb, loose, 2) != 0)
        return false;
    if (git_odb_backend_pack(&packed, path) != 0 || git_odb_add_backend(r->odb, packed, 1) != 0)
        return false;
    return git_repository_wrap_odb(&r->repo, r->odb) == 0;
}

static bool fits(const struct reading *r, const git_oid *oid, git_object_t type, size_t limit)
{
    size_t size;
    git_object_t is;
    return git_odb_read_header(&size, &is, r->odb, oid) == 0 && is == type && size <= limit;
}

static size_t slot_of(const struct reading *r, const git_oid *oid)
{
    size_t at;
    memcpy(&at, oid->id, sizeof at);
    at &= r->seen_capacity - 1;
    while (!git_oid_is_zero(&r->seen[at]) && !git_oid_equal(&r->seen[at], oid))
        at = (at + 1) & (r->seen_capacity - 1);
    return at;
}

/* Later first; of the same second, in the order of their names, so that the order is one. */
static bool before(const struct reached *a, const struct reached *b)
{
    return a->time != b->time ? a->time > b->time : git_oid_cmp(&a->oid, &b->oid) < 0;
}

static void push(struct reading *r, const git_oid *oid)
{
    git_commit *commit = NULL;
    if (r->seen_count >= VISITED_MAX)
        return;
    size_t slot = slot_of(r, oid);
    if (!git_oid_is_zero(&r->seen[slot]) || !fits(r, oid, GIT_OBJECT_COMMIT, COMMIT_BYTES) || git_commit_lookup(&commit, r->repo, oid) != 0)
        return; /* known, or the end of a shallow clone */
    r->seen[slot] = *oid;
    r->seen_count++;
    struct reached reached = { .oid = *oid, .time = git_commit_time(commit) };
    git_commit_free(commit);
    if (!kg_grow(&r->heap, r->heap_count, &r->heap_capacity, sizeof *r->heap)) {
        r->no_memory = true;
        return;
    }
    size_t at = r->heap_count++;
    for (; at > 0 && before(&reached, &r->heap[(at - 1) / 2]); at = (at - 1) / 2)
        r->heap[at] = r->heap[(at - 1) / 2];
    r->heap[at] = reached;
}

static git_oid pop(struct reading *r)
{
    git_oid first = r->heap[0].oid;
    struct reached last = r->heap[--r->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < r->heap_count && before(&r->heap[child + 1], &r->heap[child]))
            child++;
        if (child >= r->heap_count || !before(&r->heap[child], &last))
            break;
        r->heap[at] = r->heap[child];
        at = child;
    }
    r->heap[at] = last;
    return first;
}

static bool add_path(struct reading *r, const char *prefix, const char *name)
{
    size_t n = strlen(prefix) + strlen(name) + 2;
    if (n > KG_PATH_MAX || ++r->files > KG_COMMIT_FILES_MAX)
        return false;
    while (r->paths_length + n > r->paths_capacity) {
        size_t capacity = r->paths_capacity ? 2 * r->paths_capacity : 8192;
        char *bigger = realloc(r->paths, capacity);
        if (!bigger) {
            r->no_memory = true;
            return false;
        }
        r->paths = bigger;
        r->paths_capacity = capacity;
    }
    r->paths_length += (size_t)sprintf(r->paths + r->paths_length, "%s%s%s", prefix, prefix[0] ? "/" : "", name) + 1;
    return true;
}

static git_tree *tree_of(struct reading *r, const git_oid *oid)
{
    git_tree *tree = NULL;
    if (++r->trees > TREES_MAX || !fits(r, oid, GIT_OBJECT_TREE, TREE_BYTES) || git_tree_lookup(&tree, r->repo, oid) != 0)
        return NULL;
    return tree;
}

static bool differ(struct reading *r, const git_oid *old_tree, const git_oid *new_tree, const char *prefix, unsigned depth);

/* One entry that is not the same on both sides; either may be NULL. */
static bool differ_at(struct reading *r, const git_tree_entry *was, const git_tree_entry *is, const char *prefix, unsigned depth)
{
    const git_tree_entry *any = is ? is : was;
    const char *name = git_tree_entry_name(any);
    git_filemode_t mode = git_tree_entry_filemode(any);
    if (was && is && git_oid_equal(git_tree_entry_id(was), git_tree_entry_id(is)))
        return true;
    if (mode != GIT_FILEMODE_TREE)
        return (mode != GIT_FILEMODE_BLOB && mode != GIT_FILEMODE_BLOB_EXECUTABLE) || add_path(r, prefix, name);
    char path[KG_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] ? "/" : "", name);
    if (n < 0 || n >= (int)sizeof path || depth == DEPTH_MAX)
        return false;
    return differ(r, was ? git_tree_entry_id(was) : NULL, is ? git_tree_entry_id(is) : NULL, path, depth + 1);
}

/* Gathers the paths of files that differ; false when they are too many, or not to be had. */
static bool differ(struct reading *r, const git_oid *old_tree, const git_oid *new_tree, const char *prefix, unsigned depth)
{
    git_tree *was = old_tree ? tree_of(r, old_tree) : NULL;
    git_tree *is = new_tree ? tree_of(r, new_tree) : NULL;
    bool whole = (was || !old_tree) && (is || !new_tree);
    size_t i = 0, k = 0, old_count = was ? git_tree_entrycount(was) : 0, new_count = is ? git_tree_entrycount(is) : 0;
    while (whole && (i < old_count || k < new_count)) {
        const git_tree_entry *a = i < old_count ? git_tree_entry_byindex(was, i) : NULL;
        const git_tree_entry *b = k < new_count ? git_tree_entry_byindex(is, k) : NULL;
        int order = a && b ? git_tree_entry_cmp(a, b) : a ? -1 : 1;
        whole = differ_at(r, order <= 0 ? a : NULL, order >= 0 ? b : NULL, prefix, depth);
        i += order <= 0;
        k += order >= 0;
    }
    git_tree_free(was);
    git_tree_free(is);
    return whole;
}

static void on_word(void *ctx, const char *word, size_t length, enum kg_word_role role)
{
    struct reading *r = ctx;
    uint32_t hash = kg_word_hash(word, length);
    (void)role;
    for (size_t i = 1; i < r->word_count; i++)
        if (r->words[i] == hash)
            return;
    if (r->word_count <= KG_COMMIT_WORDS_MAX)
        r->words[r->word_count++] = hash;
}

static void add_words(struct reading *r, const char *text, const char *end)
{
    const char *identifier;
    size_t n;
    while ((identifier = kg_next_identifier(text, end, &n)) != NULL) {
        kg_split_identifier(identifier, n, on_word, r);
        text = identifier + n;
    }
}

static void read_message(struct reading *r, const char *message)
{
    const char *end = message + strlen(message);
    const char *subject_end = message + strcspn(message, "\n");
    r->word_count = 1;
    add_words(r, message, subject_end);
    r->words[0] = (uint32_t)(r->word_count - 1);
    add_words(r, subject_end, end);
}

/* A commit with one parent: what it says and what it changes, also when that is nothing, so that it is looked at once. */
static enum kg_status add_commit(struct reading *r, git_commit *commit, int64_t *id)
{
    git_commit *parent = NULL;
    r->paths_length = 0;
    r->files = r->trees = 0;
    const git_oid *oid = git_commit_id(commit), *above = git_commit_parent_id(commit, 0);
    bool known = fits(r, above, GIT_OBJECT_COMMIT, COMMIT_BYTES) && git_commit_lookup(&parent, r->repo, above) == 0;
    if (!known || !differ(r, git_commit_tree_id(parent), git_commit_tree_id(commit), "", 0))
        r->paths_length = 0;
    git_commit_free(parent);
    if (r->no_memory)
        return kg_fail_nomem(r->err, "reading the history of the repository");
    read_message(r, git_commit_message(commit));
    const struct kg_store_commit row = { .words = r->words, .word_count = r->paths_length ? r->word_count : 0, .paths = r->paths, .paths_length = r->paths_length };
    r->fresh++;
    return kg_store_add_commit(r->index->store, oid->id, GIT_OID_RAWSZ, &row, id, r->err);
}

static enum kg_status look_at(struct reading *r, const git_oid *oid)
{
    git_commit *commit = NULL;
    int64_t id = 0;
    if (git_commit_lookup(&commit, r->repo, oid) != 0)
        return KG_OK;
    unsigned parents = git_commit_parentcount(commit);
    enum kg_status status = parents == 1 ? kg_store_find_commit(r->index->store, oid->id, GIT_OID_RAWSZ, &id, r->err) : KG_OK;
    if (status == KG_OK && parents == 1 && id == 0)
        status = add_commit(r, commit, &id);
    for (unsigned i = 0; i < parents && i < 16; i++)
        push(r, git_commit_parent_id(commit, i));
    git_commit_free(commit);
    if (id && !kg_grow(&r->log, r->log_count, &r->log_capacity, sizeof *r->log))
        r->no_memory = true;
    else if (id)
        r->log[r->log_count++] = id;
    return status == KG_OK && r->no_memory ? kg_fail_nomem(r->err, "reading the history of the repository") : status;
}

static enum kg_status commit_when_due(struct reading *r)
{
    if (seconds() - r->since < COMMIT_SECONDS)
        return KG_OK;
    enum kg_status status = kg_store_commit(r->index->store, r->err);
    r->since = seconds();
    return status == KG_OK ? kg_store_begin(r->index->store, r->err) : status;
}

static enum kg_status look_back(struct reading *r, const git_oid *head)
{
    enum kg_status status = kg_store_begin(r->index->store, r->err);
    bool stopped = false;
    r->since = seconds();
    push(r, head);
    while (status == KG_OK && !stopped && r->heap_count && r->log_count < KG_COMMITS_MAX) {
        git_oid oid = pop(r);
        status = look_at(r, &oid);
        stopped = r->progress && r->progress(r->ctx, 0, 0);
        if (status == KG_OK)
            status = commit_when_due(r);
    }
    if (status == KG_OK && !stopped)
        status = kg_store_put_history(r->index->store, head->id, GIT_OID_RAWSZ, r->log, r->log_count, r->err);
    const struct kg_store_history now = { .log = r->log, .count = r->log_count };
    if (status == KG_OK && !stopped && r->fresh)
        status = kg_store_collect_commits(r->index->store, &now, r->err);
    if (status == KG_OK)
        status = kg_store_commit(r->index->store, r->err);
    else
        kg_store_rollback(r->index->store);
    return status == KG_OK && stopped ? kg_fail(r->err, KG_ERR_CANCELLED, "stopped while reading the history of the repository") : status;
}

/* None, until HEAD is another; head NULL = there is none. */
static enum kg_status put_no_history(struct kg_index *index, const git_oid *head, struct kg_error *err)
{
    enum kg_status status = kg_store_begin(index->store, err);
    if (status == KG_OK)
        status = kg_store_put_history(index->store, head ? head->id : NULL, head ? GIT_OID_RAWSZ : 0, NULL, 0, err);
    if (status == KG_OK)
        return kg_store_commit(index->store, err);
    kg_store_rollback(index->store);
    return status;
}

static enum kg_status read_history(struct reading *r, const struct kg_gitdir *gitdir, const git_oid *head)
{
    enum kg_status status;
    r->seen_capacity = 1;
    while (r->seen_capacity < 2 * (size_t)VISITED_MAX)
        r->seen_capacity *= 2;
    r->seen = calloc(r->seen_capacity, sizeof *r->seen);
    if (!r->seen)
        status = kg_fail_nomem(r->err, "reading the history of the repository");
    else if (!has_own_objects(gitdir->common) || !open_objects(r, gitdir->common))
        status = put_no_history(r->index, head, r->err);
    else
        status = look_back(r, head);
    git_repository_free(r->repo);
    git_odb_free(r->odb);
    free(r->heap);
    free(r->seen);
    free(r->log);
    free(r->paths);
    return status;
}

enum kg_status kg_commits_update(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_error *err)
{
    struct kg_gitdir gitdir;
    struct kg_store_history known;
    git_oid head;
    enum kg_status status = kg_store_history(index->store, &known, err);
    if (status != KG_OK)
        return status;
    free(known.log);
    bool any = kg_gitdir_of(index->root, &gitdir) && kg_gitdir_belongs(index->root, &gitdir) && resolve_head(&gitdir, &head);
    if (any && known.head_length == GIT_OID_RAWSZ && memcmp(known.head, head.id, GIT_OID_RAWSZ) == 0)
        return KG_OK;
    if (!any)
        return known.head_length ? put_no_history(index, NULL, err) : KG_OK;
    struct reading *r = calloc(1, sizeof *r);
    if (!r)
        return kg_fail_nomem(err, "reading the history of the repository");
    r->index = index;
    r->progress = progress;
    r->ctx = ctx;
    r->err = err;
    status = read_history(r, &gitdir, &head);
    free(r);
    return status;
}
