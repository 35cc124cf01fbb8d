/* Inside of a handle, shared by the files of this folder only. */
#ifndef KG_INDEX_INDEX_H
#define KG_INDEX_INDEX_H

#include "repo-index/repo_index.h"
#include "repo-index/store.h"
#include "repo-index/watch.h"

struct kg_catalog;
struct kg_tree;
struct kg_ctags;
struct kg_history;
struct kg_graph;
struct kg_kept;

struct kg_index {
    char root[KG_PATH_MAX]; /* resolved */
    int root_fd;
    bool git; /* libgit2 is initialised */
    int turn_fd;   /* locked (flock) by the one handle that refreshes */
    int settle_fd; /* the same for the one that links the files */
    struct kg_store *store;
    struct kg_catalog *catalog; /* NULL until the first question */
    double catalog_at, catalog_s; /* when it was loaded, CLOCK_MONOTONIC in seconds, and how long that took */
    struct kg_ctags *ctags;     /* NULL until symbols are read */
    struct kg_history *history; /* NULL until the first question */
    struct kg_graph *graph;     /* the same */
    struct kg_kept *kept;       /* of the store, or newer; NULL until the first question of a large repository */
    bool kept_damaged;          /* what the store has, when it was read last */
    struct kg_tree *tree;       /* of the catalog; NULL until the first import is looked up */
    struct kg_watch *watch;     /* NULL unless kg_index_watch was called */
    struct kg_dirty dirty;      /* what the watch has seen and no refresh has looked at */
    double rest_until, look_until; /* CLOCK_MONOTONIC in seconds: no refresh of what is dirty, none of everything, before */
    double head_at;             /* when the git directory was looked at last, where nothing is announced */
    struct kg_file_stat heads[2]; /* HEAD and index as they were then */
    uint32_t put;               /* texts stored since the last that were forgotten */
};

/* Empties a damaged index; KG_ERR_CORRUPT with what to do. */
enum kg_status kg_index_mend(struct kg_index *index, struct kg_error *err);

#endif
