#include "tui/changes/answer.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tui/changes/heading.h"
#include "tui/changes/text.h"

#define HEADING_LINES 3 /* a heading stands at most so many lines with text before its code */

enum state {
    OUTSIDE,
    FENCE,   /* in a fence, before, between or behind blocks */
    SEARCH,  /* in a block, before its divider */
    REPLACE, /* behind it */
};

struct edit {
    enum kg_form form;
    char path[KG_HEADING_MOST];
    struct kg_growing before, after;
    uint32_t line;
    bool closed;
    unsigned fence;
    bool block; /* marked as such, not a mere fence */
    bool shell; /* its fence says that it is commands or output */
};

struct kg_answer {
    enum kg_form form;
    enum state state;
    struct kg_growing text;
    size_t read;      /* bytes of it: whole lines */
    uint32_t line;    /* number of the last line read */
    char heading[KG_HEADING_MOST];
    unsigned since;   /* lines with text since the heading, itself counted */
    char info[KG_HEADING_MOST]; /* path behind the fence that is open */
    char mark;        /* of that fence: '`' or '~'; 0 = none is open */
    unsigned marks;
    bool blocks;      /* in this fence */
    bool any_blocks;  /* in this answer */
    struct edit *edits;
    size_t count, capacity;
    struct edit *open; /* what lines are added to: the last of the edits, not counted yet; NULL = none */
    bool whole, ended, no_memory;
    struct kg_error confused; /* text "" = not */
};

struct kg_answer *kg_answer_create(enum kg_form form)
{
    struct kg_answer *answer = calloc(1, sizeof *answer);
    if (answer)
        answer->form = form;
    return answer;
}

static void free_edit(struct edit *edit)
{
    kg_growing_free(&edit->before);
    kg_growing_free(&edit->after);
}

void kg_answer_free(struct kg_answer *answer)
{
    if (!answer)
        return;
    if (answer->open)
        free_edit(answer->open);
    for (size_t i = 0; i < answer->count; i++)
        free_edit(&answer->edits[i]);
    free(answer->edits);
    kg_growing_free(&answer->text);
    free(answer);
}

static void confuse(struct kg_answer *answer, uint32_t line, const char *what)
{
    if (!answer->confused.text[0])
        kg_fail(&answer->confused, KG_ERR_FORMAT, "the answer's line %u %s; nothing was changed: ask again, or for another form", line, what);
}

static struct edit *open_edit(struct kg_answer *answer, enum kg_form form)
{
    if (answer->count == KG_EDITS_MOST) {
        confuse(answer, answer->line, "begins one edit too many");
        return NULL;
    }
    if (answer->count == answer->capacity) {
        size_t capacity = answer->capacity ? 2 * answer->capacity : 8;
        struct edit *grown = realloc(answer->edits, capacity * sizeof *grown);
        if (!grown) {
            answer->no_memory = true;
            return NULL;
        }
        answer->edits = grown;
        answer->capacity = capacity;
    }
    struct edit *edit = &answer->edits[answer->count];
    *edit = (struct edit){ .form = form, .line = answer->line, .fence = answer->marks };
    answer->open = edit;
    return edit;
}

static void close_edit(struct kg_answer *answer, bool closed)
{
    struct edit *edit = answer->open;
    if (!edit)
        return;
    edit->closed = closed;
    answer->no_memory |= edit->before.failed || edit->after.failed;
    kg_growing_add(&edit->before, "", 0);
    kg_growing_add(&edit->after, "", 0);
    answer->count++;
    answer->open = NULL;
}

static void drop_open(struct kg_answer *answer)
{
    if (answer->open)
        free_edit(answer->open);
    answer->open = NULL;
}

