#include "tui/input/keys.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define SEQUENCE_MOST 64 /* longer control sequences are no keys: dropped */
#define STRING_MOST 65536
#define TAUGHT_MOST 64
#define TAUGHT_LENGTH 16
#define REPLACEMENT "\xef\xbf\xbd"

static const char paste_end[] = "\x1b[201~";

struct taught {
    char bytes[TAUGHT_LENGTH];
    size_t length;
    enum kg_key_code code;
    unsigned modifiers;
};

struct kg_keys {
    kg_key_reader *reader;
    void *ctx;
    char *held; /* not decoded yet */
    size_t held_length, held_capacity;
    bool pasting;
    char *paste;
    size_t paste_length, paste_capacity;
    struct taught taught[TAUGHT_MOST];
    size_t taught_count;
};

struct kg_keys *kg_keys_create(kg_key_reader *reader, void *ctx)
{
    struct kg_keys *keys = calloc(1, sizeof *keys);
    if (keys) {
        keys->reader = reader;
        keys->ctx = ctx;
    }
    return keys;
}

void kg_keys_free(struct kg_keys *keys)
{
    if (!keys)
        return;
    free(keys->held);
    free(keys->paste);
    free(keys);
}

void kg_keys_teach(struct kg_keys *keys, const char *sequence, enum kg_key_code code, unsigned modifiers)
{
    size_t length = strlen(sequence);
    if (length == 0 || length > TAUGHT_LENGTH || strcmp(sequence, "\x1b") == 0 || keys->taught_count == TAUGHT_MOST)
        return;
    struct taught *new = &keys->taught[keys->taught_count++];
    memcpy(new->bytes, sequence, length);
    new->length = length;
    new->code = code;
    new->modifiers = modifiers;
}

static bool append(char **buffer, size_t *length, size_t *capacity, const char *bytes, size_t n)
{
    if (n == 0)
        return true;
    if (*length + n > *capacity) {
        size_t larger = (*length + n) * 2 + 256;
        char *grown = realloc(*buffer, larger);
        if (!grown)
            return false;
        *buffer = grown;
        *capacity = larger;
    }
    memcpy(*buffer + *length, bytes, n);
    *length += n;
    return true;
}

static void emit(struct kg_keys *keys, enum kg_key_code code, unsigned modifiers, int letter)
{
    struct kg_key key = { .code = code, .modifiers = modifiers, .letter = letter };
    keys->reader(keys->ctx, &key);
}

static void emit_text(struct kg_keys *keys, const char *text, size_t length, unsigned modifiers)
{
    struct kg_key key = { .code = KG_KEY_TEXT, .modifiers = modifiers, .text = text, .length = length };
    keys->reader(keys->ctx, &key);
}

static void emit_control(struct kg_keys *keys, unsigned char byte, unsigned modifiers)
{
    if (byte == '\r')
        emit(keys, KG_KEY_ENTER, modifiers, 0);
    else if (byte == '\t')
        emit(keys, KG_KEY_TAB, modifiers, 0);
    else if (byte == 0x7f || byte == '\b')
        emit(keys, KG_KEY_BACKSPACE, modifiers, 0);
    else
        emit(keys, KG_KEY_CTRL, modifiers, byte >= 1 && byte <= 26 ? byte + 0x60 : byte + 0x40);
}

/* Bytes of the valid character at s; 0: it goes on behind the end; -1: none. */
static int character(const char *s, size_t length)
{
    unsigned char c = (unsigned char)s[0];
    size_t need = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    if (need == 0)
        return -1;
    for (size_t i = 1; i < need && i < length; i++)
        if (((unsigned char)s[i] & 0xc0) != 0x80)
            return -1;
    if (length < need)
        return 0;
    int32_t code;
    return utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)need, &code) == (utf8proc_ssize_t)need ? (int)need : -1;
}

/* A run of printable characters; returns bytes used, 0 when the first one goes on behind the end. */
static size_t read_text(struct kg_keys *keys, const char *s, size_t length)
{
    size_t at = 0;
    while (at < length && (unsigned char)s[at] >= 0x20 && s[at] != 0x7f) {
        int n = character(s + at, length - at);
        if (n <= 0) {
            if (at > 0)
                break;
            if (n < 0)
                emit_text(keys, REPLACEMENT, 3, 0);
            return n < 0;
        }
        at += (size_t)n;
    }
    emit_text(keys, s, at, 0);
    return at;
}

