#include "repo-index/ctags.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/paths.h"

#define START_SECONDS 10.0
#define TEXT_SECONDS 6.0
#define OUTPUT_MAX ((size_t)16 << 20) /* bytes about one text */
#define MEMORY_MAX ((rlim_t)1 << 30)
#define FAILURES_MAX 20 /* texts that end the process before it is given up */
#define NAME_TAIL 100   /* bytes of a file's name that are passed on */

struct kg_ctags {
    char program[KG_PATH_MAX]; /* "" = there is none */
    bool no_sandbox;
    pid_t pid; /* 0 = not running */
    int in, out;
    char *lines; /* read and not yet taken */
    size_t used, capacity;
    unsigned failures;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool find_program(const char *name, char out[KG_PATH_MAX])
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t n = strcspn(path, ":");
        struct stat st;
        if (path[0] == '/' && snprintf(out, KG_PATH_MAX, "%.*s/%s", (int)(n < KG_PATH_MAX ? n : KG_PATH_MAX), path, name) < KG_PATH_MAX && stat(out, &st) == 0 &&
            S_ISREG(st.st_mode) && access(out, X_OK) == 0)
            return true;
        path += n;
        path += *path == ':';
    }
    out[0] = '\0';
    return false;
}

struct kg_ctags *kg_ctags_new(void)
{
    struct kg_ctags *ctags = calloc(1, sizeof *ctags);
    if (!ctags)
        return NULL;
    if (!find_program("ctags-universal", ctags->program))
        find_program("ctags", ctags->program);
    return ctags;
}

static void stop(struct kg_ctags *ctags)
{
    if (!ctags->pid)
        return;
    kill(ctags->pid, SIGKILL);
    while (waitpid(ctags->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(ctags->in);
    close(ctags->out);
    ctags->pid = 0;
    ctags->used = 0;
}

void kg_ctags_free(struct kg_ctags *ctags)
{
    if (!ctags)
        return;
    stop(ctags);
    free(ctags->lines);
    free(ctags);
}

bool kg_ctags_present(const struct kg_ctags *ctags)
{
    return ctags->program[0] && ctags->failures < FAILURES_MAX;
}

int kg_ctags_process(const struct kg_ctags *ctags)
{
    return ctags->pid ? ctags->pid : -1;
}

/* Apart from the terminal's signals, in a directory without configuration. */
static bool spawn(struct kg_ctags *ctags, int in, int out)
{
    char mode[] = "--_interactive=sandbox";
    const char *const arguments[] = { "ctags", "--options=NONE", mode, "--fields=NnKesZ", "--kinds-C=+p", "--kinds-C++=+p", NULL };
    static const char *const environment[] = { "LC_ALL=C", NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    if (ctags->no_sandbox)
        memcpy(mode + sizeof "--_interactive=" - 1, "default", sizeof "default");
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    if (posix_spawn_file_actions_init(&actions) != 0)
        return false;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return false;
    }
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    bool ready = posix_spawn_file_actions_adddup2(&actions, in, 0) == 0 && posix_spawn_file_actions_adddup2(&actions, out, 1) == 0 &&
                 posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) == 0 && posix_spawn_file_actions_addchdir_np(&actions, "/") == 0;
    bool started = ready && posix_spawn(&ctags->pid, ctags->program, &actions, &attributes, (char *const *)arguments, (char *const *)environment) == 0;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (!started)
        ctags->pid = 0;
    return started;
}

static void limit(pid_t pid)
{
    const struct rlimit memory = { MEMORY_MAX, MEMORY_MAX }, none = { 0, 0 };
    prlimit(pid, RLIMIT_AS, &memory, NULL);
    prlimit(pid, RLIMIT_FSIZE, &none, NULL);
    prlimit(pid, RLIMIT_CORE, &none, NULL);
    setpriority(PRIO_PROCESS, (id_t)pid, 5);
}

/* A socket to write to, since a closed one can be told without a signal, and a pipe to read from. */
static bool start(struct kg_ctags *ctags)
{
    int to[2], from[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, to) != 0)
        return false;
    if (pipe2(from, O_CLOEXEC) != 0) {
        close(to[0]);
        close(to[1]);
        return false;
    }
    bool started = spawn(ctags, to[1], from[1]);
    close(to[1]);
    close(from[1]);
    if (!started) {
        close(to[0]);
        close(from[0]);
        return false;
    }
    limit(ctags->pid);
    ctags->in = to[0];
    ctags->out = from[0];
    fcntl(ctags->out, F_SETFL, O_NONBLOCK);
    ctags->used = 0;
    return true;
}

static bool read_more(struct kg_ctags *ctags)
{
    if (ctags->used == ctags->capacity) {
        size_t capacity = ctags->capacity ? ctags->capacity * 2 : 1 << 16;
        char *bigger = capacity <= OUTPUT_MAX ? realloc(ctags->lines, capacity) : NULL;
        if (!bigger)
            return false;
        ctags->lines = bigger;
        ctags->capacity = capacity;
    }
    ssize_t n = read(ctags->out, ctags->lines + ctags->used, ctags->capacity - ctags->used);
    if (n > 0)
        ctags->used += (size_t)n;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

struct request {
    const char *bytes[2]; /* a command and what it is about */
    size_t left[2];
};

static bool write_more(struct kg_ctags *ctags, struct request *request)
{
    int part = request->left[0] ? 0 : 1;
    ssize_t n = send(ctags->in, request->bytes[part], request->left[part], MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
        request->bytes[part] += n;
        request->left[part] -= (size_t)n;
    }
    return n >= 0 || errno == EAGAIN || errno == EINTR;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    return text ? text : "";
}

static uint32_t number_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    double value = cJSON_IsNumber(item) ? item->valuedouble : 0;
    return value >= 1 && value < 1e9 ? (uint32_t)value : 0;
}

