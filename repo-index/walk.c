#include "repo-index/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repo-index/arena.h"
#include "repo-index/beneath.h"
#include "repo-index/gitdir.h"
#include "repo-index/ignore.h"
#include "repo-index/repo_index.h"
#include "repo-index/kind.h"

#define RULES_MAX ((size_t)4 << 20) /* bytes of an ignore file */
#define INDEX_MAX ((off_t)1 << 30)  /* bytes of a .git/index */

/* Ignore files from the innermost outwards; each sees paths from its own directory on. */
struct scope {
    const struct scope *outer;
    struct kg_ignore_rules *rules;
    size_t base; /* bytes of the path before what the rules see */
    struct scope *next_owned;
};

/* The repository a directory belongs to: the root's, or a submodule's. */
struct repo {
    struct kg_gitdir gitdir;
    git_index *tracked;        /* NULL when there is none or it cannot be read */
    const struct scope *scope; /* info/exclude and the person's own rules */
    size_t base;               /* bytes of the path up to and with the slash behind the submodule */
    struct repo *next_owned;
};

struct pending {
    const char *path; /* "" = the root */
    const struct scope *scope;
    const struct scope *own; /* .kedgeignore, of the outer repositories too */
    const struct repo *repo;
    enum kg_dirty_verdict look; /* at its own entries, or only at some below */
    bool tracked_only; /* the directory is ignored, but files in it are tracked */
    bool gitlink;
};

struct entry {
    char *name;
    unsigned char type;
};

struct kg_walk_memory {
    struct kg_arena paths;
};

struct walker {
    const struct kg_walk_request *request;
    struct kg_walk *out;
    size_t file_capacity;
    struct pending *todo;
    size_t todo_count, todo_capacity;
    struct entry *entries; /* of the directory at hand */
    size_t entry_count, entry_capacity;
    struct kg_arena names; /* of those */
    struct scope *scopes;
    struct repo *repos;
    struct kg_ignore_rules *personal;
    size_t seen;
    bool out_of_memory; /* rules may be missing */
    struct kg_error *err;
};

struct kg_file_stat kg_file_stat_of(const struct stat *st)
{
    return (struct kg_file_stat){
        .dev = st->st_dev,
        .ino = st->st_ino,
        .size = (uint64_t)st->st_size,
        .mtime = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .ctime = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec,
    };
}

/* Of the process; set before there are threads. */
static struct kg_ignore_rules *left_out;

enum kg_status kg_index_leave_out(const char *patterns, struct kg_error *err)
{
    char *lines = strdup(patterns);
    for (char *c = lines; c && *c; c++)
        *c = *c == ' ' || *c == '\t' ? '\n' : *c;
    struct kg_ignore_rules *rules = lines ? kg_ignore_parse(lines, strlen(lines)) : NULL;
    free(lines);
    if (!rules)
        return kg_fail_nomem(err, "reading ignore patterns");
    kg_ignore_free(left_out);
    left_out = rules;
    return KG_OK;
}

static bool is_left_out(const char *path, const char *name, bool is_dir)
{
    return left_out && kg_ignore_match(left_out, path, name, is_dir) == KG_IGNORE_YES;
}

static enum kg_status no_memory(struct walker *w)
{
    return kg_fail_nomem(w->err, "listing the files of the repository");
}

static const struct scope *new_scope(struct walker *w, const struct scope *outer, struct kg_ignore_rules *rules, size_t base, bool owns)
{
    struct scope *scope = rules ? kg_arena_take(&w->out->memory->paths, sizeof *scope) : NULL;
    if (!scope) {
        w->out_of_memory |= rules != NULL;
        if (owns)
            kg_ignore_free(rules);
        return outer;
    }
    *scope = (struct scope){ .outer = outer, .rules = rules, .base = base };
    if (owns) {
        scope->next_owned = w->scopes;
        w->scopes = scope;
    }
    return scope;
}

