#include "tui/changes/proposal.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tui/changes/definition.h"
#include "tui/changes/extent.h"
#include "tui/changes/heading.h"
#include "tui/changes/match.h"
#include "tui/changes/text.h"
#include "tui/changes/worktree.h"

#define FILES_MOST 200      /* changed by one answer */
#define SAID_MOST ((size_t)8192)

/* A file as the edits so far leave it. */
struct target {
    char *path;
    const struct kg_shown_file *shown; /* NULL: found by more, or new */
    char *before, *after; /* before NULL: new */
    size_t before_length, after_length;
    struct kg_growing said;
    bool replaced; /* as a whole */
};

struct work {
    const struct kg_answer *answer;
    const struct kg_shown_file *files;
    size_t count;
    const struct kg_more_files *more;
    struct target *targets;
    size_t target_count;
};

__attribute__((format(printf, 2, 3))) static void say(struct target *target, const char *format, ...)
{
    char raw[600];
    char line[800];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    kg_printable(line, sizeof line, raw, strlen(raw));
    if (target->said.length > SAID_MOST)
        return;
    kg_growing_puts(&target->said, line);
    kg_growing_puts(&target->said, "\n");
}

static const struct kg_shown_file *shown_as(const struct work *w, const char *path)
{
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->files[i].path, path) == 0)
            return &w->files[i];
    return NULL;
}

/* The one shown file whose path ends in this one, at a slash. */
static const struct kg_shown_file *shown_short(const struct work *w, const char *path)
{
    const struct kg_shown_file *found = NULL;
    size_t n = strlen(path);
    for (size_t i = 0; i < w->count; i++) {
        size_t m = strlen(w->files[i].path);
        if (m <= n || w->files[i].path[m - n - 1] != '/' || strcmp(w->files[i].path + m - n, path) != 0)
            continue;
        if (found)
            return NULL;
        found = &w->files[i];
    }
    return found;
}

static enum kg_status add_target(struct work *w, const char *path, const struct kg_shown_file *shown, struct target **out, struct kg_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < w->target_count; i++)
        if (strcmp(w->targets[i].path, path) == 0) {
            *out = &w->targets[i];
            return KG_OK;
        }
    if (w->target_count == FILES_MOST)
        return kg_fail(err, KG_ERR_RANGE, "the answer changes more than %d files; ask for less at a time", FILES_MOST);
    const char *why;
    if (kg_guard_of_path(path, &why) == KG_GUARD_NEVER)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "the answer names '%s', which %s: it is not written", path, why);
    struct target *target = &w->targets[w->target_count];
    *target = (struct target){ .path = strdup(path), .shown = shown };
    if (!target->path)
        return kg_fail_nomem(err, "reading an answer");
    w->target_count++;
    enum kg_status status = KG_OK;
    if (shown) {
        target->before = kg_copy_text(shown->text, shown->length);
        target->before_length = shown->length;
        status = target->before ? KG_OK : kg_fail_nomem(err, "reading an answer");
    } else if (w->more) {
        status = w->more->read(w->more->ctx, path, &target->before, &target->before_length, err);
        if (status == KG_ERR_NOT_FOUND)
            status = KG_OK;
    }
    if (status == KG_OK) {
        target->after = kg_copy_text(target->before, target->before_length);
        target->after_length = target->before_length;
        status = target->after ? KG_OK : kg_fail_nomem(err, "reading an answer");
    }
    *out = target;
    return status;
}

static bool whole_lines_hold(const struct kg_shown_file *file, const struct kg_edit *edit)
{
    struct kg_lines lines = { 0 };
    struct kg_lines wanted = { 0 };
    struct kg_match match;
    bool holds = kg_lines_of(file->text, file->length, &lines) && kg_lines_of(edit->before, edit->before_length, &wanted) && wanted.count &&
                 kg_match_lines(&lines, &wanted, file->path, &match, NULL) == KG_OK && match.kind <= KG_MATCH_TRAILING;
    kg_lines_free(&lines);
    kg_lines_free(&wanted);
    return holds;
}