/* Five to nine of a sign and nothing else but a word of those that go with it, and perhaps a path. */
static bool is_marker(const struct kg_line *line, char sign, const char *const *words, char path[KG_HEADING_MOST])
{
    struct kg_line t = kg_trimmed(line);
    size_t n = 0;
    while (n < t.length && t.text[n] == sign)
        n++;
    if (n < 5 || n > 9)
        return false;
    struct kg_line rest = { .text = t.text + n, .length = t.length - n };
    rest = kg_trimmed(&rest);
    if (rest.length == 0)
        return true;
    for (; words && *words; words++) {
        size_t w = strlen(*words);
        if (rest.length < w || strncasecmp(rest.text, *words, w) != 0 || (rest.length > w && isalnum((unsigned char)rest.text[w])))
            continue;
        rest.text += w;
        rest.length -= w;
        char found[KG_HEADING_MOST];
        struct kg_line behind = kg_trimmed(&rest);
        if (behind.length == 0)
            return true;
        if (!kg_bare_path(&behind, found))
            return false;
        if (path)
            strcpy(path, found);
        return true;
    }
    return false;
}

static const char *const search_words[] = { "SEARCH", "ORIGINAL", "FIND", "HEAD", NULL };
static const char *const replace_words[] = { "REPLACE", "UPDATED", "END", NULL };

static bool begins_block(const struct kg_line *line, char path[KG_HEADING_MOST])
{
    struct kg_line t = kg_trimmed(line);
    /* without its word it could be any text */
    return t.length > 0 && t.text[t.length - 1] != '<' && is_marker(line, '<', search_words, path);
}

/* The same for models that leave out the signs, where blocks were asked for. */
static bool begins_bare_block(const struct kg_answer *answer, const struct kg_line *line)
{
    struct kg_line t = kg_trimmed(line);
    while (t.length && *t.text == '<') {
        t.text++;
        t.length--;
    }
    t = kg_trimmed(&t);
    return answer->form == KG_FORM_SEARCH && t.length == 6 && memcmp(t.text, "SEARCH", 6) == 0;
}

/* Length of the run of fence signs that a line begins with, at least 3, or 0. */
static unsigned fence_marks(const struct kg_line *line, char *mark, struct kg_line *info)
{
    struct kg_line t = kg_trimmed(line);
    unsigned n = 0;
    *mark = '\0';
    *info = (struct kg_line){ .text = t.text };
    if (t.length < 3 || (t.text[0] != '`' && t.text[0] != '~'))
        return 0;
    while (n < t.length && t.text[n] == t.text[0])
        n++;
    *mark = t.text[0];
    *info = (struct kg_line){ .text = t.text + n, .length = t.length - n };
    *info = kg_trimmed(info);
    return n < 3 || memchr(info->text, '`', info->length) ? 0 : n;
}

static bool closes_fence(const struct kg_answer *answer, const struct kg_line *line)
{
    char mark;
    struct kg_line info;
    unsigned n = fence_marks(line, &mark, &info);
    return answer->mark && n >= answer->marks && mark == answer->mark && info.length == 0;
}

static bool is_shell(const struct kg_line *info)
{
    static const char *const names[] = { "bash", "sh", "shell", "console", "zsh", "text", "output", "plaintext", "diff", NULL };
    size_t n = 0;
    while (n < info->length && !strchr(" \t:", info->text[n]))
        n++;
    for (const char *const *name = names; *name; name++)
        if (strlen(*name) == n && strncasecmp(*name, info->text, n) == 0)
            return true;
    return false;
}

static void take_heading(struct kg_answer *answer, char out[KG_HEADING_MOST])
{
    strcpy(out, answer->info[0] ? answer->info : answer->since <= HEADING_LINES ? answer->heading : "");
}

static void begin_block(struct kg_answer *answer, const char *path)
{
    drop_open(answer);
    struct edit *edit = open_edit(answer, KG_FORM_SEARCH);
    if (!edit)
        return;
    if (path[0])
        strcpy(edit->path, path);
    else
        take_heading(answer, edit->path);
    edit->block = answer->blocks = answer->any_blocks = true;
    answer->state = SEARCH;
}

