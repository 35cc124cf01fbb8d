#include "tui/commands/worktree.h"

#include <stdlib.h>
#include <string.h>

static int take_file(void *ctx, const struct kg_index_file *file)
{
    struct kg_worktree *worktree = ctx;
    if (worktree->count == worktree->capacity) {
        size_t capacity = worktree->capacity ? 2 * worktree->capacity : 256;
        struct kg_worktree_file *grown = realloc(worktree->files, capacity * sizeof *grown);
        if (!grown)
            return 1;
        worktree->files = grown;
        worktree->capacity = capacity;
    }
    struct kg_worktree_file *copy = &worktree->files[worktree->count];
    *copy = (struct kg_worktree_file){ .path = strdup(file->path), .bytes = file->bytes, .has_digest = file->digest != NULL };
    if (file->digest)
        memcpy(copy->digest, file->digest, sizeof copy->digest);
    worktree->count += copy->path != NULL;
    return copy->path == NULL;
}

static enum kg_status open_files(const char *directory, struct kg_worktree *out, struct kg_error *err)
{
    struct kg_index_counts counts;
    enum kg_status status = kg_repo_root(directory, out->root, err);
    if (status == KG_OK)
        status = kg_open_fresh_index(directory, &out->index, &counts, err);
    if (status == KG_OK)
        status = kg_index_likely(out->index, take_file, out, err);
    if (status == KG_OK && out->count < counts.files)
        return kg_fail_nomem(err, "listing the files of the repository");
    return status;
}

enum kg_status kg_worktree_open(const char *directory, const char *model, const struct kg_engine_options *engine, struct kg_worktree *out,
                                struct kg_error *err)
{
    char configured[KG_PATH_MAX];
    struct kg_engine_options options = *engine;
    struct kg_session_options session = { .unsaved = true };
    *out = (struct kg_worktree){ .config = kg_config_create() };
    enum kg_status status = out->config ? open_files(directory, out, err) : kg_fail_nomem(err, "reading the configuration");
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

void kg_worktree_close(struct kg_worktree *worktree)
{
    kg_session_close(worktree->session);
    kg_engine_close(worktree->engine);
    kg_index_close(worktree->index);
    kg_config_free(worktree->config);
    for (size_t i = 0; i < worktree->count; i++)
        free(worktree->files[i].path);
    free(worktree->files);
}
