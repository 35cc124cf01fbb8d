#include "tui/sandbox/sandbox.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tui/sandbox/bubblewrap.h"

#define NOBODY 65534
/* Of what bwrap says of itself; a program's standard error goes the same way and counts for nothing. */
#define MESSAGES 4096

/* What comes through a pipe; beyond its capacity it is counted and forgotten. */
struct stream {
    int fd;
    char *bytes;
    size_t length, capacity;
    bool more; /* than capacity has come */
};

struct run {
    const struct kg_sandbox_program *program;
    int text_fd, input_fd;
    int output_end, message_end, status_end; /* that bwrap writes to */
    struct stream output, messages, status;
    pid_t bwrap;
    int pidfd;
    double began;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Never one of the standard streams, so that making those in the child overwrites none of the others. */
static int above_standard(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return moved;
}

static int memory_file(const char *bytes, size_t length)
{
    int fd = above_standard(memfd_create("kedge", MFD_CLOEXEC));
    for (size_t done = 0; fd >= 0 && done < length;) {
        ssize_t n = pwrite(fd, bytes + done, length - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            close_fd(&fd);
        else
            done += (size_t)n;
    }
    return fd;
}

static bool open_stream(struct stream *stream, size_t capacity, int *write_end)
{
    int ends[2];
    stream->bytes = malloc(capacity + 1);
    stream->capacity = capacity;
    if (!stream->bytes || pipe2(ends, O_CLOEXEC) != 0)
        return false;
    stream->fd = above_standard(ends[0]);
    *write_end = above_standard(ends[1]);
    return stream->fd >= 0 && *write_end >= 0 && fcntl(stream->fd, F_SETFL, O_NONBLOCK) == 0;
}

/* Takes what is there; at the end of the stream closes it. */
static void take(struct stream *stream)
{
    char bytes[65536];
    for (unsigned turn = 0; stream->fd >= 0 && turn < 16; turn++) {
        ssize_t n = read(stream->fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close_fd(&stream->fd);
            return;
        }
        size_t room = stream->capacity - stream->length;
        size_t kept = (size_t)n < room ? (size_t)n : room;
        memcpy(stream->bytes + stream->length, bytes, kept);
        stream->length += kept;
        stream->more |= kept < (size_t)n;
    }
}

static bool open_run(struct run *run)
{
    const struct kg_sandbox_program *program = run->program;
    run->text_fd = memory_file(program->text, program->length);
    run->input_fd = memory_file(program->input, program->input_length);
    return run->text_fd >= 0 && run->input_fd >= 0 && open_stream(&run->output, program->limits.output, &run->output_end) &&
           open_stream(&run->messages, MESSAGES, &run->message_end) && open_stream(&run->status, MESSAGES, &run->status_end);
}

static void close_run(struct run *run)
{
    int *const fds[] = { &run->text_fd, &run->input_fd, &run->output_end, &run->message_end, &run->status_end,
                         &run->output.fd, &run->messages.fd, &run->status.fd, &run->pidfd };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        close_fd(fds[i]);
    free(run->output.bytes);
    free(run->messages.bytes);
    free(run->status.bytes);
}

/* Between fork and exec, with other threads gone: only what a signal handler may call, and system calls in place of
 * functions that would tell other threads. Returns what went wrong. */
static const char *become_bwrap(const struct run *run, const struct kg_bubblewrap *bwrap, pid_t parent)
{
    static char *const nothing[] = { NULL };
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < 32; number++)
        signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (geteuid() == 0 && (syscall(SYS_setgroups, 0, NULL) != 0 || syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) != 0 ||
                           syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY) != 0))
        return "root cannot become nobody here";
    if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent || chdir("/") != 0)
        return "it cannot be set apart";
    if (dup2(run->input_fd, 0) < 0 || dup2(run->output_end, 1) < 0 || dup2(run->message_end, 2) < 0)
        return "it cannot be given its streams";
    /* nothing of kedge's is inherited but these */
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0 || fcntl(run->text_fd, F_SETFD, 0) != 0 || fcntl(run->status_end, F_SETFD, 0) != 0)
        return "open files cannot be kept from it";
    execve(bwrap->path, (char *const *)bwrap->argv, nothing);
    return "it cannot be executed";
}

static enum kg_status start(struct run *run, struct kg_error *err)
{
    struct kg_bubblewrap bwrap;
    enum kg_status status = kg_bubblewrap(run->program, run->text_fd, run->status_end, &bwrap, err);
    if (status != KG_OK)
        return status;
    pid_t parent = getpid();
    run->bwrap = fork();
    if (run->bwrap == 0) {
        const char *text = become_bwrap(run, &bwrap, parent);
        _exit(write(run->message_end, text, strlen(text)) < 0 ? 126 : 127);
    }
    if (run->bwrap < 0)
        return kg_fail(err, KG_ERR_IO, "cannot start %s: %s", bwrap.path, strerror(errno));
    close_fd(&run->output_end);
    close_fd(&run->message_end);
    close_fd(&run->status_end);
    run->pidfd = pidfd_open(run->bwrap, 0);
    return run->pidfd >= 0 ? KG_OK : kg_fail(err, KG_ERR_UNSUPPORTED, "cannot watch %s: %s; a kernel of 5.11 or newer is needed", bwrap.path, strerror(errno));
}

enum watched { ENDED, TOO_LONG, TOO_MUCH, STOPPED };

