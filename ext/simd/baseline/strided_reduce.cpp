// Reductions of float32, by the runs of an ISA. The order in which an output's elements are added up is told
// by the reduced axes and by whether a kept one is contiguous, never by the chunk.
#include "reduce.h"

namespace ecv {
namespace {

// Elements of a contiguous run that are folded before the sum is added to those before it: long sums of
// float32 lose less that way. Rows of columns likewise.
constexpr int64_t kPiece = 4096;
constexpr int64_t kGathered = 1024;
constexpr int64_t kColumns = 512;
constexpr int64_t kRows = 256;
// Elements that are compared at a time in the search for the largest.
constexpr int64_t kSought = 16;

Fold fold_of(ReduceKind kind) {
    switch (kind) {
        case ReduceKind::l1:
            return Fold::absolute;
        case ReduceKind::sum_square:
        case ReduceKind::l2:
            return Fold::square;
        case ReduceKind::prod:
            return Fold::product;
        case ReduceKind::max:
        case ReduceKind::argmax:
            return Fold::max;
        case ReduceKind::min:
        case ReduceKind::argmin:
            return Fold::min;
        case ReduceKind::log_sum_exp:
            return Fold::exp;
        default:
            return Fold::sum;
    }
}

// The fold that joins sums of this one.
Fold joining(Fold fold) {
    return fold == Fold::product || fold == Fold::max || fold == Fold::min ? fold : Fold::sum;
}

float identity(Fold fold) {
    if (fold == Fold::product) return 1.0f;
    if (fold == Fold::max) return -__builtin_inff();
    return fold == Fold::min ? __builtin_inff() : 0.0f;
}

float joined(Fold fold, float a, float b) {
    switch (fold) {
        case Fold::product:
            return a * b;
        case Fold::max:
            return a != a || a > b ? a : b;
        case Fold::min:
            return a != a || a < b ? a : b;
        default:
            return a + b;
    }
}

// What e^(x - offset) is summed over: of an infinite largest there is nothing to take away.
float offset_of(float largest) { return largest - largest == 0.0f ? largest : 0.0f; }

float finish(ReduceKind kind, float sum, float offset, int64_t count) {
    switch (kind) {
        case ReduceKind::mean:
            return sum / static_cast<float>(count);
        case ReduceKind::l2:
            return __builtin_sqrtf(sum);
        case ReduceKind::log_sum:
            return __builtin_logf(sum);
        case ReduceKind::log_sum_exp:
            return __builtin_logf(sum) + offset;
        default:
            return sum;
    }
}

struct Float32 {
    const RowRuns& runs;
    const Reduction& r;
    char* scratch;

    void join(float& total, Fold fold, const float* x, int64_t n, float offset) const {
        total = joined(fold, total, runs.fold(fold, x, static_cast<size_t>(n), offset));
    }

    // All that is reduced to one output.
    float fold_all(Fold fold, const char* x, float offset) const {
        const Walk& walk = r.reduced;
        float total = identity(fold);
        if (r.count == 0) return total;
        if (walk.rank == 0) {
            join(total, fold, reinterpret_cast<const float*>(x), 1, offset);
            return total;
        }
        const int last = walk.rank - 1;
        int64_t at_axis[kMostRank] = {};
        char* base[kMostOperands] = {const_cast<char*>(x)};
        if (walk.stride[0][last] == sizeof(float)) {
            const int64_t n = walk.shape[last];
            do
                for (int64_t i = 0; i < n; i += kPiece)
                    join(total, fold, reinterpret_cast<const float*>(base[0]) + i,
                         n - i < kPiece ? n - i : kPiece, offset);
            while (advance(walk, last, at_axis, base));
            return total;
        }
        float* const gathered = reinterpret_cast<float*>(scratch);
        each_patch(walk, kGathered, base[0], [&](const char* from, const Patch& patch) {
            gather_patch(from, patch, sizeof(float), gathered);
            join(total, fold, gathered, patch.rows * patch.n, offset);
        });
        return total;
    }

