// The data-parallel loops, compiled once per ISA. All comparisons and products are those of the scalar
// definition, in its order, so that every ISA gives the same bits.
#include "boxes.h"
#include "vec_math.h"

namespace {

using namespace ecv;

constexpr size_t kLanes = kFloatLanes;
static_assert(kLanes <= kMaxFloatLanes, "BoxColumns promises fewer lanes");
const float kInfinity = __builtin_inff();

VecF int_payload(int32_t value) {
    float payload;
    __builtin_memcpy(&payload, &value, sizeof payload);
    return f_set(payload);
}

// The lanes of what int_payload() filled.
void store_int(int32_t* to, VecF payload) {
    float lanes[kLanes];
    f_store(lanes, payload);
    __builtin_memcpy(to, lanes, sizeof lanes);
}

float objectness_of(const Scores& s, size_t row) {
    return s.objectness ? s.objectness[static_cast<ptrdiff_t>(row) * s.objectness_stride] : 1.0f;
}

void append(Selection* out, size_t row, size_t class_id, float confidence) {
    out->row[out->count] = static_cast<int32_t>(row);
    out->class_id[out->count] = static_cast<int32_t>(class_id);
    out->confidence[out->count] = confidence;
    ++out->count;
}

bool is_candidate(float confidence, float threshold) {
    return confidence > threshold && confidence < kInfinity;
}

// The definition: candidates of one row of any layout.
void select_row(const Scores& s, size_t row, bool multi_label, Selection* out) {
    const float* p = s.data + static_cast<ptrdiff_t>(row) * s.row_stride;
    const float objectness = objectness_of(s, row);
    float best = -kInfinity;
    size_t best_class = s.classes;
    for (size_t c = 0; c < s.classes; ++c, p += s.class_stride) {
        const float confidence = objectness * *p;
        if (multi_label) {
            if (is_candidate(confidence, s.thresholds[c])) append(out, row, c, confidence);
        } else if (is_candidate(confidence, best)) {
            best = confidence;
            best_class = c;
        }
    }
    if (best_class < s.classes && best > s.thresholds[best_class]) append(out, row, best_class, best);
}

// Whether the largest score can tell that a row has no candidate. Rounding is monotonic, so for a positive
// objectness the product with the largest score is the largest product; a zero one makes every product
// zero or NaN, which is not over a threshold that is not negative.
bool has_bound(float objectness, float lowest) { return lowest < 0 ? objectness > 0 : objectness >= 0; }

bool row_may_pass(const Scores& s, const float* p, float objectness) {
    VecF a = f_set(-kInfinity), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 4 * kLanes <= s.classes; i += 4 * kLanes) {
        a = f_max(f_load(p + i), a);
        b = f_max(f_load(p + i + kLanes), b);
        c = f_max(f_load(p + i + 2 * kLanes), c);
        d = f_max(f_load(p + i + 3 * kLanes), d);
    }
    for (; i + kLanes <= s.classes; i += kLanes) a = f_max(f_load(p + i), a);
    if (i < s.classes) a = f_max(f_load(p + s.classes - kLanes), a);
    const VecF largest = f_max(f_max(a, b), f_max(c, d));
    return m_bits(f_gt(largest * f_set(objectness), f_set(s.lowest))) != 0;
}

void best_of_row(const Scores& s, size_t row, const float* p, float objectness, Selection* out) {
    const VecF scale = f_set(objectness), infinity = f_set(kInfinity);
    VecF best = f_set(-kInfinity), best_base = int_payload(0);
    const auto visit = [&](size_t c) {
        const VecF confidence = f_load(p + c) * scale;
        const MaskF better = m_and(f_gt(confidence, best), f_gt(infinity, confidence));
        best = f_select(better, confidence, best);
        best_base = f_select(better, int_payload(static_cast<int32_t>(c)), best_base);
    };
    size_t c = 0;
    for (; c + kLanes <= s.classes; c += kLanes) visit(c);
    if (c < s.classes) visit(s.classes - kLanes);

    float lane_best[kLanes];
    int32_t lane_class[kLanes];
    f_store(lane_best, best);
    store_int(lane_class, best_base);
    float confidence = -kInfinity;
    int32_t class_id = 0;
    for (size_t lane = 0; lane < kLanes; ++lane) {
        const int32_t candidate = lane_class[lane] + static_cast<int32_t>(lane);
        if (lane_best[lane] > confidence || (lane_best[lane] == confidence && candidate < class_id)) {
            confidence = lane_best[lane];
            class_id = candidate;
        }
    }
    if (confidence > s.thresholds[class_id]) append(out, row, static_cast<size_t>(class_id), confidence);
}

