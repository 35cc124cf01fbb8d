#include "repo-index/resolve.h"

#include <stdio.h>
#include <string.h>

#include "repo-index/imports.h"

struct resolving {
    const struct kg_tree *tree;
    const struct kg_catalog_file *file;
    size_t dir_length; /* of the file's directory */
    struct kg_links *out;
};

static bool add(struct resolving *r, const struct kg_catalog_file *file)
{
    if (!file)
        return false;
    uint32_t at = (uint32_t)(file - r->tree->catalog->files);
    bool known = file == r->file;
    for (size_t i = 0; i < r->out->count && !known; i++)
        known = r->out->files[i] == at;
    if (!known && r->out->count < KG_LINKS_MAX)
        r->out->files[r->out->count++] = at;
    return true;
}

static const struct kg_catalog_file *file_at(const struct resolving *r, const char *path)
{
    return kg_catalog_find(r->tree->catalog, path);
}

/* dir/path, where path may hold "..". */
static const struct kg_catalog_file *file_in(const struct resolving *r, const char *dir, size_t dir_length, const char *path)
{
    char joined[KG_PATH_MAX];
    return kg_path_join(joined, dir, dir_length, path) ? file_at(r, joined) : NULL;
}

static size_t parent_length(const char *dir, size_t length)
{
    while (length && dir[length - 1] != '/')
        length--;
    return length ? length - 1 : 0;
}

static unsigned components(const char *path)
{
    unsigned n = 0;
    for (; *path; path++)
        n += *path == '/';
    return n;
}

static unsigned shared_components(const char *a, const char *b)
{
    unsigned n = 0;
    for (; *a && *a == *b; a++, b++)
        n += *a == '/';
    return n;
}

/* Whether a file whose path ends in the name may be meant: root is what comes before that, without a slash behind. */
typedef bool accept_fn(const struct resolving *r, const char *root, size_t length, const char *tail);

static const struct kg_catalog_file *closest(const struct resolving *r, const char *tail, accept_fn *accept)
{
    const char *slash = strrchr(tail, '/');
    struct kg_tree_range range = kg_tree_named(r->tree, slash ? slash + 1 : tail);
    const struct kg_catalog_file *best = NULL;
    size_t length = strlen(tail);
    unsigned best_shared = 0, best_depth = 0;
    bool single = true;
    for (size_t i = 0; i < range.count; i++) {
        const struct kg_catalog_file *file = &r->tree->catalog->files[range.files[i].file];
        if (file->path_length < length || memcmp(file->path + file->path_length - length, tail, length) != 0)
            continue;
        size_t root = file->path_length - length;
        if ((root && file->path[root - 1] != '/') || !accept(r, file->path, root ? root - 1 : 0, tail))
            continue;
        unsigned shared = shared_components(r->file->path, file->path), depth = components(file->path);
        if (!best || shared > best_shared || (shared == best_shared && depth < best_depth)) {
            best = file;
            best_shared = shared;
            best_depth = depth;
            single = true;
        } else if (shared == best_shared && depth == best_depth) {
            single = false;
        }
    }
    return single ? best : NULL;
}

static bool ends_in(const char *root, size_t length, const char *name)
{
    size_t n = strlen(name);
    return length >= n && memcmp(root + length - n, name, n) == 0 && (length == n || root[length - n - 1] == '/');
}

static bool is_one_of(const char *const *names, const char *text, size_t length)
{
    for (; *names; names++)
        if (strlen(*names) == length && memcmp(*names, text, length) == 0)
            return true;
    return false;
}

/* Headers that a system has: one of that name in the tree is meant only where it lies among public ones. */
static bool is_system_header(const char *name)
{
    static const char *const headers[] = {
        "assert.h", "complex.h", "ctype.h", "errno.h", "fenv.h", "float.h", "inttypes.h", "iso646.h", "limits.h", "locale.h", "math.h", "setjmp.h",
        "signal.h", "stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "tgmath.h", "threads.h",
        "time.h", "uchar.h", "wchar.h", "wctype.h", "unistd.h", "fcntl.h", "pthread.h", "dirent.h", "poll.h", "sched.h", "strings.h", "termios.h",
        "syslog.h", "getopt.h", "dlfcn.h", "netdb.h", "regex.h", "glob.h", "malloc.h", "memory.h", "string", "vector", "map", "memory", "windows.h", NULL
    };
    static const char *const dirs[] = { "sys", "linux", "asm", "bits", "net", "netinet", "arpa", "mach", NULL };
    const char *slash = strchr(name, '/');
    return slash ? is_one_of(dirs, name, (size_t)(slash - name)) : is_one_of(headers, name, strlen(name));
}

