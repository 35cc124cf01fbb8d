#include "tui/input/vi.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "tui/input/vi_motion.h"
#include "tui/screen/glyph.h"

#define COUNT_MOST 9999
#define TYPED_MOST 32
#define REPEATED_MOST ((size_t)1 << 20) /* bytes that a count may insert */

struct kg_vi {
    bool commands;
    char typed[TYPED_MOST]; /* of the command so far */
    size_t typed_length;
    unsigned count, outer;  /* outer: before the operator; 0 = none */
    char operator_, waiting; /* waiting: f F t T r g i a, for the character that goes with it */
    struct kg_vi_motion find; /* the last f F t T; name 0 = none */
    unsigned times;
    char *kept; /* yanked or deleted */
    size_t kept_length;
    bool kept_lines;

    size_t inserted_at, length_then; /* where inserting began, and how long the text was */
    unsigned repeat;                 /* what is inserted, so many times */
    char change[TYPED_MOST], changing[TYPED_MOST]; /* for the dot, without counts; of the change that goes on */
    unsigned change_count, changing_count;
    char *inserted; /* by it */
    size_t inserted_length;
    bool repeating;
};

struct kg_vi *kg_vi_create(void)
{
    struct kg_vi *vi = calloc(1, sizeof *vi);
    if (vi)
        vi->repeat = 1;
    return vi;
}

void kg_vi_free(struct kg_vi *vi)
{
    if (!vi)
        return;
    free(vi->kept);
    free(vi->inserted);
    free(vi);
}

bool kg_vi_commands(const struct kg_vi *vi)
{
    return vi->commands;
}

const char *kg_vi_typed(const struct kg_vi *vi)
{
    return vi->typed;
}

unsigned kg_vi_times(const struct kg_vi *vi)
{
    return vi->times;
}

static struct kg_vi_text text_of(const struct kg_editor *editor)
{
    struct kg_vi_text text;
    text.text = kg_editor_text(editor, &text.length);
    return text;
}

static void forget_typed(struct kg_vi *vi)
{
    vi->typed_length = 0;
    vi->typed[0] = '\0';
    vi->count = vi->outer = 0;
    vi->operator_ = vi->waiting = '\0';
}

void kg_vi_settle(const struct kg_vi *vi, struct kg_editor *editor)
{
    struct kg_vi_text text = text_of(editor);
    size_t cursor = kg_editor_cursor(editor);
    if (vi->commands && cursor == kg_vi_line_end(&text, cursor) && cursor > kg_vi_line_start(&text, cursor))
        kg_editor_place(editor, kg_vi_left(&text, cursor));
}

static void begin_inserting(struct kg_vi *vi, struct kg_editor *editor)
{
    vi->commands = false;
    kg_editor_text(editor, &vi->length_then);
    vi->inserted_at = kg_editor_cursor(editor);
}

void kg_vi_begin(struct kg_vi *vi, struct kg_editor *editor)
{
    forget_typed(vi);
    vi->changing[0] = '\0';
    vi->repeat = 1;
    kg_editor_group(editor, false);
    begin_inserting(vi, editor);
}

/* Both counts, or 1. */
static unsigned count_of(const struct kg_vi *vi)
{
    unsigned count = (vi->count ? vi->count : 1) * (vi->outer ? vi->outer : 1);
    return count < COUNT_MOST ? count : COUNT_MOST;
}

/* A change begins: what the dot does again, from now on or once inserting ends. */
static void begin_change(struct kg_vi *vi, struct kg_editor *editor)
{
    size_t n = 0;
    kg_editor_group(editor, true);
    if (vi->repeating)
        return;
    bool counting = true; /* what stands behind f or r is no count */
    for (size_t i = 0; i < vi->typed_length; i++) {
        counting = counting && !strchr("fFtTr", vi->typed[i]);
        if (!(counting && isdigit((unsigned char)vi->typed[i])))
            vi->changing[n++] = vi->typed[i];
    }
    vi->changing[n] = '\0';
    vi->changing_count = vi->count || vi->outer ? count_of(vi) : 0;
}

static void end_change(struct kg_vi *vi, struct kg_editor *editor, const char *inserted, size_t length)
{
    kg_editor_group(editor, false);
    if (vi->repeating || !vi->changing[0])
        return;
    char *copy = malloc(length + 1);
    if (!copy)
        return;
    memcpy(copy, inserted, length);
    free(vi->inserted);
    vi->inserted = copy;
    vi->inserted_length = length;
    memcpy(vi->change, vi->changing, sizeof vi->change);
    vi->change_count = vi->changing_count;
    vi->changing[0] = '\0';
}

