#include "tui/config/config.h"

#include <stdlib.h>
#include <string.h>

#include "tui/config/table.h"

struct kg_config *kg_config_create(void)
{
    struct kg_config *config = calloc(1, sizeof *config);
    for (int i = 0; config && i < KG_OPTION_COUNT; i++)
        if (kg_config_put(config, (enum kg_option)i, kg_option_row((enum kg_option)i)->standard, KG_SPEAKER_DEFAULT, "default", NULL) != KG_OK) {
            kg_config_free(config);
            return NULL;
        }
    return config;
}

void kg_config_free(struct kg_config *config)
{
    if (!config)
        return;
    for (int i = 0; i < KG_OPTION_COUNT; i++) {
        free(config->values[i].text);
        free(config->values[i].origin);
    }
    for (size_t i = 0; i < KG_CONFIG_NOTICES; i++)
        free(config->notices[i]);
    free(config);
}

enum kg_status kg_config_set(struct kg_config *config, enum kg_option option, const char *value, const char *origin, struct kg_error *err)
{
    struct kg_error why;
    enum kg_status status = kg_config_put(config, option, value, KG_SPEAKER_COMMAND, origin, &why);
    return status == KG_OK ? KG_OK : kg_fail(err, status, "%s: %s", origin, why.text);
}

enum kg_status kg_config_assign(struct kg_config *config, const char *assignment, const char *origin, struct kg_error *err)
{
    char name[128];
    struct kg_error why;
    size_t length = strcspn(assignment, "=");
    if (assignment[length] != '=' || length >= sizeof name)
        return kg_fail(err, KG_ERR_USAGE, "%s: '%.100s' is not NAME=VALUE", origin, assignment);
    memcpy(name, assignment, length);
    name[length] = '\0';
    char *dot = strchr(name, '.');
    if (dot)
        *dot = '\0';
    enum kg_option option = kg_option_find(dot ? name : "", dot ? dot + 1 : name, &why);
    if (option == KG_OPTION_COUNT)
        return kg_fail(err, KG_ERR_USAGE, "%s: %s", origin, why.text);
    return kg_config_set(config, option, assignment + length + 1, origin, err);
}

size_t kg_config_notices(const struct kg_config *config)
{
    return config->notice_count < KG_CONFIG_NOTICES ? config->notice_count : KG_CONFIG_NOTICES;
}

const char *kg_config_notice(const struct kg_config *config, size_t index)
{
    return config->notices[index] ? config->notices[index] : "";
}

uint64_t kg_config_number(const struct kg_config *config, enum kg_option option)
{
    return config->values[option].number;
}

double kg_config_real(const struct kg_config *config, enum kg_option option)
{
    return config->values[option].real;
}

bool kg_config_on(const struct kg_config *config, enum kg_option option)
{
    return config->values[option].on;
}

const char *kg_config_text(const struct kg_config *config, enum kg_option option)
{
    return config->values[option].text;
}

const char *kg_config_origin(const struct kg_config *config, enum kg_option option)
{
    return config->values[option].origin;
}

const char *kg_config_model(const struct kg_config *config, char out[KG_PATH_MAX])
{
    return kg_config_path(config, KG_OPTION_MODEL, out);
}

const char *kg_config_path(const struct kg_config *config, enum kg_option option, char out[KG_PATH_MAX])
{
    const char *model = config->values[option].text, *home = getenv("HOME");
    bool below_home = model[0] == '~' && model[1] == '/' && home;
    if (!*model)
        return NULL;
    int n = snprintf(out, KG_PATH_MAX, "%s%s", below_home ? home : "", below_home ? model + 1 : model);
    return n < KG_PATH_MAX ? out : NULL;
}

enum kg_status kg_config_fill(const struct kg_config *config, struct kg_engine_options *engine, struct kg_session_options *session, struct kg_error *err)
{
    engine->backend = kg_config_text(config, KG_OPTION_DEVICE);
    engine->gpu_layers = kg_config_text(config, KG_OPTION_GPU_LAYERS);
    engine->threads = (uint32_t)kg_config_number(config, KG_OPTION_THREADS);
    engine->cache_off = kg_config_on(config, KG_OPTION_CACHE_OFF);
    engine->cache_bytes = kg_config_number(config, KG_OPTION_CACHE_BUDGET);
    engine->kv = kg_config_text(config, KG_OPTION_CACHE_KV);
    engine->index_bits = (uint32_t)strtoul(kg_config_text(config, KG_OPTION_RECALL_BITS), NULL, 10);
    session->recall = (struct kg_recall){ .window = (uint32_t)kg_config_number(config, KG_OPTION_RECALL_WINDOW),
                                          .k = (uint32_t)kg_config_number(config, KG_OPTION_RECALL_K) };
    session->drafts_off = !kg_config_on(config, KG_OPTION_DRAFTS);
    return kg_policy_parse(kg_config_text(config, KG_OPTION_POLICY), &session->policy, err);
}

struct kg_sampling kg_config_sampling(const struct kg_config *config)
{
    return (struct kg_sampling){ .temperature = (float)kg_config_real(config, KG_OPTION_TEMPERATURE),
                                 .top_k = (uint32_t)kg_config_number(config, KG_OPTION_TOP_K),
                                 .top_p = (float)kg_config_real(config, KG_OPTION_TOP_P),
                                 .min_p = (float)kg_config_real(config, KG_OPTION_MIN_P),
                                 .penalty = (float)kg_config_real(config, KG_OPTION_PENALTY),
                                 .penalty_last = (uint32_t)kg_config_number(config, KG_OPTION_PENALTY_LAST),
                                 .seed = kg_config_number(config, KG_OPTION_SEED) };
}

enum kg_colours kg_config_colours(const struct kg_config *config)
{
    const char *colour = kg_config_text(config, KG_OPTION_COLOUR);
    switch (*colour) {
    case 't':
        return KG_COLOURS_TRUE;
    case '2':
        return KG_COLOURS_256;
    case '1':
        return KG_COLOURS_16;
    default:
        return *colour == 'n' ? KG_COLOURS_NONE : KG_COLOURS_AUTO;
    }
}

void kg_config_write_default(FILE *stream)
{
    const char *section = "";
    fputs("# kedge.conf: every option, commented out at its default. Copy it to ~/.config/kedge/kedge.conf and take the '#'\n"
          "# away where you want something else; the command line still beats it. A repository's own .kedge.conf may only set\n"
          "# what is marked so here. `kedge config` shows what is in force and where it was said; kedge.conf(5) explains more.\n",
          stream);
    for (int i = 0; i < KG_OPTION_COUNT; i++) {
        const struct kg_option_row *row = kg_option_row((enum kg_option)i);
        char allowed[128];
        if (strcmp(row->section, section) != 0)
            fprintf(stream, "\n[%s]\n", row->section);
        section = row->section;
        kg_option_allowed((enum kg_option)i, allowed, sizeof allowed);
        fprintf(stream, "\n# %s\n", row->help);
        if (row->kind != KG_OPTION_TEXT || row->repository)
            fprintf(stream, "# It may be %s.%s\n", allowed, row->repository ? " A repository may set it." : "");
        fprintf(stream, "#%s =%s%s\n", row->name, *row->standard ? " " : "", row->standard);
    }
}