void hits_of_row(const Scores& s, size_t row, const float* p, float objectness, Selection* out) {
    const VecF scale = f_set(objectness), infinity = f_set(kInfinity);
    const auto visit = [&](size_t c, uint32_t wanted) {
        const VecF confidence = f_load(p + c) * scale;
        const MaskF over = f_gt(confidence, f_load(s.thresholds + c));
        uint32_t bits = m_bits(m_and(over, f_gt(infinity, confidence))) & wanted;
        for (; bits; bits &= bits - 1) {
            const size_t hit = c + static_cast<size_t>(__builtin_ctz(bits));
            append(out, row, hit, objectness * p[hit]);
        }
    };
    size_t c = 0;
    for (; c + kLanes <= s.classes; c += kLanes) visit(c, ~0u);
    if (c < s.classes) visit(s.classes - kLanes, ~0u << (c + kLanes - s.classes));
}

size_t f32_select_rows(const Scores& s, size_t begin, size_t end, bool multi_label, Selection* out) {
    const size_t most = multi_label ? s.classes : 1;
    for (size_t row = begin; row < end; ++row) {
        if (out->capacity - out->count < most) return row;
        if (s.classes < kLanes) {
            select_row(s, row, multi_label, out);
            continue;
        }
        const float* p = s.data + static_cast<ptrdiff_t>(row) * s.row_stride;
        const float objectness = objectness_of(s, row);
        if (has_bound(objectness, s.lowest) && !row_may_pass(s, p, objectness)) continue;
        if (multi_label)
            hits_of_row(s, row, p, objectness, out);
        else
            best_of_row(s, row, p, objectness, out);
    }
    return end;
}

// Objectness of kLanes rows.
VecF load_objectness(const Scores& s, size_t row) {
    if (!s.objectness) return f_set(1.0f);
    if (s.objectness_stride == 1) return f_load(s.objectness + row);
    float lanes[kLanes];
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = objectness_of(s, row + lane);
    return f_load(lanes);
}

// Best class of each lane where the largest score tells it: the first class that reaches `best`, the
// objectness times that score.
VecF first_class_with(const Scores& s, size_t row, VecF objectness, VecF best) {
    VecF found = int_payload(0);
    for (size_t c = s.classes; c-- > 0;) {
        const float* p = s.data + static_cast<ptrdiff_t>(c) * s.class_stride + row;
        const MaskF equal = f_eq(f_load(p) * objectness, best);
        found = f_select(equal, int_payload(static_cast<int32_t>(c)), found);
    }
    return found;
}

// The same by definition, for any objectness and infinite products; *best is -infinity where there is
// none.
VecF best_class_of(const Scores& s, size_t row, VecF objectness, VecF* best) {
    const VecF infinity = f_set(kInfinity);
    VecF found = int_payload(0);
    *best = f_set(-kInfinity);
    const float* p = s.data + row;
    for (size_t c = 0; c < s.classes; ++c, p += s.class_stride) {
        const VecF confidence = f_load(p) * objectness;
        const MaskF better = m_and(f_gt(confidence, *best), f_gt(infinity, confidence));
        *best = f_select(better, confidence, *best);
        found = f_select(better, int_payload(static_cast<int32_t>(c)), found);
    }
    return found;
}

// Which lanes pass, and whether the largest score of each tells its best class.
struct Passing {
    uint32_t lanes;
    bool is_plain;
};

