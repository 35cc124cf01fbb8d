/* What it costs to read a file again in part only once it was edited (DESIGN.md section 5).
 *
 * The old and the new text of a file stand behind the preamble and the file's heading. The new text is cut into context and
 * target, which follow each other; the old one is read as far as the context holds something of it. By its longest common
 * subsequence of tokens with the new text, a page of the old reading is kept where all of its tokens stand one behind the
 * other in the new text too; keys and values stay as they are, queries are rotated to where the page stands now.
 *
 *   whole       the context is read as one: what all else is compared with
 *   apart       what is not kept is read in sight of the preamble alone
 *   keep        what is not kept is read in sight of all that stands before it
 *   definition  the same, and of definitions in which something changed nothing is kept
 *
 * Each with a share of the kept pages behind the first change read again as well, those first whose values changed most. The
 * choice knows the right values: no rule that has to guess does better. The target looks at everything.
 */
#ifndef KG_ENGINE_EVAL_PATCH_H
#define KG_ENGINE_EVAL_PATCH_H

#include "engine/eval/cbr.h"

enum kg_patch_read { KG_PATCH_WHOLE, KG_PATCH_APART, KG_PATCH_KEEP, KG_PATCH_DEFINITION };
const char *kg_patch_read_name(enum kg_patch_read read);

struct kg_patch_rule {
    enum kg_patch_read read;
    uint32_t percent; /* of the kept pages behind the first change, 0 .. 100 */
};

struct kg_patch_text {
    const char *path; /* its heading */
    const char *before, *after;
    size_t before_length, after_length;
};

struct kg_patch_options {
    uint32_t tokens; /* of context, at most KG_PATCH_TOKENS */
    uint32_t target;
};
#define KG_PATCH_TOKENS 8192

/* For kg_cbr_summarise: rows in the order of the rules, without questions; own stands for full. reread (count; may be NULL) gets
 * tokens that a rule reads. KG_ERR_RANGE: too little text for a context and a target, or nothing changed in the context. The
 * engine's pages need a key index. */
enum kg_status kg_patch_measure(struct kg_engine *engine, const struct kg_patch_text *text, const struct kg_patch_options *options,
                                const struct kg_patch_rule *rules, size_t count, struct kg_cbr_result **out, uint32_t *reread, struct kg_error *err);

/* Which pages of the old reading are kept: kept[p] is where page p of `before` begins in `after`, or -1. kept has
 * before_count / KG_PAGE elements. definitions: of `starts` (count, ascending, numbers of tokens of `after` at which a definition
 * begins) those with a change are left out; NULL = pages only. */
enum kg_status kg_patch_keep(const int32_t *before, uint32_t before_count, const int32_t *after, uint32_t after_count, const uint32_t *starts,
                             uint32_t start_count, int32_t *kept, struct kg_error *err);

#endif
