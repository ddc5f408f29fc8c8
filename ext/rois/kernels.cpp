// The data-parallel loops, compiled once per ISA. Products and comparisons are those of the scalar
// definition, in its order, so that every ISA gives the same bits.
#include "rois.h"
#include "vec_math.h"

namespace {

using namespace ecv;

constexpr size_t kLanes = kFloatLanes;
static_assert(kMaxLanes % kLanes == 0, "channels come in whole vectors");

// ---- proposals

// The boxes of kLanes cells from i on.
void decode_cells(const CellGrid& grid, const Anchor& anchor, size_t i, const ProposalColumns& out) {
    const VecF zero = f_set(0.0f), half = f_set(0.5f), extent = f_set(grid.extent);
    const VecF none = f_set(__builtin_nanf(""));
    const VecF dx = f_load(anchor.dx + i), dy = f_load(anchor.dy + i);
    const VecF dw = f_load(anchor.dw + i), dh = f_load(anchor.dh + i);
    const VecF center_x = dx * f_set(anchor.width) + (f_load(grid.shift_x + i) + f_set(anchor.center_x));
    const VecF center_y = dy * f_set(anchor.height) + (f_load(grid.shift_y + i) + f_set(anchor.center_y));
    const VecF half_w = half * (f_exp(dw) * f_set(anchor.width));
    const VecF half_h = half * (f_exp(dh) * f_set(anchor.height));
    const auto clip = [](VecF v, float low, float high) { return f_max(f_min(v, f_set(high)), f_set(low)); };
    const VecF x1 = clip(center_x - half_w, grid.left, grid.right);
    const VecF y1 = clip(center_y - half_h, grid.top, grid.bottom);
    const VecF x2 = clip(center_x + half_w, grid.left, grid.right);
    const VecF y2 = clip(center_y + half_h, grid.top, grid.bottom);
    const VecF w = (x2 - x1) + extent, h = (y2 - y1) + extent;

    VecF score = f_load(anchor.score + i);
    // A number that is not finite times zero is NaN.
    const VecF finite = ((dx * zero + dy * zero) + (dw * zero + dh * zero)) + score * zero;
    const MaskF is_box = m_and(m_and(f_gt(w, zero), f_gt(h, zero)), f_eq(finite, zero));
    const MaskF is_small = m_or(f_gt(f_set(grid.min_w), w), f_gt(f_set(grid.min_h), h));
    score = f_select(is_box, f_select(is_small, none, score), none);
    f_store(out.x1 + i, x1);
    f_store(out.y1 + i, y1);
    f_store(out.x2 + i, x2);
    f_store(out.y2 + i, y2);
    f_store(out.score + i, score);
}

void f32_decode_anchor(const CellGrid& grid, const Anchor& anchor, size_t n, const ProposalColumns& out) {
    if (n >= kLanes) {
        for (size_t i = 0; i + kLanes <= n; i += kLanes) decode_cells(grid, anchor, i, out);
        if (n % kLanes) decode_cells(grid, anchor, n - kLanes, out);
        return;
    }
    float few[5][kLanes] = {};
    const float* const from[5] = {anchor.score, anchor.dx, anchor.dy, anchor.dw, anchor.dh};
    for (int k = 0; k < 5; ++k)
        for (size_t i = 0; i < n; ++i) few[k][i] = from[k][i];
    Anchor padded = anchor;
    padded.score = few[0];
    padded.dx = few[1];
    padded.dy = few[2];
    padded.dw = few[3];
    padded.dh = few[4];
    decode_cells(grid, padded, 0, out);
}

// ---- pooling

void transpose_block(const float* in, size_t in_stride, float* out, size_t out_stride) {
    VecF block[kLanes];
    for (size_t i = 0; i < kLanes; ++i) block[i] = f_load(in + i * in_stride);
    f_transpose(block);
    for (size_t i = 0; i < kLanes; ++i) f_store(out + i * out_stride, block[i]);
}

void f32_transpose(const float* in, size_t in_stride, size_t rows, size_t columns, float* out,
                   size_t out_stride) {
    if (rows < kLanes || columns < kLanes) {
        for (size_t i = 0; i < rows; ++i)
            for (size_t j = 0; j < columns; ++j) out[j * out_stride + i] = in[i * in_stride + j];
        return;
    }
    // The last blocks overlap those before them: what they write twice is the same.
    for (size_t next_j = 0; next_j < columns; next_j += kLanes) {
        const size_t j = next_j + kLanes <= columns ? next_j : columns - kLanes;
        for (size_t next_i = 0; next_i < rows; next_i += kLanes) {
            const size_t i = next_i + kLanes <= rows ? next_i : rows - kLanes;
            transpose_block(in + i * in_stride + j, in_stride, out + j * out_stride + i, out_stride);
        }
    }
}

template <size_t vectors>
void max_bin(const float* cells, size_t width, size_t channels, const int32_t* x, const int32_t* y,
             float* bin) {
    VecF largest[vectors];
    for (VecF& v : largest) v = f_set(x[0] < x[1] && y[0] < y[1] ? -__FLT_MAX__ : 0.0f);
    for (int32_t row = y[0]; row < y[1]; ++row) {
        const float* p = cells + (static_cast<size_t>(row) * width + static_cast<size_t>(x[0])) * channels;
        for (int32_t column = x[0]; column < x[1]; ++column, p += channels)
            for (size_t k = 0; k < vectors; ++k) largest[k] = f_max(f_load(p + k * kLanes), largest[k]);
    }
    for (size_t k = 0; k < vectors; ++k) f_store(bin + k * kLanes, largest[k]);
}

void f32_max_bins(const float* cells, size_t width, size_t channels, const BinEdges& edges, float* bins) {
    for (size_t row = 0; row < edges.rows; ++row) {
        for (size_t column = 0; column < edges.columns; ++column, bins += channels) {
            const int32_t* x = edges.x + 2 * column;
            const int32_t* y = edges.y + 2 * row;
            size_t c = 0;
            for (; c + 4 * kLanes <= channels; c += 4 * kLanes)
                max_bin<4>(cells + c, width, channels, x, y, bins + c);
            for (; c < channels; c += kLanes) max_bin<1>(cells + c, width, channels, x, y, bins + c);
        }
    }
}

}  // namespace

namespace ecv {

extern const RoiKernels ECV_EXPORT(roi_kernels) = {
#define X(result, name, parameters) name,
    ECV_ROI_KERNELS(X)
#undef X
};

}  // namespace ecv
