/* What was changed here: shown, taken back, made again, committed, tested. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/changes/addable.h"
#include "tui/changes/hunks.h"
#include "tui/complete/completer.h"
#include "tui/complete/place.h"
#include "tui/file/saved.h"
#include "tui/interface/interface_state.h"

#define DIFF_MOST ((size_t)24 << 10) /* bytes of a diff that a message is drafted from */

static void say(struct kg_interface *ui, enum kg_entry_kind kind, const char *text)
{
    kg_transcript_add(ui->transcript, kind, text, strlen(text));
    kg_transcript_to_end(ui->transcript);
}

static enum kg_status open_tree(const struct kg_interface *ui, struct kg_interface_tree *out, struct kg_error *err)
{
    *out = (struct kg_interface_tree){ 0 };
    enum kg_status status = kg_worktree_open(ui->options->repository, &out->tree, err);
    if (status == KG_OK)
        status = kg_journal_open(ui->options->engine.state_dir, ui->options->repository, out->tree, &out->journal, err);
    if (status != KG_OK)
        kg_interface_close_tree(out);
    return status;
}

bool kg_interface_open_tree(struct kg_interface *ui, struct kg_interface_tree *out)
{
    struct kg_error err;
    *out = (struct kg_interface_tree){ 0 };
    if (!ui->options->repository) {
        say(ui, KG_ENTRY_ERROR, "files are changed inside a git repository only; go to one, or make one with git init");
        return false;
    }
    if (open_tree(ui, out, &err) == KG_OK)
        return true;
    say(ui, KG_ENTRY_ERROR, err.text);
    return false;
}

void kg_interface_close_tree(struct kg_interface_tree *tree)
{
    kg_journal_close(tree->journal);
    kg_worktree_close(tree->tree);
    *tree = (struct kg_interface_tree){ 0 };
}

void kg_interface_join_again(struct kg_interface *ui, const char *path)
{
    struct kg_context_file file;
    char shown[KG_PATH_MAX + 8];
    for (size_t at = 0; kg_context_file_next(ui->files, ui->files_length, &at, &file);)
        if (!file.talk && strcmp(file.path, path) == 0) {
            int n = snprintf(shown, sizeof shown, "/add %s", path);
            kg_interface_enqueue(ui, KG_TASK_ADD, shown, (size_t)n, path, strlen(path));
            return;
        }
}

struct joining {
    struct kg_interface *ui;
};

static void join(void *ctx, const char *path)
{
    kg_interface_join_again(((struct joining *)ctx)->ui, path);
}

void kg_interface_undo(struct kg_interface *ui, bool redo)
{
    struct kg_interface_tree tree;
    struct kg_journal_done done;
    struct kg_error err;
    struct joining joining = { .ui = ui };
    char text[600];
    if (!kg_interface_open_tree(ui, &tree))
        return;
    enum kg_status status = redo ? kg_journal_redo(tree.journal, join, &joining, &done, &err) : kg_journal_undo(tree.journal, join, &joining, &done, &err);
    if (status == KG_OK)
        snprintf(text, sizeof text, "%s %s%s (%s); %s", redo ? "made again:" : "taken back:", done.first, done.files > 1 ? " and others" : "", done.title,
                 redo ? "/undo takes it back" : "/redo makes it again");
    say(ui, status == KG_OK ? KG_ENTRY_NOTICE : KG_ENTRY_ERROR, status == KG_OK ? text : err.text);
    kg_interface_close_tree(&tree);
}

struct collecting {
    struct kg_interface_tree tree;
    FILE *diff, *paths; /* paths: each in single quotes, a blank before */
    unsigned files;
};

static void put_quoted(FILE *out, const char *path)
{
    fputs(" '", out);
    for (; *path; path++) {
        if (*path == '\'')
            fputs("'\\''", out);
        else
            fputc(*path, out);
    }
    fputc('\'', out);
}

