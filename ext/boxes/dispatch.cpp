#include <atomic>

#include "boxes.h"

namespace ecv {

#define X(name, label) extern const BoxKernels box_kernels_##name;
ECV_ISA_LIST(X)
#undef X

namespace {

const BoxKernels* const kTables[] = {
#define X(name, label) &box_kernels_##name,
    ECV_ISA_LIST(X)
#undef X
};

std::atomic<int> active{-1};

}  // namespace

const BoxKernels& box_kernels() { return *kTables[active.load(std::memory_order_relaxed)]; }

void set_box_isa(int isa) { active.store(isa, std::memory_order_relaxed); }

int box_isa() { return active.load(std::memory_order_relaxed); }

}  // namespace ecv
