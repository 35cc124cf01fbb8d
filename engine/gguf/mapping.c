#include "engine/gguf/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the signal action reads. Ranges stay in the list for good and are taken again after a close, so a walk over the
 * list never meets freed memory. `turn` is odd while the range changes: a reader that sees it odd or different
 * afterwards has not seen a range (a sequence lock). */
struct range {
    struct range *next;
    atomic_uint turn;
    atomic_uintptr_t start;
    atomic_size_t length;
    atomic_bool lost;
    bool taken; /* under `registry` */
};

struct kg_mapping {
    uint8_t *bytes;
    size_t length;
    struct range *range;
};

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct range *) ranges;
static struct sigaction before;
static uintptr_t page_bytes;

static struct range *range_with(uintptr_t address)
{
    for (struct range *r = atomic_load(&ranges); r; r = r->next) {
        unsigned turn = atomic_load(&r->turn);
        uintptr_t start = atomic_load(&r->start);
        size_t length = atomic_load(&r->length);
        if (turn % 2 == 0 && address >= start && address - start < length && atomic_load(&r->turn) == turn)
            return r;
    }
    return NULL;
}

/* As if ours had never been installed. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler == SIG_IGN && info->si_code <= 0) {
        return; /* sent by a process, not caused by an access */
    } else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
        signal(number, SIG_DFL);
        raise(number); /* delivered when this action returns */
    } else {
        before.sa_handler(number);
    }
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int kept = errno;
    uintptr_t address = (uintptr_t)info->si_addr;
    struct range *range = info->si_code > 0 ? range_with(address) : NULL;
    uintptr_t page = address & ~(page_bytes - 1);
    /* the bare system call: nothing of the C library has to be safe in a signal's action */
    if (range && syscall(SYS_mmap, page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (long)page)
        atomic_store(&range->lost, true);
    else
        pass_on(number, info, context);
    errno = kept;
}

/* The page size is known and the old action kept before ours can run. */
static int install_failed;
static void install(void)
{
    struct sigaction ours = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&ours.sa_mask);
    if (sigaction(SIGBUS, NULL, &before) != 0 || sigaction(SIGBUS, &ours, NULL) != 0)
        install_failed = errno;
}

static void range_set(struct range *range, uintptr_t start, size_t length)
{
    atomic_fetch_add(&range->turn, 1);
    atomic_store(&range->start, start);
    atomic_store(&range->length, length);
    atomic_store(&range->lost, false);
    atomic_fetch_add(&range->turn, 1);
}

static struct range *range_take(const uint8_t *bytes, size_t length)
{
    pthread_mutex_lock(&registry);
    struct range *range = atomic_load(&ranges);
    while (range && range->taken)
        range = range->next;
    if (!range && (range = calloc(1, sizeof *range))) {
        range->next = atomic_load(&ranges);
        atomic_store(&ranges, range);
    }
    if (range) {
        range->taken = true;
        range_set(range, (uintptr_t)bytes, length);
    }
    pthread_mutex_unlock(&registry);
    return range;
}

static void range_leave(struct range *range)
{
    pthread_mutex_lock(&registry);
    range_set(range, 0, 0);
    range->taken = false;
    pthread_mutex_unlock(&registry);
}

static enum kg_status map_file(int fd, const char *path, struct kg_mapping *mapping, struct kg_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return kg_fail(err, KG_ERR_IO, "cannot examine %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is not a regular file; name a model file", path);
    if (st.st_size <= 0)
        return kg_fail(err, KG_ERR_FORMAT, "%s is empty; fetch it again", path);
    if ((uintmax_t)st.st_size > SIZE_MAX / 2)
        return kg_fail(err, KG_ERR_RANGE, "%s is too large to be mapped on this system", path);
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return kg_fail(err, errno == ENOMEM ? KG_ERR_NOMEM : KG_ERR_IO, "cannot map %s: %s; copy it to a local disk", path,
                       strerror(errno));
    mapping->bytes = bytes;
    mapping->length = (size_t)st.st_size;
    /* whole pages: wide loads may touch bytes behind the end */
    mapping->range = range_take(mapping->bytes, (mapping->length + page_bytes - 1) & ~(size_t)(page_bytes - 1));
    return mapping->range ? KG_OK : kg_fail_nomem(err, "mapping a file");
}

enum kg_status kg_mapping_open(const char *path, struct kg_mapping **out, struct kg_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *out = NULL;
    pthread_once(&once, install);
    if (install_failed)
        return kg_fail(err, KG_ERR_IO, "cannot watch over mapped files: %s", strerror(install_failed));
    /* O_NONBLOCK: a named pipe must be refused, not waited for */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return kg_fail(err, errno == ENOENT ? KG_ERR_NOT_FOUND : KG_ERR_IO, "cannot open %s: %s; check the name and its permissions",
                       path, strerror(errno));
    struct kg_mapping *mapping = calloc(1, sizeof *mapping);
    enum kg_status status = mapping ? map_file(fd, path, mapping, err) : kg_fail_nomem(err, "mapping a file");
    close(fd);
    if (status != KG_OK) {
        kg_mapping_close(mapping);
        return status;
    }
    *out = mapping;
    return KG_OK;
}

void kg_mapping_close(struct kg_mapping *mapping)
{
    if (!mapping)
        return;
    if (mapping->range)
        range_leave(mapping->range);
    if (mapping->bytes)
        munmap(mapping->bytes, mapping->length);
    free(mapping);
}

const uint8_t *kg_mapping_bytes(const struct kg_mapping *mapping)
{
    return mapping->bytes;
}

size_t kg_mapping_length(const struct kg_mapping *mapping)
{
    return mapping->length;
}

bool kg_mapping_lost(const struct kg_mapping *mapping)
{
    return atomic_load(&mapping->range->lost);
}

void kg_mapping_forget(const struct kg_mapping *mapping, const void *bytes, size_t length)
{
    size_t from = (size_t)((const uint8_t *)bytes - mapping->bytes);
    size_t begin = from & ~(size_t)(page_bytes - 1);
    /* Only advice: where it is refused, the pages stay. */
    (void)madvise(mapping->bytes + begin, from + length - begin, MADV_DONTNEED);
}