static bool accept_quoted(const struct resolving *r, const char *root, size_t length, const char *tail)
{
    (void)r;
    (void)root;
    (void)length;
    (void)tail;
    return true;
}

static bool accept_angled(const struct resolving *r, const char *root, size_t length, const char *tail)
{
    (void)r;
    return ends_in(root, length, "include") || !is_system_header(tail);
}

static void resolve_c(struct resolving *r, char kind, char *name)
{
    for (char *c = name; *c; c++)
        *c = (char)(*c == '\\' ? '/' : *c);
    if (kind == '"' && add(r, file_in(r, r->file->path, r->dir_length, name)))
        return;
    char tail[KG_PATH_MAX];
    while (strncmp(name, "../", 3) == 0)
        name += 3;
    if (name[0] != '/' && kg_path_join(tail, "", 0, name))
        add(r, closest(r, tail, kind == '"' ? accept_quoted : accept_angled));
}

/* dir/name.py, dir/name.pyi, dir/name/__init__.py. */
static const struct kg_catalog_file *python_module(const struct resolving *r, const char *dir, size_t dir_length, const char *name)
{
    static const char *const endings[] = { ".py", "/__init__.py", ".pyi", "/__init__.pyi", ".pyx" };
    char path[KG_PATH_MAX];
    const struct kg_catalog_file *found = NULL;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0] && !found; i++) {
        int n = snprintf(path, sizeof path, "%s%s", name, name[0] ? endings[i] : strrchr(endings[i], '/') ? endings[i] + 1 : "");
        found = n > 0 && n < (int)sizeof path ? file_in(r, dir, dir_length, path) : NULL;
    }
    return found;
}

static bool is_package(const struct resolving *r, const char *dir, size_t length)
{
    return file_in(r, dir, length, "__init__.py") != NULL;
}

/* Modules are looked for from directories that are no packages: those above the importing file, those that by custom hold
 * packages, and those that hold the package that is asked for. */
static bool accept_python(const struct resolving *r, const char *root, size_t length, const char *tail)
{
    if (is_package(r, root, length))
        return false;
    bool above = length <= r->dir_length && memcmp(root, r->file->path, length) == 0 && (length == 0 || r->file->path[length] == '/');
    if (above || ends_in(root, length, "src") || ends_in(root, length, "lib") || ends_in(root, length, "python"))
        return true;
    char top[KG_PATH_MAX];
    int n = snprintf(top, sizeof top, "%.*s/%.*s", (int)length, root, (int)strcspn(tail, "/"), tail);
    return strchr(tail, '/') && n > 0 && n < (int)sizeof top && is_package(r, top, (size_t)n);
}

static const struct kg_catalog_file *python_absolute(const struct resolving *r, const char *name)
{
    static const char *const endings[] = { ".py", "/__init__.py", ".pyi", "/__init__.pyi" };
    char tail[KG_IMPORT_NAME + 20];
    const struct kg_catalog_file *found = NULL;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0] && !found; i++) {
        snprintf(tail, sizeof tail, "%s%s", name, endings[i]);
        found = closest(r, tail, accept_python);
    }
    return found;
}

static const struct kg_catalog_file *python_find(const struct resolving *r, const char *name)
{
    char path[KG_IMPORT_NAME + 1];
    size_t dots = strspn(name, ".");
    size_t length = r->dir_length;
    snprintf(path, sizeof path, "%s", name + dots);
    for (char *c = path; *c; c++)
        *c = (char)(*c == '.' ? '/' : *c);
    if (dots == 0)
        return python_absolute(r, path);
    for (size_t i = 1; i < dots; i++) {
        if (length == 0)
            return NULL;
        length = parent_length(r->file->path, length);
    }
    return python_module(r, r->file->path, length, path);
}

/* module, or module:name, where name may be a module too. */
static void resolve_python(struct resolving *r, char *name)
{
    char whole[KG_IMPORT_NAME + 1];
    char *colon = strchr(name, ':');
    if (colon) {
        *colon = '\0';
        const char *dot = name[0] && name[strlen(name) - 1] == '.' ? "" : ".";
        int n = snprintf(whole, sizeof whole, "%s%s%s", name, dot, colon + 1);
        if (n > 0 && n < (int)sizeof whole && add(r, python_find(r, whole)))
            return;
    }
    add(r, python_find(r, name));
}

