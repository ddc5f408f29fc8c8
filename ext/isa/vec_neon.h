#pragma once

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace {

// ---- float32: candidate selection, IoU, normalization

constexpr int kFloatLanes = 4;

using VecF = float32x4_t;
using MaskF = uint32x4_t;

inline VecF f_load(const float* p) { return vld1q_f32(p); }
inline void f_store(float* p, VecF v) { vst1q_f32(p, v); }
inline VecF f_set(float x) { return vdupq_n_f32(x); }
inline VecF f_sub(VecF a, VecF b) { return vsubq_f32(a, b); }
inline VecF f_mul(VecF a, VecF b) { return vmulq_f32(a, b); }
// a > b ? a : b, so b where either is NaN (the max instruction of this ISA answers NaN instead).
inline VecF f_max(VecF a, VecF b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
// a < b ? a : b, so b where either is NaN.
inline VecF f_min(VecF a, VecF b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
inline MaskF f_gt(VecF a, VecF b) { return vcgtq_f32(a, b); }
inline MaskF f_eq(VecF a, VecF b) { return vceqq_f32(a, b); }
// A choice of bits: a payload that is not a float survives it.
inline VecF f_select(MaskF m, VecF yes, VecF no) { return vbslq_f32(m, yes, no); }
// 2^n for whole n in [-126, 127].
inline VecF f_exp2_whole(VecF n) {
    const int32x4_t biased = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(biased, 23));
}
// kFloatLanes vectors as a matrix, transposed in place.
inline void f_transpose(VecF* v) {
    const float64x2_t a = vreinterpretq_f64_f32(vtrn1q_f32(v[0], v[1]));
    const float64x2_t b = vreinterpretq_f64_f32(vtrn2q_f32(v[0], v[1]));
    const float64x2_t c = vreinterpretq_f64_f32(vtrn1q_f32(v[2], v[3]));
    const float64x2_t d = vreinterpretq_f64_f32(vtrn2q_f32(v[2], v[3]));
    v[0] = vreinterpretq_f32_f64(vtrn1q_f64(a, c));
    v[1] = vreinterpretq_f32_f64(vtrn1q_f64(b, d));
    v[2] = vreinterpretq_f32_f64(vtrn2q_f64(a, c));
    v[3] = vreinterpretq_f32_f64(vtrn2q_f64(b, d));
}
inline MaskF m_and(MaskF a, MaskF b) { return vandq_u32(a, b); }
inline MaskF m_or(MaskF a, MaskF b) { return vorrq_u32(a, b); }
// Bit i is lane i.
inline uint32_t m_bits(MaskF m) {
    const uint32x4_t weights = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m, weights));
}

// a b + c, rounded once where the ISA has it, else twice.
inline VecF f_fma(VecF a, VecF b, VecF c) { return vfmaq_f32(c, a, b); }
// Correctly rounded, as + - * / of vectors are.
inline VecF f_sqrt(VecF v) { return vsqrtq_f32(v); }
inline VecF f_floor(VecF v) { return vrndmq_f32(v); }
inline VecF f_ceil(VecF v) { return vrndpq_f32(v); }
// To the nearest whole number, to the even one of two.
inline VecF f_round(VecF v) { return vrndnq_f32(v); }
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
inline VecF f_reciprocal(VecF v) {
    VecF guess = vrecpeq_f32(v);
    guess = guess * vrecpsq_f32(v, guess);
    return guess * vrecpsq_f32(v, guess);
}
// The first n floats, n <= kFloatLanes, and zeros; the store writes no others.
inline VecF f_load_first(const float* p, size_t n) {
    float lanes[kFloatLanes] = {};
    for (size_t i = 0; i < n; ++i) lanes[i] = p[i];
    return f_load(lanes);
}
inline void f_store_first(float* p, VecF v, size_t n) {
    float lanes[kFloatLanes];
    f_store(lanes, v);
    for (size_t i = 0; i < n; ++i) p[i] = lanes[i];
}
// The bits of floats as integers, and back.
inline int32x4_t i32_of_bits(VecF v) { return vreinterpretq_s32_f32(v); }
inline VecF f_of_bits(int32x4_t v) { return vreinterpretq_f32_s32(v); }

// ---- integers: pixels

constexpr int kShortLanes = 8;
constexpr int kIntLanes = 4;
// A block is 8 shorts: a pixel and its right neighbor.
constexpr int kBlocks = 1;

using VecI16 = int16x8_t;
using VecI32 = int32x4_t;

