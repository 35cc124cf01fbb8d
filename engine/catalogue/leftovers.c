#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "engine/catalogue/fetch.h"

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

void kg_remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_matching(const char *path, const char *suffix)
{
    char pattern[2 * KG_PATH_MAX + 16];
    size_t used = 0;
    for (const char *p = path; *p; p++) {
        if (strchr("*?[]\\", *p))
            pattern[used++] = '\\';
        pattern[used++] = *p;
    }
    snprintf(pattern + used, sizeof pattern - used, "%s", suffix);
    glob_t found;
    if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            kg_remove_tree(found.gl_pathv[i]);
        globfree(&found);
    }
}

void kg_fetch_sweep(const char *path)
{
    remove_matching(path, ".pip.??????");
    remove_matching(path, ".parts.??????"); /* kg_write_file's temporary ones */
}
