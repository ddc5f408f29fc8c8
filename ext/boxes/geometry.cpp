// IoU of every pair of boxes, and conversions between box forms.
#include "workspace.h"

namespace ecv {
namespace {

thread_local ColumnBuffer workspace;

void convert_one(Conversion conversion, const float in[4], float out[4]) {
    for (int axis = 0; axis < 2; ++axis) {
        const float low = in[axis], high = in[axis + 2];
        switch (conversion) {
            case Conversion::cxcywh_to_xyxy:
                out[axis] = low - high * 0.5f;
                out[axis + 2] = low + high * 0.5f;
                break;
            case Conversion::xywh_to_xyxy:
                out[axis] = low;
                out[axis + 2] = low + high;
                break;
            case Conversion::xyxy_to_xywh:
                out[axis] = low;
                out[axis + 2] = high - low;
                break;
            case Conversion::xyxy_to_cxcywh:
                out[axis] = low * 0.5f + high * 0.5f;
                out[axis + 2] = high - low;
                break;
        }
    }
}

}  // namespace

Status iou_matrix(const BoxRows& a, const BoxRows& b, float* iou) {
    if (!workspace.reserve(b.count)) return Status::out_of_memory;
    for (size_t i = 0; i < b.count; ++i) workspace.set(i, box_at(b, i));
    for (size_t i = 0; i < a.count; ++i)
        box_kernels().f32_iou_row(workspace.from(0), b.count, box_at(a, i), iou + i * b.count);
    return Status::ok;
}

Status convert(Conversion conversion, const BoxRows& boxes, const int32_t* rows, size_t count, float* result) {
    for (size_t i = 0; i < count; ++i) {
        // A negative row becomes larger than any count.
        const size_t row = rows ? static_cast<size_t>(rows[i]) : i;
        if (row >= boxes.count) return Status::no_such_row;
        const float* p = boxes.data + static_cast<ptrdiff_t>(row) * boxes.box_stride;
        const ptrdiff_t step = boxes.coordinate_stride;
        const float in[4] = {p[0], p[step], p[2 * step], p[3 * step]};
        convert_one(conversion, in, result + 4 * i);
    }
    return Status::ok;
}

}  // namespace ecv
