/* A file on disk and what is known of it: how its lines end, and whether somebody else changed it since. */
#ifndef KG_TUI_FILE_DISK_H
#define KG_TUI_FILE_DISK_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "base/digest.h"
#include "base/paths.h"

#define KG_FILE_EDIT_MAX ((size_t)64 << 20) /* bytes */

struct kg_disk_file {
    char path[KG_PATH_MAX]; /* absolute and without links where the file is there */
    bool is_new, crlf;      /* crlf: all its lines end with CR LF; they are edited without CR */
    bool utf16;             /* it is in UTF-16: its text is UTF-8, and is not written */
    dev_t device;           /* as it was read or written last */
    ino_t inode;
    off_t size;
    struct timespec changed, modified;
    struct kg_digest written; /* of the bytes that were saved last */
};

/* The file's text, which the caller frees, lines ended by "\n". A file that is not there is new and empty. KG_ERR_FORMAT: it is no
 * text (it holds a NUL byte); KG_ERR_RANGE: it is too large; KG_ERR_UNSUPPORTED: it is no
 * regular file. */
enum kg_status kg_disk_load(const char *path, struct kg_disk_file *out, char **text, size_t *length, struct kg_error *err);

/* Writes the text in place of the file, or leaves the file as it was; a file that is there keeps its mode. KG_ERR_CHANGED, and
 * nothing is written, when somebody else changed it since, unless anyway; KG_ERR_UNSUPPORTED: it is in UTF-16. */
enum kg_status kg_disk_save(struct kg_disk_file *file, const char *text, size_t length, bool anyway, struct kg_error *err);
/* Writes the text beside the file instead, readable by its owner, under a name that nothing has: FILE.unsaved, FILE.unsaved.1, ...;
 * path gets it. */
enum kg_status kg_disk_rescue(const struct kg_disk_file *file, const char *text, size_t length, char *path, size_t capacity, struct kg_error *err);

#endif
