// Compiled once per ISA; everything but the table is local to this file.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "image.h"
#include "vec.h"

namespace ecv {
namespace {

// The scaling of sums whose weights only interpolate: 21 fractional bits to 7.
constexpr int kUnitShift = 13;
constexpr int kUnitReciprocal = 1 << 15;

// The last, incomplete vector of a row, without reading beyond it.
struct RowEnd {
    uint8_t bytes[kShortLanes] = {0};

    RowEnd(const uint8_t* row, int n) { memcpy(bytes, row, static_cast<size_t>(n)); }
};

void s16_blend_rows(const uint8_t* a, const uint8_t* b, int weight_a, int weight_b, int16_t* out, int n) {
    const VecI16 wa = i16_set(weight_a), wb = i16_set(weight_b);
    const auto blend = [&](const uint8_t* pa, const uint8_t* pb) {
        return mix(mix_load(pa), wa, mix_load(pb), wb);
    };
    int i = 0;
    for (; i + kShortLanes <= n; i += kShortLanes) i16_store(out + i, blend(a + i, b + i));
    if (i < n) i16_store(out + i, blend(RowEnd(a + i, n - i).bytes, RowEnd(b + i, n - i).bytes));
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
                sum = wide_add(sum, i16_from_u8(RowEnd(a, left).bytes), i16_from_u8(RowEnd(b, left).bytes),
                               weights + j);
        }
        i16_store(out + i, u16_mul_high(u16_narrow(sum.low, sum.high, shift), factor));
    }
}

// (v + 64) >> 7: 7 fractional bits to the pixel, rounded half up.
inline VecI16 round_half_up(VecI16 v) { return i16_mul_round(v, i16_set(256)); }

// Two source rows and the tables of a blend, by value: the compiler need not fear the stores to `out`.
struct BlockBlend {
    const uint8_t *a, *b;
    VecI16 weight_a, weight_b;
    BlockTable table;

    // The sums of kBlocks blocks from block i on.
    VecI32 sums(ptrdiff_t i) const {
        const int32_t* window = table.window + i / 2;
        const VecI32 order = i32_load(table.order + i * 16);
        const VecI16 values = mix(mix_pick(a, window, order), weight_a, mix_pick(b, window, order), weight_b);
        return i32_mul_pairs(values, i16_load(table.weights + i * 8));
    }
};

void u8x4_blend_blocks(const uint8_t* a, const uint8_t* b, int weight_a, int weight_b,
                       const BlockTable& table, uint32_t* out, int n) {
    const BlockBlend blend = {a, b, i16_set(weight_a), i16_set(weight_b), table};
    const auto pixels = [&](ptrdiff_t i) {
        const VecI32 low = blend.sums(i), high = blend.sums(i + kBlocks);
        return round_half_up(u16_narrow<kUnitShift + 1>(low, high));
    };
    for (ptrdiff_t i = 0; i < n; i += 4 * kBlocks) blocks_store(out + i, pixels(i), pixels(i + 2 * kBlocks));
}

void u8x4_blend_gray(const uint8_t* a, const uint8_t* b, int weight_a, int weight_b, const BlockTable& table,
                     uint32_t* out, int n) {
    const BlockBlend blend = {a, b, i16_set(weight_a), i16_set(weight_b), table};
    const VecI32 half = i32_set(1 << (kUnitShift + 7));
    for (ptrdiff_t i = 0; i < n; i += kBlocks)
        i32_store(out + i * 4, u32_shift_right<kUnitShift + 8>(i32_add(blend.sums(i), half)));
}

