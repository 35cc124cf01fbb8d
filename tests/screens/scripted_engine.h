/* An engine and an index that follow a script, in place of the real ones: a program that defines these functions itself
 * is linked without those. Included by scripted_interface.h only.
 *
 * The conversation's state directory is where the test and the script meet: the script waits for files there.
 *   model "indexing"    a core is busy with the index until "indexed" is there
 *   model "slow"        loading stands at 45 % until the file "loaded" is there
 *   model "coder"       is asked for changes as a 1.5B coder is: place by place
 *   file "slow.c"       reading stands at 1,024 of 2,310 tokens until "read" is there
 *   question "gate"     the answer stands still until "gate" is there
 *   question "endless"  an answer without an end
 *   a change            edits of area.c and Makefile
 *   lines to change     lines 3 to 6 of area.c in another way
 *   prefix "...NAME"    is completed as script_fillings says; behind "wait" not before "gate" is there, behind "never" never, and
 *                       "cancelled" is there when that was stopped
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/complete.h"
#include "engine/engine.h"
#include "repo-index/repo_index.h"

#define SCRIPT_PARTS 64

struct kg_engine {
    struct kg_engine_options options;
    atomic_bool stop;
};

struct scripted_part {
    struct kg_part part;
    char label[256];
    char *text;
};

struct kg_session {
    struct kg_engine *engine;
    char name[128];
    struct scripted_part parts[SCRIPT_PARTS];
    size_t count;
    struct kg_counts counts;
};

struct kg_index {
    char root[KG_PATH_MAX];
};

static char script_directory[KG_PATH_MAX];
static bool script_indexes;

static void script_pause(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL);
}

static bool script_has(const char *name)
{
    char path[KG_PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", script_directory, name);
    return access(path, F_OK) == 0;
}

static void script_progress(struct kg_engine *engine, enum kg_stage stage, const char *what, uint64_t done, uint64_t total)
{
    engine->options.progress(engine->options.ctx, &(struct kg_progress){ .stage = stage, .what = what, .done = done, .total = total });
}

enum kg_status kg_engine_open(const struct kg_engine_options *options, struct kg_engine **out, struct kg_error *err)
{
    static const char noise[] = "a library says something\n";
    if (write(1, noise, sizeof noise - 1) < 0 || write(2, noise, sizeof noise - 1) < 0)
        return kg_fail(err, KG_ERR_IO, "cannot write");
    if (strcmp(options->model_path, "missing") == 0)
        return kg_fail(err, KG_ERR_NOT_FOUND, "cannot open missing: No such file or directory; get it with kedge model get");
    struct kg_engine *engine = calloc(1, sizeof *engine);
    engine->options = *options;
    while (strcmp(options->model_path, "slow") == 0 && !script_has("loaded")) {
        script_progress(engine, KG_STAGE_LOADING, "", 45, 100);
        if (options->give_up(options->ctx)) {
            free(engine);
            return kg_fail(err, KG_ERR_CANCELLED, "given up");
        }
        script_pause();
    }
    *out = engine;
    return KG_OK;
}

void kg_engine_close(struct kg_engine *engine)
{
    free(engine);
}

void kg_engine_stop(struct kg_engine *engine)
{
    atomic_store(&engine->stop, true);
}

void kg_engine_go(struct kg_engine *engine)
{
    atomic_store(&engine->stop, false);
}

void kg_engine_facts(const struct kg_engine *engine, struct kg_engine_facts *out)
{
    (void)engine;
    *out = (struct kg_engine_facts){ .device = "cpu, 2 threads", .trained_length = 8192, .caches = true };
    strcpy(out->model, strcmp(engine->options.model_path, "coder") == 0 ? "scripted Coder 1.5B" : "scripted 1B");
}

static void script_add(struct kg_session *session, enum kg_part_kind kind, const char *label, const char *text, size_t length, uint32_t tokens)
{
    if (session->count == SCRIPT_PARTS)
        return;
    struct scripted_part *new = &session->parts[session->count++];
    snprintf(new->label, sizeof new->label, "%s", label);
    new->text = malloc(length + 1);
    memcpy(new->text, text, length);
    new->text[length] = '\0';
    new->part = (struct kg_part){ .kind = kind, .length = length, .tokens = tokens, .digest = tokens };
    session->counts.context_tokens += tokens;
}

enum kg_status kg_session_open(struct kg_engine *engine, const struct kg_session_options *options, struct kg_session **out, struct kg_error *err)
{
    if (options->must_exist && strcmp(options->name, "older talk") != 0)
        return kg_fail(err, KG_ERR_NOT_FOUND, "there is no session '%s' for this repository; /sessions lists them", options->name);
    struct kg_session *session = calloc(1, sizeof *session);
    session->engine = engine;
    session->counts = (struct kg_counts){ .context_tokens = 40, .context_limit = 8192 };
    snprintf(session->name, sizeof session->name, "%s", options->name ? options->name : "2025-01-02 03:04:05");
    if (options->name && strcmp(options->name, "older talk") == 0) {
        script_add(session, KG_PART_TURN, "", "What was it?", 12, 5);
        script_add(session, KG_PART_ANSWER, "", "It was `older`.\x1b[31337m", 23, 5);
        session->parts[1].part.partial = true;
        session->parts[0].part.said = 1000000000; /* of the answer nobody knows */
    }
    *out = session;
    return KG_OK;
}

