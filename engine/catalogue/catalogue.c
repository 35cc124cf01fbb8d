#include "engine/catalogue/catalogue.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/catalogue/checked.h"
#include "engine/catalogue/entry.h"

#define CONF_MAX ((size_t)1 << 20)
#define MODELS_MAX 256U
#define SOURCES_MAX 32U

static const char *const key_names[KG_KEY_TEXTS] = { "title", "licence", "file", "sha256" };

/* A text on its way through inih, which tells its callback neither the line nor that a line was too long. */
struct reading {
    struct kg_catalogue *catalogue;
    size_t first; /* entries before it are of another text */
    const char *origin, *rest;
    int line;
    bool failed;
    enum kg_status status;
    struct kg_error *err;
};

static int refuse(struct reading *reading, enum kg_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(struct reading *reading, enum kg_status status, const char *format, ...)
{
    char text[KG_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    reading->failed = true;
    reading->status = kg_fail(reading->err, status, "%s, line %d: %s", reading->origin, reading->line, text);
    return 0;
}

static char *next_line(char *out, int capacity, void *stream)
{
    struct reading *reading = stream;
    if (reading->failed || *reading->rest == '\0')
        return NULL;
    size_t length = strcspn(reading->rest, "\n");
    reading->line++;
    if (length + 2 > (size_t)capacity) {
        refuse(reading, KG_ERR_FORMAT, "the line has %zu bytes; at most %d are read", length, capacity - 2);
        return NULL;
    }
    length += reading->rest[length] == '\n';
    memcpy(out, reading->rest, length);
    out[length] = '\0';
    reading->rest += length;
    return out;
}

static bool is_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-");
    return length > 0 && length < 40 && name[length] == '\0' && isalnum((unsigned char)name[0]);
}

static bool is_file_name(const char *file)
{
    size_t length = strlen(file);
    for (const char *p = file; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-+", *p))
            return false;
    return file[0] != '.' && file[0] != '-' && length > 5 && length < 200 && strcmp(file + length - 5, ".gguf") == 0;
}

static struct kg_entry *entry_of(struct reading *reading, const char *name)
{
    struct kg_catalogue *catalogue = reading->catalogue;
    for (size_t i = reading->first; i < catalogue->count; i++)
        if (strcmp(catalogue->entries[i].name, name) == 0)
            return &catalogue->entries[i];
    if (!is_name(name) || catalogue->count == MODELS_MAX) {
        refuse(reading, KG_ERR_FORMAT, "[%s] is no name for a model, or there are too many; use a-z, 0-9, '.', '_' and '-'", name);
        return NULL;
    }
    struct kg_entry *grown = reallocarray(catalogue->entries, catalogue->count + 1, sizeof *grown);
    char *copy = strdup(name);
    if (grown)
        catalogue->entries = grown;
    if (!grown || !copy) {
        free(copy);
        refuse(reading, KG_ERR_NOMEM, "out of memory");
        return NULL;
    }
    grown[catalogue->count] = (struct kg_entry){ .name = copy };
    return &grown[catalogue->count++];
}

static int add_source(struct reading *reading, struct kg_entry *entry, const char *value)
{
    struct kg_error cause;
    if (entry->source_count == SOURCES_MAX)
        return refuse(reading, KG_ERR_FORMAT, "[%s] has more than %u sources", entry->name, SOURCES_MAX);
    struct kg_source *grown = reallocarray(entry->sources, entry->source_count + 1, sizeof *grown);
    if (!grown)
        return refuse(reading, KG_ERR_NOMEM, "out of memory");
    entry->sources = grown;
    enum kg_status status = kg_source_parse(value, reading->catalogue->plain_loopback, &grown[entry->source_count], &cause);
    if (status != KG_OK)
        return refuse(reading, status, "%s", cause.text);
    entry->source_count++;
    return 1;
}

static int set_text(struct reading *reading, struct kg_entry *entry, enum kg_entry_key key, const char *value)
{
    if (entry->texts[key])
        return refuse(reading, KG_ERR_FORMAT, "[%s] has a second %s", entry->name, key_names[key]);
    if (key == KG_KEY_FILE && !is_file_name(value))
        return refuse(reading, KG_ERR_FORMAT, "file = %s: a plain name that ends in .gguf is needed", value);
    if (key == KG_KEY_SHA256 && (strlen(value) != 64 || strspn(value, "0123456789abcdef") != 64))
        return refuse(reading, KG_ERR_FORMAT, "sha256 must be 64 digits of 0-9 and a-f");
    char shown[200];
    kg_printable(shown, sizeof shown, value, strlen(value));
    entry->texts[key] = strdup(shown);
    return entry->texts[key] ? 1 : refuse(reading, KG_ERR_NOMEM, "out of memory");
}

static int take(void *stream, const char *section, const char *name, const char *value)
{
    struct reading *reading = stream;
    if (reading->failed)
        return 0;
    struct kg_entry *entry = entry_of(reading, section);
    if (!entry)
        return 0;
    for (enum kg_entry_key key = KG_KEY_TITLE; key < KG_KEY_TEXTS; key++)
        if (strcmp(name, key_names[key]) == 0)
            return set_text(reading, entry, key, value);
    if (strcmp(name, "source") == 0)
        return add_source(reading, entry, value);
    if (strcmp(name, "default") == 0) {
        entry->is_default = strcmp(value, "yes") == 0;
        return entry->is_default || strcmp(value, "no") == 0 ? 1 : refuse(reading, KG_ERR_FORMAT, "default must be yes or no");
    }
    if (strcmp(name, "bytes") == 0) {
        size_t digits = strspn(value, "0123456789");
        entry->bytes = strtoull(value, NULL, 10);
        return digits && digits < 14 && value[digits] == '\0' && entry->bytes ? 1 : refuse(reading, KG_ERR_FORMAT, "bytes must be a number from 1 to 9999999999999");
    }
    return refuse(reading, KG_ERR_FORMAT, "there is no key '%s'; choose among title, licence, file, bytes, sha256, default and source", name);
}

enum kg_status kg_entries_read(struct kg_catalogue *catalogue, const char *text, const char *origin, struct kg_error *err)
{
    struct reading reading = { catalogue, catalogue->count, origin, text, 0, false, KG_OK, err };
    int line = ini_parse_stream(next_line, &reading, take, &reading);
    if (reading.failed)
        return reading.status;
    if (line != 0)
        return kg_fail(err, KG_ERR_FORMAT, "%s, line %d: neither [NAME] nor KEY = VALUE", origin, line);
    return KG_OK;
}

void kg_entry_clear(struct kg_entry *entry)
{
    free(entry->name);
    for (unsigned i = 0; i < KG_KEY_TEXTS; i++)
        free(entry->texts[i]);
    for (size_t i = 0; i < entry->source_count; i++)
        kg_source_clear(&entry->sources[i]);
    free(entry->sources);
    *entry = (struct kg_entry){ 0 };
}

/* What `later` says is added to what `entry` has; sources of another file are not its sources. `later` is emptied. */
static enum kg_status merge_into(struct kg_entry *entry, struct kg_entry *later, struct kg_error *err)
{
    const char *own = entry->texts[KG_KEY_SHA256], *others = later->texts[KG_KEY_SHA256];
    bool same_file = !own || !others || strcmp(own, others) == 0;
    if (same_file && later->source_count) {
        struct kg_source *grown = reallocarray(entry->sources, entry->source_count + later->source_count, sizeof *grown);
        if (!grown)
            return kg_fail_nomem(err, "reading models.conf");
        memcpy(grown + entry->source_count, later->sources, later->source_count * sizeof *grown);
        entry->sources = grown;
        entry->source_count += later->source_count;
        later->source_count = 0;
    }
    for (unsigned i = 0; i < KG_KEY_TEXTS; i++)
        if (!entry->texts[i]) {
            entry->texts[i] = later->texts[i];
            later->texts[i] = NULL;
        }
    entry->bytes = entry->bytes ? entry->bytes : later->bytes;
    entry->is_default = entry->is_default || later->is_default;
    kg_entry_clear(later);
    return KG_OK;
}

static enum kg_status merge_names(struct kg_catalogue *catalogue, size_t first, struct kg_error *err)
{
    size_t kept = first;
    for (size_t i = first; i < catalogue->count; i++) {
        size_t at = 0;
        while (at < first && strcmp(catalogue->entries[at].name, catalogue->entries[i].name) != 0)
            at++;
        if (at < first) {
            enum kg_status status = merge_into(&catalogue->entries[at], &catalogue->entries[i], err);
            if (status != KG_OK)
                return status;
        } else if (kept != i) {
            catalogue->entries[kept++] = catalogue->entries[i];
            catalogue->entries[i] = (struct kg_entry){ 0 };
        } else {
            kept++;
        }
    }
    catalogue->count = kept;
    return KG_OK;
}

/* The first that is marked is the default. Every model must be told apart by length and digest. */
static enum kg_status complete(struct kg_catalogue *catalogue, const char *origin, struct kg_error *err)
{
    bool have_default = false;
    for (size_t i = 0; i < catalogue->count; i++) {
        struct kg_entry *entry = &catalogue->entries[i];
        for (unsigned k = 0; k < KG_KEY_TEXTS; k++)
            if (!entry->texts[k])
                return kg_fail(err, KG_ERR_FORMAT, "%s: [%s] lacks '%s ='; add it", origin, entry->name, key_names[k]);
        if (!entry->bytes)
            return kg_fail(err, KG_ERR_FORMAT, "%s: [%s] lacks 'bytes ='; add it", origin, entry->name);
        entry->is_default = entry->is_default && !have_default;
        have_default = have_default || entry->is_default;
        entry->model = (struct kg_catalogue_model){
            .name = entry->name,
            .title = entry->texts[KG_KEY_TITLE],
            .licence = entry->texts[KG_KEY_LICENCE],
            .file = entry->texts[KG_KEY_FILE],
            .sha256 = entry->texts[KG_KEY_SHA256],
            .bytes = entry->bytes,
            .is_default = entry->is_default,
            .sources = entry->source_count,
        };
    }
    return KG_OK;
}

enum kg_status kg_catalogue_of_texts(const char *persons, const char *origin, const char *builtin, bool plain_loopback,
                                     struct kg_catalogue **out, struct kg_error *err)
{
    *out = NULL;
    struct kg_catalogue *catalogue = calloc(1, sizeof *catalogue);
    if (!catalogue)
        return kg_fail_nomem(err, "reading models.conf");
    catalogue->plain_loopback = plain_loopback;
    enum kg_status status = persons ? kg_entries_read(catalogue, persons, origin, err) : KG_OK;
    size_t first = catalogue->count;
    if (status == KG_OK)
        status = kg_entries_read(catalogue, builtin, "the built-in models.conf", err);
    if (status == KG_OK)
        status = merge_names(catalogue, first, err);
    if (status == KG_OK)
        status = complete(catalogue, origin, err);
    if (status == KG_OK)
        *out = catalogue;
    else
        kg_catalogue_close(catalogue);
    return status;
}

enum kg_status kg_catalogue_open(struct kg_catalogue **out, struct kg_error *err)
{
    char path[KG_PATH_MAX] = "models.conf";
    char *persons = NULL;
    size_t length = 0;
    struct kg_error cause;
    *out = NULL;
    if (kg_place_path(KG_PLACE_CONFIG, "models.conf", path, NULL) == KG_OK) {
        enum kg_status status = kg_read_file(path, CONF_MAX, &persons, &length, &cause);
        if (status != KG_OK && status != KG_ERR_NOT_FOUND)
            return kg_fail(err, status, "%s", cause.text);
    }
    if (persons && strlen(persons) != length) {
        free(persons);
        return kg_fail(err, KG_ERR_FORMAT, "%s holds a NUL byte; it must be text", path);
    }
    enum kg_status status = kg_catalogue_of_texts(persons, path, kg_builtin_models, false, out, err);
    free(persons);
    return status;
}

void kg_catalogue_close(struct kg_catalogue *catalogue)
{
    if (!catalogue)
        return;
    for (size_t i = 0; i < catalogue->count; i++)
        kg_entry_clear(&catalogue->entries[i]);
    free(catalogue->entries);
    free(catalogue);
}

size_t kg_catalogue_count(const struct kg_catalogue *catalogue)
{
    return catalogue->count;
}

const struct kg_catalogue_model *kg_catalogue_at(const struct kg_catalogue *catalogue, size_t index)
{
    return index < catalogue->count ? &catalogue->entries[index].model : NULL;
}

const struct kg_entry *kg_entry_find(const struct kg_catalogue *catalogue, const char *name)
{
    for (size_t i = 0; i < catalogue->count; i++)
        if (strcmp(catalogue->entries[i].name, name) == 0)
            return &catalogue->entries[i];
    return NULL;
}

const struct kg_catalogue_model *kg_catalogue_find(const struct kg_catalogue *catalogue, const char *name)
{
    const struct kg_entry *entry = kg_entry_find(catalogue, name);
    return entry ? &entry->model : NULL;
}

static bool is_path(const char *model)
{
    size_t length = strlen(model);
    return strchr(model, '/') || (length > 5 && strcmp(model + length - 5, ".gguf") == 0);
}

static enum kg_status locate_path(const char *path, char out[KG_PATH_MAX], struct kg_error *err)
{
    struct stat st;
    if (snprintf(out, KG_PATH_MAX, "%s", path) >= KG_PATH_MAX)
        return kg_fail(err, KG_ERR_RANGE, "the path of the model is longer than %d bytes; use a shorter one", KG_PATH_MAX);
    if (stat(path, &st) != 0)
        return kg_fail(err, errno == ENOENT || errno == ENOTDIR ? KG_ERR_NOT_FOUND : KG_ERR_IO,
                       "cannot open the model %s: %s; name a .gguf file, or a model that 'kedge model ls' lists", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is not a regular file; name a .gguf file", path);
    return KG_OK;
}

static const char *default_model(const struct kg_catalogue *catalogue)
{
    const char *chosen = getenv("KEDGE_MODEL");
    for (size_t i = 0; !(chosen && *chosen) && i < catalogue->count; i++)
        if (catalogue->entries[i].is_default)
            chosen = catalogue->entries[i].name;
    return chosen;
}

enum kg_status kg_catalogue_locate(const struct kg_catalogue *catalogue, const char *model, char out[KG_PATH_MAX], struct kg_error *err)
{
    model = model ? model : default_model(catalogue);
    if (model && is_path(model))
        return locate_path(model, out, err);
    const struct kg_catalogue_model *found = model ? kg_catalogue_find(catalogue, model) : NULL;
    if (!found)
        return kg_fail(err, KG_ERR_NOT_FOUND, "no model is called '%s'; 'kedge model ls' lists those that are known", model ? model : "");
    enum kg_status status = kg_place_path(KG_PLACE_MODELS, found->file, out, err);
    if (status != KG_OK)
        return status;
    status = kg_checked_file(out, found, NULL, NULL, err);
    if (status == KG_ERR_NOT_FOUND)
        kg_fail(err, status, "the model %s is not at %s; fetch it with 'kedge model get %s' (%llu MB)", model, out, model,
                (unsigned long long)(found->bytes / 1000000));
    return status;
}
