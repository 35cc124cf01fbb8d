/* Words of identifiers, what lines define, kinds of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "repo-index/beneath.h"
#include "repo-index/define.h"
#include "repo-index/kind.h"
#include "repo-index/terms.h"
#include "repo-index/words.h"

static void join_word(void *ctx, const char *word, size_t length, enum kg_word_role role)
{
    char *joined = ctx;
    size_t used = strlen(joined);
    snprintf(joined + used, 500 - used, "%s%.*s%s", used ? " " : "", (int)length, word, role == KG_WORD_WHOLE ? "!" : "");
}

static void identifiers_are_split(void **state)
{
    (void)state;
    static const struct {
        const char *identifier, *words;
    } cases[] = {
        { "getUserName", "get user nam getusername!" },
        { "get_user_names", "get user nam getusernames!" },
        { "HTTPServer", "http serv httpserver!" },
        { "HTTP2_MAX_SIZE", "http2 http max siz http2maxsize!" },
        { "sha256", "sha256 sha" },
        { "x", "" },
        { "main", "main" },
        { "__init__", "init" },
        { "_", "" },
        { "parseJSONFile", "pars json fil parsejsonfile!" },
        { "1024", "1024" },
        { "0123456789abcdef", "" },
        { "M\xc3\xbcller", "m\xc3\xbcll" },
        { "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82", "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82" },
        { "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", "\xe6\x97\xa5\xe6\x9c\xac \xe6\x9c\xac\xe8\xaa\x9e" },
        { "a\xe2\x80\x94" "word", "word" },
        { "\xff\xfe\xffword\xc3", "word" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char joined[500] = "";
        kg_split_identifier(cases[i].identifier, strlen(cases[i].identifier), join_word, joined);
        if (strcmp(joined, cases[i].words) != 0)
            fail_msg("%s: %s", cases[i].identifier, joined);
    }
}

static void inflections_share_a_stem(void **state)
{
    (void)state;
    static const char *const families[][6] = {
        { "parse", "parses", "parsed", "parser", "parsing", NULL },         { "generate", "generated", "generator", "generation", "generating", NULL },
        { "token", "tokens", NULL },                                        { "tokenize", "tokenizer", "tokenizers", "tokenizing", "tokenization", NULL },
        { "cache", "caches", "cached", "caching", NULL },                   { "index", "indexes", "indexed", "indexing", NULL },
        { "run", "runs", "running", NULL },                                 { "query", "queries", NULL },
        { "sample", "sampler", "samples", "sampling", "sampled", NULL },    { "address", "addresses", "addressed", NULL },
        { "match", "matches", "matching", "matcher", "matched", NULL },     { "buffer", "buffers", "buffering", "buffered", NULL },
    };
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        char first[40], other[40];
        size_t n = strlen(families[i][0]);
        memcpy(first, families[i][0], n + 1);
        n = kg_stem(first, n);
        for (size_t k = 1; families[i][k]; k++) {
            size_t m = strlen(families[i][k]);
            memcpy(other, families[i][k], m + 1);
            m = kg_stem(other, m);
            if (m != n || memcmp(first, other, n) != 0)
                fail_msg("%s: %.*s and %.*s", families[i][k], (int)n, first, (int)m, other);
        }
    }
    static const char *const apart[] = { "string", "status", "this", "class", "need", "speed", "thing", "user", "use" };
    for (size_t i = 0; i < sizeof apart / sizeof apart[0]; i++) {
        char word[40];
        size_t n = strlen(apart[i]);
        memcpy(word, apart[i], n + 1);
        assert_int_equal(kg_stem(word, n), n);
    }
}

static void lines_tell_what_they_define(void **state)
{
    (void)state;
    static const struct {
        const char *line, *name;
        enum kg_definition what;
    } cases[] = {
        { "int main(int argc, char **argv)", "main", KG_DEFINES },
        { "static struct node *new_node(struct arena *a, int n)", "new_node", KG_DEFINES },
        { "enum kg_status kg_index_open(const char *root);", "kg_index_open", KG_DECLARES },
        { "struct kg_index {", "kg_index", KG_DEFINES },
        { "struct kg_index;", "kg_index", KG_DECLARES },
        { "struct kg_index *index = NULL;", NULL, KG_DEFINES_NOTHING },
        { "} kg_pair;", "kg_pair", KG_DEFINES },
        { "typedef unsigned long size_type;", "size_type", KG_DEFINES },
        { "#define KG_MAX(a, b) x", "KG_MAX", KG_DEFINES },
        { "#  define INNER 1", "INNER", KG_DEFINES },
        { "#include <stdio.h>", NULL, KG_DEFINES_NOTHING },
        { "    return compute(x);", NULL, KG_DEFINES_NOTHING },
        { "    compute(x);", NULL, KG_DEFINES_NOTHING },
        { "    if (ready(x)) {", NULL, KG_DEFINES_NOTHING },
        { "    } else if (ready(x)) {", NULL, KG_DEFINES_NOTHING },
        { "printf(\"hello\");", NULL, KG_DEFINES_NOTHING },
        { "def read_header(self):", "read_header", KG_DEFINES },
        { "    async def fetch(self, url):", "fetch", KG_DEFINES },
        { "class Reader(Base):", "Reader", KG_DEFINES },
        { "MAX_SIZE = 10", "MAX_SIZE", KG_DEFINES },
        { "if MAX_SIZE == 10:", NULL, KG_DEFINES_NOTHING },
        { "func (s *Server) Listen(addr string) error {", "Listen", KG_DEFINES },
        { "func main() {", "main", KG_DEFINES },
        { "type Server struct {", "Server", KG_DEFINES },
        { "pub(crate) fn parse_line<'a>(s: &'a str) -> Option<Line> {", "parse_line", KG_DEFINES },
        { "pub enum Kind {", "Kind", KG_DEFINES },
        { "macro_rules! vec {", NULL, KG_DEFINES_NOTHING },
        { "    fn inner(&self) -> u32;", "inner", KG_DEFINES },
        { "export default function App(props) {", "App", KG_DEFINES },
        { "export const handler = async (event) => {", "handler", KG_DEFINES },
        { "  render(props) {", "render", KG_DEFINES },
        { "public class Nest extends Tree {", "Nest", KG_DEFINES },
        { "    public static void main(String[] args) {", "main", KG_DEFINES },
        { "    private final Map<String, List<Integer>> load(File f) throws IOException {", "load", KG_DEFINES },
        { "void Foo::bar(int x)", "bar", KG_DEFINES },
        { "std::string Widget::name() const {", "name", KG_DEFINES },
        { "namespace kedge {", "kedge", KG_DEFINES },
        { "interface Shape {", "Shape", KG_DEFINES },
        { "  def self.build(options)", "build", KG_DEFINES },
        { "module Birds", "Birds", KG_DEFINES },
        { "fun count(x: Int): Int {", "count", KG_DEFINES },
        { "build_all() {", "build_all", KG_DEFINES },
        { "(defun my-fun (x)", "my", KG_DEFINES },
        { "CREATE TABLE users (", "users", KG_DEFINES },
        { "CFLAGS := -O2", "CFLAGS", KG_DEFINES },
        { "The library provides functions (see below) to read.", NULL, KG_DEFINES_NOTHING },
        { "type of thing", NULL, KG_DEFINES_NOTHING },
        { "function returns nothing", NULL, KG_DEFINES_NOTHING },
        { "class of problems", NULL, KG_DEFINES_NOTHING },
        { "type Celsius = float", "Celsius", KG_DEFINES },
        { "sub new {", "new", KG_DEFINES },
        { "int square(int x) { return x * x; }", "square", KG_DEFINES },
        { "# Heading of a document", NULL, KG_DEFINES_NOTHING },
        { "", NULL, KG_DEFINES_NOTHING },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *name = "";
        size_t n = 0;
        enum kg_definition what = kg_line_defines(cases[i].line, strlen(cases[i].line), &name, &n);
        bool right = what == cases[i].what && (what == KG_DEFINES_NOTHING || (strlen(cases[i].name) == n && memcmp(name, cases[i].name, n) == 0));
        if (!right)
            fail_msg("%s: %d %.*s", cases[i].line, (int)what, (int)n, name);
    }
}

static bool has_term(const struct kg_terms_view *view, const char *term)
{
    char wanted[100];
    int n = snprintf(wanted, sizeof wanted, " %s ", term);
    return strncmp(view->bytes, wanted + 1, (size_t)n - 1) == 0 || memmem(view->bytes, view->length, wanted, (size_t)n) != NULL;
}

static void terms_carry_their_number(void **state)
{
    (void)state;
    struct kg_terms *terms = kg_terms_new();
    struct kg_terms_view view;
    static const char text[] = "int get_name(void)\n{\n    once; twice; twice;\n    five five five five five\n    x x x x x x x x x x ten ten ten ten ten ten ten ten ten ten\n}\n";
    for (int round = 0; round < 3; round++) {
        assert_true(kg_terms_of(terms, text, sizeof text - 1, &view));
        assert_int_equal(view.lines, 6);
        assert_true(has_term(&view, "getname:") && has_term(&view, "getnamea") && has_term(&view, "geta"));
        assert_true(has_term(&view, "oncea") || has_term(&view, "onca"));
        assert_true(has_term(&view, "twicb") && has_term(&view, "fivc") && has_term(&view, "tend"));
        assert_false(has_term(&view, "xd"));
        assert_true(kg_terms_of(terms, "", 0, &view));
        assert_int_equal(view.length, 0);
        /* many words, so that tables grow, and stale ones are not seen afterwards */
        char *large = malloc(400000);
        size_t used = 0;
        for (int i = 0; i < 30000; i++)
            used += (size_t)sprintf(large + used, "w%dz ", i);
        assert_true(kg_terms_of(terms, large, used, &view));
        assert_int_equal(view.words, 30000);
        assert_true(has_term(&view, "w0za") && has_term(&view, "w29999za"));
        assert_false(has_term(&view, "getnamea"));
        free(large);
    }
    kg_terms_free(terms);
}