static unsigned modifiers_of(int parameter)
{
    if (parameter < 2 || parameter > 16)
        return 0;
    unsigned bits = (unsigned)parameter - 1;
    return (bits & 7) | (bits & 8 ? KG_ALT : 0);
}

/* A character with modifiers, as `CSI code ; modifiers u` says it. */
static void emit_code_point(struct kg_keys *keys, int code, unsigned modifiers)
{
    if (code == '\r' || code == '\t' || code == 0x7f || code == '\b') {
        emit_control(keys, (unsigned char)code, modifiers & ~(unsigned)KG_CONTROL);
    } else if (code == 0x1b) {
        emit(keys, KG_KEY_ESCAPE, modifiers, 0);
    } else if (modifiers & KG_CONTROL) {
        if (code >= '@' && code <= '~')
            emit_control(keys, (unsigned char)code & 0x1f, modifiers & KG_ALT);
        else if (code == ' ')
            emit_control(keys, 0, modifiers & KG_ALT);
    } else if (code >= 0x20 && utf8proc_codepoint_valid(code)) {
        utf8proc_uint8_t bytes[4];
        emit_text(keys, (char *)bytes, (size_t)utf8proc_encode_char(code, bytes), modifiers & KG_ALT);
    }
}

static void emit_tilde(struct kg_keys *keys, int number, unsigned modifiers)
{
    static const struct {
        int number;
        enum kg_key_code code;
    } known[] = { { 1, KG_KEY_HOME }, { 2, KG_KEY_INSERT }, { 3, KG_KEY_DELETE }, { 4, KG_KEY_END },
                  { 5, KG_KEY_PAGE_UP }, { 6, KG_KEY_PAGE_DOWN }, { 7, KG_KEY_HOME }, { 8, KG_KEY_END } };
    static const int functions[12] = { 11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 23, 24 };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].number == number)
            emit(keys, known[i].code, modifiers, 0);
    for (int i = 0; i < 12; i++)
        if (functions[i] == number)
            emit(keys, KG_KEY_FUNCTION, modifiers, i + 1);
}

static void emit_letter(struct kg_keys *keys, char final, unsigned modifiers)
{
    static const struct {
        char final;
        enum kg_key_code code;
    } known[] = { { 'A', KG_KEY_UP }, { 'B', KG_KEY_DOWN }, { 'C', KG_KEY_RIGHT }, { 'D', KG_KEY_LEFT },
                  { 'H', KG_KEY_HOME }, { 'F', KG_KEY_END }, { 'M', KG_KEY_ENTER } };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].final == final)
            emit(keys, known[i].code, modifiers, 0);
    if (final >= 'P' && final <= 'S')
        emit(keys, KG_KEY_FUNCTION, modifiers, final - 'P' + 1);
}

/* button: as xterm counts them; releases, other buttons and movements are not told. */
static void emit_mouse(struct kg_keys *keys, int button, int column, int row)
{
    unsigned modifiers = (button & 4 ? KG_SHIFT : 0) | (button & 8 ? KG_ALT : 0) | (button & 16 ? KG_CONTROL : 0);
    int kind = button & ~28, letter = kind == 0 ? 'c' : kind == 64 ? 'u' : kind == 65 ? 'd' : 0;
    struct kg_key key = { .code = KG_KEY_MOUSE, .modifiers = modifiers, .letter = letter, .row = row - 1, .column = column - 1 };
    if (letter && row > 0 && column > 0)
        keys->reader(keys->ctx, &key);
}

