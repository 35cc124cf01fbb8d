#include "engine/catalogue/entry.h"

/* The assembler reads the file from the directory that the compiler runs in: the root of the sources. */
__asm__(".section .rodata\n"
        ".global kg_builtin_models\n"
        ".type kg_builtin_models, @object\n"
        "kg_builtin_models:\n"
        ".incbin \"config/models.conf\"\n"
        ".byte 0\n"
        ".size kg_builtin_models, . - kg_builtin_models\n"
        ".text\n");
