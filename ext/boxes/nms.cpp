// Greedy non-maximum suppression: candidates fall in confidence, and each is compared with the boxes
// already kept in its own group. That work is at most candidates times kept boxes of one group; max_det
// bounds the latter.
#include "workspace.h"

namespace ecv {
namespace {

struct NmsWorkspace {
    Order order;
    Groups groups;
    ColumnBuffer kept_boxes;  // a group's kept boxes start where the group does
    Buffer<uint32_t> kept_in_group;
    Buffer<int64_t> index;

    bool reserve(size_t n) {
        return order.reserve(n) && groups.reserve(n) && kept_boxes.reserve(n) && kept_in_group.reserve(n) &&
               index.reserve(n);
    }
};

thread_local NmsWorkspace workspace;

// Lists the usable candidates, most confident first.
size_t order_by_confidence(const CandidateRows& c, Order& order) {
    size_t n = 0;
    for (size_t i = 0; i < c.xyxy.count; ++i) {
        const float confidence = at(c.confidence, i, c.confidence_stride);
        if (!is_finite(confidence) || !is_box(box_at(c.xyxy, i))) continue;
        order.key[i] = ~rising_key(confidence);
        order.index[n++] = static_cast<uint32_t>(i);
    }
    order.sort(n);
    return n;
}

void order_by_image(const CandidateRows& c, Order& order, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        const uint32_t candidate = order.index[i];
        order.key[candidate] = rising_key(at(c.image_id, candidate, c.image_stride));
    }
    order.sort(n);
}

}  // namespace

Status nms(const NmsRequest& request, Kept* result) {
    const CandidateRows& c = request.candidates;
    NmsWorkspace& w = workspace;
    *result = {nullptr, nullptr, 0};
    if (c.xyxy.count == 0) return Status::ok;
    if (!w.reserve(c.xyxy.count)) return Status::out_of_memory;
    const size_t n = order_by_confidence(c, w.order);
    memcpy(w.groups.order.index.get(), w.order.index.get(), n * sizeof(uint32_t));
    w.groups.make(c, n);
    memset(w.kept_in_group.get(), 0, w.groups.count * sizeof(uint32_t));
    if (c.image_id) order_by_image(c, w.order, n);

    const auto any_over = request.diou ? box_kernels().f32_diou_any_over : box_kernels().f32_iou_any_over;
    size_t kept = 0, image_begin = 0;
    for (size_t i = 0; i < n; ++i) {
        const uint32_t candidate = w.order.index[i];
        if (c.image_id && i > 0 &&
            at(c.image_id, candidate, c.image_stride) != at(c.image_id, w.order.index[i - 1], c.image_stride))
            image_begin = kept;
        if (kept - image_begin == request.max_det) {
            if (!c.image_id) break;
            continue;
        }
        const Box box = box_at(c.xyxy, candidate);
        const uint32_t group = w.groups.of[candidate];
        const size_t begin = w.groups.begin[group];
        uint32_t& in_group = w.kept_in_group[group];
        if (any_over(w.kept_boxes.from(begin), in_group, box, request.iou)) continue;
        w.kept_boxes.set(begin + in_group, box);
        ++in_group;
        w.index[kept++] = candidate;
    }
    *result = {w.index.get(), nullptr, kept};
    return Status::ok;
}

}  // namespace ecv
