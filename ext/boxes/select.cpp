// Candidate selection around the kernels: buffers, and the most confident candidates of too many.
#include "workspace.h"

namespace ecv {
namespace {

struct SelectWorkspace {
    Buffer<int32_t> row, class_id;
    Buffer<float> confidence, thresholds;
    Buffer<uint32_t> hit_class, hit_bits;
};

thread_local SelectWorkspace workspace;

constexpr size_t kFirstCapacity = 4096;

bool reserve_candidates(SelectWorkspace& w, Selection* out, size_t capacity, size_t limit) {
    if (!w.row.reserve(capacity, limit) || !w.class_id.reserve(capacity, limit) ||
        !w.confidence.reserve(capacity, limit))
        return false;
    *out = {w.row.get(), w.class_id.get(), w.confidence.get(), out->count, w.row.size()};
    return true;
}

// The key of the candidate with `rank` more confident ones before it, and how many have a larger key.
struct Rank {
    uint32_t key;
    size_t above;
};

// One digit of the key at a time, from the highest: linear in n, whatever the values.
Rank key_of_rank(const float* confidence, size_t n, size_t rank) {
    uint32_t prefix = 0, prefix_mask = 0;
    size_t above = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        size_t histogram[256] = {};
        for (size_t i = 0; i < n; ++i) {
            const uint32_t key = rising_key(confidence[i]);
            if ((key & prefix_mask) == prefix) ++histogram[key >> shift & 255u];
        }
        uint32_t digit = 255;
        while (above + histogram[digit] <= rank) above += histogram[digit--];
        prefix |= digit << shift;
        prefix_mask |= 255u << shift;
    }
    return {prefix, above};
}

// Keeps the `most` most confident candidates in their order, the first ones where they tie. Returns the
// smallest confidence kept.
float keep_most_confident(Selection* s, size_t most) {
    const Rank last = key_of_rank(s->confidence, s->count, most - 1);
    size_t ties = most - last.above, kept = 0;
    float smallest = 0;
    for (size_t i = 0; i < s->count; ++i) {
        const uint32_t key = rising_key(s->confidence[i]);
        if (key < last.key || (key == last.key && ties == 0)) continue;
        if (key == last.key) {
            --ties;
            smallest = s->confidence[i];
        }
        s->row[kept] = s->row[i];
        s->class_id[kept] = s->class_id[i];
        s->confidence[kept] = s->confidence[i];
        ++kept;
    }
    s->count = kept;
    return smallest;
}

float smallest_of(const float* values, size_t n) {
    float smallest = values[0];
    for (size_t i = 1; i < n; ++i) smallest = values[i] < smallest ? values[i] : smallest;
    return smallest;
}

}  // namespace

Status select(const SelectRequest& request, Selection* result) {
    SelectWorkspace& w = workspace;
    Scores scores = request.scores;
    const size_t classes = scores.classes;
    if (!w.thresholds.reserve(classes + kMaxFloatLanes) || !w.hit_class.reserve(classes) ||
        !w.hit_bits.reserve(classes))
        return Status::out_of_memory;
    float* thresholds = w.thresholds.get();
    for (size_t c = 0; c < classes; ++c) thresholds[c] = request.thresholds[request.per_class ? c : 0];
    scores.thresholds = thresholds;
    scores.hit_class = w.hit_class.get();
    scores.hit_bits = w.hit_bits.get();

    // A kernel stops while this many may come at once, and twice the wanted number is only ever passed
    // by so many: the memory is bounded by max_candidates, not by what the scores hold.
    const size_t at_once = kMaxFloatLanes * (request.multi_label ? classes : 1);
    const size_t possible = request.rows * (request.multi_label ? classes : 1);
    const size_t most = request.max_candidates < possible ? request.max_candidates : possible;
    const size_t limit = 2 * most + at_once;

    result->count = 0;
    if (!reserve_candidates(w, result, kFirstCapacity < limit ? kFirstCapacity : limit, limit))
        return Status::out_of_memory;
    const auto kernel = request.by_columns ? box_kernels().f32_select_columns : box_kernels().f32_select_rows;
    for (size_t row = 0; classes > 0;) {
        scores.lowest = smallest_of(thresholds, classes);
        row = kernel(scores, row, request.rows, request.multi_label, result);
        if (row == request.rows) break;
        if (result->capacity < limit) {
            const size_t wanted = result->count + at_once;
            if (!reserve_candidates(w, result, wanted < limit ? wanted : limit, limit))
                return Status::out_of_memory;
            continue;
        }
        // Later candidates lose a tie against those already kept, so only more confident ones matter.
        const float smallest = keep_most_confident(result, most);
        for (size_t c = 0; c < classes; ++c)
            thresholds[c] = thresholds[c] < smallest ? smallest : thresholds[c];
    }
    if (result->count > most) keep_most_confident(result, most);
    return Status::ok;
}

}  // namespace ecv
