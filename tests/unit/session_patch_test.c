/* How an edited file is put together: what is kept stands in both texts, comes of a reading in which nothing was kept before, and
 * everything else is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/session/matched.h"
#include "engine/state.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/seeded.h"

enum { TEXT_MAX = 6000, SHORT_MAX = 80 };

struct text {
    int32_t ids[TEXT_MAX];
    uint32_t count;
};

/* Lines are alike, as in programs: few tokens, some of which come again and again. */
static void write_text(struct text *text, uint32_t count, uint32_t alphabet, uint64_t *seed)
{
    text->count = count;
    for (uint32_t i = 0; i < count; i++)
        text->ids[i] = (int32_t)(seeded_below(seed, 3) ? seeded_below(seed, alphabet) : seeded_below(seed, 4));
}

/* Some tokens give way to some others. */
static void edit(struct text *text, uint32_t most, uint32_t alphabet, uint64_t *seed)
{
    const uint32_t at = seeded_below(seed, text->count + 1), left = text->count - at;
    uint32_t gone = seeded_below(seed, most + 1), come = seeded_below(seed, most + 1);
    gone = gone < left ? gone : left;
    come = text->count - gone + come <= TEXT_MAX ? come : 0;
    memmove(text->ids + at + come, text->ids + at + gone, (left - gone) * sizeof *text->ids);
    for (uint32_t i = 0; i < come; i++)
        text->ids[at + i] = (int32_t)seeded_below(seed, alphabet);
    text->count += come - gone;
}

static uint32_t longest(const struct text *a, const struct text *b)
{
    static uint32_t length[SHORT_MAX + 2][SHORT_MAX + 2];
    memset(length, 0, sizeof length);
    for (uint32_t i = a->count; i-- > 0;)
        for (uint32_t k = b->count; k-- > 0;) {
            const uint32_t down = length[i + 1][k], right = length[i][k + 1];
            length[i][k] = a->ids[i] == b->ids[k] ? length[i + 1][k + 1] + 1 : down > right ? down : right;
        }
    return length[0][0];
}

static void what_matches_is_a_longest_common_subsequence(void **state)
{
    (void)state;
    static struct text a, b;
    int32_t match[SHORT_MAX];
    uint64_t seed = 1;
    for (int round = 0; round < 4000; round++) {
        write_text(&a, seeded_below(&seed, SHORT_MAX), 2 + seeded_below(&seed, 8), &seed);
        b = a;
        if (round % 2)
            write_text(&b, seeded_below(&seed, SHORT_MAX), 5, &seed);
        else if (a.count > 20 && a.count + 10 <= SHORT_MAX)
            edit(&b, 10, 5, &seed);
        assert_true(a.count <= SHORT_MAX && b.count <= SHORT_MAX);
        assert_int_equal(kg_tokens_match(a.ids, a.count, b.ids, b.count, match, NULL), KG_OK);
        uint32_t matched = 0;
        int32_t last = -1;
        for (uint32_t i = 0; i < a.count; i++) {
            if (match[i] < 0)
                continue;
            assert_true(match[i] > last && (uint32_t)match[i] < b.count && a.ids[i] == b.ids[match[i]]);
            last = match[i];
            matched++;
        }
        assert_int_equal(matched, longest(&a, &b));
    }
}

static void texts_that_differ_in_too_much_match_at_their_ends(void **state)
{
    (void)state;
    static int32_t a[3 * KG_MATCH_MOST], b[3 * KG_MATCH_MOST], match[3 * KG_MATCH_MOST];
    const uint32_t n = 3 * KG_MATCH_MOST;
    for (uint32_t i = 0; i < n; i++) {
        a[i] = (int32_t)i;
        b[i] = i < 10 || i >= n - 7 || i == n / 2 ? a[i] : -1 - (int32_t)i;
    }
    assert_int_equal(kg_tokens_match(a, n, b, n, match, NULL), KG_OK);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(match[i], i < 10 || i >= n - 7 ? (int32_t)i : -1);
}

