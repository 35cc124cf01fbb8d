#include "repo-index/lines.h"

#include <string.h>
#include <strings.h>

#include "repo-index/define.h"

#define LINE_MAX_READ 2000 /* bytes of a line that count */
#define DEFINITION_BONUS 1.5
#define PHRASE_BONUS 1.5

struct line_score {
    const struct kg_query *query;
    double best[KG_QUERY_GROUPS]; /* of each group */
    uint32_t held;
};

static void on_word(void *ctx, const char *word, size_t length, enum kg_word_role role)
{
    (void)role;
    struct line_score *score = ctx;
    uint32_t hash = kg_word_hash(word, length);
    for (unsigned i = 0; i < score->query->term_count; i++) {
        const struct kg_query_term *term = &score->query->terms[i];
        if (term->hash != hash || term->length != length)
            continue;
        double worth = term->weight * (term->rarity > 0 ? term->rarity : 0.1);
        double *best = &score->best[term->group];
        *best = score->held & (1U << term->group) && *best > worth ? *best : worth;
        score->held |= 1U << term->group;
    }
}

static bool holds_phrase(const char *line, size_t length, const char *phrase)
{
    size_t n = strlen(phrase);
    if (n < 3)
        return false;
    for (size_t i = 0; i + n <= length; i++)
        if ((line[i] | 32) == (phrase[0] | 32) && strncasecmp(line + i, phrase, n) == 0)
            return true;
    return false;
}

static double definition_bonus(const char *line, size_t length, const struct kg_query *query)
{
    const char *name;
    size_t n;
    char folded[KG_WORD_MAX];
    if (kg_line_defines(line, length, &name, &n) == KG_DEFINES_NOTHING || (n = kg_fold_identifier(name, n, folded)) == 0)
        return 0;
    for (unsigned i = 0; i < query->group_count; i++) {
        const struct kg_query_group *group = &query->groups[i];
        if (group->folded_length == n && memcmp(group->folded, folded, n) == 0)
            return DEFINITION_BONUS * (group->rarity + 0.1) * group->weight;
    }
    return 0;
}

static double score_line(const char *line, size_t length, const struct kg_query *query, const char *phrase, bool *has_phrase)
{
    struct line_score score = { .query = query };
    const char *end = line + length;
    const char *at = line;
    const char *identifier;
    size_t n;
    while ((identifier = kg_next_identifier(at, end, &n)) != NULL) {
        kg_split_identifier(identifier, n, on_word, &score);
        at = identifier + n;
    }
    *has_phrase = false;
    if (!score.held)
        return 0;
    double sum = definition_bonus(line, length, query);
    for (unsigned g = 0; g < query->group_count; g++)
        sum += score.held & (1U << g) ? score.best[g] : 0;
    *has_phrase = holds_phrase(line, length, phrase);
    return *has_phrase ? sum * PHRASE_BONUS : sum;
}

double kg_line_score(const char *line, size_t length, const struct kg_query *query)
{
    bool phrase;
    return score_line(line, length < LINE_MAX_READ ? length : LINE_MAX_READ, query, "", &phrase);
}

static void copy_line(const char *line, size_t length, char out[KG_LINE_TEXT + 1])
{
    char flat[LINE_MAX_READ];
    size_t skip = 0;
    while (skip < length && (line[skip] == ' ' || line[skip] == '\t'))
        skip++;
    length -= skip;
    while (length && (line[skip + length - 1] == '\r' || line[skip + length - 1] == ' '))
        length--;
    length = length < sizeof flat ? length : sizeof flat;
    for (size_t i = 0; i < length; i++)
        flat[i] = (char)(line[skip + i] == '\t' ? ' ' : line[skip + i]);
    kg_printable(out, KG_LINE_TEXT + 1, flat, length);
}

void kg_best_line_of(const char *text, size_t length, const struct kg_query *query, const char *phrase, struct kg_best_line *out)
{
    const char *end = text + length;
    const char *best = NULL;
    size_t best_length = 0;
    uint32_t number = 0;
    *out = (struct kg_best_line){ 0 };
    for (const char *line = text; line < end;) {
        const char *feed = memchr(line, '\n', (size_t)(end - line));
        const char *line_end = feed ? feed : end;
        size_t n = (size_t)(line_end - line) < LINE_MAX_READ ? (size_t)(line_end - line) : LINE_MAX_READ;
        bool phrase_here;
        double score = score_line(line, n, query, phrase, &phrase_here);
        number++;
        if (score > out->score) {
            out->score = score;
            out->line = number;
            out->phrase = phrase_here;
            best = line;
            best_length = n;
        }
        line = line_end + 1;
    }
    if (best)
        copy_line(best, best_length, out->text);
}
