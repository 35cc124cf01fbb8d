/* Private to engine/eval/cbr_*.c. */
#ifndef KG_ENGINE_EVAL_CBR_PARTS_H
#define KG_ENGINE_EVAL_CBR_PARTS_H

#include "engine/eval/cbr.h"
#include "engine/state.h"

enum kg_cbr_language { KG_CBR_OTHER, KG_CBR_C, KG_CBR_PYTHON };

/* One file on its way into the context. */
struct kg_cbr_source {
    const char *path; /* the text's */
    enum kg_cbr_language language;
    char *text; /* cut; with plants */
    size_t length;
    struct kg_ids heading, ids; /* of the own file: head and target */
    uint32_t used, whole;
};

/* A text behind the target, of which ids[first .. first+asked-1] are asked for. */
struct kg_cbr_asking {
    bool constant;
    struct kg_ids ids;
    uint32_t first, asked;
};

/* One block of the context; the last one is the own head. */
struct kg_cbr_piece {
    enum kg_block_kind kind;
    const int32_t *ids;
    uint32_t count;
};

struct kg_cbr_text {
    struct kg_cbr_options options;
    struct kg_cbr_source *sources; /* those that have a place; the last one is the own file */
    size_t source_count;
    struct kg_cbr_used *used; /* of all files */
    char **paths;             /* of all files */
    size_t file_count;
    struct kg_ids preamble, turn;
    struct kg_ids target; /* `lead` tokens before it, then the target */
    uint32_t lead;
    struct kg_cbr_piece *pieces; /* behind the preamble; they point into the sources */
    size_t piece_count;
    struct kg_cbr_asking *askings;
    size_t asking_count, asking_room;
};

uint32_t kg_cbr_sinks(const struct kg_cbr_text *text);

/* splitmix64 */
uint64_t kg_cbr_random(uint64_t *state);
uint32_t kg_cbr_below(uint64_t *state, uint32_t limit);

/* cbr_cut.c: whole lines, as many as make at most `tokens` tokens: bytes from the start, or the offset of the end's begin. */
enum kg_status kg_cbr_count(const struct kg_tokenizer *tokenizer, const char *text, size_t length, uint32_t *out, struct kg_error *err);
enum kg_status kg_cbr_keep_begin(const struct kg_tokenizer *tokenizer, const char *text, size_t length, uint32_t tokens, size_t *bytes,
                                 struct kg_error *err);
enum kg_status kg_cbr_keep_end(const struct kg_tokenizer *tokenizer, const char *text, size_t length, uint32_t tokens, size_t *offset,
                               struct kg_error *err);

/* cbr_plants.c, cbr_questions.c: lines put into the sources before the last one, and what is asked; the sources' ids are
 * made afterwards. */
enum kg_cbr_language kg_cbr_language_of(const char *path);
enum kg_status kg_cbr_plant(const struct kg_tokenizer *tokenizer, struct kg_cbr_text *text, uint64_t *random, struct kg_error *err);
enum kg_status kg_cbr_find_prototypes(const struct kg_tokenizer *tokenizer, struct kg_cbr_text *text, uint64_t *random, struct kg_error *err);
/* A question of `text`, where bytes from .. upto-1 are asked for: the tokens that hold any of them. Not *added when there is
 * none such, or when `exact` and a token reaches over `from`. */
enum kg_status kg_cbr_ask(const struct kg_tokenizer *tokenizer, struct kg_cbr_text *to, bool constant, const char *text, size_t from, size_t upto,
                          bool exact, bool *added, struct kg_error *err);

/* cbr_score.c: the negative log-likelihood of `id`, and whether no logit is above its own (of equal ones the first is chosen). */
double kg_cbr_likelihood(const float *logits, uint32_t vocabulary, int32_t id, bool *best);

/* cbr_context.c: a context as a rule reads it. */
struct kg_cbr_reader;
enum kg_status kg_cbr_reader_create(struct kg_engine *engine, const struct kg_cbr_text *text, struct kg_cbr_reader **out, struct kg_error *err);
void kg_cbr_reader_free(struct kg_cbr_reader *reader);
/* What is looked at: `look` in kg_reading and its anchors, in storage of the reader's. */
void kg_cbr_reader_look(struct kg_cbr_reader *reader, enum kg_cbr_look look, uint32_t window, uint32_t k, struct kg_reading *out);
void kg_cbr_reader_look_window(struct kg_cbr_reader *reader, struct kg_reading *out);
/* The context in a sequence, read; valid until the next call or the reader's end. */
enum kg_status kg_cbr_reader_context(struct kg_cbr_reader *reader, const struct kg_cbr_rule *rule, struct kg_sequence **out, struct kg_error *err);
enum kg_status kg_cbr_reader_own(struct kg_cbr_reader *reader, struct kg_sequence **out, struct kg_error *err);
/* Reads ids as one block at the sequence's end; scored as in kg_reading. The block stays, the sequence holds the only reference. */
enum kg_status kg_cbr_reader_append(struct kg_cbr_reader *reader, struct kg_sequence *sequence, enum kg_block_kind kind, const int32_t *ids,
                                    size_t count, const struct kg_reading *look,
                                    enum kg_status (*scored)(void *ctx, uint32_t token, const float *logits, struct kg_error *err),
                                    uint32_t scored_from, void *ctx, struct kg_error *err);
/* For progress: tokens that will be read. */
void kg_cbr_reader_plan(struct kg_cbr_reader *reader, const struct kg_cbr_rule *rules, size_t count);
const bool *kg_cbr_reader_anchors(const struct kg_cbr_reader *reader);

/* cbr_score.c: target and questions behind a context. */
enum kg_status kg_cbr_score_make(struct kg_cbr_reader *reader, const struct kg_cbr_text *text, const struct kg_model_shape *shape,
                                 struct kg_sequence *sequence, const struct kg_reading *look, bool with_questions, struct kg_cbr_score *out,
                                 struct kg_error *err);

/* cbr_rows.c: what the target's tokens look at, which follows from lengths alone; bits as in kg_kv_shape. */
struct kg_cbr_cost {
    double keys, bytes; /* as in kg_cbr_row */
};
struct kg_cbr_cost kg_cbr_cost(const struct kg_cbr_text *text, const struct kg_kv_shape *shape, const struct kg_cbr_rule *rule, const bool *anchors);

#endif
