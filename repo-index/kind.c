#include "repo-index/kind.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/paths.h"

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Patterns hold at most one star and no upper case. */
static bool fits(const char *pattern, const char *name, size_t length)
{
    const char *star = strchr(pattern, '*');
    if (!star)
        return strcmp(pattern, name) == 0;
    size_t before = (size_t)(star - pattern);
    size_t behind = strlen(star + 1);
    return length >= before + behind && memcmp(name, pattern, before) == 0 && memcmp(name + length - behind, star + 1, behind) == 0;
}

static bool matches_any(const char *const *patterns, const char *name)
{
    size_t length = strlen(name);
    for (; *patterns; patterns++)
        if (fits(*patterns, name, length))
            return true;
    return false;
}

static void lower(char *out, size_t capacity, const char *text)
{
    size_t i = 0;
    for (; text[i] && i + 1 < capacity; i++)
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    out[i] = '\0';
}

static bool is_secret(const char *path, const char *name)
{
    static const char *const open[] = { "*.example", "*.sample", "*.template", "*.tmpl", "*.dist", "*.defaults", "*.pub", NULL };
    static const char *const names[] = {
        ".env", ".env.*", "*.env", ".envrc", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.pem", "*.key", "*.p12", "*.pfx", "*.p8",
        "*.jks", "*.keystore", "*.kdb", "*.kdbx", "*.ppk", "*.gpg", ".netrc", "_netrc", ".pgpass", ".my.cnf", ".npmrc", ".yarnrc.yml", ".pypirc",
        ".htpasswd", ".htdigest", ".git-credentials", "credentials", "credentials.*", ".credentials*", "secret", "secrets", "secret.*",
        "secrets.*", ".secret*", "service-account*.json", "service_account*.json", "client_secret*.json", "*.tfstate", "*.tfstate.backup",
        "*.tfvars", ".vault-token", ".vault_pass*", "*.ovpn", "wallet.dat", "shadow", "gshadow", NULL,
    };
    static const char *const code[] = { "*.c", "*.h", "*.cc", "*.cpp", "*.hpp", "*.go", "*.rs", "*.py", "*.js", "*.ts", "*.tsx", "*.jsx",
                                        "*.java", "*.kt", "*.rb", "*.php", "*.cs", "*.swift", "*.scala", "*.md", "*.rst", "*.html", NULL };
    static const char *const places[] = { ".ssh/", ".gnupg/", ".aws/", ".kube/", ".docker/config.json", NULL };
    for (size_t i = 0; places[i]; i++) {
        const char *at = strstr(path, places[i]);
        if (at && (at == path || at[-1] == '/'))
            return !matches_any(open, name);
    }
    return matches_any(names, name) && !matches_any(open, name) && !matches_any(code, name);
}

static bool is_generated(const char *name)
{
    static const char *const names[] = {
        "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb", "deno.lock", "cargo.lock",
        "gemfile.lock", "poetry.lock", "pdm.lock", "uv.lock", "pipfile.lock", "composer.lock", "flake.lock", "mix.lock", "pubspec.lock",
        "podfile.lock", "packages.lock.json", "gradle.lockfile", "go.sum", "go.work.sum", "*.min.js", "*.min.css", "*.min.mjs",
        "*.bundle.js", "*.chunk.js", "*.js.map", "*.css.map", "*.mjs.map", "*.pb.go", "*_pb2.py", "*_pb2_grpc.py", "*.pb.cc", "*.pb.h",
        "*.g.dart", "*.freezed.dart", "*.designer.cs", "*.tsbuildinfo", "tags", "gtags", "grtags", "gpath", "cscope.out",
        "compile_commands.json", "config.status", "autom4te.cache", NULL,
    };
    return matches_any(names, name);
}

enum kg_file_kind kg_kind_by_name(const char *path)
{
    char folded[KG_PATH_MAX];
    lower(folded, sizeof folded, path);
    const char *name = name_of(folded);
    return is_secret(folded, name) ? KG_KIND_SECRET : is_generated(name) ? KG_KIND_GENERATED : KG_KIND_TEXT;
}

bool kg_dir_is_vendored(const char *name)
{
    static const char *const names[] = { "node_modules", "bower_components", "jspm_packages", "__pycache__", ".venv", ".tox", ".nox",
                                         ".mypy_cache", ".pytest_cache", ".ruff_cache", ".gradle", ".terraform", ".next", ".nuxt", ".hg", ".svn",
                                         ".bzr", "_darcs", "autom4te.cache", "CMakeFiles", NULL };
    return matches_any(names, name);
}

