#include <cjson/cJSON.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tui/commands/command.h"
#include "tui/config/config.h"
#include "tui/commands/index_read.h"

static const char index_help[] =
    "usage: kedge index [-C REPO] [--json]\n"
    "       kedge index --read [--tokens N] [-m MODEL] [-C REPO] [--json]\n"
    "\n"
    "Brings the repository's index up to date and says what is in it.\n"
    "\n"
    "  -C REPO             a directory of the repository (default: the current one)\n"
    "      --read          has the model read the files that are likeliest to be asked about, so that questions do not wait\n"
    "                      for that; at low priority, until Ctrl-C\n"
    "      --tokens N      reads at most so many tokens (as many as the model's context holds)\n"
    "  -m, --model MODEL   a catalogue name or a .gguf file\n";

static const char search_help[] =
    "usage: kedge search [-C REPO] [-n N] [--json] WORDS...\n"
    "\n"
    "Searches paths and contents; best files first, with the best line of each: path:line: text.\n"
    "\n"
    "  -C REPO   a directory of the repository (default: the current one)\n"
    "  -n N      at most so many files (20)\n";

enum kg_status kg_directory_root(const char *directory, char out[KG_PATH_MAX], struct kg_error *err)
{
    enum kg_status status = kg_repo_root(directory, out, err);
    return status == KG_ERR_NOT_FOUND ? kg_folder_root(directory, out, err) : status;
}

enum kg_status kg_open_fresh_index(const char *directory, struct kg_index **index, struct kg_index_counts *counts, struct kg_error *err)
{
    char root[KG_PATH_MAX];
    enum kg_status status = kg_directory_root(directory, root, err);
    struct kg_config *config = status == KG_OK ? kg_config_create() : NULL; /* for what it leaves out */
    if (status == KG_OK)
        status = config ? kg_config_load(config, root, err) : kg_fail_nomem(err, "reading the configuration");
    kg_config_free(config);
    if (status == KG_OK)
        status = kg_index_open(root, NULL, index, err);
    return status == KG_OK ? kg_index_refresh(*index, NULL, NULL, counts, err) : status;
}

enum kg_status kg_link_index(struct kg_index *index, struct kg_index_counts *counts, struct kg_error *err)
{
    struct kg_error unlinked;
    enum kg_status status = kg_index_settle(index, KG_DRIFT_LARGE, NULL, NULL, &unlinked);
    return status == KG_ERR_CORRUPT ? kg_index_refresh(index, NULL, NULL, counts, err) : KG_OK;
}

static void print_counts(const struct kg_index_counts *c, bool json)
{
    if (!json) {
        printf("%" PRIu32 " files, %.1f MB indexed (%" PRIu32 " read now, %" PRIu32 " removed)\n", c->files, (double)c->bytes / 1e6, c->fresh, c->removed);
        printf("left out: %" PRIu32 " ignored, %" PRIu32 " binary, %" PRIu32 " huge, %" PRIu32 " generated, %" PRIu32 " secret, %" PRIu32
               " links, %" PRIu32 " unreadable; %" PRIu32 " submodules\n",
               c->ignored, c->binary, c->huge, c->generated, c->secret, c->links, c->unreadable, c->submodules);
        if (c->doubt)
            printf("not followed: %s\n", c->doubt);
        return;
    }
    printf("{\"files\":%" PRIu32 ",\"bytes\":%" PRIu64 ",\"fresh\":%" PRIu32 ",\"removed\":%" PRIu32 ",\"ignored\":%" PRIu32 ",\"binary\":%" PRIu32
           ",\"huge\":%" PRIu32 ",\"generated\":%" PRIu32 ",\"secret\":%" PRIu32 ",\"links\":%" PRIu32 ",\"unreadable\":%" PRIu32
           ",\"submodules\":%" PRIu32 ",\"not_followed\":%s%s%s}\n",
           c->files, c->bytes, c->fresh, c->removed, c->ignored, c->binary, c->huge, c->generated, c->secret, c->links, c->unreadable, c->submodules,
           c->doubt ? "\"" : "", c->doubt ? c->doubt : "null", c->doubt ? "\"" : "");
}

