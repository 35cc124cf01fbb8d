/* A file that is edited is read again where the edit is: what is kept before is what a reading of the whole gives, what is kept behind
 * is what it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "engine/state.h"
#include "tests/faults/killed_process.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/model_run.h"
#include "tests/unit/seeded.h"

enum { LINES = 40, LINE_MAX_BYTES = 64 };

static const char header[] = "int line_of(int number, int width);\n", other_header[] = "int line_of(int number, int height);\n";

struct world {
    char directory[2][256], model[KG_PATH_MAX];
    struct kg_engine *engine[2];
    struct kg_session *session[2];
    char text[LINES * LINE_MAX_BYTES];
};

/* So many lines of a function each; line `changed` is another one. */
static const char *text_with(struct world *w, int changed)
{
    size_t at = 0;
    for (int i = 0; i < LINES; i++)
        at += (size_t)snprintf(w->text + at, sizeof w->text - at, "int line_%d(int number)\n{\n    return number %c %d;\n}\n", i, i == changed ? '-' : '+', i);
    assert_true(at < sizeof w->text);
    return w->text;
}

static void open_one(struct world *w, int i, const char *name)
{
    struct kg_error err = { .text = "" };
    const struct kg_engine_options options = { .model_path = w->model, .backend = "cpu", .threads = 2, .cache_dir = w->directory[i],
                                               .state_dir = w->directory[i] };
    if (kg_engine_open(&options, &w->engine[i], &err) != KG_OK ||
        kg_session_open(w->engine[i], &(struct kg_session_options){ .name = name, .unsaved = !name }, &w->session[i], &err) != KG_OK)
        fail_msg("%s", err.text);
}

static void close_one(struct world *w, int i)
{
    kg_session_close(w->session[i]);
    kg_engine_close(w->engine[i]);
    w->session[i] = NULL;
    w->engine[i] = NULL;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    *state = w;
    for (int i = 0; i < 2; i++)
        snprintf(w->directory[i], sizeof w->directory[i], "%s", kv_directory_make());
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", w->model);
    open_one(w, 0, "edits");
    open_one(w, 1, NULL);
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 2; i++) {
        close_one(w, i);
        kv_directory_remove(w->directory[i]);
    }
    free(w);
    return 0;
}

/* Tokens that had to be read for it. */
static uint32_t add(struct world *w, int i, const char *text, const char *included)
{
    struct kg_error err = { .text = "" };
    const struct kg_include include = { .path = "line.h", .text = included ? included : "", .length = included ? strlen(included) : 0 };
    const uint64_t before = w->session[i]->computed_since;
    if (kg_session_add_linked(w->session[i], "line.c", text, strlen(text), false, &include, included != NULL, UINT32_MAX, &err) != KG_OK)
        fail_msg("%s", err.text);
    return (uint32_t)(w->session[i]->computed_since - before);
}

/* The piece that so many pieces of the file stand before; the file was placed last. */
static struct kg_piece *piece_of(const struct world *w, int i, size_t before)
{
    const struct kg_session *session = w->session[i];
    size_t at = session->count - 1;
    while (session->pieces[at].continues || session->pieces[at].kind != KG_BLOCK_FILE)
        at--;
    assert_true(at + before < session->count && session->pieces[at + before].kind == KG_BLOCK_FILE);
    return &session->pieces[at + before];
}

static struct kg_block *block_of(const struct world *w, int i)
{
    return piece_of(w, i, 0)->block;
}

static size_t pieces_of(const struct world *w, int i)
{
    const struct kg_piece *first = piece_of(w, i, 0);
    size_t count = 1;
    while (first + count < w->session[i]->pieces + w->session[i]->count && first[count].continues && first[count].block)
        count++;
    return count;
}

static bool is_patched(const struct world *w, int i)
{
    return kg_file_is_patched(w->session[i], (size_t)(piece_of(w, i, 0) - w->session[i]->pieces));
}

