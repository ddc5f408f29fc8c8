// Compiled once per ISA; everything but the table is local to this file.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "image.h"
#include "vec.h"

namespace ecv {
namespace {

// Weights of the resampling that only interpolates: sums of 21 bits after the point, to 7.
constexpr int kUnitShift = 13;
constexpr int kUnitReciprocal = 1 << 15;

inline VecI16 blend(VecI16 a, VecI16 b, VecI16 weight) {
    const VecI16 step = i16_mul_round(i16_shift_left<7>(i16_sub(b, a)), weight);
    return i16_add(i16_shift_left<7>(a), step);
}

void s16_blend_rows(const uint8_t* a, const uint8_t* b, int weight, int16_t* out, int n) {
    const VecI16 w = i16_set(weight);
    int i = 0;
    for (; i + kShortLanes <= n; i += kShortLanes)
        i16_store(out + i, blend(i16_from_u8(a + i), i16_from_u8(b + i), w));
    if (i < n)
        i16_store(out + i, blend(i16_from_u8_part(a + i, n - i), i16_from_u8_part(b + i, n - i), w));
}

void s16_average_rows(const uint8_t* row, ptrdiff_t stride, const int16_t* weights, int count, int shift,
                      int reciprocal, int16_t* out, int n) {
    const VecI16 factor = i16_set(reciprocal);
    for (int i = 0; i < n; i += kShortLanes) {
        WideSum sum = wide_zero();
        const int left = n - i;
        for (int j = 0; j < count; j += 2) {
            const uint8_t* a = row + j * stride + i;
            const uint8_t* b = j + 1 < count ? a + stride : a;
            if (left >= kShortLanes)
                sum = wide_add(sum, i16_from_u8(a), i16_from_u8(b), weights + j);
            else
                sum = wide_add(sum, i16_from_u8_part(a, left), i16_from_u8_part(b, left), weights + j);
        }
        i16_store(out + i, u16_mul_high(u16_narrow(sum.low, sum.high, shift), factor));
    }
}

// (v + 64) >> 7: 7 fractional bits to the pixel, rounded half up.
inline VecI16 round_half_up(VecI16 v) { return i16_mul_round(v, i16_set(256)); }

template <int channels, bool interpolates>
inline void resample(const int16_t* row, const int32_t* offset, const int16_t* weights, int pairs,
                     int shift, int reciprocal, uint32_t* out, int n) {
    const VecI16 factor = i16_set(reciprocal);
    const ptrdiff_t plane = static_cast<ptrdiff_t>((n + kRowGroup - 1) / kRowGroup * kRowGroup) * 8;
    const auto narrow = [&](VecI32 a, VecI32 b) {
        if (interpolates) return u16_narrow<kUnitShift + 1>(a, b);
        return u16_mul_high(u16_narrow(a, b, shift), factor);
    };
    for (int i = 0; i < n; i += 4 * kBlocks) {
        VecI32 sum[4] = {i32_set(0), i32_set(0), i32_set(0), i32_set(0)};
        for (int t = 0; t < (interpolates ? 1 : pairs); ++t)
            for (int j = 0; j < 4; ++j) {
                const int first = i + j * kBlocks;
                const VecI16 blocks = blocks_load(row + t * 2 * channels, offset + first);
                sum[j] = blocks_add<channels>(sum[j], blocks, weights + t * plane + first * 8);
            }
        blocks_store(out + i, round_half_up(narrow(sum[0], sum[1])),
                     round_half_up(narrow(sum[2], sum[3])));
    }
}

template <int channels>
inline void resample_pixels(const int16_t* row, const int32_t* offset, const int16_t* weights, int pairs,
                            int shift, int reciprocal, uint32_t* out, int n) {
    if (pairs == 1 && shift == kUnitShift && reciprocal == kUnitReciprocal)
        resample<channels, true>(row, offset, weights, pairs, shift, reciprocal, out, n);
    else
        resample<channels, false>(row, offset, weights, pairs, shift, reciprocal, out, n);
}

void u8x4_resample_c3(const int16_t* row, const int32_t* offset, const int16_t* weights, int pairs,
                      int shift, int reciprocal, uint32_t* out, int n) {
    resample_pixels<3>(row, offset, weights, pairs, shift, reciprocal, out, n);
}

void u8x4_resample_c4(const int16_t* row, const int32_t* offset, const int16_t* weights, int pairs,
                      int shift, int reciprocal, uint32_t* out, int n) {
    resample_pixels<4>(row, offset, weights, pairs, shift, reciprocal, out, n);
}

void u8x4_resample_c1(const int16_t* row, const int32_t* offset, const int16_t* weights, int pairs,
                      int shift, int reciprocal, uint32_t* out, int n) {
    const VecI16 factor = i16_set(reciprocal);
    const ptrdiff_t plane = static_cast<ptrdiff_t>((n + kRowGroup - 1) / kRowGroup * kRowGroup) * 2;
    for (int i = 0; i < n; i += kIntLanes) {
        VecI32 sum = i32_set(0);
        for (int t = 0; t < pairs; ++t) {
            const VecI16 w = i16_from_bits(i32_load(weights + t * plane + i * 2));
            sum = i32_add(sum, i32_mul_pairs(i16_load_pairs(row + t * 2, offset + i), w));
        }
        const VecI16 value = u16_mul_high(i16_from_bits(u32_shift_right(sum, shift)), factor);
        i16_store(reinterpret_cast<int16_t*>(out + i), round_half_up(value));
    }
}

void u8x4_to_gray(const int* weights, uint32_t* pixels, int n) {
    const VecI16 even = i16_from_bits(i32_set(weights[0] | weights[2] << 16));
    const VecI16 odd = i16_from_bits(i32_set(weights[1] | weights[3] << 16));
    const VecI32 mask = i32_set(0x00ff00ff);
    for (int i = 0; i < n; i += kIntLanes) {
        const VecI32 pixel = i32_load(pixels + i);
        const VecI16 bytes02 = i16_from_bits(i32_and(pixel, mask));
        const VecI16 bytes13 = i16_from_bits(i32_and(u32_shift_right<8>(pixel), mask));
        const VecI32 sum = i32_add(i32_mul_pairs(bytes02, even), i32_mul_pairs(bytes13, odd));
        i32_store(pixels + i, u32_shift_right<15>(i32_add(sum, i32_set(1 << 14))));
    }
}

// A byte is left where it is, and the float is 256^byte times too large: powers of two change no rounding,
// so that mean and scale can take them along. Only the highest byte is moved, off the sign.
template <int byte, bool centers>
inline void plane_of_floats(const uint32_t* pixels, float mean, float scale, float* out, int n) {
    constexpr int power = byte == 3 ? 1 : 1 << (8 * byte);
    const VecF m = f_set(mean * power), s = f_set(scale / power);
    const auto value = [&](int i) {
        const VecI32 pixel = i32_load(pixels + i);
        const VecF f = f_from_i32(byte == 3 ? u32_shift_right<24>(pixel) : i32_and(pixel, i32_set(255 * power)));
        return f_mul(centers ? f_sub(f, m) : f, s);
    };
    int i = 0;
    for (; i + kFloatLanes <= n; i += kFloatLanes) f_store(out + i, value(i));
    if (i < n) {
        float last[kFloatLanes];
        f_store(last, value(i));
        memcpy(out + i, last, static_cast<size_t>(n - i) * sizeof(float));
    }
}

template <int byte>
inline void plane_of_floats(const uint32_t* pixels, float mean, float scale, float* out, int n) {
    if (mean == 0)
        plane_of_floats<byte, false>(pixels, mean, scale, out, n);
    else
        plane_of_floats<byte, true>(pixels, mean, scale, out, n);
}

void f32_plane(const uint32_t* pixels, int byte, float mean, float scale, float* out, int n) {
    switch (byte) {
        case 0: return plane_of_floats<0>(pixels, mean, scale, out, n);
        case 1: return plane_of_floats<1>(pixels, mean, scale, out, n);
        case 2: return plane_of_floats<2>(pixels, mean, scale, out, n);
        default: return plane_of_floats<3>(pixels, mean, scale, out, n);
    }
}

template <int byte>
inline VecI32 byte_of(const uint32_t* pixels) {
    return i32_and(u32_shift_right<8 * byte>(i32_load(pixels)), i32_set(0xff));
}

template <int byte>
inline void plane_of_bytes(const uint32_t* pixels, uint8_t* out, int n) {
    constexpr int step = 4 * kIntLanes;
    const auto store = [&](uint8_t* to, const uint32_t* from) {
        u8_store(to, byte_of<byte>(from), byte_of<byte>(from + kIntLanes),
                 byte_of<byte>(from + 2 * kIntLanes), byte_of<byte>(from + 3 * kIntLanes));
    };
    int i = 0;
    for (; i + step <= n; i += step) store(out + i, pixels + i);
    if (i < n) {
        uint8_t last[step];
        store(last, pixels + i);
        memcpy(out + i, last, static_cast<size_t>(n - i));
    }
}

void u8_plane(const uint32_t* pixels, int byte, uint8_t* out, int n) {
    switch (byte) {
        case 0: return plane_of_bytes<0>(pixels, out, n);
        case 1: return plane_of_bytes<1>(pixels, out, n);
        case 2: return plane_of_bytes<2>(pixels, out, n);
        default: return plane_of_bytes<3>(pixels, out, n);
    }
}

void f32_fill(float value, float* out, size_t n) {
    const VecF v = f_set(value);
    size_t i = 0;
    for (; i + kFloatLanes <= n; i += kFloatLanes) f_store(out + i, v);
    for (; i < n; ++i) out[i] = value;
}

void memory_floor(const uint8_t* in, size_t in_bytes, uint8_t* out, size_t out_bytes) {
    constexpr size_t step = kIntLanes * sizeof(int32_t);
    constexpr size_t chunk = 4096;
    VecI32 seen = i32_set(0);
    size_t read = 0, written = 0;
    // Reads and writes take turns in proportion, as in a pass over an image.
    while (written < out_bytes) {
        const bool last = out_bytes - written <= chunk;
        const size_t write_end = last ? out_bytes : written + chunk;
        const size_t read_end =
            last ? in_bytes : static_cast<size_t>(static_cast<double>(in_bytes) * write_end / out_bytes);
        for (; read + step <= read_end; read += step) seen = i32_or(seen, i32_load(in + read));
        for (; last && read < in_bytes; ++read) seen = i32_or(seen, i32_set(in[read] * 0x01010101));
        for (; written + step <= write_end; written += step) i32_store(out + written, seen);
        if (last && written < out_bytes) {
            uint8_t rest[step];
            i32_store(rest, seen);
            memcpy(out + written, rest, out_bytes - written);
            written = out_bytes;
        }
    }
}

const ImageKernels kTable = {
#define X(name, args) name,
    ECV_IMAGE_KERNELS(X)
#undef X
};

}  // namespace

const ImageKernels* ECV_EXPORT(image_kernels)() { return &kTable; }

}  // namespace ecv
