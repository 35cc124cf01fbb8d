/* The engine as others see it: a model, its caches, and conversations about texts.
 *
 * Threads: everything here blocks and is used by one thread at a time per engine, except kg_engine_stop,
 * which any thread may call. Callbacks come on the calling thread. Texts handed to callbacks are whole UTF-8
 * characters but may hold control characters; whoever shows them makes them visible.
 */
#ifndef KG_ENGINE_H
#define KG_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/paths.h"
#include "base/status.h"
#include "engine/sampler/sampler.h"

struct kg_engine;
struct kg_session;
struct kg_question;

/* How files are read and looked at (DESIGN.md section 4). */
enum kg_policy {
    KG_POLICY_RECALL, /* files read in sight of what they include; looked at by recall: first and last tokens, and the few that a
                       * query needs; the default */
    KG_POLICY_FULL,   /* everything read as one chain and looked at in full; the reference */
    KG_POLICY_ALONE,  /* files read alone, looked at in full */
    KG_POLICY_ANCHOR  /* files read through their line anchors, of which alone keys and values are kept: for models trained so */
};
/* Parameters of recall; 0 = the default. */
struct kg_recall {
    uint32_t window; /* last tokens that are always looked at, 64 .. KG_RECALL_WINDOW_MAX; KG_POLICY_ANCHOR has KG_ANCHOR_WINDOW instead */
    uint32_t k;      /* tokens that are recalled for each KV head, 1 .. 4096 */
};
#define KG_RECALL_WINDOW     64
#define KG_RECALL_K          576
#define KG_ANCHOR_WINDOW     256
#define KG_RECALL_WINDOW_MAX 8192

/* KG_ERR_USAGE names the policies there are. */
enum kg_status kg_policy_parse(const char *name, enum kg_policy *out, struct kg_error *err);
const char *kg_policy_name(enum kg_policy policy);

enum kg_stage {
    KG_STAGE_CHECKING,  /* digest of the model file, once per file; bytes */
    KG_STAGE_LOADING,   /* weights; bytes */
    KG_STAGE_RESTORING, /* blocks from the cache; tokens */
    KG_STAGE_READING,   /* prefill; tokens */
    KG_STAGE_SAVING     /* cache; tokens */
};
struct kg_progress {
    enum kg_stage stage;
    const char *what; /* path or title, may be "" */
    uint64_t done, total;
};

#define KG_INDEX_BITS 2
struct kg_engine_options {
    const char *model_path;
    const char *backend;   /* "cpu", "cuda", "cuda:N", "ref"; "best" or NULL = a card that holds the model or some layers where there is one, else the CPU */
    const char *gpu_layers; /* of a card: how many of the last layers it computes, a number; NULL or "auto" = as many as fit. The CPU computes the others */
    uint32_t threads;      /* 0 = all that the process may use */
    const char *cache_dir; /* NULL = KG_PLACE_CACHE */
    const char *state_dir; /* NULL = KG_PLACE_STATE */
    bool cache_off;        /* neither reads nor writes kv.db */
    uint64_t cache_bytes;  /* 0 = default budget */
    bool behind;           /* weights may come while the engine is used already: see kg_engine_loaded */
    bool weightless;       /* no weights are loaded: nothing can be read or asked, but what is known can be told */
    uint32_t index_bits;   /* of a number in the key index: 1, 2 or 4; 0 = KG_INDEX_BITS */
    const char *kv;        /* what keys and values are kept as, in memory and in kv.db: "f16" or "q8_0"; NULL = "f16" */
    void (*progress)(void *ctx, const struct kg_progress *); /* may be NULL; of everything this engine does */
    int (*give_up)(void *ctx); /* may be NULL; asked while opening: nonzero ends kg_engine_open with KG_ERR_CANCELLED */
    void *ctx;
};

enum kg_status kg_engine_open(const struct kg_engine_options *options, struct kg_engine **out, struct kg_error *err);
/* Waits for weights that come behind, with progress and give_up; before that sessions can be opened, and nothing read or asked. A
 * failure is the one that kg_engine_open would have had; the engine can be closed and nothing else. */
