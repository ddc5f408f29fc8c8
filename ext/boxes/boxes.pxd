from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint32_t

cdef extern from "boxes.h" namespace "ecv" nogil:
    cdef enum class Status(int):
        ok
        out_of_memory
        no_such_row

    cdef struct Scores:
        const float* data
        ptrdiff_t row_stride  # strides in elements
        ptrdiff_t class_stride
        const float* objectness
        ptrdiff_t objectness_stride
        size_t classes

    cdef struct Selection:
        int32_t* row
        int32_t* class_id
        float* confidence
        size_t count

    cdef struct SelectRequest:
        Scores scores
        size_t rows
        const float* thresholds
        bint per_class
        bint by_columns
        bint multi_label
        size_t max_candidates

    cdef struct BoxRows:
        const float* data
        size_t count
        ptrdiff_t box_stride  # strides in elements
        ptrdiff_t coordinate_stride

    cdef struct CandidateRows:
        BoxRows xyxy
        const float* confidence
        ptrdiff_t confidence_stride
        const int32_t* class_id
        ptrdiff_t class_stride
        const int32_t* image_id
        ptrdiff_t image_stride

    cdef struct NmsRequest:
        CandidateRows candidates
        float iou
        size_t max_det
        bint diou

    cdef struct RotatedNmsRequest:
        CandidateRows candidates
        bint gaussian
        double iou
        size_t max_det

    cdef struct SoftNmsRequest:
        CandidateRows candidates
        bint linear
        float sigma
        float iou
        float threshold
        size_t max_det

    cdef struct Kept:
        const int64_t* index
        const float* confidence
        size_t count

    cdef enum class Conversion(int):
        cxcywh_to_xyxy
        xywh_to_xyxy
        xyxy_to_xywh
        xyxy_to_cxcywh

    cdef struct BoxKernels:
        bint (*f32_has_nan)(const float* values, size_t n) noexcept nogil
        float (*f32_largest)(const float* values, size_t n) noexcept nogil

    const BoxKernels& box_kernels()
    void set_box_isa(int isa)
    int box_isa()
    Status select(const SelectRequest& request, Selection* result)
    Status nms(const NmsRequest& request, Kept* result)
    Status nms_rotated(const RotatedNmsRequest& request, Kept* result)
    Status soft_nms(const SoftNmsRequest& request, Kept* result)
    Status iou_matrix(const BoxRows& a, const BoxRows& b, float* iou)
    Status iou_rotated_matrix(const BoxRows& a, const BoxRows& b, bint gaussian, float* iou)
    Status convert(
        Conversion conversion, const BoxRows& boxes, const int32_t* rows, size_t count, float* result
    )
