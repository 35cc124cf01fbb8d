/* What a question says about files: paths, identifiers, words, and what kind of question it is. */
#ifndef KG_INDEX_QUESTION_H
#define KG_INDEX_QUESTION_H

#include "repo-index/rank.h"

#define KG_MENTIONS_MAX 64

/* Something that looks like a path, in a sentence, an error message or a stack trace. */
struct kg_mention {
    char path[256];  /* slashes forward, no leading "./", no trailing punctuation */
    uint32_t line;   /* 0 = none given */
};

struct kg_question {
    struct kg_mention mentions[KG_MENTIONS_MAX];
    unsigned mention_count;
    struct kg_query query; /* identifiers weigh more than words, words that any program is full of less; no stop words */
    bool overview;         /* what is this project, how is it built up */
    bool usage;            /* how is it built, installed, run */
    bool tests;            /* about tests */
    bool docs;             /* about documentation, changes, licences */
};

/* text must outlive the question. */
void kg_question_parse(const char *text, struct kg_question *out);

#endif