static void keep(struct kg_vi *vi, struct kg_editor *editor, const struct kg_vi_span *span)
{
    const char *text = kg_editor_text(editor, NULL);
    size_t length = span->to - span->from;
    char *copy = malloc(length + 2);
    if (!copy)
        return;
    memcpy(copy, text + span->from, length);
    if (span->lines && (span->last || length == 0 || copy[length - 1] != '\n'))
        copy[length++] = '\n';
    free(vi->kept);
    vi->kept = copy;
    vi->kept_length = length;
    vi->kept_lines = span->lines;
    kg_editor_keep(editor, copy, length);
}

/* Without the last line's newline there is one before it that goes as well. */
static void delete_span(struct kg_editor *editor, struct kg_vi_span span)
{
    struct kg_vi_text text = text_of(editor);
    if (span.lines && span.to == text.length && span.from > 0 && (span.last || text.text[span.to - 1] != '\n'))
        span.from--;
    kg_editor_replace(editor, span.from, span.to, "", 0);
    text = text_of(editor);
    if (span.lines)
        kg_editor_place(editor, kg_vi_line_text(&text, span.from < text.length ? span.from : text.length));
}

static void operate(struct kg_vi *vi, struct kg_editor *editor, char operator_, struct kg_vi_span span)
{
    struct kg_vi_text text = text_of(editor);
    keep(vi, editor, &span);
    if (operator_ == 'y') {
        if (!span.lines || span.from < kg_vi_line_start(&text, kg_editor_cursor(editor)))
            kg_editor_place(editor, span.from);
        return;
    }
    begin_change(vi, editor);
    if (operator_ == 'd') {
        delete_span(editor, span);
        end_change(vi, editor, "", 0);
        return;
    }
    if (span.lines && !span.last && span.to > span.from && text.text[span.to - 1] == '\n') /* an empty line stays */
        span.to--;
    kg_editor_replace(editor, span.from, span.to, "", 0);
    vi->repeat = 1;
    begin_inserting(vi, editor);
}

static enum kg_vi_wish move(struct kg_vi *vi, struct kg_editor *editor, const struct kg_vi_motion *motion)
{
    struct kg_vi_text text = text_of(editor);
    size_t cursor = kg_editor_cursor(editor), target;
    struct kg_vi_span span;
    if (vi->operator_) {
        if (!kg_vi_span(&text, cursor, motion, vi->operator_, &span))
            return KG_VI_BELL;
        operate(vi, editor, vi->operator_, span);
        return KG_VI_DONE;
    }
    if (!kg_vi_go(&text, cursor, motion, &target))
        return KG_VI_BELL;
    kg_editor_place(editor, target);
    kg_vi_settle(vi, editor);
    return motion->name == 'l' && kg_editor_cursor(editor) == cursor ? KG_VI_BELL : KG_VI_DONE;
}

/* So many times; the cursor stands behind it. */
static void insert_times(struct kg_editor *editor, const char *text, size_t length, unsigned times)
{
    char *all = length > 0 && times > 0 && length * times <= REPEATED_MOST ? malloc(length * times) : NULL;
    for (unsigned i = 0; all && i < times; i++)
        memcpy(all + i * length, text, length);
    if (all)
        kg_editor_insert(editor, all, length * times);
    free(all);
}

static void insert_at(struct kg_vi *vi, struct kg_editor *editor, char command)
{
    struct kg_vi_text text = text_of(editor);
    size_t cursor = kg_editor_cursor(editor), end = kg_vi_line_end(&text, cursor);
    begin_change(vi, editor);
    vi->repeat = command == 'o' || command == 'O' ? 1 : count_of(vi);
    if (command == 'a' && cursor < end)
        kg_editor_place(editor, kg_vi_right(&text, cursor));
    else if (command == 'A')
        kg_editor_place(editor, end);
    else if (command == 'I')
        kg_editor_place(editor, kg_vi_line_text(&text, cursor));
    else if (command == 'o')
        kg_editor_replace(editor, end, end, "\n", 1);
    else if (command == 'O') {
        size_t start = kg_vi_line_start(&text, cursor);
        kg_editor_replace(editor, start, start, "\n", 1);
        kg_editor_place(editor, start);
    }
    begin_inserting(vi, editor);
}

