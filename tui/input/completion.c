#include "tui/input/completion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/input/mention.h"

#define CANDIDATES_MOST 50
#define WORD_MOST       8192 /* bytes */

struct candidate {
    char *text, *shown, *help; /* shown: NULL = the text */
};

struct kg_completion {
    const struct kg_input_command *commands;
    struct candidate candidates[CANDIDATES_MOST];
    size_t count;
    int chosen;
    enum kg_wanted wanted;
    size_t from, to; /* of the word in the text */
    char *pattern;   /* what was asked for */
    uint32_t ticket;
    bool by_us;      /* the last change of the text was a choice */
    bool eager;      /* the first candidate that comes is the choice */
    bool dismissed;  /* none will come until the text changes */
};

struct kg_completion *kg_completion_create(const struct kg_input_command *commands)
{
    struct kg_completion *completion = calloc(1, sizeof *completion);
    if (completion) {
        completion->commands = commands;
        completion->chosen = -1;
    }
    return completion;
}

static void forget(struct kg_completion *completion)
{
    for (size_t i = 0; i < completion->count; i++) {
        free(completion->candidates[i].text);
        free(completion->candidates[i].shown);
        free(completion->candidates[i].help);
    }
    completion->count = 0;
    completion->chosen = -1;
    completion->eager = completion->dismissed = false;
}

void kg_completion_free(struct kg_completion *completion)
{
    if (!completion)
        return;
    forget(completion);
    free(completion->pattern);
    free(completion);
}

/* A path that would be read as another one once it is in the text is no candidate. */
static bool can_be_written(const struct kg_completion *completion, const char *text)
{
    char word[WORD_MOST];
    return completion->wanted == KG_WANTED_PLACES ? kg_mention_of(text, word, sizeof word) > 0 : !strchr(text, '\n');
}

static bool is_offered(const struct kg_completion *completion, const char *text, const char *shown)
{
    for (size_t i = 0; i < completion->count; i++) {
        const struct candidate *candidate = &completion->candidates[i];
        if (strcmp(candidate->text, text) == 0 && strcmp(candidate->shown ? candidate->shown : text, shown ? shown : text) == 0)
            return true;
    }
    return false;
}

bool kg_completion_offer(struct kg_completion *completion, uint32_t ticket, const char *text, const char *shown, const char *help)
{
    if (ticket != completion->ticket || completion->count == CANDIDATES_MOST || !can_be_written(completion, text) || is_offered(completion, text, shown))
        return false;
    struct candidate *new = &completion->candidates[completion->count];
    new->text = strdup(text);
    new->shown = shown ? strdup(shown) : NULL;
    new->help = strdup(help);
    if (new->text && new->help && (new->shown || !shown)) {
        completion->count++;
        bool eager = completion->eager;
        completion->eager = false;
        return eager;
    }
    free(new->text);
    free(new->shown);
    free(new->help);
    return false;
}

static const struct kg_input_command *command_of(const struct kg_completion *completion, const char *text, size_t length)
{
    for (const struct kg_input_command *c = completion->commands; c->name; c++)
        if (strlen(c->name) == length && memcmp(c->name, text, length) == 0)
            return c;
    return NULL;
}

/* Which word the cursor is in, and what it may become. */
static enum kg_wanted find_word(struct kg_completion *completion, const char *text, size_t length, size_t cursor)
{
    if (length > 0 && text[0] == '/' && !memchr(text, '\n', length)) {
        const char *space = memchr(text, ' ', length);
        size_t name = space ? (size_t)(space - text) : length;
        completion->from = cursor <= name ? 0 : name + 1;
        completion->to = cursor <= name ? name : length;
        const struct kg_input_command *command = command_of(completion, text, name);
        if (cursor <= name || (command && command->completes != KG_WANTED_NOTHING))
            return cursor <= name ? KG_WANTED_COMMANDS : command->completes;
    }
    struct kg_mention mention;
    for (size_t at = 0; kg_mention_next(text, length, at, &mention) && mention.at < cursor; at = mention.end)
        if (cursor <= mention.end) {
            completion->from = mention.at;
            completion->to = mention.end;
            return KG_WANTED_PLACES;
        }
    return KG_WANTED_NOTHING;
}

