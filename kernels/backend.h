/* What a device can do: the whole contract between the engine and the kernels.
 *
 * The engine sees opaque memory (struct kg_buffer, kg_matrix, kg_kv, kg_view) and a table of operations
 * on whole batches; it never holds a pointer into device memory. Three backends fill the table: ref
 * (double, the definition of every operation), cpu, cuda; a fourth one gives layers to two others (kernels/split). Operations are enqueued in order; only `read`,
 * `kv_export` and `wait` have to wait for them, so a device with a stream fits without a change. A step (see
 * step_begin) may be held back until step_end, so that decoding can be one recorded graph: what changes from token
 * to token (ids, positions, page numbers, views) then travels as data, and everything else is compared with the
 * recording (kernels/cuda/SIGNATURES.md). Pointers to structs in host memory are read before a call returns.
 *
 * Shapes are (rows, cols), row-major, f32 unless said otherwise. `rows` is the number of tokens in a batch,
 * 1 <= rows <= KG_ROWS_MAX. Arguments that violate a stated range are programming errors (assert), since
 * everything hostile was checked when the model file was read.
 *
 * A broken model shows: a result that depends on a NaN, or is a product with an infinity, is not finite.
 *
 * Invariance (DESIGN.md section 6): row r of every result depends on row r of the inputs and on what that
 * row sees only; not on how many rows are computed with it, on threads, or on how work was cut.
 *
 * Failures: allocation and upload return a status. Enqueued operations return nothing; a device that fails
 * (memory, driver) remembers it, and `read`, `wait` and `kv_export` report it.
 */
#ifndef KG_KERNELS_BACKEND_H
#define KG_KERNELS_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define KG_ROWS_MAX  512 /* tokens in one batch */
#define KG_PAGE      32  /* tokens in a page of keys and values */
#define KG_HEAD_MAX  256 /* elements in a head */
#define KG_NO_LAYER  UINT32_MAX

/* Numbers are those of the GGUF specification (ggml_type). */
enum kg_type {
    KG_F32 = 0,
    KG_F16 = 1,
    KG_Q4_0 = 2,
    KG_Q4_1 = 3,
    KG_Q5_0 = 6,
    KG_Q5_1 = 7,
    KG_Q8_0 = 8,
    KG_Q4_K = 12,
    KG_Q5_K = 13,
    KG_Q6_K = 14,
    KG_BF16 = 30
};

/* Elements in a block of this type and bytes of the block; false for a type that no backend reads. */
bool kg_type_layout(enum kg_type type, uint32_t *elements, uint32_t *bytes);
const char *kg_type_name(enum kg_type type);

/* Expands n elements (a multiple of the block) exactly as the GGUF specification defines the type. */
void kg_dequantise(enum kg_type type, const void *blocks, size_t n, double *out);

struct kg_device; /* one opened device; used by one thread at a time */
struct kg_buffer; /* bytes on the device */
struct kg_matrix; /* weights (rows, cols) in a type of the backend's own choosing */
struct kg_kv;     /* pages of keys and values for all layers */
struct kg_view;   /* what a batch looks at: spans of pages */

struct kg_device_options {
    uint32_t threads; /* cpu: worker threads, 0 = all that the process may use (affinity, cgroup) */
    uint32_t card;    /* cuda: which of those that the driver shows */
    const char *instructions; /* cpu: "avx2", "avxvnni" or "avx512"; NULL = the best there is; KG_ERR_UNSUPPORTED if it is not there */
};

/* What a matrix is used for; a backend may keep one copy per use. */
enum { KG_USE_MATMUL = 1, KG_USE_ROWS = 2 };

enum kg_rope_layout {
    KG_ROPE_NONE,        /* no rotation */
    KG_ROPE_INTERLEAVED, /* pairs (0,1), (2,3), ...: files of arch llama */
    KG_ROPE_HALVES       /* pairs (0,pairs), (1,pairs+1), ...: qwen2, qwen3 */
};

