/* Whatever a worktree went through, its index is the one that would be built from nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "index_random.h"

static unsigned long_run(void)
{
    const char *value = getenv("CHECK_LONG");
    return value && strcmp(value, "1") == 0;
}

/* Refreshed at random, closed and opened at random, and compared at the end. */
static void one_history(uint64_t seed)
{
    struct index_repo repo;
    char when[64];
    index_repo_make(&repo);
    struct index_random life = { .repo = &repo, .seed = seed };
    struct kg_index *index = index_repo_open(&repo);
    for (unsigned steps = 30 + (unsigned)index_random_below(&life, 60); steps-- > 0;) {
        index_random_step(&life);
        uint64_t what = index_random_below(&life, 12);
        if (what < 3)
            index_repo_refresh(index);
        if (what == 1)
            index_read_symbols(index);
        if (what == 2) {
            kg_index_close(index);
            index = index_repo_open(&repo);
        }
        if (what == 3)
            free(index_said(index));
    }
    index_repo_refresh(index);
    snprintf(when, sizeof when, "history %llu", (unsigned long long)seed);
    index_equals_new(&repo, index, index_read_symbols, when);
    kg_index_close(index);
    index_repo_remove(&repo);
}

static void an_index_with_a_past_equals_one_from_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= (long_run() ? 500 : 12); seed++)
        one_history(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_with_a_past_equals_one_from_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
