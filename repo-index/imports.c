#include "repo-index/imports.h"

#include <stdlib.h>
#include <string.h>

#include "repo-index/lexer.h"

#define CLAUSE_TOKENS 4000 /* of one import clause */
#define USE_DEPTH 8        /* braces in braces of a use */

void kg_imports_free(struct kg_imports *imports)
{
    free(imports->bytes);
    *imports = (struct kg_imports){ 0 };
}

static void put(struct kg_imports *out, char kind, const char *name, size_t length)
{
    if (length == 0 || length > KG_IMPORT_NAME || out->count == KG_IMPORTS_MAX)
        return;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return;
    if (out->capacity - out->length < length + 2) {
        size_t capacity = out->capacity * 2 + KG_IMPORT_NAME + 2;
        char *bigger = realloc(out->bytes, capacity);
        if (!bigger) {
            out->failed = true;
            return;
        }
        out->bytes = bigger;
        out->capacity = capacity;
    }
    out->bytes[out->length++] = kind;
    memcpy(out->bytes + out->length, name, length);
    out->length += length;
    out->bytes[out->length++] = '\n';
    out->count++;
}

bool kg_import_next(const char **at, const char *end, char *kind, char name[KG_IMPORT_NAME + 1])
{
    while (*at < end) {
        const char *begin = *at;
        const char *feed = memchr(begin, '\n', (size_t)(end - begin));
        size_t length = feed ? (size_t)(feed - begin) : 0;
        *at = feed ? feed + 1 : end;
        if (length < 2 || length > KG_IMPORT_NAME + 1 || memchr(begin, '\0', length))
            continue;
        *kind = begin[0];
        memcpy(name, begin + 1, length - 1);
        name[length - 1] = '\0';
        return true;
    }
    return false;
}

/* A name that is put together from tokens. */
struct name {
    char text[KG_IMPORT_NAME + 1];
    size_t length;
    bool overflow;
};

static void append(struct name *name, const char *text, size_t length)
{
    name->overflow |= length > KG_IMPORT_NAME - name->length;
    if (name->overflow)
        return;
    memcpy(name->text + name->length, text, length);
    name->length += length;
}

static void put_name(struct kg_imports *out, char kind, const struct name *name)
{
    if (!name->overflow)
        put(out, kind, name->text, name->length);
}

static void scan_c(struct kg_imports *out, struct kg_lexer *l)
{
    for (struct kg_token token; (token = kg_lexer_next(l)).kind != KG_TOKEN_END;) {
        if (!token.first || !kg_token_is_sign(&token, '#'))
            continue;
        token = kg_lexer_next(l);
        if (token.first || (!kg_token_is_word(&token, "include") && !kg_token_is_word(&token, "include_next") && !kg_token_is_word(&token, "import")))
            continue;
        struct kg_lexer ahead = *l;
        token = kg_lexer_next(&ahead);
        size_t rest = token.text ? (size_t)(l->end - token.text) : 0;
        const char *close = kg_token_is_sign(&token, '<') && token.text ? memchr(token.text, '>', rest < KG_IMPORT_NAME + 2 ? rest : KG_IMPORT_NAME + 2) : NULL;
        if (token.first || (!close && token.kind != KG_TOKEN_STRING))
            continue;
        put(out, close ? '<' : '"', close ? token.text + 1 : token.text, close ? (size_t)(close - token.text - 1) : token.length);
        *l = ahead;
        l->at = close ? close + 1 : l->at; /* <a//b> is no comment */
    }
}

/* a.b.c at *token, which moves behind it. */
static void dotted(struct kg_lexer *l, struct kg_token *token, struct name *name)
{
    while (token->kind == KG_TOKEN_WORD) {
        append(name, token->text, token->length);
        *token = kg_lexer_next(l);
        if (!kg_token_is_sign(token, '.'))
            return;
        append(name, ".", 1);
        *token = kg_lexer_next(l);
    }
}

static void skip_alias(struct kg_lexer *l, struct kg_token *token)
{
    if (!kg_token_is_word(token, "as"))
        return;
    kg_lexer_next(l);
    *token = kg_lexer_next(l);
}

