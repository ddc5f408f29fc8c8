#pragma once

#include <stddef.h>
#include <stdint.h>

#include <arm_neon.h>

namespace {

// ---- float32: candidate selection, IoU, normalization

constexpr int kFloatLanes = 4;

// ---- integers: pixels

}  // namespace
