/* Stands in for the CUDA runtime library: what is linked with this needs neither the library nor a driver.
 *
 * Streams are queues that run when somebody waits, so that a missing wait shows: what a copy reads or writes on the host
 * is read and written then. Everything else about streams, events and graphs is as documented by the vendor; calls that
 * kernels/cuda does not use are not here, and so do not link. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda_runtime.h>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "tests/emulator/shadow.h"

using emulator::Counters;
using emulator::Dim;
using emulator::Kernel;

namespace {

using Task = std::function<void()>;

struct Launch {
    const Kernel *kernel;
    std::vector<unsigned char> parameters;
    Dim grid, size;
    uint32_t dynamic;
};

} // namespace

struct CUstream_st {
    std::deque<Task> queue;
    uint64_t queued = 0, done = 0;
};

struct CUevent_st {
    CUstream_st *stream = nullptr;
    uint64_t after = 0;
};

struct CUgraphNode_st {
    const CUgraph_st *graph;
    size_t place;
    Launch launch;
    const CUgraphNode_st *before; /* the one that it follows */
};

/* Nodes stand one behind the other; nothing else is emulated. */
struct CUgraph_st {
    std::vector<CUgraphNode_st *> nodes;
};

struct CUgraphExec_st {
    const CUgraph_st *graph;
    std::vector<Launch> launches;
};

namespace {

std::recursive_mutex lock;
CUstream_st default_stream;
std::set<CUstream_st *> streams;
thread_local cudaError_t last_error = cudaSuccess;
size_t allocated;

/* What the host asked for. */
struct Calls {
    unsigned long long launches, graphs, amended, graph_launches, synchronised, fetched;
} calls;

/* Files that are linked in register in any order, perhaps before what is here is constructed. */
std::map<std::string, const Kernel *> &kernels()
{
    static std::map<std::string, const Kernel *> all;
    return all;
}

std::map<const void *, std::string> &functions()
{
    static std::map<const void *, std::string> all;
    return all;
}

std::map<std::string, Counters> &counted()
{
    static std::map<std::string, Counters> all;
    return all;
}

/* EMULATOR_MEMORY: bytes that the device has. */
size_t device_memory()
{
    const char *bytes = getenv("EMULATOR_MEMORY");
    return bytes ? strtoull(bytes, nullptr, 10) : size_t{ 8 } << 30;
}

/* EMULATOR_FAIL="name N code": the Nth call of that name, and all that come after it, fail with that number. */
cudaError_t injected(const char *call)
{
    static std::string name;
    static unsigned long first = 0, code = 0, calls = 0;
    static const char *const wanted = getenv("EMULATOR_FAIL");
    if (!wanted)
        return cudaSuccess;
    if (name.empty()) {
        char text[64];
        if (sscanf(wanted, "%63s %lu %lu", text, &first, &code) != 3) {
            fprintf(stderr, "emulator: EMULATOR_FAIL is '%s'; it has to be a call, a number, and an error code\n", wanted);
            exit(1);
        }
        name = text;
    }
    if (name != call || ++calls < first)
        return cudaSuccess;
    return static_cast<cudaError_t>(code);
}

cudaError_t failed(cudaError_t error)
{
    if (error != cudaSuccess)
        last_error = error;
    return error;
}

/* What every call begins with. */
#define ENTER()                                            \
    const std::lock_guard<std::recursive_mutex> held(lock); \
    if (cudaError_t error = injected(__func__))            \
        return failed(error);

CUstream_st *stream_of(cudaStream_t stream)
{
    return !stream || stream == cudaStreamLegacy || stream == cudaStreamPerThread ? &default_stream : stream;
}

void drain(CUstream_st *stream, uint64_t upto)
{
    while (stream->done < upto && !stream->queue.empty()) {
        Task task = std::move(stream->queue.front());
        stream->queue.pop_front();
        task();
        stream->done++;
    }
}

void drain_all()
{
    drain(&default_stream, default_stream.queued);
    for (CUstream_st *stream : streams)
        drain(stream, stream->queued);
}

/* The default stream waits for the others and runs at once. */
cudaError_t enqueue(cudaStream_t handle, Task task)
{
    CUstream_st *stream = stream_of(handle);
    stream->queue.push_back(std::move(task));
    stream->queued++;
    if (stream == &default_stream)
        drain_all();
    return cudaSuccess;
}

cudaError_t allocate(void **out, size_t bytes, bool pinned)
{
    const size_t rounded = (bytes + 255) / 256 * 256;
    if (rounded < bytes || (!pinned && rounded > device_memory() - allocated))
        return failed(cudaErrorMemoryAllocation);
    *out = aligned_alloc(256, rounded ? rounded : 256);
    if (!*out)
        return failed(cudaErrorMemoryAllocation);
    memset(*out, 0xff, rounded); /* no number, whichever type it is read as */
    emulator::add_region(*out, bytes, pinned);
    allocated += pinned ? 0 : rounded;
    return cudaSuccess;
}

cudaError_t release(void *memory, bool pinned)
{
    if (!memory)
        return cudaSuccess;
    drain_all();
    const emulator::Region *region = emulator::find_region(reinterpret_cast<uintptr_t>(memory));
    const size_t bytes = region ? region->bytes : 0;
    if (!region || region->begin != reinterpret_cast<uintptr_t>(memory) || region->pinned != pinned)
        return failed(cudaErrorInvalidValue);
    emulator::remove_region(memory);
    allocated -= pinned ? 0 : (bytes + 255) / 256 * 256;
    free(memory);
    return cudaSuccess;
}

/* The device's side of a copy must lie within what was allocated there. */
void require_device(const void *memory, size_t bytes, const char *what)
{
    const uintptr_t at = reinterpret_cast<uintptr_t>(memory);
    const emulator::Region *region = emulator::find_region(at);
    if (bytes && (!region || at + bytes > region->begin + region->bytes))
        emulator::fault(0, "%s of %zu bytes at %p, which is not within memory of the device", what, bytes, memory);
}

void copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    const bool asks = kind == cudaMemcpyDefault; /* the addresses say on which side they lie */
    const emulator::Region *known = emulator::find_region(reinterpret_cast<uintptr_t>(to));
    const emulator::Region *comes = emulator::find_region(reinterpret_cast<uintptr_t>(from));
    if (bytes && asks && !known && !comes)
        emulator::fault(0, "copy of %zu bytes from %p to %p, neither of which the runtime knows", bytes, from, to);
    if (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice || (asks && known))
        require_device(to, bytes, "copy to");
    if (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice || (asks && comes))
        require_device(from, bytes, "copy from");
    const char *a = static_cast<const char *>(from), *b = static_cast<char *>(to);
    if (kind == cudaMemcpyDeviceToDevice && a < b + bytes && b < a + bytes && a != b)
        emulator::fault(0, "copy of %zu bytes onto itself", bytes);
    if (comes && !comes->pinned && (!known || known->pinned))
        calls.fetched += bytes;
    memmove(to, from, bytes);
}

