/* Repositories in temporary folders for the tests of repo-index. Every function ends the test when it fails. */
#ifndef KG_TEST_INDEX_REPO_H
#define KG_TEST_INDEX_REPO_H

#include "repo-index/repo_index.h"

struct index_repo {
    char base[128];  /* temporary, holds all below */
    char root[160];  /* the worktree */
    char cache[160];
    struct kg_index *index; /* NULL, or closed when the repository is removed */
};

/* An empty repository; HOME and the person's git configuration point into base from now on. */
void index_repo_make(struct index_repo *repo);
void index_repo_remove(struct index_repo *repo);

/* The one of the test at hand, made and removed around each. */
extern struct index_repo here;
int index_repo_set_up(void **state);
int index_repo_tear_down(void **state);
#define INDEX_TEST(test) cmocka_unit_test_setup_teardown(test, index_repo_set_up, index_repo_tear_down)

/* printf into a shell command run in the worktree, which must succeed. */
void index_repo_sh(const struct index_repo *repo, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes a file (and its directories) of the worktree. */
void index_repo_write(const struct index_repo *repo, const char *path, const char *text);
void index_repo_write_bytes(const struct index_repo *repo, const char *path, const void *bytes, size_t length);

struct kg_index *index_repo_open(const struct index_repo *repo);
struct kg_index_counts index_repo_refresh(struct kg_index *index);
/* Opens, refreshes, closes. */
struct kg_index_counts index_repo_counts(const struct index_repo *repo);

/* The path of the one index in the cache. */
void index_repo_store(const struct index_repo *repo, char out[512]);
/* Which graph the index keeps, as a number that tells it from others; -1 = none. */
int64_t index_repo_graph(const struct index_repo *repo);

#define INDEX_FOUND_MAX 64
struct index_found {
    unsigned count;
    char paths[INDEX_FOUND_MAX][256];
    uint32_t lines[INDEX_FOUND_MAX];
    char texts[INDEX_FOUND_MAX][256];
};
void index_repo_search(struct kg_index *index, const char *words, struct index_found *out);
bool index_found_has(const struct index_found *found, const char *path);

#endif