// The vector form of has_bound() and row_may_pass().
Passing lanes_that_may_pass(const Scores& s, VecF objectness, VecF largest) {
    const VecF product = objectness * largest;
    const uint32_t all = (1u << kLanes) - 1;
    const uint32_t over = m_bits(f_gt(product, f_set(s.lowest)));
    uint32_t bounded = all;
    if (s.objectness) {
        const VecF zero = f_set(0.0f);
        bounded = s.lowest < 0 ? m_bits(f_gt(objectness, zero)) : ~m_bits(f_gt(zero, objectness));
    }
    const uint32_t lanes = (over | ~bounded) & all;
    const uint32_t finite = m_bits(f_gt(f_set(kInfinity), product));
    return {lanes, (lanes & ~(bounded & finite)) == 0};
}

void best_of_lanes(const Scores& s, size_t row, Passing passing, VecF objectness, VecF largest,
                   Selection* out) {
    VecF best = objectness * largest;
    const VecF found = passing.is_plain ? first_class_with(s, row, objectness, best)
                                        : best_class_of(s, row, objectness, &best);
    float confidences[kLanes];
    int32_t classes[kLanes];
    f_store(confidences, best);
    store_int(classes, found);
    for (uint32_t rest = passing.lanes; rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        if (confidences[lane] > s.thresholds[classes[lane]])
            append(out, row + static_cast<size_t>(lane), static_cast<size_t>(classes[lane]),
                   confidences[lane]);
    }
}

// Hits come class by class; counting them first gives each row its place, so that nothing is sorted.
void hits_of_lanes(const Scores& s, size_t row, VecF objectness, Selection* out) {
    const VecF infinity = f_set(kInfinity);
    size_t next[kLanes] = {};
    size_t hits = 0;
    const float* p = s.data + row;
    for (size_t c = 0; c < s.classes; ++c, p += s.class_stride) {
        const VecF confidence = f_load(p) * objectness;
        const MaskF over = m_and(f_gt(confidence, f_set(s.thresholds[c])), f_gt(infinity, confidence));
        const uint32_t bits = m_bits(over);
        if (!bits) continue;
        s.hit_class[hits] = static_cast<uint32_t>(c);
        s.hit_bits[hits++] = bits;
        for (uint32_t rest = bits; rest; rest &= rest - 1) ++next[__builtin_ctz(rest)];
    }
    size_t place = out->count;
    for (size_t lane = 0; lane < kLanes; ++lane) {
        const size_t count = next[lane];
        next[lane] = place;
        place += count;
    }
    out->count = place;
    float scale[kLanes];
    f_store(scale, objectness);
    for (size_t i = 0; i < hits; ++i) {
        const size_t c = s.hit_class[i];
        const float* scores = s.data + static_cast<ptrdiff_t>(c) * s.class_stride + row;
        for (uint32_t rest = s.hit_bits[i]; rest; rest &= rest - 1) {
            const int lane = __builtin_ctz(rest);
            const size_t at = next[lane]++;
            out->row[at] = static_cast<int32_t>(row + static_cast<size_t>(lane));
            out->class_id[at] = static_cast<int32_t>(c);
            out->confidence[at] = scale[lane] * scores[lane];
        }
    }
}

// Rows whose largest scores stay in the nearest cache while the classes stream by, and whose scores are
// still in the next one when a candidate's class is looked for.
constexpr size_t kBlock = 512;

// largest[i]: of the scores of row begin + i, for whole vectors of rows; NaN is passed over.
void largest_of_columns(const Scores& s, size_t begin, size_t rows, float* largest) {
    const ptrdiff_t step = s.class_stride;
    const VecF none = f_set(-kInfinity);
    size_t c = 0;
    for (; c + 4 <= s.classes; c += 4) {
        const float* p = s.data + static_cast<ptrdiff_t>(c) * step + begin;
        for (size_t i = 0; i + kLanes <= rows; i += kLanes) {
            VecF m = c ? f_load(largest + i) : none;
            m = f_max(f_load(p + i), m);
            m = f_max(f_load(p + step + i), m);
            m = f_max(f_load(p + 2 * step + i), m);
            m = f_max(f_load(p + 3 * step + i), m);
            f_store(largest + i, m);
        }
    }
    for (; c < s.classes; ++c) {
        const float* p = s.data + static_cast<ptrdiff_t>(c) * step + begin;
        for (size_t i = 0; i + kLanes <= rows; i += kLanes)
            f_store(largest + i, f_max(f_load(p + i), c ? f_load(largest + i) : none));
    }
}