/* import a.b as c, d */
static void python_import(struct kg_imports *out, struct kg_lexer *l, struct kg_token *token)
{
    do {
        struct name name = { 0 };
        *token = kg_lexer_next(l);
        if (token->kind != KG_TOKEN_WORD || token->first)
            return;
        dotted(l, token, &name);
        put_name(out, 'p', &name);
        skip_alias(l, token);
    } while (kg_token_is_sign(token, ','));
}

/* from ..a.b import (c as d, e) */
static void python_from(struct kg_imports *out, struct kg_lexer *l, struct kg_token *token)
{
    struct name module = { 0 };
    for (*token = kg_lexer_next(l); kg_token_is_sign(token, '.'); *token = kg_lexer_next(l))
        append(&module, ".", 1);
    if (!kg_token_is_word(token, "import"))
        dotted(l, token, &module);
    if (!kg_token_is_word(token, "import") || module.length == 0)
        return;
    *token = kg_lexer_next(l);
    bool brackets = kg_token_is_sign(token, '(');
    if (brackets)
        *token = kg_lexer_next(l);
    while ((token->kind == KG_TOKEN_WORD || kg_token_is_sign(token, '*')) && (brackets || !token->first)) {
        struct name name = module;
        if (token->kind == KG_TOKEN_WORD) {
            append(&name, ":", 1);
            append(&name, token->text, token->length);
        }
        put_name(out, 'p', &name);
        *token = kg_lexer_next(l);
        skip_alias(l, token);
        if (!kg_token_is_sign(token, ','))
            return;
        *token = kg_lexer_next(l);
    }
}

static void scan_python(struct kg_imports *out, struct kg_lexer *l)
{
    bool begins = true;
    struct kg_token token = kg_lexer_next(l);
    while (token.kind != KG_TOKEN_END) {
        bool statement = begins || token.first;
        begins = kg_token_is_sign(&token, ';') || kg_token_is_sign(&token, ':');
        if (statement && kg_token_is_word(&token, "import"))
            python_import(out, l, &token);
        else if (statement && kg_token_is_word(&token, "from"))
            python_from(out, l, &token);
        else
            token = kg_lexer_next(l);
    }
}

/* What stands between import or export and the module's name: { a, b as c }, * as d. */
static bool clause_then_name(struct kg_lexer *l, struct kg_token *name)
{
    for (unsigned i = 0; i < CLAUSE_TOKENS; i++) {
        struct kg_token token = kg_lexer_next(l);
        if (kg_token_is_word(&token, "from")) {
            struct kg_lexer ahead = *l;
            *name = kg_lexer_next(&ahead);
            if (name->kind == KG_TOKEN_STRING) {
                *l = ahead;
                return true;
            }
        }
        bool another = kg_token_is_word(&token, "import") || kg_token_is_word(&token, "export");
        if (another || (token.kind != KG_TOKEN_WORD && !(token.kind == KG_TOKEN_SIGN && strchr("{},*", token.sign))))
            return false;
    }
    return false;
}

static bool bracketed_name(struct kg_lexer *l, struct kg_token *name)
{
    struct kg_token open = kg_lexer_next(l);
    *name = kg_lexer_next(l);
    return kg_token_is_sign(&open, '(') && name->kind == KG_TOKEN_STRING;
}

static void scan_javascript(struct kg_imports *out, struct kg_lexer *l)
{
    bool member = false; /* a.import is no import */
    for (struct kg_token token; (token = kg_lexer_next(l)).kind != KG_TOKEN_END; member = kg_token_is_sign(&token, '.')) {
        struct kg_lexer ahead = *l;
        struct kg_token name = { 0 };
        bool import = kg_token_is_word(&token, "import");
        if (member || (!import && !kg_token_is_word(&token, "export") && !kg_token_is_word(&token, "require")))
            continue;
        if (import && (name = kg_lexer_next(&ahead)).kind == KG_TOKEN_STRING) {
            put(out, 'j', name.text, name.length);
            *l = ahead;
            continue;
        }
        ahead = *l;
        bool named = kg_token_is_word(&token, "require") ? bracketed_name(&ahead, &name) : clause_then_name(&ahead, &name);
        if (!named && import) {
            ahead = *l;
            named = bracketed_name(&ahead, &name);
        }
        if (named) {
            put(out, 'j', name.text, name.length);
            *l = ahead;
        }
    }
}

