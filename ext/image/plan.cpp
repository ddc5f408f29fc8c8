#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include <new>

#include "taps.h"

namespace ecv {
namespace {

constexpr size_t kAlignment = 64;
constexpr int kRowBits = 15;
constexpr int kColumnBits = 14;
// BT.601 in 15 bits, as OpenCV rounds it; they add up to 1 << 15. In the order b, g, r.
constexpr int kGrayWeights[3] = {3735, 19235, 9798};
// A direct row is blended whole, a gathered one only where it is sampled: beyond so many source pixels
// for each output, gathering costs less.
constexpr int kDirectSpan = 4;

enum class Mode { nearest, two_taps, average };

int at_most(int a, int b) { return a < b ? a : b; }
int at_least(int a, int b) { return a > b ? a : b; }
int whole_groups(int n) { return (n + kRowGroup - 1) / kRowGroup * kRowGroup; }

// Hands out aligned parts of one allocation; with a null base it only counts.
class Arena {
  public:
    explicit Arena(char* base) : base_(base) {}

    template <typename T>
    T* take(int64_t n) {
        char* part = base_ == nullptr ? nullptr : base_ + used_;
        used_ += (static_cast<size_t>(n) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
        return reinterpret_cast<T*>(part);
    }
    size_t used() const { return used_; }

  private:
    char* base_;
    size_t used_ = 0;
};

}  // namespace

struct Plan {
    PlanSpec spec;
    Mode mode;
    int left, top, width, height;  // of the frame's part of the blob

    // Vertically: for each output row its first source row, and `row_taps` weights (one for two taps).
    int row_taps, row_shift, row_reciprocal;
    int32_t* first_row;
    int32_t* row_count;
    int16_t* row_weights;

    // Horizontally: places and weights of taps in a row of values.
    int pairs, column_shift, column_reciprocal;
    int32_t* tap_offset;
    int16_t* tap_weights;

    // A source row is read in place from `row_start` on, or its `columns` are gathered first: those below
    // `wide_columns` by reads of four bytes, which stay inside the row.
    bool gathers;
    ptrdiff_t frame_start, row_start;
    int columns, wide_columns, column_bytes;
    ptrdiff_t* column_offset;

    int gathered_rows, gathered_stride;
    uint8_t* gathered;
    int gathered_index[2];
    int16_t* values;
    uint32_t* pixels;
    uint32_t* next_pixels;