static enum kg_vi_wish put(struct kg_vi *vi, struct kg_editor *editor, bool before)
{
    struct kg_vi_text text = text_of(editor);
    size_t cursor = kg_editor_cursor(editor), end = kg_vi_line_end(&text, cursor);
    if (!vi->kept)
        return KG_VI_BELL;
    begin_change(vi, editor);
    size_t at = vi->kept_lines ? (before ? kg_vi_line_start(&text, cursor) : end < text.length ? end + 1 : end) :
                before || cursor >= end ? cursor : kg_vi_right(&text, cursor);
    kg_editor_place(editor, at);
    bool opens = vi->kept_lines && !before && end == text.length; /* behind a last line that has no newline */
    if (opens)
        kg_editor_insert(editor, "\n", 1);
    insert_times(editor, vi->kept, vi->kept_length, count_of(vi));
    size_t behind = kg_editor_cursor(editor);
    if (opens)
        kg_editor_replace(editor, behind - 1, behind, "", 0);
    text = text_of(editor);
    kg_editor_place(editor, vi->kept_lines ? kg_vi_line_text(&text, at + opens) : kg_vi_left(&text, behind));
    end_change(vi, editor, "", 0);
    return KG_VI_DONE;
}

/* r: as many characters as there are in the line. */
static enum kg_vi_wish replace_characters(struct kg_vi *vi, struct kg_editor *editor, const char *character, size_t length)
{
    struct kg_vi_text text = text_of(editor);
    size_t cursor = kg_editor_cursor(editor), end = kg_vi_line_end(&text, cursor), to = cursor;
    for (unsigned i = 0; i < count_of(vi); i++) {
        if (to >= end)
            return KG_VI_BELL;
        to = kg_vi_right(&text, to);
    }
    begin_change(vi, editor);
    kg_editor_replace(editor, cursor, to, "", 0);
    insert_times(editor, character, length, count_of(vi));
    text = text_of(editor);
    kg_editor_place(editor, kg_vi_left(&text, kg_editor_cursor(editor)));
    end_change(vi, editor, "", 0);
    return KG_VI_DONE;
}

/* ~: the other case. */
static enum kg_vi_wish turn_case(struct kg_vi *vi, struct kg_editor *editor)
{
    struct kg_vi_text text = text_of(editor);
    size_t at = kg_editor_cursor(editor);
    if (at >= kg_vi_line_end(&text, at))
        return KG_VI_BELL;
    begin_change(vi, editor);
    for (unsigned i = 0; i < count_of(vi) && at < kg_vi_line_end(&text, at); i++) {
        int32_t code;
        char turned[4];
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text.text + at, (utf8proc_ssize_t)(text.length - at), &code);
        int32_t other = n > 0 ? (utf8proc_category(code) == UTF8PROC_CATEGORY_LU ? utf8proc_tolower(code) : utf8proc_toupper(code)) : -1;
        size_t next = kg_vi_right(&text, at);
        if (n > 0 && other != code) {
            size_t written = kg_utf8_encode((uint32_t)other, turned);
            kg_editor_replace(editor, at, at + (size_t)n, turned, written);
            next += written - (size_t)n;
            text = text_of(editor);
        }
        at = next;
    }
    kg_editor_place(editor, at);
    end_change(vi, editor, "", 0);
    return KG_VI_DONE;
}

/* J: the next line behind this one, a blank between them. */
static enum kg_vi_wish join_lines(struct kg_vi *vi, struct kg_editor *editor)
{
    struct kg_vi_text text = text_of(editor);
    size_t end = kg_vi_line_end(&text, kg_editor_cursor(editor));
    if (end == text.length)
        return KG_VI_BELL;
    begin_change(vi, editor);
    for (unsigned i = count_of(vi) > 1 ? count_of(vi) - 1 : 1; i > 0 && end < text.length; i--) {
        size_t behind = kg_vi_line_text(&text, end + 1);
        bool blank = end > 0 && text.text[end - 1] != ' ' && behind < text.length && text.text[behind] != '\n';
        kg_editor_replace(editor, end, behind, " ", blank);
        kg_editor_place(editor, end);
        text = text_of(editor);
        end = kg_vi_line_end(&text, end);
    }
    end_change(vi, editor, "", 0);
    return KG_VI_DONE;
}

