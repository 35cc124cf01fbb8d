#include "tui/changes/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/paths.h"
#include "tui/changes/places.h"
#include "tui/changes/text.h"

/* What each form asks for: said last, so that it stands next to the answer. Small models copy what they are shown, so that what
 * stands for a path is a path: an example has one of its own, a pattern those of the files. */
static const char *const rules[] = {
    [KG_FORM_SEARCH] =
        "Answer with SEARCH/REPLACE blocks and nothing else, one for each place that changes. As an example, this one renames a\n"
        "variable in a file src/words.py:\n"
        "\n"
        "src/words.py\n"
        "```\n"
        "<<<<<<< SEARCH\n"
        "    n = len(words)\n"
        "    return n\n"
        "=======\n"
        "    count = len(words)\n"
        "    return count\n"
        ">>>>>>> REPLACE\n"
        "```\n"
        "\n"
        "The lines behind SEARCH are copied exactly from the file as it is now, a few of them; those behind ======= take their\n"
        "place. For a new file there are none behind SEARCH.\n",
    [KG_FORM_DEFINITION] =
        "Answer with the functions, methods, classes or other definitions that change, each one whole, and with nothing that stays\n"
        "as it is. Write the path of their file and then one code block, like this:\n",
    [KG_FORM_FILE] = "Answer with each file that changes, whole, with nothing left out. Write its path and then one code block, like this:\n",
    [KG_FORM_REGION] = "Answer with these lines written anew in one code block: all of them, those that stay as they are too, and nothing else.\n",
    [KG_FORM_PLACES] = "",
};

static void put_pattern(struct kg_growing *out, const struct kg_edit_request *request, const char *what)
{
    for (size_t i = 0; i < request->count; i++) {
        kg_growing_puts(out, "\n");
        kg_growing_puts(out, request->files[i].path);
        kg_growing_puts(out, "\n```\n");
        kg_growing_puts(out, what);
        kg_growing_puts(out, request->files[i].path);
        kg_growing_puts(out, "\n```\n");
    }
}

static const struct kg_shown_file *region_of(const struct kg_edit_request *request)
{
    for (size_t i = 0; i < request->count; i++)
        if (request->files[i].first > 0)
            return &request->files[i];
    return NULL;
}

static void put_region(struct kg_growing *out, const struct kg_shown_file *file)
{
    struct kg_lines lines;
    char line[120];
    if (!kg_lines_of(file->text, file->length, &lines)) {
        out->failed = true;
        return;
    }
    snprintf(line, sizeof line, "\n\nLines %u to %u of ", file->first, file->last);
    kg_growing_puts(out, line);
    kg_growing_puts(out, file->path);
    kg_growing_puts(out, ":\n\n```\n");
    for (size_t i = file->first - 1; i < file->last && i < lines.count; i++) {
        kg_growing_add(out, lines.lines[i].text, lines.lines[i].length);
        kg_growing_puts(out, "\n");
    }
    kg_growing_puts(out, "```");
    kg_lines_free(&lines);
}

char *kg_edit_question(const struct kg_edit_request *request, size_t *length)
{
    struct kg_growing out = { 0 };
    const struct kg_shown_file *region = request->form == KG_FORM_REGION ? region_of(request) : NULL;
    kg_growing_puts(&out, request->text);
    if (region) {
        put_region(&out, region);
    } else if (request->count) {
        kg_growing_puts(&out, request->count == 1 ? "\n\nThe file: " : "\n\nThe files: ");
        for (size_t i = 0; i < request->count; i++) {
            kg_growing_puts(&out, i ? ", " : "");
            kg_growing_puts(&out, request->files[i].path);
        }
    }
    kg_growing_puts(&out, "\n\n");
    kg_growing_puts(&out, rules[request->form]);
    if (request->form == KG_FORM_DEFINITION)
        put_pattern(&out, request, "the changed definitions of ");
    else if (request->form == KG_FORM_FILE)
        put_pattern(&out, request, "the whole new content of ");
    if ((request->form == KG_FORM_DEFINITION || request->form == KG_FORM_FILE) && request->count > 1)
        kg_growing_puts(&out, "\nLeave out files in which nothing changes.\n");
    return kg_growing_take(&out, length);
}