/* Rotation by position p: pair j of the first 2*pairs elements of a head turns by p * frequency[j]
 * (computed in double, reduced, then rounded to f32) and is scaled by `scale` (YaRN's attention factor; 1
 * elsewhere). Elements behind stay as they are (partial rotary). frequency holds everything that static
 * scaling does: linear, llama3 factors (rope_freqs), YaRN. */
struct kg_rope {
    enum kg_rope_layout layout;
    uint32_t pairs; /* <= KG_HEAD_MAX / 2 */
    double frequency[KG_HEAD_MAX / 2];
    float scale;
};

/* What keys and values are kept as. Q8_0: each 32 numbers of a head as d (f16) and 32 codes c (s8), read as f16(d c):
 *
 *   d = f16(max |x| / 127)
 *   c = round(x / d), halves to even, at most 127 in size; 0 where d is 0 or no finite number
 *
 * d is NaN where an x is no finite number, so that it shows; numbers beyond 65488 in size may be read as infinite. */
enum kg_kv_type { KG_KV_F16, KG_KV_Q8_0 };

struct kg_kv_shape {
    uint32_t layers, kv_heads, head_size; /* head_size even, <= KG_HEAD_MAX */
    uint32_t index_bits;                  /* 0 = no key index; else 1, 2 or 4, and head_size * index_bits a multiple of 32 */
    enum kg_kv_type type;                 /* Q8_0: head_size a multiple of 32 */
};

/* One layer's page: K then V, each (kv_heads, KG_PAGE) rows of head_size numbers. A page is all layers in order. */
#define KG_KV_ROW_BYTES(s)  ((s)->type == KG_KV_Q8_0 ? (size_t)(s)->head_size / 32 * 34 : (size_t)(s)->head_size * 2)
#define KG_KV_PAGE_BYTES(s) ((size_t)(s)->layers * 2 * (s)->kv_heads * KG_PAGE * KG_KV_ROW_BYTES(s))

/* The key index: a low-bit copy of a page's keys, for choosing which tokens a query recalls. Per layer and KV head,
 * over the n <= KG_PAGE tokens of the page that are indexed (K as it is read: rotated, f16):
 *
 *   m[d]     f16    minimum over t of K[t][d], never -0
 *   e[d]     u8     0: all equal, step 0; else step[d] = 2^((e - 128) / 8), the least such step (e <= 255) with
 *                   step * (2^bits - 1) >= maximum - minimum
 *   c[t][d]  bits   min(2^bits - 1, round((K[t][d] - m[d]) / step[d])), halves to even; 0 where the step is 0
 *
 * Layout of one layer and KV head: m (head_size) f16, e (head_size) u8, then codes (head_size * bits / 8, KG_PAGE) u8:
 *
 *             token 0   token 1   ...  token 31
 *   group 0   byte      byte           byte       a byte holds the codes of 8 / bits neighbouring channels of one
 *   group 1   ...                                 token, the first one in the lowest bits
 *
 * A page's index is all layers, in each all KV heads. Slots that are not indexed hold 0. A page with a key that is not
 * finite is not indexed in that layer: it is always looked at, so that it shows. */
#define KG_INDEX_HEAD_BYTES(s) ((size_t)(s)->head_size * (3 + (size_t)KG_PAGE * (s)->index_bits / 8))
#define KG_INDEX_PAGE_BYTES(s) ((s)->index_bits ? (size_t)(s)->layers * (s)->kv_heads * KG_INDEX_HEAD_BYTES(s) : 0)

/* How a row looks at what is visible from its position p, by position in the sequence:
 *
 *   S  tokens at positions 0 .. sinks-1
 *   L  tokens at positions p-window+1 .. p
 *   R  the k best of the others, for each KV head
 *
 * Visible tokens that are in none of S and L and in no index are looked at like those in L. */
struct kg_look {
    uint32_t sinks;  /* >= 4: the attention sinks */
    uint32_t window; /* >= 2 * KG_PAGE, so that what it leaves behind lies in complete pages */
    uint32_t k;      /* 1 .. KG_RECALL_MAX */
};
#define KG_RECALL_MAX 4096

