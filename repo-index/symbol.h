/* What a text defines, one record a symbol, in the order of its lines.
 *
 *   record = kind TAB name TAB scope TAB line TAB end TAB signature LF
 *
 * The signature is the source itself: the line of the definition, with those that its brackets go on to, blanks made one,
 * without the body.
 */
#ifndef KG_INDEX_SYMBOL_H
#define KG_INDEX_SYMBOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "repo-index/ctags.h"

#define KG_SYMBOLS_MAX 4000     /* of one text */
#define KG_SYMBOL_NAME 200      /* bytes of a name, a kind, a scope; a symbol with more is left out */
#define KG_SYMBOL_SIGNATURE 240 /* bytes, cut at a character */

struct kg_symbols { /* reusable workspace; zero-initialised = empty */
    char *bytes;
    size_t length, capacity;
    unsigned count;
    bool failed;
};
void kg_symbols_free(struct kg_symbols *symbols);

enum kg_symbols_source {
    KG_SYMBOLS_BY_SHAPE, /* stored: do not renumber. define.h, for want of ctags */
    KG_SYMBOLS_BY_CTAGS,
};

/* By ctags, which may be NULL, where it knows the language, else by the look of the lines. Any bytes are valid. False when
 * out of memory. */
bool kg_symbols_of(struct kg_symbols *symbols, struct kg_ctags *ctags, const char *path, const char *text, size_t length, enum kg_symbols_source *source);

struct kg_symbol_view {
    const char *kind, *name, *scope, *signature; /* NUL-terminated, in bytes */
    uint32_t line, end;                          /* end 0 = not known */
    char bytes[3 * KG_SYMBOL_NAME + KG_SYMBOL_SIGNATURE + 64];
};
/* Goes through records, whoever wrote them: the next one at *at, or false at the end. */
bool kg_symbol_next(const char **at, const char *end, struct kg_symbol_view *out);

#endif
