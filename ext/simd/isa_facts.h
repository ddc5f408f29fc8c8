// Facts of instruction sets that kernels are made by and programs are packed by: of all that there are,
// whichever this build has kernels for, since a program can be made for another machine. Python reads them as
// _simd.ISA_FACTS.
//
// Plain structs only: this header is compiled once per ISA.
#pragma once

// X(name, lanes, registers, pairs, tile_blocks, the most pixels of a tile of 1 to 4 blocks)
//   lanes: floats in a vector. registers: that tiles of convolutions keep sums in, with a tap's weights and a
//   value of x. pairs: whether there are kernels for taps in pairs (`paired` in ops.h). tile_blocks: blocks
//   of outputs of a tile, as many as make the best of the registers.
#define ECV_ISA_FACTS(X)                     \
    X(sse42, 4, 16, false, 3, 12, 5, 3, 2)   \
    X(avx2, 8, 16, false, 3, 12, 6, 4, 2)    \
    X(avx512, 16, 32, true, 4, 28, 14, 9, 7) \
    X(neon, 4, 32, false, 4, 14, 8, 6, 4)

namespace ecv {

constexpr int kMostTileBlocks = 4;

struct IsaFacts {
    const char* name;  // as EDGECV_ISA spells it
    int lanes, registers;
    bool pairs;
    int tile_blocks;
    int tile_pixels[kMostTileBlocks];
};

namespace {

#define X(name, lanes, registers, pairs, blocks, ...) \
    constexpr IsaFacts facts_##name = {#name, lanes, registers, pairs, blocks, {__VA_ARGS__}};
ECV_ISA_FACTS(X)
#undef X

}  // namespace
}  // namespace ecv