/* path as it is, with an extension, as a directory with an index; foo.js may be written foo.ts. */
static const struct kg_catalog_file *script_at(const struct resolving *r, const char *dir, size_t dir_length, const char *name)
{
    static const char *const endings[] = { "",     ".ts",  ".tsx",      ".d.ts",      ".js",       ".jsx",        ".mjs",      ".cjs",       ".mts",
                                           ".cts", ".vue", ".svelte", "/index.ts", "/index.tsx", "/index.js", "/index.jsx", "/index.mjs", "/index.d.ts", "/index.vue", ".json" };
    char path[KG_PATH_MAX];
    char tried[KG_PATH_MAX + 16];
    if (!kg_path_join(path, dir, dir_length, name))
        return NULL;
    const struct kg_catalog_file *found = NULL;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0] && !found; i++) {
        snprintf(tried, sizeof tried, "%s%s", path, endings[i]);
        found = file_at(r, tried);
    }
    char *dot = strrchr(path, '.');
    if (found || !dot || (strcmp(dot, ".js") != 0 && strcmp(dot, ".jsx") != 0 && strcmp(dot, ".mjs") != 0 && strcmp(dot, ".cjs") != 0))
        return found;
    char kind = dot[1] == 'j' ? 't' : dot[1]; /* .mjs comes from .mts */
    const char *behind = kind == 't' ? dot + 2 : "ts";
    snprintf(tried, sizeof tried, "%.*s.%c%s", (int)(dot - path), path, kind, behind);
    found = file_at(r, tried);
    snprintf(tried, sizeof tried, "%.*s.tsx", (int)(dot - path), path);
    return found ? found : file_at(r, tried);
}

static const struct kg_tree_module *module_named(const struct kg_tree *tree, enum kg_language language, const char *name, size_t length)
{
    for (size_t i = 0; i < tree->module_count; i++) {
        const struct kg_tree_module *m = &tree->modules[i];
        if (m->language == language && strlen(m->name) == length && memcmp(m->name, name, length) == 0)
            return m;
    }
    return NULL;
}

/* A package of this repository: its index, or a file in it. */
static bool add_package(struct resolving *r, const char *name)
{
    static const char *const mains[] = { "src/index", "index", "src/main", "lib/index", "src", "lib" };
    size_t length = strcspn(name, "/");
    if (name[0] == '@' && name[length] == '/')
        length += 1 + strcspn(name + length + 1, "/");
    const struct kg_tree_module *m = module_named(r->tree, KG_LANGUAGE_PACKAGE_JSON, name, length);
    const struct kg_catalog_file *found = NULL;
    char inside[KG_IMPORT_NAME + 8];
    if (!m)
        return false;
    if (name[length] == '/') {
        snprintf(inside, sizeof inside, "src/%s", name + length + 1);
        found = script_at(r, m->dir, m->dir_length, name + length + 1);
        return add(r, found ? found : script_at(r, m->dir, m->dir_length, inside));
    }
    for (size_t i = 0; i < sizeof mains / sizeof mains[0] && !found; i++)
        found = script_at(r, m->dir, m->dir_length, mains[i]);
    return add(r, found);
}

static void resolve_javascript(struct resolving *r, char *name)
{
    name[strcspn(name, "?")] = '\0';
    if (name[0] == '.') {
        add(r, script_at(r, r->file->path, r->dir_length, name));
        return;
    }
    if (name[0] == '/' || add_package(r, name) || !strchr(name, '/'))
        return;
    /* @/a and ~/a by custom begin at the sources; other names may begin at a directory that the configuration names */
    bool alias = strchr("@~#", name[0]) && name[1] == '/';
    const char *rest = alias ? name + 2 : name;
    char inside[KG_IMPORT_NAME + 8];
    snprintf(inside, sizeof inside, "src/%s", rest);
    for (size_t length = r->dir_length;; length = parent_length(r->file->path, length)) {
        const struct kg_catalog_file *found = script_at(r, r->file->path, length, inside);
        if (add(r, found ? found : script_at(r, r->file->path, length, rest)) || length == 0)
            return;
    }
}

