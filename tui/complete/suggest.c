#include "tui/complete/suggest.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tui/screen/restore.h"

struct request {
    uint64_t ticket;
    char *text; /* prefix, then suffix */
    size_t prefix_length, suffix_length;
    uint32_t max_tokens;
};

struct kg_suggest {
    const struct kg_completer_options *options;
    struct kg_channel *events;
    pthread_t thread;
    uint64_t tickets; /* of the asking thread */
    atomic_bool quitting;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct request *waiting; /* NULL = nothing */
    struct kg_completer *running; /* while it completes, so that it can be stopped */

    struct kg_completer *completer; /* of the thread */
    uint64_t current;
};

void kg_suggestion_drop(struct kg_message *message)
{
    free(message);
}

static void free_request(struct request *request)
{
    if (request)
        free(request->text);
    free(request);
}

static void tell(struct kg_suggest *s, enum kg_suggestion_kind kind, const char *text, size_t length)
{
    struct kg_suggestion *suggestion = malloc(sizeof *suggestion + length + 1);
    if (!suggestion)
        return;
    *suggestion = (struct kg_suggestion){ .kind = kind, .ticket = s->current, .length = length };
    memcpy(suggestion->text, text, length);
    suggestion->text[length] = '\0';
    kg_channel_send(s->events, &suggestion->message);
}

static void give(void *ctx, const char *text, size_t length)
{
    tell(ctx, KG_SUGGEST_PIECE, text, length);
}

static int gives_up(void *ctx)
{
    struct kg_suggest *s = ctx;
    return atomic_load(&s->quitting);
}

/* From now on a newer request, or the end, stops the completer. */
static struct request *take(struct kg_suggest *s)
{
    pthread_mutex_lock(&s->lock);
    s->running = NULL;
    while (!s->waiting && !atomic_load(&s->quitting))
        pthread_cond_wait(&s->changed, &s->lock);
    struct request *request = atomic_load(&s->quitting) ? NULL : s->waiting;
    if (request) {
        s->waiting = NULL;
        kg_completer_go(s->completer);
        s->running = s->completer;
    }
    pthread_mutex_unlock(&s->lock);
    return request;
}

static void answer(struct kg_suggest *s, const struct request *request)
{
    struct kg_error err;
    enum kg_end end = KG_END_MODEL;
    struct kg_cursor_request asked = { .prefix = request->text, .prefix_length = request->prefix_length, .suffix = request->text + request->prefix_length,
                                       .suffix_length = request->suffix_length, .max_tokens = request->max_tokens ? request->max_tokens : 1,
                                       .give = request->max_tokens ? give : NULL, .ctx = s };
    s->current = request->ticket;
    enum kg_status status = kg_completer_choose(s->completer, &asked, &err);
    if (status == KG_OK)
        status = kg_completer_complete(s->completer, &asked, &end, NULL, &err);
    if (status == KG_OK || status == KG_ERR_CANCELLED)
        tell(s, KG_SUGGEST_END, "", 0);
    else
        tell(s, KG_SUGGEST_FAILED, err.text, strlen(err.text));
    s->current = 0;
}

static void *work(void *ctx)
{
    struct kg_suggest *s = ctx;
    struct kg_error err;
    struct kg_engine_facts facts;
    struct kg_completer_options options = *s->options;
    void *stack = kg_restore_stack();
    options.engine.progress = NULL;
    options.engine.give_up = gives_up;
    options.engine.ctx = s;
    enum kg_status status = kg_completer_open(&options, &s->completer, &err);
    if (status == KG_OK) {
        kg_engine_facts(kg_completer_engine(s->completer), &facts);
        tell(s, KG_SUGGEST_READY, facts.model, strlen(facts.model));
    } else if (status != KG_ERR_CANCELLED) {
        tell(s, KG_SUGGEST_FAILED, err.text, strlen(err.text));
    }
    for (struct request *request; status == KG_OK && (request = take(s)); free_request(request))
        answer(s, request);
    kg_completer_close(s->completer);
    kg_restore_stack_free(stack);
    return NULL;
}

enum kg_status kg_suggest_start(const struct kg_completer_options *options, struct kg_channel *events, struct kg_suggest **out, struct kg_error *err)
{
    struct kg_suggest *s = calloc(1, sizeof *s);
    if (!s)
        return kg_fail_nomem(err, "starting the model's thread");
    s->options = options;
    s->events = events;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (pthread_create(&s->thread, NULL, work, s) != 0) {
        pthread_cond_destroy(&s->changed);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return kg_fail(err, KG_ERR_NOMEM, "cannot start a thread for the model; close other programs");
    }
    *out = s;
    return KG_OK;
}

static void replace_waiting(struct kg_suggest *s, struct request *request)
{
    pthread_mutex_lock(&s->lock);
    struct request *before = s->waiting;
    s->waiting = request;
    if (s->running)
        kg_completer_stop(s->running);
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    free_request(before);
}

uint64_t kg_suggest_ask(struct kg_suggest *s, const char *prefix, size_t prefix_length, const char *suffix, size_t suffix_length, uint32_t max_tokens)
{
    struct request *request = calloc(1, sizeof *request);
    char *text = malloc(prefix_length + suffix_length + 1);
    if (!request || !text) {
        free(request);
        free(text);
        return 0;
    }
    memcpy(text, prefix, prefix_length);
    memcpy(text + prefix_length, suffix, suffix_length);
    *request = (struct request){ .ticket = ++s->tickets, .text = text, .prefix_length = prefix_length, .suffix_length = suffix_length,
                                 .max_tokens = max_tokens };
    replace_waiting(s, request);
    return s->tickets;
}

void kg_suggest_cancel(struct kg_suggest *s)
{
    replace_waiting(s, NULL);
}

void kg_suggest_end(struct kg_suggest *s)
{
    if (!s)
        return;
    atomic_store(&s->quitting, true);
    replace_waiting(s, NULL);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
