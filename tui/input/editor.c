#include "tui/input/editor.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "tui/screen/glyph.h"
#include "tui/screen/wrap.h"

#define UNDO_MOST 1000
#define UNDO_BYTES ((size_t)64 << 20)

struct change {
    size_t at, cursor; /* cursor: before the change */
    char *removed;     /* in place of what was added: what brings back the text before, or behind when it is undone */
    size_t removed_length, added_length;
    unsigned group;    /* changes of one are undone together; 0 = none */
};

enum last { LAST_OTHER, LAST_TYPED, LAST_KILLED, LAST_YANKED };

struct kill {
    char *text;
    size_t length;
};

struct kg_editor {
    char *text; /* NUL behind length */
    size_t length, capacity, cursor;
    struct kill kills[KG_EDITOR_KILLS]; /* the newest first */
    size_t kill_count, yanked;          /* yanked: which one was */
    struct change *changes;
    size_t change_count, change_bytes;
    size_t undone; /* behind those that count: to be made again */
    unsigned group, groups; /* group: of changes now */
    enum last last;
    int goal; /* column that row motions keep; -1: the cursor's own */
};

struct kg_editor *kg_editor_create(void)
{
    struct kg_editor *editor = calloc(1, sizeof *editor);
    if (editor) {
        editor->capacity = 256;
        editor->text = calloc(1, editor->capacity);
        editor->changes = calloc(UNDO_MOST, sizeof *editor->changes);
        editor->goal = -1;
    }
    if (!editor || !editor->text || !editor->changes) {
        kg_editor_free(editor);
        return NULL;
    }
    return editor;
}

void kg_editor_free(struct kg_editor *editor)
{
    if (!editor)
        return;
    for (size_t i = 0; i < editor->change_count + editor->undone; i++)
        free(editor->changes[i].removed);
    free(editor->changes);
    for (size_t i = 0; i < editor->kill_count; i++)
        free(editor->kills[i].text);
    free(editor->text);
    free(editor);
}

const char *kg_editor_text(const struct kg_editor *editor, size_t *length)
{
    if (length)
        *length = editor->length;
    return editor->text;
}

size_t kg_editor_cursor(const struct kg_editor *editor)
{
    return editor->cursor;
}

static void place_cursor(struct kg_editor *editor, size_t offset)
{
    editor->cursor = offset > editor->length ? editor->length : offset;
    editor->last = LAST_OTHER;
    editor->goal = -1;
}

/* Replaces bytes without a record of it. */
static bool splice(struct kg_editor *editor, size_t from, size_t to, const char *text, size_t length)
{
    size_t larger = editor->length - (to - from) + length + 1;
    if (larger > editor->capacity) {
        char *grown = realloc(editor->text, larger * 2);
        if (!grown)
            return false;
        editor->text = grown;
        editor->capacity = larger * 2;
    }
    memmove(editor->text + from + length, editor->text + to, editor->length - to + 1);
    if (length)
        memcpy(editor->text + from, text, length);
    editor->length = larger - 1;
    return true;
}

static void forget_oldest(struct kg_editor *editor)
{
    editor->change_bytes -= editor->changes[0].removed_length;
    free(editor->changes[0].removed);
    memmove(editor->changes, editor->changes + 1, --editor->change_count * sizeof *editor->changes);
}

static void forget_undone(struct kg_editor *editor)
{
    for (; editor->undone > 0; editor->undone--) {
        struct change *change = &editor->changes[editor->change_count + editor->undone - 1];
        editor->change_bytes -= change->removed_length;
        free(change->removed);
    }
}

static void record(struct kg_editor *editor, struct change change)
{
    forget_undone(editor);
    change.group = editor->group;
    if (editor->change_count == UNDO_MOST)
        forget_oldest(editor);
    change.cursor = editor->cursor;
    editor->changes[editor->change_count++] = change;
    editor->change_bytes += change.removed_length;
    while (editor->change_bytes > UNDO_BYTES && editor->change_count > 1)
        forget_oldest(editor);
}

