/* The choice beside S and L by each variant, and what of full attention it keeps. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"
#include "tests/bench/recall_study.h"

#define GROUP_MAX 16
#define LINE      64 /* bytes of memory that are read together */

/* One sampled row of one layer and KV head. Tokens 4 .. limit-1 may be chosen, the rest of the visible ones is S and L. */
struct row {
    uint32_t visible;
    float *score;              /* (forms, group, stride) */
    float *exact;              /* (group, stride): probabilities under full attention */
    float *full;               /* (group, head_size): output of full attention */
    uint32_t *normed_for;      /* (forms): limit that log_sum was computed for; 0 = none */
    float *log_sum;            /* (forms, group) */
    uint32_t kept_for;         /* limit of the following */
    double kept_mass[GROUP_MAX];
    float *kept;               /* (group, head_size): sum over S and L of probability times value */
};

struct work {
    struct study *study;
    const struct study_reading *reading;
    uint32_t group, stride, layer, head, run;
    float *keys, *values;      /* (tokens, head_size) */
    struct study_index **index;
    struct row rows[STUDY_RUN];
    float *rank, *spare;       /* (stride) */
    float *again;              /* (group, stride) */
    int32_t *chosen;           /* (stride) */
    double again_bytes;        /* read by the last second look */
    float *out;                /* (head_size) */
};

static float *score_at(const struct work *w, const struct row *row, uint32_t form, uint32_t g)
{
    return row->score + ((size_t)form * w->group + g) * w->stride;
}

static size_t tuple_of(const struct work *w, uint32_t i)
{
    return ((size_t)w->layer * w->reading->kv_heads + w->head) * w->reading->rows + w->run + i;
}

/* First token behind those that may be chosen: they lie behind the window and in pages that were full at that row. */
static uint32_t limit_of(const struct study_variant *v, uint32_t visible)
{
    const uint32_t page = study_forms[v->form].page, before = visible > v->window ? visible - v->window : 0, full = visible / page * page;
    const uint32_t limit = before < full ? before : full;
    return limit > STUDY_SINKS ? limit : STUDY_SINKS;
}

/* exp to a few units in the last place, for x <= 0; vectorised, unlike expf. */
static float exp_of(float x)
{
    const float least = x > -87 ? x : -87, n = nearbyintf(least * 1.44269504F), r = (least - n * 0.693145752F) - n * 1.42860677e-6F;
    const float series = 1 + r * (1 + r * (0.5F + r * (1 / 6.0F + r * (1 / 24.0F + r * (1 / 120.0F + r * (1 / 720.0F))))));
    union {
        int32_t bits;
        float value;
    } power = { .bits = ((int32_t)n + 127) * (1 << 23) };
    return x > -87 ? series * power.value : 0;
}

#define LANES 16

struct sum {
    float most;
    double total; /* of exp(x - most) */
};

static struct sum join(struct sum a, struct sum b)
{
    const float most = a.most > b.most ? a.most : b.most;
    if (most == -INFINITY)
        return a;
    return (struct sum){ most, a.total * exp((double)(a.most - most)) + b.total * exp((double)(b.most - most)) };
}

static struct sum sum_of(const float *x, uint32_t n)
{
    float most[LANES], total[LANES] = { 0 };
    for (uint32_t i = 0; i < LANES; i++)
        most[i] = -INFINITY;
    uint32_t t = 0;
    for (; t + LANES <= n; t += LANES)
        for (uint32_t i = 0; i < LANES; i++)
            most[i] = x[t + i] > most[i] ? x[t + i] : most[i];
    for (; t < n; t++)
        most[0] = x[t] > most[0] ? x[t] : most[0];
    for (uint32_t i = 1; i < LANES; i++)
        most[0] = most[i] > most[0] ? most[i] : most[0];
    struct sum sum = { most[0], 0 };
    for (t = 0; t + LANES <= n; t += LANES)
        for (uint32_t i = 0; i < LANES; i++)
            total[i] += exp_of(x[t + i] - sum.most);
    for (; t < n; t++)
        total[0] += exp_of(x[t] - sum.most);
    for (uint32_t i = 0; i < LANES; i++)
        sum.total += (double)total[i];
    return sum;
}

