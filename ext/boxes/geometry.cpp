// IoU of every pair of boxes, and conversions between box forms.
#include "workspace.h"

namespace ecv {
namespace {

thread_local ColumnBuffer workspace;

struct Axis {
    float first, second;
};

template <Conversion conversion>
Axis convert_axis(float first, float second) {
    switch (conversion) {
        case Conversion::cxcywh_to_xyxy:
            return {first - second * 0.5f, first + second * 0.5f};
        case Conversion::xywh_to_xyxy:
            return {first, first + second};
        case Conversion::xyxy_to_xywh:
            return {first, second - first};
        case Conversion::xyxy_to_cxcywh:
            return {first * 0.5f + second * 0.5f, second - first};
    }
    __builtin_unreachable();
}

template <Conversion conversion>
Status convert_all(const BoxRows& boxes, const int32_t* rows, size_t count, float* result) {
    for (size_t i = 0; i < count; ++i, result += 4) {
        // A negative row becomes larger than any count.
        const size_t row = rows ? static_cast<size_t>(rows[i]) : i;
        if (row >= boxes.count) return Status::no_such_row;
        const float* p = boxes.data + static_cast<ptrdiff_t>(row) * boxes.box_stride;
        const ptrdiff_t step = boxes.coordinate_stride;
        const Axis x = convert_axis<conversion>(p[0], p[2 * step]);
        const Axis y = convert_axis<conversion>(p[step], p[3 * step]);
        result[0] = x.first;
        result[1] = y.first;
        result[2] = x.second;
        result[3] = y.second;
    }
    return Status::ok;
}

}  // namespace

Status iou_matrix(const BoxRows& a, const BoxRows& b, float* iou) {
    if (!workspace.reserve(b.count)) return Status::out_of_memory;
    for (size_t i = 0; i < b.count; ++i) workspace.set(i, box_at(b, i));
    for (size_t i = 0; i < a.count; ++i)
        box_kernels().f32_iou_row(workspace.from(0), b.count, box_at(a, i), iou + i * b.count);
    return Status::ok;
}

Status convert(Conversion conversion, const BoxRows& boxes, const int32_t* rows, size_t count,
               float* result) {
    switch (conversion) {
        case Conversion::cxcywh_to_xyxy:
            return convert_all<Conversion::cxcywh_to_xyxy>(boxes, rows, count, result);
        case Conversion::xywh_to_xyxy:
            return convert_all<Conversion::xywh_to_xyxy>(boxes, rows, count, result);
        case Conversion::xyxy_to_xywh:
            return convert_all<Conversion::xyxy_to_xywh>(boxes, rows, count, result);
        case Conversion::xyxy_to_cxcywh:
            return convert_all<Conversion::xyxy_to_cxcywh>(boxes, rows, count, result);
    }
    __builtin_unreachable();
}

}  // namespace ecv
