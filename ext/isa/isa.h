// The instruction sets that kernels are compiled for, and the choice among them at run time.
#pragma once

// Best last. X(name, label as EDGECV_ISA spells it)
#if defined(__x86_64__) || defined(_M_X64)
#define ECV_ISA_LIST(X) \
    X(sse42, "sse42")   \
    X(avx2, "avx2")     \
    X(avx512, "avx512")
#elif defined(__aarch64__)
#define ECV_ISA_LIST(X) X(neon, "neon")
#else
#error "edgecv's kernels need x86-64 or AArch64"
#endif

namespace ecv {

enum class Isa : int {
#define X(name, label) name,
    ECV_ISA_LIST(X)
#undef X
        count
};

constexpr int kIsaCount = static_cast<int>(Isa::count);

// Label of an ISA, as EDGECV_ISA spells it.
const char* isa_label(int isa);

// Whether this CPU and its operating system can run kernels built for the ISA.
bool isa_is_supported(int isa);

// The best supported ISA; -1 when not even the lowest runs here.
int isa_best();

// Index of a label, or -1.
int isa_from_label(const char* label);

}  // namespace ecv
