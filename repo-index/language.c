#include "repo-index/language.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static const struct {
    const char *extension;
    enum kg_language language;
} extensions[] = {
    { "c", KG_LANGUAGE_C },           { "h", KG_LANGUAGE_C },           { "cc", KG_LANGUAGE_C },          { "hh", KG_LANGUAGE_C },
    { "cpp", KG_LANGUAGE_C },         { "hpp", KG_LANGUAGE_C },         { "cxx", KG_LANGUAGE_C },         { "hxx", KG_LANGUAGE_C },
    { "c++", KG_LANGUAGE_C },         { "h++", KG_LANGUAGE_C },         { "inl", KG_LANGUAGE_C },         { "ipp", KG_LANGUAGE_C },
    { "tpp", KG_LANGUAGE_C },         { "cu", KG_LANGUAGE_C },          { "cuh", KG_LANGUAGE_C },         { "m", KG_LANGUAGE_C },
    { "mm", KG_LANGUAGE_C },          { "py", KG_LANGUAGE_PYTHON },     { "pyi", KG_LANGUAGE_PYTHON },    { "pyx", KG_LANGUAGE_PYTHON },
    { "js", KG_LANGUAGE_JAVASCRIPT }, { "mjs", KG_LANGUAGE_JAVASCRIPT }, { "cjs", KG_LANGUAGE_JAVASCRIPT }, { "jsx", KG_LANGUAGE_JAVASCRIPT },
    { "ts", KG_LANGUAGE_JAVASCRIPT }, { "mts", KG_LANGUAGE_JAVASCRIPT }, { "cts", KG_LANGUAGE_JAVASCRIPT }, { "tsx", KG_LANGUAGE_JAVASCRIPT },
    { "vue", KG_LANGUAGE_JAVASCRIPT }, { "svelte", KG_LANGUAGE_JAVASCRIPT }, { "go", KG_LANGUAGE_GO },    { "rs", KG_LANGUAGE_RUST },
    { "java", KG_LANGUAGE_JAVA },
};

enum kg_language kg_language_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    if (strcmp(name, "go.mod") == 0)
        return KG_LANGUAGE_GO_MOD;
    if (strcmp(name, "Cargo.toml") == 0)
        return KG_LANGUAGE_CARGO;
    if (strcmp(name, "package.json") == 0)
        return KG_LANGUAGE_PACKAGE_JSON;
    for (unsigned i = 0; dot && i < sizeof extensions / sizeof extensions[0]; i++)
        if (strcmp(dot + 1, extensions[i].extension) == 0)
            return extensions[i].language;
    return KG_LANGUAGE_OTHER;
}

bool kg_is_code(const char *path)
{
    static const char *const others[] = { "S", "s", "asm", "rb", "php", "cs", "swift", "lua", "pl", "pm", "tcl", "sh", "bash", "kt", "kts", "scala", "ex", "exs", "erl",
                                          "hs", "ml", "mli", "clj", "dart", "r", "R", "jl", "zig", "nim", "d", "f90", "v", "sv", "vhd", "sql", "proto", "el", "groovy" };
    enum kg_language language = kg_language_of(path);
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');
    for (unsigned i = 0; dot && i < sizeof others / sizeof others[0]; i++)
        if (strcmp(dot + 1, others[i]) == 0)
            return true;
    return language != KG_LANGUAGE_OTHER && language < KG_LANGUAGE_GO_MOD;
}

uint32_t kg_reading_of(const char *path)
{
    static const char *const whole[] = { "go.mod", "Cargo.toml", "package.json", "CMakeLists.txt" };
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    for (unsigned i = 0; dot && i < sizeof whole / sizeof whole[0]; i++)
        if (strcmp(name, whole[i]) == 0)
            dot = NULL;
    const char *tells = dot ? dot : name;
    return XXH32(tells, strlen(tells), 0);
}
