/* Private to themes: those that are built in. */
#ifndef KG_TUI_BUILTIN_THEMES_H
#define KG_TUI_BUILTIN_THEMES_H

struct kg_builtin_theme {
    const char *name, *text; /* NUL-terminated */
};
extern const struct kg_builtin_theme kg_builtin_themes[]; /* the standard one first; ends with a NULL name */

#endif
