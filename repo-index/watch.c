#include "repo-index/watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "repo-index/arena.h"

#define BUCKETS 4096
#define EVENTS (IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)
#define EVENT_BYTES 32768
#define DRAIN_MAX 64 /* buffers at once: a flood of events is not followed to its end */

/* PLACE_OWN: the git directory, its info, or its logs. */
enum place { PLACE_WORKTREE, PLACE_OWN, PLACE_INFO, PLACE_LOGS };

struct watched {
    struct watched *next; /* of the bucket */
    char *path;
    int wd;
    enum place place;
    uint32_t seen; /* the walk that last came by */
};

struct kg_watch {
    int fd;
    struct watched *buckets[BUCKETS];
    uint32_t count, most, walk;
    char lack[240];
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The place of path, or where it would be. */
static size_t place_of(const struct kg_dirty *dirty, const char *path, size_t length, bool *there)
{
    size_t low = 0, high = dirty->count;
    *there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *at = dirty->dirs[middle].path;
        int order = strncmp(at, path, length);
        order = order ? order : at[length] != '\0';
        if (order == 0) {
            *there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add(struct kg_dirty *dirty, const char *path, bool deep)
{
    bool there;
    size_t at = place_of(dirty, path, strlen(path), &there);
    if (there) {
        dirty->dirs[at].deep |= deep;
        return;
    }
    char *copy = dirty->count < KG_DIRTY_MAX ? strdup(path) : NULL;
    if (!copy || !kg_grow(&dirty->dirs, dirty->count, &dirty->capacity, sizeof *dirty->dirs)) {
        free(copy);
        dirty->everything = true;
        return;
    }
    memmove(dirty->dirs + at + 1, dirty->dirs + at, (dirty->count - at) * sizeof *dirty->dirs);
    dirty->dirs[at] = (struct kg_dirty_dir){ .path = copy, .deep = deep };
    dirty->count++;
}

static bool lies_deep(const struct kg_dirty *dirty, const char *path, size_t length)
{
    bool there;
    size_t at = place_of(dirty, "", 0, &there);
    if (there && dirty->dirs[at].deep)
        return true;
    for (size_t n = 1; n <= length; n++) {
        if (n < length && path[n] != '/')
            continue;
        at = place_of(dirty, path, n, &there);
        if (there && dirty->dirs[at].deep)
            return true;
    }
    return false;
}

enum kg_dirty_verdict kg_dirty_dir(const struct kg_dirty *dirty, const char *path)
{
    size_t length = strlen(path);
    bool there;
    if (lies_deep(dirty, path, length))
        return KG_DIRTY_DEEP;
    place_of(dirty, path, length, &there);
    if (there)
        return KG_DIRTY_LIST;
    for (size_t i = 0; i < dirty->count; i++)
        if (strncmp(dirty->dirs[i].path, path, length) == 0 && (length == 0 || dirty->dirs[i].path[length] == '/'))
            return KG_DIRTY_BELOW;
    return KG_DIRTY_NOT;
}

bool kg_dirty_file(const struct kg_dirty *dirty, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    bool there;
    place_of(dirty, path, length, &there);
    return there || lies_deep(dirty, path, length);
}

bool kg_dirty_any(const struct kg_dirty *dirty)
{
    return dirty->count || dirty->everything || dirty->head;
}

void kg_dirty_free(struct kg_dirty *dirty)
{
    for (size_t i = 0; i < dirty->count; i++)
        free(dirty->dirs[i].path);
    free(dirty->dirs);
    *dirty = (struct kg_dirty){ 0 };
}

struct kg_watch *kg_watch_new(uint32_t most)
{
    struct kg_watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    watch->most = most < KG_WATCH_MOST ? most : KG_WATCH_MOST;
    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch->fd < 0)
        snprintf(watch->lack, sizeof watch->lack, "changes of files are not announced here (inotify: %s); they are looked for now and then", strerror(errno));
    return watch;
}

/* Those that match are watched no more. */
static void drop(struct kg_watch *watch, bool (*matches)(const struct kg_watch *watch, const struct watched *w, const char *path), const char *path)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct watched **at = &watch->buckets[i]; *at;) {
            struct watched *w = *at;
            if (!matches(watch, w, path)) {
                at = &w->next;
                continue;
            }
            *at = w->next;
            inotify_rm_watch(watch->fd, w->wd); /* fails where the directory is gone */
            free(w->path);
            free(w);
            watch->count--;
        }
}

