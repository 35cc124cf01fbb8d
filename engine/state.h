/* What an engine and a session hold: private to engine/ and engine/session/; others see engine.h. */
#ifndef KG_ENGINE_STATE_H
#define KG_ENGINE_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/paths.h"
#include "engine/anchor/rules.h"
#include "engine/cache/kv_store.h"
#include "engine/cache/session_store.h"
#include "engine/context/block.h"
#include "engine/engine.h"
#include "engine/gguf/gguf.h"
#include "engine/model/model.h"
#include "engine/sampler/draft.h"
#include "engine/sampler/sampler.h"
#include "engine/tokenizer/chat.h"
#include "engine/tokenizer/tokenizer.h"

/* Weights that a thread loads. */
struct kg_loading {
    bool started, running; /* running: not joined yet */
    pthread_t thread;
    pthread_mutex_t lock; /* of the rest, until the thread is joined */
    pthread_cond_t changed;
    uint64_t done, total; /* bytes */
    bool unwanted, ended;
    enum kg_status status;
    struct kg_error err;
};

struct kg_engine {
    struct kg_gguf *file;
    struct kg_tokenizer *tokenizer;
    struct kg_chat *chat;
    const struct kg_backend *backend;
    struct kg_device *device;
    struct kg_model *model;
    struct kg_pool *pool;
    struct kg_kv_store *kv_store;           /* NULL when the cache is off */
    struct kg_session_store *session_store; /* opened by the first session that is stored */
    struct kg_digest model_digest;
    uint32_t index_bits; /* asked for; the pool's shape says whether there is an index */
    enum kg_kv_type kv_type;
    bool *anchors;       /* line anchors by id, once somebody looked at them */
    struct kg_digest numerics; /* everything that decides the bits of a block but the block itself */
    struct kg_draft_record drafts; /* what they cost and bring with this model on this device */
    char state_dir[KG_PATH_MAX];
    char notice[KG_ERROR_TEXT];
    struct kg_error *told; /* its text: the notice, and what the device says */
    atomic_bool stop;
    double load_s;
    struct kg_loading loading;
    void (*progress)(void *ctx, const struct kg_progress *);
    int (*give_up)(void *ctx);
    void *ctx;
};

/* A heading or a text that a file is read in sight of. */
struct kg_included {
    struct kg_block *block;
    char *path;
    struct kg_digest content;
};

/* One piece of a conversation. Preamble and headings are pieces too; people see files, turns and answers. */
struct kg_piece {
    enum kg_block_kind kind;
    enum kg_read_rule rule;
    char *label;
    char *text;
    size_t length;
    struct kg_digest content;  /* of a file: of its whole content */
    struct kg_digest identity; /* of the ids and of all that they saw; independent of model and numerics */
    struct kg_block *block;    /* NULL once dropped */
    struct kg_digest sees;     /* of a linked one: of what it includes */
    struct kg_included *included; /* what it includes, until it is read; own references */
    size_t included_count;
    int32_t base;
    struct kg_digest kept_of;  /* of a kept one: the reading that it is of, */
    uint32_t kept_first;       /* where in that it begins, at a page, */
    uint32_t kept_changed;     /* pages that were read for edits since, */
    bool kept_linked;          /* and whether that was in sight of what the file includes; of one read again the same of its first reading */
    struct kg_block *first;    /* of one that was read again: has the name of its first reading and nothing else, so that kv.db keeps that */
    bool read_here;            /* of one that was read again: for this conversation, since it was opened */
    struct kg_digest lost;     /* of one that had been read again when it was resumed, and of which kv.db had lost that: its identity then */
    int32_t stored_base;       /* while gaps are closed: where it goes */
    int64_t stored_id;         /* 0 when not in sessions.db */
    uint64_t said;             /* seconds since 1970; 0 when not in sessions.db, or that is not known */
    bool dropped, partial, secret;
    uint32_t gave_way;         /* dropped: to the summary of this number; 0 = to none */
    int32_t *ids;              /* of one that gave way: it can come back */
    size_t id_count;
    bool growing;              /* being generated: its name is not final */
    bool continues;            /* a file's part behind its first one */
};

