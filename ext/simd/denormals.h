// Denormal numbers as zeros, in this thread while the object lives: they are of no use to a network, and
// arithmetic on them is slow. The rest of the mode is the default one, so that results do not depend on what
// the caller has set; it gets its own mode back.
#pragma once

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace ecv {

class FlushDenormals {
  public:
    FlushDenormals() : saved_(read()) {
#if defined(__x86_64__)
        write(0x1f80 | 0x8000 | 0x0040);  // all exceptions masked, flush to zero, denormals are zeros
#else
        write(1u << 24);  // FZ, for results and operands
#endif
    }
    ~FlushDenormals() { write(saved_); }
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

  private:
#if defined(__x86_64__)
    using Mode = unsigned;
    static Mode read() { return _mm_getcsr(); }
    static void write(Mode mode) { _mm_setcsr(mode); }
#else
    using Mode = uint64_t;
    static Mode read() {
        Mode mode;
        __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
        return mode;
    }
    static void write(Mode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#endif

    Mode saved_;
};

}  // namespace ecv