/* Against what the file is now: the person may have gone on with it. */
static int collect(void *ctx, const struct kg_journal_file *file)
{
    struct collecting *c = ctx;
    char *now = NULL;
    size_t length = 0, diff_length;
    struct kg_error gone;
    enum kg_status status = kg_worktree_read(c->tree.tree, file->path, KG_FILE_MAX, &now, &length, &gone);
    bool same = status == KG_OK && file->before && length == file->before_length && memcmp(now, file->before, length) == 0;
    if (!same && (status == KG_OK || file->before)) {
        char *diff = kg_unified_diff(file->path, file->before, file->before_length, status == KG_OK ? now : "", status == KG_OK ? length : 0, &diff_length);
        if (diff)
            fwrite(diff, 1, diff_length, c->diff);
        free(diff);
        put_quoted(c->paths, file->path);
        c->files++;
    }
    free(now);
    return 0;
}

/* False, and told, when there is nothing. The caller frees both. */
static bool collect_changes(struct kg_interface *ui, char **diff, char **paths)
{
    struct collecting c = { .files = 0 };
    struct kg_error err;
    size_t length, paths_length;
    *diff = *paths = NULL;
    if (!kg_interface_open_tree(ui, &c.tree))
        return false;
    c.diff = open_memstream(diff, &length);
    c.paths = open_memstream(paths, &paths_length);
    enum kg_status status = c.diff && c.paths ? kg_journal_each(c.tree.journal, collect, &c, &err) : kg_fail_nomem(&err, "looking for changes");
    if (c.diff)
        fclose(c.diff);
    if (c.paths)
        fclose(c.paths);
    kg_interface_close_tree(&c.tree);
    if (status == KG_OK && c.files && *diff && *paths)
        return true;
    say(ui, status == KG_OK ? KG_ENTRY_NOTICE : KG_ENTRY_ERROR, status == KG_OK ? "nothing was changed here that is not committed; /edit asks for a change" : err.text);
    free(*diff);
    free(*paths);
    *diff = *paths = NULL;
    return false;
}

/* "kedge complete" with what this kedge was started with, and the file. */
static char *view_command(const struct kg_interface *ui, const char *path, const char *wish, const char *record)
{
    const struct kg_engine_options *engine = &ui->options->engine;
    char *command = NULL;
    size_t length;
    FILE *out = open_memstream(&command, &length);
    if (!out)
        return NULL;
    put_quoted(out, ui->options->program);
    fputs(" complete --wish", out);
    put_quoted(out, wish);
    if (record) {
        fputs(" --saved", out);
        put_quoted(out, record);
    }
    if (engine->threads)
        fprintf(out, " -t %u", engine->threads);
    if (engine->backend) {
        fputs(" --device", out);
        put_quoted(out, engine->backend);
    }
    if (engine->cache_off)
        fputs(" --no-cache", out);
    if (engine->kv) {
        char kv[100];
        snprintf(kv, sizeof kv, "cache.kv=%s", engine->kv);
        fputs(" --set", out);
        put_quoted(out, kv);
    }
    if (ui->options->theme) {
        char theme[200];
        snprintf(theme, sizeof theme, "screen.theme=%s", ui->options->theme);
        fputs(" --set", out);
        put_quoted(out, theme);
    }
    fputs(" --", out);
    put_quoted(out, path);
    fputs(" || { printf '\\nEnter goes on'; read -r _; false; }", out);
    if (fclose(out) == 0)
        return command;
    free(command);
    return NULL;
}

/* False: it is not there, or changes of it are not kept: kedge would not write it, or it holds secrets. */
static bool read_kept(const char *root, const char *path, char **text, size_t *length)
{
    struct kg_worktree *tree;
    struct kg_error err;
    *text = NULL;
    enum kg_status status = kg_worktree_open(root, &tree, &err);
    if (status != KG_OK)
        return false;
    status = kg_worktree_admits(tree, path, &err);
    if (status == KG_OK)
        status = kg_worktree_read(tree, path, KG_FILE_MAX, text, length, &err);
    kg_worktree_close(tree);
    return status == KG_OK && !kg_completer_is_secret(path, *text, *length);
}

