#include "tui/transcript/markdown.h"

#include <limits.h>
#include <md4c.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/transcript/highlight.h"

#define DEPTH_MOST 12 /* deeper nesting is shown at this depth */
#define BEHIND 16 /* bytes */
#define LINK_MOST 2048

struct level {
    char mark[16];  /* of the next item: "• ", "12. " */
    int columns;    /* of it: what the item's other rows are indented by */
    unsigned number;
    bool list, ordered, tight;
    bool due;       /* the mark has not been shown yet */
};

struct rendering {
    struct kg_rich_text *rich;
    const char *indent;
    struct level levels[DEPTH_MOST];
    int depth;      /* may exceed DEPTH_MOST */
    bool open;      /* a paragraph is open */
    bool in_code_block;
    char *code;         /* of the block so far */
    size_t code_length, code_capacity;
    size_t indent_due;  /* columns at the start of a line of code */
    const char *source; /* what is parsed */
    size_t source_length;
    char language[17];  /* of it; "" = not said */
    unsigned heading;   /* style of the block */
    unsigned bold, italic, in_code, in_link;
    char link[LINK_MOST];
};

static struct level *level(struct rendering *r)
{
    return r->depth == 0 ? NULL : &r->levels[(r->depth < DEPTH_MOST ? r->depth : DEPTH_MOST) - 1];
}

/* What stands before the rows of a paragraph here: quotes and items from outside in. */
static void prefixes(const struct rendering *r, const char *more, char first[256], char rest[256])
{
    int depth = r->depth < DEPTH_MOST ? r->depth : DEPTH_MOST;
    snprintf(rest, 256, "%s", r->indent);
    snprintf(first, 256, "%s", r->indent);
    for (int i = 0; i < depth; i++) {
        const struct level *l = &r->levels[i];
        char blank[16];
        snprintf(blank, sizeof blank, "%*s", l->columns, "");
        strncat(first, l->list && !l->due ? blank : l->mark, 255 - strlen(first));
        strncat(rest, l->list ? blank : l->mark, 255 - strlen(rest));
    }
    strncat(first, more, 255 - strlen(first));
    strncat(rest, more, 255 - strlen(rest));
}

static void start_paragraph(struct rendering *r, const char *more, bool by_words)
{
    char first[256], rest[256];
    prefixes(r, more, first, rest);
    kg_rich_paragraph(r->rich, first, rest, KG_STYLE_DIM, by_words);
    for (int i = 0; i < DEPTH_MOST; i++)
        r->levels[i].due = false;
    r->open = true;
}

/* An empty row between blocks, but none at the top, behind an item's mark and in tight lists. */
static void leave_gap(struct rendering *r)
{
    const struct level *l = level(r);
    if (kg_rich_paragraphs(r->rich) == 0 || (l && l->list && (l->due || l->tight)))
        return;
    char first[256], rest[256];
    prefixes(r, "", first, rest);
    kg_rich_paragraph(r->rich, rest, rest, KG_STYLE_DIM, true);
}

static void enter_list(struct rendering *r, bool ordered, unsigned start, bool tight)
{
    if (r->depth == 0 || !level(r)->list)
        leave_gap(r);
    r->depth++;
    struct level *l = level(r);
    *l = (struct level){ .list = true, .ordered = ordered, .number = start, .tight = tight };
}

static void enter_item(struct rendering *r)
{
    struct level *l = level(r);
    if (!l->tight && l->columns > 0)
        leave_gap(r);
    if (l->ordered)
        snprintf(l->mark, sizeof l->mark, "%u. ", l->number++);
    else
        snprintf(l->mark, sizeof l->mark, "• ");
    l->columns = (int)kg_text_width(l->mark, strlen(l->mark));
    l->due = true;
    r->open = false;
}

static void enter_quote(struct rendering *r)
{
    leave_gap(r);
    r->depth++;
    *level(r) = (struct level){ .mark = "> ", .columns = 2 };
}