/* The number of a line, 1 or more; NULL: there is none. */
static const char *read_line(const char *text, uint32_t *out)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && number < UINT32_MAX; at++)
        number = 10 * number + (uint64_t)(*at - '0');
    *out = (uint32_t)number;
    return at > text && number > 0 && number < UINT32_MAX ? at : NULL;
}

bool kg_take_lines(char *name, uint32_t *first, uint32_t *last)
{
    char *colon = strrchr(name, ':');
    uint32_t from, to;
    const char *at = colon && colon > name ? read_line(colon + 1, &from) : NULL;
    if (!at)
        return false;
    to = from;
    if (*at == '-')
        at = read_line(at + 1, &to);
    if (!at || *at || to < from)
        return false;
    *colon = '\0';
    *first = from;
    *last = to;
    return true;
}

struct asking {
    const struct kg_edit_request *request;
    struct kg_answer *answer;
    enum kg_status status;
    struct kg_error err;
};

static void take_text(void *ctx, enum kg_text_kind kind, const char *text, size_t length)
{
    struct asking *asking = ctx;
    if (kind == KG_TEXT_ANSWER && asking->status == KG_OK)
        asking->status = kg_answer_add(asking->answer, text, length, &asking->err);
    if (asking->request->text_out)
        asking->request->text_out(asking->request->ctx, kind, text, length);
}

enum kg_status kg_edit_ask(struct kg_session *session, const struct kg_edit_request *request, struct kg_answer **out, enum kg_end *end,
                           struct kg_error *err)
{
    struct asking asking = { .request = request, .answer = kg_answer_create(request->form), .status = KG_OK };
    size_t length;
    *out = NULL;
    char *text = asking.answer ? kg_edit_question(request, &length) : NULL;
    if (!text) {
        kg_answer_free(asking.answer);
        return kg_fail_nomem(err, "asking for a change");
    }
    struct kg_question question = { .text = text, .length = length, .max_tokens = request->max_tokens, .sampling = request->sampling, .text_out = take_text, .ctx = &asking };
    enum kg_status status = kg_session_ask(session, &question, end, err);
    free(text);
    if (status == KG_OK && asking.status != KG_OK) {
        status = asking.status;
        if (err)
            *err = asking.err;
    }
    if (status == KG_OK)
        status = kg_answer_end(asking.answer, *end == KG_END_MODEL, err);
    if (status == KG_OK)
        *out = asking.answer;
    else
        kg_answer_free(asking.answer);
    return status;
}

static enum kg_status propose_once(struct kg_session *session, const struct kg_edit_request *request, const struct kg_more_files *more, struct kg_proposal *out,
                                   enum kg_end *end, struct kg_error *err)
{
    struct kg_answer *answer = NULL;
    enum kg_status status = kg_edit_ask(session, request, &answer, end, err);
    if (request->asked && (status == KG_OK || status == KG_ERR_FORMAT)) /* that is the answer's */
        request->asked(request->ctx, *end);
    if (status == KG_OK && *end != KG_END_STOPPED)
        status = kg_proposal_of(answer, request->files, request->count, more, out, err);
    kg_answer_free(answer);
    return status;
}

/* A file as the answers so far leave it. */
struct draft {
    char *text; /* NULL: as it was */
    size_t length;
    long shift; /* lines that it has more than before */
    struct kg_growing said;
};

static long count_lines(const char *text, size_t length)
{
    long lines = 0;
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n' || i + 1 == length;
    return lines;
}

static void take_draft(struct draft *draft, struct kg_change *change)
{
    draft->shift += count_lines(change->after, change->after_length) - count_lines(change->before, change->before_length);
    free(draft->text);
    draft->text = change->after;
    draft->length = change->after_length;
    change->after = NULL;
    if (change->said)
        kg_growing_puts(&draft->said, change->said);
}

static void tell_place(const struct kg_edit_request *request, const struct kg_shown_file *file, bool first)
{
    char line[KG_PATH_MAX + 40];
    int length = snprintf(line, sizeof line, "%s%s:%u-%u\n", first ? "" : "\n", file->path, file->first, file->last);
    if (request->text_out && length > 0 && (size_t)length < sizeof line)
        request->text_out(request->ctx, KG_TEXT_ANSWER, line, (size_t)length);
}

