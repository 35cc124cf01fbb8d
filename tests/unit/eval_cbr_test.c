/* kedge eval cbr: what is measured agrees with computations that know nothing of it, and texts are cut and planted as they
 * should be. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/eval/cbr_parts.h"
#include "tests/unit/model_run.h"

#define TINY "tests/golden/tiny/qwen2.gguf" /* 512 positions, a token is hardly more than a byte */

static const char header[] =
    "#ifndef LAMP_H\n#define LAMP_H\n\nvoid lamp_set(int row, int col);\n\nint lamp_get(int row);\n\nint lamp_sum(int from, int upto);\n\n#endif\n";
static const char source[] =
    "#include \"lamp.h\"\n\nint main(void)\n{\n    lamp_set(1, 2);\n    lamp_set(3, 4);\n    return lamp_get(1) + lamp_get(3) + lamp_sum(1, 3);\n}\n";

static const struct kg_cbr_file two_files[] = { { "lamp.h", header, sizeof header - 1 }, { "main.c", source, sizeof source - 1 } };
static const struct kg_cbr_options small = { .tokens = 330, .target = 64, .constants = 1, .prototypes = 1, .seed = 7 };

static struct kg_engine *open_engine(const char *path, const char *backend)
{
    struct kg_engine *engine = NULL;
    struct kg_error err = { .text = "" };
    const struct kg_engine_options options = { .model_path = path, .backend = backend, .threads = 2, .cache_off = true, .index_bits = 4 };
    if (kg_engine_open(&options, &engine, &err) != KG_OK)
        fail_msg("%s", err.text);
    return engine;
}

/* Room for longer texts than the tiny model was made for. */
static void lengthen(struct kg_model *model, uint32_t length)
{
    ((struct kg_model_shape *)kg_model_shape(model))->trained_length = length;
}

static struct kg_cbr_text *make_text(struct kg_engine *engine, const struct kg_cbr_file *files, size_t count, const struct kg_cbr_options *options)
{
    struct kg_cbr_text *text = NULL;
    struct kg_error err = { .text = "" };
    if (kg_cbr_text_create(engine, files, count, options, &text, &err) != KG_OK)
        fail_msg("%s", err.text);
    return text;
}

static struct kg_cbr_result *measure(struct kg_engine *engine, const struct kg_cbr_text *text, const struct kg_cbr_rule *rules, size_t count)
{
    struct kg_cbr_result *result = NULL;
    struct kg_error err = { .text = "" };
    if (kg_cbr_measure(engine, text, rules, count, &result, &err) != KG_OK)
        fail_msg("%s", err.text);
    assert_int_equal(kg_pool_pages_used(engine->pool), 0);
    return result;
}

static double largest_difference(const double *a, const double *b, uint32_t n)
{
    double largest = 0;
    for (uint32_t i = 0; i < n; i++)
        largest = fabs(a[i] - b[i]) > largest ? fabs(a[i] - b[i]) : largest;
    return largest;
}

/* Blocks read and looked at by hand: each has pages of its own, and a list of blocks to see. */
enum { MOST_BLOCKS = 16 };
struct by_hand {
    struct model_run run;
    struct kg_span spans[MOST_BLOCKS];
    uint32_t pages_taken;
};

/* Reads ids as block `number` behind those of `seen`, which stand one behind the other from 0 on. */
static void read_block(struct by_hand *hand, size_t number, const int32_t *ids, uint32_t count, int32_t local, const size_t *seen, size_t seen_count,
                       float *logits, uint32_t wanted)
{
    struct kg_span spans[MOST_BLOCKS];
    struct kg_error err = { .text = "" };
    int32_t base = 0;
    for (size_t i = 0; i < seen_count; i++) {
        spans[i] = hand->spans[seen[i]];
        spans[i].base = base;
        base += (int32_t)spans[i].tokens;
    }
    const uint32_t *pages = hand->run.pages + hand->pages_taken;
    hand->pages_taken += (count + KG_PAGE - 1) / KG_PAGE;
    for (uint32_t first = 0, rows; first < count; first += rows) {
        rows = count - first < 100 ? count - first : 100;
        const uint32_t from = count - wanted > first ? count - wanted - first : 0;
        spans[seen_count] = hand->spans[number] = (struct kg_span){ pages, first + rows, base, local };
        const struct kg_pass pass = { .ids = ids + first, .rows = rows, .first = first, .local = local, .position = base + (int32_t)first, .pages = pages,
                                      .spans = spans, .span_count = (uint32_t)seen_count + 1, .logits_from = from < rows ? from : rows,
                                      .closes = first + rows == count };
        if (kg_model_forward(hand->run.model, hand->run.kv, &pass, logits, &err) != KG_OK)
            fail_msg("%s", err.text);
        if (logits)
            logits += (size_t)(rows - pass.logits_from) * kg_model_shape(hand->run.model)->vocabulary;
    }
}

