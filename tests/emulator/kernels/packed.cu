/* Blocks of a file packed into planes by the card: the bytes are those of plain C, whatever the portions. Prints TAP. */
#include <cstdio>
#include <cstring>
#include <vector>

extern "C" {
#include "kernels/backend.h"
}
#include "kernels/cuda/pack.h"
#include "tests/emulator/kernels/pack_planes.h"

static int tests, failures;

static void report(bool good, const char *name)
{
    printf("%sok %d - %s\n", good ? "" : "not ", ++tests, name);
    failures += !good;
}

/* Portions of `most` blocks, by way of pinned memory, as weights come. */
template <enum kg_type type> static bool same(uint32_t rows, uint32_t cols, uint32_t most)
{
    struct kg_planes planes;
    uint32_t elements = 1, bytes = 0;
    if (!kg_type_layout(type, &elements, &bytes) || bytes != kg_pack_bytes<type> || elements != 32 * kg_pack_groups<type> ||
        !kg_planes_layout(type, rows, cols, &planes) || planes.bits != kg_pack_bits<type>)
        return false;
    const size_t blocks = (size_t)rows * cols / elements;
    std::vector<uint8_t> file(blocks * bytes), want(planes.bytes, 0), got(planes.bytes);
    uint32_t seed = rows + cols;
    for (uint8_t &byte : file)
        byte = (uint8_t)((seed = seed * 1664525U + 1013904223U) >> 24);
    kg_planes_pack(type, &planes, file.data(), want.data());
    uint8_t *bits = nullptr, *staged = nullptr;
    bool good = cudaMalloc(reinterpret_cast<void **>(&bits), planes.bytes) == cudaSuccess &&
                cudaMallocHost(reinterpret_cast<void **>(&staged), most * bytes + 16) == cudaSuccess &&
                cudaMemsetAsync(bits, 0, planes.bytes, nullptr) == cudaSuccess;
    for (size_t first = 0; good && first < blocks; first += most) {
        const uint32_t n = blocks - first < most ? (uint32_t)(blocks - first) : most, of_threads = KG_PACK_THREADS / kg_pack_groups<type>;
        memcpy(staged, file.data() + first * bytes, n * bytes);
        kg_pack<type><<<(n + of_threads - 1) / of_threads, KG_PACK_THREADS>>>(bits, planes, reinterpret_cast<const uint4 *>(staged), first, n);
        good = cudaDeviceSynchronize() == cudaSuccess;
    }
    good = good && cudaMemcpy(got.data(), bits, planes.bytes, cudaMemcpyDeviceToHost) == cudaSuccess && got == want;
    return cudaFree(bits) == cudaSuccess && cudaFreeHost(staged) == cudaSuccess && good;
}

template <enum kg_type type> static void check()
{
    char name[64];
    const bool good = same<type>(1, 256, 64) && same<type>(37, 512, 1000) && same<type>(37, 512, 64) && same<type>(5, 2816, 33) && same<type>(300, 256, 4096);
    snprintf(name, sizeof name, "planes of %s", kg_type_name(type));
    report(good, name);
}

int main()
{
    check<KG_Q4_0>();
    check<KG_Q4_1>();
    check<KG_Q5_0>();
    check<KG_Q5_1>();
    check<KG_Q8_0>();
    check<KG_Q4_K>();
    check<KG_Q5_K>();
    check<KG_Q6_K>();
    printf("1..%d\n", tests);
    return failures != 0;
}