    char* memory;
    size_t bytes;
};

namespace {

Tap two_taps(const PlanSpec& s, int i, int in, int out, int bits) {
    return s.interpolation == Interpolation::area ? enlarging_area_tap(i, in, out, bits)
                                                  : linear_tap(i, in, out, bits);
}

void lay_out(Plan& p, Arena& arena) {
    const int channels = p.spec.channels;
    const int64_t padded = whole_groups(p.width);
    p.first_row = arena.take<int32_t>(p.height);
    p.row_count = arena.take<int32_t>(p.height);
    p.row_weights = arena.take<int16_t>(int64_t{p.height} * p.row_taps);
    p.tap_offset = arena.take<int32_t>(padded);
    p.tap_weights = arena.take<int16_t>(padded * p.pairs * (channels == 1 ? 2 : 8));
    p.column_offset = arena.take<ptrdiff_t>(p.gathers ? p.columns : 0);
    p.gathered = arena.take<uint8_t>(int64_t{p.gathered_rows} * p.gathered_stride);
    p.values = arena.take<int16_t>(p.mode == Mode::nearest ? 0 : int64_t{p.columns} * channels + kRowSlack);
    p.pixels = arena.take<uint32_t>(int64_t{p.width} + kRowSlack);
    p.next_pixels = arena.take<uint32_t>(p.mode == Mode::nearest ? int64_t{p.width} + kRowSlack : 0);
}

// First and last source column that the outputs read.
void source_span(const Plan& p, int* low, int* high) {
    const PlanSpec& s = p.spec;
    const int begin = p.left - s.offset_x, end = begin + p.width - 1;
    if (p.mode == Mode::average) {
        const Footprint footprint(s.frame_w, s.resized_w);
        *low = footprint.first(begin);
        *high = footprint.first(end) + footprint.count(end) - 1;
    } else {
        *low = two_taps(s, begin, s.frame_w, s.resized_w, kColumnBits).first;
        *high = at_most(two_taps(s, end, s.frame_w, s.resized_w, kColumnBits).first + 1, s.frame_w - 1);
    }
}

void choose_shape(Plan& p) {
    PlanSpec& s = p.spec;
    const bool same = s.resized_w == s.frame_w && s.resized_h == s.frame_h;
    const bool shrinks = s.resized_w <= s.frame_w && s.resized_h <= s.frame_h;
    p.mode = same || s.interpolation == Interpolation::nearest     ? Mode::nearest
             : s.interpolation == Interpolation::area && shrinks ? Mode::average
                                                                 : Mode::two_taps;
    p.left = at_least(0, s.offset_x);
    p.top = at_least(0, s.offset_y);
    p.width = at_most(s.resized_w, s.blob_w - s.offset_x) - at_least(0, -s.offset_x);
    p.height = at_most(s.resized_h, s.blob_h - s.offset_y) - at_least(0, -s.offset_y);

    p.row_taps = 1;
    p.pairs = p.mode == Mode::nearest ? 0 : 1;
    p.row_shift = p.row_reciprocal = 0;
    // The unit weights of two taps, in the terms of a footprint's average.
    p.column_shift = kColumnBits - 1;
    p.column_reciprocal = 1 << 15;
    if (p.mode == Mode::average) {
        const Footprint down(s.frame_h, s.resized_h), across(s.frame_w, s.resized_w);
        int row_taps = 0, column_taps = 0;
        for (int i = 0; i < p.height; ++i)
            row_taps = at_least(row_taps, down.count(p.top - s.offset_y + i));
        for (int i = 0; i < p.width; ++i)
            column_taps = at_least(column_taps, across.count(p.left - s.offset_x + i));
        p.row_taps = row_taps + 1;
        p.row_shift = down.shift;
        p.row_reciprocal = down.reciprocal;
        p.pairs = (column_taps + 1) / 2;
        // The values already have 7 fractional bits.
        p.column_shift = across.shift + 7;
        p.column_reciprocal = across.reciprocal;
    }
}

void choose_reading(Plan& p) {
    PlanSpec& s = p.spec;
    p.frame_start = 0;
    if (s.channel_stride < 0) {
        p.frame_start = (s.channels - 1) * s.channel_stride;
        s.channel_stride = -s.channel_stride;
        for (int c = 0; c < kMaxChannels; ++c) s.source[c] = s.channels - 1 - s.source[c];
    }
    int low = 0, high = 0;
    if (p.mode != Mode::nearest) source_span(p, &low, &high);
    const bool dense = s.pixel_stride == s.channels && (s.channels == 1 || s.channel_stride == 1);
    p.row_start = low * s.pixel_stride;
    p.columns = high - low + 1;
    p.gathers = p.mode == Mode::nearest || !dense ||
                (p.mode == Mode::two_taps && p.columns > kDirectSpan * p.width);
    p.column_bytes = p.mode == Mode::nearest ? 4 : s.channels;
    p.gathered_rows = 0;
    p.gathered_stride = 0;
    if (!p.gathers) return;
    p.row_start = 0;
    if (p.mode == Mode::nearest) {
        p.columns = p.width;
    } else {
        if (p.mode == Mode::two_taps) p.columns = 2 * p.width;
        p.gathered_rows = p.mode == Mode::two_taps ? 2 : p.row_taps - 1;
        p.gathered_stride = p.columns * s.channels + kRowSlack;
    }
}

void fill_rows(Plan& p) {
    const PlanSpec& s = p.spec;
    const int begin = p.top - s.offset_y;
    const Footprint footprint(s.frame_h, s.resized_h);
    for (int i = 0; i < p.height; ++i) {
        int16_t* weights = p.row_weights + static_cast<ptrdiff_t>(i) * p.row_taps;
        const int64_t y = begin + i;
        p.row_count[i] = 1;
        if (p.mode == Mode::nearest) {
            p.first_row[i] = static_cast<int32_t>(y * s.frame_h / s.resized_h);
            weights[0] = 0;
        } else if (p.mode == Mode::two_taps) {
            const Tap tap = two_taps(s, begin + i, s.frame_h, s.resized_h, kRowBits);
            p.first_row[i] = tap.first;
            weights[0] = static_cast<int16_t>(tap.weight);
        } else {
            p.first_row[i] = footprint.first(y);
            p.row_count[i] = footprint.count(y);
            for (int j = 0; j < p.row_taps; ++j)
                weights[j] = static_cast<int16_t>(footprint.weight(y, p.first_row[i] + j));
        }
    }
}

void fill_columns(Plan& p) {
    const PlanSpec& s = p.spec;
    const int begin = p.left - s.offset_x;
    const int copies = s.channels == 1 ? 1 : 4;
    const int64_t padded = whole_groups(p.width);
    int low = 0, high = 0;
    if (p.mode != Mode::nearest) source_span(p, &low, &high);
    const Footprint footprint(s.frame_w, s.resized_w);

    // Weights of the pair t of output i.
    const auto set_pair = [&](int i, int t, int w0, int w1) {
        int16_t* w = p.tap_weights + (t * padded + i) * copies * 2;
        for (int c = 0; c < copies; ++c) {
            w[2 * c] = static_cast<int16_t>(w0);
            w[2 * c + 1] = static_cast<int16_t>(w1);
        }
    };
    for (int i = 0; i < p.width; ++i) {
        const int64_t x = begin + i;
        if (p.mode == Mode::nearest) {
            p.column_offset[i] = static_cast<ptrdiff_t>(x * s.frame_w / s.resized_w) * s.pixel_stride;
            continue;
        }
        int first;
        if (p.mode == Mode::two_taps) {
            const Tap tap = two_taps(s, begin + i, s.frame_w, s.resized_w, kColumnBits);
            first = tap.first;
            set_pair(i, 0, (1 << kColumnBits) - tap.weight, tap.weight);
        } else {
            first = footprint.first(x);
            for (int t = 0; t < p.pairs; ++t)
                set_pair(i, t, footprint.weight(x, first + 2 * t), footprint.weight(x, first + 2 * t + 1));
        }
        const bool in_pairs = p.gathers && p.mode == Mode::two_taps;
        p.tap_offset[i] = (in_pairs ? 2 * i : first - low) * s.channels;
        if (in_pairs) {
            p.column_offset[2 * i] = first * s.pixel_stride;
            p.column_offset[2 * i + 1] = at_most(first + 1, s.frame_w - 1) * s.pixel_stride;
        }
    }
    if (p.gathers && p.mode == Mode::average)
        for (int i = 0; i < p.columns; ++i) p.column_offset[i] = (low + i) * s.pixel_stride;

    p.wide_columns = 0;
    if (p.gathers && s.channels > 1 && s.channel_stride == 1 && s.pixel_stride > 0) {
        const ptrdiff_t row_end = (s.frame_w - 1) * s.pixel_stride + s.channels;
        while (p.wide_columns < p.columns && p.column_offset[p.wide_columns] + 4 <= row_end)
            ++p.wide_columns;
    }
}

// Copies the columns of a row, `step` bytes apart; writes up to 4 bytes for each.
void gather(const Plan& p, const uint8_t* row, uint8_t* out) {
    const int step = p.column_bytes, channels = p.spec.channels;
    const ptrdiff_t channel_stride = p.spec.channel_stride;
    for (int i = 0; i < p.wide_columns; ++i) memcpy(out + i * step, row + p.column_offset[i], 4);
    for (int i = p.wide_columns; i < p.columns; ++i)
        for (int c = 0; c < channels; ++c)
            out[i * step + c] = row[p.column_offset[i] + c * channel_stride];
}

// A source row, ready to be read from its first needed column on.
const uint8_t* source_row(Plan& p, const uint8_t* frame, int y) {
    const uint8_t* row = frame + y * p.spec.row_stride + p.row_start;
    if (!p.gathers) return row;
    uint8_t* out = p.gathered + static_cast<ptrdiff_t>(y & 1) * p.gathered_stride;
    if (p.gathered_index[y & 1] != y) {
        gather(p, row, out);
        p.gathered_index[y & 1] = y;
    }
    return out;
}

// Whether row i of the frame's part of the blob is the one before it.
bool repeats(const Plan& p, int i) {
    return i > 0 && p.mode != Mode::average && p.first_row[i] == p.first_row[i - 1] &&
           p.row_weights[i] == p.row_weights[i - 1];
}

// The first half of row i: its source rows, joined to one row of values; for nearest, all of it.
void prepare_row(Plan& p, const ImageKernels& k, const uint8_t* frame, int i) {
    const int first = p.first_row[i];
    const int16_t* weights = p.row_weights + static_cast<ptrdiff_t>(i) * p.row_taps;
    const int bytes = p.columns * p.spec.channels;
    if (p.mode == Mode::nearest) {
        gather(p, frame + first * p.spec.row_stride, reinterpret_cast<uint8_t*>(p.next_pixels));
    } else if (p.mode == Mode::two_taps) {
        const uint8_t* a = source_row(p, frame, first);
        const uint8_t* b = weights[0] == 0 ? a : source_row(p, frame, first + 1);
        k.s16_blend_rows(a, b, weights[0], p.values, bytes);
    } else {
        const uint8_t* row = frame + first * p.spec.row_stride + p.row_start;
        ptrdiff_t stride = p.spec.row_stride;
        if (p.gathers) {
            stride = p.gathered_stride;
            for (int j = 0; j < p.row_count[i]; ++j)
                gather(p, row + j * p.spec.row_stride, p.gathered + j * stride);
            row = p.gathered;
        }
        k.s16_average_rows(row, stride, weights, p.row_count[i], p.row_shift, p.row_reciprocal, p.values,
                           bytes);
    }
}

// The second half: the values to pixels.
void finish_row(Plan& p, const ImageKernels& k) {
    if (p.mode == Mode::nearest) {
        uint32_t* done = p.next_pixels;
        p.next_pixels = p.pixels;
        p.pixels = done;
    } else {
        const auto resample = p.spec.channels == 1   ? k.u8x4_resample_c1
                              : p.spec.channels == 3 ? k.u8x4_resample_c3
                                                     : k.u8x4_resample_c4;
        resample(p.values, p.tap_offset, p.tap_weights, p.pairs, p.column_shift, p.column_reciprocal,
                 p.pixels, p.width);
    }
    if (p.spec.to_gray) {
        int weights[kMaxChannels] = {0, 0, 0, 0};
        for (int c = 0; c < 3; ++c) weights[p.spec.source[c]] = kGrayWeights[c];
        k.u8x4_to_gray(weights, p.pixels, p.width);
    }
}

// Where the blob's values go: a run of one channel's plane.
struct FloatPlanes {
    const Plan& p;
    const ImageKernels& k;
    float* out;

