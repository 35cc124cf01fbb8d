#include "tui/changes/hunks.h"

#include <git2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/changes/text.h"

struct hunk {
    char *header;
    size_t first, behind; /* lines of the text before, from 0 */
    struct kg_hunk_line *lines; /* into the texts */
    size_t count;
    char *after;
    size_t after_length;
};

struct kg_hunks {
    char *before, *text; /* text: after */
    struct kg_lines lines; /* of before */
    struct hunk *hunks;
    size_t count;
};

/* Text that git would not show as text is changed by nobody here. */
static const git_diff_options as_text = { .version = GIT_DIFF_OPTIONS_VERSION, .flags = GIT_DIFF_FORCE_TEXT | GIT_DIFF_INDENT_HEURISTIC, .context_lines = 3 };

static enum kg_status git_failed(struct kg_error *err)
{
    const git_error *last = git_error_last();
    return kg_fail(err, KG_ERR_NOMEM, "cannot compare two texts: %s", last ? last->message : "out of memory");
}

static void free_hunk(struct hunk *hunk)
{
    free(hunk->header);
    free(hunk->lines);
    free(hunk->after);
}

void kg_hunks_free(struct kg_hunks *hunks)
{
    if (!hunks)
        return;
    for (size_t i = 0; i < hunks->count; i++)
        free_hunk(&hunks->hunks[i]);
    free(hunks->hunks);
    kg_lines_free(&hunks->lines);
    free(hunks->before);
    free(hunks->text);
    free(hunks);
}

/* A line of a patch points into the texts that were compared, which are ours. */
static bool read_line(git_patch *patch, size_t index, size_t line, struct hunk *hunk, struct kg_growing *after)
{
    const git_diff_line *of;
    if (git_patch_get_line_in_hunk(&of, patch, index, line) != 0)
        return false;
    if (of->origin != GIT_DIFF_LINE_CONTEXT && of->origin != GIT_DIFF_LINE_ADDITION && of->origin != GIT_DIFF_LINE_DELETION)
        return true; /* "no newline at end of file" */
    size_t length = of->content_len;
    bool feed = length > 0 && of->content[length - 1] == '\n';
    hunk->lines[hunk->count++] = (struct kg_hunk_line){ .origin = of->origin, .text = of->content, .length = length - feed, .last_without_feed = !feed };
    if (of->origin != GIT_DIFF_LINE_DELETION)
        kg_growing_add(after, of->content, length);
    return true;
}

static bool read_hunk(git_patch *patch, size_t index, struct hunk *out)
{
    const git_diff_hunk *hunk;
    size_t lines;
    struct kg_growing after = { 0 };
    char header[GIT_DIFF_HUNK_HEADER_SIZE * 4];
    if (git_patch_get_hunk(&hunk, &lines, patch, index) != 0)
        return false;
    size_t length = hunk->header_len;
    while (length && (hunk->header[length - 1] == '\n' || hunk->header[length - 1] == '\r'))
        length--;
    kg_printable(header, sizeof header, hunk->header, length);
    out->first = (size_t)hunk->old_start - (hunk->old_lines > 0);
    out->behind = out->first + (size_t)hunk->old_lines;
    out->header = strdup(header);
    out->lines = malloc((lines ? lines : 1) * sizeof *out->lines);
    bool done = out->header && out->lines;
    for (size_t i = 0; i < lines && done; i++)
        done = read_line(patch, index, i, out, &after);
    out->after = kg_growing_take(&after, &out->after_length);
    return done && out->after;
}

static enum kg_status read_patch(struct kg_hunks *hunks, git_patch *patch, struct kg_error *err)
{
    size_t count = git_patch_num_hunks(patch);
    hunks->hunks = calloc(count ? count : 1, sizeof *hunks->hunks);
    if (!hunks->hunks)
        return kg_fail_nomem(err, "comparing two texts");
    if (count == 0) { /* an empty file that is made: something to say yes to, all the same */
        hunks->hunks[0] = (struct hunk){ .header = strdup("no lines"), .after = kg_copy_text("", 0) };
        hunks->count = 1;
        return hunks->hunks[0].header && hunks->hunks[0].after ? KG_OK : kg_fail_nomem(err, "comparing two texts");
    }
    for (; hunks->count < count; hunks->count++)
        if (!read_hunk(patch, hunks->count, &hunks->hunks[hunks->count])) {
            hunks->count++;
            return git_failed(err);
        }
    return KG_OK;
}

enum kg_status kg_hunks_of(const char *before, size_t before_length, const char *after, size_t after_length, struct kg_hunks **out, struct kg_error *err)
{
    git_patch *patch = NULL;
    *out = NULL;
    if (memchr(after, '\0', after_length) || (before && memchr(before, '\0', before_length)))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "the text is binary: it is not shown, and not changed");
    struct kg_hunks *hunks = calloc(1, sizeof *hunks);
    if (!hunks)
        return kg_fail_nomem(err, "comparing two texts");
    before_length = before ? before_length : 0;
    hunks->before = kg_copy_text(before, before_length);
    hunks->text = kg_copy_text(after, after_length);
    enum kg_status status = KG_OK;
    git_libgit2_init();
    if (!hunks->before || !hunks->text || !kg_lines_of(hunks->before, before_length, &hunks->lines))
        status = kg_fail_nomem(err, "comparing two texts");
    else if (git_patch_from_buffers(&patch, hunks->before, before_length, NULL, hunks->text, after_length, NULL, &as_text) != 0)
        status = git_failed(err);
    else
        status = read_patch(hunks, patch, err);
    git_patch_free(patch);
    git_libgit2_shutdown();
    if (status == KG_OK)
        *out = hunks;
    else
        kg_hunks_free(hunks);
    return status;
}

