#include "tui/changes/form.h"

#include <string.h>
#include <stdbool.h>

static const char *const names[] = { "search", "definition", "file", "region", "places", "any" };

/* The first row whose words all stand in the model's name counts. */
static const struct family {
    const char *words[2];
    enum kg_form form;
} families[] = {
    { { "coder", "1.5b" }, KG_FORM_PLACES },
    { { NULL, NULL }, KG_FORM_SEARCH },
};

const char *kg_form_name(enum kg_form form)
{
    return names[form];
}

enum kg_status kg_form_parse(const char *name, enum kg_form *out, struct kg_error *err)
{
    for (int i = 0; i < KG_FORMS; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum kg_form)i;
            return KG_OK;
        }
    return kg_fail(err, KG_ERR_USAGE, "'%s' is no form of edits; there are search, definition, file, region and places", name);
}

enum kg_form kg_form_of_model(const char *model)
{
    for (const struct family *f = families;; f++) {
        bool all = true;
        for (size_t i = 0; i < sizeof f->words / sizeof f->words[0] && f->words[i]; i++)
            all = all && strcasestr(model, f->words[i]);
        if (all)
            return f->form;
    }
}
