#include "tests/faults/lossy_vfs.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512

/* Something not yet synced: bytes written, a new length (bytes NULL), or the file's deletion. */
struct pending {
    struct pending *next;
    bool deletion;
    uint8_t *bytes;
    uint64_t offset, length;
};

struct node {
    struct node *next;
    char *path;
    bool named; /* it would be found after a loss of power */
    bool fresh; /* created since its last sync */
    uint8_t *durable;
    uint64_t size;
    struct pending *first, **last;
    uint64_t burst;
};

struct file {
    sqlite3_file base;
    struct node *node;
    sqlite3_file *real;
};

static sqlite3_vfs *beneath;
static sqlite3_vfs lossy;
static struct node *nodes;
static enum lossy_fault fault;
static uint64_t fault_at, operations, random_state, largest_burst;
static bool struck;

static void must(bool good)
{
    if (!good)
        abort();
}

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void load_durable(struct node *node)
{
    struct stat st;
    int fd = open(node->path, O_RDONLY | O_CLOEXEC);
    node->named = fd >= 0;
    if (fd < 0)
        return;
    must(fstat(fd, &st) == 0);
    node->size = (uint64_t)st.st_size;
    node->durable = malloc(node->size + 1);
    must(node->durable && pread(fd, node->durable, node->size, 0) == (ssize_t)node->size);
    close(fd); /* before SQLite opens it: no lock is lost */
}

static struct node *node_of(const char *path)
{
    for (struct node *node = nodes; node; node = node->next)
        if (strcmp(node->path, path) == 0)
            return node;
    struct node *node = calloc(1, sizeof *node);
    must(node && (node->path = strdup(path)));
    node->last = &node->first;
    node->next = nodes;
    nodes = node;
    load_durable(node);
    return node;
}

static void drop_pending(struct node *node)
{
    for (struct pending *p = node->first, *next; p; p = next) {
        next = p->next;
        free(p->bytes);
        free(p);
    }
    node->first = NULL;
    node->last = &node->first;
    node->burst = 0;
}

static void add_pending(struct node *node, const void *bytes, uint64_t offset, uint64_t length, bool deletion)
{
    struct pending *p = calloc(1, sizeof *p);
    must(p != NULL);
    p->offset = offset;
    p->length = length;
    p->deletion = deletion;
    if (bytes) {
        p->bytes = malloc(length + 1);
        must(p->bytes != NULL);
        memcpy(p->bytes, bytes, length);
        node->burst += length;
        largest_burst = node->burst > largest_burst ? node->burst : largest_burst;
    }
    *node->last = p;
    node->last = &p->next;
}

static void resize(struct node *node, uint64_t size)
{
    node->durable = realloc(node->durable, size + 1);
    must(node->durable != NULL);
    if (size > node->size)
        memset(node->durable + node->size, 0, size - node->size);
    node->size = size;
}

/* whole: all of it; else the sectors that chance picks. */
static void apply(struct node *node, const struct pending *p, bool whole)
{
    if (p->deletion) {
        node->named = false;
        resize(node, 0);
        return;
    }
    if (!p->bytes) {
        resize(node, p->length);
        return;
    }
    if (node->size < p->offset + p->length)
        resize(node, p->offset + p->length);
    for (uint64_t at = 0; at < p->length;) {
        uint64_t end = (p->offset + at) / SECTOR * SECTOR + SECTOR - p->offset;
        end = end < p->length ? end : p->length;
        if (whole || next_random() & 1)
            memcpy(node->durable + p->offset + at, p->bytes + at, end - at);
        at = end;
    }
}

static void settle(struct node *node)
{
    for (struct pending *p = node->first; p; p = p->next)
        apply(node, p, true);
    drop_pending(node);
}

/* SQLite syncs the directory when it first syncs a file that it created: what was deleted there stays so. */
static void settle_deletions(void)
{
    for (struct node *node = nodes; node; node = node->next) {
        struct pending *last = NULL;
        for (struct pending *p = node->first; p; p = p->next)
            last = p->deletion ? p : last;
        while (last) {
            struct pending *p = node->first;
            apply(node, p, true);
            node->first = p->next;
            if (!p->next)
                node->last = &node->first;
            if (p == last)
                last = NULL;
            free(p->bytes);
            free(p);
        }
    }
}

