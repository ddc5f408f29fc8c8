// Soft-NMS (Bodla et al., arXiv:1704.04503): the best candidate of a group is taken, the others decay by
// their overlap with it, and so on while one is over the threshold.
#include "workspace.h"

namespace ecv {
namespace {

struct SoftNmsWorkspace {
    Groups groups;
    ColumnBuffer boxes;        // of the group at hand, by index
    Buffer<float> confidence;  // 0: taken, or no candidate any more
    Buffer<uint32_t> candidate;
    Order order;  // of what was taken
    Buffer<int64_t> taken, index;
    Buffer<float> taken_confidence, decayed;

    bool reserve(size_t n) {
        return groups.reserve(n) && boxes.reserve(n) && confidence.reserve(n + kMaxFloatLanes) &&
               candidate.reserve(n) && order.reserve(n) && taken.reserve(n) && index.reserve(n) &&
               taken_confidence.reserve(n) && decayed.reserve(n);
    }
};

thread_local SoftNmsWorkspace workspace;

size_t list_candidates(const SoftNmsRequest& request, Order& order) {
    const CandidateRows& c = request.candidates;
    size_t n = 0;
    for (size_t i = 0; i < c.xyxy.count; ++i) {
        const float confidence = at(c.confidence, i, c.confidence_stride);
        if (confidence > request.threshold && is_finite(confidence) && is_box(box_at(c.xyxy, i)))
            order.index[n++] = static_cast<uint32_t>(i);
    }
    return n;
}

// Entries past the last one, which a kernel may read and write.
void pad(SoftNmsWorkspace& w, size_t n) {
    for (size_t i = n; i < n + kMaxFloatLanes; ++i) {
        w.boxes.set(i, {0, 0, 0, 0, 0});
        w.confidence[i] = 0;
    }
}

Next load_group(const CandidateRows& c, SoftNmsWorkspace& w, size_t begin, size_t n) {
    Next best = {0, 0, n};
    for (size_t i = 0; i < n; ++i) {
        const uint32_t candidate = w.groups.order.index[begin + i];
        w.candidate[i] = candidate;
        w.boxes.set(i, box_at(c.xyxy, candidate));
        w.confidence[i] = at(c.confidence, candidate, c.confidence_stride);
        if (w.confidence[i] > best.confidence) {
            best.index = i;
            best.confidence = w.confidence[i];
        }
    }
    pad(w, n);
    return best;
}

// Leaves out what is not over the threshold; the rest stays in order. Returns what is left and moves
// `place` along with its candidate.
size_t compact(SoftNmsWorkspace& w, size_t n, float threshold, size_t* place) {
    size_t left = 0;
    for (size_t i = 0; i < n; ++i) {
        if (!(w.confidence[i] > threshold)) continue;
        if (i == *place) *place = left;
        w.boxes.set(left, w.boxes.at(i));
        w.confidence[left] = w.confidence[i];
        w.candidate[left++] = w.candidate[i];
    }
    pad(w, left);
    return left;
}

// Takes candidates of a group, at most max_det; returns the number taken so far, of all groups.
size_t take_from_group(const SoftNmsRequest& request, SoftNmsWorkspace& w, size_t group, size_t taken) {
    const auto decay = request.linear ? box_kernels().f32_soft_linear : box_kernels().f32_soft_gaussian;
    const float parameter = request.linear ? request.iou : -1.0f / request.sigma;
    const size_t begin = w.groups.begin[group];
    size_t n = w.groups.begin[group + 1] - begin;
    Next next = load_group(request.candidates, w, begin, n);
    for (size_t of_group = 0; next.over > 0 && of_group < request.max_det; ++of_group) {
        if (next.over < n / 2) n = compact(w, n, request.threshold, &next.index);
        w.taken[taken] = w.candidate[next.index];
        w.taken_confidence[taken++] = next.confidence;
        w.confidence[next.index] = 0;
        next = decay(w.boxes.from(0), w.confidence.get(), n, w.boxes.at(next.index), parameter,
                     request.threshold);
    }
    return taken;
}

}  // namespace

Status soft_nms(const SoftNmsRequest& request, Kept* result) {
    SoftNmsWorkspace& w = workspace;
    if (!w.reserve(request.candidates.xyxy.count)) return Status::out_of_memory;
    w.groups.make(request.candidates, list_candidates(request, w.groups.order));
    size_t taken = 0;
    for (size_t group = 0; group < w.groups.count; ++group) taken = take_from_group(request, w, group, taken);

    for (size_t i = 0; i < taken; ++i) {
        w.order.index[i] = static_cast<uint32_t>(i);
        w.order.key[i] = static_cast<uint32_t>(w.taken[i]);
    }
    w.order.sort(taken);
    for (size_t i = 0; i < taken; ++i) w.order.key[i] = ~rising_key(w.taken_confidence[i]);
    w.order.sort(taken);
    const size_t kept = taken < request.max_det ? taken : request.max_det;
    for (size_t i = 0; i < kept; ++i) {
        w.index[i] = w.taken[w.order.index[i]];
        w.decayed[i] = w.taken_confidence[w.order.index[i]];
    }
    *result = {w.index.get(), w.decayed.get(), kept};
    return Status::ok;
}

}  // namespace ecv
