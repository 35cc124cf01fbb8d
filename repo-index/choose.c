#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "repo-index/arena.h"
#include "repo-index/defined.h"
#include "repo-index/graph.h"
#include "repo-index/history.h"
#include "repo-index/parts.h"
#include "repo-index/prior.h"

#define NAMED 1e6          /* of a file that the question names; the order of mention counts down from it */
#define AMBIGUOUS 3        /* files one mention may mean and still name them */
#define PREFERRED 1.0      /* more for each file that a mention of many fits, in weights of the rarest word */
#define DIRECTORY_FACTOR 2.5
#define PARTNER_SHARE 0.4  /* of the score of foo.c for foo.h beside it */
#define WORTH 0.18         /* of the best score: what is below is left out even when there is room */
#define WORTH_BESIDE 0.4   /* of the rarest word's weight: the least score of others when the question names files */
#define PAST_SHARE 3.0     /* of the best score, for the file that the past speaks for most */
#define PAST_BESIDE_NAMES 1.0 /* the same when the question names a definition */
#define SURE_PAST 2.0      /* half of the likeness that commits can have is enough */
#define SEED_WORTH 0.2     /* of the best score: files that others are measured from */
#define NEAR_SHARE 0.3     /* more for the file nearest to them by includes and names */
#define NEAR_OPEN 0.3      /* of the best score, for the file nearest to open ones, whatever it holds */
#define BESIDE_SHARE 2.0   /* of the best score, for a file that is always changed with the best one; apart from what it has by itself */
#define PARTS_SHARE 3      /* of the budget, at most, to the parts of one file */
#define CHOICES_MAX 48

struct choice {
    const struct kg_catalog_file *file;
    double score;
    uint32_t line; /* named with one */
    bool named;
    const char *general; /* a reason that no word gives */
    const char *why;     /* the past says more than the words */
    const struct kg_catalog_file *beside;
    uint32_t groups, defined;
};

struct choosing {
    struct kg_index *index;
    const struct kg_context_request *request;
    int (*each)(void *ctx, const struct kg_context_part *part);
    void *ctx;
    const struct kg_catalog *catalog;
    const struct kg_history *history;
    const struct kg_graph *graph;
    double *past; /* of each file: how well past commits that changed it fit the question, 0 to about 1 */
    struct kg_question question;
    struct choice *choices; /* of every file, in the catalog's order until sorted */
};

typedef bool fits_fn(const struct kg_catalog_file *file, const char *tail, size_t length);

static bool ends_with_path(const struct kg_catalog_file *file, const char *tail, size_t length)
{
    if (length > file->path_length)
        return false;
    const char *end = file->path + file->path_length - length;
    return memcmp(end, tail, length) == 0 && (end == file->path || end[-1] == '/');
}

static bool ends_with_path_any_case(const struct kg_catalog_file *file, const char *tail, size_t length)
{
    if (length > file->path_length)
        return false;
    const char *end = file->path + file->path_length - length;
    return (end == file->path || end[-1] == '/') && strcasecmp(end, tail) == 0;
}

/* Whether path without its extension ends with tail whose dots are slashes: pkg.mod.name for src/pkg/mod/name.py. */
static bool ends_with_dotted(const struct kg_catalog_file *file, const char *tail, size_t m)
{
    const char *path = file->path;
    const char *dot = strrchr(file->name, '.');
    size_t n = dot ? (size_t)(dot - path) : file->path_length;
    if (m > n || (m < n && path[n - m - 1] != '/'))
        return false;
    for (size_t i = 0; i < m; i++)
        if (path[n - m + i] != (tail[i] == '.' ? '/' : tail[i]))
            return false;
    return true;
}

static void name_file(struct choosing *c, size_t at, const struct kg_mention *mention, double score)
{
    struct choice *choice = &c->choices[at];
    choice->named = true;
    choice->line = choice->line ? choice->line : mention->line;
    choice->score = choice->score > score ? choice->score : score;
}

