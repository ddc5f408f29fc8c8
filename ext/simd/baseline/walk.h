// Walks over the elements of strided operands: baseline code.
#pragma once

#include "refs.h"
#include "strided.h"

namespace ecv {

constexpr int kMostOperands = 4;

// Axes outermost first, distances in bytes. The last operand is written.
struct Walk {
    int operands, rank;
    int64_t shape[kMostRank];
    int64_t stride[kMostOperands][kMostRank];
    char* base[kMostOperands];
};

// An operand of a step: its Ref, and the bytes of an element.
struct Place {
    int64_t ref, size;
};

// By a step's tables of shape and strides.
Walk walk_of(const Memory& memory, int64_t rank, int64_t shape, int64_t strides, const Place* places,
             int operands);

// Of the step's first axis the chunk_outer entries of a chunk; of rank 0 all there is. False: nothing is
// left.
bool take_chunk(Walk& walk, int64_t chunk, int64_t chunk_outer);

// The same elements by as few axes as possible, ordered by the distances of the last operand, which are then
// positive. Not the order that the step has: for what does not depend on it. False: there are no elements.
bool simplify(Walk& walk);

// Makes one axis of two neighbors wherever all operands allow it, in [from, walk.rank).
void merge_axes(Walk& walk, int from);
void drop_axis(Walk& walk, int axis);
void swap_axes(Walk& walk, int a, int b);

// Counts through axes [0, axes), moving `base`; at: zeros at first. False after the last.
inline bool advance(const Walk& walk, int axes, int64_t* at, char** base) {
    for (int axis = axes - 1; axis >= 0; --axis) {
        for (int k = 0; k < walk.operands; ++k) base[k] += walk.stride[k][axis];
        if (++at[axis] < walk.shape[axis]) return true;
        for (int k = 0; k < walk.operands; ++k) base[k] -= walk.shape[axis] * walk.stride[k][axis];
        at[axis] = 0;
    }
    return false;
}

// A rectangle of elements: rows of n.
struct Patch {
    int64_t rows, n;
    int64_t row, step;  // bytes between rows, and between the elements of one
};

// to: its elements, one after the other; from there, back.
void gather_patch(const char* from, const Patch& patch, int64_t size, void* to);
void scatter_patch(const void* from, const Patch& patch, int64_t size, char* to);

}  // namespace ecv
