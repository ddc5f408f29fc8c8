// Where the values of a blob go: rows of pixels and margins, plane by plane or pixel by pixel.
//
// A writer counts pixels row by row. phase(i): where in a vector the values of pixel i lie; pixels that begin
// there too are read in whole vectors. margin(i, n): n pixels of padding. row(i, pixels): a row of the blob.
#pragma once

#include <string.h>

#include "plan_state.h"

namespace ecv {
namespace {

// The byte of a u8x4 pixel that a channel of the blob is.
inline int byte_of(const PlanSpec& s, int c) { return s.to_gray ? 0 : s.source[c]; }

// The padding of a channel as a value of the blob.
inline float padding_of(const PlanSpec& s, int c) {
    return s.as_float ? (s.pad[c] - s.mean[c]) * s.scale[c] : s.pad[c];
}

inline void fill(const ImageKernels& k, float value, float* out, ptrdiff_t n) {
    k.f32_fill(value, out, static_cast<size_t>(n));
}
inline void fill(const ImageKernels&, float value, uint8_t* out, ptrdiff_t n) {
    memset(out, static_cast<int>(value), static_cast<size_t>(n));
}

// (channels, height, width).
template <typename T>
struct Planes {
    const Plan& p;
    const ImageKernels& k;
    T* out;

    size_t phase(ptrdiff_t i) const {
        if (sizeof(T) == 1) return 0;
        return reinterpret_cast<uintptr_t>(out + i) / sizeof(T) % kRowGroup;
    }
    void margin(ptrdiff_t i, ptrdiff_t n) const {
        for (int c = 0; c < p.spec.blob_channels; ++c) pad(c, i, n);
    }
    void row(ptrdiff_t i, const uint32_t* pixels) const {
        const ptrdiff_t right = p.left + p.width;
        for (int c = 0; c < p.spec.blob_channels; ++c) {
            pad(c, i, p.left);
            plane(c, pixels, at(c, i + p.left));
            pad(c, i + right, p.spec.blob_w - right);
        }
    }

  private:
    T* at(int c, ptrdiff_t i) const {
        return out + static_cast<ptrdiff_t>(c) * p.spec.blob_w * p.spec.blob_h + i;
    }
    void pad(int c, ptrdiff_t i, ptrdiff_t n) const {
        if (n > 0) fill(k, padding_of(p.spec, c), at(c, i), n);
    }
    void plane(int c, const uint32_t* pixels, float* to) const {
        k.f32_plane(pixels, byte_of(p.spec, c), p.spec.mean[c], p.spec.scale[c], to, p.width);
    }
    void plane(int c, const uint32_t* pixels, uint8_t* to) const {
        k.u8_plane(pixels, byte_of(p.spec, c), to, p.width);
    }
};

// (height, width, channels), of 3 or 4 channels.
template <typename T>
struct Pixels {
    Pixels(const Plan& plan, const ImageKernels& kernels, T* blob)
        : p(plan), k(kernels), out(blob), channels(plan.spec.blob_channels) {
        int bytes[kMaxChannels] = {0};
        for (int c = 0; c < channels; ++c) {
            bytes[c] = byte_of(p.spec, c);
            padding[c] = padding_of(p.spec, c);
            is_even = is_even && padding[c] == padding[0];
        }
        k.interleave(bytes, p.spec.mean, p.spec.scale, channels, table);
    }

    size_t phase(ptrdiff_t) const { return 0; }
    void margin(ptrdiff_t i, ptrdiff_t n) const {
        if (n > 0) pad(out + i * channels, n * channels);
    }
    void row(ptrdiff_t i, const uint32_t* pixels) const {
        const ptrdiff_t right = p.left + p.width;
        margin(i, p.left);
        write(pixels, out + (i + p.left) * channels);
        margin(i + right, p.spec.blob_w - right);
    }

  private:
    // Of values; later ones are copies of the first, which are near.
    static constexpr ptrdiff_t kCopied = 3072;

    void pad(T* to, ptrdiff_t n) const {
        if (is_even) return fill(k, padding[0], to, n);
        for (int c = 0; c < channels; ++c) to[c] = static_cast<T>(padding[c]);
        for (ptrdiff_t done = channels; done < n;) {
            ptrdiff_t more = done < kCopied ? done : kCopied;
            more = more < n - done ? more : n - done;
            memcpy(to + done, to, static_cast<size_t>(more) * sizeof(T));
            done += more;
        }
    }
    void write(const uint32_t* pixels, float* to) const {
        k.f32_pixels(pixels, table, channels, to, p.width);
    }
    void write(const uint32_t* pixels, uint8_t* to) const {
        k.u8_pixels(pixels, table, channels, to, p.width);
    }

    const Plan& p;
    const ImageKernels& k;
    T* out;
    int channels;
    bool is_even = true;
    float padding[kMaxChannels];
    Interleave table;
};

}  // namespace
}  // namespace ecv
