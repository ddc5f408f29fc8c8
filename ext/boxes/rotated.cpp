// Overlap of oriented boxes, and greedy non-maximum suppression by it. Baseline code, in double: candidates
// are few, and a pair takes some hundred operations.
#include <math.h>

#include "workspace.h"

namespace ecv {
namespace {

// Center, half sizes, direction of the width; half_width is NaN for what is no box.
struct Oriented {
    double x, y, half_width, half_height, cosine, sine;
};

bool is_box(const Oriented& box) { return box.half_width == box.half_width; }

Oriented oriented_at(const BoxRows& rows, size_t i) {
    const float* p = rows.data + static_cast<ptrdiff_t>(i) * rows.box_stride;
    const ptrdiff_t step = rows.coordinate_stride;
    const float x = p[0], y = p[step], width = p[2 * step], height = p[3 * step], angle = p[4 * step];
    const bool valid = is_finite(x) && is_finite(y) && is_finite(width) && is_finite(height) &&
                       is_finite(angle) && width > 0 && height > 0;
    if (!valid) return {0, 0, nan(""), 0, 0, 0};
    const double radians = angle;
    return {x, y, 0.5 * width, 0.5 * height, cos(radians), sin(radians)};
}

struct Point {
    double x, y;
};

// Keeps what of a convex polygon lies where sign * coordinate <= limit. Returns its number of corners: at
// most one more than before.
template <double Point::* coordinate>
size_t clip(const Point* polygon, size_t n, double sign, double limit, Point* clipped) {
    size_t kept = 0;
    for (size_t i = 0; i < n; ++i) {
        const Point& a = polygon[i];
        const Point& b = polygon[i + 1 < n ? i + 1 : 0];
        const double over_a = sign * (a.*coordinate) - limit, over_b = sign * (b.*coordinate) - limit;
        if (over_a <= 0) clipped[kept++] = a;
        if ((over_a <= 0) == (over_b <= 0)) continue;
        const double along = over_a / (over_a - over_b);
        clipped[kept] = {a.x + along * (b.x - a.x), a.y + along * (b.y - a.y)};
        clipped[kept++].*coordinate = sign * limit;
    }
    return kept;
}

// Corners of `a` as seen from the center of `b`, along its sides.
void corners_seen_from(const Oriented& a, const Oriented& b, Point* corners) {
    const double dx = a.x - b.x, dy = a.y - b.y;
    const double x = dx * b.cosine + dy * b.sine, y = dy * b.cosine - dx * b.sine;
    const double cosine = a.cosine * b.cosine + a.sine * b.sine;
    const double sine = a.sine * b.cosine - a.cosine * b.sine;
    constexpr double kSides[4][2] = {{-1, -1}, {1, -1}, {1, 1}, {-1, 1}};
    for (size_t i = 0; i < 4; ++i) {
        const double u = kSides[i][0] * a.half_width, v = kSides[i][1] * a.half_height;
        corners[i] = {x + u * cosine - v * sine, y + u * sine + v * cosine};
    }
}

double intersection(const Oriented& a, const Oriented& b) {
    Point even[8], odd[8];
    corners_seen_from(a, b, even);
    size_t n = clip<&Point::x>(even, 4, 1, b.half_width, odd);
    n = clip<&Point::x>(odd, n, -1, b.half_width, even);
    n = clip<&Point::y>(even, n, 1, b.half_height, odd);
    n = clip<&Point::y>(odd, n, -1, b.half_height, even);
    double twice = 0;
    for (size_t i = 2; i < n; ++i) {
        const double ux = even[i - 1].x - even[0].x, uy = even[i - 1].y - even[0].y;
        const double vx = even[i].x - even[0].x, vy = even[i].y - even[0].y;
        twice += ux * vy - uy * vx;
    }
    return twice > 0 ? 0.5 * twice : 0;
}

double area(const Oriented& box) { return 4 * box.half_width * box.half_height; }

// IoU of the rectangles; the smaller of the areas bounds the intersection, which is rounded.
double exact_iou(const Oriented& a, const Oriented& b) {
    const double dx = a.x - b.x, dy = a.y - b.y;
    const double reach = hypot(a.half_width, a.half_height) + hypot(b.half_width, b.half_height);
    if (!(dx * dx + dy * dy < reach * reach)) return 0;
    const double smaller = fmin(area(a), area(b));
    const double inter = fmin(intersection(a, b), smaller);
    return inter / (area(a) + area(b) - inter);
}

// 1 less the Hellinger distance of the boxes as Gaussians (Murrugarra-Llerena, Kirsten and Jung,
// arXiv:2106.06072): centers and covariances are those of uniform distributions over the boxes.
double probiou(const Oriented& a, const Oriented& b) {
    // Variances along the sides: a side's square over 12.
    const double aw = a.half_width * a.half_width / 3, ah = a.half_height * a.half_height / 3;
    const double bw = b.half_width * b.half_width / 3, bh = b.half_height * b.half_height / 3;
    const double cosine = a.cosine * b.cosine + a.sine * b.sine;
    const double sine = a.sine * b.cosine - a.cosine * b.sine;
    // Determinant of the sum of both covariances, as a sum of positive terms: nothing cancels.
    const double determinant =
        aw * ah + bw * bh + (aw * bh + ah * bw) * cosine * cosine + (aw * bw + ah * bh) * sine * sine;
    // Quadratic form of the centers' difference with the adjugate of that sum, along the sides.
    const double dx = a.x - b.x, dy = a.y - b.y;
    const double ax = dx * a.cosine + dy * a.sine, ay = dy * a.cosine - dx * a.sine;
    const double bx = dx * b.cosine + dy * b.sine, by = dy * b.cosine - dx * b.sine;
    const double form = ah * ax * ax + aw * ay * ay + bh * bx * bx + bw * by * by;
    const double of_centers = form / (4 * determinant);
    // exp(-40) is less than half the spacing of doubles below 1.
    if (!(of_centers < 40)) return 0;
    const double of_shapes = 0.5 * log(determinant / (4 * sqrt(aw * ah) * sqrt(bw * bh)));
    const double bhattacharyya = of_centers + fmax(of_shapes, 0);
    return 1 - sqrt(-expm1(-bhattacharyya));
}

double overlap(const Oriented& a, const Oriented& b, bool gaussian) {
    if (!is_box(a) || !is_box(b)) return 0;
    return gaussian ? probiou(a, b) : exact_iou(a, b);
}

struct RotatedWorkspace {
    Order order;
    Groups groups;
    Buffer<Oriented> kept_boxes;  // a group's kept boxes start where the group does
    Buffer<uint32_t> kept_in_group;
    Buffer<int64_t> index;

