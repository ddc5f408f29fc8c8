// The steps of a program: what each reads and writes, field by field. The one list from which declarations,
// dispatch, Python's encoder and tests are made.
//
// Plain structs only: this header is compiled once per ISA, so it defines no function but inline ones of
// plain integers in an anonymous namespace.
//
// A field is an int64. Kinds of fields:
//   Ref      where data lie: slot << 48 | address, which is an offset in the slot in bytes. Slots: 0 none,
//            1 constants, 2 state, 3 arena, 4 weights, then the inputs, then the outputs of a run; inside a
//            band its strips after them.
//   number   a count, or a distance in elements ("floats" where the step knows only those)
//   bits     a float32 in the low 32 bits
//
// Blocked storage of C channels of H x W pixels is [ceil(C / L)][H][W][L] floats, 64-byte aligned, L the
// lanes of the ISA. "A block" is one [H][W][L] of it. Batches are unrolled: a step knows one image.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

// X(name): steps on blocked storage, then steps on plain (strided) storage.
#define ECV_SIMD_OPS(X) \
    X(conv)             \
    X(depthwise)        \
    X(pool)             \
    X(spatial)          \
    X(resize)           \
    X(map)              \
    X(planes)           \
    X(sample)           \
    X(roi_pool)         \
    X(copy)             \
    X(map_nd)           \
    X(reduce_nd)        \
    X(softmax_nd)       \
    X(gather_nd)        \
    X(scatter_nd)       \
    X(topk)             \
    X(nms)              \
    X(nonzero)          \
    X(unpool)           \
    X(lrn)              \
    X(cumsum)           \
    X(pool_indices)

// Lists of fields keep the lines that they are grouped in.
// clang-format off

// Convolution tile by tile of output channels and pixels, each output a sum over a list of (offset, weights):
// 1x1, dense, dilated, grouped, sparse, the stem, a phase of a transposed convolution, a product of matrices
// (pixels are rows). Out of a pixel's place p: sum over k of x[p + offsets[k]] * weights[k][lane].
//   direct (n_planes 0): output i of run r has its place at x + (r x_run + i x_pixel) floats.
//   window: a chunk of runs (rows of output) first gathers the rows it needs of each plane, with padding, in
//   scratch as [plane][window row][window_w][plane_lanes]; places and offsets lie in that window.
//   inner: of a window, the outputs that need no padding: inner_pixels from inner_pixel on of inner_runs runs
//   from inner_run on. They read the planes themselves: the first one has its place at x, the others stride_y
//   plane_row and x_pixel floats apart, with offsets `inner`; only what the others read is gathered.
// tiles: int64[n_tiles][4]: blocks of the tile (1 to 4), taps, first of its offsets, first of its weights in
// floats. Weights of a tile: [taps][blocks][L]. A tile's first output block is the sum of blocks before it.
// bias: [blocks of all tiles][L]. residual: 0, or what is added before the activation, laid out as y.
// paired: 0, or, where L is 16, 1: a lane of weights is of a channel and of one of two taps, whose floats of x
// follow each other: offsets and taps count such pairs, weights of a tile are [pairs][halves][L / 2][2] and the
// bias is [halves][L / 2][bias, 0]. The blocks of a tile are then halves of output blocks; of an odd number the
// last one makes a block by itself.
// A chunk: chunk_tiles tiles of chunk_runs runs, or, where runs is 1, of chunk_pixels pixels.
#define ECV_CONV_FIELDS(F)                                                                                  \
    F(x) F(weights) F(bias) F(residual) F(y) F(tiles) F(n_tiles) F(offsets) F(n_offsets)                    \
    F(pixels) F(runs) F(x_pixel) F(x_run) F(y_pixel) F(y_run) F(y_block)                                    \
    F(activation) F(alpha) F(beta) F(paired)                                                                \
    F(planes) F(n_planes) F(plane_lanes) F(in_h) F(in_w) F(plane_row) F(pad_top) F(pad_left) F(window_w)    \
    F(stride_y) F(extent_y)                                                                                 \
    F(inner) F(inner_run) F(inner_runs) F(inner_pixel) F(inner_pixels)                                      \
    F(chunk_runs) F(chunk_pixels) F(chunk_tiles)

// Depthwise convolution, block by block. blocks: Ref[n_blocks][2]: input, output. weights:
// [n_blocks][kh kw][L].
#define ECV_DEPTHWISE_FIELDS(F)                                                                              \
    F(blocks) F(n_blocks) F(weights) F(bias) F(kernel_h) F(kernel_w) F(stride_y) F(stride_x) F(dilation_y)   \
    F(dilation_x) F(pad_top) F(pad_left) F(in_h) F(in_w) F(out_h) F(out_w) F(activation) F(alpha) F(beta)    \
    F(chunk_blocks) F(chunk_rows)

