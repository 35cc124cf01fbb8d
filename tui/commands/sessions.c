#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tui/commands/command.h"
#include "tui/conversation/excerpt.h"

static const char help[] =
    "usage: kedge sessions ls [-C REPO] [--all] [--json]\n"
    "       kedge sessions search WORD... [-C REPO] [--all] [--json]\n"
    "       kedge sessions show NAME [-C REPO] [--json]\n"
    "       kedge sessions rename NAME NEW [-C REPO]\n"
    "       kedge sessions fork NAME [NEW] [-C REPO]\n"
    "       kedge sessions rm NAME... [-C REPO]\n"
    "\n"
    "Conversations about this repository; outside of any, those outside of any. One is gone on with\n"
    "by its name: see kedge(1).\n"
    "\n"
    "  ls       one line a conversation, last used first: when, questions, name, how the first question begins\n"
    "  search   what was said that holds all WORDs, as parts of words too; names and paths of files count as well\n"
    "  show     all of one\n"
    "  rename   under another name\n"
    "  fork     a second one that begins with all of it; prints its name\n"
    "  rm       deletes them; their text is overwritten. What was computed of it stays in the cache until it is evicted\n"
    "\n"
    "  -C REPO   a directory of the repository (default: the current one)\n"
    "      --all     of all repositories\n"
    "      --json    one JSON object or list\n";

struct arguments {
    const char *repo;
    bool json, all;
    char root[KG_PATH_MAX]; /* "" = outside of any */
};

struct output {
    const struct arguments *a;
    cJSON *list; /* NULL: as text */
    const char *words;
    char last[KG_PATH_MAX + KG_SESSION_NAME]; /* whose hits were printed last */
    size_t count;
};

static void format_time(uint64_t seconds, char out[32])
{
    time_t time = (time_t)seconds;
    struct tm local;
    localtime_r(&time, &local);
    strftime(out, 32, "%Y-%m-%d %H:%M", &local);
}

static void print_head(const struct output *output, const struct kg_session_summary *session)
{
    char used[32], name[4 * KG_SESSION_NAME], title[256], repository[KG_PATH_MAX];
    format_time(session->used, used);
    kg_printable(name, sizeof name, session->name, strlen(session->name));
    kg_printable(repository, sizeof repository, session->repository, strlen(session->repository));
    kg_excerpt(session->title, strlen(session->title), "", 70, title, sizeof title);
    printf("%s  %4u  %-24s  %s", used, session->questions, name, title);
    if (output->a->all)
        printf("  [%s]", *repository ? repository : "no repository");
    putchar('\n');
}

static cJSON *session_json(const struct kg_session_summary *session)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "name", session->name);
    cJSON_AddStringToObject(row, "repository", session->repository);
    cJSON_AddStringToObject(row, "model", session->model);
    cJSON_AddStringToObject(row, "title", session->title);
    cJSON_AddNumberToObject(row, "used", (double)session->used);
    cJSON_AddNumberToObject(row, "questions", session->questions);
    return row;
}

static int list_one(void *ctx, const struct kg_session_summary *session)
{
    struct output *output = ctx;
    output->count++;
    if (output->list)
        cJSON_AddItemToArray(output->list, session_json(session));
    else
        print_head(output, session);
    return 0;
}

static const char *const kinds[] = { [KG_PART_FILE] = "file", [KG_PART_TURN] = "question", [KG_PART_ANSWER] = "answer", [KG_PART_SUMMARY] = "summary" };

static int list_hit(void *ctx, const struct kg_session_hit *hit)
{
    struct output *output = ctx;
    char excerpt[1024], key[sizeof output->last];
    const char *kind = hit->name ? "name" : kinds[hit->kind];
    output->count++;
    if (output->list) {
        char *text = strndup(hit->text, hit->length);
        cJSON *row = session_json(&hit->session);
        cJSON_AddStringToObject(row, "kind", kind);
        cJSON_AddStringToObject(row, "text", text ? text : "");
        cJSON_AddItemToArray(output->list, row);
        free(text);
        return 0;
    }
    snprintf(key, sizeof key, "%s\n%s", hit->session.name, hit->session.repository);
    if (strcmp(key, output->last) != 0)
        print_head(output, &hit->session);
    strcpy(output->last, key);
    kg_excerpt(hit->text, hit->length, output->words, 100, excerpt, sizeof excerpt);
    if (!hit->name)
        printf("    %-8s  %s\n", kind, excerpt);
    return 0;
}

static int show_part(void *ctx, const struct kg_part *part)
{
    struct output *output = ctx;
    const char *state = part->summarised ? "summarised" : part->dropped ? "not in context" : part->partial ? "stopped" : "";
    if (output->list) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "kind", kinds[part->kind]);
        cJSON_AddStringToObject(row, part->kind == KG_PART_FILE ? "path" : "text", part->kind == KG_PART_FILE ? part->label : part->text);
        cJSON_AddBoolToObject(row, "in_context", !part->dropped);
        cJSON_AddItemToArray(output->list, row);
        return 0;
    }
    if (part->kind == KG_PART_FILE) {
        char label[KG_PATH_MAX];
        kg_printable(label, sizeof label, part->label, strlen(part->label));
        printf("[file %s%s%s]\n\n", label, *state ? ", " : "", state);
        return 0;
    }
    printf("[%s%s%s]\n", kinds[part->kind], *state ? ", " : "", state);
    kg_put_text(stdout, part->text, part->length);
    fputs(part->length && part->text[part->length - 1] == '\n' ? "\n" : "\n\n", stdout);
    return 0;
}

