/* Scenes for tests of recall: blocks in pages, a view over them, rows that look at it; and the operations of recall over a scene. */
#ifndef KG_TESTS_RECALL_SCENE_H
#define KG_TESTS_RECALL_SCENE_H

#include "tests/unit/conformance.h"

#define SCENE_SPANS_MAX 48
#define SCENE_LAYERS    2

/* A view over blocks that stand in pages 0 .. n-1 of `bits`; load gives them other numbers on every device. */
struct scene {
    const char *name;
    struct kg_kv_shape shape;
    struct kg_attention attention;
    struct kg_rope rope;
    struct kg_look look;
    uint32_t layer, rows, pages, span_count;
    int32_t position; /* of the first row */
    struct kg_span spans[SCENE_SPANS_MAX];
    uint32_t first_page[SCENE_SPANS_MAX];
    bool closes[SCENE_SPANS_MAX]; /* the last page is indexed as far as it is filled */
    uint32_t never_indexed; /* a page; behind all if none */
    uint8_t *halves, *bits, *index; /* of all pages: as f16, as they hold it, and of the keys */
    uint8_t *indexed;
    float *q;
    double deviation; /* of q */
    int32_t *lists; /* for attention: (rows, kv_heads, k) */
};

/* The heads, how they are rotated, and bits of the index. */
struct heads {
    uint32_t heads, kv_heads, head_size;
    enum kg_rope_layout layout;
    uint32_t pairs, bits;
    float soft_cap;
    enum kg_kv_type type;
};

#define SCENE_HEADS 16
extern const struct heads scene_heads[SCENE_HEADS];

void scene_set_heads(struct scene *s, const struct heads *h);
/* A span over new pages. */
void scene_add_span(struct scene *s, uint32_t tokens, int32_t base, int32_t local, bool closes);
/* The element 0 of a key, or of a value. */
uint16_t *scene_half_at(const struct scene *s, uint32_t page, bool value, uint32_t head, uint32_t slot);
struct kg_kv *scene_create_pages(const struct rig *rig, const struct kg_kv_shape *shape, uint32_t pages);
/* After a change of halves: bits anew, and halves as they are read. */
void scene_keep(struct scene *s);
/* The index as ref has it, of pages that are filled; fill does it as well. */
void scene_take_index(struct scene *s);
void scene_fill(struct scene *s, uint64_t seed);
void scene_free(struct scene *s);
uint32_t scene_tokens(const struct scene *s);
void scene_describe(const struct scene *s, char *text, size_t size);

/* The parts of a struct operation: choose writes (rows, kv_heads, k) numbers, attend looks at what s->lists names. */
void *scene_load(const struct rig *rig, const void *what);
void scene_unload(const struct rig *rig, void *loaded);
void scene_choose(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out);
void scene_attend(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out);

/* Scenes: one block that grows; files; many small blocks; more segments than one. */
void scene_chain(struct scene *s);
void scene_files(struct scene *s);
void scene_many_blocks(struct scene *s);
void scene_long_text(struct scene *s);

bool scene_has_recall(const struct variant *variant);
/* Checks one scene with several kinds of heads; skips the test where there is no recall. */
void scene_over(void **state, void (*build)(struct scene *), uint32_t rows, void (*check)(const struct variant *, struct scene *, uint64_t seed));

#endif
