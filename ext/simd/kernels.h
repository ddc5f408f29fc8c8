// The kernels of every step: what each kernel file exports, and what baseline code has in place of one.
//
// Plain structs only: this header is compiled once per ISA, so it defines no function.
#pragma once

#include "ops.h"

namespace ecv {

// The table of each kernel file.
struct ConvKernels {
    Kernel conv;
};
struct DepthwiseKernels {
    Kernel depthwise;
};
struct PoolKernels {
    Kernel pool, spatial;
};
struct ResizeKernels {
    Kernel resize;
};
struct MapKernels {
    Kernel map;
};
struct PlanesKernels {
    Kernel planes;
};
struct CopyKernels {
    Kernel copy;
};
struct MapNdKernels {
    Kernel map_nd;
};
struct ReduceNdKernels {
    Kernel reduce_nd, softmax_nd;
};
struct SamplingKernels {
    Kernel sample, roi_pool;
};

// X(type, table, isa): a kernel file exports `table`_`isa`.
#define ECV_SIMD_TABLES(X, isa)                 \
    X(ConvKernels, conv_kernels, isa)           \
    X(DepthwiseKernels, depthwise_kernels, isa) \
    X(PoolKernels, pool_kernels, isa)           \
    X(ResizeKernels, resize_kernels, isa)       \
    X(MapKernels, map_kernels, isa)             \
    X(PlanesKernels, planes_kernels, isa)       \
    X(CopyKernels, copy_kernels, isa)           \
    X(MapNdKernels, map_nd_kernels, isa)        \
    X(ReduceNdKernels, reduce_nd_kernels, isa)  \
    X(SamplingKernels, sampling_kernels, isa)

// X(op, table, isa): the table that has an op's kernel.
#define ECV_SIMD_TABLE_OPS(X, isa)        \
    X(conv, conv_kernels, isa)            \
    X(depthwise, depthwise_kernels, isa)  \
    X(pool, pool_kernels, isa)            \
    X(spatial, pool_kernels, isa)         \
    X(resize, resize_kernels, isa)        \
    X(map, map_kernels, isa)              \
    X(planes, planes_kernels, isa)        \
    X(copy, copy_kernels, isa)            \
    X(map_nd, map_nd_kernels, isa)        \
    X(reduce_nd, reduce_nd_kernels, isa)  \
    X(softmax_nd, reduce_nd_kernels, isa) \
    X(sample, sampling_kernels, isa)      \
    X(roi_pool, sampling_kernels, isa)

// X(op): ops that baseline code runs on every ISA, as run_`op`.
#define ECV_SIMD_BASELINE_OPS(X) \
    X(gather_nd)                 \
    X(scatter_nd)                \
    X(topk)                      \
    X(nms)                       \
    X(nonzero)                   \
    X(unpool)                    \
    X(lrn)                       \
    X(cumsum)                    \
    X(pool_indices)

#define ECV_DECLARE(type, table, isa) extern const type table##_##isa;
#define X(isa, label) ECV_SIMD_TABLES(ECV_DECLARE, isa)
ECV_ISA_LIST(X)
#undef X
#undef ECV_DECLARE

#define X(op) StepStatus run_##op(const void* step, const Memory& memory, int64_t chunk, char* scratch);
ECV_SIMD_BASELINE_OPS(X)
#undef X

// The kernels of an ISA, by its index.
SimdKernels simd_kernels(int isa);

// Lanes of float32 of an ISA: those of the blocked storage that its kernels work on.
int simd_lanes(int isa);

}  // namespace ecv
