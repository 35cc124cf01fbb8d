#include "tui/interface/leaving.h"

#include <stdio.h>
#include <string.h>

#define ROWS_MOST 2000 /* of a long conversation the last ones */

/* For a shell: as it is when that is safe, else in single quotes. */
static void print_quoted(const char *name)
{
    bool plain = *name != '\0';
    for (const char *c = name; *c; c++)
        plain = plain && ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("-_.:/+", *c));
    if (plain) {
        fputs(name, stdout);
        return;
    }
    putchar('\'');
    for (const char *c = name; *c; c++) {
        if (*c == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*c);
    }
    putchar('\'');
}

void kg_leaving_print(struct kg_interface *ui)
{
    char name[sizeof ui->session * 4];
    if (!ui->asked || !ui->session[0])
        return;
    kg_interface_enter(ui, KG_MODE_INPUT); /* nothing is marked */
    if (!ui->lines_only)
        kg_transcript_write(ui->transcript, ROWS_MOST, false, stdout);
    kg_printable(name, sizeof name, ui->session, strlen(ui->session));
    fputs("\nThis conversation is kept. Go on with it: kedge --session ", stdout);
    print_quoted(name);
    putchar('\n');
    fflush(stdout);
}