    float reduce(const char* x) const {
        const Fold fold = fold_of(r.kind);
        const float offset =
            r.kind == ReduceKind::log_sum_exp ? offset_of(fold_all(Fold::max, x, 0.0f)) : 0.0f;
        return finish(r.kind, fold_all(fold, x, offset), offset, r.count);
    }

    // The place of the largest or smallest, or of a NaN, along the one reduced axis.
    int64_t find(const char* x) const {
        if (r.reduced.rank == 0) return 0;
        const float best = fold_all(fold_of(r.kind), x, 0.0f);
        const int64_t n = r.count, step = r.reduced.stride[0][0];
        const auto value = [&](int64_t i) { return *reinterpret_cast<const float*>(x + i * step); };
        // Pieces first, where they are contiguous: most elements cost no branch.
        for (int64_t first = 0; first < n; first += kSought) {
            const int64_t some = n - first < kSought ? n - first : kSought;
            const int64_t begin = r.takes_last ? n - first - some : first;
            const float* const piece = reinterpret_cast<const float*>(x + begin * step);
            if (step == sizeof(float) && some == kSought && !has_any(piece, best)) continue;
            for (int64_t k = 0; k < some; ++k) {
                const int64_t i = r.takes_last ? begin + some - 1 - k : begin + k;
                if (value(i) == best || (best != best && value(i) != value(i))) return i;
            }
        }
        return 0;
    }

    // Of kSought elements.
    static bool has_any(const float* x, float best) {
        int32_t found = 0;
        if (best == best) {
            for (int i = 0; i < kSought; ++i) found |= -(x[i] == best);
        } else {
            for (int i = 0; i < kSought; ++i) found |= -(x[i] != x[i]);
        }
        return found != 0;
    }

    // n contiguous outputs' sums, of n contiguous elements each.
    void fold_columns(Fold fold, const char* x, int64_t n, const float* offset, float* totals) const {
        float* const sums = reinterpret_cast<float*>(scratch);
        const size_t columns = static_cast<size_t>(n);
        for (int64_t i = 0; i < n; ++i) sums[i] = totals[i] = identity(fold);
        if (r.count == 0) return;
        int64_t at_axis[kMostRank] = {}, rows = 0;
        char* base[kMostOperands] = {const_cast<char*>(x)};
        do {
            runs.accumulate(fold, sums, reinterpret_cast<const float*>(base[0]), offset, columns);
            if (++rows % kRows) continue;
            runs.accumulate(joining(fold), totals, sums, nullptr, columns);
            for (int64_t i = 0; i < n; ++i) sums[i] = identity(fold);
        } while (advance(r.reduced, r.reduced.rank, at_axis, base));
        runs.accumulate(joining(fold), totals, sums, nullptr, columns);
    }

    void reduce_columns(const char* x, char* y, int64_t n, int64_t y_step) const {
        float* const totals = reinterpret_cast<float*>(scratch) + kColumns;
        float* const offsets = totals + kColumns;
        if (r.kind == ReduceKind::log_sum_exp) {
            fold_columns(Fold::max, x, n, nullptr, offsets);
            for (int64_t i = 0; i < n; ++i) offsets[i] = offset_of(offsets[i]);
        }
        fold_columns(fold_of(r.kind), x, n, offsets, totals);
        for (int64_t i = 0; i < n; ++i)
            *reinterpret_cast<float*>(y + i * y_step) = finish(r.kind, totals[i], offsets[i], r.count);
    }

    template <bool largest>
    void find_columns(const char* x, char* y, int64_t n, int64_t y_step) const {
        float* const best = reinterpret_cast<float*>(scratch);
        int32_t* const place = reinterpret_cast<int32_t*>(best + kColumns);
        const int64_t step = r.reduced.rank ? r.reduced.stride[0][0] : 0;
        for (int64_t j = 0; j < n; ++j) {
            best[j] = reinterpret_cast<const float*>(x)[j];
            place[j] = 0;
        }
        for (int64_t i = 1; i < r.count; ++i) {
            const float* const row = reinterpret_cast<const float*>(x + i * step);
            const int32_t here = static_cast<int32_t>(i);
            for (int64_t j = 0; j < n; ++j) {
                const float value = row[j], before = best[j];
                const bool is_better = largest ? value > before : value < before;
                const bool is_nan = value != value, was_nan = before != before;
                const bool takes =
                    is_better | (r.takes_last ? (value == before) | is_nan : is_nan & !was_nan);
                best[j] = takes ? value : before;
                place[j] = takes ? here : place[j];
            }
        }
        for (int64_t j = 0; j < n; ++j) *reinterpret_cast<int64_t*>(y + j * y_step) = place[j];
    }