/* The target's likelihoods by a read rule, everything looked at in full; own: the own file alone in sight. */
static void read_by_hand(const char *backend, const struct kg_cbr_text *text, enum kg_cbr_read read, bool own, double *nll)
{
    struct by_hand hand = { .pages_taken = 0 };
    const size_t pieces = text->piece_count;
    const int32_t local = (int32_t)text->preamble.count;
    const uint32_t target = text->options.target;
    size_t all[MOST_BLOCKS] = { 0 }, seen[MOST_BLOCKS], seen_count = 0, others[MOST_BLOCKS] = { 0 };
    model_run_open(&hand.run, TINY, kg_backend_find(backend), NULL, 1024);
    lengthen(hand.run.model, 1024);
    read_block(&hand, 0, text->preamble.ids, (uint32_t)text->preamble.count, 0, NULL, 0, NULL, 0);
    for (size_t i = 0; i < pieces; i++) {
        const struct kg_cbr_piece *piece = &text->pieces[i];
        const bool head = i == pieces - 1;
        all[i + 1] = others[i + 1] = i + 1;
        read_block(&hand, i + 1, piece->ids, piece->count, local, all, read == KG_CBR_CHAIN ? i + 1 : read == KG_CBR_LINKED && head ? i : 1, NULL, 0);
    }
    for (size_t i = 0; i <= pieces; i++)
        if (!own || i == 0 || i + 1 >= pieces)
            seen[seen_count++] = i;
    if (text->turn.count) {
        read_block(&hand, pieces + 1, text->turn.ids, (uint32_t)text->turn.count, local, seen, seen_count, NULL, 0);
        seen[seen_count++] = pieces + 1;
    }
    const uint32_t vocabulary = kg_model_shape(hand.run.model)->vocabulary;
    float *logits = calloc((size_t)(target + 1) * vocabulary, sizeof *logits);
    read_block(&hand, pieces + 2, text->target.ids, (uint32_t)text->target.count, local, seen, seen_count, logits, target + 1);
    for (uint32_t t = 0; t < target; t++) {
        double sum = 0;
        for (uint32_t i = 0; i < vocabulary; i++)
            sum += exp((double)logits[(size_t)t * vocabulary + i]);
        nll[t] = log(sum) - (double)logits[(size_t)t * vocabulary + (uint32_t)text->target.ids[text->lead + t]];
    }
    free(logits);
    model_run_close(&hand.run);
}

/* The same when everything is one text in one block: keys are rounded for other positions than in a chain of blocks. */
static void read_as_one(const char *backend, const struct kg_cbr_text *text, double *nll)
{
    struct kg_ids ids = { 0 };
    assert_int_equal(kg_ids_append(&ids, text->preamble.ids, text->preamble.count, NULL), KG_OK);
    for (size_t i = 0; i < text->piece_count; i++)
        assert_int_equal(kg_ids_append(&ids, text->pieces[i].ids, text->pieces[i].count, NULL), KG_OK);
    assert_int_equal(kg_ids_append(&ids, text->turn.ids, text->turn.count, NULL), KG_OK);
    const struct kg_cbr_text one = { .options = text->options, .preamble = ids, .target = text->target, .lead = text->lead };
    read_by_hand(backend, &one, KG_CBR_CHAIN, false, nll);
    kg_ids_free(&ids);
}

static void likelihoods_are_the_models_own(const char *backend, double most)
{
    const struct kg_cbr_rule rules[] = { { KG_CBR_CHAIN, KG_CBR_ALL, 64, 1 }, { KG_CBR_ALONE, KG_CBR_ALL, 64, 1 }, { KG_CBR_LINKED, KG_CBR_ALL, 64, 1 } };
    double nll[64];
    for (int chat = 0; chat < 2; chat++) {
        struct kg_cbr_options options = small;
        options.chat = chat;
        options.constants = options.prototypes = !chat;
        options.tokens = chat ? 800 : 330;
        struct kg_engine *engine = open_engine(TINY, backend);
        lengthen(engine->model, 1024);
        struct kg_cbr_text *text = make_text(engine, two_files, 2, &options);
        assert_int_equal(text->source_count, 2);
        struct kg_cbr_result *result = measure(engine, text, rules, 3);
        for (size_t i = 0; i < 3; i++) {
            read_by_hand(backend, text, rules[i].read, false, nll);
            assert_true(largest_difference(result->rows[i].score.nll, nll, options.target) < most);
        }
        read_by_hand(backend, text, KG_CBR_ALONE, true, nll);
        assert_true(largest_difference(result->own.nll, nll, options.target) < most);
        read_as_one(backend, text, nll);
        assert_true(largest_difference(result->full.nll, nll, options.target) < 0.02);
        assert_int_equal(memcmp(result->full.nll, result->rows[0].score.nll, options.target * sizeof *nll), 0);
        kg_cbr_result_free(result);
        kg_cbr_text_free(text);
        kg_engine_close(engine);
    }
}