static void names_tell_secrets_and_generated_files(void **state)
{
    (void)state;
    static const char *const secret[] = { ".env", "a/.env.production", "id_rsa", "deploy/ID_ED25519", "x.pem", "Server.KEY", ".npmrc", "credentials.json", "home/.aws/credentials",
                                          "secrets.yaml", "\xff\xfe.pem", "terraform.tfstate", ".ssh/config", "a/.docker/config.json" };
    static const char *const text[] = { ".env.example", "id_rsa.pub", "secrets.py", "keyboard.c", "environment.md", "src/credentials.go", "monkey", "a.pem/b.c", "lock.c",
                                        "config.json", "Makefile" };
    static const char *const generated[] = { "package-lock.json", "web/yarn.lock", "Cargo.lock", "jquery.min.js", "a/app.bundle.js", "x_pb2.py", "go.sum", "main.js.map" };
    for (size_t i = 0; i < sizeof secret / sizeof secret[0]; i++)
        if (kg_kind_by_name(secret[i]) != KG_KIND_SECRET)
            fail_msg("%s", secret[i]);
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
        if (kg_kind_by_name(text[i]) != KG_KIND_TEXT)
            fail_msg("%s", text[i]);
    for (size_t i = 0; i < sizeof generated / sizeof generated[0]; i++)
        if (kg_kind_by_name(generated[i]) != KG_KIND_GENERATED)
            fail_msg("%s", generated[i]);
}

