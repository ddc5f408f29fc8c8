// Proposals (Ren et al. 2015, section 3): the boxes of all anchors in all cells, the most confident of them,
// and greedy suppression among those, from the most confident one on until there are enough.
#include "rois.h"
#include "workspace.h"

namespace ecv {
namespace {

struct ProposeWorkspace {
    Buffer<float> shift_x, shift_y;
    Buffer<float> x1, y1, x2, y2, score;  // anchor by anchor, cell by cell
    Order order;
    ColumnBuffer kept_boxes;
    Buffer<float> xyxy, kept_score;

    bool reserve(size_t cells, size_t boxes, size_t most) {
        const size_t padded = boxes + kMaxLanes;
        return shift_x.reserve(cells + kMaxLanes) && shift_y.reserve(cells + kMaxLanes) &&
               x1.reserve(padded) && y1.reserve(padded) && x2.reserve(padded) && y2.reserve(padded) &&
               score.reserve(padded) && order.reserve(boxes) && kept_boxes.reserve(most) &&
               xyxy.reserve(4 * most) && kept_score.reserve(most);
    }
};

thread_local ProposeWorkspace workspace;

void decode(const ProposeRequest& request, ProposeWorkspace& w, size_t cells) {
    for (size_t row = 0, cell = 0; row < request.height; ++row) {
        for (size_t column = 0; column < request.width; ++column, ++cell) {
            w.shift_x[cell] = static_cast<float>(column) * request.stride;
            w.shift_y[cell] = static_cast<float>(row) * request.stride;
        }
    }
    const float extent = request.extent;
    const CellGrid grid = {w.shift_x.get(), w.shift_y.get(),        request.left,
                           request.top,     request.right - extent, request.bottom - extent,
                           request.min_w,   request.min_h,          extent};
    for (size_t a = 0; a < request.anchor_count; ++a) {
        const float* box = request.anchors + 4 * a;
        const float* deltas = request.deltas + 4 * a * cells;
        const float width = box[2] - box[0] + extent, height = box[3] - box[1] + extent;
        const Anchor anchor = {request.scores + a * cells,
                               deltas,
                               deltas + cells,
                               deltas + 2 * cells,
                               deltas + 3 * cells,
                               box[0] + 0.5f * width,
                               box[1] + 0.5f * height,
                               width,
                               height};
        const size_t at = a * cells;
        const ProposalColumns out = {w.x1.get() + at, w.y1.get() + at, w.x2.get() + at, w.y2.get() + at,
                                     w.score.get() + at};
        roi_kernels().f32_decode_anchor(grid, anchor, cells, out);
    }
}

// Lists the proposals, most confident first; ties go to the earlier cell, then the earlier anchor.
size_t order_by_score(ProposeWorkspace& w, size_t cells, size_t anchors) {
    size_t n = 0;
    for (size_t cell = 0; cell < cells; ++cell) {
        for (size_t box = cell; box < anchors * cells; box += cells) {
            const float score = w.score[box];
            if (score != score) continue;
            w.order.key[box] = ~rising_key(score);
            w.order.index[n++] = static_cast<uint32_t>(box);
        }
    }
    w.order.sort(n);
    return n;
}

}  // namespace

RoiStatus propose(const ProposeRequest& request, Proposed* result) {
    ProposeWorkspace& w = workspace;
    const size_t cells = request.height * request.width, boxes = cells * request.anchor_count;
    const size_t most = request.post_nms < boxes ? request.post_nms : boxes;
    if (!w.reserve(cells, boxes, most)) return RoiStatus::out_of_memory;
    decode(request, w, cells);
    const size_t found = order_by_score(w, cells, request.anchor_count);
    const size_t candidates = request.pre_nms < found ? request.pre_nms : found;

    size_t kept = 0;
    for (size_t i = 0; i < candidates && kept < most; ++i) {
        const uint32_t at = w.order.index[i];
        const float x1 = w.x1[at], y1 = w.y1[at], x2 = w.x2[at], y2 = w.y2[at];
        const float right = x2 + request.extent, bottom = y2 + request.extent;
        const Box box = {x1, y1, right, bottom, (right - x1) * (bottom - y1)};
        if (box_kernels().f32_iou_any_over(w.kept_boxes.from(0), kept, box, request.iou)) continue;
        w.kept_boxes.set(kept, box);
        const float corners[4] = {x1, y1, x2, y2};
        memcpy(w.xyxy.get() + 4 * kept, corners, sizeof corners);
        w.kept_score[kept++] = w.score[at];
    }
    *result = {w.xyxy.get(), w.kept_score.get(), kept};
    return RoiStatus::ok;
}

}  // namespace ecv
