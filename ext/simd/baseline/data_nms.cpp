// NonMaxSuppression as ONNX defines it: of each class the boxes by falling score, the first of equals first,
// without those that overlap one kept before by more than `iou`.
#include <algorithm>

#include "data.h"

namespace ecv {
namespace {

struct Candidate {
    float score;
    int64_t index;
    bool operator<(const Candidate& other) const {
        return score != other.score ? score > other.score : index < other.index;
    }
};

struct Box {
    float x1, y1, x2, y2, area;
};

Box box_of(const float* b, bool is_center) {
    Box box;
    if (is_center) {  // x, y of the center, width, height
        const float half_w = b[2] / 2, half_h = b[3] / 2;
        box = {b[0] - half_w, b[1] - half_h, b[0] + half_w, b[1] + half_h, 0};
    } else {  // y, x of two corners that face each other
        box = {std::min(b[1], b[3]), std::min(b[0], b[2]), std::max(b[1], b[3]), std::max(b[0], b[2]), 0};
    }
    box.area = (box.x2 - box.x1) * (box.y2 - box.y1);
    return box;
}

bool overlaps(const Box& a, const Box& b, float iou) {
    const float w = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
    const float h = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
    if (!(w > 0 && h > 0)) return false;
    const float both = w * h, either = a.area + b.area - both;
    return both > 0 && a.area > 0 && b.area > 0 && either > 0 && both / either > iou;
}

}  // namespace

int64_t nms_scratch(int64_t n, int64_t most) {
    return plus(times(n, sizeof(Candidate)), times(std::min(n, most), sizeof(Box)));
}

StepStatus run_nms(const void* fields, const Memory& memory, int64_t, char* scratch) {
    const NmsStep& step = *static_cast<const NmsStep*>(fields);
    const float iou = float_of(step.iou), least = float_of(step.score);
    Candidate* const candidates = reinterpret_cast<Candidate*>(scratch);
    Box* const kept = reinterpret_cast<Box*>(candidates + step.n);
    int64_t* y = at<int64_t>(memory, step.y);
    int64_t& count = *at<int64_t>(memory, step.count);
    count = 0;
    // How many batches and classes there are of no boxes, nothing bounds.
    const int64_t batches = step.n == 0 ? 0 : step.batches;
    for (int64_t batch = 0; batch < batches; ++batch) {
        const float* const boxes = at<const float>(memory, step.boxes) + batch * step.n * 4;
        for (int64_t id = 0; id < step.classes; ++id) {
            const float* const scores =
                at<const float>(memory, step.scores) + (batch * step.classes + id) * step.n;
            int64_t n = 0, n_kept = 0;
            for (int64_t i = 0; i < step.n; ++i) {
                // A score that is NaN is above nothing.
                if (scores[i] == scores[i] && (!step.has_score || scores[i] > least))
                    candidates[n++] = {scores[i], i};
            }
            std::sort(candidates, candidates + n);
            for (int64_t i = 0; i < n && n_kept < step.most; ++i) {
                const Box box = box_of(boxes + candidates[i].index * 4, step.center != 0);
                const auto hides = [&](const Box& before) { return overlaps(before, box, iou); };
                if (std::any_of(kept, kept + n_kept, hides)) continue;
                if (count == step.capacity) return StepStatus::capacity;
                kept[n_kept++] = box;
                y[0] = batch;
                y[1] = id;
                y[2] = candidates[i].index;
                y += 3;
                ++count;
            }
        }
    }
    std::fill(y, at<int64_t>(memory, step.y) + step.capacity * 3, 0);
    return StepStatus::ok;
}

}  // namespace ecv
