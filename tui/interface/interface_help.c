/* /help: commands and keys, as wide as the screen lets them be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/interface/interface_state.h"

#define TWO_COLUMNS 80 /* of the screen, for two keys on a row */

struct key_help {
    const char *key, *what;
};

/* Left and right, left and right. */
static const struct key_help keys[] = {
    { "Enter", "send" },
    { "Alt-Enter, Ctrl-J", "new line" },
    { "Esc, Ctrl-C", "stop the answer" },
    { "Ctrl-C twice", "quit" },
    { "PgUp, PgDn", "scroll" },
    { "Ctrl-Up, Ctrl-Down", "by a row" },
    { "Ctrl-Home, -End", "first, last" },
    { "Ctrl-O", "unfold, fold" },
    { "Up, Down", "what you sent before" },
    { "Ctrl-R", "find in that" },
    { "Ctrl-T, Alt-Up", "go through messages," },
    { "Ctrl-S", "find in them" },
    { "", "where e edits a question" },
    { "", "" },
    { "Tab", "complete" },
    { "F2, F3", "context, mouse" },
    { "Ctrl-Z, Ctrl-L", "suspend, redraw" },
    { "Ctrl-X Ctrl-E", "in an editor" },
};

static const char emacs_help[] = "Ctrl-A -E -K -Y -W -U -_, Alt-B -F -D -Y edit as in Emacs\n";
static const char vi_help[] = "Esc leads to commands of vi, and i a I A o O back to writing:\n"
                              "h l j k 0 ^ $ w W b B e E f F t T ; , G gg % { } move\n"
                              "d c y with these or with iw a\" i( ip ..., and dd cc yy change\n"
                              "x X s S D C Y r ~ J p P, u Ctrl-R undo and redo, . again\n"
                              "/ finds in what you sent; Esc once more stops the answer\n";

static void write_keys(FILE *stream, bool two)
{
    size_t count = sizeof keys / sizeof keys[0];
    for (size_t i = 0; two && i < count; i += 2)
        if (*keys[i + 1].key)
            fprintf(stream, "%-15s %-24s %-19s %s\n", keys[i].key, keys[i].what, keys[i + 1].key, keys[i + 1].what);
        else
            fprintf(stream, "%-15s %s\n", keys[i].key, keys[i].what);
    for (size_t side = 0; !two && side < 2; side++)
        for (size_t i = side; i < count; i += 2)
            if (*keys[i].what)
                fprintf(stream, "%-19s %s\n", keys[i].key, keys[i].what);
}

void kg_interface_help(struct kg_interface *ui)
{
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);
    if (!stream)
        return;
    for (const struct kg_input_command *c = kg_interface_commands; c->name; c++)
        fprintf(stream, "%-11s %-8s %s\n", c->name, c->argument, c->help);
    fputc('\n', stream);
    write_keys(stream, ui->lines_only || ui->screen->columns >= TWO_COLUMNS);
    fputs(ui->vi ? vi_help : emacs_help, stream);
    fputs("@path or @name in a question reads that file; !command runs one.", stream);
    if (fclose(stream) == 0) {
        kg_transcript_add(ui->transcript, KG_ENTRY_HELP, text, length);
        kg_transcript_to_end(ui->transcript);
    }
    free(text);
}