static void scan_go(struct kg_imports *out, struct kg_lexer *l)
{
    struct kg_token token = kg_lexer_next(l);
    while (token.kind != KG_TOKEN_END) {
        if (token.first && (kg_token_is_word(&token, "func") || kg_token_is_word(&token, "type") || kg_token_is_word(&token, "var") || kg_token_is_word(&token, "const")))
            return; /* imports come before all else */
        bool import = token.first && kg_token_is_word(&token, "import");
        token = kg_lexer_next(l);
        if (!import)
            continue;
        bool brackets = kg_token_is_sign(&token, '(');
        if (brackets)
            token = kg_lexer_next(l);
        while (token.kind != KG_TOKEN_END && !kg_token_is_sign(&token, ')') && (brackets || !token.first)) {
            if (token.kind == KG_TOKEN_STRING)
                put(out, 'g', token.text, token.length);
            token = kg_lexer_next(l);
        }
    }
}

static bool double_colon(struct kg_lexer *l, const struct kg_token *token)
{
    struct kg_lexer ahead = *l;
    struct kg_token next = kg_lexer_next(&ahead);
    if (!kg_token_is_sign(token, ':') || !kg_token_is_sign(&next, ':'))
        return false;
    *l = ahead;
    return true;
}

/* One tree of a use: a::b::{c, d::*}; prefix is what stands before it. */
static void rust_tree(struct kg_imports *out, struct kg_lexer *l, struct kg_token *token, struct name name, unsigned depth)
{
    bool last = false;
    while (!last) {
        if (kg_token_is_sign(token, '{') && depth < USE_DEPTH) {
            do {
                *token = kg_lexer_next(l);
                rust_tree(out, l, token, name, depth + 1);
            } while (kg_token_is_sign(token, ','));
            if (kg_token_is_sign(token, '}'))
                *token = kg_lexer_next(l);
            return;
        }
        if (token->kind == KG_TOKEN_WORD && !kg_token_is_word(token, "self")) {
            append(&name, name.length ? "::" : "", name.length ? 2 : 0);
            append(&name, token->text, token->length);
        } else if (token->kind == KG_TOKEN_WORD && name.length == 0) {
            append(&name, "self", 4);
        } else if (token->kind != KG_TOKEN_WORD && !kg_token_is_sign(token, '*') && !(kg_token_is_sign(token, ':') && name.length == 0)) {
            return;
        }
        if (!kg_token_is_sign(token, ':'))
            *token = kg_lexer_next(l);
        last = !double_colon(l, token);
        if (!last)
            *token = kg_lexer_next(l);
    }
    put_name(out, 'u', &name);
    skip_alias(l, token);
}

/* #[path = "name"] at the #: the name, else an empty token. */
static struct kg_token rust_path(struct kg_lexer *l)
{
    struct kg_token open = kg_lexer_next(l), key = kg_lexer_next(l), equals = kg_lexer_next(l), value = kg_lexer_next(l);
    bool path = kg_token_is_sign(&open, '[') && kg_token_is_word(&key, "path") && kg_token_is_sign(&equals, '=') && value.kind == KG_TOKEN_STRING;
    return path ? value : (struct kg_token){ 0 };
}

static void scan_rust(struct kg_imports *out, struct kg_lexer *l)
{
    struct kg_token token = kg_lexer_next(l);
    struct kg_token path = { 0 };
    while (token.kind != KG_TOKEN_END) {
        struct kg_lexer ahead = *l;
        if (kg_token_is_sign(&token, '#')) {
            struct kg_token named = rust_path(&ahead);
            path = named.length ? named : path;
        } else if (kg_token_is_word(&token, "mod")) {
            struct kg_token name = kg_lexer_next(&ahead), behind = kg_lexer_next(&ahead);
            if (name.kind == KG_TOKEN_WORD && kg_token_is_sign(&behind, ';'))
                put(out, path.length ? 'P' : 'm', path.length ? path.text : name.text, path.length ? path.length : name.length);
            path = (struct kg_token){ 0 };
        } else if (kg_token_is_word(&token, "use")) {
            token = kg_lexer_next(l);
            rust_tree(out, l, &token, (struct name){ 0 }, 0);
            continue;
        } else if (kg_token_is_word(&token, "extern")) {
            struct kg_token crate = kg_lexer_next(&ahead), name = kg_lexer_next(&ahead);
            if (kg_token_is_word(&crate, "crate") && name.kind == KG_TOKEN_WORD)
                put(out, 'u', name.text, name.length);
        }
        token = kg_lexer_next(l);
    }
}