static bool any(const struct kg_watch *watch, const struct watched *w, const char *path)
{
    (void)watch;
    (void)w;
    (void)path;
    return true;
}

static bool of_the_worktree(const struct kg_watch *watch, const struct watched *w, const char *path)
{
    (void)watch;
    (void)path;
    return w->place == PLACE_WORKTREE;
}

static bool not_seen(const struct kg_watch *watch, const struct watched *w, const char *path)
{
    (void)path;
    return w->seen != watch->walk;
}

static bool below(const struct kg_watch *watch, const struct watched *w, const char *path)
{
    size_t n = strlen(path);
    (void)watch;
    return w->place == PLACE_WORKTREE && strncmp(w->path, path, n) == 0 && (w->path[n] == '/' || w->path[n] == '\0');
}

void kg_watch_free(struct kg_watch *watch)
{
    if (!watch)
        return;
    drop(watch, any, NULL);
    if (watch->fd >= 0)
        close(watch->fd);
    free(watch);
}

const char *kg_watch_lack(const struct kg_watch *watch)
{
    return watch->lack[0] ? watch->lack : NULL;
}

int kg_watch_fd(const struct kg_watch *watch)
{
    return watch->fd;
}

static struct watched **bucket_of(struct kg_watch *watch, int wd)
{
    return &watch->buckets[(unsigned)wd % BUCKETS];
}

static struct watched *find(struct kg_watch *watch, int wd)
{
    for (struct watched *w = *bucket_of(watch, wd); w; w = w->next)
        if (w->wd == wd)
            return w;
    return NULL;
}

static void give_up(struct kg_watch *watch, const char *why)
{
    drop(watch, of_the_worktree, NULL);
    snprintf(watch->lack, sizeof watch->lack, "the folders of this repository are not watched (%s); changes are looked for now and then", why);
}

/* False when the kernel refuses for good. */
static bool remember(struct kg_watch *watch, int wd, const char *path, enum place place)
{
    struct watched *known = find(watch, wd);
    char *copy = known && strcmp(known->path, path) == 0 ? known->path : strdup(path);
    struct watched *w = known ? known : calloc(1, sizeof *w);
    if (!copy || !w) {
        if (!known)
            free(w);
        free(copy);
        return false;
    }
    if (known && known->path != copy)
        free(known->path);
    w->path = copy;
    w->place = place;
    w->seen = watch->walk;
    if (!known) {
        w->wd = wd;
        w->next = *bucket_of(watch, wd);
        *bucket_of(watch, wd) = w;
        watch->count++;
    }
    return true;
}

void kg_watch_dir(struct kg_watch *watch, const char *path, int fd)
{
    char link[40];
    if (watch->lack[0])
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(watch->fd, link, EVENTS | IN_ONLYDIR | IN_EXCL_UNLINK);
    if (wd >= 0 && watch->count >= watch->most && !find(watch, wd)) {
        inotify_rm_watch(watch->fd, wd);
        snprintf(link, sizeof link, "more than %u", watch->most);
        give_up(watch, link);
        return;
    }
    if (wd >= 0 ? !remember(watch, wd, path, PLACE_WORKTREE) : errno == ENOMEM)
        give_up(watch, "out of memory");
    else if (wd < 0 && errno == ENOSPC)
        give_up(watch, "more than fs.inotify.max_user_watches allows");
    else if (wd < 0 && (path[0] == '\0' || (errno != ENOENT && errno != EACCES))) /* a directory that is gone by now is none */
        give_up(watch, strerror(errno));
}

