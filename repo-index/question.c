#include "repo-index/question.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define IDENTIFIER_WEIGHT 1.6 /* what is spelled like code is meant */
#define VAGUE_WEIGHT 0.3
#define PATH_WEIGHT 0.2 /* of words inside a path: the path itself says more */
#define PATH_LOOK 256   /* bytes around a word that are looked at */

static const char *const stop_words[] = {
    "a", "about", "after", "again", "all", "also", "am", "an", "and", "another", "any", "are", "as", "at", "be", "because", "been", "before",
    "being", "below", "between", "both", "but", "by", "can", "cannot", "could", "describe", "did", "do", "does", "doing", "done", "each", "either",
    "else", "ever", "every", "exactly", "explain", "few", "find", "for", "from", "get", "gets", "give", "given", "goes", "had", "happen", "happens", "has",
    "have", "having", "he", "hello", "help", "her", "here", "hi", "his", "how", "i", "if", "in", "inside", "into", "is", "it", "its", "just", "know",
    "let", "like", "list", "look", "made", "make", "makes", "many", "may", "me", "mean", "means", "might", "more", "most", "much", "must", "my", "need", "needs",
    "no", "not", "of", "on", "one", "only", "or", "other", "our", "out", "over", "own", "please", "same", "say", "see", "shall", "she", "should",
    "show", "so", "some", "such", "summarize", "summary", "take", "takes", "tell", "than", "thank", "thanks", "that", "the", "their", "them", "then", "there", "these",
    "they", "thing", "things", "this", "those", "through", "to", "too", "under", "understand", "up", "us", "used", "very", "want", "was", "way", "we",
    "were", "what", "when", "where", "whether", "which", "while", "who", "whose", "why", "will", "with", "within", "without", "would", "yes", "you", "your",
};

/* Words of any conversation about code; they count a little. */
static const char *const vague_words[] = {
    "add", "bug", "call", "called", "calls", "change", "changed", "class", "code", "current", "define", "defined", "definition", "different", "error",
    "example", "file", "files", "first", "fix", "function", "functions", "handle", "handled", "handles", "implement", "implementation", "implemented",
    "implements", "issue", "line", "lines", "method", "methods", "module", "new", "problem", "program", "project", "return", "returns", "set", "source",
    "use", "uses", "using", "value", "values", "variable", "work", "working", "works", "write", "wrong",
};

static const char *const overview_words[] = { "app",          "application", "architecture", "codebase", "component",  "components", "design", "goal",
                                              "introduction", "layout",      "library",      "modules",  "organized", "overview",   "package", "parts",
                                              "program",      "project",     "purpose",      "repo",     "repository", "software",   "structure",
                                              "structured",   "tool",        "works",        "work",     "code",       "whole" };
static const char *const usage_words[] = { "build", "building", "built", "compile", "compiled", "configure", "dependencies", "deploy", "install", "installation",
                                           "installed", "launch", "requirements", "run", "running", "setup", "start", "usage" };
static const char *const test_words[] = { "coverage", "fixture", "mock", "spec", "specs", "test", "tested", "testing", "tests", "unittest" };
static const char *const doc_words[] = { "changelog", "changes", "copying", "copyright", "doc", "docs", "documentation", "documented", "guide", "history",
                                         "license", "licence", "manual", "news", "readme", "release", "tutorial", "version" };

static bool is_in(const char *const *words, size_t count, const char *text, size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (strncasecmp(words[i], text, length) == 0 && words[i][length] == '\0')
            return true;
    return false;
}
#define IS_IN(words, text, length) is_in(words, sizeof(words) / sizeof(words)[0], text, length)

static bool is_path_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80 || (c && strchr("_./\\-+@~#=%$", c));
}

static uint32_t number_at(const char *at)
{
    unsigned long n = *at >= '0' && *at <= '9' ? strtoul(at, NULL, 10) : 0;
    return n < 100000000 ? (uint32_t)n : 0;
}

/* file.c:12  file.c(12)  "file.py", line 12  file.c line 12 */
static uint32_t line_behind(const char *at)
{
    if (*at == ':' || *at == '(')
        return number_at(at + 1);
    at += strspn(at, "\"'`, ");
    return strncasecmp(at, "line ", 5) == 0 ? number_at(at + 5) : 0;
}

static void add_mention(struct kg_question *q, const char *text, size_t length, uint32_t line)
{
    struct kg_mention mention = { .line = line };
    while (length && strchr("./\\", text[0]) && !(text[0] == '.' && length > 1 && text[1] != '/' && text[1] != '.' && text[1] != '\\')) {
        text++;
        length--;
    }
    while (length && strchr(".-=#%$\\/", text[length - 1]))
        length--;
    if (length < 2 || length >= sizeof mention.path || q->mention_count == KG_MENTIONS_MAX)
        return;
    for (size_t i = 0; i < length; i++)
        mention.path[i] = (char)(text[i] == '\\' ? '/' : text[i]);
    for (unsigned i = 0; i < q->mention_count; i++)
        if (strcmp(q->mentions[i].path, mention.path) == 0)
            return;
    q->mentions[q->mention_count++] = mention;
}

