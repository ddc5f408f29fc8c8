// What the kernels of blocked storage share: how a chunk cuts blocks and rows.
//
// Plain structs and functions of integers: this header is compiled once per ISA.
#pragma once

#include "refs.h"

namespace ecv {
namespace {

struct Range {
    int64_t first, end;
};

// The part-th of the parts of `size` that [0, n) is cut into.
inline Range part_of(int64_t n, int64_t size, int64_t part) {
    const int64_t first = part * size;
    return {first, n - first < size ? n : first + size};
}

// The blocks and the rows of a chunk: rows turn fastest.
struct ChunkOf {
    Range blocks, rows;
};
inline ChunkOf chunk_of(int64_t n_blocks, int64_t chunk_blocks, int64_t n_rows, int64_t chunk_rows,
                        int64_t chunk) {
    const int64_t row_chunks = ceil_div(n_rows, chunk_rows);
    return {part_of(n_blocks, chunk_blocks, chunk / row_chunks),
            part_of(n_rows, chunk_rows, chunk % row_chunks)};
}

// How many of a, b and c an op of blocked storage takes.
constexpr int map_operands(MapOp op) {
    switch (op) {
        case MapOp::add:
        case MapOp::sub:
        case MapOp::mul:
        case MapOp::div:
        case MapOp::max:
        case MapOp::min:
        case MapOp::pow:
        case MapOp::prelu:
            return 2;
        case MapOp::affine:
            return 3;
        default:
            return 1;
    }
}

// A row of the tables of a pooling.
struct PoolWindow {
    int32_t first, end, count;
};

// Windows of at most this many rows and columns are walked directly; larger ones rows first.
constexpr int64_t kDirectTaps = 3;

inline int64_t extent_of(const PoolWindow& window) { return int64_t{window.end} - window.first; }
inline int64_t taps_of(const PoolWindow& window, int64_t dilation) {
    const int64_t extent = extent_of(window);
    return extent > 0 ? (extent - 1) / dilation + 1 : 0;
}
inline int64_t most_taps(const PoolWindow* windows, int64_t n, int64_t dilation) {
    int64_t most = 0;
    for (int64_t i = 0; i < n; ++i) {
        const int64_t taps = taps_of(windows[i], dilation);
        if (taps > most) most = taps;
    }
    return most;
}
inline bool is_direct(const PoolWindow* rows, const PoolWindow* columns, const PoolStep& step) {
    return most_taps(rows, step.out_h, step.dilation_y) <= kDirectTaps &&
           most_taps(columns, step.out_w, step.dilation_x) <= kDirectTaps;
}

// Rows of the scratch of larger windows.
constexpr int64_t kPoolRows = 4;

// ---- Interpolation

// Where an interpolation has fewer taps along a row than the row has columns, it takes the columns of its
// taps alone.
inline bool takes_few_columns(const ResizeStep& step) { return step.out_w * step.x_taps < step.in_w; }

// Pixels of the row between the two directions, without the zero at its end.
inline int64_t resize_pixels(const ResizeStep& step) {
    return takes_few_columns(step) ? step.out_w * step.x_taps : step.in_w;
}

// A tap along y: a row of a block.
struct ResizeRow {
    const float* p;
    float weight;
};

// Scratch: the row between, in floats; then ResizeRow[y_taps]; then places and sources:
// int32[2][out_w][x_taps].
struct ResizeScratch {
    int64_t rows, places, bytes;  // where rows and places start
};
inline ResizeScratch resize_scratch(const ResizeStep& step, int lanes) {
    const int64_t between = times(plus(resize_pixels(step), 1), lanes * static_cast<int64_t>(sizeof(float)));
    const int64_t places = plus(between, times(step.y_taps, sizeof(ResizeRow)));
    return {between, places, plus(places, times(times(step.out_w, step.x_taps), 2 * sizeof(int32_t)))};
}

// ---- Planes

// Planes that move together; what `way` means is the kernel's own.
struct PlaneGroup {
    int32_t first, count, loaded, way;
};

}  // namespace
}  // namespace ecv