/* The one shown file that has definitions of the edit's, or NULL; never `but`. */
static enum kg_status definer(const struct work *w, const struct kg_edit *edit, const struct kg_shown_file *but, const struct kg_shown_file **out, struct kg_error *err)
{
    size_t files = 0;
    *out = NULL;
    for (size_t i = 0; i < w->count; i++) {
        const struct kg_shown_file *file = &w->files[i];
        size_t known = 0;
        enum kg_status status = file == but ? KG_OK : kg_known_definitions(file->path, file->text, file->length, edit->after, edit->after_length, &known, err);
        if (status != KG_OK)
            return status;
        files += known > 0;
        *out = known == 0 ? *out : files == 1 ? file : NULL;
    }
    return KG_OK;
}

/* Where definitions are put that name no file, or one that has none of them. */
static enum kg_status find_definer(struct work *w, const struct kg_edit *edit, const struct kg_shown_file *named, bool *found, struct target **out, struct kg_error *err)
{
    const struct kg_shown_file *file = NULL;
    size_t known = 0;
    enum kg_status status = KG_OK;
    *found = false;
    if (edit->form != KG_FORM_DEFINITION)
        return KG_OK;
    if (named)
        status = kg_known_definitions(named->path, named->text, named->length, edit->after, edit->after_length, &known, err);
    if (status == KG_OK && known == 0)
        status = definer(w, edit, named, &file, err);
    if (status != KG_OK || !file)
        return status;
    *found = true;
    status = add_target(w, file->path, file, out, err);
    if (status == KG_OK)
        say(*out, "the definitions in line %u of the answer are those of %s", edit->line, file->path);
    return status;
}

/* The file of an edit that names none. */
static enum kg_status unnamed(struct work *w, const struct kg_edit *edit, struct target **out, struct kg_error *err)
{
    const struct kg_shown_file *found = NULL;
    size_t holders = 0;
    for (size_t i = 0; i < w->count; i++)
        if (w->count == 1 || (edit->form == KG_FORM_REGION && w->files[i].first > 0))
            return add_target(w, w->files[i].path, &w->files[i], out, err);
    for (size_t i = 0; i < w->count && edit->form == KG_FORM_SEARCH; i++)
        if (whole_lines_hold(&w->files[i], edit)) {
            found = &w->files[i];
            holders++;
        }
    bool defined;
    enum kg_status status_of = find_definer(w, edit, NULL, &defined, out, err);
    if (status_of != KG_OK || defined)
        return status_of;
    if (holders == 1) {
        enum kg_status status = add_target(w, found->path, found, out, err);
        if (status == KG_OK && *out)
            say(*out, "the edit names no file; its lines stand in %s only", found->path);
        return status;
    }
    return kg_fail(err, KG_ERR_FORMAT, "the edit in line %u of the answer does not say of which file: ask again", edit->line);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (unsigned char)c >= 0x80;
}

static bool has_word(const struct kg_line *line)
{
    for (size_t i = 0; i < line->length; i++)
        if (is_word(line->text[i]))
            return true;
    return false;
}

/* How many of the lines with words that the file has are in the text, of 1. */
static double kept_part(const char *before, size_t before_length, const char *text, size_t length)
{
    struct kg_lines old = { 0 };
    struct kg_lines new = { 0 };
    size_t all = 0;
    size_t kept = 0;
    if (kg_lines_of(before, before_length, &old) && kg_lines_of(text, length, &new))
        for (size_t i = 0; i < old.count; i++) {
            bool there = false;
            if (!has_word(&old.lines[i]))
                continue;
            for (size_t j = 0; j < new.count && !there && all < 5000; j++)
                there = kg_same_trimmed(&old.lines[i], &new.lines[j]);
            all++;
            kept += there;
        }
    kg_lines_free(&old);
    kg_lines_free(&new);
    return all ? (double)kept / (double)all : 1;
}

