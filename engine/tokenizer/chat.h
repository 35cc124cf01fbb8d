/* Messages -> ids, in the chat form that the model was trained with: chatml or llama3, recognised from
 * tokenizer.chat_template; a file without a template is treated as chatml only if it has both its tokens, else refused.
 *
 * A conversation is cut into pieces that are cached apart (DESIGN.md section 3):
 *
 *   preamble   BOS if any, opening of the system role, one constant text
 *   heading    (file separator or a textual mark) path newline         files stand inside the open system role
 *   turn       closes the role that is open, opens the user's, text, closes it
 *   answer     opens the assistant's role; the generated text; closed by the end token
 *
 * What a repository says to assistants (AGENTS.md, CONVENTIONS.md) has a heading that says who wrote it.
 * A file that comes after the first turn stands in a system role of its own: heading with KG_ROLE_CLOSED opens
 * it, and the next turn closes it. Text of files and people is tokenised without special tokens; the path too, and
 * as kg_printable writes it, so that it cannot begin a line.
 */
#ifndef KG_ENGINE_CHAT_H
#define KG_ENGINE_CHAT_H

#include "engine/tokenizer/tokenizer.h"

struct kg_chat;

enum kg_chat_form { KG_CHAT_CHATML, KG_CHAT_LLAMA3 };

enum kg_role_state {
    KG_ROLE_CLOSED, /* between roles */
    KG_ROLE_SYSTEM, /* inside an open system role */
    KG_ROLE_ANSWER  /* behind a generated answer whose end token has not been read (stopped, or cut by its length) */
};

/* Keeps the tokenizer, which must outlive it. KG_ERR_UNSUPPORTED for another form. */
enum kg_status kg_chat_create(const struct kg_gguf *file, const struct kg_tokenizer *tokenizer, struct kg_chat **out, struct kg_error *err);
void kg_chat_free(struct kg_chat *chat);
enum kg_chat_form kg_chat_form(const struct kg_chat *chat);

/* Each appends to *out. */
enum kg_status kg_chat_preamble(const struct kg_chat *chat, struct kg_ids *out, struct kg_error *err);
enum kg_status kg_chat_heading(const struct kg_chat *chat, enum kg_role_state before, const char *path, struct kg_ids *out, struct kg_error *err);
enum kg_status kg_chat_turn(const struct kg_chat *chat, enum kg_role_state before, const char *text, size_t length, struct kg_ids *out, struct kg_error *err);
enum kg_status kg_chat_answer_opening(const struct kg_chat *chat, struct kg_ids *out, struct kg_error *err);

#endif
