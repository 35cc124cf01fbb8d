#include "tui/interface/leaving.h"

#include <stdio.h>
#include <string.h>

#define ROWS_MOST 20
#define ROW_BYTES ((size_t)KG_SCREEN_MOST * 4)

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

static void print_rows(struct kg_interface *ui, int rows)
{
    static char text[ROW_BYTES];
    kg_screen_clear(ui->screen);
    kg_transcript_set_window(ui->transcript, rows, ui->screen->columns);
    kg_transcript_to_end(ui->transcript);
    int drawn = kg_transcript_draw(ui->transcript, ui->screen, 0), first = 0;
    for (; first < drawn; first++) {
        kg_screen_row_text(ui->screen, first, text, sizeof text);
        if (*text)
            break;
    }
    for (int row = first; row < drawn; row++) {
        kg_screen_row_text(ui->screen, row, text, sizeof text);
        puts(text);
    }
}

void kg_leaving_print(struct kg_interface *ui)
{
    char name[sizeof ui->session * 4];
    if (!ui->asked || !ui->session[0])
        return;
    int rows = ui->screen->rows - 4 < ROWS_MOST ? ui->screen->rows - 4 : ROWS_MOST;
    if (rows > 0)
        print_rows(ui, rows);
    kg_printable(name, sizeof name, ui->session, strlen(ui->session));
    fputs("\nThis conversation is kept. Go on with it: kedge --session ", stdout);
    print_quoted(name);
    putchar('\n');
    fflush(stdout);
}