/* A first line that is a heading, not text: the path of the file alone, or in a comment that the file does not begin with. */
static void strip_heading(const struct work *w, struct kg_edit *edit, char path[KG_HEADING_MOST])
{
    char found[KG_HEADING_MOST];
    struct kg_line line = { .text = edit->after, .length = strcspn(edit->after, "\n") };
    path[0] = '\0';
    if (edit->form == KG_FORM_SEARCH || edit->after_length == 0 || !kg_bare_path(&line, found))
        return;
    const struct kg_shown_file *shown = shown_as(w, found);
    bool named = edit->path[0] && strcmp(found, edit->path) == 0;
    bool comment = kg_trimmed(&line).length && strchr("#/<-*", kg_trimmed(&line).text[0]) != NULL;
    if (!shown && !named && !(!edit->path[0] && comment && strchr(found, '/')))
        return;
    const struct kg_shown_file *file = shown ? shown : edit->path[0] ? shown_as(w, edit->path) : NULL;
    if (file && file->length > line.length && memcmp(file->text, line.text, line.length) == 0 && strchr("\r\n", file->text[line.length])) {
        strcpy(path, found);
        return; /* the file begins so */
    }
    strcpy(path, found);
    size_t skip = line.length + (line.length < edit->after_length);
    edit->after += skip;
    edit->after_length -= skip;
}

static enum kg_status find_target(struct work *w, const struct kg_edit *edit, const char *heading, struct target **out, struct kg_error *err)
{
    const char *path = edit->path[0] ? edit->path : heading;
    if (!path[0])
        return unnamed(w, edit, out, err);
    const struct kg_shown_file *shown = shown_as(w, path);
    const struct kg_shown_file *meant = shown ? NULL : shown_short(w, path);
    bool elsewhere = false;
    enum kg_status status_of = shown ? find_definer(w, edit, shown, &elsewhere, out, err) : KG_OK;
    if (status_of != KG_OK || elsewhere)
        return status_of;
    bool alike = meant && (edit->form != KG_FORM_FILE || kept_part(meant->text, meant->length, edit->after, edit->after_length) >= 0.3);
    if (shown || !alike) {
        enum kg_status status = add_target(w, path, shown, out, err);
        if (status == KG_OK && *out && !shown && (*out)->before && edit->form != KG_FORM_SEARCH)
            return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is there, and the model was not shown it: name it, so that it is read first", path);
        return status;
    }
    enum kg_status status = add_target(w, meant->path, meant, out, err);
    if (status == KG_OK && *out)
        say(*out, "%s is taken for %s", path, meant->path);
    return status;
}

static enum kg_status set_after(struct target *target, struct kg_growing *text, struct kg_error *err)
{
    size_t length;
    char *bytes = kg_growing_take(text, &length);
    if (!bytes)
        return kg_fail_nomem(err, "applying an edit");
    free(target->after);
    target->after = bytes;
    target->after_length = length;
    return KG_OK;
}

static enum kg_status refuse_left_out(const struct target *target, const struct kg_line *line, struct kg_error *err)
{
    struct kg_line t = kg_trimmed(line);
    return kg_fail(err, KG_ERR_UNSUPPORTED, "the answer leaves out text of %s (\"%.*s\"): ask again, or for blocks (search)", target->path,
                   (int)(t.length < 60 ? t.length : 60), t.text);
}

/* No line of what takes the place stands for others, unless the file itself has that line. */
static enum kg_status check_left_out(const struct target *target, const struct kg_lines *file, const struct kg_lines *after, struct kg_error *err)
{
    for (size_t i = 0; i < after->count; i++) {
        bool known = !kg_leaves_out(&after->lines[i]);
        for (size_t j = 0; j < file->count && !known; j++)
            known = kg_same_trimmed(&after->lines[i], &file->lines[j]);
        if (!known)
            return refuse_left_out(target, &after->lines[i], err);
    }
    return KG_OK;
}

