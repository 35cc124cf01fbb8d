/* Going through the transcript: messages and blocks of code that can be chosen, matches of a pattern, all of it as text. */
#include <stdlib.h>
#include <string.h>

#include "tui/transcript/transcript_state.h"

static bool can_be_chosen(const struct kg_transcript *transcript, size_t index)
{
    enum kg_entry_kind kind = transcript->entries[index].kind;
    return kind != KG_ENTRY_COUNTS && kind != KG_ENTRY_QUEUED;
}

void kg_transcript_deselect(struct kg_transcript *transcript)
{
    transcript->selected = transcript->code = KG_NOWHERE;
}

void kg_transcript_selected_rows(struct kg_transcript *transcript, size_t *first, size_t *last)
{
    size_t start, end, index = transcript->selected;
    const struct kg_rich_text *rich = kg_entry_laid_out(transcript, index);
    *first = 0;
    *last = rich ? kg_entry_rows(transcript, index) - kg_entry_gap(transcript, index) : 0;
    if (!rich || transcript->code == KG_NOWHERE || transcript->code >= kg_rich_codes(rich))
        return;
    kg_rich_code(rich, transcript->code, &start, &end);
    *first = kg_rich_row_at(rich, start);
    *last = kg_rich_row_at(rich, end > start ? end - 1 : start) + 1;
}

/* The last entry that has a row in the window. */
static size_t last_seen(struct kg_transcript *transcript)
{
    size_t rows = 0, i = transcript->top;
    for (; i < transcript->count; i++) {
        rows += kg_entry_rows(transcript, i) - (i == transcript->top ? transcript->top_row : 0);
        if (rows >= (size_t)transcript->rows)
            break;
    }
    return i < transcript->count ? i : transcript->count - 1;
}

static size_t codes_of(struct kg_transcript *transcript, size_t index)
{
    const struct kg_rich_text *rich = transcript->entries[index].kind == KG_ENTRY_ANSWER ? kg_entry_laid_out(transcript, index) : NULL;
    return rich ? kg_rich_codes(rich) : 0;
}

static void choose(struct kg_transcript *transcript, size_t index, size_t code)
{
    size_t first, last;
    transcript->selected = index;
    transcript->code = code;
    kg_transcript_selected_rows(transcript, &first, &last);
    size_t gap = kg_entry_gap(transcript, index);
    kg_transcript_show_rows(transcript, index, gap + first, last - first, 0);
}

static bool select_message(struct kg_transcript *transcript, size_t from, bool inclusive, int direction)
{
    size_t i = inclusive ? from : from + (size_t)(long)direction; /* wraps around below 0 */
    for (; i < transcript->count; i += (size_t)(long)direction)
        if (can_be_chosen(transcript, i)) {
            choose(transcript, i, KG_NOWHERE);
            return true;
        }
    return false;
}

static bool select_code(struct kg_transcript *transcript, size_t from, int direction)
{
    size_t codes = codes_of(transcript, from), code = transcript->code;
    if (code != KG_NOWHERE && (direction > 0 ? code + 1 < codes : code > 0)) {
        choose(transcript, from, direction > 0 ? code + 1 : code - 1);
        return true;
    }
    if (code == KG_NOWHERE && codes > 0) {
        choose(transcript, from, direction > 0 ? 0 : codes - 1);
        return true;
    }
    for (size_t i = from + (size_t)(long)direction; i < transcript->count; i += (size_t)(long)direction)
        if ((codes = codes_of(transcript, i)) > 0) {
            choose(transcript, i, direction > 0 ? 0 : codes - 1);
            return true;
        }
    return false;
}

bool kg_transcript_select(struct kg_transcript *transcript, enum kg_unit unit, int direction)
{
    bool fresh = transcript->selected == KG_NOWHERE;
    if (transcript->count == 0)
        return false;
    size_t from = !fresh ? transcript->selected : direction < 0 ? last_seen(transcript) : transcript->top;
    from = from < transcript->count ? from : transcript->count - 1;
    return unit == KG_UNIT_CODE ? select_code(transcript, from, direction) : select_message(transcript, from, fresh, direction);
}

