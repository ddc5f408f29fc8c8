// What the steps need of memory that look at pixels in places which data tell. Kernels hold the places
// themselves against the pixels.
#include "refs.h"
#include "sampling.h"
#include "steps.h"

namespace ecv {
namespace {

#define X(name) +1
constexpr int64_t kFrames = ECV_SAMPLE_FRAMES(X);
constexpr int64_t kModes = ECV_SAMPLE_MODES(X);
constexpr int64_t kPaddings = ECV_SAMPLE_PADDINGS(X);
constexpr int64_t kRoiKinds = ECV_ROI_KINDS(X);
#undef X

constexpr int64_t kFloat = sizeof(float);

Examined unfit(const char* problem) { return {problem, 0, 0}; }

// a b of sides; -1 where one is not positive or the pixels have no numbers of int32.
int64_t area(int64_t a, int64_t b) {
    const int64_t n = a < 1 || b < 1 ? -1 : times(a, b);
    return is_count(n, 1, INT32_MAX) ? n : -1;
}

// Whether products with places along an axis stay far from the ends of int64.
bool is_step(int64_t distance) { return is_count(distance, -INT32_MAX, INT32_MAX); }

}  // namespace

Examined examine_sample(const void* fields, const Memory& memory, int lanes) {
    const SampleStep& step = *static_cast<const SampleStep*>(fields);
    const int64_t pixels = area(area(step.in_d, step.in_h), step.in_w), points = area(step.out_h, step.out_w);
    if (pixels < 0 || points < 0) return unfit("it has no pixels, or too many");
    if (!is_count(step.frame, 0, kFrames - 1) || !is_count(step.mode, 0, kModes - 1) ||
        !is_count(step.padding, 0, kPaddings - 1))
        return unfit("its frame, mode or padding is unknown");
    if (!is_count(step.axes, 1, 3)) return unfit("it has not one to three axes");
    if (!is_step(step.top) || !is_step(step.left) || !is_step(step.stride_y) || !is_step(step.stride_x))
        return unfit("its points are too far apart");
    if (step.chunk_points < 1) return unfit("its chunks are empty");
    const int64_t* const blocks = table<int64_t>(memory, step.blocks, times(step.n_blocks, 2));
    if (!blocks) return unfit("its blocks lie outside the constants");
    for (int64_t b = 0; b < step.n_blocks; ++b)
        if (!can_read(memory, blocks[2 * b], times(pixels, lanes), kFloat) ||
            !can_write(memory, blocks[2 * b + 1], times(points, lanes), kFloat))
            return unfit("a block lies outside its memory");
    const int64_t shape[] = {points, step.axes}, strides[] = {step.point, step.axis};
    if (!can_walk(memory, step.points, shape, strides, 2, kFloat) ||
        (step.mask && !can_read(memory, step.mask, points, kFloat)))
        return unfit("its points lie outside their memory");
    return {nullptr, step.n_blocks ? ceil_div(points, step.chunk_points) : 0, kTapBytes};
}

ECV_NO_ROWS(sample)

Examined examine_roi_pool(const void* fields, const Memory& memory, int lanes) {
    const RoiPoolStep& step = *static_cast<const RoiPoolStep*>(fields);
    const int64_t pixels = area(step.in_h, step.in_w), bins = area(step.out_h, step.out_w);
    if (pixels < 0 || bins < 0) return unfit("it has no pixels, or too many");
    if (!is_count(step.kind, 0, kRoiKinds - 1)) return unfit("its kind is unknown");
    if (!is_count(step.samples, 0, kMostSamples)) return unfit("its samples are too many");
    if (step.chunk_blocks < 1) return unfit("its chunks are empty");
    if (step.n_blocks < 1 || !is_count(step.channels, 1, times(step.n_blocks, lanes)))
        return unfit("it has no channels, or more than its blocks");
    const int64_t n_blocks = times(step.batch, step.n_blocks);
    const int64_t* const blocks = table<int64_t>(memory, step.blocks, n_blocks);
    if (!blocks) return unfit("its blocks lie outside the constants");
    for (int64_t b = 0; b < n_blocks; ++b)
        if (!can_read(memory, blocks[b], times(pixels, lanes), kFloat))
            return unfit("a block lies outside its memory");
    const bool is_window = step.kind == static_cast<int64_t>(RoiKind::window_max);
    if (!can_read(memory, step.rois, times(step.n_rois, is_window ? 5 : 4), kFloat) ||
        (!is_window && !can_read(memory, step.indices, step.n_rois, sizeof(int64_t))))
        return unfit("its regions lie outside their memory");
    if (!can_write(memory, step.y, times(times(step.n_rois, step.channels), bins), kFloat))
        return unfit("its result lies outside its memory");
    const int64_t together = step.chunk_blocks < step.n_blocks ? step.chunk_blocks : step.n_blocks;
    const int64_t of_block = times(times(bins, lanes), kFloat);
    return {nullptr, times(step.n_rois, ceil_div(step.n_blocks, step.chunk_blocks)),
            plus(kTapBytes, times(together, of_block))};
}

ECV_NO_ROWS(roi_pool)

}  // namespace ecv