static enum kg_vi_wish find(struct kg_vi *vi, struct kg_editor *editor, bool back)
{
    static const char names[] = "fFtT", turned[] = "FfTt";
    struct kg_vi_motion motion = vi->find;
    if (!motion.name)
        return KG_VI_BELL;
    motion.again = true;
    motion.count = count_of(vi);
    if (back)
        motion.name = turned[strchr(names, motion.name) - names];
    return move(vi, editor, &motion);
}

/* Short for an operator with a motion. */
static enum kg_vi_wish shorthand(struct kg_vi *vi, struct kg_editor *editor, char command)
{
    static const char commands[] = "xXsDC", operators[] = "ddcdc", motions[] = "lhl$$";
    size_t i = (size_t)(strchr(commands, command) - commands);
    struct kg_vi_text text = text_of(editor);
    struct kg_vi_motion motion = { .name = motions[i], .count = count_of(vi) };
    struct kg_vi_span span = { .from = kg_editor_cursor(editor), .to = kg_editor_cursor(editor) };
    if (!kg_vi_span(&text, span.from, &motion, operators[i], &span) && operators[i] == 'd')
        return KG_VI_BELL;
    operate(vi, editor, operators[i], span);
    return KG_VI_DONE;
}

/* dd, cc, yy, S, Y: so many lines. */
static enum kg_vi_wish take_lines(struct kg_vi *vi, struct kg_editor *editor, char operator_)
{
    struct kg_vi_text text = text_of(editor);
    size_t cursor = kg_editor_cursor(editor), last = cursor;
    for (unsigned i = 1; i < count_of(vi) && kg_vi_line_end(&text, last) < text.length; i++)
        last = kg_vi_line_end(&text, last) + 1;
    operate(vi, editor, operator_, kg_vi_lines(&text, cursor, last));
    return KG_VI_DONE;
}

static enum kg_vi_wish repeat(struct kg_vi *vi, struct kg_editor *editor)
{
    unsigned count = vi->count ? vi->count : vi->change_count;
    enum kg_vi_wish wish = KG_VI_DONE;
    if (!vi->change[0])
        return KG_VI_BELL;
    forget_typed(vi);
    vi->repeating = true;
    vi->count = count;
    for (size_t at = 0; vi->change[at] && wish == KG_VI_DONE;) {
        struct kg_glyph glyph; /* a character at a time, as it was typed */
        kg_glyph_next(vi->change + at, strlen(vi->change + at), &glyph);
        wish = kg_vi_take(vi, editor, vi->change + at, glyph.bytes);
        at += glyph.bytes;
    }
    if (!vi->commands) {
        kg_editor_insert(editor, vi->inserted, vi->inserted_length);
        kg_vi_escape(vi, editor);
    }
    vi->repeating = false;
    kg_editor_group(editor, false);
    return wish;
}

static enum kg_vi_wish undo(struct kg_vi *vi, struct kg_editor *editor, bool again)
{
    bool any = true;
    for (unsigned i = count_of(vi); i > 0 && any; i--)
        any = again ? kg_editor_redo(editor) : kg_editor_undo(editor);
    return any ? KG_VI_DONE : KG_VI_BELL;
}

/* The character that f F t T r g, or i and a behind an operator, wait for. */
static enum kg_vi_wish take_argument(struct kg_vi *vi, struct kg_editor *editor, const char *character, size_t length)
{
    struct kg_vi_motion motion = { .name = vi->waiting, .count = count_of(vi) };
    struct kg_vi_text text = text_of(editor);
    struct kg_vi_span span;
    if ((unsigned char)*character < ' ') /* a key, and no character */
        return KG_VI_BELL;
    switch (vi->waiting) {
    case 'r':
        return replace_characters(vi, editor, character, length);
    case 'g':
        return *character == 'g' ? move(vi, editor, &motion) : KG_VI_BELL;
    case 'i':
    case 'a':
        if (!kg_vi_object(&text, kg_editor_cursor(editor), vi->waiting == 'a', length == 1 ? *character : '\0', &span))
            return KG_VI_BELL;
        operate(vi, editor, vi->operator_, span);
        return KG_VI_DONE;
    default:
        if (length >= sizeof motion.argument)
            return KG_VI_BELL;
        memcpy(motion.argument, character, length);
        vi->find = motion;
        return move(vi, editor, &motion);
    }
}