void kg_session_close(struct kg_session *session)
{
    for (size_t i = 0; session && i < session->count; i++)
        free(session->parts[i].text);
    free(session);
}

size_t kg_session_parts(const struct kg_session *session)
{
    return session->count;
}

struct kg_part kg_session_part(const struct kg_session *session, size_t index)
{
    struct kg_part part = session->parts[index].part;
    part.label = session->parts[index].label;
    part.text = part.kind == KG_PART_FILE ? NULL : session->parts[index].text;
    return part;
}

const char *kg_session_outdated(const struct kg_session *session, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (session->parts[i].part.kind == KG_PART_FILE && session->parts[i].part.dropped)
            return session->parts[i].label;
    return NULL;
}

enum kg_status kg_session_add_linked(struct kg_session *session, const char *path, const char *text, size_t length, bool secret,
                                     const struct kg_include *includes, size_t count, uint32_t read_now, struct kg_error *err)
{
    (void)secret, (void)includes, (void)count, (void)read_now;
    bool had = false;
    for (size_t i = 0; i < session->count; i++)
        had |= session->parts[i].part.kind == KG_PART_FILE && !session->parts[i].part.dropped && strcmp(session->parts[i].label, path) == 0;
    if (!had) /* before it is read, and also when that is stopped */
        script_add(session, KG_PART_FILE, path, text, length, (uint32_t)length);
    while (strcmp(path, "slow.c") == 0 && !script_has("read")) {
        script_progress(session->engine, KG_STAGE_READING, path, 1024, 2310);
        if (atomic_load(&session->engine->stop))
            return kg_fail(err, KG_ERR_CANCELLED, "stopped");
        script_pause();
    }
    if (!had)
        script_progress(session->engine, strcmp(path, "run.c") == 0 ? KG_STAGE_RESTORING : KG_STAGE_READING, path, length, length);
    return KG_OK;
}

enum kg_status kg_session_add_file(struct kg_session *session, const char *path, const char *text, size_t length, bool secret, struct kg_error *err)
{
    return kg_session_add_linked(session, path, text, length, secret, NULL, 0, 0, err);
}

bool kg_session_has_file(struct kg_session *session, const char *path, const char *text, size_t length)
{
    (void)session, (void)path, (void)text, (void)length;
    return false;
}

/* The first file of the repository is being read until "read" is there, the second one is known. */
enum kg_status kg_session_known(struct kg_session *session, const char *text, size_t length, const struct kg_include *includes, size_t count,
                                uint32_t read_now, struct kg_known *out, struct kg_error *err)
{
    (void)session, (void)text, (void)length, (void)includes, (void)count, (void)read_now, (void)err;
    *out = (struct kg_known){ .tokens = 2310, .known = script_has("read") ? 2310 : 0 };
    return KG_OK;
}

