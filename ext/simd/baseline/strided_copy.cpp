#include <string.h>

#include "walk.h"

namespace ecv {
namespace {

// A run of bytes too short for a call of memcpy to be worth it.
inline void copy_few(char* to, const char* from, int64_t bytes) {
    if (bytes >= 16) {
        for (int64_t i = 0; i + 16 <= bytes; i += 16) memcpy(to + i, from + i, 16);
        memcpy(to + bytes - 16, from + bytes - 16, 16);
    } else if (bytes >= 8) {
        memcpy(to, from, 8);
        memcpy(to + bytes - 8, from + bytes - 8, 8);
    } else {
        for (int64_t i = 0; i < bytes; ++i) to[i] = from[i];
    }
}

void copy_runs(const char* x, int64_t x_row, char* y, int64_t y_row, int64_t rows, int64_t bytes) {
    constexpr int64_t kFew = 128;
    for (int64_t r = 0; r < rows; ++r, x += x_row, y += y_row) {
        if (bytes <= kFew)
            copy_few(y, x, bytes);
        else
            memcpy(y, x, static_cast<size_t>(bytes));
    }
}

// Tiles, so that of the operand that is walked across its rows few lines are open at a time.
template <typename T>
void copy_elements(const Walk& walk, const char* x, char* y) {
    constexpr int64_t kRows = 16, kColumns = 64;
    const int column = walk.rank - 1;
    const int64_t rows = walk.rank > 1 ? walk.shape[column - 1] : 1, columns = walk.shape[column];
    const int64_t x_row = walk.rank > 1 ? walk.stride[0][column - 1] : 0, x_step = walk.stride[0][column];
    const int64_t y_row = walk.rank > 1 ? walk.stride[1][column - 1] : 0, y_step = walk.stride[1][column];
    for (int64_t row = 0; row < rows; row += kRows) {
        const int64_t row_end = row + kRows < rows ? row + kRows : rows;
        for (int64_t first = 0; first < columns; first += kColumns) {
            const int64_t n = first + kColumns < columns ? kColumns : columns - first;
            for (int64_t r = row; r < row_end; ++r) {
                const char* from = x + r * x_row + first * x_step;
                char* to = y + r * y_row + first * y_step;
                for (int64_t i = 0; i < n; ++i, from += x_step, to += y_step)
                    *reinterpret_cast<T*>(to) = *reinterpret_cast<const T*>(from);
            }
        }
    }
}

template <typename T>
void fill(const Walk& walk, const char* x, char* y) {
    const int64_t n = walk.shape[walk.rank - 1];
    const T value = *reinterpret_cast<const T*>(x);
    for (int64_t i = 0; i < n; ++i) reinterpret_cast<T*>(y)[i] = value;
}

using CopyPart = void (*)(const Walk& walk, const char* x, char* y);

CopyPart elements_of(int64_t size) {
    return size == 1   ? copy_elements<uint8_t>
           : size == 2 ? copy_elements<uint16_t>
           : size == 4 ? copy_elements<uint32_t>
                       : copy_elements<uint64_t>;
}
CopyPart fill_of(int64_t size) {
    return size == 1   ? fill<uint8_t>
           : size == 2 ? fill<uint16_t>
           : size == 4 ? fill<uint32_t>
                       : fill<uint64_t>;
}

}  // namespace

StepStatus copy_strided(const CopyStep& step, const Memory& memory, int64_t chunk, Transpose transpose) {
    const int64_t size = step.size;
    const Place places[] = {{step.x, size}, {step.y, size}};
    Walk walk = walk_of(memory, step.rank, step.shape, step.strides, places, 2);
    if (!take_chunk(walk, chunk, step.chunk_outer) || !simplify(walk)) return StepStatus::ok;
    if (walk.rank == 0) {
        memcpy(walk.base[1], walk.base[0], static_cast<size_t>(size));
        return StepStatus::ok;
    }

    const int last = walk.rank - 1;
    const int64_t* const x = walk.stride[0];
    const int64_t* const y = walk.stride[1];
    int64_t at_axis[kMostRank] = {};
    char* base[kMostOperands] = {walk.base[0], walk.base[1]};
    if (x[last] == size && y[last] == size) {
        const int64_t bytes = walk.shape[last] * size, rows = last ? walk.shape[last - 1] : 1;
        do copy_runs(base[0], last ? x[last - 1] : 0, base[1], last ? y[last - 1] : 0, rows, bytes);
        while (advance(walk, last - 1, at_axis, base));
        return StepStatus::ok;
    }
    if (x[last] == 0 && y[last] == size) {
        const CopyPart part = fill_of(size);
        do part(walk, base[0], base[1]);
        while (advance(walk, last, at_axis, base));
        return StepStatus::ok;
    }
    for (int axis = 0; axis < last; ++axis)
        if (x[axis] == size) swap_axes(walk, axis, last - 1);
    if (size == 4 && last && x[last - 1] == size && y[last] == size) {
        do
            transpose(reinterpret_cast<const float*>(base[0]), x[last] / size,
                      static_cast<size_t>(walk.shape[last]), static_cast<size_t>(walk.shape[last - 1]),
                      reinterpret_cast<float*>(base[1]), y[last - 1] / size);
        while (advance(walk, last - 1, at_axis, base));
        return StepStatus::ok;
    }
    const CopyPart part = elements_of(size);
    do part(walk, base[0], base[1]);
    while (advance(walk, last - 1, at_axis, base));
    return StepStatus::ok;
}

}  // namespace ecv