/* Over any reading: recall of everything, and a window over everything, are the full look; less is not. */
static void looks_agree(const char *backend, double most)
{
    struct kg_engine *engine = open_engine(TINY, backend);
    struct kg_cbr_text *text = make_text(engine, two_files, 2, &small);
    for (enum kg_cbr_read read = KG_CBR_ALONE; read <= KG_CBR_ANCHORS; read++) {
        const struct kg_cbr_rule rules[] = { { read, KG_CBR_ALL, 64, 1 },       { read, KG_CBR_RECALL, 64, 512 }, { read, KG_CBR_RECALL, 64, 16 },
                                             { read, KG_CBR_LINES, 64, 1 },     { read, KG_CBR_LINES, 512, 1 },   { read, KG_CBR_RECALL, 512, 1 } };
        struct kg_cbr_result *result = measure(engine, text, rules, sizeof rules / sizeof *rules);
        const double *all = result->rows[0].score.nll;
        assert_true(largest_difference(all, result->rows[1].score.nll, 64) < most);
        assert_true(largest_difference(all, result->rows[2].score.nll, 64) > 1e-3);
        assert_true(largest_difference(all, result->rows[3].score.nll, 64) > 1e-3);
        if (read != KG_CBR_ANCHORS) { /* (there the window is one of the reading, too) */
            assert_true(largest_difference(all, result->rows[4].score.nll, 64) < most);
            assert_true(largest_difference(all, result->rows[5].score.nll, 64) < most);
        }
        assert_true(largest_difference(result->full.nll, result->window.nll, 64) > 1e-3);
        assert_int_equal(read == KG_CBR_CHAIN, largest_difference(all, result->full.nll, 64) < 1e-3);
        kg_cbr_result_free(result);
    }
    kg_cbr_text_free(text);
    kg_engine_close(engine);
}

/* Without other files every reading is one of the own file; in a short text the window is all of it. */
static void one_file_is_read_alike(const char *backend, double most)
{
    struct kg_engine *engine = open_engine(TINY, backend);
    struct kg_cbr_options options = { .tokens = 150, .target = 64, .constants = 5, .prototypes = 5, .seed = 7 };
    struct kg_cbr_text *text = make_text(engine, two_files + 1, 1, &options);
    const struct kg_cbr_rule rules[] = { { KG_CBR_ALONE, KG_CBR_ALL, 64, 1 }, { KG_CBR_LINKED, KG_CBR_RECALL, 256, 1 }, { KG_CBR_CHAIN, KG_CBR_RECALL, 256, 1 } };
    struct kg_cbr_result *result = measure(engine, text, rules, 3);
    struct kg_cbr_summary summary;
    assert_int_equal(result->question_count, 0);
    assert_true(largest_difference(result->rows[0].score.nll, result->own.nll, 64) == 0);
    assert_true(largest_difference(result->rows[1].score.nll, result->own.nll, 64) < most);
    assert_true(largest_difference(result->rows[2].score.nll, result->full.nll, 64) < most); /* (in a chain the head sees its heading) */
    assert_true(largest_difference(result->window.nll, result->full.nll, 64) < most);
    kg_cbr_summarise(&result, 1, 0, 1, &summary);
    assert_true(isnan(summary.cross_cbr.value) && isnan(summary.constants_kept.value) && summary.constants_asked == 0 && summary.prototype_tokens == 0);
    kg_cbr_result_free(result);
    kg_cbr_text_free(text);
    kg_engine_close(engine);
}

static void rules_on_ref(void **state)
{
    (void)state;
    likelihoods_are_the_models_own("ref", 1e-9);
    looks_agree("ref", 1e-9);
    one_file_is_read_alike("ref", 1e-9);
}

static void rules_on_cpu(void **state)
{
    (void)state;
    if (!kg_backend_cpu.choose)
        skip();
    likelihoods_are_the_models_own("cpu", 1e-4);
    looks_agree("cpu", 1e-3);
    one_file_is_read_alike("cpu", 1e-3);
}

