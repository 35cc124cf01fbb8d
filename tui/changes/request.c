#include "tui/changes/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/changes/text.h"

/* What each form asks for: said last, so that it stands next to the answer. */
static const char *const rules[] = {
    [KG_FORM_SEARCH] =
        "Make this change by search/replace blocks and nothing else. Each block is like this:\n"
        "\n"
        "path/of/the/file\n"
        "<<<<<<< SEARCH\n"
        "lines of the file as they are now, copied exactly\n"
        "=======\n"
        "the lines that take their place\n"
        ">>>>>>> REPLACE\n"
        "\n"
        "Keep each block short: the lines that change, and one or two around them so that they can be found. Write one block for\n"
        "each place that changes. For a new file the SEARCH part is empty.\n",
    [KG_FORM_DEFINITION] =
        "Write each function, method, class or other definition that changes, whole, from its first line to its last, and nothing\n"
        "that stays as it is. Put those of one file into one fenced block, headed by the path:\n"
        "\n"
        "path/of/the/file\n"
        "```\n"
        "the whole new definitions\n"
        "```\n"
        "\n"
        "Leave nothing out inside of a definition.\n",
    [KG_FORM_FILE] =
        "Write each file that changes, whole, from its first line to its last, with nothing left out, in a fenced block headed by\n"
        "its path:\n"
        "\n"
        "path/of/the/file\n"
        "```\n"
        "the whole new content\n"
        "```\n",
    [KG_FORM_REGION] = "Write these lines anew, all of them and nothing else, in one fenced block. Copy what stays as it is.\n",
};

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
    kg_text_puts(out, line);
    kg_text_puts(out, file->path);
    kg_text_puts(out, ":\n\n```\n");
    for (size_t i = file->first - 1; i < file->last && i < lines.count; i++) {
        kg_text_add(out, lines.lines[i].text, lines.lines[i].length);
        kg_text_puts(out, "\n");
    }
    kg_text_puts(out, "```");
    kg_lines_free(&lines);
}

char *kg_edit_question(const struct kg_edit_request *request, size_t *length)
{
    struct kg_growing out = { 0 };
    const struct kg_shown_file *region = request->form == KG_FORM_REGION ? region_of(request) : NULL;
    kg_text_puts(&out, request->text);
    if (region) {
        put_region(&out, region);
    } else if (request->count) {
        kg_text_puts(&out, request->count == 1 ? "\n\nThe file: " : "\n\nThe files: ");
        for (size_t i = 0; i < request->count; i++) {
            kg_text_puts(&out, i ? ", " : "");
            kg_text_puts(&out, request->files[i].path);
        }
    }
    kg_text_puts(&out, "\n\n");
    kg_text_puts(&out, rules[request->form]);
    return kg_text_take(&out, length);
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