void run(const Launch &launch)
{
    emulator::counters = &counted()[launch.kernel->name];
    emulator::run_grid(*launch.kernel, launch.parameters.data(), launch.grid, launch.size, launch.dynamic);
}

/* A launch as hardware would accept it, its arguments copied. */
cudaError_t make_launch(const void *function, dim3 grid, dim3 size, void **arguments, size_t dynamic, Launch *out)
{
    auto found = kernels().find(functions()[function]);
    if (found == kernels().end())
        return failed(cudaErrorInvalidDeviceFunction);
    const Kernel *kernel = found->second;
    const uint64_t threads = static_cast<uint64_t>(size.x) * size.y * size.z;
    if (!threads || threads > 1024 || size.z > 64 || !grid.x || !grid.y || !grid.z || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535 ||
        dynamic + kernel->static_shared > KG_SHARED_MAX)
        return failed(cudaErrorInvalidConfiguration);
    Launch made = { kernel, std::vector<unsigned char>(kernel->parameter_bytes), { grid.x, grid.y, grid.z }, { size.x, size.y, size.z },
                    static_cast<uint32_t>(dynamic) };
    for (uint32_t i = 0; i < kernel->parameter_count; i++)
        memcpy(made.parameters.data() + kernel->parameters[i].offset, arguments[i], kernel->parameters[i].bytes);
    *out = std::move(made);
    return cudaSuccess;
}

cudaError_t launch(const void *function, dim3 grid, dim3 size, void **arguments, size_t dynamic, cudaStream_t stream)
{
    Launch made;
    const cudaError_t error = make_launch(function, grid, size, arguments, dynamic, &made);
    calls.launches++;
    return error ? error : enqueue(stream, [made = std::move(made)] { run(made); });
}