static void are_the_same(struct kg_block *a, struct kg_block *b)
{
    assert_int_equal(kg_block_tokens(a), kg_block_tokens(b));
    assert_int_equal(kg_block_local(a), kg_block_local(b));
    kv_blocks_hold_the_same(a, 0, b, 0, kg_block_tokens(a));
}

/* The file's pieces say what the text says, one behind the other. */
static void is_the_text(const struct world *w, int i, const char *text)
{
    struct kg_ids ids = { 0 };
    const struct kg_piece *piece = piece_of(w, i, 0);
    const struct kg_digest digest = kg_digest_of(text, strlen(text));
    size_t at = 0, byte = 0;
    int32_t base = piece->base;
    assert_int_equal(kg_tokenize(w->engine[i]->tokenizer, text, strlen(text), false, &ids, NULL), KG_OK);
    for (size_t k = 0; k < pieces_of(w, i); k++, piece++) {
        const uint32_t tokens = kg_block_tokens(piece->block);
        assert_int_equal(piece->base, base);
        assert_int_equal(kg_block_ready(piece->block), tokens);
        assert_true(at + tokens <= ids.count && byte + piece->length <= strlen(text));
        assert_memory_equal(kg_block_ids(piece->block), ids.ids + at, tokens * sizeof *ids.ids);
        assert_memory_equal(piece->text, text + byte, piece->length);
        at += tokens;
        byte += piece->length;
        base += (int32_t)tokens;
    }
    assert_true(at == ids.count && byte == strlen(text));
    assert_memory_equal(&piece_of(w, i, 0)->content, &digest, sizeof digest);
    kg_ids_free(&ids);
}

static void what_stands_before_and_behind_an_edit_is_kept(void **state)
{
    struct world *w = *state;
    const uint32_t whole = add(w, 0, text_with(w, -1), NULL);
    struct kg_block *old = kg_block_keep(block_of(w, 0));
    const uint32_t again = add(w, 0, text_with(w, 20), NULL);
    assert_true(again > 0 && again < whole / 8);
    is_the_text(w, 0, w->text);
    assert_true(pieces_of(w, 0) == 2 && is_patched(w, 0));
    struct kg_block *kept = piece_of(w, 0, 1)->block;
    const uint32_t first = (uint32_t)(kg_block_local(kept) - kg_block_local(old));
    assert_int_equal(first % KG_PAGE, 0);
    kv_blocks_hold_the_same(kept, 0, old, first / KG_PAGE, kg_block_tokens(kept)); /* the last page was cut off */
    kg_block_release(old);

    const uint32_t before = kg_block_tokens(block_of(w, 0));
    assert_true(add(w, 1, text_with(w, 20), NULL) > 8 * again && !is_patched(w, 1));
    kv_blocks_hold_the_same(block_of(w, 0), 0, block_of(w, 1), 0, before / KG_PAGE * KG_PAGE);
}

static void of_a_file_that_includes_others_too(void **state)
{
    struct world *w = *state;
    const uint32_t whole = add(w, 0, text_with(w, -1), header), again = add(w, 0, text_with(w, 20), header);
    assert_true(again > 0 && again < whole / 8 && is_patched(w, 0) && piece_of(w, 0, 1)->kept_linked);
    is_the_text(w, 0, w->text);
    add(w, 1, text_with(w, 20), header);
    kv_blocks_hold_the_same(block_of(w, 0), 0, block_of(w, 1), 0, kg_block_tokens(block_of(w, 0)) / KG_PAGE * KG_PAGE);
    const uint32_t other = add(w, 0, text_with(w, 25), other_header); /* it sees something else */
    assert_true(!is_patched(w, 0) && other == kg_block_tokens(block_of(w, 0)));
}