enum kg_status kg_session_read_ahead(struct kg_session *session, const char *path, const char *text, size_t length, const struct kg_include *includes,
                                     size_t count, uint64_t *computed, struct kg_error *err)
{
    (void)text, (void)length, (void)includes, (void)count, (void)computed;
    while (!script_has("read")) {
        script_progress(session->engine, KG_STAGE_READING, path, 1024, 2310);
        if (atomic_load(&session->engine->stop))
            return kg_fail(err, KG_ERR_CANCELLED, "stopped");
        script_pause();
    }
    return KG_OK;
}

/* Until "again" is there; then the file "again.c" was. */
enum kg_status kg_session_read_again(struct kg_session *session, size_t *next, uint64_t *computed, struct kg_error *err)
{
    (void)computed;
    *next = 0;
    for (size_t i = 0; i < session->count; i++) {
        struct kg_part *part = &session->parts[i].part;
        if (strcmp(session->parts[i].label, "again.c") != 0 || part->again)
            continue;
        while (!script_has("again")) {
            script_progress(session->engine, KG_STAGE_READING, "again.c", 32, 96);
            if (atomic_load(&session->engine->stop))
                return kg_fail(err, KG_ERR_CANCELLED, "stopped");
            script_pause();
        }
        part->again = part->tokens;
        *next = i + 1;
        return KG_OK;
    }
    return KG_OK;
}

enum kg_status kg_session_drop_file(struct kg_session *session, const char *path, struct kg_error *err)
{
    for (size_t i = 0; i < session->count; i++)
        if (session->parts[i].part.kind == KG_PART_FILE && !session->parts[i].part.dropped && strcmp(session->parts[i].label, path) == 0) {
            session->parts[i].part.dropped = true;
            return KG_OK;
        }
    return kg_fail(err, KG_ERR_NOT_FOUND, "%s is not in context; /files lists what is", path);
}

enum kg_status kg_session_clear(struct kg_session *session, struct kg_error *err)
{
    size_t kept = 0;
    (void)err;
    for (size_t i = 0; i < session->count; i++) {
        if (session->parts[i].part.kind == KG_PART_FILE)
            session->parts[kept++] = session->parts[i];
        else
            free(session->parts[i].text);
    }
    session->count = kept;
    snprintf(session->name, sizeof session->name, "2025-01-02 03:04:06");
    return KG_OK;
}

enum kg_status kg_session_branch(struct kg_session *session, size_t parts, const char *name, struct kg_error *err)
{
    (void)err;
    char made[sizeof session->name];
    while (session->count > parts)
        free(session->parts[--session->count].text);
    snprintf(made, sizeof made, "%.100s%s", name && *name ? name : session->name, name && *name ? "" : " (2)");
    memcpy(session->name, made, sizeof made);
    return KG_OK;
}

static char script_pin[256]; /* one is enough */

enum kg_status kg_session_pin(struct kg_session *session, const char *path, bool pinned, struct kg_error *err)
{
    (void)session, (void)err;
    snprintf(script_pin, sizeof script_pin, "%s", pinned ? path : "");
    return KG_OK;
}

bool kg_session_pinned(const struct kg_session *session, const char *path)
{
    (void)session;
    return *path && strcmp(path, script_pin) == 0;
}

enum kg_status kg_session_compact(struct kg_session *session, const struct kg_question *how, struct kg_compaction *out, struct kg_error *err)
{
    static const char text[] = "They spoke of **things**.";
    (void)how;
    *out = (struct kg_compaction){ .before = session->counts.context_tokens };
    for (size_t i = 0; i < session->count; i++) {
        struct kg_part *part = &session->parts[i].part;
        if (part->kind == KG_PART_FILE || part->dropped)
            continue;
        part->dropped = part->summarised = true;
        out->questions += part->kind == KG_PART_TURN;
    }
    if (!out->questions)
        return kg_fail(err, KG_ERR_NOT_FOUND, "there is no question in context that could be summarised");
    session->counts.context_tokens = 60;
    script_add(session, KG_PART_SUMMARY, "1", text, sizeof text - 1, 9);
    out->after = session->counts.context_tokens;
    return KG_OK;
}