/* A file of numbered functions, some of them in comments, that is longer than what is wanted. */
static char *long_file(unsigned functions, const char *name)
{
    char *text = malloc((size_t)functions * 200 + 1), *at = text;
    *at = '\0';
    for (unsigned i = 0; i < functions; i++)
        at += sprintf(at, i % 5 == 4 ? "/*\n\nint %s_%u(int a%u, char b%u)\n*/\n\n" : "int %s_%u(int a%u, char b%u)\n{\n    int c = a%u;\n\n    return c;\n}\n\n",
                      name, i, i, i, i);
    return text;
}

static size_t lines_with(const char *text, size_t length, const char *word)
{
    size_t n = 0;
    for (const char *at = text; (at = memmem(at, length - (size_t)(at - text), word, strlen(word))); at++)
        n++;
    return n;
}

/* The token ids asked for are the value's, at the end of a text that names the constant; and its line stands in a file. */
static void check_constant(const struct kg_engine *engine, const struct kg_cbr_text *text, const struct kg_cbr_asking *asking)
{
    char question[512] = "", *value, line[256];
    size_t length = 0, asked_from = 0;
    for (size_t i = 0; i < asking->ids.count; i++) {
        size_t n;
        const char *bytes = kg_token_bytes(engine->tokenizer, asking->ids.ids[i], true, &n);
        if (i == asking->first)
            asked_from = length;
        memcpy(question + length, bytes, n);
        length += n;
    }
    question[length] = '\0';
    value = strstr(question, " 0x") + 3;
    assert_ptr_equal(value, question + asked_from);
    assert_int_equal(strlen(value), 8);
    assert_int_equal(strspn(value, "0123456789abcdef"), 8);
    const char *definition = strrchr(question, '\n') + 1;
    snprintf(line, sizeof line, "\n\n%s%s\n\n", definition, *definition == 's' ? ";" : "");
    size_t found = 0;
    for (size_t i = 0; i + 1 < text->source_count; i++)
        found += lines_with(text->sources[i].text, text->sources[i].length, line);
    assert_int_equal(found, 1);
}

static void constants_are_planted_evenly(void **state)
{
    (void)state;
    struct kg_engine *engine = open_engine(TINY, "ref");
    lengthen(engine->model, 1 << 20); /* nothing is computed here */
    char *a = long_file(30, "first"), *b = long_file(30, "second");
    const struct kg_cbr_file files[] = { { "dir/a.h", a, strlen(a) }, { "b.py", "x = 1\n\ndef two(a, b):\n    return a\n\n\ny = 2\n", 44 },
                                         { "dir/c.c", b, strlen(b) }, { "notes.txt", "one\n\ntwo\n\nthree\n", 16 }, { "main.c", source, sizeof source - 1 } };
    struct kg_cbr_options options = { .tokens = 20000, .target = 64, .constants = 12, .prototypes = 8, .seed = 3 };
    struct kg_cbr_text *text = make_text(engine, files, 5, &options);
    assert_int_equal(text->asking_count, 20);
    assert_int_equal(text->source_count, 5);
    size_t planted = 0, bytes = 0;
    for (size_t i = 0; i < 12; i++)
        check_constant(engine, text, &text->askings[i]);
    for (size_t i = 0; i + 1 < text->source_count; i++) {
        size_t n = lines_with(text->sources[i].text, text->sources[i].length, "KEDGE_");
        planted += n;
        bytes += text->sources[i].length;
        if (text->sources[i].language == KG_CBR_OTHER)
            assert_int_equal(n, 0);
    }
    assert_int_equal(planted, 12);
    assert_int_equal(lines_with(text->sources[4].text, text->sources[4].length, "KEDGE_"), 0);
    /* half of them in each of the two long files, and never in a comment or a function */
    assert_in_range(lines_with(text->sources[0].text, text->sources[0].length, "KEDGE_"), 5, 7);
    assert_int_equal(lines_with(text->sources[0].text, text->sources[0].length, "c = a"), 24);
    for (const char *at = text->sources[0].text; (at = strstr(at, "KEDGE_")); at++)
        assert_true(strstr(at, "*/") == NULL || strstr(at, "/*") < strstr(at, "*/"));
    /* the same seed, the same text */
    struct kg_cbr_text *again = make_text(engine, files, 5, &options);
    assert_string_equal(text->sources[0].text, again->sources[0].text);
    assert_int_equal(memcmp(text->askings[13].ids.ids, again->askings[13].ids.ids, text->askings[13].ids.count * sizeof(int32_t)), 0);
    options.seed = 4;
    struct kg_cbr_text *other = make_text(engine, files, 5, &options);
    assert_string_not_equal(text->sources[0].text, other->sources[0].text);
    kg_cbr_text_free(text);
    kg_cbr_text_free(again);
    kg_cbr_text_free(other);
    free(a);
    free(b);
    kg_engine_close(engine);
}

