#include "tui/screen/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "tui/screen/clipboard.h"
#include "tui/screen/lend.h"
#include "tui/screen/restore.h"
#include "tui/screen/terminal_state.h"

#include <term.h>
#undef columns /* a capability */

#define PASTE_ON "\x1b[?2004h"
#define PASTE_OFF "\x1b[?2004l"
#define MOUSE_ON "\x1b[?1000h\x1b[?1006h" /* presses and the wheel, in the form that knows no largest column */
#define MOUSE_OFF "\x1b[?1006l\x1b[?1000l"
#define SYNC_ASK "\x1b[?2026$p"
#define ANSWER_S 1
#define SYNC_END "\x1b[?2026l"

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

static void send_string(struct kg_terminal *terminal, const char *bytes)
{
    kg_frame_add(terminal, bytes, strlen(bytes));
    kg_frame_send(terminal);
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

static enum kg_status check_streams(struct kg_error *err)
{
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        return KG_OK;
    return kg_fail(err, KG_ERR_UNSUPPORTED, "standard input and output are no terminal; use kedge -p QUESTION there");
}

/* KG_ERR_NOT_FOUND: it is not known. */
static enum kg_status check_type(void)
{
    const char *name = getenv("TERM");
    int found;
    if (!name || !*name || setupterm(name, STDOUT_FILENO, &found) != OK)
        return KG_ERR_NOT_FOUND;
    bool moves = cursor_address && clear_screen;
    del_curterm(cur_term);
    return moves ? KG_OK : KG_ERR_UNSUPPORTED;
}

bool kg_terminal_is_dumb(void)
{
    return check_type() == KG_ERR_UNSUPPORTED;
}

static enum kg_status check_terminal(struct kg_error *err)
{
    const char *name = getenv("TERM");
    enum kg_status status = check_streams(err);
    if (status != KG_OK)
        return status;
    status = check_type();
    if (status == KG_ERR_NOT_FOUND)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "terminal type '%s' is not known; set TERM, install ncurses-term, or use kedge --inline",
                       name ? name : "");
    if (status != KG_OK)
        return kg_fail(err, status, "a terminal of type '%s' cannot move its cursor; use kedge --inline there", name);
    return KG_OK;
}

/* A frame may have been cut off while some rows scrolled. The cursor stays, or goes below the frame where that stays as well. */
static void collect_all_rows(void)
{
    if (!save_cursor || !restore_cursor)
        return;
    collect_string(save_cursor);
    collect_string(kg_all_rows());
    collect_string(restore_cursor);
    if (!exit_ca_mode)
        collect_string(tparm(cursor_address, LINES - 1, 0, 0, 0, 0, 0, 0, 0, 0));
}

static void arm(const struct kg_terminal *terminal)
{
    static const char off[] = SYNC_END MOUSE_OFF PASTE_OFF;
    char bytes[256];
    collected = bytes;
    collected_length = 0;
    collected_capacity = sizeof bytes;
    for (const char *c = off + (terminal->synchronized ? 0 : sizeof SYNC_END - 1); *c; c++)
        collect(*c);
    collect_string(exit_attribute_mode);
    collect_string(orig_pair);
    collect_string(keypad_local);
    collect_string(cursor_normal);
    collect_string(exit_ca_mode);
    collect_all_rows(); /* (on the normal screen, where the cursor is the shell's again) */
    collect('\r');
    collect('\n');
    kg_restore_arm(terminal->out, bytes, collected_length, &terminal->modes);
}

/* Keys come one by one and as they are, and output goes out as it is. */
static void set_modes(const struct kg_terminal *terminal)
{
    struct termios modes = terminal->modes;
    cfmakeraw(&modes);
    modes.c_cc[VMIN] = 1;
    modes.c_cc[VTIME] = 0;
    tcsetattr(terminal->out, TCSADRAIN, &modes);
}

static void take_over(struct kg_terminal *terminal)
{
    if (!terminal->curses)
        return;
    set_modes(terminal);
    send_string(terminal, PASTE_ON);
    if (terminal->mouse)
        send_string(terminal, MOUSE_ON);
    terminal->whole = true;
}

/* Back to how it was. An answer that may still be on its way is not left for the shell. */
static void hand_back(struct kg_terminal *terminal)
{
    if (!terminal->curses)
        return;
    send_string(terminal, terminal->mouse ? MOUSE_OFF PASTE_OFF : PASTE_OFF);
    kg_frame_all_rows(terminal);
    endwin();
    kg_frame_take(terminal);
    kg_frame_send(terminal);
    bool answering = terminal->asked && !terminal->answered && time(NULL) - terminal->asked_at <= ANSWER_S;
    tcsetattr(terminal->out, answering ? TCSAFLUSH : TCSADRAIN, &terminal->modes);
}

