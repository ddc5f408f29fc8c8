#include <string.h>

#include "elements.h"

namespace ecv {
namespace {

// A float16 by its bits, and a bool by its byte.
struct Half {
    uint16_t bits;
};
struct Bool {
    uint8_t byte;
};

template <typename A, typename B>
constexpr bool is_same = false;
template <typename A>
constexpr bool is_same<A, A> = true;

float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float widen(Half half) {
    const uint32_t exponent = half.bits & 0x7c00u;
    uint32_t bits = (half.bits & 0x7fffu) << 13;
    if (exponent == 0x7c00u) {
        bits += (255u - 31u) << 23;
    } else if (exponent != 0) {
        bits += (127u - 15u) << 23;
    } else {
        // 2^-14 (1 + fraction) less 2^-14: the fraction of a subnormal number, exactly.
        bits = bits_of(float_of_bits(0x38800000u + bits) - 0x1p-14f);
    }
    return float_of_bits(bits | (half.bits & 0x8000u) << 16);
}

Half narrow(float value) {
    const uint32_t all = bits_of(value), sign = all >> 16 & 0x8000u, bits = all & 0x7fffffffu;
    uint32_t result;
    if (bits > 0x7f800000u)
        result = 0x7e00u;
    else if (bits >= 0x47800000u)  // 2^16
        result = 0x7c00u;
    else if (bits < 0x38800000u)  // 2^-14: at 0.5 the last bit of a float32 is that of a subnormal float16
        result = bits_of(float_of_bits(bits) + 0.5f) - 0x3f000000u;
    else
        result = (bits + 0xc8000fffu + (bits >> 13 & 1u)) >> 13;
    return {static_cast<uint16_t>(result | sign)};
}

Half narrow(double value) {
    float rounded = static_cast<float>(value);
    const double back = rounded;
    // Rounded to odd, so that the second rounding is that of the value itself.
    if (back != value && back - back == 0.0) {
        uint32_t bits = bits_of(rounded);
        if (__builtin_fabs(back) > __builtin_fabs(value)) --bits;
        rounded = float_of_bits(bits | 1u);
    }
    return narrow(rounded);
}

template <typename To, typename From>
To whole(From value) {
    constexpr From limit =
        static_cast<To>(-1) < To{0} ? static_cast<From>(0x1p63) : static_cast<From>(0x1p64);
    constexpr To most =
        static_cast<To>(-1) < To{0} ? static_cast<To>(INT64_MAX) : static_cast<To>(UINT64_MAX);
    constexpr To least = static_cast<To>(-1) < To{0} ? static_cast<To>(INT64_MIN) : To{0};
    if (value != value) return 0;
    if (value >= limit) return most;
    if constexpr (least < To{0})
        return value < -limit ? least : static_cast<To>(value);
    else  // below 0 as signed numbers are cut
        return value < From{0} ? static_cast<To>(whole<int64_t>(value)) : static_cast<To>(value);
}

template <typename To, typename From>
To cast(From value) {
    constexpr bool from_float = is_same<From, float> || is_same<From, double>;
    constexpr bool to_float = is_same<To, float> || is_same<To, double>;
    if constexpr (is_same<From, To>)
        return value;
    else if constexpr (is_same<From, Bool>)
        return cast<To>(int64_t{value.byte != 0});
    else if constexpr (is_same<To, Bool>)
        return {value != From{0}};
    else if constexpr (is_same<From, Half>)
        return static_cast<To>(widen(value));
    else if constexpr (is_same<To, Half> && is_same<From, float>)
        return narrow(value);
    else if constexpr (is_same<To, Half>)
        return narrow(static_cast<double>(value));
    else if constexpr (from_float && is_same<To, uint64_t>)
        return whole<uint64_t>(value);
    else if constexpr (from_float && !to_float)
        return static_cast<To>(whole<int64_t>(value));
    else
        return static_cast<To>(value);
}

template <typename From, typename To>
void convert(const void* from, void* to, size_t n) {
    const From* const x = static_cast<const From*>(from);
    To* const y = static_cast<To*>(to);
    for (size_t i = 0; i < n; ++i) y[i] = cast<To>(x[i]);
}

// Those that are frequent, to each other.
template <typename From>
Convert frequent(Dtype to) {
    switch (to) {
        case Dtype::f32:
            return convert<From, float>;
        case Dtype::f64:
            return convert<From, double>;
        case Dtype::u8:
            return convert<From, uint8_t>;
        case Dtype::i32:
            return convert<From, int32_t>;
        case Dtype::i64:
            return convert<From, int64_t>;
        case Dtype::boolean:
            return convert<From, Bool>;
        default:
            return nullptr;
    }
}

template <typename From>
Convert from_wide(Dtype to) {
    switch (to) {
        case Dtype::f16:
            return convert<From, Half>;
        case Dtype::i8:
            return convert<From, int8_t>;
        case Dtype::i16:
            return convert<From, int16_t>;
        case Dtype::u16:
            return convert<From, uint16_t>;
        case Dtype::u32:
            return convert<From, uint32_t>;
        case Dtype::u64:
            return convert<From, uint64_t>;
        default:
            return frequent<From>(to);
    }
}

}  // namespace

Dtype wide_dtype(Dtype dtype) {
    if (is_float(dtype)) return Dtype::f64;
    return dtype == Dtype::u64 ? Dtype::u64 : Dtype::i64;
}

Convert converter(Dtype from, Dtype to) {
    if (from == to) return nullptr;
    switch (from) {
        case Dtype::f64:
            return from_wide<double>(to);
        case Dtype::i64:
            return from_wide<int64_t>(to);
        case Dtype::u64:
            return from_wide<uint64_t>(to);
        case Dtype::f32:
            return to == Dtype::f16 ? convert<float, Half> : frequent<float>(to);
        case Dtype::i32:
            return frequent<int32_t>(to);
        case Dtype::u8:
            return frequent<uint8_t>(to);
        case Dtype::boolean:
            return frequent<Bool>(to);
        case Dtype::f16:
            if (to == Dtype::f32) return convert<Half, float>;
            return to == Dtype::f64 ? convert<Half, double> : nullptr;
        case Dtype::i8:
            return to == Dtype::i64 ? convert<int8_t, int64_t> : nullptr;
        case Dtype::i16:
            return to == Dtype::i64 ? convert<int16_t, int64_t> : nullptr;
        case Dtype::u16:
            return to == Dtype::i64 ? convert<uint16_t, int64_t> : nullptr;
        case Dtype::u32:
            return to == Dtype::i64 ? convert<uint32_t, int64_t> : nullptr;
    }
    return nullptr;
}

}  // namespace ecv