/* log of the sum of exp(score) over all visible tokens, those of S and L by `exact`. */
static float log_sum(const float *score, const float *exact, uint32_t limit, uint32_t visible)
{
    const struct sum near = join(sum_of(exact, STUDY_SINKS), sum_of(exact + limit, visible - limit));
    const struct sum all = join(near, sum_of(score + STUDY_SINKS, limit - STUDY_SINKS));
    return all.most + (float)log(all.total);
}

static const float *log_sums(const struct work *w, struct row *row, uint32_t form, uint32_t limit)
{
    float *sums = row->log_sum + (size_t)form * w->group;
    for (uint32_t g = 0; g < w->group && row->normed_for[form] != limit; g++)
        sums[g] = log_sum(score_at(w, row, form, g), score_at(w, row, 0, g), limit, row->visible);
    row->normed_for[form] = limit;
    return sums;
}

/* Raises or adds to rank[t] what the query heads of a row say, scores being (group, stride). */
static void add_ranks(const struct work *w, enum study_reduction reduction, const float *scores, const float *sums, uint32_t limit, float *rank)
{
    for (uint32_t g = 0; g < w->group; g++) {
        const float *s = scores + (size_t)g * w->stride, minus = reduction == STUDY_RAW ? 0 : sums[g];
        if (reduction == STUDY_SUM)
            for (uint32_t t = STUDY_SINKS; t < limit; t++)
                rank[t] += exp_of(s[t] - minus);
        else
            for (uint32_t t = STUDY_SINKS; t < limit; t++)
                rank[t] = s[t] - minus > rank[t] ? s[t] - minus : rank[t];
    }
}

/* The k-th largest of n numbers, 1 <= k <= n; reorders them. */
static float kth_largest(float *x, uint32_t n, uint32_t k)
{
    int64_t low = 0, high = (int64_t)n - 1, at = (int64_t)k - 1;
    while (low < high) {
        const float pivot = x[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot)
                i++;
            while (x[j] < pivot)
                j--;
            if (i > j)
                break;
            const float kept = x[i];
            x[i++] = x[j];
            x[j--] = kept;
        }
        if (at > j && at < i)
            break;
        if (at <= j)
            high = j;
        else
            low = i;
    }
    return x[k - 1];
}

/* The k tokens of largest rank, of equal ones the first; returns how many there are. */
static uint32_t take_best(const struct work *w, const float *rank, uint32_t limit, uint32_t k, int32_t *chosen)
{
    const uint32_t n = limit - STUDY_SINKS;
    uint32_t found = 0, above = 0;
    if (k > n)
        k = n;
    if (k == 0)
        return 0;
    memcpy(w->spare, rank + STUDY_SINKS, n * sizeof *rank);
    const float least = kth_largest(w->spare, n, k);
    for (uint32_t t = STUDY_SINKS; t < limit; t++)
        above += rank[t] > least;
    uint32_t equal = k - above;
    for (uint32_t t = STUDY_SINKS; t < limit; t++) {
        if (rank[t] < least || (rank[t] == least && equal == 0))
            continue;
        equal -= rank[t] == least;
        chosen[found++] = (int32_t)t;
    }
    return found;
}

/* Every query head its own k / group. */
static uint32_t take_each(const struct work *w, const struct row *row, const struct study_variant *v, uint32_t limit, uint32_t k)
{
    memset(w->rank, 0, w->stride * sizeof *w->rank);
    for (uint32_t g = 0; g < w->group; g++) {
        const uint32_t n = take_best(w, score_at(w, row, v->form, g), limit, k / w->group, w->chosen);
        for (uint32_t i = 0; i < n; i++)
            w->rank[w->chosen[i]] = 1;
    }
    uint32_t found = 0;
    for (uint32_t t = STUDY_SINKS; t < limit; t++)
        if (w->rank[t] > 0)
            w->chosen[found++] = (int32_t)t;
    return found;
}

