#include "tui/screen/terminal.h"

#include <errno.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>
#include <wchar.h>

#define NCURSES_NOMACROS
#include <curses.h>
#include <term.h>
#undef columns /* term.h's name of a capability */

#include "tui/screen/clipboard.h"
#include "tui/screen/lend.h"
#include "tui/screen/restore.h"

#define PASTE_ON "\x1b[?2004h"
#define PASTE_OFF "\x1b[?2004l"

struct kg_terminal {
    FILE *in, *out; /* duplicates of 0 and 1 */
    SCREEN *curses;
    struct termios modes; /* as they were */
    struct kg_screen *sent; /* what the terminal shows; of the size measured last */
    bool whole;             /* what it shows is not known */
    bool utf8;
    attr_t attributes[KG_STYLE_COUNT];
    short pairs[KG_STYLE_COUNT];
};

static char *collected; /* where `collect` writes: terminfo's output function has no context */
static size_t collected_length, collected_capacity;

static int collect(int c)
{
    if (collected_length < collected_capacity)
        collected[collected_length++] = (char)c;
    return c;
}

static void collect_string(const char *capability)
{
    if (capability)
        tputs(capability, 1, collect);
}

static void write_all(const struct kg_terminal *terminal, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fileno(terminal->out), bytes, length);
        if (n < 0 && errno != EINTR)
            return; /* the terminal is gone: reading will tell */
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        }
    }
}

/* Curses counts columns by the locale; kedge speaks UTF-8 unless the person chose another character set. */
static bool choose_locale(void)
{
    if (setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
        return true;
    const char *name = setlocale(LC_CTYPE, NULL);
    if (!name || strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0)
        return setlocale(LC_CTYPE, "C.UTF-8") != NULL;
    return false;
}

static enum kg_status check_terminal(struct kg_error *err)
{
    const char *name = getenv("TERM");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "standard input and output are no terminal; use kedge -p QUESTION there");
    int found;
    if (!name || !*name || setupterm(name, STDOUT_FILENO, &found) != OK)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "terminal type '%s' is not known; set TERM, install ncurses-term, or use kedge -p QUESTION",
                       name ? name : "");
    bool moves = cursor_address && clear_screen;
    del_curterm(cur_term);
    if (!moves)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "a terminal of type '%s' cannot move its cursor; use kedge -p QUESTION there", name);
    return KG_OK;
}

/* Colours that are used: as many as wanted, and never more than there are. */
static enum kg_colours count_colours(enum kg_colours wanted)
{
    const char *no_colour = getenv("NO_COLOR");
    bool none = wanted == KG_COLOURS_NONE || (wanted == KG_COLOURS_AUTO && no_colour && *no_colour);
    if (none || start_color() != OK || use_default_colors() != OK || COLORS < 8)
        return KG_COLOURS_NONE;
    return COLORS >= 256 && wanted != KG_COLOURS_16 ? KG_COLOURS_256 : KG_COLOURS_16;
}

/* Where there are only eight, a bright colour is the plain one in bold. */
static short colour_of(int colour, attr_t *attributes)
{
    if (colour < 8 || colour < COLORS)
        return (short)colour;
    *attributes |= A_BOLD;
    return (short)(colour % 8);
}

static void set_styles(struct kg_terminal *terminal, const struct kg_theme *theme, enum kg_colours wanted)
{
    static const struct {
        unsigned flag;
        attr_t attribute;
    } known[] = { { KG_BOLD, A_BOLD }, { KG_FAINT, A_DIM }, { KG_ITALIC, A_ITALIC }, { KG_UNDERLINE, A_UNDERLINE }, { KG_REVERSE, A_REVERSE } };
    enum kg_colours colours = count_colours(wanted);
    for (int i = 0; i < KG_STYLE_COUNT; i++) {
        const struct kg_look *look = &theme->looks[i][colours];
        attr_t attributes = A_NORMAL, behind = A_NORMAL;
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            attributes |= look->attributes & known[k].flag ? known[k].attribute : A_NORMAL;
        short pair = (short)(i + 1);
        if (colours != KG_COLOURS_NONE && (look->foreground >= 0 || look->background >= 0) &&
            init_pair(pair, colour_of(look->foreground, &attributes), colour_of(look->background, &behind)) == OK)
            terminal->pairs[i] = pair;
        terminal->attributes[i] = attributes;
    }
}