static struct kg_ignore_rules *rules_of_file(struct walker *w, const char *path)
{
    char *text = NULL;
    size_t length = 0;
    enum kg_status status = kg_read_file(path, RULES_MAX, &text, &length, NULL);
    struct kg_ignore_rules *rules = status == KG_OK ? kg_ignore_parse(text, length) : NULL;
    w->out_of_memory |= status == KG_ERR_NOMEM || (status == KG_OK && !rules);
    free(text);
    return rules;
}

/* core.excludesFile of the person's own configuration, else the default that gitignore(5) names. */
static struct kg_ignore_rules *personal_rules(struct walker *w)
{
    char path[KG_PATH_MAX] = "";
    git_config *config = NULL;
    git_buf named = { 0 };
    const char *xdg = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (git_config_open_default(&config) == 0 && git_config_get_path(&named, config, "core.excludesfile") == 0)
        snprintf(path, sizeof path, "%s", named.ptr);
    else if (xdg && xdg[0])
        snprintf(path, sizeof path, "%s/git/ignore", xdg);
    else if (home)
        snprintf(path, sizeof path, "%s/.config/git/ignore", home);
    git_buf_dispose(&named);
    git_config_free(config);
    return path[0] ? rules_of_file(w, path) : NULL;
}

static git_index *open_tracked(const char *gitdir)
{
    char path[KG_PATH_MAX + 8];
    struct stat st;
    git_index *tracked = NULL;
    snprintf(path, sizeof path, "%s/index", gitdir);
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > INDEX_MAX || git_index_open(&tracked, path) != 0)
        return NULL;
    return tracked;
}

static const struct repo *new_repo(struct walker *w, const struct kg_gitdir *gitdir, size_t base)
{
    struct repo *repo = kg_arena_take(&w->out->memory->paths, sizeof *repo);
    if (!repo)
        return NULL;
    *repo = (struct repo){ .base = base, .next_owned = w->repos };
    w->repos = repo;
    repo->scope = new_scope(w, NULL, w->personal, base, false);
    if (gitdir) {
        char exclude[KG_PATH_MAX + 16];
        repo->gitdir = *gitdir;
        repo->tracked = open_tracked(gitdir->own);
        snprintf(exclude, sizeof exclude, "%s/info/exclude", gitdir->common);
        repo->scope = new_scope(w, repo->scope, rules_of_file(w, exclude), base, true);
    }
    return repo;
}

static bool lies_below(const char *path, const char *dir, const char *leaf)
{
    size_t n = strlen(dir);
    size_t m = strlen(leaf);
    return strncmp(path, dir, n) == 0 && strncmp(path + n, leaf, m) == 0;
}