enum kg_status kg_session_uncompact(struct kg_session *session, struct kg_error *err)
{
    (void)err;
    for (size_t i = 0; i < session->count; i++) {
        bool summary = session->parts[i].part.kind == KG_PART_SUMMARY;
        session->parts[i].part.dropped = summary || (session->parts[i].part.dropped && !session->parts[i].part.summarised);
        session->parts[i].part.summarised = false;
    }
    return KG_OK;
}

enum kg_status kg_session_take_back(struct kg_session *session, struct kg_error *err)
{
    (void)err;
    for (size_t i = session->count; i-- > 0;) {
        session->parts[i].part.dropped |= session->parts[i].part.kind != KG_PART_FILE;
        if (session->parts[i].part.kind == KG_PART_TURN)
            break;
    }
    return KG_OK;
}

enum kg_status kg_session_rename(struct kg_session *session, const char *name, struct kg_error *err)
{
    (void)err;
    snprintf(session->name, sizeof session->name, "%s", name);
    return KG_OK;
}

const char *kg_session_name(const struct kg_session *session)
{
    return session->name;
}

void kg_session_counts(const struct kg_session *session, struct kg_counts *out)
{
    *out = session->counts;
}

/* A text in pieces of a few bytes, whole characters each. */
static bool script_say(struct kg_session *session, const struct kg_question *question, enum kg_text_kind kind, const char *text)
{
    size_t length = strlen(text);
    for (size_t at = 0; at < length;) {
        size_t n = 3;
        while (at + n < length && ((unsigned char)text[at + n] & 0xc0) == 0x80)
            n++;
        n = at + n > length ? length - at : n;
        if (atomic_load(&session->engine->stop))
            return false;
        question->text_out(question->ctx, kind, text + at, n);
        session->counts.decode_tokens++;
        session->counts.context_tokens++;
        at += n;
    }
    return true;
}

static const char script_markdown[] = "# What it does\n\n`main` parses the arguments and calls **one** of:\n\n- `run`, which answers\n- `help`\n\n"
                                      "```c\nint main(int argc, char **argv)\n{\n\treturn run(argc, argv); /* ünïcödé 漢字 */\n}\n```\n\n"
                                      "The rest of this paragraph is longer than one row of a narrow screen, and so it is broken at words.\n";
static const char script_hostile[] = "title \x1b]0;owned\x07 colour \x1b[31337m c1 \xc2\x9b" "31m bell \x07 shift \x0e\x0f back \b\b\b "
                                     "override \xe2\x80\xae" "desrever hidden \xe2\x80\x8b dcs \x1bP1$r\x1b\\ end\n";

static const char script_unicode[] = "```\n"
                                     "emoji     👩‍👩‍👧 👍🏽 ❤️ 🇩🇪 🫨     |\n"
                                     "han       漢字かな한글       |\n"
                                     "marks     e\u0301 a\u0308\u0304 n\u0303      |\n"
                                     "hindi     नमस्ते क्षि        |\n"
                                     "arabic    سلام          |\n"
                                     "jamo      \u1112\u1161\u11ab            |\n"
                                     "private   \ue0b0          |\n"
                                     "```\n";

static bool script_endless(struct kg_session *session, const struct kg_question *question)
{
    char line[64];
    for (int i = 1;; i++) {
        snprintf(line, sizeof line, "line %d of an endless answer\n\n", i);
        if (!script_say(session, question, KG_TEXT_ANSWER, line))
            return false;
        script_pause();
    }
}

/* What is asked for a change, and for the message of a commit. */
static const char script_edits[] = "area.c\n<<<<<<< SEARCH\nint area(int a, int b)\n{\n\treturn a * b;\n=======\nint area(int a, int b)\n{\n\tif (a < 0 || b < 0)\n"
                                   "\t\treturn 0;\n\treturn a * b;\n>>>>>>> REPLACE\n\narea.c\n<<<<<<< SEARCH\n    printf(\"%d\\n\", area(2, 3));\n=======\n"
                                   "    printf(\"area %d\\n\", area(2, 3));\n>>>>>>> REPLACE\n\nMakefile\n<<<<<<< SEARCH\n\tcc area.c\n=======\n\tcc -O2 area.c\n"
                                   ">>>>>>> REPLACE\n";

