#include "repo-index/tree.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "repo-index/arena.h"

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

/* Hashes first: most are different, and no other file's path need be looked at. */
static int compare_keys(const struct kg_tree_key *a, const struct kg_tree_key *b, const char *x, size_t x_length, const char *y, size_t y_length)
{
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    int order = memcmp(x, y, x_length < y_length ? x_length : y_length);
    if (order || x_length != y_length)
        return order ? order : x_length < y_length ? -1 : 1;
    return a->file < b->file ? -1 : a->file > b->file;
}

static int by_name(const void *a, const void *b, void *ctx)
{
    const struct kg_catalog *c = ctx;
    const struct kg_tree_key *x = a, *y = b;
    const char *p = c->files[x->file].name, *q = c->files[y->file].name;
    return compare_keys(x, y, p, x->hash == y->hash ? strlen(p) : 0, q, x->hash == y->hash ? strlen(q) : 0);
}

static size_t dir_length(const struct kg_catalog_file *file)
{
    return file->name > file->path ? (size_t)(file->name - file->path) - 1 : 0;
}

static int by_dir(const void *a, const void *b, void *ctx)
{
    const struct kg_catalog *c = ctx;
    const struct kg_tree_key *x = a, *y = b;
    const struct kg_catalog_file *p = &c->files[x->file], *q = &c->files[y->file];
    return compare_keys(x, y, p->path, dir_length(p), q->path, dir_length(q));
}

typedef bool is_fn(const struct kg_catalog_file *file, const char *text, size_t length);

static bool is_named(const struct kg_catalog_file *file, const char *text, size_t length)
{
    (void)length;
    return strcmp(file->name, text) == 0;
}

static bool is_in(const struct kg_catalog_file *file, const char *text, size_t length)
{
    return dir_length(file) == length && memcmp(file->path, text, length) == 0;
}

static struct kg_tree_range range_of(const struct kg_tree *tree, const struct kg_tree_key *order, is_fn *is, const char *text)
{
    const struct kg_catalog *c = tree->catalog;
    size_t length = strlen(text);
    uint64_t hash = XXH3_64bits(text, length);
    size_t low = 0, high = c->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (order[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    while (low < c->count && order[low].hash == hash && !is(&c->files[order[low].file], text, length))
        low++;
    size_t count = 0;
    while (low + count < c->count && order[low + count].hash == hash && is(&c->files[order[low + count].file], text, length))
        count++;
    return (struct kg_tree_range){ order + low, count };
}

struct kg_tree_range kg_tree_named(const struct kg_tree *tree, const char *name)
{
    return range_of(tree, tree->by_name, is_named, name);
}

struct kg_tree_range kg_tree_in(const struct kg_tree *tree, const char *dir)
{
    return range_of(tree, tree->by_dir, is_in, dir);
}

struct loading {
    struct kg_tree *tree;
    const struct kg_catalog_file *file;
    enum kg_language language;
    bool failed;
};

static int take_name(void *ctx, char kind, char *name)
{
    struct loading *l = ctx;
    struct kg_tree *tree = l->tree;
    if (kind != 'N')
        return 0;
    for (char *c = name; *c && l->language == KG_LANGUAGE_CARGO; c++)
        *c = (char)(*c == '-' ? '_' : *c);
    char *kept = kg_arena_copy(tree->names, name, strlen(name));
    l->failed = !kept || !kg_grow(&tree->modules, tree->module_count, &tree->module_capacity, sizeof *tree->modules);
    if (l->failed)
        return 1;
    tree->modules[tree->module_count++] = (struct kg_tree_module){ .name = kept, .dir = l->file->path, .dir_length = (uint32_t)kg_dir_length(l->file->path), .language = l->language };
    return 0;
}

static enum kg_status load_modules(struct kg_index *index, struct kg_tree *tree, struct kg_error *err)
{
    static const char *const manifests[] = { "go.mod", "Cargo.toml", "package.json" };
    for (size_t m = 0; m < sizeof manifests / sizeof manifests[0]; m++) {
        struct kg_tree_range range = kg_tree_named(tree, manifests[m]);
        for (size_t i = 0; i < range.count; i++) {
            const struct kg_catalog_file *file = &tree->catalog->files[range.files[i].file];
            struct loading l = { .tree = tree, .file = file, .language = kg_language_of(file->path) };
            enum kg_status status = kg_store_imports(index->store, tree->catalog->docs[file->doc], take_name, &l, err);
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
    for (size_t i = 0; i < count; i++) {
        const struct kg_catalog_file *file = &tree->catalog->files[i];
        tree->by_name[i] = (struct kg_tree_key){ XXH3_64bits(file->name, file->path_length - (size_t)(file->name - file->path)), (uint32_t)i };
        tree->by_dir[i] = (struct kg_tree_key){ XXH3_64bits(file->path, dir_length(file)), (uint32_t)i };
    }
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