// Pooling. kind: PoolKind. rows: int32[out_h][3], columns: int32[out_w][3]: first input row, the end (one
// past the last), and what it counts towards an average's divisor (count of rows times count of columns).
// Only every dilation-th row or column of [first, end) is taken; an empty window gives the kind's identity.
#define ECV_POOL_FIELDS(F)                                                                                   \
    F(blocks) F(n_blocks) F(kind) F(rows) F(columns) F(dilation_y) F(dilation_x) F(in_h) F(in_w) F(out_h)    \
    F(out_w) F(chunk_blocks) F(chunk_rows)

// All pixels of a block to one: kind: ReduceKind (sum, mean, max, min, sum of squares). blocks as for pool.
#define ECV_SPATIAL_FIELDS(F) F(blocks) F(n_blocks) F(pixels) F(kind) F(chunk_blocks)

// Interpolation along both axes. y_index: int32[out_h][y_taps], y_weight: float[out_h][y_taps]; x likewise.
// A tap with weight 0 is not read. y_taps, x_taps >= 1; a lone tap of weight 1 is a copy.
#define ECV_RESIZE_FIELDS(F)                                                                                 \
    F(blocks) F(n_blocks) F(in_h) F(in_w) F(out_h) F(out_w) F(y_taps) F(y_index) F(y_weight) F(x_taps)       \
    F(x_index) F(x_weight) F(chunk_blocks) F(chunk_rows)

// y = activation(op(a, b, c)) of float32, block by block. operands: Ref[n_blocks][4]: a, b, c, y (0 where the
// op does not take it). a_pixel…: floats between the pixels of an operand: L, or 0 for one vector of L lanes
// (a value for each channel, or for all). y may be a or b of the same step where the distances are equal.
#define ECV_MAP_FIELDS(F)                                                                                    \
    F(operands) F(n_blocks) F(pixels) F(op) F(a_pixel) F(b_pixel) F(c_pixel) F(activation) F(alpha) F(beta)  \
    F(chunk_blocks)

// Copies planes of float32 between layouts. places: Ref[n][2]: source (0 writes zeros), destination. A
// plane is [h][w]; distances in floats. Neighboring rows of the table that are lanes of one block on one side
// (Refs 4 bytes apart) and planes or lanes on the other are where it must be fast.
#define ECV_PLANES_FIELDS(F)                                                                                 \
    F(places) F(n_places) F(h) F(w) F(x_row) F(x_pixel) F(y_row) F(y_pixel) F(chunk_places)

// Blocks looked at in points that data tell: of each block of in_d x in_h x in_w pixels a result of out_h x out_w
// points. blocks: as for pool. points: floats, of each point a coordinate for each of `axes` (1 to 3): x, then
// y, then z; `point` floats from point to point, `axis` floats (of any sign) from x to y and to z.
// frame: SampleFrame, what coordinates count. mode: SampleMode. padding: SamplePadding, what lies outside.
// mask: 0, or float[out_h out_w] that results are multiplied by.
//   centers, edges: -1 and 1 are the centers, or the outer edges, of the first and the last pixel; one that is
//   not finite counts as -1.
//   pixels: pixels from the point's own place, (i stride_y + top, j stride_x + left) of result (i, j); of one
//   that is not finite there is nothing.
// A tap of weight 0 is not read. A chunk: chunk_points points of all blocks.
#define ECV_SAMPLE_FIELDS(F)                                                                                 \
    F(blocks) F(n_blocks) F(in_d) F(in_h) F(in_w) F(out_h) F(out_w) F(points) F(point) F(axis) F(axes)       \
    F(mask) F(frame) F(mode) F(padding) F(top) F(left) F(stride_y) F(stride_x) F(chunk_points)

// Regions that data tell, each as out_h x out_w bins: y float [n_rois][channels][out_h][out_w], contiguous.
// blocks: Ref[batch][n_blocks], channels in order. kind: RoiKind.
//   align_average, align_max: ONNX RoiAlign. rois: float[n_rois][4], indices: int64[n_rois]. samples: of a bin
//   along each axis, 0 for one a pixel; half_pixel: 1 to begin half a pixel before. A coordinate that is not a
//   number has no samples.
//   window_max: ONNX MaxRoiPool. rois: float[n_rois][5], the image first; indices, samples, half_pixel: not read.
// scale: pixels of a unit of rois. An image outside is an error. A chunk: chunk_blocks blocks of a region.
#define ECV_ROI_POOL_FIELDS(F)                                                                               \
    F(blocks) F(batch) F(n_blocks) F(channels) F(in_h) F(in_w) F(rois) F(indices) F(n_rois) F(y) F(out_h)    \
    F(out_w) F(kind) F(scale) F(samples) F(half_pixel) F(chunk_blocks)

