/* What of an old reading stays when a text was edited. */
#include <stdlib.h>
#include <string.h>

#include "engine/eval/patch.h"
#include "engine/session/matched.h"
#include "kernels/backend.h"

/* Of tokens `from` .. upto-1 of the new text nothing is kept. */
static void drop(int32_t *kept, uint32_t pages, uint32_t from, uint32_t upto)
{
    for (uint32_t p = 0; p < pages; p++)
        if (kept[p] >= 0 && (uint32_t)kept[p] < upto && (uint32_t)kept[p] + KG_PAGE > from)
            kept[p] = -1;
}

/* The new text's tokens that the old one does not have, and those behind which it had something else. */
static void find_changes(const int32_t *match, uint32_t n, uint32_t m, bool *changed)
{
    memset(changed, true, m);
    for (uint32_t i = 0; i < n; i++)
        if (match[i] >= 0)
            changed[match[i]] = i > 0 && match[i] > 0 && match[i - 1] != match[i] - 1;
}

enum kg_status kg_patch_keep(const int32_t *before, uint32_t before_count, const int32_t *after, uint32_t after_count, const uint32_t *starts,
                             uint32_t start_count, int32_t *kept, struct kg_error *err)
{
    const uint32_t pages = before_count / KG_PAGE;
    bool *changed = calloc(after_count + 1UL, sizeof *changed);
    int32_t *match = calloc(before_count + 1UL, sizeof *match);
    if (!changed || !match) {
        free(changed);
        free(match);
        return kg_fail_nomem(err, "comparing two texts");
    }
    enum kg_status status = kg_tokens_match(before, before_count, after, after_count, match, err);
    if (status == KG_OK)
        find_changes(match, before_count, after_count, changed);
    for (uint32_t p = 0; p < pages && status == KG_OK; p++)
        kept[p] = kg_tokens_stand(match + (size_t)p * KG_PAGE, KG_PAGE) ? match[(size_t)p * KG_PAGE] : -1;
    for (uint32_t s = 0; starts && s < start_count && status == KG_OK; s++) {
        const uint32_t end = s + 1 < start_count ? starts[s + 1] : after_count;
        if (memchr(changed + starts[s], true, end - starts[s]))
            drop(kept, pages, starts[s], end);
    }
    free(changed);
    free(match);
    return status;
}