/* The weight of a word that hardly any file holds: what scores are measured by, whatever the number of files. */
static double rarest(const struct choosing *c)
{
    return log(1.0 + (double)c->catalog->doc_count);
}

/* Names the files that fit, or when they are many, prefers them; false when there are none. */
static bool name_matching(struct choosing *c, const struct kg_mention *mention, fits_fn *fits, double score)
{
    size_t count = 0;
    size_t length = strlen(mention->path);
    for (size_t i = 0; i < c->catalog->count; i++)
        count += fits(&c->catalog->files[i], mention->path, length);
    for (size_t i = 0; count && i < c->catalog->count; i++) {
        if (!fits(&c->catalog->files[i], mention->path, length))
            continue;
        if (count <= AMBIGUOUS)
            name_file(c, i, mention, score);
        else
            c->choices[i].score += PREFERRED * rarest(c);
    }
    return count > 0;
}

/* com.example.Thing.method: the longest front that is a file. */
static bool name_dotted(struct choosing *c, const struct kg_mention *mention, double score)
{
    size_t length = strlen(mention->path);
    while (memchr(mention->path, '.', length)) {
        for (size_t i = 0; i < c->catalog->count; i++)
            if (ends_with_dotted(&c->catalog->files[i], mention->path, length)) {
                name_file(c, i, mention, score);
                return true;
            }
        while (mention->path[length - 1] != '.')
            length--;
        length--;
    }
    return false;
}

static void favour_directory(struct choosing *c, const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < c->catalog->count; i++)
        if (strncmp(c->catalog->files[i].path, path, n) == 0 && c->catalog->files[i].path[n] == '/')
            c->choices[i].score = c->choices[i].score * DIRECTORY_FACTOR + 0.1 * rarest(c);
}

/* An absolute path of another machine, or the a/ and b/ of a diff: the longest tail that is a file. */
static bool name_tail(struct choosing *c, const struct kg_mention *mention, double score)
{
    for (const char *tail = strchr(mention->path, '/'); tail; tail = strchr(tail, '/')) {
        const struct kg_catalog_file *file = kg_catalog_find(c->catalog, ++tail);
        if (file) {
            name_file(c, (size_t)(file - c->catalog->files), mention, score);
            return true;
        }
    }
    return false;
}

static bool name_by_last_part(struct choosing *c, const struct kg_mention *mention, double score)
{
    const char *name = strrchr(mention->path, '/');
    struct kg_mention last = { .line = mention->line };
    if (!name || !strchr(name, '.'))
        return false;
    memcpy(last.path, name + 1, strlen(name + 1) + 1);
    return name_matching(c, &last, ends_with_path, score);
}

static void apply_mention(struct choosing *c, const struct kg_mention *mention, double score)
{
    const struct kg_catalog_file *exact = kg_catalog_find(c->catalog, mention->path);
    if (exact) {
        name_file(c, (size_t)(exact - c->catalog->files), mention, score);
        return;
    }
    bool like_path = strpbrk(mention->path, "./") != NULL;
    bool capital = mention->path[0] >= 'A' && mention->path[0] <= 'Z'; /* Makefile, LICENSE */
    if ((like_path || capital) && name_matching(c, mention, ends_with_path, score))
        return;
    if (!like_path || name_tail(c, mention, score) || name_matching(c, mention, ends_with_path_any_case, score) ||
        name_by_last_part(c, mention, score / 2))
        return;
    if (strchr(mention->path, '/'))
        favour_directory(c, mention->path);
    else
        name_dotted(c, mention, score / 2);
}

