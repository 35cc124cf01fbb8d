/* Headless commands: each takes argv with its own name first and returns the exit status: 0 done, 1 failed, 2 wrong usage.
 * Errors are one line on stderr; `--help` goes to stdout.
 */
#ifndef KG_TUI_COMMAND_H
#define KG_TUI_COMMAND_H

#include <stdbool.h>
#include <stdio.h>

#include "base/paths.h"
#include "engine/engine.h"
#include "repo-index/repo_index.h"

enum { KG_EXIT_OK = 0, KG_EXIT_FAILED = 1, KG_EXIT_USAGE = 2 };

struct cJSON;

struct kg_command {
    const char *name;
    const char *summary; /* one line */
    int (*run)(int argc, char **argv);
};
extern const struct kg_command kg_commands[]; /* ends with a NULL name */

int kg_command_prompt(int argc, char **argv); /* kedge -p, and the interface when there is no -p */
int kg_command_tokenize(int argc, char **argv);
int kg_command_logits(int argc, char **argv);
int kg_command_bench(int argc, char **argv);
int kg_command_model(int argc, char **argv);
int kg_command_cache(int argc, char **argv);
int kg_command_complete(int argc, char **argv);
int kg_command_completion(int argc, char **argv);
int kg_command_sessions(int argc, char **argv);
int kg_command_config(int argc, char **argv);
int kg_command_index(int argc, char **argv);
int kg_command_search(int argc, char **argv);
int kg_command_context(int argc, char **argv);
int kg_command_map(int argc, char **argv);
int kg_command_symbols(int argc, char **argv);
int kg_command_edit(int argc, char **argv);
int kg_command_eval(int argc, char **argv);

/* "kedge COMMAND: text" on stderr; returns the exit status that fits. */
int kg_command_failed(const char *command, const struct kg_error *err);
/* "kedge COMMAND: text; see kedge COMMAND --help" on stderr; returns KG_EXIT_USAGE. */
int kg_command_misused(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "kedge COMMAND: text" on stderr, where the engine has something to say. */
void kg_command_notice(const char *command, const struct kg_engine *engine);

/* A decimal number in least .. most, or false. */
bool kg_parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *out);

/* Path of a model: a catalogue name, a file, or NULL for $KEDGE_MODEL, else the default. */
enum kg_status kg_model_path(const char *model, char out[KG_PATH_MAX], struct kg_error *err);

/* Text from a file or, for "-", from standard input; the caller frees it. */
enum kg_status kg_read_input(const char *path, size_t limit, char **out, size_t *length, struct kg_error *err);

/* The root of the repository that holds the directory; the directory itself where there is none, but for large ones. */
enum kg_status kg_directory_root(const char *directory, char out[KG_PATH_MAX], struct kg_error *err);

/* Opens the index of the root of a directory and brings it up to date. The caller closes *index, also after a
 * failure, when it is not NULL. */
enum kg_status kg_open_fresh_index(const char *directory, struct kg_index **index, struct kg_index_counts *counts, struct kg_error *err);

/* Before files are chosen from an index that is up to date: what the files of a large repository are to one another is found out anew
 * where a hundredth of them has changed. Without it the order is a worse one, so that a failure is none; an index that turns out to be
 * damaged is made anew. */
enum kg_status kg_link_index(struct kg_index *index, struct kg_index_counts *counts, struct kg_error *err);

/* Words with a space between them, or NULL; the caller frees. */
char *kg_join_words(int count, char **words);

/* One line of JSON on stdout, at once; the object is deleted. NULL prints nothing. */
void kg_put_json(struct cJSON *object);

/* Writes text; control characters are made visible when the stream is a terminal. */
void kg_put_text(FILE *stream, const char *text, size_t length);

#endif