static void control_sequence(struct kg_keys *keys, const char *s, size_t length, unsigned modifiers)
{
    int numbers[3] = { 0, 0, 0 };
    unsigned count = 0;
    char final = s[length - 1];
    bool mouse = length > 1 && s[0] == '<' && (final == 'M' || final == 'm');
    if (length > 1 && s[0] >= '<' && s[0] <= '?' && !mouse)
        return; /* an answer of the terminal */
    for (size_t i = 0; i + 1 < length; i++) {
        if (s[i] >= '0' && s[i] <= '9' && count < 3 && numbers[count] < 0x110000)
            numbers[count] = numbers[count] * 10 + (s[i] - '0');
        else if (s[i] == ';')
            count++;
    }
    unsigned given = modifiers | modifiers_of(numbers[1]);
    if (mouse && final == 'M')
        emit_mouse(keys, numbers[0], numbers[1], numbers[2]);
    if (mouse)
        return;
    if (final == '~' && numbers[0] == 200)
        keys->pasting = true;
    else if (final == '~' && numbers[0] == 27)
        emit_code_point(keys, numbers[2], given);
    else if (final == '~')
        emit_tilde(keys, numbers[0], given);
    else if (final == '^' || final == '@') /* rxvt */
        emit_tilde(keys, numbers[0], modifiers | KG_CONTROL | (final == '@' ? KG_SHIFT : 0));
    else if (final == 'u')
        emit_code_point(keys, numbers[0], given);
    else if (final == 'Z')
        emit(keys, KG_KEY_TAB, given | KG_SHIFT, 0);
    else if (final >= 'a' && final <= 'd') /* rxvt */
        emit_letter(keys, (char)(final - 'a' + 'A'), modifiers | KG_SHIFT);
    else if (final != 'M')
        emit_letter(keys, final, given);
}

/* s stands behind "ESC ["; returns bytes used, 0: more to come. */
static size_t read_csi(struct kg_keys *keys, const char *s, size_t length, unsigned modifiers)
{
    if (length > 0 && s[0] == '[') { /* the linux console's F1 to F5 */
        if (length < 2)
            return 0;
        if (s[1] >= 'A' && s[1] <= 'E')
            emit(keys, KG_KEY_FUNCTION, modifiers, s[1] - 'A' + 1);
        return 2;
    }
    if (length > 0 && s[0] == 'M') { /* the mouse of terminals that know no other form */
        for (size_t i = 1; i < 4; i++)
            if (i >= length || (unsigned char)s[i] < 0x20)
                return i < length ? 1 : 0;
        emit_mouse(keys, (unsigned char)s[1] - 32, (unsigned char)s[2] - 32, (unsigned char)s[3] - 32);
        return 4;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x40 && c < 0x7f) {
            control_sequence(keys, s, i + 1, modifiers);
            return i + 1;
        }
        if (c < 0x20 || c >= 0x7f || i == SEQUENCE_MOST)
            return i;
    }
    return 0;
}

/* s stands behind "ESC O". */
static size_t read_ss3(struct kg_keys *keys, const char *s, size_t length, unsigned modifiers)
{
    size_t at = 0;
    int number = 0;
    while (at < length && at < 2 && s[at] >= '0' && s[at] <= '9')
        number = number * 10 + (s[at++] - '0');
    if (at == length)
        return 0;
    if (s[at] >= 'a' && s[at] <= 'd') /* rxvt */
        emit_letter(keys, (char)(s[at] - 'a' + 'A'), modifiers | KG_CONTROL);
    else
        emit_letter(keys, s[at], modifiers | modifiers_of(number));
    return at + 1;
}

/* An answer of the terminal: a string up to BEL or ESC \. s stands behind its opening. */
static size_t read_string(const char *s, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (s[i] == '\a')
            return i + 1;
        if (s[i] == '\x1b' && i + 1 < length)
            return s[i + 1] == '\\' ? i + 2 : i;
    }
    return length > STRING_MOST ? length : 0;
}

static size_t read_taught(struct kg_keys *keys, const char *s, size_t length)
{
    const struct taught *best = NULL;
    for (size_t i = 0; i < keys->taught_count; i++) {
        const struct taught *t = &keys->taught[i];
        if (t->length <= length && memcmp(t->bytes, s, t->length) == 0 && (!best || t->length > best->length))
            best = t;
    }
    if (!best)
        return 0;
    emit(keys, best->code, best->modifiers, 0);
    return best->length;
}

/* s stands behind ESC; returns bytes used, 0: more to come. */
static size_t read_alt(struct kg_keys *keys, const char *s, size_t length)
{
    unsigned char c = (unsigned char)s[0];
    if (c < 0x20 || c == 0x7f) {
        emit_control(keys, c, KG_ALT);
        return 1;
    }
    int n = character(s, length);
    if (n < 0)
        emit(keys, KG_KEY_ESCAPE, 0, 0);
    if (n > 0)
        emit_text(keys, s, (size_t)n, KG_ALT);
    return n < 0 ? 1 : (size_t)n;
}