/* The git directory of a submodule, unless its .git leads out of the repository. */
static bool submodule_gitdir(struct walker *w, const struct pending *dir, struct kg_gitdir *out, bool *absorbed)
{
    char path[2 * KG_PATH_MAX + 2];
    char own[2 * KG_PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/%s", w->request->root, dir->path);
    *absorbed = false;
    if (strlen(path) >= KG_PATH_MAX || !kg_gitdir_of(path, out))
        return false;
    snprintf(own, sizeof own, "%s/.git", path);
    *absorbed = lies_below(out->own, dir->repo->gitdir.own, "/modules/") || lies_below(out->own, dir->repo->gitdir.common, "/modules/");
    return (*absorbed && strcmp(out->own, out->common) == 0) || strcmp(out->own, own) == 0;
}

/* What the git index says of a path: a file, a submodule, a directory that holds files it knows. */
enum tracked { UNTRACKED, TRACKED_FILE, TRACKED_LINK, TRACKED_BELOW };
static enum tracked tracked_as(const struct repo *repo, const char *path, bool is_dir)
{
    if (!repo->tracked)
        return UNTRACKED;
    const char *inside = path + repo->base;
    const git_index_entry *entry = git_index_get_bypath(repo->tracked, inside, 0);
    if (entry && (entry->mode & S_IFMT) == 0160000)
        return is_dir ? TRACKED_LINK : UNTRACKED;
    if (!is_dir)
        return entry ? TRACKED_FILE : UNTRACKED;
    char prefix[KG_PATH_MAX + 2];
    size_t at;
    snprintf(prefix, sizeof prefix, "%s/", inside);
    return git_index_find_prefix(&at, repo->tracked, prefix) == 0 ? TRACKED_BELOW : UNTRACKED;
}

static enum kg_ignore_verdict by_rules(const struct scope *scope, const char *path, const char *name, bool is_dir)
{
    enum kg_ignore_verdict verdict = KG_IGNORE_SILENT;
    for (; scope && verdict == KG_IGNORE_SILENT; scope = scope->outer)
        verdict = kg_ignore_match(scope->rules, path + scope->base, name, is_dir);
    return verdict;
}

static enum kg_status take_dir(struct walker *w, const struct pending *in, const struct scope *scope, const char *path, const char *name)
{
    const struct kg_dirty *only = w->request->only;
    enum kg_dirty_verdict look = only ? kg_dirty_dir(only, path) : KG_DIRTY_DEEP;
    if (look == KG_DIRTY_NOT)
        return KG_OK;
    enum kg_ignore_verdict own = by_rules(in->own, path, name, true);
    bool ignored = own != KG_IGNORE_NO && (in->tracked_only || by_rules(scope, path, name, true) == KG_IGNORE_YES);
    enum tracked tracked = tracked_as(in->repo, path, true);
    if (kg_names_gitdir(name, strlen(name)) || own == KG_IGNORE_YES || is_left_out(path, name, true) ||
        (ignored && tracked != TRACKED_LINK && tracked != TRACKED_BELOW)) {
        w->out->counts.ignored++;
        return KG_OK;
    }
    if (kg_dir_is_vendored(name)) {
        w->out->counts.generated++;
        return KG_OK;
    }
    char *kept = kg_arena_copy(&w->out->memory->paths, path, strlen(path));
    if (!kept || !kg_grow(&w->todo, w->todo_count, &w->todo_capacity, sizeof *w->todo))
        return no_memory(w);
    w->todo[w->todo_count++] = (struct pending){ .path = kept, .scope = scope, .own = in->own, .repo = in->repo, .look = look,
                                                 .tracked_only = ignored && tracked == TRACKED_BELOW, .gitlink = tracked == TRACKED_LINK };
    return KG_OK;
}

static enum kg_status take_file(struct walker *w, const struct pending *in, const struct scope *scope, const char *path, const char *name,
                                const struct stat *st)
{
    struct kg_index_counts *counts = &w->out->counts;
    enum kg_ignore_verdict own = by_rules(in->own, path, name, false);
    bool ignored = own != KG_IGNORE_NO && (in->tracked_only || by_rules(scope, path, name, false) == KG_IGNORE_YES);
    if (own == KG_IGNORE_YES || is_left_out(path, name, false) || (ignored && tracked_as(in->repo, path, false) != TRACKED_FILE) ||
        kg_names_gitdir(name, strlen(name))) {
        counts->ignored++;
        return KG_OK;
    }
    enum kg_file_kind kind = kg_kind_by_name(path);
    if (kind == KG_KIND_SECRET)
        counts->secret++;
    else if (kind == KG_KIND_GENERATED)
        counts->generated++;
    else if (S_ISLNK(st->st_mode))
        counts->links++;
    else if (!S_ISREG(st->st_mode))
        counts->unreadable++;
    else if ((uint64_t)st->st_size > KG_INDEX_FILE_MAX)
        counts->huge++;
    else {
        char *kept = kg_arena_copy(&w->out->memory->paths, path, strlen(path));
        if (!kept || !kg_grow(&w->out->files, w->out->count, &w->file_capacity, sizeof *w->out->files))
            return no_memory(w);
        w->out->files[w->out->count++] = (struct kg_walk_file){ .path = kept, .stat = kg_file_stat_of(st) };
    }
    return KG_OK;
}

static enum kg_status take_entry(struct walker *w, int dir_fd, const struct pending *in, const struct scope *scope, const struct entry *entry)
{
    char path[KG_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s%s", in->path, in->path[0] ? "/" : "", entry->name);
    if (n < 0 || n >= (int)sizeof path) {
        w->out->counts.unreadable++;
        return KG_OK;
    }
    const char *name = path + (size_t)n - strlen(entry->name);
    struct stat st = { .st_mode = S_IFDIR };
    if (in->look == KG_DIRTY_BELOW && entry->type != DT_DIR && entry->type != DT_UNKNOWN)
        return KG_OK;
    if (entry->type != DT_DIR && fstatat(dir_fd, entry->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        w->out->counts.unreadable += errno != ENOENT;
        return KG_OK;
    }
    if (S_ISDIR(st.st_mode))
        return take_dir(w, in, scope, path, name);
    return in->look == KG_DIRTY_BELOW ? KG_OK : take_file(w, in, scope, path, name, &st);
}

static enum kg_status list_entries(struct walker *w, DIR *dir)
{
    kg_arena_free(&w->names);
    w->entry_count = 0;
    const struct dirent *e;
    while ((e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        char *name = kg_arena_copy(&w->names, e->d_name, strlen(e->d_name));
        if (!name || !kg_grow(&w->entries, w->entry_count, &w->entry_capacity, sizeof *w->entries))
            return no_memory(w);
        w->entries[w->entry_count++] = (struct entry){ .name = name, .type = e->d_type };
    }
    return KG_OK;
}

static bool lists(const struct walker *w, const char *name)
{
    for (size_t i = 0; i < w->entry_count; i++)
        if (strcmp(w->entries[i].name, name) == 0)
            return true;
    return false;
}

static struct kg_ignore_rules *rules_in(struct walker *w, int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0)
        return NULL;
    struct kg_ignore_rules *rules = NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size <= RULES_MAX) {
        char *text = malloc((size_t)st.st_size + 1);
        ssize_t n = text ? read(fd, text, (size_t)st.st_size) : 0;
        rules = text ? kg_ignore_parse(text, n > 0 ? (size_t)n : 0) : NULL;
        w->out_of_memory |= !rules;
        free(text);
    }
    close(fd);
    return rules;
}

/* What the entries say about the directory itself: false when nothing in it is to be taken. */
static bool enter(struct walker *w, struct pending *dir)
{
    if (dir->path[0] == '\0')
        return true;
    const char *slash = strrchr(dir->path, '/');
    const char *name = slash ? slash + 1 : dir->path;
    for (size_t i = 0; i < w->entry_count; i++)
        if (kg_dir_is_vendored_by(name, w->entries[i].name)) {
            w->out->counts.generated++;
            return false;
        }
    if (lists(w, ".git")) {
        struct kg_gitdir gitdir;
        bool absorbed;
        bool own = submodule_gitdir(w, dir, &gitdir, &absorbed);
        if (!dir->gitlink && !absorbed) {
            w->out->counts.ignored++;
            return false;
        }
        dir->repo = new_repo(w, own ? &gitdir : NULL, strlen(dir->path) + 1);
        w->out_of_memory |= !dir->repo;
        dir->scope = dir->repo ? dir->repo->scope : NULL;
        w->out->counts.submodules++;
    } else if (lists(w, "HEAD") && lists(w, "objects") && lists(w, "refs")) {
        w->out->counts.ignored++;
        return false;
    }
    return dir->repo != NULL;
}

static enum kg_status walk_dir(struct walker *w, struct pending *dir)
{
    int fd = dir->path[0] ? kg_beneath_open(w->request->root_fd, dir->path, O_RDONLY | O_DIRECTORY)
                          : openat(w->request->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (!stream) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            return kg_fail(w->err, KG_ERR_IO, "cannot open directory %s: %s; close other programs", dir->path, strerror(errno));
        if (errno != ENOENT && errno != ELOOP && errno != ENOTDIR)
            w->out->counts.unreadable++;
        if (fd >= 0)
            close(fd);
        return KG_OK;
    }
    if (w->request->watch)
        kg_watch_dir(w->request->watch, dir->path, fd);
    enum kg_status status = list_entries(w, stream);
    if (status == KG_OK && enter(w, dir)) {
        const struct scope *scope = dir->scope;
        size_t base = dir->path[0] ? strlen(dir->path) + 1 : 0;
        if (lists(w, ".gitignore"))
            scope = new_scope(w, scope, rules_in(w, fd, ".gitignore"), base, true);
        if (lists(w, ".kedgeignore"))
            dir->own = new_scope(w, dir->own, rules_in(w, fd, ".kedgeignore"), base, true);
        for (size_t i = 0; i < w->entry_count && status == KG_OK; i++) {
            if (++w->seen % 256 == 0 && w->request->progress && w->request->progress(w->request->ctx, 0, (uint32_t)w->out->count))
                status = kg_fail(w->err, KG_ERR_CANCELLED, "stopped while listing the files of %s", w->request->root);
            else if (dir->path[0] || strcmp(w->entries[i].name, ".git") != 0)
                status = take_entry(w, fd, dir, scope, &w->entries[i]);
        }
    }
    closedir(stream);
    return status == KG_OK && w->out_of_memory ? no_memory(w) : status;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct kg_walk_file *)a)->path, ((const struct kg_walk_file *)b)->path);
}

