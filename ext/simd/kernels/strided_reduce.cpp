// Sums, largest and exponentials of contiguous runs of float32; walks over strided operands are baseline
// code.
#include "activations.h"
#include "kernels.h"
#include "strided.h"
#include "transpose.h"

namespace {

using namespace ecv;

constexpr size_t kLanes = kFloatLanes;

// n < kLanes elements, and `rest` in the other lanes.
__attribute__((noinline)) VecF load_few(const float* p, size_t n, float rest) {
    float lanes[kLanes];
    for (size_t i = 0; i < kLanes; ++i) lanes[i] = i < n ? p[i] : rest;
    return f_load(lanes);
}
__attribute__((noinline)) void store_few(float* p, VecF v, size_t n) {
    float lanes[kLanes];
    f_store(lanes, v);
    for (size_t i = 0; i < n; ++i) p[i] = lanes[i];
}

// What a fold makes of an element, and of two such.
template <Fold kind>
inline VecF value_of(VecF x, VecF offset) {
    if constexpr (kind == Fold::absolute) return f_abs(x);
    if constexpr (kind == Fold::square) return x * x;
    if constexpr (kind == Fold::exp) return f_exp_wide(f_sub(x, offset));
    return x;
}
template <Fold kind>
inline VecF join(VecF a, VecF b) {
    if constexpr (kind == Fold::product) return a * b;
    if constexpr (kind == Fold::max) return f_max_nan(a, b);
    if constexpr (kind == Fold::min) return f_min_nan(a, b);
    return a + b;
}
constexpr float identity(Fold kind) {
    return kind == Fold::product ? 1.0f
           : kind == Fold::max   ? -__builtin_inff()
           : kind == Fold::min   ? __builtin_inff()
                                 : 0.0f;
}

// Lane i and lane i + half of it, until one is left.
template <Fold kind>
float join_lanes(VecF v) {
    float lanes[kLanes];
    f_store(lanes, v);
    for (size_t half = kLanes / 2; half; half /= 2) {
        for (size_t i = 0; i < half; ++i) {
            const float a = lanes[i], b = lanes[i + half];
            if constexpr (kind == Fold::product)
                lanes[i] = a * b;
            else if constexpr (kind == Fold::max)
                lanes[i] = a != a || a > b ? a : b;
            else if constexpr (kind == Fold::min)
                lanes[i] = a != a || a < b ? a : b;
            else
                lanes[i] = a + b;
        }
    }
    return lanes[0];
}

template <Fold kind>
float fold_run(const float* x, size_t n, float by) {
    // Not a vector's argument: functions that have one leave the upper halves of registers as they are.
    const VecF offset = f_set(by);
    constexpr size_t kSums = 4;
    const VecF start = f_set(identity(kind));
    VecF sums[kSums] = {start, start, start, start};
    size_t i = 0;
    for (; i + kSums * kLanes <= n; i += kSums * kLanes)
        for (size_t k = 0; k < kSums; ++k)
            sums[k] = join<kind>(sums[k], value_of<kind>(f_load(x + i + k * kLanes), offset));
    for (; i + kLanes <= n; i += kLanes) sums[0] = join<kind>(sums[0], value_of<kind>(f_load(x + i), offset));
    if (i < n) {
        // e^-infinity is 0, as the other sums' identities are nothing to them.
        const float rest = kind == Fold::exp ? -__builtin_inff() : identity(kind);
        sums[1] = join<kind>(sums[1], value_of<kind>(load_few(x + i, n - i, rest), offset));
    }
    return join_lanes<kind>(join<kind>(join<kind>(sums[0], sums[1]), join<kind>(sums[2], sums[3])));
}

template <Fold kind>
void accumulate_run(float* sums, const float* x, const float* offset, size_t n) {
    constexpr bool takes_offset = kind == Fold::exp;
    const VecF zero = f_set(0.0f);
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        const VecF by = takes_offset ? f_load(offset + i) : zero;
        f_store(sums + i, join<kind>(f_load(sums + i), value_of<kind>(f_load(x + i), by)));
    }
    if (i == n) return;
    const VecF by = takes_offset ? load_few(offset + i, n - i, 0.0f) : zero;
    const VecF value = value_of<kind>(load_few(x + i, n - i, 0.0f), by);
    store_few(sums + i, join<kind>(load_few(sums + i, n - i, 0.0f), value), n - i);
}

