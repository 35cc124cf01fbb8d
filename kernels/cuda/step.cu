#include "kernels/cuda/step.h"

#include <assert.h>
#include <stdlib.h>

#include "kernels/cuda/device.h"

#define ALIGNMENT 16

static uint32_t aligned(size_t n)
{
    return (uint32_t)((n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
}

static void launch_now(struct kg_device *device, const struct kg_cuda_node *l, const void *const *arguments)
{
    if (!device->failed)
        (void)kg_cuda_ok(device, cudaLaunchKernel(l->kernel, l->grid, dim3(l->threads), (void **)arguments, l->shared, device->stream), l->what);
}

/* Pointers to the arguments of a launch in a list. */
static void point_at(const struct kg_cuda_launches *list, const struct kg_cuda_node *l, const void *out[KG_ARGUMENTS])
{
    for (uint32_t i = 0; i < l->arguments; i++)
        out[i] = list->bytes + l->at[i];
}

/* What the operations of the step said so far. */
static void upload_now(struct kg_device *device)
{
    struct kg_cuda_steps *steps = &device->steps;
    kg_cuda_upload(device, steps->now_on_device, steps->now, steps->now_used);
    steps->now_used = 0;
}

static void launch_all(struct kg_device *device, const struct kg_cuda_launches *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const void *arguments[KG_ARGUMENTS];
        point_at(list, &list->launch[i], arguments);
        launch_now(device, &list->launch[i], arguments);
    }
}

void kg_cuda_start_held(struct kg_device *device)
{
    struct kg_cuda_steps *steps = &device->steps;
    if (!steps->held || (steps->launches.count == 0 && steps->now_used == 0))
        return;
    steps->held = false; /* or the upload would come back here */
    steps->started = true;
    upload_now(device);
    launch_all(device, &steps->launches);
    steps->launches.count = steps->launches.used = 0;
    steps->held = true;
}

/* Room for one more launch and its arguments. */
static bool make_room(struct kg_cuda_launches *list, uint32_t bytes)
{
    if (list->count == list->room) {
        const uint32_t room = list->room ? 2 * list->room : 64;
        struct kg_cuda_node *launch = (struct kg_cuda_node *)realloc(list->launch, room * sizeof *launch);
        if (!launch)
            return false;
        list->launch = launch;
        list->room = room;
    }
    if (list->size - list->used < bytes) {
        const uint32_t size = 2 * list->size + bytes;
        uint8_t *grown = (uint8_t *)realloc(list->bytes, size);
        if (!grown)
            return false;
        list->bytes = grown;
        list->size = size;
    }
    return true;
}

static bool hold(struct kg_cuda_launches *list, const struct kg_cuda_node *launch, const void *const *arguments)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < launch->arguments; i++)
        bytes += aligned(launch->size[i]);
    if (!make_room(list, bytes))
        return false;
    struct kg_cuda_node *own = &list->launch[list->count++];
    *own = *launch;
    memset(list->bytes + list->used, 0, bytes);
    for (uint32_t i = 0; i < launch->arguments; i++) {
        own->at[i] = list->used;
        memcpy(list->bytes + list->used, arguments[i], launch->size[i]);
        list->used += aligned(launch->size[i]);
    }
    return true;
}

void kg_cuda_enqueue(struct kg_device *device, const struct kg_cuda_node *launch, const void *const *arguments)
{
    struct kg_cuda_steps *steps = &device->steps;
    if (device->failed)
        return;
    if (steps->held && hold(&steps->launches, launch, arguments))
        return;
    kg_cuda_start_held(device);
    launch_now(device, launch, arguments);
}

const void *kg_cuda_now_bytes(struct kg_device *device, const void *host, size_t bytes)
{
    struct kg_cuda_steps *steps = &device->steps;
    assert(bytes <= KG_NOW_BYTES);
    if (!steps->held) {
        kg_cuda_upload(device, steps->now_on_device, host, bytes);
        return steps->now_on_device;
    }
    if (KG_NOW_BYTES - steps->now_used < aligned(bytes))
        kg_cuda_start_held(device);
    const size_t at = steps->now_used;
    memcpy(steps->now + at, host, bytes);
    steps->now_used += aligned(bytes);
    return (const uint8_t *)steps->now_on_device + at;
}

