#include "repo-index/twins.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "repo-index/words.h"

struct named {
    uint32_t hash, file;
};

/* The name without extension and without what says that it is a test, in [*begin, *end). */
static void stem_of(const struct kg_catalog_file *file, bool test, const char **begin, const char **end)
{
    static const char *const heads[] = { "test_", "tests_", "test-", "Test", NULL };
    static const char *const tails[] = { "_test", "_tests", "-test", ".test", ".spec", "_spec", "-spec", "Tests", "TestCase", "Test", "Spec", NULL };
    const char *dot = strrchr(file->name, '.');
    *begin = file->name;
    *end = dot && dot > file->name ? dot : file->name + strlen(file->name);
    if (!test)
        return;
    for (size_t i = 0; tails[i]; i++) {
        size_t n = strlen(tails[i]);
        if ((size_t)(*end - *begin) > n && memcmp(*end - n, tails[i], n) == 0) {
            *end -= n;
            return;
        }
    }
    for (size_t i = 0; heads[i]; i++) {
        size_t n = strlen(heads[i]);
        if ((size_t)(*end - *begin) > n && memcmp(*begin, heads[i], n) == 0) {
            *begin += n;
            return;
        }
    }
}

static uint32_t key_of(const struct kg_catalog_file *file, bool test)
{
    const char *begin, *end;
    char folded[KG_WORD_MAX];
    stem_of(file, test, &begin, &end);
    size_t n = kg_fold_identifier(begin, (size_t)(end - begin), folded);
    return n ? kg_word_hash(folded, n) | 1U : 0;
}

static int by_key(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->file < y->file ? -1 : x->file > y->file;
}

static bool same_extension(const struct kg_catalog_file *a, const struct kg_catalog_file *b)
{
    const char *x = strrchr(a->name, '.'), *y = strrchr(b->name, '.');
    return x && y && strcasecmp(x, y) == 0;
}

/* Twice the components of the directory of a that the directory of b has too, and one more for the same directory. */
static unsigned nearness(const struct kg_catalog_file *a, const struct kg_catalog_file *b)
{
    unsigned shared = 0;
    for (const char *at = a->path; at < a->name;) {
        size_t n = strcspn(at, "/") + 1;
        for (const char *other = b->path; other < b->name; other += strcspn(other, "/") + 1)
            if (strncmp(at, other, n) == 0) {
                shared += 2;
                break;
            }
        at += n;
    }
    return shared + (a->name - a->path == b->name - b->path && memcmp(a->path, b->path, (size_t)(a->name - a->path)) == 0);
}

static void pair(const struct kg_catalog *c, const struct named *subjects, size_t count, uint32_t test, unsigned *nearest, struct kg_twins *out)
{
    uint32_t best = KG_NO_TWIN;
    unsigned most = 0;
    for (size_t i = 0; i < count; i++) {
        const struct kg_catalog_file *subject = &c->files[subjects[i].file];
        unsigned near = same_extension(subject, &c->files[test]) ? 1 + nearness(&c->files[test], subject) : 0;
        if (near > most) {
            most = near;
            best = subjects[i].file;
        }
    }
    out->of[test] = best;
    if (best != KG_NO_TWIN && most > nearest[best]) {
        nearest[best] = most;
        out->of[best] = test;
    }
}

#define ALIKE_MAX 50 /* files of one name, beyond which it says nothing */

bool kg_twins_of(const struct kg_catalog *c, struct kg_twins *out)
{
    struct named *subjects = malloc((c->count + 1) * sizeof *subjects);
    unsigned *nearest = calloc(c->count + 1, sizeof *nearest);
    size_t count = 0;
    *out = (struct kg_twins){ .of = malloc((c->count + 1) * sizeof *out->of), .count = c->count };
    bool done = subjects && nearest && out->of;
    for (size_t i = 0; done && i < c->count; i++) {
        out->of[i] = KG_NO_TWIN;
        if (!c->files[i].test)
            subjects[count++] = (struct named){ key_of(&c->files[i], false), (uint32_t)i };
    }
    if (done && count)
        qsort(subjects, count, sizeof *subjects, by_key);
    for (size_t i = 0; done && i < c->count; i++) {
        if (!c->files[i].test)
            continue;
        uint32_t key = key_of(&c->files[i], true);
        size_t first = 0, behind = count;
        while (first < behind) {
            size_t middle = (first + behind) / 2;
            if (subjects[middle].hash < key)
                first = middle + 1;
            else
                behind = middle;
        }
        for (behind = first; behind < count && subjects[behind].hash == key; behind++) {
        }
        if (key && behind - first <= ALIKE_MAX)
            pair(c, subjects + first, behind - first, (uint32_t)i, nearest, out);
    }
    free(subjects);
    free(nearest);
    return done;
}

void kg_twins_free(struct kg_twins *twins)
{
    free(twins->of);
    *twins = (struct kg_twins){ 0 };
}
