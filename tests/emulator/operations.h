/* What PTX instructions compute, for the code that ptx2cpp.py writes. Registers hold bits; types are per instruction. */
#ifndef KG_EMULATOR_OPERATIONS_H
#define KG_EMULATOR_OPERATIONS_H

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <immintrin.h>
#include <limits>
#include <type_traits>

#include "tests/emulator/shadow.h"

namespace emulator {

inline float f32_of(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t bits_of(float x) { return std::bit_cast<uint32_t>(x); }
inline double f64_of(uint64_t bits) { return std::bit_cast<double>(bits); }
inline uint64_t bits_of(double x) { return std::bit_cast<uint64_t>(x); }

/* Halves compute in float, whose 24 bits make one rounding at the end right for sums, products and fused ones of few bits. */
inline float f16_of(uint16_t bits) { return static_cast<float>(std::bit_cast<_Float16>(bits)); }
inline uint16_t f16_bits(double x) { return std::bit_cast<uint16_t>(static_cast<_Float16>(x)); }
inline uint16_t f16_bits(float x) { return std::bit_cast<uint16_t>(static_cast<_Float16>(x)); }
inline float bf16_of(uint16_t bits) { return f32_of(static_cast<uint32_t>(bits) << 16); }
inline uint16_t bf16_bits(float x)
{
    const uint32_t bits = bits_of(x);
    return std::isnan(x) ? 0x7fff : static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
template <class F> uint32_t halves(F f) { return f(0) | static_cast<uint32_t>(f(16)) << 16; }

inline float flush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0F, x) : x; }
inline float saturate(float x) { return x > 0 ? x < 1 ? x : 1 : 0; } /* a NaN gives 0 */

/* A sum of a product, rounded to the nearest, then stepped back where the direction says so. */
template <char direction> float fma_toward(float a, float b, float c)
{
    const float nearest = std::fma(a, b, c);
    if (!std::isfinite(nearest))
        return nearest;
    const double product = static_cast<double>(a) * b, sum = product + c, part = sum - product;
    const double error = (product - (sum - part)) + (c - part), beyond = (nearest - sum) - error;
    const bool down = direction == 'm' || (direction == 'z' && nearest > 0), up = direction == 'p' || (direction == 'z' && nearest < 0);
    if (down && beyond > 0)
        return std::nextafter(nearest, -INFINITY);
    if (up && beyond < 0)
        return std::nextafter(nearest, INFINITY);
    return nearest;
}

/* min and max of PTX: a NaN loses. */
template <class T> T least(T a, T b)
{
    if constexpr (std::is_floating_point_v<T>)
        return a == b ? (std::signbit(a) ? a : b) : std::fmin(a, b);
    else
        return a < b ? a : b;
}
template <class T> T most(T a, T b)
{
    if constexpr (std::is_floating_point_v<T>)
        return a == b ? (std::signbit(a) ? b : a) : std::fmax(a, b);
    else
        return a < b ? b : a;
}

/* To an integer: clamped, NaN gives 0. x is a whole number already. */
template <class T> T integer_of(double x)
{
    if (std::isnan(x))
        return 0;
    if (x >= static_cast<double>(std::numeric_limits<T>::max()))
        return std::numeric_limits<T>::max();
    return x <= static_cast<double>(std::numeric_limits<T>::lowest()) ? std::numeric_limits<T>::lowest() : static_cast<T>(x);
}

template <class T> T shift_left(T x, uint32_t n) { return n >= 8 * sizeof x ? 0 : static_cast<T>(x << n); }
template <class T> T shift_right(T x, uint32_t n)
{
    if (n < 8 * sizeof x)
        return static_cast<T>(x >> n);
    return std::is_signed_v<T> && x < 0 ? static_cast<T>(-1) : 0;
}

inline uint32_t funnel_left(uint32_t low, uint32_t high, uint32_t n)
{
    return static_cast<uint32_t>(((static_cast<uint64_t>(high) << 32 | low) << n) >> 32);
}
inline uint32_t funnel_right(uint32_t low, uint32_t high, uint32_t n)
{
    return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) >> n);
}

template <uint32_t table> uint32_t logic(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t result = 0;
    for (uint32_t i = 0; i < 8; i++)
        if (table >> i & 1)
            result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return result;
}

