#include "tui/transcript/highlight.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "tui/screen/screen.h"

struct language {
    const char *names;      /* set apart by spaces */
    const char *line[2];    /* what begins a comment up to the end of its line */
    const char *open, *close; /* of other comments */
    const char *quotes;     /* characters that begin and end a string */
    const char *multiline;  /* those of them whose strings go over ends of lines; a quote three times is one in Python */
    const char *keywords;   /* set apart by spaces */
    bool any_case, preprocessor, dashes; /* lines that begin with '#' are the preprocessor's; '-' is part of words */
};

#define C_WORDS "auto break case const continue default do else enum extern for goto if inline register restrict return sizeof static struct switch " \
                "typedef union volatile while void char short int long float double signed unsigned bool true false NULL size_t ssize_t int8_t " \
                "int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t _Atomic _Bool _Static_assert _Thread_local"

static const struct language languages[] = {
    { .names = "c h", .line = { "//" }, .open = "/*", .close = "*/", .quotes = "\"'", .preprocessor = true, .keywords = C_WORDS },
    { .names = "cpp c++ cc cxx hpp cuda cu", .line = { "//" }, .open = "/*", .close = "*/", .quotes = "\"'", .preprocessor = true,
      .keywords = C_WORDS " alignas alignof and catch class concept const_cast constexpr consteval co_await co_return co_yield decltype delete "
                  "dynamic_cast explicit export final friend mutable namespace new noexcept not nullptr operator or override private protected public "
                  "reinterpret_cast requires static_cast template this throw try typeid typename using virtual" },
    { .names = "python py python3", .line = { "#" }, .quotes = "\"'",
      .keywords = "and as assert async await break class continue def del elif else except finally for from global if import in is lambda match case "
                  "nonlocal not or pass raise return try while with yield None True False self" },
    { .names = "sh bash zsh shell console", .line = { "#" }, .quotes = "\"'`", .multiline = "\"'`", .dashes = true,
      .keywords = "if then else elif fi for while until do done case esac in function return local export readonly declare set unset shift exit break "
                  "continue trap source eval exec" },
    { .names = "javascript js jsx mjs typescript ts tsx", .line = { "//" }, .open = "/*", .close = "*/", .quotes = "\"'`", .multiline = "`",
      .keywords = "abstract any as async await boolean break case catch class const constructor continue debugger declare default delete do else enum "
                  "export extends false finally for from function get if implements import in instanceof interface keyof let namespace never new null "
                  "number of private protected public readonly return set static string super switch symbol this throw true try type typeof undefined "
                  "unknown var void while with yield" },
    { .names = "go golang", .line = { "//" }, .open = "/*", .close = "*/", .quotes = "\"'`", .multiline = "`",
      .keywords = "break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select "
                  "struct switch type var nil true false iota string bool byte rune error int int8 int16 int32 int64 uint uint8 uint16 uint32 uint64 "
                  "uintptr float32 float64 make new len cap append any" },
    { .names = "rust rs", .line = { "//" }, .open = "/*", .close = "*/", .quotes = "\"", .multiline = "\"",
      .keywords = "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut pub ref return "
                  "self Self static struct super trait true type union unsafe use where while bool char str String i8 i16 i32 i64 i128 isize u8 u16 u32 "
                  "u64 u128 usize f32 f64 Option Result Some None Ok Err Vec Box" },
    { .names = "java kotlin kt scala csharp cs c# swift php", .line = { "//" }, .open = "/*", .close = "*/", .quotes = "\"'",
      .keywords = "abstract as assert async await base bool boolean break byte case catch char class const continue data def default defer do double else "
                  "enum extends extension false final finally float for foreach fun func function guard if implements import in init inout int interface "
                  "internal is let long match namespace new nil null object open operator out override package private protected public readonly ref "
                  "return sealed self short static string struct super switch synchronized this throw throws trait true try type typealias using val "
                  "var virtual void volatile when where while with yield String Int" },
    { .names = "ruby rb", .line = { "#" }, .quotes = "\"'`",
      .keywords = "alias and begin break case class def defined do else elsif end ensure false for if in module next nil not or redo rescue retry return "
                  "self super then true undef unless until when while yield require require_relative attr_accessor attr_reader attr_writer" },
    { .names = "lua", .line = { "--" }, .quotes = "\"'",
      .keywords = "and break do else elseif end false for function goto if in local nil not or repeat return then true until while" },
    { .names = "sql sqlite postgresql mysql", .line = { "--" }, .open = "/*", .close = "*/", .quotes = "'\"", .multiline = "'\"", .any_case = true,
      .keywords = "add all alter and as asc begin between by cascade case check column commit constraint create cross database default delete desc "
                  "distinct drop else end exists explain foreign from full grant group having if in index inner insert into is join key left like limit "
                  "not null offset on or order outer over partition primary references returning right rollback row rows select set table then "
                  "transaction trigger union unique update using values view when where with integer text real blob int varchar boolean timestamp" },
    { .names = "json jsonc json5", .line = { "//" }, .quotes = "\"", .keywords = "true false null" },
    { .names = "yaml yml toml ini conf cfg dockerfile makefile make cmake", .line = { "#" }, .quotes = "\"'", .dashes = true,
      .keywords = "true false yes no null on off FROM RUN COPY ADD CMD ENTRYPOINT ENV ARG WORKDIR EXPOSE ifeq ifneq ifdef ifndef else endif include define "
                  "endef export" },
};

