// Elementary functions of vectors, to about 1e-6 of the value. NaN gives NaN; infinities and the ends of a
// domain give what the function tends to there. The polynomials are least-maximum fits made for this file.
//
// Include it only from kernel files, as vec.h.
#pragma once

#include "vec_math.h"

namespace {

// coefficients[0] + x (coefficients[1] + x (...)).
template <int n>
inline VecF f_polynomial(VecF x, const float (&coefficients)[n]) {
    VecF p = f_set(coefficients[n - 1]);
    for (int i = n - 2; i >= 0; --i) p = f_fma(p, x, f_set(coefficients[i]));
    return p;
}

inline VecF f_abs(VecF v) { return f_of_bits(i32_and(i32_of_bits(v), i32_set(0x7fffffff))); }

inline VecF f_negate(VecF v) { return -v; }

// The magnitude of v, which is positive, with the sign of `sign`.
inline VecF f_with_sign(VecF v, VecF sign) {
    return f_of_bits(i32_or(i32_of_bits(v), i32_and(i32_of_bits(sign), i32_set(-0x7fffffff - 1))));
}

inline MaskF f_is_number(VecF v) { return f_eq(v, v); }

// NaN where either is NaN, as ONNX's Max and Min have it.
inline VecF f_max_nan(VecF a, VecF b) { return f_select(f_is_number(a), f_max(a, b), a); }
inline VecF f_min_nan(VecF a, VecF b) { return f_select(f_is_number(a), f_min(a, b), a); }

// x = n ln 2 + r, e^r = 1 + q.
struct ExpParts {
    VecF n, q;
};
inline ExpParts exp_parts(VecF x) {
    static constexpr float kSeries[] = {4.999999804e-01f, 1.666653868e-01f, 4.166722127e-02f,
                                        8.367180857e-03f, 1.388239582e-03f};
    const VecF n = f_round(x * f_set(1.44269504f));
    // The first part of ln 2 is short: its product with n is exact.
    const VecF r = f_fma(n, f_set(2.12194440e-4f), f_fma(n, f_set(-0.693359375f), x));
    return {n, f_fma(r * r, f_polynomial(r, kSeries), r)};
}

// e^x.
inline VecF f_exp_wide(VecF x) {
    // Beyond these bounds it is 0 or infinity; in this order NaN stays.
    const ExpParts parts = exp_parts(f_min(f_set(89.0f), f_max(f_set(-104.0f), x)));
    return f_scale(parts.q + f_set(1.0f), parts.n);
}

// e^x - 1, as exact near 0 as elsewhere.
inline VecF f_expm1(VecF x) {
    const ExpParts parts = exp_parts(f_min(f_set(89.0f), f_max(f_set(-20.0f), x)));
    const VecF one = f_set(1.0f);
    return f_scale(parts.q + f_sub(one, f_scale(one, f_sub(f_set(0.0f), parts.n))), parts.n);
}

// Natural logarithm: -infinity of 0, NaN below.
inline VecF f_log(VecF x) {
    static constexpr float kSeries[] = {3.333391074e-01f,  -2.500133704e-01f, 1.996306380e-01f,
                                        -1.657758467e-01f, 1.491476788e-01f,  -1.426748697e-01f,
                                        8.700435915e-02f};
    const VecF one = f_set(1.0f), zero = f_set(0.0f), infinity = f_set(__builtin_inff());
    // Those below the least normal number are lifted by 2^23 first.
    const MaskF is_small = f_gt(f_set(__FLT_MIN__), x);
    const VecF lifted = f_select(is_small, x * f_set(8388608.0f), x);
    const VecF bias = f_select(is_small, f_set(150.0f), f_set(127.0f));
    VecF exponent = f_sub(f_from_i32(u32_shift_right<23>(i32_of_bits(lifted))), bias);
    VecF m = f_of_bits(i32_or(i32_and(i32_of_bits(lifted), i32_set(0x007fffff)), i32_of_bits(one)));
    const MaskF is_large = f_gt(m, f_set(1.41421356f));
    m = f_select(is_large, m * f_set(0.5f), m);
    exponent = f_select(is_large, exponent + one, exponent);
    const VecF f = f_sub(m, one), square = f * f;
    VecF tail = f * square * f_polynomial(f, kSeries);
    tail = f_fma(exponent, f_set(-2.12194440e-4f), tail);
    tail = f_fma(square, f_set(-0.5f), tail);
    const VecF value = f_fma(exponent, f_set(0.693359375f), f + tail);
    // 0 and infinity, then what has no logarithm.
    const VecF limit = f_select(f_eq(x, zero), f_sub(zero, infinity), x);
    const VecF inside = f_select(m_and(f_gt(x, zero), f_gt(infinity, x)), value, limit);
    return f_select(f_gt(zero, x), f_set(__builtin_nanf("")), inside);
}

// log(1 + x), as exact near 0 as elsewhere.
inline VecF f_log1p(VecF x) {
    const VecF one = f_set(1.0f), sum = one + x;
    // What rounding took from the sum, to first order.
    const VecF rest = f_sub(x, f_sub(sum, one)) / sum;
    const VecF value = f_log(sum);
    // An infinite value has no rest.
    return f_select(f_gt(f_set(__builtin_inff()), f_abs(value)), value + rest, value);
}

inline VecF f_tanh(VecF x) {
    // From 10 on it is 1; in this order NaN stays.
    const VecF t = f_expm1(f_min(f_set(10.0f), f_abs(x)) * f_set(2.0f));
    return f_with_sign(t / (t + f_set(2.0f)), x);
}

inline VecF f_erf(VecF x) {
    static constexpr float kNear[] = {1.128379166e+00f,  -3.761262583e-01f, 1.128358517e-01f,
                                      -2.685381251e-02f, 5.188328630e-03f,  -8.010201099e-04f,
                                      7.853884144e-05f};
    // log(1 - erf) from 1 to 4.
    static constexpr float kFar[] = {-3.415230281e-04f, -1.127089190e+00f, -6.381448327e-01f,
                                     -1.031067547e-01f, 2.183806408e-02f,  -2.947658322e-03f,
                                     1.863791935e-04f};
    const VecF a = f_abs(x), one = f_set(1.0f);
    const VecF near = x * f_polynomial(a * a, kNear);
    const VecF far = f_sub(one, f_exp_wide(f_polynomial(f_min(f_set(4.0f), a), kFar)));
    return f_select(f_gt(one, a), near, f_with_sign(far, x));
}

// A function of libm, lane by lane: for those too rare to be worth a series.
template <typename Function>
inline VecF f_each(VecF a, Function function) {
    float lanes[kFloatLanes];
    f_store(lanes, a);
    for (float& lane : lanes) lane = function(lane);
    return f_load(lanes);
}

}  // namespace