    bool reserve(size_t n) {
        return order.reserve(n) && groups.reserve(n) && kept_boxes.reserve(n) && kept_in_group.reserve(n) &&
               index.reserve(n);
    }
};

thread_local RotatedWorkspace workspace;
thread_local Buffer<Oriented> columns;

bool any_over(const Oriented* kept, size_t count, const Oriented& box, bool gaussian, double iou) {
    for (size_t i = 0; i < count; ++i)
        if (overlap(kept[i], box, gaussian) > iou) return true;
    return false;
}

}  // namespace

Status nms_rotated(const RotatedNmsRequest& request, Kept* result) {
    const CandidateRows& c = request.candidates;
    RotatedWorkspace& w = workspace;
    *result = {nullptr, nullptr, 0};
    if (c.xyxy.count == 0) return Status::ok;
    if (!w.reserve(c.xyxy.count)) return Status::out_of_memory;
    size_t n = 0;
    for (size_t i = 0; i < c.xyxy.count; ++i) {
        const float confidence = at(c.confidence, i, c.confidence_stride);
        if (!is_finite(confidence) || !is_box(oriented_at(c.xyxy, i))) continue;
        w.order.key[i] = ~rising_key(confidence);
        w.order.index[n++] = static_cast<uint32_t>(i);
    }
    w.order.sort(n);
    memcpy(w.groups.order.index.get(), w.order.index.get(), n * sizeof(uint32_t));
    w.groups.make(c, n);
    memset(w.kept_in_group.get(), 0, w.groups.count * sizeof(uint32_t));

    size_t kept = 0;
    for (size_t i = 0; i < n && kept < request.max_det; ++i) {
        const uint32_t candidate = w.order.index[i];
        const Oriented box = oriented_at(c.xyxy, candidate);
        const uint32_t group = w.groups.of[candidate];
        Oriented* const boxes = w.kept_boxes.get() + w.groups.begin[group];
        uint32_t& in_group = w.kept_in_group[group];
        if (any_over(boxes, in_group, box, request.gaussian, request.iou)) continue;
        boxes[in_group++] = box;
        w.index[kept++] = candidate;
    }
    *result = {w.index.get(), nullptr, kept};
    return Status::ok;
}

Status iou_rotated_matrix(const BoxRows& a, const BoxRows& b, bool gaussian, float* iou) {
    if (!columns.reserve(b.count)) return Status::out_of_memory;
    for (size_t i = 0; i < b.count; ++i) columns[i] = oriented_at(b, i);
    for (size_t i = 0; i < a.count; ++i) {
        const Oriented box = oriented_at(a, i);
        for (size_t j = 0; j < b.count; ++j)
            iou[i * b.count + j] = static_cast<float>(overlap(box, columns[j], gaussian));
    }
    return Status::ok;
}

}  // namespace ecv
