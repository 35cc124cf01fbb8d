/* Import lines of seven languages: what they name, and which files that is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "index_repo.h"
#include "repo-index/imports.h"

static int set_up(void **state)
{
    index_repo_set_up(state);
    here.index = index_repo_open(&here);
    return 0;
}

/* The records of a text in one line, "|" behind each. */
static const char *records_of(enum kg_language language, const char *text, size_t length)
{
    static char line[100000];
    struct kg_imports imports = { 0 };
    char name[KG_IMPORT_NAME + 1];
    char kind;
    size_t n = 0;
    assert_true(kg_imports_of(&imports, language, text, length));
    line[0] = '\0';
    for (const char *at = imports.bytes; imports.length && kg_import_next(&at, imports.bytes + imports.length, &kind, name);)
        n += (size_t)snprintf(line + n, sizeof line - n, "%c%s|", kind, name);
    kg_imports_free(&imports);
    return line;
}

static void import_lines_are_told_from_comments_and_strings(void **state)
{
    (void)state;
    static const struct {
        enum kg_language language;
        const char *text, *records;
    } cases[] = {
        { KG_LANGUAGE_C, "#include \"a.h\"\n  #  include <b/c.hpp> // why\n#import \"d.h\"\n#include_next <e.h>\n", "\"a.h|<b/c.hpp|\"d.h|<e.h|" },
        { KG_LANGUAGE_C, "/*\n#include \"no.h\"\n*/\n// #include \"no.h\"\nchar *s = \"\\\n#include <no.h>\";\n#include <a//b.h>\n", "<a//b.h|" },
        { KG_LANGUAGE_C, "auto s = R\"x(\n#include \"no.h\"\n)x\";\nint n = 1'000'000;\nchar c = '\"';\n#include \"yes.h\"\n", "\"yes.h|" },
        { KG_LANGUAGE_C, "#include MACRO\n#include\n\"no.h\"\n#define include \"no.h\"\n#include \"unclosed.h\n#include \"yes.h\" /* one\ntwo */\n", "\"unclosed.h|\"yes.h|" },
        { KG_LANGUAGE_C, "\xef\xbb\xbf#include \"bom.h\"\r\n#include \"crlf.h\"\r\n", "\"bom.h|\"crlf.h|" },
        { KG_LANGUAGE_PYTHON, "import a, b.c as d\nfrom x.y import (z as q, # no\n  w,\n)\nfrom . import v\nfrom ..u import *\n", "pa|pb.c|px.y:z|px.y:w|p.:v|p..u|" },
        { KG_LANGUAGE_PYTHON, "'''\nimport no\n'''\n# import no\nx = \"import no\"\ntry: import yes\nexcept: import also; from m import k\nyield from no\n", "pyes|palso|pm:k|" },
        { KG_LANGUAGE_PYTHON, "from a import\\\n  b\nif x:\n    import c\nimport\nfrom\nfrom z\n", "pa:b|pc|" },
        { KG_LANGUAGE_JAVASCRIPT, "import a, { b as c } from './x';\nimport * as d from \"y\"\nimport './side.css';\nexport { e } from './z';\nexport * from './w'\n", "j./x|jy|j./side.css|j./z|j./w|" },
        { KG_LANGUAGE_JAVASCRIPT, "import type { T } from 't'\nconst q = require('q'), l = () => import(\"./lazy\")\nobj.require('no'); import.meta.url; export const from = 'no'\n", "jt|jq|j./lazy|" },
        { KG_LANGUAGE_JAVASCRIPT, "// import 'no'\nconst t = `import 'no' ${ require('yes') } import 'no'`;\nconst r = /['\"`]/g; a = b / c; const s = require('also') / 2\n", "jyes|jalso|" },
        { KG_LANGUAGE_JAVASCRIPT, "<script setup>\nimport A from './A.vue'\n</script>\n<p>it's</p>\n", "j./A.vue|" },
        { KG_LANGUAGE_GO, "package m\nimport \"fmt\"\nimport (\n  // \"no\"\n  x \"a/b\"\n  . \"c\"; _ `d`\n)\nfunc main() {\n import \"no\"\n}\n", "gfmt|ga/b|gc|gd|" },
        { KG_LANGUAGE_RUST, "mod a;\npub(crate) mod b;\nmod c { }\nuse crate::d::{e, f::{self, G as H}, i::*};\nuse super::j;\npub use ::k::l;\nextern crate m;\n", "ma|mb|ucrate::d::e|ucrate::d::f|ucrate::d::f::G|ucrate::d::i|usuper::j|uk::l|um|" },
        { KG_LANGUAGE_RUST, "/* /* use no; */ use no; */\nlet s = r#\"use no; \" use no;\"#;\nfn f<'a>(c: char) { c == '\"'; c == '\\''; }\n#[path = \"odd.rs\"]\nmod p;\nuse yes;\n", "Podd.rs|uyes|" },
        { KG_LANGUAGE_JAVA, "package p;\n/* import no; */\nimport a.b.C;\nimport static a.b.D.m;\nimport e.f.*;\nclass X { String s = \"import no;\"; }\nimport no.No;\n", "ia.b.C|ia.b.D.m|ie.f.*|" },
        { KG_LANGUAGE_GO_MOD, "// module no\nmodule example.org/m/v2 // yes\n\ngo 1.22\n", "Nexample.org/m/v2|" },
        { KG_LANGUAGE_CARGO, "[dependencies]\nname = \"no\"\n[package]\nname = \"my-crate\" # yes\n", "Nmy-crate|" },
        { KG_LANGUAGE_PACKAGE_JSON, "{ \"a\": { \"name\": \"no\" }, \"name\": \"@s/n\", \"name\": \"no\" }", "N@s/n|" },
        { KG_LANGUAGE_OTHER, "#include \"no.h\"\nimport no\n", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *records = records_of(cases[i].language, cases[i].text, strlen(cases[i].text));
        if (strcmp(records, cases[i].records) != 0)
            fail_msg("case %zu: %s", i, records);
    }
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Whatever the bytes, scanning ends, in a time that does not grow faster than they do. */
static void hostile_texts_are_scanned_in_bounded_time(void **state)
{
    (void)state;
    static const char *const pieces[] = { "#include <", "import ", "export ", "export{", "import{a from ", "from ", "`${", "/*", "r#\"", "R\"((", "use a::{", "{", "mod ", "'", "\"\"\"",
                                          "import (", "#[path=", "/[", "\\", "from a import (", "a.", "\n", "::", "import a.", "require(" };
    char *text = malloc(KG_INDEX_FILE_MAX + 64);
    uint32_t seed = 7;
    for (size_t p = 0; p <= sizeof pieces / sizeof pieces[0]; p++) {
        size_t n = 0;
        while (n < KG_INDEX_FILE_MAX) {
            seed = seed * 1664525U + 1013904223U;
            size_t which = p < sizeof pieces / sizeof pieces[0] ? p : (seed >> 24) % (sizeof pieces / sizeof pieces[0]);
            memcpy(text + n, pieces[which], strlen(pieces[which]));
            n += strlen(pieces[which]);
        }
        for (int language = KG_LANGUAGE_OTHER; language <= KG_LANGUAGE_PACKAGE_JSON; language++) {
            double start = seconds();
            records_of((enum kg_language)language, text, n);
            if (seconds() - start > 5)
                fail_msg("%.1f s for piece %zu in language %d", seconds() - start, p, language);
        }
    }
    for (size_t i = 0; i < KG_INDEX_FILE_MAX; i++) {
        seed = seed * 1664525U + 1013904223U;
        text[i] = (char)(seed >> 24);
    }
    for (int language = KG_LANGUAGE_OTHER; language <= KG_LANGUAGE_PACKAGE_JSON; language++)
        for (size_t length = 0; length < 4000; length += 7)
            records_of((enum kg_language)language, text + length, length);
    free(text);
}

static void many_and_long_names_have_an_end(void **state)
{
    (void)state;
    char *text = malloc(1 << 20);
    size_t n = 0;
    for (int i = 0; i < 3000; i++)
        n += (size_t)sprintf(text + n, "#include \"f%d.h\"\n", i);
    struct kg_imports imports = { 0 };
    assert_true(kg_imports_of(&imports, KG_LANGUAGE_C, text, n));
    assert_int_equal(imports.count, KG_IMPORTS_MAX);
    n = (size_t)sprintf(text, "#include \"");
    memset(text + n, 'a', 5000);
    n += 5000;
    n += (size_t)sprintf(text + n, "\"\n#include \"yes\x01.h\"\n#include \"yes.h\"\n");
    assert_true(kg_imports_of(&imports, KG_LANGUAGE_C, text, n));
    assert_int_equal(imports.count, 1);
    kg_imports_free(&imports);
    free(text);
}

static int append_path(void *ctx, const char *path)
{
    char *line = ctx;
    strcat(line, path);
    strcat(line, " ");
    return 0;
}

static const char *imports_of(const char *path)
{
    static char line[100000];
    struct kg_error err = { 0 };
    line[0] = '\0';
    if (kg_index_imports(here.index, path, append_path, line, &err) != KG_OK)
        fail_msg("%s", err.text);
    return line;
}

static void write_all(const char *const files[][2])
{
    for (size_t i = 0; files[i][0]; i++)
        index_repo_write(&here, files[i][0], files[i][1]);
    index_repo_refresh(here.index);
}

static void headers_are_found(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        { "src/a.c", "#include <stdio.h>\n#include \"a.h\"\n#include \"../lib/b.h\"\n#include <proj/c.h>\n#include \"a.h\"\n#include \"d.h\"\n#include \"nowhere.h\"\n#include \"../../../etc/passwd\"\n" },
        { "src/a.h", "#include \"a.c\"\n#include \"e.h\"\n#include <string.h>\n#include \"util\\b.h\"\n" },
        { "lib/b.h", "#include \"b.h\"\n" },
        { "include/proj/c.h", "int c;\n" },
        { "deps/x/d.h", "int d;\n" },
        { "src/stdio.h", "int not_the_systems;\n" },
        { "include/string.h", "int ours;\n" },
        { "one/e.h", "int e1;\n" },
        { "two/e.h", "int e2;\n" },
        { "src/util/b.h", "int b;\n" },
        { NULL, NULL },
    };
    write_all(files);
    assert_string_equal(imports_of("src/a.c"), "src/a.h lib/b.h include/proj/c.h deps/x/d.h ");
    /* e.h may be either: none */
    assert_string_equal(imports_of("src/a.h"), "src/a.c include/string.h src/util/b.h ");
    assert_string_equal(imports_of("lib/b.h"), "");
}

static void python_modules_are_found(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        { "src/pkg/__init__.py", "from .core import run\nfrom . import util\n" },
        { "src/pkg/core.py", "import json\nimport os.path\nfrom pkg.sub import deep, Name\nfrom pkg import util as u\nfrom .. import out\nimport pkg.sub.deep\n" },
        { "src/pkg/util.py", "from .sub.deep import x\n" },
        { "src/pkg/json.py", "# not the one that import json means\n" },
        { "src/pkg/sub/__init__.py", "Name = 1\n" },
        { "src/pkg/sub/deep.py", "from ..core import run\nfrom ...... import away\n" },
        { "tests/test_core.py", "import pkg\nfrom helper import a\nfrom pkg.core import run\n" },
        { "tests/helper.py", "a = 1\n" },
        { "tools/pkg/core.py", "# another tree\nfrom pkg.util import x\n" },
        { NULL, NULL },
    };
    write_all(files);
    assert_string_equal(imports_of("src/pkg/__init__.py"), "src/pkg/core.py src/pkg/util.py ");
    assert_string_equal(imports_of("src/pkg/core.py"), "src/pkg/sub/deep.py src/pkg/sub/__init__.py src/pkg/util.py ");
    assert_string_equal(imports_of("src/pkg/util.py"), "src/pkg/sub/deep.py ");
    assert_string_equal(imports_of("src/pkg/sub/deep.py"), "src/pkg/core.py ");
    assert_string_equal(imports_of("tests/test_core.py"), "src/pkg/__init__.py tests/helper.py src/pkg/core.py ");
}

