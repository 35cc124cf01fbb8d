/* The indexed files as a tree: by name, by directory, and by what manifests call their directories. */
#ifndef KG_INDEX_TREE_H
#define KG_INDEX_TREE_H

#include "repo-index/catalog.h"
#include "repo-index/language.h"

struct kg_tree_module {
    const char *name;       /* as the manifest says; a '-' of Cargo's is '_' */
    const char *dir;        /* "" = the root; not NUL-terminated */
    uint32_t dir_length;
    enum kg_language language; /* of the manifest */
};

struct kg_tree_key {
    uint64_t hash; /* of the name, or of the directory */
    uint32_t file;
};

struct kg_tree {
    const struct kg_catalog *catalog;
    uint64_t version; /* of the catalog */
    struct kg_tree_key *by_name, *by_dir; /* of all files: those of one name, and of one directory, together, in the catalog's order */
    struct kg_tree_module *modules;
    size_t module_count, module_capacity;
    struct kg_arena *names;
};

/* The tree of the catalog; belongs to the index. To be called inside kg_store_begin_read. */
enum kg_status kg_tree_of(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_tree **out, struct kg_error *err);
void kg_tree_free(struct kg_tree *tree);

struct kg_tree_range {
    const struct kg_tree_key *files;
    size_t count;
};
/* Files with this name, whatever their directory. */
struct kg_tree_range kg_tree_named(const struct kg_tree *tree, const char *name);
/* Files that lie in the directory itself; "" = the root. */
struct kg_tree_range kg_tree_in(const struct kg_tree *tree, const char *dir);

/* Bytes of the path before its last slash. */
size_t kg_dir_length(const char *path);
/* dir (length bytes) and a relative path in one, without "." and ".."; false when that leaves the root or is too long. */
bool kg_path_join(char out[KG_PATH_MAX], const char *dir, size_t dir_length, const char *path);

#endif