static void after_the_conversation_was_closed_as_well(void **state)
{
    struct world *w = *state;
    const uint32_t whole = add(w, 0, text_with(w, -1), header);
    close_one(w, 0);
    open_one(w, 0, "edits");
    assert_true(add(w, 0, text_with(w, 20), header) < whole / 8);
    add(w, 1, text_with(w, -1), header);
    add(w, 1, text_with(w, 20), header);
    assert_int_equal(pieces_of(w, 0), 2);
    for (size_t k = 0; k < 2; k++)
        are_the_same(piece_of(w, 0, k)->block, piece_of(w, 1, k)->block);
    close_one(w, 0);
    open_one(w, 0, "edits");
    assert_true(add(w, 0, text_with(w, 25), header) < whole / 8);
    is_the_text(w, 0, w->text);
}

/* Of a text that follows an edit at its beginning all is kept; back again nothing is read. */
static void what_was_read_before_is_known(void **state)
{
    struct world *w = *state;
    add(w, 0, text_with(w, -1), NULL);
    assert_true(add(w, 0, text_with(w, 0), NULL) < 2 * KG_PAGE);
    assert_true(is_patched(w, 0));
    assert_int_equal(add(w, 0, text_with(w, -1), NULL), 0);
    assert_false(is_patched(w, 0));
    add(w, 1, text_with(w, -1), NULL);
    are_the_same(block_of(w, 0), block_of(w, 1));
    assert_true(add(w, 0, text_with(w, 0), NULL) == 0 && is_patched(w, 0)); /* the same edit was made before */
}

/* Once the whole was read, as while nothing is asked, it is what the next edit begins with. */
static void a_reading_of_the_whole_takes_over(void **state)
{
    struct world *w = *state;
    struct kg_error err;
    struct kg_session *ahead = NULL;
    add(w, 0, text_with(w, -1), NULL);
    add(w, 0, text_with(w, 20), NULL);
    assert_true(is_patched(w, 0));
    assert_int_equal(kg_session_open(w->engine[0], &(struct kg_session_options){ .unsaved = true }, &ahead, &err), KG_OK);
    assert_int_equal(kg_session_read_ahead(ahead, "line.c", w->text, strlen(w->text), NULL, 0, NULL, &err), KG_OK);
    kg_session_close(ahead);
    add(w, 0, text_with(w, 30), NULL); /* 20 is as it was, 30 is another one */
    add(w, 1, text_with(w, 20), NULL);
    const char *text = text_with(w, 30);
    add(w, 1, text, NULL);
    assert_true(pieces_of(w, 0) == pieces_of(w, 1) && is_patched(w, 1));
    for (size_t k = 0; k < pieces_of(w, 0); k++)
        are_the_same(piece_of(w, 0, k)->block, piece_of(w, 1, k)->block);
}

/* Lines change one after the other; line i is of version versions[i]. */
static const char *text_of(struct world *w, const int *versions)
{
    size_t at = 0;
    for (int i = 0; i < LINES; i++) {
        at += (size_t)snprintf(w->text + at, sizeof w->text - at, "int line_%d(int number)\n{\n    return number + %d;\n}\n", i, i);
        for (int k = 0; k < versions[i]; k++)
            at += (size_t)snprintf(w->text + at, sizeof w->text - at, "/* %d */\n", k);
    }
    assert_true(at < sizeof w->text);
    return w->text;
}

static void edits_on_edits_say_what_the_text_says(void **state)
{
    struct world *w = *state;
    uint64_t seed = 5;
    int versions[LINES] = { 0 }, patched = 0;
    const uint32_t whole = add(w, 0, text_of(w, versions), header);
    uint32_t read = 0;
    for (int step = 0; step < 16; step++) {
        int *version = &versions[seeded_below(&seed, LINES)];
        *version = *version ? 0 : 1 + (int)seeded_below(&seed, 3);
        read += add(w, 0, text_of(w, versions), header);
        is_the_text(w, 0, w->text);
        patched += is_patched(w, 0);
        assert_true(pieces_of(w, 0) <= KG_PATCH_PIECES);
    }
    assert_true(patched > 10 && read < 16 * whole / 3);
}