struct kg_session {
    struct kg_engine *engine;
    enum kg_policy policy;
    struct kg_recall recall;
    struct kg_rules rules;
    char name[128];
    char repository[KG_PATH_MAX];
    int64_t stored_id; /* 0: not stored */
    int lock;          /* file descriptor that holds the session's lock, or -1 */
    struct kg_sequence *sequence;
    struct kg_piece *pieces;
    size_t count, capacity;
    struct kg_counts counts;
    uint64_t computed_since; /* tokens computed since the last question began its answer */
    uint64_t restored_since; /* bytes */
    uint64_t computed_ever;  /* tokens, what files include as well */
    double prefill_since, restore_since;
    const char *reading;     /* what progress calls the block being read */
    uint64_t reading_done, reading_total;
    bool sees_secret;        /* nothing read from now on is stored */
    char **pins; /* paths */
    size_t pin_count;
    bool drafts_off;
    bool behind;             /* something that stands here is not in sessions.db */
    bool together;           /* what is stored now is part of a transaction */
    bool touched;            /* and something was */
    bool unnamed;            /* its name is the date's: with nothing in it, it is not kept */
    bool read_anew;          /* while it is resumed: something stands there in another reading than before */
    bool lost_kept;          /* and of the file at hand that is a kept piece */
    struct kg_digest *superseded; /* keys of what was read again and stands here no longer */
    size_t superseded_count;
};

double kg_seconds(void); /* monotonic */
/* sessions.c: the lock of a stored session, held as long as *lock is open; KG_ERR_BUSY when another process has it. *lock is to be
 * closed unless it is -1, also after a failure. */
enum kg_status kg_stored_lock(const char *state_dir, int64_t id, const char *name, char path[KG_PATH_MAX], int *lock, struct kg_error *err);
enum kg_part_kind kg_part_kind_of(int block_kind);
void kg_engine_progress(struct kg_engine *engine, enum kg_stage stage, const char *what, uint64_t done, uint64_t total);

/* loading.c: the weights of the model that was described; aside: they may come behind. load_end: they are not wanted any more. */
enum kg_status kg_engine_load(struct kg_engine *engine, bool aside, struct kg_error *err);
void kg_engine_load_end(struct kg_engine *engine);

/* fork.c: with the same engine and rules, nothing in it, of which nothing is kept; NULL when out of memory. */
struct kg_session *kg_session_fork_empty(const struct kg_session *session, struct kg_error *err);
/* pins.c */
enum kg_status kg_session_load_pins(struct kg_session *session, struct kg_error *err);
void kg_session_forget_pins(struct kg_session *session);
/* compact.c: what gave way to a summary stands in context again; nothing has changed here when that fails. Part of a change. */
enum kg_status kg_summary_undo(struct kg_session *session, uint32_t number, struct kg_error *err);
/* branch.c: what gave way to summaries that are not here, as of a branch, stands in context again. */
enum kg_status kg_session_restore_unsummarised(struct kg_session *session, struct kg_error *err);
/* session.c: the piece that people know by this number, which is less than kg_session_parts. */
size_t kg_visible_piece(const struct kg_session *session, size_t index);

/* policy.c */
enum kg_status kg_policy_rules(enum kg_policy policy, const struct kg_recall *recall, struct kg_rules *out, struct kg_error *err);

/* session.c, pieces.c, stored.c, files.c, linked.c, reading.c, again.c, ask.c: one conversation, cut by what each knows. */

/* Appends a piece (not yet stored, not yet in the sequence); NULL when out of memory. Copies label and text. */
struct kg_piece *kg_piece_add(struct kg_session *session, enum kg_block_kind kind, const char *label, const char *text, size_t length);
void kg_piece_clear(struct kg_piece *piece);
/* The piece's place in the sequence, or SIZE_MAX. */
size_t kg_piece_index(const struct kg_session *session, const struct kg_piece *piece);
/* The last pieces go, from here on: what is stored of them is not touched. */
void kg_session_cut(struct kg_session *session, size_t count);
/* stored.c: writes or rewrites the piece in sessions.db; nothing for sessions that are not stored and for secret pieces. When it
 * fails, the next write begins with everything that stands here, as kg_session_catch_up does. In a change that is stored together it
 * does not fail. */
