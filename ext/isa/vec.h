// The vector types and operations of the ISA that this file is compiled for.
//
// Include it only from kernel files: everything here lives in an anonymous namespace, so that no
// symbol of one ISA can be linked into another's code.
#pragma once

#define ECV_JOIN_(a, b) a##_##b
#define ECV_JOIN(a, b) ECV_JOIN_(a, b)
// The name of a kernel file's one export: ECV_EXPORT(image_kernels) is image_kernels_avx2.
#define ECV_EXPORT(name) ECV_JOIN(name, ECV_ISA)
// Before a loop of a known, small count over an array of vectors: only once it is unrolled does the compiler
// keep the array in registers.
#define ECV_UNROLL _Pragma("GCC unroll 32")

#if defined(__AVX512BW__)
#include "vec_avx512.h"
#elif defined(__AVX2__)
#include "vec_avx2.h"
#elif defined(__SSE4_2__)
#include "vec_sse42.h"
#elif defined(__aarch64__)
#include "vec_neon.h"
#else
#error "no vector header for this target"
#endif
