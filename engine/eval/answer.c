#include "engine/eval/eval.h"

#include <string.h>

static const char space[] = " \t\r\n\v\f";

/* Where the next line begins; the text's end behind the last one. */
static const char *next_line(const char *line)
{
    line += strcspn(line, "\n");
    return *line ? line + 1 : line;
}

static bool begins(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

/* How many marks a line's fence has: at least three of a kind, behind any indentation (lists have some); 0: it is none. */
static size_t fence(const char *line, char *mark)
{
    line += strspn(line, " \t");
    if (*line != '`' && *line != '~')
        return 0;
    *mark = *line;
    size_t n = strspn(line, (const char[]){ *line, '\0' });
    return n >= 3 ? n : 0;
}

static bool closes(const char *line, char mark, size_t marks)
{
    char other;
    size_t n = fence(line, &other);
    const char *behind = line + strspn(line, " \t") + n;
    behind += strspn(behind, " \t\r");
    return n >= marks && other == mark && (*behind == '\n' || *behind == '\0');
}

/* Some models name the language in the block's first line in place of behind the fence. */
static const char *behind_language(const char *text)
{
    size_t n = begins(text, "python") ? 6 : 0;
    return n && strchr("\r\n", text[n]) ? next_line(text) : text;
}

/* The first block at or behind `from`; where the search goes on. NULL when there is none. */
static const char *next_block(const char *from, struct kg_eval_span *out)
{
    for (const char *line = from; *line; line = next_line(line)) {
        char mark;
        size_t marks = fence(line, &mark);
        if (!marks)
            continue;
        out->text = behind_language(next_line(line));
        const char *end = out->text;
        while (*end && !closes(end, mark, marks))
            end = next_line(end);
        out->length = (size_t)(end - out->text);
        return next_line(end);
    }
    return NULL;
}

/* Has the span a line "def NAME("? */
static bool defines(struct kg_eval_span span, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = span.text; line < span.text + span.length; line = next_line(line)) {
        const char *at = line + strspn(line, " \t");
        at += begins(at, "async ") ? 6 : 0;
        if (!begins(at, "def "))
            continue;
        at += 4 + strspn(at + 4, " ");
        if (begins(at, name) && (at[n] == '(' || at[n] == ' ') && at + n < span.text + span.length)
            return true;
    }
    return false;
}

static bool is_indented(struct kg_eval_span span)
{
    const char *end = span.text + span.length;
    for (const char *line = span.text; line < end; line = next_line(line)) {
        const char *first = line + strspn(line, " \t\r\f");
        if (first < end && *first != '\n') /* an empty line says nothing */
            return first > line;
    }
    return false;
}

static bool is_empty(struct kg_eval_span span)
{
    return strspn(span.text, space) >= span.length;
}

/* An answer without blocks: from its first line that is code. */
static enum kg_eval_code bare_code(const char *answer, const char *entry_point, struct kg_eval_span *out)
{
    *out = (struct kg_eval_span){ answer, strlen(answer) };
    if (is_indented(*out))
        return KG_EVAL_CONTINUATION;
    if (!defines(*out, entry_point))
        return KG_EVAL_NO_CODE;
    static const char *const beginnings[] = { "def ", "async def ", "class ", "import ", "from ", "@", "#" };
    for (const char *line = answer; *line; line = next_line(line))
        for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
            if (begins(line, beginnings[i])) {
                *out = (struct kg_eval_span){ line, strlen(line) };
                return KG_EVAL_WHOLE;
            }
    return KG_EVAL_NO_CODE; /* the definition is inside of something else */
}

enum kg_eval_code kg_eval_code_of(const char *answer, const char *entry_point, struct kg_eval_span *out)
{
    struct kg_eval_span block, first = { 0 };
    for (const char *at = answer; (at = next_block(at, &block));) {
        if (defines(block, entry_point)) {
            *out = block;
            return KG_EVAL_WHOLE;
        }
        if (!first.text && !is_empty(block))
            first = block;
    }
    *out = first;
    if (!first.text)
        return bare_code(answer, entry_point, out);
    return is_indented(first) ? KG_EVAL_CONTINUATION : KG_EVAL_WHOLE;
}

struct kg_eval_span kg_eval_trimmed(const char *text, size_t length)
{
    while (length && memchr(space, *text, sizeof space - 1)) {
        text++;
        length--;
    }
    while (length && memchr(space, text[length - 1], sizeof space - 1))
        length--;
    return (struct kg_eval_span){ text, length };
}

bool kg_eval_line_of(const char *text, struct kg_eval_span *out)
{
    if (*text == '\n')
        text++;
    else if (begins(text, " \n"))
        text += 2;
    const char *end = text + strcspn(text, "\n");
    *out = kg_eval_trimmed(text, (size_t)(end - text));
    return *end == '\n';
}
