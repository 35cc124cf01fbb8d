#include "repo-index/gitdir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "repo-index/repo_index.h"

#define CONFIG_MAX ((size_t)1 << 20)

static bool join(char out[KG_PATH_MAX], const char *dir, const char *leaf)
{
    int n = leaf[0] == '/' ? snprintf(out, KG_PATH_MAX, "%s", leaf) : snprintf(out, KG_PATH_MAX, "%s/%s", dir, leaf);
    return n > 0 && n < KG_PATH_MAX;
}

static bool has(const char *dir, const char *leaf, mode_t type)
{
    char path[KG_PATH_MAX];
    struct stat st;
    return join(path, dir, leaf) && stat(path, &st) == 0 && (type == 0 || (st.st_mode & S_IFMT) == type);
}

bool kg_is_gitdir(const char *path)
{
    char head[KG_PATH_MAX];
    struct stat st;
    /* HEAD may be a symbolic link that leads nowhere yet */
    if (!join(head, path, "HEAD") || lstat(head, &st) != 0)
        return false;
    return (has(path, "objects", S_IFDIR) && has(path, "refs", S_IFDIR)) || has(path, "commondir", S_IFREG);
}

/* The one line of a small file that names a path, resolved relative to dir. */
static bool read_pointer(const char *dir, const char *leaf, const char *prefix, char out[KG_PATH_MAX])
{
    char path[KG_PATH_MAX];
    char resolved[KG_PATH_MAX];
    char *text = NULL;
    size_t length = 0;
    if (!join(path, dir, leaf) || kg_read_file(path, KG_PATH_MAX, &text, &length, NULL) != KG_OK)
        return false;
    while (length && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        text[--length] = '\0';
    size_t skip = strlen(prefix);
    bool found = strlen(text) == length && length > skip && memcmp(text, prefix, skip) == 0 && join(path, dir, text + skip) &&
                 realpath(path, resolved);
    free(text);
    if (found)
        memcpy(out, resolved, KG_PATH_MAX);
    return found;
}

bool kg_gitdir_of(const char *worktree, struct kg_gitdir *out)
{
    char path[KG_PATH_MAX];
    struct stat st;
    if (!join(path, worktree, ".git") || stat(path, &st) != 0)
        return false;
    if (S_ISDIR(st.st_mode)) {
        if (!realpath(path, out->own))
            return false;
    } else if (!read_pointer(worktree, ".git", "gitdir: ", out->own)) {
        return false;
    }
    if (!kg_is_gitdir(out->own))
        return false;
    if (!read_pointer(out->own, "commondir", "", out->common))
        memcpy(out->common, out->own, sizeof out->common);
    return true;
}

bool kg_gitdir_belongs(const char *root, const struct kg_gitdir *gitdir)
{
    char path[KG_PATH_MAX + 16];
    char *text = NULL;
    size_t length = 0;
    struct stat st;
    snprintf(path, sizeof path, "%s/.git", root);
    if (lstat(path, &st) != 0 || S_ISLNK(st.st_mode))
        return false;
    if (S_ISDIR(st.st_mode))
        return strcmp(gitdir->own, gitdir->common) == 0;
    snprintf(path, sizeof path, "%s/gitdir", gitdir->own);
    if (strlen(path) >= KG_PATH_MAX || kg_read_file(path, KG_PATH_MAX, &text, &length, NULL) != KG_OK)
        return false;
    while (length && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        text[--length] = '\0';
    char *slash = strrchr(text, '/');
    bool same = false;
    if (slash && strcmp(slash, "/.git") == 0) {
        char resolved[KG_PATH_MAX];
        *slash = '\0';
        same = realpath(text[0] ? text : "/", resolved) && strcmp(resolved, root) == 0;
    }
    free(text);
    return same;
}

/* Whether a line of the file, which is not obeyed, begins with the word, in any case. */
static bool says(const char *dir, const char *leaf, const char *word)
{
    char path[KG_PATH_MAX];
    char *text = NULL;
    size_t length = 0;
    bool found = false;
    if (!join(path, dir, leaf) || kg_read_file(path, CONFIG_MAX, &text, &length, NULL) != KG_OK)
        return false;
    for (const char *line = text; line && !found; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        found = strncasecmp(line + strspn(line, " \t"), word, strlen(word)) == 0;
    free(text);
    return found;
}

const char *kg_gitdir_doubt(const char *worktree, const struct kg_gitdir *gitdir)
{
    char path[KG_PATH_MAX];
    struct stat st;
    if (!kg_gitdir_belongs(worktree, gitdir))
        return ".git leads to a git directory that does not lead back: its history is not read";
    if (has(gitdir->common, "objects/info/alternates", 0))
        return "the objects of the repository are borrowed from others (alternates): its history is not read";
    if (join(path, gitdir->common, "objects") && lstat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        return "the objects of the repository lie elsewhere: its history is not read";
    if (says(gitdir->common, "config", "worktree") || says(gitdir->common, "config", "[include"))
        return "the configuration of the repository names another worktree or other files (core.worktree, include): neither is followed";
    return NULL;
}

enum kg_status kg_repo_root(const char *path, char out[KG_PATH_MAX], struct kg_error *err)
{
    char at[KG_PATH_MAX];
    struct stat st, first;
    if (!realpath(path, at))
        return kg_fail(err, errno == ENOENT ? KG_ERR_NOT_FOUND : KG_ERR_IO, "cannot open %s: %s; name a directory", path, strerror(errno));
    if (stat(at, &first) != 0 || !S_ISDIR(first.st_mode))
        return kg_fail(err, KG_ERR_NOT_FOUND, "%s is not a directory; name one inside a git repository", path);
    for (;;) {
        struct kg_gitdir gitdir;
        if (kg_gitdir_of(at, &gitdir)) {
            snprintf(out, KG_PATH_MAX, "%s", at);
            return KG_OK;
        }
        if (kg_is_gitdir(at))
            return kg_fail(err, KG_ERR_NOT_FOUND, "%s is a bare repository or a git directory; go to a checkout of it (git worktree add)", at);
        char *slash = strrchr(at, '/');
        if (slash == at)
            slash++;
        if (*slash == '\0' || strcmp(at, "/") == 0)
            break;
        *slash = '\0';
        /* like git, do not look beyond the file system that path lies on */
        if (stat(at, &st) != 0 || st.st_dev != first.st_dev)
            break;
    }
    return kg_fail(err, KG_ERR_NOT_FOUND, "%s is not inside a git repository; go to one, or make one with git init", path);
}

enum kg_status kg_folder_root(const char *path, char out[KG_PATH_MAX], struct kg_error *err)
{
    char at[KG_PATH_MAX], home[KG_PATH_MAX];
    const char *named = getenv("HOME");
    struct stat st;
    if (!realpath(path, at) || stat(at, &st) != 0 || !S_ISDIR(st.st_mode))
        return kg_fail(err, KG_ERR_NOT_FOUND, "cannot open directory %s: %s; name a directory", path, strerror(errno));
    size_t n = strlen(at);
    if (strcmp(at, "/") == 0 || (named && realpath(named, home) && strncmp(home, at, n) == 0 && (home[n] == '/' || home[n] == '\0')))
        return kg_fail(err, KG_ERR_NOT_FOUND, "%s is not inside a git repository, and too much to be read as a whole; go to a folder of what you mean", at);
    snprintf(out, KG_PATH_MAX, "%s", at);
    for (char *slash; (slash = strrchr(at, '/')) != NULL && slash != at; *slash = '\0')
        if (kg_is_gitdir(at))
            return kg_fail(err, KG_ERR_NOT_FOUND, "%s is a bare repository or a git directory; go to a checkout of it (git worktree add)", at);
    return KG_OK;
}
