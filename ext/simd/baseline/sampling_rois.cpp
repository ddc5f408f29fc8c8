// Regions that data tell, each pooled to the same number of bins: ONNX RoiAlign (He et al. 2017, Mask R-CNN,
// section 3) and MaxRoiPool (Girshick 2015, Fast R-CNN, section 2.1).
#include <math.h>

#include "blocked.h"
#include "sampling.h"

namespace ecv {
namespace {

// The bins of a region in some blocks, and the taps that wait to be joined to them.
class Bins {
  public:
    Bins(const TapRuns& runs, TapRun run, TapPiece* piece, float* bins, int64_t n_bins, const Memory& memory,
         const int64_t* blocks, int64_t n_blocks)
        : runs_(runs),
          run_(run),
          piece_(*piece),
          bins_(bins),
          n_bins_(n_bins),
          memory_(memory),
          blocks_(blocks),
          n_blocks_(n_blocks) {
        piece_.first = piece_.n_outputs = piece_.n_taps = 0;
    }

    // The next bin, which holds `value` before its taps.
    void next(float value) {
        if (piece_.n_outputs == TapPiece::kMostOutputs) {
            flush();
            piece_.first += piece_.n_outputs;
            piece_.n_outputs = 0;
        }
        const int64_t bin = piece_.first + piece_.n_outputs;
        piece_.counts[piece_.n_outputs++] = 0;
        for (int64_t b = 0; b < n_blocks_; ++b)
            for (int64_t lane = 0; lane < runs_.lanes; ++lane) of(b, bin)[lane] = value;
    }

    // A tap of the last bin.
    void add(int64_t place, float weight) {
        if (piece_.n_taps == TapPiece::kMostTaps) {
            flush();
            // The last bin goes on.
            piece_.first += piece_.n_outputs - 1;
            piece_.n_outputs = 1;
            piece_.counts[0] = 0;
        }
        piece_.taps[piece_.n_taps++] = {static_cast<int32_t>(place), weight};
        ++piece_.counts[piece_.n_outputs - 1];
    }

    // Writes all bins as [channels][bins].
    void write(int64_t channels, float* y) {
        flush();
        for (int64_t b = 0; b < n_blocks_ && channels > 0; ++b, channels -= runs_.lanes) {
            const int64_t some = channels < runs_.lanes ? channels : runs_.lanes;
            runs_.transpose(of(b, 0), runs_.lanes, static_cast<size_t>(n_bins_), static_cast<size_t>(some), y,
                            n_bins_);
            y += some * n_bins_;
        }
    }

  private:
    float* of(int64_t block, int64_t bin) const { return bins_ + (block * n_bins_ + bin) * runs_.lanes; }

    void flush() {
        for (int64_t b = 0; b < n_blocks_; ++b)
            run_(at<const float>(memory_, blocks_[b]), piece_, of(b, piece_.first));
        piece_.n_taps = 0;
    }

    const TapRuns& runs_;
    const TapRun run_;
    TapPiece& piece_;
    float* const bins_;
    const int64_t n_bins_;
    const Memory& memory_;
    const int64_t* const blocks_;
    const int64_t n_blocks_;
};

// ---- RoiAlign

// A sample between two pixels of an axis.
struct Between {
    int64_t low, high;
    float low_weight, high_weight;
};

// The samples of a region along one axis of n pixels: `per_bin` of each bin, which is `bin` pixels long.
struct Samples {
    int64_t n;
    float start, bin;
    int64_t per_bin;

    // Those of a length that is not a number are none; so many that pixels do not count among them neither.
    Samples(int64_t pixels, float first, float length, int64_t bins, int64_t samples)
        : n(pixels), start(first), bin(length / static_cast<float>(bins)), per_bin(samples) {
        if (samples == 0) {
            const float each = ceilf(bin);
            per_bin = each >= 1.0f && each < 0x1p31f ? static_cast<int64_t>(each) : 0;
        }
        if (!(start == start && bin == bin)) per_bin = 0;
    }