static const char script_lines[] = "```c\nint area(int a, int b)\n{\n    return a < 0 ? 0 : a * b;\n}\n```\n";

static bool script_answer(struct kg_session *session, const struct kg_question *question)
{
    char text[512];
    if (strstr(question->text, "<<<<<<< SEARCH"))
        return script_say(session, question, KG_TEXT_ANSWER, script_edits);
    if (strstr(question->text, "these lines written anew"))
        return script_say(session, question, KG_TEXT_ANSWER, script_lines);
    if (strstr(question->text, "message of a git commit"))
        return script_say(session, question, KG_TEXT_ANSWER, "`Refuse negative sides`");
    if (strstr(question->text, "markdown"))
        return script_say(session, question, KG_TEXT_ANSWER, script_markdown);
    if (strstr(question->text, "unicode"))
        return script_say(session, question, KG_TEXT_ANSWER, script_unicode);
    if (strstr(question->text, "hostile"))
        return script_say(session, question, KG_TEXT_ANSWER, script_hostile);
    if (strstr(question->text, "endless"))
        return script_endless(session, question);
    if (strstr(question->text, "think"))
        return script_say(session, question, KG_TEXT_THOUGHT, "Hm, let me see what that may be.") && script_say(session, question, KG_TEXT_ANSWER, "It is that.");
    if (strstr(question->text, "crash"))
        abort();
    if (strstr(question->text, "gate")) {
        if (!script_say(session, question, KG_TEXT_ANSWER, "before the gate, "))
            return false;
        while (!script_has("gate")) {
            if (atomic_load(&session->engine->stop))
                return false;
            script_pause();
        }
        return script_say(session, question, KG_TEXT_ANSWER, "behind the gate");
    }
    snprintf(text, sizeof text, "You asked: %.300s", question->text);
    return script_say(session, question, KG_TEXT_ANSWER, text);
}

enum kg_status kg_session_ask(struct kg_session *session, const struct kg_question *question, enum kg_end *end, struct kg_error *err)
{
    bool full = strstr(question->text, "too long");
    for (size_t i = 0; i < session->count && full; i++) /* until something has left the context */
        full = !session->parts[i].part.dropped;
    if (full)
        return kg_fail(err, KG_ERR_FULL, "the question needs 9,000 tokens, and 40 of the model's 8,192 are taken");
    session->counts.prompt_tokens = session->counts.context_tokens + 12;
    session->counts.reused_tokens = session->counts.context_tokens;
    session->counts.computed_tokens = 12;
    session->counts.restored_bytes = 312000000;
    session->counts.prefill_s = 0.041;
    session->counts.decode_tokens = 0;
    script_add(session, KG_PART_TURN, "", question->text, question->length, 0);
    *end = script_answer(session, question) ? KG_END_MODEL : KG_END_STOPPED;
    script_add(session, KG_PART_ANSWER, "", "An answer.", 10, 0);
    session->counts.decode_s = (double)session->counts.decode_tokens / 25;
    return KG_OK;
}

struct kg_fill {
    struct kg_engine *engine;
};

enum kg_status kg_engine_can_fill(const struct kg_engine *engine, struct kg_error *err)
{
    if (strcmp(engine->options.model_path, "unable") == 0)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "scripted 1B has no tokens for fill-in-the-middle");
    return KG_OK;
}

enum kg_status kg_session_add_known(struct kg_session *session, const char *path, const char *text, size_t length, const struct kg_include *includes,
                                    size_t count, uint32_t *left, struct kg_error *err)
{
    (void)session, (void)path, (void)text, (void)length, (void)includes, (void)count, (void)left;
    return kg_fail(err, KG_ERR_NOT_FOUND, "nothing is known");
}

