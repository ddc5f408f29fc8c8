// Proposals of a region proposal network, and the pooling of what lies in them: what the kernels, the
// baseline code and Cython share.
//
// Plain structs only: this header is compiled once per ISA, so it defines no function.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

namespace ecv {

// What the boxes of all anchors have in common, pixels.
struct CellGrid {
    const float* shift_x;  // left edge of each cell; at least a vector of them, as of shift_y
    const float* shift_y;
    float left, top, right, bottom;  // boxes are cut there
    float min_w, min_h;
    float extent;  // added to right - left and bottom - top to make a width and a height
};

// One anchor in all cells: its scores and the planes of its deltas, and its box at the first cell.
struct Anchor {
    const float* score;
    const float* dx;
    const float* dy;
    const float* dw;
    const float* dh;
    float center_x, center_y, width, height;
};

// Boxes of one anchor, and their scores: NaN for what is no proposal. Room for a vector, at least.
struct ProposalColumns {
    float* x1;
    float* y1;
    float* x2;
    float* y2;
    float* score;
};

// Some channels of the features, cell by cell, and what f32_max_quads() makes of them.
struct CellBlock {
    const float* cells;
    const float* quads;
    size_t width, channels;
};

// The cells of one bin: columns [x0, x1) of rows [y0, y1).
struct BinEdges {
    const int32_t* x;  // x0, x1 of each column of bins
    const int32_t* y;
    size_t columns, rows;
};

// Every kernel, in the order of the table. X(result, name, parameters)
//
// f32_decode_anchor: the boxes of an anchor in n cells. Dropped are those smaller than the smallest, and
// those
//   whose score or a delta is not finite.
// f32_transpose: out[j][i] = in[i][j] for all i < rows, j < columns; strides in elements, from row to row.
// f32_max_quads: quads[y][x] = the largest of cells[y][x] and of its neighbors to the right, below and both,
//   -FLT_MAX if all are NaN or less; y < height - 1, x < width - 1. Both are [height][width][channels].
// f32_max_bins: for each bin and channel the largest of its cells, -FLT_MAX if all are NaN or less, 0 where
// the
//   bin has none; bins are [rows of bins][columns of bins][channels]. channels: a multiple of kMaxLanes.
#define ECV_ROI_KERNELS(X)                                                                                   \
    X(void, f32_decode_anchor,                                                                               \
      (const CellGrid& grid, const Anchor& anchor, size_t n, const ProposalColumns& out))                    \
    X(void, f32_transpose,                                                                                   \
      (const float* in, size_t in_stride, size_t rows, size_t columns, float* out, size_t out_stride))       \
    X(void, f32_max_quads, (const float* cells, size_t height, size_t width, size_t channels, float* quads)) \
    X(void, f32_max_bins, (const CellBlock& block, const BinEdges& edges, float* bins))

constexpr size_t kMaxLanes = 16;

struct RoiKernels {
#define X(result, name, parameters) result(*name) parameters;
    ECV_ROI_KERNELS(X)
#undef X
};

// The kernels that run: set_roi_isa() must have been called once. It sets the kernels of boxes too.
const RoiKernels& roi_kernels();
void set_roi_isa(int isa);
int roi_isa();  // -1 before the first set_roi_isa()

enum class RoiStatus : int { ok, out_of_memory, not_finite };

struct ProposeRequest {
    const float* scores;   // (anchors, height, width)
    const float* deltas;   // (4 anchors, height, width)
    const float* anchors;  // (anchors, 4): left, top, right, bottom at the first cell
    size_t anchor_count, height, width;
    float stride;
    float left, top, right, bottom;  // the picture
    float min_w, min_h;
    float extent;
    float iou;
    size_t pre_nms, post_nms;
};

// In the calling thread's workspace, valid until its next call; most confident first.
struct Proposed {
    const float* xyxy;
    const float* score;
    size_t count;
};

RoiStatus propose(const ProposeRequest& request, Proposed* result);

struct PoolRequest {
    const float* features;  // (channels, height, width)
    size_t channels, height, width;
    const float* xyxy;  // n of four numbers each, strides in elements
    size_t count;
    ptrdiff_t box_stride, coordinate_stride;
    float scale;
    size_t pooled_w, pooled_h;
    float* out;  // (n, channels, pooled_h, pooled_w)
};

// Pools nothing and tells the first box with a coordinate that is not finite, if there is one.
RoiStatus pool(const PoolRequest& request, size_t* not_finite);

}  // namespace ecv