static enum kg_status fresh_content(struct target *target, const struct kg_edit *edit, struct kg_error *err)
{
    struct kg_growing text = { 0 };
    struct kg_lines none = { 0 };
    struct kg_lines after;
    if (!kg_lines_of(edit->after, edit->after_length, &after))
        return kg_fail_nomem(err, "applying an edit");
    enum kg_status status = check_left_out(target, &none, &after, err);
    kg_lines_free(&after);
    kg_growing_add(&text, edit->after, edit->after_length);
    if (status == KG_OK)
        return set_after(target, &text, err);
    kg_growing_free(&text);
    return status;
}

static const char *how(const struct kg_match *match)
{
    static const char *const words[] = { "", "but for blanks at ends of lines", "but for indentation", "but for blanks", "nearly" };
    return words[match->kind];
}

/* The only place of a text within a line, or SIZE_MAX. */
static size_t only_place(const char *text, size_t length, const struct kg_line *wanted)
{
    const char *first = wanted->length ? memmem(text, length, wanted->text, wanted->length) : NULL;
    size_t behind = first ? (size_t)(first - text) + 1 : 0;
    return first && !memmem(text + behind, length - behind, wanted->text, wanted->length) ? behind - 1 : SIZE_MAX;
}

/* One line, wanted and given, that is a part of one line of the file. */
static bool replace_within(struct target *target, const struct kg_lines *wanted, const struct kg_lines *after, struct kg_growing *out)
{
    if (wanted->count != 1 || after->count != 1)
        return false;
    struct kg_line want = kg_trimmed(&wanted->lines[0]);
    struct kg_line put = kg_trimmed(&after->lines[0]);
    size_t at = want.length >= 6 ? only_place(target->after, target->after_length, &want) : SIZE_MAX;
    if (at == SIZE_MAX || put.length == 0)
        return false;
    size_t behind = at + want.length;
    if ((at > 0 && is_word(target->after[at - 1]) && is_word(want.text[0])) ||
        (behind < target->after_length && is_word(target->after[behind]) && is_word(want.text[want.length - 1])))
        return false;
    kg_growing_add(out, target->after, at);
    kg_growing_add(out, put.text, put.length);
    kg_growing_add(out, target->after + behind, target->after_length - behind);
    say(target, "what is replaced is a part of a line");
    return true;
}

static enum kg_status search(struct target *target, const struct kg_edit *edit, const struct kg_lines *file, const struct kg_lines *wanted, const struct kg_lines *after,
                             struct kg_error *err)
{
    struct kg_match match;
    struct kg_growing text = { 0 };
    enum kg_status status = check_left_out(target, file, after, err);
    if (status != KG_OK)
        return status;
    status = kg_match_lines(file, wanted, target->path, &match, err);
    if (status == KG_ERR_NOT_FOUND && replace_within(target, wanted, after, &text))
        return set_after(target, &text, err);
    if (status == KG_OK)
        status = kg_match_replace(file, wanted, after, &match, &text, err);
    if (status == KG_OK && match.kind == KG_MATCH_SIMILAR)
        say(target, "the edit in line %u of the answer matches lines %zu to %zu nearly (%.0f %%)", edit->line, match.first + 1, match.first + match.count,
            100 * match.likeness);
    else if (status == KG_OK && match.kind != KG_MATCH_EXACT)
        say(target, "the edit in line %u of the answer matches lines %zu to %zu %s", edit->line, match.first + 1, match.first + match.count, how(&match));
    if (status == KG_OK)
        return set_after(target, &text, err);
    kg_growing_free(&text);
    return status;
}

