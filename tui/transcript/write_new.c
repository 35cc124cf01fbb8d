/* The transcript on a terminal that only adds lines. */
#include <string.h>

#include "tui/transcript/transcript_state.h"

/* Whole glyphs, those that are no characters in their visible form. */
static size_t write_visible(const char *text, size_t length, FILE *stream)
{
    struct kg_glyph glyph;
    size_t at = 0;
    for (; at < length; at += glyph.bytes) {
        kg_glyph_next(text + at, length - at, &glyph);
        if (glyph.kind == KG_GLYPH_NEWLINE || glyph.kind == KG_GLYPH_TAB)
            fputc(glyph.kind == KG_GLYPH_TAB ? '\t' : '\n', stream);
        for (unsigned i = 0; i < glyph.cells; i++)
            for (unsigned k = 0; k < KG_CELL_CHARS && glyph.cell[i].chars[k]; k++) {
                char bytes[4];
                fwrite(bytes, 1, kg_utf8_encode(glyph.cell[i].chars[k], bytes), stream);
            }
    }
    return at;
}

static void end_row(struct kg_transcript_mark *mark, FILE *stream)
{
    if (mark->inside)
        fputc('\n', stream);
    mark->inside = false;
}

/* What an answer says beyond what was written. Its last glyph may go on, as long as nothing stands behind it. */
static bool go_on(struct kg_transcript *transcript, struct kg_transcript_mark *mark, FILE *stream)
{
    const struct kg_entry *entry = &transcript->entries[mark->answer];
    bool last = mark->answer + 1 + transcript->queued >= transcript->count;
    size_t end = last ? kg_glyph_boundary_before(entry->text, entry->length, entry->length) : entry->length;
    if (end <= mark->bytes)
        return false;
    write_visible(entry->text + mark->bytes, end - mark->bytes, stream);
    mark->bytes = end;
    mark->inside = entry->text[end - 1] != '\n';
    return true;
}

static bool is_seen(const struct kg_entry *entry, const char **typed)
{
    bool seen = *typed && entry->kind == KG_ENTRY_QUESTION && strcmp(entry->text, *typed) == 0;
    if (seen)
        *typed = NULL;
    return seen;
}

bool kg_transcript_write_new(struct kg_transcript *transcript, struct kg_transcript_mark *mark, const char **typed, FILE *stream)
{
    size_t count = transcript->count - transcript->queued;
    struct kg_screen *line = kg_screen_create(1, transcript->columns);
    if (mark->clearings != transcript->clearings)
        *mark = (struct kg_transcript_mark){ .clearings = transcript->clearings, .inside = mark->inside };
    bool any = line && mark->answering && go_on(transcript, mark, stream);
    for (; line && mark->entry < count; mark->entry++) {
        struct kg_entry *entry = &transcript->entries[mark->entry];
        if (entry->kind == KG_ENTRY_THOUGHT && mark->entry + 1 == count)
            break; /* it grows */
        if (is_seen(entry, typed))
            continue;
        any = true;
        end_row(mark, stream);
        if (entry->kind != KG_ENTRY_ANSWER) {
            kg_entry_write(transcript, mark->entry, 0, line, stream);
            continue;
        }
        if (mark->entry > 0)
            fputc('\n', stream);
        mark->answering = true;
        mark->answer = mark->entry;
        mark->bytes = 0;
        go_on(transcript, mark, stream);
    }
    kg_screen_free(line);
    return any;
}
