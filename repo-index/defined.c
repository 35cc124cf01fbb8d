#include "repo-index/defined.h"

#include <stdlib.h>
#include <string.h>

#define LOOKED_AT 64 /* files */

struct looking {
    const struct kg_query *query;
    struct kg_rank *rank;
    uint32_t file; /* at hand */
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

static int take_records(void *ctx, const char *records, size_t length)
{
    const struct looking *l = ctx;
    struct kg_symbol_view symbol;
    double best[KG_QUERY_GROUPS] = { 0 };
    for (const char *at = records; kg_symbol_next(&at, records + length, &symbol);) {
        char folded[KG_WORD_MAX];
        size_t n = kg_fold_identifier(symbol.name, strlen(symbol.name), folded);
        for (unsigned g = 0; n && g < l->query->group_count; g++) {
            const struct kg_query_group *group = &l->query->groups[g];
            double weight = group->folded_length == n && memcmp(group->folded, folded, n) == 0 ? weight_of(symbol.kind) : 0;
            best[g] = best[g] < weight ? weight : best[g];
        }
    }
    for (unsigned g = 0; g < l->query->group_count; g++) {
        if (best[g] == 0 || l->rank->defined[l->file] & (1U << g))
            continue;
        l->rank->scores[l->file] += best[g] * l->query->groups[g].weight * l->query->groups[g].rarity;
        l->rank->groups[l->file] |= 1U << g;
        if (best[g] == 1)
            l->rank->defined[l->file] |= 1U << g;
    }
    return 0;
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
    struct looking looking = { .query = query, .rank = rank };
    enum kg_status status = KG_OK;
    size_t count = best_files(rank, catalog->count, files);
    for (size_t i = 0; i < count && status == KG_OK; i++) {
        looking.file = files[i].file;
        status = kg_store_symbols(index->store, catalog->docs[catalog->files[looking.file].doc], take_records, &looking, err);
    }
    return status;
}
