// Points that data tell, and the pixels around them that each is interpolated from: ONNX GridSample, and the
// columns of a deformable convolution (Dai et al. 2017, Deformable Convolutional Networks, section 2.1).
#include <math.h>
#include <string.h>

#include "blocked.h"
#include "sampling.h"

namespace ecv {
namespace {

constexpr int kMostAxes = 3;
constexpr int64_t kMostAxisTaps = 4;
constexpr int64_t kMostPointTaps = kMostAxisTaps * kMostAxisTaps * kMostAxisTaps;
static_assert(kMostPointTaps <= TapPiece::kMostTaps);

// Taps along one axis, each inside of it.
struct AxisTaps {
    int64_t n = 0;
    int64_t place[kMostAxisTaps];
    float weight[kMostAxisTaps];

    void add(int64_t at, float by) {
        place[n] = at;
        weight[n++] = by;
    }
};

// The coordinate reflected at `low` and `high` until it lies between them.
float reflected(float coordinate, double low, double high) {
    const double range = high - low;
    if (!(range > 0) || !__builtin_isfinite(coordinate)) return static_cast<float>(low);
    const double within = fmod(fabs(coordinate - low), 2 * range);
    return static_cast<float>(low + (within > range ? 2 * range - within : within));
}

// The same of the number of a pixel; is_edge: at the outer edges of the first and the last pixel.
int64_t reflected(int64_t place, int64_t n, bool is_edge) {
    const int64_t period = is_edge ? 2 * n : 2 * (n - 1);
    if (period == 0) return 0;
    int64_t within = (place % period + period) % period;
    if (within >= n) within = period - within - is_edge;
    return within;
}

// The interpolation along one axis, of n pixels.
struct Axis {
    SampleFrame frame;
    SampleMode mode;
    SamplePadding padding;
    int64_t n;

    bool is_edge() const { return frame != SampleFrame::centers; }

    // What a coordinate says, in pixels from the center of the first one. own: the place of the point itself.
    float position(float coordinate, int64_t own) const {
        if (frame == SampleFrame::pixels) return static_cast<float>(own) + coordinate;
        if (!__builtin_isfinite(coordinate)) coordinate = -1.0f;
        if (frame == SampleFrame::centers) return (coordinate + 1.0f) / 2.0f * static_cast<float>(n - 1);
        return ((coordinate + 1.0f) * static_cast<float>(n) - 1.0f) / 2.0f;
    }

    AxisTaps taps_at(float position) const {
        AxisTaps taps;
        if (frame == SampleFrame::pixels && !__builtin_isfinite(position)) return taps;
        const double low = is_edge() ? -0.5 : 0.0, high = static_cast<double>(n) - 1.0 - low;
        if (mode == SampleMode::nearest) position = rintf(position);
        if (padding != SamplePadding::zeros && !(position >= low && position <= high)) {
            const float last = static_cast<float>(n - 1);
            if (padding == SamplePadding::reflection)
                position = reflected(position, low, high);
            else
                position = position < 0.0f ? 0.0f : last;
        }
        // Farther out no tap is inside.
        if (!(position > -3.0f && position < static_cast<float>(n) + 2.0f)) return taps;
        const float below = floorf(position), part = position - below;
        const int64_t first = static_cast<int64_t>(below);
        switch (mode) {
            case SampleMode::nearest:
                add(first, 1.0f, &taps);
                break;
            case SampleMode::linear:
                add(first, 1.0f - part, &taps);
                add(first + 1, part, &taps);
                break;
            case SampleMode::cubic:
                add(first - 1, cubic_outside(part + 1.0f), &taps);
                add(first, cubic_inside(part), &taps);
                add(first + 1, cubic_inside(1.0f - part), &taps);
                add(first + 2, cubic_outside(2.0f - part), &taps);
                break;
        }
        return taps;
    }

  private:
    // Keys 1981, Cubic convolution interpolation, with a = -3/4: weights up to one pixel away, and up to two.
    static constexpr float kA = -0.75f;
    static float cubic_inside(float x) { return ((kA + 2.0f) * x - (kA + 3.0f)) * x * x + 1.0f; }
    static float cubic_outside(float x) { return ((kA * x - 5.0f * kA) * x + 8.0f * kA) * x - 4.0f * kA; }