static void add_directory(struct resolving *r, const char *dir, const char *ending, const char *not_ending)
{
    struct kg_tree_range range = kg_tree_in(r->tree, dir);
    unsigned added = 0;
    for (size_t i = 0; i < range.count && added < KG_PACKAGE_FILES; i++) {
        const struct kg_catalog_file *file = &r->tree->catalog->files[range.files[i].file];
        size_t n = strlen(file->name), m = strlen(ending), k = strlen(not_ending);
        if (n < m || strcmp(file->name + n - m, ending) != 0 || (k && n >= k && strcmp(file->name + n - k, not_ending) == 0))
            continue;
        added += add(r, file);
    }
}

static void resolve_go(struct resolving *r, const char *name)
{
    char dir[KG_PATH_MAX];
    const struct kg_tree_module *best = NULL;
    for (size_t i = 0; i < r->tree->module_count; i++) {
        const struct kg_tree_module *m = &r->tree->modules[i];
        size_t n = strlen(m->name);
        if (m->language == KG_LANGUAGE_GO_MOD && strncmp(name, m->name, n) == 0 && (name[n] == '/' || name[n] == '\0') && (!best || n > strlen(best->name)))
            best = m;
    }
    if (best) {
        const char *rest = name + strlen(best->name);
        if (!kg_path_join(dir, best->dir, best->dir_length, rest))
            dir[0] = '\0'; /* the module lies in the root */
        add_directory(r, dir, ".go", "_test.go");
    } else if (name[0] == '.' && kg_path_join(dir, r->file->path, r->dir_length, name)) {
        add_directory(r, dir, ".go", "_test.go");
    }
}

/* The file of the module whose children lie in dir. */
static const struct kg_catalog_file *rust_module(const struct resolving *r, const char *dir)
{
    static const char *const endings[] = { ".rs", "/mod.rs", "/lib.rs", "/main.rs" };
    char path[KG_PATH_MAX + 16];
    const struct kg_catalog_file *found = NULL;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0] && !found; i++) {
        snprintf(path, sizeof path, "%s%s", dir, endings[i]);
        found = file_at(r, path);
    }
    return found;
}

/* The longest front of a::b::C below dir that is a module, at last perhaps dir itself. */
static bool add_rust(struct resolving *r, const char *dir, const char *name, bool itself)
{
    char path[KG_PATH_MAX + KG_IMPORT_NAME + 2];
    size_t base = strlen(dir);
    int n = snprintf(path, sizeof path, "%s/", dir);
    for (const char *at = name; *at && n < KG_PATH_MAX; at++) {
        if (*at == ':' && at[1] == ':')
            at++;
        path[n++] = (char)(*at == ':' ? '/' : *at);
    }
    path[n] = '\0';
    if (n >= KG_PATH_MAX)
        return false;
    while (n > (int)base) {
        while (n > (int)base && path[n - 1] == '/')
            path[--n] = '\0';
        if (n == (int)base)
            break;
        if (add(r, rust_module(r, path)))
            return true;
        while (n > (int)base && path[n - 1] != '/')
            path[--n] = '\0';
    }
    return itself && add(r, rust_module(r, dir));
}

/* Where the children of this file's module lie. */
static void rust_children(const struct resolving *r, char out[KG_PATH_MAX])
{
    static const char *const roots[] = { "lib.rs", "main.rs", "mod.rs", "build.rs", NULL };
    static const char *const apart[] = { "tests", "examples", "benches", "bin", NULL };
    const char *path = r->file->path;
    size_t length = r->dir_length;
    size_t parent = parent_length(path, length);
    bool root = is_one_of(roots, r->file->name, strlen(r->file->name)) || is_one_of(apart, path + parent + (parent > 0), length - parent - (parent > 0));
    size_t stem = r->file->path_length >= 3 ? r->file->path_length - 3 : r->file->path_length;
    snprintf(out, KG_PATH_MAX, "%.*s", (int)(root ? length : stem), path);
}

/* The sources of the package that this file belongs to. */
static bool rust_crate(const struct resolving *r, char out[KG_PATH_MAX])
{
    for (size_t length = r->dir_length;; length = parent_length(r->file->path, length)) {
        if (file_in(r, r->file->path, length, "Cargo.toml"))
            return kg_path_join(out, r->file->path, length, "src");
        if (length == 0)
            return false;
    }
}

