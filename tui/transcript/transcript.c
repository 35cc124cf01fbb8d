#include "tui/transcript/transcript.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/transcript/markdown.h"
#include "tui/transcript/transcript_state.h"

#define MEASURE 100 /* prose is easier to read in lines no longer than this */
#define MARGIN 2

struct kg_transcript *kg_transcript_create(void)
{
    struct kg_transcript *transcript = calloc(1, sizeof *transcript);
    if (transcript) {
        transcript->follow = true;
        transcript->selected = transcript->code = transcript->found = KG_NOWHERE;
        transcript->rows = transcript->columns = 1;
    }
    return transcript;
}

void kg_entry_forget_layout(struct kg_entry *entry)
{
    kg_rich_free(entry->rich);
    entry->rich = NULL;
    entry->width = 0;
}

static void clear_entry(struct kg_entry *entry)
{
    kg_entry_forget_layout(entry);
    free(entry->text);
    free(entry->summary);
}

void kg_transcript_free(struct kg_transcript *transcript)
{
    if (!transcript)
        return;
    for (size_t i = 0; i < transcript->count; i++)
        clear_entry(&transcript->entries[i]);
    free(transcript->entries);
    free(transcript);
}

void kg_transcript_clear(struct kg_transcript *transcript)
{
    size_t gone = transcript->count - transcript->queued;
    for (size_t i = 0; i < gone; i++)
        clear_entry(&transcript->entries[i]);
    memmove(transcript->entries, transcript->entries + gone, transcript->queued * sizeof *transcript->entries);
    transcript->count = transcript->queued;
    transcript->clearings++;
    transcript->top = transcript->top_row = 0;
    transcript->anchored = false;
    transcript->follow = true;
    transcript->selected = transcript->code = transcript->found = KG_NOWHERE;
}

