/* Read and look rules: what a block's tokens see while it is read, and how later text looks at it (DESIGN.md section 4).
 *
 *   rule      while it is read                                      looked at later
 *   alone     the preamble; of a file's later part the parts before   by the look rule, as all that follow
 *   chain     everything before it, as the look rule says
 *   linked    as alone, and what the file includes (read alone), in
 *             full: it is read once, and recall here cost a part of
 *             what other files are worth (kedge eval cbr)
 *   anchors   S, L and line anchors                                 line anchors only: the rest is dropped
 *   kept      pages of another reading, of the text before an edit:   by the look rule; it stands in the keys' old local positions
 *             nothing is read
 *   again     as alone or linked, and then once more: everything      by the look rule
 *             before it, in full
 */
#ifndef KG_ENGINE_RULES_H
#define KG_ENGINE_RULES_H

#include "engine/tokenizer/tokenizer.h"
#include "kernels/backend.h"

enum kg_read_rule { KG_READ_ALONE, KG_READ_CHAIN, KG_READ_LINKED, KG_READ_ANCHORS, KG_READ_KEPT, KG_READ_AGAIN };

enum kg_look_rule {
    KG_LOOK_ALL,
    KG_LOOK_RECALL, /* S, L, and the k tokens that the key index finds best */
    KG_LOOK_ANCHORS /* S, L, and line anchors */
};

struct kg_rules {
    enum kg_read_rule files; /* linked: alone for those that include nothing */
    enum kg_look_rule look;  /* of turns and answers */
    uint32_t window, k;      /* of L and R; ranges as in struct kg_look */
};

/* Whether a block that is read by this rule looks through *out, with the preamble's tokens as S; else it looks at everything. */
bool kg_rules_look(const struct kg_rules *rules, enum kg_read_rule read, uint32_t preamble, struct kg_look *out);
/* Whether such a block looks at line anchors. */
bool kg_rules_anchors(const struct kg_rules *rules, enum kg_read_rule read);
/* Everything about a reading by this rule that its look decides, as a number below 2^29, another one for every look; 0 where it
 * looks at everything:  k (13 bits) | window (14) | 0 all, 1 recall, 2 anchors (2) */
uint32_t kg_rules_code(const struct kg_rules *rules, enum kg_read_rule read);

/* For each id whether its text holds a newline; one for the vocabulary's size at least. The caller frees it. */
enum kg_status kg_line_anchors(const struct kg_tokenizer *tokenizer, uint32_t vocabulary, bool **out, struct kg_error *err);
/* The line anchors among ids, and the last id, which a text that holds no newline is known by. The caller frees *out. */
enum kg_status kg_line_anchors_in(const bool *anchors, const int32_t *ids, uint32_t count, uint32_t **out, uint32_t *kept, struct kg_error *err);

#endif
