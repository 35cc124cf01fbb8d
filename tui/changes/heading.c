#include "tui/changes/heading.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char *const names_without_dot[] = { "Makefile", "GNUmakefile", "Dockerfile", "Containerfile", "Jenkinsfile", "Rakefile", "Gemfile", "Procfile",
                                                 "Vagrantfile", "Justfile", "README", "LICENSE", "CHANGELOG", "CODEOWNERS", NULL };

/* A name with an ending, a directory before it, or a known one. */
static bool looks_like_path(const char *text, size_t length, bool blanks)
{
    bool slash = false;
    bool dot = false;
    bool letters = false;
    if (length == 0 || length >= KG_HEADING_MOST || text[length - 1] == '/')
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c == ' ' && !blanks) || c == '\t' || strchr("`\"'<>|(){}[]=,;*?!", c))
            return false;
        slash |= c == '/';
        dot |= c == '.' && i + 1 < length && (isalnum((unsigned char)text[i + 1]) || text[i + 1] == '_');
        letters |= isalpha(c) || c >= 0x80;
    }
    for (const char *const *name = names_without_dot; *name; name++)
        if (strlen(*name) == length && memcmp(*name, text, length) == 0)
            return true;
    if (length > 3 && memmem(text, length, "://", 3))
        return false;
    return letters && (slash || dot);
}

static bool take(const char *text, size_t length, bool blanks, char out[KG_HEADING_MOST])
{
    while (length > 2 && text[0] == '.' && text[1] == '/') {
        text += 2;
        length -= 2;
    }
    if (!looks_like_path(text, length, blanks))
        return false;
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

static size_t skip_word(const char *text, size_t length, const char *word)
{
    size_t n = strlen(word);
    return length > n && strncasecmp(text, word, n) == 0 ? n : 0;
}

/* What may stand before a path: signs of headings, lists and comments, then a word such as "File:". */
static void skip_lead(const char **text, size_t *length)
{
    static const char *const words[] = { "filename:", "file name:", "filepath:", "file path:", "file:", "path:", "file ", "edit ", "in ", NULL };
    size_t n = 0;
    while (n < *length && strchr("#*->/;%<!+ \t`\"'", (*text)[n]) && !((*text)[n] == '/' && n + 1 < *length && n == 0 && (*text)[1] != '/' && (*text)[1] != '*'))
        n++;
    if (n + 1 < *length && isdigit((unsigned char)(*text)[n]) && (*text)[n + 1] == '.' && n + 2 < *length && (*text)[n + 2] == ' ')
        n += 3;
    *text += n;
    *length -= n;
    for (const char *const *word = words; *word; word++) {
        size_t skip = skip_word(*text, *length, *word);
        if (skip) {
            *text += skip;
            *length -= skip;
            break;
        }
    }
    while (*length && strchr(" \t`*\"'", **text)) {
        (*text)++;
        (*length)--;
    }
}

bool kg_bare_path(const struct kg_line *line, char out[KG_HEADING_MOST])
{
    struct kg_line t = kg_trimmed(line);
    bool quoted = memchr(t.text, '`', t.length) != NULL;
    skip_lead(&t.text, &t.length);
    for (;;) {
        if (t.length && strchr(":`*\"' \t", t.text[t.length - 1]))
            t.length--;
        else if (t.length > 2 && (memcmp(t.text + t.length - 2, "*/", 2) == 0))
            t.length -= 2;
        else if (t.length > 3 && memcmp(t.text + t.length - 3, "-->", 3) == 0)
            t.length -= 3;
        else
            break;
    }
    return take(t.text, t.length, quoted, out);
}

bool kg_heading_path(const struct kg_line *line, char out[KG_HEADING_MOST])
{
    if (kg_bare_path(line, out))
        return true;
    char found[KG_HEADING_MOST];
    size_t paths = 0;
    const char *at = line->text;
    const char *end = line->text + line->length;
    while ((at = memchr(at, '`', (size_t)(end - at))) != NULL) {
        const char *close = memchr(at + 1, '`', (size_t)(end - at - 1));
        if (!close)
            break;
        if (take(at + 1, (size_t)(close - at - 1), true, found) && (paths == 0 || strcmp(found, out) != 0)) {
            paths++;
            strcpy(out, found);
        }
        at = close + 1;
    }
    return paths == 1;
}

bool kg_info_path(const char *info, size_t length, char out[KG_HEADING_MOST])
{
    static const char separators[] = " \t:=\"'`{}(),";
    bool found = false;
    for (size_t i = 0; i < length;) {
        size_t n = 0;
        while (i + n < length && !strchr(separators, info[i + n]))
            n++;
        found = take(info + i, n, false, out);
        if (found)
            break;
        i += n + 1;
    }
    return found;
}

static bool holds(const struct kg_line *line, const char *words)
{
    size_t n = strlen(words);
    for (size_t i = 0; i + n <= line->length; i++)
        if (strncasecmp(line->text + i, words, n) == 0)
            return true;
    return false;
}

/* The text of a line that is nothing but a comment, or of the whole line. */
static struct kg_line comment_text(const struct kg_line *line, bool *comment)
{
    static const char *const leads[] = { "//", "/*", "#", "--", "<!--", "{/*", ";", "%", "*", NULL };
    struct kg_line t = kg_trimmed(line);
    *comment = false;
    for (const char *const *lead = leads; *lead; lead++) {
        size_t n = strlen(*lead);
        if (t.length > n && memcmp(t.text, *lead, n) == 0) {
            *comment = true;
            t.text += n;
            t.length -= n;
            break;
        }
    }
    t = kg_trimmed(&t);
    return t;
}

bool kg_leaves_out(const struct kg_line *line)
{
    static const char *const surely[] = { "rest of the code",    "rest of code",         "rest of the file",    "rest of file",      "rest of the function",
                                          "rest of function",    "rest of the method",   "rest of the class",   "existing code",     "remaining code",
                                          "code remains",        "remains unchanged",    "remain unchanged",    "remains the same",  "remain the same",
                                          "omitted for brevity", "unchanged code",       "same as before",      "previous code",     "other code here",
                                          "your code here",      "code goes here",       "implementation here", "other methods",     "other functions", NULL };
    static const char *const perhaps[] = { "rest", "existing", "remaining", "unchanged", "same", "previous", "other", "omitted", "code", "before", "more", NULL };
    bool comment;
    struct kg_line t = comment_text(line, &comment);
    bool dots = t.length >= 3 && (memcmp(t.text, "...", 3) == 0 || memcmp(t.text, "\xe2\x80\xa6", 3) == 0);
    if (dots && (comment || t.length == 3))
        return true;
    if (!comment && !dots && !(t.length && strchr("([<", t.text[0])))
        return false;
    bool any_dots = holds(&t, "...") || holds(&t, "\xe2\x80\xa6");
    for (const char *const *words = surely; *words && t.length < 100; words++)
        if (holds(&t, *words))
            return true;
    for (const char *const *words = perhaps; *words && any_dots; words++)
        if (holds(&t, *words))
            return true;
    return false;
}