static void free_walker(struct walker *w)
{
    for (struct scope *s = w->scopes; s; s = s->next_owned)
        kg_ignore_free(s->rules);
    for (struct repo *r = w->repos; r; r = r->next_owned)
        git_index_free(r->tracked);
    kg_ignore_free(w->personal);
    kg_arena_free(&w->names);
    free(w->entries);
    free(w->todo);
}

enum kg_status kg_walk_run(const struct kg_walk_request *request, struct kg_walk *out, struct kg_error *err)
{
    struct walker w = { .request = request, .out = out, .err = err };
    struct kg_gitdir gitdir;
    *out = (struct kg_walk){ .memory = calloc(1, sizeof *out->memory) };
    if (!out->memory)
        return no_memory(&w);
    w.personal = personal_rules(&w);
    bool git = kg_gitdir_of(request->root, &gitdir);
    if (git)
        out->counts.doubt = kg_gitdir_doubt(request->root, &gitdir);
    if (git && request->watch)
        kg_watch_git(request->watch, gitdir.own, gitdir.common);
    const struct repo *repo = new_repo(&w, git ? &gitdir : NULL, 0);
    enum kg_status status = repo && kg_grow(&w.todo, 0, &w.todo_capacity, sizeof *w.todo) ? KG_OK : no_memory(&w);
    if (status == KG_OK)
        w.todo[w.todo_count++] = (struct pending){ .path = "", .scope = repo->scope, .repo = repo, .look = request->only ? kg_dirty_dir(request->only, "") : KG_DIRTY_DEEP };
    while (status == KG_OK && w.todo_count) {
        struct pending dir = w.todo[--w.todo_count];
        status = walk_dir(&w, &dir);
    }
    free_walker(&w);
    if (status != KG_OK)
        kg_walk_free(out);
    else if (out->count)
        qsort(out->files, out->count, sizeof *out->files, by_path);
    return status;
}

void kg_walk_free(struct kg_walk *walk)
{
    free(walk->files);
    if (walk->memory)
        kg_arena_free(&walk->memory->paths);
    free(walk->memory);
    *walk = (struct kg_walk){ 0 };
}