static struct kg_block *block_of(struct kg_pool *pool, const int32_t *ids, uint32_t count)
{
    static const struct kg_digest unnamed;
    struct kg_block *block = NULL;
    assert_int_equal(kg_block_create(pool, KG_BLOCK_FILE, &unnamed, 0, ids, count, &block, NULL), KG_OK);
    assert_int_equal(kg_block_reserve(block, count, NULL), KG_OK);
    kg_block_set_ready(block, count);
    return block;
}

/* Parts of about so many tokens. */
static void read_whole(struct kg_pool *pool, const struct text *text, uint32_t part, struct kg_former *out)
{
    *out = (struct kg_former){ .parts = calloc(text->count / part + 2, sizeof *out->parts) };
    for (uint32_t at = 0; at < text->count;) {
        const uint32_t count = text->count - at < part ? text->count - at : part;
        out->parts[out->count++].block = block_of(pool, text->ids + at, count);
        at += count;
    }
}

static void check(const struct kg_former *former, const struct kg_patch *patch, const struct text *text)
{
    uint32_t at = 0, unread = 0, last_end = 0;
    size_t last_part = 0;
    bool any = false;
    for (size_t i = 0; i < patch->count; i++) {
        const struct kg_patch_run *run = &patch->runs[i];
        assert_true(run->count > 0 && at + run->count <= text->count);
        if (run->part == KG_PATCH_UNREAD) {
            assert_true(i >= patch->same);
            unread += run->count;
            at += run->count;
            continue;
        }
        const struct kg_block *block = former->parts[run->part].block;
        assert_true(run->part < former->count && run->first + run->count <= kg_block_tokens(block));
        assert_memory_equal(kg_block_ids(block) + run->first, text->ids + at, run->count * sizeof *text->ids);
        assert_true(i == 0 || run->part > last_part || run->first >= last_end); /* in the order in which it stood */
        if (i < patch->same) {
            assert_true(run->part == i && run->first == 0 && run->count == kg_block_tokens(block));
        } else {
            assert_int_equal(run->first % KG_PAGE, 0);
            assert_true(run->count % KG_PAGE == 0 || run->first + run->count == kg_block_tokens(block));
            assert_true(run->count >= KG_PAGE || former->parts[run->part].kept);
            assert_true((former->parts[run->part].kept_changed * KG_PAGE + patch->unread) * KG_PATCH_SHARE <= text->count);
            for (size_t k = 0; k <= run->part; k++) /* not of what was read behind kept parts */
                assert_true(former->parts[run->part].kept || !former->parts[k].kept);
        }
        any = any || i >= patch->same || former->parts[run->part].kept;
        last_part = run->part;
        last_end = run->first + run->count;
        at += run->count;
    }
    assert_true(patch->count == 0 || (any && at == text->count && patch->unread <= unread));
}

static void follow(struct kg_pool *pool, struct kg_former *former, const struct kg_patch *patch, const struct text *text)
{
    struct kg_former next = { .parts = calloc(KG_PATCH_PIECES, sizeof *next.parts) };
    for (size_t i = 0, at = 0; i < patch->count; at += patch->runs[i++].count) {
        const struct kg_patch_run *run = &patch->runs[i];
        const uint32_t before = run->part == KG_PATCH_UNREAD ? 0 : former->parts[run->part].kept_changed;
        next.parts[next.count++] = (struct kg_former_part){ .block = block_of(pool, text->ids + at, run->count),
                                                            .kept = run->part != KG_PATCH_UNREAD && (i >= patch->same || former->parts[run->part].kept),
                                                            .kept_changed = before + (i < patch->same ? 0 : (patch->unread + KG_PAGE - 1) / KG_PAGE) };
    }
    kg_former_free(former);
    *former = next;
}

