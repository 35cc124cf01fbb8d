/* Completion for shells: what a word may become comes from the tables that everything else comes from. */
#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/catalogue/catalogue.h"
#include "tui/commands/command.h"
#include "tui/config/config.h"
#include "tui/conversation/excerpt.h"

static const char help[] =
    "usage: kedge completion bash\n"
    "       kedge completion zsh\n"
    "       kedge completion fish\n"
    "       kedge completion words [WORD]...\n"
    "\n"
    "Prints a script that completes kedge's commands, options and their values in that shell:\n"
    "\n"
    "  bash   eval \"$(kedge completion bash)\"          in ~/.bashrc\n"
    "  zsh    eval \"$(kedge completion zsh)\"           in ~/.zshrc, behind compinit\n"
    "  fish   kedge completion fish | source           in ~/.config/fish/config.fish\n"
    "  words  what the last WORD may become behind the others, one a line, a tab before what it means; nothing: a file\n";

static const char bash_script[] =
    "_kedge() {\n"
    "    local line=${COMP_LINE:0:COMP_POINT} words=() found=() cur word\n"
    "    read -ra words <<<\"$line\"\n"
    "    case $line in *[[:space:]]) words+=(\"\") ;; esac\n"
    "    cur=${words[${#words[@]}-1]}\n"
    "    while IFS=$'\\t' read -r word _; do found+=(\"$word\"); done < <(\"${words[0]}\" completion words \"${words[@]:1}\" 2>/dev/null)\n"
    "    if [ ${#found[@]} -eq 0 ]; then compopt -o default; COMPREPLY=(); return; fi\n"
    "    case ${found[0]} in *=) compopt -o nospace ;; esac\n"
    "    case $cur in *=*) found=(\"${found[@]#*=}\") ;; esac\n"
    "    COMPREPLY=()\n"
    "    for word in \"${found[@]}\"; do printf -v word %q \"$word\"; COMPREPLY+=(\"$word\"); done\n"
    "}\n"
    "complete -F _kedge kedge\n";

static const char zsh_script[] =
    "_kedge() {\n"
    "    local -a lines with_equals\n"
    "    lines=(${(f)\"$(${words[1]} completion words \"${(@)words[2,CURRENT]}\" 2>/dev/null)\"})\n"
    "    if (( ! $#lines )); then _files; return; fi\n"
    "    with_equals=(${(M)lines:#*=($'\\t'*|)})\n"
    "    local -a found=(${${lines//:/\\\\:}/$'\\t'/:})\n"
    "    if (( $#with_equals )); then _describe value found -S ''; else _describe value found; fi\n"
    "}\n"
    "compdef _kedge kedge\n";

static const char fish_script[] =
    "function __kedge_words\n"
    "    set -l words (commandline -opc) (commandline -ct)\n"
    "    $words[1] completion words $words[2..-1] 2>/dev/null\n"
    "end\n"
    "function __kedge_files\n"
    "    test -z \"$(__kedge_words)\"\n"
    "end\n"
    "complete -c kedge -f -a '(__kedge_words)'\n"
    "complete -c kedge -n __kedge_files -F\n";

static void offer(const char *prefix, const char *word, const char *meaning)
{
    if (strncmp(word, prefix, strlen(prefix)) == 0)
        printf("%s%s%s\n", word, *meaning ? "\t" : "", meaning);
}

static void offer_models(const char *prefix)
{
    struct kg_catalogue *catalogue = NULL;
    if (kg_catalogue_open(&catalogue, NULL) != KG_OK)
        return;
    for (size_t i = 0; i < kg_catalogue_count(catalogue); i++)
        offer(prefix, kg_catalogue_at(catalogue, i)->name, kg_catalogue_at(catalogue, i)->title);
    kg_catalogue_close(catalogue);
}