/* Counts an operation; whether it is to fail. */
static bool strike(bool read, bool write)
{
    bool reads_count = fault == LOSSY_IO || fault == LOSSY_IO_ONCE;
    if (read && !reads_count)
        return fault == LOSSY_POWER && struck;
    bool now = operations++ == fault_at && fault != LOSSY_NONE;
    switch (fault) {
    case LOSSY_NONE:
        return false;
    case LOSSY_POWER:
        struck = struck || now;
        return struck;
    case LOSSY_FULL_ONCE:
    case LOSSY_FULL:
        if (struck && fault == LOSSY_FULL)
            return write;
        /* from `at` on the first write is the one */
        if (!struck && write && operations > fault_at) {
            struck = true;
            return true;
        }
        return false;
    default:
        if (now)
            struck = true;
        return now || (struck && fault == LOSSY_IO);
    }
}

static struct file *file_of(sqlite3_file *f)
{
    return (struct file *)f;
}

static int x_close(sqlite3_file *f)
{
    struct file *file = file_of(f);
    int rc = file->real->pMethods ? file->real->pMethods->xClose(file->real) : SQLITE_OK;
    return rc;
}

static int x_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    return strike(true, false) ? SQLITE_IOERR_READ : file_of(f)->real->pMethods->xRead(file_of(f)->real, to, n, at);
}

static int x_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
    struct file *file = file_of(f);
    if (strike(false, true)) {
        /* the write during which the power fails is as likely on the disk as those before it */
        if (fault == LOSSY_POWER && operations == fault_at + 1)
            add_pending(file->node, from, (uint64_t)at, (uint64_t)n, false);
        return fault == LOSSY_FULL || fault == LOSSY_FULL_ONCE ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    int rc = file->real->pMethods->xWrite(file->real, from, n, at);
    if (rc == SQLITE_OK)
        add_pending(file->node, from, (uint64_t)at, (uint64_t)n, false);
    return rc;
}

static int x_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct file *file = file_of(f);
    if (strike(false, false))
        return SQLITE_IOERR_TRUNCATE;
    int rc = file->real->pMethods->xTruncate(file->real, size);
    if (rc == SQLITE_OK)
        add_pending(file->node, NULL, 0, (uint64_t)size, false);
    return rc;
}

static int x_sync(sqlite3_file *f, int flags)
{
    struct file *file = file_of(f);
    (void)flags;
    if (strike(false, false))
        return SQLITE_IOERR_FSYNC;
    if (file->node->fresh)
        settle_deletions();
    settle(file->node);
    file->node->named = true;
    file->node->fresh = false;
    return SQLITE_OK;
}

static int x_file_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return file_of(f)->real->pMethods->xFileSize(file_of(f)->real, size);
}

static int x_lock(sqlite3_file *f, int level)
{
    return file_of(f)->real->pMethods->xLock(file_of(f)->real, level);
}

static int x_unlock(sqlite3_file *f, int level)
{
    return file_of(f)->real->pMethods->xUnlock(file_of(f)->real, level);
}

static int x_check_reserved(sqlite3_file *f, int *out)
{
    return file_of(f)->real->pMethods->xCheckReservedLock(file_of(f)->real, out);
}

static int x_file_control(sqlite3_file *f, int op, void *arg)
{
    if (op == SQLITE_FCNTL_SIZE_HINT || op == SQLITE_FCNTL_CHUNK_SIZE)
        return SQLITE_OK; /* would write behind our back */
    return file_of(f)->real->pMethods->xFileControl(file_of(f)->real, op, arg);
}

static int x_sector_size(sqlite3_file *f)
{
    return file_of(f)->real->pMethods->xSectorSize(file_of(f)->real);
}

static int x_characteristics(sqlite3_file *f)
{
    return file_of(f)->real->pMethods->xDeviceCharacteristics(file_of(f)->real);
}

static int x_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return file_of(f)->real->pMethods->xShmMap(file_of(f)->real, page, size, extend, out);
}

static int x_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return file_of(f)->real->pMethods->xShmLock(file_of(f)->real, offset, n, flags);
}

static void x_shm_barrier(sqlite3_file *f)
{
    file_of(f)->real->pMethods->xShmBarrier(file_of(f)->real);
}

