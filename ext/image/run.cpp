#include <string.h>

#include "plan_state.h"
#include "writers.h"

namespace ecv {
namespace {

// BT.601 in 15 bits, as OpenCV rounds it; they add up to 1 << 15. In the order b, g, r.
constexpr int kGrayWeights[3] = {3735, 19235, 9798};

// Copies the columns of a row, `column_bytes` apart; writes up to 4 bytes for each.
void gather(const Plan& p, const uint8_t* row, uint8_t* out) {
    const int step = p.column_bytes, channels = p.spec.channels;
    const ptrdiff_t channel_stride = p.spec.channel_stride;
    for (int i = 0; i < p.wide_columns; ++i) memcpy(out + i * step, row + p.column_offset[i], 4);
    for (int i = p.wide_columns; i < p.columns; ++i)
        for (int c = 0; c < channels; ++c) out[i * step + c] = row[p.column_offset[i] + c * channel_stride];
}

// Makes row y of a YUV frame into pixels, which begin at `out` for column 0.
void convert(const Plan& p, const ImageKernels& k, const FramePlanes& frame, int y, uint8_t* out) {
    const auto kernel = p.spec.channels == 1 ? k.u8_of_luma : k.u8x3_of_yuv;
    kernel(yuv_row(p.spec, frame, y, p.first_converted), p.spec.rule,
           out + static_cast<ptrdiff_t>(p.first_converted) * p.spec.channels, p.converted_columns);
}

// Row y as pixels: in place, or converted, of which the last even and odd ones are kept.
const uint8_t* pixel_row(Plan& p, const ImageKernels& k, const FramePlanes& frame, int y) {
    if (!p.converts) return frame.at[0] + p.frame_start + y * p.spec.row_stride;
    uint8_t* out = p.converted + (y & 1) * p.converted_stride;
    if (p.converted_index[y & 1] != y) {
        convert(p, k, frame, y, out);
        p.converted_index[y & 1] = y;
    }
    return out;
}

// A source row for two taps: in place, or gathered, of which the last even and odd ones are kept.
const uint8_t* source_row(Plan& p, const ImageKernels& k, const FramePlanes& frame, int y) {
    if (!p.gathers) return pixel_row(p, k, frame, y) + p.row_start;
    uint8_t* out = p.gathered + static_cast<ptrdiff_t>(y & 1) * p.gathered_stride;
    if (p.gathered_index[y & 1] != y) {
        gather(p, pixel_row(p, k, frame, y), out);
        p.gathered_index[y & 1] = y;
    }
    return out;
}

struct RowPair {
    const uint8_t *a, *b;
    int weight_a, weight_b;
};

// The source rows of row i, for two taps.
RowPair row_pair(Plan& p, const ImageKernels& k, const FramePlanes& frame, int i) {
    const int one = 1 << kRowBits, weight = p.row_weights[i];
    const uint8_t* a = source_row(p, k, frame, p.first_row[i]);
    // A row alone is blended with itself, because a weight of 1 does not fit the kernels' shorts.
    if (weight == 0) return {a, a, one / 2, one / 2};
    return {a, source_row(p, k, frame, p.first_row[i] + 1), one - weight, weight};
}

void average_rows(Plan& p, const ImageKernels& k, const FramePlanes& frame, int i) {
    const int first = p.first_row[i], count = p.row_count[i];
    const uint8_t* row;
    ptrdiff_t stride;
    if (p.converts) {
        stride = p.converted_stride;
        for (int j = 0; j < count; ++j) convert(p, k, frame, first + j, p.converted + j * stride);
        row = p.converted + p.row_start;
    } else if (p.gathers) {
        stride = p.gathered_stride;
        for (int j = 0; j < count; ++j) gather(p, pixel_row(p, k, frame, first + j), p.gathered + j * stride);
        row = p.gathered;
    } else {
        stride = p.spec.row_stride;
        row = pixel_row(p, k, frame, first) + p.row_start;
    }
    const int16_t* weights = p.row_weights + static_cast<ptrdiff_t>(i) * p.row_taps;
    k.s16_average_rows(row, stride, weights, count, p.row_shift, p.row_reciprocal, p.values,
                       p.columns * p.spec.channels);
}

// Whether row i of the frame's part of the blob is the one before it.
bool repeats(const Plan& p, int i) {
    return i > 0 && p.mode != Mode::average && p.first_row[i] == p.first_row[i - 1] &&
           p.row_weights[i] == p.row_weights[i - 1];
}

// The first half of row i: its source rows, joined, converted or gathered in scratch memory.
void prepare_row(Plan& p, const ImageKernels& k, const FramePlanes& frame, int i) {
    if (p.mode == Mode::average) {
        average_rows(p, k, frame, i);
    } else if (p.mode == Mode::nearest) {
        pixel_row(p, k, frame, p.first_row[i]);
    } else {
        const RowPair rows = row_pair(p, k, frame, i);
        if (p.mode == Mode::rows)
            k.s16_blend_rows(rows.a, rows.b, rows.weight_a, rows.weight_b, p.values,
                             p.columns * p.spec.channels);
    }
}

// The second half: its pixels.
void finish_row(Plan& p, const ImageKernels& k, const FramePlanes& frame, int i, uint32_t* pixels) {
    const int channels = p.spec.channels;
    if (p.mode == Mode::nearest) {
        gather(p, pixel_row(p, k, frame, p.first_row[i]), reinterpret_cast<uint8_t*>(pixels));
    } else if (p.mode == Mode::blocks) {
        const RowPair rows = row_pair(p, k, frame, i);
        const auto blend = channels == 1 ? k.u8x4_blend_gray : k.u8x4_blend_blocks;
        blend(rows.a, rows.b, rows.weight_a, rows.weight_b, {p.window, p.order, p.block_weights}, pixels,
              p.block_count);
    } else {
        const auto resample = channels == 1   ? k.u8x4_resample_c1
                              : channels == 3 ? k.u8x4_resample_c3
                                              : k.u8x4_resample_c4;
        resample(p.values, p.tap_offset, p.tap_weights, p.pairs, p.column_shift, p.column_reciprocal, pixels,
                 p.width);
    }
    if (p.spec.to_gray) {
        int weights[kMaxChannels] = {0, 0, 0, 0};
        for (int c = 0; c < 3; ++c) weights[p.spec.source[c]] = kGrayWeights[c];
        k.u8x4_to_gray(weights, pixels, p.width);
    }
}

template <typename Writer>
void run(Plan& p, const ImageKernels& k, const FramePlanes& frame, const Writer& blob) {
    const PlanSpec& s = p.spec;
    const ptrdiff_t width = s.blob_w, bottom = p.top + p.height;
    p.gathered_index[0] = p.gathered_index[1] = p.converted_index[0] = p.converted_index[1] = -1;
    blob.margin(0, p.top * width);
    // Each stage is a row ahead of the one that reads what it stored. Right behind it, the reads would wait
    // for the stores, and these in the CPU's store buffer behind the blob's, which miss the cache.
    prepare_row(p, k, frame, 0);
    const size_t phase = blob.phase(p.top * width + p.left);
    uint32_t *pixels = p.pixels + phase, *next = pixels, *spare = p.spare_pixels + phase;
    for (int i = -1; i < p.height; ++i) {
        pixels = next;
        if (i + 1 < p.height && !repeats(p, i + 1)) {
            next = spare;
            spare = pixels;
            finish_row(p, k, frame, i + 1, next);
        }
        if (i + 2 < p.height && !repeats(p, i + 2)) prepare_row(p, k, frame, i + 2);
        if (i < 0) continue;
        const ptrdiff_t row = (p.top + i) * width;
        blob.row(row, pixels);
    }
    blob.margin(bottom * width, (s.blob_h - bottom) * width);
}

}  // namespace

YuvRow yuv_row(const PlanSpec& s, const FramePlanes& frame, int y, int column) {
    const uint8_t* luma = frame.at[0] + y * s.row_stride;
    switch (s.format) {
        case FrameFormat::nv12:
            return {s.format, luma + column, frame.at[1] + y / 2 * s.chroma_stride[0] + column, nullptr};
        case FrameFormat::i420:
            return {s.format, luma + column, frame.at[1] + y / 2 * s.chroma_stride[0] + column / 2,
                    frame.at[2] + y / 2 * s.chroma_stride[1] + column / 2};
        default:
            return {s.format, luma + 2 * static_cast<ptrdiff_t>(column), nullptr, nullptr};
    }
}

void yuv_to_bgr(const PlanSpec& s, const ImageKernels& kernels, const FramePlanes& frame, uint8_t* scratch,
                uint8_t* out) {
    const size_t row_bytes = static_cast<size_t>(s.frame_w) * 3;
    for (int y = 0; y < s.frame_h; ++y) {
        kernels.u8x3_of_yuv(yuv_row(s, frame, y, 0), s.rule, scratch, s.frame_w);
        memcpy(out + y * row_bytes, scratch, row_bytes);
    }
}

void plan_run(Plan* plan, const ImageKernels& kernels, const FramePlanes& frame, void* out) {
    const PlanSpec& s = plan->spec;
    float* floats = static_cast<float*>(out);
    uint8_t* bytes = static_cast<uint8_t*>(out);
    if (s.format == FrameFormat::gray16)
        run_gray16(*plan, kernels, frame, floats);
    else if (s.channels_last && s.as_float)
        run(*plan, kernels, frame, Pixels<float>(*plan, kernels, floats));
    else if (s.channels_last)
        run(*plan, kernels, frame, Pixels<uint8_t>(*plan, kernels, bytes));
    else if (s.as_float)
        run(*plan, kernels, frame, Planes<float>{*plan, kernels, floats});
    else
        run(*plan, kernels, frame, Planes<uint8_t>{*plan, kernels, bytes});
}

unsigned plan_kernels(const Plan* plan) {
    const PlanSpec& s = plan->spec;
    unsigned used = 0;
    const auto use = [&](ImageKernel kernel) { used |= 1u << static_cast<int>(kernel); };
    const auto use_padding = [&] {
        if (s.as_float && (plan->width < s.blob_w || plan->height < s.blob_h)) use(ImageKernel::f32_fill);
    };
    if (s.format == FrameFormat::gray16) {
        use_padding();
        return used;
    }
    if (plan->converts) use(s.channels == 1 ? ImageKernel::u8_of_luma : ImageKernel::u8x3_of_yuv);
    if (plan->mode == Mode::rows) use(ImageKernel::s16_blend_rows);
    if (plan->mode == Mode::average) use(ImageKernel::s16_average_rows);
    if (plan->mode == Mode::blocks)
        use(s.channels == 1 ? ImageKernel::u8x4_blend_gray : ImageKernel::u8x4_blend_blocks);
    if (plan->mode == Mode::rows || plan->mode == Mode::average)
        use(s.channels == 1   ? ImageKernel::u8x4_resample_c1
            : s.channels == 3 ? ImageKernel::u8x4_resample_c3
                              : ImageKernel::u8x4_resample_c4);
    if (s.to_gray) use(ImageKernel::u8x4_to_gray);
    if (s.channels_last) use(ImageKernel::interleave);
    if (s.channels_last)
        use(s.as_float ? ImageKernel::f32_pixels : ImageKernel::u8_pixels);
    else
        use(s.as_float ? ImageKernel::f32_plane : ImageKernel::u8_plane);
    use_padding();
    return used;
}

}  // namespace ecv