// ---- Plain storage. rank <= 8. shape: int64[rank]; strides: int64[operands][rank], in elements, 0 where an
// operand is repeated, negative where it is walked backwards (its Ref is then of the first element taken).

// y[i] = x[i]. strides: x, y. size: bytes of an element: 1, 2, 4 or 8.
#define ECV_COPY_FIELDS(F) F(x) F(y) F(size) F(rank) F(shape) F(strides) F(chunk_outer)

// y = op(a, b, c), element by element. strides: a, b, c, y. op: MapOp; dtype: of a and b (the condition of
// `where` is a, a bool; b and c are of dtype); y_dtype: of y (bool of a comparison; the target of a cast).
// activation: of the operation `activation` only. is_inf: alpha, beta: 1.0 to tell +inf, -inf, 0.0 not to.
#define ECV_MAP_ND_FIELDS(F)                                                                                 \
    F(a) F(b) F(c) F(y) F(op) F(dtype) F(y_dtype) F(activation) F(alpha) F(beta) F(rank) F(shape) F(strides) \
    F(chunk_outer)

// y[kept] = reduce of x[kept, reduced]. shape: kept axes, then reduced ones. strides: x, y (those of y along
// reduced axes are not read). kind: ReduceKind; argmin and argmax write int64 positions along the one reduced
// axis. last: argmin and argmax take the last of equals.
#define ECV_REDUCE_ND_FIELDS(F)                                                                              \
    F(x) F(y) F(kind) F(dtype) F(last) F(rank) F(kept) F(shape) F(strides) F(chunk_outer)

// Softmax along the last of `shape`'s axes. kind: softmax, log_softmax, hardmax. strides: x, y.
#define ECV_SOFTMAX_ND_FIELDS(F) F(x) F(y) F(kind) F(rank) F(shape) F(strides) F(chunk_outer)

// Reads at places that data tell: y[i, j] = x[f(indices, i), j], all contiguous. kind: GatherKind.
//   take (Gather): x [outer][axis][inner], indices [n], y [outer][n][inner].
//   elements (GatherElements): x_shape, y_shape: int64[rank]; indices and y of y_shape; along `axis`.
//   nd (GatherND): outer batches; x of x_shape (rank axes, without the batches); indices [outer][n][depth].
// index_dtype: i32 or i64; negative indices count from the end; one outside is an error of the run.
#define ECV_GATHER_ND_FIELDS(F)                                                                              \
    F(x) F(indices) F(y) F(kind) F(size) F(index_dtype) F(outer) F(axis) F(inner) F(n) F(depth) F(rank)      \
    F(x_shape) F(y_shape)

// y = x with updates written at places that data tell, all contiguous. kind: elements or nd (as gather_nd);
// reduction: ScatterReduction; dtype of x, updates and y.
#define ECV_SCATTER_ND_FIELDS(F)                                                                             \
    F(x) F(indices) F(updates) F(y) F(kind) F(reduction) F(dtype) F(index_dtype) F(axis) F(n) F(depth)       \
    F(rank) F(x_shape) F(indices_shape)

// The k largest or smallest along the last axis of contiguous [outer][n]; equal values in order of position.
// values [outer][k], indices int64 [outer][k]. sorted 0 may still sort.
#define ECV_TOPK_FIELDS(F) F(x) F(values) F(indices) F(dtype) F(outer) F(n) F(k) F(largest) F(sorted)

// ONNX NonMaxSuppression. boxes float [batches][n][4], scores float [batches][classes][n]; y int64
// [capacity][3]; count: int64[1], how many rows of y were found; those after them are zeros.
#define ECV_NMS_FIELDS(F)                                                                                    \
    F(boxes) F(scores) F(y) F(count) F(batches) F(classes) F(n) F(most) F(capacity) F(iou) F(score)          \
    F(has_score) F(center)

// Where the bools x, contiguous of `shape`, are true, in order: y int64 [rank][capacity], a column of coordinates
// for each; count: int64[1], how many there are; columns after them are zeros.
#define ECV_NONZERO_FIELDS(F) F(x) F(y) F(count) F(rank) F(shape) F(capacity)

// y zeroed, then y[indices[i]] = x[i], float32, n elements of x, y_n of y; an index outside is an error.
#define ECV_UNPOOL_FIELDS(F) F(x) F(indices) F(y) F(n) F(y_n)