static void scripts_and_packages_are_found(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        { "package.json", "{\"name\": \"root\"}\n" },
        { "packages/shared/package.json", "{\"name\": \"@us/shared\"}\n" },
        { "packages/shared/src/index.ts", "export * from './is.js'\nexport * from '../../../../outside'\n" },
        { "packages/shared/src/is.ts", "export const is = 1\n" },
        { "packages/shared/extra.js", "module.exports = 1\n" },
        { "web/src/app.tsx", "import React from 'react'\nimport { is } from '@us/shared'\nimport x from '@us/shared/extra'\nimport './style.css'\nimport P from './parts'\nimport h from '@/help/h'\nimport fs from 'fs'\n" },
        { "web/src/style.css", "p {}\n" },
        { "web/src/parts/index.jsx", "export default 1\n" },
        { "web/src/help/h.vue", "<script>\nimport('../app')\n</script>\n" },
        { "web/fs.js", "// not node's\n" },
        { NULL, NULL },
    };
    write_all(files);
    assert_string_equal(imports_of("packages/shared/src/index.ts"), "packages/shared/src/is.ts ");
    assert_string_equal(imports_of("web/src/app.tsx"), "packages/shared/src/index.ts packages/shared/extra.js web/src/style.css web/src/parts/index.jsx web/src/help/h.vue ");
    assert_string_equal(imports_of("web/src/help/h.vue"), "web/src/app.tsx ");
}