/* A name that no line can hold is left out. */
static int offer_session(void *ctx, const struct kg_session_summary *session)
{
    char visible[4 * KG_SESSION_NAME], title[128];
    kg_printable(visible, sizeof visible, session->name, strlen(session->name));
    kg_excerpt(session->title, strlen(session->title), "", 60, title, sizeof title);
    if (strcmp(visible, session->name) == 0)
        offer(ctx, session->name, title);
    return 0;
}

static void offer_sessions(const char *prefix)
{
    char root[KG_PATH_MAX], state[KG_PATH_MAX];
    struct kg_error none;
    if (kg_repo_root(".", root, NULL) != KG_OK)
        root[0] = '\0';
    if (kg_place_path(KG_PLACE_STATE, "sessions.db", state, NULL) == KG_OK && access(state, F_OK) == 0) /* Tab makes no file */
        kg_sessions_list(NULL, root, offer_session, (void *)prefix, &none);
}

/* lead: what stands before each, as "recall.bits=". */
static void offer_choices(const char *lead, const char *choices, const char *prefix)
{
    char word[128];
    for (const char *at = choices; *at; at += strcspn(at, " "), at += *at == ' ') {
        snprintf(word, sizeof word, "%s%.*s", lead, (int)strcspn(at, " "), at);
        offer(prefix, word, "");
    }
}

static void offer_settings(const char *prefix)
{
    for (int i = 0; i < KG_OPTION_COUNT; i++) {
        const struct kg_option_row *row = kg_option_row((enum kg_option)i);
        char lead[80];
        snprintf(lead, sizeof lead, "%s=", kg_option_full_name((enum kg_option)i));
        if (strncmp(prefix, lead, strlen(lead)) != 0)
            offer(prefix, lead, row->help);
        else if (row->kind == KG_OPTION_CHOICE || row->kind == KG_OPTION_SWITCH)
            offer_choices(lead, row->kind == KG_OPTION_SWITCH ? "yes no" : row->choices, prefix);
        else if (i == KG_OPTION_THEME)
            offer_choices(lead, "terminal dark light", prefix);
    }
}

/* What `kedge COMMAND --help` prints; the caller frees it. NULL when out of memory. */
static char *help_of(const struct kg_command *command)
{
    char name[32], option[] = "--help", program[] = "kedge", *text = NULL;
    char *argv[] = { name, option, NULL };
    size_t length;
    snprintf(name, sizeof name, "%s", command ? command->name : program);
    FILE *memory = open_memstream(&text, &length), *before = stdout;
    if (!memory)
        return NULL;
    stdout = memory;
    optind = 0; /* glibc begins anew */
    (void)(command ? command->run(2, argv) : kg_command_prompt(2, argv));
    stdout = before;
    return fclose(memory) == 0 ? text : NULL;
}

/* Behind two or more blanks: what the line says about its first word. */
static void meaning_of(const char *line, size_t length, char *out, size_t capacity)
{
    const char *gap = memmem(line, length, "  ", 2);
    size_t at = gap ? (size_t)(gap - line) : length;
    while (at < length && line[at] == ' ')
        at++;
    snprintf(out, capacity, "%.*s", (int)(length - at), line + at);
}

/* Options stand in lines of their own, several before what they mean, or in the lines of the usage. */
static void offer_options(const char *text, const char *prefix)
{
    char seen[2048] = " ", word[64], meaning[160];
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n"), indent = strspn(line, " ");
        for (size_t at = 1; at < length; at++) {
            if (line[at] != '-' || !strchr(" [,(|", line[at - 1]))
                continue;
            size_t n = 1 + (line[at + 1] == '-');
            size_t dashes = n;
            while (at + n < length && (islower((unsigned char)line[at + n]) || isupper((unsigned char)line[at + n]) || (line[at + n] == '-' && n > 2)))
                n++;
            if (n == dashes)
                continue;
            snprintf(word, sizeof word, " %.*s ", (int)n, line + at);
            bool own = line[indent] == '-';
            if (strstr(seen, word) || strlen(seen) + n + 2 > sizeof seen)
                continue;
            strcat(seen, word + 1);
            word[n + 1] = '\0';
            meaning[0] = '\0';
            if (own)
                meaning_of(line + indent, length - indent, meaning, sizeof meaning);
            offer(prefix, word + 1, meaning[0] == '-' ? "" : meaning);
            at += n;
        }
        line += length + (line[length] == '\n');
    }
}

