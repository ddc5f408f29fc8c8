#pragma once

#include <stddef.h>
#include <stdint.h>

#include <nmmintrin.h>

namespace {

// ---- float32: candidate selection, IoU, normalization

constexpr int kFloatLanes = 4;

// ---- integers: pixels

}  // namespace