static void arm(const struct kg_terminal *terminal)
{
    char bytes[256];
    collected = bytes;
    collected_length = 0;
    collected_capacity = sizeof bytes;
    for (const char *c = PASTE_OFF; *c; c++)
        collect(*c);
    collect_string(exit_attribute_mode);
    collect_string(orig_pair);
    collect_string(keypad_local);
    collect_string(cursor_normal);
    collect_string(exit_ca_mode);
    collect('\r');
    collect('\n');
    kg_restore_arm(fileno(terminal->out), bytes, collected_length, &terminal->modes);
}

static void take_over(struct kg_terminal *terminal)
{
    raw();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    scrollok(stdscr, FALSE);
    idlok(stdscr, FALSE);
    write_all(terminal, PASTE_ON, sizeof PASTE_ON - 1);
    terminal->whole = true;
}

static enum kg_status start_curses(struct kg_terminal *terminal, const struct kg_theme *theme, enum kg_colours colours, struct kg_error *err)
{
    use_env(FALSE); /* the size is the terminal's, not the environment's */
    use_tioctl(TRUE);
    terminal->curses = newterm(NULL, terminal->out, terminal->in);
    if (!terminal->curses)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "a terminal of type '%s' cannot be used; use kedge -p QUESTION there", getenv("TERM"));
    arm(terminal);
    set_styles(terminal, theme, colours);
    take_over(terminal);
    terminal->sent = kg_screen_create(LINES, COLS);
    return terminal->sent ? KG_OK : kg_fail_nomem(err, "opening the interface");
}

enum kg_status kg_terminal_open(const struct kg_theme *theme, enum kg_colours colours, struct kg_terminal **out, struct kg_error *err)
{
    enum kg_status status = check_terminal(err);
    if (status != KG_OK)
        return status;
    struct kg_terminal *terminal = calloc(1, sizeof *terminal);
    if (!terminal)
        return kg_fail_nomem(err, "opening the interface");
    terminal->utf8 = choose_locale();
    int in = dup(STDIN_FILENO), output = dup(STDOUT_FILENO);
    terminal->in = in < 0 ? NULL : fdopen(in, "r");
    terminal->out = output < 0 ? NULL : fdopen(output, "w");
    if (!terminal->in || !terminal->out || tcgetattr(in, &terminal->modes) != 0)
        status = kg_fail(err, KG_ERR_IO, "cannot open the terminal: %s", strerror(errno));
    else
        status = start_curses(terminal, theme, colours, err);
    if (status != KG_OK) {
        kg_terminal_close(terminal);
        return status;
    }
    *out = terminal;
    return KG_OK;
}

void kg_terminal_close(struct kg_terminal *terminal)
{
    if (!terminal)
        return;
    if (terminal->curses) {
        write_all(terminal, PASTE_OFF, sizeof PASTE_OFF - 1);
        endwin();
        kg_restore_disarm();
        tcsetattr(fileno(terminal->out), TCSADRAIN, &terminal->modes);
        delscreen(terminal->curses);
    }
    if (terminal->in)
        fclose(terminal->in);
    if (terminal->out)
        fclose(terminal->out);
    kg_screen_free(terminal->sent);
    free(terminal);
}

int kg_terminal_input(const struct kg_terminal *terminal)
{
    return fileno(terminal->in);
}

/* Bytes of the locale's character set as UTF-8; out has room for four times as many. */
static size_t to_utf8(const char *bytes, size_t length, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        wint_t wide = btowc((unsigned char)bytes[i]);
        used += kg_utf8_encode(wide == WEOF ? 0xfffd : (uint32_t)wide, out + used);
    }
    return used;
}

long kg_terminal_read(struct kg_terminal *terminal, char *out, size_t capacity)
{
    char bytes[4096];
    size_t most = sizeof bytes < capacity / 4 ? sizeof bytes : capacity / 4;
    ssize_t n;
    do
        n = terminal->utf8 ? read(fileno(terminal->in), out, capacity) : read(fileno(terminal->in), bytes, most);
    while (n < 0 && errno == EINTR);
    if (n > 0 && !terminal->utf8)
        return (long)to_utf8(bytes, (size_t)n, out);
    return n > 0 ? n : n < 0 && errno == EAGAIN ? 0 : -1;
}

