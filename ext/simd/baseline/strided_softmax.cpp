// Softmax and its relations, by the runs of an ISA: along a contiguous axis row by row, else of many columns
// at once. Which of the two is told by the axis alone, never by the chunk.
#include "walk.h"

namespace ecv {
namespace {

constexpr int64_t kColumns = 512;
// Columns that are gathered from rows: their lines stay in cache while the axis is walked.
constexpr int64_t kGatheredColumns = 128;
// Shorter rows are not worth the calls.
constexpr int64_t kShortRow = 32;
constexpr int64_t kFloat = sizeof(float);
static_assert(kSoftmaxScratch == (4 * kColumns + kShortRow * kGatheredColumns) * kFloat,
              "largest, sums and two rows; short rows as columns");

struct Softmax {
    const RowRuns& runs;
    SoftmaxKind kind;
    int64_t n, x_step, y_step;  // of the axis
    float* largest;
    float* sums;
    float* x_row;
    float* y_row;
    float* block;  // of short rows

    void row(const float* x, float* y) const {
        const size_t count = static_cast<size_t>(n);
        const float most = runs.fold(Fold::max, x, count, 0.0f);
        if (kind == SoftmaxKind::softmax) {
            const float sum = runs.exponentials(x, most, y, count);
            runs.scale(y, 1.0f / sum, count);
        } else {
            const float sum = runs.fold(Fold::exp, x, count, most);
            runs.shift(x, most, y, count);
            runs.shift(y, __builtin_logf(sum), y, count);
        }
    }

    // w columns, `x_column` and `y_column` bytes apart.
    void columns(const char* x, char* y, int64_t w, int64_t x_column, int64_t y_column) const {
        const size_t count = static_cast<size_t>(w);
        const auto take = [&](const char* from, int64_t i, int64_t step, int64_t column, float* row) {
            from += i * step;
            if (column == kFloat) return reinterpret_cast<const float*>(from);
            gather_patch(from, {1, w, 0, column}, kFloat, row);
            return const_cast<const float*>(row);
        };
        const auto x_at = [&](int64_t i) { return take(x, i, x_step, x_column, x_row); };
        // f(row of y), and what it wrote to its place.
        const auto write = [&](int64_t i, auto f) {
            char* const to = y + i * y_step;
            float* const out = y_column == kFloat ? reinterpret_cast<float*>(to) : y_row;
            f(out);
            if (y_column != kFloat) scatter_patch(out, {1, w, 0, y_column}, kFloat, to);
        };
        if (kind == SoftmaxKind::hardmax) return hard_columns(w, x_at, write);

        for (int64_t j = 0; j < w; ++j) {
            largest[j] = -__builtin_inff();
            sums[j] = 0.0f;
        }
        for (int64_t i = 0; i < n; ++i) runs.accumulate(Fold::max, largest, x_at(i), nullptr, count);
        if (kind == SoftmaxKind::softmax) {
            for (int64_t i = 0; i < n; ++i)
                write(i, [&](float* out) { runs.column_exponentials(x_at(i), largest, out, sums, count); });
            for (int64_t j = 0; j < w; ++j) sums[j] = 1.0f / sums[j];
            for (int64_t i = 0; i < n; ++i) {
                const float* const before = take(y, i, y_step, y_column, y_row);
                write(i, [&](float*) { runs.column_scale(const_cast<float*>(before), sums, count); });
            }
            return;
        }
        for (int64_t i = 0; i < n; ++i) runs.accumulate(Fold::exp, sums, x_at(i), largest, count);
        for (int64_t j = 0; j < w; ++j) sums[j] = __builtin_logf(sums[j]);
        for (int64_t i = 0; i < n; ++i)
            write(i, [&](float* out) {
                runs.column_shift(x_at(i), largest, out, count);
                runs.column_shift(out, sums, out, count);
            });
    }