static enum kg_status apply_search(struct target *target, const struct kg_edit *edit, struct kg_error *err)
{
    struct kg_lines file = { 0 };
    struct kg_lines wanted = { 0 };
    struct kg_lines after = { 0 };
    enum kg_status status = KG_OK;
    if (!kg_lines_of(target->after, target->after_length, &file) || !kg_lines_of(edit->before, edit->before_length, &wanted) ||
        !kg_lines_of(edit->after, edit->after_length, &after))
        status = kg_fail_nomem(err, "applying an edit");
    bool blank = true;
    for (size_t i = 0; i < wanted.count; i++)
        blank = blank && kg_is_blank(&wanted.lines[i]);
    if (status == KG_OK && blank && target->after_length > 0)
        status = kg_fail(err, KG_ERR_FORMAT, "the edit in line %u of the answer does not say what it replaces in %s: ask again", edit->line, target->path);
    else if (status == KG_OK && blank)
        status = fresh_content(target, edit, err);
    else if (status == KG_OK && !target->before && target->after_length == 0)
        status = kg_fail(err, KG_ERR_NOT_FOUND, "there is no %s to replace lines in", target->path);
    else if (status == KG_OK)
        status = search(target, edit, &file, &wanted, &after, err);
    kg_lines_free(&file);
    kg_lines_free(&wanted);
    kg_lines_free(&after);
    return status;
}

static enum kg_status apply_definition(struct target *target, const struct kg_edit *edit, struct kg_error *err)
{
    struct kg_growing text = { 0 };
    if (target->after_length == 0)
        return fresh_content(target, edit, err);
    enum kg_status status =
        kg_replace_definitions(target->path, target->after, target->after_length, edit->after, edit->after_length, &text, &target->said, err);
    if (status == KG_OK)
        return set_after(target, &text, err);
    kg_growing_free(&text);
    return status;
}

/* Lines of an answer in place of some of the file's, with the ends of lines that it has. */
static enum kg_status put_lines(struct target *target, const struct kg_lines *file, size_t first, size_t behind, const struct kg_lines *new, size_t shift,
                                struct kg_error *err)
{
    struct kg_growing text = { 0 };
    const char *feed = kg_ends_in_crlf(file) ? "\r\n" : "\n";
    bool last_has_feed = file->count == 0 || behind < file->count || file->lines[file->count - 1].end > 0;
    for (size_t i = 0; i < first; i++)
        kg_growing_add_line(&text, &file->lines[i]);
    for (size_t i = 0; i < new->count; i++) {
        if (shift && !kg_is_blank(&new->lines[i]))
            kg_growing_add(&text, file->lines[first].text, shift);
        kg_growing_add(&text, new->lines[i].text, new->lines[i].length);
        if (i + 1 < new->count || last_has_feed)
            kg_growing_puts(&text, feed);
    }
    for (size_t i = behind; i < file->count; i++)
        kg_growing_add_line(&text, &file->lines[i]);
    if (text.failed) {
        kg_growing_free(&text);
        return kg_fail_nomem(err, "applying an edit");
    }
    return set_after(target, &text, err);
}

/* Bytes that are no text a model could have written again. */
static bool is_lossy(const char *text, size_t length)
{
    bool lossy = memchr(text, '\0', length) != NULL;
    for (size_t i = 0; i < length && !lossy;) {
        unsigned char c = (unsigned char)text[i];
        size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
        lossy = n == 0 || i + n > length;
        for (size_t k = 1; k < n && !lossy; k++)
            lossy = ((unsigned char)text[i + k] & 0xc0U) != 0x80U;
        i += n ? n : 1;
    }
    return lossy;
}

static bool has_fences(const struct kg_lines *lines, unsigned marks)
{
    for (size_t i = 0; i < lines->count; i++) {
        struct kg_line t = kg_trimmed(&lines->lines[i]);
        size_t n = 0;
        while (n < t.length && (t.text[n] == '`' || t.text[n] == '~') && t.text[n] == t.text[0])
            n++;
        if (n >= 3 && n >= marks)
            return true;
    }
    return false;
}

