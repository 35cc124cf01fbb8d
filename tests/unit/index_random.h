/* Random lives of a worktree, and whether two indexes say the same of it. Every function ends the test when it fails. */
#ifndef KG_TEST_INDEX_RANDOM_H
#define KG_TEST_INDEX_RANDOM_H

#include "index_repo.h"

struct index_random {
    const struct index_repo *repo;
    uint64_t seed;
    unsigned branches;
};

/* One change: files written, renamed, removed, replaced by links and directories; directories renamed and removed; rules
 * of all kinds; commits, checkouts, resets, repositories inside. */
void index_random_step(struct index_random *life);
uint64_t index_random_below(struct index_random *life, uint64_t n);

/* Everything that is asked of an index, as text; the caller frees. */
char *index_said(struct kg_index *index);
/* Fails with the first line that differs. */
void index_same(const char *is, const char *should, const char *when);

#endif
