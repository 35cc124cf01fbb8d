#include "engine/sampler/draft.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Matches are found by the ids that end them: a hash of the last LONG or SHORT ones leads to the newest place where such
 * ids ended before, each place to the one before it. */
enum { SHORT, LONG, ORDERS };
static const uint32_t order_ids[ORDERS] = { [SHORT] = 2, [LONG] = 4 };

#define PLACES       24 /* looked at for one match */
#define LENGTH_MAX   48 /* of a match; longer ones are as good */
#define LENGTH_SURE  16 /* so long a match is not given up for another one */
#define COPY         8  /* so long a match is a copy, whose break is remembered ... */
#define BREAK_TOKENS 48 /* ... for so many tokens */
#define BEFORE_BREAK 8  /* it may go on so far before the break, or as far behind as tokens came since and AFTER_BREAK more */
#define AFTER_BREAK  32
#define REPLACED     4  /* tokens that a change puts in place of as many */

/* Guesses that a class's share remembers, and those that its first value counts for. */
#define HITS_KEPT  64
#define HITS_FIRST 8
/* What rows more cost before they are measured, as a share of one row alone: too little rather than too much, so that
 * they are tried. Of a measured time a new one replaces a share; with every token that is read alone others come nearer
 * to its time, so that what was slow once is tried again. */
#define ROW_COST       0.06
#define TIME_SHARE     0.3
#define TIME_FORGOTTEN 0.001
#define PAYS           1.03 /* a draft must be so much faster than none */

struct kg_draft {
    struct kg_draft_record *record;
    int32_t *ids;
    uint32_t count, capacity;
    uint32_t *heads[ORDERS]; /* by hash: place behind the newest such ids, 0 = none */
    uint32_t *before[ORDERS]; /* by place: the place before it with this hash */
    uint32_t heads_mask;
    uint32_t at;     /* the id here is the guess; 0 = none */
    uint32_t length; /* ids before it that match the text's last ones */
    bool near;       /* it was found at a break */
    uint32_t broke;  /* where a copy broke off, 0 = nowhere ... */
    uint32_t since;  /* ... and tokens since */
};

enum kg_status kg_draft_create(uint32_t tokens, struct kg_draft_record *record, struct kg_draft **out, struct kg_error *err)
{
    struct kg_draft *draft = calloc(1, sizeof *draft);
    if (!draft)
        return kg_fail_nomem(err, "preparing drafts");
    draft->record = record;
    draft->capacity = tokens < KG_DRAFT_TEXT ? tokens + 1 : KG_DRAFT_TEXT;
    uint32_t heads = 1024;
    while (heads < draft->capacity)
        heads *= 2;
    draft->heads_mask = heads - 1;
    draft->ids = malloc(draft->capacity * sizeof *draft->ids);
    bool complete = draft->ids;
    for (int o = 0; o < ORDERS; o++) {
        draft->heads[o] = calloc(heads, sizeof *draft->heads[o]);
        draft->before[o] = malloc((draft->capacity + 1UL) * sizeof *draft->before[o]);
        complete = complete && draft->heads[o] && draft->before[o];
    }
    if (!complete) {
        kg_draft_free(draft);
        return kg_fail_nomem(err, "preparing drafts");
    }
    *out = draft;
    return KG_OK;
}

void kg_draft_free(struct kg_draft *draft)
{
    if (!draft)
        return;
    for (int o = 0; o < ORDERS; o++) {
        free(draft->heads[o]);
        free(draft->before[o]);
    }
    free(draft->ids);
    free(draft);
}

/* Of the last ids before `place`. */
static uint32_t *head_of(const struct kg_draft *draft, int order, uint32_t place)
{
    uint64_t hash = 0;
    for (uint32_t i = 1; i <= order_ids[order]; i++)
        hash = (hash + (uint32_t)draft->ids[place - i] + 1) * 0x9e3779b97f4a7c15U;
    return &draft->heads[order][(hash >> 32) & draft->heads_mask];
}

