/* How much of what a context is worth is kept by a way of reading it and of looking at it (DESIGN.md sections 1, 4, 8).
 *
 * A text is a few source files. The last one is the target's own file: its last tokens are the target, what stands before
 * them in it is its head. Everything before the target is the context:
 *
 *   preamble | heading, file | heading, file | ... | own heading, own head | (turn, answer's opening) | target
 *
 *   plain     preamble: BOS and a repository's name in the model's form; no turn
 *   chat      preamble, headings, turn and answer as a conversation has them: the target is the answer
 *
 *   read      alone    every block in sight of the preamble and of itself
 *             linked   the same, but the own head sees preamble and other files before it, all of them
 *             chain    every block in sight of all that stands before it
 *             anchors  as alone, but inside a block through the sinks, the window and the line anchors only
 *   look      all      the target (and a turn) looks at everything before it
 *             recall   at the sinks, the window and the k tokens that the key index finds best
 *             anchors  at the sinks, the window and the line anchors
 *
 * Sinks are the preamble's tokens, at least 4. Every block is read once for all rules that read it alike. A file is one block
 * whatever its length: a conversation cuts a long one into parts, of which each sees those before it, which is the same.
 *
 * Measured are the target's negative log-likelihoods in nats under teacher forcing, and questions behind the target, each
 * asked on its own: planted constants (hexadecimal values on lines put into the other files) and prototypes (parameter lists
 * that stand on one line of another file and nowhere in the own one). A token is right when no logit is above its own.
 * Three more measurements say what that is worth: full (chain, all), window (chain, only sinks and the last
 * KG_CBR_WINDOW tokens) and own (the own file alone in sight, read and looked at in full).
 */
#ifndef KG_ENGINE_EVAL_CBR_H
#define KG_ENGINE_EVAL_CBR_H

#include "engine/engine.h"

#define KG_CBR_WINDOW     256 /* of the measurement called window */
#define KG_CBR_WINDOW_MIN 64
#define KG_CBR_K_MAX      4096

enum kg_cbr_read { KG_CBR_ALONE, KG_CBR_LINKED, KG_CBR_CHAIN, KG_CBR_ANCHORS };
enum kg_cbr_look { KG_CBR_ALL, KG_CBR_RECALL, KG_CBR_LINES };

/* KG_ERR_USAGE names those there are. */
enum kg_status kg_cbr_read_parse(const char *name, enum kg_cbr_read *out, struct kg_error *err);
enum kg_status kg_cbr_look_parse(const char *name, enum kg_cbr_look *out, struct kg_error *err);
const char *kg_cbr_read_name(enum kg_cbr_read read);
const char *kg_cbr_look_name(enum kg_cbr_look look);

struct kg_cbr_rule {
    enum kg_cbr_read read;
    enum kg_cbr_look look;
    uint32_t window; /* of look recall and anchors, and of read anchors */
    uint32_t k;      /* of look recall */
};
/* Whether the rule's result depends on its window, and on its k. */
bool kg_cbr_uses_window(const struct kg_cbr_rule *rule);
bool kg_cbr_uses_k(const struct kg_cbr_rule *rule);

struct kg_cbr_file {
    const char *path; /* its heading; the extension tells the language */
    const char *text;
    size_t length;
};

struct kg_cbr_options {
    uint32_t tokens;     /* of context before plants are added: files are cut to it at line starts */
    uint32_t target;     /* tokens */
    uint32_t constants;  /* at most so many are planted and asked for */
    uint32_t prototypes; /* at most so many are asked for */
    uint64_t seed;
    bool chat;
};

struct kg_cbr_text;

/* Cuts, plants and tokenises; nothing is computed. When everything is longer than options->tokens, the own head keeps its
 * end, half of the tokens or what the other files leave; these are cut in order, the last ones at their end or wholly.
 * KG_ERR_RANGE: too little text for a head and a target, or more than the model's trained length. */
enum kg_status kg_cbr_text_create(struct kg_engine *engine, const struct kg_cbr_file *files, size_t count, const struct kg_cbr_options *options,
                                  struct kg_cbr_text **out, struct kg_error *err);
void kg_cbr_text_free(struct kg_cbr_text *text); /* NULL is fine */

struct kg_cbr_used {
    const char *path;
    uint32_t used, whole; /* tokens of the file in context and target, without plants, and in all */
};
size_t kg_cbr_text_files(const struct kg_cbr_text *text);
struct kg_cbr_used kg_cbr_text_used(const struct kg_cbr_text *text, size_t file);

struct kg_cbr_question {
    bool constant;   /* or a prototype */
    uint32_t tokens; /* asked for */
};

/* What one way of reading and looking gave. */
struct kg_cbr_score {
    double *nll;     /* of each token of the target */
    uint32_t *right; /* tokens of each question; NULL when none was asked */
};

struct kg_cbr_row {
    struct kg_cbr_rule rule;
    struct kg_cbr_score score;
    double keys;  /* exact keys that the target's tokens look at, summed over them; the same in every layer and KV head */
    double bytes; /* of keys, values and index that they read, summed over them, all layers and KV heads: an index page is read whole */
    double seconds; /* for what only this rule needed */
};

struct kg_cbr_result {
    uint32_t context; /* tokens before the target, with plants */
    uint32_t target;
    bool others;      /* other files stand in the context */
    size_t question_count;
    struct kg_cbr_question *questions; /* constants first */
    struct kg_cbr_score full, window, own; /* window without questions */
    double bytes_full; /* as kg_cbr_row.bytes, looking at everything */
    size_t count;
    struct kg_cbr_row *rows; /* one a rule, in order */
};

/* Reads and measures. The engine's pages need a key index (KG_ERR_UNSUPPORTED), for any look but all. *out is freed with
 * kg_cbr_result_free and outlives text and engine. */
enum kg_status kg_cbr_measure(struct kg_engine *engine, const struct kg_cbr_text *text, const struct kg_cbr_rule *rules, size_t count,
                              struct kg_cbr_result **out, struct kg_error *err);
void kg_cbr_result_free(struct kg_cbr_result *result); /* NULL is fine */

/* A value with its 95 % bootstrap interval; NaN where there is none (nothing below the line, or in more than one resample
 * in 40). */
struct kg_cbr_estimate {
    double value, low, high;
};

struct kg_cbr_summary {
    uint64_t context, target;                /* tokens, summed */
    double nll, nll_full, nll_window, nll_own; /* nats a token */
    struct kg_cbr_estimate cbr;       /* (window - nll) / (window - full) */
    struct kg_cbr_estimate cross_cbr; /* (own - nll) / (own - full) */
    size_t cross_texts;               /* those that count in cross_cbr */
    uint64_t constants_asked, constants, constants_full, constants_own;                /* wholly right */
    uint64_t prototype_tokens, prototypes_right, prototypes_full_right, prototypes_own_right;
    struct kg_cbr_estimate constants_kept, prototypes_kept; /* right under the rule / under full */
    double keys_per_token, bytes_per_token, bytes_per_token_full;
    double seconds;
};

/* Row `row` of the results together: sums first, then ratios. Texts without other files do not count in cross_cbr; of several
 * texts, those do not where other files are worth less than KG_CBR_CROSS nats a token. The bootstrap draws texts, in them blocks of 32 target tokens and
 * questions, 1,000 times. */
#define KG_CBR_CROSS 0.02
void kg_cbr_summarise(struct kg_cbr_result *const *results, size_t count, size_t row, uint64_t seed, struct kg_cbr_summary *out);

#endif