struct answer {
    void (*each)(void *ctx, const struct kg_ctag *tag);
    void *ctx;
    const char *last; /* _type of the line that ends the answer */
    bool taken; /* some tag */
    bool ended;
};

static void take_line(struct answer *answer, const char *line, size_t length)
{
    cJSON *object = cJSON_ParseWithLength(line, length);
    const char *type = text_of(object, "_type");
    if (strcmp(type, answer->last) == 0) {
        answer->ended = true;
    } else if (answer->each && strcmp(type, "tag") == 0) {
        struct kg_ctag tag = { .name = text_of(object, "name"), .kind = text_of(object, "kind"), .scope = text_of(object, "scope"), .scope_kind = text_of(object, "scopeKind"),
                               .line = number_of(object, "line"), .end = number_of(object, "end") };
        if (tag.name[0] && tag.kind[0] && tag.line)
            answer->each(answer->ctx, &tag);
        answer->taken = true;
    }
    cJSON_Delete(object);
}

static void take_lines(struct kg_ctags *ctags, struct answer *answer)
{
    size_t taken = 0;
    char *feed;
    while (!answer->ended && (feed = memchr(ctags->lines + taken, '\n', ctags->used - taken)) != NULL) {
        take_line(answer, ctags->lines + taken, (size_t)(feed - ctags->lines) - taken);
        taken = (size_t)(feed - ctags->lines) + 1;
    }
    memmove(ctags->lines, ctags->lines + taken, ctags->used - taken);
    ctags->used -= taken;
}

/* Writes the request and takes lines until the last one. */
static bool converse(struct kg_ctags *ctags, struct request *request, struct answer *answer, double allowed)
{
    double deadline = seconds() + allowed;
    size_t said = 0;
    while (!answer->ended) {
        struct pollfd polled[2] = { { .fd = ctags->out, .events = POLLIN }, { .fd = ctags->in, .events = POLLOUT } };
        bool writing = request->left[0] + request->left[1] > 0;
        double left = deadline - seconds();
        if (left <= 0 || said > OUTPUT_MAX)
            return false;
        int ready = poll(polled, writing ? 2 : 1, (int)(left * 1000) + 1);
        if (ready < 0 && errno != EINTR)
            return false;
        if (ready <= 0)
            continue;
        size_t before = ctags->used;
        if (writing && polled[1].revents && !write_more(ctags, request))
            return false;
        if (polled[0].revents && !read_more(ctags))
            return false;
        if (ctags->used > before) {
            said += ctags->used - before;
            take_lines(ctags, answer);
        }
    }
    return request->left[0] + request->left[1] == 0;
}

/* Waits until it says what it is: other programs of that name do not know the option and end. */
static bool ensure_running(struct kg_ctags *ctags)
{
    while (!ctags->pid) {
        struct request nothing = { .left = { 0, 0 } };
        struct answer greeting = { .last = "program" };
        if (start(ctags) && converse(ctags, &nothing, &greeting, START_SECONDS))
            return true;
        stop(ctags);
        if (ctags->no_sandbox)
            return false;
        ctags->no_sandbox = true;
    }
    return true;
}

/* What ctags knows a language by, without what JSON or a terminal could trip over. */
static void plain_name(const char *path, char out[NAME_TAIL + 1])
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t n = strlen(name);
    name += n > NAME_TAIL ? n - NAME_TAIL : 0;
    size_t i = 0;
    for (; name[i]; i++) {
        char c = name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == '+';
        out[i] = (char)(plain ? c : '_');
    }
    out[i] = '\0';
}

enum kg_ctags_outcome kg_ctags_read(struct kg_ctags *ctags, const char *path, const char *text, size_t length, void (*each)(void *ctx, const struct kg_ctag *tag), void *ctx)
{
    char name[NAME_TAIL + 1];
    char command[NAME_TAIL + 100];
    if (!kg_ctags_present(ctags))
        return KG_CTAGS_MISSING;
    if (length == 0) /* ctags takes a size of 0 for none, and looks for the file */
        return KG_CTAGS_DONE;
    plain_name(path, name);
    int n = snprintf(command, sizeof command, "{\"command\":\"generate-tags\",\"filename\":\"%s\",\"size\":%zu}\n", name, length);
    bool used = ctags->pid != 0; /* it may have been ended since, for no fault of this text */
    for (int tries = 0; tries < 1 + used; tries++) {
        if (!ensure_running(ctags)) {
            ctags->program[0] = '\0';
            return KG_CTAGS_MISSING;
        }
        struct request request = { .bytes = { command, text }, .left = { (size_t)n, length } };
        struct answer answer = { .each = each, .ctx = ctx, .last = "completed" };
        double begin = seconds();
        if (converse(ctags, &request, &answer, TEXT_SECONDS))
            return KG_CTAGS_DONE;
        stop(ctags);
        if (answer.taken || seconds() - begin > TEXT_SECONDS)
            break;
    }
    ctags->failures++;
    return KG_CTAGS_FAILED;
}
