#include "isa.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace ecv {
namespace {

const char* const kLabels[] = {
#define X(name, label) label,
    ECV_ISA_LIST(X)
#undef X
};

#if defined(__x86_64__)

struct Leaf {
    unsigned a, b, c, d;
};

Leaf cpuid(unsigned leaf, unsigned subleaf) {
    Leaf r = {0, 0, 0, 0};
    __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
    return r;
}

bool bits(unsigned value, unsigned mask) { return (value & mask) == mask; }

// Register state that the operating system saves (XCR0): a CPU flag alone does not make AVX usable.
unsigned saved_state() {
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

unsigned supported_mask() {
    // Bit numbers: Intel SDM volume 2A, CPUID.
    const unsigned sse42_popcnt = 1u << 20 | 1u << 23 | 1u << 9 /* ssse3 */ | 1u << 19 /* sse4.1 */;
    const unsigned osxsave_avx_fma_f16c = 1u << 27 | 1u << 28 | 1u << 12 | 1u << 29;
    const unsigned avx2_bmi = 1u << 5 | 1u << 3 | 1u << 8;
    const unsigned avx512_f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    const unsigned ymm_state = 0x6, zmm_state = 0xe6;

    unsigned mask = 0;
    const Leaf one = cpuid(1, 0);
    if (!bits(one.c, sse42_popcnt)) return mask;
    mask |= 1u << static_cast<int>(Isa::sse42);
    if (!bits(one.c, osxsave_avx_fma_f16c)) return mask;
    const Leaf seven = cpuid(7, 0);
    const unsigned state = saved_state();
    if (!bits(seven.b, avx2_bmi) || !bits(state, ymm_state)) return mask;
    mask |= 1u << static_cast<int>(Isa::avx2);
    if (!bits(seven.b, avx512_f_dq_bw_vl) || !bits(state, zmm_state)) return mask;
    mask |= 1u << static_cast<int>(Isa::avx512);
    return mask;
}

#else

// Advanced SIMD is mandatory in the AArch64 profile that Linux supports.
unsigned supported_mask() { return 1u << static_cast<int>(Isa::neon); }

#endif

}  // namespace

const char* isa_label(int isa) { return isa >= 0 && isa < kIsaCount ? kLabels[isa] : "?"; }

bool isa_is_supported(int isa) {
    static const unsigned mask = supported_mask();
    return isa >= 0 && isa < kIsaCount && (mask >> isa & 1u) != 0;
}

int isa_best() {
    for (int isa = kIsaCount - 1; isa >= 0; --isa)
        if (isa_is_supported(isa)) return isa;
    return -1;
}

int isa_from_label(const char* label) {
    for (int isa = 0; isa < kIsaCount; ++isa)
        if (strcmp(label, kLabels[isa]) == 0) return isa;
    return -1;
}

}  // namespace ecv