static void note(struct kg_interface *ui, const struct kg_journal_file *file)
{
    char shown[200], text[300 + KG_ERROR_TEXT];
    struct kg_interface_tree tree;
    struct kg_error err;
    enum kg_status status = open_tree(ui, &tree, &err);
    if (status == KG_OK)
        status = kg_journal_note(tree.journal, "by hand", file, 1, &err);
    kg_printable(shown, sizeof shown, file->path, strlen(file->path));
    if (status == KG_OK)
        snprintf(text, sizeof text, "%s was changed by hand; /undo takes that back", shown);
    else
        snprintf(text, sizeof text, "%s stays as it was saved, but /undo cannot take that back: %s", shown, err.text);
    say(ui, status == KG_OK ? KG_ENTRY_NOTICE : KG_ENTRY_ERROR, text);
    kg_interface_close_tree(&tree);
}

/* What was saved is a change that was made here, unless somebody else has changed it since. */
static void note_saved(struct kg_interface *ui, const char *path, const char *record)
{
    struct kg_saved saved;
    char *now = NULL;
    size_t length;
    if (!kg_saved_read(record, &saved))
        return;
    if (read_kept(ui->options->repository, path, &now, &length) && !(saved.before && length == saved.before_length && memcmp(now, saved.before, length) == 0)) {
        const struct kg_digest digest = kg_digest_of(now, length);
        if (memcmp(digest.bytes, saved.after.bytes, sizeof digest.bytes) == 0 && kg_git_would_add(ui->options->repository, path)) /* else no later commit succeeds */
            note(ui, &(const struct kg_journal_file){ .path = path, .before = saved.before, .before_length = saved.before_length, .after = now, .after_length = length });
    }
    free(now);
    kg_saved_clear(&saved);
}

/* Where the view and this tell each other things: wish, and record of a file of this repository. */
struct told {
    char folder[32], wish[64], record[64];
};

static bool begin_told(struct told *told)
{
    strcpy(told->folder, "/tmp/kedge-open-XXXXXX");
    bool made = mkdtemp(told->folder) != NULL;
    snprintf(told->wish, sizeof told->wish, "%s/wish", told->folder);
    snprintf(told->record, sizeof told->record, "%s/saved", told->folder);
    return made;
}

static void end_told(const struct told *told)
{
    unlink(told->wish);
    unlink(told->record);
    rmdir(told->folder);
}

void kg_interface_open(struct kg_interface *ui, const char *place)
{
    const char *root = ui->options->repository;
    bool beneath = place[0] != '/' && root;
    char path[2 * KG_PATH_MAX];
    char line[KG_PATH_MAX + 1100], *text = NULL;
    size_t length = 0;
    struct kg_file_place file;
    struct kg_error err;
    struct told told;
    bool begun = ui->options->program && begin_told(&told);
    snprintf(path, sizeof path, "%s%s%s", beneath ? root : "", beneath ? "/" : "", place);
    bool ours = root && kg_file_place_parse(path, &file, &err) == KG_OK && strcmp(file.root, root) == 0;
    char *command = begun ? view_command(ui, path, told.wish, ours ? told.record : NULL) : NULL;
    int result = command ? kg_terminal_lend(ui->terminal, command, NULL, 0) : -1;
    if (begun && ours)
        note_saved(ui, file.label, told.record);
    if (result != 0)
        say(ui, KG_ENTRY_ERROR, begun ? "the file was not opened" : "no file can be opened from here; is /tmp full?");
    else if (kg_read_file(told.wish, sizeof line - 16, &text, &length, &err) == KG_OK && length > 0) {
        snprintf(line, sizeof line, "/edit %.*s", (int)(length - (text[length - 1] == '\n')), text);
        kg_interface_submit(ui, line, strlen(line));
    }
    free(text);
    free(command);
    if (begun)
        end_told(&told);
}

void kg_interface_diff(struct kg_interface *ui)
{
    char *diff, *paths, *shown = NULL;
    size_t length;
    if (!collect_changes(ui, &diff, &paths))
        return;
    FILE *memory = open_memstream(&shown, &length);
    if (memory) {
        fprintf(memory, "``````diff\n%s``````\n", diff);
        if (fclose(memory) == 0)
            say(ui, KG_ENTRY_ANSWER, shown);
    }
    free(shown);
    free(diff);
    free(paths);
}

