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

void f32_max_quads(const float* cells, size_t height, size_t width, size_t channels, float* quads) {
    const VecF lowest = f_set(-__FLT_MAX__);
    for (size_t y = 0; y + 1 < height; ++y) {
        const float* above = cells + y * width * channels;
        const float* below = above + width * channels;
        float* out = quads + y * width * channels;
        // The right neighbor of element i is element i + channels.
        for (size_t i = 0; i < (width - 1) * channels; i += kLanes) {
            const VecF first = f_max(f_load(above + i + channels), f_max(f_load(above + i), lowest));
            f_store(out + i, f_max(f_load(below + i + channels), f_max(f_load(below + i), first)));
        }
    }
}

struct Span {
    int32_t begin, end;
};

// The largest of the tiles of side x side cells that cover a bin; the last ones overlap those before them.
template <size_t vectors, int32_t side>
void max_tiles(const float* tiles, size_t width, size_t channels, Span x, Span y, float* bin) {
    VecF largest[vectors];
    for (VecF& v : largest) v = f_set(-__FLT_MAX__);
    for (int32_t row = y.begin; row < y.end; row += side) {
        const size_t top = static_cast<size_t>(row < y.end - side ? row : y.end - side);
        for (int32_t column = x.begin; column < x.end; column += side) {
            const size_t left = static_cast<size_t>(column < x.end - side ? column : x.end - side);
            const float* p = tiles + (top * width + left) * channels;
            for (size_t k = 0; k < vectors; ++k) largest[k] = f_max(f_load(p + k * kLanes), largest[k]);
        }
    }
    for (size_t k = 0; k < vectors; ++k) f_store(bin + k * kLanes, largest[k]);
}

template <size_t vectors>
void max_bin(const CellBlock& block, size_t c, Span x, Span y, float* bin) {
    const int32_t columns = x.end - x.begin, rows = y.end - y.begin;
    if (columns <= 0 || rows <= 0) {
        for (size_t k = 0; k < vectors; ++k) f_store(bin + k * kLanes, f_set(0.0f));
    } else if (columns == 1 || rows == 1) {
        max_tiles<vectors, 1>(block.cells + c, block.width, block.channels, x, y, bin);
    } else {
        max_tiles<vectors, 2>(block.quads + c, block.width, block.channels, x, y, bin);
    }
}

void f32_max_bins(const CellBlock& block, const BinEdges& edges, float* bins) {
    for (size_t row = 0; row < edges.rows; ++row) {
        const Span y = {edges.y[2 * row], edges.y[2 * row + 1]};
        for (size_t column = 0; column < edges.columns; ++column, bins += block.channels) {
            const Span x = {edges.x[2 * column], edges.x[2 * column + 1]};
            size_t c = 0;
            for (; c + 4 * kLanes <= block.channels; c += 4 * kLanes) max_bin<4>(block, c, x, y, bins + c);
            for (; c + 2 * kLanes <= block.channels; c += 2 * kLanes) max_bin<2>(block, c, x, y, bins + c);
            for (; c < block.channels; c += kLanes) max_bin<1>(block, c, x, y, bins + c);
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