static void go_packages_are_found(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        { "go.mod", "module example.org/m\n" },
        { "main.go", "package main\nimport (\n\t\"fmt\"\n\t\"example.org/m/a\"\n\t\"example.org/m/sub/b\"\n\t\"example.org/more\"\n)\n" },
        { "a/one.go", "package a\nimport \"example.org/m\"\n" },
        { "a/two.go", "package a\n" },
        { "a/two_test.go", "package a\n" },
        { "a/deep/three.go", "package deep\n" },
        { "sub/go.mod", "module example.org/m/sub\n" },
        { "sub/b/b.go", "package b\n" },
        { NULL, NULL },
    };
    write_all(files);
    assert_string_equal(imports_of("main.go"), "a/one.go a/two.go sub/b/b.go ");
    assert_string_equal(imports_of("a/one.go"), "main.go ");
}

static void rust_modules_are_found(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        { "Cargo.toml", "[workspace]\n" },
        { "crates/my-lib/Cargo.toml", "[package]\nname = \"my-lib\"\n" },
        { "crates/my-lib/src/lib.rs", "mod a;\nmod b;\n#[path = \"odd/c.rs\"]\nmod c;\nuse crate::b::deep::Thing;\n" },
        { "crates/my-lib/src/a.rs", "mod inner;\nuse super::b;\nuse std::fmt;\n" },
        { "crates/my-lib/src/a/inner.rs", "use crate::a::f;\nuse super::super::b::deep;\nuse crate::Top;\n" },
        { "crates/my-lib/src/b/mod.rs", "pub mod deep;\nuse self::deep::Thing;\n" },
        { "crates/my-lib/src/b/deep.rs", "pub struct Thing;\n" },
        { "crates/my-lib/src/odd/c.rs", "\n" },
        { "crates/my-lib/tests/all.rs", "mod common;\nuse crate::common::x;\nuse my_lib::b::deep::Thing;\n" },
        { "crates/my-lib/tests/common/mod.rs", "use my_lib;\n" },
        { NULL, NULL },
    };
    write_all(files);
    assert_string_equal(imports_of("crates/my-lib/src/lib.rs"), "crates/my-lib/src/a.rs crates/my-lib/src/b/mod.rs crates/my-lib/src/odd/c.rs crates/my-lib/src/b/deep.rs ");
    assert_string_equal(imports_of("crates/my-lib/src/a.rs"), "crates/my-lib/src/a/inner.rs crates/my-lib/src/b/mod.rs ");
    assert_string_equal(imports_of("crates/my-lib/src/a/inner.rs"), "crates/my-lib/src/a.rs crates/my-lib/src/b/deep.rs crates/my-lib/src/lib.rs ");
    assert_string_equal(imports_of("crates/my-lib/src/b/mod.rs"), "crates/my-lib/src/b/deep.rs ");
    assert_string_equal(imports_of("crates/my-lib/tests/all.rs"), "crates/my-lib/tests/common/mod.rs crates/my-lib/src/b/deep.rs ");
    assert_string_equal(imports_of("crates/my-lib/tests/common/mod.rs"), "crates/my-lib/src/lib.rs ");
}

