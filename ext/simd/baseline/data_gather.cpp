// Reads at places that data tell.
#include <string.h>

#include "data.h"

namespace ecv {
namespace {

// Copies `bytes` from x + its place for each of n indices of an axis. False: one is outside.
bool take(const char* x, int64_t axis, int64_t bytes, const Indices& indices, int64_t n, char* y) {
    for (int64_t i = 0; i < n; ++i, y += bytes) {
        const int64_t place = indices.place(i, axis);
        if (place < 0) return false;
        memcpy(y, x + place * bytes, static_cast<size_t>(bytes));
    }
    return true;
}

bool gather_elements(const GatherNdStep& step, const Memory& memory, const Indices& indices) {
    const int64_t* const x_shape = at<const int64_t>(memory, step.x_shape);
    const int64_t* const y_shape = at<const int64_t>(memory, step.y_shape);
    const int rank = static_cast<int>(step.rank), axis = static_cast<int>(step.axis);
    const char* const x = at<const char>(memory, step.x);
    char* y = at<char>(memory, step.y);
    int64_t stride[kMostRank], at_axis[kMostRank] = {};
    int64_t extent = 1;
    for (int i = rank - 1; i >= 0; --i) {
        stride[i] = extent;
        extent *= x_shape[i];
    }
    const int64_t n = count_of(y_shape, rank);
    for (int64_t k = 0; k < n; ++k, y += step.size) {
        int64_t from = indices.place(k, x_shape[axis]);
        if (from < 0) return false;
        from *= stride[axis];
        for (int i = 0; i < rank; ++i)
            if (i != axis) from += at_axis[i] * stride[i];
        memcpy(y, x + from * step.size, static_cast<size_t>(step.size));
        for (int i = rank - 1; i >= 0 && ++at_axis[i] == y_shape[i]; --i) at_axis[i] = 0;
    }
    return true;
}

bool gather_tuples(const GatherNdStep& step, const Memory& memory, const Indices& indices) {
    const int64_t* const x_shape = at<const int64_t>(memory, step.x_shape);
    const int64_t bytes = step.size * count_of(x_shape + step.depth, step.rank - step.depth);
    const int64_t batch = bytes * count_of(x_shape, step.depth);
    const char* x = at<const char>(memory, step.x);
    char* y = at<char>(memory, step.y);
    for (int64_t b = 0, k = 0; b < step.outer; ++b, x += batch) {
        for (int64_t i = 0; i < step.n; ++i, ++k, y += bytes) {
            const int64_t place = indices.tuple(k, step.depth, x_shape);
            if (place < 0) return false;
            memcpy(y, x + place * bytes, static_cast<size_t>(bytes));
        }
    }
    return true;
}

}  // namespace

StepStatus run_gather_nd(const void* fields, const Memory& memory, int64_t, char*) {
    const GatherNdStep& step = *static_cast<const GatherNdStep*>(fields);
    const Indices indices(memory, step.indices, step.index_dtype);
    bool inside = true;
    switch (static_cast<GatherKind>(step.kind)) {
        case GatherKind::take: {
            const int64_t bytes = step.inner * step.size;
            for (int64_t i = 0; i < step.outer && inside; ++i)
                inside = take(at<const char>(memory, step.x) + i * step.axis * bytes, step.axis, bytes,
                              indices, step.n, at<char>(memory, step.y) + i * step.n * bytes);
            break;
        }
        case GatherKind::elements:
            inside = gather_elements(step, memory, indices);
            break;
        case GatherKind::nd:
            inside = gather_tuples(step, memory, indices);
            break;
    }
    return inside ? StepStatus::ok : StepStatus::index_outside;
}

}  // namespace ecv
