#include <cjson/cJSON.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tui/commands/cache_show.h"
#include "tui/commands/command.h"

static const char help[] =
    "usage: kedge cache ls [--json]\n"
    "       kedge cache show [-C REPO] [-m MODEL] [--all] [--json]\n"
    "       kedge cache show ID [--json]\n"
    "       kedge cache rm ID... | --all\n"
    "       kedge cache verify [--json]\n"
    "       kedge cache size [--json]\n"
    "       kedge cache off | on\n"
    "\n"
    "What models have read and kedge keeps, so that it is not read again.\n"
    "\n"
    "  ls       one line a block: id, tokens, bytes, last use, kind, model, title\n"
    "  show     of each file of the repository how many tokens are known, kept in an older reading, or unknown (~: estimated);\n"
    "           with --all files of which nothing is known as well; with ID everything about one block\n"
    "  rm       forgets blocks; their bytes are overwritten\n"
    "  verify   checks every checksum and removes blocks that fail; exit status 1 if any did\n"
    "  size     the cache's file, and its totals by model\n"
    "  off, on  whether it is used and filled at all; what it holds stays\n"
    "\n"
    "  -C REPO             a directory of the repository (default: the current one)\n"
    "  -m, --model MODEL   a catalogue name or a .gguf file\n"
    "\n"
    "The cache is $KEDGE_CACHE/kv.db (default: the XDG cache directory, kedge/kv.db).\n";

struct collected {
    struct kg_cached_block *blocks;
    size_t count, capacity;
};

static int collect(void *ctx, const struct kg_cached_block *block)
{
    struct collected *all = ctx;
    if (all->count == all->capacity) {
        size_t capacity = all->capacity ? 2 * all->capacity : 64;
        struct kg_cached_block *grown = realloc(all->blocks, capacity * sizeof *grown);
        if (!grown)
            return 1;
        all->blocks = grown;
        all->capacity = capacity;
    }
    struct kg_cached_block *copy = &all->blocks[all->count++];
    *copy = *block;
    copy->model = strdup(block->model);
    copy->kind = strdup(block->kind);
    copy->title = strdup(block->title);
    return !copy->model || !copy->kind || !copy->title;
}

static void free_collected(struct collected *all)
{
    for (size_t i = 0; i < all->count; i++) {
        free((char *)all->blocks[i].model);
        free((char *)all->blocks[i].kind);
        free((char *)all->blocks[i].title);
    }
    free(all->blocks);
}

static void format_time(uint64_t seconds, char out[32])
{
    time_t time = (time_t)seconds;
    struct tm local;
    localtime_r(&time, &local);
    strftime(out, 32, "%Y-%m-%d %H:%M", &local);
}

static cJSON *block_json(const struct kg_cached_block *block)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddNumberToObject(row, "id", (double)block->id);
    cJSON_AddStringToObject(row, "key", block->key);
    cJSON_AddStringToObject(row, "model", block->model);
    cJSON_AddStringToObject(row, "kind", block->kind);
    cJSON_AddStringToObject(row, "title", block->title);
    cJSON_AddNumberToObject(row, "tokens", block->tokens);
    cJSON_AddNumberToObject(row, "ready", block->ready);
    cJSON_AddNumberToObject(row, "bytes", (double)block->bytes);
    cJSON_AddNumberToObject(row, "created", (double)block->created);
    cJSON_AddNumberToObject(row, "used", (double)block->used);
    return row;
}

static int list(const struct collected *all, bool json)
{
    if (json) {
        cJSON *root = cJSON_CreateArray();
        for (size_t i = 0; i < all->count; i++)
            cJSON_AddItemToArray(root, block_json(&all->blocks[i]));
        kg_put_json(root);
        return KG_EXIT_OK;
    }
    for (size_t i = 0; i < all->count; i++) {
        const struct kg_cached_block *b = &all->blocks[i];
        char used[32];
        format_time(b->used, used);
        printf("%6" PRId64 " %7" PRIu32 " tokens %9.1f MB  %s  %-8s %s  %s%s\n", b->id, b->ready, (double)b->bytes / 1e6, used, b->kind, b->model,
               b->title, b->ready < b->tokens ? " (in part)" : "");
    }
    return KG_EXIT_OK;
}

static int show_one(const struct collected *all, int64_t id, bool json)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct kg_cached_block *b = &all->blocks[i];
        if (b->id != id)
            continue;
        if (json) {
            kg_put_json(block_json(b));
            return KG_EXIT_OK;
        }
        char created[32], used[32];
        format_time(b->created, created);
        format_time(b->used, used);
        printf("id       %" PRId64 "\nkey      %s\nmodel    %s\nkind     %s\ntitle    %s\ntokens   %" PRIu32 " of %" PRIu32 "\nbytes    %" PRIu64
               "\ncreated  %s\nused     %s\n",
               b->id, b->key, b->model, b->kind, b->title, b->ready, b->tokens, b->bytes, created, used);
        return KG_EXIT_OK;
    }
    struct kg_error err;
    kg_fail(&err, KG_ERR_NOT_FOUND, "there is no block %" PRId64 "; kedge cache ls lists them", id);
    return kg_command_failed("cache", &err);
}