static void begin_ranks(const struct work *w, enum study_reduction reduction)
{
    for (uint32_t t = 0; t < w->stride; t++)
        w->rank[t] = reduction == STUDY_SUM ? 0 : -INFINITY;
}

/* Bytes that a second look reads: what lies there token by token, in whole lines of memory. */
static double line_bytes(const struct work *w, const struct study_variant *v, uint32_t n)
{
    const struct study_form *again = &study_forms[v->again], *form = &study_forms[v->form];
    const uint32_t of_first = form->planes ? form->planes : 0, size = w->reading->head_size;
    const size_t each = again->bits ? (size_t)(again->bits - of_first) * size / 8 : (size_t)2 * size;
    size_t lines = 0, next = 0;
    for (uint32_t i = 0; i < n; i++) {
        const size_t from = (size_t)w->chosen[i] * each / LINE, end = ((size_t)w->chosen[i] * each + each - 1) / LINE + 1;
        lines += end - (from > next ? from : next < end ? next : end);
        next = end;
    }
    return (double)(lines * LINE);
}

/* The best v->keep by the form, of them the best k by the other form. */
static uint32_t take_again(struct work *w, struct row *row, const struct study_variant *v, uint32_t limit, uint32_t k)
{
    float sums[GROUP_MAX];
    begin_ranks(w, STUDY_MAX);
    add_ranks(w, STUDY_MAX, score_at(w, row, v->form, 0), log_sums(w, row, v->form, limit), limit, w->rank);
    const uint32_t n = take_best(w, w->rank, limit, v->keep, w->chosen);
    w->again_bytes = line_bytes(w, v, n);
    for (uint32_t g = 0; g < w->group; g++) {
        float *s = w->again + (size_t)g * w->stride, *finer = score_at(w, row, v->again, g);
        memcpy(s, score_at(w, row, v->form, g), w->stride * sizeof *s);
        for (uint32_t i = 0; i < n; i++)
            s[w->chosen[i]] = finer[w->chosen[i]];
        sums[g] = log_sum(s, score_at(w, row, 0, g), limit, row->visible);
        for (uint32_t t = STUDY_SINKS, i = 0; t < limit; t++) {
            if (i < n && w->chosen[i] == (int32_t)t)
                i++;
            else
                s[t] = -INFINITY;
        }
    }
    begin_ranks(w, STUDY_MAX);
    add_ranks(w, STUDY_MAX, w->again, sums, limit, w->rank);
    return take_best(w, w->rank, limit, k, w->chosen);
}

/* R of rows first .. first+count-1 of the run; returns how many there are. */
static uint32_t choose(struct work *w, const struct study_variant *v, uint32_t first, uint32_t count, uint32_t limit)
{
    const uint32_t k = v->ks ? v->ks[tuple_of(w, first)] : v->k;
    if (v->reduction == STUDY_EACH)
        return take_each(w, &w->rows[first], v, limit, k);
    if (v->keep)
        return take_again(w, &w->rows[first], v, limit, k);
    begin_ranks(w, v->reduction);
    for (uint32_t i = first; i < first + (v->sharing == STUDY_FIRST_ROW ? 1 : count); i++)
        add_ranks(w, v->reduction, score_at(w, &w->rows[i], v->form, 0), log_sums(w, &w->rows[i], v->form, limit), limit, w->rank);
    return take_best(w, w->rank, limit, k, w->chosen);
}

static void add_value(float *restrict out, const float *restrict value, float weight, uint32_t n)
{
    for (uint32_t d = 0; d < n; d++)
        out[d] += weight * value[d];
}