enum kg_status kg_engine_loaded(struct kg_engine *engine, struct kg_error *err);
void kg_engine_close(struct kg_engine *engine); /* sessions must be closed; NULL is fine */

/* Ends what the engine is doing (opening excepted: see give_up) within about a layer's time: it returns KG_ERR_CANCELLED, or for an
 * answer its partial text. Stays in force until kg_engine_go. */
void kg_engine_stop(struct kg_engine *engine);
void kg_engine_go(struct kg_engine *engine);

struct kg_engine_facts {
    char model[128];  /* printable */
    char device[128];
    uint32_t trained_length;
    uint64_t kv_bytes_per_token; /* the key index included */
    double load_s;
    bool caches;              /* what is read is kept in kv.db */
    const char *notice; /* one line for the person, or NULL */
};
void kg_engine_facts(const struct kg_engine *engine, struct kg_engine_facts *out);

struct kg_session_options {
    const char *name;       /* NULL = a new one named by date and time */
    const char *repository; /* its root as an absolute path; NULL = none */
    enum kg_policy policy;
    struct kg_recall recall;
    bool must_exist;        /* KG_ERR_NOT_FOUND instead of a new session */
    bool unsaved;           /* nothing of it goes to sessions.db */
    bool drafts_off;        /* one token at a time, without n-gram drafts: the same text, later */
};
/* A session of that name is resumed: its blocks come from the cache; what the cache has lost is read again at the next
 * question. Answers that were being written when a process died are there as partial ones. */
enum kg_status kg_session_open(struct kg_engine *engine, const struct kg_session_options *options, struct kg_session **out, struct kg_error *err);
void kg_session_close(struct kg_session *session); /* NULL is fine */

enum kg_part_kind { KG_PART_FILE, KG_PART_TURN, KG_PART_ANSWER, KG_PART_SUMMARY };
struct kg_part {
    enum kg_part_kind kind;
    const char *label; /* path of a file */
    const char *text;  /* question, answer or summary; NULL for a file */
    size_t length;
    uint32_t tokens;
    uint32_t again;    /* of a file: tokens that were read again (kg_session_read_again) */
    uint64_t digest;   /* of a file: first 8 bytes of its content's SHA-256 */
    bool dropped, partial; /* dropped: not in context any more */
    bool summarised;       /* dropped, and a summary stands for it */
    uint64_t said;         /* seconds since 1970 when it joined, of an answer when it began; 0: not known */
};
/* In order of appearance; the pointers are valid until the session changes. */
size_t kg_session_parts(const struct kg_session *session);
struct kg_part kg_session_part(const struct kg_session *session, size_t index);

/* Path of a file that a turn or an answer saw and that is no longer in context as it was; NULL if there is none. */
const char *kg_session_outdated(const struct kg_session *session, size_t index);

/* A file's content joins the context under its path (valid UTF-8 or not; at most KG_FILE_MAX bytes). The same content
 * under the same path is nothing new; another content replaces the one before. Reading happens here (or comes from the
 * cache). secret: read but never stored in kv.db or sessions.db. */
#define KG_FILE_MAX ((size_t)4 << 20)
enum kg_status kg_session_add_file(struct kg_session *session, const char *path, const char *text, size_t length, bool secret, struct kg_error *err);
/* The same for a file that includes or imports others: where the policy says so it is read in sight of them, in this order,
 * as far as they have KG_INCLUDES_TOKENS together. They do not join the context. Contents as in the repository now. When the
 * file has to be read, and of them more than read_now tokens that nobody read yet, it is read alone instead. */
#define KG_INCLUDES_TOKENS 8192
struct kg_include {
    const char *path, *text;
    size_t length;
};
enum kg_status kg_session_add_linked(struct kg_session *session, const char *path, const char *text, size_t length, bool secret,
                                     const struct kg_include *includes, size_t count, uint32_t read_now, struct kg_error *err);
