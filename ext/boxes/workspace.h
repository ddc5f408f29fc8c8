// What the baseline code shares: memory that a thread keeps between calls, boxes read from rows, sorting
// and grouping.
#pragma once

#include <stdlib.h>
#include <string.h>

#include "boxes.h"

namespace ecv {

// Grows by doubling and is freed when its thread ends, so that a warm thread allocates nothing.
template <class T>
class Buffer {
  public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { free(data_); }

    // Room for n entries, and for no more than `limit` if that is not less; the old ones stay, new ones
    // are zero. False: out of memory, nothing changed.
    bool reserve(size_t n, size_t limit = SIZE_MAX) {
        if (n <= size_) return true;
        const size_t doubled = 2 * size_ < limit ? 2 * size_ : limit;
        const size_t grown = n > doubled ? n : doubled;
        if (grown > PTRDIFF_MAX / sizeof(T)) return false;
        T* data = static_cast<T*>(realloc(data_, grown * sizeof(T)));
        if (!data) return false;
        memset(static_cast<void*>(data + size_), 0, (grown - size_) * sizeof(T));
        data_ = data;
        size_ = grown;
        return true;
    }
    T* get() const { return data_; }
    T& operator[](size_t i) const { return data_[i]; }
    size_t size() const { return size_; }

  private:
    T* data_ = nullptr;
    size_t size_ = 0;
};

// BoxColumns that grow; there is always room for a vector past the last box.
class ColumnBuffer {
  public:
    bool reserve(size_t n) {
        const size_t padded = n + kMaxFloatLanes;
        return x1_.reserve(padded) && y1_.reserve(padded) && x2_.reserve(padded) && y2_.reserve(padded) &&
               area_.reserve(padded);
    }
    void set(size_t i, const Box& box) {
        x1_[i] = box.x1;
        y1_[i] = box.y1;
        x2_[i] = box.x2;
        y2_[i] = box.y2;
        area_[i] = box.area;
    }
    Box at(size_t i) const { return {x1_[i], y1_[i], x2_[i], y2_[i], area_[i]}; }
    BoxColumns from(size_t i) const {
        return {x1_.get() + i, y1_.get() + i, x2_.get() + i, y2_.get() + i, area_.get() + i};
    }

  private:
    Buffer<float> x1_, y1_, x2_, y2_, area_;
};

template <class T>
T at(const T* data, size_t i, ptrdiff_t stride) {
    return data[static_cast<ptrdiff_t>(i) * stride];
}

inline bool is_finite(float value) { return value - value == 0.0f; }

// The box of a row; its area is NaN unless the coordinates are finite and in order.
inline Box box_at(const BoxRows& boxes, size_t i) {
    const float* p = boxes.data + static_cast<ptrdiff_t>(i) * boxes.box_stride;
    const ptrdiff_t step = boxes.coordinate_stride;
    const float x1 = p[0], y1 = p[step], x2 = p[2 * step], y2 = p[3 * step];
    const bool valid = is_finite(x1) && is_finite(y1) && is_finite(x2) && is_finite(y2) && x2 > x1 && y2 > y1;
    return {x1, y1, x2, y2, valid ? (x2 - x1) * (y2 - y1) : __builtin_nanf("")};
}

inline bool is_box(const Box& box) { return box.area == box.area; }

// The order of float comparison as the order of unsigned integers: -0 equals 0; not for NaN.
inline uint32_t rising_key(float value) {
    const float positive_zero = value + 0.0f;
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

inline uint32_t rising_key(int32_t value) { return static_cast<uint32_t>(value) ^ 0x80000000u; }

// Indices and the keys to sort them by; both have room for `reserve()`d entries.
struct Order {
    Buffer<uint32_t> index, key, scratch;

    bool reserve(size_t n) { return index.reserve(n) && key.reserve(n) && scratch.reserve(n); }

    // Sorts the first n of `index` by rising key[index[i]]; equal keys stay as they are.
    void sort(size_t n);
};

// Candidates by group: one image and class. `order.index` holds them group by group.
struct Groups {
    Order order;
    Buffer<size_t> begin;  // of each group in order.index, and the end of the last one
    Buffer<uint32_t> of;   // group of each candidate
    size_t count;

    bool reserve(size_t n) { return order.reserve(n) && begin.reserve(n + 1) && of.reserve(n); }

    // Groups the n candidates in order.index; those of a group stay in their order.
    void make(const CandidateRows& candidates, size_t n);
};

}  // namespace ecv