void kg_cuda_step_begin(struct kg_device *device, uint32_t rows)
{
    struct kg_cuda_steps *steps = &device->steps;
    assert(!steps->held);
    steps->held = rows <= KG_HELD_ROWS && !device->failed;
    steps->started = false;
    steps->launches.count = steps->launches.used = 0;
    steps->now_used = 0;
}

static bool same_kernels(const struct kg_cuda_launches *a, const struct kg_cuda_launches *b)
{
    bool same = a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++)
        same = a->launch[i].kernel == b->launch[i].kernel;
    return same;
}

/* Two launches of one kernel: grid and arguments. */
static bool same_launch(const struct kg_cuda_launches *a, const struct kg_cuda_launches *b, uint32_t i)
{
    const struct kg_cuda_node *x = &a->launch[i], *y = &b->launch[i];
    bool same = x->grid.x == y->grid.x && x->grid.y == y->grid.y && x->grid.z == y->grid.z && x->threads == y->threads && x->shared == y->shared;
    for (uint32_t k = 0; same && k < x->arguments; k++)
        same = memcmp(a->bytes + x->at[k], b->bytes + y->at[k], x->size[k]) == 0;
    return same;
}

static struct cudaKernelNodeParams node_of(const struct kg_cuda_launches *list, uint32_t i, const void *arguments[KG_ARGUMENTS])
{
    const struct kg_cuda_node *l = &list->launch[i];
    struct cudaKernelNodeParams node = {};
    point_at(list, l, arguments);
    node.func = (void *)l->kernel;
    node.gridDim = l->grid;
    node.blockDim = dim3(l->threads);
    node.sharedMemBytes = l->shared;
    node.kernelParams = (void **)arguments;
    return node;
}

static void drop_graph(struct kg_device *device, struct kg_cuda_recording *r)
{
    if (r->executable)
        (void)kg_cuda_ok(device, cudaGraphExecDestroy(r->executable), "dropping a graph");
    if (r->graph)
        (void)kg_cuda_ok(device, cudaGraphDestroy(r->graph), "dropping a graph");
    free(r->nodes);
    r->executable = NULL;
    r->graph = NULL;
    r->nodes = NULL;
}

/* What the edge between two kernels says: the second one may be put in place when all blocks of the first one have begun. */
static cudaError_t follow_early(cudaGraph_t graph, cudaGraphNode_t before, cudaGraphNode_t node)
{
#if CUDART_VERSION >= 12030
    cudaGraphEdgeData edge = {};
    edge.from_port = cudaGraphKernelNodePortProgrammatic;
    edge.type = cudaGraphDependencyTypeProgrammatic;
#if CUDART_VERSION >= 13000
    return cudaGraphAddDependencies(graph, &before, &node, &edge, 1);
#else
    return cudaGraphAddDependencies_v2(graph, &before, &node, &edge, 1);
#endif
#else
    return cudaGraphAddDependencies(graph, &before, &node, 1);
#endif
}

/* It cannot be had, however often it is asked for: a driver or a card that does not know such edges. */
static bool unknown_here(cudaError_t error)
{
    return error == cudaErrorNotSupported || error == cudaErrorInvalidValue || error == cudaErrorCallRequiresNewerDriver;
}

