// Gray frames of 16 bits: the weights of 8 bits, summed exactly, and rounded once.
#include <string.h>

#include "plan_state.h"
#include "taps.h"

namespace ecv {
namespace {

uint32_t pixel_at(const uint8_t* place) {
    uint16_t pixel;
    memcpy(&pixel, place, sizeof pixel);
    return pixel;
}

// sums += the columns that the outputs read, times a weight: below 2^31 together, whatever the pixels.
void add_row(const Plan& p, const uint8_t* row, int weight, uint32_t* sums) {
    const ptrdiff_t stride = p.spec.pixel_stride;
    const uint32_t w = static_cast<uint32_t>(weight);
    if (stride == 2)
        for (int x = 0; x < p.columns; ++x) sums[x] += pixel_at(row + 2 * x) * w;
    else
        for (int x = 0; x < p.columns; ++x) sums[x] += pixel_at(row + x * stride) * w;
}

void sum_rows(const Plan& p, const uint8_t* frame, int i) {
    const uint8_t* row = frame + p.first_row[i] * p.spec.row_stride + p.row_start;
    memset(p.sums, 0, static_cast<size_t>(p.columns) * sizeof(uint32_t));
    if (p.mode == Mode::average) {
        const int16_t* weights = p.row_weights + static_cast<ptrdiff_t>(i) * p.row_taps;
        for (int j = 0; j < p.row_count[i]; ++j) add_row(p, row + j * p.spec.row_stride, weights[j], p.sums);
    } else {
        const int weight = p.row_weights[i];
        add_row(p, row, (1 << kRowBits) - weight, p.sums);
        if (weight != 0) add_row(p, row + p.spec.row_stride, weight, p.sums);
    }
}

}  // namespace

void run_gray16(const Plan& p, const ImageKernels& k, const FramePlanes& frame, float* out) {
    const PlanSpec& s = p.spec;
    const float mean = s.mean[0], scale = s.scale[0], padding = (s.pad[0] - mean) * scale;
    const ptrdiff_t width = s.blob_w, right = p.left + p.width, bottom = p.top + p.height;
    const ptrdiff_t group = (p.width + kRowGroup - 1) / kRowGroup * kRowGroup;
    const Footprint down(s.frame_h, s.resized_h), across(s.frame_w, s.resized_w);
    const double total = p.mode == Mode::average ? static_cast<double>(down.total) * across.total
                                                 : static_cast<double>(1 << (kRowBits + kColumnBits));
    const auto pad = [&](ptrdiff_t first, ptrdiff_t n) {
        if (n > 0) k.f32_fill(padding, out + first, static_cast<size_t>(n));
    };
    pad(0, p.top * width);
    for (int i = 0; i < p.height; ++i) {
        const ptrdiff_t place = (p.top + i) * width;
        float* pixels = out + place + p.left;
        pad(place, p.left);
        if (p.mode == Mode::nearest) {
            const uint8_t* row = frame.at[0] + p.first_row[i] * s.row_stride;
            for (int x = 0; x < p.width; ++x)
                pixels[x] = (static_cast<float>(pixel_at(row + p.column_offset[x])) - mean) * scale;
        } else {
            sum_rows(p, frame.at[0], i);
            for (int x = 0; x < p.width; ++x) {
                const uint32_t* sums = p.sums + p.tap_offset[x];
                int64_t sum = 0;
                for (int t = 0; t < p.pairs; ++t) {
                    const int16_t* weights = p.tap_weights + 2 * (t * group + x);
                    sum += int64_t{sums[2 * t]} * weights[0] + int64_t{sums[2 * t + 1]} * weights[1];
                }
                pixels[x] = (static_cast<float>(static_cast<double>(sum) / total) - mean) * scale;
            }
        }
        pad(place + right, width - right);
    }
    pad(bottom * width, (s.blob_h - bottom) * width);
}

}  // namespace ecv
