#include "image.h"

namespace ecv {

const ImageKernels* image_kernels(int isa) {
    static const ImageKernels* (*const tables[])() = {
#define X(name, label) image_kernels_##name,
        ECV_ISA_LIST(X)
#undef X
    };
    return tables[isa]();
}

const char* image_kernel_name(int kernel) {
    static const char* const names[] = {
#define X(name, args) #name,
        ECV_IMAGE_KERNELS(X)
#undef X
    };
    return kernel >= 0 && kernel < static_cast<int>(ImageKernel::count) ? names[kernel] : nullptr;
}

}  // namespace ecv
