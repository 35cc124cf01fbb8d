/* Private to the configuration: values and how they are given. */
#ifndef KG_TUI_CONFIG_TABLE_H
#define KG_TUI_CONFIG_TABLE_H

#include "tui/config/config.h"

/* Who says it; a later one beats those before. */
enum kg_speaker { KG_SPEAKER_DEFAULT, KG_SPEAKER_PERSON, KG_SPEAKER_REPOSITORY, KG_SPEAKER_ENVIRONMENT, KG_SPEAKER_COMMAND };

struct kg_value {
    enum kg_speaker speaker;
    char *text, *origin;
    uint64_t number;
    double real;
    bool on;
};

struct kg_config {
    struct kg_value values[KG_OPTION_COUNT];
    char *notices[KG_CONFIG_NOTICES];
    size_t notice_count; /* given; those beyond KG_CONFIG_NOTICES are only counted */
};

/* Checks and keeps a value unless somebody who counts more has spoken. Errors begin with the option's name, not with the origin. */
enum kg_status kg_config_put(struct kg_config *config, enum kg_option option, const char *value, enum kg_speaker speaker, const char *origin,
                             struct kg_error *err);

/* The option of this name in this section ("" for none), or KG_OPTION_COUNT with an error that names those there are. */
enum kg_option kg_option_find(const char *section, const char *name, struct kg_error *err);

/* Reads a file's text; the file's name is told in errors and origins. */
enum kg_status kg_config_read_text(struct kg_config *config, const char *path, const char *text, size_t length, enum kg_speaker speaker,
                                   struct kg_error *err);

#endif
