/* A text of files as a context, a target and questions: cut first, then planted, then tokenised. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/eval/cbr_parts.h"

uint64_t kg_cbr_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

uint32_t kg_cbr_below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)(((kg_cbr_random(state) >> 32) * limit) >> 32);
}

uint32_t kg_cbr_sinks(const struct kg_cbr_text *text)
{
    return text->preamble.count > 4 ? (uint32_t)text->preamble.count : 4;
}

/* What stands around the files' texts. */
struct frame {
    const struct kg_engine *engine;
    const struct kg_tokenizer *tokenizer;
    struct kg_chat *chat;
    struct kg_ids opening; /* of the answer; empty as plain text */
};

static enum kg_status plain_preamble(const struct kg_tokenizer *tokenizer, struct kg_ids *out, struct kg_error *err)
{
    const struct kg_special_ids *special = kg_special_ids(tokenizer);
    const char *line = special->repo_name >= 0 ? "the repository\n" : "# the repository\n";
    enum kg_status status = special->bos >= 0 ? kg_ids_push(out, special->bos, err) : KG_OK;
    if (status == KG_OK && special->repo_name >= 0)
        status = kg_ids_push(out, special->repo_name, err);
    return status == KG_OK ? kg_tokenize(tokenizer, line, strlen(line), false, out, err) : status;
}

static enum kg_status chat_frame(struct frame *frame, struct kg_cbr_text *text, const char *own_path, struct kg_error *err)
{
    char question[512], path[256];
    kg_printable(path, sizeof path, own_path, strlen(own_path));
    snprintf(question, sizeof question, "Continue the file %s from where it stops. Write only what follows.", path);
    enum kg_status status = kg_chat_preamble(frame->chat, &text->preamble, err);
    if (status == KG_OK)
        status = kg_chat_turn(frame->chat, KG_ROLE_SYSTEM, question, strlen(question), &text->turn, err);
    return status == KG_OK ? kg_chat_answer_opening(frame->chat, &frame->opening, err) : status;
}

static enum kg_status make_frame(struct kg_engine *engine, struct frame *frame, struct kg_cbr_text *text, const char *own_path, struct kg_error *err)
{
    *frame = (struct frame){ .engine = engine, .tokenizer = engine->tokenizer };
    enum kg_status status = kg_chat_create(engine->file, engine->tokenizer, &frame->chat, err);
    if (status != KG_OK)
        return status;
    return text->options.chat ? chat_frame(frame, text, own_path, err) : plain_preamble(engine->tokenizer, &text->preamble, err);
}

static void free_source(struct kg_cbr_source *source)
{
    free(source->text);
    kg_ids_free(&source->heading);
    kg_ids_free(&source->ids);
}

/* Everything of the file, not yet cut. */
static enum kg_status take_file(const struct frame *frame, const struct kg_cbr_file *file, const char *path, struct kg_cbr_source *out,
                                struct kg_error *err)
{
    *out = (struct kg_cbr_source){ .path = path, .language = kg_cbr_language_of(path), .text = malloc(file->length + 1), .length = file->length };
    if (!out->text)
        return kg_fail_nomem(err, "taking in a file");
    if (file->length)
        memcpy(out->text, file->text, file->length);
    out->text[file->length] = '\0';
    enum kg_status status = kg_chat_heading(frame->chat, KG_ROLE_SYSTEM, path, &out->heading, err);
    if (status == KG_OK)
        status = kg_cbr_count(frame->tokenizer, out->text, out->length, &out->whole, err);
    if (status != KG_OK)
        free_source(out);
    return status;
}

static enum kg_status take_files(const struct frame *frame, struct kg_cbr_text *text, const struct kg_cbr_file *files, size_t count,
                                 struct kg_error *err)
{
    text->sources = calloc(count, sizeof *text->sources);
    text->used = calloc(count, sizeof *text->used);
    text->paths = calloc(count, sizeof *text->paths);
    if (!text->sources || !text->used || !text->paths)
        return kg_fail_nomem(err, "taking in files");
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < count && status == KG_OK; i++) {
        text->paths[i] = strdup(files[i].path);
        text->file_count++;
        if (!text->paths[i])
            return kg_fail_nomem(err, "taking in files");
        status = take_file(frame, &files[i], text->paths[i], &text->sources[i], err);
        text->source_count += status == KG_OK;
    }
    return status;
}

