#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include <new>

#include "plan_state.h"
#include "taps.h"

namespace ecv {
namespace {

constexpr size_t kAlignment = 64;
constexpr int kWindow = 16;
constexpr uint8_t kNoByte = 128;
// Rows of YUV are converted from a column on that is a multiple of it: whole vectors in, and out.
constexpr int kConvertedGroup = 64;
// Beyond so many source pixels for each output, blocks cost less than whole rows. Measured on x86.
constexpr double kRowsSpan = 1.7;

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

void lay_out(Plan& p, Arena& arena) {
    const bool has_values = p.mode == Mode::rows || p.mode == Mode::average;
    const int64_t taps = has_values ? whole_groups(p.width) : 0;
    const int64_t blocks = p.mode == Mode::blocks ? whole_groups(p.block_count) : 0;
    const int64_t pixels = int64_t{p.width} + kRowGroup + kRowSlack;
    p.first_row = arena.take<int32_t>(p.height);
    p.row_count = arena.take<int32_t>(p.mode == Mode::average ? p.height : 0);
    p.row_weights = arena.take<int16_t>(int64_t{p.height} * p.row_taps);
    p.tap_offset = arena.take<int32_t>(taps);
    p.tap_weights = arena.take<int16_t>(taps * p.pairs * (p.spec.channels == 1 ? 2 : 8));
    p.window = arena.take<int32_t>(blocks / 2);
    p.order = arena.take<uint8_t>(blocks * 16);
    p.block_weights = arena.take<int16_t>(blocks * 8);
    p.column_offset = arena.take<ptrdiff_t>(p.gathers ? p.columns : 0);
    p.gathered = arena.take<uint8_t>(int64_t{p.gathered_rows} * p.gathered_stride);
    p.converted = arena.take<uint8_t>(int64_t{p.converted_rows} * p.converted_stride);
    const bool is_wide = p.spec.format == FrameFormat::gray16;
    p.values =
        arena.take<int16_t>(has_values && !is_wide ? int64_t{p.columns} * p.spec.channels + kRowSlack : 0);
    p.sums = arena.take<uint32_t>(has_values && is_wide ? int64_t{p.columns} + 2 * p.pairs : 0);
    p.pixels = arena.take<uint32_t>(pixels);
    p.spare_pixels = arena.take<uint32_t>(pixels);
}

// The output of the resized frame that the blob's first column, or row, of pixels shows.
int first_x(const Plan& p) { return p.left - p.spec.offset_x; }
int first_y(const Plan& p) { return p.top - p.spec.offset_y; }

Tap row_tap(const Plan& p, int i) {
    const PlanSpec& s = p.spec;
    const auto rule = s.interpolation == Interpolation::area ? enlarging_area_tap : linear_tap;
    return rule(first_y(p) + i, s.frame_h, s.resized_h, kRowBits);
}

Tap column_tap(const Plan& p, int i) {
    const PlanSpec& s = p.spec;
    const auto rule = s.interpolation == Interpolation::area ? enlarging_area_tap : linear_tap;
    return rule(first_x(p) + i, s.frame_w, s.resized_w, kColumnBits);
}

int nearest_column(const Plan& p, int i) {
    return static_cast<int>(int64_t{first_x(p) + i} * p.spec.frame_w / p.spec.resized_w);
}

void choose_shape(Plan& p) {
    const PlanSpec& s = p.spec;
    const bool same = s.resized_w == s.frame_w && s.resized_h == s.frame_h;
    const bool shrinks = s.resized_w <= s.frame_w && s.resized_h <= s.frame_h;
    p.mode = same || s.interpolation == Interpolation::nearest   ? Mode::nearest
             : s.interpolation == Interpolation::area && shrinks ? Mode::average
                                                                 : Mode::rows;
    p.left = at_least(0, s.offset_x);
    p.top = at_least(0, s.offset_y);
    p.width = at_most(s.resized_w, s.blob_w - s.offset_x) - at_least(0, -s.offset_x);
    p.height = at_most(s.resized_h, s.blob_h - s.offset_y) - at_least(0, -s.offset_y);

    p.row_taps = p.pairs = 1;
    // The unit weights of two taps, in the terms of a footprint's average.
    p.column_shift = kColumnBits - 1;
    p.column_reciprocal = 1 << 15;
    if (p.mode != Mode::average) return;
    const Footprint down(s.frame_h, s.resized_h), across(s.frame_w, s.resized_w);
    int row_taps = 0, column_taps = 0;
    for (int i = 0; i < p.height; ++i) row_taps = at_least(row_taps, down.count(first_y(p) + i));
    for (int i = 0; i < p.width; ++i) column_taps = at_least(column_taps, across.count(first_x(p) + i));
    p.row_taps = row_taps + 1;
    p.row_shift = down.shift;
    p.row_reciprocal = down.reciprocal;
    p.pairs = (column_taps + 1) / 2;
    // The values already have 7 fractional bits.
    p.column_shift = across.shift + 7;
    p.column_reciprocal = across.reciprocal;
}

// Whether each two blocks find their pixels in one window of a row that is read in place.
bool windows_fit(const Plan& p) {
    const PlanSpec& s = p.spec;
    if (s.frame_w * s.channels < kWindow) return false;
    const int together = s.channels == 1 ? 8 : 2;
    for (int i = 0; i < p.width; i += together) {
        const int last = column_tap(p, at_most(i + together, p.width) - 1).first;
        if ((at_most(last + 2, s.frame_w) - column_tap(p, i).first) * s.channels > kWindow) return false;
    }
    return true;
}

// First and last source column that the outputs read.
void source_span(const Plan& p, int* low, int* high) {
    const PlanSpec& s = p.spec;
    if (p.mode == Mode::nearest) {
        *low = nearest_column(p, 0);
        *high = nearest_column(p, p.width - 1);
    } else if (p.mode == Mode::rows) {
        *low = column_tap(p, 0).first;
        *high = at_most(column_tap(p, p.width - 1).first + 1, s.frame_w - 1);
    } else {
        const Footprint across(s.frame_w, s.resized_w);
        const int begin = first_x(p), end = begin + p.width - 1;
        *low = across.first(begin);
        *high = across.first(end) + across.count(end) - 1;
    }
}

// What becomes of the rows of a YUV frame, of which the outputs read these columns.
void choose_conversion(Plan& p, int low, int high) {
    const PlanSpec& s = p.spec;
    p.converts = s.format != FrameFormat::pixels && s.format != FrameFormat::gray16;
    if (!p.converts) return;
    p.first_converted = low / kConvertedGroup * kConvertedGroup;
    p.converted_columns = at_most(high + 2, s.frame_w) / 2 * 2 - p.first_converted;
    p.converted_rows = p.mode == Mode::average ? at_least(2, p.row_taps - 1) : 2;
    p.converted_stride = ptrdiff_t{s.frame_w} * s.channels + kYuvSlack;
    p.converted_stride = (p.converted_stride + kAlignment - 1) / kAlignment * kAlignment;
}

void choose_reading(Plan& p) {
    PlanSpec& s = p.spec;
    int low, high;
    source_span(p, &low, &high);
    choose_conversion(p, low, high);
    if (s.format == FrameFormat::gray16) {
        p.gathers = p.mode == Mode::nearest;
        p.columns = p.gathers ? p.width : high - low + 1;
        p.row_start = p.gathers ? 0 : low * s.pixel_stride;
        return;
    }
    if (s.channel_stride < 0) {
        p.frame_start = (s.channels - 1) * s.channel_stride;
        s.channel_stride = -s.channel_stride;
        for (int c = 0; c < kMaxChannels; ++c) s.source[c] = s.channels - 1 - s.source[c];
    }
    const bool dense = s.pixel_stride == s.channels && (s.channels == 1 || s.channel_stride == 1);
    p.column_bytes = s.channels;
    if (p.mode == Mode::nearest) {
        p.gathers = true;
        p.column_bytes = 4;
        p.columns = p.width;
        return;
    }
    p.columns = high - low + 1;
    if (p.mode == Mode::average) {
        p.gathers = !dense;
        p.gathered_rows = p.gathers ? p.row_taps - 1 : 0;
    } else if (!dense || s.channels == 1 || p.columns > kRowsSpan * p.width) {
        p.mode = Mode::blocks;
        p.block_count = s.channels == 1 ? (p.width + 3) / 4 : p.width;
        p.gathers = !dense || !windows_fit(p);
        p.gathered_rows = p.gathers ? 2 : 0;
        if (p.gathers) p.columns = 2 * p.width;
    }
    // Blocks count from the frame's first column, so that windows can stay inside the row.
    p.row_start = p.gathers || p.mode == Mode::blocks ? 0 : low * s.pixel_stride;
    p.gathered_stride = p.columns * s.channels + kRowSlack;
}

void fill_rows(Plan& p) {
    const PlanSpec& s = p.spec;
    const Footprint down(s.frame_h, s.resized_h);
    for (int i = 0; i < p.height; ++i) {
        const int64_t y = first_y(p) + i;
        if (p.mode == Mode::nearest) {
            p.first_row[i] = static_cast<int32_t>(y * s.frame_h / s.resized_h);
        } else if (p.mode != Mode::average) {
            const Tap tap = row_tap(p, i);
            p.first_row[i] = tap.first;
            p.row_weights[i] = static_cast<int16_t>(tap.weight);
        } else {
            p.first_row[i] = down.first(y);
            p.row_count[i] = down.count(y);
            for (int j = 0; j < p.row_taps; ++j)
                p.row_weights[static_cast<ptrdiff_t>(i) * p.row_taps + j] =
                    static_cast<int16_t>(down.weight(y, p.first_row[i] + j));
        }
    }
}

// Weights of the pair t of output i, once for each channel that a kernel computes.
void set_pair(Plan& p, int i, int t, int first, int second) {
    const int copies = p.spec.channels == 1 ? 1 : 4;
    int16_t* pair = p.tap_weights + (int64_t{t} * whole_groups(p.width) + i) * copies * 2;
    for (int c = 0; c < copies; ++c) {
        pair[2 * c] = static_cast<int16_t>(first);
        pair[2 * c + 1] = static_cast<int16_t>(second);
    }
}

void fill_pairs(Plan& p) {
    const int low = column_tap(p, 0).first;
    for (int i = 0; i < p.width; ++i) {
        const Tap tap = column_tap(p, i);
        set_pair(p, i, 0, (1 << kColumnBits) - tap.weight, tap.weight);
        p.tap_offset[i] = (tap.first - low) * p.spec.channels;
    }
}

void fill_blocks(Plan& p) {
    const PlanSpec& s = p.spec;
    const int channels = s.channels, per_block = channels == 1 ? 4 : 1;
    memset(p.order, kNoByte, static_cast<size_t>(whole_groups(p.block_count)) * 16);
    for (int i = 0; i < p.width; ++i) {
        const Tap tap = column_tap(p, i);
        const int neighbor = at_most(tap.first + 1, s.frame_w - 1);
        if (p.gathers) {
            p.column_offset[2 * i] = tap.first * s.pixel_stride;
            p.column_offset[2 * i + 1] = neighbor * s.pixel_stride;
        }
        const int first = (p.gathers ? 2 * i : tap.first) * channels;
        const int second = (p.gathers ? 2 * i + 1 : neighbor) * channels;
        const int block = i / per_block;
        int32_t* window = p.window + block / 2;
        if (i % (2 * per_block) == 0)
            *window = p.gathers ? first : at_most(first, s.frame_w * channels - kWindow);
        for (int c = 0; c < channels; ++c) {
            const int pair = block * 4 + (channels == 1 ? i % 4 : c);
            p.order[pair * 4 + 1] = static_cast<uint8_t>(first + c - *window);
            p.order[pair * 4 + 3] = static_cast<uint8_t>(second + c - *window);
            p.block_weights[pair * 2] = static_cast<int16_t>((1 << kColumnBits) - tap.weight);
            p.block_weights[pair * 2 + 1] = static_cast<int16_t>(tap.weight);
        }
    }
}

void fill_footprints(Plan& p) {
    const PlanSpec& s = p.spec;
    const Footprint across(s.frame_w, s.resized_w);
    const int low = across.first(first_x(p));
    for (int i = 0; i < p.width; ++i) {
        const int64_t x = first_x(p) + i;
        const int first = across.first(x);
        p.tap_offset[i] = (first - low) * s.channels;
        for (int t = 0; t < p.pairs; ++t)
            set_pair(p, i, t, across.weight(x, first + 2 * t), across.weight(x, first + 2 * t + 1));
    }
    for (int i = 0; p.gathers && i < p.columns; ++i) p.column_offset[i] = (low + i) * s.pixel_stride;
}

void fill_columns(Plan& p) {
    const PlanSpec& s = p.spec;
    if (p.mode == Mode::rows) {
        fill_pairs(p);
    } else if (p.mode == Mode::blocks) {
        fill_blocks(p);
    } else if (p.mode == Mode::average) {
        fill_footprints(p);
    } else {
        for (int i = 0; i < p.width; ++i) p.column_offset[i] = nearest_column(p, i) * s.pixel_stride;
    }
    if (p.gathers && s.channels > 1 && s.channel_stride == 1 && s.pixel_stride > 0) {
        const ptrdiff_t row_end = (s.frame_w - 1) * s.pixel_stride + s.channels;
        while (p.wide_columns < p.columns && p.column_offset[p.wide_columns] + 4 <= row_end) ++p.wide_columns;
    }
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

size_t plan_bytes(const Plan* plan) { return plan->bytes + sizeof(Plan); }

}  // namespace ecv
