// What becomes of sums once they are whole: the activation, in registers where it is cheap, else over what
// was stored, while that is still in the first cache.
//
// Include it only from kernel files, as vec.h.
#pragma once

#include "activations.h"
#include "refs.h"

namespace {

struct Finish {
    enum Kind { none, relu, clip, leaky } kind;
    float alpha, beta;
    ActivateRows after;  // for what is not done in registers; or nullptr
};

// What is done to sums that are stored before they are whole.
constexpr Finish kNoFinish{Finish::none, 0, 0, nullptr};

inline Finish finish_of(int64_t activation, int64_t alpha_bits, int64_t beta_bits) {
    using ecv::Activation;
    Finish f{Finish::none, ecv::float_of(alpha_bits), ecv::float_of(beta_bits), nullptr};
    const Activation kind = static_cast<Activation>(activation);
    if (kind == Activation::relu)
        f.kind = Finish::relu;
    else if (kind == Activation::clip)
        f.kind = Finish::clip;
    else if (kind == Activation::leaky_relu && f.alpha <= 1)
        f.kind = Finish::leaky;
    else if (kind != Activation::none)
        f.after = activate_rows_of(kind);
    return f;
}

template <int n>
inline __attribute__((always_inline)) void finish_sums(const Finish& f, VecF (&sum)[n]) {
    if (f.kind == Finish::relu) {
        const VecF zero = f_set(0.0f);
        ECV_UNROLL for (int i = 0; i < n; ++i) sum[i] = f_max(zero, sum[i]);
    } else if (f.kind == Finish::clip) {
        const VecF low = f_set(f.alpha), high = f_set(f.beta);
        ECV_UNROLL for (int i = 0; i < n; ++i) sum[i] = f_min(high, f_max(low, sum[i]));
    } else if (f.kind == Finish::leaky) {
        // The slope is at most 1.
        const VecF slope = f_set(f.alpha);
        ECV_UNROLL for (int i = 0; i < n; ++i) sum[i] = f_max(sum[i] * slope, sum[i]);
    }
}

// n pixels as the fewest parts of at most `most`, as equal as can be: 13 as 7 and 6, not as 9 and 4.
struct EqualParts {
    int64_t count, least, larger;

    EqualParts(int64_t n, int64_t most)
        : count(ecv::ceil_div(n, most)), least(n / count), larger(n % count) {}
    int64_t size(int64_t part) const { return least + (part < larger ? 1 : 0); }
};

}  // namespace
