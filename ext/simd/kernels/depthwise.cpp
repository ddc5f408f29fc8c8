// Depthwise convolution: strips of output pixels, whose sums are held in registers over all taps.

#include "finish.h"
#include "isa_facts.h"
#include "kernels.h"

namespace {

using ecv::DepthwiseStep;

constexpr int64_t kLanes = kFloatLanes;

// Whether registers are left to hold the values of x that the taps of a strip share.
constexpr bool kHoldsValues = ecv::ECV_JOIN(facts, ECV_ISA).registers > 16;

// The most pixels of a strip.
#if defined(__SANITIZE_ADDRESS__)
// Sanitizers check each access of an unrolled strip: long ones would take many minutes to compile.
constexpr int kMostPixels = 3;
#elif defined(__AVX2__) || defined(__aarch64__)
constexpr int kMostPixels = 8;
#else
constexpr int kMostPixels = 5;
#endif

// Rows are taken in groups of about so many pixels, which stay in the first cache until they are activated.
constexpr int64_t kGroupPixels = (24 << 10) / (kLanes * 4);

// Output pixels that see the same taps. Distances in floats.
struct Strip {
    const float* x;  // of the first pixel's first tap
    const float* weights;
    const float* bias;
    float* y;
    int64_t tap_rows, tap_columns;
    int64_t x_row, x_column, x_pixel;  // of taps, of taps, of the pixels of the strip
    int64_t weight_row, y_pixel, y_row;
    Finish finish;
};

// Of any taps and in any direction.
template <int pixels>
void run_strip(const Strip& t) {
    VecF sum[pixels];
    ECV_UNROLL for (int p = 0; p < pixels; ++p) sum[p] = f_load(t.bias);
    const float* row = t.x;
    const float* weight_row = t.weights;
    for (int64_t ky = t.tap_rows; ky != 0; --ky, row += t.x_row, weight_row += t.weight_row) {
        const float* x = row;
        const float* weights = weight_row;
        for (int64_t kx = t.tap_columns; kx != 0; --kx, x += t.x_column, weights += kLanes) {
            const VecF w = f_load(weights);
            ECV_UNROLL for (int p = 0; p < pixels; ++p) sum[p] = f_fma(w, f_load(x + p * t.x_pixel), sum[p]);
        }
    }
    finish_sums(t.finish, sum);
    float* y = t.y;
    const int64_t y_pixel = t.y_pixel;
    ECV_UNROLL for (int p = 0; p < pixels; ++p) f_store(y + p * y_pixel, sum[p]);
}

// Adds a row of taps, in every pixel's sum from the left to the right. Where registers are few, each value of
// x goes to all sums before the next one is read.
template <int pixels, int columns, int stride>
inline __attribute__((always_inline)) void add_row(const float* x, const float* weights, VecF* sum) {
    VecF w[columns];
    ECV_UNROLL for (int kx = 0; kx < columns; ++kx) w[kx] = f_load(weights + kx * kLanes);
    if constexpr (kHoldsValues) {
        ECV_UNROLL for (int kx = 0; kx < columns; ++kx) ECV_UNROLL for (int p = 0; p < pixels; ++p) sum[p] =
            f_fma(w[kx], f_load(x + (p * stride + kx) * kLanes), sum[p]);
    } else {
        ECV_UNROLL for (int i = 0; i < (pixels - 1) * stride + columns; ++i) {
            const VecF value = f_load(x + i * kLanes);
            ECV_UNROLL for (int kx = columns - 1; kx >= 0; --kx) {
                const int p = (i - kx) / stride;
                if (i >= kx && (i - kx) % stride == 0 && p < pixels) sum[p] = f_fma(w[kx], value, sum[p]);
            }
        }
    }
}

// The same for two output rows, of which the lower one is at an earlier row of its taps. Each value of x is
// read once.
template <int pixels, int columns>
inline __attribute__((always_inline)) void add_row_to_pair(const float* x, const float* upper_weights,
                                                           const float* lower_weights, VecF* sum) {
    VecF upper[columns], lower[columns];
    ECV_UNROLL for (int kx = 0; kx < columns; ++kx) {
        upper[kx] = f_load(upper_weights + kx * kLanes);
        lower[kx] = f_load(lower_weights + kx * kLanes);
    }
    ECV_UNROLL for (int i = 0; i < pixels + columns - 1; ++i) {
        const VecF value = f_load(x + i * kLanes);
        ECV_UNROLL for (int kx = 0; kx < columns; ++kx) {
            const int p = i - kx;
            if (p < 0 || p >= pixels) continue;
            sum[p] = f_fma(upper[kx], value, sum[p]);
            sum[pixels + p] = f_fma(lower[kx], value, sum[pixels + p]);
        }
    }
}

// Of neighboring pixels and `columns` neighboring taps a row.
template <int pixels, int columns, int stride>
void run_dense_strip(const Strip& t) {
    VecF sum[pixels];
    ECV_UNROLL for (int p = 0; p < pixels; ++p) sum[p] = f_load(t.bias);
    const float* x = t.x;
    const float* weights = t.weights;
    for (int64_t ky = t.tap_rows; ky != 0; --ky, x += t.x_row, weights += columns * kLanes)
        add_row<pixels, columns, stride>(x, weights, sum);
    finish_sums(t.finish, sum);
    float* y = t.y;
    ECV_UNROLL for (int p = 0; p < pixels; ++p) f_store(y + p * kLanes, sum[p]);
}

// Of two output rows that see all taps, `columns` in both directions.
template <int pixels, int columns>
void run_dense_pair(const Strip& t) {
    VecF sum[2 * pixels];
    ECV_UNROLL for (int p = 0; p < 2 * pixels; ++p) sum[p] = f_load(t.bias);
    const float* x = t.x;
    const float* weights = t.weights;
    const int64_t x_row = t.x_row;
    add_row<pixels, columns, 1>(x, weights, sum);
    for (int ky = 1; ky < columns; ++ky) {
        x += x_row;
        add_row_to_pair<pixels, columns>(x, weights + columns * kLanes, weights, sum);
        weights += columns * kLanes;
    }
    add_row<pixels, columns, 1>(x + x_row, weights, sum + pixels);
    finish_sums(t.finish, sum);
    float* y = t.y;
    float* lower = y + t.y_row;
    ECV_UNROLL for (int p = 0; p < pixels; ++p) f_store(y + p * kLanes, sum[p]);
    ECV_UNROLL for (int p = 0; p < pixels; ++p) f_store(lower + p * kLanes, sum[pixels + p]);
}

using RunStrip = void (*)(const Strip&);

// Strips of 1 to kMostPixels pixels.
struct Strips {
    RunStrip run[kMostPixels];
};

enum class Kind { any, row, pair };

template <Kind kind, int columns, int stride, int pixels>
constexpr void fill_strips(Strips& strips) {
    if constexpr (kind == Kind::any)
        strips.run[pixels - 1] = run_strip<pixels>;
    else if constexpr (kind == Kind::row)
        strips.run[pixels - 1] = run_dense_strip<pixels, columns, stride>;
    else
        strips.run[pixels - 1] = run_dense_pair<pixels, columns>;
    if constexpr (pixels > 1) fill_strips<kind, columns, stride, pixels - 1>(strips);
}

template <Kind kind, int columns = 0, int stride = 0>
constexpr Strips make_strips() {
    Strips strips{};
    fill_strips<kind, columns, stride, kMostPixels>(strips);
    return strips;
}

constexpr Strips kAnyTaps = make_strips<Kind::any>();
// By the taps of a row, 3, 5 or 7, and the stride, 1 or 2.
constexpr Strips kDenseTaps[3][2] = {{make_strips<Kind::row, 3, 1>(), make_strips<Kind::row, 3, 2>()},
                                     {make_strips<Kind::row, 5, 1>(), make_strips<Kind::row, 5, 2>()},
                                     {make_strips<Kind::row, 7, 1>(), make_strips<Kind::row, 7, 2>()}};
// Whether there are strips of its own for a row of taps.
bool is_dense_row(const DepthwiseStep& s) {
    return s.dilation_x == 1 && s.stride_x <= 2 && s.kernel_w % 2 == 1 && s.kernel_w >= 3 && s.kernel_w <= 7;
}

const Strips& row_strips(const DepthwiseStep& s) {
    return is_dense_row(s) ? kDenseTaps[s.kernel_w / 2 - 1][s.stride_x - 1] : kAnyTaps;
}

// Strips of two rows at once, where registers hold the sums of both; else nullptr.
const Strips* pair_strips(const DepthwiseStep& s) {
    if constexpr (kHoldsValues) {
        static constexpr Strips kPairs[3] = {make_strips<Kind::pair, 3>(), make_strips<Kind::pair, 5>(),
                                             make_strips<Kind::pair, 7>()};
        const bool is_dense = s.dilation_x == 1 && s.dilation_y == 1 && s.stride_x == 1 && s.stride_y == 1;
        if (is_dense && s.kernel_w == s.kernel_h && is_dense_row(s)) return &kPairs[s.kernel_w / 2 - 1];
    }
    return nullptr;
}

// From t's place on.
void run_pixels(const Strips& strips, Strip& t, const EqualParts& parts) {
    for (int64_t i = 0; i < parts.count; ++i) {
        const int64_t size = parts.size(i);
        strips.run[size - 1](t);
        t.x += size * t.x_pixel;
        t.y += size * t.y_pixel;
    }
}

// Along one axis: which taps of an output position lie in the input, and which positions see all of them.
struct Axis {
    int64_t taps, stride, dilation, pad, in, out;

