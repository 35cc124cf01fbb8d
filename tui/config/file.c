/* Reading kedge.conf and .kedge.conf. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repo-index/repo_index.h"
#include "tui/config/lines.h"
#include "tui/config/table.h"

#define REPOSITORY_FILE ".kedge.conf"

struct reading {
    struct kg_config *config;
    const char *path;
    enum kg_speaker speaker;
    int set_in[KG_OPTION_COUNT]; /* lines; 0 = not yet */
    enum kg_status status;
    struct kg_error *err;
};

static void add_notice(struct kg_config *config, const char *text)
{
    char last[KG_ERROR_TEXT];
    size_t at = config->notice_count++;
    const char *kept = text;
    if (at >= KG_CONFIG_NOTICES - 1) {
        at = KG_CONFIG_NOTICES - 1;
        if (config->notice_count > KG_CONFIG_NOTICES) {
            snprintf(last, sizeof last, "and %zu more lines of it were left out", config->notice_count - (KG_CONFIG_NOTICES - 1));
            kept = last;
        }
    }
    char *copy = strdup(kept);
    if (!copy)
        return;
    free(config->notices[at]);
    config->notices[at] = copy;
}

/* A mistake in the person's file ends the reading; one in a repository's is told and left out. */
static bool refuse(void *ctx, int line, const char *why)
{
    struct reading *reading = ctx;
    struct kg_error told;
    kg_fail(&told, KG_ERR_FORMAT, "%s, line %d: %s", reading->path, line, why);
    if (reading->speaker == KG_SPEAKER_REPOSITORY) {
        add_notice(reading->config, told.text);
        return true;
    }
    reading->status = kg_fail(reading->err, KG_ERR_FORMAT, "%s", told.text);
    return false;
}

/* What a repository may set: "[read] budget, [screen] theme". */
static void list_safe(char *out, size_t capacity)
{
    size_t n = 0;
    for (int i = 0; i < KG_OPTION_COUNT && n < capacity; i++) {
        const struct kg_option_row *row = kg_option_row((enum kg_option)i);
        if (row->repository)
            n += (size_t)snprintf(out + n, capacity - n, "%s[%s] %s", n ? ", " : "", row->section, row->name);
    }
}

static bool take(void *ctx, int line, const char *section, const char *name, const char *value)
{
    struct reading *reading = ctx;
    struct kg_error why;
    char text[256], origin[KG_PATH_MAX + 32];
    enum kg_option option = kg_option_find(section, name, &why);
    if (option == KG_OPTION_COUNT)
        return refuse(reading, line, why.text);
    if (reading->speaker == KG_SPEAKER_REPOSITORY && !kg_option_row(option)->repository) {
        char safe[160];
        list_safe(safe, sizeof safe);
        snprintf(text, sizeof text, "a repository cannot set %s; it may set %s", kg_option_full_name(option), safe);
        return refuse(reading, line, text);
    }
    if (reading->set_in[option]) {
        snprintf(text, sizeof text, "%s is set a second time, after line %d; keep one of them", kg_option_full_name(option), reading->set_in[option]);
        return refuse(reading, line, text);
    }
    snprintf(origin, sizeof origin, "%s, line %d", reading->path, line);
    enum kg_status status = kg_config_put(reading->config, option, value, reading->speaker, origin, &why);
    if (status == KG_ERR_USAGE)
        return refuse(reading, line, why.text);
    reading->set_in[option] = line;
    reading->status = status == KG_OK ? KG_OK : kg_fail(reading->err, status, "%s", why.text);
    return status == KG_OK;
}

enum kg_status kg_config_read_text(struct kg_config *config, const char *path, const char *text, size_t length, enum kg_speaker speaker,
                                   struct kg_error *err)
{
    struct reading reading = { .config = config, .path = path, .speaker = speaker, .status = KG_OK, .err = err };
    if (!kg_lines_read(text, length, &(struct kg_line_reader){ .take = take, .refuse = refuse, .ctx = &reading }))
        return kg_fail_nomem(err, "reading the configuration");
    return reading.status;
}

/* A regular file; a repository's may not be a link to somewhere else. KG_ERR_NOT_FOUND: there is none. */
static enum kg_status read_file(const char *path, enum kg_speaker speaker, char **out, size_t *length, struct kg_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (speaker == KG_SPEAKER_REPOSITORY ? O_NOFOLLOW : 0));
    if (fd < 0 && errno == ELOOP)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is a link and was left out; a repository's must be a file", path);
    if (fd < 0)
        return kg_fail(err, errno == ENOENT || errno == ENOTDIR ? KG_ERR_NOT_FOUND : KG_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    enum kg_status status = KG_OK;
    char *bytes = NULL;
    ssize_t n = 0;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        status = kg_fail(err, KG_ERR_UNSUPPORTED, "%s is not a regular file; remove it or put a file there", path);
    else if (!(bytes = malloc(KG_LINES_BYTES + 1)))
        status = kg_fail_nomem(err, "reading the configuration");
    else if ((n = read(fd, bytes, KG_LINES_BYTES + 1)) < 0)
        status = kg_fail(err, KG_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    else if ((size_t)n > KG_LINES_BYTES)
        status = kg_fail(err, KG_ERR_RANGE, "%s has more than %zu bytes; no configuration is that long", path, KG_LINES_BYTES);
    close(fd);
    if (status != KG_OK) {
        free(bytes);
        return status;
    }
    *out = bytes;
    *length = (size_t)n;
    return KG_OK;
}

static enum kg_status load(struct kg_config *config, const char *path, enum kg_speaker speaker, struct kg_error *err)
{
    char *text = NULL;
    size_t length = 0;
    struct kg_error why;
    enum kg_status status = read_file(path, speaker, &text, &length, &why);
    if (status == KG_ERR_NOT_FOUND)
        return KG_OK;
    if (status != KG_OK && speaker == KG_SPEAKER_REPOSITORY) {
        add_notice(config, why.text);
        return KG_OK;
    }
    if (status != KG_OK)
        return kg_fail(err, status, "%s", why.text);
    status = kg_config_read_text(config, path, text, length, speaker, err);
    free(text);
    return status;
}

enum kg_status kg_config_load(struct kg_config *config, const char *repository, struct kg_error *err)
{
    char path[KG_PATH_MAX];
    const char *model = getenv("KEDGE_MODEL");
    enum kg_status status = KG_OK;
    if (kg_place_path(KG_PLACE_CONFIG, "kedge.conf", path, NULL) == KG_OK) /* without a home there is no file */
        status = load(config, path, KG_SPEAKER_PERSON, err);
    if (status == KG_OK && model && *model)
        status = kg_config_put(config, KG_OPTION_MODEL, model, KG_SPEAKER_ENVIRONMENT, "$KEDGE_MODEL", err);
    if (status == KG_OK && repository && snprintf(path, sizeof path, "%s/" REPOSITORY_FILE, repository) < (int)sizeof path)
        status = load(config, path, KG_SPEAKER_REPOSITORY, err);
    return status == KG_OK ? kg_index_leave_out(kg_config_text(config, KG_OPTION_READ_IGNORE), err) : status;
}
