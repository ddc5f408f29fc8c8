// Elements of every dtype: their sizes, conversions, and the operations on contiguous runs of them. Baseline
// code, for which each operation exists on few dtypes: others are converted to those and back.
#pragma once

#include "strided.h"

namespace ecv {

inline int64_t size_of(Dtype dtype) {
    switch (dtype) {
        case Dtype::i8:
        case Dtype::u8:
        case Dtype::boolean:
            return 1;
        case Dtype::f16:
        case Dtype::i16:
        case Dtype::u16:
            return 2;
        case Dtype::f32:
        case Dtype::i32:
        case Dtype::u32:
            return 4;
        case Dtype::f64:
        case Dtype::i64:
        case Dtype::u64:
            return 8;
    }
    return 0;
}
inline bool is_float(Dtype d) { return d == Dtype::f16 || d == Dtype::f32 || d == Dtype::f64; }
inline bool is_dtype(int64_t value) { return value >= 0 && value <= static_cast<int64_t>(Dtype::boolean); }

// to[i] = from[i] as another dtype. Floats go to integers towards zero, held to the range of an int64 (or
// uint64; NaN: 0) and cut to the bits that there are; what is not zero is true.
using Convert = void (*)(const void* from, void* to, size_t n);

// What holds every value of a dtype: i64, u64 or f64.
Dtype wide_dtype(Dtype dtype);

// Every dtype to its wide one, wide ones to every dtype, and pairs that are frequent; else nullptr. Of a
// dtype to itself: nullptr.
Convert converter(Dtype from, Dtype to);

// How an operation runs on a dtype: operands that `load` converts, a run (nullptr: none, y is the operand),
// and what `store` makes of its results.
struct MapPlan {
    bool supported;
    int operands;
    Dtype operand[3];  // in memory
    Dtype taken;       // by the run
    Dtype given;
    Convert load;  // nullptr: none; of the condition of `where` always
    Convert store;
    MapRun run;
};
MapPlan map_plan(MapOp op, Dtype dtype, Dtype y_dtype);

// The run of an operation on f32, f64, i64, u64 (boolean, and of `where` any dtype); nullptr: none.
MapRun element_run(MapOp op, Dtype dtype);

}  // namespace ecv
