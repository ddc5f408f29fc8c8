// What the reductions of float32 and of other dtypes share.
#pragma once

#include "elements.h"
#include "walk.h"

namespace ecv {

struct Reduction {
    ReduceKind kind;
    Dtype dtype;
    bool takes_last;  // of equals, argmax and argmin
    int64_t count;    // elements of one output
    Walk reduced;     // x's reduced axes; of argmax and argmin as the step has them
};

// Every output of `kept`, of a dtype other than float32.
void reduce_wide(const Reduction& reduction, const Walk& kept, char* scratch);

// f(place, patch) over the walk's elements, no more than `most` a patch; the walk has an axis, and no side of
// 0.
template <typename F>
void each_patch(const Walk& walk, int64_t most, char* from, F f) {
    const int last = walk.rank - 1;
    const int64_t rows = last ? walk.shape[last - 1] : 1, n = walk.shape[last];
    const int64_t row = last ? walk.stride[0][last - 1] : 0, step = walk.stride[0][last];
    const int64_t most_n = n < most ? n : most, most_rows = most / most_n;
    int64_t at_axis[kMostRank] = {};
    char* base[kMostOperands] = {from};
    do {
        for (int64_t r = 0; r < rows; r += most_rows) {
            const int64_t some_rows = rows - r < most_rows ? rows - r : most_rows;
            for (int64_t i = 0; i < n; i += most_n) {
                const Patch patch = {some_rows, n - i < most_n ? n - i : most_n, row, step};
                f(base[0] + r * row + i * step, patch);
            }
        }
    } while (advance(walk, last - 1, at_axis, base));
}

}  // namespace ecv