static const float *value_at(const struct work *w, uint32_t t)
{
    return w->values + (size_t)t * w->reading->head_size;
}

/* S and L are the same for most variants. */
static void keep_near(const struct work *w, struct row *row, uint32_t limit)
{
    const uint32_t n = w->reading->head_size;
    if (row->kept_for == limit)
        return;
    row->kept_for = limit;
    memset(row->kept, 0, (size_t)w->group * n * sizeof *row->kept);
    for (uint32_t g = 0; g < w->group; g++) {
        const float *p = row->exact + (size_t)g * w->stride;
        row->kept_mass[g] = 0;
        for (uint32_t t = 0; t < row->visible; t++) {
            if (t == STUDY_SINKS)
                t = limit;
            row->kept_mass[g] += (double)p[t];
            add_value(row->kept + (size_t)g * n, value_at(w, t), p[t], n);
        }
    }
}

/* Attention of one row over S, L and `found` chosen ones, against full attention. */
static void compare(struct work *w, struct study_variant *v, uint32_t i, uint32_t found, uint32_t limit)
{
    struct row *row = &w->rows[i];
    const uint32_t n = w->reading->head_size;
    keep_near(w, row, limit);
    for (uint32_t g = 0; g < w->group; g++) {
        const float *p = row->exact + (size_t)g * w->stride, *full = row->full + (size_t)g * n;
        double mass = row->kept_mass[g], wrong = 0, size = 0;
        memcpy(w->out, row->kept + (size_t)g * n, n * sizeof *w->out);
        for (uint32_t j = 0; j < found; j++) {
            mass += (double)p[w->chosen[j]];
            add_value(w->out, value_at(w, (uint32_t)w->chosen[j]), p[w->chosen[j]], n);
        }
        for (uint32_t d = 0; d < n; d++) {
            const double off = (double)w->out[d] / mass - (double)full[d];
            wrong += off * off;
            size += (double)full[d] * (double)full[d];
        }
        v->outside[tuple_of(w, i) * w->group + g] = mass < 1 ? (float)(1 - mass) : 0;
        v->error += size > 0 ? sqrt(wrong / size) : 0;
    }
}

/* Bytes that one row reads of one layer and KV head, its share of what `count` rows read together. */
static void count_bytes(const struct work *w, struct study_variant *v, const struct row *row, uint32_t found, uint32_t limit, uint32_t count)
{
    const uint32_t n = w->reading->head_size, choosable = limit - STUDY_SINKS;
    const bool by_keys = !study_forms[v->form].bits || (v->keep && !study_forms[v->again].bits);
    double index = v->k || v->ks ? choosable * study_form_bytes(&study_forms[v->form], n) : 0;
    index += v->keep ? w->again_bytes : 0;
    v->index_bytes += index / count;
    v->row_bytes += ((row->visible - choosable) * 4.0 + found * (by_keys ? 2.0 : 4.0)) * n / count;
    v->full_bytes += row->visible * 4.0 * n;
    v->chosen += found;
}

/* Both lists are ascending. */
static void count_agreed(struct work *w, uint32_t i, uint32_t found)
{
    const struct study_reading *r = w->reading;
    const int32_t *own = r->chosen + (((size_t)(w->run + i) * r->layers + w->layer) * r->kv_heads + w->head) * STUDY_K;
    uint32_t at = 0;
    for (uint32_t j = 0; j < found; j++) {
        while (at < STUDY_K && own[at] >= 0 && own[at] < w->chosen[j])
            at++;
        w->study->agreed += at < STUDY_K && own[at] == w->chosen[j];
    }
    w->study->chosen += found;
}

static void measure_variant(struct work *w, struct study_variant *v)
{
    for (uint32_t first = 0; first < STUDY_RUN; first += v->share) {
        const uint32_t limit = limit_of(v, w->rows[first].visible);
        const uint32_t found = choose(w, v, first, v->share, limit);
        if (v == &w->study->variants[w->study->standard])
            count_agreed(w, first, found);
        for (uint32_t i = first; i < first + v->share; i++) {
            compare(w, v, i, found, limit);
            count_bytes(w, v, &w->rows[i], found, limit, v->share);
        }
    }
}

