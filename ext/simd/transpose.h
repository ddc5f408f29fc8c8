// Transposition of 4-byte elements, as bits.
//
// Include it only from kernel files, as vec.h.
#pragma once

#include "vec.h"

namespace {

// A tile of `side` rows and columns.
struct WideTile {
    static constexpr size_t side = kFloatLanes;
    static void run(const float* in, ptrdiff_t in_stride, float* out, ptrdiff_t out_stride) {
        VecF rows[side];
        for (size_t i = 0; i < side; ++i) rows[i] = f_load(in + static_cast<ptrdiff_t>(i) * in_stride);
        f_transpose(rows);
        for (size_t i = 0; i < side; ++i) f_store(out + static_cast<ptrdiff_t>(i) * out_stride, rows[i]);
    }
};

// For what is narrower than a vector: four boxes' coordinates, say.
struct NarrowTile {
    static constexpr size_t side = 4;
    using Row = float __attribute__((vector_size(16)));
    using Order = int __attribute__((vector_size(16)));
    static Row load(const float* p) {
        Row row;
        memcpy(&row, p, sizeof row);
        return row;
    }
    static void run(const float* in, ptrdiff_t in_stride, float* out, ptrdiff_t out_stride) {
        const Row a = load(in), b = load(in + in_stride);
        const Row c = load(in + 2 * in_stride), d = load(in + 3 * in_stride);
        const Order low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, left = {0, 1, 4, 5}, right = {2, 3, 6, 7};
        const Row ab = __builtin_shuffle(a, b, low), cd = __builtin_shuffle(c, d, low);
        const Row ab2 = __builtin_shuffle(a, b, high), cd2 = __builtin_shuffle(c, d, high);
        const Row rows[side] = {__builtin_shuffle(ab, cd, left), __builtin_shuffle(ab, cd, right),
                                __builtin_shuffle(ab2, cd2, left), __builtin_shuffle(ab2, cd2, right)};
        for (size_t i = 0; i < side; ++i)
            memcpy(out + static_cast<ptrdiff_t>(i) * out_stride, &rows[i], sizeof rows[i]);
    }
};

// The last tiles overlap those before them: what they write twice is the same.
template <typename Tile>
void transpose_tiles(const float* in, ptrdiff_t in_stride, size_t rows, size_t columns, float* out,
                     ptrdiff_t out_stride) {
    for (size_t j = 0;; j += Tile::side) {
        if (j + Tile::side > columns) j = columns - Tile::side;
        for (size_t i = 0;; i += Tile::side) {
            if (i + Tile::side > rows) i = rows - Tile::side;
            Tile::run(in + static_cast<ptrdiff_t>(i) * in_stride + j, in_stride,
                      out + static_cast<ptrdiff_t>(j) * out_stride + i, out_stride);
            if (i + Tile::side == rows) break;
        }
        if (j + Tile::side == columns) break;
    }
}

// out[j][i] = in[i][j]; strides in elements, from row to row. in and out do not overlap.
inline void transpose(const float* in, ptrdiff_t in_stride, size_t rows, size_t columns, float* out,
                      ptrdiff_t out_stride) {
    if (rows >= WideTile::side && columns >= WideTile::side)
        return transpose_tiles<WideTile>(in, in_stride, rows, columns, out, out_stride);
    if (rows >= NarrowTile::side && columns >= NarrowTile::side)
        return transpose_tiles<NarrowTile>(in, in_stride, rows, columns, out, out_stride);
    // Bits, not floats: the longer side inside.
    const auto copy = [&](size_t i, size_t j) {
        memcpy(out + static_cast<ptrdiff_t>(j) * out_stride + i,
               in + static_cast<ptrdiff_t>(i) * in_stride + j, sizeof(float));
    };
    if (rows > columns) {
        for (size_t j = 0; j < columns; ++j)
            for (size_t i = 0; i < rows; ++i) copy(i, j);
    } else {
        for (size_t i = 0; i < rows; ++i)
            for (size_t j = 0; j < columns; ++j) copy(i, j);
    }
}

}  // namespace