    float at(int64_t i, int64_t sample) const {
        return start + static_cast<float>(i) * bin +
               (static_cast<float>(sample) + 0.5f) * bin / static_cast<float>(per_bin);
    }
    bool is_inside(float place) const { return place >= -1.0f && place <= static_cast<float>(n); }

    // Whether a bin has samples, all of them inside: from first to last they go one way.
    bool all_inside(int64_t i) const {
        return per_bin > 0 && is_inside(at(i, 0)) && is_inside(at(i, per_bin - 1));
    }

    // The samples of a bin that may be inside: of more than kMostSamples, which lie less than a pixel apart.
    Range near(int64_t i) const {
        if (per_bin <= kMostSamples) return {0, per_bin};
        const double apart = static_cast<double>(bin) / static_cast<double>(per_bin);
        const double from = (-1.0 - static_cast<double>(start) - static_cast<double>(i) * bin) / apart;
        const double most = static_cast<double>(per_bin), slack = 4.0;
        const auto within = [&](double at) { return static_cast<int64_t>(fmin(fmax(at, 0.0), most)); };
        return {within(from - slack), within(from + (static_cast<double>(n) + 1.0) / apart + slack)};
    }

    Between between(float place) const {
        if (!(place > 0.0f)) place = 0.0f;
        const int64_t low = static_cast<int64_t>(place);
        if (low >= n - 1) return {n - 1, n - 1, 1.0f, 0.0f};
        const float part = place - static_cast<float>(low);
        return {low, low + 1, 1.0f - part, part};
    }
};

void align(const RoiPoolStep& step, const float* roi, Bins* bins) {
    const float scale = float_of(step.scale), shift = step.half_pixel ? 0.5f : 0.0f;
    float first[2], length[2];  // x, y
    for (int k = 0; k < 2; ++k) {
        first[k] = roi[k] * scale - shift;
        length[k] = roi[k + 2] * scale - shift - first[k];
        if (!step.half_pixel && length[k] < 1.0f) length[k] = 1.0f;
    }
    const Samples xs(step.in_w, first[0], length[0], step.out_w, step.samples);
    const Samples ys(step.in_h, first[1], length[1], step.out_h, step.samples);
    const bool is_average = static_cast<RoiKind>(step.kind) == RoiKind::align_average;
    // What a sample counts of its bin. Of a mean, taps of weight 0 are not read; the largest may be such a 0.
    const float share =
        is_average ? 1.0f / (static_cast<float>(ys.per_bin) * static_cast<float>(xs.per_bin)) : 1.0f;
    const auto add = [&](int64_t row, int64_t column, float weight) {
        if (weight != 0.0f || !is_average) bins->add(row * step.in_w + column, weight * share);
    };
    for (int64_t i = 0; i < step.out_h; ++i) {
        for (int64_t j = 0; j < step.out_w; ++j) {
            // A sample outside is 0.
            const bool is_open = !is_average && ys.all_inside(i) && xs.all_inside(j);
            bins->next(is_open ? -__builtin_inff() : 0.0f);
            const Range rows = ys.near(i), columns = xs.near(j);
            for (int64_t row = rows.first; row < rows.end; ++row) {
                const float y = ys.at(i, row);
                if (!ys.is_inside(y)) continue;
                const Between down = ys.between(y);
                for (int64_t column = columns.first; column < columns.end; ++column) {
                    const float x = xs.at(j, column);
                    if (!xs.is_inside(x)) continue;
                    const Between right = xs.between(x);
                    add(down.low, right.low, down.low_weight * right.low_weight);
                    add(down.low, right.high, down.low_weight * right.high_weight);
                    add(down.high, right.low, down.high_weight * right.low_weight);
                    add(down.high, right.high, down.high_weight * right.high_weight);
                }
            }
        }
    }
}

// ---- MaxRoiPool

// The pixels of an axis that a region covers, both ends included; beyond 2^24 a float32 has no pixels.
struct Cover {
    int64_t n, first;
    float bin;

