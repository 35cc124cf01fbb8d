#include "index_random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

uint64_t index_random_below(struct index_random *life, uint64_t n)
{
    life->seed = life->seed * 6364136223846793005U + 1442695040888963407U;
    return (life->seed >> 33) % n;
}

static const char *const dirs[] = { "", "a/", "b/", "a/c/", "a/c/d/", "b/e/", "lib/", "lib/f/", "build/" };
static const char *const names[] = { "one.c", "one.h", "two.c", "two.h", "three.py", "four.rs", "notes.md", "data.bin", "x.o", "long name.txt", "\xff\xfe.c", "line\nfeed.c" };
static const char *const words[] = { "open_window", "closeWindow", "render", "cache_block", "token", "position", "Reader", "writer", "queue", "flush" };
#define PICK(list) list[index_random_below(life, sizeof list / sizeof list[0])]

static void a_path(struct index_random *life, char out[256])
{
    const char *dir = PICK(dirs);
    snprintf(out, 256, "%s%s", dir, PICK(names));
}

/* Beneath the root, for the calls of the system. */
static void full(const struct index_random *life, const char *path, char out[512])
{
    snprintf(out, 512, "%s/%s", life->repo->root, path);
}

static void write_some(struct index_random *life)
{
    char path[256], text[1200] = "", place[512];
    struct stat st;
    size_t n = 0;
    a_path(life, path);
    full(life, path, place);
    if (lstat(place, &st) == 0 && !S_ISREG(st.st_mode))
        return;
    if (index_random_below(life, 8) == 0) {
        index_repo_write_bytes(life->repo, path, "\x7f" "ELF\0\0\0", 7);
        return;
    }
    if (index_random_below(life, 3) == 0)
        n += (size_t)snprintf(text, sizeof text, "#include \"%s\"\nfrom . import three\n", PICK(names));
    for (uint64_t lines = index_random_below(life, 12); lines-- > 0 && n < 1000;) {
        const char *name = PICK(words);
        n += (size_t)snprintf(text + n, sizeof text - n, "int %s_%u(int %s) { return %s(); }\n", name, (unsigned)index_random_below(life, 20), PICK(words), PICK(words));
    }
    index_repo_write(life->repo, path, text);
}

static void append(struct index_random *life)
{
    char path[256], place[512];
    struct stat st;
    a_path(life, path);
    full(life, path, place);
    if (lstat(place, &st) != 0 || !S_ISREG(st.st_mode))
        return;
    FILE *file = fopen(place, "ab");
    assert_non_null(file);
    fprintf(file, "void %s(void);\n", PICK(words));
    assert_int_equal(fclose(file), 0);
}

static void rename_some(struct index_random *life)
{
    char from[256], to[256], was[512], is[512];
    if (index_random_below(life, 3)) {
        a_path(life, from);
        a_path(life, to);
    } else {
        snprintf(from, sizeof from, "%s", dirs[1 + index_random_below(life, 8)]);
        snprintf(to, sizeof to, "%s", dirs[1 + index_random_below(life, 8)]);
        from[strlen(from) - 1] = to[strlen(to) - 1] = '\0';
    }
    full(life, from, was);
    full(life, to, is);
    rename(was, is); /* which may not be there */
}

static void rules(struct index_random *life)
{
    static const char *const texts[] = { "*.o\n", "build/\n", "c\n!one.c\n", "*.h\n", "/two.c\nlib\n", "*.py\n*.md\n", "!x.o\n", "" };
    static const char *const files[] = { ".gitignore", "a/.gitignore", "lib/.gitignore", ".kedgeignore", "a/c/.kedgeignore", ".git/info/exclude" };
    const char *path = PICK(files);
    char place[512];
    full(life, path, place);
    if (index_random_below(life, 3) == 0)
        unlink(place);
    else
        index_repo_write(life->repo, path, PICK(texts));
}

static void links_and_directories(struct index_random *life)
{
    char path[256], place[512];
    a_path(life, path);
    full(life, path, place);
    char *slash = strrchr(path, '/');
    if (slash && slash != path)
        *slash = '\0';
    index_repo_sh(life->repo, "mkdir -p '%s'", slash ? path : ".");
    if (index_random_below(life, 2)) {
        remove(place);
        if (symlink(index_random_below(life, 2) ? "one.c" : "/etc", place) != 0)
            return;
    } else {
        unlink(place);
        mkdir(place, 0755);
    }
}

static void git_some(struct index_random *life)
{
    switch (index_random_below(life, 7)) {
    case 0: index_repo_sh(life->repo, "git add -A || true"); break;
    case 1: index_repo_sh(life->repo, "git add -A && git commit -qm '%s the %s'; true", PICK(words), PICK(words)); break;
    case 2: index_repo_sh(life->repo, "git checkout -q -f -b branch%u; true", life->branches++); break;
    case 3: index_repo_sh(life->repo, "git checkout -q -f branch%u; true", (unsigned)index_random_below(life, life->branches + 1)); break;
    case 4: index_repo_sh(life->repo, "git reset -q --hard; git clean -qfd; true"); break;
    case 5: index_repo_sh(life->repo, "git add -f build x.o; git rm -q --cached a/one.c; true"); break;
    default: index_repo_sh(life->repo, "git reset -q --hard HEAD~1; true"); break;
    }
}

