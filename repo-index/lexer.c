#include "repo-index/lexer.h"

#include <string.h>

void kg_lexer_init(struct kg_lexer *lexer, enum kg_language language, const char *text, size_t length)
{
    *lexer = (struct kg_lexer){ .at = text, .end = text + length, .language = language };
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        lexer->at += 3;
}

bool kg_token_is_word(const struct kg_token *token, const char *word)
{
    return token->kind == KG_TOKEN_WORD && strlen(word) == token->length && memcmp(token->text, word, token->length) == 0;
}

bool kg_token_is_sign(const struct kg_token *token, char sign)
{
    return token->kind == KG_TOKEN_SIGN && token->sign == sign;
}

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static bool begins(const struct kg_lexer *l, const char *what)
{
    size_t n = strlen(what);
    return (size_t)(l->end - l->at) >= n && memcmp(l->at, what, n) == 0;
}

static void to_line_end(struct kg_lexer *l)
{
    const char *feed = memchr(l->at, '\n', (size_t)(l->end - l->at));
    l->at = feed ? feed : l->end;
}

static void skip_block_comment(struct kg_lexer *l)
{
    unsigned depth = 0; /* comments of Rust hold comments */
    while (l->at < l->end) {
        if (begins(l, "*/") && depth) {
            l->at += 2;
            if (--depth == 0)
                return;
        } else if (begins(l, "/*") && (depth == 0 || l->language == KG_LANGUAGE_RUST)) {
            l->at += 2;
            depth++;
        } else {
            l->at++;
        }
    }
}

static bool skip_comment(struct kg_lexer *l)
{
    bool hash = l->language == KG_LANGUAGE_PYTHON || l->language == KG_LANGUAGE_CARGO;
    if (hash ? *l->at == '#' : begins(l, "//")) {
        to_line_end(l);
        return true;
    }
    if (hash || !begins(l, "/*"))
        return false;
    skip_block_comment(l);
    return true;
}

/* Blanks, line ends and comments. */
static void skip_blanks(struct kg_lexer *l)
{
    while (l->at < l->end) {
        if (*l->at == '\n') {
            l->line_begun = false;
            l->at++;
        } else if (*l->at == ' ' || *l->at == '\t' || *l->at == '\r' || *l->at == '\f' || *l->at == '\v') {
            l->at++;
        } else if (*l->at == '\\' && l->at + 1 < l->end && (l->at[1] == '\n' || l->at[1] == '\r')) {
            l->at += begins(l, "\\\r\n") ? 3 : 2;
        } else if (!skip_comment(l)) {
            return;
        }
    }
}

static struct kg_token string(struct kg_lexer *l, const char *begin, size_t behind)
{
    struct kg_token token = { .kind = KG_TOKEN_STRING, .text = begin, .length = (size_t)(l->at - begin) };
    l->at += (size_t)(l->end - l->at) < behind ? (size_t)(l->end - l->at) : behind;
    return token;
}

/* Up to the closing quote; a string that may not cross lines ends with its line, unless that goes on behind a backslash. */
static struct kg_token quoted(struct kg_lexer *l, char quote, bool lines, bool escapes)
{
    const char *begin = ++l->at;
    while (l->at < l->end && *l->at != quote && (lines || *l->at != '\n'))
        l->at += !escapes || *l->at != '\\' || l->at + 1 == l->end ? 1 : begins(l, "\\\r\n") ? 3 : 2;
    return string(l, begin, l->at < l->end && *l->at == quote);
}

static struct kg_token until(struct kg_lexer *l, const char *close, size_t length, bool escapes)
{
    const char *begin = l->at;
    while (l->at < l->end && !((size_t)(l->end - l->at) >= length && memcmp(l->at, close, length) == 0))
        l->at += escapes && *l->at == '\\' && l->at + 1 < l->end ? 2 : 1;
    return string(l, begin, length);
}

/* The text of a template up to its end or to the next ${, whose inside is tokens. */
static struct kg_token template(struct kg_lexer *l)
{
    const char *begin = l->at;
    while (l->at < l->end && *l->at != '`') {
        if (begins(l, "${") && l->templates < KG_LEXER_TEMPLATES) {
            l->braces[l->templates++] = 0;
            return string(l, begin, 2);
        }
        l->at += *l->at == '\\' && l->at + 1 < l->end ? 2 : 1;
    }
    return string(l, begin, 1);
}

static struct kg_token regular_expression(struct kg_lexer *l)
{
    bool set = false;
    const char *begin = ++l->at;
    while (l->at < l->end && *l->at != '\n' && (set || *l->at != '/')) {
        set = *l->at == '[' || (set && *l->at != ']');
        l->at += *l->at == '\\' && l->at + 1 < l->end && l->at[1] != '\n' ? 2 : 1;
    }
    return string(l, begin, l->at < l->end && *l->at == '/');
}