static void first_bytes_tell_the_kind(void **state)
{
    (void)state;
    static const struct {
        const char *path, *head;
        enum kg_file_kind kind;
    } cases[] = {
        { "a.c", "int main(void)\n{\n}\n", KG_KIND_TEXT },
        { "a.txt", "", KG_KIND_TEXT },
        { "latin.txt", "caf\xe9 cr\xe8me br\xfbl\xe9" "e\n", KG_KIND_TEXT },
        { "a.pdf", "%PDF-1.4\n", KG_KIND_BINARY },
        { "a", "\x01\x02\x03\x04\x05\x06", KG_KIND_BINARY },
        { "a.go", "// Code generated by protoc-gen-go. DO NOT EDIT.\n", KG_KIND_GENERATED },
        { "a.py", "# This file was automatically generated by x.\n# Do not edit it by hand.\n", KG_KIND_GENERATED },
        { "a.js", "/**\n * @generated SignedSource<<abc>>\n */\n", KG_KIND_GENERATED },
        { "kind.c", "static const char marker[] = \"@generated\"; // finds \"x\"\nif (strstr(line, \"DO NOT EDIT\"))\n", KG_KIND_TEXT },
        { "gen.py", "# writes generated files\nprint('hello')\n", KG_KIND_TEXT },
        { "key", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", KG_KIND_SECRET },
        { "cert", "-----BEGIN CERTIFICATE-----\nb3Bl\n", KG_KIND_TEXT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (kg_kind_by_content(cases[i].path, cases[i].head, strlen(cases[i].head)) != cases[i].kind)
            fail_msg("%s: %s", cases[i].path, cases[i].head);
    assert_int_equal(kg_kind_by_content("a", "text\0", 5), KG_KIND_BINARY);
    char packed[KG_KIND_HEAD];
    memset(packed, 'x', sizeof packed);
    assert_int_equal(kg_kind_by_content("a.js", packed, sizeof packed), KG_KIND_GENERATED);
    assert_int_equal(kg_kind_by_content("a.md", packed, sizeof packed), KG_KIND_TEXT);
}

static void git_directories_are_known_in_every_spelling(void **state)
{
    (void)state;
    static const char *const yes[] = { ".git", ".GIT", ".Git", "git~1", "GIT~1", ".git.", ".git ", ".git. . ", ".git::$INDEX_ALLOCATION", ".git\\config", "git~1 .",
                                       ".g\xe2\x80\x8cit", "\xe2\x80\x8d.git", ".git\xef\xbb\xbf", ".gi\xe2\x81\xaft" };
    static const char *const no[] = { ".gitignore", "git", "git~2", ".gi", "", "x.git", ".git_", ".gitmodules", "git~10", ".g", ".g\xe2\x80\xa0it" };
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (!kg_names_gitdir(yes[i], strlen(yes[i])))
            fail_msg("%s", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        if (kg_names_gitdir(no[i], strlen(no[i])))
            fail_msg("%s", no[i]);
    assert_true(kg_path_enters_gitdir("a/b/.GIT/config"));
    assert_false(kg_path_enters_gitdir("a/b/.gitignore"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identifiers_are_split),
        cmocka_unit_test(inflections_share_a_stem),
        cmocka_unit_test(lines_tell_what_they_define),
        cmocka_unit_test(terms_carry_their_number),
        cmocka_unit_test(names_tell_secrets_and_generated_files),
        cmocka_unit_test(first_bytes_tell_the_kind),
        cmocka_unit_test(git_directories_are_known_in_every_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