static char *answer_to(struct world *w, int i, const char *question, uint64_t *computed)
{
    struct kg_error err = { .text = "" };
    struct kg_counts counts;
    enum kg_end end;
    const struct kg_question asked = { .text = question, .length = strlen(question), .max_tokens = 12, .sampling = kg_sampling_greedy() };
    if (kg_session_ask(w->session[i], &asked, &end, &err) != KG_OK)
        fail_msg("%s", err.text);
    kg_session_counts(w->session[i], &counts);
    *computed = counts.computed_tokens;
    return strdup(w->session[i]->pieces[w->session[i]->count - 1].text);
}

/* The keys and values of a question and its answer tell of every bit of the logits before. */
static void talk_is_the_same(const struct world *w)
{
    for (size_t k = 1; k <= 2; k++) { /* of an answer's last token nobody needs them */
        struct kg_piece *a = &w->session[0]->pieces[w->session[0]->count - k], *b = &w->session[1]->pieces[w->session[1]->count - k];
        assert_true(a->kind == b->kind && a->base == b->base);
        assert_int_equal(kg_block_ready(a->block), kg_block_ready(b->block));
        kv_blocks_hold_the_same(a->block, 0, b->block, 0, kg_block_ready(a->block));
    }
}

static void reopened_it_is_the_same_bit_for_bit(void **state)
{
    struct world *w = *state;
    uint64_t computed[2];
    for (int i = 0; i < 2; i++) {
        add(w, i, text_with(w, -1), header);
        add(w, i, text_with(w, 20), header);
        assert_true(is_patched(w, i));
    }
    close_one(w, 0);
    open_one(w, 0, "edits");
    assert_true(is_patched(w, 0));
    is_the_text(w, 0, w->text);
    const struct kg_piece *kept[2] = { piece_of(w, 0, 1), piece_of(w, 1, 1) };
    assert_true(kept[0]->kept_first > 0 && kept[0]->kept_first == kept[1]->kept_first && kept[0]->kept_linked && kept[1]->kept_linked);
    assert_true(kept[0]->kept_changed > 0 && kept[0]->kept_changed == kept[1]->kept_changed);
    assert_memory_equal(&kept[0]->kept_of, &kept[1]->kept_of, sizeof kept[0]->kept_of);
    for (int i = 0; i < 2; i++)
        free(answer_to(w, i, "What does line_20 return?", &computed[i]));
    assert_true(computed[0] < 40); /* of the question */
    talk_is_the_same(w);
    close_one(w, 0);
    open_one(w, 0, "edits"); /* with the turn behind it */
    for (int i = 0; i < 2; i++)
        free(answer_to(w, i, "And line_21?", &computed[i]));
    assert_int_equal(computed[0], computed[1]);
    talk_is_the_same(w);
}

struct wanted {
    char key[65];
    int64_t id;
};

static int find_block(void *ctx, const struct kg_cached_block *block)
{
    struct wanted *wanted = ctx;
    if (strcmp(block->key, wanted->key) == 0)
        wanted->id = block->id;
    return 0;
}

static void remove_from_cache(struct world *w, const struct kg_digest *key)
{
    struct wanted wanted = { .id = 0 };
    for (size_t i = 0; i < sizeof key->bytes; i++)
        snprintf(wanted.key + 2 * i, 3, "%02x", key->bytes[i]);
    assert_int_equal(kg_cache_list(w->directory[0], find_block, &wanted, NULL), KG_OK);
    assert_true(wanted.id > 0);
    assert_int_equal(kg_cache_remove(w->directory[0], wanted.id, NULL), KG_OK);
}

