#include <atomic>

#include "boxes.h"
#include "rois.h"

namespace ecv {

#define X(name, label) extern const RoiKernels roi_kernels_##name;
ECV_ISA_LIST(X)
#undef X

namespace {

const RoiKernels* const kTables[] = {
#define X(name, label) &roi_kernels_##name,
    ECV_ISA_LIST(X)
#undef X
};

std::atomic<int> active{-1};

}  // namespace

const RoiKernels& roi_kernels() { return *kTables[active.load(std::memory_order_relaxed)]; }

void set_roi_isa(int isa) {
    set_box_isa(isa);
    active.store(isa, std::memory_order_relaxed);
}

int roi_isa() { return active.load(std::memory_order_relaxed); }

}  // namespace ecv
