// Unpooling, normalization across channels, sums along an axis.
#include <string.h>

#include "data.h"

namespace ecv {
namespace {

// 1 / base^beta, for the powers that networks have without libm.
float falling_power(float base, float beta) {
    if (beta == 0.75f) {
        const float root = __builtin_sqrtf(base);
        return 1.0f / (root * __builtin_sqrtf(root));
    }
    if (beta == 0.5f) return 1.0f / __builtin_sqrtf(base);
    return beta == 1.0f ? 1.0f / base : 1.0f / __builtin_powf(base, beta);
}

template <typename T>
void sum_up(const CumsumStep& step, const T* x, T* y) {
    const int64_t n = step.n, inner = step.inner;
    const int64_t first = step.reverse ? n - 1 : 0, next = step.reverse ? -inner : inner;
    for (int64_t outer = 0; outer < step.outer; ++outer, x += n * inner, y += n * inner) {
        const T* from = x + first * inner;
        T* to = y + first * inner;
        if (inner == 1) {
            T sum{};
            for (int64_t i = 0; i < n; ++i, from += next, to += next) {
                const T value = *from;
                *to = step.exclusive ? sum : sum + value;
                sum += value;
            }
            continue;
        }
        for (int64_t i = 0; i < n; ++i, from += next, to += next) {
            const T* const value = step.exclusive ? from - next : from;
            const T* const before = to - next;
            for (int64_t j = 0; j < inner; ++j)
                to[j] = i == 0 ? (step.exclusive ? T{0} : from[j]) : static_cast<T>(before[j] + value[j]);
        }
    }
}

}  // namespace

StepStatus run_unpool(const void* fields, const Memory& memory, int64_t, char*) {
    const UnpoolStep& step = *static_cast<const UnpoolStep*>(fields);
    const float* const x = at<const float>(memory, step.x);
    const int64_t* const indices = at<const int64_t>(memory, step.indices);
    float* const y = at<float>(memory, step.y);
    if (step.y_n) memset(y, 0, static_cast<size_t>(step.y_n) * sizeof *y);
    for (int64_t i = 0; i < step.n; ++i) {
        if (indices[i] < 0 || indices[i] >= step.y_n) return StepStatus::index_outside;
        y[indices[i]] = x[i];
    }
    return StepStatus::ok;
}

// A chunk: kLrnColumns of one outer's columns, in all channels.
StepStatus run_lrn(const void* fields, const Memory& memory, int64_t chunk, char* scratch) {
    const LrnStep& step = *static_cast<const LrnStep*>(fields);
    const int64_t chunks = ceil_div(step.inner, kLrnColumns), first = chunk % chunks * kLrnColumns;
    const int64_t plane = chunk / chunks * step.channels * step.inner + first;
    const int64_t n = step.inner - first < kLrnColumns ? step.inner - first : kLrnColumns;
    const float* const x = at<const float>(memory, step.x) + plane;
    float* const y = at<float>(memory, step.y) + plane;
    const float scale = float_of(step.alpha) / static_cast<float>(step.size), beta = float_of(step.beta);
    const float bias = float_of(step.bias);
    float* const sums = reinterpret_cast<float*>(scratch);
    for (int64_t c = 0; c < step.channels; ++c) {
        // The window leans to the channels after, where its size is even.
        const int64_t before = (step.size - 1) / 2, after = step.size / 2;
        const int64_t begin = c < before ? 0 : c - before;
        const int64_t end = step.channels - c <= after ? step.channels : c + after + 1;
        for (int64_t j = 0; j < n; ++j) sums[j] = 0.0f;
        for (int64_t k = begin; k < end; ++k) {
            const float* const row = x + k * step.inner;
            for (int64_t j = 0; j < n; ++j) sums[j] += row[j] * row[j];
        }
        const float* const row = x + c * step.inner;
        float* const out = y + c * step.inner;
        for (int64_t j = 0; j < n; ++j) out[j] = row[j] * falling_power(bias + scale * sums[j], beta);
    }
    return StepStatus::ok;
}

bool cumsum_supported(int64_t dtype) {
    if (!is_dtype(dtype)) return false;
    const int64_t size = size_of(static_cast<Dtype>(dtype));
    return size == 4 || size == 8;
}

StepStatus run_cumsum(const void* fields, const Memory& memory, int64_t, char*) {
    const CumsumStep& step = *static_cast<const CumsumStep*>(fields);
    const auto run = [&](auto zero) {
        using T = decltype(zero);
        sum_up(step, at<const T>(memory, step.x), at<T>(memory, step.y));
    };
    switch (static_cast<Dtype>(step.dtype)) {
        case Dtype::f32:
            run(0.0f);
            break;
        case Dtype::f64:
            run(0.0);
            break;
        case Dtype::i32:
        case Dtype::u32:  // unsigned, where sums of signed numbers may wrap
            run(uint32_t{});
            break;
        default:
            run(uint64_t{});
            break;
    }
    return StepStatus::ok;
}

}  // namespace ecv
