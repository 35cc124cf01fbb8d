/* The line of a text that answers a query best. */
#ifndef KG_INDEX_LINES_H
#define KG_INDEX_LINES_H

#include "repo-index/rank.h"

#define KG_LINE_TEXT 200 /* bytes */

struct kg_best_line {
    uint32_t line; /* 1-based, 0 = no line holds a word of the query */
    double score;  /* rarities of what it holds, in the units of kg_rank */
    bool phrase;   /* the query stands there as it was written, but for case */
    char text[KG_LINE_TEXT + 1]; /* printable, without indentation */
};

/* How much of the query one line (without or with its line feed) holds, as the score of a best line. */
double kg_line_score(const char *line, size_t length, const struct kg_query *query);

/* rarities of the query must be set. */
void kg_best_line_of(const char *text, size_t length, const struct kg_query *query, const char *phrase, struct kg_best_line *out);

#endif
