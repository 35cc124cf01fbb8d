/* Whatever is typed, however the window changes: at every step the terminal shows what the model of the screen holds.
 *
 * The program under test leaves its model in a file that both have in memory, and stands still between two frames while the test
 * compares. Linked with --wrap for kg_terminal_show and kg_terminal_heed, for write, to count what it sends, and for poll, to know when
 * it has nothing to do.
 */
#include "tests/screens/scripted_interface.h"

#include <locale.h>
#include <poll.h>
#include <sys/mman.h>

#include "tui/screen/terminal_state.h"

enum { ROWS_MOST = 64, COLUMNS_MOST = 160 };

struct model {
    atomic_int wanted; /* by the test: stand still behind every frame */
    atomic_int held;   /* it does, until this is set to 0 */
    atomic_ulong sent; /* bytes to the terminal so far */
    atomic_uint measured; /* times that it was */
    atomic_int rested; /* milliseconds that it had nothing to do since the test set this to 0: however slow it is, that counts the same */
    int rows, columns, cursor_row, cursor_column;
    struct kg_cell cells[ROWS_MOST * COLUMNS_MOST];
};

static struct model *model;
static bool is_program; /* this is the one under test */

static void map_model(const char *place)
{
    char path[128];
    snprintf(path, sizeof path, "%s/model", place);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *model) != 0)
        abort();
    model = mmap(NULL, sizeof *model, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (model == MAP_FAILED)
        abort();
}

ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
    ssize_t n = __real_write(fd, bytes, length);
    if (is_program && n > 0 && isatty(fd))
        atomic_fetch_add(&model->sent, (unsigned long)n);
    return n;
}

int __real_poll(struct pollfd *watched, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *watched, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *watched, nfds_t count, int timeout_ms)
{
    enum { SLICE = 10 };
    bool counts = is_program && gettid() == getpid();
    for (int left = timeout_ms;; left -= left < 0 ? 0 : SLICE) {
        bool last = !counts || (left >= 0 && left <= SLICE);
        int ready = __real_poll(watched, count, last ? left : SLICE);
        if (last || ready != 0)
            return ready;
        atomic_fetch_add(&model->rested, SLICE);
    }
}

void __real_kg_terminal_show(struct kg_terminal *terminal, const struct kg_screen *screen);
void __wrap_kg_terminal_show(struct kg_terminal *terminal, const struct kg_screen *screen);
void __wrap_kg_terminal_show(struct kg_terminal *terminal, const struct kg_screen *screen)
{
    __real_kg_terminal_show(terminal, screen);
    if (!model || !atomic_load(&model->wanted) || screen->rows > ROWS_MOST || screen->columns > COLUMNS_MOST)
        return;
    model->rows = screen->rows;
    model->columns = screen->columns;
    model->cursor_row = screen->cursor_row;
    model->cursor_column = screen->cursor_column;
    memcpy(model->cells, screen->cells, sizeof *screen->cells * (size_t)screen->rows * (size_t)screen->columns);
    atomic_store(&model->held, 1);
    while (atomic_load(&model->held) && atomic_load(&model->wanted))
        script_pause();
}

bool __real_kg_terminal_heed(struct kg_terminal *terminal, const struct kg_heard *heard, struct kg_screen *screen);
bool __wrap_kg_terminal_heed(struct kg_terminal *terminal, const struct kg_heard *heard, struct kg_screen *screen);
bool __wrap_kg_terminal_heed(struct kg_terminal *terminal, const struct kg_heard *heard, struct kg_screen *screen)
{
    bool measured = __real_kg_terminal_heed(terminal, heard, screen);
    if (model && measured)
        atomic_fetch_add(&model->measured, 1);
    return measured;
}

static struct kg_theme theme;