size_t f32_select_columns(const Scores& s, size_t begin, size_t end, bool multi_label, Selection* out) {
    const size_t most = multi_label ? s.classes : 1;
    while (begin < end) {
        const size_t rows = end - begin < kBlock ? end - begin : kBlock;
        float largest[kBlock];
        largest_of_columns(s, begin, rows, largest);
        size_t i = 0;
        for (; i + kLanes <= rows; i += kLanes) {
            const VecF objectness = load_objectness(s, begin + i);
            const VecF most_likely = f_load(largest + i);
            const Passing passing = lanes_that_may_pass(s, objectness, most_likely);
            if (!passing.lanes) continue;
            if (out->capacity - out->count < most * kLanes) return begin + i;
            if (multi_label)
                hits_of_lanes(s, begin + i, objectness, out);
            else
                best_of_lanes(s, begin + i, passing, objectness, most_likely, out);
        }
        for (; i < rows; ++i) {
            if (out->capacity - out->count < most) return begin + i;
            select_row(s, begin + i, multi_label, out);
        }
        begin += rows;
    }
    return end;
}

// ---- overlap

struct Overlap {
    VecF inter, total;
};

// Areas whose sum is infinite give an infinite or NaN union: such boxes overlap with nothing.
Overlap overlap(const BoxColumns& b, size_t i, const Box& box) {
    const VecF zero = f_set(0.0f);
    const VecF w = f_min(f_load(b.x2 + i), f_set(box.x2)) - f_max(f_load(b.x1 + i), f_set(box.x1));
    const VecF h = f_min(f_load(b.y2 + i), f_set(box.y2)) - f_max(f_load(b.y1 + i), f_set(box.y1));
    const VecF inter = f_max(w, zero) * f_max(h, zero);
    return {inter, (f_load(b.area + i) + f_set(box.area)) - inter};
}

// Squared distance of the centers over the squared diagonal of the box around both (arXiv:1911.08287).
VecF center_distance(const BoxColumns& b, size_t i, const Box& box) {
    const VecF x1 = f_load(b.x1 + i), x2 = f_load(b.x2 + i), y1 = f_load(b.y1 + i), y2 = f_load(b.y2 + i);
    const VecF dx = (x1 + x2) - f_set(box.x1 + box.x2), dy = (y1 + y2) - f_set(box.y1 + box.y2);
    const VecF w = f_max(x2, f_set(box.x2)) - f_min(x1, f_set(box.x1));
    const VecF h = f_max(y2, f_set(box.y2)) - f_min(y1, f_set(box.y1));
    return (dx * dx + dy * dy) * f_set(0.25f) / (w * w + h * h);
}

// Bits of the lanes below `count` when a vector starts at i.
uint32_t lanes_in(size_t i, size_t count) { return count - i >= kLanes ? ~0u : (1u << (count - i)) - 1; }

bool f32_iou_any_over(const BoxColumns& boxes, size_t count, const Box& box, float threshold) {
    const VecF limit = f_set(threshold);
    for (size_t i = 0; i < count; i += kLanes) {
        const Overlap o = overlap(boxes, i, box);
        if (m_bits(f_gt(o.inter, limit * o.total)) & lanes_in(i, count)) return true;
    }
    return false;
}

bool f32_diou_any_over(const BoxColumns& boxes, size_t count, const Box& box, float threshold) {
    const VecF limit = f_set(threshold);
    for (size_t i = 0; i < count; i += kLanes) {
        const Overlap o = overlap(boxes, i, box);
        const VecF diou = o.inter / o.total - center_distance(boxes, i, box);
        if (m_bits(f_gt(diou, limit)) & lanes_in(i, count)) return true;
    }
    return false;
}

VecF iou_of(const BoxColumns& boxes, size_t i, const Box& box) {
    const VecF zero = f_set(0.0f);
    const Overlap o = overlap(boxes, i, box);
    return f_select(f_gt(o.total, zero), o.inter / o.total, zero);
}