void kg_terminal_teach(const struct kg_terminal *terminal, struct kg_keys *keys)
{
    static const struct {
        const char *capability;
        enum kg_key_code code;
        unsigned modifiers;
    } known[] = {
        { "kcuu1", KG_KEY_UP, 0 },         { "kcud1", KG_KEY_DOWN, 0 },       { "kcub1", KG_KEY_LEFT, 0 },
        { "kcuf1", KG_KEY_RIGHT, 0 },      { "khome", KG_KEY_HOME, 0 },       { "kend", KG_KEY_END, 0 },
        { "kpp", KG_KEY_PAGE_UP, 0 },      { "knp", KG_KEY_PAGE_DOWN, 0 },    { "kdch1", KG_KEY_DELETE, 0 },
        { "kich1", KG_KEY_INSERT, 0 },     { "kbs", KG_KEY_BACKSPACE, 0 },    { "kcbt", KG_KEY_TAB, KG_SHIFT },
        { "kUP5", KG_KEY_UP, KG_CONTROL }, { "kDN5", KG_KEY_DOWN, KG_CONTROL }, { "kent", KG_KEY_ENTER, 0 },
    };
    (void)terminal;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *sequence = tigetstr(known[i].capability);
        if (sequence && sequence != (char *)-1)
            kg_keys_teach(keys, sequence, known[i].code, known[i].modifiers);
    }
}

void kg_terminal_measure(struct kg_terminal *terminal, int *rows, int *columns)
{
    struct winsize size;
    int r = LINES, c = COLS;
    if (ioctl(fileno(terminal->out), TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
        r = size.ws_row < KG_SCREEN_MOST ? size.ws_row : KG_SCREEN_MOST;
        c = size.ws_col < KG_SCREEN_MOST ? size.ws_col : KG_SCREEN_MOST;
    }
    if (r != LINES || c != COLS)
        resizeterm(r, c);
    if (r != terminal->sent->rows || c != terminal->sent->columns)
        kg_screen_resize(terminal->sent, r, c);
    terminal->whole = true;
    *rows = terminal->sent->rows;
    *columns = terminal->sent->columns;
}

static attr_t attributes_of(const struct kg_terminal *terminal, unsigned style)
{
    attr_t attributes = terminal->attributes[style & 0xff];
    attributes |= style & KG_BOLD ? A_BOLD : 0;
    attributes |= style & KG_ITALIC ? A_ITALIC : 0;
    attributes |= style & KG_UNDERLINE ? A_UNDERLINE : 0;
    return style & KG_REVERSE ? attributes ^ A_REVERSE : attributes;
}

/* Characters whose width terminals do not agree on, or of which the C library thinks otherwise than utf8proc. */
static bool is_doubtful(const struct kg_cell *cell)
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
    } known[] = { { 0x2026, '~' }, { 0x203a, '>' }, { 0xb7, '-' }, { 0x2022, '*' }, { 0x2500, '-' }, { 0x2193, 'v' }, { 0x25cc, 'o' } };
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
    if (setcchar(&curses_cell, wide, attributes_of(terminal, cell->style), terminal->pairs[cell->style & 0xff], NULL) == OK)
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
        bool doubt = is_doubtful(cell), last = column + cell->width >= screen->columns; /* could run over the edge */
        uint32_t alone[KG_CELL_CHARS] = { !terminal->utf8 ? plain(cell->chars[0]) : last ? '?' : ' ' };
        bool replaced = doubt || (!terminal->utf8 && (alone[0] != cell->chars[0] || cell->chars[1]));
        for (unsigned i = 0; i < (replaced ? cell->width : 1U); i++)
            put_cell(terminal, cell, replaced ? alone : cell->chars);
        doubtful |= doubt && terminal->utf8;
    }
    return doubtful;
}

static void collect_cell(const struct kg_terminal *terminal, const struct kg_screen *screen, int row, int column)
{
    const struct kg_cell *cell = kg_screen_cell(screen, row, column);
    collect_string(tparm(cursor_address, row, column, 0, 0, 0, 0, 0, 0, 0));
    vid_puts(attributes_of(terminal, cell->style), terminal->pairs[cell->style & 0xff], NULL, collect);
    for (unsigned i = 0; i < KG_CELL_CHARS && cell->chars[i]; i++) {
        char bytes[4];
        unsigned n = kg_utf8_encode(cell->chars[i], bytes);
        for (unsigned k = 0; k < n; k++)
            collect(bytes[k]);
    }
}

/* Doubtful characters of a row, each put at its place by address, and what follows it put again behind it: whatever
 * width the terminal gives them, nothing else moves. Curses knows of blanks there. */