/* The same for a file that is welcome, but not worth a wait: KG_ERR_NOT_FOUND, and it is not in context, when more than *left
 * tokens of it would have to be read; else those that were are taken off. */
enum kg_status kg_session_add_known(struct kg_session *session, const char *path, const char *text, size_t length, const struct kg_include *includes,
                                    size_t count, uint32_t *left, struct kg_error *err);
/* Whether this very content stands in context under this path, so that adding it would change nothing. */
bool kg_session_has_file(struct kg_session *session, const char *path, const char *text, size_t length);
/* Reads a file as adding it would, and what it includes, so that the cache has it; it does not join the context. For unsaved
 * sessions in which nothing else is done. *computed (may be NULL): tokens that were really read, also when it was stopped. */
enum kg_status kg_session_read_ahead(struct kg_session *session, const char *path, const char *text, size_t length, const struct kg_include *includes,
                                     size_t count, uint64_t *computed, struct kg_error *err);
/* What adding a file in this way would find in the cache, and nothing is changed by asking. KG_ERR_UNSUPPORTED for policies whose
 * files are read as a part of the conversation. */
struct kg_known {
    uint32_t tokens; /* of the file; of one that is too long for the model as many as were looked at */
    uint32_t known;  /* of them that would not be computed */
};
enum kg_status kg_session_known(struct kg_session *session, const char *text, size_t length, const struct kg_include *includes, size_t count,
                                uint32_t read_now, struct kg_known *out, struct kg_error *err);
/* While nothing is asked: files in context behind another one are read a second time, in sight of everything before them, so that a
 * question tells apart what is alike in them. Nothing that was said changes. Done in the order of their appearance, one file or part of a
 * long one a call: *next is 0 for the first call, and 0 behind the last; a change of the conversation in between begins anew.
 * KG_ERR_CANCELLED when stopped: the files gone through stay read again, and of the one at hand the cache has what was read. Where it may
 * not be done (engine/state.h) nothing is. *computed (may be NULL): tokens of files that were really read, also when it fails. */
enum kg_status kg_session_read_again(struct kg_session *session, size_t *next, uint64_t *computed, struct kg_error *err);
/* A path that is pinned stays so while its file comes, changes and goes, and when the conversation is resumed, cleared or branched.
 * What it means is the caller's: kedge drops no pinned file that is not named. */
enum kg_status kg_session_pin(struct kg_session *session, const char *path, bool pinned, struct kg_error *err);
bool kg_session_pinned(const struct kg_session *session, const char *path);
enum kg_status kg_session_drop_file(struct kg_session *session, const char *path, struct kg_error *err);
/* Forgets questions and answers, keeps the files in context; the old conversation stays in sessions.db under its name,
 * and this one goes on under a new one. */
enum kg_status kg_session_clear(struct kg_session *session, struct kg_error *err);
/* Goes on as a new conversation with the first `parts` parts of this one, which stays in sessions.db as it is; with all of them
 * when there are not more. Nothing that they saw changes: not one token is read again. name as in kg_sessions_copy. */
enum kg_status kg_session_branch(struct kg_session *session, size_t parts, const char *name, struct kg_error *err);
/* All that was asked and answered before the last question (all of it, when that is the only one) gives way to a summary that the
 * model writes of it, at no reading but that of the request for it. The parts stay, dropped and marked as summarised; the summary
 * is a part of its own, behind them. Of how sampling, text_out and ctx count. KG_ERR_NOT_FOUND when there is nothing;
 * KG_ERR_CANCELLED when stopped; whatever fails, nothing has changed. uncompact: the last summary that stands leaves, and what gave
 * way to it stands in context again, where it stood or, when something stands there now, between what is before and behind it;
 * KG_ERR_FULL when it does not fit. */