static void offer_commands(struct kg_completion *completion)
{
    for (const struct kg_input_command *c = completion->commands; c->name; c++) {
        char help[256];
        if (strncmp(c->name, completion->pattern, strlen(completion->pattern)) != 0)
            continue;
        snprintf(help, sizeof help, "%s%s%s", c->argument, *c->argument ? "  " : "", c->help);
        kg_completion_offer(completion, completion->ticket, c->name, NULL, help);
    }
}

static bool is_of_repository(enum kg_wanted wanted)
{
    return wanted == KG_WANTED_PATHS || wanted == KG_WANTED_PLACES;
}

/* The word up to the cursor, without the mention's signs. */
static char *pattern_of(const struct kg_completion *completion, const char *text, size_t cursor)
{
    size_t from = completion->from;
    if (is_of_repository(completion->wanted) && text[from] == '@')
        from += from + 1 < cursor && text[from + 1] == '"' ? 2 : 1;
    return from <= cursor ? strndup(text + from, cursor - from) : strdup("");
}

enum kg_wanted kg_completion_update(struct kg_completion *completion, const struct kg_editor *editor, const char **pattern, uint32_t *ticket)
{
    size_t length, cursor = kg_editor_cursor(editor);
    const char *text = kg_editor_text(editor, &length);
    if (completion->by_us) {
        completion->by_us = false;
        return KG_WANTED_NOTHING;
    }
    enum kg_wanted before = completion->wanted;
    completion->wanted = find_word(completion, text, length, cursor);
    char *now = completion->wanted == KG_WANTED_NOTHING ? NULL : pattern_of(completion, text, cursor);
    bool same = now && completion->pattern && before == completion->wanted && strcmp(now, completion->pattern) == 0;
    free(completion->pattern);
    completion->pattern = now;
    if (same)
        return KG_WANTED_NOTHING;
    forget(completion);
    completion->ticket++;
    if (!now)
        return KG_WANTED_NOTHING;
    if (completion->wanted == KG_WANTED_COMMANDS)
        offer_commands(completion);
    *pattern = now;
    *ticket = completion->ticket;
    return completion->wanted == KG_WANTED_COMMANDS ? KG_WANTED_NOTHING : completion->wanted;
}

bool kg_completion_choose(struct kg_completion *completion, struct kg_editor *editor, int direction)
{
    char word[WORD_MOST];
    size_t length, n;
    if (completion->count == 0) {
        completion->eager = !completion->dismissed && (is_of_repository(completion->wanted) || completion->wanted == KG_WANTED_SESSIONS);
        return completion->eager;
    }
    int count = (int)completion->count;
    completion->chosen = completion->chosen < 0 ? (direction > 0 ? 0 : count - 1) : (completion->chosen + direction + count) % count;
    const char *chosen = completion->candidates[completion->chosen].text;
    const char *text = kg_editor_text(editor, &length);
    if (is_of_repository(completion->wanted) && text[completion->from] == '@')
        n = kg_mention_of(chosen, word, sizeof word);
    else
        n = strlen(chosen) < sizeof word ? (size_t)snprintf(word, sizeof word, "%s", chosen) : 0;
    if (count == 1 && completion->wanted != KG_WANTED_SESSIONS && completion->to == length && n + 1 < sizeof word) {
        const struct kg_input_command *command = command_of(completion, chosen, strlen(chosen));
        if (is_of_repository(completion->wanted) || (command && *command->argument))
            word[n++] = ' ';
    }
    if (n > 0 && kg_editor_replace(editor, completion->from, completion->to, word, n)) {
        completion->to = completion->from + n;
        completion->by_us = count > 1;
    }
    return true;
}

bool kg_completion_dismiss(struct kg_completion *completion)
{
    bool any = completion->count > 0;
    forget(completion);
    completion->ticket++;
    completion->dismissed = true;
    return any;
}

size_t kg_completion_count(const struct kg_completion *completion)
{
    return completion->count;
}

const char *kg_completion_shown(const struct kg_completion *completion, size_t index, const char **help)
{
    const struct candidate *candidate = &completion->candidates[index];
    *help = candidate->help;
    return candidate->shown ? candidate->shown : candidate->text;
}

int kg_completion_chosen(const struct kg_completion *completion)
{
    return completion->chosen;
}