static void add_general(struct choosing *c, double best)
{
    static const char *const entry[] = { "main", "__main__", "cli", NULL };
    const struct kg_question *q = &c->question;
    double base = best > 0 ? best : 1;
    for (size_t i = 0; i < c->catalog->count; i++) {
        const struct kg_catalog_file *file = &c->catalog->files[i];
        double about = kg_describes_project(file);
        if (q->overview && !about && kg_path_has_part(file->name, entry) && !file->test)
            about = 0.55;
        double score = q->overview ? 1.2 * base * about : q->usage ? 0.6 * base * about : 0;
        if (score > c->choices[i].score) {
            c->choices[i].score = score;
            c->choices[i].general = q->overview ? "describes the project" : "says how the project is built or used";
        }
    }
}

/* Whether the question holds a name spelled like code that some file defines: then that says more than the past. */
static bool names_definition(const struct choosing *c)
{
    uint32_t code = 0, defined = 0;
    for (unsigned g = 0; g < c->question.query.group_count; g++)
        code |= c->question.query.groups[g].weight > 1 ? 1U << g : 0;
    for (size_t i = 0; i < c->catalog->count; i++)
        defined |= c->choices[i].defined;
    return (code & defined) != 0;
}

/* Files that were changed by commits whose messages are like the question. */
static void apply_past(struct choosing *c, double best)
{
    double top = 0;
    for (size_t i = 0; i < c->catalog->count; i++)
        top = fmax(top, c->past[i]);
    if (top <= 0)
        return;
    best = fmax(best, WORTH_BESIDE * rarest(c)); /* perhaps no file holds a word of the question */
    double share = fmin(1, SURE_PAST * sqrt(top)) * (names_definition(c) ? PAST_BESIDE_NAMES : PAST_SHARE) * best / top;
    for (size_t i = 0; i < c->catalog->count; i++) {
        struct choice *choice = &c->choices[i];
        double gain = share * c->past[i] * kg_prior_of(&c->question, choice->file);
        if (gain > choice->score)
            choice->why = "changed by commits like this";
        choice->score += gain;
    }
}

/* near, weighed by what kind of file each is, to at most 1; false when nothing is near. */
static bool to_shares(const struct choosing *c, double *near)
{
    double most = 0;
    for (size_t i = 0; i < c->catalog->count; i++) {
        near[i] *= kg_prior_of(&c->question, c->choices[i].file);
        most = fmax(most, near[i]);
    }
    for (size_t i = 0; i < c->catalog->count && most > 0; i++)
        near[i] /= most;
    return most > 0;
}

/* What the best files include and what includes them, as far as it fits by itself; what is changed together with them. */
static bool apply_neighbours(struct choosing *c)
{
    double *seeds = calloc(2 * c->catalog->count + 1, sizeof *seeds);
    if (!seeds)
        return false;
    double *near = seeds + c->catalog->count;
    double best = 0;
    for (size_t i = 0; i < c->catalog->count; i++)
        best = fmax(best, c->choices[i].score);
    for (size_t i = 0; i < c->catalog->count; i++)
        if (best > 0 && c->choices[i].score > SEED_WORTH * best)
            seeds[i] = (c->choices[i].score / best) * (c->choices[i].score / best);
    /* what is at hand says as much as what fits best */
    for (size_t i = 0; i < c->request->open_count; i++) {
        const struct kg_catalog_file *file = kg_catalog_find(c->catalog, c->request->open[i]);
        if (file)
            seeds[file - c->catalog->files] = 1;
    }
    bool done = kg_graph_walk(c->graph, seeds, near);
    if (c->request->open_count)
        best = fmax(best, WORTH_BESIDE * rarest(c)); /* perhaps no file holds a word of the question */
    if (done && to_shares(c, near))
        for (size_t i = 0; i < c->catalog->count; i++) {
            double gain = c->request->open_count ? NEAR_OPEN * best * near[i] : 0;
            if (gain > c->choices[i].score)
                c->choices[i].why = "near to the open files";
            c->choices[i].score = c->choices[i].score * (1 + NEAR_SHARE * near[i]) + gain;
        }
    done = done && kg_history_beside(c->history, seeds, c->catalog->count, near);
    for (size_t i = 0; done && i < c->catalog->count; i++) {
        struct choice *choice = &c->choices[i];
        double gain = BESIDE_SHARE * best * near[i] * kg_prior_with_tests(&c->question, choice->file);
        if (gain > choice->score)
            choice->why = choice->file->test && c->history->twins.of[i] != KG_NO_TWIN ? "tests files that fit" : "changed together with files that fit";
        choice->score = hypot(choice->score, gain);
    }
    free(seeds);
    return done;
}