    void add(int64_t place, float weight, AxisTaps* taps) const {
        if (place < 0 || place >= n) {
            if (padding == SamplePadding::zeros) return;
            if (padding == SamplePadding::border) place = place < 0 ? 0 : n - 1;
            if (padding == SamplePadding::reflection) place = reflected(place, n, is_edge());
        }
        taps->add(place, weight);
    }
};

// The taps of each point of a step.
class Points {
  public:
    Points(const SampleStep& step, const Memory& memory)
        : step_(step),
          points_(at<const float>(memory, step.points)),
          mask_(step.mask ? at<const float>(memory, step.mask) : nullptr) {
        const int64_t sides[kMostAxes] = {step.in_w, step.in_h, step.in_d};
        for (int k = 0; k < kMostAxes; ++k)
            axes_[k] = {static_cast<SampleFrame>(step.frame), static_cast<SampleMode>(step.mode),
                        static_cast<SamplePadding>(step.padding), sides[k]};
    }

    void add(int64_t point, TapPiece* piece) const {
        const int64_t own[kMostAxes] = {point % step_.out_w * step_.stride_x + step_.left,
                                        point / step_.out_w * step_.stride_y + step_.top, 0};
        const float* const coordinates = points_ + point * step_.point;
        AxisTaps taps[kMostAxes];
        for (int k = 0; k < kMostAxes; ++k) {
            if (k < step_.axes)
                taps[k] = axes_[k].taps_at(axes_[k].position(coordinates[k * step_.axis], own[k]));
            else
                taps[k].add(0, 1.0f);
        }
        const auto& [columns, rows, slices] = taps;
        const float mask = mask_ ? mask_[point] : 1.0f;
        const int64_t before = piece->n_taps;
        for (int64_t z = 0; z < slices.n; ++z) {
            for (int64_t y = 0; y < rows.n; ++y) {
                const int64_t row = (slices.place[z] * step_.in_h + rows.place[y]) * step_.in_w;
                const float above = slices.weight[z] * rows.weight[y] * mask;
                for (int64_t x = 0; x < columns.n; ++x) {
                    const float weight = above * columns.weight[x];
                    if (weight == 0.0f) continue;
                    piece->taps[piece->n_taps++] = {static_cast<int32_t>(row + columns.place[x]), weight};
                }
            }
        }
        piece->counts[piece->n_outputs++] = static_cast<int32_t>(piece->n_taps - before);
    }

  private:
    const SampleStep& step_;
    const float* const points_;
    const float* const mask_;
    Axis axes_[kMostAxes];
};

}  // namespace

StepStatus sample_points(const SampleStep& step, const Memory& memory, int64_t chunk, char* scratch,
                         const TapRuns& runs) {
    const Points points(step, memory);
    const int64_t* const blocks = at<const int64_t>(memory, step.blocks);
    const Range range = part_of(step.out_h * step.out_w, step.chunk_points, chunk);
    TapPiece& piece = *reinterpret_cast<TapPiece*>(scratch);
    for (piece.first = range.first; piece.first < range.end; piece.first += piece.n_outputs) {
        piece.n_outputs = piece.n_taps = 0;
        while (piece.n_outputs < TapPiece::kMostOutputs &&
               piece.n_taps + kMostPointTaps <= TapPiece::kMostTaps &&
               piece.first + piece.n_outputs < range.end)
            points.add(piece.first + piece.n_outputs, &piece);
        for (int64_t b = 0; b < step.n_blocks; ++b) {
            float* const y = at<float>(memory, blocks[2 * b + 1]) + piece.first * runs.lanes;
            memset(y, 0, static_cast<size_t>(piece.n_outputs * runs.lanes) * sizeof *y);
            runs.sum(at<const float>(memory, blocks[2 * b]), piece, y);
        }
    }
    return StepStatus::ok;
}

}  // namespace ecv
