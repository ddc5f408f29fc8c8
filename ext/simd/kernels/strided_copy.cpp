// Copies of strided elements: the transposition of those of 4 bytes; walks over operands are baseline code.
#include "kernels.h"
#include "strided.h"
#include "transpose.h"

namespace {

using namespace ecv;

StepStatus copy(const void* step, const Memory& memory, int64_t chunk, char*) {
    return copy_strided(*static_cast<const CopyStep*>(step), memory, chunk, transpose);
}

}  // namespace

namespace ecv {

extern const CopyKernels ECV_EXPORT(copy_kernels) = {copy};

}  // namespace ecv
