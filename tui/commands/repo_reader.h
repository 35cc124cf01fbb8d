/* For commands: a repository's files, and a model's conversation that could read them, as kedge.conf says. */
#ifndef KG_TUI_REPO_READER_H
#define KG_TUI_REPO_READER_H

#include "tui/commands/command.h"
#include "tui/config/config.h"

struct kg_repo_file {
    char *path; /* as the file system has it */
    uint64_t bytes;
    unsigned char digest[16]; /* of its content's SHA-256 */
    bool has_digest;
};

struct kg_repo_reader {
    char root[KG_PATH_MAX], model_path[KG_PATH_MAX];
    struct kg_config *config;
    struct kg_index *index;
    struct kg_engine *engine;
    struct kg_session *session; /* unsaved */
    struct kg_repo_file *files; /* likeliest to be asked about first */
    size_t count, capacity;
};

/* engine: progress and what else kedge.conf does not say; model: NULL = the configured one. To be closed after a failure, too. */
enum kg_status kg_repo_reader_open(const char *directory, const char *model, const struct kg_engine_options *engine, struct kg_repo_reader *out,
                                struct kg_error *err);
/* The model alone, for a reader whose root and index (which then are its own) are set and that has nothing else. */
enum kg_status kg_repo_reader_open_model(const char *model, const struct kg_engine_options *engine, struct kg_repo_reader *reader, struct kg_error *err);
void kg_repo_reader_close(struct kg_repo_reader *reader);

#endif