    int64_t place(int64_t position) const { return position * stride - pad; }
    int64_t first_tap(int64_t position) const {
        const int64_t at = place(position);
        const int64_t first = at >= 0 ? 0 : ecv::ceil_div(-at, dilation);
        return first < taps ? first : taps;
    }
    // One past the last one.
    int64_t end_tap(int64_t position) const {
        const int64_t room = in - place(position);  // a tap is in while tap dilation < room
        const int64_t end = room <= 0 ? 0 : ecv::ceil_div(room, dilation);
        return end < taps ? end : taps;
    }
    bool sees_all(int64_t position) const { return first_tap(position) == 0 && end_tap(position) == taps; }
    // [first, last) positions that see all taps: they are neighbors.
    void inside(int64_t* first, int64_t* last) const {
        for (*first = 0; *first < out && !sees_all(*first);) ++*first;
        for (*last = out; *last > *first && !sees_all(*last - 1);) --*last;
    }
};

struct Block {
    const float* x;
    const float* weights;
    float* y;
};

class Map {
  public:
    explicit Map(const DepthwiseStep& step)
        : s_(step),
          rows_{s_.kernel_h, s_.stride_y, s_.dilation_y, s_.pad_top, s_.in_h, s_.out_h},
          columns_{s_.kernel_w, s_.stride_x, s_.dilation_x, s_.pad_left, s_.in_w, s_.out_w},
          strips_(row_strips(step)),
          pairs_(pair_strips(step)) {
        rows_.inside(&top_, &bottom_);
        columns_.inside(&left_, &right_);
        if (left_ < right_) parts_ = EqualParts(right_ - left_, kMostPixels);
        group_rows_ = kGroupPixels / s_.out_w;
        if (group_rows_ < 2) group_rows_ = 2;
        strip_.x_row = s_.dilation_y * s_.in_w * kLanes;
        strip_.x_column = s_.dilation_x * kLanes;
        strip_.y_row = s_.out_w * kLanes;
        strip_.weight_row = s_.kernel_w * kLanes;
        strip_.finish = finish_of(s_.activation, s_.alpha, s_.beta);
    }