/* `tokens` keys that stand in `pages` (page t / KG_PAGE, slot t % KG_PAGE), stored rotated for positions
 * local, local+1, ... ; in the sequence they stand at base, base+1, ... The query of position p looks at
 * key t iff base + t <= p, and is rotated for position p - base + local first. */
struct kg_span {
    const uint32_t *pages; /* ceil(tokens / KG_PAGE) page numbers */
    uint32_t tokens;       /* >= 1 */
    int32_t base, local;
};

struct kg_attention {
    uint32_t heads, kv_heads, head_size; /* heads a multiple of kv_heads: head h reads KV head h / (heads/kv_heads) */
    float scale;                         /* of q.k, usually 1/sqrt(head_size) */
    float soft_cap;                      /* 0 = none; else s = cap * tanh(s / cap) */
    const struct kg_rope *rope;
};

struct kg_backend {
    const char *name; /* "ref", "cpu", "cuda" */
    /* Whether a thread may create and write buffers and matrices while another creates, enlarges and fills pages. */
    bool loads_aside;

    enum kg_status (*open)(const struct kg_device_options *options, struct kg_device **out, struct kg_error *err);
    void (*close)(struct kg_device *device); /* buffers, matrices, kv and views must be gone */
    /* One line for people: "CPU, AVX-512 VNNI, 2 threads". Owned by the device. */
    const char *(*describe)(struct kg_device *device);
    /* Names everything that decides the bits of a result (instruction set, kernel version); part of cache keys. */
    const char *(*numerics)(struct kg_device *device);

    /* Memory. Buffers are zeroed. Host memory handed to write and matrix_create may be reused on return. */
    enum kg_status (*buffer_create)(struct kg_device *, size_t bytes, struct kg_buffer **out, struct kg_error *);
    void (*buffer_free)(struct kg_device *, struct kg_buffer *); /* NULL is fine, as in every *_free here */
    void (*write)(struct kg_device *, struct kg_buffer *, size_t offset, const void *host, size_t bytes);
    enum kg_status (*read)(struct kg_device *, const struct kg_buffer *, size_t offset, void *host, size_t bytes, struct kg_error *);
    enum kg_status (*wait)(struct kg_device *, struct kg_error *);
    size_t (*memory)(struct kg_device *); /* bytes of device memory held */
    /* Bytes that can still be taken, and that a device keeps of them for its operations' own use; NULL where memory is the machine's. */
    enum kg_status (*room)(struct kg_device *, size_t *bytes, size_t *kept, struct kg_error *);
    /* Bytes a second of plain wide reads by all threads from memory much larger than the caches, best of a few
     * runs; takes a fraction of a second. NULL where it is unknown. */
    double (*read_bandwidth)(struct kg_device *);

    /* The layer that matrices are created for, and operations called for, from now on; KG_NO_LAYER: the embedding and the output.
     * NULL in a device that keeps all layers together. */
    void (*layer)(struct kg_device *, uint32_t layer);

    /* Weights from a GGUF tensor, `blocks` being rows*cols elements in file order. With KG_USE_ROWS alone the
     * backend may keep pointing at blocks (must then outlive the matrix). cols is a multiple of the type's block. */
    enum kg_status (*matrix_create)(struct kg_device *, enum kg_type, uint32_t rows, uint32_t cols, const void *blocks,
                                    unsigned uses, struct kg_matrix **out, struct kg_error *);
    void (*matrix_free)(struct kg_device *, struct kg_matrix *);