/* The bytes asked for of a prototype, and of its question. */
static void words_of(const struct kg_engine *engine, const struct kg_cbr_asking *asking, char *question, char *asked)
{
    size_t length = 0, from = 0;
    for (size_t i = 0; i < asking->ids.count; i++) {
        size_t n;
        const char *bytes = kg_token_bytes(engine->tokenizer, asking->ids.ids[i], true, &n);
        from = i == asking->first ? length : from;
        memcpy(question + length, bytes, n);
        length += n;
    }
    question[length] = '\0';
    strcpy(asked, question + from);
    question[from] = '\0';
}

static void prototypes_are_found(void **state)
{
    (void)state;
    static const char c[] = "int one(int a, int b);\nint one_of(void);\nstatic char *two(const char *text)\n{\n    if (text)\n        return call(text);\n}\n"
                            "int twice(int a);\nint twice(int b);\n#define X(a) a\nint known(int x);\nint array[] = { f(1) };\nint (*pointer)(int);\n"
                            "unsigned Name::method(int p) const;\nreturn bad(x);\nint broken(int a,\n  int b);\n";
    static const char python[] = "class A:\n    def __init__(self):\n        pass\n\n    def put(self, key, value=(1, 2)) -> int:\n        pass\n\ndef run():\n    pass\n";
    static const char *const expected[][2] = { { "\n/* the same as in x.c */\nint one(", "int a, int b" },
                                               { "\n/* the same as in x.c */\nstatic char *two(", "const char *text" },
                                               { "\n/* the same as in x.c */\nunsigned Name::method(", "int p" },
                                               { "\n    # the same as in y.py\n    def put(", "self, key, value=(1, 2)" } };
    static const char own[] = "int known(int x)\n{\n    return x;\n}\nint i = 0;\n";
    const struct kg_cbr_file files[] = { { "a/x.c", c, sizeof c - 1 }, { "y.py", python, sizeof python - 1 }, { "main.c", own, sizeof own - 1 } };
    struct kg_engine *engine = open_engine(TINY, "ref");
    lengthen(engine->model, 1 << 20);
    struct kg_cbr_options options = { .tokens = 20000, .target = 8, .prototypes = 100, .seed = 3 };
    struct kg_cbr_text *text = make_text(engine, files, 3, &options);
    assert_int_equal(text->asking_count, 4);
    for (size_t k = 0; k < 4; k++) {
        bool found = false;
        for (size_t i = 0; i < 4; i++) {
            char question[512], asked[512];
            words_of(engine, &text->askings[i], question, asked);
            found = found || (strcmp(question, expected[k][0]) == 0 && strcmp(asked, expected[k][1]) == 0);
        }
        if (!found)
            fail_msg("%s is not asked for", expected[k][0]);
    }
    kg_cbr_text_free(text);
    kg_engine_close(engine);
}

static uint32_t context_tokens(const struct kg_cbr_text *text)
{
    uint32_t tokens = (uint32_t)(text->preamble.count + text->turn.count) + text->lead;
    for (size_t i = 0; i < text->piece_count; i++)
        tokens += text->pieces[i].count;
    return tokens;
}

static void texts_are_cut_at_lines(void **state)
{
    (void)state;
    struct kg_engine *engine = open_engine(TINY, "ref");
    lengthen(engine->model, 1 << 20);
    char *a = long_file(30, "first"), *b = long_file(30, "second"), *own = long_file(30, "own");
    const struct kg_cbr_file files[] = { { "a.c", a, strlen(a) }, { "b.c", b, strlen(b) }, { "own.c", own, strlen(own) } };
    for (uint32_t tokens = 200; tokens < 8000; tokens += 331) {
        struct kg_cbr_options options = { .tokens = tokens, .target = 64, .seed = 3 };
        struct kg_cbr_text *text = make_text(engine, files, 3, &options);
        const struct kg_cbr_source *last = &text->sources[text->source_count - 1];
        const size_t whole = strlen(own);
        const bool cut = kg_cbr_text_used(text, 1).used < kg_cbr_text_used(text, 1).whole;
        assert_in_range(context_tokens(text), cut ? tokens - 60 : 4500, tokens);
        assert_int_equal(memcmp(last->text, own + whole - last->length, last->length), 0);
        assert_true(last->length == whole || own[whole - last->length - 1] == '\n');
        for (size_t i = 0; i + 1 < text->source_count; i++) {
            const struct kg_cbr_source *source_i = &text->sources[i];
            assert_int_equal(memcmp(source_i->text, files[i].text, source_i->length), 0);
            assert_int_equal(source_i->text[source_i->length - 1], '\n');
            assert_true(i == 0 || text->sources[i - 1].length == strlen(files[i - 1].text));
        }
        if (last->length < whole) /* at least about half */
            assert_in_range(last->ids.count - 64, tokens / 2 - 40, tokens);
        assert_int_equal(kg_cbr_text_files(text), 3);
        assert_int_equal(kg_cbr_text_used(text, 2).used, last->ids.count);
        kg_cbr_text_free(text);
    }
    free(a);
    free(b);
    free(own);
    kg_engine_close(engine);
}

