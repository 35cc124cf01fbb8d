/* Screens to the terminal: what differs from the one before. */
#include <limits.h>
#include <string.h>
#include <utf8proc.h>
#include <wchar.h>

#include "tui/screen/terminal_state.h"

#include <term.h>
#undef columns /* a capability */

static struct kg_terminal *collecting; /* whose frame `collect` adds to: terminfo's output function has no context */

static int collect(int c)
{
    char byte = (char)c;
    kg_frame_add(collecting, &byte, 1);
    return c;
}

static void collect_string(const char *capability)
{
    if (capability)
        tputs(capability, 1, collect);
}

static attr_t attributes_of(const struct kg_terminal *terminal, unsigned style)
{
    attr_t attributes = terminal->palette.attributes[style & 0xff];
    attributes |= style & KG_BOLD ? A_BOLD : 0;
    attributes |= style & KG_ITALIC ? A_ITALIC : 0;
    attributes |= style & KG_UNDERLINE ? A_UNDERLINE : 0;
    return style & KG_REVERSE ? attributes ^ A_REVERSE : attributes;
}

bool kg_cell_is_doubtful(const struct kg_cell *cell)
{
    if (cell->chars[0] < 0x300 && cell->chars[1] == 0)
        return false;
    if (cell->chars[0] >= 0x1f000 && cell->chars[0] < 0x20000)
        return true;
    if (wcwidth((wchar_t)cell->chars[0]) != cell->width || utf8proc_category((utf8proc_int32_t)cell->chars[0]) == UTF8PROC_CATEGORY_MC)
        return true;
    for (unsigned i = 1; i < KG_CELL_CHARS && cell->chars[i]; i++)
        if (wcwidth((wchar_t)cell->chars[i]) != 0)
            return true;
    return false;
}

/* For character sets that are not UTF-8: the character itself, or what comes near it. */
static uint32_t plain(uint32_t code)
{
    static const struct {
        uint32_t code;
        char plain;
    } known[] = { { 0x2026, '~' }, { 0x203a, '>' }, { 0x2039, '<' }, { 0xb7, '-' }, { 0x2022, '*' }, { 0x2500, '-' }, { 0x2193, 'v' }, { 0x25cc, 'o' } };
    char bytes[MB_LEN_MAX];
    mbstate_t state = { 0 };
    if (code < 0x80 || wcrtomb(bytes, (wchar_t)code, &state) != (size_t)-1)
        return code;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].code == code)
            return (unsigned char)known[i].plain;
    return '?';
}

static void put_cell(const struct kg_terminal *terminal, const struct kg_cell *cell, const uint32_t *chars)
{
    wchar_t wide[KG_CELL_CHARS + 1] = { 0 };
    for (unsigned i = 0; i < KG_CELL_CHARS && chars[i]; i++)
        wide[i] = (wchar_t)chars[i];
    cchar_t curses_cell;
    if (setcchar(&curses_cell, wide, attributes_of(terminal, cell->style), terminal->palette.pairs[cell->style & 0xff], NULL) == OK)
        wadd_wch(stdscr, &curses_cell);
}

/* Gives a row to curses, with blanks where a doubtful character belongs; true if there are such. */
static bool put_row(const struct kg_terminal *terminal, const struct kg_screen *screen, int row)
{
    bool doubtful = false;
    wmove(stdscr, row, 0);
    for (int column = 0; column < screen->columns; column++) {
        const struct kg_cell *cell = kg_screen_cell(screen, row, column);
        if (cell->width == 0)
            continue;
        bool doubt = kg_cell_is_doubtful(cell), last = column + cell->width >= screen->columns; /* could run over the edge */
        uint32_t alone[KG_CELL_CHARS] = { !terminal->utf8 ? plain(cell->chars[0]) : last ? '?' : ' ' };
        /* (behind the last column some terminals do not find the character that marks belong to) */
        bool corner = last && cell->chars[1] && terminal->utf8 && !doubt;
        if (corner)
            alone[0] = cell->chars[0];
        bool replaced = doubt || corner || (!terminal->utf8 && (alone[0] != cell->chars[0] || cell->chars[1]));
        for (unsigned i = 0; i < (replaced && !corner ? cell->width : 1U); i++)
            put_cell(terminal, cell, replaced ? alone : cell->chars);
        doubtful |= doubt && terminal->utf8;
    }
    return doubtful;
}

static void collect_cell(const struct kg_terminal *terminal, const struct kg_screen *screen, int row, int column)
{
    const struct kg_cell *cell = kg_screen_cell(screen, row, column);
    collect_string(tparm(cursor_address, row, column, 0, 0, 0, 0, 0, 0, 0));
    vid_puts(attributes_of(terminal, cell->style), terminal->palette.pairs[cell->style & 0xff], NULL, collect);
    for (unsigned i = 0; i < KG_CELL_CHARS && cell->chars[i]; i++) {
        char bytes[4];
        unsigned n = kg_utf8_encode(cell->chars[i], bytes);
        kg_frame_add(collecting, bytes, n);
    }
}

