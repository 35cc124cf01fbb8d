/* What is compared: one factor at a time around the default, and how a budget of tokens is shared out. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/recall_study.h"

#define VARIANTS_MAX 64
#define SHARE_LEAST  16   /* tokens that every layer or head gets of a shared budget, and most that it can */
#define SHARE_MOST   4096

enum { KEYS, BITS_2, BITS_1, BITS_3, BITS_4, STEPS, E5M2, PAGE_16, PAGE_64, PAGE_128, UPPER };
const struct study_form study_forms[] = {
    [KEYS] = { "exact scores", 0, 32, STUDY_LEAST_F16, 0 },
    [BITS_2] = { "2 bits", STUDY_BITS, 32, STUDY_LEAST_F16, 0 },
    [BITS_1] = { "1 bit", 1, 32, STUDY_LEAST_F16, 0 },
    [BITS_3] = { "3 bits", 3, 32, STUDY_LEAST_F16, 0 },
    [BITS_4] = { "4 bits", 4, 32, STUDY_LEAST_F16, 0 },
    [STEPS] = { "8 bits, in steps", STUDY_BITS, 32, STUDY_LEAST_STEPS, 0 },
    [E5M2] = { "8 bits, e5m2", STUDY_BITS, 32, STUDY_LEAST_E5M2, 0 },
    [PAGE_16] = { "16", STUDY_BITS, 16, STUDY_LEAST_F16, 0 },
    [PAGE_64] = { "64", STUDY_BITS, 64, STUDY_LEAST_F16, 0 },
    [PAGE_128] = { "128", STUDY_BITS, 128, STUDY_LEAST_F16, 0 },
    [UPPER] = { "upper plane of 2 bits", STUDY_BITS, 32, STUDY_LEAST_F16, 1 },
};
const uint32_t study_form_count = sizeof study_forms / sizeof *study_forms;

static struct study_variant *add(struct study *study, const char *factor, const char *name)
{
    const struct study_reading *r = study->reading;
    assert(study->count < VARIANTS_MAX);
    struct study_variant *v = &study->variants[study->count++];
    *v = (struct study_variant){ .factor = factor, .form = BITS_2, .k = STUDY_K, .window = STUDY_WINDOW, .share = 1 };
    snprintf(v->name, sizeof v->name, "%s", name);
    v->outside = study_alloc((size_t)r->layers * r->rows * r->heads, sizeof *v->outside);
    return v;
}

static void add_forms(struct study *study)
{
    static const uint32_t bits[] = { BITS_1, BITS_3, BITS_4, KEYS }, least[] = { STEPS, E5M2 }, pages[] = { PAGE_16, PAGE_64, PAGE_128 };
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        add(study, "bits", study_forms[bits[i]].name)->form = bits[i];
    for (size_t i = 0; i < sizeof least / sizeof *least; i++)
        add(study, "m", study_forms[least[i]].name)->form = least[i];
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        add(study, "page", study_forms[pages[i]].name)->form = pages[i];
}

static void add_sizes(struct study *study)
{
    static const uint32_t ks[] = { 0, 64, 128, 192, 384, 512, 768, 1024, 1536 }, windows[] = { 64, 128, 512 };
    char name[32];
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
        snprintf(name, sizeof name, "%u", ks[i]);
        add(study, "k", name)->k = ks[i];
    }
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        snprintf(name, sizeof name, "%u", windows[i]);
        add(study, "w", name)->window = windows[i];
    }
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) { /* of S, L and R together as many as by default */
        struct study_variant *v = add(study, "w at equal w + k", "");
        v->window = windows[i];
        v->k = windows[i] < STUDY_K + STUDY_WINDOW ? STUDY_K + STUDY_WINDOW - windows[i] : 0;
        snprintf(v->name, sizeof v->name, "w %u, k %u", v->window, v->k);
    }
}

static void add_reductions(struct study *study)
{
    add(study, "reduction", "sum of probabilities")->reduction = STUDY_SUM;
    add(study, "reduction", "k / group for each query head")->reduction = STUDY_EACH;
    add(study, "reduction", "max of scores as they are")->reduction = STUDY_RAW;
}

static void add_again(struct study *study, uint32_t form, uint32_t times, uint32_t again)
{
    struct study_variant *v = add(study, "re-ranking", "");
    v->form = form;
    v->again = again;
    v->keep = times * STUDY_K;
    snprintf(v->name, sizeof v->name, "%s keeps %u k, then %s", study_forms[form].name, times, study_forms[again].name);
}

static void add_shares(struct study *study)
{
    char name[64];
    for (uint32_t n = 2; n <= STUDY_RUN; n *= 2) {
        snprintf(name, sizeof name, "%u rows, best for any", n);
        add(study, "rows that share a choice", name)->share = n;
        snprintf(name, sizeof name, "%u rows, that of the first", n);
        struct study_variant *v = add(study, "rows that share a choice", name);
        v->share = n;
        v->sharing = STUDY_FIRST_ROW;
    }
}

static void add_budgets(struct study *study)
{
    static const struct {
        enum study_budget budget;
        const char *name;
    } all[] = { { STUDY_BY_LAYER, "by layer" },
                { STUDY_BY_LAYER_ROOT, "by layer, square root" },
                { STUDY_BY_HEAD, "by layer and KV head" },
                { STUDY_BY_ROW_MAX, "by row, worst query head within a bound" },
                { STUDY_BY_ROW_MEAN, "by row, mean of query heads within a bound" } };
    const struct study_reading *r = study->reading;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct study_variant *v = add(study, "k adaptive", all[i].name);
        v->budget = all[i].budget;
        v->ks = study_alloc((size_t)r->layers * r->kv_heads * r->rows, sizeof *v->ks);
    }
}