enum kg_status kg_piece_store(struct kg_session *session, struct kg_piece *piece, struct kg_error *err);
struct kg_change {
    enum kg_status (*make)(void *ctx, struct kg_session *session, struct kg_error *err);
    void (*undo)(void *ctx, struct kg_session *session); /* of what it did to pieces that were there before; NULL: that stays as it is */
    void *ctx;
};
/* What a change stores is stored together: a process that dies leaves all of it or nothing. KG_OK when it is made and stored, be it at
 * the second try. Otherwise the pieces that it added, which stand at the end, go, it is undone, and the others are stored as they
 * stand here then, or with the next write; a change that could not begin was not made. Within another one it is part of that. */
enum kg_status kg_session_together(struct kg_session *session, const struct kg_change *change, struct kg_error *err);
/* The pieces from `first` up to `end` of which `wanted` holds (NULL: all) leave context once that is stored; what fails has dropped
 * nothing. */
enum kg_status kg_session_drop(struct kg_session *session, size_t first, size_t end, bool (*wanted)(const struct kg_piece *), struct kg_error *err);
/* Everything as it stands here, where a write failed before. */
enum kg_status kg_session_catch_up(struct kg_session *session, struct kg_error *err);
/* Makes the piece's block of these ids; identity from rule and from what it sees: for a chain everything in the sequence, for
 * later parts of a file the parts before. Places it at base (or at the end when base < 0) and has the cache bring what it knows: kg_block_known tells how much, at once. */
enum kg_status kg_piece_place(struct kg_session *session, size_t piece, const int32_t *ids, size_t count, int32_t base,
                              const struct kg_digest *known_identity, struct kg_error *err);
/* How a kept piece is stored in place of a rule: less than 0,  -1 - (kept_changed | page of kept_first | kept_linked (1 bit)). Its
 * identity is there that of the reading that it is of. One that was read again is stored like one with the page KG_AGAIN_PAGE, which no
 * model's context has. */
#define KG_KEPT_CHANGED_BITS 13
#define KG_KEPT_PAGE_BITS    16
#define KG_AGAIN_PAGE        ((1U << KG_KEPT_PAGE_BITS) - 1)
/* The block of a kept piece, of which kept_of, kept_first and kept_linked are set, and its name. Nothing is in it. */
enum kg_status kg_kept_create(struct kg_session *session, struct kg_piece *piece, const int32_t *ids, size_t count, struct kg_error *err);
/* Places a linked or kept piece anew where it stands, as one that includes nothing; until it is dropped or changes. Behind a kept
 * one the later parts of the file as well, since they saw it. */
enum kg_status kg_piece_place_alone(struct kg_session *session, size_t piece, struct kg_error *err);
/* The same for one that was read again: it stands there in its first reading. */
enum kg_status kg_piece_place_clean(struct kg_session *session, size_t piece, struct kg_error *err);
/* Waits for what the cache is bringing, after kg_again_check; what it lost of that is to be read again. KG_ERR_CANCELLED when stopped. */
enum kg_status kg_session_settle(struct kg_session *session, struct kg_error *err);
/* Takes the block out of the sequence and marks the piece dropped. */
void kg_piece_drop(struct kg_session *session, struct kg_piece *piece);
/* How a piece was read, as one number: the rule, and what decided its look. */
int kg_piece_stored_rule(const struct kg_session *session, enum kg_read_rule rule);
struct kg_digest kg_piece_identity(const struct kg_session *session, size_t piece, int32_t base, const int32_t *ids, size_t count);
/* The same, where nothing that was read again has been lost. */
struct kg_digest kg_piece_stored_identity(const struct kg_session *session, size_t piece, int32_t base, const int32_t *ids, size_t count);
/* All that stands in context, as a chain behind it sees it. */
struct kg_digest kg_chain_sight(const struct kg_session *session);
/* Whether a chain of this identity saw what stands before it, be it before some of that was read again. */
bool kg_chain_saw(const struct kg_session *session, size_t piece, int32_t base, const int32_t *ids, size_t count, const struct kg_digest *identity);

/* Where the conversation stands, for chat forms. */
enum kg_role_state kg_session_role(const struct kg_session *session);

/* linked.c: what a file includes. The digest of it goes into the names of the file's parts; the blocks themselves are needed
 * only when the parts have to be read. */
