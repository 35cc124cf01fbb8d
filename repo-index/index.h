/* Inside of a handle, shared by the files of this folder only. */
#ifndef KG_INDEX_INDEX_H
#define KG_INDEX_INDEX_H

#include "repo-index/repo_index.h"
#include "repo-index/store.h"

struct kg_catalog;
struct kg_tree;
struct kg_ctags;
struct kg_history;
struct kg_graph;

struct kg_index {
    char root[KG_PATH_MAX]; /* resolved */
    int root_fd;
    bool git; /* libgit2 is initialised */
    int turn_fd; /* locked (flock) by the one handle that refreshes */
    struct kg_store *store;
    struct kg_catalog *catalog; /* NULL until the first question */
    struct kg_ctags *ctags;     /* NULL until symbols are read */
    struct kg_history *history; /* NULL until the first question */
    struct kg_graph *graph;     /* the same */
    struct kg_tree *tree;       /* of the catalog; NULL until the first import is looked up */
};

/* Empties a damaged index; KG_ERR_CORRUPT with what to do. */
enum kg_status kg_index_mend(struct kg_index *index, struct kg_error *err);

#endif