struct Configuration {
    dim3 grid, size;
    size_t dynamic;
    cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

/* EMULATOR_COUNTERS=file: one line a kernel, added when the process ends. */
struct CountersAtExit {
    ~CountersAtExit()
    {
        const char *path = getenv("EMULATOR_COUNTERS");
        FILE *file = path ? fopen(path, "a") : nullptr;
        if (!file)
            return;
        for (const auto &[name, c] : counted())
            fprintf(file, "%s launches %llu threads %llu read %llu written %llu touched_read %llu touched_written %llu host %llu f32 %llu f64 %llu integer %llu dp4a %llu tensor %llu\n",
                    name.c_str(), (unsigned long long)c.launches, (unsigned long long)c.threads, (unsigned long long)c.read,
                    (unsigned long long)c.written, (unsigned long long)c.touched_read, (unsigned long long)c.touched_written, (unsigned long long)c.host,
                    (unsigned long long)c.work[emulator::F32], (unsigned long long)c.work[emulator::F64], (unsigned long long)c.work[emulator::INTEGER],
                    (unsigned long long)c.work[emulator::DP4A], (unsigned long long)c.work[emulator::TENSOR]);
        fprintf(file, "host launches %llu graphs %llu amended %llu graph_launches %llu synchronised %llu fetched %llu\n", calls.launches, calls.graphs,
                calls.amended, calls.graph_launches, calls.synchronised, calls.fetched);
        fclose(file);
    }
} counters_at_exit;

} // namespace

emulator::Registration::Registration(const Kernel *of_file, size_t n)
{
    counted(); /* outlives what prints it */
    for (size_t i = 0; i < n; i++)
        kernels()[of_file[i].name] = &of_file[i];
}