static bool is_same(const struct kg_cell *cell, const struct driver_cell *shown)
{
    unsigned attributes = theme.looks[cell->style & 0xff][KG_COLOURS_NONE].attributes | (cell->style & (KG_BOLD | KG_ITALIC | KG_UNDERLINE));
    bool blank = cell->chars[0] == ' ';
    if (cell->style & KG_REVERSE)
        attributes ^= KG_REVERSE;
    for (int i = 0; i < KG_CELL_CHARS; i++)
        if (cell->chars[i] != shown->chars[i])
            return false;
    return !(attributes & KG_REVERSE) == !shown->reverse && !(attributes & KG_UNDERLINE) == !shown->underline &&
           (blank || (!(attributes & KG_BOLD) == !shown->bold && !(attributes & KG_ITALIC) == !shown->italic));
}

/* Every cell but those whose width terminals do not agree on. */
static void compare(struct driver *d, int rows, int columns, int step)
{
    int row, column;
    assert_int_equal(model->rows, rows);
    assert_int_equal(model->columns, columns);
    for (row = 0; row < rows; row++)
        for (column = 0; column < columns; column++) {
            const struct kg_cell *cell = &model->cells[row * columns + column];
            struct driver_cell shown;
            driver_cell(d, row, column, &shown);
            bool corner = column + cell->width >= columns && cell->chars[1]; /* shown without its marks */
            if (corner || cell->width == 0 || kg_cell_is_doubtful(cell) || (cell->width == 2 && column + 2 > columns))
                continue;
            if (!is_same(cell, &shown))
                fail_msg("step %d, row %d, column %d of %dx%d: the terminal shows U+%04X%s%s%s%s, the model has U+%04X in style %x; the screen:\n%s", step, row, column,
                         rows, columns, shown.chars[0], shown.bold ? " bold" : "", shown.italic ? " italic" : "", shown.underline ? " underline" : "",
                         shown.reverse ? " reverse" : "", cell->chars[0], cell->style, driver_screen(d));
        }
    if (model->cursor_row < 0)
        return;
    driver_cursor(d, &row, &column);
    if (row != model->cursor_row || column != model->cursor_column)
        fail_msg("step %d, %dx%d: the cursor is at %d, %d, the model has it at %d, %d; the screen:\n%s", step, rows, columns, row, column,
                 model->cursor_row, model->cursor_column, driver_screen(d));
}

/* The program stands still behind a frame, and the test has all that was sent; false when none came though it had so long nothing to do. */
static bool wait_for_frame(struct driver *d, int rest_ms)
{
    size_t length;
    for (double end = driver_seconds() + 120; !atomic_load(&model->held);) {
        if (atomic_load(&model->rested) >= rest_ms || driver_seconds() > end || driver_ended(d))
            return false;
        driver_take(d, 1);
    }
    double end = driver_seconds() + 30;
    while (driver_raw(d, &length), length < atomic_load(&model->sent)) {
        if (driver_seconds() > end)
            fail_msg("%lu bytes were sent, %zu came; the screen:\n%s", atomic_load(&model->sent), length, driver_screen(d));
        driver_take(d, 10);
    }
    assert_int_equal(length, atomic_load(&model->sent)); /* nobody else sends anything, or it would not be known when all has come */
    return true;
}

/* Until a frame of that size, which is another than now. */
static bool resize(struct driver *d, int rows, int columns, bool overtakes)
{
    unsigned before = atomic_load(&model->measured);
    if (overtakes)
        driver_resize_unread(d, rows, columns, 50);
    else
        driver_resize(d, rows, columns);
    while (wait_for_frame(d, 30000)) {
        if (atomic_load(&model->measured) > before)
            return true;
        atomic_store(&model->held, 0);
    }
    return false;
}

