/* A model file opened on a backend, with pages for one block, for tests. Everything asserts. */
#ifndef KG_TESTS_MODEL_RUN_H
#define KG_TESTS_MODEL_RUN_H

#include "engine/model/model.h"

struct cJSON;

struct model_run {
    struct kg_gguf *file;
    const struct kg_backend *backend;
    struct kg_device *device;
    struct kg_model *model;
    struct kg_kv *kv;
    uint32_t *pages;
    uint32_t capacity; /* tokens */
    uint32_t read;     /* tokens read so far */
    const struct kg_look *look; /* NULL: everything is looked at */
};

/* options NULL: as many threads as there are. Pages have a key index where the backend can use one. */
void model_run_open(struct model_run *run, const char *path, const struct kg_backend *backend, const struct kg_device_options *options,
                    uint32_t capacity);
void model_run_close(struct model_run *run);
/* Forgets what was read. */
void model_run_rewind(struct model_run *run);
/* Reads the next ids, `chunk` at a time. logits: of the last `wanted` of them (wanted, vocabulary), or NULL and 0. */
void model_run_read(struct model_run *run, const int32_t *ids, uint32_t count, uint32_t chunk, float *logits, uint32_t wanted);

/* File $KEDGE_MODELS/name (or the default place) into path[KG_PATH_MAX]; skips the test when there is none. */
void model_path_or_skip(const char *name, char *path);

struct cJSON *json_of_file(const char *path);
/* A new array of the ids in a JSON array. */
int32_t *json_ids(const struct cJSON *array, uint32_t *count);

#endif
