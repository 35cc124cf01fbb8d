#include "repo-index/defined.h"

#include <stdlib.h>
#include <string.h>

#define LOOKED_AT 64 /* files */

struct looking {
    const struct kg_query *query;
    double best[KG_QUERY_GROUPS]; /* of what the file at hand defines, the most telling */
};

struct candidate {
    uint32_t file;
    double score;
};

/* Of a definition seen by the look of its line, how much one of this kind tells. */
static double weight_of(const char *kind)
{
    static const struct {
        const char *kind;
        double weight;
    } weights[] = { { "function", 1 }, { "func", 1 }, { "class", 1 }, { "struct", 1 }, { "interface", 1 }, { "trait", 1 }, { "method", 1 }, { "type", 1 },
                    { "typedef", 0.8 }, { "enum", 0.8 }, { "union", 0.8 }, { "macro", 0.6 }, { "prototype", 0.5 }, { "module", 0.6 }, { "constant", 0.5 },
                    { "const", 0.5 }, { "variable", 0.4 }, { "var", 0.4 }, { "member", 0.4 }, { "enumerator", 0.5 }, { "field", 0.3 }, { "property", 0.4 } };
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++)
        if (strcmp(weights[i].kind, kind) == 0)
            return weights[i].weight;
    return 0.3;
}

static int take_symbol(void *ctx, const struct kg_symbol_view *symbol)
{
    struct looking *l = ctx;
    char folded[KG_WORD_MAX];
    size_t n = kg_fold_identifier(symbol->name, strlen(symbol->name), folded);
    for (unsigned g = 0; n && g < l->query->group_count; g++) {
        const struct kg_query_group *group = &l->query->groups[g];
        double weight = group->folded_length == n && memcmp(group->folded, folded, n) == 0 ? weight_of(symbol->kind) : 0;
        l->best[g] = l->best[g] < weight ? weight : l->best[g];
    }
    return 0;
}

static void add_scores(const struct looking *l, uint32_t file, struct kg_rank *rank)
{
    for (unsigned g = 0; g < l->query->group_count; g++) {
        if (l->best[g] == 0 || rank->defined[file] & (1U << g))
            continue;
        rank->scores[file] += l->best[g] * l->query->groups[g].weight * l->query->groups[g].rarity;
        rank->groups[file] |= 1U << g;
        if (l->best[g] == 1)
            rank->defined[file] |= 1U << g;
    }
}

/* The worst is the first, as in a heap. */
static void sift(struct candidate *heap, size_t count, size_t at)
{
    for (;;) {
        size_t least = at, left = 2 * at + 1;
        for (size_t child = left; child < left + 2 && child < count; child++)
            if (heap[child].score < heap[least].score || (heap[child].score == heap[least].score && heap[child].file > heap[least].file))
                least = child;
        if (least == at)
            return;
        struct candidate swapped = heap[at];
        heap[at] = heap[least];
        heap[least] = swapped;
        at = least;
    }
}

static size_t best_files(const struct kg_rank *rank, size_t files, struct candidate heap[LOOKED_AT])
{
    size_t count = 0;
    for (size_t i = 0; i < files; i++) {
        if (rank->scores[i] <= 0 || (count == LOOKED_AT && rank->scores[i] <= heap[0].score))
            continue;
        if (count < LOOKED_AT) {
            heap[count++] = (struct candidate){ (uint32_t)i, rank->scores[i] };
            for (size_t at = count; count == LOOKED_AT && at-- > 0;)
                sift(heap, count, at);
        } else {
            heap[0] = (struct candidate){ (uint32_t)i, rank->scores[i] };
            sift(heap, count, 0);
        }
    }
    return count;
}

enum kg_status kg_rank_defined(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_query *query, struct kg_rank *rank, struct kg_error *err)
{
    struct candidate files[LOOKED_AT];
    enum kg_status status = KG_OK;
    size_t count = best_files(rank, catalog->count, files);
    for (size_t i = 0; i < count && status == KG_OK; i++) {
        struct looking looking = { .query = query };
        status = kg_store_symbols(index->store, catalog->docs[catalog->files[files[i].file].doc], take_symbol, &looking, err);
        add_scores(&looking, files[i].file, rank);
    }
    return status;
}