static void edits_one_after_the_other_keep_what_may_be_kept(void **state)
{
    (void)state;
    static struct text text;
    struct kg_pool *pool = kv_pool(1, 1, 2);
    uint64_t seed = 7;
    unsigned patched = 0, whole = 0, most = 0;
    for (int round = 0; round < 150; round++) {
        struct kg_former former;
        struct kg_patch patch;
        const uint32_t part = 500 + seeded_below(&seed, 2000);
        write_text(&text, 1000 + seeded_below(&seed, 3000), 300, &seed);
        read_whole(pool, &text, part, &former);
        for (int step = 0; step < 12; step++) {
            edit(&text, 60, 300, &seed);
            assert_int_equal(kg_patch_plan(&former, text.ids, text.count, 0, &patch, NULL), KG_OK);
            check(&former, &patch, &text);
            most = patch.count > most ? (unsigned)patch.count : most;
            if (patch.count) {
                follow(pool, &former, &patch, &text);
                patched++;
            } else {
                kg_former_free(&former);
                read_whole(pool, &text, part, &former);
                whole++;
            }
        }
        kg_former_free(&former);
    }
    assert_true(patched > 900 && whole > 50 && most == KG_PATCH_PIECES);
    kg_pool_free(pool);
}

/* However little each edit changes: what is behind them is read again some time. */
static void nothing_is_kept_for_ever(void **state)
{
    (void)state;
    static struct text text;
    struct kg_pool *pool = kv_pool(1, 1, 2);
    struct kg_former former;
    struct kg_patch patch;
    uint64_t seed = 3;
    int step = 0;
    write_text(&text, 2000, 300, &seed);
    read_whole(pool, &text, 2000, &former);
    for (patch.count = 1; patch.count; step++) {
        text.ids[seeded_below(&seed, 100)] = 1000 + step;
        assert_int_equal(kg_patch_plan(&former, text.ids, text.count, 0, &patch, NULL), KG_OK);
        if (patch.count)
            follow(pool, &former, &patch, &text);
        assert_true(step < 2000);
    }
    assert_true(step > 3);
    kg_former_free(&former);
    kg_pool_free(pool);
}

static void what_is_known_as_a_whole_is_not_put_together(void **state)
{
    (void)state;
    static struct text text;
    struct kg_pool *pool = kv_pool(1, 1, 2);
    struct kg_former former;
    struct kg_patch patch;
    uint64_t seed = 9;
    write_text(&text, 640, 5000, &seed);
    read_whole(pool, &text, 1000, &former);
    text.ids[330] = 6000;
    assert_int_equal(kg_patch_plan(&former, text.ids, text.count, 0, &patch, NULL), KG_OK);
    assert_true(patch.count == 2 && patch.same == 0 && patch.runs[0].part == KG_PATCH_UNREAD && patch.runs[0].count == 352 && patch.unread == 32);
    assert_true(patch.runs[1].part == 0 && patch.runs[1].first == 352 && patch.runs[1].count == 288);
    assert_int_equal(kg_patch_plan(&former, text.ids, text.count, 640 - 32, &patch, NULL), KG_OK);
    assert_int_equal(patch.count, 0);
    kg_block_set_ready(former.parts[0].block, 400); /* what was not read to its end */
    assert_int_equal(kg_patch_plan(&former, text.ids, text.count, 0, &patch, NULL), KG_OK);
    assert_int_equal(patch.count, 0);
    kg_former_free(&former);
    read_whole(pool, &text, 1000, &former);
    for (uint32_t i = 300; i < 300 + 640 / KG_PATCH_SHARE; i++)
        text.ids[i] = 6000;
    assert_int_equal(kg_patch_plan(&former, text.ids, text.count, 0, &patch, NULL), KG_OK);
    assert_int_equal(patch.count, 0);
    kg_former_free(&former);
    kg_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_matches_is_a_longest_common_subsequence),
        cmocka_unit_test(texts_that_differ_in_too_much_match_at_their_ends),
        cmocka_unit_test(edits_one_after_the_other_keep_what_may_be_kept),
        cmocka_unit_test(nothing_is_kept_for_ever),
        cmocka_unit_test(what_is_known_as_a_whole_is_not_put_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
