// SiLU from a table, for ISAs that look one up in an instruction: half the arithmetic of an exponential and a
// reciprocal.
//
// silu(x) = x / 2 + |x| h(|x|), where h(a) = sigmoid(a) - 1/2 is a cubic on each of 32 intervals: through its
// values at the Chebyshev nodes, so to (width / 2)^4 / (2^3 4!) max |h''''| < 1.6e-6. On the last one, and on
// all that is larger, it is 1/2, which is as near.
#pragma once

#include "functions.h"

namespace {

constexpr float kSiluStep = 1 / 2.3f;

struct SiluTable {
    // The coefficient of a^k on interval i, where round(a / step) is i.
    float of[4][32];
};

// For x >= 0.
constexpr double exp_of(double x) {
    double sum = 1, term = 1;
    // Of a 32nd the series is short; squared five times it is the whole.
    for (int k = 1; k < 16; ++k) sum += term *= x / 32 / k;
    for (int k = 0; k < 5; ++k) sum *= sum;
    return sum;
}

constexpr SiluTable make_silu_table() {
    constexpr double kNodes[] = {-0.92387953251128674, -0.38268343236508977, 0.38268343236508977,
                                 0.92387953251128674};
    SiluTable table{};
    for (int i = 0; i < 31; ++i) {
        const double low = i == 0 ? 0.0 : (i - 0.5) * kSiluStep, high = (i + 0.5) * kSiluStep;
        // Newton's divided differences at the nodes, then the product of the linear factors multiplied out.
        double x[4] = {}, difference[4] = {}, power[4] = {};
        for (int k = 0; k < 4; ++k) {
            x[k] = (low + high) / 2 + (high - low) / 2 * kNodes[k];
            difference[k] = 0.5 - 1 / (1 + exp_of(x[k]));
        }
        for (int order = 1; order < 4; ++order)
            for (int k = 3; k >= order; --k)
                difference[k] = (difference[k] - difference[k - 1]) / (x[k] - x[k - order]);
        for (int k = 3; k >= 0; --k) {
            for (int j = 3; j > 0; --j) power[j] = power[j - 1] - x[k] * power[j];
            power[0] = difference[k] - x[k] * power[0];
        }
        for (int k = 0; k < 4; ++k) table.of[k][i] = static_cast<float>(power[k]);
    }
    table.of[0][31] = 0.5f;
    return table;
}

alignas(64) inline constexpr SiluTable kSilu = make_silu_table();

template <int n>
inline __attribute__((always_inline)) void silu(VecF (&x)[n]) {
    VecF size[n], a[n], h[n];
    VecI32 interval[n];
    // Held to where it is 0 already, so that -infinity gives 0.
    ECV_UNROLL for (int i = 0; i < n; ++i) x[i] = f_max(f_set(-87.0f), x[i]);
    ECV_UNROLL for (int i = 0; i < n; ++i) size[i] = f_abs(x[i]);
    ECV_UNROLL for (int i = 0; i < n; ++i) a[i] = f_min(f_set(31 * kSiluStep), size[i]);
    // Added to 1.5 * 2^23 the lowest bits hold the rounded number.
    ECV_UNROLL for (int i = 0; i < n; ++i) interval[i] =
        i32_of_bits(f_fma(a[i], f_set(1 / kSiluStep), f_set(12582912.0f)));
    ECV_UNROLL for (int i = 0; i < n; ++i) h[i] = f_lookup(kSilu.of[3], interval[i]);
    ECV_UNROLL for (int k = 2; k >= 0; --k) ECV_UNROLL for (int i = 0; i < n; ++i) h[i] =
        f_fma(h[i], a[i], f_lookup(kSilu.of[k], interval[i]));
    ECV_UNROLL for (int i = 0; i < n; ++i) x[i] = f_fma(size[i], h[i], x[i] * f_set(0.5f));
}

}  // namespace
