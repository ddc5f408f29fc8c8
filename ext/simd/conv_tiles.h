// Tiles of convolutions: sums of output channels and pixels that stay in registers over all taps.
//
// Include it only from kernel files, as vec.h.
#pragma once

#include "finish.h"
#include "isa_facts.h"

namespace {

constexpr int64_t kLanes = kFloatLanes;
constexpr int kMostBlocks = ecv::kMostTileBlocks;

constexpr ecv::IsaFacts kFacts = ecv::ECV_JOIN(facts, ECV_ISA);
static_assert(kFacts.lanes == kFloatLanes, "lanes of the vector header");
#ifdef ECV_HAS_PAIRS
static_assert(kFacts.pairs, "pairs of the vector header");
#else
static_assert(!kFacts.pairs, "pairs of the vector header");
#endif

// The most pixels of a tile, by its blocks: what leaves registers for a tap's weights and a value of x.
#if defined(__SANITIZE_ADDRESS__)
// Sanitizers check each access of an unrolled tile: large ones would take many minutes to compile.
constexpr int kRegisters = 16;
constexpr int kMostPixels[kMostBlocks] = {4, 3, 2, 2};
#else
constexpr int kRegisters = kFacts.registers;
constexpr int kMostPixels[kMostBlocks] = {kFacts.tile_pixels[0], kFacts.tile_pixels[1], kFacts.tile_pixels[2],
                                          kFacts.tile_pixels[3]};
#endif

struct Tile {
    const float* x;  // of its first pixel
    const int32_t* offsets;
    int64_t taps;
    const float* weights;
    const float* start;  // what sums begin with: the bias, or the sums of the taps before
    int64_t start_block, start_pixel;
    const float* residual;  // or nullptr
    float* y;
    int64_t x_pixel, y_pixel, y_block;
    Finish finish;
};

template <int blocks, int pixels>
inline __attribute__((always_inline)) void finish_tile(const Tile& t, VecF (&sum)[blocks * pixels]) {
    if (t.residual != nullptr)
        ECV_UNROLL for (int o = 0; o < blocks; ++o) ECV_UNROLL for (int p = 0; p < pixels; ++p)
            sum[o * pixels + p] = sum[o * pixels + p] + f_load(t.residual + o * t.y_block + p * t.y_pixel);
    finish_sums(t.finish, sum);
    ECV_UNROLL for (int o = 0; o < blocks; ++o) ECV_UNROLL for (int p = 0; p < pixels; ++p)
        f_store(t.y + o * t.y_block + p * t.y_pixel, sum[o * pixels + p]);
}

// The float at x in all lanes; of pairs, it and the one behind it in turns.
template <bool is_paired>
inline VecF load_input(const float* x) {
#ifdef ECV_HAS_PAIRS
    if constexpr (is_paired) return f_pair(x);
#endif
    return f_set(*x);
}

// What all taps add. x_step: the distance of pixels where it is known at compile time, else 0.
template <bool is_paired, int vectors, int pixels, int x_step>
inline __attribute__((always_inline)) void add_products(const Tile& t, VecF (&sum)[vectors * pixels]) {
    const int64_t x_pixel = x_step != 0 ? x_step : t.x_pixel;
    // The weights of the last vector are then read anew for each pixel: no register is left to hold them.
    constexpr bool is_tight = vectors * pixels + vectors + 1 > kRegisters;
    const float* first = t.x;
    const int32_t* offset = t.offsets;
    const float* weights = t.weights;
    for (int64_t k = t.taps; k != 0; --k, ++offset, weights += vectors * kLanes) {
        const float* x = first + *offset;
        VecF w[vectors];
        ECV_UNROLL for (int o = 0; o < vectors; ++o) w[o] = f_load(weights + o * kLanes);
        ECV_UNROLL for (int p = 0; p < pixels; ++p) {
            const VecF value = load_input<is_paired>(x + p * x_pixel);
            if constexpr (is_tight) {
                asm volatile("" ::: "memory");
                w[vectors - 1] = f_load(weights + (vectors - 1) * kLanes);
            }
            ECV_UNROLL for (int o = 0; o < vectors; ++o) sum[o * pixels + p] =
                f_fma(w[o], value, sum[o * pixels + p]);
        }
    }
}

template <int blocks, int pixels, int x_step>
void run_tile(const Tile& t) {
    VecF sum[blocks * pixels];
    if (t.start_pixel == 0) {
        ECV_UNROLL for (int o = 0; o < blocks; ++o) {
            const VecF bias = f_load(t.start + o * t.start_block);
            ECV_UNROLL for (int p = 0; p < pixels; ++p) sum[o * pixels + p] = bias;
        }
    } else {
        ECV_UNROLL for (int o = 0; o < blocks; ++o) ECV_UNROLL for (int p = 0; p < pixels; ++p)
            sum[o * pixels + p] = f_load(t.start + o * t.start_block + p * t.start_pixel);
    }
    add_products<false, blocks, pixels, x_step>(t, sum);
    finish_tile<blocks, pixels>(t, sum);
}

#ifdef ECV_HAS_PAIRS
// ---- Taps in pairs (`paired` in ops.h): few channels would leave vectors half empty, or give too few
// products for each float that is loaded.

// Pixels of a block, each the sum of what its two taps gave.
template <int vectors, int pixels>
inline __attribute__((always_inline)) void add_taps(const Tile& t, const VecF (&sum)[vectors * pixels]) {
    constexpr int blocks = (vectors + 1) / 2;
    VecF whole[blocks * pixels];
    ECV_UNROLL for (int o = 0; o < blocks; ++o) ECV_UNROLL for (int p = 0; p < pixels; ++p) {
        const VecF low = sum[2 * o * pixels + p];
        const VecF high = 2 * o + 1 < vectors ? sum[(2 * o + 1) * pixels + p] : f_set(0.0f);
        whole[o * pixels + p] = f_even(low, high) + f_odd(low, high);
    }
    finish_tile<blocks, pixels>(t, whole);
}

template <int vectors, int pixels, int x_step>
void run_pairs(const Tile& t) {
    VecF sum[vectors * pixels];
    ECV_UNROLL for (int o = 0; o < vectors; ++o) {
        const VecF bias = f_load(t.start + o * t.start_block);
        ECV_UNROLL for (int p = 0; p < pixels; ++p) sum[o * pixels + p] = bias;
    }
    add_products<true, vectors, pixels, x_step>(t, sum);
    add_taps<vectors, pixels>(t, sum);
}
#endif

using RunTile = void (*)(const Tile&);

// Tiles of 1 to kMostPixels pixels.
struct Tiles {
    RunTile run[kMostPixels[0]];
};

// Which tile it is, by the distance of its pixels in x where that is known, else 0.
template <int distance>
struct Single {
    template <int blocks, int pixels>
    static constexpr RunTile run = run_tile<blocks, pixels, distance>;
};

#ifdef ECV_HAS_PAIRS
template <int distance>
struct Paired {
    template <int vectors, int pixels>
    static constexpr RunTile run = run_pairs<vectors, pixels, distance>;
};
#endif

template <typename Kind, int blocks, int pixels>
constexpr void fill_tiles(Tiles& tiles) {
    tiles.run[pixels - 1] = Kind::template run<blocks, pixels>;
    if constexpr (pixels > 1) fill_tiles<Kind, blocks, pixels - 1>(tiles);
}

template <typename Kind, int blocks>
constexpr Tiles make_tiles() {
    Tiles tiles{};
    fill_tiles<Kind, blocks, kMostPixels[blocks - 1]>(tiles);
    return tiles;
}

// Tiles by the vectors of weights of a tap: the blocks of outputs, or in pairs halves of them.
struct TileTable {
    Tiles vectors[kMostBlocks];
};

template <typename Kind>
constexpr TileTable kTable = {
    {make_tiles<Kind, 1>(), make_tiles<Kind, 2>(), make_tiles<Kind, 3>(), make_tiles<Kind, 4>()}};

inline const TileTable& tile_table(int64_t x_pixel, [[maybe_unused]] bool is_paired) {
#ifdef ECV_HAS_PAIRS
    if (is_paired) {
        if (x_pixel == kLanes) return kTable<Paired<kLanes>>;
        return x_pixel == 2 ? kTable<Paired<2>> : kTable<Paired<0>>;
    }
#endif
    switch (x_pixel) {
        case kLanes:
            return kTable<Single<kLanes>>;
        case 2 * kLanes:
            return kTable<Single<2 * kLanes>>;
        case 1:
            return kTable<Single<1>>;
        case 2:
            return kTable<Single<2>>;
        default:
            return kTable<Single<0>>;
    }
}

}  // namespace