void kg_transcript_select_seen(struct kg_transcript *transcript)
{
    size_t last = transcript->count ? last_seen(transcript) : 0;
    if (transcript->count == 0 || (transcript->selected != KG_NOWHERE && transcript->selected >= transcript->top && transcript->selected <= last))
        return;
    for (size_t i = transcript->top; i <= last; i++)
        if (can_be_chosen(transcript, i)) {
            transcript->selected = i;
            transcript->code = KG_NOWHERE;
            return;
        }
}

static const char *code_text(struct kg_transcript *transcript, size_t index, size_t code, size_t *length)
{
    size_t start, end, all;
    const struct kg_rich_text *rich = kg_entry_laid_out(transcript, index);
    if (!rich || code >= kg_rich_codes(rich))
        return NULL;
    kg_rich_code(rich, code, &start, &end);
    *length = end - start;
    return kg_rich_text(rich, &all) + start;
}

const char *kg_transcript_selected(struct kg_transcript *transcript, size_t *length, bool *code)
{
    if (transcript->selected == KG_NOWHERE)
        return NULL;
    *code = transcript->code != KG_NOWHERE;
    if (*code)
        return code_text(transcript, transcript->selected, transcript->code, length);
    *length = transcript->entries[transcript->selected].length;
    return transcript->entries[transcript->selected].text;
}

const char *kg_transcript_last_code(struct kg_transcript *transcript, size_t *length)
{
    for (size_t i = transcript->count; i-- > 0;)
        if (transcript->entries[i].kind == KG_ENTRY_ANSWER) {
            size_t codes = codes_of(transcript, i);
            return codes ? code_text(transcript, i, codes - 1, length) : NULL;
        }
    return NULL;
}

bool kg_transcript_fold_selected(struct kg_transcript *transcript)
{
    struct kg_entry *entry = transcript->selected != KG_NOWHERE ? &transcript->entries[transcript->selected] : NULL;
    if (!entry || !(entry->summary || entry->kind == KG_ENTRY_THOUGHT))
        return false;
    entry->fold = kg_entry_is_folded(transcript, entry) ? KG_FOLD_OPEN : KG_FOLD_CLOSED;
    kg_entry_forget_layout(entry);
    transcript->anchored = false;
    if (transcript->top == transcript->selected && transcript->top_row >= kg_entry_rows(transcript, transcript->top))
        transcript->top_row = 0;
    choose(transcript, transcript->selected, KG_NOWHERE);
    return true;
}

bool kg_transcript_fold_at(struct kg_transcript *transcript, int row)
{
    if (transcript->follow)
        kg_transcript_scroll(transcript, 0);
    size_t i = transcript->top, left = row < 0 ? 0 : (size_t)row + transcript->top_row;
    while (i < transcript->count && left >= kg_entry_rows(transcript, i))
        left -= kg_entry_rows(transcript, i++);
    if (i >= transcript->count || left < kg_entry_gap(transcript, i))
        return false;
    size_t selected = transcript->selected, code = transcript->code;
    transcript->selected = i;
    bool folded = kg_transcript_fold_selected(transcript);
    transcript->selected = selected;
    transcript->code = code;
    return folded;
}

void kg_transcript_set_pattern(struct kg_transcript *transcript, const char *pattern, size_t length)
{
    transcript->pattern_length = length < KG_PATTERN_MOST ? length : KG_PATTERN_MOST;
    memcpy(transcript->pattern, pattern, transcript->pattern_length);
}

/* The place in an entry's shown text: behind (or before) the match found last when it is in this one. */
static size_t find_in(struct kg_transcript *transcript, size_t index, size_t from, int direction)
{
    size_t length;
    struct kg_pattern pattern = { .text = transcript->pattern, .length = transcript->pattern_length };
    if (kg_entry_is_folded(transcript, &transcript->entries[index]))
        return KG_NOWHERE;
    const struct kg_rich_text *rich = kg_entry_laid_out(transcript, index);
    if (!rich)
        return KG_NOWHERE;
    const char *text = kg_rich_text(rich, &length);
    return direction > 0 ? kg_find_next(&pattern, text, length, from) : kg_find_before(&pattern, text, length, from);
}

static void show_found(struct kg_transcript *transcript, size_t index, size_t at)
{
    transcript->found = index;
    transcript->found_at = at;
    if (can_be_chosen(transcript, index)) {
        transcript->selected = index;
        transcript->code = KG_NOWHERE;
    }
    const struct kg_rich_text *rich = kg_entry_laid_out(transcript, index);
    if (rich)
        kg_transcript_show_rows(transcript, index, kg_entry_gap(transcript, index) + kg_rich_row_at(rich, at), 1, (size_t)transcript->rows / 3);
}

