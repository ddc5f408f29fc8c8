#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// GCC 12 reports its own intrinsics' "undefined" operands as uninitialized (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

namespace {

// ---- float32: candidate selection, IoU, normalization

constexpr int kFloatLanes = 16;

using VecF = __m512;
using MaskF = __mmask16;

inline VecF f_load(const float* p) { return _mm512_loadu_ps(p); }
inline void f_store(float* p, VecF v) { _mm512_storeu_ps(p, v); }
inline VecF f_set(float x) { return _mm512_set1_ps(x); }
inline VecF f_sub(VecF a, VecF b) { return _mm512_sub_ps(a, b); }
inline VecF f_mul(VecF a, VecF b) { return _mm512_mul_ps(a, b); }
// a > b ? a : b, so b where either is NaN.
inline VecF f_max(VecF a, VecF b) { return _mm512_max_ps(a, b); }
// a < b ? a : b, so b where either is NaN.
inline VecF f_min(VecF a, VecF b) { return _mm512_min_ps(a, b); }
inline MaskF f_gt(VecF a, VecF b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline MaskF f_eq(VecF a, VecF b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
// A choice of bits: a payload that is not a float survives it.
inline VecF f_select(MaskF m, VecF yes, VecF no) { return _mm512_mask_blend_ps(m, no, yes); }
// 2^n for whole n in [-126, 127].
inline VecF f_exp2_whole(VecF n) {
    const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}
// kFloatLanes vectors as a matrix, transposed in place.
inline void f_transpose(VecF* v) {
    // Quarter q of row[4 g + i] is column 4 q + i of the rows 4 g to 4 g + 3.
    VecF row[16];
    for (int i = 0; i < 16; i += 4) {
        const VecF a = _mm512_unpacklo_ps(v[i], v[i + 1]), b = _mm512_unpackhi_ps(v[i], v[i + 1]);
        const VecF c = _mm512_unpacklo_ps(v[i + 2], v[i + 3]), d = _mm512_unpackhi_ps(v[i + 2], v[i + 3]);
        row[i] = _mm512_shuffle_ps(a, c, 0x44);
        row[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        row[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        row[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    for (int i = 0; i < 4; ++i) {
        const VecF a = _mm512_shuffle_f32x4(row[i], row[i + 4], 0x88);
        const VecF b = _mm512_shuffle_f32x4(row[i], row[i + 4], 0xdd);
        const VecF c = _mm512_shuffle_f32x4(row[i + 8], row[i + 12], 0x88);
        const VecF d = _mm512_shuffle_f32x4(row[i + 8], row[i + 12], 0xdd);
        v[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        v[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        v[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        v[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}
inline MaskF m_and(MaskF a, MaskF b) { return static_cast<MaskF>(a & b); }
inline MaskF m_or(MaskF a, MaskF b) { return static_cast<MaskF>(a | b); }
// Bit i is lane i.
inline uint32_t m_bits(MaskF m) { return m; }

// a b + c, rounded once where the ISA has it, else twice.
inline VecF f_fma(VecF a, VecF b, VecF c) { return _mm512_fmadd_ps(a, b, c); }
// Correctly rounded, as + - * / of vectors are.
inline VecF f_sqrt(VecF v) { return _mm512_sqrt_ps(v); }
inline VecF f_floor(VecF v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
inline VecF f_ceil(VecF v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
// To the nearest whole number, to the even one of two.
inline VecF f_round(VecF v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// v 2^n for whole n in [-252, 254], 0 and infinity where that is too small or too large.
inline VecF f_scale(VecF v, VecF n) { return _mm512_scalef_ps(v, n); }
// v less its floor.
inline VecF f_fraction(VecF v) { return _mm512_reduce_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
// n for n <= 127 as f_scale_floor takes it.
inline VecF f_scalable(VecF n) { return n; }
// v 2^floor(n) for such n.
inline VecF f_scale_floor(VecF v, VecF n) { return _mm512_scalef_ps(v, n); }
// 1 / v to about 1e-7 of it, for v in [1, 2^126].
inline VecF f_reciprocal(VecF v) {
    const VecF guess = _mm512_rcp14_ps(v);
    return guess * _mm512_fnmadd_ps(v, guess, f_set(2.0f));
}
// The first n floats, n <= kFloatLanes, and zeros; the store writes no others.
inline MaskF first_lanes(size_t n) { return static_cast<MaskF>((1u << n) - 1); }
inline VecF f_load_first(const float* p, size_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
inline void f_store_first(float* p, VecF v, size_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }
// The bits of floats as integers, and back.
inline __m512i i32_of_bits(VecF v) { return _mm512_castps_si512(v); }
inline VecF f_of_bits(__m512i v) { return _mm512_castsi512_ps(v); }

// p[0] and p[1] in turns.
#define ECV_HAS_PAIRS
inline VecF f_pair(const float* p) {
    double pair;
    memcpy(&pair, p, sizeof pair);
    return _mm512_castpd_ps(_mm512_set1_pd(pair));
}
// The lanes of even and of odd numbers, those of a first.
inline VecF f_even(VecF a, VecF b) {
    const __m512i lanes = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(a, lanes, b);
}
inline VecF f_odd(VecF a, VecF b) {
    const __m512i lanes = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_ps(a, lanes, b);
}

// table[index mod 32].
#define ECV_HAS_LOOKUP
inline VecF f_lookup(const float (&table)[32], __m512i index) {
    return _mm512_permutex2var_ps(f_load(table), index, f_load(table + 16));
}

// ---- integers: pixels

constexpr int kShortLanes = 32;
constexpr int kIntLanes = 16;
// A block is 8 shorts: a pixel and its right neighbor.
constexpr int kBlocks = 4;

using VecI16 = __m512i;
using VecI32 = __m512i;

inline VecI16 i16_from_u8(const uint8_t* p) {
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline VecI16 i16_load(const int16_t* p) { return _mm512_loadu_si512(p); }
inline void i16_store(int16_t* p, VecI16 v) { _mm512_storeu_si512(p, v); }
inline VecI16 i16_set(int x) { return _mm512_set1_epi16(static_cast<short>(x)); }
// (a b + 2^14) >> 15.
inline VecI16 i16_mul_round(VecI16 a, VecI16 b) { return _mm512_mulhrs_epi16(a, b); }
// a b >> 16.
inline VecI16 u16_mul_high(VecI16 a, VecI16 b) { return _mm512_mulhi_epu16(a, b); }

inline VecI32 i32_load(const void* p) { return _mm512_loadu_si512(p); }
inline void i32_store(void* p, VecI32 v) { _mm512_storeu_si512(p, v); }
inline VecI32 i32_set(int x) { return _mm512_set1_epi32(x); }
inline VecI32 i32_and(VecI32 a, VecI32 b) { return _mm512_and_si512(a, b); }
inline VecI32 i32_or(VecI32 a, VecI32 b) { return _mm512_or_si512(a, b); }
inline VecI32 i32_add(VecI32 a, VecI32 b) { return _mm512_add_epi32(a, b); }
template <int n>
inline VecI32 u32_shift_right(VecI32 v) {
    return _mm512_srli_epi32(v, n);
}
inline VecI32 u32_shift_right(VecI32 v, int n) { return _mm512_srl_epi32(v, _mm_cvtsi32_si128(n)); }
inline VecF f_from_i32(VecI32 v) { return _mm512_cvtepi32_ps(v); }
inline VecI16 i16_from_bits(VecI32 v) { return v; }
inline VecI32 i32_from_bits(VecI16 v) { return v; }
// Sums of two products of neighboring shorts.
inline VecI32 i32_mul_pairs(VecI16 a, VecI16 b) { return _mm512_madd_epi16(a, b); }
// kIntLanes pairs of shorts, each from its own place.
inline VecI16 i16_load_pairs(const int16_t* row, const int32_t* offset) {
    int32_t pair[kIntLanes];
    for (int i = 0; i < kIntLanes; ++i) memcpy(&pair[i], row + offset[i], sizeof(int32_t));
    return i32_load(pair);
}

// kShortLanes sums of 32 bits, in the order that suits the ISA until u16_narrow().
struct WideSum {
    VecI32 low, high;
};
inline WideSum wide_zero() { return {_mm512_setzero_si512(), _mm512_setzero_si512()}; }
// sum += a weights[0] + b weights[1].
inline WideSum wide_add(WideSum sum, VecI16 a, VecI16 b, const int16_t* weights) {
    int32_t pair;
    memcpy(&pair, weights, sizeof pair);
    const __m512i w = _mm512_set1_epi32(pair);
    return {_mm512_add_epi32(sum.low, _mm512_madd_epi16(_mm512_unpacklo_epi16(a, b), w)),
            _mm512_add_epi32(sum.high, _mm512_madd_epi16(_mm512_unpackhi_epi16(a, b), w))};
}
// sums >> shift, which must fit 16 bits.
inline VecI16 u16_narrow(VecI32 low, VecI32 high, int shift) {
    return _mm512_packus_epi32(u32_shift_right(low, shift), u32_shift_right(high, shift));
}
template <int shift>
inline VecI16 u16_narrow(VecI32 low, VecI32 high) {
    return _mm512_packus_epi32(u32_shift_right<shift>(low), u32_shift_right<shift>(high));
}

// Bytes of kIntLanes integers, each out of the 16 from window[0] on, those of the upper half from window[1]
// on, that its 4 of `order` tell; 128 makes a zero.
inline VecI32 i32_pick(const uint8_t* row, const int32_t* window, VecI32 order) {
    const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + window[0]));
    const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + window[1]));
    const __m512i bytes = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(first), 0xff00, second);
    return _mm512_shuffle_epi8(bytes, order);
}

// Bytes in the form that mix() takes: as the high bytes of shorts.
inline VecI16 mix_load(const uint8_t* p) { return _mm512_slli_epi16(i16_from_u8(p), 8); }
// The same for kBlocks blocks: of the 16 bytes from window[i / 2] on, block i takes those that its 16 bytes
// of `order` tell; 128 makes a zero, and is where the form's low bytes go.
inline VecI16 mix_pick(const uint8_t* row, const int32_t* window, VecI32 order) {
    return i32_pick(row, window, order);
}
// (a weight_a >> 8) + (b weight_b >> 8), of bytes; weights are positive.
inline VecI16 mix(VecI16 a, VecI16 weight_a, VecI16 b, VecI16 weight_b) {
    return _mm512_add_epi16(_mm512_mulhi_epu16(a, weight_a), _mm512_mulhi_epu16(b, weight_b));
}
// kBlocks blocks, each from its own place.
inline VecI16 blocks_load(const int16_t* row, const int32_t* offset) {
    const auto block = [&](int i) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + offset[i]));
    };
    // Masked broadcasts from memory leave the shuffle port free, which inserts of registers do not.
    __m512i v = _mm512_castsi128_si512(block(0));
    v = _mm512_mask_broadcast_i32x4(v, 0x00f0, block(1));
    v = _mm512_mask_broadcast_i32x4(v, 0x0f00, block(2));
    return _mm512_mask_broadcast_i32x4(v, 0xf000, block(3));
}
// For each block sum[c] += pixel[c] w0 + neighbor[c] w1; weights: w0, w1 four times for each block.
template <int channels>
inline VecI32 blocks_add(VecI32 sum, VecI16 blocks, const int16_t* weights) {
    const __m128i order = channels == 3 ? _mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, 12, 13, 14, 15)
                                        : _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    const __m512i pairs = _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(order));
    return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, i16_load(weights)));
}
// Bytes of u16_narrow(blocks 0, blocks 1) and u16_narrow(blocks 2, blocks 3), all below 256, in order.
inline void blocks_store(uint32_t* p, VecI16 first, VecI16 second) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    i32_store(p, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(first, second)));
}
// The low bytes of 4 kIntLanes integers below 256.
inline void u8_store(uint8_t* p, VecI32 a, VecI32 b, VecI32 c, VecI32 d) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    i32_store(p, _mm512_permutexvar_epi32(order, bytes));
}

// ---- integers: bytes of YUV frames
//
// A vector of bytes is taken apart into two of shorts, `low` and `high`: of each 16 bytes the first 8 and the
// last 8. Bytes come in as the high bytes of shorts, less 128: signed.

inline VecI32 i32_xor(VecI32 a, VecI32 b) { return _mm512_xor_si512(a, b); }
// Saturated.
inline VecI16 i16_add(VecI16 a, VecI16 b) { return _mm512_adds_epi16(a, b); }
template <int n>
inline VecI16 i16_shift_left(VecI16 v) {
    return _mm512_slli_epi16(v, n);
}
// Bytes as the high bytes of shorts.
inline VecI16 high_of_low(VecI32 bytes) { return _mm512_unpacklo_epi8(_mm512_setzero_si512(), bytes); }
inline VecI16 high_of_high(VecI32 bytes) { return _mm512_unpackhi_epi8(_mm512_setzero_si512(), bytes); }
// The way back: of shorts >> n, saturated to 0..255.
template <int n>
inline VecI32 u8_join(VecI16 low, VecI16 high) {
    return _mm512_packus_epi16(_mm512_srai_epi16(low, n), _mm512_srai_epi16(high, n));
}
// Of neighboring shorts a and b: a and a; b and b; b and a.
inline VecI16 i16_first_of_pairs(VecI16 v) {
    const __m128i order = _mm_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13);
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order));
}
inline VecI16 i16_second_of_pairs(VecI16 v) {
    const __m128i order = _mm_setr_epi8(2, 3, 2, 3, 6, 7, 6, 7, 10, 11, 10, 11, 14, 15, 14, 15);
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order));
}
inline VecI16 i16_swap_pairs(VecI16 v) {
    const __m128i order = _mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order));
}
// Every other 16 bytes from p on: with those from p + 16 on, `low` and `high` of twice as many bytes.
inline VecI16 i16_load_alternate(const uint8_t* p) {
    const auto part = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 32 * i)); };
    __m512i v = _mm512_castsi128_si512(part(0));
    v = _mm512_mask_broadcast_i32x4(v, 0x00f0, part(1));
    v = _mm512_mask_broadcast_i32x4(v, 0x0f00, part(2));
    return _mm512_mask_broadcast_i32x4(v, 0xf000, part(3));
}
// kShortLanes bytes of a and of b, in turns.
inline VecI32 u8_interleave(const uint8_t* a, const uint8_t* b) {
    return _mm512_or_si512(i16_from_u8(a), _mm512_slli_epi16(i16_from_u8(b), 8));
}
// 4 kIntLanes bytes of a, of b and of c, in turns.
inline void u8_store_triples(uint8_t* p, VecI32 a, VecI32 b, VecI32 c) {
    // The place of each byte in its third of 48, whichever third that is; then each third takes its own.
    const __m128i order_a = _mm_setr_epi8(0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4, 15, 10, 5);
    const __m128i order_b = _mm_setr_epi8(5, 0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4, 15, 10);
    const __m128i order_c = _mm_setr_epi8(10, 5, 0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4, 15);
    const __mmask64 second = 0x2492249224922492, third = 0x4924492449244924;
    a = _mm512_shuffle_epi8(a, _mm512_broadcast_i32x4(order_a));
    b = _mm512_shuffle_epi8(b, _mm512_broadcast_i32x4(order_b));
    c = _mm512_shuffle_epi8(c, _mm512_broadcast_i32x4(order_c));
    const __m512i thirds[3] = {_mm512_mask_blend_epi8(third, _mm512_mask_blend_epi8(second, a, b), c),
                               _mm512_mask_blend_epi8(third, _mm512_mask_blend_epi8(second, b, c), a),
                               _mm512_mask_blend_epi8(third, _mm512_mask_blend_epi8(second, c, a), b)};
    ECV_UNROLL
    for (int i = 0; i < 3; ++i) {
        __m128i* out = reinterpret_cast<__m128i*>(p + 16 * i);
        _mm_storeu_si128(out, _mm512_castsi512_si128(thirds[i]));
        _mm_storeu_si128(out + 3, _mm512_extracti32x4_epi32(thirds[i], 1));
        _mm_storeu_si128(out + 6, _mm512_extracti32x4_epi32(thirds[i], 2));
        _mm_storeu_si128(out + 9, _mm512_extracti32x4_epi32(thirds[i], 3));
    }
}

}  // namespace