bool kg_editor_replace(struct kg_editor *editor, size_t from, size_t to, const char *text, size_t length)
{
    char *removed = malloc(to - from + 1);
    if (!removed)
        return false;
    memcpy(removed, editor->text + from, to - from);
    if (!splice(editor, from, to, text, length)) {
        free(removed);
        return false;
    }
    record(editor, (struct change){ .at = from, .removed = removed, .removed_length = to - from, .added_length = length });
    editor->cursor = from + length;
    editor->last = LAST_OTHER;
    editor->goal = -1;
    return true;
}

/* Typing goes on where it stopped: one change for undo, a new one for each word. */
static bool continues_typing(const struct kg_editor *editor, const char *text, size_t length)
{
    if (editor->last != LAST_TYPED || editor->change_count == 0 || length > 4)
        return false;
    const struct change *last = &editor->changes[editor->change_count - 1];
    if (editor->undone > 0 || last->group != editor->group)
        return false;
    bool new_word = text[0] != ' ' && editor->cursor > 0 && editor->text[editor->cursor - 1] == ' ';
    return last->at + last->added_length == editor->cursor && !new_word && text[0] != '\n';
}

bool kg_editor_insert(struct kg_editor *editor, const char *text, size_t length)
{
    if (length == 0)
        return true;
    if (continues_typing(editor, text, length)) {
        if (!splice(editor, editor->cursor, editor->cursor, text, length))
            return false;
        editor->changes[editor->change_count - 1].added_length += length;
        editor->cursor += length;
        editor->goal = -1;
    } else if (!kg_editor_replace(editor, editor->cursor, editor->cursor, text, length)) {
        return false;
    }
    editor->last = length <= 4 ? LAST_TYPED : LAST_OTHER;
    return true;
}

bool kg_editor_set(struct kg_editor *editor, const char *text, size_t length)
{
    return kg_editor_replace(editor, 0, editor->length, text, length);
}

/* Brings back what a change took away; it is then the one that goes the other way. */
static bool turn(struct kg_editor *editor, struct change *change)
{
    char *added = malloc(change->added_length + 1);
    if (!added)
        return false;
    memcpy(added, editor->text + change->at, change->added_length);
    if (!splice(editor, change->at, change->at + change->added_length, change->removed, change->removed_length)) {
        free(added);
        return false;
    }
    editor->change_bytes = editor->change_bytes - change->removed_length + change->added_length;
    free(change->removed);
    size_t added_length = change->added_length;
    change->removed = added;
    change->added_length = change->removed_length;
    change->removed_length = added_length;
    return true;
}

bool kg_editor_undo(struct kg_editor *editor)
{
    struct change *change;
    bool any = false;
    do {
        change = editor->change_count > 0 ? &editor->changes[editor->change_count - 1] : NULL;
        if (!change || !turn(editor, change))
            return any;
        any = true;
        place_cursor(editor, change->cursor);
        editor->change_count--;
        editor->undone++;
    } while (change->group && editor->change_count > 0 && change[-1].group == change->group);
    return true;
}

bool kg_editor_redo(struct kg_editor *editor)
{
    struct change *change;
    bool any = false;
    do {
        change = editor->undone > 0 ? &editor->changes[editor->change_count] : NULL;
        if (!change || !turn(editor, change))
            return any;
        any = true;
        place_cursor(editor, change->at);
        editor->change_count++;
        editor->undone--;
    } while (change->group && editor->undone > 0 && change[1].group == change->group);
    return true;
}

void kg_editor_group(struct kg_editor *editor, bool together)
{
    editor->group = together ? ++editor->groups : 0;
    editor->last = LAST_OTHER;
}

static size_t step_right(const struct kg_editor *editor, size_t at)
{
    struct kg_glyph glyph;
    if (at >= editor->length)
        return editor->length;
    kg_glyph_next(editor->text + at, editor->length - at, &glyph);
    return at + glyph.bytes;
}