struct kg_compaction {
    uint32_t questions;     /* that the summary stands for */
    uint32_t left_out;      /* of them, the oldest, that were too long to be seen by the summary */
    uint32_t before, after; /* tokens in context */
};
enum kg_status kg_session_compact(struct kg_session *session, const struct kg_question *how, struct kg_compaction *out, struct kg_error *err);
enum kg_status kg_session_uncompact(struct kg_session *session, struct kg_error *err);
/* The last question and what answered it leave the context; they stay in the conversation as dropped parts. KG_ERR_NOT_FOUND:
 * nothing was asked. */
enum kg_status kg_session_take_back(struct kg_session *session, struct kg_error *err);
enum kg_status kg_session_rename(struct kg_session *session, const char *name, struct kg_error *err);
const char *kg_session_name(const struct kg_session *session);

enum kg_text_kind { KG_TEXT_ANSWER, KG_TEXT_THOUGHT };

struct kg_question {
    const char *text;
    size_t length;
    uint32_t max_tokens; /* 0 = as many as fit */
    struct kg_sampling sampling;
    /* May be NULL. Whole characters as they come. */
    void (*text_out)(void *ctx, enum kg_text_kind kind, const char *text, size_t length);
    void *ctx;
};

enum kg_end { KG_END_MODEL, KG_END_LENGTH, KG_END_STOPPED, KG_END_FULL };

/* Counts since the session was opened. */
struct kg_counts {
    uint64_t prompt_tokens;   /* in context before the first generated token, of the last question */
    uint64_t reused_tokens;   /* came from the cache or were there already, of the last question */
    uint64_t computed_tokens; /* prompt_tokens - reused_tokens: really computed */
    uint64_t restored_bytes;  /* from kv.db */
    uint64_t decode_tokens;
    uint64_t draft_tokens;    /* n-gram drafts: proposed, and how many of those came true, of decode_tokens */
    uint64_t draft_hits;
    double open_s, prefill_s, decode_s;
    double restore_s; /* waited for the cache, for the last question */
    uint32_t context_tokens, context_limit;
    uint32_t moved; /* times that blocks were moved up, to close the gaps that others left: later text is computed with new distances */
};

/* Asks; the answer is streamed and kept. KG_OK also when stopped (end says so). */
enum kg_status kg_session_ask(struct kg_session *session, const struct kg_question *question, enum kg_end *end, struct kg_error *err);
void kg_session_counts(const struct kg_session *session, struct kg_counts *out);

/* Sessions by name, without loading a model; NULL state_dir = KG_PLACE_STATE, NULL repository = all. */
#define KG_SESSION_NAME 128
struct kg_session_summary {
    const char *name, *repository, *model;
    const char *title; /* how its first question begins */
    uint64_t used; /* seconds since 1970 */
    uint32_t parts, questions;
};
enum kg_status kg_sessions_list(const char *state_dir, const char *repository, int (*each)(void *ctx, const struct kg_session_summary *), void *ctx, struct kg_error *err);

/* What was said in sessions, names of sessions, and paths of their files that hold all of the words, in any case and inside of other
 * words too; last used sessions first. repository NULL: of all, "": of those outside of any. Nonzero from each ends it. */
struct kg_session_hit {
    struct kg_session_summary session;
    bool name;              /* text is the session's name, else: */
    enum kg_part_kind kind; /* of a file: text is its path */
    const char *text;
    size_t length;
};
enum kg_status kg_sessions_search(const char *state_dir, const char *repository, const char *words, int (*each)(void *ctx, const struct kg_session_hit *),
                                  void *ctx, struct kg_error *err);
/* One session of a repository ("" = outside of any) by its name. show: all of it in order; of files that were cut, `length` and
 * `tokens` of the first part. copy: under new_name (NULL: the same one), or "NAME (2)" and so on when that is taken; made: under
 * which. remove: what it said is overwritten in the file; KG_ERR_BUSY while it is open. */
enum kg_status kg_sessions_show(const char *state_dir, const char *repository, const char *name, int (*each)(void *ctx, const struct kg_part *), void *ctx,
                                struct kg_error *err);
