// Where bools are true.
#include <string.h>

#include <algorithm>

#include "data.h"

namespace ecv {
namespace {

// The first place from i on, of n, with a byte that is not 0; n: there is none.
int64_t next_set(const uint8_t* x, int64_t i, int64_t n) {
    for (uint64_t some; i + 8 <= n; i += 8) {
        memcpy(&some, x + i, sizeof some);
        if (some) break;
    }
    while (i < n && !x[i]) ++i;
    return i;
}

}  // namespace

StepStatus run_nonzero(const void* fields, const Memory& memory, int64_t, char*) {
    const NonzeroStep& step = *static_cast<const NonzeroStep*>(fields);
    const int64_t* const shape = at<const int64_t>(memory, step.shape);
    const uint8_t* const x = at<const uint8_t>(memory, step.x);
    int64_t* const y = at<int64_t>(memory, step.y);
    int64_t& count = *at<int64_t>(memory, step.count);
    count = 0;
    const int64_t n = count_of(shape, step.rank);
    for (int64_t i = next_set(x, 0, n); i < n; i = next_set(x, i + 1, n)) {
        if (count == step.capacity) return StepStatus::capacity;
        int64_t rest = i;
        for (int64_t axis = step.rank - 1; axis >= 0; --axis) {
            y[axis * step.capacity + count] = rest % shape[axis];
            rest /= shape[axis];
        }
        ++count;
    }
    for (int64_t axis = 0; axis < step.rank; ++axis)
        std::fill(y + axis * step.capacity + count, y + (axis + 1) * step.capacity, 0);
    return StepStatus::ok;
}

}  // namespace ecv
