/* How kernels are launched, and steps of decoding as graphs.
 *
 * Launches of a step of few rows are held back until step_end. If they are those of an earlier step (the same kernels in the same
 * order), that step's graph is launched instead, once for all of them, after it was told which launches differ. What changes from
 * token to token is therefore no argument: it lies in memory of the device (kg_cuda_now, and the head of a view), grids are rounded up,
 * and a step differs from the one before at most where something grew.
 *
 * A kernel of a graph waits for all of the one before it, and a start takes a microsecond. On cards that can do it (compute capability 9.0),
 * those launched by kg_cuda_launch_early are put in place before, and wait themselves (kg_begin). */
#ifndef KG_KERNELS_CUDA_STEP_H
#define KG_KERNELS_CUDA_STEP_H

#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <type_traits>

struct kg_device;

#define KG_ARGUMENTS  12                 /* of a kernel, at most */
#define KG_NOW_BYTES  ((size_t)64 << 10) /* what the operations of one step may say by kg_cuda_now */
#define KG_HELD_ROWS  8                  /* steps of more rows are launched as they come */
#define KG_RECORDINGS 24                 /* steps that are known: by rows, and by whether a page becomes full with them */

/* A launch. Lists are compared byte by byte, so structs that are arguments have no padding. */
struct kg_cuda_node {
    const void *kernel;
    const char *what; /* completes "... failed" */
    dim3 grid;
    uint32_t threads, shared;
    uint32_t early; /* kg_cuda_launch_early */
    uint32_t arguments;
    uint32_t at[KG_ARGUMENTS], size[KG_ARGUMENTS]; /* of an argument, among the bytes of its list */
};

struct kg_cuda_launches {
    struct kg_cuda_node *launch;
    uint32_t count, room;
    uint8_t *bytes; /* of arguments; gaps between them are 0 */
    uint32_t used, size;
};

struct kg_cuda_recording {
    struct kg_cuda_launches launches; /* as the graph has them */
    cudaGraph_t graph;                /* NULL until the launches came a second time */
    cudaGraphExec_t executable;
    cudaGraphNode_t *nodes;
    uint64_t used; /* the step that used it last; 0 = none did */
};

struct kg_cuda_steps {
    bool held;    /* launches are held back */
    bool started; /* some of this step's were not, after all */
    bool refused; /* the driver makes no graphs */
    bool early;   /* the card starts kernels early */
    uint64_t count;
    struct kg_cuda_launches launches;
    struct kg_cuda_recording recording[KG_RECORDINGS];
    uint8_t *now; /* KG_NOW_BYTES, host and device */
    void *now_on_device;
    size_t now_used;
};

/* One launch, whose arguments (kernel, what, grid, threads, shared) are in *launch; it is made or held back. */
void kg_cuda_enqueue(struct kg_device *device, const struct kg_cuda_node *launch, const void *const *arguments);

template <uint32_t early, class... P>
static inline void kg_cuda_launch_as(struct kg_device *device, const char *what, void (*kernel)(P...), dim3 grid, unsigned threads, size_t shared,
                                     const P &...arguments)
{
    static_assert(sizeof...(P) >= 1 && sizeof...(P) <= KG_ARGUMENTS);
    const struct kg_cuda_node launch = { (const void *)kernel, what, grid, threads, (uint32_t)shared, early, (uint32_t)sizeof...(P), {}, { (uint32_t)sizeof(P)... } };
    const void *const pointers[] = { &arguments... };
    kg_cuda_enqueue(device, &launch, pointers);
}

template <class... P>
static inline void kg_cuda_launch(struct kg_device *device, const char *what, void (*kernel)(P...), dim3 grid, unsigned threads, size_t shared,
                                  std::type_identity_t<P>... arguments)
{
    kg_cuda_launch_as<0, P...>(device, what, kernel, grid, threads, shared, arguments...);
}

/* A kernel whose blocks read what another kernel of a step writes, and write anything, only behind kg_begin: a thread's own, or that of
 * others that it has met at a barrier since. */
template <class... P>
static inline void kg_cuda_launch_early(struct kg_device *device, const char *what, void (*kernel)(P...), dim3 grid, unsigned threads, size_t shared,
                                        std::type_identity_t<P>... arguments)
{
    kg_cuda_launch_as<1, P...>(device, what, kernel, grid, threads, shared, arguments...);
}

/* Waits for all that was launched before, and lets the next kernel be put in place; again and again, if need be. */
static __device__ __forceinline__ void kg_begin()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* Where kernels that are launched next find these bytes. */
const void *kg_cuda_now_bytes(struct kg_device *device, const void *host, size_t bytes);

template <class T> static inline const T *kg_cuda_now(struct kg_device *device, const T &value)
{
    return (const T *)kg_cuda_now_bytes(device, &value, sizeof value);
}

/* Launches what is held back, before memory that it uses is given back or written to otherwise. */
void kg_cuda_start_held(struct kg_device *device);

void kg_cuda_step_begin(struct kg_device *device, uint32_t rows);
void kg_cuda_step_end(struct kg_device *device);
void kg_cuda_steps_free(struct kg_device *device);

#endif