/* Where tests are changed with the code that they test, they are asked about as much as it is. */
static double prior_of(const struct choosing *c, const struct kg_catalog_file *file)
{
    double code = kg_prior_of(&c->question, file);
    return code + (kg_prior_with_tests(&c->question, file) - code) * c->history->tests_share;
}

static bool apply_rank(struct choosing *c, const struct kg_rank *rank)
{
    double best = 0;
    for (size_t i = 0; i < c->catalog->count; i++) {
        const struct kg_catalog_file *file = &c->catalog->files[i];
        /* the words of a question about the whole are about no file */
        double score = rank->scores[i] > 0 && !c->question.overview ? rank->scores[i] * prior_of(c, file) : 0;
        best = score > best ? score : best;
        c->choices[i] = (struct choice){ .file = file, .score = score, .groups = rank->groups[i], .defined = rank->defined[i] };
    }
    if (c->question.overview)
        return true;
    apply_past(c, best);
    return apply_neighbours(c);
}

static double best_score(const struct choosing *c)
{
    double best = 0;
    for (size_t i = 0; i < c->catalog->count; i++)
        if (!c->choices[i].named && c->choices[i].score > best)
            best = c->choices[i].score;
    return best;
}

static bool names_files(const struct choosing *c)
{
    for (size_t i = 0; i < c->catalog->count; i++)
        if (c->choices[i].named)
            return true;
    return false;
}

static bool same_stem(const struct kg_catalog_file *a, const struct kg_catalog_file *b)
{
    const char *x = strrchr(a->name, '.'), *y = strrchr(b->name, '.');
    return x && y && x - a->path == y - b->path && memcmp(a->path, b->path, (size_t)(x - a->path)) == 0;
}

/* foo.h beside foo.c: neighbours in the catalog, since '.' comes before letters. */
static void favour_partners(struct choosing *c, double worth)
{
    for (size_t i = 0; i + 1 < c->catalog->count; i++) {
        struct choice *a = &c->choices[i], *b = &c->choices[i + 1];
        if (!same_stem(a->file, b->file))
            continue;
        struct choice *less = a->score < b->score ? a : b;
        const struct choice *more = less == a ? b : a;
        double share = (more->named ? 2 * worth : more->score * PARTNER_SHARE) * kg_prior_of(&c->question, less->file);
        if (less->score < share) {
            less->score = share;
            less->beside = more->file;
        }
    }
}

static int better(const void *a, const void *b)
{
    const struct choice *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return strcmp(x->file->path, y->file->path);
}

static size_t list_groups(const struct kg_query *query, uint32_t set, const char *lead, char *out, size_t used, size_t capacity)
{
    unsigned listed = 0;
    while (set && listed < 4) {
        unsigned rarest = 0;
        double most = -1;
        for (unsigned g = 0; g < query->group_count; g++)
            if (set & (1U << g) && query->groups[g].rarity * query->groups[g].weight > most) {
                most = query->groups[g].rarity * query->groups[g].weight;
                rarest = g;
            }
        set &= ~(1U << rarest);
        if (most < 0)
            break;
        char word[80];
        kg_printable(word, sizeof word, query->groups[rarest].text, query->groups[rarest].length);
        int n = snprintf(out + used, capacity - used, "%s%s", listed++ ? ", " : lead, word);
        used = n > 0 && used + (size_t)n < capacity ? used + (size_t)n : used;
    }
    return used;
}

