#include "index_repo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <sqlite3.h>

struct index_repo here;

static void shell(const char *command)
{
    int code = system(command);
    if (code != 0)
        fail_msg("command failed with %d: %s", code, command);
}

void index_repo_make(struct index_repo *repo)
{
    char command[1024];
    char home[160];
    *repo = (struct index_repo){ 0 };
    snprintf(repo->base, sizeof repo->base, "%s/kedge-index-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(repo->base));
    snprintf(repo->root, sizeof repo->root, "%s/tree", repo->base);
    snprintf(repo->cache, sizeof repo->cache, "%s/cache", repo->base);
    snprintf(home, sizeof home, "%s/home", repo->base);
    setenv("HOME", home, 1);
    setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    unsetenv("XDG_CONFIG_HOME");
    snprintf(command, sizeof command,
             "mkdir %s %s && cd %s && git config --global user.name T && git config --global user.email t@example.org && "
             "git config --global protocol.file.allow always && git -c init.defaultBranch=main init -q .",
             home, repo->root, repo->root);
    shell(command);
}

void index_repo_remove(struct index_repo *repo)
{
    char command[1024];
    kg_index_close(repo->index);
    snprintf(command, sizeof command, "chmod -R u+rwX %s && rm -rf %s", repo->base, repo->base);
    shell(command);
}

int index_repo_set_up(void **state)
{
    (void)state;
    index_repo_make(&here);
    return 0;
}

int index_repo_tear_down(void **state)
{
    (void)state;
    index_repo_remove(&here);
    return 0;
}

void index_repo_sh(const struct index_repo *repo, const char *format, ...)
{
    char given[4096];
    char command[4608];
    va_list args;
    va_start(args, format);
    vsnprintf(given, sizeof given, format, args);
    va_end(args);
    snprintf(command, sizeof command, "cd %s && { %s ; } >/dev/null 2>&1", repo->root, given);
    shell(command);
}

void index_repo_write_bytes(const struct index_repo *repo, const char *path, const void *bytes, size_t length)
{
    char full[KG_PATH_MAX];
    struct kg_error err;
    snprintf(full, sizeof full, "%s/%s", repo->root, path);
    char *slash = strrchr(full, '/');
    *slash = '\0';
    assert_int_equal(kg_make_dirs(full, &err), KG_OK);
    *slash = '/';
    FILE *file = fopen(full, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

void index_repo_write(const struct index_repo *repo, const char *path, const char *text)
{
    index_repo_write_bytes(repo, path, text, strlen(text));
}

struct kg_index *index_repo_open(const struct index_repo *repo)
{
    struct kg_index *index = NULL;
    struct kg_error err = { 0 };
    if (kg_index_open(repo->root, repo->cache, &index, &err) != KG_OK)
        fail_msg("cannot open: %s", err.text);
    return index;
}

struct kg_index_counts index_repo_refresh(struct kg_index *index)
{
    struct kg_index_counts counts;
    struct kg_error err = { 0 };
    if (kg_index_refresh(index, NULL, NULL, &counts, &err) != KG_OK)
        fail_msg("cannot refresh: %s", err.text);
    return counts;
}

struct kg_index_counts index_repo_counts(const struct index_repo *repo)
{
    struct kg_index *index = index_repo_open(repo);
    struct kg_index_counts counts = index_repo_refresh(index);
    kg_index_close(index);
    return counts;
}

void index_repo_store(const struct index_repo *repo, char out[512])
{
    char dir[300];
    snprintf(dir, sizeof dir, "%s/index", repo->cache);
    DIR *stream = opendir(dir);
    assert_non_null(stream);
    const struct dirent *e;
    out[0] = '\0';
    while ((e = readdir(stream)) != NULL) {
        size_t n = strlen(e->d_name);
        if (n > 3 && strcmp(e->d_name + n - 3, ".db") == 0)
            snprintf(out, 512, "%s/%.200s", dir, e->d_name);
    }
    closedir(stream);
    assert_true(out[0] != '\0');
}

int64_t index_repo_graph(const struct index_repo *repo)
{
    char path[512];
    sqlite3 *db = NULL;
    sqlite3_stmt *row = NULL;
    int64_t number = -1;
    index_repo_store(repo, path);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT edition FROM graph", -1, &row, NULL), SQLITE_OK);
    if (sqlite3_step(row) == SQLITE_ROW && sqlite3_column_bytes(row, 0) > (int)sizeof number)
        memcpy(&number, sqlite3_column_blob(row, 0), sizeof number);
    sqlite3_finalize(row);
    sqlite3_close(db);
    return number;
}

static int on_match(void *ctx, const struct kg_index_match *match)
{
    struct index_found *found = ctx;
    if (found->count == INDEX_FOUND_MAX)
        return 1;
    snprintf(found->paths[found->count], sizeof found->paths[0], "%s", match->path);
    snprintf(found->texts[found->count], sizeof found->texts[0], "%s", match->text);
    found->lines[found->count++] = match->line;
    return 0;
}

void index_repo_search(struct kg_index *index, const char *words, struct index_found *out)
{
    struct kg_error err = { 0 };
    out->count = 0;
    if (kg_index_search(index, words, INDEX_FOUND_MAX, on_match, out, &err) != KG_OK)
        fail_msg("cannot search: %s", err.text);
}

bool index_found_has(const struct index_found *found, const char *path)
{
    for (unsigned i = 0; i < found->count; i++)
        if (strcmp(found->paths[i], path) == 0)
            return true;
    return false;
}