static void refuse(struct kg_engine *engine, const struct kg_cbr_file *files, size_t count, const struct kg_cbr_options *options, const char *words)
{
    struct kg_cbr_text *text = NULL;
    struct kg_error err = { .text = "" };
    assert_int_equal(kg_cbr_text_create(engine, files, count, options, &text, &err), KG_ERR_RANGE);
    assert_null(text);
    if (!strstr(err.text, words))
        fail_msg("'%s' says nothing of '%s'", err.text, words);
}

static void hostile_files_are_refused_or_read(void **state)
{
    (void)state;
    static const char odd[] = "\xff\xfe\0int \xc3(\x80\n\nint a(int b\0);\n\n\xe2\x28\xa1\n\nstatic int f(int \xff\xff);\n\n";
    const struct kg_cbr_file nothing[] = { { "lamp.h", "", 0 }, { "main.c", "", 0 } };
    const struct kg_cbr_file empty_other[] = { { "lamp.h", "", 0 }, { "main.c", source, sizeof source - 1 } };
    const struct kg_cbr_file one_line[] = { { "lamp.h", header, 40 }, { "main.c", "static int a = 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10 + 11 + 12 + 13;", 69 } };
    const struct kg_cbr_file odd_bytes[] = { { "a\n\x1b[31m.h", odd, sizeof odd - 1 }, { "b.py", odd, sizeof odd - 1 }, { "main.c", odd, sizeof odd - 1 } };
    const struct kg_cbr_rule rule = { KG_CBR_LINKED, KG_CBR_RECALL, 64, 4 };
    struct kg_engine *engine = open_engine(TINY, "ref");
    struct kg_cbr_options options = small;
    refuse(engine, nothing, 2, &options, "--target");
    options.target = 1000;
    refuse(engine, two_files, 2, &options, "--target");
    options.target = 64;
    options.tokens = 100;
    refuse(engine, one_line, 2, &(struct kg_cbr_options){ .tokens = 1, .target = 64 }, "--tokens");
    options.tokens = 100000;
    char *a = long_file(30, "long");
    refuse(engine, &(struct kg_cbr_file){ "a.c", a, strlen(a) }, 1, &options, "trained for 512");
    free(a);
    options.tokens = 300;
    struct kg_cbr_text *text = make_text(engine, empty_other, 2, &options);
    assert_int_equal(text->source_count, 1);
    kg_cbr_text_free(text);
    text = make_text(engine, one_line, 2, &options);
    assert_int_equal(text->source_count, 2);
    kg_cbr_text_free(text);
    options = (struct kg_cbr_options){ .tokens = 400, .target = 16, .constants = 3, .prototypes = 3, .seed = 1 };
    text = make_text(engine, odd_bytes, 3, &options);
    kg_cbr_result_free(measure(engine, text, &rule, 1));
    kg_cbr_text_free(text);
    kg_engine_close(engine);
}

/* Counted token by token. */
static struct kg_cbr_cost count_cost(const struct kg_cbr_text *text, const struct kg_kv_shape *shape, const struct kg_cbr_rule *rule, const bool *anchors)
{
    int32_t ids[1024];
    uint32_t page[1024], n = 0, pages = 0;
    struct kg_cbr_cost cost = { 0, 0 };
    for (size_t i = 0; i < text->piece_count + 3; i++) {
        struct kg_cbr_piece block = i == 0                       ? (struct kg_cbr_piece){ 0, text->preamble.ids, (uint32_t)text->preamble.count }
                                    : i <= text->piece_count     ? text->pieces[i - 1]
                                    : i == text->piece_count + 1 ? (struct kg_cbr_piece){ 0, text->turn.ids, (uint32_t)text->turn.count }
                                                                 : (struct kg_cbr_piece){ 0, text->target.ids, (uint32_t)text->target.count };
        for (uint32_t t = 0; t < block.count; t++, n++) {
            ids[n] = block.ids[t];
            pages += t % KG_PAGE == 0;
            page[n] = pages;
        }
    }
    for (uint32_t p = n - text->options.target - 1; p < n - 1; p++) {
        uint32_t seen_page = 0, others = 0, exact = 0, lines = 0, index_pages = 0;
        for (uint32_t t = 0; t <= p; t++) {
            if (rule->look == KG_CBR_ALL || t < kg_cbr_sinks(text) || t + rule->window > p) {
                exact++;
                continue;
            }
            others++;
            lines += anchors[ids[t]];
            index_pages += page[t] != seen_page;
            seen_page = page[t];
        }
        if (rule->look == KG_CBR_RECALL)
            exact += others < rule->k ? others : rule->k;
        if (rule->look == KG_CBR_LINES)
            exact += lines;
        cost.keys += exact;
        cost.bytes += shape->layers * shape->kv_heads *
                      (4.0 * exact * shape->head_size + (rule->look == KG_CBR_RECALL ? (double)index_pages * (double)KG_INDEX_HEAD_BYTES(shape) : 0));
    }
    return cost;
}