void f32_iou_row(const BoxColumns& boxes, size_t count, const Box& box, float* iou) {
    size_t i = 0;
    for (; i + kLanes <= count; i += kLanes) f_store(iou + i, iou_of(boxes, i, box));
    if (i == count) return;
    float rest[kLanes];
    f_store(rest, iou_of(boxes, i, box));
    for (size_t lane = 0; i + lane < count; ++lane) iou[i + lane] = rest[lane];
}

// ---- decay

// e^x for x <= 0; 0 below -87.
VecF exp_of_negative(VecF x) { return f_select(f_gt(f_set(-87.0f), x), f_set(0.0f), f_exp(x)); }

struct Gaussian {
    static VecF weight(VecF iou, VecF parameter) { return exp_of_negative(iou * iou * parameter); }
};

struct Linear {
    static VecF weight(VecF iou, VecF parameter) {
        const VecF one = f_set(1.0f);
        return f_select(f_gt(iou, parameter), one - iou, one);
    }
};

template <class Decay>
Next soft_decay(const BoxColumns& boxes, float* confidence, size_t count, const Box& box, float parameter,
                float threshold) {
    const VecF p = f_set(parameter), limit = f_set(threshold);
    VecF largest = f_set(0.0f);
    Next next = {0, 0, 0};
    for (size_t i = 0; i < count; i += kLanes) {
        const VecF decayed = f_load(confidence + i) * Decay::weight(iou_of(boxes, i, box), p);
        f_store(confidence + i, decayed);
        largest = f_max(decayed, largest);
        next.over += static_cast<size_t>(__builtin_popcount(m_bits(f_gt(decayed, limit))));
    }
    if (next.over == 0) return next;
    float lanes[kLanes];
    f_store(lanes, largest);
    for (const float lane : lanes) next.confidence = lane > next.confidence ? lane : next.confidence;
    for (size_t i = 0;; i += kLanes) {
        const uint32_t bits = m_bits(f_eq(f_load(confidence + i), f_set(next.confidence)));
        if (!bits) continue;
        next.index = i + static_cast<size_t>(__builtin_ctz(bits));
        return next;
    }
}

Next f32_soft_gaussian(const BoxColumns& boxes, float* confidence, size_t count, const Box& box,
                       float parameter, float threshold) {
    return soft_decay<Gaussian>(boxes, confidence, count, box, parameter, threshold);
}

Next f32_soft_linear(const BoxColumns& boxes, float* confidence, size_t count, const Box& box,
                     float parameter, float threshold) {
    return soft_decay<Linear>(boxes, confidence, count, box, parameter, threshold);
}

// ---- outputs

bool f32_has_nan(const float* values, size_t n) {
    const VecF zero = f_set(0.0f);
    MaskF a = f_eq(zero, zero), b = a, c = a, d = a;
    const uint32_t all = m_bits(a);
    const auto is_number = [](const float* p) {
        const VecF v = f_load(p);
        return f_eq(v, v);
    };
    size_t i = 0;
    for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
        a = m_and(a, is_number(values + i));
        b = m_and(b, is_number(values + i + kLanes));
        c = m_and(c, is_number(values + i + 2 * kLanes));
        d = m_and(d, is_number(values + i + 3 * kLanes));
    }
    bool found = m_bits(m_and(m_and(a, b), m_and(c, d))) != all;
    for (; i < n; ++i) found |= values[i] != values[i];
    return found;
}

// ---- benchmarks

float f32_largest(const float* values, size_t n) {
    VecF a = f_set(-kInfinity), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
        a = f_max(f_load(values + i), a);
        b = f_max(f_load(values + i + kLanes), b);
        c = f_max(f_load(values + i + 2 * kLanes), c);
        d = f_max(f_load(values + i + 3 * kLanes), d);
    }
    float lanes[kLanes];
    f_store(lanes, f_max(f_max(a, b), f_max(c, d)));
    float largest = -kInfinity;
    for (const float lane : lanes) largest = lane > largest ? lane : largest;
    for (; i < n; ++i) largest = values[i] > largest ? values[i] : largest;
    return largest;
}

}  // namespace

namespace ecv {

extern const BoxKernels ECV_EXPORT(box_kernels) = {
#define X(result, name, parameters) name,
    ECV_BOX_KERNELS(X)
#undef X
};

}  // namespace ecv