inline VecI16 i16_from_u8(const uint8_t* p) { return vreinterpretq_s16_u16(vmovl_u8(vld1_u8(p))); }
inline VecI16 i16_load(const int16_t* p) { return vld1q_s16(p); }
inline void i16_store(int16_t* p, VecI16 v) { vst1q_s16(p, v); }
inline VecI16 i16_set(int x) { return vdupq_n_s16(static_cast<int16_t>(x)); }
// (a b + 2^14) >> 15.
inline VecI16 i16_mul_round(VecI16 a, VecI16 b) { return vqrdmulhq_s16(a, b); }
// a b >> 16.
inline VecI16 u16_mul_high(VecI16 a, VecI16 b) {
    const uint16x8_t x = vreinterpretq_u16_s16(a), y = vreinterpretq_u16_s16(b);
    const uint16x4_t low = vshrn_n_u32(vmull_u16(vget_low_u16(x), vget_low_u16(y)), 16);
    return vreinterpretq_s16_u16(vshrn_high_n_u32(low, vmull_high_u16(x, y), 16));
}

inline VecI32 i32_load(const void* p) {
    return vreinterpretq_s32_u8(vld1q_u8(static_cast<const uint8_t*>(p)));
}
inline void i32_store(void* p, VecI32 v) { vst1q_u8(static_cast<uint8_t*>(p), vreinterpretq_u8_s32(v)); }
inline VecI32 i32_set(int x) { return vdupq_n_s32(x); }
inline VecI32 i32_and(VecI32 a, VecI32 b) { return vandq_s32(a, b); }
inline VecI32 i32_or(VecI32 a, VecI32 b) { return vorrq_s32(a, b); }
inline VecI32 i32_add(VecI32 a, VecI32 b) { return vaddq_s32(a, b); }
template <int n>
inline VecI32 u32_shift_right(VecI32 v) {
    return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(v), n));
}
inline VecI32 u32_shift_right(VecI32 v, int n) {
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(v), vdupq_n_s32(-n)));
}
inline VecF f_from_i32(VecI32 v) { return vcvtq_f32_s32(v); }
inline VecI16 i16_from_bits(VecI32 v) { return vreinterpretq_s16_s32(v); }
inline VecI32 i32_from_bits(VecI16 v) { return vreinterpretq_s32_s16(v); }
// Sums of two products of neighboring shorts.
inline VecI32 i32_mul_pairs(VecI16 a, VecI16 b) {
    return vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
}
// kIntLanes pairs of shorts, each from its own place.
inline VecI16 i16_load_pairs(const int16_t* row, const int32_t* offset) {
    int32_t pair[kIntLanes];
    for (int i = 0; i < kIntLanes; ++i) memcpy(&pair[i], row + offset[i], sizeof(int32_t));
    return vreinterpretq_s16_s32(vld1q_s32(pair));
}

// kShortLanes sums of 32 bits, in the order that suits the ISA until u16_narrow().
struct WideSum {
    VecI32 low, high;
};
inline WideSum wide_zero() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
// sum += a weights[0] + b weights[1].
inline WideSum wide_add(WideSum sum, VecI16 a, VecI16 b, const int16_t* weights) {
    sum.low = vmlal_n_s16(sum.low, vget_low_s16(a), weights[0]);
    sum.high = vmlal_high_n_s16(sum.high, a, weights[0]);
    sum.low = vmlal_n_s16(sum.low, vget_low_s16(b), weights[1]);
    sum.high = vmlal_high_n_s16(sum.high, b, weights[1]);
    return sum;
}
// sums >> shift, which must fit 16 bits.
inline VecI16 u16_narrow(VecI32 low, VecI32 high, int shift) {
    const int16x4_t first = vmovn_s32(u32_shift_right(low, shift));
    return vmovn_high_s32(first, u32_shift_right(high, shift));
}
template <int shift>
inline VecI16 u16_narrow(VecI32 low, VecI32 high) {
    const int16x4_t first = vmovn_s32(u32_shift_right<shift>(low));
    return vmovn_high_s32(first, u32_shift_right<shift>(high));
}

// Bytes of kIntLanes integers, each out of the 16 from window[0] on that its 4 of `order` tell; 128 makes a
// zero.
inline VecI32 i32_pick(const uint8_t* row, const int32_t* window, VecI32 order) {
    return vreinterpretq_s32_u8(vqtbl1q_u8(vld1q_u8(row + window[0]), vreinterpretq_u8_s32(order)));
}

