/* n-gram drafts (prompt lookup): what is likely to come next, because it followed once before what stands here now.
 *
 * A draft object follows a text token by token. It keeps a place in the text that reads on as the text itself does at its
 * end, the longest such match it finds, and guesses that what stands behind that place comes next:
 *
 *   ... static int add ( int a , int b ) ...  int sub ( int a      the end matches over 3 tokens: `, int b )` is the guess
 *
 * Where a long copy breaks off, it looks for the place to go on near the break first, as a change of a line or a word is
 * the usual reason. How often guesses come true is counted for every token, also while nobody asks for drafts, and what
 * reading so many rows costs is measured; from both follows how long a draft pays, and whether one does at all. What is
 * generated cannot depend on any of it.
 */
#ifndef KG_ENGINE_DRAFT_H
#define KG_ENGINE_DRAFT_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define KG_DRAFT_MAX     15           /* ids in a draft; they are read together with the token before them */
#define KG_DRAFT_TEXT    (1U << 18)   /* tokens that are followed at most */
#define KG_DRAFT_CLASSES 11

/* What is known so far of a model on a device: zero at first, then filled by the drafts that share it. */
struct kg_draft_record {
    double seconds[KG_DRAFT_MAX + 2]; /* to read so many rows, recent ones counting most; 0 = not measured */
    struct {
        float share; /* of guesses that came true, recent ones counting most */
        uint32_t guesses;
    } hits[KG_DRAFT_CLASSES]; /* by length of the match */
};

struct kg_draft;

/* For a text of at most `tokens` tokens (what comes behind KG_DRAFT_TEXT is not followed). The record must outlive it. */
enum kg_status kg_draft_create(uint32_t tokens, struct kg_draft_record *record, struct kg_draft **out, struct kg_error *err);
void kg_draft_free(struct kg_draft *draft); /* NULL is fine */

/* The text as it was given: nothing is guessed of it. */
void kg_draft_give(struct kg_draft *draft, const int32_t *ids, size_t count);
/* The text goes on with this id: one that was generated. */
void kg_draft_add(struct kg_draft *draft, int32_t id);
/* Ids that are worth reading together with the last one; returns how many, 0 .. most. */
uint32_t kg_draft_propose(const struct kg_draft *draft, int32_t ids[KG_DRAFT_MAX], uint32_t most);
/* What reading so many rows took, the last id and a draft of rows - 1. */
void kg_draft_took(struct kg_draft *draft, uint32_t rows, double seconds);

#endif
