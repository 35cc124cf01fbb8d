/* A model that completes one file at a cursor, in sight of files of its repository. Blocks; one thread at a time but for
 * kg_completer_stop and kg_completer_go.
 */
#ifndef KG_TUI_COMPLETER_H
#define KG_TUI_COMPLETER_H

#include "engine/complete.h"

struct kg_completer;

#define KG_COMPLETE_MODEL "q05" /* of the catalogue, when nobody chose another one and it is there */

struct kg_completer_options {
    struct kg_engine_options engine;
    enum kg_policy policy;
    struct kg_recall recall;
    const char *repository; /* its root as an absolute path; NULL = none */
    const char *path;       /* of the file, as messages and the model name it: beneath the root where there is one */
    bool context;           /* files of the repository stand in front */
    bool secret;            /* what is read of the file is not stored: kg_completer_is_secret */
};

/* Whether a file looks as if it held keys or passwords. */
bool kg_completer_is_secret(const char *path, const char *text, size_t length);

/* KG_ERR_UNSUPPORTED when the model has no tokens for fill-in-the-middle. *out is set as soon as it can be stopped, to be closed
 * also after a failure. */
enum kg_status kg_completer_open(const struct kg_completer_options *options, struct kg_completer **out, struct kg_error *err);
void kg_completer_close(struct kg_completer *completer); /* NULL is fine */

/* As kg_engine_stop and kg_engine_go, from any thread, once kg_completer_open has returned KG_OK. */
void kg_completer_stop(struct kg_completer *completer);
void kg_completer_go(struct kg_completer *completer);
const struct kg_engine *kg_completer_engine(const struct kg_completer *completer);

struct kg_cursor_request {
    const char *prefix, *suffix; /* as kg_around_cursor cuts them, line ends as "\n" */
    size_t prefix_length, suffix_length;
    uint32_t max_tokens;
    unsigned lines; /* that are not empty, at most; 0 = as many as come */
    /* What is to be inserted, as it comes: visible characters, tabs and newlines. May be NULL. */
    void (*give)(void *ctx, const char *text, size_t length);
    void *ctx;
};

/* Files that the file includes, and that the text around the cursor is about, go in front, as far as they are read already or
 * hardly cost anything. Once, before the first completion; without it nothing stands in front. */
enum kg_status kg_completer_choose(struct kg_completer *completer, const struct kg_cursor_request *request, struct kg_error *err);
/* Paths that were chosen, in their order. */
size_t kg_completer_files(const struct kg_completer *completer);

/* KG_OK also when stopped (end says so). counts may be NULL. */
enum kg_status kg_completer_complete(struct kg_completer *completer, const struct kg_cursor_request *request, enum kg_end *end, struct kg_counts *counts,
                                     struct kg_error *err);

#endif