enum { EDITOR_KEYS = 1, RESTING_KEYS = 56 };
static const char *const keys[] = {
    "\x18", /* the next may have an editor run, which has the terminal as it was before */
    "\r", "\t", "\x1b", "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[5~", "\x1b[6~", "\x1b[H", "\x1b[F", "\x1b[1;5A", "\x1b[1;5B", "\x7f",
    "\x01", "\x05", "\x0a", "\x0b", "\x0c", "\x0f", "\x12", "\x13", "\x1b" "y", "\x14", "\x1bOQ", "j", "d", "\x15", "\x17", "\x19", "\x1f",
    "\x1b" "b", "\x1b" "f", "\x1b" "d", "\x1b[Z", "/", "/he", "/add ", "@", "@ru", " ", "word ", "漢字", "e\u0301", "👩‍👩‍👧", "\xff",
    "markdown", "unicode", "hostile", "think", "\x1b[200~pasted\rlines\x1b[31337m\x1b[201~", "\x1b[99;99", "\x1bO", "/files\r", "/clear\r",
    /* with those behind here it does not come to rest */
    "\x1bOR", "@run_", "@GLY", "n", "N", "[", "]", "{", "}", "t", "o", "y", "q", "i", "dw", "\x1b[<0;5;3M", "\x1b[<64;9;4M",
    "\x1b[<65;9;4M", "endless", "gate", "too long\r", "/edit too long\x0a" "in @run.c\r", "/resume older talk\r", "/times\r", "/help\r",
    "!seq 30\r",
};
enum { KEYS = sizeof keys / sizeof keys[0] };

static struct driver *begin(const char *mode)
{
    memset(model, 0, sizeof *model);
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ mode, "COLOURS=3", "VISUAL=true", "PAGER=true", NULL }, 24, 80);
    driver_wait_for(d, "ask about 3 files");
    atomic_store(&model->wanted, 1);
    return d;
}

/* By a signal, or by /quit, which may be chosen from the list of commands. */
static void end(struct driver *d, int status)
{
    assert_int_equal(driver_wait_exit(d), status);
    assert_harmless(d, true);
    assert_restored(d);
    driver_free(d);
}

static void terminal_and_model_agree_at_every_step(void **state)
{
    static const char *const modes[] = { "MOUSE=1", "VI=1" };
    const char *wanted = getenv("CHECK_LONG"), *seed = getenv("SEED");
    int steps = wanted && *wanted == '1' ? 10000 : 1000, compared = 0, sent = 0, resized = 0, rows = 24, columns = 80;
    (void)state;
    setlocale(LC_CTYPE, "C.UTF-8");
    assert_int_equal(kg_theme_find(KG_THEME_STANDARD, &theme, NULL), KG_OK);
    srand(seed ? (unsigned)atoi(seed) : 7);
    for (size_t mode = 0; mode < 2; mode++) {
        map_model(directory);
        struct driver *d = begin(modes[mode]);
        rows = 24;
        columns = 80;
        for (int i = 0; i < steps / 2; i++) {
            atomic_store(&model->rested, 0);
            bool resizes = rand() % 20 == 0, overtakes = resizes && rand() % 2;
            if (!resizes || overtakes)
                driver_send(d, keys[EDITOR_KEYS + rand() % (KEYS - EDITOR_KEYS)]);
            sent += !resizes || overtakes;
            resized += resizes;
            if (resizes)
                columns = 1 + (columns + rand() % 139) % 140;
            overtakes &= columns > 1; /* libvterm dies of a wide character that it gets for its only column */
            bool came = resizes ? resize(d, rows = 1 + rand() % 50, columns, overtakes) : wait_for_frame(d, 600);
            if (!came && driver_ended(d)) {
                end(d, 0);
                d = begin(modes[mode]);
                rows = 24;
                columns = 80;
                continue;
            }
            if (resizes && !came)
                fail_msg("step %d: no screen of %dx%d came; the one before:\n%s", i, rows, columns, driver_screen(d));
            if (came) { /* half of a sequence shows nothing */
                compare(d, rows, columns, i);
                compared++;
            }
            atomic_store(&model->held, 0);
        }
        atomic_store(&model->wanted, 0);
        atomic_store(&model->held, 0);
        driver_signal(d, SIGTERM);
        int status = driver_wait_exit(d);
        end(d, status == 0 ? 0 : 128 + SIGTERM); /* the last key may have been that of /quit */
        munmap(model, sizeof *model);
        model = NULL;
    }
    print_message("%d of %d steps compared, %d keys, %d sizes\n", compared, steps, sent, resized);
    assert_true(compared > steps * 9 / 10);
}