/* A fence's words are shown unless they are just a language. */
static void enter_code(struct rendering *r, const MD_BLOCK_CODE_DETAIL *detail)
{
    leave_gap(r);
    bool plain = detail->info.size <= 16;
    for (MD_SIZE i = 0; plain && i < detail->info.size; i++)
        plain = detail->info.text[i] > ' ' && !strchr("/.:=\\", detail->info.text[i]) && detail->info.text[i] != 0x7f;
    if (!plain) {
        start_paragraph(r, "  ", true);
        kg_rich_add(r->rich, detail->info.text, detail->info.size, KG_STYLE_DIM);
    }
    start_paragraph(r, "  ", false);
    r->in_code_block = true;
    r->code_length = r->indent_due = 0;
    snprintf(r->language, sizeof r->language, "%.*s", plain ? (int)detail->info.size : 0, plain && detail->info.size ? detail->info.text : "");
}

static void take_piece(void *ctx, const char *piece, size_t length, unsigned style)
{
    struct rendering *r = ctx;
    kg_rich_add(r->rich, piece, length, style);
}

/* A code block's last newline would be an empty row. */
static void leave_code(struct rendering *r)
{
    size_t length = r->code_length - (r->code_length > 0 && r->code[r->code_length - 1] == '\n');
    kg_rich_begin_code(r->rich);
    if (length > 0)
        kg_highlight(r->language, strlen(r->language), r->code, length, take_piece, r);
    kg_rich_end_code(r->rich);
    r->in_code_block = false;
}

static int enter_block(MD_BLOCKTYPE type, void *detail, void *ctx)
{
    struct rendering *r = ctx;
    switch (type) {
    case MD_BLOCK_QUOTE:
        enter_quote(r);
        break;
    case MD_BLOCK_UL:
        enter_list(r, false, 0, ((MD_BLOCK_UL_DETAIL *)detail)->is_tight);
        break;
    case MD_BLOCK_OL:
        enter_list(r, true, ((MD_BLOCK_OL_DETAIL *)detail)->start, ((MD_BLOCK_OL_DETAIL *)detail)->is_tight);
        break;
    case MD_BLOCK_LI:
        enter_item(r);
        break;
    case MD_BLOCK_HR:
        leave_gap(r);
        start_paragraph(r, "", true);
        kg_rich_add(r->rich, "────────", strlen("────────"), KG_STYLE_DIM);
        break;
    case MD_BLOCK_H:
        leave_gap(r);
        start_paragraph(r, "", true);
        r->heading = KG_STYLE_TITLE;
        break;
    case MD_BLOCK_CODE:
        enter_code(r, detail);
        break;
    case MD_BLOCK_P:
        leave_gap(r);
        start_paragraph(r, "", true);
        break;
    default:
        break;
    }
    return 0;
}

static int leave_block(MD_BLOCKTYPE type, void *detail, void *ctx)
{
    struct rendering *r = ctx;
    (void)detail;
    if (type == MD_BLOCK_UL || type == MD_BLOCK_OL || type == MD_BLOCK_QUOTE)
        r->depth--;
    if (type == MD_BLOCK_LI && level(r)->due) /* an empty item */
        start_paragraph(r, "", true);
    if (type == MD_BLOCK_CODE)
        leave_code(r);
    r->open = false;
    r->heading = 0;
    return 0;
}

static unsigned style_now(const struct rendering *r)
{
    unsigned style = r->in_code ? KG_STYLE_CODE : r->heading ? r->heading : r->in_link ? KG_STYLE_LINK : KG_STYLE_TEXT;
    return style | (r->bold ? KG_BOLD : 0) | (r->italic ? KG_ITALIC : 0);
}

static void add(struct rendering *r, const char *text, size_t length, unsigned style)
{
    if (!r->open)
        start_paragraph(r, "", true);
    kg_rich_add(r->rich, text, length, style);
}

static void remember_link(struct rendering *r, const MD_ATTRIBUTE *target)
{
    size_t n = target->size < LINK_MOST - 1 ? target->size : LINK_MOST - 1;
    memcpy(r->link, target->text, n);
    r->link[n] = '\0';
}

