/* Asking a model for a change: the one way from a request to an answer's edits. */
#ifndef KG_CHANGES_REQUEST_H
#define KG_CHANGES_REQUEST_H

#include "engine/engine.h"
#include "tui/changes/proposal.h"

/* Lines named behind a file, "src/a.c:3-9" or "src/a.c:3", are taken off; false, and nothing is, where there are none. */
bool kg_take_lines(char *name, uint32_t *first, uint32_t *last);

struct kg_edit_request {
    const char *text; /* what the person wants */
    enum kg_form form;
    const struct kg_shown_file *files; /* in context already, under these paths */
    size_t count;
    uint32_t max_tokens;
    struct kg_sampling sampling;
    /* May be NULL. As in struct kg_question. */
    void (*text_out)(void *ctx, enum kg_text_kind kind, const char *text, size_t length);
    /* kg_edit_propose: a question was answered, kg_session_counts tells of it. May be NULL. */
    void (*asked)(void *ctx, enum kg_end end);
    void *ctx;
};

/* The question that states the form: freed by the caller, NULL when out of memory. KG_FORM_REGION quotes the lines of the one
 * file that has some. */
char *kg_edit_question(const struct kg_edit_request *request, size_t *length);

/* Asks in the session, in which the files must be; *out is an ended answer, freed by the caller, NULL unless KG_OK. A stopped or
 * cut answer is KG_OK, not whole. KG_ERR_FORMAT as kg_answer_end. */
enum kg_status kg_edit_ask(struct kg_session *session, const struct kg_edit_request *request, struct kg_answer **out, enum kg_end *end,
                           struct kg_error *err);

/* Asks, in any form, and tells what comes of it, as kg_proposal_of. KG_FORM_PLACES asks once for each place, each in sight of the
 * answers before; the path of a place is told to text_out in front of its answer. A place whose answer is what is there stays as
 * it is; one whose answer cannot be used refuses all. Where no place can be told, KG_FORM_DEFINITION is asked for. Stopped: KG_OK,
 * *end says so, *out is empty. */
enum kg_status kg_edit_propose(struct kg_session *session, const struct kg_edit_request *request, const struct kg_more_files *more, struct kg_proposal *out,
                               enum kg_end *end, struct kg_error *err);

#endif
