// Pooling of blocked storage, and the reduction of a block to one pixel. Of a maximum NaN is passed over, as
// in ONNX Runtime; the reductions keep it.
#include "blocked.h"
#include "functions.h"
#include "kernels.h"

namespace {

using namespace ecv;

constexpr int64_t kLanes = kFloatLanes;

template <PoolKind kind>
inline VecF identity() {
    return f_set(kind == PoolKind::max ? -__builtin_inff() : 0.0f);
}

template <PoolKind kind>
inline VecF fold(VecF sum, VecF x) {
    return kind == PoolKind::max ? f_max(x, sum) : sum + x;
}

// One over the divisor of an average; 0 for an empty window, which averages to 0.
inline float inverse_of(int64_t count) { return count == 0 ? 0.0f : 1.0f / static_cast<float>(count); }

// ---- Windows of few rows and columns

// Pixels [j, end) of one output row, whose windows have kh rows from `x` on and kw columns.
template <PoolKind kind, int kh, int kw>
void direct_run(const float* x, int64_t row, int64_t column, const PoolWindow* columns, int64_t j,
                int64_t end, int64_t row_count, float* y) {
    int64_t count = 0;
    VecF inverse = f_set(0.0f);
    for (; j < end; ++j) {
        const float* corner = x + columns[j].first * kLanes;
        VecF sum = fold<kind>(identity<kind>(), f_load(corner));
        for (int i = 0; i < kh; ++i)
            for (int k = 0; k < kw; ++k)
                if (i + k) sum = fold<kind>(sum, f_load(corner + i * row + k * column));
        if constexpr (kind == PoolKind::average) {
            if (columns[j].count != count) {
                count = columns[j].count;
                inverse = f_set(inverse_of(row_count * count));
            }
            sum = sum * inverse;
        }
        f_store(y + j * kLanes, sum);
    }
}

using DirectRun = void (*)(const float*, int64_t, int64_t, const PoolWindow*, int64_t, int64_t, int64_t,
                           float*);

template <PoolKind kind>
constexpr DirectRun kDirectRuns[kDirectTaps][kDirectTaps] = {
    {direct_run<kind, 1, 1>, direct_run<kind, 1, 2>, direct_run<kind, 1, 3>},
    {direct_run<kind, 2, 1>, direct_run<kind, 2, 2>, direct_run<kind, 2, 3>},
    {direct_run<kind, 3, 1>, direct_run<kind, 3, 2>, direct_run<kind, 3, 3>},
};

// Output rows of a block, in runs of windows that are as wide.
template <PoolKind kind>
void direct_rows(const PoolStep& step, const PoolWindow* rows, const PoolWindow* columns, Range range,
                 const float* x, float* y, float*) {
    const int64_t width = step.in_w * kLanes;
    for (int64_t j = 0, end; j < step.out_w; j = end) {
        const int64_t extent = extent_of(columns[j]), kw = taps_of(columns[j], step.dilation_x);
        for (end = j + 1; end < step.out_w && extent_of(columns[end]) == extent;) ++end;
        for (int64_t i = range.first; i < range.end; ++i) {
            const int64_t kh = taps_of(rows[i], step.dilation_y);
            float* out = y + i * step.out_w * kLanes;
            if (kh && kw)
                kDirectRuns<kind>[kh - 1][kw - 1](x + rows[i].first* width, width* step.dilation_y,
                                                  kLanes* step.dilation_x, columns, j, end, rows[i].count,
                                                  out);
            else
                for (int64_t k = j; k < end; ++k) f_store(out + k * kLanes, identity<kind>());
        }
    }
}

// ---- Larger windows: rows into scratch, then columns

// n vectors, each the fold of `taps` that lie `distance` apart.
template <PoolKind kind>
void fold_rows(const float* x, int64_t distance, int64_t taps, int64_t n, float* y) {
    constexpr int64_t kAtOnce = 4;
    int64_t i = 0;
    for (; i + kAtOnce <= n; i += kAtOnce, x += kAtOnce * kLanes, y += kAtOnce * kLanes) {
        VecF sum[kAtOnce];
        for (VecF& v : sum) v = identity<kind>();
        for (int64_t t = 0; t < taps; ++t)
            for (int64_t k = 0; k < kAtOnce; ++k)
                sum[k] = fold<kind>(sum[k], f_load(x + t * distance + k * kLanes));
        for (int64_t k = 0; k < kAtOnce; ++k) f_store(y + k * kLanes, sum[k]);
    }
    for (; i < n; ++i, x += kLanes, y += kLanes) {
        VecF sum = identity<kind>();
        for (int64_t t = 0; t < taps; ++t) sum = fold<kind>(sum, f_load(x + t * distance));
        f_store(y, sum);
    }
}

// Whether each of four windows is the one before it or one step on, and all have a common core: then all four
// take little more than one, and without a branch, as what a maximum takes twice does no harm.
bool has_core(const PoolWindow* w) {
    for (int i = 0; i < 3; ++i) {
        const int64_t first = int64_t{w[i + 1].first} - w[i].first, end = int64_t{w[i + 1].end} - w[i].end;
        if (first < 0 || first > 1 || end < 0 || end > 1) return false;
    }
    return w[3].first < w[0].end;
}

// The maxima of four such windows over places that lie `distance` apart, of n vectors side by side.
template <int n>
inline void max_of_four(const float* x, int64_t distance, const PoolWindow* w, VecF (&largest)[4][n]) {
    const auto take = [&](int64_t place, VecF(&sum)[n]) {
        for (int k = 0; k < n; ++k) sum[k] = f_max(f_load(x + place * distance + k * kLanes), sum[k]);
    };
    VecF run[n];
    for (VecF& v : run) v = identity<PoolKind::max>();
    for (int64_t t = w[3].first; t < w[0].end; ++t) take(t, run);
    for (int i = 3; i >= 0; --i) {
        if (i < 3) take(w[i].first, run);
        for (int k = 0; k < n; ++k) largest[i][k] = run[k];
    }
    for (VecF& v : run) v = identity<PoolKind::max>();
    for (int i = 1; i < 4; ++i) {
        take(w[i].end - 1, run);
        for (int k = 0; k < n; ++k) largest[i][k] = f_max(run[k], largest[i][k]);
    }
}

template <int n>
inline void max_rows_of_four(const float* x, int64_t width, const PoolWindow* rows, int64_t place, float* y) {
    VecF largest[4][n];
    max_of_four<n>(x + place * kLanes, width, rows, largest);
    for (int i = 0; i < 4; ++i)
        for (int k = 0; k < n; ++k) f_store(y + i * width + (place + k) * kLanes, largest[i][k]);
}

// Rows of a block, folded over the rows of each window: into `rows`, one for each of n <= 4 windows.
template <PoolKind kind>
void fold_windows(const PoolStep& step, const PoolWindow* windows, int64_t n, const float* x, float* rows) {
    const int64_t width = step.in_w * kLanes;
    if (kind == PoolKind::max && n == 4 && step.dilation_y == 1 && has_core(windows)) {
        int64_t i = 0;
        for (; i + 2 <= step.in_w; i += 2) max_rows_of_four<2>(x, width, windows, i, rows);
        for (; i < step.in_w; ++i) max_rows_of_four<1>(x, width, windows, i, rows);
        return;
    }
    for (int64_t i = 0; i < n; ++i) {
        const int64_t taps = taps_of(windows[i], step.dilation_y);
        fold_rows<kind>(taps ? x + windows[i].first * width : x, width * step.dilation_y, taps, step.in_w,
                        rows + i * width);
    }
}

// One output row out of a row that is folded already.
template <PoolKind kind>
void fold_columns(const PoolStep& step, const PoolWindow* columns, int64_t row_count, const float* x,
                  float* y) {
    // Which of equal zeros comes first depends on the groups, and these on the chunk: both become +0.
    const VecF zero = f_set(0.0f);
    for (int64_t j = 0; j < step.out_w;) {
        if (kind == PoolKind::max && j + 4 <= step.out_w && step.dilation_x == 1 && has_core(columns + j)) {
            VecF largest[4][1];
            max_of_four<1>(x, kLanes, columns + j, largest);
            for (int i = 0; i < 4; ++i) f_store(y + (j + i) * kLanes, largest[i][0] + zero);
            j += 4;
            continue;
        }
        VecF sum = identity<kind>();
        for (int64_t t = columns[j].first; t < columns[j].end; t += step.dilation_x)
            sum = fold<kind>(sum, f_load(x + t * kLanes));
        const float scale = kind == PoolKind::max ? 1.0f : inverse_of(row_count * columns[j].count);
        f_store(y + j * kLanes, kind == PoolKind::max ? sum + zero : sum * f_set(scale));
        ++j;
    }
}

template <PoolKind kind>
void folded_rows(const PoolStep& step, const PoolWindow* rows, const PoolWindow* columns, Range range,
                 const float* x, float* y, float* scratch) {
    for (int64_t i = range.first; i < range.end; i += kPoolRows) {
        const int64_t n = range.end - i < kPoolRows ? range.end - i : kPoolRows;
        fold_windows<kind>(step, rows + i, n, x, scratch);
        for (int64_t k = 0; k < n; ++k)
            fold_columns<kind>(step, columns, rows[i + k].count, scratch + k * step.in_w * kLanes,
                               y + (i + k) * step.out_w * kLanes);
    }
}

StepStatus pool(const void* fields, const Memory& memory, int64_t chunk, char* scratch) {
    const PoolStep& step = *static_cast<const PoolStep*>(fields);
    const ChunkOf part = chunk_of(step.n_blocks, step.chunk_blocks, step.out_h, step.chunk_rows, chunk);
    const auto* blocks = at<const int64_t>(memory, step.blocks);
    const auto* rows = at<const PoolWindow>(memory, step.rows);
    const auto* columns = at<const PoolWindow>(memory, step.columns);
    const bool direct = is_direct(rows, columns, step);
    const auto run = static_cast<PoolKind>(step.kind) == PoolKind::max
                         ? (direct ? direct_rows<PoolKind::max> : folded_rows<PoolKind::max>)
                         : (direct ? direct_rows<PoolKind::average> : folded_rows<PoolKind::average>);
    for (int64_t i = part.blocks.first; i < part.blocks.end; ++i)
        run(step, rows, columns, part.rows, at<const float>(memory, blocks[2 * i]),
            at<float>(memory, blocks[2 * i + 1]), reinterpret_cast<float*>(scratch));
    return StepStatus::ok;
}

// ---- All pixels to one

template <ReduceKind kind>
inline VecF take(VecF sum, VecF x) {
    if constexpr (kind == ReduceKind::max) return f_max_nan(sum, x);
    if constexpr (kind == ReduceKind::min) return f_min_nan(sum, x);
    if constexpr (kind == ReduceKind::sum_square) return f_fma(x, x, sum);
    return sum + x;
}

template <ReduceKind kind>
inline VecF join(VecF a, VecF b) {
    return take<kind == ReduceKind::sum_square ? ReduceKind::sum : kind>(a, b);
}

template <ReduceKind kind>
inline VecF reduce_start() {
    constexpr bool is_max = kind == ReduceKind::max, is_min = kind == ReduceKind::min;
    return f_set(is_max ? -__builtin_inff() : is_min ? __builtin_inff() : 0.0f);
}

template <ReduceKind kind>
VecF reduce_pixels(const float* x, int64_t pixels) {
    // Sums of sums: an error grows with the length of a piece and with their number, not with their product.
    constexpr int64_t kPiece = 512, kAtOnce = 8;
    VecF total = reduce_start<kind>();
    for (int64_t start = 0; start < pixels; start += kPiece) {
        const int64_t n = pixels - start < kPiece ? pixels - start : kPiece;
        const float* p = x + start * kLanes;
        VecF part[kAtOnce];
        for (VecF& v : part) v = reduce_start<kind>();
        int64_t i = 0;
        for (; i + kAtOnce <= n; i += kAtOnce)
            for (int64_t k = 0; k < kAtOnce; ++k) part[k] = take<kind>(part[k], f_load(p + (i + k) * kLanes));
        for (; i < n; ++i) part[0] = take<kind>(part[0], f_load(p + i * kLanes));
        for (int64_t width = kAtOnce / 2; width; width /= 2)
            for (int64_t k = 0; k < width; ++k) part[k] = join<kind>(part[k], part[k + width]);
        total = join<kind>(total, part[0]);
    }
    return kind == ReduceKind::mean ? total / f_set(static_cast<float>(pixels)) : total;
}

VecF reduce_block(ReduceKind kind, const float* x, int64_t pixels) {
    switch (kind) {
        case ReduceKind::mean:
            return reduce_pixels<ReduceKind::mean>(x, pixels);
        case ReduceKind::max:
            return reduce_pixels<ReduceKind::max>(x, pixels);
        case ReduceKind::min:
            return reduce_pixels<ReduceKind::min>(x, pixels);
        case ReduceKind::sum_square:
            return reduce_pixels<ReduceKind::sum_square>(x, pixels);
        default:
            return reduce_pixels<ReduceKind::sum>(x, pixels);
    }
}

StepStatus spatial(const void* fields, const Memory& memory, int64_t chunk, char*) {
    const SpatialStep& step = *static_cast<const SpatialStep*>(fields);
    const Range range = part_of(step.n_blocks, step.chunk_blocks, chunk);
    const auto* blocks = at<const int64_t>(memory, step.blocks);
    for (int64_t i = range.first; i < range.end; ++i)
        f_store(at<float>(memory, blocks[2 * i + 1]),
                reduce_block(static_cast<ReduceKind>(step.kind), at<const float>(memory, blocks[2 * i]),
                             step.pixels));
    return StepStatus::ok;
}

}  // namespace

namespace ecv {

extern const PoolKernels ECV_EXPORT(pool_kernels) = {pool, spatial};

}  // namespace ecv
