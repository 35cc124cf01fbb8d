/* Attention over chosen tokens, of every backend that has recall. */
#include <stdlib.h>

#include "tests/unit/recall_scene.h"
#include "tests/unit/seeded.h"

static const struct operation attend_chosen = { "attend_chosen", scene_load, scene_attend, scene_unload };

/* Lists of any tokens, ascending: of S and L and in no index, and some that no row sees yet; some lists are empty. */
static void make_lists(struct scene *s, uint64_t seed)
{
    const uint32_t n = scene_tokens(s), k = s->look.k;
    s->lists = test_alloc((size_t)s->rows * s->attention.kv_heads * k, sizeof *s->lists);
    for (uint32_t i = 0; i < s->rows * s->attention.kv_heads; i++) {
        int32_t *list = s->lists + (size_t)i * k;
        const uint32_t wanted = i % 5 == 3 ? 0 : i % 5 == 4 ? 1 + seeded_below(&seed, k) : k;
        uint32_t count = 0;
        for (uint32_t t = 0; t < n && count < wanted; t++)
            if (seeded_below(&seed, n - t) < wanted - count)
                list[count++] = (int32_t)t;
        for (; count < k; count++)
            list[count] = -1;
    }
}

static void check_attention(const struct variant *variant, struct scene *s, uint64_t seed)
{
    char text[160];
    make_lists(s, seed);
    scene_describe(s, text, sizeof text);
    check_operation(variant, &attend_chosen, s, s->rows, s->attention.heads * s->shape.head_size, 1e-5, text, NULL, NULL);
}

static void attention_in_a_chain(void **state)
{
    scene_over(state, scene_chain, CONFORMANCE_ROWS, check_attention);
}

static void attention_among_files(void **state)
{
    scene_over(state, scene_files, 33, check_attention);
}

static void attention_among_many_blocks(void **state)
{
    scene_over(state, scene_many_blocks, 9, check_attention);
}

static void attention_in_a_long_text(void **state)
{
    scene_over(state, scene_long_text, 4, check_attention);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_in_a_chain),
        cmocka_unit_test(attention_among_files),
        cmocka_unit_test(attention_among_many_blocks),
        cmocka_unit_test(attention_in_a_long_text),
    };
    return conformance_main(tests, sizeof tests / sizeof *tests);
}