/* What an object of nvcc calls before main and around <<< >>>. */
extern "C" {

void **__cudaRegisterFatBinary(void *)
{
    static void *handle;
    return &handle;
}

void __cudaRegisterFatBinaryEnd(void **) {}
void __cudaUnregisterFatBinary(void **) {}

char __cudaInitModule(void **)
{
    return 1;
}

void __cudaRegisterFunction(void **, const char *function, char *, const char *name, int, uint3 *, uint3 *, dim3 *, dim3 *, int *)
{
    functions()[function] = name;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 size, size_t dynamic, cudaStream_t stream)
{
    configurations.push_back(Configuration{ grid, size, dynamic, stream });
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *size, size_t *dynamic, void *stream)
{
    const Configuration &top = configurations.back();
    *grid = top.grid;
    *size = top.size;
    *dynamic = top.dynamic;
    *static_cast<cudaStream_t *>(stream) = top.stream;
    configurations.pop_back();
    return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *function)
{
    *kernel = static_cast<cudaKernel_t>(const_cast<void *>(function));
    return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 size, void **arguments, size_t dynamic, cudaStream_t stream)
{
    ENTER();
    return launch(function, grid, size, arguments, dynamic, stream);
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 size, void **arguments, size_t dynamic, cudaStream_t stream)
{
    return cudaLaunchKernel(static_cast<const void *>(kernel), grid, size, arguments, dynamic, stream);
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    ENTER();
    return allocate(out, bytes, false);
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    ENTER();
    return allocate(out, bytes, true);
}

cudaError_t cudaFree(void *memory)
{
    ENTER();
    return release(memory, false);
}

cudaError_t cudaFreeHost(void *memory)
{
    ENTER();
    return release(memory, true);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    ENTER();
    return enqueue(stream, [=] { copy(to, from, bytes, kind); });
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    ENTER();
    return enqueue(nullptr, [=] { copy(to, from, bytes, kind); });
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    ENTER();
    return enqueue(stream, [=] {
        require_device(to, bytes, "filling");
        memset(to, value, bytes);
    });
}

cudaError_t cudaMemGetInfo(size_t *unused, size_t *total)
{
    ENTER();
    *total = device_memory();
    *unused = *total - allocated;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    ENTER();
    *out = new CUstream_st;
    streams.insert(*out);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    ENTER();
    drain(stream, stream->queued);
    streams.erase(stream);
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    ENTER();
    calls.synchronised++;
    drain(stream_of(stream), stream_of(stream)->queued);
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize()
{
    ENTER();
    drain_all();
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    ENTER();
    *out = new CUevent_st;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    ENTER();
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    ENTER();
    event->stream = stream_of(stream);
    event->after = event->stream->queued;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    ENTER();
    if (event->stream)
        drain(event->stream, event->after);
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    ENTER();
    CUstream_st *other = event->stream;
    const uint64_t after = event->after;
    return other ? enqueue(stream, [=] { drain(other, after); }) : cudaSuccess;
}

cudaError_t cudaGraphCreate(cudaGraph_t *out, unsigned flags)
{
    ENTER();
    if (flags)
        return failed(cudaErrorInvalidValue);
    *out = new CUgraph_st;
    return cudaSuccess;
}

cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t *out, cudaGraph_t graph, const cudaGraphNode_t *before, size_t count, const cudaKernelNodeParams *node)
{
    ENTER();
    for (size_t i = 0; i < count; i++)
        if (!before[i] || before[i]->graph != graph)
            return failed(cudaErrorInvalidValue);
    if (count > 1)
        return failed(cudaErrorInvalidValue);
    Launch made;
    if (const cudaError_t error = make_launch(node->func, node->gridDim, node->blockDim, node->kernelParams, node->sharedMemBytes, &made))
        return error;
    *out = new CUgraphNode_st{ graph, graph->nodes.size(), std::move(made), count ? before[0] : nullptr };
    graph->nodes.push_back(*out);
    return cudaSuccess;
}

/* Edges of kernels that wait themselves: here a kernel begins when the one before it has ended, whatever the edge says. */
#if CUDART_VERSION >= 13000
cudaError_t cudaGraphAddDependencies(cudaGraph_t graph, const cudaGraphNode_t *from, const cudaGraphNode_t *to, const cudaGraphEdgeData *, size_t count)
#elif CUDART_VERSION >= 12030
cudaError_t cudaGraphAddDependencies_v2(cudaGraph_t graph, const cudaGraphNode_t *from, const cudaGraphNode_t *to, const cudaGraphEdgeData *, size_t count)
#else
cudaError_t cudaGraphAddDependencies(cudaGraph_t graph, const cudaGraphNode_t *from, const cudaGraphNode_t *to, size_t count)
#endif
{
    ENTER();
    for (size_t i = 0; i < count; i++) {
        if (from[i]->graph != graph || to[i]->graph != graph || to[i]->before)
            return failed(cudaErrorInvalidValue);
        to[i]->before = from[i];
    }
    return cudaSuccess;
}

/* Nodes that nothing orders could run at the same time; here each has to follow the one before it. */
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags)
{
    ENTER();
    for (size_t i = 0; i < graph->nodes.size(); i++)
        if (graph->nodes[i]->before != (i ? graph->nodes[i - 1] : nullptr))
            emulator::fault(0, "nodes of a graph that do not follow each other, which is not emulated");
    if (flags)
        return failed(cudaErrorInvalidValue);
    calls.graphs++;
    *out = new CUgraphExec_st{ graph, {} };
    for (const CUgraphNode_st *node : graph->nodes)
        (*out)->launches.push_back(node->launch);
    return cudaSuccess;
}

/* For launches of the graph from now on; those that were made stay as they were. */
cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t graph, cudaGraphNode_t node, const cudaKernelNodeParams *wanted)
{
    ENTER();
    if (node->graph != graph->graph)
        return failed(cudaErrorInvalidValue);
    Launch made;
    if (const cudaError_t error = make_launch(wanted->func, wanted->gridDim, wanted->blockDim, wanted->kernelParams, wanted->sharedMemBytes, &made))
        return error;
    calls.amended++;
    graph->launches[node->place] = std::move(made);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
    ENTER();
    calls.graph_launches++;
    return enqueue(stream, [launches = graph->launches] {
        for (const Launch &one : launches)
            run(one);
    });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    ENTER();
    for (CUgraphNode_st *node : graph->nodes)
        delete node;
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    ENTER();
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    ENTER();
    *n = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    ENTER();
    return device == 0 ? cudaSuccess : failed(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int)
{
    ENTER();
    memset(out, 0, sizeof *out);
    strcpy(out->name, "emulated device");
    out->major = getenv("EMULATOR_MAJOR") ? atoi(getenv("EMULATOR_MAJOR")) : 8;
    out->minor = 0;
    out->warpSize = 32;
    out->multiProcessorCount = 4;
    out->maxThreadsPerBlock = 1024;
    out->sharedMemPerBlock = 49152;
    out->totalGlobalMem = device_memory();
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    ENTER();
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    default: return "an error of the emulator";
    }
}
}