static void scan_java(struct kg_imports *out, struct kg_lexer *l)
{
    struct kg_token token = kg_lexer_next(l);
    while (token.kind != KG_TOKEN_END && !kg_token_is_sign(&token, '{')) {
        bool import = token.first && kg_token_is_word(&token, "import");
        token = kg_lexer_next(l);
        if (!import)
            continue;
        struct name name = { 0 };
        if (kg_token_is_word(&token, "static"))
            token = kg_lexer_next(l);
        dotted(l, &token, &name);
        if (kg_token_is_sign(&token, '*'))
            append(&name, "*", 1);
        put_name(out, 'i', &name);
    }
}

/* module example.org/a */
static void scan_go_mod(struct kg_imports *out, struct kg_lexer *l)
{
    for (struct kg_token token; (token = kg_lexer_next(l)).kind != KG_TOKEN_END;) {
        if (!token.first || !kg_token_is_word(&token, "module"))
            continue;
        while (l->at < l->end && (*l->at == ' ' || *l->at == '\t' || *l->at == '"'))
            l->at++;
        const char *begin = l->at;
        while (l->at < l->end && (unsigned char)*l->at > ' ' && *l->at != '"')
            l->at++;
        put(out, 'N', begin, (size_t)(l->at - begin));
        return;
    }
}

static void scan_cargo(struct kg_imports *out, struct kg_lexer *l)
{
    bool package = false;
    for (struct kg_token token; (token = kg_lexer_next(l)).kind != KG_TOKEN_END;) {
        if (token.first && kg_token_is_sign(&token, '[')) {
            token = kg_lexer_next(l);
            package = kg_token_is_word(&token, "package") || kg_token_is_word(&token, "lib");
        } else if (token.first && package && kg_token_is_word(&token, "name")) {
            struct kg_token equals = kg_lexer_next(l), value = kg_lexer_next(l);
            if (kg_token_is_sign(&equals, '=') && value.kind == KG_TOKEN_STRING)
                put(out, 'N', value.text, value.length);
        }
    }
}

static void scan_package_json(struct kg_imports *out, struct kg_lexer *l)
{
    unsigned depth = 0;
    for (struct kg_token token; (token = kg_lexer_next(l)).kind != KG_TOKEN_END;) {
        depth += kg_token_is_sign(&token, '{') || kg_token_is_sign(&token, '[');
        depth -= depth && (kg_token_is_sign(&token, '}') || kg_token_is_sign(&token, ']'));
        if (depth != 1 || token.kind != KG_TOKEN_STRING || token.length != 4 || memcmp(token.text, "name", 4) != 0)
            continue;
        struct kg_token colon = kg_lexer_next(l), value = kg_lexer_next(l);
        if (!kg_token_is_sign(&colon, ':') || value.kind != KG_TOKEN_STRING)
            continue;
        put(out, 'N', value.text, value.length);
        return;
    }
}

bool kg_imports_of(struct kg_imports *imports, enum kg_language language, const char *text, size_t length)
{
    static void (*const scanners[])(struct kg_imports *out, struct kg_lexer *l) = {
        [KG_LANGUAGE_C] = scan_c,       [KG_LANGUAGE_PYTHON] = scan_python, [KG_LANGUAGE_JAVASCRIPT] = scan_javascript,
        [KG_LANGUAGE_GO] = scan_go,     [KG_LANGUAGE_RUST] = scan_rust,     [KG_LANGUAGE_JAVA] = scan_java,
        [KG_LANGUAGE_GO_MOD] = scan_go_mod, [KG_LANGUAGE_CARGO] = scan_cargo, [KG_LANGUAGE_PACKAGE_JSON] = scan_package_json,
    };
    struct kg_lexer lexer;
    imports->length = 0;
    imports->count = 0;
    imports->failed = false;
    if (language == KG_LANGUAGE_OTHER)
        return true;
    kg_lexer_init(&lexer, language, text, length);
    scanners[language](imports, &lexer);
    return !imports->failed;
}