static void outside(struct kg_answer *answer, const struct kg_line *line)
{
    char path[KG_HEADING_MOST] = "";
    struct kg_line info;
    char mark;
    unsigned marks;
    if (begins_block(line, path) || begins_bare_block(answer, line)) {
        begin_block(answer, path);
    } else if ((marks = fence_marks(line, &mark, &info)) > 0) {
        answer->mark = mark;
        answer->marks = marks;
        answer->blocks = false;
        if (!kg_info_path(info.text, info.length, answer->info))
            answer->info[0] = '\0';
        answer->state = FENCE;
        struct edit *edit = open_edit(answer, answer->form);
        if (edit) {
            take_heading(answer, edit->path);
            edit->shell = is_shell(&info);
        }
    } else if (kg_heading_path(line, path)) {
        strcpy(answer->heading, path);
        answer->since = 1;
    } else if (!kg_is_blank(line)) {
        answer->since++;
    }
}

static void leave_fence(struct kg_answer *answer, bool closed)
{
    if (answer->blocks || answer->form == KG_FORM_ANY)
        drop_open(answer);
    else
        close_edit(answer, closed);
    answer->mark = 0;
    answer->marks = 0;
    answer->info[0] = '\0';
    answer->since += HEADING_LINES; /* one heading, one fence */
    answer->state = OUTSIDE;
}

static void add_line(struct kg_growing *text, const struct kg_line *line)
{
    kg_growing_add(text, line->text, line->length);
    kg_growing_add(text, "\n", 1);
}

static void in_fence(struct kg_answer *answer, const struct kg_line *line)
{
    char path[KG_HEADING_MOST] = "";
    struct kg_line info;
    char mark;
    if (begins_block(line, path) || begins_bare_block(answer, line)) {
        if (!path[0] && answer->open)
            for (const char *at = answer->open->after.bytes; at && *at;) { /* a path may stand above the block, nothing else */
                struct kg_line above = { .text = at, .length = strcspn(at, "\n") };
                if (kg_heading_path(&above, path))
                    answer->info[0] = '\0';
                at += above.length + 1;
            }
        begin_block(answer, path);
    } else if (closes_fence(answer, line)) {
        leave_fence(answer, true);
    } else if (answer->blocks) {
        if (kg_heading_path(line, path)) {
            strcpy(answer->heading, path);
            answer->since = 1;
            answer->info[0] = '\0';
        }
    } else {
        if (answer->open && fence_marks(line, &mark, &info) >= answer->marks && mark == answer->mark && answer->form != KG_FORM_ANY)
            confuse(answer, answer->line, "opens a fence within a fence: where the text ends cannot be told");
        if (answer->open)
            add_line(&answer->open->after, line);
    }
}

static void in_search(struct kg_answer *answer, const struct kg_line *line)
{
    if (is_marker(line, '=', NULL, NULL))
        answer->state = REPLACE;
    else if (begins_block(line, NULL) || is_marker(line, '>', replace_words, NULL))
        confuse(answer, answer->line, "is a mark of a block where its divider (=======) was due");
    else if (answer->open)
        add_line(&answer->open->before, line);
}

static void in_replace(struct kg_answer *answer, const struct kg_line *line)
{
    struct kg_line t = kg_trimmed(line);
    if (t.length > 0 && t.text[0] == '>' && is_marker(line, '>', replace_words, NULL)) {
        if (answer->open) /* the next block without a heading is about the same file */
            strcpy(answer->heading, answer->open->path);
        answer->since = 0;
        close_edit(answer, true);
        answer->state = answer->mark ? FENCE : OUTSIDE;
    } else if (is_marker(line, '=', NULL, NULL)) {
        confuse(answer, answer->line, "is a second divider (=======) in one block");
    } else if (begins_block(line, NULL)) {
        confuse(answer, answer->line, "begins a block before the one above has ended");
    } else if (answer->open) {
        add_line(&answer->open->after, line);
    }
}

static void read_line(struct kg_answer *answer, const char *text, size_t length)
{
    static void (*const steps[])(struct kg_answer *, const struct kg_line *) = { outside, in_fence, in_search, in_replace };
    struct kg_line line = { .text = text, .length = length };
    while (line.length && line.text[line.length - 1] == '\r')
        line.length--;
    answer->line++;
    steps[answer->state](answer, &line);
}