#define ECV_FOLDS(X) X(sum) X(absolute) X(square) X(product) X(max) X(min) X(exp)

float fold(Fold kind, const float* x, size_t n, float offset) {
    switch (kind) {
#define X(name)      \
    case Fold::name: \
        return fold_run<Fold::name>(x, n, offset);
        ECV_FOLDS(X)
#undef X
    }
    return 0.0f;
}

void accumulate(Fold kind, float* sums, const float* x, const float* offset, size_t n) {
    switch (kind) {
#define X(name)      \
    case Fold::name: \
        return accumulate_run<Fold::name>(sums, x, offset, n);
        ECV_FOLDS(X)
#undef X
    }
}

// y[i] = f(x[i], i) of all vectors, the last of which may be short.
template <typename F>
void each_vector(const float* x, float* y, size_t n, F f) {
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) f_store(y + i, f(f_load(x + i), i, kLanes));
    if (i < n) store_few(y + i, f(load_few(x + i, n - i, -__builtin_inff()), i, n - i), n - i);
}
VecF load_some(const float* p, size_t n) { return n == kLanes ? f_load(p) : load_few(p, n, 0.0f); }

float exponentials(const float* x, float offset, float* y, size_t n) {
    const VecF by = f_set(offset);
    // Two sums, so that an addition need not wait for the one before.
    VecF sums[2] = {f_set(0.0f), f_set(0.0f)};
    each_vector(x, y, n, [&](VecF v, size_t i, size_t) {
        const VecF e = f_exp_wide(f_sub(v, by));
        VecF& sum = sums[i / kLanes % 2];
        sum = sum + e;
        return e;
    });
    return join_lanes<Fold::sum>(sums[0] + sums[1]);
}

void column_exponentials(const float* x, const float* offset, float* y, float* sums, size_t n) {
    each_vector(x, y, n, [&](VecF v, size_t i, size_t some) {
        const VecF e = f_exp_wide(f_sub(v, load_some(offset + i, some)));
        const VecF sum = load_some(sums + i, some) + e;
        if (some == kLanes)
            f_store(sums + i, sum);
        else
            store_few(sums + i, sum, some);
        return e;
    });
}

void scale(float* y, float factor, size_t n) {
    const VecF by = f_set(factor);
    each_vector(y, y, n, [&](VecF v, size_t, size_t) { return v * by; });
}
void column_scale(float* y, const float* factor, size_t n) {
    each_vector(y, y, n, [&](VecF v, size_t i, size_t some) { return v * load_some(factor + i, some); });
}
void shift(const float* x, float offset, float* y, size_t n) {
    const VecF by = f_set(offset);
    each_vector(x, y, n, [&](VecF v, size_t, size_t) { return f_sub(v, by); });
}
void column_shift(const float* x, const float* offset, float* y, size_t n) {
    each_vector(x, y, n,
                [&](VecF v, size_t i, size_t some) { return f_sub(v, load_some(offset + i, some)); });
}

constexpr RowRuns kRuns = {
#define X(result, name, parameters) name,
    ECV_ROW_RUNS(X)
#undef X
};

StepStatus reduce_nd(const void* step, const Memory& memory, int64_t chunk, char* scratch) {
    return reduce_strided(*static_cast<const ReduceNdStep*>(step), memory, chunk, scratch, kRuns);
}
StepStatus softmax_nd(const void* step, const Memory& memory, int64_t chunk, char* scratch) {
    return softmax_strided(*static_cast<const SoftmaxNdStep*>(step), memory, chunk, scratch, kRuns);
}

}  // namespace

namespace ecv {

extern const ReduceNdKernels ECV_EXPORT(reduce_nd_kernels) = {reduce_nd, softmax_nd};

}  // namespace ecv