static int x_shm_unmap(sqlite3_file *f, int remove)
{
    return file_of(f)->real->pMethods->xShmUnmap(file_of(f)->real, remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = x_close,
    .xRead = x_read,
    .xWrite = x_write,
    .xTruncate = x_truncate,
    .xSync = x_sync,
    .xFileSize = x_file_size,
    .xLock = x_lock,
    .xUnlock = x_unlock,
    .xCheckReservedLock = x_check_reserved,
    .xFileControl = x_file_control,
    .xSectorSize = x_sector_size,
    .xDeviceCharacteristics = x_characteristics,
    .xShmMap = x_shm_map,
    .xShmLock = x_shm_lock,
    .xShmBarrier = x_shm_barrier,
    .xShmUnmap = x_shm_unmap,
};

static int x_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *f, int flags, int *out_flags)
{
    struct file *file = file_of(f);
    (void)vfs;
    memset(file, 0, sizeof *file);
    file->real = (sqlite3_file *)(file + 1);
    if (!name) /* a temporary file dies with the process */
        return beneath->xOpen(beneath, name, f, flags, out_flags);
    struct node *node = node_of(name);
    bool creates = (flags & SQLITE_OPEN_CREATE) && access(name, F_OK) != 0;
    if (creates && strike(false, true))
        return SQLITE_CANTOPEN;
    node->fresh = node->fresh || creates;
    int rc = beneath->xOpen(beneath, name, file->real, flags, out_flags);
    file->node = node;
    if (rc == SQLITE_OK)
        file->base.pMethods = &methods;
    return rc;
}

static int x_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
    (void)vfs;
    struct node *node = node_of(name);
    if (strike(false, false))
        return SQLITE_IOERR_DELETE;
    int rc = beneath->xDelete(beneath, name, 0);
    if (rc == SQLITE_OK)
        add_pending(node, NULL, 0, 0, true);
    if (rc == SQLITE_OK && sync_directory)
        settle(node);
    return rc;
}

static int x_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)vfs;
    return beneath->xAccess(beneath, name, flags, out);
}

static int x_full_path(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
    (void)vfs;
    return beneath->xFullPathname(beneath, name, n, out);
}

static int x_randomness(sqlite3_vfs *vfs, int n, char *out)
{
    (void)vfs;
    for (int i = 0; i < n; i++)
        out[i] = (char)next_random();
    return n;
}

static int x_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    return beneath->xSleep(beneath, microseconds);
}

static int x_current_time(sqlite3_vfs *vfs, double *out)
{
    (void)vfs;
    return beneath->xCurrentTime(beneath, out);
}

void lossy_install(void)
{
    sqlite3_initialize();
    beneath = sqlite3_vfs_find(NULL);
    must(beneath != NULL);
    lossy = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = (int)sizeof(struct file) + beneath->szOsFile,
        .mxPathname = beneath->mxPathname,
        .zName = "lossy",
        .xOpen = x_open,
        .xDelete = x_delete,
        .xAccess = x_access,
        .xFullPathname = x_full_path,
        .xRandomness = x_randomness,
        .xSleep = x_sleep,
        .xCurrentTime = x_current_time,
    };
    must(sqlite3_vfs_register(&lossy, 1) == SQLITE_OK);
}

static void forget_all(void)
{
    for (struct node *node = nodes, *next; node; node = next) {
        next = node->next;
        drop_pending(node);
        free(node->durable);
        free(node->path);
        free(node);
    }
    nodes = NULL;
}

void lossy_go_on(enum lossy_fault kind, uint64_t at)
{
    fault = kind;
    fault_at = at;
    operations = largest_burst = 0;
    struck = false;
}

void lossy_begin(enum lossy_fault kind, uint64_t at, uint64_t seed)
{
    forget_all();
    lossy_go_on(kind, at);
    random_state = seed * 0x9e3779b97f4a7c15ULL + 0x1234567;
}

uint64_t lossy_operations(void)
{
    return operations;
}

bool lossy_struck(void)
{
    return struck;
}

uint64_t lossy_largest_burst(void)
{
    return largest_burst;
}

static void put_file(const struct node *node)
{
    unlink(node->path);
    if (!node->named)
        return;
    int fd = open(node->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0 && (node->size == 0 || write(fd, node->durable, node->size) == (ssize_t)node->size));
    close(fd);
}

void lossy_reboot(void)
{
    /* all, none, or some of what was not synced, the last the most often */
    unsigned regime = (unsigned)(next_random() % 6);
    for (struct node *node = nodes; node; node = node->next) {
        /* a name that was never synced may have reached the disk all the same */
        if (!node->named && node->first && (regime == 0 || next_random() & 1))
            node->named = true;
        for (struct pending *p = node->first; p; p = p->next) {
            if (regime == 0 || (regime > 1 && next_random() & 1))
                apply(node, p, regime == 0 || p->deletion || next_random() & 1);
            else if (p->deletion)
                break; /* the old file kept the name: what was written to its successor is nowhere */
        }
        drop_pending(node);
        put_file(node);
    }
    lossy_begin(LOSSY_NONE, 0, random_state);
}
