#include "repo-index/watching.h"

#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "repo-index/gitdir.h"

#define QUIET_SECONDS 0.1   /* a flurry of changes is over */
#define LONGEST_SECONDS 0.5 /* or is looked at nevertheless */
#define REST_MOST 0.5       /* between two refreshes of what is dirty */
#define REST_SHARE 4        /* times as long as the last one took */
#define REST_ALL_SHARE 10   /* the same for those of everything, without a bound: git status touches the index file */
#define AFTER_FAILURE 5.0
#define LOOK_LEAST 5.0      /* where nothing is announced: seconds between two refreshes, */
#define LOOK_SHARE 20       /* and times as long as the last one took */
#define HEAD_SECONDS 1.0

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool is_blind(const struct kg_index *index)
{
    return kg_watch_lack(index->watch) != NULL;
}

static void look_at_git(const struct kg_index *index, struct kg_file_stat out[2])
{
    static const char *const names[] = { "HEAD", "index" };
    struct kg_gitdir gitdir;
    bool git = kg_gitdir_of(index->root, &gitdir);
    for (int i = 0; i < 2; i++) {
        char path[KG_PATH_MAX + 8];
        struct stat st;
        out[i] = (struct kg_file_stat){ 0 };
        snprintf(path, sizeof path, "%s/%s", git ? gitdir.own : "", names[i]);
        if (git && lstat(path, &st) == 0)
            out[i] = kg_file_stat_of(&st);
    }
}

static bool same(const struct kg_file_stat *a, const struct kg_file_stat *b)
{
    return a->ino == b->ino && a->size == b->size && a->mtime == b->mtime && a->ctime == b->ctime;
}

enum kg_status kg_index_watch(struct kg_index *index, uint32_t most, struct kg_error *err)
{
    kg_watch_free(index->watch);
    index->watch = kg_watch_new(most ? most : KG_WATCH_MOST);
    index->dirty.everything = index->dirty.head = true;
    look_at_git(index, index->heads);
    return index->watch ? KG_OK : kg_fail_nomem(err, "watching the repository");
}

const char *kg_index_watch_lack(const struct kg_index *index)
{
    return index->watch ? kg_watch_lack(index->watch) : NULL;
}

int kg_index_watch_fd(const struct kg_index *index)
{
    return index->watch ? kg_watch_fd(index->watch) : -1;
}

void kg_index_watch_rest(struct kg_index *index, double took, bool everything, bool done)
{
    double now = seconds();
    if (!done) {
        index->dirty.everything = index->dirty.head = true;
        index->dirty.first = index->dirty.last = now;
        index->rest_until = index->look_until = now + AFTER_FAILURE;
        return;
    }
    index->rest_until = now + fmin(REST_MOST, REST_SHARE * took);
    if (everything)
        index->look_until = now + (is_blind(index) ? fmax(LOOK_LEAST, LOOK_SHARE * took) : REST_ALL_SHARE * took);
}

bool kg_index_watch_all_due(const struct kg_index *index)
{
    return (index->dirty.everything && index->look_until <= seconds()) || is_blind(index);
}

/* Where nothing is announced. */
static double due_blind(struct kg_index *index, double now)
{
    if (now - index->head_at >= HEAD_SECONDS) {
        struct kg_file_stat heads[2];
        look_at_git(index, heads);
        index->dirty.head |= !same(&heads[0], &index->heads[0]) || !same(&heads[1], &index->heads[1]);
        index->heads[0] = heads[0];
        index->heads[1] = heads[1];
        index->head_at = now;
    }
    double until = index->dirty.head ? index->rest_until : index->look_until;
    double wait = fmin(until, index->head_at + HEAD_SECONDS) - now;
    return until <= now ? 0 : fmax(wait, 0.001);
}

double kg_index_watch_due(struct kg_index *index)
{
    double now = seconds();
    if (!index->watch)
        return -1;
    kg_watch_drain(index->watch, &index->dirty);
    if (is_blind(index))
        return due_blind(index, now);
    const struct kg_dirty *dirty = &index->dirty;
    if (!kg_dirty_any(dirty))
        return -1;
    double settled = fmin(dirty->last + QUIET_SECONDS, dirty->first + LONGEST_SECONDS);
    bool some = dirty->count || dirty->head;
    double until = fmax(settled, some ? index->rest_until : fmax(index->rest_until, index->look_until));
    return fmax(0, until - now);
}