static void inner_repository(struct index_random *life)
{
    if (index_random_below(life, 2))
        index_repo_sh(life->repo, "git init -q lib/f; true");
    else
        index_repo_sh(life->repo, "rm -rf lib/f/.git; true");
}

void index_random_step(struct index_random *life)
{
    char path[256], place[512];
    uint64_t what = index_random_below(life, 100);
    a_path(life, path);
    full(life, path, place);
    if (what < 40)
        write_some(life);
    else if (what < 50)
        append(life);
    else if (what < 60)
        remove(place);
    else if (what < 72)
        rename_some(life);
    else if (what < 78)
        rules(life);
    else if (what < 84)
        links_and_directories(life);
    else if (what < 87)
        index_repo_sh(life->repo, "rm -rf ./'%s'", index_random_below(life, 2) ? "a/c" : "lib");
    else if (what < 90)
        inner_repository(life);
    else
        git_some(life);
}

static int say_import(void *ctx, const char *path)
{
    fprintf(ctx, "  imports %s\n", path);
    return 0;
}

static int say_file(void *ctx, const struct kg_index_file *file)
{
    fprintf(ctx, "file %s %llu ", file->path, (unsigned long long)file->bytes);
    for (int i = 0; file->digest && i < 16; i++)
        fprintf(ctx, "%02x", file->digest[i]);
    fputc('\n', ctx);
    return 0;
}

static int say_part(void *ctx, const struct kg_context_part *part)
{
    fprintf(ctx, "context %s %u-%u %u %a %s\n", part->path, part->first, part->last, part->tokens, part->score, part->reason);
    return 0;
}

static int say_match(void *ctx, const struct kg_index_match *match)
{
    fprintf(ctx, "match %s %a %u %s\n", match->path, match->score, match->line, match->text);
    return 0;
}

static int say_symbol(void *ctx, const struct kg_index_symbol *symbol)
{
    fprintf(ctx, "symbol %s:%u %s %s %s\n", symbol->path, symbol->line, symbol->kind, symbol->name, symbol->signature);
    return 0;
}

struct importers {
    char *paths;
    size_t length;
    FILE *out;
};

static int keep_path(void *ctx, const struct kg_index_file *file)
{
    struct importers *all = ctx;
    fprintf(all->out, "%s%c", file->path, '\0');
    return 0;
}

static void say_imports(struct kg_index *index, FILE *out)
{
    struct importers all = { 0 };
    struct kg_error err = { 0 };
    all.out = open_memstream(&all.paths, &all.length);
    assert_non_null(all.out);
    assert_int_equal(kg_index_likely(index, keep_path, &all, &err), KG_OK);
    assert_int_equal(fclose(all.out), 0);
    for (size_t at = 0; at < all.length; at += strlen(all.paths + at) + 1) {
        fprintf(out, "of %s\n", all.paths + at);
        assert_int_equal(kg_index_imports(index, all.paths + at, say_import, out, &err), KG_OK);
    }
    free(all.paths);
}

char *index_said(struct kg_index *index)
{
    char *text = NULL;
    size_t length;
    struct kg_error err = { 0 };
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    assert_int_equal(kg_index_likely(index, say_file, out, &err), KG_OK);
    say_imports(index, out);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const struct kg_context_request whole = { .question = words[i], .files = 50 }, parts = { .question = words[i], .tokens = 400, .files = 20, .parts = true };
        fprintf(out, "asked %s\n", words[i]);
        assert_int_equal(kg_index_context(index, &whole, say_part, out, &err), KG_OK);
        assert_int_equal(kg_index_context(index, &parts, say_part, out, &err), KG_OK);
        assert_int_equal(kg_index_search(index, words[i], 50, say_match, out, &err), KG_OK);
    }
    assert_int_equal(kg_index_symbols(index, "", 5000, say_symbol, out, &err), KG_OK);
    assert_int_equal(kg_index_map(index, 2000, say_symbol, out, &err), KG_OK);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void same(const char *is, const char *should, const char *when)
{
    if (strcmp(is, should) == 0)
        return;
    size_t line = 0, at = 0;
    for (; is[at] && is[at] == should[at]; at++)
        line = is[at] == '\n' ? at + 1 : line;
    fail_msg("%s: the index says\n  %.*s\nand one made from nothing\n  %.*s", when, (int)strcspn(is + line, "\n"), is + line, (int)strcspn(should + line, "\n"), should + line);
}

void index_read_symbols(struct kg_index *index)
{
    struct kg_error err = { 0 };
    assert_int_equal(kg_index_read_symbols(index, NULL, NULL, &err), KG_OK);
}

void index_equals_new(const struct index_repo *repo, struct kg_index *index, void (*finish)(struct kg_index *), const char *when)
{
    struct index_repo other = *repo;
    snprintf(other.cache, sizeof other.cache, "%.140s/other", repo->base);
    index_repo_sh(repo, "rm -rf ../other");
    struct kg_index *anew = index_repo_open(&other);
    index_repo_refresh(anew);
    finish(anew);
    finish(index);
    char *is = index_said(index), *should = index_said(anew);
    same(is, should, when);
    free(is);
    free(should);
    kg_index_close(anew);
}