void kg_interface_commit(struct kg_interface *ui)
{
    char *diff, *paths;
    if (!collect_changes(ui, &diff, &paths))
        return;
    size_t length = strlen(diff);
    length = length > DIFF_MOST ? DIFF_MOST : length;
    while (length > 0 && diff[length - 1] != '\n') /* whole lines */
        length--;
    kg_interface_enqueue(ui, KG_TASK_MESSAGE, "/commit", strlen("/commit"), diff, length);
    free(diff);
    free(paths);
}

/* By the git program, so that hooks, signing and configuration are the person's own; only the files that were changed here. */
static void run_git(struct kg_interface *ui, const char *message, size_t length, const char *paths)
{
    char *command = NULL;
    char root[2 * KG_PATH_MAX], file[] = "/tmp/kedge-message-XXXXXX";
    struct kg_interface_tree tree;
    size_t command_length;
    int fd = mkstemp(file);
    bool written = fd >= 0 && write(fd, message, length) == (ssize_t)length;
    if (fd >= 0)
        close(fd);
    FILE *quoted = fmemopen(root, sizeof root, "w");
    FILE *memory = open_memstream(&command, &command_length);
    if (written && quoted && memory) {
        put_quoted(quoted, ui->options->repository);
        fflush(quoted);
        fprintf(memory, "git -C%s --literal-pathspecs add -N --%s && git -c core.commentChar='#' -C%s --literal-pathspecs commit --cleanup=strip -F %s --%s || { printf '\\nEnter goes on'; read -r _; false; }", root, paths, root,
                file, paths);
    }
    if (quoted)
        fclose(quoted);
    int result = memory && fclose(memory) == 0 && written ? kg_terminal_lend(ui->terminal, command, NULL, 0) : -1;
    if (result == 0 && kg_interface_open_tree(ui, &tree)) {
        kg_journal_committed(tree.journal, NULL);
        kg_interface_close_tree(&tree);
        say(ui, KG_ENTRY_NOTICE, "committed");
    } else if (result != 0) {
        say(ui, KG_ENTRY_ERROR, "git did not commit; the files are as they were");
    }
    if (fd >= 0)
        unlink(file);
    free(command);
}

void kg_interface_take_message(struct kg_interface *ui, const char *text, size_t length)
{
    char *diff, *paths, *draft = NULL, *message;
    size_t draft_length, message_length;
    if (!collect_changes(ui, &diff, &paths))
        return;
    FILE *memory = open_memstream(&draft, &draft_length);
    if (memory) {
        fwrite(text, 1, length, memory);
        fprintf(memory, "\n%s\n# Lines that begin with # are left out; an empty message commits nothing.\n# Files:%s\n", length ? "" : "# The model wrote no message.", paths);
        fclose(memory);
    }
    if (draft && kg_interface_edit_text(ui, ".gitcommit", draft, draft_length, &message, &message_length)) {
        run_git(ui, message, message_length, paths);
        free(message);
    }
    free(draft);
    free(diff);
    free(paths);
}

void kg_interface_test(struct kg_interface *ui, const char *command)
{
    char *copy = *command ? strdup(command) : NULL;
    if (copy) {
        free(ui->test);
        ui->test = copy;
    }
    if (!ui->test) {
        say(ui, KG_ENTRY_ERROR, "there is no command yet: /test COMMAND runs one");
        return;
    }
    if (ui->shell.fd < 0)
        ui->testing = true;
    kg_interface_shell(ui, ui->test);
}

void kg_interface_tested(struct kg_interface *ui, int status)
{
    ui->testing = false;
    kg_interface_hint(ui, status == 0 ? "it passed" : "it failed; /fix feeds the output back and asks for a change");
    ui->hint_until += 8;
}

void kg_interface_fix(struct kg_interface *ui, const char *request)
{
    char text[4600];
    if (!ui->output || !ui->test) {
        say(ui, KG_ENTRY_ERROR, "nothing was tested yet: /test COMMAND runs a command");
        return;
    }
    kg_interface_add_output(ui);
    int n = snprintf(text, sizeof text, "`%.400s` fails; its output is in context. Change the code so that it passes.%s%.4000s", ui->test, *request ? " " : "", request);
    kg_interface_enqueue(ui, KG_TASK_EDIT, "/fix", strlen("/fix"), text, (size_t)n);
}