void kg_watch_git(struct kg_watch *watch, const char *own, const char *common)
{
    const struct {
        const char *dir, *leaf;
        enum place place;
    } places[] = { { own, "", PLACE_OWN }, { common, "/info", PLACE_INFO }, { own, "/logs", PLACE_LOGS } };
    for (size_t i = 0; watch->fd >= 0 && i < sizeof places / sizeof places[0]; i++) {
        char path[4200];
        if (snprintf(path, sizeof path, "%s%s", places[i].dir, places[i].leaf) >= (int)sizeof path)
            continue;
        /* what is not there yet is seen to come by the next walk of everything */
        int wd = inotify_add_watch(watch->fd, path, EVENTS | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK);
        if (wd >= 0)
            remember(watch, wd, path, places[i].place);
    }
}

void kg_watch_begin(struct kg_watch *watch)
{
    watch->walk++;
}

void kg_watch_end(struct kg_watch *watch)
{
    drop(watch, not_seen, NULL);
}

static bool is_one_of(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

/* Names that say something of all that lies beside and below them. */
static bool tells_of_directory(const char *name)
{
    static const char *const names[] = { ".gitignore", ".kedgeignore", ".git", ".gitmodules", "HEAD", "objects", "refs", "pyvenv.cfg", "CACHEDIR.TAG",
                                         "modules.txt", "autoload.php", "bundle", NULL };
    return is_one_of(names, name);
}

static void take_in_git(struct kg_dirty *dirty, enum place place, const char *name)
{
    if (place == PLACE_LOGS)
        dirty->head |= strcmp(name, "HEAD") == 0;
    else if (place == PLACE_INFO)
        dirty->everything |= strcmp(name, "exclude") == 0;
    else if (strcmp(name, "index") == 0)
        dirty->everything = true;
    else if (strcmp(name, "HEAD") == 0)
        dirty->head = true;
}

static void take_in_worktree(struct kg_watch *watch, struct kg_dirty *dirty, const struct watched *w, const struct inotify_event *event)
{
    const char *name = event->len ? event->name : "";
    char path[8192];
    if (name[0] == '\0') /* a directory's own rights are told to the one that holds it, too */
        return;
    if (!(event->mask & IN_ISDIR)) {
        add(dirty, w->path, tells_of_directory(name));
        return;
    }
    if (snprintf(path, sizeof path, "%s%s%s", w->path, w->path[0] ? "/" : "", name) >= (int)sizeof path)
        return;
    if (tells_of_directory(name))
        add(dirty, w->path, true);
    else
        add(dirty, path, true);
    /* its watches would go on to speak of where it was; those of one that is gone end by themselves */
    if (event->mask & IN_MOVED_FROM)
        drop(watch, below, path);
}

static void forget(struct kg_watch *watch, const struct watched *w)
{
    for (struct watched **at = bucket_of(watch, w->wd); *at; at = &(*at)->next)
        if (*at == w) {
            struct watched *gone = *at;
            *at = gone->next;
            free(gone->path);
            free(gone);
            watch->count--;
            return;
        }
}

static void take_event(struct kg_watch *watch, struct kg_dirty *dirty, const struct inotify_event *event)
{
    if (event->mask & IN_Q_OVERFLOW) {
        dirty->everything = dirty->head = true;
        return;
    }
    const struct watched *w = find(watch, event->wd);
    if (!w) /* an event that was on its way when its directory was dropped */
        return;
    if (event->mask & IN_IGNORED)
        forget(watch, w);
    else if (event->mask & IN_UNMOUNT)
        dirty->everything = true;
    else if (w->place == PLACE_WORKTREE)
        take_in_worktree(watch, dirty, w, event);
    else
        take_in_git(dirty, w->place, event->len ? event->name : "");
}

void kg_watch_drain(struct kg_watch *watch, struct kg_dirty *dirty)
{
    _Alignas(struct inotify_event) char bytes[EVENT_BYTES];
    for (int i = 0; i < DRAIN_MAX && watch->fd >= 0; i++) {
        ssize_t n = read(watch->fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        for (const char *at = bytes; at < bytes + n;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)at;
            take_event(watch, dirty, event);
            at += sizeof *event + event->len;
        }
        if (kg_dirty_any(dirty)) {
            dirty->last = seconds();
            dirty->first = dirty->first > 0 ? dirty->first : dirty->last;
        }
    }
}
