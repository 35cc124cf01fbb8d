/* What a file is, by its name and by its first bytes: text worth reading, or one of the things that are left out. */
#ifndef KG_INDEX_KIND_H
#define KG_INDEX_KIND_H

#include <stdbool.h>
#include <stddef.h>

enum kg_file_kind {
    KG_KIND_TEXT, /* stored: do not renumber */
    KG_KIND_BINARY,
    KG_KIND_GENERATED,
    KG_KIND_SECRET,
};

#define KG_KIND_HEAD 8192 /* bytes of a file that are enough to tell */

/* By name alone: KG_KIND_SECRET (keys, credentials), KG_KIND_GENERATED (lock files, minified code), else KG_KIND_TEXT.
 * Only the components that matter are looked at; case does not count. */
enum kg_file_kind kg_kind_by_name(const char *path);

/* By the first KG_KIND_HEAD bytes (fewer only when the file has fewer). */
enum kg_file_kind kg_kind_by_content(const char *path, const char *head, size_t length);

/* Directories of other people's code or of tools: node_modules, __pycache__ and the like. */
bool kg_dir_is_vendored(const char *name);
/* Names of files whose presence says the same of the directory `name` they lie in: vendor/modules.txt, venv/pyvenv.cfg. */
bool kg_dir_is_vendored_by(const char *name, const char *entry);

#endif