    /* Pages. Capacity grows by kv_reserve (never shrinks, contents stay; a failure changes nothing); page numbers are
     * 0 .. pages-1, and the engine decides who owns which. Slots that nobody has written may hold anything, and nothing
     * may depend on them. */
    /* KG_ERR_UNSUPPORTED where a device does not keep them as this type. */
    enum kg_status (*kv_create)(struct kg_device *, const struct kg_kv_shape *, struct kg_kv **out, struct kg_error *);
    enum kg_status (*kv_reserve)(struct kg_device *, struct kg_kv *, uint32_t pages, struct kg_error *);
    void (*kv_free)(struct kg_device *, struct kg_kv *);
    /* One page, all layers, KG_KV_PAGE_BYTES, in the layout above, to or from host memory (cache). Pages and their index may be
     * imported by another thread than the one that does all else, though never at the same time. */
    enum kg_status (*kv_export)(struct kg_device *, const struct kg_kv *, uint32_t page, void *host, struct kg_error *);
    void (*kv_import)(struct kg_device *, struct kg_kv *, uint32_t page, const void *host);
    /* A line for people about where the pages are, or NULL; owned by the kv, until the next kv_reserve. NULL in a device that has no
     * second place for them. */
    const char *(*kv_notice)(struct kg_device *, const struct kg_kv *);

    /* A view is created once and set before a batch; the spans' arrays may be reused on return. */
    enum kg_status (*view_create)(struct kg_device *, struct kg_view **out, struct kg_error *);
    enum kg_status (*view_set)(struct kg_device *, struct kg_view *, const struct kg_span *spans, uint32_t n, struct kg_error *);
    void (*view_free)(struct kg_device *, struct kg_view *);

    /* Bounds of one forward pass of `rows` tokens: a device may record what lies between and replay it. Between them
     * stand only operations declared below that return nothing and no import; they may also be called outside of a step. */
    void (*step_begin)(struct kg_device *, uint32_t rows);
    void (*step_end)(struct kg_device *);

    /* out (rows, cols of w) = rows `ids` (int32, rows) of w, times scale. */
    void (*embed)(struct kg_device *, struct kg_buffer *out, const struct kg_matrix *w, const struct kg_buffer *ids,
                  float scale, uint32_t rows);

    /* out = x * weight / sqrt(mean(x^2) + eps), per row of `cols`; weight (cols). out may be x. rows may be
     * up to KG_ROWS_MAX * heads here: QK-norm is a norm over rows of head_size. (RMSNorm, arXiv 1910.07467) */
    void (*rmsnorm)(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *x, const struct kg_buffer *weight,
                    float eps, uint32_t rows, uint32_t cols);

    /* out (rows, w.rows) = x (rows, w.cols) * w^T + bias (w.rows; may be NULL). out must not be x.
     * With f32 weights activations stay f32; with all others a backend may round x to 8 bits per 32. */
    void (*matmul)(struct kg_device *, struct kg_buffer *out, const struct kg_matrix *w, const struct kg_buffer *x,
                   const struct kg_buffer *bias, uint32_t rows);

    /* x += y, n elements. */
    void (*add)(struct kg_device *, struct kg_buffer *x, const struct kg_buffer *y, size_t n);

    /* out = silu(gate) * up, n elements; out may be gate. */
    void (*silu_mul)(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *gate, const struct kg_buffer *up, size_t n);

    /* Rounds k and v (rows, kv_heads*head_size) to the type of the pages and stores them as tokens first .. first+rows-1 of a block
     * whose page list is `pages` (ceil((first+rows)/KG_PAGE) numbers, host memory, may be reused on return); k is
     * rotated for positions local+first, local+first+1, ... before it is rounded. */
    void (*kv_write)(struct kg_device *, struct kg_kv *, uint32_t layer, const uint32_t *pages, uint32_t first, int32_t local,
                     const struct kg_buffer *k, const struct kg_buffer *v, const struct kg_rope *rope, uint32_t rows);

    /* out (rows, heads*head_size) = attention of q, not yet rotated, over everything in view that is visible from
     * positions position, position+1, ... Softmax over the union of all spans; a row sees at least one key. */
    void (*attend)(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *, uint32_t layer,
                   const struct kg_view *, const struct kg_attention *, int32_t position, uint32_t rows);

