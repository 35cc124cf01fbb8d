/* Which names are written freely, which only when asked one by one, and which never. */
#include <string.h>
#include <strings.h>

#include "base/paths.h"
#include "repo-index/beneath.h"
#include "tui/changes/worktree.h"

/* Over the last part of a path, in any case; a star stands at one end. */
static const struct rule {
    const char *pattern, *why;
} asked[] = {
    { "makefile*", "is run by make" },
    { "gnumakefile*", "is run by make" },
    { "*.mk", "is run by make" },
    { "*.mak", "is run by make" },
    { "cmakelists.txt", "is run by cmake" },
    { "*.cmake", "is run by cmake" },
    { "configure*", "is run to build" },
    { "meson.build", "is run to build" },
    { "build.rs", "is run to build" },
    { "build.gradle*", "is run to build" },
    { "setup.py", "is run to build" },
    { "conftest.py", "is run before tests" },
    { "sitecustomize.py", "is run by Python" },
    { "package.json", "names commands that are run" },
    { "pyproject.toml", "names commands that are run" },
    { "justfile", "names commands that are run" },
    { "rakefile", "names commands that are run" },
    { "dockerfile*", "is run to build" },
    { "*.service", "names commands that are run" },
    { ".pre-commit-config.yaml", "names commands that are run" },
    { ".gitlab-ci*", "is run by the build server" },
    { ".travis.yml", "is run by the build server" },
    { "appveyor.yml", "is run by the build server" },
    { ".appveyor.yml", "is run by the build server" },
    { "azure-pipelines*", "is run by the build server" },
    { "jenkinsfile*", "is run by the build server" },
    { ".drone.y*", "is run by the build server" },
    { "agents.md", "instructs assistants" },
    { "claude.md", "instructs assistants" },
    { "gemini.md", "instructs assistants" },
    { ".cursorrules", "instructs assistants" },
    { ".envrc", "is run by direnv" },
    { ".env*", "sets what programs run with" },
    { ".git*", "steers git" },
    { "codeowners", "steers who reviews" },
    { ".editorconfig", "steers editors" },
    { ".npmrc", "steers npm" },
    { ".bashrc", "is run by a shell" },
    { ".profile", "is run by a shell" },
    { ".vimrc", "is run by an editor" },
    { ".exrc", "is run by an editor" },
    { "head", "is part of a git directory" },
};
/* Folders, at any depth. */
static const struct rule asked_folders[] = {
    { ".github", "is run by the build server" }, { ".gitlab", "is run by the build server" }, { ".ci", "is run by the build server" },
    { ".circleci", "is run by the build server" }, { ".buildkite", "is run by the build server" }, { ".forgejo", "is run by the build server" },
    { ".gitea", "is run by the build server" }, { ".husky", "is run by git" }, { ".githooks", "is run by git" },
    { ".vscode", "steers an editor" }, { ".idea", "steers an editor" }, { ".cargo", "steers cargo" }, { ".devcontainer", "is run to build" },
    { ".claude", "instructs assistants" }, { ".cursor", "instructs assistants" },
};

/* '*' only at the end or the beginning. */
static bool matches(const char *pattern, const char *name, size_t length)
{
    size_t n = strlen(pattern);
    if (pattern[0] == '*')
        return length >= n - 1 && strncasecmp(name + length - (n - 1), pattern + 1, n - 1) == 0;
    if (pattern[n - 1] == '*')
        return length >= n - 1 && strncasecmp(name, pattern, n - 1) == 0;
    return length == n && strncasecmp(name, pattern, n) == 0;
}

/* What a path may consist of: valid UTF-8 without control characters and characters that are not seen, and nothing that another
 * system reads otherwise. */
static bool is_clean(const char *path)
{
    char shown[KG_PATH_MAX * 4];
    kg_printable(shown, sizeof shown, path, strlen(path));
    if (strcmp(shown, path) != 0 || strpbrk(path, "\\:"))
        return false;
    for (const unsigned char *s = (const unsigned char *)path; *s; s++)
        if ((s[0] == 0xe2 && (s[1] == 0x80 || s[1] == 0x81) && ((s[2] >= 0x8b && s[2] <= 0x8f) || (s[2] >= 0xa0 && s[2] <= 0xaf))) ||
            (s[0] == 0xef && s[1] == 0xbb && s[2] == 0xbf))
            return false;
    return true;
}

/* Without what file systems drop from the end of a name. */
static size_t folded_length(const char *name, size_t length)
{
    while (length && (name[length - 1] == ' ' || name[length - 1] == '.'))
        length--;
    return length;
}

static enum kg_guard guard_of_part(const char *name, size_t length, bool last, const char **why)
{
    size_t folded = folded_length(name, length);
    if (kg_names_gitdir(name, length)) {
        *why = "lies in a git directory";
        return KG_GUARD_NEVER;
    }
    if (matches(".kedge.conf", name, folded)) {
        *why = "configures kedge";
        return KG_GUARD_NEVER;
    }
    if (matches("kedge~*", name, folded) || (folded == 4 && memcmp(name, "HEAD", 4) == 0)) {
        *why = "is a name that could configure kedge, or make a git directory";
        return KG_GUARD_NEVER;
    }
    if (length >= sizeof ".kedge-" - 1 && strncasecmp(name, ".kedge-", sizeof ".kedge-" - 1) == 0) {
        *why = "is a name that kedge uses itself";
        return KG_GUARD_NEVER;
    }
    const struct rule *rules = last ? asked : asked_folders;
    size_t count = last ? sizeof asked / sizeof asked[0] : sizeof asked_folders / sizeof asked_folders[0];
    for (size_t i = 0; i < count; i++)
        if (matches(rules[i].pattern, name, folded)) {
            *why = rules[i].why;
            return KG_GUARD_ASK;
        }
    return KG_GUARD_NONE;
}

enum kg_guard kg_guard_of_path(const char *path, const char **why)
{
    const char *none;
    const char **reason = why ? why : &none;
    enum kg_guard guard = KG_GUARD_NONE;
    *reason = "";
    if (!kg_beneath_path_is_plain(path) || !is_clean(path)) {
        *reason = "is not the path of a file inside the repository";
        return KG_GUARD_NEVER;
    }
    for (const char *part = path;;) {
        size_t length = strcspn(part, "/");
        const char *because = "";
        enum kg_guard of_part = guard_of_part(part, length, part[length] == '\0', &because);
        if (of_part > guard) {
            guard = of_part;
            *reason = because;
        }
        if (part[length] == '\0')
            return guard;
        part += length + 1;
    }
}
