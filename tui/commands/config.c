#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "repo-index/repo_index.h"
#include "tui/commands/command.h"
#include "tui/config/config.h"

static const char help[] =
    "usage: kedge config [-C REPO] [--json]\n"
    "       kedge config default\n"
    "\n"
    "Every option, the value in force, and where it was said: kedge.conf, the repository's .kedge.conf, the environment,\n"
    "or by default. What a repository's file may not say is told on standard error.\n"
    "\n"
    "  default   prints a kedge.conf with every option, commented out at its default\n"
    "  -C REPO   a directory of the repository (default: the current one)\n";

static void print_json(const struct kg_config *config)
{
    cJSON *root = cJSON_CreateArray();
    for (int i = 0; i < KG_OPTION_COUNT; i++) {
        enum kg_option option = (enum kg_option)i;
        const struct kg_option_row *row = kg_option_row(option);
        char allowed[128];
        kg_option_allowed(option, allowed, sizeof allowed);
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "section", row->section);
        cJSON_AddStringToObject(object, "name", row->name);
        cJSON_AddStringToObject(object, "value", kg_config_text(config, option));
        cJSON_AddStringToObject(object, "default", row->standard);
        cJSON_AddStringToObject(object, "from", kg_config_origin(config, option));
        cJSON_AddStringToObject(object, "allowed", allowed);
        cJSON_AddBoolToObject(object, "repository", row->repository);
        cJSON_AddItemToArray(root, object);
    }
    kg_put_json(root);
}

static void print_table(const struct kg_config *config)
{
    const char *section = "";
    for (int i = 0; i < KG_OPTION_COUNT; i++) {
        enum kg_option option = (enum kg_option)i;
        const struct kg_option_row *row = kg_option_row(option);
        char value[KG_PATH_MAX], origin[KG_PATH_MAX], line[KG_PATH_MAX + 64];
        const char *text = kg_config_text(config, option), *from = kg_config_origin(config, option);
        kg_printable(value, sizeof value, text, strlen(text));
        kg_printable(origin, sizeof origin, from, strlen(from));
        if (strcmp(row->section, section) != 0)
            printf("\n[%s]\n", row->section);
        section = row->section;
        snprintf(line, sizeof line, "%s =%s%s", row->name, *value ? " " : "", value);
        printf("%-30s # %s\n", line, origin);
    }
}

static int show(const char *repo, bool json)
{
    char root[KG_PATH_MAX];
    struct kg_error err;
    struct kg_config *config = kg_config_create();
    enum kg_status status = config ? KG_OK : kg_fail_nomem(&err, "reading the configuration");
    bool inside = kg_repo_root(repo, root, NULL) == KG_OK;
    if (status == KG_OK)
        status = kg_config_load(config, inside ? root : NULL, &err);
    if (status == KG_OK) {
        for (size_t i = 0; i < kg_config_notices(config); i++)
            fprintf(stderr, "kedge config: %s\n", kg_config_notice(config, i));
        if (json)
            print_json(config);
        else
            print_table(config);
    }
    kg_config_free(config);
    return status == KG_OK ? KG_EXIT_OK : kg_command_failed("config", &err);
}

int kg_command_config(int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 } };
    const char *repo = ".";
    bool json = false;
    for (int c; (c = getopt_long(argc, argv, "C:h", options, NULL)) != -1;) {
        switch (c) {
        case 'C': repo = optarg; break;
        case 'j': json = true; break;
        case 'h': fputs(help, stdout); return KG_EXIT_OK;
        default: return KG_EXIT_USAGE;
        }
    }
    if (optind < argc && strcmp(argv[optind], "default") == 0 && optind + 1 == argc) {
        kg_config_write_default(stdout);
        return KG_EXIT_OK;
    }
    if (optind < argc)
        return kg_command_misused("config", "'%s' is not what it takes: default, or nothing", argv[optind]);
    return show(repo, json);
}
