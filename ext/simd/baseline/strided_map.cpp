#include <string.h>

#include "elements.h"
#include "walk.h"

namespace ecv {
namespace {

// Elements that are gathered at a time where they are not contiguous, or of another dtype than the run takes.
constexpr int64_t kPiece = 512;
constexpr int64_t kPieceBytes = kPiece * 8;
static_assert(kMapScratch == 8 * kPieceBytes, "two buffers an operand, two for results");

// An operand of the patch at hand.
struct Operand {
    int64_t size;  // bytes of an element in memory
    Convert load;
    char* gathered;
    char* converted;
    const char* filled_from;  // of a value that is repeated: where the buffer has it from
    int64_t filled;           // how many elements of the buffer it fills
};

bool is_contiguous(const Patch& patch, int64_t size) {
    return (patch.step == size || patch.n == 1) && (patch.row == patch.n * size || patch.rows == 1);
}

// The patch's elements one after the other, as the run takes them.
const void* take(Operand& operand, const char* from, const Patch& patch) {
    if (!operand.load && is_contiguous(patch, operand.size)) return from;
    char* const result = operand.load ? operand.converted : operand.gathered;
    const int64_t n = patch.rows * patch.n;
    const bool is_repeated = patch.step == 0 && (patch.row == 0 || patch.rows == 1);
    if (is_repeated && operand.filled_from == from && operand.filled >= n) return result;
    operand.filled_from = is_repeated ? from : nullptr;
    operand.filled = n;
    const void* elements = from;
    if (!is_contiguous(patch, operand.size)) {
        gather_patch(from, patch, operand.size, operand.gathered);
        elements = operand.gathered;
    }
    if (operand.load) operand.load(elements, operand.converted, static_cast<size_t>(n));
    return result;
}

struct Mapping {
    MapPlan plan;
    MapRun run;
    RunOptions options;
    Operand operand[3];
    int64_t y_size;
    char* results;    // of the run
    char* converted;  // of `store`
};

StepStatus map_patch(Mapping& mapping, char* const* base, const Patch* patches) {
    const MapPlan& plan = mapping.plan;
    const void* taken[3] = {};
    for (int k = 0; k < plan.operands; ++k) taken[k] = take(mapping.operand[k], base[k], patches[k]);
    const Patch& y_patch = patches[plan.operands];
    char* const y = base[plan.operands];
    const size_t n = static_cast<size_t>(y_patch.rows * y_patch.n);
    const bool is_direct = is_contiguous(y_patch, mapping.y_size);
    const void* results = taken[0];
    if (mapping.run) {
        void* const out = is_direct && !plan.store ? y : mapping.results;
        const StepStatus status = mapping.run(taken[0], taken[1], taken[2], out, n, mapping.options);
        if (status != StepStatus::ok) return status;
        results = out;
    }
    if (plan.store) {
        void* const out = is_direct ? y : mapping.converted;
        plan.store(results, out, n);
        results = out;
    }
    if (results == y) return StepStatus::ok;
    if (is_direct)
        memmove(y, results, n * static_cast<size_t>(mapping.y_size));
    else
        scatter_patch(results, y_patch, mapping.y_size, y);
    return StepStatus::ok;
}

// The two innermost axes, as patches that fit the buffers; where no operand needs them, as whole rows.
struct Cutting {
    int64_t rows, n;
};

Cutting cut(const Walk& walk, const Mapping& mapping) {
    if (walk.rank == 0) return {1, 1};
    const int last = walk.rank - 1;
    const int64_t n = walk.shape[last], rows = last ? walk.shape[last - 1] : 1;
    constexpr int64_t kShortRow = 64;
    if (n < kShortRow) return {rows < kPiece / n ? rows : kPiece / n, n};
    bool is_direct = !mapping.plan.store && walk.stride[mapping.plan.operands][last] == mapping.y_size;
    for (int k = 0; k < mapping.plan.operands; ++k)
        is_direct &= !mapping.operand[k].load && walk.stride[k][last] == mapping.operand[k].size;
    return {1, is_direct || n < kPiece ? n : kPiece};
}

}  // namespace

StepStatus map_strided(const MapNdStep& step, const Memory& memory, int64_t chunk, char* scratch,
                       const MapRuns& runs) {
    const Dtype dtype = static_cast<Dtype>(step.dtype), y_dtype = static_cast<Dtype>(step.y_dtype);
    Mapping mapping{};
    const MapPlan& plan = mapping.plan = map_plan(static_cast<MapOp>(step.op), dtype, y_dtype);
    mapping.run = plan.run;
    if (plan.taken == Dtype::f32 && plan.given == Dtype::f32 && runs.of[step.op] && plan.run)
        mapping.run = runs.of[step.op];
    mapping.options = {static_cast<Activation>(step.activation), float_of(step.alpha), float_of(step.beta)};
    mapping.y_size = size_of(y_dtype);

    const int operands = plan.operands;
    const int64_t refs[3] = {step.a, step.b, step.c};
    // Strides are those of a, b, c and y, whatever the operation takes.
    const Place places[] = {{refs[0], size_of(plan.operand[0])},
                            {operands > 1 ? refs[1] : 0, size_of(plan.operand[1])},
                            {operands > 2 ? refs[2] : 0, size_of(plan.operand[2])},
                            {step.y, mapping.y_size}};
    Walk walk = walk_of(memory, step.rank, step.shape, step.strides, places, 4);
    walk.base[operands] = walk.base[3];
    for (int i = 0; i < walk.rank; ++i) walk.stride[operands][i] = walk.stride[3][i];
    walk.operands = operands + 1;
    for (int k = 0; k < operands; ++k) {
        Operand& operand = mapping.operand[k];
        operand.size = places[k].size;
        // A condition is a bool, which no run has converted.
        operand.load = plan.operand[k] == plan.taken || plan.operand[k] != dtype ? nullptr : plan.load;
        operand.gathered = scratch + 2 * k * kPieceBytes;
        operand.converted = operand.gathered + kPieceBytes;
    }
    mapping.results = scratch + 6 * kPieceBytes;
    mapping.converted = mapping.results + kPieceBytes;
    if (!take_chunk(walk, chunk, step.chunk_outer) || !simplify(walk)) return StepStatus::ok;

    const Cutting cutting = cut(walk, mapping);
    const int last = walk.rank - 1;
    const int64_t rows = last > 0 ? walk.shape[last - 1] : 1, n = walk.rank ? walk.shape[last] : 1;
    int64_t at_axis[kMostRank] = {};
    char* base[kMostOperands];
    for (int k = 0; k <= operands; ++k) base[k] = walk.base[k];
    do {
        for (int64_t r = 0; r < rows; r += cutting.rows) {
            for (int64_t i = 0; i < n; i += cutting.n) {
                Patch patches[kMostOperands];
                char* first[kMostOperands];
                for (int k = 0; k <= operands; ++k) {
                    Patch& patch = patches[k];
                    patch.rows = rows - r < cutting.rows ? rows - r : cutting.rows;
                    patch.n = n - i < cutting.n ? n - i : cutting.n;
                    patch.row = last > 0 ? walk.stride[k][last - 1] : 0;
                    patch.step = walk.rank ? walk.stride[k][last] : 0;
                    first[k] = base[k] + r * patch.row + i * patch.step;
                }
                const StepStatus status = map_patch(mapping, first, patches);
                if (status != StepStatus::ok) return status;
            }
        }
    } while (advance(walk, last - 1, at_axis, base));
    return StepStatus::ok;
}

}  // namespace ecv
