#include "taps.h"

namespace ecv {
namespace {

// The tap at position numerator / denominator of an axis of `in` pixels.
Tap tap_at(int64_t numerator, int64_t denominator, int64_t in, int bits) {
    if (numerator <= 0) return {0, 0};
    int64_t first = numerator / denominator;
    const int64_t rest = numerator % denominator;
    int64_t weight = ((rest << (bits + 1)) + denominator) / (2 * denominator);
    if (weight == int64_t{1} << bits) {
        ++first;
        weight = 0;
    }
    if (first >= in - 1) return {static_cast<int>(in - 1), 0};
    return {static_cast<int>(first), static_cast<int>(weight)};
}

int64_t common_divisor(int64_t a, int64_t b) {
    while (b != 0) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

int bit_length(int64_t n) {
    int bits = 0;
    for (; n > 0; n >>= 1) ++bits;
    return bits;
}

}  // namespace

Tap linear_tap(int64_t i, int64_t in, int64_t out, int bits) {
    return tap_at((2 * i + 1) * in - out, 2 * out, in, bits);
}

Tap enlarging_area_tap(int64_t i, int64_t in, int64_t out, int bits) {
    const int64_t first = i * in / out;
    const int64_t excess = (i + 1) * in - (first + 1) * out;
    return tap_at(first * in + (excess > 0 ? excess : 0), in, in, bits);
}

Footprint::Footprint(int in_pixels, int out_pixels) {
    const int64_t divisor = common_divisor(in_pixels, out_pixels);
    in = in_pixels / divisor;
    out = out_pixels / divisor;
    factor = 1;
    while (in * factor * 2 < 1 << 15) factor *= 2;
    total = static_cast<int>(in * factor);
    shift = bit_length(255 * static_cast<int64_t>(total)) - 16;
    reciprocal = static_cast<int>(((int64_t{1} << (shift + 24)) / total + 1) / 2);
}

int Footprint::first(int64_t i) const { return static_cast<int>(i * in / out); }

int Footprint::count(int64_t i) const {
    return static_cast<int>(((i + 1) * in + out - 1) / out - i * in / out);
}

int Footprint::weight(int64_t i, int64_t j) const {
    const int64_t low = i * in > j * out ? i * in : j * out;
    const int64_t high = (i + 1) * in < (j + 1) * out ? (i + 1) * in : (j + 1) * out;
    return high > low ? static_cast<int>((high - low) * factor) : 0;
}

}  // namespace ecv