void study_variants(struct study *study)
{
    const struct study_reading *r = study->reading;
    study->variants = study_alloc(VARIANTS_MAX, sizeof *study->variants);
    study->curves = study_alloc((size_t)r->layers * r->kv_heads * r->rows * 2 * STUDY_CURVE, sizeof *study->curves);
    study->standard = study->count;
    struct study_variant *standard = add(study, "default", "");
    snprintf(standard->name, sizeof standard->name, "%s, m in 16, page %u, k %u, w %u, max", study_forms[BITS_2].name,
             study_forms[BITS_2].page, STUDY_K, STUDY_WINDOW);
    add_forms(study);
    add_sizes(study);
    add_reductions(study);
    add_again(study, BITS_1, 4, BITS_2);
    add_again(study, BITS_1, 4, KEYS);
    add_again(study, UPPER, 2, BITS_2);
    add_again(study, UPPER, 4, BITS_2);
    add_again(study, UPPER, 4, KEYS);
    add_again(study, BITS_2, 2, KEYS);
    add_shares(study);
    add_budgets(study);
}

void study_free(struct study *study)
{
    for (uint32_t i = 0; i < study->count; i++) {
        free(study->variants[i].outside);
        free(study->variants[i].ks);
    }
    free(study->variants);
    free(study->curves);
}

/* Mean mass outside of the default in the runs of the other parity, so that no row is given what it asked for itself. */
static double asked(const struct study *study, uint32_t layer, uint32_t head, uint32_t parity)
{
    const struct study_reading *r = study->reading;
    const uint32_t group = r->heads / r->kv_heads;
    const float *outside = study->variants[study->standard].outside + ((size_t)layer * r->kv_heads + head) * r->rows * group;
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->rows * group; i++) {
        if (i / group / STUDY_RUN % 2 == parity)
            continue;
        sum += (double)outside[i];
        n++;
    }
    return n ? sum / n : 0;
}

static uint32_t cut(double k)
{
    return k < SHARE_LEAST ? SHARE_LEAST : k > SHARE_MOST ? SHARE_MOST : (uint32_t)lround(k);
}

/* k[i] in proportion to weight[i], in bounds, so that their mean is that of the default. */
static void share_out(const double *weight, uint32_t n, uint32_t *k)
{
    double low = 0, high = 1e12;
    for (int step = 0; step < 200; step++) {
        const double middle = (low + high) / 2;
        double sum = 0;
        for (uint32_t i = 0; i < n; i++)
            sum += k[i] = cut(middle * weight[i]);
        if (sum > (double)n * STUDY_K)
            high = middle;
        else
            low = middle;
    }
}

static void by_layer(const struct study *study, struct study_variant *v, uint32_t parity)
{
    const struct study_reading *r = study->reading;
    const uint32_t n = r->layers * r->kv_heads;
    double *weight = study_alloc(n, sizeof *weight);
    uint32_t *k = study_alloc(n, sizeof *k);
    for (uint32_t i = 0; i < n; i++)
        weight[i] = asked(study, i / r->kv_heads, i % r->kv_heads, parity);
    for (uint32_t l = 0; l < r->layers && v->budget != STUDY_BY_HEAD; l++) {
        double mean = 0;
        for (uint32_t h = 0; h < r->kv_heads; h++)
            mean += weight[l * r->kv_heads + h] / r->kv_heads;
        for (uint32_t h = 0; h < r->kv_heads; h++)
            weight[l * r->kv_heads + h] = v->budget == STUDY_BY_LAYER_ROOT ? sqrt(mean) : mean;
    }
    share_out(weight, n, k);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t row = 0; row < r->rows; row++)
            if (row / STUDY_RUN % 2 == parity)
                v->ks[(size_t)i * r->rows + row] = k[i];
    free(weight);
    free(k);
}

/* The smallest k whose estimate is within the bound, for each row, layer and KV head; returns their mean. */
static double within(const struct study *study, struct study_variant *v, double bound)
{
    const struct study_reading *r = study->reading;
    const size_t n = (size_t)r->layers * r->kv_heads * r->rows;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const float *curve = study->curves + (i * 2 + (v->budget == STUDY_BY_ROW_MEAN)) * STUDY_CURVE;
        uint32_t c = 0;
        while (c + 1 < STUDY_CURVE && (double)curve[c] > bound)
            c++;
        v->ks[i] = (c + 1) * STUDY_CURVE_STEP;
        sum += v->ks[i];
    }
    return sum / (double)n;
}

static void by_row(const struct study *study, struct study_variant *v)
{
    double low = 0, high = 1;
    for (int step = 0; step < 40; step++) {
        const double middle = (low + high) / 2;
        if (within(study, v, middle) > STUDY_K)
            low = middle;
        else
            high = middle;
    }
    within(study, v, high);
}

void study_settle(struct study *study)
{
    for (uint32_t i = 0; i < study->count; i++) {
        struct study_variant *v = &study->variants[i];
        if (v->budget == STUDY_BY_ROW_MAX || v->budget == STUDY_BY_ROW_MEAN)
            by_row(study, v);
        else if (v->budget != STUDY_SAME)
            by_layer(study, v, 0), by_layer(study, v, 1);
    }
}
