#include "repo-index/prior.h"

#include <string.h>
#include <strings.h>

static char folded(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static bool is_part(const char *at, const char *name)
{
    if (folded(at[0]) != folded(name[0]))
        return false;
    size_t n = strlen(name);
    return strncasecmp(at, name, n) == 0 && (at[n] == '/' || at[n] == '.' || at[n] == '\0');
}

/* Among the components that begin before end. */
static bool has_part(const char *path, const char *end, const char *const *names)
{
    for (const char *at = path; at && at < end; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL)
        for (size_t i = 0; names[i]; i++)
            if (is_part(at, names[i]))
                return true;
    return false;
}

bool kg_path_has_part(const char *path, const char *const *names)
{
    return has_part(path, path + strlen(path) + 1, names);
}

static bool name_ends(const struct kg_catalog_file *file, const char *const *ends)
{
    const char *end = file->path + file->path_length;
    size_t n = (size_t)(end - file->name);
    for (size_t i = 0; n && ends[i]; i++) {
        size_t m = strlen(ends[i]);
        if (n >= m && folded(end[-1]) == folded(ends[i][m - 1]) && strcasecmp(end - m, ends[i]) == 0)
            return true;
    }
    return false;
}

/* What the names of directories say, or that of the file. */
enum place { OTHERS = 1, ASIDE = 2, TESTS = 4 };

static unsigned place_of(const char *path, const char *end)
{
    static const char *const others[] = { "third_party", "third-party", "thirdparty", "vendor", "external", "extern", "deps", "contrib", NULL };
    static const char *const aside[] = { "examples", "example", "samples", "sample", "demo", "demos", "bench", "benchmark", "benchmarks", NULL };
    static const char *const tests[] = { "test", "tests", "testing", "testdata", "spec", "specs", "__tests__", "fixtures", "testsuite", NULL };
    return (has_part(path, end, others) ? OTHERS : 0U) | (has_part(path, end, aside) ? ASIDE : 0U) | (has_part(path, end, tests) ? TESTS : 0U);
}

static bool is_test_name(const char *name)
{
    return strncasecmp(name, "test_", 5) == 0 || strstr(name, "_test.") || strstr(name, ".test.") || strstr(name, "_spec.") || strstr(name, ".spec.") ||
           strstr(name, "Test.") || strstr(name, "_tests.");
}

void kg_prior_prepare(struct kg_catalog_file *file, const struct kg_catalog_file *beside)
{
    static const char *const notes[] = { "changelog", "changes", "news", "history", "license", "licence", "copying", "authors", "contributors",
                                         "code_of_conduct", "security", "release", "releases", NULL };
    static const char *const numbers[] = { ".json", ".csv", ".tsv", ".svg", ".xml", ".txt", ".log", ".po", ".pot", ".html", ".css", ".lst", ".dat", ".tex", NULL };
    static const char *const prose[] = { ".md", ".rst", ".adoc", ".org", NULL };
    file->place = (unsigned char)(beside ? beside->place : place_of(file->path, file->name));
    const unsigned place = file->place | place_of(file->name, file->path + file->path_length);
    bool note = kg_path_has_part(file->name, notes), text = name_ends(file, prose);
    file->test = (place & TESTS) || is_test_name(file->name);
    double always = place & OTHERS ? 0.5 : 1;
    if ((place & ASIDE) || file->name[0] == '.')
        always *= 0.7;
    if (name_ends(file, numbers))
        always *= 0.6;
    for (unsigned i = 0; i < 4; i++) {
        double as_note = i & 2U ? 1 : note ? 0.35 : text ? 0.8 : 1;
        file->priors[i] = (float)(always * as_note * (file->test && !(i & 1U) ? 0.5 : 1));
    }
}

double kg_prior_of(const struct kg_question *q, const struct kg_catalog_file *file)
{
    return (double)file->priors[(q->tests ? 1 : 0) + (q->docs ? 2 : 0)];
}

double kg_prior_with_tests(const struct kg_question *q, const struct kg_catalog_file *file)
{
    return (double)file->priors[1 + (q->docs ? 2 : 0)];
}

double kg_describes_project(const struct kg_catalog_file *file)
{
    static const char *const manifests[] = { "package", "Cargo", "pyproject", "setup", "go", "CMakeLists", "Makefile", "meson", "pom", "build", "composer", NULL };
    static const char *const manifest_ends[] = { "package.json", "Cargo.toml", "pyproject.toml", "setup.py", "setup.cfg", "go.mod", "CMakeLists.txt", "Makefile",
                                                 "meson.build", "pom.xml", "build.gradle", "composer.json", "build.zig", "mix.exs", "Gemfile", NULL };
    static const char *const readme[] = { "readme", NULL };
    static const char *const plans[] = { "architecture", "design", "overview", "index", "introduction", NULL };
    bool on_top = !strchr(file->path, '/');
    bool is_readme = kg_path_has_part(file->name, readme);
    if (is_readme)
        return on_top ? 1 : 0.25;
    if (kg_path_has_part(file->name, plans) && strcasestr(file->name, ".md"))
        return 0.6;
    return on_top && kg_path_has_part(file->name, manifests) && name_ends(file, manifest_ends) ? 0.5 : 0;
}
