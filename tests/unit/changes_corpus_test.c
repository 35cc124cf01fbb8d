/* The made answers of tests/golden/edits: each gives the right files, or a refusal, or says what was not exact; however it is cut
 * into pieces, and cut off at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "base/paths.h"
#include "tui/changes/proposal.h"
#include "tui/changes/worktree.h"

#define CORPUS "tests/golden/edits/edits.json"
#define FILES_MOST 4
#define CASES_LEAST 200
#define DEFINITIONS_EVERY 211

static cJSON *corpus;

static int read_corpus(void **state)
{
    (void)state;
    char *text;
    size_t length;
    struct kg_error err;
    if (kg_read_file(CORPUS, 16 << 20, &text, &length, &err) != KG_OK)
        return 1;
    corpus = cJSON_Parse(text);
    free(text);
    return corpus ? 0 : 1;
}

static int free_corpus(void **state)
{
    (void)state;
    cJSON_Delete(corpus);
    return 0;
}

static const char *text_of(const cJSON *item, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, name));
}

struct outcome {
    enum kg_status status;
    struct kg_error err;
    struct kg_proposal proposal;
};

/* The first `length` bytes of the case's answer, in pieces of `step` bytes. */
static void propose(const cJSON *item, size_t length, size_t step, bool whole, struct outcome *out)
{
    struct kg_shown_file files[FILES_MOST];
    size_t count = 0;
    enum kg_form form = KG_FORM_ANY;
    const char *answer = text_of(item, "answer");
    const cJSON *file;
    const cJSON *lines = cJSON_GetObjectItemCaseSensitive(item, "lines");
    memset(out, 0, sizeof *out);
    if (strcmp(text_of(item, "form"), "any") != 0)
        assert_int_equal(kg_form_parse(text_of(item, "form"), &form, &out->err), KG_OK);
    cJSON_ArrayForEach(file, cJSON_GetObjectItemCaseSensitive(item, "files"))
    {
        assert_true(count < FILES_MOST);
        files[count] = (struct kg_shown_file){ .path = file->string, .text = file->valuestring, .length = strlen(file->valuestring) };
        if (lines && count == 0) {
            files[0].first = (uint32_t)cJSON_GetArrayItem(lines, 0)->valueint;
            files[0].last = (uint32_t)cJSON_GetArrayItem(lines, 1)->valueint;
        }
        count++;
    }
    struct kg_answer *parsed = kg_answer_create(form);
    assert_non_null(parsed);
    for (size_t at = 0; at < length; at += step)
        assert_int_equal(kg_answer_add(parsed, answer + at, length - at < step ? length - at : step, &out->err), KG_OK);
    out->status = kg_answer_end(parsed, whole, &out->err);
    if (out->status == KG_OK)
        out->status = kg_proposal_of(parsed, files, count, NULL, &out->proposal, &out->err);
    kg_answer_free(parsed);
}

/* Whether the proposal gives these contents and no others. */
static bool gives(const struct kg_proposal *proposal, const cJSON *contents)
{
    if ((int)proposal->count != cJSON_GetArraySize(contents))
        return false;
    for (size_t i = 0; i < proposal->count; i++) {
        const struct kg_change *change = &proposal->changes[i];
        const char *want = text_of(contents, change->path);
        if (!want || strlen(want) != change->after_length || memcmp(want, change->after, change->after_length) != 0)
            return false;
    }
    return true;
}

static bool says(const struct kg_proposal *proposal)
{
    for (size_t i = 0; i < proposal->count; i++)
        if (proposal->changes[i].said)
            return true;
    return false;
}

static void show(const cJSON *item, const struct outcome *got)
{
    print_message("case \"%s\": status %s, %s\n", text_of(item, "name"), kg_status_name(got->status), got->status == KG_OK ? "" : got->err.text);
    for (size_t i = 0; i < got->proposal.count; i++)
        print_message("--- %s%s%s\n%s", got->proposal.changes[i].path, got->proposal.changes[i].said ? ", said: " : "",
                      got->proposal.changes[i].said ? got->proposal.changes[i].said : "", got->proposal.changes[i].after);
}

static bool as_wanted(const cJSON *item, const struct outcome *got)
{
    const char *want = text_of(item, "want");
    if (strcmp(want, "right") == 0 || strcmp(want, "said") == 0)
        return got->status == KG_OK && gives(&got->proposal, cJSON_GetObjectItemCaseSensitive(item, "contents")) && says(&got->proposal) == (want[0] == 's');
    if (strcmp(want, "refused") == 0)
        return got->status != KG_OK && got->err.text[0];
    /* hostile: refused, or a path that is fit to be written by the same rules */
    bool harmless = true;
    for (size_t i = 0; got->status == KG_OK && i < got->proposal.count; i++)
        harmless = harmless && strcmp(got->proposal.changes[i].path, "t.py") == 0 && kg_guard_of_path(got->proposal.changes[i].path, NULL) == KG_GUARD_NONE;
    return harmless;
}

static void every_answer_gives_what_it_should(void **state)
{
    (void)state;
    const cJSON *item;
    unsigned wrong = 0;
    assert_true(cJSON_GetArraySize(corpus) >= CASES_LEAST);
    cJSON_ArrayForEach(item, corpus)
    {
        static const size_t steps[] = { 1, 7, SIZE_MAX };
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            struct outcome got;
            size_t length = strlen(text_of(item, "answer"));
            propose(item, length, steps[i] == SIZE_MAX ? length : steps[i], true, &got);
            if (!as_wanted(item, &got)) {
                show(item, &got);
                wrong++;
                i = sizeof steps / sizeof steps[0];
            }
            kg_proposal_free(&got.proposal);
        }
    }
    assert_int_equal(wrong, 0);
}

static bool is_a_step(const cJSON *item, const struct kg_proposal *proposal)
{
    const cJSON *step;
    cJSON_ArrayForEach(step, cJSON_GetObjectItemCaseSensitive(item, "steps")) if (gives(proposal, step)) return true;
    return false;
}

/* Cut off by the limit or by the person (whole is false), or as if the model had ended there by itself. */
static void cut_answers_never_give_wrong_files_silently(void **state)
{
    (void)state;
    const cJSON *item;
    unsigned wrong = 0;
    size_t cuts = 0;
    cJSON_ArrayForEach(item, corpus)
    {
        size_t length = strlen(text_of(item, "answer"));
        if (strcmp(text_of(item, "want"), "hostile") == 0)
            continue;
        /* definitions are looked for by a program of its own, which takes its time */
        size_t every = strstr(text_of(item, "name"), "definition") && !(getenv("CHECK_LONG") && strcmp(getenv("CHECK_LONG"), "1") == 0) ? DEFINITIONS_EVERY : 1;
        for (size_t cut = 0; cut < length && wrong < 20; cut += every)
            for (int whole = 0; whole < 2; whole++, cuts++) {
                struct outcome got;
                propose(item, cut, length, whole, &got);
                bool allowed = got.status != KG_OK || is_a_step(item, &got.proposal) || says(&got.proposal);
                if (!whole && got.status == KG_OK)
                    allowed = allowed && got.proposal.cut;
                if (!allowed) {
                    print_message("cut at %zu, whole %d\n", cut, whole);
                    show(item, &got);
                    wrong++;
                }
                kg_proposal_free(&got.proposal);
            }
    }
    print_message("%zu cuts\n", cuts);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_gives_what_it_should),
        cmocka_unit_test(cut_answers_never_give_wrong_files_silently),
    };
    return cmocka_run_group_tests(tests, read_corpus, free_corpus);
}
