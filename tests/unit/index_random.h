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
/* Compares the index, which is up to date, with one that is made from nothing now, both as `finish` leaves them. `when` is for the
 * message, beside the first line that differs. */
void index_equals_new(const struct index_repo *repo, struct kg_index *index, void (*finish)(struct kg_index *), const char *when);
/* What there is to be read besides; a finish of index_equals_new. */
void index_read_symbols(struct kg_index *index);

#endif