/* Forms that budgets are measured with. */
static bool is_needed(const struct work *w, uint32_t form)
{
    return form == 0 || form == w->study->variants[w->study->standard].form;
}

static void set_row(struct work *w, uint32_t i, bool all_forms)
{
    const struct study_reading *r = w->reading;
    struct row *row = &w->rows[i];
    row->visible = r->positions[w->run + i] + 1;
    row->kept_for = 0;
    memset(row->full, 0, (size_t)w->group * r->head_size * sizeof *row->full);
    memset(row->normed_for, 0, study_form_count * sizeof *row->normed_for);
    for (uint32_t g = 0; g < w->group; g++) {
        const float *query = r->queries + (((size_t)(w->run + i) * r->layers + w->layer) * r->heads + (size_t)w->head * w->group + g) * r->head_size;
        double turned[KG_HEAD_MAX];
        float q[KG_HEAD_MAX];
        kg_ref_rotate(turned, query, r->head_size, &r->rope, r->positions[w->run + i]);
        for (uint32_t d = 0; d < r->head_size; d++)
            q[d] = (float)turned[d];
        for (uint32_t f = 0; f < study_form_count; f++)
            if (all_forms || is_needed(w, f))
                study_scores(w->index[f], &r->attention, q, row->visible, score_at(w, row, f, g));
        const float *s = score_at(w, row, 0, g), sum = log_sum(s, s, STUDY_SINKS, row->visible);
        float *p = row->exact + (size_t)g * w->stride;
        for (uint32_t t = 0; t < row->visible; t++) {
            p[t] = exp_of(s[t] - sum);
            add_value(row->full + (size_t)g * r->head_size, value_at(w, t), p[t], r->head_size);
        }
    }
}

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* For each token that may be chosen the first point of the curve that has taken it, by w->rank; STUDY_CURVE: none. */
static void place_on_curve(struct work *w, uint32_t limit)
{
    const uint32_t n = limit - STUDY_SINKS, most = STUDY_CURVE * STUDY_CURVE_STEP, kept = n < most ? n : most;
    memcpy(w->spare, w->rank + STUDY_SINKS, n * sizeof *w->spare);
    const float least = kept ? kth_largest(w->spare, n, kept) : 0;
    qsort(w->spare, kept, sizeof *w->spare, descending);
    for (uint32_t t = STUDY_SINKS; t < limit; t++) {
        uint32_t low = 0, high = STUDY_CURVE;
        while (low < high && w->rank[t] >= least) {
            const uint32_t middle = (low + high) / 2, k = (middle + 1) * STUDY_CURVE_STEP;
            if (k > kept || w->rank[t] >= w->spare[k - 1])
                high = middle;
            else
                low = middle + 1;
        }
        w->chosen[t] = (int32_t)high;
    }
}

/* By k, what the index says is left outside of S, L and R: most and mean over the query heads. */
static void estimate(struct work *w, uint32_t i)
{
    const struct study_variant *v = &w->study->variants[w->study->standard];
    struct row *row = &w->rows[i];
    const uint32_t limit = limit_of(v, row->visible);
    const float *sums = log_sums(w, row, v->form, limit);
    float *most = w->study->curves + tuple_of(w, i) * 2 * STUDY_CURVE, *mean = most + STUDY_CURVE;
    begin_ranks(w, STUDY_MAX);
    add_ranks(w, STUDY_MAX, score_at(w, row, v->form, 0), sums, limit, w->rank);
    place_on_curve(w, limit);
    for (uint32_t g = 0; g < w->group; g++) {
        const float *s = score_at(w, row, v->form, g);
        double left[STUDY_CURVE + 1] = { 0 };
        for (uint32_t t = STUDY_SINKS; t < limit; t++)
            left[w->chosen[t]] += (double)exp_of(s[t] - sums[g]);
        double behind = left[STUDY_CURVE];
        for (uint32_t c = STUDY_CURVE; c-- > 0;) {
            most[c] = behind > (double)most[c] ? (float)behind : most[c];
            mean[c] += (float)(behind / w->group);
            behind += left[c];
        }
    }
}