size_t kg_hunk_count(const struct kg_hunks *hunks)
{
    return hunks->count;
}

const char *kg_hunk_header(const struct kg_hunks *hunks, size_t hunk)
{
    return hunks->hunks[hunk].header;
}

size_t kg_hunk_lines(const struct kg_hunks *hunks, size_t hunk)
{
    return hunks->hunks[hunk].count;
}

struct kg_hunk_line kg_hunk_line(const struct kg_hunks *hunks, size_t hunk, size_t line)
{
    return hunks->hunks[hunk].lines[line];
}

const char *kg_hunk_after(const struct kg_hunks *hunks, size_t hunk, size_t *length)
{
    *length = hunks->hunks[hunk].after_length;
    return hunks->hunks[hunk].after;
}

/* Lines of a text that is as it was. */
static bool put_same(struct hunk *hunk, const char *text, size_t length)
{
    struct kg_lines lines;
    if (!kg_lines_of(text, length, &lines))
        return false;
    hunk->lines = malloc((lines.count + 1) * sizeof *hunk->lines);
    for (; hunk->lines && hunk->count < lines.count; hunk->count++) {
        const struct kg_line *line = &lines.lines[hunk->count];
        hunk->lines[hunk->count] = (struct kg_hunk_line){ .origin = ' ', .text = line->text, .length = line->length, .last_without_feed = line->end == 0 };
    }
    kg_lines_free(&lines);
    return hunk->lines != NULL;
}

/* All lines of the difference of two texts, the second of which is the hunk's own. */
static bool put_difference(struct hunk *hunk, const char *before, size_t before_length)
{
    git_patch *patch = NULL;
    git_diff_options options = as_text;
    struct kg_growing ignored = { 0 };
    size_t count = 0;
    bool done;
    options.context_lines = 1U << 24;
    git_libgit2_init();
    done = git_patch_from_buffers(&patch, before, before_length, NULL, hunk->after, hunk->after_length, NULL, &options) == 0;
    if (done && git_patch_num_hunks(patch) == 0) {
        done = put_same(hunk, before, before_length);
    } else if (done) {
        count = (size_t)git_patch_num_lines_in_hunk(patch, 0);
        hunk->lines = malloc((count + 1) * sizeof *hunk->lines);
        done = hunk->lines != NULL;
        for (size_t i = 0; i < count && done; i++)
            done = read_line(patch, 0, i, hunk, &ignored);
    }
    git_patch_free(patch);
    git_libgit2_shutdown();
    kg_growing_free(&ignored);
    return done;
}

bool kg_hunk_set_after(struct kg_hunks *hunks, size_t index, const char *text, size_t length)
{
    struct hunk *hunk = &hunks->hunks[index];
    struct hunk edited = { .first = hunk->first, .behind = hunk->behind, .after = kg_copy_text(text, length), .after_length = length };
    const char *before = hunk->behind > hunk->first ? hunks->lines.lines[hunk->first].text : "";
    size_t before_length = 0;
    char header[100];
    for (size_t i = hunk->first; i < hunk->behind; i++)
        before_length += hunks->lines.lines[i].length + hunks->lines.lines[i].end;
    snprintf(header, sizeof header, "@@ -%zu,%zu @@ as edited", hunk->first + 1, hunk->behind - hunk->first);
    edited.header = strdup(header);
    if (!edited.after || !edited.header || !put_difference(&edited, before, before_length)) {
        free_hunk(&edited);
        return false;
    }
    free_hunk(hunk);
    *hunk = edited;
    return true;
}

char *kg_hunks_apply(const struct kg_hunks *hunks, const bool *taken, size_t *length)
{
    struct kg_growing out = { 0 };
    size_t at = 0;
    for (size_t i = 0; i < hunks->count; i++) {
        const struct hunk *hunk = &hunks->hunks[i];
        if (!taken[i])
            continue;
        for (; at < hunk->first; at++)
            kg_growing_add_line(&out, &hunks->lines.lines[at]);
        kg_growing_add(&out, hunk->after, hunk->after_length);
        at = hunk->behind;
    }
    for (; at < hunks->lines.count; at++)
        kg_growing_add_line(&out, &hunks->lines.lines[at]);
    return kg_growing_take(&out, length);
}

char *kg_unified_diff(const char *path, const char *before, size_t before_length, const char *after, size_t after_length, size_t *length)
{
    git_patch *patch = NULL;
    git_buf text = { 0 };
    char *out = NULL;
    git_diff_options options = as_text;
    git_libgit2_init();
    if (git_patch_from_buffers(&patch, before ? before : "", before ? before_length : 0, path, after, after_length, path, &options) == 0 &&
        git_patch_to_buf(&text, patch) == 0) {
        out = kg_copy_text(text.ptr, text.size);
        *length = out ? text.size : 0;
    }
    git_buf_dispose(&text);
    git_patch_free(patch);
    git_libgit2_shutdown();
    return out;
}