static enum kg_status check_whole(struct target *target, const struct kg_edit *edit, const struct kg_lines *file, const struct kg_lines *after, struct kg_error *err)
{
    bool python = strlen(target->path) > 3 && strcmp(target->path + strlen(target->path) - 3, ".py") == 0;
    if (target->replaced && (target->after_length != edit->after_length || memcmp(target->after, edit->after, edit->after_length) != 0))
        return kg_fail(err, KG_ERR_FORMAT, "the answer gives two contents for %s: ask again", target->path);
    if (target->before && is_lossy(target->before, target->before_length))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is not valid UTF-8, so that no model can write it anew: ask for blocks (search)", target->path);
    if (edit->fence && has_fences(file, edit->fence))
        return kg_fail(err, KG_ERR_FORMAT, "%s holds fences of its own: where its new text ends cannot be told; ask for blocks (search)", target->path);
    if (!edit->closed && kg_is_balanced(file, 0, file->count, python) && !kg_is_balanced(after, 0, after->count, python))
        return kg_fail(err, KG_ERR_FORMAT, "the answer's text for %s has no end: ask again", target->path);
    return check_left_out(target, file, after, err);
}

/* A text that may well hold fences of its own. */
static bool is_prose(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (strcasecmp(dot, ".md") == 0 || strcasecmp(dot, ".markdown") == 0 || strcasecmp(dot, ".mdx") == 0 || strcasecmp(dot, ".rmd") == 0);
}

/* Whether a whole file was asked for and some of its definitions came: the file's first line is not there, and not most others. */
static enum kg_status is_part(const struct target *target, const struct kg_edit *edit, const struct kg_lines *file, const struct kg_lines *after, bool *part, struct kg_error *err)
{
    size_t first = 0;
    size_t known = 0;
    bool begins = false;
    *part = false;
    while (first < file->count && kg_is_blank(&file->lines[first]))
        first++;
    for (size_t i = 0; i < after->count && first < file->count && !begins; i++)
        begins = kg_same_trimmed(&after->lines[i], &file->lines[first]);
    if (begins || !target->before_length || kept_part(target->before, target->before_length, edit->after, edit->after_length) >= 0.8)
        return KG_OK;
    enum kg_status status = kg_known_definitions(target->path, target->after, target->after_length, edit->after, edit->after_length, &known, err);
    *part = known > 0;
    return status;
}

static enum kg_status apply_file(struct target *target, const struct kg_edit *edit, struct kg_error *err)
{
    struct kg_lines file = { 0 };
    struct kg_lines after = { 0 };
    enum kg_status status = KG_OK;
    if (!kg_lines_of(target->after, target->after_length, &file) || !kg_lines_of(edit->after, edit->after_length, &after))
        status = kg_fail_nomem(err, "applying an edit");
    else
        status = check_whole(target, edit, &file, &after, err);
    bool part = false;
    if (status == KG_OK)
        status = is_part(target, edit, &file, &after, &part, err);
    if (status == KG_OK && part) {
        say(target, "the answer is a part of the file only: what it defines was replaced, the rest is kept");
        status = apply_definition(target, edit, err);
    } else if (status == KG_OK) {
        if (target->before_length && kept_part(target->before, target->before_length, edit->after, edit->after_length) < 0.5)
            say(target, "less than half of its lines are left");
        if (edit->fence == 3 && is_prose(target->path))
            say(target, "its text was taken to end at the first fence");
        status = put_lines(target, &file, 0, file.count, &after, 0, err);
    }
    target->replaced = true;
    kg_lines_free(&file);
    kg_lines_free(&after);
    return status;
}

static size_t least_indent(const struct kg_lines *lines, size_t first, size_t behind)
{
    size_t least = SIZE_MAX;
    for (size_t i = first; i < behind; i++)
        if (!kg_is_blank(&lines->lines[i]) && kg_indent(&lines->lines[i]) < least)
            least = kg_indent(&lines->lines[i]);
    return least;
}