/* The own file keeps its end. `others` tokens stand in the context beside its head. */
static enum kg_status cut_own(const struct frame *frame, struct kg_cbr_text *text, uint64_t others, struct kg_error *err)
{
    struct kg_cbr_source *own = &text->sources[text->source_count - 1];
    const struct kg_cbr_options *options = &text->options;
    uint64_t half = options->tokens / 2, left = others < options->tokens ? options->tokens - others : 0, head = half > left ? half : left;
    if (own->whole <= options->target)
        return kg_fail(err, KG_ERR_RANGE, "%s has %u tokens, too few for a target of %u and something before it; use a longer file or a smaller --target",
                       own->path, own->whole, options->target);
    size_t offset = 0;
    enum kg_status status = KG_OK;
    if (own->whole - options->target > head)
        status = kg_cbr_keep_end(frame->tokenizer, own->text, own->length, (uint32_t)head + options->target, &offset, err);
    if (status != KG_OK)
        return status;
    own->length -= offset;
    memmove(own->text, own->text + offset, own->length + 1);
    status = kg_tokenize(frame->tokenizer, own->text, own->length, false, &own->ids, err);
    own->used = (uint32_t)own->ids.count;
    if (status == KG_OK && own->used <= options->target)
        return kg_fail(err, KG_ERR_RANGE, "%s has no line start that leaves 1 to %llu tokens before the target; use a larger --tokens", own->path,
                       (unsigned long long)head);
    return status;
}

static enum kg_status cut_other(const struct frame *frame, struct kg_cbr_source *source, uint64_t *left, struct kg_error *err)
{
    if (source->heading.count >= *left || !source->whole) {
        source->length = 0;
        return KG_OK;
    }
    *left -= source->heading.count;
    enum kg_status status = KG_OK;
    source->used = source->whole;
    if (source->whole > *left) {
        status = kg_cbr_keep_begin(frame->tokenizer, source->text, source->length, (uint32_t)*left, &source->length, err);
        source->text[source->length] = '\0';
        if (status == KG_OK)
            status = kg_cbr_count(frame->tokenizer, source->text, source->length, &source->used, err);
    }
    *left -= source->used;
    return status;
}

static enum kg_status cut_files(const struct frame *frame, struct kg_cbr_text *text, struct kg_error *err)
{
    size_t last = text->source_count - 1, kept = 0;
    uint64_t fixed = text->preamble.count + text->turn.count + frame->opening.count + text->sources[last].heading.count, others = fixed;
    for (size_t i = 0; i < last; i++)
        others += text->sources[i].heading.count + text->sources[i].whole;
    enum kg_status status = cut_own(frame, text, others, err);
    uint64_t taken = fixed + text->sources[last].used - text->options.target, left = text->options.tokens > taken ? text->options.tokens - taken : 0;
    for (size_t i = 0; i < last && status == KG_OK; i++)
        status = cut_other(frame, &text->sources[i], &left, err);
    for (size_t i = 0; i <= last; i++) { /* those without a place go */
        text->used[i] = (struct kg_cbr_used){ text->sources[i].path, text->sources[i].used, text->sources[i].whole };
        if (text->sources[i].length)
            text->sources[kept++] = text->sources[i];
        else
            free_source(&text->sources[i]);
    }
    text->source_count = kept;
    return status;
}

static void add_piece(struct kg_cbr_text *text, enum kg_block_kind kind, const struct kg_ids *ids, size_t count)
{
    text->pieces[text->piece_count++] = (struct kg_cbr_piece){ kind, ids->ids, (uint32_t)count };
}

/* The block that ends in the target begins with what predicts its first token. */
static enum kg_status lay_out(const struct frame *frame, struct kg_cbr_text *text, struct kg_error *err)
{
    struct kg_cbr_source *own = &text->sources[text->source_count - 1];
    text->pieces = calloc(2 * text->source_count, sizeof *text->pieces);
    if (!text->pieces)
        return kg_fail_nomem(err, "laying out a context");
    enum kg_status status = KG_OK;
    for (size_t i = 0; i + 1 < text->source_count && status == KG_OK; i++) {
        struct kg_cbr_source *source = &text->sources[i];
        status = kg_tokenize(frame->tokenizer, source->text, source->length, false, &source->ids, err);
        add_piece(text, KG_BLOCK_HEADING, &source->heading, source->heading.count);
        add_piece(text, KG_BLOCK_FILE, &source->ids, source->ids.count);
    }
    size_t head = own->ids.count - text->options.target, start = head;
    if (frame->opening.count == 0)
        start--;
    add_piece(text, KG_BLOCK_HEADING, &own->heading, own->heading.count);
    add_piece(text, KG_BLOCK_FILE, &own->ids, start);
    if (status == KG_OK)
        status = kg_ids_append(&text->target, frame->opening.ids, frame->opening.count, err);
    if (status == KG_OK)
        status = kg_ids_append(&text->target, own->ids.ids + start, own->ids.count - start, err);
    text->lead = (uint32_t)text->target.count - text->options.target;
    return status;
}