/* Until bwrap has ended, or there is a reason to end it. */
static enum watched watch(struct run *run)
{
    double deadline = run->began + run->program->limits.wall_s;
    for (;;) {
        struct pollfd fds[] = { { run->pidfd, POLLIN, 0 }, { run->output.fd, POLLIN, 0 }, { run->messages.fd, POLLIN, 0 }, { run->status.fd, POLLIN, 0 } };
        double left = deadline - now_s();
        if (left <= 0)
            return TOO_LONG;
        poll(fds, sizeof fds / sizeof *fds, left < 0.1 ? (int)(left * 1000) + 1 : 100);
        take(&run->output);
        take(&run->messages);
        take(&run->status);
        if (run->output.more)
            return TOO_MUCH;
        if (fds[0].revents)
            return ENDED;
        if (run->program->stop && atomic_load(run->program->stop))
            return STOPPED;
    }
}

/* A number that bwrap told, -1 where it did not. */
static int told(struct run *run, const char *name)
{
    int number = -1;
    run->status.bytes[run->status.length] = '\0';
    for (const char *at = run->status.bytes; at && *at;) { /* one object after another */
        const char *end = NULL;
        cJSON *object = cJSON_ParseWithOpts(at, &end, false);
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
        if (cJSON_IsNumber(item))
            number = item->valueint;
        at = object ? end + strspn(end, " \n") : NULL;
        cJSON_Delete(object);
    }
    return number;
}

static pid_t wait_for(pid_t child, int options)
{
    pid_t result;
    do
        result = waitpid(child, NULL, options);
    while (result < 0 && errno == EINTR);
    return result;
}

/* bwrap ends, and with it the first process inside, whose end is that of all others there. kedge inherits it (being the
 * subreaper) and waits for it, so that nothing goes on behind its back. */
static void end(struct run *run)
{
    kill(run->bwrap, SIGKILL);
    wait_for(run->bwrap, 0);
    take(&run->status);
    pid_t first = told(run, "child-pid");
    if (first <= 0 || wait_for(first, WNOHANG) != 0)
        return;
    kill(first, SIGKILL);
    wait_for(first, 0);
}

static enum kg_status no_sandbox(struct run *run, struct kg_error *err)
{
    char *text = run->messages.bytes;
    text[run->messages.length] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return kg_fail(err, KG_ERR_UNSUPPORTED,
                   "tests run in a sandbox only, and bwrap cannot set one up here: %s; allow unprivileged user namespaces "
                   "(sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone; in a container: its seccomp profile)",
                   text[0] ? text : "it says nothing");
}

static enum kg_status judge(struct run *run, enum watched watched, struct kg_sandbox_verdict *out, struct kg_error *err)
{
    int code = told(run, "exit-code");
    if (watched == STOPPED)
        return kg_fail(err, KG_ERR_CANCELLED, "stopped while a program ran");
    if (watched == ENDED && code < 0)
        return no_sandbox(run, err);
    out->status = code > 128 && code < 128 + 65 ? code - 128 : code;
    if (watched == TOO_LONG || (watched == ENDED && code == 128 + SIGXCPU))
        out->end = KG_SANDBOX_TIME;
    else if (watched == TOO_MUCH || run->output.more)
        out->end = KG_SANDBOX_OUTPUT;
    else if (code == 128 + SIGKILL) /* the kernel's for too much time comes a second behind the limit */
        out->end = out->seconds > run->program->limits.cpu_s ? KG_SANDBOX_TIME : KG_SANDBOX_MEMORY;
    else
        out->end = out->status != code ? KG_SANDBOX_KILLED : KG_SANDBOX_EXITED;
    run->output.bytes[run->output.length] = '\0';
    out->output = run->output.bytes;
    out->length = run->output.length;
    run->output.bytes = NULL;
    return KG_OK;
}

enum kg_status kg_sandbox_run(const struct kg_sandbox_program *program, struct kg_sandbox_verdict *out, struct kg_error *err)
{
    struct run run = { .program = program, .text_fd = -1, .input_fd = -1, .output_end = -1, .message_end = -1, .status_end = -1,
                       .output.fd = -1, .messages.fd = -1, .status.fd = -1, .pidfd = -1, .began = now_s() };
    int reaper = 0;
    enum watched watched = ENDED;
    memset(out, 0, sizeof *out);
    if (!open_run(&run)) {
        kg_fail(err, KG_ERR_IO, "cannot prepare a sandbox: %s", strerror(errno));
        close_run(&run);
        return KG_ERR_IO;
    }
    prctl(PR_GET_CHILD_SUBREAPER, &reaper);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    enum kg_status status = start(&run, err);
    if (status == KG_OK)
        watched = watch(&run);
    out->seconds = now_s() - run.began;
    if (run.bwrap > 0)
        end(&run);
    take(&run.output);
    take(&run.messages);
    prctl(PR_SET_CHILD_SUBREAPER, reaper);
    if (status == KG_OK)
        status = judge(&run, watched, out, err);
    close_run(&run);
    return status;
}

enum kg_status kg_sandbox_check(const char *const *interpreter, struct kg_error *err)
{
    struct kg_sandbox_program nothing = { .interpreter = interpreter, .text = "", .input = "",
                                          .limits = { .wall_s = 60, .cpu_s = 30, .memory = (uint64_t)1 << 30, .processes = 4, .files = 1 << 20, .output = 4096 } };
    struct kg_sandbox_verdict verdict = { 0 };
    if (access(interpreter[0], X_OK) != 0)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "tests are run by %s, which is not here; install it (apt-get install python3)", interpreter[0]);
    enum kg_status status = kg_sandbox_run(&nothing, &verdict, err);
    if (status != KG_OK)
        return status;
    free(verdict.output);
    if (verdict.end == KG_SANDBOX_EXITED && verdict.status == 0)
        return KG_OK;
    return kg_fail(err, KG_ERR_UNSUPPORTED, "%s does not run in a sandbox here (status %d)", interpreter[0], verdict.status);
}