/* What is behind it saw the piece that is lost: it is read again as well, under another name, and nothing before is. */
static void a_kept_piece_that_is_lost_is_read_again(void **state)
{
    struct world *w = *state;
    int versions[LINES] = { 0 };
    add(w, 0, text_of(w, versions), NULL);
    versions[10] = 1;
    add(w, 0, text_of(w, versions), NULL);
    versions[30] = 1;
    add(w, 0, text_of(w, versions), NULL);
    assert_true(pieces_of(w, 0) == 4 && is_patched(w, 0)); /* read, kept, read, kept */
    const struct kg_digest key = *kg_block_key(piece_of(w, 0, 1)->block);
    struct kg_digest names[4];
    uint32_t tokens[4];
    uint64_t computed;
    for (size_t k = 0; k < 4; k++) {
        names[k] = piece_of(w, 0, k)->identity;
        tokens[k] = kg_block_tokens(piece_of(w, 0, k)->block);
    }
    close_one(w, 0);
    remove_from_cache(w, &key);
    open_one(w, 0, "edits");
    assert_false(is_patched(w, 0));
    for (size_t k = 0; k < 4; k++)
        assert_int_equal(memcmp(&names[k], &piece_of(w, 0, k)->identity, sizeof names[k]) == 0, k == 0);
    free(answer_to(w, 0, "What does line_30 return?", &computed));
    assert_true(computed >= tokens[1] + tokens[2] + tokens[3] && computed < tokens[1] + tokens[2] + tokens[3] + 40);
    is_the_text(w, 0, w->text);
    close_one(w, 0);
    open_one(w, 0, "edits");
    free(answer_to(w, 0, "And line_31?", &computed));
    assert_true(computed < 40);
}

/* A conversation that goes on by another policy reads it by that. */
static void by_another_policy_nothing_is_kept(void **state)
{
    struct world *w = *state;
    struct kg_error err;
    add(w, 0, text_with(w, -1), header);
    add(w, 0, text_with(w, 20), header);
    assert_true(is_patched(w, 0));
    for (int policy = KG_POLICY_FULL; policy <= KG_POLICY_ANCHOR; policy++) {
        kg_session_close(w->session[0]);
        w->session[0] = NULL;
        assert_int_equal(kg_session_open(w->engine[0], &(struct kg_session_options){ .name = "edits", .policy = (enum kg_policy)policy }, &w->session[0], &err),
                         KG_OK);
        assert_false(is_patched(w, 0));
    }
}

/* What a kept piece is named by; and that it is named as nothing else is. */
static void a_kept_piece_is_named_by_what_decides_its_bits(void **state)
{
    struct world *w = *state;
    const struct kg_session *s = w->session[1];
    int32_t numbers[] = { 5, 6, 7 };
    const struct kg_ids ids = { .ids = numbers, .count = 3 }, fewer = { .ids = numbers, .count = 2 }, others = { .ids = numbers + 1, .count = 2 };
    const struct kg_digest a = kg_digest_of("a", 1), b = kg_digest_of("b", 1);
    struct kg_digest names[8];
    names[0] = kg_kept_identity(s, &a, 0, &ids);
    names[1] = kg_kept_identity(s, &b, 0, &ids);
    names[2] = kg_kept_identity(s, &a, 32, &ids);
    names[3] = kg_kept_identity(s, &a, 0, &fewer);
    names[4] = kg_kept_identity(s, &a, 0, &others);
    names[5] = kg_part_identity(s, KG_READ_ALONE, NULL, &ids, NULL, 0);
    names[6] = kg_part_identity(s, KG_READ_ALONE, NULL, &ids, &a, 1);
    names[7] = kg_part_identity(s, KG_READ_LINKED, &a, &ids, NULL, 0);
    for (unsigned i = 0; i < 8; i++)
        for (unsigned k = 0; k < i; k++)
            assert_memory_not_equal(&names[i], &names[k], sizeof names[i]);
}

/* What is read behind a kept piece is another reading than the same text behind the same tokens that were read as one. */
static void what_is_behind_it_is_named_by_it(void **state)
{
    struct world *w = *state;
    int versions[LINES] = { 0 };
    add(w, 0, text_of(w, versions), NULL);
    versions[10] = 1;
    add(w, 0, text_of(w, versions), NULL);
    versions[30] = 1;
    add(w, 0, text_of(w, versions), NULL);
    struct kg_piece *read = piece_of(w, 0, 2), *kept = piece_of(w, 0, 1);
    const size_t at = (size_t)(read - w->session[0]->pieces);
    const struct kg_digest name = read->identity;
    struct kg_digest now = kg_piece_identity(w->session[0], at, read->base, kg_block_ids(read->block), kg_block_tokens(read->block));
    assert_memory_equal(&now, &name, sizeof now);
    kept->identity.bytes[3] ^= 1;
    now = kg_piece_identity(w->session[0], at, read->base, kg_block_ids(read->block), kg_block_tokens(read->block));
    assert_memory_not_equal(&now, &name, sizeof now);
    kept->identity.bytes[3] ^= 1;
}

