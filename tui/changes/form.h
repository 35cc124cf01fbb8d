/* The forms in which a model may write a change, and which one it is asked for. */
#ifndef KG_CHANGES_FORM_H
#define KG_CHANGES_FORM_H

#include "base/status.h"

enum kg_form {
    KG_FORM_SEARCH,     /* blocks of lines to find, and what takes their place */
    KG_FORM_DEFINITION, /* whole definitions, which replace those of the same name */
    KG_FORM_FILE,       /* whole files */
    KG_FORM_REGION,     /* the lines that were asked about, rewritten */
    KG_FORM_PLACES,     /* KG_FORM_REGION for each place that the request is about (places.h), one after the other */
    KG_FORM_ANY,        /* none was asked for: an answer in a conversation; only blocks of KG_FORM_SEARCH count */
};
#define KG_FORMS 5 /* that can be asked for */

/* "search", "definition", "file", "region", "places". */
const char *kg_form_name(enum kg_form form);
/* KG_ERR_USAGE names those there are. */
enum kg_status kg_form_parse(const char *name, enum kg_form *out, struct kg_error *err);

/* What a model does best, by the name it gives itself (kg_engine_facts.model). One table, by family and size; tests/eval/EDIT.md has
 * what it comes from. */
enum kg_form kg_form_of_model(const char *model);

#endif
