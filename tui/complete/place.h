/* A place in a file as people and editors write it, and where the file lies. */
#ifndef KG_TUI_PLACE_H
#define KG_TUI_PLACE_H

#include "base/paths.h"

struct kg_file_place {
    char file[KG_PATH_MAX];  /* as it is opened */
    size_t line, column;     /* 1-based, column in bytes; 0 = not said */
    char root[KG_PATH_MAX];  /* of the repository that its directory is in; "" = none */
    char label[KG_PATH_MAX]; /* its path beneath the root, else its name as it was written */
};

/* FILE, FILE:LINE or FILE:LINE:COL; the file need not be there. KG_ERR_USAGE when no file is named, KG_ERR_RANGE when it is too
 * long. */
enum kg_status kg_file_place_parse(const char *text, struct kg_file_place *out, struct kg_error *err);

#endif
