/* What happens in the directories of a worktree, by inotify: the walk says which they are, and before it lists one it is
 * watched, so that nothing falls between. Where the kernel sets a limit, nothing is watched in part: the lack says why, and
 * whoever refreshes looks by himself.
 */
#ifndef KG_INDEX_WATCH_H
#define KG_INDEX_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KG_WATCH_MOST 65536 /* directories; each costs the kernel about a kilobyte */
#define KG_DIRTY_MAX 512    /* directories; where more have changed, everything is looked at */

struct kg_dirty_dir {
    char *path; /* "" = the root */
    bool deep;  /* with all that lies below it */
};

/* What is to be looked at again. */
struct kg_dirty {
    struct kg_dirty_dir *dirs; /* in the order of strcmp, each once */
    size_t count, capacity;
    bool everything; /* instead; the rules, or what git tracks, may have changed */
    bool head;       /* the history too */
    double first, last; /* when something happened; CLOCK_MONOTONIC in seconds */
};

/* What a directory is for a walk of what is dirty: */
enum kg_dirty_verdict {
    KG_DIRTY_NOT,
    KG_DIRTY_BELOW, /* not its own entries, but some below it */
    KG_DIRTY_LIST,  /* its own entries, perhaps some below it */
    KG_DIRTY_DEEP,
};
enum kg_dirty_verdict kg_dirty_dir(const struct kg_dirty *dirty, const char *path);
/* Whether a file of this path is to be looked at. */
bool kg_dirty_file(const struct kg_dirty *dirty, const char *path);
bool kg_dirty_any(const struct kg_dirty *dirty);
void kg_dirty_free(struct kg_dirty *dirty);

struct kg_watch;

/* most: of directories, at most KG_WATCH_MOST. NULL when out of memory; where there is no inotify, its lack is set. */
struct kg_watch *kg_watch_new(uint32_t most);
void kg_watch_free(struct kg_watch *watch);
/* Why the worktree is not watched; NULL while it is. It stays so. */
const char *kg_watch_lack(const struct kg_watch *watch);
int kg_watch_fd(const struct kg_watch *watch); /* readable when something has happened; -1 = none */

/* The directory at hand, open as fd; path is relative to the root. */
void kg_watch_dir(struct kg_watch *watch, const char *path, int fd);
/* HEAD and the index of a git directory, and the rules in its info; absolute paths. */
void kg_watch_git(struct kg_watch *watch, const char *own, const char *common);
/* A walk of everything begins; what is not watched again until it ends, is watched no more. */
void kg_watch_begin(struct kg_watch *watch);
void kg_watch_end(struct kg_watch *watch);

/* Adds to dirty what has happened since; never waits. */
void kg_watch_drain(struct kg_watch *watch, struct kg_dirty *dirty);

#endif
