// What baseline code knows of a step before it runs: whether its Refs stay inside memory, how many chunks it
// is cut into, and the scratch that a thread needs. Programs may come from files: nothing in a step is taken
// on trust.
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

// Whether map_nd has the operation for these dtypes (values of MapOp and Dtype; any others are not).
bool map_nd_supported(int64_t op, int64_t dtype, int64_t y_dtype);
// Likewise reduce_nd, of a ReduceKind and a Dtype.
bool reduce_nd_supported(int64_t kind, int64_t dtype);

}  // namespace ecv
