// Walks over strided operands. Baseline code finds the axes, packs what is not contiguous and calls runs:
// loops over contiguous elements, those of float32 compiled once per ISA.
//
// Plain structs and declarations only: this header is compiled once per ISA.
#pragma once

#include "ops.h"

namespace ecv {

// ---- Runs

struct RunOptions {
    Activation activation;
    float alpha, beta;
};

// y[i] = f(a[i], b[i], c[i]) of n elements; those that f does not take are not read. y may be one of them.
using MapRun = StepStatus (*)(const void* a, const void* b, const void* c, void* y, size_t n,
                              const RunOptions& options);

#define X(name) +1
constexpr int kMapOps = ECV_MAP_OPS(X);
#undef X

// Of an ISA, float32, in the order of MapOp; nullptr where baseline code has the only one.
struct MapRuns {
    MapRun of[kMapOps];
};

// out[j][i] = in[i][j] of 4-byte elements; strides in elements, from row to row.
using Transpose = void (*)(const float* in, ptrdiff_t in_stride, size_t rows, size_t columns, float* out,
                           ptrdiff_t out_stride);

// What a reduction adds up.
enum class Fold : int { sum, absolute, square, product, max, min, exp };

// Runs of float32 of an ISA. Results do not depend on how a walk is cut into runs of columns. max and min:
// NaN where an element is.
//
// fold: of n elements, n > 0; sums of several lanes, in one order for each n. exp: of e^(x[i] - offset).
// accumulate: sums[i] = sums[i] and x[i]; exp: of e^(x[i] - offset[i]).
// exponentials: y[i] = e^(x[i] - offset); their sum.
// column_exponentials: y[i] = e^(x[i] - offset[i]), sums[i] += y[i].
// transpose: as Transpose.
// scale: y[i] *= factor. shift: y[i] = x[i] - offset. y may be x.
#define ECV_ROW_RUNS(X)                                                                                  \
    X(float, fold, (Fold kind, const float* x, size_t n, float offset))                                  \
    X(void, accumulate, (Fold kind, float* sums, const float* x, const float* offset, size_t n))         \
    X(float, exponentials, (const float* x, float offset, float* y, size_t n))                           \
    X(void, column_exponentials, (const float* x, const float* offset, float* y, float* sums, size_t n)) \
    X(void, scale, (float* y, float factor, size_t n))                                                   \
    X(void, column_scale, (float* y, const float* factor, size_t n))                                     \
    X(void, shift, (const float* x, float offset, float* y, size_t n))                                   \
    X(void, column_shift, (const float* x, const float* offset, float* y, size_t n))                     \
    X(void, transpose,                                                                                   \
      (const float* in, ptrdiff_t in_stride, size_t rows, size_t columns, float* out, ptrdiff_t out_stride))

struct RowRuns {
#define X(result, name, parameters) result(*name) parameters;
    ECV_ROW_RUNS(X)
#undef X
};

// ---- Steps, with the runs of an ISA

StepStatus copy_strided(const CopyStep& step, const Memory& memory, int64_t chunk, Transpose transpose);
StepStatus map_strided(const MapNdStep& step, const Memory& memory, int64_t chunk, char* scratch,
                       const MapRuns& runs);
StepStatus reduce_strided(const ReduceNdStep& step, const Memory& memory, int64_t chunk, char* scratch,
                          const RowRuns& runs);
StepStatus softmax_strided(const SoftmaxNdStep& step, const Memory& memory, int64_t chunk, char* scratch,
                           const RowRuns& runs);

constexpr int64_t kMapScratch = 8 * 4096;
constexpr int64_t kReduceScratch = 2 * 4096;
constexpr int64_t kSoftmaxScratch = 4 * 2048 + 32 * 512;

}  // namespace ecv