/* Doubtful characters of a row, each put at its place by address, and what follows it put again behind it: whatever
 * width the terminal gives them, nothing else moves. Curses knows of blanks there. */
static void put_doubtful(const struct kg_terminal *terminal, const struct kg_screen *screen, int row)
{
    for (int column = 0; column < screen->columns; column++) {
        const struct kg_cell *cell = kg_screen_cell(screen, row, column);
        int behind = column + cell->width;
        if (cell->width == 0 || !kg_cell_is_doubtful(cell) || behind >= screen->columns)
            continue;
        collect_cell(terminal, screen, row, column);
        if (!kg_cell_is_doubtful(kg_screen_cell(screen, row, behind)))
            collect_cell(terminal, screen, row, behind);
    }
}

static bool has_doubtful(const struct kg_cell *cells, int columns)
{
    for (int column = 0; column < columns; column++)
        if (cells[column].width > 0 && kg_cell_is_doubtful(&cells[column]))
            return true;
    return false;
}

/* Curses moves rows that it finds elsewhere, and what it has blanks for goes with them: that cannot be while one row differs at most. */
static bool may_scroll(const struct kg_terminal *terminal, const struct kg_screen *screen)
{
    size_t bytes = (size_t)screen->columns * sizeof *screen->cells;
    int differ = 0;
    for (int row = 0; row < screen->rows && differ < 2; row++)
        differ += memcmp(kg_screen_cell(screen, row, 0), terminal->sent->cells + (size_t)row * (size_t)screen->columns, bytes) != 0;
    return differ > 1;
}

/* Puts rows that differ; marks in doubtful[] those that need put_doubtful after curses is done. */
static bool put_changed(struct kg_terminal *terminal, const struct kg_screen *screen, bool *doubtful)
{
    struct kg_screen *sent = terminal->sent;
    bool any = false, scrolls = may_scroll(terminal, screen);
    for (int row = 0; row < screen->rows; row++) {
        const struct kg_cell *new = kg_screen_cell(screen, row, 0);
        struct kg_cell *old = sent->cells + (size_t)row * (size_t)sent->columns;
        size_t bytes = (size_t)screen->columns * sizeof *new;
        bool same = !terminal->whole && memcmp(new, old, bytes) == 0;
        if (same && !scrolls)
            continue;
        bool had = has_doubtful(old, sent->columns);
        if (same && !had)
            continue;
        doubtful[row] = put_row(terminal, screen, row);
        if (had || doubtful[row])
            wredrawln(stdscr, row, 1);
        any |= doubtful[row];
        memcpy(old, new, bytes);
    }
    return any;
}

const char *kg_all_rows(void)
{
    if (!change_scroll_region)
        return NULL;
    bool ansi = strncmp(change_scroll_region, "\x1b[", 2) == 0 && strstr(change_scroll_region, "dr");
    return ansi ? "\x1b[r" : tparm(change_scroll_region, 0, LINES - 1, 0, 0, 0, 0, 0, 0, 0);
}

void kg_frame_all_rows(struct kg_terminal *terminal)
{
    if (isendwin())
        return;
    kg_frame_take(terminal);
    collecting = terminal;
    collect_string(kg_all_rows());
}

void kg_terminal_show(struct kg_terminal *terminal, const struct kg_screen *screen)
{
    static bool doubtful[KG_SCREEN_MOST];
    if (!terminal->curses || screen->rows != terminal->sent->rows || screen->columns != terminal->sent->columns)
        return; /* a resize is on its way */
    memset(doubtful, 0, (size_t)screen->rows);
    if (terminal->whole) {
        clearok(curscr, TRUE);
        kg_frame_all_rows(terminal);
    }
    collecting = terminal;
    bool any = put_changed(terminal, screen, doubtful);
    terminal->whole = false;
    curs_set(screen->cursor_row >= 0);
    int row = screen->cursor_row >= 0 ? screen->cursor_row : 0, column = screen->cursor_row >= 0 ? screen->cursor_column : 0;
    wmove(stdscr, row, column);
    wnoutrefresh(stdscr);
    doupdate();
    kg_frame_take(terminal);
    for (int i = 0; any && i < screen->rows; i++)
        if (doubtful[i])
            put_doubtful(terminal, screen, i);
    if (any)
        collect_string(tparm(cursor_address, row, column, 0, 0, 0, 0, 0, 0, 0));
    kg_frame_send(terminal);
}