static enum kg_status apply_region(struct target *target, const struct kg_edit *edit, struct kg_error *err)
{
    struct kg_lines file = { 0 };
    struct kg_lines after = { 0 };
    const struct kg_shown_file *shown = target->shown;
    enum kg_status status = KG_OK;
    if (!shown || shown->first == 0)
        return kg_fail(err, KG_ERR_FORMAT, "the answer is about %s, of which no lines were asked about: ask again", target->path);
    if (target->replaced)
        return kg_fail(err, KG_ERR_FORMAT, "the answer gives more than one text for the lines: ask again");
    if (!kg_lines_of(target->after, target->after_length, &file) || !kg_lines_of(edit->after, edit->after_length, &after))
        status = kg_fail_nomem(err, "applying an edit");
    else if (shown->last > file.count || shown->first > shown->last + 1)
        status = kg_fail(err, KG_ERR_RANGE, "%s has %zu lines, not lines %u to %u", target->path, file.count, shown->first, shown->last);
    else if (edit->fence && has_fences(&file, edit->fence))
        status = kg_fail(err, KG_ERR_FORMAT, "%s holds fences of its own: where the new lines end cannot be told; ask for blocks (search)", target->path);
    if (status == KG_OK)
        status = check_left_out(target, &file, &after, err);
    if (status == KG_OK) {
        size_t first = shown->first - 1;
        size_t had = least_indent(&file, first, shown->last);
        size_t has = least_indent(&after, 0, after.count);
        size_t shift = had != SIZE_MAX && has == 0 && had > 0 && kg_indent(&file.lines[first]) >= had ? had : 0;
        if (shift)
            say(target, "the answer is indented as lines %u to %u were", shown->first, shown->last);
        if (!edit->closed)
            say(target, "the answer's lines have no end mark");
        status = put_lines(target, &file, first, shown->last, &after, shift, err);
    }
    target->replaced = true;
    kg_lines_free(&file);
    kg_lines_free(&after);
    return status;
}

static enum kg_status apply(struct work *w, struct kg_edit edit, struct kg_error *err)
{
    static enum kg_status (*const by_form[])(struct target *, const struct kg_edit *, struct kg_error *) = { apply_search, apply_definition, apply_file, apply_region };
    char heading[KG_HEADING_MOST];
    struct target *target = NULL;
    strip_heading(w, &edit, heading);
    if (memchr(edit.after, '\0', edit.after_length))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "the answer's edit in line %u holds a NUL byte", edit.line);
    enum kg_status status = find_target(w, &edit, heading, &target, err);
    if (status != KG_OK || !target)
        return status;
    if (memmem(edit.after, edit.after_length, "\xef\xbf\xbd", 3) && !(target->before && memmem(target->before, target->before_length, "\xef\xbf\xbd", 3)))
        return kg_fail(err, KG_ERR_FORMAT, "the answer's text for %s holds characters that are none: ask again", target->path);
    if (!edit.closed && edit.form == KG_FORM_SEARCH)
        return kg_fail(err, KG_ERR_FORMAT, "the block in line %u of the answer has no end: ask again", edit.line);
    if (!edit.closed)
        say(target, "the fence in line %u of the answer has no end: all that follows was taken", edit.line);
    if (edit.form != kg_answer_form(w->answer) && kg_answer_form(w->answer) != KG_FORM_ANY)
        say(target, "the answer is in the form %s, not %s", kg_form_name(edit.form), kg_form_name(kg_answer_form(w->answer)));
    return by_form[edit.form](target, &edit, err);
}

