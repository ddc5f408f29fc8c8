from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int16_t, uint8_t

cdef extern from "image.h" namespace "ecv" nogil:
    cdef struct ImageKernels:
        void (*memory_floor)(const uint8_t*, size_t, uint8_t*, size_t) noexcept nogil
    const int kYuvSlack
    cdef enum class FrameFormat(int):
        pixels
        gray16
        nv12
        i420
        yuyv
        uyvy
    cdef struct YuvRule:
        int16_t y, bias, b_of_u, g_of_u, g_of_v, r_of_v
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
        FrameFormat format
        ptrdiff_t chroma_stride[2]
        YuvRule rule
        int resized_w, resized_h, blob_w, blob_h, offset_x, offset_y
        Interpolation interpolation
        int blob_channels
        int source[4]
        bint to_gray, as_float, channels_last
        float pad[4]
        float mean[4]
        float scale[4]
    cdef struct FramePlanes:
        const uint8_t* at[3]
    # Opaque, and named apart from the class that owns it.
    ctypedef struct NativePlan "ecv::Plan":
        pass
    NativePlan* plan_create(const PlanSpec& spec)
    void plan_free(NativePlan* plan)
    void plan_run(NativePlan* plan, const ImageKernels& kernels, const FramePlanes& frame, void* out)
    void yuv_to_bgr(
        const PlanSpec& spec, const ImageKernels& kernels, const FramePlanes& frame, uint8_t* scratch, uint8_t* out
    )
    size_t plan_bytes(const NativePlan* plan)
    unsigned plan_kernels(const NativePlan* plan)
