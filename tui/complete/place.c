#include "tui/complete/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "repo-index/repo_index.h"

/* A number behind the last colon is taken off; 0: there is none. */
static size_t take_number(char *text)
{
    char *colon = strrchr(text, ':'), *end;
    if (!colon || colon == text || colon[1] < '0' || colon[1] > '9')
        return 0;
    unsigned long number = strtoul(colon + 1, &end, 10);
    if (*end)
        return 0;
    *colon = '\0';
    return number;
}

static void find_root(struct kg_file_place *place)
{
    char directory[KG_PATH_MAX], absolute[KG_PATH_MAX];
    const char *slash = strrchr(place->file, '/'), *name = slash ? slash + 1 : place->file;
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - place->file) + 1 : 1, slash ? place->file : ".");
    snprintf(place->label, sizeof place->label, "%s", place->file);
    if (!realpath(directory, absolute) || kg_repo_root(absolute, place->root, NULL) != KG_OK) {
        place->root[0] = '\0';
        return;
    }
    size_t root = strlen(place->root);
    if (strncmp(absolute, place->root, root) != 0 || (absolute[root] != '/' && absolute[root] != '\0'))
        return;
    const char *beneath = absolute[root] ? absolute + root + 1 : "";
    int n = snprintf(place->label, sizeof place->label, "%s%s%s", beneath, *beneath ? "/" : "", name);
    if (n < 0 || (size_t)n >= sizeof place->label)
        snprintf(place->label, sizeof place->label, "%s", place->file);
}

enum kg_status kg_file_place_parse(const char *text, struct kg_file_place *out, struct kg_error *err)
{
    *out = (struct kg_file_place){ .line = 0 };
    if (strlen(text) >= sizeof out->file)
        return kg_fail(err, KG_ERR_RANGE, "the name of a file has at most %zu bytes", sizeof out->file - 1);
    strcpy(out->file, text);
    size_t last = take_number(out->file), before = last ? take_number(out->file) : 0;
    out->line = before ? before : last;
    out->column = before ? last : 0;
    if (!out->file[0])
        return kg_fail(err, KG_ERR_USAGE, "'%s' names no file; write FILE:LINE:COL", text);
    find_root(out);
    return KG_OK;
}