template <int channels, bool interpolates>
inline void resample(const int16_t* row, const int32_t* offset, const int16_t* weights, int pairs, int shift,
                     int reciprocal, uint32_t* out, int n) {
    const VecI16 factor = i16_set(reciprocal);
    const ptrdiff_t plane = static_cast<ptrdiff_t>((n + kRowGroup - 1) / kRowGroup * kRowGroup) * 8;
    const auto scaled = [&](VecI32 a, VecI32 b) {
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
        blocks_store(out + i, round_half_up(scaled(sum[0], sum[1])), round_half_up(scaled(sum[2], sum[3])));
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

void u8x4_resample_c3(const int16_t* row, const int32_t* offset, const int16_t* weights, int pairs, int shift,
                      int reciprocal, uint32_t* out, int n) {
    resample_pixels<3>(row, offset, weights, pairs, shift, reciprocal, out, n);
}

void u8x4_resample_c4(const int16_t* row, const int32_t* offset, const int16_t* weights, int pairs, int shift,
                      int reciprocal, uint32_t* out, int n) {
    resample_pixels<4>(row, offset, weights, pairs, shift, reciprocal, out, n);
}

void u8x4_resample_c1(const int16_t* row, const int32_t* offset, const int16_t* weights, int pairs, int shift,
                      int reciprocal, uint32_t* out, int n) {
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

// As many pixels as a vector has bytes: lumas, and the u and v of each pair, as u8_join() takes them.
constexpr int kYuvStep = 4 * kIntLanes;
struct YuvHalves {
    VecI16 y_low, y_high, uv_low, uv_high;
};

// Less 128: signed.
inline VecI32 centered(VecI32 bytes) { return i32_xor(bytes, i32_set(static_cast<int>(0x80808080u))); }
inline VecI16 centered_low_bytes(VecI16 shorts) {
    return i16_from_bits(
        i32_xor(i32_from_bits(i16_shift_left<8>(shorts)), i32_set(static_cast<int>(0x80008000u))));
}
inline VecI16 centered_high_bytes(VecI16 shorts) {
    const VecI32 high = i32_and(i32_from_bits(shorts), i32_set(static_cast<int>(0xff00ff00u)));
    return i16_from_bits(i32_xor(high, i32_set(static_cast<int>(0x80008000u))));
}

template <FrameFormat format>
inline YuvHalves yuv_load(const YuvRow& row, ptrdiff_t i) {
    if (format == FrameFormat::yuyv || format == FrameFormat::uyvy) {
        const VecI16 low = i16_load_alternate(row.y + 2 * i), high = i16_load_alternate(row.y + 2 * i + 16);
        if (format == FrameFormat::yuyv)
            return {centered_low_bytes(low), centered_low_bytes(high), centered_high_bytes(low),
                    centered_high_bytes(high)};
        return {centered_high_bytes(low), centered_high_bytes(high), centered_low_bytes(low),
                centered_low_bytes(high)};
    }
    const VecI32 y = centered(i32_load(row.y + i));
    const VecI32 uv = centered(format == FrameFormat::nv12 ? i32_load(row.u + i)
                                                           : u8_interleave(row.u + i / 2, row.v + i / 2));
    return {high_of_low(y), high_of_high(y), high_of_low(uv), high_of_high(uv)};
}

// The last pixels of a row, in memory that a whole step may be read from.
template <FrameFormat format>
struct YuvRowEnd {
    uint8_t y[2 * kYuvStep] = {0}, u[kYuvStep] = {0}, v[kYuvStep] = {0};

    YuvRowEnd(const YuvRow& row, ptrdiff_t i, int n) {
        const size_t pixels = static_cast<size_t>(n);
        if (format == FrameFormat::yuyv || format == FrameFormat::uyvy) {
            memcpy(y, row.y + 2 * i, 2 * pixels);
            return;
        }
        memcpy(y, row.y + i, pixels);
        if (format == FrameFormat::nv12) {
            memcpy(u, row.u + i, pixels);
        } else {
            memcpy(u, row.u + i / 2, pixels / 2);
            memcpy(v, row.v + i / 2, pixels / 2);
        }
    }
    YuvHalves load() const { return yuv_load<format>({format, y, u, v}, 0); }
};

// Calls step(halves, first pixel) for each kYuvStep pixels, the last of which may lie beyond n.
template <FrameFormat format, typename Step>
inline void for_yuv(const YuvRow& row, int n, const Step& step) {
    ptrdiff_t i = 0;
    for (; i + kYuvStep <= n; i += kYuvStep) step(yuv_load<format>(row, i), i);
    if (i < n) step(YuvRowEnd<format>(row, i, static_cast<int>(n - i)).load(), i);
}

template <typename Step>
inline void for_yuv(const YuvRow& row, int n, const Step& step) {
    switch (row.format) {
        case FrameFormat::nv12:
            return for_yuv<FrameFormat::nv12>(row, n, step);
        case FrameFormat::i420:
            return for_yuv<FrameFormat::i420>(row, n, step);
        case FrameFormat::yuyv:
            return for_yuv<FrameFormat::yuyv>(row, n, step);
        default:
            return for_yuv<FrameFormat::uyvy>(row, n, step);
    }
}

inline VecI16 pair_set(int first, int second) {
    return i16_from_bits(i32_set(static_cast<int>((first & 0xffff) | static_cast<uint32_t>(second) << 16)));
}

void u8x3_of_yuv(const YuvRow& row, const YuvRule& rule, uint8_t* out, int n) {
    struct Channels {
        VecI16 b, g, r;
    };
    const VecI16 y_weight = i16_set(rule.y), bias = i16_set(rule.bias);
    const VecI16 edges = pair_set(rule.b_of_u, rule.r_of_v), middle = pair_set(rule.g_of_u, rule.g_of_v);
    const auto channels = [&](VecI16 y, VecI16 uv) {
        const VecI16 luma = i16_add(i16_mul_round(y, y_weight), bias);
        const VecI16 of_edges = i16_mul_round(uv, edges), of_middle = i16_mul_round(uv, middle);
        return Channels{
            i16_add(luma, i16_first_of_pairs(of_edges)),
            i16_add(luma, i16_add(of_middle, i16_swap_pairs(of_middle))),
            i16_add(luma, i16_second_of_pairs(of_edges)),
        };
    };
    for_yuv(row, n, [&](const YuvHalves& of, ptrdiff_t i) {
        const Channels low = channels(of.y_low, of.uv_low), high = channels(of.y_high, of.uv_high);
        u8_store_triples(out + 3 * i, u8_join<6>(low.b, high.b), u8_join<6>(low.g, high.g),
                         u8_join<6>(low.r, high.r));
    });
}

void u8_of_luma(const YuvRow& row, const YuvRule& rule, uint8_t* out, int n) {
    const VecI16 y_weight = i16_set(rule.y), bias = i16_set(rule.bias);
    const auto luma = [&](VecI16 y) { return i16_add(i16_mul_round(y, y_weight), bias); };
    for_yuv(row, n, [&](const YuvHalves& of, ptrdiff_t i) {
        i32_store(out + i, u8_join<6>(luma(of.y_low), luma(of.y_high)));
    });
}

// How many elements after `p` is the next address that is a whole number of `lanes` elements; 1 to `lanes`.
// A store across two cache lines costs twice: rows begin with one vector, and go on from here.
template <typename T>
inline size_t elements_to_boundary(const T* p, size_t lanes) {
    return lanes - reinterpret_cast<uintptr_t>(p) / sizeof(T) % lanes;
}

// A byte is left where it is, and the float is 256^byte times too large: powers of two change no rounding,
// so that mean and scale can take them along. Only the highest byte is moved, off the sign.
template <int byte, bool centers>
inline void plane_of_floats(const uint32_t* pixels, float mean, float scale, float* out, int n) {
    constexpr int power = byte == 3 ? 1 : 1 << (8 * byte);
    const VecF m = f_set(mean * power), s = f_set(scale / power);
    const auto value = [&](int i) {
        const VecI32 pixel = i32_load(pixels + i);
        const VecF f =
            f_from_i32(byte == 3 ? u32_shift_right<24>(pixel) : i32_and(pixel, i32_set(255 * power)));
        return f_mul(centers ? f_sub(f, m) : f, s);
    };
    if (n < kFloatLanes) {
        float few[kFloatLanes];
        f_store(few, value(0));
        memcpy(out, few, static_cast<size_t>(n) * sizeof(float));
        return;
    }
    f_store(out, value(0));
    int i = static_cast<int>(elements_to_boundary(out, kFloatLanes));
    for (; i + kFloatLanes <= n; i += kFloatLanes) f_store(out + i, value(i));
    f_store(out + n - kFloatLanes, value(n - kFloatLanes));
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
        case 0:
            return plane_of_floats<0>(pixels, mean, scale, out, n);
        case 1:
            return plane_of_floats<1>(pixels, mean, scale, out, n);
        case 2:
            return plane_of_floats<2>(pixels, mean, scale, out, n);
        default:
            return plane_of_floats<3>(pixels, mean, scale, out, n);
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
        case 0:
            return plane_of_bytes<0>(pixels, out, n);
        case 1:
            return plane_of_bytes<1>(pixels, out, n);
        case 2:
            return plane_of_bytes<2>(pixels, out, n);
        default:
            return plane_of_bytes<3>(pixels, out, n);
    }
}

void interleave(const int* bytes, const float* mean, const float* scale, int channels, Interleave& table) {
    // So many values lie within 4 pixels, which are a window.
    constexpr int span = kIntLanes < 8 ? kIntLanes : 8;
    for (int v = 0; v < channels * kIntLanes; ++v) {
        const int first = v / span * span / channels, c = v % channels;
        table.window[v / span] = 4 * first;
        memset(table.order + 4 * v, 128, 4);
        table.order[4 * v] = static_cast<uint8_t>(4 * (v / channels - first) + bytes[c]);
        table.mean[v] = mean[c];
        table.scale[v] = scale[c];
    }
}

// The pixels' bytes channel by channel, in vectors of which a group of kIntLanes pixels makes `channels`.
template <int channels>
struct Interleaved {
    const uint8_t* pixels;
    const Interleave& table;
    VecI32 order[channels];

    Interleaved(const uint32_t* row, const Interleave& t)
        : pixels(reinterpret_cast<const uint8_t*>(row)), table(t) {
        for (int j = 0; j < channels; ++j) order[j] = i32_load(t.order + 4 * kIntLanes * j);
    }
    // Vector j of the group that begins with pixel i.
    VecI32 values(ptrdiff_t i, int j) const {
        constexpr int windows = kIntLanes < 8 ? 1 : kIntLanes / 8;
        return i32_pick(pixels + 4 * i, table.window + windows * j, order[j]);
    }
};

template <int channels>
inline void pixels_of_floats(const uint32_t* pixels, const Interleave& table, float* out, int n) {
    const Interleaved<channels> from(pixels, table);
    VecF mean[channels], scale[channels];
    for (int j = 0; j < channels; ++j) {
        mean[j] = f_load(table.mean + kFloatLanes * j);
        scale[j] = f_load(table.scale + kFloatLanes * j);
    }
    const auto store = [&](float* to, ptrdiff_t i) {
        ECV_UNROLL
        for (int j = 0; j < channels; ++j)
            f_store(to + kFloatLanes * j, f_mul(f_sub(f_from_i32(from.values(i, j)), mean[j]), scale[j]));
    };
    ptrdiff_t i = 0;
    for (; i + kFloatLanes <= n; i += kFloatLanes) store(out + channels * i, i);
    if (i < n) {
        float last[channels * kFloatLanes];
        store(last, i);
        memcpy(out + channels * i, last, static_cast<size_t>(channels * (n - i)) * sizeof(float));
    }
}

void f32_pixels(const uint32_t* pixels, const Interleave& table, int channels, float* out, int n) {
    if (channels == 3)
        pixels_of_floats<3>(pixels, table, out, n);
    else
        pixels_of_floats<4>(pixels, table, out, n);
}

template <int channels>
inline void pixels_of_bytes(const uint32_t* pixels, const Interleave& table, uint8_t* out, int n) {
    constexpr int step = 4 * kIntLanes;
    const Interleaved<channels> from(pixels, table);
    const auto store = [&](uint8_t* to, ptrdiff_t i) {
        const auto value = [&](int v) { return from.values(i + v / channels * kIntLanes, v % channels); };
        ECV_UNROLL
        for (int j = 0; j < channels; ++j)
            u8_store(to + step * j, value(4 * j), value(4 * j + 1), value(4 * j + 2), value(4 * j + 3));
    };
    ptrdiff_t i = 0;
    for (; i + step <= n; i += step) store(out + channels * i, i);
    if (i < n) {
        uint8_t last[channels * step];
        store(last, i);
        memcpy(out + channels * i, last, static_cast<size_t>(channels * (n - i)));
    }
}

void u8_pixels(const uint32_t* pixels, const Interleave& table, int channels, uint8_t* out, int n) {
    if (channels == 3)
        pixels_of_bytes<3>(pixels, table, out, n);
    else
        pixels_of_bytes<4>(pixels, table, out, n);
}

void f32_fill(float value, float* out, size_t n) {
    const VecF v = f_set(value);
    if (n < kFloatLanes) {
        for (size_t i = 0; i < n; ++i) out[i] = value;
        return;
    }
    f_store(out, v);
    for (size_t i = elements_to_boundary(out, kFloatLanes); i + kFloatLanes <= n; i += kFloatLanes)
        f_store(out + i, v);
    f_store(out + n - kFloatLanes, v);
}

void memory_floor(const uint8_t* in, size_t in_bytes, uint8_t* out, size_t out_bytes) {
    constexpr size_t step = kIntLanes * sizeof(int32_t);
    constexpr size_t chunk = 4096;
    VecI32 seen = i32_set(0);
    size_t read = 0, written = 0;
    const auto see_byte = [&] { seen = i32_or(seen, i32_set(in[read++] * 0x01010101)); };
    for (size_t head = elements_to_boundary(in, step); read < in_bytes && read < head;) see_byte();
    // Reads and writes take turns in proportion, as in a pass over an image. Chunks end at a boundary.
    while (written < out_bytes) {
        const size_t left = out_bytes - written, to_boundary = elements_to_boundary(out + written, chunk);
        const size_t write_end = written + (left < to_boundary ? left : to_boundary);
        const bool last = write_end == out_bytes;
        const size_t read_end =
            last ? in_bytes : static_cast<size_t>(static_cast<double>(in_bytes) * write_end / out_bytes);
        for (; read + step <= read_end; read += step) seen = i32_or(seen, i32_load(in + read));
        while (last && read < in_bytes) see_byte();
        for (; written + step <= write_end; written += step) i32_store(out + written, seen);
        if (written < write_end) {
            uint8_t rest[step];
            i32_store(rest, seen);
            memcpy(out + written, rest, write_end - written);
            written = write_end;
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