static void resolve_rust_use(struct resolving *r, const char *name)
{
    char dir[KG_PATH_MAX];
    size_t first = strcspn(name, ":");
    const char *rest = name[first] ? name + first + 2 : "";
    rust_children(r, dir);
    if (first == 5 && memcmp(name, "crate", 5) == 0) {
        bool crate = rust_crate(r, dir);
        size_t n = strlen(dir);
        bool inside = crate && strncmp(r->file->path, dir, n) == 0 && r->file->path[n] == '/';
        if (!inside) /* a test or an example is a crate of its own */
            snprintf(dir, sizeof dir, "%.*s", (int)r->dir_length, r->file->path);
        add_rust(r, dir, rest, inside);
        return;
    }
    if (first == 4 && memcmp(name, "self", 4) == 0) {
        add_rust(r, dir, rest, false);
        return;
    }
    if (first == 5 && memcmp(name, "super", 5) == 0) {
        dir[kg_dir_length(dir)] = '\0';
        for (; strncmp(rest, "super", 5) == 0 && (rest[5] == ':' || rest[5] == '\0'); rest += rest[5] ? 7 : 5)
            dir[kg_dir_length(dir)] = '\0';
        add_rust(r, dir, rest, true);
        return;
    }
    const struct kg_tree_module *m = module_named(r->tree, KG_LANGUAGE_CARGO, name, first);
    if (m) {
        if (kg_path_join(dir, m->dir, m->dir_length, "src"))
            add_rust(r, dir, rest, true);
    } else if (!add_rust(r, dir, name, false) && rust_crate(r, dir)) {
        add_rust(r, dir, name, false);
    }
}

static void resolve_rust(struct resolving *r, char kind, const char *name)
{
    char dir[KG_PATH_MAX];
    char path[KG_PATH_MAX + KG_IMPORT_NAME + 2];
    rust_children(r, dir);
    if (kind == 'u') {
        resolve_rust_use(r, name);
    } else if (kind == 'P') {
        add(r, file_in(r, r->file->path, r->dir_length, name));
    } else {
        snprintf(path, sizeof path, "%s%s%s", dir, dir[0] ? "/" : "", name);
        add(r, rust_module(r, path));
    }
}

static bool accept_java(const struct resolving *r, const char *root, size_t length, const char *tail)
{
    (void)r;
    (void)root;
    (void)length;
    return strchr(tail, '/') != NULL;
}

/* All of a package: below the same root as the importing file, or for tests below that of what they test. */
static void add_java_package(struct resolving *r, const char *package)
{
    char dir[KG_PATH_MAX];
    for (size_t length = r->dir_length;; length = parent_length(r->file->path, length)) {
        if (kg_path_join(dir, r->file->path, length, package)) {
            add_directory(r, dir, ".java", "");
            char *test = strstr(dir, "/test/");
            if (test) {
                memcpy(test, "/main/", 6);
                add_directory(r, dir, ".java", "");
            }
        }
        if (length == 0)
            return;
    }
}

static void resolve_java(struct resolving *r, char *name)
{
    char tail[KG_IMPORT_NAME + 8];
    size_t length = strlen(name);
    for (char *c = name; *c; c++)
        *c = (char)(*c == '.' ? '/' : *c);
    bool all = length > 2 && strcmp(name + length - 2, "/*") == 0;
    if (all)
        name[length - 2] = '\0';
    size_t before = r->out->count;
    for (char *end = name + strlen(name); end && strchr(name, '/'); end = strrchr(name, '/')) {
        *end = '\0';
        snprintf(tail, sizeof tail, "%s.java", name);
        if (add(r, closest(r, tail, accept_java)))
            return;
        if (all && r->out->count == before)
            add_java_package(r, name);
        all = false;
    }
}

static void resolve(struct resolving *r, char kind, char *name)
{
    switch (kind) {
    case '"':
    case '<':
        resolve_c(r, kind, name);
        break;
    case 'p':
        resolve_python(r, name);
        break;
    case 'j':
        resolve_javascript(r, name);
        break;
    case 'g':
        resolve_go(r, name);
        break;
    case 'm':
    case 'P':
    case 'u':
        resolve_rust(r, kind, name);
        break;
    case 'i':
        resolve_java(r, name);
        break;
    default:
        break;
    }
}

static int take_import(void *ctx, char kind, char *name)
{
    resolve(ctx, kind, name);
    return 0;
}

enum kg_status kg_resolve(struct kg_index *index, const struct kg_tree *tree, uint32_t file, struct kg_links *out, struct kg_error *err)
{
    struct resolving r = { .tree = tree, .file = &tree->catalog->files[file], .out = out };
    r.dir_length = kg_dir_length(r.file->path);
    out->count = 0;
    return kg_store_imports(index->store, tree->catalog->docs[r.file->doc], take_import, &r, err);
}
