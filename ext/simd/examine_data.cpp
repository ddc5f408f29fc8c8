#include "data.h"
#include "steps.h"

namespace ecv {
namespace {

Examined wrong(const char* problem) { return {problem, 0, 0}; }

constexpr const char* kOutsideX = "an operand lies outside its memory";
constexpr const char* kOutsideY = "its result lies outside its memory";
constexpr const char* kBadIndices = "its indices are not of int32 or int64";

int64_t index_size(int64_t dtype) {
    if (dtype == static_cast<int64_t>(Dtype::i32)) return 4;
    return dtype == static_cast<int64_t>(Dtype::i64) ? 8 : 0;
}
bool is_size(int64_t size) { return size == 1 || size == 2 || size == 4 || size == 8; }

// A table of sides among the constants, of which every product fits; nullptr: it is none.
const int64_t* shape_of(const Memory& memory, int64_t ref, int64_t rank) {
    const int64_t* const shape = is_count(rank, 1, kMostRank) ? table<int64_t>(memory, ref, rank) : nullptr;
    int64_t n = 1;
    for (int64_t i = 0; shape && i < rank; ++i) n = shape[i] < 0 ? -1 : times(n, shape[i] ? shape[i] : 1);
    return n < 0 ? nullptr : shape;
}

// Whether no axis but one is longer than x's.
bool fits(const int64_t* shape, const int64_t* x_shape, int64_t rank, int64_t axis) {
    for (int64_t i = 0; i < rank; ++i)
        if (i != axis && shape[i] > x_shape[i]) return false;
    return true;
}

int64_t product(int64_t a, int64_t b, int64_t c) { return times(times(a, b), c); }

}  // namespace

Examined examine_gather_nd(const void* fields, const Memory& memory, int) {
    const GatherNdStep& step = *static_cast<const GatherNdStep*>(fields);
    const int64_t index = index_size(step.index_dtype);
    if (!index) return wrong(kBadIndices);
    if (!is_size(step.size)) return wrong("its elements are not of 1, 2, 4 or 8 bytes");
    int64_t x = 0, y = 0, indices = 0;
    switch (step.kind) {
        case static_cast<int64_t>(GatherKind::take):
            x = product(step.outer, step.axis, step.inner);
            y = product(step.outer, step.n, step.inner);
            indices = step.n;
            if (times(step.inner, step.size) < 0 || times(step.axis, times(step.inner, step.size)) < 0)
                x = -1;
            if (times(step.n, times(step.inner, step.size)) < 0) y = -1;
            break;
        case static_cast<int64_t>(GatherKind::elements): {
            const int64_t* const x_shape = shape_of(memory, step.x_shape, step.rank);
            const int64_t* const y_shape = shape_of(memory, step.y_shape, step.rank);
            if (!x_shape || !y_shape) return wrong("its shapes are not sound");
            if (!is_count(step.axis, 0, step.rank - 1) || !fits(y_shape, x_shape, step.rank, step.axis))
                return wrong("its indices are of more places than its operand has");
            x = count_of(x_shape, step.rank);
            indices = y = count_of(y_shape, step.rank);
            break;
        }
        case static_cast<int64_t>(GatherKind::nd): {
            const int64_t* const x_shape = shape_of(memory, step.x_shape, step.rank);
            if (!x_shape) return wrong("its shapes are not sound");
            if (!is_count(step.depth, 1, step.rank))
                return wrong("its indices tell more axes than there are");
            const int64_t inner = count_of(x_shape + step.depth, step.rank - step.depth);
            x = times(step.outer, count_of(x_shape, step.rank));
            y = product(step.outer, step.n, inner);
            indices = product(step.outer, step.n, step.depth);
            break;
        }
        default:
            return wrong("it has no such kind of gathering");
    }
    if (!can_read(memory, step.x, x, step.size) || !can_read(memory, step.indices, indices, index))
        return wrong(kOutsideX);
    if (!can_write(memory, step.y, y, step.size)) return wrong(kOutsideY);
    return {nullptr, y != 0, 0};
}

ECV_NO_ROWS(gather_nd)

Examined examine_scatter_nd(const void* fields, const Memory& memory, int) {
    const ScatterNdStep& step = *static_cast<const ScatterNdStep*>(fields);
    const int64_t index = index_size(step.index_dtype);
    if (!index) return wrong(kBadIndices);
    if (!is_dtype(step.dtype) || !is_count(step.reduction, 0, static_cast<int64_t>(ScatterReduction::min)))
        return wrong("it has no such reduction of this dtype");
    const int64_t size = size_of(static_cast<Dtype>(step.dtype));
    const int64_t* const x_shape = shape_of(memory, step.x_shape, step.rank);
    if (!x_shape) return wrong("its shapes are not sound");
    const int64_t x = count_of(x_shape, step.rank);
    int64_t updates = 0, indices = 0;
    if (step.kind == static_cast<int64_t>(GatherKind::elements)) {
        const int64_t* const shape = shape_of(memory, step.indices_shape, step.rank);
        if (!shape) return wrong("its shapes are not sound");
        if (!is_count(step.axis, 0, step.rank - 1) || !fits(shape, x_shape, step.rank, step.axis))
            return wrong("its indices are of more places than its operand has");
        indices = updates = count_of(shape, step.rank);
    } else if (step.kind == static_cast<int64_t>(GatherKind::nd)) {
        if (!is_count(step.depth, 1, step.rank)) return wrong("its indices tell more axes than there are");
        indices = times(step.n, step.depth);
        updates = times(step.n, count_of(x_shape + step.depth, step.rank - step.depth));
    } else {
        return wrong("it has no such kind of scattering");
    }
    if (!can_read(memory, step.x, x, size) || !can_read(memory, step.updates, updates, size) ||
        !can_read(memory, step.indices, indices, index))
        return wrong(kOutsideX);
    if (!can_write(memory, step.y, x, size)) return wrong(kOutsideY);
    return {nullptr, 1, 0};
}

ECV_NO_ROWS(scatter_nd)

Examined examine_topk(const void* fields, const Memory& memory, int) {
    const TopkStep& step = *static_cast<const TopkStep*>(fields);
    if (!is_dtype(step.dtype)) return wrong("it has no such dtype");
    if (!is_count(step.k, 0, step.n)) return wrong("it takes more elements than there are");
    const int64_t size = size_of(static_cast<Dtype>(step.dtype)), taken = times(step.outer, step.k);
    if (!can_read(memory, step.x, times(step.outer, step.n), size)) return wrong(kOutsideX);
    if (!can_write(memory, step.values, taken, size) || !can_write(memory, step.indices, taken, 8))
        return wrong(kOutsideY);
    return {nullptr, taken ? step.outer : 0, topk_scratch(step.k)};
}

ECV_NO_ROWS(topk)

Examined examine_nms(const void* fields, const Memory& memory, int) {
    const NmsStep& step = *static_cast<const NmsStep*>(fields);
    if (step.most < 0 || step.capacity < 0) return wrong("it keeps less than nothing");
    const int64_t all = times(step.batches, step.n), scratch = nms_scratch(step.n, step.most);
    if (scratch < 0 || !can_read(memory, step.boxes, times(all, 4), 4) ||
        !can_read(memory, step.scores, times(all, step.classes), 4))
        return wrong(kOutsideX);
    if (!can_write(memory, step.y, times(step.capacity, 3), 8) || !can_write(memory, step.count, 1, 8))
        return wrong(kOutsideY);
    return {nullptr, 1, scratch};
}

ECV_NO_ROWS(nms)

Examined examine_nonzero(const void* fields, const Memory& memory, int) {
    const NonzeroStep& step = *static_cast<const NonzeroStep*>(fields);
    const int64_t* const shape = shape_of(memory, step.shape, step.rank);
    if (!shape) return wrong("its shape is not sound");
    if (!can_read(memory, step.x, count_of(shape, step.rank), 1)) return wrong(kOutsideX);
    if (!can_write(memory, step.y, times(step.rank, step.capacity), 8) ||
        !can_write(memory, step.count, 1, 8))
        return wrong(kOutsideY);
    return {nullptr, 1, 0};
}

ECV_NO_ROWS(nonzero)

Examined examine_unpool(const void* fields, const Memory& memory, int) {
    const UnpoolStep& step = *static_cast<const UnpoolStep*>(fields);
    if (!can_read(memory, step.x, step.n, 4) || !can_read(memory, step.indices, step.n, 8))
        return wrong(kOutsideX);
    if (!can_write(memory, step.y, step.y_n, 4)) return wrong(kOutsideY);
    return {nullptr, 1, 0};
}

ECV_NO_ROWS(unpool)

Examined examine_lrn(const void* fields, const Memory& memory, int) {
    const LrnStep& step = *static_cast<const LrnStep*>(fields);
    if (step.size < 1) return wrong("its window is empty");
    const int64_t n = product(step.outer, step.channels, step.inner);
    if (!can_read(memory, step.x, n, 4)) return wrong(kOutsideX);
    if (!can_write(memory, step.y, n, 4)) return wrong(kOutsideY);
    if (step.x == step.y) return wrong("it reads what it writes");
    return {nullptr, n ? step.outer * ceil_div(step.inner, kLrnColumns) : 0, kLrnScratch};
}

ECV_NO_ROWS(lrn)

Examined examine_cumsum(const void* fields, const Memory& memory, int) {
    const CumsumStep& step = *static_cast<const CumsumStep*>(fields);
    if (!cumsum_supported(step.dtype)) return wrong("it has no sums of this dtype");
    const int64_t n = product(step.outer, step.n, step.inner), size = size_of(static_cast<Dtype>(step.dtype));
    if (!can_read(memory, step.x, n, size)) return wrong(kOutsideX);
    if (!can_write(memory, step.y, n, size)) return wrong(kOutsideY);
    if (step.x == step.y) return wrong("it reads what it writes");
    return {nullptr, n != 0, 0};
}

ECV_NO_ROWS(cumsum)

}  // namespace ecv
