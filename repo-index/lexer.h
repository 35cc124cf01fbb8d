/* Source text as tokens, as far as import lines need it: comments are passed over, strings are kept whole. Any bytes are
 * valid; the time is linear in their number, whatever they are.
 */
#ifndef KG_INDEX_LEXER_H
#define KG_INDEX_LEXER_H

#include <stdbool.h>
#include <stddef.h>

#include "repo-index/language.h"

#define KG_LEXER_TEMPLATES 16

enum kg_token_kind {
    KG_TOKEN_END,
    KG_TOKEN_WORD,   /* letters, digits, underscores, dollars, bytes from 0x80 on */
    KG_TOKEN_STRING, /* text lies between the quotes, escapes as they are */
    KG_TOKEN_SIGN,   /* one other byte */
};

struct kg_token {
    enum kg_token_kind kind;
    bool first; /* nothing but comments before it on its line */
    char sign;
    const char *text;
    size_t length;
};

/* May be copied to look ahead. */
struct kg_lexer {
    const char *at, *end;
    enum kg_language language;
    bool line_begun;
    bool value_before;  /* JavaScript: a slash divides */
    bool number_before; /* C: a quote separates digits */
    /* JavaScript: braces open in each ${ } of the templates that are open */
    unsigned braces[KG_LEXER_TEMPLATES];
    unsigned templates;
};

void kg_lexer_init(struct kg_lexer *lexer, enum kg_language language, const char *text, size_t length);
struct kg_token kg_lexer_next(struct kg_lexer *lexer);

bool kg_token_is_word(const struct kg_token *token, const char *word);
bool kg_token_is_sign(const struct kg_token *token, char sign);

#endif
