// What baseline code knows of a step before it runs: whether its Refs stay inside memory, how many chunks it
// is cut into, the scratch that a thread needs; and what it says of its rows. Programs may come from files:
// nothing in a step is taken on trust.
#pragma once

#include "ops.h"

namespace ecv {

struct Examined {
    const char* problem;  // nullptr where the step is sound
    int64_t chunks;
    int64_t scratch;  // bytes for one thread
};

// lanes: of the ISA that the program is packed for. Tables of constants are read through memory.bases.
#define X(name) Examined examine_##name(const void* step, const Memory& memory, int lanes);
ECV_SIMD_OPS(X)
#undef X

// ---- What steps say of their rows, which bands hold against strips; edgecv/engine/rows.py is Python's side

// n Refs of blocks, every pitch-th of a table; without one, `last`: of the block that lies farthest in.
struct BlockRefs {
    const int64_t* table;
    int64_t n, pitch;
    int64_t last;
};

// A step reads whole rows of blocks of h rows: for row i of its output, `extent` rows from first + i stride
// on, or those of windows[i]. row, pixel: floats from one to the next. floats: of a row that it reads.
struct RowWindows {
    BlockRefs blocks;
    int64_t row, pixel, floats;
    int64_t h, first, stride, extent;
    const int32_t* windows;  // as the field `rows` of pool, or nullptr
    bool besides;            // whether it reads the blocks in another way too
};

// A step reads the floats from `least` to `most` after the Ref `base` for its first output; for the n outputs
// of a row those `pixel` apart, for the next row those `run` further.
struct RowPoints {
    int64_t base, least, most;
    int64_t n, pixel, run;
};

// A step writes blocks. row, pixel: floats from one to the next. floats: of a row that it writes.
struct RowsWritten {
    BlockRefs blocks;
    int64_t row, pixel, floats;
};

struct RowAccess {
    const char* problem;  // nullptr where the step can be one of a band
    // Rows of the output, and those of a chunk, which has all of the blocks; where the step knows of no rows,
    // is_pixels, its pixels.
    int64_t made, chunk;
    bool is_pixels;
    bool is_points;  // whether it reads points, or windows
    RowWindows windows;
    RowPoints points;
    RowsWritten written;
    int64_t others[4];  // other Refs that it reads at, such as of weights; 0 for none
};

// What a step says that examine_`op` found sound: bands take nothing of it on trust either.
#define X(name) RowAccess row_access_##name(const void* step, const Memory& memory, int lanes);
ECV_SIMD_OPS(X)
#undef X

inline RowAccess no_rows(const char* problem) {
    RowAccess access = {};
    access.problem = problem;
    return access;
}

// The row_access_`op` of an op that does not go by rows.
#define ECV_NO_ROWS(op)                                                      \
    RowAccess row_access_##op(const void*, const Memory&, int) {             \
        return no_rows("a step of it is of an op that does not go by rows"); \
    }

// Of a step with a table of blocks, read and written, that chunk_blocks and chunk_rows cut; its rows are
// those of windows that are left open.
template <typename T>
RowAccess row_access_of(const T& step, const int64_t* blocks, int lanes) {
    if (step.chunk_blocks < step.n_blocks) return no_rows("a chunk of it has not all blocks");
    RowAccess access = {};
    access.made = step.out_h;
    access.chunk = step.chunk_rows;
    access.windows.blocks = {blocks, step.n_blocks, 2, 0};
    access.windows.row = access.windows.floats = step.in_w * lanes;
    access.windows.h = step.in_h;
    access.written.blocks = {blocks + 1, step.n_blocks, 2, 0};
    access.written.row = access.written.floats = step.out_w * lanes;
    access.windows.pixel = access.written.pixel = lanes;
    return access;
}

// Whether map_nd has the operation for these dtypes (values of MapOp and Dtype; any others are not).
bool map_nd_supported(int64_t op, int64_t dtype, int64_t y_dtype);
// Likewise reduce_nd, of a ReduceKind and a Dtype.
bool reduce_nd_supported(int64_t kind, int64_t dtype);

}  // namespace ecv