struct kg_linked {
    struct kg_included *blocks; /* heading, text, heading, text, ... */
    size_t count;
    struct kg_digest sees;
};
/* tokens: of the file itself, which must fit behind them. */
enum kg_status kg_linked_create(struct kg_session *session, const struct kg_include *includes, size_t count, size_t tokens,
                                struct kg_linked *out, struct kg_error *err);
/* Tokens of them that the cache does not have; the others are taken from there. */
uint32_t kg_linked_unread(struct kg_session *session, const struct kg_linked *linked);
void kg_linked_free(struct kg_linked *linked);
/* Keeps the blocks with a piece until it is read. */
enum kg_status kg_piece_include(struct kg_piece *piece, const struct kg_linked *linked, struct kg_error *err);
void kg_piece_forget_included(struct kg_piece *piece);
/* Reads what is not there yet of what the piece includes. */
enum kg_status kg_included_read(struct kg_session *session, const struct kg_piece *piece, struct kg_error *err);

/* former.c: the readings of a file that another text replaces, while that is placed. Own references. */
struct kg_former_part {
    struct kg_block *block;
    struct kg_digest identity;
    bool kept, kept_linked; /* as of the piece; else its own name is kept_of, from token 0 on */
    struct kg_digest kept_of;
    uint32_t kept_first, kept_changed;
};
struct kg_former {
    struct kg_former_part *parts;
    size_t count;
};
enum kg_status kg_former_take(const struct kg_session *session, const struct kg_piece *first, struct kg_former *out, struct kg_error *err);
/* Takes, instead of a reading with kept parts, that of the whole text, where the cache has it by this rule in this sight. */
enum kg_status kg_former_renew(struct kg_former *former, struct kg_session *session, size_t first, enum kg_read_rule rule, const struct kg_digest *sees,
                               struct kg_error *err);
/* Whether all of it that is no kept part, and that is something, was read by this rule in this sight. */
bool kg_former_saw(const struct kg_former *former, const struct kg_session *session, enum kg_read_rule rule, const struct kg_digest *sees);
/* Gives part `part` of the file that begins with piece `first`, if the cache knows nothing of it, the pages that are the same. */
enum kg_status kg_former_give(const struct kg_former *former, const struct kg_session *session, size_t first, size_t part, struct kg_error *err);
/* So many tokens of a block from page `first` on to a block of one pool with it that has nothing. */
enum kg_status kg_pages_copy(const struct kg_block *from, uint32_t first, struct kg_block *to, uint32_t tokens, struct kg_error *err);
void kg_former_free(struct kg_former *former);

/* patched.c: a file that was edited is read again where it changed, in sight of what stands before that, and what stands behind
 * keeps the keys and values that it had (tests/eval/PATCH.md):
 *
 *   before   | a a a a a a a a a a a a a |            read as one
 *   after    | a a a X | a a a a | Y | a a |          a piece that is read, a kept one, ...
 *
 * A piece that is read is named as any part of a file, by its ids and all parts before it. A kept one is named by its ids, the
 * reading that it is of, and where in that it begins: its bits follow from those alone. So neither is ever taken for a piece of a
 * whole reading, but for the one before the first kept one, which is one. kv.db has a kept piece as pages of the reading that it is
 * of, and sessions.db the name of that, the page, and how much was read since.
 *
 * What is kept is always of a reading in which nothing was kept before: of what is read behind a kept piece nothing is kept behind
 * another edit. A file is read as a whole
 *   - where the cache knows that, or it needs no more tokens,
 *   - where more than one in KG_PATCH_SHARE of its tokens were or would be read for edits since the reading that some piece is of,
 *   - where it would have more than KG_PATCH_PIECES pieces,
 *   - where it was read by another rule before, or saw something else,
 *   - where it was secret, and is not any more,
 *   - when a kept piece of it is lost: all from there on is read again, alone, as later parts of the file.
 * While nothing is asked the whole is read ahead as that of every likely file. It does not replace what stands in context, which
 * answers have seen; the next edit begins with it, and so does every other conversation.
 */
