#include "isa_facts.h"
#include "kernels.h"

namespace ecv {

int simd_lanes(int isa) {
    switch (static_cast<Isa>(isa)) {
#define X(name, label) \
    case Isa::name:    \
        return facts_##name.lanes;
        ECV_ISA_LIST(X)
#undef X
        case Isa::count:
            break;
    }
    return 0;
}

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
