#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace {

// ---- float32: candidate selection, IoU, normalization

constexpr int kFloatLanes = 8;

using VecF = __m256;
using MaskF = __m256;

inline VecF f_load(const float* p) { return _mm256_loadu_ps(p); }
inline void f_store(float* p, VecF v) { _mm256_storeu_ps(p, v); }
inline VecF f_set(float x) { return _mm256_set1_ps(x); }
inline VecF f_sub(VecF a, VecF b) { return _mm256_sub_ps(a, b); }
inline VecF f_mul(VecF a, VecF b) { return _mm256_mul_ps(a, b); }
// a > b ? a : b, so b where either is NaN.
inline VecF f_max(VecF a, VecF b) { return _mm256_max_ps(a, b); }
// a < b ? a : b, so b where either is NaN.
inline VecF f_min(VecF a, VecF b) { return _mm256_min_ps(a, b); }
inline MaskF f_gt(VecF a, VecF b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
inline MaskF f_eq(VecF a, VecF b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
// A choice of bits: a payload that is not a float survives it.
inline VecF f_select(MaskF m, VecF yes, VecF no) { return _mm256_blendv_ps(no, yes, m); }
// 2^n for whole n in [-126, 127].
inline VecF f_exp2_whole(VecF n) {
    const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
// kFloatLanes vectors as a matrix, transposed in place.
inline void f_transpose(VecF* v) {
    VecF half[8];
    for (int i = 0; i < 4; ++i) {
        half[i] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x20);
        half[i + 4] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i += 4) {
        const VecF a = _mm256_unpacklo_ps(half[i], half[i + 1]), b = _mm256_unpackhi_ps(half[i], half[i + 1]);
        const VecF c = _mm256_unpacklo_ps(half[i + 2], half[i + 3]);
        const VecF d = _mm256_unpackhi_ps(half[i + 2], half[i + 3]);
        v[i] = _mm256_shuffle_ps(a, c, 0x44);
        v[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        v[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        v[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
}
inline MaskF m_and(MaskF a, MaskF b) { return _mm256_and_ps(a, b); }
inline MaskF m_or(MaskF a, MaskF b) { return _mm256_or_ps(a, b); }
// Bit i is lane i.
inline uint32_t m_bits(MaskF m) { return static_cast<uint32_t>(_mm256_movemask_ps(m)); }

// a b + c, rounded once where the ISA has it, else twice.
inline VecF f_fma(VecF a, VecF b, VecF c) { return _mm256_fmadd_ps(a, b, c); }
// Correctly rounded, as + - * / of vectors are.
inline VecF f_sqrt(VecF v) { return _mm256_sqrt_ps(v); }
inline VecF f_floor(VecF v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
inline VecF f_ceil(VecF v) { return _mm256_round_ps(v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
// To the nearest whole number, to the even one of two.
inline VecF f_round(VecF v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// v 2^n for whole n in [-252, 254], 0 and infinity where that is too small or too large.
inline VecF f_scale(VecF v, VecF n) {
    const VecF half = f_floor(n * f_set(0.5f));
    return v * f_exp2_whole(half) * f_exp2_whole(f_sub(n, half));
}
// v less its floor.
inline VecF f_fraction(VecF v) { return f_sub(v, f_floor(v)); }
// n for n <= 127 as f_scale_floor takes it.
inline VecF f_scalable(VecF n) { return f_max(f_set(-126.0f), n); }
// v 2^floor(n) for such n.
inline VecF f_scale_floor(VecF v, VecF n) { return v * f_exp2_whole(f_floor(n)); }
// 1 / v to about 1e-7 of it, for v in [1, 2^126].
inline VecF f_reciprocal(VecF v) { return f_set(1.0f) / v; }
// The first n floats, n <= kFloatLanes, and zeros; the store writes no others.
inline __m256i first_lanes(size_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
}
inline VecF f_load_first(const float* p, size_t n) { return _mm256_maskload_ps(p, first_lanes(n)); }
inline void f_store_first(float* p, VecF v, size_t n) { _mm256_maskstore_ps(p, first_lanes(n), v); }
// The bits of floats as integers, and back.
inline __m256i i32_of_bits(VecF v) { return _mm256_castps_si256(v); }
inline VecF f_of_bits(__m256i v) { return _mm256_castsi256_ps(v); }

// ---- integers: pixels

constexpr int kShortLanes = 16;
constexpr int kIntLanes = 8;
// A block is 8 shorts: a pixel and its right neighbor.
constexpr int kBlocks = 2;

using VecI16 = __m256i;
using VecI32 = __m256i;

inline VecI16 i16_from_u8(const uint8_t* p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline VecI16 i16_load(const int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline void i16_store(int16_t* p, VecI16 v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
inline VecI16 i16_set(int x) { return _mm256_set1_epi16(static_cast<short>(x)); }
// (a b + 2^14) >> 15.
inline VecI16 i16_mul_round(VecI16 a, VecI16 b) { return _mm256_mulhrs_epi16(a, b); }
// a b >> 16.
inline VecI16 u16_mul_high(VecI16 a, VecI16 b) { return _mm256_mulhi_epu16(a, b); }

inline VecI32 i32_load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void i32_store(void* p, VecI32 v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline VecI32 i32_set(int x) { return _mm256_set1_epi32(x); }
inline VecI32 i32_and(VecI32 a, VecI32 b) { return _mm256_and_si256(a, b); }
inline VecI32 i32_or(VecI32 a, VecI32 b) { return _mm256_or_si256(a, b); }
inline VecI32 i32_add(VecI32 a, VecI32 b) { return _mm256_add_epi32(a, b); }
template <int n>
inline VecI32 u32_shift_right(VecI32 v) {
    return _mm256_srli_epi32(v, n);
}
inline VecI32 u32_shift_right(VecI32 v, int n) { return _mm256_srl_epi32(v, _mm_cvtsi32_si128(n)); }
inline VecF f_from_i32(VecI32 v) { return _mm256_cvtepi32_ps(v); }
inline VecI16 i16_from_bits(VecI32 v) { return v; }
inline VecI32 i32_from_bits(VecI16 v) { return v; }
// Sums of two products of neighboring shorts.
inline VecI32 i32_mul_pairs(VecI16 a, VecI16 b) { return _mm256_madd_epi16(a, b); }
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
inline WideSum wide_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
// sum += a weights[0] + b weights[1].
inline WideSum wide_add(WideSum sum, VecI16 a, VecI16 b, const int16_t* weights) {
    int32_t pair;
    memcpy(&pair, weights, sizeof pair);
    const __m256i w = _mm256_set1_epi32(pair);
    return {_mm256_add_epi32(sum.low, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w)),
            _mm256_add_epi32(sum.high, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w))};
}
// sums >> shift, which must fit 16 bits.
inline VecI16 u16_narrow(VecI32 low, VecI32 high, int shift) {
    return _mm256_packus_epi32(u32_shift_right(low, shift), u32_shift_right(high, shift));
}
template <int shift>
inline VecI16 u16_narrow(VecI32 low, VecI32 high) {
    return _mm256_packus_epi32(u32_shift_right<shift>(low), u32_shift_right<shift>(high));
}

// Bytes of kIntLanes integers, each out of the 16 from window[0] on that its 4 of `order` tell; 128 makes a
// zero.
inline VecI32 i32_pick(const uint8_t* row, const int32_t* window, VecI32 order) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + window[0]));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), order);
}

// Bytes in the form that mix() takes: as the high bytes of shorts.
inline VecI16 mix_load(const uint8_t* p) {
    // A broadcast and a shuffle: cheaper than to widen and to shift.
    const __m256i order = _mm256_setr_epi8(-1, 0, -1, 1, -1, 2, -1, 3, -1, 4, -1, 5, -1, 6, -1, 7,  //
                                           -1, 8, -1, 9, -1, 10, -1, 11, -1, 12, -1, 13, -1, 14, -1, 15);
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), order);
}
// The same for kBlocks blocks: of the 16 bytes from window[i / 2] on, block i takes those that its 16 bytes
// of `order` tell; 128 makes a zero, and is where the form's low bytes go.
inline VecI16 mix_pick(const uint8_t* row, const int32_t* window, VecI32 order) {
    return i32_pick(row, window, order);
}
// (a weight_a >> 8) + (b weight_b >> 8), of bytes; weights are positive.
inline VecI16 mix(VecI16 a, VecI16 weight_a, VecI16 b, VecI16 weight_b) {
    return _mm256_add_epi16(_mm256_mulhi_epu16(a, weight_a), _mm256_mulhi_epu16(b, weight_b));
}
// kBlocks blocks, each from its own place.
inline VecI16 blocks_load(const int16_t* row, const int32_t* offset) {
    const auto block = [&](int i) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + offset[i]));
    };
    return _mm256_inserti128_si256(_mm256_castsi128_si256(block(0)), block(1), 1);
}
// For each block sum[c] += pixel[c] w0 + neighbor[c] w1; weights: w0, w1 four times for each block.
template <int channels>
inline VecI32 blocks_add(VecI32 sum, VecI16 blocks, const int16_t* weights) {
    const __m128i order = channels == 3 ? _mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, 12, 13, 14, 15)
                                        : _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    const __m256i pairs = _mm256_shuffle_epi8(blocks, _mm256_broadcastsi128_si256(order));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, i16_load(weights)));
}
// Bytes of u16_narrow(blocks 0, blocks 1) and u16_narrow(blocks 2, blocks 3), all below 256, in order.
inline void blocks_store(uint32_t* p, VecI16 first, VecI16 second) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    i32_store(p, _mm256_permutevar8x32_epi32(_mm256_packus_epi16(first, second), order));
}
// The low bytes of 4 kIntLanes integers below 256.
inline void u8_store(uint8_t* p, VecI32 a, VecI32 b, VecI32 c, VecI32 d) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    i32_store(p, _mm256_permutevar8x32_epi32(bytes, order));
}