enum kg_status kg_sessions_rename(const char *state_dir, const char *repository, const char *name, const char *new_name, struct kg_error *err);
enum kg_status kg_sessions_copy(const char *state_dir, const char *repository, const char *name, const char *new_name, char made[KG_SESSION_NAME],
                                struct kg_error *err);
enum kg_status kg_sessions_remove(const char *state_dir, const char *repository, const char *name, struct kg_error *err);

/* What has been read and is kept: kv.db, without loading a model; NULL cache_dir = KG_PLACE_CACHE. Texts are printable and
 * valid until the callback returns; nonzero ends the list. */
struct kg_cached_block {
    int64_t id;
    char key[65];
    char text[65]; /* SHA-256 of the whole text that it is of, or a part of; "" where that is not known */
    const char *model, *kind, *title;
    uint32_t tokens, ready; /* ready < tokens: reading was cut short, the first so many are kept */
    uint64_t bytes, created, used; /* seconds since 1970 */
};
enum kg_status kg_cache_list(const char *cache_dir, int (*each)(void *ctx, const struct kg_cached_block *), void *ctx, struct kg_error *err);
/* id 0 = everything; KG_ERR_NOT_FOUND if there is no such block. The bytes are overwritten. */
enum kg_status kg_cache_remove(const char *cache_dir, int64_t id, struct kg_error *err);
/* Reads and checks everything; blocks that fail are removed. */
enum kg_status kg_cache_verify(const char *cache_dir, uint64_t *checked, uint64_t *bad, struct kg_error *err);
/* Whether engines use and fill it; asked when one is opened. */
enum kg_status kg_cache_switch(const char *cache_dir, bool off, struct kg_error *err);
bool kg_cache_is_off(const char *cache_dir);
/* Path of the file and its size. */
enum kg_status kg_cache_size(const char *cache_dir, char path[KG_PATH_MAX], uint64_t *bytes, struct kg_error *err);

/* Ten best after a text read as one block without a preamble: `kedge logits`. */
struct kg_logit {
    int32_t id;
    float logit;
    double log_probability;
};
enum kg_status kg_engine_logits(struct kg_engine *engine, const char *text, size_t length, bool special, struct kg_logit out[10],
                                struct kg_error *err);

/* The text's ids, without special tokens unless asked for: `kedge tokenize`. *out is freed by the caller. Needs no weights. */
enum kg_status kg_tokenize_with(const char *model_path, const char *text, size_t length, bool special, int32_t **out, size_t *count, struct kg_error *err);

/* Speed as `kedge bench` prints it: synthetic ids, no cache. */
struct kg_bench_result {
    double prefill_tokens_per_s, decode_tokens_per_s, decode_bytes_per_s;
    double memory_bytes_per_s; /* measured: plain reads by the same threads */
    enum kg_policy policy;     /* as given, or full where the model's keys have no index */
    uint64_t pss_bytes;
};
struct kg_bench_options {
    uint32_t prefill, decode, depth; /* tokens; depth: in context before each of the others */
    enum kg_policy policy;           /* decides how the others look at the depth, which is read looking at everything */
    struct kg_recall recall;
};
/* Bytes of memory that are this process's share (PSS), 0 where the system does not tell. */
uint64_t kg_pss_bytes(void);

enum kg_status kg_engine_bench(struct kg_engine *engine, const struct kg_bench_options *options, struct kg_bench_result *out, struct kg_error *err);

/* The same answer generated without n-gram drafts and with them: one that rewrites a function of 60 lines with one change
 * (greedy), or one for which there is nothing to copy (sampled). Other tokens with drafts are KG_ERR_FORMAT. Of the options
 * the policy and recall count. */
enum kg_bench_text { KG_BENCH_COPY, KG_BENCH_NEW };
struct kg_bench_drafts {
    uint64_t tokens, draft_tokens, draft_hits;
    double plain_tokens_per_s, tokens_per_s;
};
enum kg_status kg_engine_bench_drafts(struct kg_engine *engine, const struct kg_bench_options *options, enum kg_bench_text text,
                                      struct kg_bench_drafts *out, struct kg_error *err);

#endif
