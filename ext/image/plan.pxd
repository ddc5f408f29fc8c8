from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint8_t

cdef extern from "image.h" namespace "ecv" nogil:
    cdef struct ImageKernels:
        void (*memory_floor)(const uint8_t*, size_t, uint8_t*, size_t) noexcept nogil
    const ImageKernels* image_kernels(int isa)
    const char* image_kernel_name(int kernel)

cdef extern from "plan.h" namespace "ecv" nogil:
    const int kMaxSide
    const int kMaxChannels
    cdef enum class Interpolation(int):
        nearest
        linear
        area
    cdef struct PlanSpec:
        int frame_w, frame_h, channels
        ptrdiff_t row_stride, pixel_stride, channel_stride
        int resized_w, resized_h, blob_w, blob_h, offset_x, offset_y
        Interpolation interpolation
        int blob_channels
        int source[4]
        bint to_gray, as_float, channels_last
        float pad[4]
        float mean[4]
        float scale[4]
    # Opaque, and named apart from the class that owns it.
    ctypedef struct NativePlan "ecv::Plan":
        pass
    NativePlan* plan_create(const PlanSpec& spec)
    void plan_free(NativePlan* plan)
    void plan_run(NativePlan* plan, const ImageKernels& kernels, const uint8_t* frame, void* out)
    size_t plan_bytes(const NativePlan* plan)
    unsigned plan_kernels(const NativePlan* plan)