bool kg_dir_is_vendored_by(const char *name, const char *entry)
{
    if (strcmp(entry, "pyvenv.cfg") == 0 || strcmp(entry, "CACHEDIR.TAG") == 0)
        return true;
    return strcmp(name, "vendor") == 0 && (strcmp(entry, "modules.txt") == 0 || strcmp(entry, "autoload.php") == 0 || strcmp(entry, "bundle") == 0);
}

/* No NUL, and hardly any other control byte: what editors call text, in any encoding that keeps ASCII. */
static bool is_binary(const char *head, size_t length)
{
    size_t odd = 0;
    if (memchr(head, '\0', length) || (length >= 5 && memcmp(head, "%PDF-", 5) == 0))
        return true;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)head[i];
        odd += (c < 0x20 && c != '\n' && c != '\t' && c != '\r' && c != '\f' && c != '\v' && c != '\b' && c != 0x1b) || c == 0x7f;
    }
    return odd > length / 20;
}

static bool holds(const char *line, size_t length, const char *words)
{
    return memmem(line, length, words, strlen(words)) != NULL;
}

static bool holds_any_case(const char *line, size_t length, const char *words)
{
    size_t n = strlen(words);
    for (size_t i = 0; i + n <= length; i++)
        if (strncasecmp(line + i, words, n) == 0)
            return true;
    return false;
}

/* A marker counts only in a comment, so that programs which know the markers are not taken for what they look for. */
static bool begins_comment(const char *line, size_t length)
{
    static const char *const openers[] = { "//", "/*", "*", "#", "--", ";", "%", "<!--", "\"\"\"", "'", "{-", "(*", "..", "dnl", "\\\"", NULL };
    for (size_t i = 0; openers[i]; i++) {
        size_t n = strlen(openers[i]);
        if (length >= n && memcmp(line, openers[i], n) == 0)
            return strncmp(line, "#define", 7) != 0 && strncmp(line, "#include", 8) != 0;
    }
    return false;
}

static bool has_generated_marker(const char *head, size_t length)
{
    bool generated = false, hands_off = false;
    for (unsigned lines = 0; lines < 40 && length; lines++) {
        const char *feed = memchr(head, '\n', length);
        size_t n = feed ? (size_t)(feed - head) : length;
        size_t indent = 0;
        while (indent < n && (head[indent] == ' ' || head[indent] == '\t'))
            indent++;
        const char *line = head + indent;
        size_t rest = n - indent < 400 ? n - indent : 400;
        if (begins_comment(line, rest)) {
            if (holds(line, rest, "@generated") || holds(line, rest, "DO NOT EDIT") || holds(line, rest, "Generated by GNU Autoconf") ||
                holds(line, rest, "enerated by automake") || holds(line, rest, "Generated by the protocol buffer compiler"))
                return true;
            generated |= holds_any_case(line, rest, "generated");
            hands_off |= holds_any_case(line, rest, "do not edit") || holds_any_case(line, rest, "do not modify") || holds_any_case(line, rest, "don't edit");
        }
        head += feed ? n + 1 : n;
        length -= feed ? n + 1 : n;
    }
    return generated && hands_off;
}

static bool is_minified(const char *path, const char *head, size_t length)
{
    static const char *const types[] = { "*.js", "*.mjs", "*.cjs", "*.css", "*.json", "*.svg", "*.html", "*.htm", "*.map", "*.xml", NULL };
    char folded[KG_PATH_MAX];
    lower(folded, sizeof folded, path);
    if (length < KG_KIND_HEAD / 2 || !matches_any(types, folded))
        return false;
    size_t lines = 1;
    for (size_t i = 0; i < length; i++)
        lines += head[i] == '\n';
    return length / lines > 400;
}

enum kg_file_kind kg_kind_by_content(const char *path, const char *head, size_t length)
{
    static const char armour[] = "-----BEGIN ";
    if (is_binary(head, length))
        return KG_KIND_BINARY;
    if (length > sizeof armour && memcmp(head, armour, sizeof armour - 1) == 0 && holds(head, length < 80 ? length : 80, "PRIVATE KEY"))
        return KG_KIND_SECRET;
    if (has_generated_marker(head, length) || is_minified(path, head, length))
        return KG_KIND_GENERATED;
    return KG_KIND_TEXT;
}
