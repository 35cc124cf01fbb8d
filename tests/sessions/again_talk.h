/* A conversation with a small random model whose files are read again, and what they must be then. Everything asserts. */
#ifndef KG_TESTS_AGAIN_TALK_H
#define KG_TESTS_AGAIN_TALK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/state.h"

struct talk {
    char directory[2][256], model[300];
    struct kg_engine *engine[2]; /* the conversation's, and one that reads by hand */
    struct kg_session *session;  /* "talk" */
    int stop_after; /* batches, after which the first engine is stopped; less than 0: never */
    uint64_t budget; /* of the cache, from the next opening on; 0: the usual one */
};

/* Texts of files, the second of which has a name that begins like one of the first; and a long line in which nothing is named. */
#define TALK_LETTERS 408
extern const char talk_first[], talk_second[], talk_third[], talk_fourth[], talk_letters[TALK_LETTERS + 1];

/* cmocka fixtures; *state is a struct talk, open by KG_POLICY_RECALL. A model of 512 positions, or (long) 24,000. */
int talk_set_up(void **state);
int talk_set_up_long(void **state);
int talk_tear_down(void **state);
#define TALK_TEST(test)      cmocka_unit_test_setup_teardown(test, talk_set_up, talk_tear_down)
#define TALK_LONG_TEST(test) cmocka_unit_test_setup_teardown(test, talk_set_up_long, talk_tear_down)

/* The session and its engine; the one that reads by hand stays open. */
void talk_open(struct talk *t, enum kg_policy policy);
void talk_close(struct talk *t);
void talk_reopen(struct talk *t); /* by KG_POLICY_RECALL */

void talk_add(struct talk *t, const char *path, const char *text);
/* A file that includes one of the text `included` (NULL: none). */
void talk_add_including(struct talk *t, const char *path, const char *text, const char *included);
void talk_add_both(struct talk *t); /* talk_first as a.h, talk_second as b.h */
/* In kv.db of the conversation's engine; of some row at least. */
void talk_change_cache(const struct talk *t, const char *sql);
/* Reads again all that may be; how many tokens were read for it. */
uint64_t talk_idle(struct talk *t);
/* Tokens that were read for a question; *answer (may be NULL) is freed by the caller. */
uint64_t talk_ask(struct talk *t, const char *question, char **answer);
/* The answer is stopped at its first text. */
void talk_ask_and_stop(struct talk *t);
/* A text_out that does that; ctx is the struct talk. */
void talk_stop(void *ctx, enum kg_text_kind kind, const char *text, size_t length);

/* The first part of a file in context. */
size_t talk_index_of(const struct talk *t, const char *path);
struct kg_piece *talk_piece(const struct talk *t, const char *path);
bool talk_is_again(const struct talk *t, const char *path);

/* A file's reading alone, by the other engine; the caller closes the session, whose last pieces it is. */
struct kg_session *talk_read_alone(const struct talk *t, const char *text, size_t length);
/* Both are read in whole, be they of two engines: the same ids, keys, values and index. */
void talk_blocks_are_the_same(const struct kg_block *a, const struct kg_block *b);
/* A piece is what reading by hand gives behind all that stands there now, and not what is in `clean`. */
void talk_is_as_by_hand(const struct talk *t, size_t at, const struct kg_block *clean);
/* Every file, of one part and including nothing: in its first reading, or as by hand in sight of what stands before it now. How many were
 * read again; all: none is left that could be. */
unsigned talk_files_are_right(const struct talk *t, bool all);
void talk_nothing_is_outdated(const struct talk *t);

#endif
