/* kedge itself, started in a pseudo-terminal on a repository of its own, with caches and conversations of its own. */
#ifndef KG_TESTS_SCREENS_LIVE_H
#define KG_TESTS_SCREENS_LIVE_H

#include "base/paths.h"
#include "tests/screens/driver.h"

/* The one of the test at hand; base holds the repository (repo), the cache and the state. */
extern struct live {
    char base[64];
    char kedge[KG_PATH_MAX]; /* the program */
    char model[KG_PATH_MAX]; /* filled by the test */
} live;

/* A folder with an empty repository. Nonzero when it cannot be made. */
int live_make(void);
int live_remove(void **state); /* cmocka's teardown */
/* printf into a shell command, which must succeed. */
void live_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* On the repository, with the model at that path; session: its name, greedily, or NULL = a new one. */
struct driver *live_start(const char *model, const char *session, int rows, int columns);

#endif