    void run_rows(const Block& block, const float* bias, int64_t begin, int64_t end) {
        strip_.bias = bias;
        for (int64_t row = begin; row < end;) {
            // Rows that see all taps go together: their border columns are strips from row to row.
            int64_t last = row + 1;
            if (row >= top_ && row < bottom_) {
                last = row + group_rows_ < end ? row + group_rows_ : end;
                if (last > bottom_) last = bottom_;
            }
            run_group(block, row, last);
            row = last;
        }
    }

  private:
    void run_group(const Block& block, int64_t row, int64_t end) {
        const int64_t first_tap = rows_.first_tap(row);
        const int64_t end_tap = rows_.end_tap(row);
        strip_.tap_rows = end_tap > first_tap ? end_tap - first_tap : 0;
        const float* x = block.x + (rows_.place(row) + first_tap * s_.dilation_y) * s_.in_w * kLanes;
        const float* weights = block.weights + first_tap * s_.kernel_w * kLanes;
        float* y = block.y + row * s_.out_w * kLanes;
        const EqualParts border(end - row, kMostPixels);
        for (int64_t column = 0; column < left_; ++column) run_border(x, weights, y, column, border);
        for (int64_t column = right_; column < s_.out_w; ++column) run_border(x, weights, y, column, border);
        if (left_ < right_) {
            strip_.tap_columns = s_.kernel_w;
            strip_.x_pixel = s_.stride_x * kLanes;
            strip_.y_pixel = kLanes;
            strip_.weights = weights;
            for (int64_t i = 0; i < end - row;) {
                const bool is_pair =
                    pairs_ != nullptr && end - row - i >= 2 && strip_.tap_rows == s_.kernel_h;
                strip_.x = x + (i * s_.stride_y * s_.in_w + columns_.place(left_)) * kLanes;
                strip_.y = y + (i * s_.out_w + left_) * kLanes;
                run_pixels(is_pair ? *pairs_ : strips_, strip_, parts_);
                i += is_pair ? 2 : 1;
            }
        }
        if (strip_.finish.after != nullptr)
            strip_.finish.after(y, 1, 0, (end - row) * s_.out_w, kLanes, strip_.finish.alpha,
                                strip_.finish.beta);
    }

