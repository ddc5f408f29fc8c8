// Memory that lives as long as a plan or the threads, taken once.
#pragma once

#include <stdint.h>

namespace ecv {

// Starts of slots and of scratch: a vector of the widest ISA.
constexpr int64_t kAlignment = 64;

// Zeroed, aligned, every page present; nullptr without memory, and for 0 bytes. Freed with free().
char* allocate_zeroed(int64_t bytes);

// Bytes of memory that the machine has.
int64_t physical_memory();

}  // namespace ecv