static int show_totals(const struct collected *all, bool json)
{
    char path[KG_PATH_MAX];
    uint64_t bytes;
    struct kg_error err;
    if (kg_cache_size(NULL, path, &bytes, &err) != KG_OK)
        return kg_command_failed("cache", &err);
    uint64_t tokens = 0;
    for (size_t i = 0; i < all->count; i++)
        tokens += all->blocks[i].ready;
    if (json) {
        cJSON *root = cJSON_CreateObject();
        cJSON_AddStringToObject(root, "path", path);
        cJSON_AddNumberToObject(root, "bytes", (double)bytes);
        cJSON_AddNumberToObject(root, "blocks", (double)all->count);
        cJSON_AddNumberToObject(root, "tokens", (double)tokens);
        cJSON_AddBoolToObject(root, "off", kg_cache_is_off(NULL));
        kg_put_json(root);
        return KG_EXIT_OK;
    }
    char visible[KG_PATH_MAX * 4];
    kg_printable(visible, sizeof visible, path, strlen(path));
    printf("%s  %.1f MB, %zu blocks, %" PRIu64 " tokens%s\n", visible, (double)bytes / 1e6, all->count, tokens,
           kg_cache_is_off(NULL) ? "; off: neither used nor filled" : "");
    for (size_t i = 0; i < all->count; i++) { /* one line a model, where it first appears */
        const char *model = all->blocks[i].model;
        uint64_t of_model = 0, size = 0;
        size_t k = 0;
        while (strcmp(all->blocks[k].model, model) != 0)
            k++;
        for (size_t j = i; k == i && j < all->count; j++)
            if (strcmp(all->blocks[j].model, model) == 0) {
                of_model += all->blocks[j].ready;
                size += all->blocks[j].bytes;
            }
        if (k == i)
            printf("  %s  %" PRIu64 " tokens, %.1f MB\n", model, of_model, (double)size / 1e6);
    }
    return KG_EXIT_OK;
}

static int remove_blocks(int count, char **ids, bool everything)
{
    struct kg_error err;
    if (everything == (count > 0))
        return kg_command_misused("cache", "give the IDs to forget, or --all");
    if (everything && kg_cache_remove(NULL, 0, &err) != KG_OK)
        return kg_command_failed("cache", &err);
    for (int i = 0; i < count; i++) {
        uint64_t id;
        if (!kg_parse_number(ids[i], 1, INT64_MAX, &id))
            return kg_command_misused("cache", "'%s' is no ID", ids[i]);
        if (kg_cache_remove(NULL, (int64_t)id, &err) != KG_OK)
            return kg_command_failed("cache", &err);
    }
    return KG_EXIT_OK;
}

static int verify(bool json)
{
    struct kg_error err;
    uint64_t checked, bad;
    if (kg_cache_verify(NULL, &checked, &bad, &err) != KG_OK)
        return kg_command_failed("cache", &err);
    printf(json ? "{\"checked\":%" PRIu64 ",\"removed\":%" PRIu64 "}\n" : "%" PRIu64 " blocks checked, %" PRIu64 " failed and removed\n", checked, bad);
    return bad ? KG_EXIT_FAILED : KG_EXIT_OK;
}

static int turn(bool off)
{
    struct kg_error err;
    if (kg_cache_switch(NULL, off, &err) != KG_OK)
        return kg_command_failed("cache", &err);
    return KG_EXIT_OK;
}

struct arguments {
    const char *repo, *model;
    bool json, all;
};

/* What needs the list of all blocks: ls, show ID, size. */
static int with_blocks(const char *what, uint64_t id, bool json)
{
    struct collected all = { 0 };
    struct kg_error err;
    enum kg_status status = kg_cache_list(NULL, collect, &all, &err);
    int result = status != KG_OK ? kg_command_failed("cache", &err) : id ? show_one(&all, (int64_t)id, json) : *what == 'l' ? list(&all, json) : show_totals(&all, json);
    free_collected(&all);
    return result;
}

static int run(const char *what, int count, char **rest, const struct arguments *a)
{
    const bool showing = strcmp(what, "show") == 0;
    uint64_t id = 0;
    if (strcmp(what, "rm") == 0 && !a->repo && !a->model)
        return remove_blocks(count, rest, a->all);
    if (count > (showing ? 1 : 0) || ((a->repo || a->model || a->all) && (!showing || count)))
        return kg_command_misused("cache", "that is more than '%s' takes", what);
    if (count && !kg_parse_number(rest[0], 1, INT64_MAX, &id))
        return kg_command_misused("cache", "'%s' is no ID", rest[0]);
    if (showing && !count)
        return kg_cache_show_worktree(a->repo ? a->repo : ".", a->model, a->all, a->json);
    if (strcmp(what, "verify") == 0)
        return verify(a->json);
    if (strcmp(what, "off") == 0 || strcmp(what, "on") == 0)
        return turn(what[1] == 'f');
    if (showing || strcmp(what, "ls") == 0 || strcmp(what, "size") == 0)
        return with_blocks(what, id, a->json);
    return kg_command_misused("cache", "'%s' is none of ls, show, rm, verify, size, off, on", what);
}

int kg_command_cache(int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' },        { "all", no_argument, NULL, 'a' },
                                             { "model", required_argument, NULL, 'm' }, { "help", no_argument, NULL, 'h' },
                                             { 0 } };
    struct arguments a = { 0 };
    for (int c; (c = getopt_long(argc, argv, "C:m:h", options, NULL)) != -1;) {
        switch (c) {
        case 'C': a.repo = optarg; break;
        case 'm': a.model = optarg; break;
        case 'j': a.json = true; break;
        case 'a': a.all = true; break;
        case 'h': fputs(help, stdout); return KG_EXIT_OK;
        default: return KG_EXIT_USAGE;
        }
    }
    const char *what = optind < argc ? argv[optind++] : "";
    return run(what, argc - optind, argv + optind, &a);
}
