#include "elements.h"
#include "reduce.h"
#include "refs.h"
#include "steps.h"

namespace ecv {
namespace {

Examined wrong(const char* problem) { return {problem, 0, 0}; }

// A step's axes, as its tables tell them.
struct Axes {
    int64_t rank;
    const int64_t* shape;
    const int64_t* strides;  // rank for each operand
    int64_t count;

    const int64_t* of(int operand) const { return strides + operand * rank; }
};

// nullptr: sound.
const char* read_axes(const Memory& memory, int64_t rank, int64_t shape, int64_t strides, int64_t operands,
                      Axes* axes) {
    if (!is_count(rank, 0, kMostRank)) return "its rank is not 0 to 8";
    *axes = {rank, nullptr, nullptr, 1};
    if (rank == 0) return nullptr;
    axes->shape = table<int64_t>(memory, shape, rank);
    axes->strides = table<int64_t>(memory, strides, rank * operands);
    if (!axes->shape || !axes->strides) return "its shape and strides are not among the constants";
    axes->count = count_of(axes->shape, rank);
    if (axes->count < 0) return "its shape has a negative side, or too many elements";
    // Offsets are counted in bytes.
    constexpr int64_t kMost = int64_t{1} << kAddressBits;
    for (int64_t i = 0; i < rank * operands; ++i)
        if (axes->shape[i % rank] > 1 && !is_count(axes->strides[i], -kMost, kMost))
            return "a stride is too large";
    return nullptr;
}

// Whether no element of a walk lies where another does: each axis steps over all that is inside it. False of
// some walks that are sound too, of a kind that nobody needs.
bool is_apart(const int64_t* shape, const int64_t* strides, int64_t rank) {
    if (count_of(shape, rank) == 0) return true;
    int64_t distance[kMostRank], side[kMostRank];
    int64_t axes = 0;
    for (int64_t i = 0; i < rank; ++i) {
        if (shape[i] <= 1) continue;
        const int64_t d = strides[i] < 0 ? -strides[i] : strides[i];
        int64_t j = axes++;
        for (; j > 0 && distance[j - 1] > d; --j) {
            distance[j] = distance[j - 1];
            side[j] = side[j - 1];
        }
        distance[j] = d;
        side[j] = shape[i];
    }
    int64_t extent = 0;
    for (int64_t j = 0; j < axes; ++j) {
        if (distance[j] <= extent) return false;
        extent = plus(extent, times(distance[j], side[j] - 1));
        if (extent < 0) return false;
    }
    return true;
}

// Walks whose elements are read, and those that are written. Empty ones too start in a slot that there is.
bool reads(const Memory& memory, int64_t ref, const Axes& axes, int operand, int64_t size) {
    return is_inside(memory, ref, 0, size) &&
           can_walk(memory, ref, axes.shape, axes.of(operand), axes.rank, size);
}
bool writes(const Memory& memory, int64_t ref, const Axes& axes, int operand, int64_t size) {
    return is_writable(memory, ref) && reads(memory, ref, axes, operand, size) &&
           is_apart(axes.shape, axes.of(operand), axes.rank);
}

// Cut along the first of `axes` axes; none: one chunk.
Examined cut(const Axes& axes, int64_t cut_axes, int64_t chunk_outer, int64_t scratch) {
    if (axes.count == 0) return {nullptr, 0, scratch};
    if (cut_axes == 0) return {nullptr, 1, scratch};
    if (chunk_outer < 1) return wrong("its chunks are empty");
    return {nullptr, ceil_div(axes.shape[0], chunk_outer), scratch};
}

template <typename Choice>
bool is_choice(int64_t value, Choice last) {
    return is_count(value, 0, static_cast<int64_t>(last));
}

constexpr const char* kOutsideX = "an operand lies outside its memory";
constexpr const char* kOutsideY = "its result lies outside its memory, or on itself";

}  // namespace

Examined examine_copy(const void* fields, const Memory& memory, int) {
    const CopyStep& step = *static_cast<const CopyStep*>(fields);
    Axes axes;
    if (const char* problem = read_axes(memory, step.rank, step.shape, step.strides, 2, &axes))
        return wrong(problem);
    if (step.size != 1 && step.size != 2 && step.size != 4 && step.size != 8)
        return wrong("its elements are not of 1, 2, 4 or 8 bytes");
    if (!reads(memory, step.x, axes, 0, step.size)) return wrong(kOutsideX);
    if (!writes(memory, step.y, axes, 1, step.size)) return wrong(kOutsideY);
    return cut(axes, axes.rank, step.chunk_outer, 0);
}

ECV_NO_ROWS(copy)

Examined examine_map_nd(const void* fields, const Memory& memory, int) {
    const MapNdStep& step = *static_cast<const MapNdStep*>(fields);
    Axes axes;
    if (const char* problem = read_axes(memory, step.rank, step.shape, step.strides, 4, &axes))
        return wrong(problem);
    if (!map_nd_supported(step.op, step.dtype, step.y_dtype))
        return wrong("it has no such operation on these dtypes");
    if (!is_choice(step.activation, Activation::softsign)) return wrong("it has no such activation");
    const Dtype y_dtype = static_cast<Dtype>(step.y_dtype);
    const MapPlan plan = map_plan(static_cast<MapOp>(step.op), static_cast<Dtype>(step.dtype), y_dtype);
    const int64_t operands[] = {step.a, step.b, step.c};
    for (int k = 0; k < plan.operands; ++k)
        if (!reads(memory, operands[k], axes, k, size_of(plan.operand[k]))) return wrong(kOutsideX);
    if (!writes(memory, step.y, axes, 3, size_of(y_dtype))) return wrong(kOutsideY);
    return cut(axes, axes.rank, step.chunk_outer, kMapScratch);
}

ECV_NO_ROWS(map_nd)

Examined examine_reduce_nd(const void* fields, const Memory& memory, int) {
    const ReduceNdStep& step = *static_cast<const ReduceNdStep*>(fields);
    Axes axes;
    if (const char* problem = read_axes(memory, step.rank, step.shape, step.strides, 2, &axes))
        return wrong(problem);
    if (!is_count(step.kept, 0, step.rank)) return wrong("it keeps more axes than it has");
    if (!reduce_nd_supported(step.kind, step.dtype)) return wrong("it has no such reduction of this dtype");
    const bool finds = step.kind >= static_cast<int64_t>(ReduceKind::argmax);
    Axes kept = axes;
    kept.count = count_of(axes.shape, step.kept);
    const int64_t reduced = count_of(axes.shape + step.kept, step.rank - step.kept);
    if (kept.count < 0 || reduced < 0) return wrong("its shape has too many elements");
    if (finds && (step.rank - step.kept != 1 || reduced < 1))
        return wrong("it looks for a place along other than one axis, or along an empty one");
    const int64_t size = size_of(static_cast<Dtype>(step.dtype)), y_size = finds ? 8 : size;
    if (!reads(memory, step.x, axes, 0, size)) return wrong(kOutsideX);
    if (!is_writable(memory, step.y) || !is_inside(memory, step.y, 0, y_size) ||
        !can_walk(memory, step.y, axes.shape, axes.of(1), step.kept, y_size) ||
        !is_apart(axes.shape, axes.of(1), step.kept))
        return wrong(kOutsideY);
    return cut(kept, step.kept, step.chunk_outer, kReduceScratch);
}

ECV_NO_ROWS(reduce_nd)

Examined examine_softmax_nd(const void* fields, const Memory& memory, int) {
    const SoftmaxNdStep& step = *static_cast<const SoftmaxNdStep*>(fields);
    Axes axes;
    if (const char* problem = read_axes(memory, step.rank, step.shape, step.strides, 2, &axes))
        return wrong(problem);
    if (step.rank < 1 || axes.shape[step.rank - 1] > INT32_MAX)
        return wrong("it has no axis, or too long a one");
    if (!is_choice(step.kind, SoftmaxKind::hardmax)) return wrong("it has no such kind of softmax");
    if (!reads(memory, step.x, axes, 0, sizeof(float))) return wrong(kOutsideX);
    if (!writes(memory, step.y, axes, 1, sizeof(float))) return wrong(kOutsideY);
    return cut(axes, axes.rank - 1, step.chunk_outer, kSoftmaxScratch);
}

ECV_NO_ROWS(softmax_nd)

}  // namespace ecv