static struct kg_entry *insert(struct kg_transcript *transcript, enum kg_entry_kind kind, const char *text, size_t length)
{
    if (transcript->count == transcript->capacity) {
        size_t larger = transcript->capacity * 2 + 16;
        struct kg_entry *grown = realloc(transcript->entries, larger * sizeof *grown);
        if (!grown)
            return NULL;
        transcript->entries = grown;
        transcript->capacity = larger;
    }
    char *copy = malloc(length + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    size_t at = kind == KG_ENTRY_QUEUED ? transcript->count : transcript->count - transcript->queued;
    struct kg_entry *entry = &transcript->entries[at];
    memmove(entry + 1, entry, (transcript->count - at) * sizeof *entry);
    *entry = (struct kg_entry){ .kind = kind, .text = copy, .length = length, .capacity = length + 1, .when = time(NULL) };
    transcript->count++;
    transcript->queued += kind == KG_ENTRY_QUEUED;
    if (!transcript->follow && at <= transcript->top && transcript->count > 1)
        transcript->top++;
    if (transcript->selected != KG_NOWHERE && transcript->selected >= at)
        transcript->selected++;
    if (transcript->found != KG_NOWHERE && transcript->found >= at)
        transcript->found++;
    return entry;
}

bool kg_transcript_add(struct kg_transcript *transcript, enum kg_entry_kind kind, const char *text, size_t length)
{
    return insert(transcript, kind, text, length) != NULL;
}

bool kg_transcript_add_folded(struct kg_transcript *transcript, enum kg_entry_kind kind, const char *summary, const char *text, size_t length)
{
    char *copy = strdup(summary);
    struct kg_entry *entry = copy ? insert(transcript, kind, text, length) : NULL;
    if (entry)
        entry->summary = copy;
    else
        free(copy);
    return entry != NULL;
}

bool kg_transcript_append(struct kg_transcript *transcript, enum kg_entry_kind kind, const char *text, size_t length)
{
    struct kg_entry *entry = NULL;
    for (size_t i = transcript->count - transcript->queued; i-- > 0 && transcript->entries[i].kind != KG_ENTRY_QUESTION && !entry;)
        if (transcript->entries[i].kind == kind)
            entry = &transcript->entries[i];
    if (!entry)
        return kg_transcript_add(transcript, kind, text, length);
    if (entry->length + length + 1 > entry->capacity) {
        size_t larger = (entry->length + length) * 2 + 256;
        char *grown = realloc(entry->text, larger);
        if (!grown)
            return false;
        entry->text = grown;
        entry->capacity = larger;
    }
    memcpy(entry->text + entry->length, text, length);
    entry->length += length;
    entry->text[entry->length] = '\0';
    kg_entry_forget_layout(entry);
    return true;
}

void kg_transcript_drop_queued(struct kg_transcript *transcript, bool last)
{
    if (transcript->queued == 0)
        return;
    size_t at = last ? transcript->count - 1 : transcript->count - transcript->queued;
    clear_entry(&transcript->entries[at]);
    memmove(&transcript->entries[at], &transcript->entries[at + 1], (transcript->count - at - 1) * sizeof *transcript->entries);
    transcript->count--;
    transcript->queued--;
    if (transcript->top > at)
        transcript->top--;
    else if (transcript->top == at)
        transcript->top_row = transcript->anchor = 0;
    if (transcript->selected != KG_NOWHERE && transcript->selected >= at)
        transcript->selected = transcript->selected == at ? KG_NOWHERE : transcript->selected - 1;
    if (transcript->found != KG_NOWHERE && transcript->found >= at)
        transcript->found = transcript->found == at ? KG_NOWHERE : transcript->found - 1;
}

void kg_transcript_queue_first(struct kg_transcript *transcript, size_t number)
{
    size_t before = transcript->queued - (number < transcript->queued ? number : transcript->queued);
    struct kg_entry *first = transcript->entries + (transcript->count - transcript->queued);
    for (size_t i = 0; before > 0 && i < number; i++) {
        struct kg_entry entry = first[before + i];
        memmove(&first[i + 1], &first[i], before * sizeof *first);
        first[i] = entry;
    }
}

const char *kg_transcript_last(const struct kg_transcript *transcript, enum kg_entry_kind kind, size_t *length)
{
    for (size_t i = transcript->count; i-- > 0;)
        if (transcript->entries[i].kind == kind) {
            *length = transcript->entries[i].length;
            return transcript->entries[i].text;
        }
    return NULL;
}

void kg_transcript_number(struct kg_transcript *transcript, size_t number)
{
    for (size_t i = transcript->count; i-- > 0;)
        if (transcript->entries[i].kind == KG_ENTRY_QUESTION) {
            transcript->entries[i].number = number;
            return;
        }
}

size_t kg_transcript_selected_question(const struct kg_transcript *transcript, const char **text, size_t *length)
{
    for (size_t i = transcript->selected == KG_NOWHERE ? 0 : transcript->selected + 1; i-- > 0;)
        if (transcript->entries[i].kind == KG_ENTRY_QUESTION) {
            *text = transcript->entries[i].text;
            *length = transcript->entries[i].length;
            return transcript->entries[i].number;
        }
    return 0;
}

static size_t words_of(const char *text, size_t length)
{
    size_t words = 0;
    bool inside = false;
    for (size_t i = 0; i < length; i++) {
        bool space = text[i] == ' ' || text[i] == '\n' || text[i] == '\t';
        words += !space && !inside;
        inside = !space;
    }
    return words;
}

static void add_lines(struct kg_rich_text *rich, const struct kg_entry *entry, const char *first, unsigned prefix_style, unsigned style, bool by_words)
{
    kg_rich_paragraph(rich, first, "  ", prefix_style, by_words);
    kg_rich_add(rich, entry->text, entry->length, style);
}

/* Each line goes on further to the right. */
static void add_columns(struct kg_rich_text *rich, const struct kg_entry *entry)
{
    for (size_t at = 0; at < entry->length;) {
        const char *newline = memchr(entry->text + at, '\n', entry->length - at);
        size_t end = newline ? (size_t)(newline - entry->text) : entry->length;
        kg_rich_paragraph(rich, "  ", "      ", KG_STYLE_TEXT, true);
        kg_rich_add(rich, entry->text + at, end - at, KG_STYLE_TEXT);
        at = end + 1;
    }
}

static void add_folded(struct kg_rich_text *rich, const struct kg_entry *entry)
{
    char thought[64];
    const char *summary = entry->summary;
    if (!summary) {
        size_t words = words_of(entry->text, entry->length);
        snprintf(thought, sizeof thought, "thought for %zu word%s", words, words == 1 ? "" : "s");
        summary = thought;
    }
    kg_rich_paragraph(rich, "  ", "  ", KG_STYLE_DIM, false);
    kg_rich_add(rich, summary, strlen(summary), KG_STYLE_DIM);
}

bool kg_entry_is_folded(const struct kg_transcript *transcript, const struct kg_entry *entry)
{
    bool foldable = entry->summary || entry->kind == KG_ENTRY_THOUGHT;
    return foldable && !transcript->all_open && (entry->fold == KG_FOLD_AS_ALL ? !transcript->unfolded : entry->fold == KG_FOLD_CLOSED);
}

static void render(const struct kg_transcript *transcript, struct kg_entry *entry)
{
    struct kg_rich_text *rich = entry->rich;
    if (kg_entry_is_folded(transcript, entry)) {
        add_folded(rich, entry);
        return;
    }
    switch (entry->kind) {
    case KG_ENTRY_QUESTION:
        add_lines(rich, entry, "› ", KG_STYLE_PROMPT, KG_STYLE_PERSON, true);
        break;
    case KG_ENTRY_QUEUED:
        add_lines(rich, entry, "› ", KG_STYLE_DIM, KG_STYLE_DIM, true);
        kg_rich_add(rich, "  (queued)", 10, KG_STYLE_DIM | KG_ITALIC);
        break;
    case KG_ENTRY_ANSWER:
        kg_markdown(rich, entry->text, entry->length, "  ");
        break;
    case KG_ENTRY_ERROR:
        add_lines(rich, entry, "! ", KG_STYLE_ERROR, KG_STYLE_ERROR, true);
        break;
    case KG_ENTRY_NOTICE:
        add_lines(rich, entry, "  ", KG_STYLE_NOTICE, KG_STYLE_NOTICE, true);
        break;
    case KG_ENTRY_TABLE:
        add_lines(rich, entry, "  ", KG_STYLE_TEXT, KG_STYLE_TEXT, false);
        break;
    case KG_ENTRY_HELP:
        add_columns(rich, entry);
        break;
    case KG_ENTRY_THOUGHT:
        add_lines(rich, entry, "  ", KG_STYLE_DIM, KG_STYLE_DIM | KG_ITALIC, true);
        break;
    default:
        add_lines(rich, entry, "  ", KG_STYLE_DIM, KG_STYLE_DIM, true);
    }
}

static int layout_width(const struct kg_transcript *transcript)
{
    return transcript->columns > 20 ? transcript->columns - MARGIN : transcript->columns;
}

const struct kg_rich_text *kg_entry_laid_out(struct kg_transcript *transcript, size_t index)
{
    struct kg_entry *entry = &transcript->entries[index];
    if (!entry->rich) {
        entry->rich = kg_rich_create();
        entry->width = 0;
        if (!entry->rich)
            return NULL;
        render(transcript, entry);
    }
    if (entry->width != transcript->columns) {
        if (!kg_rich_layout(entry->rich, layout_width(transcript), MEASURE))
            return NULL;
        entry->width = transcript->columns;
    }
    return entry->rich;
}

/* Lines about work in progress stand close together; everything else is set apart by an empty row, which has room for a time. */
size_t kg_entry_gap(const struct kg_transcript *transcript, size_t index)
{
    if (index == 0)
        return transcript->timed;
    enum kg_entry_kind kind = transcript->entries[index].kind, before = transcript->entries[index - 1].kind;
    bool line = kind == KG_ENTRY_NOTICE || kind == KG_ENTRY_READING || kind == KG_ENTRY_ERROR;
    bool line_before = before == KG_ENTRY_NOTICE || before == KG_ENTRY_READING || before == KG_ENTRY_ERROR;
    return !(line && line_before);
}

/* A folded entry is one row, cut at the right edge. */
size_t kg_entry_rows(struct kg_transcript *transcript, size_t index)
{
    size_t gap = kg_entry_gap(transcript, index);
    if (kg_entry_is_folded(transcript, &transcript->entries[index]))
        return gap + 1;
    const struct kg_rich_text *rich = kg_entry_laid_out(transcript, index);
    return gap + (rich ? kg_rich_rows(rich) : 0);
}

/* Moves the window's top by rows, stopping at the start; false when it stopped. */
static bool move_up(struct kg_transcript *transcript, size_t rows)
{
    while (rows > transcript->top_row) {
        if (transcript->top == 0) {
            transcript->top_row = 0;
            return false;
        }
        rows -= transcript->top_row;
        transcript->top--;
        transcript->top_row = kg_entry_rows(transcript, transcript->top);
    }
    transcript->top_row -= rows;
    return true;
}

/* The top that shows the last rows. */
static void place_at_end(struct kg_transcript *transcript)
{
    transcript->top = transcript->count;
    transcript->top_row = 0;
    move_up(transcript, (size_t)transcript->rows);
}

/* Rows from the window's top to the end, at most `enough`. */
static size_t rows_from_top(struct kg_transcript *transcript, size_t enough)
{
    size_t rows = 0;
    for (size_t i = transcript->top; i < transcript->count && rows < enough; i++)
        rows += kg_entry_rows(transcript, i) - (i == transcript->top ? transcript->top_row : 0);
    return rows < enough ? rows : enough;
}

void kg_transcript_scroll(struct kg_transcript *transcript, long rows)
{
    transcript->anchored = false;
    if (transcript->follow)
        place_at_end(transcript);
    if (rows < 0) {
        move_up(transcript, (size_t)-rows);
        transcript->follow = false;
    }
    while (rows > 0 && transcript->top < transcript->count) {
        size_t left = kg_entry_rows(transcript, transcript->top) - transcript->top_row;
        if ((size_t)rows < left) {
            transcript->top_row += (size_t)rows;
            break;
        }
        rows -= (long)left;
        transcript->top++;
        transcript->top_row = 0;
    }
    if (!kg_transcript_more_below(transcript))
        kg_transcript_to_end(transcript);
}

void kg_transcript_to_start(struct kg_transcript *transcript)
{
    transcript->top = transcript->top_row = 0;
    transcript->follow = transcript->anchored = false;
    transcript->follow = !kg_transcript_more_below(transcript);
}

void kg_transcript_to_end(struct kg_transcript *transcript)
{
    transcript->follow = true;
}

bool kg_transcript_more_below(struct kg_transcript *transcript)
{
    if (transcript->follow)
        return false;
    return rows_from_top(transcript, (size_t)transcript->rows + 1) > (size_t)transcript->rows;
}

void kg_transcript_unfold(struct kg_transcript *transcript, bool unfolded)
{
    transcript->unfolded = unfolded;
    transcript->anchored = false;
    for (size_t i = 0; i < transcript->count; i++)
        if (transcript->entries[i].kind == KG_ENTRY_THOUGHT || transcript->entries[i].summary) {
            transcript->entries[i].fold = KG_FOLD_AS_ALL;
            kg_entry_forget_layout(&transcript->entries[i]);
        }
    if (transcript->top < transcript->count && transcript->top_row >= kg_entry_rows(transcript, transcript->top))
        transcript->top_row = 0;
}

bool kg_transcript_unfolded(const struct kg_transcript *transcript)
{
    return transcript->unfolded;
}

void kg_transcript_show_times(struct kg_transcript *transcript, bool shown)
{
    bool moved = transcript->top == 0 && !transcript->follow && transcript->timed != shown;
    transcript->timed = shown;
    if (moved && shown && transcript->top_row > 0)
        transcript->top_row++;
    else if (moved && !shown && transcript->top_row > 0)
        transcript->top_row--;
}

bool kg_transcript_shows_times(const struct kg_transcript *transcript)
{
    return transcript->timed;
}

void kg_transcript_set_time(struct kg_transcript *transcript, uint64_t when)
{
    if (transcript->count > transcript->queued)
        transcript->entries[transcript->count - transcript->queued - 1].when = (time_t)when;
}

/* In the empty row above it, at the right; of another day with the date. */
void kg_entry_draw_time(const struct kg_transcript *transcript, size_t index, struct kg_screen *screen, int row)
{
    const struct kg_entry *entry = &transcript->entries[index];
    struct tm then, now;
    char text[32];
    time_t current = time(NULL);
    if (!transcript->timed || !entry->when || entry->kind == KG_ENTRY_COUNTS || entry->kind == KG_ENTRY_QUEUED || !localtime_r(&entry->when, &then) || !localtime_r(&current, &now))
        return;
    bool today = then.tm_yday == now.tm_yday && then.tm_year == now.tm_year;
    size_t length = strftime(text, sizeof text, today ? "%H:%M:%S" : "%Y-%m-%d %H:%M", &then);
    if ((int)length < transcript->columns - 2)
        kg_screen_puts(screen, row, transcript->columns - (int)length - 1, transcript->columns, text, KG_STYLE_DIM);
}

void kg_transcript_set_window(struct kg_transcript *transcript, int rows, int columns)
{
    rows = rows < 1 ? 1 : rows;
    columns = columns < 1 ? 1 : columns;
    if (columns != transcript->columns && !transcript->follow && transcript->top < transcript->count) {
        size_t gap = kg_entry_gap(transcript, transcript->top);
        const struct kg_rich_text *rich = kg_entry_laid_out(transcript, transcript->top);
        if (rich && !transcript->anchored)
            transcript->anchor = transcript->top_row >= gap ? kg_rich_offset(rich, transcript->top_row - gap) : 0;
        transcript->anchored = true;
        transcript->columns = columns;
        rich = kg_entry_laid_out(transcript, transcript->top);
        if (rich && transcript->top_row >= gap)
            transcript->top_row = gap + kg_rich_row_at(rich, transcript->anchor);
    }
    transcript->rows = rows;
    transcript->columns = columns;
    if (!transcript->follow && !kg_transcript_more_below(transcript))
        transcript->follow = true;
}

void kg_transcript_show_rows(struct kg_transcript *transcript, size_t index, size_t row, size_t rows, size_t above)
{
    size_t window = (size_t)transcript->rows, at = 0;
    if (transcript->follow)
        place_at_end(transcript);
    transcript->follow = transcript->anchored = false;
    bool above_top = index < transcript->top || (index == transcript->top && row < transcript->top_row);
    for (size_t i = transcript->top; !above_top && i < index && at <= window; i++)
        at += kg_entry_rows(transcript, i) - (i == transcript->top ? transcript->top_row : 0);
    at += row - (!above_top && index == transcript->top ? transcript->top_row : 0);
    rows = rows > window ? window : rows;
    if (above_top || at + rows > window) {
        transcript->top = index;
        transcript->top_row = row;
        move_up(transcript, above);
    }
    if (!kg_transcript_more_below(transcript))
        kg_transcript_to_end(transcript);
}

int kg_transcript_draw(struct kg_transcript *transcript, struct kg_screen *screen, int row)
{
    if (transcript->follow)
        place_at_end(transcript);
    int at = 0;
    size_t first = transcript->top_row, from = 0, until = 0;
    struct kg_pattern pattern = { .text = transcript->pattern, .length = transcript->pattern_length };
    if (transcript->selected != KG_NOWHERE)
        kg_transcript_selected_rows(transcript, &from, &until);
    for (size_t i = transcript->top; i < transcript->count && at < transcript->rows; i++, first = 0) {
        size_t gap = kg_entry_gap(transcript, i), rows = kg_entry_rows(transcript, i);
        size_t found = i == transcript->found ? transcript->found_at : KG_NOWHERE;
        const struct kg_rich_text *rich = kg_entry_laid_out(transcript, i);
        for (size_t r = first; r < rows && at < transcript->rows; r++, at++) {
            if (r + 1 == gap)
                kg_entry_draw_time(transcript, i, screen, row + at);
            if (r < gap || !rich)
                continue;
            kg_rich_draw(rich, r - gap, &pattern, found, screen, row + at, 0, transcript->columns);
            if (kg_entry_is_folded(transcript, &transcript->entries[i]) && kg_rich_rows(rich) > 1)
                kg_screen_puts(screen, row + at, layout_width(transcript) - 1, transcript->columns, "…", KG_STYLE_DIM);
            if (i == transcript->selected && r - gap >= from && r - gap < until)
                kg_screen_restyle(screen, row + at, 0, 1, KG_STYLE_CHOSEN);
        }
    }
    return at;
}