static void write_reason(const struct choosing *c, const struct choice *choice, char *out, size_t capacity)
{
    if (choice->named && choice->line) {
        snprintf(out, capacity, "named in the question, line %u", choice->line);
        return;
    }
    if (choice->named || choice->general || choice->beside) {
        char beside[120];
        if (choice->beside)
            kg_printable(beside, sizeof beside, choice->beside->name, strlen(choice->beside->name));
        if (choice->named || choice->general)
            snprintf(out, capacity, "%s", choice->named ? "named in the question" : choice->general);
        else
            snprintf(out, capacity, "belongs to %s", beside);
        return;
    }
    size_t used = (size_t)snprintf(out, capacity, "%s", choice->why ? choice->why : "");
    used = list_groups(&c->question.query, choice->defined, used ? "; defines: " : "defines: ", out, used, capacity);
    list_groups(&c->question.query, choice->groups & ~choice->defined, used ? "; matches: " : "matches: ", out, used, capacity);
    if (out[0] == '\0')
        snprintf(out, capacity, "changed together with files that fit");
}

static uint32_t tokens_of(uint64_t bytes)
{
    return (uint32_t)ceil((double)bytes / KG_BYTES_PER_TOKEN);
}

static int give(const struct choosing *c, const struct choice *choice, uint32_t first, uint32_t last, uint64_t bytes)
{
    char reason[400];
    write_reason(c, choice, reason, sizeof reason);
    const struct kg_context_part out = { .path = choice->file->path, .first = first, .last = last, .bytes = bytes, .tokens = tokens_of(bytes), .score = choice->score, .reason = reason };
    return c->each(c->ctx, &out);
}

/* The lines that matter of a file without room for all of them; what they cost, or 0 for none. */
static uint32_t give_parts(const struct choosing *c, const struct choice *choice, uint32_t left, int *stop)
{
    struct kg_part parts[KG_PARTS_MAX];
    uint32_t room = c->request->tokens / PARTS_SHARE < left ? c->request->tokens / PARTS_SHARE : left;
    uint32_t spent = 0;
    if (room <= KG_PARTS_MAX)
        return 0;
    /* each part's tokens are rounded up */
    unsigned count = kg_parts_of(c->index, c->catalog, choice->file, &c->question.query, (uint64_t)((room - KG_PARTS_MAX) * KG_BYTES_PER_TOKEN), parts);
    for (unsigned i = 0; i < count && !*stop; i++) {
        spent += tokens_of(parts[i].bytes);
        *stop = give(c, choice, parts[i].first, parts[i].last, parts[i].bytes);
    }
    return spent;
}

static bool is_open(const struct kg_context_request *request, const char *path)
{
    for (size_t i = 0; i < request->open_count; i++)
        if (strcmp(request->open[i], path) == 0)
            return true;
    return false;
}

/* Best first; what nothing speaks for, which is most of a large repository, is not put in order. */
static size_t sort_choices(struct choosing *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->catalog->count; i++)
        if (c->choices[i].score > 0)
            c->choices[count++] = c->choices[i];
    if (count)
        qsort(c->choices, count, sizeof *c->choices, better);
    return count;
}

static void report(const struct choosing *c, size_t count, double worth)
{
    const struct kg_context_request *request = c->request;
    uint32_t left = request->tokens;
    unsigned given = 0;
    int stop = 0;
    for (size_t i = 0; i < count && given < request->files && !stop; i++) {
        const struct choice *choice = &c->choices[i];
        if (!choice->named && request->tokens && choice->score < worth)
            break;
        uint32_t cost = tokens_of(choice->file->bytes);
        if (choice->file->bytes == 0 || is_open(request, choice->file->path))
            continue;
        if (request->tokens && request->parts && (cost > left || (!choice->named && cost > request->tokens / 2))) {
            uint32_t spent = give_parts(c, choice, left, &stop);
            given += spent > 0;
            left -= spent;
        } else if (!request->tokens || cost <= left) {
            left -= request->tokens ? cost : 0;
            given++;
            stop = give(c, choice, 0, 0, choice->file->bytes);
        }
    }
}