struct replacement {
    struct world *w;
    const char *text;
};

/* Until it is killed, which it is while it places the other text. */
static void replace_in_child(void *ctx, int tell)
{
    const struct replacement *replacement = ctx;
    open_one(replacement->w, 0, "edits");
    if (write(tell, "x", 1) == 1)
        add(replacement->w, 0, replacement->text, NULL);
    pause();
}

/* Whatever a process that dies was doing, the file is there, as it was or as it is. */
static void a_process_that_dies_leaves_one_text(void **state)
{
    struct world *w = *state;
    const char *rounds = getenv("CHECK_LONG");
    uint64_t seed = 11;
    unsigned old = 0, changed = 0;
    int at = -1;
    add(w, 0, text_with(w, at), NULL);
    for (int round = rounds && *rounds == '1' ? 100 : 8; round > 0; round--) {
        const int next = (at + 7) % LINES;
        close_one(w, 0);
        struct replacement replacement = { w, text_with(w, next) };
        close(killed_process(replace_in_child, &replacement, KILLED_FROM_WORD, seeded_below(&seed, 800000)));
        open_one(w, 0, "edits");
        const char *text = text_with(w, next);
        const bool there = kg_session_has_file(w->session[0], "line.c", text, strlen(text));
        if (!there)
            text = text_with(w, at);
        assert_true(kg_session_has_file(w->session[0], "line.c", text, strlen(text)));
        assert_int_equal(kg_session_read_all(w->session[0], NULL), KG_OK);
        is_the_text(w, 0, text);
        at = there ? next : at;
        old += !there;
        changed += there;
    }
    printf("# killed %u times before the new text was there, %u times behind\n", old, changed);
}

/* Tokens behind a secret saw it, and what they saw does not go where anybody reads it when the secret is taken out of the text. */
static void nothing_is_kept_that_saw_a_secret(void **state)
{
    struct world *w = *state;
    struct kg_error err = { .text = "" };
    const char *text = text_with(w, 5);
    assert_int_equal(kg_session_add_file(w->session[0], "line.c", text, strlen(text), true, &err), KG_OK);
    add(w, 0, text_with(w, -1), NULL);
    assert_false(is_patched(w, 0));
    assert_int_equal(kg_session_clear(w->session[0], &err), KG_OK); /* which does not see it any more: it is kept what is read */
    add(w, 0, text_with(w, 20), NULL);
    assert_true(is_patched(w, 0));
    add(w, 1, text_with(w, -1), NULL);
    add(w, 1, text_with(w, 20), NULL);
    are_the_same(piece_of(w, 0, 1)->block, piece_of(w, 1, 1)->block);
}

