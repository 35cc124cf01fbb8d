#include "tui/commands/repo_reader.h"

#include <stdlib.h>
#include <string.h>

static int take_file(void *ctx, const struct kg_index_file *file)
{
    struct kg_repo_reader *reader = ctx;
    if (reader->count == reader->capacity) {
        size_t capacity = reader->capacity ? 2 * reader->capacity : 256;
        struct kg_repo_file *grown = realloc(reader->files, capacity * sizeof *grown);
        if (!grown)
            return 1;
        reader->files = grown;
        reader->capacity = capacity;
    }
    struct kg_repo_file *copy = &reader->files[reader->count];
    *copy = (struct kg_repo_file){ .path = strdup(file->path), .bytes = file->bytes, .has_digest = file->digest != NULL };
    if (file->digest)
        memcpy(copy->digest, file->digest, sizeof copy->digest);
    reader->count += copy->path != NULL;
    return copy->path == NULL;
}

static enum kg_status open_files(const char *directory, struct kg_repo_reader *out, struct kg_error *err)
{
    struct kg_index_counts counts;
    enum kg_status status = kg_repo_root(directory, out->root, err);
    if (status == KG_OK)
        status = kg_open_fresh_index(directory, &out->index, &counts, err);
    if (status == KG_OK)
        status = kg_link_index(out->index, &counts, err);
    if (status == KG_OK)
        status = kg_index_likely(out->index, take_file, out, err);
    if (status == KG_OK && out->count < counts.files)
        return kg_fail_nomem(err, "listing the files of the repository");
    return status;
}

enum kg_status kg_repo_reader_open_model(const char *model, const struct kg_engine_options *engine, struct kg_repo_reader *out, struct kg_error *err)
{
    char configured[KG_PATH_MAX];
    struct kg_engine_options options = *engine;
    struct kg_session_options session = { .unsaved = true };
    out->config = kg_config_create();
    enum kg_status status = out->config ? KG_OK : kg_fail_nomem(err, "reading the configuration");
    if (status == KG_OK && model)
        status = kg_config_set(out->config, KG_OPTION_MODEL, model, "-m", err);
    if (status == KG_OK)
        status = kg_config_load(out->config, out->root, err);
    if (status == KG_OK)
        status = kg_config_fill(out->config, &options, &session, err);
    if (status == KG_OK)
        status = kg_model_path(kg_config_model(out->config, configured), out->model_path, err);
    options.model_path = out->model_path;
    if (status == KG_OK)
        status = kg_engine_open(&options, &out->engine, err);
    return status == KG_OK ? kg_session_open(out->engine, &session, &out->session, err) : status;
}

enum kg_status kg_repo_reader_open(const char *directory, const char *model, const struct kg_engine_options *engine, struct kg_repo_reader *out,
                                struct kg_error *err)
{
    *out = (struct kg_repo_reader){ 0 };
    enum kg_status status = open_files(directory, out, err);
    return status == KG_OK ? kg_repo_reader_open_model(model, engine, out, err) : status;
}

void kg_repo_reader_close(struct kg_repo_reader *reader)
{
    kg_session_close(reader->session);
    kg_engine_close(reader->engine);
    kg_index_close(reader->index);
    kg_config_free(reader->config);
    for (size_t i = 0; i < reader->count; i++)
        free(reader->files[i].path);
    free(reader->files);
}