inline uint32_t permute(uint32_t a, uint32_t b, uint32_t selector)
{
    const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
    uint32_t result = 0;
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t choice = selector >> 4 * i & 15;
        uint32_t byte = bytes >> 8 * (choice & 7) & 255;
        if (choice & 8)
            byte = byte & 128 ? 255 : 0;
        result |= byte << 8 * i;
    }
    return result;
}

template <class T> T extract(T x, uint32_t at, uint32_t n)
{
    constexpr uint32_t width = 8 * sizeof(T);
    using U = std::make_unsigned_t<T>;
    at &= 255;
    n &= 255;
    if (n == 0)
        return 0;
    if (at >= width)
        return std::is_signed_v<T> && x < 0 ? static_cast<T>(-1) : 0;
    n = n > width - at ? width - at : n;
    return static_cast<T>(static_cast<T>(static_cast<U>(x) << (width - at - n)) >> (width - n));
}

template <class T> T insert(T from, T into, uint32_t at, uint32_t n)
{
    constexpr uint32_t width = 8 * sizeof(T);
    at &= 255;
    n &= 255;
    if (at >= width || n == 0)
        return into;
    const T mask = (n >= width ? ~T{ 0 } : (T{ 1 } << n) - 1) << at;
    return (into & ~mask) | (from << at & mask);
}

inline uint32_t reverse_bits(uint32_t x)
{
    uint32_t result = 0;
    for (uint32_t i = 0; i < 32; i++)
        result |= (x >> i & 1) << (31 - i);
    return result;
}

template <class A, class B> inline __attribute__((always_inline)) int32_t dot4(uint32_t a, uint32_t b, int32_t c)
{
    for (uint32_t i = 0; i < 32; i += 8)
        c += static_cast<int32_t>(static_cast<A>(a >> i)) * static_cast<int32_t>(static_cast<B>(b >> i));
    return c;
}

/* Memory. `site` remembers the region that this instruction touched last. */
template <Access access, uint32_t bytes> unsigned char *global_at(uint64_t address, const Region *&site, uint32_t line)
{
    if (!site || address - site->begin >= site->bytes) {
        site = find_region(address);
        if (!site)
            fault(line, "%s of %u bytes at %#zx, which is no memory of the device", access == READ ? "read" : "write", bytes, static_cast<size_t>(address));
    }
    touch_global<access, bytes>(*site, address, line);
    return reinterpret_cast<unsigned char *>(address);
}

template <Access access, uint32_t bytes> unsigned char *shared_at(uint32_t offset, uint32_t line)
{
    touch_shared<access, bytes>(offset, line);
    return block.shared + offset;
}

/* A parameter that is indexed. */
inline const unsigned char *parameter_at(const unsigned char *parameters, uint32_t all, uint64_t offset, uint32_t bytes, uint32_t line)
{
    if (offset + bytes > all)
        fault(line, "read of %u bytes at offset %zu of %u bytes of parameters", bytes, static_cast<size_t>(offset), all);
    return parameters + offset;
}

inline uint64_t shared_to_generic(uint64_t offset) { return reinterpret_cast<uintptr_t>(block.shared) + offset; }
inline uint64_t generic_to_shared(uint64_t address) { return address - reinterpret_cast<uintptr_t>(block.shared); }

template <Access access, uint32_t bytes> unsigned char *generic_at(uint64_t address, const Region *&site, uint32_t line)
{
    const uint64_t offset = generic_to_shared(address);
    return offset < KG_SHARED_MAX ? shared_at<access, bytes>(static_cast<uint32_t>(offset), line) : global_at<access, bytes>(address, site, line);
}

template <class T> T get(const unsigned char *at, uint32_t i = 0)
{
    T x;
    memcpy(&x, at + i * sizeof x, sizeof x);
    return x;
}
template <class T> void put(unsigned char *at, T x, uint32_t i = 0) { memcpy(at + i * sizeof x, &x, sizeof x); }

template <class T, class F> T exchange_atomic(unsigned char *at, F change)
{
    const T old = get<T>(at);
    put<T>(at, change(old));
    return old;
}