static void what_a_token_reads_is_counted(void **state)
{
    (void)state;
    struct kg_engine *engine = open_engine(TINY, "ref");
    const struct kg_kv_shape *shape = kg_pool_shape(engine->pool);
    bool *anchors = calloc(kg_model_shape(engine->model)->vocabulary, sizeof *anchors);
    for (uint32_t i = 0; i < kg_vocabulary(engine->tokenizer); i++)
        anchors[i] = kg_token_has_newline(engine->tokenizer, (int32_t)i);
    const struct kg_cbr_rule rules[] = { { KG_CBR_CHAIN, KG_CBR_ALL, 64, 1 },     { KG_CBR_ALONE, KG_CBR_RECALL, 64, 20 }, { KG_CBR_ALONE, KG_CBR_RECALL, 100, 400 },
                                         { KG_CBR_LINKED, KG_CBR_RECALL, 500, 9 }, { KG_CBR_ANCHORS, KG_CBR_LINES, 70, 1 } };
    struct kg_cbr_text *text = make_text(engine, two_files, 2, &small);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const struct kg_cbr_cost cost = kg_cbr_cost(text, shape, &rules[i], anchors), counted = count_cost(text, shape, &rules[i], anchors);
        assert_true(cost.keys == counted.keys && cost.bytes == counted.bytes && cost.keys > 0);
    }
    free(anchors);
    kg_cbr_text_free(text);
    kg_engine_close(engine);
}

/* Preamble, heading, file and turn are those of a conversation. */
static void chat_is_as_a_conversation_has_it(void **state)
{
    (void)state;
    static const char question[] = "Continue the file main.c from where it stops. Write only what follows.";
    struct kg_engine *engine = open_engine("tests/golden/tiny/llama.gguf", "ref");
    struct kg_cbr_options options = { .tokens = 500, .target = 8, .seed = 1, .chat = true };
    const char own[] = "int a;\nint b;\n";
    const struct kg_cbr_file files[] = { { "x.h", "int x;\n", 7 }, { "main.c", own, sizeof own - 1 } };
    lengthen(engine->model, 1024);
    struct kg_cbr_text *text = make_text(engine, files, 2, &options);
    struct kg_session *session = NULL;
    struct kg_error err = { .text = "" };
    enum kg_end end;
    const struct kg_session_options unsaved = { .unsaved = true, .policy = KG_POLICY_ALONE };
    const struct kg_question asked = { .text = question, .length = sizeof question - 1, .max_tokens = 1, .sampling = kg_sampling_greedy() };
    assert_int_equal(kg_session_open(engine, &unsaved, &session, &err), KG_OK);
    assert_int_equal(kg_session_add_file(session, "x.h", files[0].text, files[0].length, false, &err), KG_OK);
    size_t head = 0, length;
    for (uint32_t t = 0; t < text->pieces[3].count; t++) {
        kg_token_bytes(engine->tokenizer, text->pieces[3].ids[t], true, &length);
        head += length;
    }
    assert_int_equal(kg_session_add_file(session, "main.c", own, head, false, &err), KG_OK);
    assert_int_equal(kg_session_ask(session, &asked, &end, &err), KG_OK);
    struct kg_cbr_piece expected[7] = { { KG_BLOCK_PREAMBLE, text->preamble.ids, (uint32_t)text->preamble.count } };
    memcpy(expected + 1, text->pieces, 4 * sizeof *expected);
    expected[5] = (struct kg_cbr_piece){ KG_BLOCK_TURN, text->turn.ids, (uint32_t)text->turn.count };
    expected[6] = (struct kg_cbr_piece){ KG_BLOCK_ANSWER, text->target.ids, text->lead };
    assert_int_equal(text->piece_count, 4);
    for (size_t i = 0; i < 7; i++) {
        const struct kg_block *block = kg_sequence_block(session->sequence, i);
        assert_int_equal(kg_block_kind(block), expected[i].kind);
        assert_int_equal(kg_block_tokens(block) - (i == 6), expected[i].count); /* (with one token of answer) */
        assert_int_equal(memcmp(kg_block_ids(block), expected[i].ids, expected[i].count * sizeof(int32_t)), 0);
    }
    kg_session_close(session);
    kg_cbr_text_free(text);
    kg_engine_close(engine);
}

