#include "kernels.h"

namespace ecv {
namespace {

constexpr int kLanes[] = {
#if defined(__x86_64__)
    4,
    8,
    16,  // in the order of ECV_ISA_LIST
#else
    4,
#endif
};
static_assert(sizeof kLanes / sizeof kLanes[0] == kIsaCount, "lanes for each ISA");

}  // namespace

int simd_lanes(int isa) { return kLanes[isa]; }

SimdKernels simd_kernels(int isa) {
    SimdKernels kernels = {};
#define X(op) kernels.op = run_##op;
    ECV_SIMD_BASELINE_OPS(X)
#undef X
#define ECV_TAKE(op, table, isa) kernels.op = table##_##isa.op;
    switch (static_cast<Isa>(isa)) {
#define X(name, label)                     \
    case Isa::name:                        \
        ECV_SIMD_TABLE_OPS(ECV_TAKE, name) \
        break;
        ECV_ISA_LIST(X)
#undef X
        case Isa::count:
            break;
    }
#undef ECV_TAKE
    return kernels;
}

}  // namespace ecv
