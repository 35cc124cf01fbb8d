/* What of full attention a choice of tokens keeps, on real queries, keys and values: the parts of recall_study_bench.
 *
 * A text is read with full attention. Of some rows near its end the queries are kept, then all keys and values are taken
 * as they are stored. For one row, layer and KV head everything else is arithmetic: exact scores, scores by an index
 * (kernels/backend.h) in some form, a choice, and attention over what was chosen.
 *
 * Out of memory ends the program. */
#ifndef KG_TESTS_RECALL_STUDY_H
#define KG_TESTS_RECALL_STUDY_H

#include "kernels/backend.h"

#define STUDY_RUN    8   /* sampled rows stand in runs of neighbours */
#define STUDY_LAST   512 /* positions at the end of the text from which they are taken */
#define STUDY_SINKS  4
#define STUDY_BITS   2
#define STUDY_K      256
#define STUDY_WINDOW 256

void *study_alloc(size_t count, size_t size); /* zeroed */

/* recall_study_reading_bench.c */
struct study_reading {
    char model[128];
    uint32_t layers, heads, kv_heads, head_size, tokens, rows;
    uint32_t *positions; /* (rows) */
    struct kg_attention attention;
    struct kg_rope rope;
    float *queries;      /* (rows, layers, heads, head_size), not yet rotated */
    uint16_t *pages;     /* as kv_export gives them, in order */
    size_t page_elements;
    int32_t *chosen;     /* (rows, layers, kv_heads, STUDY_K): what the backend itself chooses by default, -1 behind the last */
};
/* Reads the files one after the other as one chain, at most `tokens` tokens (0: all); rows in runs. */
enum kg_status study_read(const char *model, char **files, size_t count, uint32_t tokens, uint32_t runs, struct study_reading *out, struct kg_error *err);
void study_reading_free(struct study_reading *reading);
/* (tokens, head_size) of one layer and KV head: keys, or with value = 1 values. */
void study_take(const struct study_reading *reading, unsigned value, uint32_t layer, uint32_t head, float *out);

/* recall_study_scores_bench.c: forms of an index. */
enum study_least {
    STUDY_LEAST_F16,   /* m in 16 bits, as in kernels/backend.h */
    STUDY_LEAST_STEPS, /* m in 8 bits: a whole multiple of the step */
    STUDY_LEAST_E5M2   /* m in 8 bits: the upper byte of f16, rounded down */
};
struct study_form {
    const char *name;
    uint32_t bits;    /* 0: the keys themselves */
    uint32_t page;    /* tokens that share m and step; a multiple of 16 */
    enum study_least least;
    uint32_t planes;  /* scores by the upper so many bits of a code only; 0 = by all */
};
struct study_index; /* of one layer and KV head */
struct study_index *study_index_create(const struct study_form *form, uint32_t tokens, uint32_t head_size);
void study_index_free(struct study_index *index);
void study_index_build(struct study_index *index, const float *keys);
/* scores (at least `tokens` rounded up to a page) of the first `tokens` tokens for one rotated query. */
void study_scores(const struct study_index *index, const struct kg_attention *a, const float *q, uint32_t tokens, float *scores);
/* Bytes of the index for one token. */
double study_form_bytes(const struct study_form *form, uint32_t head_size);

/* recall_study_variants_bench.c: what is compared. */
enum study_reduction { STUDY_MAX, STUDY_SUM, STUDY_EACH, STUDY_RAW };
enum study_budget { STUDY_SAME, STUDY_BY_LAYER, STUDY_BY_HEAD, STUDY_BY_LAYER_ROOT, STUDY_BY_ROW_MAX, STUDY_BY_ROW_MEAN };
enum study_sharing { STUDY_ALL_ROWS, STUDY_FIRST_ROW };

struct study_variant {
    const char *factor;
    char name[64];
    uint32_t form, k, window;
    enum study_reduction reduction;
    uint32_t again, keep;  /* the best `keep` are ranked once more by form `again`; 0 = none are */
    uint32_t share;        /* rows that share a choice */
    enum study_sharing sharing;
    enum study_budget budget;
    uint32_t *ks;          /* budgets: (layers, kv_heads, rows) */
    float *outside;        /* (layers, kv_heads, rows, group): 1 - exact mass of S, L and R */
    double error;          /* sum over the same of |o_variant - o_full| / |o_full| */
    double index_bytes, row_bytes, full_bytes, chosen; /* sums over (layers, kv_heads, rows) */
};
extern const struct study_form study_forms[];
extern const uint32_t study_form_count;

struct study {
    const struct study_reading *reading;
    struct study_variant *variants;
    uint32_t count, standard; /* number of the default variant */
    uint64_t chosen, agreed;  /* tokens chosen by default, and those of them that the backend chooses as well */
    float *curves;            /* (layers, kv_heads, rows, 2, STUDY_CURVE): mass outside by k as the index estimates it */
    void (*progress)(uint32_t done, uint32_t total);
};
#define STUDY_CURVE      128 /* k = STUDY_CURVE_STEP, 2 * STUDY_CURVE_STEP, ... */
#define STUDY_CURVE_STEP 16

void study_variants(struct study *study); /* with a reading: fills the rest, all zero */
void study_settle(struct study *study);   /* shares the k of the default out, by what study_measure found */
void study_free(struct study *study);

/* recall_study_choice_bench.c: measures the variants that need a budget, or all others. */
void study_measure(struct study *study, bool budgets);

#endif
