// The activations that follow a convolution or a map, on vectors and over runs of them: to about 1e-6 of the
// largest of value, argument and 1. NaN gives NaN; infinities give what the function tends to.
//
// Include it only from kernel files, as vec.h.
#pragma once

#include "functions.h"
#include "ops.h"

namespace {

// e^-x to about 3e-6 of it, for x >= -87: for sums with 1, where that is enough. Exactly 1 for 0.
inline VecF f_exp_negative(VecF x) {
    static constexpr float kSeries[] = {1.0f, 6.930447220e-01f, 2.412806380e-01f, 5.224204529e-02f,
                                        1.342681420e-02f};
    const VecF t = f_scalable(x * f_set(-1.44269504f));
    return f_scale_floor(f_polynomial(f_fraction(t), kSeries), t);
}

// For x >= -87.
inline VecF f_sigmoid_bounded(VecF x) { return f_reciprocal(f_set(1.0f) + f_exp_negative(x)); }

inline VecF f_sigmoid(VecF x) { return f_sigmoid_bounded(f_max(f_set(-87.0f), x)); }

template <ecv::Activation kind>
inline VecF f_activate(VecF v, VecF alpha, VecF beta) {
    using ecv::Activation;
    // Of f_max and f_min the second argument is kept where it is NaN.
    const VecF zero = f_set(0.0f), one = f_set(1.0f);
    if constexpr (kind == Activation::none) {
        return v;
    } else if constexpr (kind == Activation::relu) {
        return f_max(zero, v);
    } else if constexpr (kind == Activation::clip) {
        return f_min(beta, f_max(alpha, v));
    } else if constexpr (kind == Activation::leaky_relu) {
        return f_select(f_gt(zero, v), v * alpha, v);
    } else if constexpr (kind == Activation::sigmoid) {
        return f_sigmoid(v);
    } else if constexpr (kind == Activation::silu) {
        // Held to where the sigmoid is 0 already, so that -infinity gives 0.
        const VecF x = f_max(f_set(-87.0f), v);
        return x * f_sigmoid_bounded(x);
    } else if constexpr (kind == Activation::hard_sigmoid) {
        return f_min(one, f_max(zero, f_fma(v, alpha, beta)));
    } else if constexpr (kind == Activation::hard_swish) {
        const VecF gate = f_min(one, f_max(zero, f_fma(v, f_set(1.0f / 6), f_set(0.5f))));
        return f_max(f_set(-3.0f), v) * gate;
    } else if constexpr (kind == Activation::tanh) {
        return f_tanh(v);
    } else if constexpr (kind == Activation::mish) {
        // tanh(log(1 + e^x)) = n / (n + 2), n = e^x (e^x + 2); from 20 on it is 1.
        const VecF bounded = f_min(f_set(20.0f), f_max(f_set(-87.0f), v));
        const VecF e = f_exp_negative(f_sub(zero, bounded));
        const VecF n = e * (e + f_set(2.0f));
        return f_max(f_set(-87.0f), v) * (n * f_reciprocal(n + f_set(2.0f)));
    } else if constexpr (kind == Activation::gelu) {
        return f_max(f_set(-13.0f), v) * f_set(0.5f) * (one + f_erf(v * f_set(0.707106781f)));
    } else if constexpr (kind == Activation::gelu_tanh) {
        // (1 + tanh(u)) / 2 = sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
        const VecF x = f_max(f_set(-10.0f), v);
        return x * f_sigmoid(x * f_fma(x * x, f_set(0.0713548163f), f_set(1.59576912f)));
    } else if constexpr (kind == Activation::elu) {
        return f_select(f_gt(v, zero), v, alpha * f_expm1(f_min(zero, v)));
    } else if constexpr (kind == Activation::selu) {
        return beta * f_select(f_gt(v, zero), v, alpha * f_expm1(f_min(zero, v)));
    } else if constexpr (kind == Activation::softplus) {
        return f_max(zero, v) + f_log1p(f_exp_negative(f_abs(v)));
    } else if constexpr (kind == Activation::exp) {
        return f_exp_wide(v);
    } else {
        static_assert(kind == Activation::softsign);
        const VecF x = f_min(f_set(1e30f), f_max(f_set(-1e30f), v));
        return x / (one + f_abs(x));
    }
}

// The activation of rows of vectors, in place: row r, vector i at y + r row + i step floats.
using ActivateRows = void (*)(float* y, int64_t rows, int64_t row, int64_t n, int64_t step, float alpha,
                              float beta);

template <ecv::Activation kind>
inline void activate_rows(float* y, int64_t rows, int64_t row, int64_t n, int64_t step, float alpha,
                          float beta) {
    const VecF a = f_set(alpha), b = f_set(beta);
    for (int64_t r = 0; r < rows; ++r, y += row)
        for (int64_t i = 0; i < n; ++i) f_store(y + i * step, f_activate<kind>(f_load(y + i * step), a, b));
}

inline ActivateRows activate_rows_of(ecv::Activation kind) {
    static constexpr ActivateRows kRows[] = {
#define X(name) activate_rows<ecv::Activation::name>,
        ECV_ACTIVATIONS(X)
#undef X
    };
    return kRows[static_cast<int64_t>(kind)];
}

// n vectors in place.
inline void activate_run(ecv::Activation kind, float* y, size_t n, float alpha, float beta) {
    activate_rows_of(kind)(y, 1, 0, static_cast<int64_t>(n), kFloatLanes, alpha, beta);
}

}  // namespace