/* Ids that end before both places alike, at most LENGTH_MAX. */
static uint32_t length_of(const struct kg_draft *draft, uint32_t place, uint32_t end)
{
    uint32_t length = 0;
    while (length < LENGTH_MAX && length < place && draft->ids[place - length - 1] == draft->ids[end - length - 1])
        length++;
    return length;
}

/* ---- how often guesses come true ---- */

/* By length of the match: at a break 0, 1, 2, 3; then 2, 3, 4, 6, 9, 17, 33 and more, wherever it was found. */
static uint32_t class_of(uint32_t length, bool near)
{
    if (near && length < 4)
        return length;
    static const uint32_t from[] = { 3, 4, 6, 9, 17, 33 };
    uint32_t class = 4;
    for (size_t i = 0; i < sizeof from / sizeof *from; i++)
        class += length >= from[i];
    return class;
}

static double hits_of(const struct kg_draft *draft, uint32_t class)
{
    static const float first[KG_DRAFT_CLASSES] = { 0.3F, 0.5F, 0.6F, 0.7F, 0.3F, 0.4F, 0.5F, 0.65F, 0.8F, 0.9F, 0.95F };
    return draft->record->hits[class].guesses ? (double)draft->record->hits[class].share : (double)first[class];
}

static void count_guess(struct kg_draft *draft, bool hit)
{
    const uint32_t class = class_of(draft->length, draft->near);
    const double share = hits_of(draft, class);
    uint32_t *guesses = &draft->record->hits[class].guesses;
    *guesses += *guesses < HITS_KEPT;
    const uint32_t weight = *guesses + HITS_FIRST < HITS_KEPT ? *guesses + HITS_FIRST : HITS_KEPT;
    draft->record->hits[class].share = (float)(share + ((hit ? 1 : 0) - share) / weight);
}

/* ---- matches ---- */

static void take(struct kg_draft *draft, uint32_t place, uint32_t length, bool near)
{
    draft->at = place;
    draft->length = length;
    draft->near = near;
}

/* The longest match among the newest places, if it is longer than the one there is. */
static void find_match(struct kg_draft *draft)
{
    uint32_t best = 0, best_length = draft->length;
    for (int order = LONG; order >= SHORT && !best; order--) {
        if (draft->count <= order_ids[order])
            continue;
        uint32_t place = *head_of(draft, order, draft->count);
        for (int i = 0; place && i < PLACES && best_length < LENGTH_MAX; i++, place = draft->before[order][place]) {
            const uint32_t length = length_of(draft, place, draft->count);
            if (length >= order_ids[order] && length > best_length) {
                best = place;
                best_length = length;
            }
        }
    }
    if (best)
        take(draft, best, best_length, false);
}

/* Where a copy that broke off may go on: the longest match near, of equal ones that which leaves the least out. */
static void find_near(struct kg_draft *draft)
{
    const uint32_t expected = draft->broke + draft->since, end = expected + AFTER_BREAK < draft->count ? expected + AFTER_BREAK : draft->count - 1;
    uint32_t best = 0, best_length = 0, best_distance = UINT32_MAX;
    for (uint32_t place = draft->broke > BEFORE_BREAK ? draft->broke - BEFORE_BREAK : 1; place <= end; place++) {
        const uint32_t length = length_of(draft, place, draft->count), distance = place > expected ? place - expected : expected - place;
        if (length && (length > best_length || (length == best_length && distance < best_distance))) {
            best = place;
            best_length = length;
            best_distance = distance;
        }
    }
    if (!best && draft->since <= REPLACED && expected < draft->count)
        best = expected;
    if (best && (!draft->at || hits_of(draft, class_of(best_length, true)) >= hits_of(draft, class_of(draft->length, draft->near))))
        take(draft, best, best_length, true);
}

/* What the guess was worth, and what is left of it. */
static void follow(struct kg_draft *draft, int32_t id)
{
    if (!draft->at)
        return;
    const bool hit = draft->ids[draft->at] == id;
    count_guess(draft, hit);
    if (hit) {
        draft->at++;
        draft->length += draft->length < LENGTH_MAX;
        return;
    }
    if (draft->length >= COPY) {
        draft->broke = draft->at;
        draft->since = 0;
    }
    draft->at = draft->length = 0;
}