static size_t step_left(const struct kg_editor *editor, size_t at)
{
    return at == 0 ? 0 : kg_glyph_boundary_before(editor->text, editor->length, at);
}

void kg_editor_place(struct kg_editor *editor, size_t offset)
{
    offset = offset > editor->length ? editor->length : offset;
    size_t before = step_left(editor, offset);
    place_cursor(editor, step_right(editor, before) <= offset ? offset : before);
}

/* Letters, digits and everything beyond ASCII that is no space or punctuation. */
static bool is_word(const struct kg_editor *editor, size_t at)
{
    int32_t code;
    if (utf8proc_iterate((const utf8proc_uint8_t *)editor->text + at, (utf8proc_ssize_t)(editor->length - at), &code) <= 0)
        return false;
    utf8proc_category_t category = utf8proc_category(code);
    return code == '_' || (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO);
}

static size_t word_right(const struct kg_editor *editor)
{
    size_t at = editor->cursor;
    while (at < editor->length && !is_word(editor, at))
        at = step_right(editor, at);
    while (at < editor->length && is_word(editor, at))
        at = step_right(editor, at);
    return at;
}

static size_t word_left(const struct kg_editor *editor)
{
    size_t at = editor->cursor, before;
    while (at > 0 && !is_word(editor, before = step_left(editor, at)))
        at = before;
    while (at > 0 && is_word(editor, before = step_left(editor, at)))
        at = before;
    return at;
}

static size_t line_start(const struct kg_editor *editor, size_t at)
{
    const char *newline = memrchr(editor->text, '\n', at);
    return newline ? (size_t)(newline - editor->text) + 1 : 0;
}

static size_t line_end(const struct kg_editor *editor, size_t at)
{
    const char *newline = memchr(editor->text + at, '\n', editor->length - at);
    return newline ? (size_t)(newline - editor->text) : editor->length;
}

static size_t target_of(const struct kg_editor *editor, enum kg_motion motion)
{
    switch (motion) {
    case KG_MOVE_LEFT:
        return step_left(editor, editor->cursor);
    case KG_MOVE_RIGHT:
        return step_right(editor, editor->cursor);
    case KG_MOVE_WORD_LEFT:
        return word_left(editor);
    case KG_MOVE_WORD_RIGHT:
        return word_right(editor);
    case KG_MOVE_LINE_START:
        return line_start(editor, editor->cursor);
    case KG_MOVE_LINE_END:
        return line_end(editor, editor->cursor);
    case KG_MOVE_START:
        return 0;
    default:
        return editor->length;
    }
}

void kg_editor_move(struct kg_editor *editor, enum kg_motion motion)
{
    place_cursor(editor, target_of(editor, motion));
}

static void push_kill(struct kg_editor *editor, struct kill kill)
{
    if (editor->kill_count == KG_EDITOR_KILLS)
        free(editor->kills[--editor->kill_count].text);
    memmove(editor->kills + 1, editor->kills, editor->kill_count++ * sizeof *editor->kills);
    editor->kills[0] = kill;
}

/* Kills in a row are one. */
static void add_killed(struct kg_editor *editor, size_t from, size_t to, bool in_front)
{
    bool joins = editor->last == LAST_KILLED && editor->kill_count > 0;
    size_t old = joins ? editor->kills[0].length : 0, length = to - from;
    char *joined = malloc(old + length + 1);
    if (!joined)
        return;
    if (old)
        memcpy(joined + (in_front ? length : 0), editor->kills[0].text, old);
    memcpy(joined + (in_front ? 0 : old), editor->text + from, length);
    if (joins) {
        free(editor->kills[0].text);
        editor->kills[0] = (struct kill){ .text = joined, .length = old + length };
    } else {
        push_kill(editor, (struct kill){ .text = joined, .length = length });
    }
}

