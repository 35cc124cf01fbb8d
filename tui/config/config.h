/* What a person can choose once for all: kedge.conf, the repository's own .kedge.conf, and the command line.
 *
 * One table (options.c) holds every option: section, name, what it may be, its default, one line of help, and whether a
 * repository may set it. Parsing, messages, config/kedge.conf, what `kedge config` shows and the test of
 * kedge.conf(5) all come from that table.
 *
 * A file is lines of NAME = VALUE below [SECTION] lines; '#' or ';' at a line's start begins a comment. The command line
 * beats the repository, which beats the person, who beats the default, in whatever order they are given. A mistake in the
 * person's file is an error. A repository is not to be trusted: what it may not say or says wrongly is left out, with a
 * notice, and its file must be a regular one that is no link. Files of more than KG_LINES_BYTES are refused.
 */
#ifndef KG_TUI_CONFIG_H
#define KG_TUI_CONFIG_H

#include <stdbool.h>
#include <stdio.h>

#include "engine/engine.h"
#include "tui/screen/theme.h"

#define KG_CONFIG_NOTICES 8 /* of a repository's file; the last one counts the others */

enum kg_option {
    KG_OPTION_MODEL,
    KG_OPTION_THREADS,
    KG_OPTION_DEVICE,
    KG_OPTION_GPU_LAYERS,
    KG_OPTION_POLICY,
    KG_OPTION_READ_BUDGET,
    KG_OPTION_READ_AHEAD,
    KG_OPTION_READ_AGAIN,
    KG_OPTION_READ_IGNORE,
    KG_OPTION_READ_INSTRUCTIONS,
    KG_OPTION_RECALL_WINDOW,
    KG_OPTION_RECALL_K,
    KG_OPTION_RECALL_BITS,
    KG_OPTION_CACHE_BUDGET,
    KG_OPTION_CACHE_OFF,
    KG_OPTION_CACHE_KV,
    KG_OPTION_MAX_TOKENS,
    KG_OPTION_TEMPERATURE,
    KG_OPTION_TOP_K,
    KG_OPTION_TOP_P,
    KG_OPTION_MIN_P,
    KG_OPTION_PENALTY,
    KG_OPTION_PENALTY_LAST,
    KG_OPTION_SEED,
    KG_OPTION_DRAFTS,
    KG_OPTION_COMPLETE_MODEL,
    KG_OPTION_COMPLETE_TOKENS,
    KG_OPTION_COMPLETE_PAUSE,
    KG_OPTION_INPUT_KEYS,
    KG_OPTION_THEME,
    KG_OPTION_COLOUR,
    KG_OPTION_MOUSE,
    KG_OPTION_COUNT
};

enum kg_option_kind {
    KG_OPTION_NUMBER, /* whole, least to most */
    KG_OPTION_BYTES,  /* the same, with K, M, G or T behind it: times 1024 */
    KG_OPTION_REAL,   /* low to high */
    KG_OPTION_CHOICE, /* one of the words in choices, which spaces set apart; "word:N" takes a number for N, and so does N alone */
    KG_OPTION_TEXT,   /* may be empty; no control characters */
    KG_OPTION_SWITCH  /* yes or no */
};

struct kg_option_row {
    const char *section; /* "" = above the first [SECTION] */
    const char *name, *standard, *help;
    enum kg_option_kind kind;
    uint64_t least, most;
    double low, high;
    const char *choices;
    bool repository; /* may set it */
};
/* The table's row, static storage. */
const struct kg_option_row *kg_option_row(enum kg_option option);
/* "recall.window", "model": what --set takes and messages name. Static storage of the calling thread. */
const char *kg_option_full_name(enum kg_option option);
/* What it may be: "a number from 64 to 8192", "cpu or ref". Cut to capacity. */
void kg_option_allowed(enum kg_option option, char *out, size_t capacity);

struct kg_config;

/* Every option at its default; NULL when out of memory. */
struct kg_config *kg_config_create(void);
void kg_config_free(struct kg_config *config); /* NULL is fine */

/* As the command line says. origin, such as "--threads", is named in errors and by kg_config_origin. */
enum kg_status kg_config_set(struct kg_config *config, enum kg_option option, const char *value, const char *origin, struct kg_error *err);
/* The same from NAME=VALUE or SECTION.NAME=VALUE. */
enum kg_status kg_config_assign(struct kg_config *config, const char *assignment, const char *origin, struct kg_error *err);

/* (What [read] ignore says is in force for every index that is refreshed from then on.)
 * kedge.conf under KG_PLACE_CONFIG, if there is one, .kedge.conf in the repository's root (absolute; NULL = none), and
 * $KEDGE_MODEL, which beats both. Once. */
enum kg_status kg_config_load(struct kg_config *config, const char *repository, struct kg_error *err);
/* What was left out of the repository's file; printable, one line each. */
size_t kg_config_notices(const struct kg_config *config);
const char *kg_config_notice(const struct kg_config *config, size_t index);

/* In force now. Of NUMBER and BYTES; of REAL; of SWITCH; of all kinds as it was written. */
uint64_t kg_config_number(const struct kg_config *config, enum kg_option option);
double kg_config_real(const struct kg_config *config, enum kg_option option);
bool kg_config_on(const struct kg_config *config, enum kg_option option);
const char *kg_config_text(const struct kg_config *config, enum kg_option option);
/* Where that was said: "default", "/home/me/.config/kedge/kedge.conf, line 3", "--threads". */
const char *kg_config_origin(const struct kg_config *config, enum kg_option option);

/* A model's name or path; NULL = none was chosen. "~/" stands for $HOME; out holds what is returned. The same of another option
 * that names a file. */
const char *kg_config_model(const struct kg_config *config, char out[KG_PATH_MAX]);
const char *kg_config_path(const struct kg_config *config, enum kg_option option, char out[KG_PATH_MAX]);

/* The one place where what was chosen reaches the engine: fields that no option is about stay as they are. The options
 * point into config. */
enum kg_status kg_config_fill(const struct kg_config *config, struct kg_engine_options *engine, struct kg_session_options *session, struct kg_error *err);
struct kg_sampling kg_config_sampling(const struct kg_config *config);
enum kg_colours kg_config_colours(const struct kg_config *config);

/* config/kedge.conf: every option, explained, commented out at its default. */
void kg_config_write_default(FILE *stream);

#endif
