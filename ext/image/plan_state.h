// What a plan holds: plan.cpp fills it, run.cpp reads it.
#pragma once

#include "plan.h"

namespace ecv {

// nearest: that, and every interpolation to the frame's own size. average: area where it shrinks. The
// others have two taps: linear, and area where it enlarges. rows: whole rows are blended, then resampled,
// which suits enlarging. blocks: only what is sampled is blended. Both give the same bits.
enum class Mode { nearest, rows, blocks, average };

struct Plan {
    PlanSpec spec;
    Mode mode;
    int left, top, width, height;  // of the frame's part of the blob

    // Vertically: for each output row its first source row, how many there are, and `row_taps` weights;
    // for two taps only the second one's, of 1 << kRowBits.
    int row_taps, row_shift, row_reciprocal;
    int32_t* first_row;
    int32_t* row_count;
    int16_t* row_weights;

    // Horizontally: places and weights of taps in a row of values.
    int pairs, column_shift, column_reciprocal;
    int32_t* tap_offset;
    int16_t* tap_weights;

    // Horizontally in blocks.
    int block_count;
    int32_t* window;
    uint8_t* order;
    int16_t* block_weights;

    // Rows of YUV become dense pixels first: the columns that are read, from a whole vector's first one on.
    // Of two taps the last even and odd rows are kept, of an average there is room for all of its rows.
    bool converts;
    int first_converted, converted_columns, converted_rows;
    ptrdiff_t converted_stride;
    uint8_t* converted;
    int converted_index[2];

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
    uint32_t* sums;  // of gray16, in place of values and pixels
    uint32_t* pixels;
    uint32_t* spare_pixels;

    char* memory;
    size_t bytes;
};

constexpr int kRowBits = 15;
constexpr int kColumnBits = 14;

// plan_run() of gray16.
void run_gray16(const Plan& plan, const ImageKernels& kernels, const FramePlanes& frame, float* out);

}  // namespace ecv