static size_t read_escape(struct kg_keys *keys, const char *s, size_t length)
{
    if (length < 2)
        return 0;
    unsigned modifiers = 0;
    size_t at = 1;
    if (s[1] == '\x1b') { /* Alt and a key that sends a sequence, or Escape twice */
        if (length < 3)
            return 0;
        if (s[2] != '[' && s[2] != 'O') {
            emit(keys, KG_KEY_ESCAPE, 0, 0);
            return 1;
        }
        modifiers = KG_ALT;
        at = 2;
    }
    size_t used;
    if (s[at] == '[') {
        used = read_csi(keys, s + at + 1, length - at - 1, modifiers);
        if (used == 0 && length > at + 1 && ((unsigned char)s[at + 1] < 0x20 || (unsigned char)s[at + 1] >= 0x7f)) {
            emit_text(keys, "[", 1, KG_ALT); /* no sequence: Alt-[ and another key */
            return at + 1;
        }
    } else if (s[at] == 'O') {
        used = read_ss3(keys, s + at + 1, length - at - 1, modifiers);
    } else if (s[at] && strchr("]P^_X", s[at])) {
        used = read_string(s + at + 1, length - at - 1);
    } else {
        used = read_alt(keys, s + at, length - at);
        return used ? used + 1 : 0;
    }
    return used ? at + 1 + used : 0;
}

static void end_paste(struct kg_keys *keys)
{
    size_t to = 0;
    for (size_t from = 0; from < keys->paste_length; from++) {
        char c = keys->paste[from];
        if (c == '\r' && from + 1 < keys->paste_length && keys->paste[from + 1] == '\n')
            continue;
        keys->paste[to++] = (char)(c == '\r' ? '\n' : c);
    }
    struct kg_key key = { .code = KG_KEY_PASTE, .text = keys->paste ? keys->paste : "", .length = to };
    keys->pasting = false;
    keys->reader(keys->ctx, &key);
    free(keys->paste);
    keys->paste = NULL;
    keys->paste_length = keys->paste_capacity = 0;
}

/* Takes pasted bytes up to the end mark; what may be its beginning stays for the next time. */
static size_t read_paste(struct kg_keys *keys, const char *s, size_t length)
{
    size_t mark = sizeof paste_end - 1;
    const char *end = memmem(s, length, paste_end, mark);
    size_t take = end ? (size_t)(end - s) : length;
    if (!end)
        for (size_t keep = mark - 1; keep > 0; keep--)
            if (keep <= length && memcmp(s + length - keep, paste_end, keep) == 0) {
                take = length - keep;
                break;
            }
    append(&keys->paste, &keys->paste_length, &keys->paste_capacity, s, take);
    if (!end)
        return take;
    end_paste(keys);
    return take + mark;
}

static size_t read_key(struct kg_keys *keys, const char *s, size_t length)
{
    if (keys->pasting)
        return read_paste(keys, s, length);
    size_t used = read_taught(keys, s, length);
    if (used)
        return used;
    unsigned char c = (unsigned char)s[0];
    if (c == 0x1b)
        return read_escape(keys, s, length);
    if (c >= 0x20 && c != 0x7f)
        return read_text(keys, s, length);
    emit_control(keys, c, 0);
    return 1;
}

void kg_keys_feed(struct kg_keys *keys, const char *bytes, size_t length)
{
    if (!append(&keys->held, &keys->held_length, &keys->held_capacity, bytes, length))
        return;
    size_t at = 0, used;
    while (at < keys->held_length && (used = read_key(keys, keys->held + at, keys->held_length - at)) > 0)
        at += used;
    if (at > 0)
        memmove(keys->held, keys->held + at, keys->held_length - at);
    keys->held_length -= at;
}

bool kg_keys_pending(const struct kg_keys *keys)
{
    return keys->held_length > 0 && !keys->pasting;
}

void kg_keys_timeout(struct kg_keys *keys)
{
    if (!kg_keys_pending(keys))
        return;
    const char *s = keys->held;
    size_t length = keys->held_length;
    keys->held_length = 0;
    if (s[0] != '\x1b') {
        emit_text(keys, REPLACEMENT, 3, 0);
    } else if (length == 1) {
        emit(keys, KG_KEY_ESCAPE, 0, 0);
    } else if (s[1] == '\x1b') {
        emit(keys, KG_KEY_ESCAPE, 0, 0);
        emit(keys, KG_KEY_ESCAPE, 0, 0);
    } else if (length == 2 && s[1] > 0x20) {
        emit_text(keys, s + 1, 1, KG_ALT);
    }
}