static void find_mentions(const char *text, struct kg_question *q)
{
    for (const char *at = text; *at;) {
        if (!is_path_char(*at)) {
            at++;
            continue;
        }
        const char *begin = at;
        while (is_path_char(*at))
            at++;
        if (strncmp(at, "://", 3) == 0) { /* an address, not a file */
            at += strcspn(at, " \t\r\n\"'<>)");
            continue;
        }
        add_mention(q, begin, (size_t)(at - begin), line_behind(at));
    }
}

static bool spelled_like_code(const char *text, size_t length, const char *before, const char *behind)
{
    bool lower = false, mixed = false;
    for (size_t i = 0; i < length; i++) {
        bool upper = text[i] >= 'A' && text[i] <= 'Z';
        mixed |= (upper && lower) || (text[i] == '_' && i > 0 && i + 1 < length) || (text[i] >= '0' && text[i] <= '9' && lower);
        lower |= text[i] >= 'a' && text[i] <= 'z';
    }
    return mixed || *behind == '(' || strncmp(behind, "::", 2) == 0 || (before && (*before == '`' || *before == '#' || *before == '@')) || *behind == '`';
}

/* Whether the word stands in something with slashes, or in a name with a short extension that is no call. */
static bool inside_path(const char *text, const char *word, size_t length)
{
    const char *begin = word, *end = word + length;
    while (begin > text && word - begin < PATH_LOOK && is_path_char(begin[-1]))
        begin--;
    while (end - word < PATH_LOOK && is_path_char(*end))
        end++;
    while (end > begin && end[-1] == '.')
        end--;
    if (memchr(begin, '/', (size_t)(end - begin)) || memchr(begin, '\\', (size_t)(end - begin)))
        return true;
    const char *dot = memrchr(begin, '.', (size_t)(end - begin));
    return dot && dot > begin && end - dot >= 2 && end - dot <= 5 && (*end == ':' || *end == '"' || *end == '`' || *end == '\'' || word < dot) && *end != '(';
}

/* Code first: a long trace must not fill the query with its words. */
static void add_identifiers(const char *text, struct kg_question *q)
{
    const char *end = text + strlen(text);
    const char *identifier;
    size_t n;
    for (const char *at = text; (identifier = kg_next_identifier(at, end, &n)) != NULL; at = identifier + n)
        if (n > 1 && spelled_like_code(identifier, n, identifier > text ? identifier - 1 : NULL, identifier + n))
            kg_query_add(&q->query, identifier, n, inside_path(text, identifier, n) ? PATH_WEIGHT : IDENTIFIER_WEIGHT);
}

static void note_kind(struct kg_question *q, const char *word, size_t n)
{
    q->usage |= IS_IN(usage_words, word, n);
    q->tests |= IS_IN(test_words, word, n);
    q->docs |= IS_IN(doc_words, word, n);
}

static void add_words(const char *text, struct kg_question *q)
{
    const char *end = text + strlen(text);
    const char *identifier;
    size_t n;
    unsigned before = KG_QUERY_GROUPS; /* group of the word before, when nothing but a space lies between */
    const char *before_end = NULL;
    unsigned general = 0, particular = q->query.group_count;
    bool any = false;
    for (const char *at = text; (identifier = kg_next_identifier(at, end, &n)) != NULL; at = identifier + n) {
        any = true;
        note_kind(q, identifier, n);
        general += IS_IN(overview_words, identifier, n);
        bool stop = IS_IN(stop_words, identifier, n) || n < 2 || (n <= 2 && identifier > text && identifier[-1] == '\'');
        bool line_number = strspn(identifier, "0123456789") >= n && identifier > text && (identifier[-1] == ':' || n > 6);
        if (stop || line_number)
            continue;
        bool in_path = inside_path(text, identifier, n);
        particular += !IS_IN(overview_words, identifier, n);
        unsigned count = q->query.group_count;
        kg_query_add(&q->query, identifier, n, in_path ? PATH_WEIGHT : IS_IN(vague_words, identifier, n) ? VAGUE_WEIGHT : 1);
        unsigned now = q->query.group_count > count ? count : KG_QUERY_GROUPS;
        if (before < KG_QUERY_GROUPS && now < KG_QUERY_GROUPS && before_end + 1 == identifier)
            kg_query_add_pair(&q->query, before, now);
        before = now;
        before_end = identifier + n;
    }
    q->overview = any && particular == 0 && (general || q->query.group_count == 0);
}

void kg_question_parse(const char *text, struct kg_question *out)
{
    *out = (struct kg_question){ 0 };
    find_mentions(text, out);
    add_identifiers(text, out);
    add_words(text, out);
}
