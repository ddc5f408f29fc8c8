// What the steps share that read and write at places which data tell. Baseline code.
#pragma once

#include "elements.h"
#include "refs.h"

namespace ecv {

// int32 or int64 numbers of places along an axis; negative ones count from its end.
struct Indices {
    const int32_t* narrow;
    const int64_t* wide;

    Indices(const Memory& memory, int64_t ref, int64_t dtype)
        : narrow(dtype == static_cast<int64_t>(Dtype::i32) ? at<const int32_t>(memory, ref) : nullptr),
          wide(narrow ? nullptr : at<const int64_t>(memory, ref)) {}

    // The i-th, in [0, axis); -1: outside.
    int64_t place(int64_t i, int64_t axis) const {
        const int64_t index = narrow ? narrow[i] : wide[i];
        if (index < -axis || index >= axis) return -1;
        return index < 0 ? index + axis : index;
    }

    // The place in `shape` that the i-th of tuples of `depth` tells, counted in what its last axis steps
    // over; -1: outside.
    int64_t tuple(int64_t i, int64_t depth, const int64_t* shape) const {
        int64_t result = 0;
        for (int64_t axis = 0; axis < depth; ++axis) {
            const int64_t along = place(i * depth + axis, shape[axis]);
            if (along < 0) return -1;
            result = result * shape[axis] + along;
        }
        return result;
    }
};

// Keys of a dtype's values that rise as they do; -0 as 0. NaN is above all, as it is where NumPy sorts. x: n
// elements.
void rising_keys(Dtype dtype, const void* x, size_t n, uint64_t* keys);

bool cumsum_supported(int64_t dtype);

// Bytes of scratch of a step.
int64_t topk_scratch(int64_t k);
int64_t nms_scratch(int64_t n, int64_t most);
constexpr int64_t kLrnColumns = 512;
constexpr int64_t kLrnScratch = 2 * kLrnColumns * 4;

}  // namespace ecv
