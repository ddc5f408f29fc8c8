// The operations of a map on vectors of float32. + - * / and square roots are correctly rounded; the rest as
// math.h and activations.h say. NaN gives NaN.
//
// Include it only from kernel files, as vec.h.
#pragma once

#include "activations.h"

namespace {

// a^b, of squares without libm.
inline VecF f_pow(VecF a, VecF b) {
    constexpr uint32_t kAll = (1u << kFloatLanes) - 1;
    if (m_bits(f_eq(b, f_set(2.0f))) == kAll) return a * a;
    float base[kFloatLanes], exponent[kFloatLanes];
    f_store(base, a);
    f_store(exponent, b);
    for (int i = 0; i < kFloatLanes; ++i) base[i] = __builtin_powf(base[i], exponent[i]);
    return f_load(base);
}

inline VecF f_sign(VecF v) {
    const VecF zero = f_set(0.0f);
    return f_select(f_gt(v, zero), f_set(1.0f), f_select(f_gt(zero, v), f_set(-1.0f), v));
}

// Those up to `activation`, which is `first` here: the activation itself comes after.
template <ecv::MapOp op>
inline VecF f_map(VecF a, VecF b, VecF c) {
    using ecv::Activation;
    using ecv::MapOp;
    const VecF zero = f_set(0.0f);
    if constexpr (op == MapOp::first || op == MapOp::activation) return a;
    if constexpr (op == MapOp::add) return a + b;
    if constexpr (op == MapOp::sub) return f_sub(a, b);
    if constexpr (op == MapOp::mul) return a * b;
    if constexpr (op == MapOp::div) return a / b;
    if constexpr (op == MapOp::max) return f_max_nan(a, b);
    if constexpr (op == MapOp::min) return f_min_nan(a, b);
    if constexpr (op == MapOp::pow) return f_pow(a, b);
    if constexpr (op == MapOp::prelu) return f_select(f_gt(zero, a), a * b, a);
    if constexpr (op == MapOp::affine) return f_fma(a, b, c);
    if constexpr (op == MapOp::neg) return f_negate(a);
    if constexpr (op == MapOp::abs) return f_abs(a);
    if constexpr (op == MapOp::sqrt) return f_sqrt(a);
    if constexpr (op == MapOp::exp) return f_exp_wide(a);
    if constexpr (op == MapOp::log) return f_log(a);
    if constexpr (op == MapOp::reciprocal) return f_set(1.0f) / a;
    if constexpr (op == MapOp::sigmoid) return f_sigmoid(a);
    if constexpr (op == MapOp::tanh) return f_tanh(a);
    if constexpr (op == MapOp::erf) return f_erf(a);
    if constexpr (op == MapOp::floor) return f_floor(a);
    if constexpr (op == MapOp::ceil) return f_ceil(a);
    if constexpr (op == MapOp::round) return f_round(a);
    if constexpr (op == MapOp::sign) return f_sign(a);
    if constexpr (op == MapOp::sin) return f_each(a, [](float x) { return __builtin_sinf(x); });
    if constexpr (op == MapOp::cos) return f_each(a, [](float x) { return __builtin_cosf(x); });
    if constexpr (op == MapOp::softplus) return f_activate<Activation::softplus>(a, zero, zero);
}

}  // namespace
