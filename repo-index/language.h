/* Languages whose import lines are understood, and the manifests that name what can be imported. */
#ifndef KG_INDEX_LANGUAGE_H
#define KG_INDEX_LANGUAGE_H

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

#endif