    /* Builds the index of one layer for the pages that became full with tokens first .. first+rows-1 of a block, and, if
     * `closes`, of its last page as far as it is filled. kv_write takes a page that it writes to out of the index. Nothing
     * where the shape has no index. NULL in a backend that has no recall. */
    void (*index_write)(struct kg_device *, struct kg_kv *, uint32_t layer, const uint32_t *pages, uint32_t first, uint32_t rows,
                        bool closes);
    /* The index of one page, KG_INDEX_PAGE_BYTES, and how many of its tokens are indexed in every layer (0: the bytes mean
     * nothing). Imported, so many are indexed in all layers. */
    enum kg_status (*index_export)(struct kg_device *, const struct kg_kv *, uint32_t page, void *host, uint32_t *tokens, struct kg_error *);
    void (*index_import)(struct kg_device *, struct kg_kv *, uint32_t page, const void *host, uint32_t tokens);

    /* chosen (int32; rows, kv_heads, look->k) = R for each row and KV head: numbers of tokens in the view (counted over its
     * spans in order), ascending, -1 behind the last one where there are fewer than k.
     *
     *   q'         the query of a head, rotated for the span
     *   r[d]       round(q'[d] step[d] / a), halves to even, with a = max over d of |q'[d] step[d]| / 127; 0 where a is
     *   score[t]   cap(scale (sum_d q'[d] m[d] + a sum_d r[d] c[t][d]))            of a token in the index
     *              cap(scale q'.K[t])                                              of one in S or L or in no index
     *   rank[t]    max over the query heads of a KV head of score[t] - log sum_u exp(score[u]), u over all visible tokens
     *
     * R is the k of largest rank, of equal ones the first; all, where there are not more than k. A number that is none
     * (a broken query, or key in S or L) is left out of the maximum, and a rank without any is the least. */
    void (*choose)(struct kg_device *, struct kg_buffer *chosen, const struct kg_buffer *q, const struct kg_kv *, uint32_t layer,
                   const struct kg_view *, const struct kg_attention *, const struct kg_look *, int32_t position, uint32_t rows);
    /* As attend, over S, L, what is in no index, and the chosen tokens; exact keys and values. `chosen` (int32; rows,
     * kv_heads, look->k) is what choose wrote, or any other lists of numbers of tokens in the view: each strictly
     * ascending, -1 behind its last one where there are fewer than k. What they name of S, of L or of what is in no index
     * counts once; what the row does not see is passed over. */
    void (*attend_chosen)(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *, uint32_t layer,
                          const struct kg_view *, const struct kg_attention *, const struct kg_look *, const struct kg_buffer *chosen,
                          int32_t position, uint32_t rows);

    /* Copies row `from` of x (rows, cols) to row `to` of out, which may be x; bit for bit, whatever the words stand for. */
    void (*copy_row)(struct kg_device *, struct kg_buffer *out, uint32_t to, const struct kg_buffer *x, uint32_t from, uint32_t cols);

    /* The k best (1 <= k <= n) of n logits of one row at element offset `offset`, best first, equal ones by smaller
     * id, NaN below everything: ids (int32, k) and values (f32, k) on the device. */
    void (*top)(struct kg_device *, struct kg_buffer *ids, struct kg_buffer *values, const struct kg_buffer *logits,
                size_t offset, uint32_t n, uint32_t k);
};

/* What both sides of an object that is loaded at run time have to agree on: how the structures here are laid out. */
#define KG_BACKEND_FORM \
    ((uint64_t)sizeof(struct kg_backend) << 48 | (uint64_t)sizeof(struct kg_kv_shape) << 32 | (uint64_t)sizeof(struct kg_attention) << 16 | \
     sizeof(struct kg_look))

/* The definition of every operation, in double; slow. */
extern const struct kg_backend kg_backend_ref;

/* AVX2, AVX2 with VNNI, or AVX-512, chosen when the device is opened; KG_ERR_UNSUPPORTED below AVX2. */
extern const struct kg_backend kg_backend_cpu;

/* By name; NULL if unknown. */
const struct kg_backend *kg_backend_find(const char *name);

#endif