enum kg_finding kg_transcript_find(struct kg_transcript *transcript, int direction)
{
    size_t count = transcript->count;
    bool again = transcript->found != KG_NOWHERE && transcript->found < count;
    if (count == 0 || transcript->pattern_length == 0)
        return KG_FOUND_NOTHING;
    size_t start = again ? transcript->found : transcript->top < count ? transcript->top : count - 1;
    size_t from = again ? transcript->found_at + (direction > 0) : direction > 0 ? 0 : KG_NOWHERE;
    for (size_t step = 0; step <= count; step++) { /* the first entry again at last: what lies on the other side in it */
        size_t i = direction > 0 ? (start + step) % count : (start + count - step % count) % count;
        bool around = step > 0 && (direction > 0 ? i <= start : i >= start);
        size_t at = find_in(transcript, i, step == 0 ? from : direction > 0 ? 0 : KG_NOWHERE, direction);
        if (at == KG_NOWHERE)
            continue;
        show_found(transcript, i, at);
        return around ? KG_FOUND_AROUND : KG_FOUND;
    }
    transcript->found = KG_NOWHERE;
    return KG_FOUND_NOTHING;
}

struct kg_transcript_place kg_transcript_place(const struct kg_transcript *transcript)
{
    return (struct kg_transcript_place){ .top = transcript->top, .top_row = transcript->top_row, .follow = transcript->follow };
}

void kg_transcript_return(struct kg_transcript *transcript, const struct kg_transcript_place *place)
{
    transcript->top = place->top < transcript->count ? place->top : 0;
    transcript->top_row = place->top < transcript->count ? place->top_row : 0;
    transcript->follow = place->follow;
    transcript->anchored = false;
    transcript->found = KG_NOWHERE;
}

void kg_entry_write(struct kg_transcript *transcript, size_t index, size_t skip, struct kg_screen *line, FILE *stream)
{
    size_t gap = kg_entry_gap(transcript, index), rows = kg_entry_rows(transcript, index), capacity = (size_t)line->columns * 4 * KG_CELL_CHARS + 1;
    const struct kg_rich_text *rich = kg_entry_laid_out(transcript, index);
    char *text = malloc(capacity);
    for (size_t r = skip; r < rows && text && rich; r++) {
        kg_screen_clear(line);
        if (r + 1 == gap)
            kg_entry_draw_time(transcript, index, line, 0);
        if (r >= gap)
            kg_rich_draw(rich, r - gap, NULL, KG_NOWHERE, line, 0, 0, line->columns);
        if (r >= gap && kg_entry_is_folded(transcript, &transcript->entries[index]) && kg_rich_rows(rich) > 1)
            kg_screen_puts(line, 0, line->columns - 1, line->columns, "…", KG_STYLE_DIM);
        kg_screen_row_text(line, 0, text, capacity);
        fputs(text, stream);
        fputc('\n', stream);
    }
    free(text);
}

/* Without folds for as long as it takes, or with them again. */
static void open_all(struct kg_transcript *transcript, bool open)
{
    transcript->all_open = open;
    for (size_t i = 0; i < transcript->count; i++)
        if (transcript->entries[i].summary || transcript->entries[i].kind == KG_ENTRY_THOUGHT)
            kg_entry_forget_layout(&transcript->entries[i]);
}

size_t kg_transcript_write(struct kg_transcript *transcript, size_t most, bool unfolded, FILE *stream)
{
    struct kg_screen *line = kg_screen_create(1, transcript->columns);
    size_t rows = 0;
    if (!line)
        return 0;
    if (unfolded)
        open_all(transcript, true);
    for (size_t i = 0; i < transcript->count; i++)
        rows += kg_entry_rows(transcript, i);
    size_t left_out = rows > most ? rows - most : 0, skip = left_out;
    for (size_t i = 0; i < transcript->count; i++) {
        rows = kg_entry_rows(transcript, i);
        if (skip < rows)
            kg_entry_write(transcript, i, skip, line, stream);
        skip -= skip < rows ? skip : rows;
    }
    if (unfolded)
        open_all(transcript, false);
    kg_screen_free(line);
    return left_out;
}