static bool decide(struct choosing *c, const struct kg_rank *rank)
{
    if (!apply_rank(c, rank))
        return false;
    for (unsigned i = 0; i < c->question.mention_count; i++)
        apply_mention(c, &c->question.mentions[i], NAMED - i);
    add_general(c, best_score(c));
    double worth = WORTH * best_score(c);
    if (names_files(c))
        worth = fmax(worth, WORTH_BESIDE * rarest(c));
    favour_partners(c, worth);
    report(c, sort_choices(c), worth);
    return true;
}

static enum kg_status choose(struct kg_index *index, const struct kg_context_request *request, int (*each)(void *ctx, const struct kg_context_part *), void *ctx,
                             struct kg_error *err)
{
    struct choosing *c = calloc(1, sizeof *c);
    struct kg_catalog *held = NULL;
    struct kg_rank rank = { 0 };
    if (!c)
        return kg_fail_nomem(err, "choosing files");
    c->index = index;
    c->request = request;
    c->each = each;
    c->ctx = ctx;
    kg_question_parse(request->question, &c->question);
    enum kg_status status = kg_store_begin_read(index->store, err);
    if (status == KG_OK) {
        status = kg_catalog_of(index, &c->catalog, err);
        if (status == KG_OK)
            status = kg_rank(index, c->catalog, &c->question.query, &rank, err);
        if (status == KG_OK)
            status = kg_rank_defined(index, c->catalog, &c->question.query, &rank, err);
        if (status == KG_OK)
            status = kg_history_of(index, c->catalog, &c->history, err);
        if (status == KG_OK)
            status = kg_graph_of(index, c->catalog, &c->graph, err);
        kg_store_rollback(index->store);
    }
    if (status == KG_OK)
        held = kg_catalog_hold(index);
    c->past = status == KG_OK ? calloc(c->catalog->count + 1, sizeof *c->past) : NULL;
    if (status == KG_OK && (!c->past || !kg_history_score(c->history, &c->question.query, c->past)))
        status = kg_fail_nomem(err, "choosing files");
    c->choices = status == KG_OK ? calloc(c->catalog->count + 1, sizeof *c->choices) : NULL;
    if (status == KG_OK && !c->choices)
        status = kg_fail_nomem(err, "choosing files");
    if (c->choices && c->catalog->count && !decide(c, &rank))
        status = kg_fail_nomem(err, "choosing files");
    kg_catalog_free(held);
    kg_rank_free(&rank);
    free(c->choices);
    free(c->past);
    free(c);
    return status;
}

enum kg_status kg_index_context(struct kg_index *index, const struct kg_context_request *request, int (*each)(void *ctx, const struct kg_context_part *),
                                void *ctx, struct kg_error *err)
{
    enum kg_status status = choose(index, request, each, ctx, err);
    return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
}

struct whole_files {
    int (*each)(void *ctx, const struct kg_choice *choice);
    void *ctx;
};

static int give_whole(void *ctx, const struct kg_context_part *part)
{
    const struct whole_files *files = ctx;
    const struct kg_choice choice = { .path = part->path, .bytes = part->bytes, .tokens = part->tokens, .reason = part->reason };
    return files->each(files->ctx, &choice);
}

enum kg_status kg_index_choose(struct kg_index *index, const char *question, uint32_t tokens, int (*each)(void *ctx, const struct kg_choice *), void *ctx,
                               struct kg_error *err)
{
    const struct kg_context_request request = { .question = question, .tokens = tokens, .files = CHOICES_MAX };
    struct whole_files files = { each, ctx };
    return tokens ? kg_index_context(index, &request, give_whole, &files, err) : KG_OK;
}
