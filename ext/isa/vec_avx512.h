#pragma once

#include <stddef.h>
#include <stdint.h>

#include <immintrin.h>

namespace {

// ---- float32: candidate selection, IoU, normalization

constexpr int kFloatLanes = 16;

// ---- integers: pixels

}  // namespace