// Bytes in the form that mix() takes: as shorts, times 128.
inline VecI16 mix_load(const uint8_t* p) { return vreinterpretq_s16_u16(vshll_n_u8(vld1_u8(p), 7)); }
// The same for kBlocks blocks: of the 16 bytes from window[i / 2] on, block i takes those that its 16 bytes
// of `order` tell; 128 makes a zero, and is where the form's low bytes go.
inline VecI16 mix_pick(const uint8_t* row, const int32_t* window, VecI32 order) {
    return vreinterpretq_s16_u16(vshrq_n_u16(vreinterpretq_u16_s32(i32_pick(row, window, order)), 1));
}
// (a weight_a >> 8) + (b weight_b >> 8), of bytes; weights are positive.
inline VecI16 mix(VecI16 a, VecI16 weight_a, VecI16 b, VecI16 weight_b) {
    return vaddq_s16(vqdmulhq_s16(a, weight_a), vqdmulhq_s16(b, weight_b));
}
// kBlocks blocks, each from its own place.
inline VecI16 blocks_load(const int16_t* row, const int32_t* offset) { return vld1q_s16(row + offset[0]); }
// For each block sum[c] += pixel[c] w0 + neighbor[c] w1; weights: w0, w1 four times for each block.
template <int channels>
inline VecI32 blocks_add(VecI32 sum, VecI16 blocks, const int16_t* weights) {
    const int16x4_t w = vld1_s16(weights);
    const int16x4_t neighbor = vget_low_s16(vextq_s16(blocks, blocks, channels));
    return vmlal_lane_s16(vmlal_lane_s16(sum, vget_low_s16(blocks), w, 0), neighbor, w, 1);
}
// Bytes of u16_narrow(blocks 0, blocks 1) and u16_narrow(blocks 2, blocks 3), all below 256, in order.
inline void blocks_store(uint32_t* p, VecI16 first, VecI16 second) {
    const int8x16_t bytes = vmovn_high_s16(vmovn_s16(first), second);
    i32_store(p, vreinterpretq_s32_s8(bytes));
}
// The low bytes of 4 kIntLanes integers below 256.
inline void u8_store(uint8_t* p, VecI32 a, VecI32 b, VecI32 c, VecI32 d) {
    const int16x8_t first = vmovn_high_s32(vmovn_s32(a), b);
    const int16x8_t second = vmovn_high_s32(vmovn_s32(c), d);
    i32_store(p, vreinterpretq_s32_s8(vmovn_high_s16(vmovn_s16(first), second)));
}

// ---- integers: bytes of YUV frames
//
// A vector of bytes is taken apart into two of shorts, `low` and `high`: of each 16 bytes the first 8 and the
// last 8. Bytes come in as the high bytes of shorts, less 128: signed.

inline VecI32 i32_xor(VecI32 a, VecI32 b) { return veorq_s32(a, b); }
// Saturated.
inline VecI16 i16_add(VecI16 a, VecI16 b) { return vqaddq_s16(a, b); }
template <int n>
inline VecI16 i16_shift_left(VecI16 v) {
    return vshlq_n_s16(v, n);
}
// Bytes as the high bytes of shorts.
inline VecI16 high_of_low(VecI32 bytes) {
    return vreinterpretq_s16_s8(vzip1q_s8(vdupq_n_s8(0), vreinterpretq_s8_s32(bytes)));
}
inline VecI16 high_of_high(VecI32 bytes) {
    return vreinterpretq_s16_s8(vzip2q_s8(vdupq_n_s8(0), vreinterpretq_s8_s32(bytes)));
}
// The way back: of shorts >> n, saturated to 0..255.
template <int n>
inline VecI32 u8_join(VecI16 low, VecI16 high) {
    return vreinterpretq_s32_u8(vqshrun_high_n_s16(vqshrun_n_s16(low, n), high, n));
}
// Of neighboring shorts a and b: a and a; b and b; b and a.
inline VecI16 i16_first_of_pairs(VecI16 v) { return vtrn1q_s16(v, v); }
inline VecI16 i16_second_of_pairs(VecI16 v) { return vtrn2q_s16(v, v); }
inline VecI16 i16_swap_pairs(VecI16 v) { return vrev32q_s16(v); }
// Every other 16 bytes from p on: with those from p + 16 on, `low` and `high` of twice as many bytes.
inline VecI16 i16_load_alternate(const uint8_t* p) { return vreinterpretq_s16_u8(vld1q_u8(p)); }
// kShortLanes bytes of a and of b, in turns.
inline VecI32 u8_interleave(const uint8_t* a, const uint8_t* b) {
    const uint8x8x2_t pairs = vzip_u8(vld1_u8(a), vld1_u8(b));
    return vreinterpretq_s32_u8(vcombine_u8(pairs.val[0], pairs.val[1]));
}
// 4 kIntLanes bytes of a, of b and of c, in turns.
inline void u8_store_triples(uint8_t* p, VecI32 a, VecI32 b, VecI32 c) {
    const uint8x16x3_t triples = {
        {vreinterpretq_u8_s32(a), vreinterpretq_u8_s32(b), vreinterpretq_u8_s32(c)}};
    vst3q_u8(p, triples);
}

}  // namespace
