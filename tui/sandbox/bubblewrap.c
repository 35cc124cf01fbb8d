#include "tui/sandbox/bubblewrap.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRLIMIT "/usr/bin/prlimit"
#define PROGRAM "/program"

struct writing {
    struct kg_bubblewrap *to;
    size_t count, used;
    bool full;
};

static void put(struct writing *w, const char *argument)
{
    if (w->count + 1 < KG_BUBBLEWRAP_ARGUMENTS)
        w->to->argv[w->count++] = argument;
    else
        w->full = true;
    w->to->argv[w->count] = NULL;
}

static void put_all(struct writing *w, const char *const *arguments)
{
    for (; *arguments; arguments++)
        put(w, *arguments);
}

__attribute__((format(printf, 2, 3))) static void put_made(struct writing *w, const char *format, ...)
{
    size_t room = sizeof w->to->text - w->used;
    char *at = w->to->text + w->used;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(at, room, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room) {
        w->full = true;
        return;
    }
    w->used += (size_t)n + 1;
    put(w, at);
}

/* /bin, /lib and their like: links to /usr in Debian, folders elsewhere. */
static void put_root(struct writing *w)
{
    static const char *const names[] = { "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat st;
        char target[64];
        if (lstat(names[i], &st) != 0)
            continue;
        ssize_t n = S_ISLNK(st.st_mode) ? readlink(names[i], target, sizeof target - 1) : 0;
        if (n > 0) {
            target[n] = '\0';
            put(w, "--symlink");
            put_made(w, "%s", target);
            put(w, names[i]);
        } else if (S_ISDIR(st.st_mode)) {
            put(w, "--ro-bind");
            put(w, names[i]);
            put(w, names[i]);
        }
    }
}

/* Set inside: the number of processes counts for a user, and outside of the sandbox he has others. bwrap's own one is
 * counted with them. */
static void put_limits(struct writing *w, const struct kg_sandbox_limits *limits)
{
    put(w, PRLIMIT);
    put_made(w, "--as=%" PRIu64, limits->memory);
    put_made(w, "--cpu=%" PRIu32 ":%" PRIu32, limits->cpu_s, limits->cpu_s + 1);
    put_made(w, "--nproc=%" PRIu32, limits->processes + 1);
    put_made(w, "--fsize=%" PRIu64, limits->files);
    put(w, "--nofile=64");
    put(w, "--core=0");
}

static const char *find_bwrap(void)
{
    static const char *const places[] = { "/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap" };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

enum kg_status kg_bubblewrap(const struct kg_sandbox_program *program, int program_fd, int status_fd, struct kg_bubblewrap *out, struct kg_error *err)
{
    static const char *const apart[] = { "bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session",
                                         "--clearenv", "--hostname", "sandbox", "--ro-bind", "/usr", "/usr", NULL };
    static const char *const closed[] = { "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--", NULL };
    struct writing w = { .to = out };
    out->path = find_bwrap();
    if (!out->path)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "tests run in a sandbox only, and bubblewrap (bwrap) is not here; install it: apt-get install bubblewrap");
    if (access(PRLIMIT, X_OK) != 0)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "tests run in a sandbox only, and " PRLIMIT " is not here; install it: apt-get install util-linux");
    put_all(&w, apart);
    put_root(&w);
    put(&w, "--dev");
    put(&w, "/dev");
    put(&w, "--size");
    put_made(&w, "%" PRIu64, program->limits.files);
    put(&w, "--tmpfs");
    put(&w, "/tmp");
    put(&w, "--ro-bind-data");
    put_made(&w, "%d", program_fd);
    put(&w, PROGRAM);
    put(&w, "--json-status-fd");
    put_made(&w, "%d", status_fd);
    put_all(&w, closed);
    put_limits(&w, &program->limits);
    put_all(&w, program->interpreter);
    put(&w, PROGRAM);
    return w.full ? kg_fail(err, KG_ERR_RANGE, "the interpreter %s has too many arguments", program->interpreter[0]) : KG_OK;
}