/* Collective operations of a warp. */
template <class T> T slot_of(const unsigned char *slots, uint32_t lane) { return get<T>(slots + size_t{ SLOT } * lane); }

/* clamp holds the segment's mask in bits 8 to 12 and the last lane in bits 0 to 4. */
template <char mode> uint32_t shuffle(uint32_t x, uint32_t by, uint32_t clamp, uint32_t mask, bool &inside)
{
    const int lane = static_cast<int>(thread->lane), segment = clamp >> 8 & 31, bound = clamp & 31, n = by & 31;
    const int last = (lane & segment) | (bound & ~segment), first = lane & segment;
    int from = mode == 'u' ? lane - n : mode == 'd' ? lane + n : mode == 'b' ? lane ^ n : first | (n & ~segment);
    inside = mode == 'u' ? from >= last : from <= last;
    if (!inside)
        from = lane;
    uint32_t active;
    const unsigned char *slots = exchange(mask, SHUFFLE, &x, sizeof x, &active);
    return active >> from & 1 ? slot_of<uint32_t>(slots, static_cast<uint32_t>(from)) : ~0U; /* who did not come sends rubbish */
}

inline uint32_t ballot(bool yes, uint32_t mask, uint32_t *active)
{
    const uint32_t mine = yes;
    const unsigned char *slots = exchange(mask, VOTE, &mine, sizeof mine, active);
    uint32_t result = 0;
    for (uint32_t l = 0; l < 32; l++)
        if (*active >> l & 1)
            result |= slot_of<uint32_t>(slots, l) << l;
    return result;
}
inline uint32_t vote_ballot(bool yes, uint32_t mask)
{
    uint32_t active;
    return ballot(yes, mask, &active);
}
inline bool vote_any(bool yes, uint32_t mask) { return vote_ballot(yes, mask) != 0; }
inline bool vote_all(bool yes, uint32_t mask)
{
    uint32_t active;
    return ballot(yes, mask, &active) == active;
}

/* What a lane holds of A and B in mma and wmma. */
struct Fragments {
    uint32_t a[8], b[8];
};

inline void hand_in(Fragments &f, const uint32_t *a, uint32_t na, const uint32_t *b, uint32_t nb)
{
    memcpy(f.a, a, na * sizeof *a);
    memcpy(f.b, b, nb * sizeof *b);
}

inline void require_all(uint32_t active)
{
    if (active != ~0U)
        fault(0, "a matrix operation without all 32 lanes");
}

inline const unsigned char *exchange_fragments(const Fragments &f)
{
    uint32_t active;
    const unsigned char *slots = exchange(~0U, MATRIX, &f, sizeof f, &active);
    require_all(active);
    return slots;
}

/* mma.m16n8k16 of halves: c += A B. Lane 4g + t holds rows g and g + 8 of A, column g of B, and of C rows g and g + 8 in
 * columns 2t and 2t + 1. Products are exact; the sum is in f32, k in order. Lanes hand in numbers, halves no longer. */
template <bool bf16> void multiply_halves(float *c, const uint32_t *a, const uint32_t *b)
{
    using Four = float __attribute__((vector_size(16)));
    struct Numbers {
        float a[8], b[4];
    } own;
    for (uint32_t i = 0; i < 12; i++) {
        const uint16_t half = static_cast<uint16_t>((i < 8 ? a[i / 2] : b[i / 2 - 4]) >> i % 2 * 16);
        (i < 8 ? own.a[i] : own.b[i - 8]) = bf16 ? bf16_of(half) : f16_of(half);
    }
    uint32_t active;
    const unsigned char *slots = exchange(~0U, MATRIX, &own, sizeof own, &active);
    require_all(active);
    const uint32_t row = thread->lane / 4, col = thread->lane % 4 * 2;
    Four sum = { c[0], c[1], c[2], c[3] };
    for (uint32_t k = 0; k < 16; k++) {
        const auto numbers = [&](uint32_t lane) { return reinterpret_cast<const Numbers *>(slots + size_t{ SLOT } * (lane * 4 + k % 8 / 2)); };
        const float *x = numbers(row)->a + k / 8 * 4 + k % 2, *y = numbers(col)->b + k / 8 * 2 + k % 2, *z = numbers(col + 1)->b + k / 8 * 2 + k % 2;
        sum += Four{ x[0], x[0], x[2], x[2] } * Four{ *y, *z, *y, *z };
    }
    memcpy(c, &sum, sizeof sum);
}

