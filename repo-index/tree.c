#include "repo-index/tree.h"

#include <stdlib.h>
#include <string.h>

#include "repo-index/arena.h"
#include "repo-index/imports.h"

size_t kg_dir_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

static size_t without_last(const char *path, size_t length)
{
    while (length && path[length - 1] != '/')
        length--;
    return length ? length - 1 : 0;
}

bool kg_path_join(char out[KG_PATH_MAX], const char *dir, size_t dir_length, const char *path)
{
    size_t n = dir_length;
    if (n >= KG_PATH_MAX)
        return false;
    memcpy(out, dir, n);
    while (*path) {
        size_t part = strcspn(path, "/");
        if (part == 2 && path[0] == '.' && path[1] == '.') {
            if (n == 0)
                return false;
            n = without_last(out, n);
        } else if (part && !(part == 1 && path[0] == '.')) {
            if (n + part + 2 > KG_PATH_MAX)
                return false;
            if (n)
                out[n++] = '/';
            memcpy(out + n, path, part);
            n += part;
        }
        path += part;
        path += *path == '/';
    }
    out[n] = '\0';
    return n > 0;
}

static int compare_bytes(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : a_length < b_length ? -1 : a_length > b_length;
}

static int by_name(const void *a, const void *b, void *ctx)
{
    const struct kg_catalog *c = ctx;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = strcmp(c->files[x].name, c->files[y].name);
    return order ? order : x < y ? -1 : x > y;
}

static int compare_dir(const struct kg_catalog_file *file, const char *dir, size_t length)
{
    return compare_bytes(file->path, file->name > file->path ? (size_t)(file->name - file->path) - 1 : 0, dir, length);
}

static int by_dir(const void *a, const void *b, void *ctx)
{
    const struct kg_catalog *c = ctx;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = compare_dir(&c->files[x], c->files[y].path, kg_dir_length(c->files[y].path));
    return order ? order : x < y ? -1 : x > y;
}

/* The first of the files that is not before what compare looks for, from `from` on. */
typedef int compare_fn(const struct kg_catalog_file *file, const char *text, size_t length);

static struct kg_tree_range range_of(const struct kg_tree *tree, const uint32_t *order, compare_fn *compare, const char *text)
{
    size_t length = strlen(text);
    size_t low = 0, high = tree->catalog->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&tree->catalog->files[order[middle]], text, length) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    size_t count = 0;
    while (low + count < tree->catalog->count && compare(&tree->catalog->files[order[low + count]], text, length) == 0)
        count++;
    return (struct kg_tree_range){ order + low, count };
}

static int compare_name(const struct kg_catalog_file *file, const char *text, size_t length)
{
    (void)length;
    return strcmp(file->name, text);
}

struct kg_tree_range kg_tree_named(const struct kg_tree *tree, const char *name)
{
    return range_of(tree, tree->by_name, compare_name, name);
}

struct kg_tree_range kg_tree_in(const struct kg_tree *tree, const char *dir)
{
    return range_of(tree, tree->by_dir, compare_dir, dir);
}

struct loading {
    struct kg_tree *tree;
    const struct kg_catalog_file *file;
    enum kg_language language;
    bool failed;
};

static int take_manifest(void *ctx, const char *records, size_t length)
{
    struct loading *l = ctx;
    struct kg_tree *tree = l->tree;
    char name[KG_IMPORT_NAME + 1];
    char kind;
    for (const char *at = records; kg_import_next(&at, records + length, &kind, name);) {
        if (kind != 'N')
            continue;
        for (char *c = name; *c && l->language == KG_LANGUAGE_CARGO; c++)
            *c = (char)(*c == '-' ? '_' : *c);
        char *kept = kg_arena_copy(tree->names, name, strlen(name));
        if (!kept || !kg_grow(&tree->modules, tree->module_count, &tree->module_capacity, sizeof *tree->modules)) {
            l->failed = true;
            return 1;
        }
        tree->modules[tree->module_count++] = (struct kg_tree_module){ .name = kept, .dir = l->file->path, .dir_length = (uint32_t)kg_dir_length(l->file->path), .language = l->language };
    }
    return 0;
}

static enum kg_status load_modules(struct kg_index *index, struct kg_tree *tree, struct kg_error *err)
{
    static const char *const manifests[] = { "go.mod", "Cargo.toml", "package.json" };
    for (size_t m = 0; m < sizeof manifests / sizeof manifests[0]; m++) {
        struct kg_tree_range range = kg_tree_named(tree, manifests[m]);
        for (size_t i = 0; i < range.count; i++) {
            const struct kg_catalog_file *file = &tree->catalog->files[range.files[i]];
            struct loading l = { .tree = tree, .file = file, .language = kg_language_of(file->path) };
            enum kg_status status = kg_store_imports(index->store, tree->catalog->docs[file->doc], take_manifest, &l, err);
            if (status != KG_OK || l.failed)
                return status == KG_OK ? kg_fail_nomem(err, "listing the modules of the repository") : status;
        }
    }
    return KG_OK;
}

static bool order_files(struct kg_tree *tree)
{
    size_t count = tree->catalog->count;
    tree->by_name = malloc((count + 1) * sizeof *tree->by_name);
    tree->by_dir = malloc((count + 1) * sizeof *tree->by_dir);
    tree->names = calloc(1, sizeof *tree->names);
    if (!tree->by_name || !tree->by_dir || !tree->names)
        return false;
    for (size_t i = 0; i < count; i++)
        tree->by_name[i] = tree->by_dir[i] = (uint32_t)i;
    qsort_r(tree->by_name, count, sizeof *tree->by_name, by_name, (void *)tree->catalog);
    qsort_r(tree->by_dir, count, sizeof *tree->by_dir, by_dir, (void *)tree->catalog);
    return true;
}

void kg_tree_free(struct kg_tree *tree)
{
    if (!tree)
        return;
    if (tree->names)
        kg_arena_free(tree->names);
    free(tree->names);
    free(tree->by_name);
    free(tree->by_dir);
    free(tree->modules);
    free(tree);
}

enum kg_status kg_tree_of(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_tree **out, struct kg_error *err)
{
    if (!index->tree || index->tree->version != catalog->version) {
        struct kg_tree *tree = calloc(1, sizeof *tree);
        if (!tree)
            return kg_fail_nomem(err, "listing the indexed files");
        tree->catalog = catalog;
        tree->version = catalog->version;
        enum kg_status status = order_files(tree) ? load_modules(index, tree, err) : kg_fail_nomem(err, "listing the indexed files");
        if (status != KG_OK) {
            kg_tree_free(tree);
            return status;
        }
        kg_tree_free(index->tree);
        index->tree = tree;
    }
    *out = index->tree;
    return KG_OK;
}