/* Numbers of which everything is known. */
static struct kg_cbr_result *made_result(uint32_t target, double nll, double full, double window, double own, uint32_t right)
{
    struct kg_cbr_result *result = calloc(1, sizeof *result);
    result->target = target;
    result->others = true;
    result->question_count = 4;
    result->questions = calloc(4, sizeof *result->questions);
    result->rows = calloc(1, sizeof *result->rows);
    result->count = 1;
    struct kg_cbr_score *scores[] = { &result->rows[0].score, &result->full, &result->window, &result->own };
    const double values[] = { nll, full, window, own };
    for (size_t i = 0; i < 4; i++) {
        scores[i]->nll = calloc(target, sizeof(double));
        scores[i]->right = calloc(4, sizeof(uint32_t));
        for (uint32_t t = 0; t < target; t++)
            scores[i]->nll[t] = values[i];
        result->questions[i] = (struct kg_cbr_question){ i < 2, 8 };
        for (size_t q = 0; q < 4; q++)
            scores[i]->right[q] = i == 0 ? right : i == 1 ? 8 : 0;
    }
    return result;
}

static void sums_come_before_ratios(void **state)
{
    (void)state;
    /* the second text's other files are worth too little for cross_cbr; the third one is short */
    struct kg_cbr_result *results[] = { made_result(64, 1.1, 1.0, 2.0, 1.5, 8), made_result(64, 1.0, 1.0, 1.5, 1.01, 7), made_result(32, 1.5, 1.0, 3.0, 2.0, 4) };
    struct kg_cbr_summary one, all;
    kg_cbr_summarise(results, 1, 0, 1, &one);
    assert_true(fabs(one.cbr.value - 0.9) < 1e-12 && fabs(one.cbr.low - 0.9) < 1e-12 && fabs(one.cbr.high - 0.9) < 1e-12);
    assert_true(fabs(one.cross_cbr.value - 0.8) < 1e-12 && one.cross_texts == 1);
    assert_true(one.constants == 2 && one.constants_full == 2 && one.constants_own == 0 && one.constants_asked == 2);
    assert_true(one.prototypes_right == 16 && one.prototype_tokens == 16);
    kg_cbr_summarise(results, 3, 0, 1, &all);
    assert_true(fabs(all.cbr.value - (64 * 0.9 + 64 * 0.5 + 32 * 1.5) / (64 * 1.0 + 64 * 0.5 + 32 * 2.0)) < 1e-12);
    assert_true(fabs(all.cross_cbr.value - (64 * 0.4 + 32 * 0.5) / (64 * 0.5 + 32 * 1.0)) < 1e-12 && all.cross_texts == 2);
    assert_true(all.cbr.low < all.cbr.value && all.cbr.high > all.cbr.value && all.cbr.low >= 0.75 && all.cbr.high <= 1);
    assert_true(fabs(all.nll - (64 * 1.1 + 64 * 1.0 + 32 * 1.5) / 160) < 1e-12);
    assert_true(all.constants == 2 && all.constants_full == 6 && all.prototypes_right == 16 + 14 + 8 && all.prototypes_full_right == 48);
    assert_true(fabs(all.prototypes_kept.value - 38.0 / 48) < 1e-12 && fabs(all.constants_kept.value - 2.0 / 6) < 1e-12);
    assert_true(all.constants_kept.low == 0 && all.constants_kept.high == 1);
    /* nothing to keep: no number */
    struct kg_cbr_result *even = made_result(32, 1, 1, 1, 1, 0);
    kg_cbr_summarise(&even, 1, 0, 1, &one);
    assert_true(isnan(one.cbr.value) && isnan(one.cross_cbr.value) && isnan(one.cbr.low));
    kg_cbr_result_free(even);
    for (size_t i = 0; i < 3; i++)
        kg_cbr_result_free(results[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_on_ref),
        cmocka_unit_test(rules_on_cpu),
        cmocka_unit_test(constants_are_planted_evenly),
        cmocka_unit_test(prototypes_are_found),
        cmocka_unit_test(texts_are_cut_at_lines),
        cmocka_unit_test(hostile_files_are_refused_or_read),
        cmocka_unit_test(what_a_token_reads_is_counted),
        cmocka_unit_test(chat_is_as_a_conversation_has_it),
        cmocka_unit_test(sums_come_before_ratios),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