    // A column that does not see all taps, from row to row.
    void run_border(const float* x, const float* weights, float* y, int64_t column, const EqualParts& rows) {
        const int64_t first_tap = columns_.first_tap(column);
        const int64_t end_tap = columns_.end_tap(column);
        strip_.tap_columns = end_tap > first_tap ? end_tap - first_tap : 0;
        strip_.x_pixel = s_.stride_y * s_.in_w * kLanes;
        strip_.y_pixel = s_.out_w * kLanes;
        strip_.x = x + (columns_.place(column) + first_tap * s_.dilation_x) * kLanes;
        strip_.y = y + column * kLanes;
        strip_.weights = weights + first_tap * kLanes;
        run_pixels(kAnyTaps, strip_, rows);
    }

    const DepthwiseStep& s_;
    const Axis rows_, columns_;
    const Strips& strips_;
    const Strips* pairs_;
    int64_t top_, bottom_, left_, right_;
    EqualParts parts_{1, 1};  // of the columns that see all taps
    int64_t group_rows_;
    Strip strip_;
};

ecv::StepStatus depthwise(const void* step, const ecv::Memory& memory, int64_t chunk, char*) {
    const DepthwiseStep& s = *static_cast<const DepthwiseStep*>(step);
    const int64_t row_chunks = ecv::ceil_div(s.out_h, s.chunk_rows);
    const int64_t row = chunk % row_chunks * s.chunk_rows, block = chunk / row_chunks * s.chunk_blocks;
    const int64_t end_row = s.out_h - row < s.chunk_rows ? s.out_h : row + s.chunk_rows;
    const int64_t end_block = s.n_blocks - block < s.chunk_blocks ? s.n_blocks : block + s.chunk_blocks;
    const int64_t* blocks = ecv::at<const int64_t>(memory, s.blocks);
    const float* weights = ecv::at<const float>(memory, s.weights);
    const float* bias = ecv::at<const float>(memory, s.bias);
    Map map(s);
    for (int64_t i = block; i < end_block; ++i) {
        const Block place{ecv::at<const float>(memory, blocks[2 * i]),
                          weights + i * s.kernel_h * s.kernel_w * kLanes,
                          ecv::at<float>(memory, blocks[2 * i + 1])};
        map.run_rows(place, bias + i * kLanes, row, end_row);
    }
    return ecv::StepStatus::ok;
}

}  // namespace

namespace ecv {

const DepthwiseKernels ECV_EXPORT(depthwise_kernels) = {depthwise};

}  // namespace ecv
