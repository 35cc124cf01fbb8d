#include "tui/screen/builtin_themes.h"

#include <stddef.h>

/* The assembler reads the files from the directory that the compiler runs in: the root of the sources. */
#define BUILTIN(name)                                     \
    extern const char kg_theme_##name[];                  \
    __asm__(".section .rodata\n"                          \
            ".global kg_theme_" #name "\n"                \
            ".type kg_theme_" #name ", @object\n"         \
            "kg_theme_" #name ":\n"                       \
            ".incbin \"config/themes/" #name ".theme\"\n" \
            ".byte 0\n"                                   \
            ".size kg_theme_" #name ", . - kg_theme_" #name "\n" \
            ".text\n");

BUILTIN(terminal)
BUILTIN(dark)
BUILTIN(light)

const struct kg_builtin_theme kg_builtin_themes[] = {
    { "terminal", kg_theme_terminal },
    { "dark", kg_theme_dark },
    { "light", kg_theme_light },
    { NULL, NULL },
};