static void java_classes_are_found(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        { "m/src/main/java/org/x/A.java", "package org.x;\nimport org.x.y.B;\nimport static org.x.y.C.Inner.method;\nimport org.x.z.*;\nimport java.util.List;\n" },
        { "m/src/main/java/org/x/y/B.java", "package org.x.y;\n" },
        { "m/src/main/java/org/x/y/C.java", "package org.x.y;\n" },
        { "m/src/main/java/org/x/z/D.java", "package org.x.z;\n" },
        { "m/src/main/java/org/x/z/E.java", "package org.x.z;\n" },
        { "m/src/test/java/org/x/ATest.java", "package org.x;\nimport org.x.z.*;\nimport org.x.A;\n" },
        { "other/List.java", "class List {}\n" },
        { NULL, NULL },
    };
    write_all(files);
    assert_string_equal(imports_of("m/src/main/java/org/x/A.java"), "m/src/main/java/org/x/y/B.java m/src/main/java/org/x/y/C.java m/src/main/java/org/x/z/D.java m/src/main/java/org/x/z/E.java ");
    assert_string_equal(imports_of("m/src/test/java/org/x/ATest.java"), "m/src/main/java/org/x/z/D.java m/src/main/java/org/x/z/E.java m/src/main/java/org/x/A.java ");
}