static int enter_span(MD_SPANTYPE type, void *detail, void *ctx)
{
    struct rendering *r = ctx;
    if (type == MD_SPAN_EM)
        r->italic++;
    else if (type == MD_SPAN_STRONG)
        r->bold++;
    else if (type == MD_SPAN_CODE)
        r->in_code++;
    else if (type == MD_SPAN_A || type == MD_SPAN_IMG)
        r->in_link++;
    if (type == MD_SPAN_IMG)
        add(r, "image: ", 7, KG_STYLE_DIM);
    (void)detail;
    return 0;
}

static int leave_span(MD_SPANTYPE type, void *detail, void *ctx)
{
    struct rendering *r = ctx;
    if (type == MD_SPAN_EM)
        r->italic--;
    else if (type == MD_SPAN_STRONG)
        r->bold--;
    else if (type == MD_SPAN_CODE)
        r->in_code--;
    else if (type == MD_SPAN_A || type == MD_SPAN_IMG) {
        remember_link(r, type == MD_SPAN_A ? &((MD_SPAN_A_DETAIL *)detail)->href : &((MD_SPAN_IMG_DETAIL *)detail)->src);
        r->in_link--;
        add(r, " (", 2, KG_STYLE_DIM);
        add(r, r->link, strlen(r->link), KG_STYLE_DIM);
        add(r, ")", 1, KG_STYLE_DIM);
    }
    return 0;
}

static void add_entity(struct rendering *r, const char *text, size_t length)
{
    static const struct {
        const char *name, *text;
    } known[] = { { "&amp;", "&" }, { "&lt;", "<" }, { "&gt;", ">" }, { "&quot;", "\"" }, { "&apos;", "'" }, { "&nbsp;", " " } };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i].name) == length && memcmp(known[i].name, text, length) == 0) {
            add(r, known[i].text, 1, style_now(r));
            return;
        }
    char digits[12] = "";
    bool hex = length > 2 && (text[2] == 'x' || text[2] == 'X');
    size_t skip = hex ? 3 : 2;
    if (length > skip + 1 && length - skip - 1 < sizeof digits && text[1] == '#') {
        memcpy(digits, text + skip, length - skip - 1);
        unsigned long code = strtoul(digits, NULL, hex ? 16 : 10);
        if (code > 0 && code < 0x110000 && !(code >= 0xd800 && code < 0xe000)) {
            char bytes[4];
            add(r, bytes, kg_utf8_encode((uint32_t)code, bytes), style_now(r));
            return;
        }
    }
    add(r, text, length, style_now(r));
}

static void put_code(struct rendering *r, const char *text, size_t length)
{
    if (r->code_length + length > r->code_capacity) {
        size_t larger = (r->code_length + length) * 2 + 256;
        char *grown = realloc(r->code, larger);
        if (!grown) { /* shown without colours */
            kg_rich_add(r->rich, text, length, KG_STYLE_CODE_BLOCK);
            return;
        }
        r->code = grown;
        r->code_capacity = larger;
    }
    if (length > 0)
        memcpy(r->code + r->code_length, text, length);
    r->code_length += length;
}

static bool is_of_source(const struct rendering *r, const char *text)
{
    return (uintptr_t)text >= (uintptr_t)r->source && (uintptr_t)text < (uintptr_t)r->source + r->source_length;
}

/* md4c gives indentation as spaces. It was what stands before the line's text, if that has as many columns behind what belongs to
 * the block around it. */
static void put_indent(struct rendering *r, const char *behind)
{
    size_t start = behind ? (size_t)(behind - r->source) : 0, columns = 0;
    while (behind && start > 0 && r->source[start - 1] != '\n')
        start--;
    for (const char *at = r->source + start; behind && at < behind; at++)
        columns += *at == '\t' ? 4 - columns % 4 : 1;
    size_t wanted = columns - r->indent_due, column = 0;
    const char *from = r->source + start;
    for (; behind && columns >= r->indent_due && from < behind && column < wanted; from++)
        column += *from == '\t' ? 4 - column % 4 : 1;
    if (behind && columns >= r->indent_due && column == wanted)
        put_code(r, from, (size_t)(behind - from));
    else
        for (size_t i = 0; i < r->indent_due; i++)
            put_code(r, " ", 1);
    r->indent_due = 0;
}