static bool is_in(const char *words, const char *word, size_t length, bool any_case)
{
    for (const char *at = words; at && *at; at += strcspn(at, " "), at += *at == ' ')
        if (strcspn(at, " ") == length && (any_case ? strncasecmp(at, word, length) : strncmp(at, word, length)) == 0)
            return true;
    return false;
}

static bool begins(const char *with, const char *at, size_t left)
{
    size_t n = with ? strlen(with) : 0;
    return n > 0 && n <= left && memcmp(with, at, n) == 0;
}

static bool is_word(const struct language *l, char c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80 || (l->dashes && c == '-');
}

static size_t line_length(const char *at, size_t left)
{
    const char *newline = memchr(at, '\n', left);
    return newline ? (size_t)(newline - at) : left;
}

static size_t string_length(const struct language *l, const char *at, size_t left)
{
    char three[4] = { *at, *at, *at, '\0' };
    if (begins(three, at, left) && strcmp(l->names, "python py python3") == 0) {
        const char *end = left > 3 ? memmem(at + 3, left - 3, three, 3) : NULL;
        return end ? (size_t)(end - at) + 3 : left;
    }
    bool over_lines = l->multiline && strchr(l->multiline, *at);
    for (size_t i = 1; i < left; i++) {
        if (at[i] == '\\' && i + 1 < left)
            i++;
        else if (at[i] == *at)
            return i + 1;
        else if (at[i] == '\n' && !over_lines)
            return i;
    }
    return left;
}

/* The preprocessor's word; the rest of the line is as any other, "<name>" aside. */
static size_t directive_length(const char *at, size_t left)
{
    size_t n = 1;
    while (n < left && (at[n] == ' ' || (at[n] >= 'a' && at[n] <= 'z')))
        n++;
    while (n > 1 && at[n - 1] == ' ')
        n--;
    return n;
}

/* The length of what begins here, and its style; plain text a character at a time. */
static size_t next_piece(const struct language *l, const char *at, size_t left, bool line_start, unsigned *style)
{
    size_t n = 0;
    *style = KG_STYLE_COMMENT;
    if (begins(l->line[0], at, left) || begins(l->line[1], at, left))
        return line_length(at, left);
    if (begins(l->open, at, left)) {
        size_t lead = strlen(l->open);
        const char *end = left > lead ? memmem(at + lead, left - lead, l->close, strlen(l->close)) : NULL;
        return end ? (size_t)(end - at) + strlen(l->close) : left;
    }
    *style = KG_STYLE_STRING;
    if (strchr(l->quotes, *at) && *at)
        return string_length(l, at, left);
    *style = KG_STYLE_KEYWORD;
    if (l->preprocessor && line_start && *at == '#')
        return directive_length(at, left);
    while (n < left && is_word(l, at[n]))
        n++;
    if (n > 0 && at[0] >= '0' && at[0] <= '9') {
        *style = KG_STYLE_NUMBER;
        while (n + 1 < left && at[n] == '.' && is_word(l, at[n + 1]))
            for (n++; n < left && is_word(l, at[n]);)
                n++;
        return n;
    }
    if (!(n > 0 && is_in(l->keywords, at, n, l->any_case)))
        *style = KG_STYLE_CODE_BLOCK;
    return n > 0 ? n : 1;
}

/* Line by line. */
static void highlight_diff(const char *text, size_t length, void (*take)(void *ctx, const char *piece, size_t length, unsigned style), void *ctx)
{
    for (size_t at = 0; at < length;) {
        size_t left = length - at;
        const char *line = text + at;
        size_t n = line_length(line, left);
        bool head = begins("+++ ", line, n) || begins("--- ", line, n) || begins("@@ ", line, n) || begins("diff ", line, n) || begins("index ", line, n);
        unsigned style = head ? KG_STYLE_DIM : *line == '+' ? KG_STYLE_ADDED : *line == '-' ? KG_STYLE_REMOVED : KG_STYLE_CODE_BLOCK;
        n += n < left;
        take(ctx, line, n, style);
        at += n;
    }
}

void kg_highlight(const char *language, size_t language_length, const char *text, size_t length,
                  void (*take)(void *ctx, const char *piece, size_t length, unsigned style), void *ctx)
{
    const struct language *l = NULL;
    if (language_length > 0 && is_in("diff patch", language, language_length, true)) {
        highlight_diff(text, length, take, ctx);
        return;
    }
    for (size_t i = 0; i < sizeof languages / sizeof languages[0] && !l; i++)
        if (language_length > 0 && is_in(languages[i].names, language, language_length, true))
            l = &languages[i];
    size_t pending = 0, at = 0; /* plain text that was not given yet starts at pending */
    bool line_start = true;
    while (l && at < length) {
        unsigned style;
        size_t n = next_piece(l, text + at, length - at, line_start, &style);
        if (style != KG_STYLE_CODE_BLOCK) {
            if (at > pending)
                take(ctx, text + pending, at - pending, KG_STYLE_CODE_BLOCK);
            take(ctx, text + at, n, style);
            pending = at + n;
        }
        for (size_t i = at; i < at + n; i++)
            line_start = text[i] == '\n' || (line_start && (text[i] == ' ' || text[i] == '\t'));
        at += n;
    }
    if (length > pending)
        take(ctx, text + pending, length - pending, KG_STYLE_CODE_BLOCK);
}