static void imports_follow_the_worktree(void **state)
{
    (void)state;
    struct kg_error err;
    static char line[1000];
    index_repo_write(&here, "a.c", "#include \"b.h\"\n");
    index_repo_refresh(here.index);
    assert_string_equal(imports_of("a.c"), "");
    index_repo_write(&here, "b.h", "int b;\n"); /* a.c is not read again */
    index_repo_refresh(here.index);
    assert_string_equal(imports_of("a.c"), "b.h ");
    index_repo_sh(&here, "mkdir inc && mv b.h inc && cp a.c a.py");
    index_repo_refresh(here.index);
    assert_string_equal(imports_of("a.c"), "inc/b.h ");
    assert_string_equal(imports_of("a.py"), ""); /* the same bytes in another language */
    index_repo_write(&here, "a.c", "int none;\n");
    index_repo_refresh(here.index);
    assert_string_equal(imports_of("a.c"), "");
    assert_int_equal(kg_index_imports(here.index, "gone.c", append_path, line, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_index_imports(here.index, "/etc/passwd", append_path, line, &err), KG_ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(import_lines_are_told_from_comments_and_strings),
        cmocka_unit_test(hostile_texts_are_scanned_in_bounded_time),
        cmocka_unit_test(many_and_long_names_have_an_end),
        cmocka_unit_test_setup_teardown(headers_are_found, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(python_modules_are_found, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(scripts_and_packages_are_found, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(go_packages_are_found, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(rust_modules_are_found, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(java_classes_are_found, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(imports_follow_the_worktree, set_up, index_repo_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
