// Which source pixels make an output pixel, and with which weights: exact integer arithmetic.
#pragma once

#include <stdint.h>

namespace ecv {

// Two neighbors: first and first + 1, the latter with `weight` of 1 << bits.
struct Tap {
    int first;
    int weight;
};

// OpenCV's INTER_LINEAR: (i + 1/2) in / out - 1/2, clamped.
Tap linear_tap(int64_t i, int64_t in, int64_t out, int bits);

// What OpenCV's INTER_AREA does where an axis is enlarged.
Tap enlarging_area_tap(int64_t i, int64_t in, int64_t out, int bits);

// The footprint [i, i + 1) in / out of an output pixel: its weights add up to `total`, and a sum of
// 8-bit values of them is brought to 7 fractional bits by >> shift, times reciprocal >> 16.
struct Footprint {
    Footprint(int in, int out);

    int first(int64_t i) const;
    int count(int64_t i) const;
    // Of source pixel j in the footprint of output i; 0 outside of it.
    int weight(int64_t i, int64_t j) const;

    int64_t in, out;  // without their common divisor
    int factor, total, shift, reciprocal;
};

}  // namespace ecv