// Local response normalization of float32 contiguous [outer][channels][inner].
#define ECV_LRN_FIELDS(F) F(x) F(y) F(outer) F(channels) F(inner) F(size) F(alpha) F(beta) F(bias)

// Cumulative sum along the middle axis of contiguous [outer][n][inner].
#define ECV_CUMSUM_FIELDS(F) F(x) F(y) F(dtype) F(outer) F(n) F(inner) F(exclusive) F(reverse)

// The largest of each window of contiguous float32 [planes][in_h][in_w], and where it is: int64 numbers of
// elements among all planes; by_columns: those of a plane counted down its columns. rows, columns: as for pool.
// A NaN is the largest; of equals the first; of an empty window -infinity, at the plane's first element.
#define ECV_POOL_INDICES_FIELDS(F)                                                                           \
    F(x) F(y) F(indices) F(planes) F(rows) F(columns) F(dilation_y) F(dilation_x) F(in_h) F(in_w) F(out_h)   \
    F(out_w) F(by_columns)

// n_steps steps, which follow as steps do, in turns. Rows of what one makes (conv, depthwise, pool) lie in a
// strip, memory of the thread, until the next one (of the same ops) has read them. Each is cut into chunks of
// whole rows, with all of its blocks or tiles.
// strips: int64[n_steps - 1][3]: blocks, rows, floats of a row. A strip is [blocks][rows][row] floats, in which
// steps name rows as if all were there: row r of block b is at floats (b rows + r) row. Strips are the slots
// after the last output.
// A chunk: `chunk` chunks of the last step.
#define ECV_BAND_FIELDS(F) F(n_steps) F(strips) F(chunk)

// X(op, type of its step, its fields)
#define ECV_SIMD_STEPS(X) \
    X(conv, ConvStep, ECV_CONV_FIELDS) \
    X(depthwise, DepthwiseStep, ECV_DEPTHWISE_FIELDS) \
    X(pool, PoolStep, ECV_POOL_FIELDS) \
    X(spatial, SpatialStep, ECV_SPATIAL_FIELDS) \
    X(resize, ResizeStep, ECV_RESIZE_FIELDS) \
    X(map, MapStep, ECV_MAP_FIELDS) \
    X(planes, PlanesStep, ECV_PLANES_FIELDS) \
    X(sample, SampleStep, ECV_SAMPLE_FIELDS) \
    X(roi_pool, RoiPoolStep, ECV_ROI_POOL_FIELDS) \
    X(copy, CopyStep, ECV_COPY_FIELDS) \
    X(map_nd, MapNdStep, ECV_MAP_ND_FIELDS) \
    X(reduce_nd, ReduceNdStep, ECV_REDUCE_ND_FIELDS) \
    X(softmax_nd, SoftmaxNdStep, ECV_SOFTMAX_ND_FIELDS) \
    X(gather_nd, GatherNdStep, ECV_GATHER_ND_FIELDS) \
    X(scatter_nd, ScatterNdStep, ECV_SCATTER_ND_FIELDS) \
    X(topk, TopkStep, ECV_TOPK_FIELDS) \
    X(nms, NmsStep, ECV_NMS_FIELDS) \
    X(nonzero, NonzeroStep, ECV_NONZERO_FIELDS) \
    X(unpool, UnpoolStep, ECV_UNPOOL_FIELDS) \
    X(lrn, LrnStep, ECV_LRN_FIELDS) \
    X(cumsum, CumsumStep, ECV_CUMSUM_FIELDS) \
    X(pool_indices, PoolIndicesStep, ECV_POOL_INDICES_FIELDS)

// Steps that are made of steps; their codes follow.
#define ECV_SIMD_JOINTS(X) X(band, BandStep, ECV_BAND_FIELDS)

// ---- Choices. X-macros, so that Python reads the names from here. Order is value, from 0.

// After a convolution or a map. alpha, beta as the ONNX operator has them; clip: [alpha, beta]; prelu has no
// place here (its slope is an operand of a map).
#define ECV_ACTIVATIONS(X)                                                                                   \
    X(none) X(relu) X(clip) X(leaky_relu) X(sigmoid) X(silu) X(hard_sigmoid) X(hard_swish) X(tanh) X(mish)   \
    X(gelu) X(gelu_tanh) X(elu) X(selu) X(softplus) X(exp) X(softsign)

