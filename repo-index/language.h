/* Languages whose import lines are understood, and the manifests that name what can be imported. */
#ifndef KG_INDEX_LANGUAGE_H
#define KG_INDEX_LANGUAGE_H

#include <stdbool.h>
#include <stdint.h>

enum kg_language {
    KG_LANGUAGE_OTHER, /* stored: do not renumber */
    KG_LANGUAGE_C,     /* C, C++, Objective-C */
    KG_LANGUAGE_PYTHON,
    KG_LANGUAGE_JAVASCRIPT, /* and TypeScript, and pages that hold either */
    KG_LANGUAGE_GO,
    KG_LANGUAGE_RUST,
    KG_LANGUAGE_JAVA,
    KG_LANGUAGE_GO_MOD,
    KG_LANGUAGE_CARGO,
    KG_LANGUAGE_PACKAGE_JSON,
};

/* By the name of the file. */
enum kg_language kg_language_of(const char *path);

/* Whether it is a program's text, also in other languages, by the name of the file. */
bool kg_is_code(const char *path);

/* A number for all that the name of a file tells of how it is read: texts with the same bytes and the same number define and
 * import the same, by ctags too. Stored. */
uint32_t kg_reading_of(const char *path);

#endif