/* mma of s8: m16n8k32 and m16n8k16 as above with four bytes a register; m8n8k16 has rows 0 to 7 only. Sums are exact. */
inline __m128i bytes_of(const unsigned char *slots, uint32_t row_or_col, size_t at)
{
    uint32_t word[4];
    for (uint32_t t = 0; t < 4; t++)
        word[t] = get<uint32_t>(slots + size_t{ SLOT } * (row_or_col * 4 + t) + at);
    return _mm_loadu_si128(reinterpret_cast<const __m128i *>(word));
}

template <uint32_t m, uint32_t k> void multiply_bytes(int32_t *c, const uint32_t *a, const uint32_t *b)
{
    constexpr uint32_t tall = m / 8;
    Fragments f{};
    hand_in(f, a, tall * k / 16, b, k / 16);
    const unsigned char *slots = exchange_fragments(f);
    for (uint32_t part = 0; part < k / 16; part++) {
        __m256i of_b[2];
        for (uint32_t j = 0; j < 2; j++)
            of_b[j] = _mm256_cvtepi8_epi16(bytes_of(slots, thread->lane % 4 * 2 + j, offsetof(Fragments, b) + part * sizeof *b));
        for (uint32_t i = 0; i < tall; i++) {
            const __m256i of_a = _mm256_cvtepi8_epi16(bytes_of(slots, thread->lane / 4, (i + part * tall) * sizeof *a));
            for (uint32_t j = 0; j < 2; j++) {
                const __m256i eight = _mm256_madd_epi16(of_a, of_b[j]);
                __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
                sum = _mm_hadd_epi32(sum, sum);
                c[2 * i + j] += _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum));
            }
        }
    }
}

/* ldmatrix: lane l hands in the address of row l; matrix j has rows 8j to 8j + 7. */
template <bool transposed> void load_matrices(uint32_t *x, uint32_t n, uint32_t offset, uint32_t line)
{
    if (thread->lane < 8 * n)
        touch_shared<READ, 16>(offset, line);
    uint32_t active;
    const unsigned char *slots = exchange(~0U, MATRIX, &offset, sizeof offset, &active);
    const uint32_t row = thread->lane / 4, pair = thread->lane % 4 * 2;
    for (uint32_t j = 0; j < n; j++) {
        uint16_t half[2];
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t r = transposed ? pair + i : row, c = transposed ? row : pair + i;
            half[i] = get<uint16_t>(block.shared + slot_of<uint32_t>(slots, 8 * j + r), c);
        }
        x[j] = half[0] | static_cast<uint32_t>(half[1]) << 16;
    }
}

/* wmma.m16n16k16: which lane holds what is the implementation's own affair; here lane l holds elements 8l to 8l + 7 of
 * the row-major matrix. */
template <bool row_major> uint32_t wmma_place(uint32_t i, uint32_t stride)
{
    const uint32_t element = thread->lane * 8 + i;
    return row_major ? element / 16 * stride + element % 16 : element % 16 * stride + element / 16;
}
inline void wmma_multiply(float *c, const uint32_t *a, const uint32_t *b)
{
    Fragments f{};
    hand_in(f, a, 8, b, 8);
    const unsigned char *slots = exchange_fragments(f);
    for (uint32_t i = 0; i < 8; i++) {
        const uint32_t element = thread->lane * 8 + i, row = element / 16, col = element % 16;
        for (uint32_t k = 0; k < 16; k++) {
            const uint32_t at_a = row * 16 + k, at_b = k * 16 + col;
            const Fragments &of_a = *reinterpret_cast<const Fragments *>(slots + size_t{ SLOT } * (at_a / 8));
            const Fragments &of_b = *reinterpret_cast<const Fragments *>(slots + size_t{ SLOT } * (at_b / 8));
            c[i] += f16_of(static_cast<uint16_t>(of_a.a[at_a % 8])) * f16_of(static_cast<uint16_t>(of_b.b[at_b % 8]));
        }
    }
}

} // namespace emulator

#endif