enum kg_status kg_answer_add(struct kg_answer *answer, const char *text, size_t length, struct kg_error *err)
{
    if (answer->ended)
        return kg_fail(err, KG_ERR_USAGE, "an answer that has ended takes no more text");
    if (length > KG_ANSWER_MOST - answer->text.length)
        return kg_fail(err, KG_ERR_RANGE, "the answer is longer than %zu bytes", KG_ANSWER_MOST);
    kg_growing_add(&answer->text, text, length);
    if (answer->text.failed)
        return kg_fail_nomem(err, "reading an answer");
    for (;;) {
        char *at = answer->text.bytes + answer->read;
        char *feed = answer->text.bytes ? memchr(at, '\n', answer->text.length - answer->read) : NULL;
        if (!feed)
            break;
        read_line(answer, at, (size_t)(feed - at));
        answer->read = (size_t)(feed - answer->text.bytes) + 1;
    }
    return answer->no_memory ? kg_fail_nomem(err, "reading an answer") : KG_OK;
}

/* The block lacks its end, but the fence around it has one. */
static bool fence_closes_block(struct kg_answer *answer)
{
    struct kg_growing *after = &answer->open->after;
    struct kg_lines lines;
    bool closed = false;
    if (!answer->mark || !kg_lines_of(after->bytes ? after->bytes : "", after->length, &lines))
        return false;
    size_t n = lines.count;
    while (n > 0 && kg_is_blank(&lines.lines[n - 1]))
        n--;
    if (n > 0 && closes_fence(answer, &lines.lines[n - 1])) {
        closed = true;
        for (size_t i = 0; i + 1 < n; i++)
            closed = closed && !closes_fence(answer, &lines.lines[i]);
        if (closed)
            after->length = (size_t)(lines.lines[n - 1].text - after->bytes);
    }
    kg_lines_free(&lines);
    return closed;
}

/* Fences of an answer that has blocks are explanations; in one that was asked for blocks and has none they are definitions. */
static void settle_fences(struct kg_answer *answer)
{
    size_t kept = 0;
    for (size_t i = 0; i < answer->count; i++) {
        struct edit *edit = &answer->edits[i];
        if (!edit->block && (answer->any_blocks || (edit->shell && !edit->path[0]))) {
            free_edit(edit);
            continue;
        }
        if (!edit->block && edit->form == KG_FORM_SEARCH)
            edit->form = KG_FORM_DEFINITION;
        if (kept != i)
            answer->edits[kept] = *edit;
        kept++;
    }
    answer->count = kept;
}

enum kg_status kg_answer_end(struct kg_answer *answer, bool whole, struct kg_error *err)
{
    if (!answer->ended && answer->text.length > answer->read)
        read_line(answer, answer->text.bytes + answer->read, answer->text.length - answer->read);
    answer->read = answer->text.length;
    answer->ended = true;
    answer->whole = whole;
    if (answer->open && answer->state == REPLACE)
        close_edit(answer, fence_closes_block(answer));
    else if (answer->open && answer->state == SEARCH)
        close_edit(answer, false);
    else if (answer->state == FENCE)
        leave_fence(answer, false);
    answer->state = OUTSIDE;
    settle_fences(answer);
    if (answer->no_memory)
        return kg_fail_nomem(err, "reading an answer");
    if (answer->confused.text[0]) {
        if (err)
            *err = answer->confused;
        return KG_ERR_FORMAT;
    }
    return KG_OK;
}

bool kg_answer_whole(const struct kg_answer *answer)
{
    return answer->whole;
}

enum kg_form kg_answer_form(const struct kg_answer *answer)
{
    return answer->form;
}

const char *kg_answer_text(const struct kg_answer *answer, size_t *length)
{
    *length = answer->text.length;
    return answer->text.bytes ? answer->text.bytes : "";
}

size_t kg_answer_edits(const struct kg_answer *answer)
{
    return answer->count;
}

struct kg_edit kg_answer_edit(const struct kg_answer *answer, size_t index)
{
    const struct edit *edit = &answer->edits[index];
    return (struct kg_edit){ .form = edit->form, .path = edit->path, .before = edit->before.bytes, .before_length = edit->before.length,
                             .after = edit->after.bytes, .after_length = edit->after.length, .line = edit->line, .closed = edit->closed, .fence = edit->fence };
}