#define KG_PATCH_SHARE  4
#define KG_PATCH_PIECES 16
struct kg_patch_run {
    size_t part;    /* of the former reading, KG_PATCH_UNREAD = to be read */
    uint32_t first; /* token of that part */
    uint32_t count; /* tokens */
};
#define KG_PATCH_UNREAD SIZE_MAX
struct kg_patch {
    struct kg_patch_run runs[KG_PATCH_PIECES];
    size_t count;    /* 0: the file is to be read as a whole */
    size_t same;     /* the first so many are parts of the former reading, with all that they saw */
    uint32_t unread; /* tokens, what the part behind the same ones begins with left out */
};
/* How a file of these ids is put together when the cache has `known` tokens of a whole reading. */
enum kg_status kg_patch_plan(const struct kg_former *former, const int32_t *ids, uint32_t count, uint32_t known, struct kg_patch *out, struct kg_error *err);
/* The name of these ids, which stand in the reading `of` from token `first` on. */
struct kg_digest kg_kept_identity(const struct kg_session *session, const struct kg_digest *of, uint32_t first, const struct kg_ids *ids);
/* A file that is to stand in context in place of another text of it. */
struct kg_placing {
    const char *path, *text;
    size_t length;
    bool secret;
    const struct kg_cut *cut;
    const struct kg_linked *linked; /* what it includes; NULL if nothing */
    struct kg_former *former;       /* of the piece `present`, which still stands there */
    size_t present;                 /* 0: the file is new here */
    uint32_t read_now; /* tokens of what it includes */
};
/* Places it so, at the end, and drops what it replaces; *patched = false, and nothing has changed: it is to be read as a whole. */
enum kg_status kg_patch_place(struct kg_session *session, const struct kg_placing *placing, bool *patched, struct kg_error *err);
/* Whether something is kept of a file, which begins with this piece. */
bool kg_file_is_patched(const struct kg_session *session, size_t first);

/* again.c: a file behind another one is read a second time, in sight of everything that stands before it:
 *
 *   first reading   in kv.db under its own name, for every conversation
 *   read again      in kv.db under the name of all that it saw, and in context in place of the first one
 *
 * sessions.db has the name of the first reading alone, and the other one follows from what is resumed before it. So a piece stands there
 * read again only as long as everything before it is what it saw: when something of that goes, changes or moves (kg_again_check), and
 * where kv.db has lost what was read again, the first reading stands there instead, which kv.db keeps as long as the conversation is
 * open. Turns behind it are what they were.
 *
 * A long file is read again part after part; where a later part has to be read a first time, those before it stand in their first reading
 * again, which it sees. Not read again is a file that is put together from pages of an older text (patched.c); and nothing is in a
 * conversation that saw something secret, where there is no kv.db, where that cannot keep the first reading or has no room for both
 * (kg_kv_store_fits), or where files are not read in sight of what they include. */
/* Pieces that did not see what stands before them now stand there in their first reading. */
enum kg_status kg_again_check(struct kg_session *session, struct kg_error *err);
/* Keeps kv.db, which is there, from evicting the first reading of a piece that was read again, as long as piece->first stands. */
enum kg_status kg_again_hold_first(const struct kg_session *session, struct kg_piece *piece, struct kg_error *err);
/* What was read again of a piece is on its way out of context: unless another conversation may have it, it is removed from kv.db when
 * nothing is asked. */
void kg_again_supersede(struct kg_session *session, const struct kg_piece *piece);

/* How pieces of a kind are read; linked files that include nothing alone. */
enum kg_read_rule kg_session_rule(const struct kg_session *session, enum kg_block_kind kind);
#define KG_READING_BATCH 256 /* rows of a text at a time: so that progress moves and a crash loses little, and still at full speed */
/* A reading of a block by this rule; *look has room for its look, and outlives it. */
struct kg_reading kg_session_reading(struct kg_session *session, enum kg_read_rule rule, struct kg_look *look);
/* reading.c: reads a block of `sequence` up to its end and stores it, as the piece says. */
enum kg_status kg_session_read_block(struct kg_session *session, const struct kg_piece *piece, struct kg_sequence *sequence, size_t index,
                                     float *logits, struct kg_error *err);
