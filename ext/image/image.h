// The kernels of preprocessing: one list feeds their declarations, the table of each ISA and the names
// that tests see. `edgecv/image_reference.py` defines the arithmetic.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

namespace ecv {

// Rows that kernels write as int16_t or uint32_t have room for so many elements beyond the last one.
constexpr int kRowSlack = 64;
// Rows of bytes that are made of YUV have room for so many.
constexpr int kYuvSlack = 3 * 64;
// Pixels of a resampled row, and blocks, are computed in groups of so many; tables are padded to whole ones.
constexpr int kRowGroup = 16;

// A block is 4 pairs of bytes, each a channel of a pixel and of its right neighbor: of one pixel, or of 4
// gray ones. Block i takes the bytes order[i] of the 16 from window[i / 2] on, and sums its pairs by
// weights[i].
struct BlockTable {
    const int32_t* window;
    const uint8_t* order;    // 16 a block: for each byte of a pair 128, which makes a zero, and the byte
    const int16_t* weights;  // 8 a block
};

// How pixels become values channel by channel, in groups of as many pixels as an ISA has lanes: windows of 16
// bytes from a group's first pixel on, 4 bytes a value as `i32_pick` takes them, and a mean and a scale a
// value.
struct Interleave {
    int32_t window[16];
    uint8_t order[256];
    float mean[64], scale[64];
};

// What the rows of a frame hold: pixels of 1, 3 or 4 channels; shorts; or YUV, by its names in V4L2.
enum class FrameFormat : int { pixels, gray16, nv12, i420, yuyv, uyvy };

// A row of YUV, from an even pixel on. u: of nv12 the pairs; of yuyv and uyvy unused, and y all there is.
struct YuvRow {
    FrameFormat format;
    const uint8_t *y, *u, *v;
};

// A channel is (sum + bias) >> 6, held to 0..255: of y alone for a luma, of y, u and v for b, g and r. Each
// term is ((sample - 128) weight + 64) >> 7; sums saturate at 16 bits, beyond what 0..255 needs.
struct YuvRule {
    int16_t y, bias, b_of_u, g_of_u, g_of_v, r_of_v;
};

// A row of u8x4 pixels holds one uint32_t a pixel, with the frame's channels in its low bytes. A row of
// s16 values has 7 fractional bits.
//
// s16_blend_rows: out = (a weight_a >> 8) + (b weight_b >> 8); weights add up to 2^15, and both are less.
// u8x4_blend_blocks, u8x4_blend_gray: the same rows to the pixels of n blocks.
// s16_average_rows: out = the average of `count` rows, `stride` bytes apart; count + 1 weights, the
//     last one 0, if count is odd.
// u8x4_resample_*: out[i] = the pixel that is the sum of row[offset[i] + j channels] weights, j < 2
//     pairs, >> shift, times reciprocal >> 16. Weights come as [pairs][n, in whole groups]
//     [pair (w0, w1): once for c1, four times for c3 and c4].
// u8x3_of_yuv: n pixels b, g, r; n is even. u8_of_luma: n pixels of y alone.
// u8x4_to_gray: replaces each pixel by the sum of its four bytes times weights of 15 bits, rounded.
// f32_plane: out = (byte - mean) scale. u8_plane: out = byte. f32_fill: out = value.
// interleave: the table for 3 or 4 channels, each a byte of a pixel with a mean and a scale. f32_pixels: out
// =
//     (byte - mean) scale, of n pixels, the channels of a pixel side by side. u8_pixels: out = byte, so too.
// memory_floor: reads all of `in`, writes all of `out`, and does nothing else with either.
#define ECV_IMAGE_KERNELS(X)                                                                                 \
    X(s16_blend_rows, (const uint8_t* a, const uint8_t* b, int weight_a, int weight_b, int16_t* out, int n)) \
    X(u8x4_blend_blocks, (const uint8_t* a, const uint8_t* b, int weight_a, int weight_b,                    \
                          const BlockTable& table, uint32_t* out, int n))                                    \
    X(u8x4_blend_gray, (const uint8_t* a, const uint8_t* b, int weight_a, int weight_b,                      \
                        const BlockTable& table, uint32_t* out, int n))                                      \
    X(s16_average_rows, (const uint8_t* row, ptrdiff_t stride, const int16_t* weights, int count, int shift, \
                         int reciprocal, int16_t* out, int n))                                               \
    X(u8x4_resample_c1, (const int16_t* row, const int32_t* offset, const int16_t* weights, int pairs,       \
                         int shift, int reciprocal, uint32_t* out, int n))                                   \
    X(u8x4_resample_c3, (const int16_t* row, const int32_t* offset, const int16_t* weights, int pairs,       \
                         int shift, int reciprocal, uint32_t* out, int n))                                   \
    X(u8x4_resample_c4, (const int16_t* row, const int32_t* offset, const int16_t* weights, int pairs,       \
                         int shift, int reciprocal, uint32_t* out, int n))                                   \
    X(u8x3_of_yuv, (const YuvRow& row, const YuvRule& rule, uint8_t* out, int n))                            \
    X(u8_of_luma, (const YuvRow& row, const YuvRule& rule, uint8_t* out, int n))                             \
    X(u8x4_to_gray, (const int* weights, uint32_t* pixels, int n))                                           \
    X(f32_plane, (const uint32_t* pixels, int byte, float mean, float scale, float* out, int n))             \
    X(u8_plane, (const uint32_t* pixels, int byte, uint8_t* out, int n))                                     \
    X(f32_fill, (float value, float* out, size_t n))                                                         \
    X(interleave,                                                                                            \
      (const int* bytes, const float* mean, const float* scale, int channels, Interleave& table))            \
    X(f32_pixels, (const uint32_t* pixels, const Interleave& table, int channels, float* out, int n))        \
    X(u8_pixels, (const uint32_t* pixels, const Interleave& table, int channels, uint8_t* out, int n))       \
    X(memory_floor, (const uint8_t* in, size_t in_bytes, uint8_t* out, size_t out_bytes))

struct ImageKernels {
#define X(name, args) void(*name) args;
    ECV_IMAGE_KERNELS(X)
#undef X
};

enum class ImageKernel : int {
#define X(name, args) name,
    ECV_IMAGE_KERNELS(X)
#undef X
        count
};

#define X(name, label) const ImageKernels* image_kernels_##name();
ECV_ISA_LIST(X)
#undef X

// The kernels of an ISA, by its index.
const ImageKernels* image_kernels(int isa);

// Name of a kernel, by its index in the list; null beyond the list.
const char* image_kernel_name(int kernel);

}  // namespace ecv
