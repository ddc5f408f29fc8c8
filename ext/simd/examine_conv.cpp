// What convolutions need of memory and of their tables.
#include "isa_facts.h"
#include "refs.h"
#include "steps.h"

namespace ecv {
namespace {

#define X(name) +1
constexpr int64_t kActivations = ECV_ACTIVATIONS(X);
#undef X

constexpr int64_t kTileFields = 4;
// Counts, distances and padding below this, two of which may be multiplied without a check.
constexpr int64_t kMost = int64_t{1} << 30;

Examined unsound(const char* problem) { return {problem, 0, 0}; }

// Whether kernels for vectors of so many lanes take pairs.
bool has_pairs(int lanes) {
#define X(name, label) \
    if (facts_##name.lanes == lanes && facts_##name.pairs) return true;
    ECV_ISA_LIST(X)
#undef X
    return false;
}

bool is_padding(int64_t n) { return is_count(n, -kMost, kMost); }

// What the tiles of a convolution reach.
struct TileReach {
    int64_t vectors;        // of weights of a tap, of all tiles
    int64_t blocks;         // of outputs
    int64_t weight_floats;  // from the first one on
};

// Whether the tiles stay inside their offsets.
bool reach_of(const int64_t* tiles, const ConvStep& step, int lanes, TileReach* reach) {
    *reach = {0, 0, 0};
    for (int64_t i = 0; i < step.n_tiles; ++i, tiles += kTileFields) {
        const int64_t blocks = tiles[0], taps = tiles[1], offset = tiles[2], weight = tiles[3];
        if (!is_count(blocks, 1, kMostTileBlocks) || !is_count(taps, 0, step.n_offsets) ||
            !is_count(offset, 0, step.n_offsets - taps))
            return false;
        const int64_t end = plus(weight, times(taps, blocks * lanes));
        if (end < 0) return false;
        if (end > reach->weight_floats) reach->weight_floats = end;
        reach->vectors += blocks;
        reach->blocks += step.paired != 0 ? (blocks + 1) / 2 : blocks;
    }
    return true;
}

// One past the last float from the first place on, where one of `size` floats is at every place; -1 where a
// distance is negative or too large.
int64_t extent_of(const ConvStep& step, int64_t runs, int64_t pixel, int64_t run, int64_t size) {
    return plus(plus(times(step.pixels - 1, pixel), times(runs - 1, run)), size);
}

// Whether pixels, runs and blocks of y do not lie in each other's lanes.
bool is_output(const ConvStep& step, int64_t blocks, int lanes) {
    return (step.pixels == 1 || step.y_pixel >= lanes) && (step.runs == 1 || step.y_run >= lanes) &&
           (blocks == 1 || step.y_block >= lanes);
}

// Floats that are read from a place and offset on.
int64_t width_of(const ConvStep& step) { return step.paired != 0 ? 2 : 1; }

bool is_window(const ConvStep& step, int lanes) {
    if (!is_count(step.n_planes, 0, kMost) || (step.plane_lanes != 1 && step.plane_lanes != lanes) ||
        !is_count(step.in_h, 0, kMost) || !is_count(step.in_w, 0, kMost) ||
        !is_count(step.window_w, 1, kMost) || !is_count(step.stride_y, 0, kMost) ||
        !is_count(step.extent_y, 1, kMost) || !is_padding(step.pad_top) || !is_padding(step.pad_left))
        return false;
    // Pixels and runs take whole columns and rows, the last pixel one at least.
    return is_count(step.x_pixel, 0, kMost) && step.x_pixel % step.plane_lanes == 0 &&
           times(step.pixels - 1, step.x_pixel / step.plane_lanes) < step.window_w &&
           step.x_run == times(times(step.stride_y, step.window_w), step.plane_lanes);
}

// The least and the largest of a table of offsets; 0 of an empty one.
struct Span {
    int64_t least, most;
};
Span span_of(const int32_t* offsets, int64_t n) {
    Span span{0, 0};
    for (int64_t i = 0; i < n; ++i) {
        if (i == 0 || offsets[i] < span.least) span.least = offsets[i];
        if (i == 0 || offsets[i] > span.most) span.most = offsets[i];
    }
    return span;
}

// Whether every float of x is there that so many outputs read, the first of which has its place at x.
bool can_read_x(const Memory& memory, const ConvStep& step, const Span& offsets, int64_t runs, int64_t x_run,
                int64_t pixels) {
    // From the first float that is read to the last one.
    const int64_t extent = plus(plus(times(pixels - 1, step.x_pixel), times(runs - 1, x_run)),
                                offsets.most - offsets.least + width_of(step));
    const int64_t bytes = offsets.least * static_cast<int64_t>(sizeof(float));
    return step.x >= 0 && extent >= 0 && ref_address(step.x) >= -bytes &&
           (bytes <= 0 || ref_address(step.x) + bytes < int64_t{1} << kAddressBits) &&
           can_read(memory, step.x + bytes, extent, sizeof(float));
}

// Whether the inner outputs of a window are some of it and read what is there.
bool is_inner(const ConvStep& step, const Memory& memory) {
    if (step.inner_runs == 0 && step.inner_pixels == 0) return true;
    if (!is_count(step.inner_run, 0, step.runs - 1) || !is_count(step.inner_pixel, 0, step.pixels - 1) ||
        !is_count(step.inner_runs, 1, step.runs - step.inner_run) ||
        !is_count(step.inner_pixels, 1, step.pixels - step.inner_pixel))
        return false;
    const auto* offsets = table<int32_t>(memory, step.inner, step.n_offsets);
    return offsets != nullptr &&
           (step.n_offsets == 0 || can_read_x(memory, step, span_of(offsets, step.n_offsets), step.inner_runs,
                                              times(step.stride_y, step.plane_row), step.inner_pixels));
}

bool are_planes(const ConvStep& step, const Memory& memory) {
    const auto* planes = table<int64_t>(memory, step.planes, step.n_planes);
    if (planes == nullptr) return false;
    const int64_t row = times(step.in_w, step.plane_lanes);
    const int64_t floats = step.in_h == 0 ? 0 : plus(times(step.in_h - 1, step.plane_row), row);
    for (int64_t i = 0; i < step.n_planes; ++i)
        if (!can_read(memory, planes[i], floats, sizeof(float))) return false;
    return true;
}

RowWindows windows_of(const ConvStep& step, const Memory& memory) {
    RowWindows windows = {};
    windows.blocks = {at<const int64_t>(memory, step.planes), step.n_planes, 1, 0};
    windows.row = step.plane_row;
    windows.pixel = step.plane_lanes;
    windows.floats = step.in_w * step.plane_lanes;
    windows.h = step.in_h;
    windows.first = -step.pad_top;
    windows.stride = step.stride_y;
    windows.extent = step.extent_y;
    windows.besides = step.inner_runs > 0;
    return windows;
}

RowPoints points_of(const ConvStep& step, const Memory& memory) {
    const Span span = span_of(at<const int32_t>(memory, step.offsets), step.n_offsets);
    const int64_t n = step.runs > 1 ? step.pixels : 1;
    return {step.x, span.least, span.most + width_of(step) - 1, n, step.x_pixel, step.x_run};
}

// The start of the last of so many blocks of outputs, or -1.
int64_t last_block_of(const ConvStep& step, int64_t blocks) {
    const int64_t last = plus(step.y, times(times(blocks - 1, step.y_block), sizeof(float)));
    return last >= 0 && ref_slot(last) == ref_slot(step.y) ? last : -1;
}

}  // namespace

Examined examine_conv(const void* fields, const Memory& memory, int lanes) {
    const ConvStep& step = *static_cast<const ConvStep*>(fields);
    if (!is_count(step.activation, 0, kActivations - 1)) return unsound("its activation is unknown");
    if (!is_count(step.pixels, 1, kMost) || !is_count(step.runs, 1, kMost))
        return unsound("it has no pixels");
    if (!is_count(step.n_tiles, 1, kMost) || !is_count(step.n_offsets, 0, kMost))
        return unsound("it has no tiles");
    if (!is_count(step.chunk_runs, 1, step.runs) || !is_count(step.chunk_pixels, 1, step.pixels) ||
        !is_count(step.chunk_tiles, 1, step.n_tiles))
        return unsound("its chunks are empty or larger than it is");
    if (!is_count(step.paired, 0, has_pairs(lanes) ? 1 : 0))
        return unsound("its taps go in pairs, for which this instruction set has no kernels");

    const auto* tiles = table<int64_t>(memory, step.tiles, step.n_tiles * kTileFields);
    TileReach reach;
    if (tiles == nullptr || !reach_of(tiles, step, lanes, &reach)) return unsound("a tile is none");
    if (!can_read(memory, step.weights, reach.weight_floats, sizeof(float)) ||
        !can_read(memory, step.bias, reach.vectors * lanes, sizeof(float)))
        return unsound("its weights lie outside their memory");

    const auto* offsets = table<int32_t>(memory, step.offsets, step.n_offsets);
    if (offsets == nullptr) return unsound("its offsets lie outside the constants");
    const Span span = span_of(offsets, step.n_offsets);

    int64_t scratch = 0;
    if (step.n_planes != 0) {
        if (!is_window(step, lanes)) return unsound("its window is none");
        if (!are_planes(step, memory)) return unsound("a plane lies outside its memory");
        const int64_t rows = plus(times(step.chunk_runs - 1, step.stride_y), step.extent_y);
        const int64_t floats = times(times(step.n_planes, rows), times(step.window_w, step.plane_lanes));
        if (!is_inner(step, memory)) return unsound("its inner outputs are none");
        const int64_t extent = extent_of(step, step.chunk_runs, step.x_pixel, step.x_run, width_of(step));
        scratch = times(floats, sizeof(float));
        if (scratch < 0 || extent < 0 || span.least < 0 ||
            (step.n_offsets > 0 && span.most > floats - extent))
            return unsound("an offset lies outside the window");
    } else if (step.n_offsets > 0) {
        if (!can_read_x(memory, step, span, step.runs, step.x_run, step.pixels))
            return unsound("an offset lies outside the memory of x");
    } else if (!can_read(memory, step.x, 0, sizeof(float))) {
        return unsound("x lies outside its memory");
    }

    const int64_t last_block = times(reach.blocks - 1, step.y_block);
    const int64_t floats = plus(last_block, extent_of(step, step.runs, step.y_pixel, step.y_run, lanes));
    if (!is_output(step, reach.blocks, lanes)) return unsound("its outputs overlap");
    if (!can_write(memory, step.y, floats, sizeof(float))) return unsound("y lies outside its memory");
    if (step.residual != 0 && !can_read(memory, step.residual, floats, sizeof(float)))
        return unsound("the residual lies outside its memory");

    const int64_t parts =
        step.runs > 1 ? ceil_div(step.runs, step.chunk_runs) : ceil_div(step.pixels, step.chunk_pixels);
    return {nullptr, times(ceil_div(step.n_tiles, step.chunk_tiles), parts), scratch};
}

RowAccess row_access_conv(const void* fields, const Memory& memory, int lanes) {
    const ConvStep& step = *static_cast<const ConvStep*>(fields);
    TileReach reach;
    if (!reach_of(at<const int64_t>(memory, step.tiles), step, lanes, &reach))
        return no_rows("a tile is none");
    if (step.chunk_tiles < step.n_tiles) return no_rows("a chunk of it has not all tiles");
    const bool has_window = step.n_planes > 0, has_inner = has_window && step.inner_runs > 0;
    if (has_window && step.runs == 1) return no_rows("its window is of a single row");
    RowAccess access = {};
    access.is_pixels = step.runs == 1;
    access.made = access.is_pixels ? step.pixels : step.runs;
    access.chunk = access.is_pixels ? step.chunk_pixels : step.chunk_runs;
    access.is_points = !has_window;
    if (has_window)
        access.windows = windows_of(step, memory);
    else
        access.points = points_of(step, memory);
    const BlockRefs blocks = {nullptr, 1, 1, last_block_of(step, reach.blocks)};
    access.written = {blocks, step.y_run, step.y_pixel, step.pixels * lanes};
    const int64_t others[] = {step.weights, step.bias, step.residual, has_inner ? step.x : 0};
    for (int i = 0; i < 4; ++i) access.others[i] = others[i];
    return access;
}

Examined examine_depthwise(const void* fields, const Memory& memory, int lanes) {
    const DepthwiseStep& step = *static_cast<const DepthwiseStep*>(fields);
    if (!is_count(step.activation, 0, kActivations - 1)) return unsound("its activation is unknown");
    // So bounded, no place of a tap comes near the ends of int64.
    constexpr int64_t kMostSide = 1 << 20;
    const int64_t sides[] = {step.kernel_h,   step.kernel_w, step.stride_y, step.stride_x, step.dilation_y,
                             step.dilation_x, step.in_h,     step.in_w,     step.out_h,    step.out_w};
    for (const int64_t side : sides)
        if (!is_count(side, 1, kMostSide)) return unsound("a side is not in 1 to 2^20");
    if ((step.out_h - 1) * step.stride_y > kMost || (step.out_w - 1) * step.stride_x > kMost)
        return unsound("its outputs lie too far outside its inputs");
    if (!is_padding(step.pad_top) || !is_padding(step.pad_left)) return unsound("its padding is too large");
    if (!is_count(step.n_blocks, 1, kMost)) return unsound("it has no blocks");
    if (!is_count(step.chunk_blocks, 1, step.n_blocks) || !is_count(step.chunk_rows, 1, step.out_h))
        return unsound("its chunks are empty or larger than it is");

    const auto* blocks = table<int64_t>(memory, step.blocks, step.n_blocks * 2);
    if (blocks == nullptr) return unsound("its blocks lie outside the constants");
    for (int64_t i = 0; i < step.n_blocks; ++i)
        if (!can_read(memory, blocks[2 * i], step.in_h * step.in_w * lanes, sizeof(float)) ||
            !can_write(memory, blocks[2 * i + 1], step.out_h * step.out_w * lanes, sizeof(float)))
            return unsound("a block lies outside its memory");
    const int64_t floats = step.n_blocks * lanes;
    if (!can_read(memory, step.weights, times(floats, step.kernel_h * step.kernel_w), sizeof(float)) ||
        !can_read(memory, step.bias, floats, sizeof(float)))
        return unsound("its weights lie outside their memory");
    return {nullptr, ceil_div(step.n_blocks, step.chunk_blocks) * ceil_div(step.out_h, step.chunk_rows), 0};
}

RowAccess row_access_depthwise(const void* fields, const Memory& memory, int lanes) {
    const DepthwiseStep& step = *static_cast<const DepthwiseStep*>(fields);
    RowAccess access = row_access_of(step, at<const int64_t>(memory, step.blocks), lanes);
    access.windows.first = -step.pad_top;
    access.windows.stride = step.stride_y;
    access.windows.extent = (step.kernel_h - 1) * step.dilation_y + 1;
    access.others[0] = step.weights;
    access.others[1] = step.bias;
    return access;
}

}  // namespace ecv