static void add_code(struct rendering *r, const char *text, size_t length)
{
    bool own = is_of_source(r, text);
    if (!own && length > 0 && text[0] == ' ') {
        r->indent_due += length;
        return;
    }
    if (r->indent_due > 0)
        put_indent(r, own ? text : NULL);
    put_code(r, text, length);
}

static int add_text(MD_TEXTTYPE type, const MD_CHAR *text, MD_SIZE size, void *ctx)
{
    struct rendering *r = ctx;
    if (r->in_code_block)
        add_code(r, text, size);
    else if (type == MD_TEXT_BR || type == MD_TEXT_SOFTBR)
        add(r, "\n", 1, style_now(r));
    else if (type == MD_TEXT_NULLCHAR)
        add(r, "", 1, style_now(r));
    else if (type == MD_TEXT_ENTITY)
        add_entity(r, text, size);
    else
        add(r, text, size, style_now(r));
    return 0;
}

/* The marks of a code fence at a line's start (spaces and quotes aside): their count, else 0. */
static size_t fence(const char *line, size_t length, char *mark)
{
    size_t at = 0, n = 0;
    while (at < length && (line[at] == ' ' || line[at] == '>'))
        at++;
    if (at == length || (line[at] != '`' && line[at] != '~'))
        return 0;
    *mark = line[at];
    while (at + n < length && line[at + n] == *mark)
        n++;
    return n >= 3 ? n : 0;
}

/* CommonMark takes lines like "[1]: https://..." out of the text. Here they stay: the bracket is escaped. md4c looks at what stands behind
 * a text, too: there are zeros. */
static char *keep_definitions(const char *text, size_t length, size_t *out_length)
{
    size_t lines = 1, used = 0, open = 0;
    char open_mark = 0;
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    char *out = calloc(1, length + lines + BEHIND);
    for (size_t at = 0; out && at < length;) {
        const char *newline = memchr(text + at, '\n', length - at);
        size_t n = newline ? (size_t)(newline - text) + 1 - at : length - at, lead = 0;
        char mark = 0;
        size_t marks = fence(text + at, n, &mark);
        if (marks && (open == 0 || (mark == open_mark && marks >= open))) {
            open = open ? 0 : marks;
            open_mark = mark;
        }
        while (lead < n && (text[at + lead] == ' ' || text[at + lead] == '>'))
            lead++;
        memcpy(out + used, text + at, lead);
        used += lead;
        if (open == 0 && lead < n && text[at + lead] == '[' && memmem(text + at, n, "]:", 2))
            out[used++] = '\\';
        memcpy(out + used, text + at + lead, n - lead);
        used += n - lead;
        at += n;
    }
    *out_length = used;
    return out;
}

void kg_markdown(struct kg_rich_text *rich, const char *text, size_t length, const char *indent)
{
    static const MD_PARSER parser = { .flags = MD_FLAG_NOHTML,
                                      .enter_block = enter_block,
                                      .leave_block = leave_block,
                                      .enter_span = enter_span,
                                      .leave_span = leave_span,
                                      .text = add_text };
    struct rendering r = { .rich = rich, .indent = indent };
    size_t kept = 0;
    char *source = length < UINT_MAX / 4 ? keep_definitions(text, length, &kept) : NULL;
    size_t before = kg_rich_paragraphs(rich);
    r.source = source;
    r.source_length = kept;
    if (!source || md_parse(source, (MD_SIZE)kept, &parser, &r) != 0 || kg_rich_paragraphs(rich) == before) {
        kg_rich_paragraph(rich, indent, indent, KG_STYLE_TEXT, true);
        kg_rich_add(rich, text, length, KG_STYLE_TEXT);
    }
    free(r.code);
    free(source);
}