enum kg_status kg_fill_open(const struct kg_session *session, const struct kg_fill_options *options, struct kg_fill **out, struct kg_error *err)
{
    (void)options;
    *out = calloc(1, sizeof **out);
    if (!*out)
        return kg_fail_nomem(err, "filling");
    (*out)->engine = session->engine;
    return KG_OK;
}

void kg_fill_close(struct kg_fill *fill)
{
    free(fill);
}

static const struct {
    const char *behind, *text;
} script_fillings[] = {
    { "ret", "urn value;" },
    { "loop", " {\n        one();\n        two();\n    }" },
    { "wait", "ed for" },
    { "evil", "x\x1b]0;owned\x07\x1b[31337m" },
    { "hidden", "ab\xe2\x80\xae" "cd" },
    { "same", "1;\n    return 0;\n}" },
};

static bool script_waits(const struct kg_fill *fill, const char *for_what)
{
    while (!script_has(for_what)) {
        if (atomic_load(&fill->engine->stop))
            return false;
        script_pause();
    }
    return true;
}

static void script_leave(const char *name)
{
    char path[KG_PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", script_directory, name);
    FILE *file = fopen(path, "w");
    if (file)
        fclose(file);
}

static bool script_ends(const struct kg_completion *completion, const char *word)
{
    size_t length = strlen(word);
    return completion->prefix_length >= length && memcmp(completion->prefix + completion->prefix_length - length, word, length) == 0;
}

enum kg_status kg_fill_complete(struct kg_fill *fill, const struct kg_completion *completion, enum kg_end *end, struct kg_counts *counts,
                                struct kg_error *err)
{
    (void)err, (void)counts;
    *end = KG_END_STOPPED;
    if (completion->max_tokens == 1) /* only to read */
        return KG_OK;
    if (script_ends(completion, "never") && !script_waits(fill, "never")) {
        script_leave("cancelled");
        return KG_OK;
    }
    if (script_ends(completion, "wait") && !script_waits(fill, "gate"))
        return KG_OK;
    *end = KG_END_MODEL;
    for (size_t i = 0; i < sizeof script_fillings / sizeof script_fillings[0]; i++)
        for (const char *at = script_fillings[i].text; script_ends(completion, script_fillings[i].behind) && *at; at++)
            if (completion->text_out(completion->ctx, at, 1))
                return KG_OK;
    return KG_OK;
}

static const struct kg_session_summary script_sessions[] = {
    { .name = "older talk", .repository = "/repo", .model = "scripted 1B", .title = "What was it?", .used = 7200, .parts = 2, .questions = 1 },
    { .name = "evil \x1b]0;owned\x07", .repository = "/repo", .model = "scripted 1B", .title = "title \x1b[31337m\nwith lines", .used = 90000, .questions = 3 },
    { .name = "elsewhere", .repository = "/other", .model = "scripted 1B", .title = "Asked in another repository", .used = 864000, .questions = 12 },
};
static atomic_bool script_removed, script_renamed;

static struct kg_session_summary script_session(size_t i)
{
    struct kg_session_summary session = script_sessions[i];
    session.used = (uint64_t)time(NULL) - session.used;
    if (i == 0 && atomic_load(&script_renamed))
        session.name = "newer talk";
    return session;
}

static bool script_lists(size_t i, const char *repository)
{
    return (!repository || strcmp(repository, script_sessions[i].repository) == 0) && (i != 1 || !atomic_load(&script_removed));
}

enum kg_status kg_sessions_search(const char *state_dir, const char *repository, const char *words, int (*each)(void *ctx, const struct kg_session_hit *),
                                  void *ctx, struct kg_error *err)
{
    (void)state_dir, (void)err;
    for (size_t i = 0; i < 3; i++)
        if (script_lists(i, repository) && strstr(script_sessions[i].title, words))
            each(ctx, &(struct kg_session_hit){ .session = script_session(i), .kind = KG_PART_TURN, .text = script_sessions[i].title,
                                                .length = strlen(script_sessions[i].title) });
    return KG_OK;
}

enum kg_status kg_sessions_rename(const char *state_dir, const char *repository, const char *name, const char *new_name, struct kg_error *err)
{
    (void)state_dir, (void)repository, (void)new_name;
    if (strcmp(name, "older talk") != 0)
        return kg_fail(err, KG_ERR_USAGE, "there is a session '%s' already; choose another name", new_name);
    atomic_store(&script_renamed, true);
    return KG_OK;
}

enum kg_status kg_sessions_copy(const char *state_dir, const char *repository, const char *name, const char *new_name, char made[KG_SESSION_NAME],
                                struct kg_error *err)
{
    (void)state_dir, (void)repository, (void)new_name, (void)err;
    snprintf(made, KG_SESSION_NAME, "%.100s (2)", name);
    return KG_OK;
}

enum kg_status kg_sessions_remove(const char *state_dir, const char *repository, const char *name, struct kg_error *err)
{
    (void)state_dir, (void)repository, (void)name, (void)err;
    atomic_store(&script_removed, true);
    return KG_OK;
}

enum kg_status kg_sessions_list(const char *state_dir, const char *repository, int (*each)(void *ctx, const struct kg_session_summary *), void *ctx,
                                struct kg_error *err)
{
    (void)state_dir, (void)err;
    for (size_t i = 0; i < 3; i++) {
        struct kg_session_summary session = script_session(i);
        if (script_lists(i, repository) && each(ctx, &session))
            break;
    }
    return KG_OK;
}

enum kg_status kg_index_open(const char *root, const char *cache_dir, struct kg_index **out, struct kg_error *err)
{
    (void)cache_dir;
    *out = calloc(1, sizeof **out);
    if (*out)
        snprintf((*out)->root, sizeof (*out)->root, "%s", root);
    return *out ? KG_OK : kg_fail_nomem(err, "opening");
}

void kg_index_close(struct kg_index *index)
{
    free(index);
}

enum kg_status kg_index_refresh(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_index_counts *out,
                                struct kg_error *err)
{
    (void)index;
    for (uint32_t done = 0; script_indexes && !script_has("indexed"); done++)
        for (int i = 0; i < 1000 && done % 1000 == 0; i++)
            if (progress(ctx, done, done + i % 2))
                return kg_fail(err, KG_ERR_CANCELLED, "stopped");
    *out = (struct kg_index_counts){ .files = 3 };
    return progress(ctx, 3, 3) ? kg_fail(err, KG_ERR_CANCELLED, "stopped") : KG_OK;
}

enum kg_status kg_index_watch(struct kg_index *index, uint32_t most, struct kg_error *err)
{
    (void)index, (void)most, (void)err;
    return KG_OK;
}

const char *kg_index_watch_lack(const struct kg_index *index)
{
    (void)index;
    return NULL;
}

int kg_index_watch_fd(const struct kg_index *index)
{
    (void)index;
    return -1;
}

double kg_index_watch_due(struct kg_index *index)
{
    (void)index;
    return -1;
}

enum kg_status kg_index_catch_up(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_index_counts *out,
                                 struct kg_error *err)
{
    return kg_index_refresh(index, progress, ctx, out, err);
}

enum kg_status kg_index_settle(struct kg_index *index, double drift, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_error *err)
{
    (void)index, (void)drift, (void)progress, (void)ctx, (void)err;
    return KG_OK;
}

enum kg_status kg_index_choose(struct kg_index *index, const char *question, uint32_t tokens, int (*each)(void *ctx, const struct kg_choice *), void *ctx, struct kg_error *err)
{
    (void)index;
    (void)tokens;
    (void)err;
    if (strstr(question, "hostile"))
        each(ctx, &(struct kg_choice){ .path = "evil\x1b]0;owned\x07.c", .reason = "matches: \x1b[31337m" });
    if (!strstr(question, "main"))
        return KG_OK;
    each(ctx, &(struct kg_choice){ .path = "tui/main.c", .reason = "named in the question" });
    each(ctx, &(struct kg_choice){ .path = "run.c", .reason = "matches: run" });
    return KG_OK;
}

enum kg_status kg_index_context(struct kg_index *index, const struct kg_context_request *request, int (*each)(void *ctx, const struct kg_context_part *), void *ctx,
                                struct kg_error *err)
{
    (void)index, (void)request, (void)each, (void)ctx, (void)err;
    return KG_OK;
}

enum kg_status kg_index_likely(struct kg_index *index, int (*each)(void *ctx, const struct kg_index_file *), void *ctx, struct kg_error *err)
{
    (void)index, (void)err;
    if (!each(ctx, &(struct kg_index_file){ .path = "likely.c", .bytes = 29 }))
        each(ctx, &(struct kg_index_file){ .path = "run.c", .bytes = 29 });
    return KG_OK;
}

enum kg_status kg_index_complete(struct kg_index *index, const char *pattern, uint32_t limit, int (*each)(void *ctx, const char *path), void *ctx, struct kg_error *err)
{
    static const char *const paths[] = { "tui/main.c", "tui/screen/glyph.c", "run.c", "slow.c", "evil\x1b]0;owned\x07.c" };
    (void)index;
    (void)limit;
    (void)err;
    for (size_t i = 0; i < 5; i++)
        if (strstr(paths[i], pattern))
            each(ctx, paths[i]);
    return KG_OK;
}

enum kg_status kg_index_read_symbols(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_error *err)
{
    (void)index, (void)progress, (void)ctx, (void)err;
    return KG_OK;
}

struct kg_definitions {
    size_t count;
};

enum kg_status kg_index_definitions(struct kg_index *index, struct kg_definitions **definitions, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx,
                                    struct kg_error *err)
{
    (void)index, (void)progress, (void)ctx;
    if (!*definitions)
        *definitions = calloc(1, sizeof **definitions);
    return *definitions ? KG_OK : kg_fail_nomem(err, "listing");
}

void kg_definitions_free(struct kg_definitions *definitions)
{
    free(definitions);
}

size_t kg_definitions_count(const struct kg_definitions *definitions)
{
    return definitions->count;
}

enum kg_status kg_definitions_complete(const struct kg_definitions *definitions, const char *pattern, uint32_t limit,
                                       int (*each)(void *ctx, const struct kg_index_symbol *), void *ctx, struct kg_error *err)
{
    static const struct kg_index_symbol found[] = { { .path = "run.c", .kind = "function", .name = "run_main", .line = 1, .end = 1 },
                                                    { .path = "tui/screen/glyph.c", .kind = "macro", .name = "GLYPH_MOST", .line = 12 },
                                                    { .path = "evil\x1b]0;owned\x07.c", .kind = "\x1b[31mkind", .name = "evil\x1b[name", .line = 3, .end = 9 } };
    (void)definitions, (void)limit, (void)err;
    for (size_t i = 0; i < 3; i++)
        if (strstr(found[i].name, pattern))
            each(ctx, &found[i]);
    return KG_OK;
}

enum kg_status kg_index_imports(struct kg_index *index, const char *path, int (*each)(void *ctx, const char *path), void *ctx, struct kg_error *err)
{
    (void)index, (void)path, (void)each, (void)ctx, (void)err;
    return KG_OK;
}

enum kg_status kg_index_read(struct kg_index *index, const char *path, size_t limit, char **out, size_t *length, bool *secret, struct kg_error *err)
{
    static const char text[] = "int main(void) { return 0; }\n";
    char real[2 * KG_PATH_MAX];
    snprintf(real, sizeof real, "%s/%s", index->root, path); /* a repository of the test's own */
    *secret = strcmp(path, "secret.c") == 0;
    if (kg_read_file(real, limit, out, length, NULL) == KG_OK)
        return KG_OK;
    size_t end = strlen(path);
    if (end < 2 || strcmp(path + end - 2, ".c") != 0)
        return kg_fail(err, KG_ERR_NOT_FOUND, "cannot open %s: No such file or directory", path);
    *out = strdup(text);
    *length = sizeof text - 1;
    return *out ? KG_OK : kg_fail_nomem(err, "reading");
}
