// Refs, which the fields of steps name memory by: how kernels find it, and how examine functions hold Refs
// against the memory that there is. An address is an offset in a slot in bytes, a Ref is both in an int64;
// edgecv/engine/refs.py is Python's side.
//
// Fields may come from a file, so every sum and product of them is checked before it is used.
#pragma once

#include "ops.h"

namespace ecv {
namespace {

enum : int64_t { kNoSlot, kConstants, kState, kArena, kWeights, kFirstInput };

constexpr int kAddressBits = 48;
constexpr int64_t kMostRank = 8;

inline int64_t ref_slot(int64_t ref) { return ref >> kAddressBits; }
inline int64_t ref_address(int64_t ref) { return ref & ((int64_t{1} << kAddressBits) - 1); }

// ---- For kernels: an examined Ref. nullptr for Ref 0.

template <typename T>
inline T* at(const Memory& memory, int64_t ref) {
    return reinterpret_cast<T*>(memory.bases[ref_slot(ref)] + ref_address(ref));
}

// The float32 that a field holds in its low 32 bits.
inline float float_of(int64_t bits) {
    const uint32_t low = static_cast<uint32_t>(bits);
    float value;
    __builtin_memcpy(&value, &low, sizeof value);
    return value;
}

// ---- For examine functions.

// a b and a + b of counts; -1 where one is negative or the result does not fit. So they can be nested.
inline int64_t times(int64_t a, int64_t b) {
    int64_t result;
    return a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result) ? -1 : result;
}
inline int64_t plus(int64_t a, int64_t b) {
    int64_t result;
    return a < 0 || b < 0 || __builtin_add_overflow(a, b, &result) ? -1 : result;
}
inline int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

inline bool is_count(int64_t n, int64_t least, int64_t most) { return n >= least && n <= most; }

// Whether `bytes` from the Ref on lie in its slot, and the Ref is a multiple of `align` bytes. Slots start at
// multiples of 64 bytes, but those of inputs and outputs only where NumPy puts them.
inline bool is_inside(const Memory& memory, int64_t ref, int64_t bytes, int64_t align) {
    const int64_t slot = ref_slot(ref);
    if (slot < 0 || slot >= memory.n_slots || bytes < 0) return false;
    return bytes <= memory.sizes[slot] && ref_address(ref) <= memory.sizes[slot] - bytes && ref % align == 0;
}

// Constants and inputs are only read: constants hold tables that were examined before the first run.
inline bool is_writable(const Memory& memory, int64_t ref) {
    const int64_t slot = ref_slot(ref);
    return slot == kState || slot == kArena || slot >= memory.first_output;
}

// Whether n elements of `size` bytes (1, 2, 4 or 8) can be read or written from the Ref on.
inline bool can_read(const Memory& memory, int64_t ref, int64_t n, int64_t size) {
    return is_inside(memory, ref, times(n, size), size);
}
inline bool can_write(const Memory& memory, int64_t ref, int64_t n, int64_t size) {
    return is_writable(memory, ref) && can_read(memory, ref, n, size);
}

// n entries of a table among the constants; nullptr where they do not lie there.
template <typename T>
inline const T* table(const Memory& memory, int64_t ref, int64_t n) {
    if (ref_slot(ref) != kConstants || !can_read(memory, ref, n, sizeof(T))) return nullptr;
    return at<const T>(memory, ref);
}

// Product of the sides; -1 where one is negative, or it does not fit. rank 0: 1.
inline int64_t count_of(const int64_t* shape, int64_t rank) {
    int64_t n = 1;
    bool empty = false;
    for (int64_t i = 0; i < rank; ++i) {
        if (shape[i] < 0) return -1;
        empty |= shape[i] == 0;
    }
    for (int64_t i = 0; i < rank && !empty; ++i) n = times(n, shape[i]);
    return empty ? 0 : n;
}

// Whether a walk over `shape` by `strides` (in elements, of any sign) from the Ref on stays inside its slot.
inline bool can_walk(const Memory& memory, int64_t ref, const int64_t* shape, const int64_t* strides,
                     int64_t rank, int64_t size) {
    const int64_t n = count_of(shape, rank);
    if (n <= 0) return n == 0;
    int64_t below = 0, above = 1;  // elements before the Ref, and from it on
    for (int64_t i = 0; i < rank; ++i) {
        if (shape[i] == 1) continue;
        if (strides[i] == INT64_MIN) return false;
        if (strides[i] < 0)
            below = plus(below, times(shape[i] - 1, -strides[i]));
        else
            above = plus(above, times(shape[i] - 1, strides[i]));
    }
    below = times(below, size);
    return below >= 0 && ref >= 0 && below <= ref_address(ref) &&
           is_inside(memory, ref - below, plus(below, times(above, size)), size);
}

}  // namespace
}  // namespace ecv