static int end(struct output *output, enum kg_status status, const struct kg_error *err)
{
    if (status == KG_OK && output->list)
        kg_put_json(output->list);
    else
        cJSON_Delete(output->list);
    return status == KG_OK ? KG_EXIT_OK : kg_command_failed("sessions", err);
}

static int list(const struct arguments *a)
{
    struct kg_error err;
    struct output output = { .a = a, .list = a->json ? cJSON_CreateArray() : NULL };
    enum kg_status status = kg_sessions_list(NULL, a->all ? NULL : a->root, list_one, &output, &err);
    return end(&output, status, &err);
}

static int search(const struct arguments *a, int count, char **words)
{
    struct kg_error err;
    char *joined = kg_join_words(count, words);
    struct output output = { .a = a, .list = a->json ? cJSON_CreateArray() : NULL, .words = joined };
    enum kg_status status = joined ? kg_sessions_search(NULL, a->all ? NULL : a->root, joined, list_hit, &output, &err) : kg_fail_nomem(&err, "searching");
    int result = end(&output, status, &err);
    free(joined);
    return result == KG_EXIT_OK && output.count == 0 ? KG_EXIT_FAILED : result;
}

static int show(const struct arguments *a, const char *name)
{
    struct kg_error err;
    struct output output = { .a = a, .list = a->json ? cJSON_CreateArray() : NULL };
    enum kg_status status = kg_sessions_show(NULL, a->root, name, show_part, &output, &err);
    return end(&output, status, &err);
}

static int change(const char *what, const struct arguments *a, int count, char **names)
{
    struct kg_error err;
    char made[KG_SESSION_NAME], visible[4 * KG_SESSION_NAME];
    enum kg_status status = KG_OK;
    if (*what == 'f') {
        status = kg_sessions_copy(NULL, a->root, names[0], count > 1 ? names[1] : NULL, made, &err);
        if (status == KG_OK) {
            kg_printable(visible, sizeof visible, made, strlen(made));
            puts(visible);
        }
    } else if (strcmp(what, "rename") == 0) {
        status = kg_sessions_rename(NULL, a->root, names[0], names[1], &err);
    } else {
        for (int i = 0; i < count && status == KG_OK; i++)
            status = kg_sessions_remove(NULL, a->root, names[i], &err);
    }
    return status == KG_OK ? KG_EXIT_OK : kg_command_failed("sessions", &err);
}

static int run(const char *what, const struct arguments *a, int count, char **rest)
{
    static const struct {
        const char *name;
        int least, most; /* of what it takes */
        bool lists;
    } forms[] = { { "ls", 0, 0, true }, { "search", 1, 1000, true }, { "show", 1, 1, true }, { "rename", 2, 2, false }, { "fork", 1, 2, false }, { "rm", 1, 1000, false } };
    size_t form = 0;
    while (form < sizeof forms / sizeof forms[0] && strcmp(forms[form].name, what) != 0)
        form++;
    if (form == sizeof forms / sizeof forms[0])
        return kg_command_misused("sessions", "'%s' is none of ls, search, show, rename, fork, rm", what);
    if (count < forms[form].least || count > forms[form].most)
        return kg_command_misused("sessions", "%s takes %s", what, forms[form].most == 0 ? "no name" : forms[form].least == 2 ? "a name and a new one" : *what == 's' && what[1] == 'e' ? "words" : "a name");
    if ((a->json && !forms[form].lists) || (a->all && form > 1))
        return kg_command_misused("sessions", "%s does not take %s", what, a->json && !forms[form].lists ? "--json" : "--all");
    return form == 0 ? list(a) : form == 1 ? search(a, count, rest) : form == 2 ? show(a, rest[0]) : change(what, a, count, rest);
}

int kg_command_sessions(int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { "all", no_argument, NULL, 'a' }, { "help", no_argument, NULL, 'h' }, { 0 } };
    struct arguments a = { .repo = "." };
    for (int c; (c = getopt_long(argc, argv, "C:h", options, NULL)) != -1;) {
        switch (c) {
        case 'C': a.repo = optarg; break;
        case 'j': a.json = true; break;
        case 'a': a.all = true; break;
        case 'h': fputs(help, stdout); return KG_EXIT_OK;
        default: return KG_EXIT_USAGE;
        }
    }
    if (kg_repo_root(a.repo, a.root, NULL) != KG_OK)
        a.root[0] = '\0';
    const char *what = optind < argc ? argv[optind++] : "";
    return run(what, &a, argc - optind, argv + optind);
}
