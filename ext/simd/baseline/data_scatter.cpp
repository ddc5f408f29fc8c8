// Writes at places that data tell: in the order of the updates, so that the last of equals stays.
#include <string.h>

#include "data.h"

namespace ecv {
namespace {

// y[i] = y[i] and update[i], n of them.
struct Update {
    MapRun run;  // nullptr: the update itself
    Convert load, store;
    int64_t size;

    void operator()(char* y, const char* update, int64_t n) const {
        constexpr int64_t kPiece = 64;
        const RunOptions none{};
        if (!run) {
            memcpy(y, update, static_cast<size_t>(n * size));
            return;
        }
        if (!load) {
            run(y, update, nullptr, y, static_cast<size_t>(n), none);
            return;
        }
        uint64_t taken[2][kPiece];
        for (int64_t i = 0; i < n; i += kPiece) {
            const size_t some = static_cast<size_t>(n - i < kPiece ? n - i : kPiece);
            load(y + i * size, taken[0], some);
            load(update + i * size, taken[1], some);
            run(taken[0], taken[1], nullptr, taken[0], some, none);
            store(taken[0], y + i * size, some);
        }
    }
};

Update update_of(ScatterReduction reduction, Dtype dtype) {
    static constexpr MapOp kOps[] = {MapOp::first, MapOp::add, MapOp::mul, MapOp::max, MapOp::min};
    const MapOp op = kOps[static_cast<int>(reduction)];
    if (op == MapOp::first) return {nullptr, nullptr, nullptr, size_of(dtype)};
    if (dtype == Dtype::boolean) {
        // Of bools a sum and the largest are `or`, a product and the smallest `and`.
        const bool joins = op == MapOp::add || op == MapOp::max;
        return {element_run(joins ? MapOp::or_ : MapOp::and_, dtype), nullptr, nullptr, 1};
    }
    const MapPlan plan = map_plan(op, dtype, dtype);
    return {plan.run, plan.load, plan.store, size_of(dtype)};
}

bool scatter_elements(const ScatterNdStep& step, const Memory& memory, const Update& update) {
    const Indices indices(memory, step.indices, step.index_dtype);
    const int64_t* const x_shape = at<const int64_t>(memory, step.x_shape);
    const int64_t* const shape = at<const int64_t>(memory, step.indices_shape);
    const int rank = static_cast<int>(step.rank), axis = static_cast<int>(step.axis);
    char* const y = at<char>(memory, step.y);
    const char* from = at<const char>(memory, step.updates);
    int64_t stride[kMostRank], at_axis[kMostRank] = {};
    int64_t extent = update.size;
    for (int i = rank - 1; i >= 0; --i) {
        stride[i] = extent;
        extent *= x_shape[i];
    }
    const int64_t n = count_of(shape, rank);
    for (int64_t k = 0; k < n; ++k, from += update.size) {
        int64_t to = indices.place(k, x_shape[axis]);
        if (to < 0) return false;
        to *= stride[axis];
        for (int i = 0; i < rank; ++i)
            if (i != axis) to += at_axis[i] * stride[i];
        update(y + to, from, 1);
        for (int i = rank - 1; i >= 0 && ++at_axis[i] == shape[i]; --i) at_axis[i] = 0;
    }
    return true;
}

bool scatter_tuples(const ScatterNdStep& step, const Memory& memory, const Update& update) {
    const Indices indices(memory, step.indices, step.index_dtype);
    const int64_t* const x_shape = at<const int64_t>(memory, step.x_shape);
    const int64_t inner = count_of(x_shape + step.depth, step.rank - step.depth);
    char* const y = at<char>(memory, step.y);
    const char* from = at<const char>(memory, step.updates);
    for (int64_t i = 0; i < step.n; ++i, from += inner * update.size) {
        const int64_t place = indices.tuple(i, step.depth, x_shape);
        if (place < 0) return false;
        update(y + place * inner * update.size, from, inner);
    }
    return true;
}

}  // namespace

StepStatus run_scatter_nd(const void* fields, const Memory& memory, int64_t, char*) {
    const ScatterNdStep& step = *static_cast<const ScatterNdStep*>(fields);
    const Update update =
        update_of(static_cast<ScatterReduction>(step.reduction), static_cast<Dtype>(step.dtype));
    const int64_t bytes = update.size * count_of(at<const int64_t>(memory, step.x_shape), step.rank);
    if (step.x != step.y && bytes)
        memcpy(at<char>(memory, step.y), at<const char>(memory, step.x), static_cast<size_t>(bytes));
    const bool by_elements = static_cast<GatherKind>(step.kind) == GatherKind::elements;
    const bool inside =
        by_elements ? scatter_elements(step, memory, update) : scatter_tuples(step, memory, update);
    return inside ? StepStatus::ok : StepStatus::index_outside;
}

}  // namespace ecv