static enum kg_status ask_place(struct kg_session *session, const struct kg_edit_request *request, const struct kg_edit_place *place, bool first, struct draft *draft,
                                enum kg_end *end, struct kg_error *err)
{
    struct kg_shown_file file = request->files[place->file];
    struct kg_edit_request one = *request;
    struct kg_proposal proposal = { 0 };
    if (draft->text) {
        file.text = draft->text;
        file.length = draft->length;
    }
    file.first = (uint32_t)((long)place->first + draft->shift);
    file.last = (uint32_t)((long)place->last + draft->shift);
    one.form = KG_FORM_REGION;
    one.files = &file;
    one.count = 1;
    tell_place(request, &file, first);
    enum kg_status status = propose_once(session, &one, NULL, &proposal, end, err);
    if (status == KG_ERR_NOT_FOUND && proposal.same)
        status = KG_OK;
    else if (status == KG_OK && proposal.count)
        take_draft(draft, &proposal.changes[0]);
    kg_proposal_free(&proposal);
    return status;
}

static enum kg_status collect_drafts(const struct kg_edit_request *request, struct draft *drafts, struct kg_proposal *out, struct kg_error *err)
{
    bool failed = false;
    out->changes = calloc(request->count, sizeof *out->changes);
    if (!out->changes)
        return kg_fail_nomem(err, "reading an answer");
    for (size_t i = 0; i < request->count && !failed; i++) {
        const struct kg_shown_file *file = &request->files[i];
        if (!drafts[i].text)
            continue;
        size_t length;
        struct kg_change *change = &out->changes[out->count++];
        *change = (struct kg_change){ .path = strdup(file->path), .before = kg_copy_text(file->text, file->length), .before_length = file->length, .after = drafts[i].text,
                                      .after_length = drafts[i].length, .said = drafts[i].said.length ? kg_growing_take(&drafts[i].said, &length) : NULL };
        drafts[i].text = NULL;
        failed = !change->path || !change->before || drafts[i].said.failed;
    }
    if (failed)
        return kg_fail_nomem(err, "reading an answer");
    out->same = out->count == 0;
    return out->count ? KG_OK : kg_fail(err, KG_ERR_NOT_FOUND, "the answers change nothing: ask again, with other words");
}

static enum kg_status propose_places(struct kg_session *session, const struct kg_edit_request *request, const struct kg_edit_place *places, size_t count, struct kg_proposal *out,
                                     enum kg_end *end, struct kg_error *err)
{
    struct draft *drafts = calloc(request->count + 1, sizeof *drafts);
    enum kg_status status = KG_OK;
    if (!drafts)
        return kg_fail_nomem(err, "asking for a change");
    *end = KG_END_MODEL;
    for (size_t i = 0; i < count && status == KG_OK && *end != KG_END_STOPPED; i++)
        status = ask_place(session, request, &places[i], i == 0, &drafts[places[i].file], end, err);
    if (status == KG_OK && *end != KG_END_STOPPED)
        status = collect_drafts(request, drafts, out, err);
    for (size_t i = 0; i < request->count; i++) {
        free(drafts[i].text);
        kg_growing_free(&drafts[i].said);
    }
    free(drafts);
    return status;
}

enum kg_status kg_edit_propose(struct kg_session *session, const struct kg_edit_request *request, const struct kg_more_files *more, struct kg_proposal *out,
                               enum kg_end *end, struct kg_error *err)
{
    struct kg_edit_request asked = *request;
    struct kg_edit_place *places = NULL;
    size_t count = 0;
    *out = (struct kg_proposal){ 0 };
    if (request->form == KG_FORM_PLACES) {
        enum kg_status status = kg_places_of(request->text, request->files, request->count, &places, &count, err);
        asked.form = KG_FORM_DEFINITION;
        if (status != KG_OK && status != KG_ERR_NOT_FOUND)
            return status;
    }
    enum kg_status status = places ? propose_places(session, request, places, count, out, end, err) : propose_once(session, &asked, more, out, end, err);
    free(places);
    return status;
}