/* It is gone from the conversation, here and when that is opened again. */
static void a_text_that_does_not_fit_leaves_none(void **state)
{
    struct world *w = *state;
    struct kg_session *session = w->session[0];
    struct kg_error err = { .text = "" };
    struct kg_counts counts;
    int versions[LINES] = { 0 };
    add(w, 0, text_of(w, versions), NULL);
    kg_session_counts(session, &counts);
    const uint32_t words = counts.context_limit - counts.context_tokens - 60;
    char *filler = malloc(2UL * words + 1);
    for (uint32_t i = 0; i < words; i++)
        memcpy(filler + 2UL * i, " a", 3);
    kg_engine_stop(w->engine[0]); /* it has to stand there, and not to be read */
    assert_int_equal(kg_session_add_file(session, "words", filler, 2UL * words, false, &err), KG_ERR_CANCELLED);
    kg_engine_go(w->engine[0]);
    free(filler);
    kg_session_counts(session, &counts);
    assert_true(counts.context_limit - counts.context_tokens < 60);
    versions[20] = 20;
    const char *text = text_of(w, versions);
    assert_int_equal(kg_session_add_file(session, "line.c", text, strlen(text), false, &err), KG_ERR_FULL);
    versions[20] = 0;
    for (int again = 0; again < 2; again++) {
        text = text_of(w, versions);
        assert_false(kg_session_has_file(w->session[0], "line.c", text, strlen(text)));
        kg_session_counts(w->session[0], &counts);
        assert_true(counts.context_tokens < counts.context_limit - 600);
        close_one(w, 0);
        open_one(w, 0, "edits");
    }
}

static int64_t version_of(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA data_version", -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    const int64_t version = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return version;
}

static void what_is_refused_writes_nothing(void **state)
{
    struct world *w = *state;
    struct kg_error err = { .text = "" };
    struct kg_counts counts;
    sqlite3 *db = NULL;
    char path[300];
    add(w, 0, text_with(w, -1), NULL);
    kg_session_counts(w->session[0], &counts);
    const size_t words = counts.context_limit + 10;
    char *filler = malloc(2 * words + 1);
    for (size_t i = 0; i < words; i++)
        memcpy(filler + 2 * i, " a", 3);
    snprintf(path, sizeof path, "%s/sessions.db", w->directory[0]);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    const int64_t before = version_of(db);
    assert_int_equal(kg_session_add_file(w->session[0], "words", filler, 2 * words, false, &err), KG_ERR_FULL);
    assert_int_equal(version_of(db), before);
    add(w, 0, text_with(w, 3), NULL);
    assert_int_not_equal(version_of(db), before);
    sqlite3_close(db);
    free(filler);
}

/* Pieces stand where the sequence has them, also when that could not be stored. */
static void what_moved_has_moved_whatever_the_store_says(void **state)
{
    struct world *w = *state;
    struct kg_session *session = w->session[0];
    struct kg_error err = { .text = "" };
    static const char *const names[] = { "a", "b", "c" };
    kg_engine_stop(w->engine[0]); /* nothing of it has to be read */
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(kg_session_add_file(session, names[i], header, strlen(header), false, &err), KG_ERR_CANCELLED);
    kg_engine_go(w->engine[0]);
    assert_int_equal(kg_session_drop_file(session, "a", &err), KG_OK);
    assert_int_equal(kg_session_store_delete(w->engine[0]->session_store, session->stored_id, &err), KG_OK); /* as another kedge may */
    struct kg_counts counts;
    kg_session_counts(session, &counts);
    assert_int_equal(kg_session_make_room(session, counts.context_limit - counts.context_tokens, "all", &err), KG_ERR_NOT_FOUND);
    for (size_t i = 0; i < session->count; i++)
        assert_true(!session->pieces[i].block || kg_piece_index(session, &session->pieces[i]) != SIZE_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_stands_before_and_behind_an_edit_is_kept),
        TEST(of_a_file_that_includes_others_too),
        TEST(after_the_conversation_was_closed_as_well),
        TEST(what_was_read_before_is_known),
        TEST(a_reading_of_the_whole_takes_over),
        TEST(edits_on_edits_say_what_the_text_says),
        TEST(reopened_it_is_the_same_bit_for_bit),
        TEST(a_kept_piece_that_is_lost_is_read_again),
        TEST(by_another_policy_nothing_is_kept),
        TEST(a_kept_piece_is_named_by_what_decides_its_bits),
        TEST(what_is_behind_it_is_named_by_it),
        TEST(nothing_is_kept_that_saw_a_secret),
        TEST(a_text_that_does_not_fit_leaves_none),
        TEST(what_is_refused_writes_nothing),
        TEST(what_moved_has_moved_whatever_the_store_says),
        TEST(a_process_that_dies_leaves_one_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