/* The launches, one after the other. */
static cudaError_t make_graph(struct kg_cuda_recording *r, bool early)
{
    const struct kg_cuda_launches *list = &r->launches;
    r->nodes = (cudaGraphNode_t *)calloc(list->count, sizeof *r->nodes);
    cudaError_t error = r->nodes ? cudaGraphCreate(&r->graph, 0) : cudaErrorMemoryAllocation;
    for (uint32_t i = 0; i < list->count && error == cudaSuccess; i++) {
        const void *arguments[KG_ARGUMENTS];
        const struct cudaKernelNodeParams node = node_of(list, i, arguments);
        const bool apart = i == 0 || (early && list->launch[i].early);
        error = cudaGraphAddKernelNode(&r->nodes[i], r->graph, apart ? NULL : &r->nodes[i - 1], apart ? 0 : 1, &node);
        if (apart && i && error == cudaSuccess)
            error = follow_early(r->graph, r->nodes[i - 1], r->nodes[i]);
    }
    return error == cudaSuccess ? cudaGraphInstantiate(&r->executable, r->graph, 0) : error;
}

/* Tells the graph which launches differ from its own. */
static cudaError_t amend_graph(struct kg_cuda_recording *r, const struct kg_cuda_launches *list)
{
    cudaError_t error = cudaSuccess;
    for (uint32_t i = 0; i < list->count && error == cudaSuccess; i++) {
        if (same_launch(&r->launches, list, i))
            continue;
        const void *arguments[KG_ARGUMENTS];
        const struct cudaKernelNodeParams node = node_of(list, i, arguments);
        error = cudaGraphExecKernelNodeSetParams(r->executable, r->nodes[i], &node);
    }
    return error;
}

/* The recording of these kernels, else the one that was used least lately; it takes over the list. */
static struct kg_cuda_recording *recording_of(struct kg_device *device, struct kg_cuda_launches *list, bool *known)
{
    struct kg_cuda_recording *all = device->steps.recording, *found = all;
    *known = false;
    for (uint32_t i = 0; i < KG_RECORDINGS && !*known; i++) {
        *known = all[i].used > 0 && same_kernels(&all[i].launches, list);
        if (*known || all[i].used < found->used)
            found = &all[i];
    }
    return found;
}

/* A graph that holds these launches; false if they are to be launched one by one: they are new, or there is no room for a graph. */
static bool prepare_graph(struct kg_device *device, struct kg_cuda_recording *r, bool known)
{
    struct kg_cuda_steps *steps = &device->steps;
    cudaError_t error = r->executable && known ? amend_graph(r, &steps->launches) : cudaSuccess;
    if (error != cudaSuccess || !known)
        drop_graph(device, r); /* an amendment was refused, or the graph is another step's */
    const struct kg_cuda_launches before = r->launches;
    r->launches = steps->launches;
    steps->launches = before;
    r->used = ++steps->count;
    if (r->executable)
        return true;
    (void)cudaGetLastError();
    if (!known || steps->refused)
        return false;
    error = make_graph(r, steps->early);
    if (unknown_here(error) && steps->early) {
        (void)cudaGetLastError();
        drop_graph(device, r);
        steps->early = false;
        error = make_graph(r, false);
    }
    if (error == cudaSuccess)
        return true;
    (void)cudaGetLastError();
    drop_graph(device, r);
    steps->refused = true;
    return false;
}

void kg_cuda_step_end(struct kg_device *device)
{
    struct kg_cuda_steps *steps = &device->steps;
    if (!steps->held)
        return;
    if (steps->started) {
        kg_cuda_start_held(device);
        steps->held = false;
        return;
    }
    steps->held = false;
    if (device->failed || steps->launches.count == 0)
        return;
    bool known;
    struct kg_cuda_recording *r = recording_of(device, &steps->launches, &known);
    upload_now(device);
    if (prepare_graph(device, r, known))
        (void)kg_cuda_ok(device, cudaGraphLaunch(r->executable, device->stream), "computing");
    else
        launch_all(device, &r->launches);
}

static void free_list(struct kg_cuda_launches *list)
{
    free(list->launch);
    free(list->bytes);
}

void kg_cuda_steps_free(struct kg_device *device)
{
    struct kg_cuda_steps *steps = &device->steps;
    for (uint32_t i = 0; i < KG_RECORDINGS; i++) {
        drop_graph(device, &steps->recording[i]);
        free_list(&steps->recording[i].launches);
    }
    free_list(&steps->launches);
    free(steps->now);
}