int kg_command_index(int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' },         { "read", no_argument, NULL, 'r' },
                                             { "tokens", required_argument, NULL, 't' }, { "model", required_argument, NULL, 'm' },
                                             { "help", no_argument, NULL, 'h' },         { 0 } };
    const char *repo = ".", *model = NULL;
    bool json = false, reads = false;
    uint64_t tokens = 0;
    for (int c; (c = getopt_long(argc, argv, "C:m:h", options, NULL)) != -1;) {
        switch (c) {
        case 'C': repo = optarg; break;
        case 'm': model = optarg; break;
        case 'r': reads = true; break;
        case 't':
            if (!kg_parse_number(optarg, 1, INT64_MAX, &tokens))
                return kg_command_misused("index", "--tokens takes a number from 1 on, not '%s'", optarg);
            break;
        case 'j': json = true; break;
        case 'h': fputs(index_help, stdout); return KG_EXIT_OK;
        default: return KG_EXIT_USAGE;
        }
    }
    if (optind != argc)
        return kg_command_misused("index", "'%s' is one argument too many", argv[optind]);
    if (!reads && (model || tokens))
        return kg_command_misused("index", "--model and --tokens go with --read");
    if (reads)
        return kg_index_read_ahead(repo, model, tokens, json);
    struct kg_index *index = NULL;
    struct kg_index_counts counts;
    struct kg_error err;
    enum kg_status status = kg_open_fresh_index(repo, &index, &counts, &err);
    if (status == KG_OK) {
        print_counts(&counts, json);
        fflush(stdout);
        enum kg_status settled = kg_index_settle(index, KG_DRIFT_LARGE, NULL, NULL, &err);
        status = settled == KG_ERR_BUSY ? KG_OK : settled; /* another process is doing it */
    }
    kg_index_close(index);
    return status == KG_OK ? KG_EXIT_OK : kg_command_failed("index", &err);
}

struct matches {
    cJSON *json; /* NULL: lines */
    unsigned count;
};

static int print_match(void *ctx, const struct kg_index_match *match)
{
    struct matches *matches = ctx;
    matches->count++;
    if (matches->json) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "path", match->path);
        cJSON_AddNumberToObject(row, "score", match->score);
        cJSON_AddNumberToObject(row, "line", match->line);
        cJSON_AddStringToObject(row, "text", match->text);
        cJSON_AddItemToArray(matches->json, row);
    } else if (match->line) {
        printf("%s:%" PRIu32 ": %s\n", match->path, match->line, match->text);
    } else {
        printf("%s\n", match->path);
    }
    return 0;
}

char *kg_join_words(int count, char **words)
{
    size_t length = 1;
    for (int i = 0; i < count; i++)
        length += strlen(words[i]) + 1;
    char *joined = malloc(length);
    if (!joined)
        return NULL;
    joined[0] = '\0';
    for (int i = 0; i < count; i++) {
        strcat(joined, words[i]);
        if (i + 1 < count)
            strcat(joined, " ");
    }
    return joined;
}

int kg_command_search(int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 } };
    const char *repo = ".";
    struct matches matches = { 0 };
    bool json = false;
    uint64_t limit = 20;
    for (int c; (c = getopt_long(argc, argv, "C:n:h", options, NULL)) != -1;) {
        switch (c) {
        case 'C': repo = optarg; break;
        case 'n':
            if (!kg_parse_number(optarg, 1, 100000, &limit))
                return kg_command_misused("search", "-n takes 1 to 100000, not '%s'", optarg);
            break;
        case 'j': json = true; break;
        case 'h': fputs(search_help, stdout); return KG_EXIT_OK;
        default: return KG_EXIT_USAGE;
        }
    }
    if (optind == argc)
        return kg_command_misused("search", "give the words to search for");
    struct kg_index *index = NULL;
    struct kg_index_counts counts;
    struct kg_error err;
    char *words = kg_join_words(argc - optind, argv + optind);
    enum kg_status status = words ? kg_open_fresh_index(repo, &index, &counts, &err) : kg_fail_nomem(&err, "searching");
    matches.json = json ? cJSON_CreateArray() : NULL;
    if (status == KG_OK)
        status = kg_index_search(index, words, (uint32_t)limit, print_match, &matches, &err);
    if (status == KG_OK)
        kg_put_json(matches.json);
    else
        cJSON_Delete(matches.json);
    kg_index_close(index);
    free(words);
    if (status != KG_OK)
        return kg_command_failed("search", &err);
    return matches.count ? KG_EXIT_OK : KG_EXIT_FAILED;
}