/* Lines without a fence around them: taken when most of them are those that were asked about. */
static enum kg_status bare_lines(struct work *w, bool *taken, struct kg_error *err)
{
    size_t length;
    const char *text = kg_answer_text(w->answer, &length);
    enum kg_form form = kg_answer_form(w->answer);
    *taken = false;
    if ((form != KG_FORM_REGION && form != KG_FORM_FILE) || w->count != 1 || length == 0)
        return KG_OK;
    struct kg_growing whole = { 0 };
    kg_growing_add(&whole, text, length);
    if (text[length - 1] != '\n')
        kg_growing_puts(&whole, "\n");
    struct kg_edit edit = { .form = form, .path = w->files[0].path, .before = "", .after = whole.bytes, .after_length = whole.length, .line = 1, .closed = true };
    enum kg_status status = KG_OK;
    if (!whole.failed && kept_part(whole.bytes, whole.length, w->files[0].text, w->files[0].length) >= 0.5) {
        struct target *target = NULL;
        *taken = true;
        status = add_target(w, edit.path, &w->files[0], &target, err);
        if (status == KG_OK && target)
            say(target, "the answer has no fence: all of it was taken");
        if (status == KG_OK)
            status = apply(w, edit, err);
    }
    kg_growing_free(&whole);
    return status;
}

static enum kg_status take_results(struct work *w, struct kg_proposal *out, struct kg_error *err)
{
    out->changes = calloc(w->target_count ? w->target_count : 1, sizeof *out->changes);
    if (!out->changes)
        return kg_fail_nomem(err, "reading an answer");
    for (size_t i = 0; i < w->target_count; i++) {
        struct target *t = &w->targets[i];
        size_t said;
        if (t->before && t->before_length == t->after_length && memcmp(t->before, t->after, t->after_length) == 0)
            continue;
        struct kg_change *change = &out->changes[out->count++];
        *change = (struct kg_change){ .path = t->path, .before = t->before, .before_length = t->before_length, .after = t->after, .after_length = t->after_length };
        if (t->said.length)
            change->said = kg_growing_take(&t->said, &said);
        t->path = t->before = t->after = NULL;
    }
    out->same = out->count == 0;
    if (out->same)
        return kg_fail(err, KG_ERR_NOT_FOUND, "the answer changes nothing: ask again, with other words");
    return KG_OK;
}

static enum kg_status apply_all(struct work *w, size_t edits, struct kg_error *err)
{
    bool taken = false;
    enum kg_status status = KG_OK;
    if (edits == 0)
        status = bare_lines(w, &taken, err);
    if (edits == 0 && status == KG_OK && !taken)
        return kg_fail(err, KG_ERR_NOT_FOUND, "there is no edit in the answer: ask again, or for another form");
    for (size_t i = 0; i < edits && status == KG_OK; i++)
        status = apply(w, kg_answer_edit(w->answer, i), err);
    return status;
}

enum kg_status kg_proposal_of(const struct kg_answer *answer, const struct kg_shown_file *files, size_t count, const struct kg_more_files *more,
                              struct kg_proposal *out, struct kg_error *err)
{
    struct work w = { .answer = answer, .files = files, .count = count, .more = more };
    size_t edits = kg_answer_edits(answer);
    *out = (struct kg_proposal){ .cut = !kg_answer_whole(answer) };
    while (out->cut && edits > 0 && !kg_answer_edit(answer, edits - 1).closed)
        edits--;
    if (out->cut && edits == 0)
        return kg_fail(err, KG_ERR_FORMAT, "the answer was cut off before its first edit was complete: ask again, with more tokens or for less");
    w.targets = calloc(FILES_MOST, sizeof *w.targets);
    enum kg_status status = w.targets ? apply_all(&w, edits, err) : kg_fail_nomem(err, "reading an answer");
    if (status == KG_OK)
        status = take_results(&w, out, err);
    for (size_t i = 0; i < w.target_count; i++) {
        free(w.targets[i].path);
        free(w.targets[i].before);
        free(w.targets[i].after);
        kg_growing_free(&w.targets[i].said);
    }
    free(w.targets);
    return status;
}

void kg_proposal_free(struct kg_proposal *proposal)
{
    for (size_t i = 0; i < proposal->count; i++) {
        free(proposal->changes[i].path);
        free(proposal->changes[i].before);
        free(proposal->changes[i].after);
        free(proposal->changes[i].said);
    }
    free(proposal->changes);
    *proposal = (struct kg_proposal){ 0 };
}
