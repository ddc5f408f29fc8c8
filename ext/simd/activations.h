// The activations that follow a convolution or a map, on vectors and over runs of them: to about 1e-6 of the
// largest of value, argument and 1. NaN gives NaN; infinities give what the function tends to.
//
// Include it only from kernel files, as vec.h.
#pragma once

#include "functions.h"
#include "ops.h"
#ifdef ECV_HAS_LOOKUP
#include "silu_table.h"
#endif

namespace {

// Chains of operations as long as these wait for each other: of several vectors, each operation is done to
// all before the next one.

// e^-x to about 3e-6 of it, for x >= -87: for sums with 1, where that is enough. Exactly 1 for 0.
template <int n>
inline __attribute__((always_inline)) void exp_negative(VecF (&x)[n]) {
    static constexpr float kSeries[] = {1.0f, 6.930447220e-01f, 2.412806380e-01f, 5.224204529e-02f,
                                        1.342681420e-02f};
    VecF t[n], f[n];
    ECV_UNROLL for (int i = 0; i < n; ++i) t[i] = f_scalable(x[i] * f_set(-1.44269504f));
    ECV_UNROLL for (int i = 0; i < n; ++i) f[i] = f_fraction(t[i]);
    ECV_UNROLL for (int i = 0; i < n; ++i) x[i] = f_set(kSeries[4]);
    ECV_UNROLL for (int k = 3; k >= 0; --k) ECV_UNROLL for (int i = 0; i < n; ++i) x[i] =
        f_fma(x[i], f[i], f_set(kSeries[k]));
    ECV_UNROLL for (int i = 0; i < n; ++i) x[i] = f_scale_floor(x[i], t[i]);
}

// For x >= -87.
template <int n>
inline __attribute__((always_inline)) void sigmoid_bounded(VecF (&x)[n]) {
    exp_negative(x);
    ECV_UNROLL for (int i = 0; i < n; ++i) x[i] = f_reciprocal(f_set(1.0f) + x[i]);
}

template <int n>
inline __attribute__((always_inline)) void sigmoid(VecF (&x)[n]) {
    ECV_UNROLL for (int i = 0; i < n; ++i) x[i] = f_max(f_set(-87.0f), x[i]);
    sigmoid_bounded(x);
}

#ifndef ECV_HAS_LOOKUP
template <int n>
inline __attribute__((always_inline)) void silu(VecF (&x)[n]) {
    VecF gate[n];
    // Held to where the sigmoid is 0 already, so that -infinity gives 0.
    ECV_UNROLL for (int i = 0; i < n; ++i) gate[i] = x[i] = f_max(f_set(-87.0f), x[i]);
    sigmoid_bounded(gate);
    ECV_UNROLL for (int i = 0; i < n; ++i) x[i] = x[i] * gate[i];
}
#endif

inline VecF f_exp_negative(VecF x) {
    VecF alone[] = {x};
    exp_negative(alone);
    return alone[0];
}

inline VecF f_sigmoid(VecF x) {
    VecF alone[] = {x};
    sigmoid(alone);
    return alone[0];
}

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
        VecF alone[] = {v};
        silu(alone);
        return alone[0];
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

// n vectors, i step floats from y on.
template <ecv::Activation kind, int n>
inline void activate_group(float* y, int64_t step, VecF alpha, VecF beta) {
    using ecv::Activation;
    VecF v[n];
    ECV_UNROLL for (int i = 0; i < n; ++i) v[i] = f_load(y + i * step);
    if constexpr (kind == Activation::silu)
        silu(v);
    else if constexpr (kind == Activation::sigmoid)
        sigmoid(v);
    else
        ECV_UNROLL for (int i = 0; i < n; ++i) v[i] = f_activate<kind>(v[i], alpha, beta);
    ECV_UNROLL for (int i = 0; i < n; ++i) f_store(y + i * step, v[i]);
}

template <ecv::Activation kind>
inline void activate_rows(float* y, int64_t rows, int64_t row, int64_t n, int64_t step, float alpha,
                          float beta) {
    const VecF a = f_set(alpha), b = f_set(beta);
    constexpr bool is_grouped = kind == ecv::Activation::silu || kind == ecv::Activation::sigmoid;
    for (int64_t r = 0; r < rows; ++r, y += row) {
        int64_t i = 0;
        if constexpr (is_grouped) {
            for (; i + 4 <= n; i += 4) activate_group<kind, 4>(y + i * step, step, a, b);
            for (; i + 2 <= n; i += 2) activate_group<kind, 2>(y + i * step, step, a, b);
        }
        for (; i < n; ++i) activate_group<kind, 1>(y + i * step, step, a, b);
    }
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