// ---- integers: bytes of YUV frames
//
// A vector of bytes is taken apart into two of shorts, `low` and `high`: of each 16 bytes the first 8 and the
// last 8. Bytes come in as the high bytes of shorts, less 128: signed.

inline VecI32 i32_xor(VecI32 a, VecI32 b) { return _mm256_xor_si256(a, b); }
// Saturated.
inline VecI16 i16_add(VecI16 a, VecI16 b) { return _mm256_adds_epi16(a, b); }
template <int n>
inline VecI16 i16_shift_left(VecI16 v) {
    return _mm256_slli_epi16(v, n);
}
// Bytes as the high bytes of shorts.
inline VecI16 high_of_low(VecI32 bytes) { return _mm256_unpacklo_epi8(_mm256_setzero_si256(), bytes); }
inline VecI16 high_of_high(VecI32 bytes) { return _mm256_unpackhi_epi8(_mm256_setzero_si256(), bytes); }
// The way back: of shorts >> n, saturated to 0..255.
template <int n>
inline VecI32 u8_join(VecI16 low, VecI16 high) {
    return _mm256_packus_epi16(_mm256_srai_epi16(low, n), _mm256_srai_epi16(high, n));
}
// Of neighboring shorts a and b: a and a; b and b; b and a.
inline VecI16 i16_first_of_pairs(VecI16 v) {
    const __m128i order = _mm_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13);
    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(order));
}
inline VecI16 i16_second_of_pairs(VecI16 v) {
    const __m128i order = _mm_setr_epi8(2, 3, 2, 3, 6, 7, 6, 7, 10, 11, 10, 11, 14, 15, 14, 15);
    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(order));
}
inline VecI16 i16_swap_pairs(VecI16 v) {
    const __m128i order = _mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(order));
}
// Every other 16 bytes from p on: with those from p + 16 on, `low` and `high` of twice as many bytes.
inline VecI16 i16_load_alternate(const uint8_t* p) {
    const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 32));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
}
// kShortLanes bytes of a and of b, in turns.
inline VecI32 u8_interleave(const uint8_t* a, const uint8_t* b) {
    return _mm256_or_si256(i16_from_u8(a), _mm256_slli_epi16(i16_from_u8(b), 8));
}
// 4 kIntLanes bytes of a, of b and of c, in turns.
inline void u8_store_triples(uint8_t* p, VecI32 a, VecI32 b, VecI32 c) {
    // The place of each byte in its third of 48, whichever third that is; then each third takes its own.
    const __m128i order_a = _mm_setr_epi8(0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4, 15, 10, 5);
    const __m128i order_b = _mm_setr_epi8(5, 0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4, 15, 10);
    const __m128i order_c = _mm_setr_epi8(10, 5, 0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4, 15);
    const __m128i every_third = _mm_setr_epi8(0, -1, 0, 0, -1, 0, 0, -1, 0, 0, -1, 0, 0, -1, 0, 0);
    const __m256i second = _mm256_broadcastsi128_si256(every_third);
    const __m256i third = _mm256_broadcastsi128_si256(_mm_slli_si128(every_third, 1));
    a = _mm256_shuffle_epi8(a, _mm256_broadcastsi128_si256(order_a));
    b = _mm256_shuffle_epi8(b, _mm256_broadcastsi128_si256(order_b));
    c = _mm256_shuffle_epi8(c, _mm256_broadcastsi128_si256(order_c));
    const __m256i thirds[3] = {_mm256_blendv_epi8(_mm256_blendv_epi8(a, b, second), c, third),
                               _mm256_blendv_epi8(_mm256_blendv_epi8(b, c, second), a, third),
                               _mm256_blendv_epi8(_mm256_blendv_epi8(c, a, second), b, third)};
    ECV_UNROLL
    for (int i = 0; i < 3; ++i) {
        __m128i* out = reinterpret_cast<__m128i*>(p + 16 * i);
        _mm_storeu_si128(out, _mm256_castsi256_si128(thirds[i]));
        _mm_storeu_si128(out + 3, _mm256_extracti128_si256(thirds[i], 1));
    }
}

}  // namespace
