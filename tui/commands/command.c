#include "tui/commands/command.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/catalogue/catalogue.h"

const struct kg_command kg_commands[] = {
    { "tokenize", "print the token ids of a text", kg_command_tokenize },
    { "logits", "print the ten best tokens after a text", kg_command_logits },
    { "bench", "measure speed and memory, JSON lines", kg_command_bench },
    { "model", "list, fetch and locate models", kg_command_model },
    { "cache", "show, check and empty what has been read", kg_command_cache },
    { "complete", "complete at the cursor of a file", kg_command_complete },
    { "completion", "complete words in bash, zsh and fish", kg_command_completion },
    { "sessions", "list, search and change conversations", kg_command_sessions },
    { "config", "show what is configured, and where", kg_command_config },
    { "index", "bring the repository's index up to date", kg_command_index },
    { "search", "search the repository", kg_command_search },
    { "context", "choose files for a question", kg_command_context },
    { "map", "print the signatures that matter most", kg_command_map },
    { "symbols", "list what the repository defines", kg_command_symbols },
    { "edit", "change files as a request says", kg_command_edit },
    { "eval", "measure how well a model answers", kg_command_eval },
    { NULL, NULL, NULL },
};

int kg_command_failed(const char *command, const struct kg_error *err)
{
    fprintf(stderr, "kedge%s%s: %s\n", command[0] ? " " : "", command, err->text);
    return err->status == KG_ERR_USAGE ? KG_EXIT_USAGE : KG_EXIT_FAILED;
}

void kg_command_notice(const char *command, const struct kg_engine *engine)
{
    struct kg_engine_facts facts;
    kg_engine_facts(engine, &facts);
    if (facts.notice)
        fprintf(stderr, "kedge %s: %s\n", command, facts.notice);
}

int kg_command_misused(const char *command, const char *format, ...)
{
    struct kg_error err;
    va_list args;
    va_start(args, format);
    kg_failv(&err, KG_ERR_USAGE, format, args);
    va_end(args);
    fprintf(stderr, "kedge%s%s: %s; see kedge%s%s --help\n", command[0] ? " " : "", command, err.text, command[0] ? " " : "", command);
    return KG_EXIT_USAGE;
}

bool kg_parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    char *end = NULL;
    if (!text || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || value < least || value > most)
        return false;
    *out = value;
    return true;
}

enum kg_status kg_model_path(const char *model, char out[KG_PATH_MAX], struct kg_error *err)
{
    struct kg_catalogue *catalogue = NULL;
    enum kg_status status = kg_catalogue_open(&catalogue, err);
    if (status == KG_OK)
        status = kg_catalogue_locate(catalogue, model, out, err);
    kg_catalogue_close(catalogue);
    return status;
}

static enum kg_status read_stream(FILE *stream, size_t limit, char **out, size_t *length, struct kg_error *err)
{
    size_t capacity = 1 << 16, used = 0;
    char *text = malloc(capacity + 1);
    while (text) {
        used += fread(text + used, 1, capacity - used, stream);
        if (used < capacity)
            break;
        if (used > limit) {
            free(text);
            return kg_fail(err, KG_ERR_RANGE, "standard input has more than %zu bytes; give a shorter text", limit);
        }
        capacity *= 2;
        char *grown = realloc(text, capacity + 1);
        if (!grown)
            free(text);
        text = grown;
    }
    if (!text)
        return kg_fail_nomem(err, "reading standard input");
    text[used] = '\0';
    *out = text;
    *length = used;
    return KG_OK;
}

enum kg_status kg_read_input(const char *path, size_t limit, char **out, size_t *length, struct kg_error *err)
{
    return strcmp(path, "-") == 0 ? read_stream(stdin, limit, out, length, err) : kg_read_file(path, limit, out, length, err);
}

void kg_put_json(cJSON *object)
{
    char *text = object ? cJSON_PrintUnformatted(object) : NULL;
    if (text)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(object);
    fflush(stdout);
}

void kg_put_text(FILE *stream, const char *text, size_t length)
{
    if (!isatty(fileno(stream))) {
        fwrite(text, 1, length, stream);
        return;
    }
    while (length) { /* line by line: newlines and tabs are the only control characters that pass */
        size_t n = strcspn(text, "\n\t");
        n = n < length ? n : length;
        char *visible = malloc(4 * n + 1);
        if (visible) {
            kg_printable(visible, 4 * n + 1, text, n);
            fputs(visible, stream);
            free(visible);
        }
        if (n < length)
            fputc(text[n++], stream);
        text += n;
        length -= n;
    }
}