/* The third words of the usage: "kedge cache ls". */
static void offer_subcommands(const char *text, const char *command, const char *prefix)
{
    char lead[48], word[32], seen[512] = " ", spaced[40];
    snprintf(lead, sizeof lead, "kedge %s ", command);
    for (const char *at = text; (at = strstr(at, lead));) {
        at += strlen(lead);
        size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyz");
        snprintf(word, sizeof word, "%.*s", (int)n, at);
        snprintf(spaced, sizeof spaced, " %s ", word);
        if (n == 0 || n >= sizeof word || strstr(seen, spaced) || strlen(seen) + n + 2 > sizeof seen)
            continue;
        strcat(seen, spaced + 1);
        offer(prefix, word, "");
    }
}

/* False: a file, or what nobody knows, belongs there. */
static bool offer_values(const char *option, const char *prefix)
{
    if (strcmp(option, "-m") == 0 || strcmp(option, "--model") == 0)
        offer_models(prefix);
    else if (strcmp(option, "--session") == 0)
        offer_sessions(prefix);
    else if (strcmp(option, "--set") == 0)
        offer_settings(prefix);
    else if (strcmp(option, "--policy") == 0)
        offer_choices("", kg_option_row(KG_OPTION_POLICY)->choices, prefix);
    else if (strcmp(option, "--form") == 0)
        offer_choices("", "search definition file region places", prefix);
    else if (strcmp(option, "--device") == 0)
        offer_choices("", kg_option_row(KG_OPTION_DEVICE)->choices, prefix);
    else if (strcmp(option, "--gpu-layers") == 0)
        offer_choices("", kg_option_row(KG_OPTION_GPU_LAYERS)->choices, prefix);
    else if (strcmp(option, "--kv") == 0)
        offer_choices("", kg_option_row(KG_OPTION_CACHE_KV)->choices, prefix);
    else
        return strcmp(option, "-C") == 0 || strcmp(option, "--file") == 0 || strcmp(option, "--from") == 0;
    return true;
}

static void offer_words(int count, char **words)
{
    const char *prefix = count > 0 ? words[count - 1] : "", *before = count > 1 ? words[count - 2] : "";
    const struct kg_command *command = NULL;
    for (const struct kg_command *c = kg_commands; c->name && count > 1; c++)
        if (strcmp(c->name, words[0]) == 0)
            command = c;
    if (offer_values(before, prefix))
        return;
    if (count <= 1 && *prefix != '-')
        for (const struct kg_command *c = kg_commands; c->name; c++)
            offer(prefix, c->name, c->summary);
    char *text = *prefix == '-' || command ? help_of(command) : NULL;
    if (text && *prefix == '-')
        offer_options(text, prefix);
    else if (text && count == 2)
        offer_subcommands(text, command->name, prefix);
    else if (command && strcmp(command->name, "sessions") == 0 && strcmp(words[1], "ls") != 0 && strcmp(words[1], "search") != 0)
        offer_sessions(prefix);
    else if (command && strcmp(command->name, "model") == 0 && strcmp(words[1], "ls") != 0)
        offer_models(prefix);
    free(text);
}

int kg_command_completion(int argc, char **argv)
{
    static const struct {
        const char *shell, *script;
    } scripts[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "words") == 0) {
        offer_words(argc - 2, argv + 2);
        return KG_EXIT_OK;
    }
    if (strcmp(what, "--help") == 0 || strcmp(what, "-h") == 0) {
        fputs(help, stdout);
        return KG_EXIT_OK;
    }
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
        if (strcmp(what, scripts[i].shell) == 0 && argc == 2) {
            fputs(scripts[i].script, stdout);
            return KG_EXIT_OK;
        }
    return kg_command_misused("completion", "'%s' is none of bash, zsh, fish, words", what);
}