    Cover(int64_t pixels, float from, float to, int64_t bins) : n(pixels), first(whole(from)) {
        const int64_t length = whole(to) - first + 1;
        bin = static_cast<float>(length < 1 ? 1 : length) / static_cast<float>(bins);
        // What is no number covers nothing.
        if (!(from == from && to == to)) n = 0;
    }

    Range bin_at(int64_t i) const {
        const auto inside = [&](float edge) {
            const int64_t pixel = first + static_cast<int64_t>(edge);
            return pixel < 0 ? 0 : pixel > n ? n : pixel;
        };
        return {inside(floorf(static_cast<float>(i) * bin)), inside(ceilf(static_cast<float>(i + 1) * bin))};
    }

  private:
    static int64_t whole(float place) {
        const float most = 0x1p24f;
        return static_cast<int64_t>(roundf(place > most ? most : place > -most ? place : -most));
    }
};

void cover(const RoiPoolStep& step, const float* roi, Bins* bins) {
    const float scale = float_of(step.scale);
    const Cover columns(step.in_w, roi[0] * scale, roi[2] * scale, step.out_w);
    const Cover rows(step.in_h, roi[1] * scale, roi[3] * scale, step.out_h);
    for (int64_t i = 0; i < step.out_h; ++i) {
        const Range down = rows.bin_at(i);
        for (int64_t j = 0; j < step.out_w; ++j) {
            const Range right = columns.bin_at(j);
            const bool is_empty = down.first >= down.end || right.first >= right.end;
            bins->next(is_empty ? 0.0f : -__builtin_inff());
            for (int64_t y = down.first; y < down.end; ++y)
                for (int64_t x = right.first; x < right.end; ++x) bins->add(y * step.in_w + x, 1.0f);
        }
    }
}

// The image of a region; -1 where there is no such one.
int64_t image_of(const RoiPoolStep& step, const Memory& memory, int64_t number, const float* roi) {
    if (static_cast<RoiKind>(step.kind) != RoiKind::window_max) {
        const int64_t image = at<const int64_t>(memory, step.indices)[number];
        return is_count(image, 0, step.batch - 1) ? image : -1;
    }
    const bool is_one = roi[0] > -1.0f && roi[0] < static_cast<float>(step.batch);
    return is_one ? static_cast<int64_t>(roi[0]) : -1;
}

}  // namespace

StepStatus pool_rois(const RoiPoolStep& step, const Memory& memory, int64_t chunk, char* scratch,
                     const TapRuns& runs) {
    const RoiKind kind = static_cast<RoiKind>(step.kind);
    const int64_t parts = ceil_div(step.n_blocks, step.chunk_blocks), number = chunk / parts;
    const Range blocks = part_of(step.n_blocks, step.chunk_blocks, chunk % parts);
    const int64_t columns = kind == RoiKind::window_max ? 5 : 4, n_bins = step.out_h * step.out_w;
    const float* const roi = at<const float>(memory, step.rois) + number * columns;
    const int64_t image = image_of(step, memory, number, roi);
    if (image < 0) return StepStatus::index_outside;
    Bins bins(runs, kind == RoiKind::align_average ? runs.sum : runs.max,
              reinterpret_cast<TapPiece*>(scratch), reinterpret_cast<float*>(scratch + kTapBytes), n_bins,
              memory, at<const int64_t>(memory, step.blocks) + image * step.n_blocks + blocks.first,
              blocks.end - blocks.first);
    if (kind == RoiKind::window_max)
        cover(step, roi + 1, &bins);
    else
        align(step, roi, &bins);
    const int64_t done = blocks.first * runs.lanes;
    bins.write(step.channels - done, at<float>(memory, step.y) + (number * step.channels + done) * n_bins);
    return StepStatus::ok;
}

}  // namespace ecv