static void erase(struct kg_editor *editor, size_t target, bool kill)
{
    size_t from = target < editor->cursor ? target : editor->cursor;
    size_t to = target < editor->cursor ? editor->cursor : target;
    if (from == to)
        return;
    if (kill)
        add_killed(editor, from, to, target < editor->cursor);
    kg_editor_replace(editor, from, to, "", 0);
    editor->last = kill ? LAST_KILLED : LAST_OTHER;
}

void kg_editor_erase(struct kg_editor *editor, enum kg_motion motion, bool kill)
{
    erase(editor, target_of(editor, motion), kill);
}

void kg_editor_kill_line(struct kg_editor *editor)
{
    size_t end = line_end(editor, editor->cursor);
    erase(editor, end == editor->cursor ? step_right(editor, end) : end, true);
}

void kg_editor_keep(struct kg_editor *editor, const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    if (!copy)
        return;
    memcpy(copy, text, length);
    push_kill(editor, (struct kill){ .text = copy, .length = length });
    editor->last = LAST_OTHER;
}

void kg_editor_yank(struct kg_editor *editor)
{
    editor->yanked = 0;
    if (editor->kill_count && kg_editor_replace(editor, editor->cursor, editor->cursor, editor->kills[0].text, editor->kills[0].length))
        editor->last = LAST_YANKED;
}

bool kg_editor_yank_pop(struct kg_editor *editor)
{
    if (editor->last != LAST_YANKED)
        return false;
    size_t next = (editor->yanked + 1) % editor->kill_count, start = editor->cursor - editor->kills[editor->yanked].length;
    if (kg_editor_replace(editor, start, editor->cursor, editor->kills[next].text, editor->kills[next].length))
        editor->yanked = next;
    editor->last = LAST_YANKED;
    return true;
}

static int column_of(const struct kg_editor *editor, size_t start, size_t offset)
{
    int column = 0;
    struct kg_glyph glyph;
    for (size_t at = start; at < offset; at += glyph.bytes) {
        kg_glyph_next(editor->text + at, editor->length - at, &glyph);
        column += glyph.kind == KG_GLYPH_TAB ? kg_tab_width(column) : glyph.width;
    }
    return column;
}

static size_t offset_at(const struct kg_editor *editor, const struct kg_row *row, int goal)
{
    int column = 0;
    size_t at = row->start;
    struct kg_glyph glyph;
    while (at < row->end) {
        kg_glyph_next(editor->text + at, editor->length - at, &glyph);
        column += glyph.kind == KG_GLYPH_TAB ? kg_tab_width(column) : glyph.width;
        if (column > goal || (at + glyph.bytes >= row->end && !row->newline))
            break;
        at += glyph.bytes;
    }
    return at;
}

/* The row that holds an offset; true when its line has a row before it, which is then in *before. */
static bool row_of(const struct kg_editor *editor, size_t offset, int width, struct kg_row *row, struct kg_row *before)
{
    bool has_before = false;
    kg_wrap_row(editor->text, editor->length, line_start(editor, offset), width, true, row);
    while (!row->newline && offset >= row->next) {
        *before = *row;
        has_before = true;
        kg_wrap_row(editor->text, editor->length, before->next, width, true, row);
    }
    return has_before;
}

bool kg_editor_move_row(struct kg_editor *editor, int direction, int width)
{
    struct kg_row row, before, target;
    bool has_before = row_of(editor, editor->cursor, width, &row, &before);
    int goal = editor->goal >= 0 ? editor->goal : column_of(editor, row.start, editor->cursor);
    if (direction < 0 && has_before) {
        target = before;
    } else if (direction < 0) {
        if (row.start == 0)
            return false;
        row_of(editor, row.start - 1, width, &target, &before);
    } else {
        bool ends = row.next >= editor->length && (row.end == editor->length || editor->text[editor->length - 1] != '\n');
        if (ends)
            return false;
        kg_wrap_row(editor->text, editor->length, row.next, width, true, &target);
    }
    place_cursor(editor, offset_at(editor, &target, goal));
    editor->goal = goal;
    return true;
}