    // w short rows, contiguous: as columns and back.
    void short_rows(const char* x, char* y, int64_t w, int64_t x_distance, int64_t y_distance) const {
        const size_t rows = static_cast<size_t>(w), sides = static_cast<size_t>(n);
        runs.transpose(reinterpret_cast<const float*>(x), x_distance / kFloat, rows, sides, block,
                       kGatheredColumns);
        Softmax inside = *this;
        inside.x_step = inside.y_step = kGatheredColumns * kFloat;
        inside.columns(reinterpret_cast<char*>(block), reinterpret_cast<char*>(block), w, kFloat, kFloat);
        runs.transpose(block, kGatheredColumns, sides, rows, reinterpret_cast<float*>(y),
                       y_distance / kFloat);
    }

    // 1 at the first of the largest, or at the first NaN.
    template <typename At, typename Write>
    void hard_columns(int64_t w, At x_at, Write write) const {
        int32_t* const place = reinterpret_cast<int32_t*>(sums);
        for (int64_t i = 0; i < n; ++i) {
            const float* const row = x_at(i);
            for (int64_t j = 0; j < w; ++j) {
                const float value = row[j], before = largest[j];
                const bool takes = i == 0 || value > before || (value != value && before == before);
                largest[j] = takes ? value : before;
                place[j] = takes ? static_cast<int32_t>(i) : place[j];
            }
        }
        for (int64_t i = 0; i < n; ++i)
            write(i, [&](float* out) {
                for (int64_t j = 0; j < w; ++j) out[j] = place[j] == i ? 1.0f : 0.0f;
            });
    }
};

}  // namespace

StepStatus softmax_strided(const SoftmaxNdStep& step, const Memory& memory, int64_t chunk, char* scratch,
                           const RowRuns& runs) {
    const Place places[] = {{step.x, kFloat}, {step.y, kFloat}};
    Walk walk = walk_of(memory, step.rank, step.shape, step.strides, places, 2);
    const int axis = walk.rank - 1;
    float* const buffers = reinterpret_cast<float*>(scratch);
    const Softmax softmax{runs,
                          static_cast<SoftmaxKind>(step.kind),
                          walk.shape[axis],
                          walk.stride[0][axis],
                          walk.stride[1][axis],
                          buffers,
                          buffers + kColumns,
                          buffers + 2 * kColumns,
                          buffers + 3 * kColumns,
                          buffers + 4 * kColumns};
    walk.rank = axis;
    if (!take_chunk(walk, chunk, step.chunk_outer) || !simplify(walk) || softmax.n == 0)
        return StepStatus::ok;

    int64_t at_axis[kMostRank] = {};
    char* base[kMostOperands] = {walk.base[0], walk.base[1]};
    const bool is_contiguous = softmax.x_step == kFloat && softmax.y_step == kFloat;
    if (is_contiguous && softmax.n > kShortRow && softmax.kind != SoftmaxKind::hardmax) {
        do softmax.row(reinterpret_cast<const float*>(base[0]), reinterpret_cast<float*>(base[1]));
        while (advance(walk, walk.rank, at_axis, base));
        return StepStatus::ok;
    }
    int column = walk.rank - 1;
    for (int i = 0; i < walk.rank; ++i)
        if (walk.stride[0][i] == kFloat && walk.stride[1][i] == kFloat) column = i;
    int64_t n = 1, x_column = kFloat, y_column = kFloat;
    if (column >= 0) {
        n = walk.shape[column];
        x_column = walk.stride[0][column];
        y_column = walk.stride[1][column];
        drop_axis(walk, column);
    }
    const bool is_row = is_contiguous && softmax.n <= kShortRow;
    const int64_t most = !is_row && x_column == kFloat && y_column == kFloat ? kColumns : kGatheredColumns;
    do {
        for (int64_t j = 0; j < n; j += most) {
            const char* const x = base[0] + j * x_column;
            char* const y = base[1] + j * y_column;
            const int64_t w = n - j < most ? n - j : most;
            if (is_row)
                softmax.short_rows(x, y, w, x_column, y_column);
            else
                softmax.columns(x, y, w, x_column, y_column);
        }
    } while (advance(walk, walk.rank, at_axis, base));
    return StepStatus::ok;
}

}  // namespace ecv
