// The plan of one frame geometry and one blob: tables and scratch, allocated once.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "image.h"

namespace ecv {

constexpr int kMaxSide = 32767;
constexpr int kMaxChannels = 4;

enum class Interpolation : int { nearest, linear, area };

// Sizes in pixels, 1 to kMaxSide, but for the resized size of a crop, which may exceed it; strides in
// bytes; channels 1, 3 or 4. The resized frame lies inside the blob along an axis, or covers it.
// format: gray16 has one channel and makes a float blob of one; YUV has sides of whole pairs of pixels, bytes
// side by side, `row_stride` of y, `chroma_stride` of u and v, and is made by `rule` into 3 channels, b, g
// and r, or 1, its luma. source: the frame's channel of each channel of the blob; with to_gray, where its b,
// g and r are. channels_last: the channels of a pixel lie side by side; there are 3 or 4.
struct PlanSpec {
    int frame_w, frame_h, channels;
    ptrdiff_t row_stride, pixel_stride, channel_stride;
    FrameFormat format;
    ptrdiff_t chroma_stride[2];
    YuvRule rule;
    int resized_w, resized_h, blob_w, blob_h, offset_x, offset_y;
    Interpolation interpolation;
    int blob_channels;
    int source[kMaxChannels];
    bool to_gray, as_float, channels_last;
    float pad[kMaxChannels], mean[kMaxChannels], scale[kMaxChannels];
};

struct Plan;

// Null when memory is short.
Plan* plan_create(const PlanSpec& spec);
void plan_free(Plan* plan);

// Where the rows of y, u and v begin; of other formats the first one is pixel (0, 0), channel 0.
struct FramePlanes {
    const uint8_t* at[3];
};

// out: the blob, of float or uint8_t, channel by channel or pixel by pixel.
void plan_run(Plan* plan, const ImageKernels& kernels, const FramePlanes& frame, void* out);

// A row of a YUV frame from an even column on.
YuvRow yuv_row(const PlanSpec& spec, const FramePlanes& frame, int y, int column);

// Pixels b, g, r of a YUV frame of these sizes, side by side; only what describes the frame is read.
// scratch: of 3 frame_w + kYuvSlack bytes.
void yuv_to_bgr(const PlanSpec& spec, const ImageKernels& kernels, const FramePlanes& frame, uint8_t* scratch,
                uint8_t* out);

// Bytes that the plan holds.
size_t plan_bytes(const Plan* plan);

// Bit i: the plan calls kernel i of the list.
unsigned plan_kernels(const Plan* plan);

}  // namespace ecv
