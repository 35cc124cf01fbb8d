/* What the import lines of a text name, before it is known which files that is.
 *
 *   record = one byte, the name, a line feed
 *
 *   "  C: #include "name"          <  C: #include <name>
 *   p  Python: module, dots first; from-imports as module:name
 *   j  JavaScript: import, export from, require
 *   g  Go: import path
 *   m  Rust: mod name              P  Rust: #[path] of a mod      u  Rust: use a::b::c, extern crate
 *   i  Java: a.b.C, a.b.*
 *   N  the name that a manifest gives to the directory it lies in
 */
#ifndef KG_INDEX_IMPORTS_H
#define KG_INDEX_IMPORTS_H

#include <stdbool.h>
#include <stddef.h>

#include "repo-index/language.h"

#define KG_IMPORTS_MAX 1000 /* records of one text */
#define KG_IMPORT_NAME 300  /* bytes of a name; longer ones are left out */

struct kg_imports { /* reusable workspace; zero-initialised = empty */
    char *bytes;
    size_t length, capacity;
    unsigned count;
    bool failed;
};
void kg_imports_free(struct kg_imports *imports);

/* Any bytes are valid. Names hold no control bytes. False when out of memory. */
bool kg_imports_of(struct kg_imports *imports, enum kg_language language, const char *text, size_t length);

/* Goes through records, whoever wrote them: the next one at *at, or false at the end. name is NUL-terminated. */
bool kg_import_next(const char **at, const char *end, char *kind, char name[KG_IMPORT_NAME + 1]);

#endif