/* Within KG_SCREEN_MOST; 24 by 80 where it is not known. */
static void size_of(const struct kg_terminal *terminal, int *rows, int *columns)
{
    struct winsize size;
    *rows = 24;
    *columns = 80;
    if (ioctl(terminal->out, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
        *rows = size.ws_row < KG_SCREEN_MOST ? size.ws_row : KG_SCREEN_MOST;
        *columns = size.ws_col < KG_SCREEN_MOST ? size.ws_col : KG_SCREEN_MOST;
    }
}

/* Whether it can show a frame at once; the answer comes among the keys. Asked before the first frame, which clears what one that does
 * not understand makes of it. */
static void ask_synchronized(struct kg_terminal *terminal)
{
    static const char *const kinds[] = { "xterm", "tmux", "screen", "alacritty", "foot", "ghostty", "contour", "mintty", "rio", "wezterm" };
    const char *term = getenv("TERM"), *program = getenv("TERM_PROGRAM");
    if (!term || (program && strcmp(program, "Apple_Terminal") == 0))
        return;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && !terminal->asked; i++)
        terminal->asked = strncmp(term, kinds[i], strlen(kinds[i])) == 0;
    if (terminal->asked)
        send_string(terminal, SYNC_ASK);
    terminal->asked_at = time(NULL);
}

/* Curses has to be told the size, as it cannot ask its file: from the environment. Nobody needs it there later: curses would go by it
 * after a change, and programs that are started here ask the terminal. */
static void start_sized(struct kg_terminal *terminal)
{
    static const char *const names[] = { "LINES", "COLUMNS" };
    char number[16];
    int size[2];
    size_of(terminal, &size[0], &size[1]);
    for (int i = 0; i < 2; i++) {
        snprintf(number, sizeof number, "%d", size[i]);
        setenv(names[i], number, 1);
    }
    terminal->curses = newterm(NULL, terminal->sink, terminal->in);
    for (int i = 0; i < 2; i++)
        unsetenv(names[i]);
}

static enum kg_status start_curses(struct kg_terminal *terminal, const struct kg_theme *theme, enum kg_colours colours, struct kg_error *err)
{
    start_sized(terminal);
    if (!terminal->curses)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "a terminal of type '%s' cannot be used; use kedge --inline there", getenv("TERM"));
    arm(terminal);
    kg_palette_set(&terminal->palette, theme, colours);
    typeahead(-1); /* a frame is sent whole */
    nonl();
    keypad(stdscr, TRUE);
    scrollok(stdscr, FALSE);
    idlok(stdscr, FALSE);
    take_over(terminal); /* before it is asked: answers are not echoed */
    ask_synchronized(terminal);
    terminal->sent = kg_screen_create(LINES, COLS);
    return terminal->sent ? KG_OK : kg_fail_nomem(err, "opening the interface");
}

/* A file in memory for curses, and duplicates of the terminal's descriptors: 1 and 2 may go elsewhere. */
static bool open_streams(struct kg_terminal *terminal)
{
    int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), sink = memfd_create("kedge-frame", MFD_CLOEXEC);
    terminal->in = in < 0 ? NULL : fdopen(in, "r");
    terminal->sink = sink < 0 ? NULL : fdopen(sink, "w");
    terminal->out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    return terminal->in && terminal->sink && terminal->out >= 0 && tcgetattr(terminal->out, &terminal->modes) == 0;
}

static enum kg_status create(struct kg_terminal **out, struct kg_error *err)
{
    struct kg_terminal *terminal = calloc(1, sizeof *terminal);
    if (!terminal)
        return kg_fail_nomem(err, "opening the interface");
    terminal->utf8 = choose_locale();
    if (!open_streams(terminal)) {
        enum kg_status status = kg_fail(err, KG_ERR_IO, "cannot open the terminal: %s", strerror(errno));
        kg_terminal_close(terminal);
        return status;
    }
    *out = terminal;
    return KG_OK;
}

enum kg_status kg_terminal_open_plain(struct kg_terminal **out, struct kg_error *err)
{
    enum kg_status status = check_streams(err);
    return status == KG_OK ? create(out, err) : status;
}

void kg_terminal_print(struct kg_terminal *terminal, const char *text, size_t length)
{
    kg_frame_add(terminal, text, length);
    kg_frame_send(terminal);
}