/* A command that needs nothing more, or KG_VI_BELL. */
static enum kg_vi_wish command(struct kg_vi *vi, struct kg_editor *editor, char c)
{
    struct kg_vi_motion motion = { .name = c == ' ' ? 'l' : c == '\b' ? 'h' : c, .count = vi->count || vi->outer ? count_of(vi) : 0 };
    if (!vi->operator_ && (c == 'j' || c == 'k')) {
        vi->times = count_of(vi);
        return c == 'j' ? KG_VI_DOWN : KG_VI_UP;
    }
    if (strchr("hl0^$wWbBeEjkG%{} \b", c))
        return move(vi, editor, &motion);
    if (c == ';' || c == ',')
        return find(vi, editor, c == ',');
    if (vi->operator_)
        return c == vi->operator_ ? take_lines(vi, editor, c) : KG_VI_BELL;
    switch (c) {
    case 'x':
    case 'X':
    case 's':
    case 'D':
    case 'C':
        return shorthand(vi, editor, c);
    case 'S':
    case 'Y':
        return take_lines(vi, editor, c == 'S' ? 'c' : 'y');
    case 'i':
    case 'a':
    case 'I':
    case 'A':
    case 'o':
    case 'O':
        insert_at(vi, editor, c);
        return KG_VI_DONE;
    case 'p':
    case 'P':
        return put(vi, editor, c == 'P');
    case '~':
        return turn_case(vi, editor);
    case 'J':
        return join_lines(vi, editor);
    case 'u':
    case 'r' & 0x1f:
        return undo(vi, editor, c != 'u');
    case '.':
        return repeat(vi, editor);
    case '/':
        return KG_VI_FIND;
    default:
        return KG_VI_BELL;
    }
}

/* It is the start of something longer. */
static bool begins(struct kg_vi *vi, char c)
{
    bool digit = isdigit((unsigned char)c) && (c != '0' || vi->count > 0);
    if (digit) {
        vi->count = vi->count * 10 + (unsigned)(c - '0');
        vi->count = vi->count < COUNT_MOST ? vi->count : COUNT_MOST;
    } else if (strchr("dcy", c) && !vi->operator_) {
        vi->operator_ = c;
        vi->outer = vi->count;
        vi->count = 0;
    } else if (strchr("fFtTg", c) || (c == 'r' && !vi->operator_) || (vi->operator_ && (c == 'i' || c == 'a'))) {
        vi->waiting = c;
    } else {
        return false;
    }
    return true;
}

enum kg_vi_wish kg_vi_take(struct kg_vi *vi, struct kg_editor *editor, const char *character, size_t length)
{
    if (length == 0 || vi->typed_length + length >= sizeof vi->typed) {
        forget_typed(vi);
        return KG_VI_BELL;
    }
    memcpy(vi->typed + vi->typed_length, character, length);
    vi->typed_length += length;
    vi->typed[vi->typed_length] = '\0';
    enum kg_vi_wish wish;
    if (vi->waiting)
        wish = take_argument(vi, editor, character, length);
    else if (length == 1 && *character && begins(vi, *character))
        return KG_VI_DONE;
    else
        wish = length == 1 && *character ? command(vi, editor, *character) : KG_VI_BELL;
    forget_typed(vi);
    kg_vi_settle(vi, editor);
    return wish;
}

bool kg_vi_escape(struct kg_vi *vi, struct kg_editor *editor)
{
    struct kg_vi_text text = text_of(editor);
    size_t cursor = kg_editor_cursor(editor);
    bool typed = vi->typed_length > 0;
    if (vi->commands) {
        forget_typed(vi);
        return typed;
    }
    /* what was typed in one go from where it began, or nothing that could be told */
    bool known = cursor >= vi->inserted_at && text.length >= vi->length_then && text.length - vi->length_then == cursor - vi->inserted_at;
    size_t start = known ? vi->inserted_at : cursor, length = cursor - start;
    char *copy = malloc(length + 1);
    if (copy) {
        memcpy(copy, text.text + start, length);
        insert_times(editor, copy, length, vi->repeat - 1);
        end_change(vi, editor, copy, length);
    }
    free(copy);
    vi->commands = true;
    text = text_of(editor);
    cursor = kg_editor_cursor(editor);
    if (cursor > kg_vi_line_start(&text, cursor))
        kg_editor_place(editor, kg_vi_left(&text, cursor));
    return true;
}