static void append(struct kg_draft *draft, int32_t id)
{
    draft->ids[draft->count++] = id;
}

/* The ids that end at the text's end can be found from now on. */
static void enter(struct kg_draft *draft)
{
    for (int order = 0; order < ORDERS; order++) {
        if (draft->count < order_ids[order])
            continue;
        uint32_t *head = head_of(draft, order, draft->count);
        draft->before[order][draft->count] = *head;
        *head = draft->count;
    }
}

void kg_draft_give(struct kg_draft *draft, const int32_t *ids, size_t count)
{
    draft->at = draft->length = draft->broke = 0;
    for (size_t i = 0; i < count && draft->count < draft->capacity; i++) {
        append(draft, ids[i]);
        enter(draft);
    }
}

void kg_draft_add(struct kg_draft *draft, int32_t id)
{
    if (draft->count == draft->capacity) {
        draft->at = 0;
        return;
    }
    follow(draft, id);
    append(draft, id);
    if (draft->broke && (++draft->since > BREAK_TOKENS || draft->length >= COPY))
        draft->broke = 0;
    if (draft->length < LENGTH_SURE)
        find_match(draft);
    if (draft->broke && draft->length < COPY)
        find_near(draft);
    enter(draft);
}

/* ---- what pays ---- */

/* Seconds to read so many rows: measured, or from what was measured around it. */
static double seconds_of(const struct kg_draft_record *record, uint32_t rows)
{
    if (record->seconds[rows] > 0)
        return record->seconds[rows];
    uint32_t less = rows, more = rows;
    while (less > 1 && !(record->seconds[less] > 0))
        less--;
    while (more < KG_DRAFT_MAX + 1 && !(record->seconds[more] > 0))
        more++;
    const double guess = record->seconds[less] + ROW_COST * record->seconds[1] * (rows - less);
    if (!(record->seconds[more] > 0))
        return guess;
    const double between = record->seconds[less] + (record->seconds[more] - record->seconds[less]) * (rows - less) / (more - less);
    return between;
}

static uint32_t length_that_pays(const struct kg_draft *draft, uint32_t most)
{
    double tokens = 1, reached = 1, best = PAYS / seconds_of(draft->record, 1);
    uint32_t length = 0;
    for (uint32_t n = 1; n <= most; n++) {
        reached *= hits_of(draft, class_of(draft->length + n - 1, draft->near));
        tokens += reached;
        const double rate = tokens / seconds_of(draft->record, n + 1);
        if (rate > best) {
            best = rate;
            length = n;
        }
    }
    return length;
}

uint32_t kg_draft_propose(const struct kg_draft *draft, int32_t ids[KG_DRAFT_MAX], uint32_t most)
{
    if (!draft->at || !(draft->record->seconds[1] > 0))
        return 0;
    const uint32_t length = length_that_pays(draft, most < KG_DRAFT_MAX ? most : KG_DRAFT_MAX);
    for (uint32_t i = 0; i < length; i++) /* behind the text's end it repeats itself */
        ids[i] = draft->at + i < draft->count ? draft->ids[draft->at + i] : ids[draft->at + i - draft->count];
    return length;
}

/* One that took unusually long says little. */
void kg_draft_took(struct kg_draft *draft, uint32_t rows, double seconds)
{
    double *known = draft->record->seconds;
    if (!(seconds > 0))
        return;
    if (known[rows] > 0)
        known[rows] += TIME_SHARE * ((seconds < 2 * known[rows] ? seconds : 2 * known[rows]) - known[rows]);
    else
        known[rows] = seconds;
    for (uint32_t i = 2; rows == 1 && i <= KG_DRAFT_MAX + 1; i++)
        if (known[i] > known[1])
            known[i] -= TIME_FORGOTTEN * (known[i] - known[1]);
}