static void measure_run(struct work *w, bool budgets)
{
    for (uint32_t i = 0; i < STUDY_RUN; i++) {
        set_row(w, i, !budgets);
        if (!budgets)
            estimate(w, i);
    }
    for (uint32_t i = 0; i < w->study->count; i++)
        if ((w->study->variants[i].budget != STUDY_SAME) == budgets)
            measure_variant(w, &w->study->variants[i]);
}

static void begin_work(struct work *w, struct study *study)
{
    const struct study_reading *r = study->reading;
    *w = (struct work){ .study = study, .reading = r, .group = r->heads / r->kv_heads, .stride = (r->tokens + 127) / 128 * 128 };
    const size_t all = (size_t)r->tokens * r->head_size, group = w->group;
    w->keys = study_alloc(all, sizeof *w->keys);
    w->values = study_alloc(all, sizeof *w->values);
    w->rank = study_alloc(w->stride, sizeof *w->rank);
    w->spare = study_alloc(w->stride, sizeof *w->spare);
    w->again = study_alloc(group * w->stride, sizeof *w->again);
    w->chosen = study_alloc(w->stride, sizeof *w->chosen);
    w->out = study_alloc(r->head_size, sizeof *w->out);
    w->index = study_alloc(study_form_count, sizeof *w->index);
    for (uint32_t f = 0; f < study_form_count; f++)
        w->index[f] = study_index_create(&study_forms[f], r->tokens, r->head_size);
    for (uint32_t i = 0; i < STUDY_RUN; i++) {
        w->rows[i] = (struct row){ .score = study_alloc(study_form_count * group * w->stride, sizeof(float)),
                                   .exact = study_alloc(group * w->stride, sizeof(float)),
                                   .full = study_alloc(group * r->head_size, sizeof(float)),
                                   .normed_for = study_alloc(study_form_count, sizeof(uint32_t)),
                                   .log_sum = study_alloc(study_form_count * group, sizeof(float)),
                                   .kept = study_alloc(group * r->head_size, sizeof(float)) };
    }
}

static void end_work(struct work *w)
{
    for (uint32_t f = 0; f < study_form_count; f++)
        study_index_free(w->index[f]);
    for (uint32_t i = 0; i < STUDY_RUN; i++) {
        free(w->rows[i].score);
        free(w->rows[i].exact);
        free(w->rows[i].full);
        free(w->rows[i].normed_for);
        free(w->rows[i].log_sum);
        free(w->rows[i].kept);
    }
    free(w->index);
    free(w->keys);
    free(w->values);
    free(w->rank);
    free(w->spare);
    free(w->again);
    free(w->chosen);
    free(w->out);
}

void study_measure(struct study *study, bool budgets)
{
    const struct study_reading *r = study->reading;
    struct work w;
    begin_work(&w, study);
    for (w.layer = 0; w.layer < r->layers; w.layer++)
        for (w.head = 0; w.head < r->kv_heads; w.head++) {
            study_take(r, 0, w.layer, w.head, w.keys);
            study_take(r, 1, w.layer, w.head, w.values);
            for (uint32_t f = 0; f < study_form_count; f++)
                if (!budgets || is_needed(&w, f))
                    study_index_build(w.index[f], w.keys);
            for (w.run = 0; w.run < r->rows; w.run += STUDY_RUN)
                measure_run(&w, budgets);
            study->progress(w.layer * r->kv_heads + w.head + 1, r->layers * r->kv_heads);
        }
    end_work(&w);
}