/* R"mark( ... )mark" of C++ and r#" ... "# of Rust, at on the quote or the first hash. */
static bool raw_string(struct kg_lexer *l, struct kg_token *out)
{
    char close[20];
    size_t n = 0;
    const char *at = l->at;
    if (l->language == KG_LANGUAGE_RUST) {
        close[n++] = '"';
        while (at < l->end && *at == '#' && n < sizeof close)
            close[n++] = *at++;
        if (at == l->end || *at != '"')
            return false;
    } else {
        close[n++] = ')';
        for (at++; at < l->end && *at != '(' && *at > ' ' && n + 1 < sizeof close; at++)
            close[n++] = *at;
        if (at == l->end || *at != '(')
            return false;
        close[n++] = '"';
    }
    l->at = at + 1;
    *out = until(l, close, n, false);
    return true;
}

static struct kg_token sign(struct kg_lexer *l)
{
    struct kg_token token = { .kind = KG_TOKEN_SIGN, .sign = *l->at, .text = l->at, .length = 1 };
    l->at++;
    return token;
}

/* A single quote: a string, a character, the separator in 1'000, or a lifetime. */
static struct kg_token single_quote(struct kg_lexer *l, bool behind_number)
{
    if (l->language == KG_LANGUAGE_C && behind_number)
        return sign(l);
    if (l->language == KG_LANGUAGE_RUST) {
        const char *next = l->at + 1;
        unsigned char lead = next < l->end ? (unsigned char)*next : 0;
        ptrdiff_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
        bool character = lead == '\\' || (l->end - next > length && next[length] == '\'');
        return character ? quoted(l, '\'', false, true) : sign(l);
    }
    return quoted(l, '\'', false, l->language != KG_LANGUAGE_CARGO);
}

static bool has_triple_quotes(enum kg_language language)
{
    return language == KG_LANGUAGE_PYTHON || language == KG_LANGUAGE_JAVA || language == KG_LANGUAGE_CARGO;
}

static struct kg_token word(struct kg_lexer *l)
{
    struct kg_token token = { .kind = KG_TOKEN_WORD, .text = l->at };
    while (l->at < l->end && is_word_byte(*l->at))
        l->at++;
    token.length = (size_t)(l->at - token.text);
    char last = token.text[token.length - 1];
    bool cpp = l->language == KG_LANGUAGE_C && last == 'R' && token.length <= 3 && begins(l, "\"");
    bool rust = l->language == KG_LANGUAGE_RUST && last == 'r' && token.length <= 2 && (begins(l, "\"") || begins(l, "#"));
    if (cpp || rust)
        raw_string(l, &token);
    return token;
}

/* After a word that is an operator or begins a statement, a slash begins an expression. */
static bool is_value(const struct kg_token *token)
{
    static const char *const operators[] = { "return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "else", "do", "await", "yield" };
    if (token->kind == KG_TOKEN_SIGN)
        return token->sign == ')' || token->sign == ']' || token->sign == '}';
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (kg_token_is_word(token, operators[i]))
            return false;
    return true;
}

static struct kg_token script_sign(struct kg_lexer *l)
{
    if (*l->at == '/' && !l->value_before)
        return regular_expression(l);
    if (l->templates && *l->at == '{')
        l->braces[l->templates - 1]++;
    if (l->templates && *l->at == '}' && l->braces[l->templates - 1]-- == 0) {
        l->templates--;
        l->at++;
        return template(l);
    }
    return sign(l);
}

static struct kg_token next_token(struct kg_lexer *l, bool behind_number)
{
    char c = *l->at;
    if (is_word_byte(c))
        return word(l);
    if ((c == '"' || c == '\'') && has_triple_quotes(l->language) && (c == '"' || l->language != KG_LANGUAGE_JAVA) && l->end - l->at >= 3 && l->at[1] == c && l->at[2] == c) {
        const char close[3] = { c, c, c };
        l->at += 3;
        return until(l, close, 3, true);
    }
    if (c == '"')
        return quoted(l, '"', l->language == KG_LANGUAGE_RUST, true);
    if (c == '\'')
        return single_quote(l, behind_number);
    if (c == '`' && l->language == KG_LANGUAGE_GO)
        return quoted(l, '`', true, false);
    if (l->language != KG_LANGUAGE_JAVASCRIPT)
        return sign(l);
    if (c == '`') {
        l->at++;
        return template(l);
    }
    return script_sign(l);
}

struct kg_token kg_lexer_next(struct kg_lexer *l)
{
    const char *before = l->at;
    skip_blanks(l);
    if (l->at == l->end)
        return (struct kg_token){ .kind = KG_TOKEN_END };
    bool first = !l->line_begun;
    struct kg_token token = next_token(l, l->number_before && l->at == before);
    token.first = first;
    l->line_begun = true;
    l->value_before = is_value(&token);
    l->number_before = token.kind == KG_TOKEN_WORD && token.text[0] >= '0' && token.text[0] <= '9';
    return token;
}