// Of `map` and `map_nd`, then those of `map_nd` only. first: a itself. prelu: a < 0 ? a b : a.
// affine: a b + c.
#define ECV_BLOCKED_MAP_OPS(X)                                                                               \
    X(first) X(add) X(sub) X(mul) X(div) X(max) X(min) X(pow) X(prelu) X(affine) X(neg) X(abs) X(sqrt)       \
    X(exp) X(log) X(reciprocal) X(sigmoid) X(tanh) X(erf) X(floor) X(ceil) X(round) X(sign) X(sin) X(cos)    \
    X(softplus) X(activation)
#define ECV_MAP_OPS(X)                                                                                       \
    ECV_BLOCKED_MAP_OPS(X)                                                                                   \
    X(not_) X(and_) X(or_) X(xor_) X(equal) X(less) X(less_equal) X(greater) X(greater_equal) X(where)       \
    X(cast) X(mod) X(fmod) X(is_nan) X(is_inf) X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(asinh)       \
    X(acosh) X(atanh)

#define ECV_DTYPES(X) X(f32) X(f64) X(f16) X(i8) X(i16) X(i32) X(i64) X(u8) X(u16) X(u32) X(u64) X(boolean)

#define ECV_POOL_KINDS(X) X(max) X(average)
#define ECV_REDUCE_KINDS(X) \
    X(sum) X(mean) X(max) X(min) X(prod) X(sum_square) X(l1) X(l2) X(log_sum) X(log_sum_exp) X(argmax) X(argmin)
#define ECV_SOFTMAX_KINDS(X) X(softmax) X(log_softmax) X(hardmax)
#define ECV_GATHER_KINDS(X) X(take) X(elements) X(nd)
#define ECV_SCATTER_REDUCTIONS(X) X(none) X(add) X(mul) X(max) X(min)
#define ECV_SAMPLE_FRAMES(X) X(pixels) X(centers) X(edges)
#define ECV_SAMPLE_MODES(X) X(nearest) X(linear) X(cubic)
#define ECV_SAMPLE_PADDINGS(X) X(zeros) X(border) X(reflection)
#define ECV_ROI_KINDS(X) X(align_average) X(align_max) X(window_max)

// clang-format on

namespace ecv {

#define ECV_FIELD(name) int64_t name;
#define ECV_STEP(op, Step, FIELDS) \
    struct Step {                  \
        FIELDS(ECV_FIELD)          \
    };
ECV_SIMD_STEPS(ECV_STEP)
ECV_SIMD_JOINTS(ECV_STEP)
#undef ECV_STEP
#undef ECV_FIELD

#define ECV_ITEM(name) name,
enum class Activation : int64_t { ECV_ACTIVATIONS(ECV_ITEM) };
enum class MapOp : int64_t { ECV_MAP_OPS(ECV_ITEM) };
enum class Dtype : int64_t { ECV_DTYPES(ECV_ITEM) };
enum class PoolKind : int64_t { ECV_POOL_KINDS(ECV_ITEM) };
enum class ReduceKind : int64_t { ECV_REDUCE_KINDS(ECV_ITEM) };
enum class SoftmaxKind : int64_t { ECV_SOFTMAX_KINDS(ECV_ITEM) };
enum class GatherKind : int64_t { ECV_GATHER_KINDS(ECV_ITEM) };
enum class ScatterReduction : int64_t { ECV_SCATTER_REDUCTIONS(ECV_ITEM) };
enum class SampleFrame : int64_t { ECV_SAMPLE_FRAMES(ECV_ITEM) };
enum class SampleMode : int64_t { ECV_SAMPLE_MODES(ECV_ITEM) };
enum class SamplePadding : int64_t { ECV_SAMPLE_PADDINGS(ECV_ITEM) };
enum class RoiKind : int64_t { ECV_ROI_KINDS(ECV_ITEM) };
#undef ECV_ITEM

// Where the slots of a run lie. `sizes` is what check functions hold Refs against.
struct Memory {
    char* const* bases;
    const int64_t* sizes;
    int64_t n_slots;
    int64_t first_output;  // the slots of outputs; those of inputs end there
};

// What a kernel answers; the runtime turns it into an error that names the step.
enum class StepStatus : int { ok, index_outside, division_by_zero, capacity };

// A kernel runs one chunk of its step. scratch: the calling thread's own, 64-byte aligned, as large as the
// step's scratch function says. Chunks write disjoint outputs, so their order and thread do not matter.
using Kernel = StepStatus (*)(const void* step, const Memory& memory, int64_t chunk, char* scratch);

// The kernels of one ISA, in the order of ECV_SIMD_OPS.
struct SimdKernels {
#define X(name) Kernel name;
    ECV_SIMD_OPS(X)
#undef X
};

}  // namespace ecv
