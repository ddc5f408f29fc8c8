// Candidate selection and non-maximum suppression: what the kernels, the baseline code and Cython share.
//
// Plain structs only: this header is compiled once per ISA, so it defines no function.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

namespace ecv {

// Class scores of n rows, strides in elements.
struct Scores {
    const float* data;
    ptrdiff_t row_stride;
    ptrdiff_t class_stride;
    const float* objectness;  // one per row, or null for 1
    ptrdiff_t objectness_stride;
    size_t classes;
    const float* thresholds;  // one per class, finite
    float lowest;             // the smallest threshold
    uint32_t* hit_class;      // scratch of `classes` entries
    uint32_t* hit_bits;       // scratch of `classes` entries
};

// Candidates found so far, ordered by row, then class.
struct Selection {
    int32_t* row;
    int32_t* class_id;
    float* confidence;
    size_t count;
    size_t capacity;
};

// Boxes as columns. A kernel may read, and ignore, up to kMaxFloatLanes - 1 entries past the last one.
struct BoxColumns {
    const float* x1;
    const float* y1;
    const float* x2;
    const float* y2;
    const float* area;  // NaN for what is no box: it overlaps with nothing
};

struct Box {
    float x1, y1, x2, y2, area;
};

// The most confident of the candidates that are over the threshold, the first one where they tie.
struct Next {
    size_t index;      // meaningless when `over` is 0
    float confidence;  // 0 when `over` is 0
    size_t over;       // how many candidates are over the threshold
};

constexpr size_t kMaxFloatLanes = 16;

// Every kernel, in the order of the table. X(result, name, parameters)
//
// f32_select_*: appends the candidates of the rows [begin, end) and returns the row to go on from, which
//   is less than `end` when the capacity might not hold the next rows' candidates. `rows`: classes are
//   contiguous. `columns`: rows are contiguous.
// f32_*_any_over: whether the overlap of `box` with any of `count` boxes is over the threshold.
// f32_iou_row: IoU of `box` with each of `count` boxes; 0 where a box or the union is not valid.
// f32_soft_*: multiplies each confidence by the decay that `box` causes. `parameter`: -1 / sigma
//   (gaussian), or the IoU over which scores decay (linear). Past the last entry the confidences are 0,
//   up to a whole vector, and may be written.
// f32_has_nan: whether one of n floats is a NaN.
// f32_largest: the largest of n floats, reading each of them once: the floor of the benchmarks.
#define ECV_BOX_KERNELS(X)                                                                               \
    X(size_t, f32_select_rows,                                                                           \
      (const Scores& scores, size_t begin, size_t end, bool multi_label, Selection* out))                \
    X(size_t, f32_select_columns,                                                                        \
      (const Scores& scores, size_t begin, size_t end, bool multi_label, Selection* out))                \
    X(bool, f32_iou_any_over, (const BoxColumns& boxes, size_t count, const Box& box, float threshold))  \
    X(bool, f32_diou_any_over, (const BoxColumns& boxes, size_t count, const Box& box, float threshold)) \
    X(void, f32_iou_row, (const BoxColumns& boxes, size_t count, const Box& box, float* iou))            \
    X(Next, f32_soft_gaussian,                                                                           \
      (const BoxColumns& boxes, float* confidence, size_t count, const Box& box, float parameter,        \
       float threshold))                                                                                 \
    X(Next, f32_soft_linear,                                                                             \
      (const BoxColumns& boxes, float* confidence, size_t count, const Box& box, float parameter,        \
       float threshold))                                                                                 \
    X(bool, f32_has_nan, (const float* values, size_t n))                                                \
    X(float, f32_largest, (const float* values, size_t n))

struct BoxKernels {
#define X(result, name, parameters) result(*name) parameters;
    ECV_BOX_KERNELS(X)
#undef X
};

// The kernels that run: set_box_isa() must have been called once.
const BoxKernels& box_kernels();
void set_box_isa(int isa);
int box_isa();  // -1 before the first set_box_isa()

enum class Status : int { ok, out_of_memory, no_such_row };

struct SelectRequest {
    Scores scores;  // thresholds, lowest and scratch are filled in by select()
    size_t rows;
    const float* thresholds;  // one per class, or one for all
    bool per_class;
    bool by_columns;  // rows are contiguous, otherwise classes are
    bool multi_label;
    size_t max_candidates;
};

// n boxes of four numbers each, five where they are oriented; strides in elements.
struct BoxRows {
    const float* data;
    size_t count;
    ptrdiff_t box_stride;
    ptrdiff_t coordinate_stride;
};

struct CandidateRows {
    BoxRows xyxy;
    const float* confidence;
    ptrdiff_t confidence_stride;
    const int32_t* class_id;  // or null: one class
    ptrdiff_t class_stride;
    const int32_t* image_id;  // or null: one image
    ptrdiff_t image_stride;
};

struct NmsRequest {
    CandidateRows candidates;
    float iou;
    size_t max_det;
    bool diou;
};

struct RotatedNmsRequest {
    CandidateRows candidates;  // xyxy: of each box center, width, height and angle in place of corners
    bool gaussian;             // overlap by ProbIoU, otherwise by IoU
    double iou;
    size_t max_det;
};

struct SoftNmsRequest {
    CandidateRows candidates;
    bool linear;
    float sigma;
    float iou;
    float threshold;  // not negative
    size_t max_det;
};

struct Kept {
    const int64_t* index;
    const float* confidence;  // decayed; null from nms()
    size_t count;
};

enum class Conversion : int { cxcywh_to_xyxy, xywh_to_xyxy, xyxy_to_xywh, xyxy_to_cxcywh };

// The results of these lie in the calling thread's workspace and are valid until its next call.
Status select(const SelectRequest& request, Selection* result);
Status nms(const NmsRequest& request, Kept* result);
Status nms_rotated(const RotatedNmsRequest& request, Kept* result);  // looks at class_id, not at image_id
Status soft_nms(const SoftNmsRequest& request, Kept* result);

// iou: a.count rows of b.count.
Status iou_matrix(const BoxRows& a, const BoxRows& b, float* iou);
Status iou_rotated_matrix(const BoxRows& a, const BoxRows& b, bool gaussian, float* iou);

// Converts all boxes, or `count` of them by their rows. result: four floats a box.
Status convert(Conversion conversion, const BoxRows& boxes, const int32_t* rows, size_t count, float* result);

}  // namespace ecv