static void put_doubtful(const struct kg_terminal *terminal, const struct kg_screen *screen, int row)
{
    for (int column = 0; column < screen->columns; column++) {
        const struct kg_cell *cell = kg_screen_cell(screen, row, column);
        int behind = column + cell->width;
        if (cell->width == 0 || !is_doubtful(cell) || behind >= screen->columns)
            continue;
        char bytes[1024];
        collected = bytes;
        collected_length = 0;
        collected_capacity = sizeof bytes;
        collect_cell(terminal, screen, row, column);
        if (!is_doubtful(kg_screen_cell(screen, row, behind)))
            collect_cell(terminal, screen, row, behind);
        write_all(terminal, bytes, collected_length);
    }
}

static void park_cursor(const struct kg_terminal *terminal, int row, int column)
{
    char bytes[64];
    collected = bytes;
    collected_length = 0;
    collected_capacity = sizeof bytes;
    collect_string(tparm(cursor_address, row, column, 0, 0, 0, 0, 0, 0, 0));
    write_all(terminal, bytes, collected_length);
}

/* Puts rows that differ; marks in doubtful[] those that need put_doubtful after curses is done. */
static bool put_changed(struct kg_terminal *terminal, const struct kg_screen *screen, bool *doubtful)
{
    struct kg_screen *sent = terminal->sent;
    bool any = false;
    for (int row = 0; row < screen->rows; row++) {
        const struct kg_cell *new = kg_screen_cell(screen, row, 0);
        struct kg_cell *old = sent->cells + (size_t)row * (size_t)sent->columns;
        size_t bytes = (size_t)screen->columns * sizeof *new;
        if (!terminal->whole && memcmp(new, old, bytes) == 0)
            continue;
        bool had = false;
        for (int column = 0; column < sent->columns && !had; column++)
            had = old[column].width > 0 && is_doubtful(&old[column]);
        doubtful[row] = put_row(terminal, screen, row);
        if (had || doubtful[row])
            wredrawln(stdscr, row, 1);
        any |= doubtful[row];
        memcpy(old, new, bytes);
    }
    return any;
}

void kg_terminal_show(struct kg_terminal *terminal, const struct kg_screen *screen)
{
    static bool doubtful[KG_SCREEN_MOST];
    if (screen->rows != terminal->sent->rows || screen->columns != terminal->sent->columns)
        return; /* a resize is on its way */
    memset(doubtful, 0, (size_t)screen->rows);
    if (terminal->whole)
        clearok(curscr, TRUE);
    bool any = put_changed(terminal, screen, doubtful);
    terminal->whole = false;
    curs_set(screen->cursor_row >= 0);
    int row = screen->cursor_row >= 0 ? screen->cursor_row : 0, column = screen->cursor_row >= 0 ? screen->cursor_column : 0;
    wmove(stdscr, row, column);
    wnoutrefresh(stdscr);
    doupdate();
    if (!any)
        return;
    for (int i = 0; i < screen->rows; i++)
        if (doubtful[i])
            put_doubtful(terminal, screen, i);
    park_cursor(terminal, row, column);
}

void kg_terminal_redraw(struct kg_terminal *terminal)
{
    terminal->whole = true;
}

void kg_terminal_suspend(struct kg_terminal *terminal)
{
    write_all(terminal, PASTE_OFF, sizeof PASTE_OFF - 1);
    endwin();
    struct sigaction stop = { .sa_handler = SIG_DFL }, before;
    sigaction(SIGTSTP, &stop, &before);
    raise(SIGTSTP);
    sigaction(SIGTSTP, &before, NULL);
    kg_terminal_retake(terminal);
}

void kg_terminal_retake(struct kg_terminal *terminal)
{
    reset_prog_mode();
    take_over(terminal);
}

bool kg_terminal_copy(struct kg_terminal *terminal, const char *text, size_t length)
{
    size_t bytes;
    char *sequence = kg_clipboard_sequence(text, length, kg_clipboard_way(), &bytes);
    if (!sequence)
        return false;
    write_all(terminal, sequence, bytes);
    free(sequence);
    return true;
}

int kg_terminal_lend(struct kg_terminal *terminal, const char *command, const char *input, size_t length)
{
    write_all(terminal, PASTE_OFF, sizeof PASTE_OFF - 1);
    endwin();
    kg_restore_disarm();
    tcsetattr(fileno(terminal->out), TCSADRAIN, &terminal->modes);
    int result = kg_lend(fileno(terminal->in), fileno(terminal->out), command, input, length);
    arm(terminal);
    kg_terminal_retake(terminal);
    return result;
}

void kg_terminal_bell(struct kg_terminal *terminal)
{
    (void)terminal;
    beep();
}