enum kg_status kg_terminal_open(const struct kg_theme *theme, enum kg_colours colours, struct kg_terminal **out, struct kg_error *err)
{
    enum kg_status status = check_terminal(err);
    if (status == KG_OK)
        status = create(out, err);
    if (status != KG_OK)
        return status;
    status = start_curses(*out, theme, colours, err);
    if (status != KG_OK) {
        kg_terminal_close(*out);
        *out = NULL;
    }
    return status;
}

void kg_terminal_close(struct kg_terminal *terminal)
{
    if (!terminal)
        return;
    if (terminal->curses) {
        hand_back(terminal);
        kg_restore_disarm();
        delscreen(terminal->curses);
    }
    if (terminal->in)
        fclose(terminal->in);
    if (terminal->sink)
        fclose(terminal->sink);
    if (terminal->out > 0)
        close(terminal->out);
    free(terminal->frame.bytes);
    free(terminal->ready.bytes);
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

/* It knows mode 2026: it is off (2), or on (1). Keys leave such answers out. */
static void hear_answer(struct kg_terminal *terminal, const char *bytes, size_t length)
{
    static const char known[] = "\x1b[?2026;";
    const char *at = terminal->asked && !terminal->synchronized ? memmem(bytes, length, known, sizeof known - 1) : NULL;
    if (!at || at + sizeof known >= bytes + length)
        return;
    terminal->answered = true;
    terminal->synchronized = at[sizeof known - 1] == '1' || at[sizeof known - 1] == '2';
    if (terminal->synchronized)
        arm(terminal);
}

long kg_terminal_read(struct kg_terminal *terminal, char *out, size_t capacity)
{
    char bytes[4096];
    size_t most = sizeof bytes < capacity / 4 ? sizeof bytes : capacity / 4;
    ssize_t n;
    do
        n = terminal->utf8 ? read(fileno(terminal->in), out, capacity) : read(fileno(terminal->in), bytes, most);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        hear_answer(terminal, terminal->utf8 ? out : bytes, (size_t)n);
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
    int r, c;
    size_of(terminal, &r, &c);
    if (!terminal->curses) {
        *rows = r;
        *columns = c;
        return;
    }
    if (r != LINES || c != COLS) {
        resizeterm(r, c);
        arm(terminal); /* all rows are others now */
    }
    if (r != terminal->sent->rows || c != terminal->sent->columns)
        kg_screen_resize(terminal->sent, r, c);
    terminal->whole = true;
    *rows = terminal->sent->rows;
    *columns = terminal->sent->columns;
}

bool kg_terminal_heed(struct kg_terminal *terminal, const struct kg_heard *heard, struct kg_screen *screen)
{
    int rows, columns;
    if (heard->suspended)
        kg_terminal_suspend(terminal);
    if (heard->continued)
        take_over(terminal);
    if (!heard->resized && !heard->suspended && !heard->continued)
        return false;
    kg_terminal_measure(terminal, &rows, &columns);
    if (rows != screen->rows || columns != screen->columns)
        kg_screen_resize(screen, rows, columns);
    return true;
}

void kg_terminal_redraw(struct kg_terminal *terminal)
{
    terminal->whole = true;
}

void kg_terminal_suspend(struct kg_terminal *terminal)
{
    hand_back(terminal);
    struct sigaction stop = { .sa_handler = SIG_DFL }, before;
    sigaction(SIGTSTP, &stop, &before);
    raise(SIGTSTP);
    sigaction(SIGTSTP, &before, NULL);
    take_over(terminal);
}

bool kg_terminal_copy(struct kg_terminal *terminal, const char *text, size_t length)
{
    size_t bytes;
    char *sequence = kg_clipboard_sequence(text, length, kg_clipboard_way(), &bytes);
    if (!sequence)
        return false;
    kg_frame_add(terminal, sequence, bytes);
    kg_frame_send(terminal);
    free(sequence);
    return true;
}

int kg_terminal_lend(struct kg_terminal *terminal, const char *command, const char *input, size_t length)
{
    hand_back(terminal);
    kg_restore_disarm();
    int result = kg_lend(fileno(terminal->in), terminal->out, command, input, length);
    if (terminal->curses)
        arm(terminal);
    take_over(terminal);
    return result;
}

bool kg_terminal_mouse(struct kg_terminal *terminal)
{
    if (!terminal->curses)
        return false;
    terminal->mouse = !terminal->mouse;
    send_string(terminal, terminal->mouse ? MOUSE_ON : MOUSE_OFF);
    return terminal->mouse;
}

void kg_terminal_bell(struct kg_terminal *terminal)
{
    if (!terminal->curses) {
        send_string(terminal, "\a");
        return;
    }
    beep();
    kg_frame_take(terminal);
    kg_frame_send(terminal);
}