    void run(Walk& kept, int column) const {
        const bool finds = r.kind == ReduceKind::argmax || r.kind == ReduceKind::argmin;
        int64_t at_axis[kMostRank] = {};
        char* base[kMostOperands] = {kept.base[0], kept.base[1]};
        if (column < 0) {
            do {
                if (finds)
                    *reinterpret_cast<int64_t*>(base[1]) = find(base[0]);
                else
                    *reinterpret_cast<float*>(base[1]) = reduce(base[0]);
            } while (advance(kept, kept.rank, at_axis, base));
            return;
        }
        const int64_t columns = kept.shape[column], y_step = kept.stride[1][column];
        drop_axis(kept, column);
        do {
            for (int64_t j = 0; j < columns; j += kColumns) {
                const int64_t n = columns - j < kColumns ? columns - j : kColumns;
                const char* const x = base[0] + j * static_cast<int64_t>(sizeof(float));
                char* const y = base[1] + j * y_step;
                if (r.kind == ReduceKind::argmax)
                    find_columns<true>(x, y, n, y_step);
                else if (finds)
                    find_columns<false>(x, y, n, y_step);
                else
                    reduce_columns(x, y, n, y_step);
            }
        } while (advance(kept, kept.rank, at_axis, base));
    }
};

}  // namespace

StepStatus reduce_strided(const ReduceNdStep& step, const Memory& memory, int64_t chunk, char* scratch,
                          const RowRuns& runs) {
    const Dtype dtype = static_cast<Dtype>(step.dtype);
    const ReduceKind kind = static_cast<ReduceKind>(step.kind);
    const bool finds = kind == ReduceKind::argmax || kind == ReduceKind::argmin;
    const Place places[] = {{step.x, size_of(dtype)}, {step.y, finds ? 8 : size_of(dtype)}};
    Walk kept = walk_of(memory, step.rank, step.shape, step.strides, places, 2);
    const int64_t* const shape = kept.shape;
    for (int i = 0; count_of(shape + step.kept, step.rank - step.kept) == 0 && i < kept.rank; ++i)
        kept.stride[0][i] = 0;
    Reduction r{kind, dtype, step.last != 0, 1, kept};
    kept.rank = static_cast<int>(step.kept);
    r.reduced.operands = 1;
    for (int i = 0; i < kept.rank; ++i) drop_axis(r.reduced, 0);
    for (int i = 0; i < r.reduced.rank; ++i) r.count *= r.reduced.shape[i];
    // Positions are counted as the axis runs.
    if (!finds)
        simplify(r.reduced);
    else if (r.count == 1)
        r.reduced.rank = 0;
    kept.base[0] = r.reduced.base[0];  // of axes that are walked backwards, the end

    int column = -1;
    const int last = r.reduced.rank - 1;
    const bool is_run = last >= 0 && r.reduced.stride[0][last] == places[0].size;
    for (int i = 0; i < kept.rank && !is_run; ++i)
        if (kept.shape[i] > 1 && kept.stride[0][i] == places[0].size) column = i;
    if (step.kept && !take_chunk(kept, chunk, step.chunk_outer)) return StepStatus::ok;
    for (int i = 0; i < kept.rank; ++i)
        if (kept.shape[i] == 0) return StepStatus::ok;
    if (dtype != Dtype::f32)
        reduce_wide(r, kept, scratch);
    else
        Float32{runs, r, scratch}.run(kept, finds && r.count > INT32_MAX ? -1 : column);
    return StepStatus::ok;
}

}  // namespace ecv