static enum kg_status check_length(const struct kg_engine *engine, const struct kg_cbr_text *text, struct kg_error *err)
{
    const struct kg_model_shape *shape = kg_model_shape(engine->model);
    size_t tokens = text->preamble.count + text->turn.count + text->target.count, longest = 0;
    for (size_t i = 0; i < text->piece_count; i++)
        tokens += text->pieces[i].count;
    for (size_t i = 0; i < text->asking_count; i++)
        longest = text->askings[i].ids.count > longest ? text->askings[i].ids.count : longest;
    if (tokens + longest <= shape->trained_length)
        return KG_OK;
    return kg_fail(err, KG_ERR_RANGE, "context, target and a question take %zu positions, but %s was trained for %u; use a smaller --tokens",
                   tokens + longest, shape->name, shape->trained_length);
}

static enum kg_status make_text(const struct frame *frame, struct kg_cbr_text *text, const struct kg_cbr_file *files, size_t count,
                                struct kg_error *err)
{
    struct kg_digest content = kg_digest_of(files[count - 1].text, files[count - 1].length);
    uint64_t random = text->options.seed, mixed;
    memcpy(&mixed, content.bytes, sizeof mixed);
    random ^= mixed; /* texts of one study get different constants, in whatever order they come */
    enum kg_status status = take_files(frame, text, files, count, err);
    if (status == KG_OK)
        status = cut_files(frame, text, err);
    if (status == KG_OK)
        status = kg_cbr_plant(frame->tokenizer, text, &random, err);
    if (status == KG_OK)
        status = kg_cbr_find_prototypes(frame->tokenizer, text, &random, err);
    if (status == KG_OK)
        status = lay_out(frame, text, err);
    return status == KG_OK ? check_length(frame->engine, text, err) : status;
}

enum kg_status kg_cbr_text_create(struct kg_engine *engine, const struct kg_cbr_file *files, size_t count, const struct kg_cbr_options *options,
                                  struct kg_cbr_text **out, struct kg_error *err)
{
    if (count == 0 || options->target == 0 || options->target > INT32_MAX / 2 || options->tokens > INT32_MAX / 2)
        return kg_fail(err, KG_ERR_USAGE, "a text needs a file and a target of at least one token");
    struct kg_cbr_text *text = calloc(1, sizeof *text);
    if (!text)
        return kg_fail_nomem(err, "taking in a text");
    text->options = *options;
    struct frame frame;
    enum kg_status status = make_frame(engine, &frame, text, files[count - 1].path, err);
    if (status == KG_OK)
        status = make_text(&frame, text, files, count, err);
    kg_chat_free(frame.chat);
    kg_ids_free(&frame.opening);
    if (status == KG_OK)
        *out = text;
    else
        kg_cbr_text_free(text);
    return status;
}

void kg_cbr_text_free(struct kg_cbr_text *text)
{
    if (!text)
        return;
    for (size_t i = 0; i < text->source_count; i++)
        free_source(&text->sources[i]);
    for (size_t i = 0; i < text->asking_count; i++)
        kg_ids_free(&text->askings[i].ids);
    for (size_t i = 0; i < text->file_count; i++)
        free(text->paths[i]);
    free(text->sources);
    free(text->used);
    free(text->paths);
    free(text->pieces);
    free(text->askings);
    kg_ids_free(&text->preamble);
    kg_ids_free(&text->turn);
    kg_ids_free(&text->target);
    free(text);
}

size_t kg_cbr_text_files(const struct kg_cbr_text *text)
{
    return text->file_count;
}

struct kg_cbr_used kg_cbr_text_used(const struct kg_cbr_text *text, size_t file)
{
    return text->used[file];
}
