/* The thread that owns the model and completes at the cursor, one request at a time: a newer one ends the older at once.
 */
#ifndef KG_TUI_SUGGEST_H
#define KG_TUI_SUGGEST_H

#include "tui/complete/completer.h"
#include "tui/interface/channel.h"

struct kg_suggest;

enum kg_suggestion_kind {
    KG_SUGGEST_READY,  /* the model is there: text = its name */
    KG_SUGGEST_FAILED, /* there will be none, or this one went wrong: text = why */
    KG_SUGGEST_PIECE,  /* text to insert, behind the pieces before */
    KG_SUGGEST_END     /* of the request */
};
struct kg_suggestion {
    struct kg_message message;
    enum kg_suggestion_kind kind;
    uint64_t ticket; /* of the request, 0: of none */
    size_t length;
    char text[];
};

/* Opens the model behind; its callbacks are the thread's own. options and what it points to, and events, outlive it. */
enum kg_status kg_suggest_start(const struct kg_completer_options *options, struct kg_channel *events, struct kg_suggest **out, struct kg_error *err);

/* Completes from now on here and nowhere else; the texts are copied. Without tokens to write it only reads, so that what is asked
 * next is answered sooner. Returns the ticket; 0: out of memory. */
uint64_t kg_suggest_ask(struct kg_suggest *suggest, const char *prefix, size_t prefix_length, const char *suffix, size_t suffix_length, uint32_t max_tokens);
/* Ends what is being done and forgets what was asked; what comes of it has a ticket that is not asked for any more. */
void kg_suggest_cancel(struct kg_suggest *suggest);
/* Ends everything and waits for the thread. NULL is fine. */
void kg_suggest_end(struct kg_suggest *suggest);

void kg_suggestion_drop(struct kg_message *message); /* for channels */

#endif