/* It has nothing left to do, however slow it is, and all that it sent is here; false when it has ended. */
static bool come_to_rest(struct driver *d)
{
    enum { REST_MS = 300 };
    size_t length;
    unsigned long sent;
    double end = driver_seconds() + 300;
    do {
        if (driver_seconds() > end)
            fail_msg("it does not come to rest; the screen:\n%s", driver_screen(d));
        sent = atomic_load(&model->sent);
        for (atomic_store(&model->rested, 0); atomic_load(&model->rested) < REST_MS && driver_seconds() < end && !driver_ended(d);)
            driver_take(d, 10);
        while (driver_take(d, 0))
            ;
        if (driver_ended(d))
            return false;
        if (!driver_shows(d, "ready"))
            driver_send(d, "\x1b"); /* the one before ended half a sequence, or one mode of two */
    } while (atomic_load(&model->sent) != sent || (driver_raw(d, &length), length < sent) || !driver_shows(d, "ready"));
    return true;
}

static struct driver *begin_at_rest(void)
{
    memset(model, 0, sizeof *model);
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "VISUAL=true", "PAGER=cat", NULL }, 24, 80);
    driver_wait_for(d, "ask about 3 files");
    driver_wait_for(d, "ready");
    return d;
}

/* Whether it shows what it shows when all of it is sent again; false when it has ended. */
static bool compare_with_all(struct driver *d, int round)
{
    driver_resize(d, 24, 80);
    driver_send(d, "\x1b"); /* ends what may be unfinished, or stops an answer */
    if (!come_to_rest(d))
        return false;
    char *shown = strdup(driver_screen(d));
    driver_send(d, "\x0c");
    const bool rests = come_to_rest(d);
    if (rests && strcmp(shown, driver_screen(d)) != 0)
        fail_msg("round %d: sent again, the screen is another; before:\n%s\nnow:\n%s", round, shown, driver_screen(d));
    free(shown);
    return rests;
}

/* Left to itself it goes on, and shows what it shows when all of it is sent again. */
static void random_keys_and_sizes_do_no_harm(void **state)
{
    const char *wanted = getenv("CHECK_LONG"), *seed = getenv("SEED");
    int rounds = wanted && *wanted == '1' ? 10000 : 500, resized = 0, compared = 0;
    (void)state;
    srand(seed ? (unsigned)atoi(seed) : 20);
    map_model(directory);
    struct driver *d = begin_at_rest();
    for (int i = 0; i < rounds; i++) {
        bool resizes = rand() % 20 == 0;
        resized += resizes;
        if (resizes)
            driver_resize(d, 1 + rand() % 50, 2 + rand() % 139); /* (libvterm and one column: as above) */
        driver_send(d, keys[rand() % RESTING_KEYS]);
        const bool compares = i % 100 == 99, goes_on = compares ? compare_with_all(d, i) : !driver_ended(d);
        compared += compares && goes_on;
        if (goes_on)
            continue;
        end(d, 0);
        d = begin_at_rest();
    }
    print_message("%d keys, %d sizes, %d screens compared\n", rounds, resized, compared);
    assert_true(compared >= rounds / 100 * 4 / 5);
    driver_send(d, "\x1b\x05\x15");
    assert_true(come_to_rest(d));
    driver_send(d, "\x03");
    driver_wait_for(d, "Ctrl-C again quits");
    driver_send(d, "\x03");
    end(d, 0);
    munmap(model, sizeof *model);
    model = NULL;
}

static int remove_model(void **state)
{
    char path[128];
    snprintf(path, sizeof path, "%s/model", directory);
    unlink(path);
    return remove_directory(state);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        map_model(argv[1]);
        is_program = true;
        return run_interface(argv[1], argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(terminal_and_model_agree_at_every_step, make_directory, remove_model),
        cmocka_unit_test_setup_teardown(random_keys_and_sizes_do_no_harm, make_directory, remove_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
