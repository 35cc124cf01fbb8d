/* Reading kedge.conf and .kedge.conf. */
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tui/config/table.h"

#define REPOSITORY_FILE ".kedge.conf"

/* A text on its way through inih. */
struct reading {
    struct kg_config *config;
    const char *path, *rest, *end;
    enum kg_speaker speaker;
    int line, set_in[KG_OPTION_COUNT]; /* lines; 0 = not yet */
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
static void refuse(struct reading *reading, enum kg_status status, const char *why)
{
    struct kg_error told;
    kg_fail(&told, status, "%s, line %d: %s", reading->path, reading->line, why);
    if (reading->speaker == KG_SPEAKER_REPOSITORY && status != KG_ERR_NOMEM)
        add_notice(reading->config, told.text);
    else if (reading->status == KG_OK)
        reading->status = kg_fail(reading->err, status == KG_ERR_USAGE ? KG_ERR_FORMAT : status, "%s", told.text);
}

/* What is left of a line for inih: without what would be blank, a comment, or a continuation of the line before. */
static bool is_clean(struct reading *reading, const char *line, size_t length, int capacity)
{
    char why[96];
    for (size_t i = 0; i < length; i++)
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f) {
            refuse(reading, KG_ERR_USAGE, "a control character; only text and tabs can stand here");
            return false;
        }
    if (length + 1 > (size_t)capacity) {
        snprintf(why, sizeof why, "the line has %zu bytes; at most %d are read", length, capacity - 1);
        refuse(reading, KG_ERR_USAGE, why);
        return false;
    }
    if (!memchr(line, line[0] == '[' ? ']' : '=', length)) {
        refuse(reading, KG_ERR_USAGE, "neither [SECTION] nor NAME = VALUE");
        return false;
    }
    return true;
}

static char *next_line(char *out, int capacity, void *stream)
{
    struct reading *reading = stream;
    while (reading->rest < reading->end && reading->status == KG_OK) {
        const char *line = reading->rest, *newline = memchr(line, '\n', (size_t)(reading->end - line));
        const char *behind = newline ? newline : reading->end;
        reading->rest = newline ? newline + 1 : reading->end;
        reading->line++;
        while (behind > line && (behind[-1] == '\r' || behind[-1] == ' ' || behind[-1] == '\t'))
            behind--;
        while (line < behind && (*line == ' ' || *line == '\t'))
            line++;
        size_t length = (size_t)(behind - line);
        if (length == 0 || *line == '#' || *line == ';' || !is_clean(reading, line, length, capacity))
            continue;
        memcpy(out, line, length);
        out[length] = '\0';
        return out;
    }
    return NULL;
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

static int take(void *stream, const char *section, const char *name, const char *value)
{
    struct reading *reading = stream;
    struct kg_error why;
    char text[256], origin[KG_PATH_MAX + 32];
    if (reading->status != KG_OK)
        return 1;
    enum kg_option option = kg_option_find(section, name, &why);
    if (option == KG_OPTION_COUNT) {
        refuse(reading, KG_ERR_USAGE, why.text);
        return 1;
    }
    if (reading->speaker == KG_SPEAKER_REPOSITORY && !kg_option_row(option)->repository) {
        char safe[160];
        list_safe(safe, sizeof safe);
        snprintf(text, sizeof text, "a repository cannot set %s; it may set %s", kg_option_full_name(option), safe);
        refuse(reading, KG_ERR_USAGE, text);
        return 1;
    }
    if (reading->set_in[option]) {
        snprintf(text, sizeof text, "%s is set a second time, after line %d; keep one of them", kg_option_full_name(option), reading->set_in[option]);
        refuse(reading, KG_ERR_USAGE, text);
        return 1;
    }
    snprintf(origin, sizeof origin, "%s, line %d", reading->path, reading->line);
    enum kg_status status = kg_config_put(reading->config, option, value, reading->speaker, origin, &why);
    if (status == KG_OK)
        reading->set_in[option] = reading->line;
    else
        refuse(reading, status, why.text);
    return 1;
}

enum kg_status kg_config_read_text(struct kg_config *config, const char *path, const char *text, size_t length, enum kg_speaker speaker,
                                   struct kg_error *err)
{
    struct reading reading = { .config = config, .path = path, .rest = text, .end = text + length, .speaker = speaker, .status = KG_OK, .err = err };
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        reading.rest += 3;
    int line = ini_parse_stream(next_line, &reading, take, &reading); /* next_line saw to it that it has nothing to say */
    if (line != 0 && reading.status == KG_OK)
        return kg_fail(err, KG_ERR_NOMEM, "cannot parse %s", path);
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
    else if (!(bytes = malloc(KG_CONFIG_BYTES + 1)))
        status = kg_fail_nomem(err, "reading the configuration");
    else if ((n = read(fd, bytes, KG_CONFIG_BYTES + 1)) < 0)
        status = kg_fail(err, KG_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    else if ((size_t)n > KG_CONFIG_BYTES)
        status = kg_fail(err, KG_ERR_RANGE, "%s has more than %zu bytes; no configuration is that long", path, KG_CONFIG_BYTES);
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
    if (status != KG_OK || !repository)
        return status;
    int n = snprintf(path, sizeof path, "%s/" REPOSITORY_FILE, repository);
    return n < (int)sizeof path ? load(config, path, KG_SPEAKER_REPOSITORY, err) : KG_OK;
}