    float* at(int c, ptrdiff_t i) const {
        return out + static_cast<ptrdiff_t>(c) * p.spec.blob_w * p.spec.blob_h + i;
    }
    void pad(int c, ptrdiff_t i, ptrdiff_t n) const {
        const float value = (p.spec.pad[c] - p.spec.mean[c]) * p.spec.scale[c];
        if (n > 0) k.f32_fill(value, at(c, i), static_cast<size_t>(n));
    }
    void pixels(int c, int byte, ptrdiff_t i) const {
        k.f32_plane(p.pixels, byte, p.spec.mean[c], p.spec.scale[c], at(c, i), p.width);
    }
};

struct BytePlanes {
    const Plan& p;
    const ImageKernels& k;
    uint8_t* out;

    uint8_t* at(int c, ptrdiff_t i) const {
        return out + static_cast<ptrdiff_t>(c) * p.spec.blob_w * p.spec.blob_h + i;
    }
    void pad(int c, ptrdiff_t i, ptrdiff_t n) const {
        if (n > 0) memset(at(c, i), static_cast<int>(p.spec.pad[c]), static_cast<size_t>(n));
    }
    void pixels(int c, int byte, ptrdiff_t i) const { k.u8_plane(p.pixels, byte, at(c, i), p.width); }
};

template <typename Planes>
void run(Plan& p, const ImageKernels& k, const uint8_t* frame, const Planes& planes) {
    const PlanSpec& s = p.spec;
    const ptrdiff_t width = s.blob_w, right = p.left + p.width, bottom = p.top + p.height;
    frame += p.frame_start;
    p.gathered_index[0] = p.gathered_index[1] = -1;
    for (int c = 0; c < s.blob_channels; ++c) planes.pad(c, 0, p.top * width);
    // The next row is prepared before this one is written. Its values would otherwise wait in the CPU's
    // store buffer behind the blob's rows, which miss the cache, when the resampling wants to read them.
    prepare_row(p, k, frame, 0);
    for (int i = 0; i < p.height; ++i) {
        if (!repeats(p, i)) finish_row(p, k);
        if (i + 1 < p.height && !repeats(p, i + 1)) prepare_row(p, k, frame, i + 1);
        const ptrdiff_t row = (p.top + i) * width;
        for (int c = 0; c < s.blob_channels; ++c) {
            planes.pad(c, row, p.left);
            planes.pixels(c, s.to_gray ? 0 : s.source[c], row + p.left);
            planes.pad(c, row + right, width - right);
        }
    }
    for (int c = 0; c < s.blob_channels; ++c) planes.pad(c, bottom * width, (s.blob_h - bottom) * width);
}

}  // namespace

Plan* plan_create(const PlanSpec& spec) {
    Plan* p = new (std::nothrow) Plan();
    if (p == nullptr) return nullptr;
    p->spec = spec;
    choose_shape(*p);
    choose_reading(*p);
    Arena sizes(nullptr);
    lay_out(*p, sizes);
    p->bytes = sizes.used();
    p->memory = static_cast<char*>(aligned_alloc(kAlignment, p->bytes));
    if (p->memory == nullptr) {
        delete p;
        return nullptr;
    }
    memset(p->memory, 0, p->bytes);
    Arena arena(p->memory);
    lay_out(*p, arena);
    fill_rows(*p);
    fill_columns(*p);
    return p;
}

void plan_free(Plan* plan) {
    if (plan == nullptr) return;
    free(plan->memory);
    delete plan;
}

void plan_run(Plan* plan, const ImageKernels& kernels, const uint8_t* frame, void* out) {
    if (plan->spec.as_float)
        run(*plan, kernels, frame, FloatPlanes{*plan, kernels, static_cast<float*>(out)});
    else
        run(*plan, kernels, frame, BytePlanes{*plan, kernels, static_cast<uint8_t*>(out)});
}

size_t plan_bytes(const Plan* plan) { return plan->bytes + sizeof(Plan); }

unsigned plan_kernels(const Plan* plan) {
    const PlanSpec& s = plan->spec;
    unsigned used = 0;
    const auto use = [&](ImageKernel kernel) { used |= 1u << static_cast<int>(kernel); };
    if (plan->mode == Mode::two_taps) use(ImageKernel::s16_blend_rows);
    if (plan->mode == Mode::average) use(ImageKernel::s16_average_rows);
    if (plan->mode != Mode::nearest)
        use(s.channels == 1   ? ImageKernel::u8x4_resample_c1
            : s.channels == 3 ? ImageKernel::u8x4_resample_c3
                              : ImageKernel::u8x4_resample_c4);
    if (s.to_gray) use(ImageKernel::u8x4_to_gray);
    use(s.as_float ? ImageKernel::f32_plane : ImageKernel::u8_plane);
    if (s.as_float && (plan->width < s.blob_w || plan->height < s.blob_h)) use(ImageKernel::f32_fill);
    return used;
}

}  // namespace ecv