/* Reads what is not ready of a piece; logits (vocabulary) as in kg_sequence_read, NULL if not wanted. */
enum kg_status kg_session_read(struct kg_session *session, size_t piece, float *logits, struct kg_error *err);
/* ask.c: counts what was read for what is generated now, and begins anew. */
void kg_session_count_prompt(struct kg_session *session);
/* Reads everything that is not ready. */
enum kg_status kg_session_read_all(struct kg_session *session, struct kg_error *err);
/* Into the cache, as far as it is read; what goes wrong is a notice, since the answer does not depend on it. */
void kg_session_save_block(struct kg_session *session, const struct kg_piece *piece);

/* decode.c: the ids behind a piece that grows, one after the other. Ids that n-gram drafts propose are read ahead, many at a
 * time; which ids are taken, and everything about the piece once it is settled, is the same without them. Until then the
 * piece's block holds a draft behind its first `taken` tokens. */
struct kg_decoding {
    struct kg_session *session;
    size_t piece;
    uint32_t taken;
    struct kg_draft *draft; /* NULL where drafts are off */
    struct kg_sampler *sampler;
    float *logits;          /* (rows, vocabulary) of the last read, or of the begin */
    struct kg_best best;    /* (rows) of the last read in their place; count 0 where all logits are read */
    bool begun;             /* there was a read */
    uint32_t row, rows;     /* row: behind the last token that was taken; rows: 0 = none are there yet */
};
/* Lets `take` decode behind a piece that is read; logits (vocabulary) are those behind its last token. The block is settled afterwards,
 * whatever went wrong. */
enum kg_status kg_decode(struct kg_session *session, size_t piece, struct kg_sampler *sampler, const float *logits,
                         enum kg_status (*take)(void *ctx, struct kg_decoding *, struct kg_error *), void *ctx, struct kg_error *err);
/* The id to go on with, as kg_sample says; KG_ERR_FORMAT: there is no finite logit. Of a device with a memory of its own only the best
 * logits are read where they give the same id. */
enum kg_status kg_decoding_sample(struct kg_decoding *decoding, const int32_t *recent, size_t recent_count, int32_t *id, struct kg_error *err);
/* The piece goes on with this id. */
enum kg_status kg_decoding_take(struct kg_decoding *decoding, int32_t id, struct kg_error *err);
/* Positions behind the last token that the model has. */
uint32_t kg_decoding_room(const struct kg_decoding *decoding);
/* Whether the block holds what was taken and nothing else. */
bool kg_decoding_settled(const struct kg_decoding *decoding);
/* Sees to the logits behind the last token; at most `most` more ids are going to be taken. */
enum kg_status kg_decoding_read(struct kg_decoding *decoding, uint32_t most, struct kg_error *err);
/* A file cut into parts. A file longer than the model's context is cut only as far as that. */
struct kg_cut {
    struct kg_ids *parts;
    size_t *ends; /* bytes of the text, behind each part */
    size_t count, tokens;
};
enum kg_status kg_cut_text(const struct kg_session *session, const char *text, size_t length, struct kg_cut *out, struct kg_error *err);
void kg_cut_free(struct kg_cut *cut);

/* Tokens of it that the cache has by this rule in this sight. */
enum kg_status kg_cut_known(struct kg_session *session, enum kg_read_rule rule, const struct kg_cut *cut, const struct kg_digest *sees, uint32_t *out,
                            struct kg_error *err);
/* The whole text of a file in context, which begins with this piece; the caller frees it. NULL when out of memory. */
char *kg_file_text(const struct kg_session *session, size_t first, size_t *length);

/* KG_OK when so many more tokens fit behind everything, if need be after closing gaps; KG_ERR_FULL otherwise. */
enum kg_status kg_session_make_room(struct kg_session *session, size_t tokens, const char *what, struct kg_error *err);

/* Of ids that see the preamble, what a linked file includes, the file's parts before them, and themselves. */
struct kg_digest kg_part_identity(const struct kg_session *session, enum kg_read_rule rule, const struct kg_digest *sees, const struct kg_ids *ids,
                                  const struct kg_digest *earlier, size_t earlier_count);
struct kg_digest kg_block_name(const struct kg_engine *engine, const struct kg_digest *identity);
/* An identity that memory ran out for is none. */
bool kg_is_named(const struct kg_digest *identity);

#endif
