/* Text -> words: identifiers are split at case and underscores, words lowered and reduced to their stem.
 *
 *   getUserNames   -> get  user  name            and, whole, getusernames
 *   HTTP2_MAX_SIZE -> http2 http  max  size      and, whole, http2maxsize
 *
 * Characters of other scripts are words as utf8proc tells letters; scripts written without spaces give pairs of characters.
 */
#ifndef KG_INDEX_WORDS_H
#define KG_INDEX_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#define KG_WORD_MAX 64 /* bytes of a word; longer ones are not words */

/* The next run of letters, digits, underscores and bytes from 0x80 on in [at, end): its beginning, or NULL. */
const char *kg_next_identifier(const char *at, const char *end, size_t *length);

enum kg_word_role {
    KG_WORD_PART,  /* stem of a part, or of the whole when there is only one */
    KG_WORD_WHOLE, /* all parts of two or more in one, unstemmed */
};
/* Words of one identifier; word is not NUL-terminated. */
typedef void kg_word_fn(void *ctx, const char *word, size_t length, enum kg_word_role role);
void kg_split_identifier(const char *identifier, size_t length, kg_word_fn *each, void *ctx);

/* The identifier lowered and without underscores, as KG_WORD_WHOLE gives it: its length, 0 when it is too long. */
size_t kg_fold_identifier(const char *identifier, size_t length, char out[KG_WORD_MAX]);

/* Shortens a lower-case English word in place to what its inflections share; its new length. */
size_t kg_stem(char *word, size_t length);

#endif
