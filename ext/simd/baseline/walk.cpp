#include "walk.h"

#include <string.h>

namespace ecv {
namespace {

int64_t distance(int64_t stride) { return stride < 0 ? -stride : stride; }

template <typename T>
void gather(const char* from, const Patch& patch, T* to) {
    for (int64_t r = 0; r < patch.rows; ++r, from += patch.row, to += patch.n) {
        if (patch.step == sizeof(T)) {
            memcpy(to, from, static_cast<size_t>(patch.n) * sizeof(T));
        } else if (patch.step == 0) {
            const T value = *reinterpret_cast<const T*>(from);
            for (int64_t i = 0; i < patch.n; ++i) to[i] = value;
        } else {
            for (int64_t i = 0; i < patch.n; ++i) to[i] = *reinterpret_cast<const T*>(from + i * patch.step);
        }
    }
}

template <typename T>
void scatter(const T* from, const Patch& patch, char* to) {
    for (int64_t r = 0; r < patch.rows; ++r, to += patch.row, from += patch.n)
        for (int64_t i = 0; i < patch.n; ++i) *reinterpret_cast<T*>(to + i * patch.step) = from[i];
}

}  // namespace

Walk walk_of(const Memory& memory, int64_t rank, int64_t shape, int64_t strides, const Place* places,
             int operands) {
    Walk walk{};
    walk.operands = operands;
    walk.rank = static_cast<int>(rank);
    for (int k = 0; k < operands; ++k) walk.base[k] = at<char>(memory, places[k].ref);
    if (rank == 0) return walk;  // of tables that are not read, nothing is known
    const int64_t* const sides = at<const int64_t>(memory, shape);
    const int64_t* const distances = at<const int64_t>(memory, strides);
    for (int64_t i = 0; i < rank; ++i) {
        walk.shape[i] = sides[i];
        // Of an axis that is not walked the distance may be any number.
        for (int k = 0; k < operands; ++k)
            walk.stride[k][i] = sides[i] > 1 ? distances[k * rank + i] * places[k].size : 0;
    }
    return walk;
}

bool take_chunk(Walk& walk, int64_t chunk, int64_t chunk_outer) {
    if (walk.rank == 0) return true;
    // The product is held by examine functions: chunks are no more than the axis is long.
    const int64_t first = chunk * chunk_outer, left = walk.shape[0] - first;
    for (int k = 0; k < walk.operands; ++k) walk.base[k] += first * walk.stride[k][0];
    walk.shape[0] = left < chunk_outer ? left : chunk_outer;
    return left > 0;
}

void drop_axis(Walk& walk, int axis) {
    --walk.rank;
    for (int i = axis; i < walk.rank; ++i) {
        walk.shape[i] = walk.shape[i + 1];
        for (int k = 0; k < walk.operands; ++k) walk.stride[k][i] = walk.stride[k][i + 1];
    }
}

void swap_axes(Walk& walk, int a, int b) {
    const auto swap = [](int64_t& x, int64_t& y) {
        const int64_t other = x;
        x = y;
        y = other;
    };
    swap(walk.shape[a], walk.shape[b]);
    for (int k = 0; k < walk.operands; ++k) swap(walk.stride[k][a], walk.stride[k][b]);
}

void merge_axes(Walk& walk, int from) {
    for (int i = walk.rank - 2; i >= from; --i) {
        bool merges = true;
        for (int k = 0; k < walk.operands; ++k)
            merges &= walk.stride[k][i] == walk.stride[k][i + 1] * walk.shape[i + 1];
        if (!merges) continue;
        walk.shape[i + 1] *= walk.shape[i];
        drop_axis(walk, i);
    }
}

bool simplify(Walk& walk) {
    for (int i = walk.rank - 1; i >= 0; --i) {
        if (walk.shape[i] == 0) return false;
        if (walk.shape[i] == 1) drop_axis(walk, i);
    }
    int64_t* const last = walk.stride[walk.operands - 1];
    for (int i = 0; i < walk.rank; ++i) {
        if (last[i] >= 0) continue;
        for (int k = 0; k < walk.operands; ++k) {
            walk.base[k] += (walk.shape[i] - 1) * walk.stride[k][i];
            walk.stride[k][i] = -walk.stride[k][i];
        }
    }
    for (int i = 1; i < walk.rank; ++i)
        for (int j = i; j > 0 && distance(last[j - 1]) < distance(last[j]); --j) swap_axes(walk, j - 1, j);
    merge_axes(walk, 0);
    return true;
}

void gather_patch(const char* from, const Patch& patch, int64_t size, void* to) {
    switch (size) {
        case 1:
            return gather(from, patch, static_cast<uint8_t*>(to));
        case 2:
            return gather(from, patch, static_cast<uint16_t*>(to));
        case 4:
            return gather(from, patch, static_cast<uint32_t*>(to));
        default:
            return gather(from, patch, static_cast<uint64_t*>(to));
    }
}

void scatter_patch(const void* from, const Patch& patch, int64_t size, char* to) {
    switch (size) {
        case 1:
            return scatter(static_cast<const uint8_t*>(from), patch, to);
        case 2:
            return scatter(static_cast<const uint16_t*>(from), patch, to);
        case 4:
            return scatter(static_cast<const uint32_t*>(from), patch, to);
        default:
            return scatter(static_cast<const uint64_t*>(from), patch, to);
    }
}

}  // namespace ecv
