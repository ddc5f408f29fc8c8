// Convolution: sums of a tile of output channels and pixels are held in registers over all taps.

#include <string.h>

#include "finish.h"
#include "kernels.h"

namespace {

using ecv::ConvStep;

constexpr int64_t kLanes = kFloatLanes;
constexpr int kMostBlocks = 4;

// The most pixels of a tile, by its blocks: what leaves registers for a tap's weights and a value of x.
#if defined(__SANITIZE_ADDRESS__)
// Sanitizers check each access of an unrolled tile: large ones would take many minutes to compile.
constexpr int kRegisters = 16;
constexpr int kMostPixels[kMostBlocks] = {4, 3, 2, 2};
#elif defined(__AVX512F__)
constexpr int kRegisters = 32;
constexpr int kMostPixels[kMostBlocks] = {28, 14, 9, 7};
#elif defined(__AVX2__)
constexpr int kRegisters = 16;
constexpr int kMostPixels[kMostBlocks] = {12, 6, 4, 2};
#elif defined(__aarch64__)
constexpr int kRegisters = 32;
constexpr int kMostPixels[kMostBlocks] = {14, 8, 6, 4};
#else
constexpr int kRegisters = 16;
constexpr int kMostPixels[kMostBlocks] = {12, 5, 3, 2};
#endif

// Where weights of a tile are larger than this, the taps are taken in slices that fit the first cache, each
// for all pixels, with the sums kept in y in between.
constexpr int64_t kHeldWeights = 384 << 10;
constexpr int64_t kSliceWeights = 24 << 10;

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

// x_step: the distance of pixels where it is known at compile time, else 0.
template <int blocks, int pixels, int x_step>
void run_tile(const Tile& t) {
    const int64_t x_pixel = x_step != 0 ? x_step : t.x_pixel;
    VecF sum[blocks * pixels];
    ECV_UNROLL for (int o = 0; o < blocks; ++o) ECV_UNROLL for (int p = 0; p < pixels; ++p)
        sum[o * pixels + p] = f_load(t.start + o * t.start_block + p * t.start_pixel);
    // The weights of the last block are then read anew for each pixel: no register is left to hold them.
    constexpr bool is_tight = blocks * pixels + blocks + 1 > kRegisters;
    const float* first = t.x;
    const int32_t* offset = t.offsets;
    const float* weights = t.weights;
    for (int64_t k = t.taps; k != 0; --k, ++offset, weights += blocks * kLanes) {
        const float* x = first + *offset;
        VecF w[blocks];
        ECV_UNROLL for (int o = 0; o < blocks; ++o) w[o] = f_load(weights + o * kLanes);
        ECV_UNROLL for (int p = 0; p < pixels; ++p) {
            const VecF value = f_set(x[p * x_pixel]);
            if constexpr (is_tight) {
                asm volatile("" ::: "memory");
                w[blocks - 1] = f_load(weights + (blocks - 1) * kLanes);
            }
            ECV_UNROLL for (int o = 0; o < blocks; ++o) sum[o * pixels + p] =
                f_fma(w[o], value, sum[o * pixels + p]);
        }
    }
    if (t.residual != nullptr)
        ECV_UNROLL for (int o = 0; o < blocks; ++o) ECV_UNROLL for (int p = 0; p < pixels; ++p)
            sum[o * pixels + p] = sum[o * pixels + p] + f_load(t.residual + o * t.y_block + p * t.y_pixel);
    finish_sums(t.finish, sum);
    ECV_UNROLL for (int o = 0; o < blocks; ++o) ECV_UNROLL for (int p = 0; p < pixels; ++p)
        f_store(t.y + o * t.y_block + p * t.y_pixel, sum[o * pixels + p]);
}

using RunTile = void (*)(const Tile&);

// Tiles of 1 to kMostPixels pixels.
struct Tiles {
    RunTile run[kMostPixels[0]];
};

template <int blocks, int x_step, int pixels>
constexpr void fill_tiles(Tiles& tiles) {
    tiles.run[pixels - 1] = run_tile<blocks, pixels, x_step>;
    if constexpr (pixels > 1) fill_tiles<blocks, x_step, pixels - 1>(tiles);
}

template <int blocks, int x_step>
constexpr Tiles make_tiles() {
    Tiles tiles{};
    fill_tiles<blocks, x_step, kMostPixels[blocks - 1]>(tiles);
    return tiles;
}

// Tiles by their blocks.
struct TileTable {
    Tiles blocks[kMostBlocks];
};

template <int x_step>
constexpr TileTable make_table() {
    return {
        {make_tiles<1, x_step>(), make_tiles<2, x_step>(), make_tiles<3, x_step>(), make_tiles<4, x_step>()}};
}

constexpr TileTable kBlocked = make_table<kLanes>();
constexpr TileTable kBlockedStride2 = make_table<2 * kLanes>();
constexpr TileTable kPlanar = make_table<1>();
constexpr TileTable kPlanarStride2 = make_table<2>();
constexpr TileTable kAnyDistance = make_table<0>();

const TileTable& tile_table(int64_t x_pixel) {
    switch (x_pixel) {
        case kLanes:
            return kBlocked;
        case 2 * kLanes:
            return kBlockedStride2;
        case 1:
            return kPlanar;
        case 2:
            return kPlanarStride2;
        default:
            return kAnyDistance;
    }
}

// Copies the rows of each plane that `runs` runs from `first_run` on need, with zeros where they leave the
// plane.
void gather_window(const ConvStep& s, const ecv::Memory& memory, int64_t first_run, int64_t runs,
                   float* window) {
    const int64_t* planes = ecv::at<const int64_t>(memory, s.planes);
    const int64_t lanes = s.plane_lanes;
    const int64_t rows = (runs - 1) * s.stride_y + s.extent_y;
    const int64_t plane_rows = (s.chunk_runs - 1) * s.stride_y + s.extent_y;
    const int64_t top = first_run * s.stride_y - s.pad_top;
    // Columns [left, right) of the window lie in the plane.
    const int64_t left = s.pad_left < 0 ? 0 : s.pad_left < s.window_w ? s.pad_left : s.window_w;
    int64_t right = s.pad_left + s.in_w;
    right = right < left ? left : right < s.window_w ? right : s.window_w;
    for (int64_t i = 0; i < s.n_planes; ++i) {
        const float* plane = ecv::at<const float>(memory, planes[i]);
        float* to = window + i * plane_rows * s.window_w * lanes;
        for (int64_t row = top; row < top + rows; ++row, to += s.window_w * lanes) {
            if (row < 0 || row >= s.in_h || left == right) {
                memset(to, 0, static_cast<size_t>(s.window_w * lanes) * sizeof(float));
                continue;
            }
            const float* from = plane + row * s.plane_row + (left - s.pad_left) * lanes;
            memset(to, 0, static_cast<size_t>(left * lanes) * sizeof(float));
            memcpy(to + left * lanes, from, static_cast<size_t>((right - left) * lanes) * sizeof(float));
            memset(to + right * lanes, 0, static_cast<size_t>((s.window_w - right) * lanes) * sizeof(float));
        }
    }
}

// What a chunk has besides its step.
struct Part {
    const float* x;  // of the first pixel of the first run
    const float* residual;
    float* y;
    int64_t runs, pixels;
    Finish finish;
};

struct TileShape {
    int64_t blocks, taps, offset, weight;
};

// One tile of output channels for all pixels of the part.
void run_channels(const ConvStep& s, const Part& part, const TileShape& shape, const int32_t* offsets,
                  const float* weights, const float* bias, const float* residual, float* y) {
    const Tiles& tiles = tile_table(s.x_pixel).blocks[shape.blocks - 1];
    const int64_t most = kMostPixels[shape.blocks - 1];
    const EqualParts parts(part.pixels, most);
    const int64_t tap_floats = shape.blocks * kLanes;
    int64_t slice = shape.taps;
    // In y, sums would overwrite a residual that is y itself.
    if (slice * tap_floats * 4 > kHeldWeights && parts.count * part.runs > 1 && residual != y)
        slice = kSliceWeights / (tap_floats * 4);
    Tile t;
    t.x_pixel = s.x_pixel;
    t.y_pixel = s.y_pixel;
    t.y_block = s.y_block;
    int64_t done = 0;
    do {
        const bool is_first = done == 0, is_last = shape.taps - done <= slice;
        t.taps = is_last ? shape.taps - done : slice;
        t.offsets = offsets + shape.offset + done;
        t.weights = weights + shape.weight + done * tap_floats;
        t.finish = is_last ? part.finish : kNoFinish;
        t.start_block = is_first ? kLanes : s.y_block;
        t.start_pixel = is_first ? 0 : s.y_pixel;
        for (int64_t run = 0; run < part.runs; ++run) {
            int64_t place = run * s.y_run;
            t.x = part.x + run * s.x_run;
            for (int64_t i = 0; i < parts.count; ++i) {
                const int64_t pixels = parts.size(i);
                t.y = y + place;
                t.start = is_first ? bias : t.y;
                t.residual = is_last && residual != nullptr ? residual + place : nullptr;
                tiles.run[pixels - 1](t);
                if (t.finish.after != nullptr)
                    t.finish.after(t.y, shape.blocks, s.y_block, pixels, s.y_pixel, t.finish.alpha,
                                   t.finish.beta);
                t.x += pixels * s.x_pixel;
                place += pixels * s.y_pixel;
            }
        }
        done += t.taps;
    } while (done < shape.taps);
}

ecv::StepStatus conv(const void* step, const ecv::Memory& memory, int64_t chunk, char* scratch) {
    const ConvStep& s = *static_cast<const ConvStep*>(step);
    const int64_t tile_chunks = ecv::ceil_div(s.n_tiles, s.chunk_tiles);
    const int64_t first_tile = chunk % tile_chunks * s.chunk_tiles, part_index = chunk / tile_chunks;
    const int64_t last_tile = first_tile + s.chunk_tiles < s.n_tiles ? first_tile + s.chunk_tiles : s.n_tiles;

    Part part;
    int64_t first_run = 0, first_pixel = 0;
    part.runs = 1;
    part.pixels = s.pixels;
    if (s.runs > 1) {
        first_run = part_index * s.chunk_runs;
        part.runs = s.runs - first_run < s.chunk_runs ? s.runs - first_run : s.chunk_runs;
    } else {
        first_pixel = part_index * s.chunk_pixels;
        part.pixels = s.pixels - first_pixel < s.chunk_pixels ? s.pixels - first_pixel : s.chunk_pixels;
    }
    if (s.n_planes > 0) {
        float* window = reinterpret_cast<float*>(scratch);
        gather_window(s, memory, first_run, part.runs, window);
        part.x = window + first_pixel * s.x_pixel;
    } else {
        part.x = ecv::at<const float>(memory, s.x) + first_run * s.x_run + first_pixel * s.x_pixel;
    }
    part.finish = finish_of(s.activation, s.alpha, s.beta);

    const int64_t* tiles = ecv::at<const int64_t>(memory, s.tiles);
    const int32_t* offsets = ecv::at<const int32_t>(memory, s.offsets);
    const float* weights = ecv::at<const float>(memory, s.weights);
    const float* bias = ecv::at<const float>(memory, s.bias);
    const float* residual = s.residual == 0 ? nullptr : ecv::at<const float>(memory, s.residual);
    float* y = ecv::at<float>(memory, s.y);
    int64_t block = 0;
    for (int64_t i = 0; i < first_tile; ++i) block += tiles[4 * i];
    for (int64_t i = first_tile; i < last_tile; ++i) {
        const TileShape shape{tiles[4 * i], tiles[4 * i + 1], tiles[4 * i + 2], tiles[4 * i + 3]};
        const int64_t place = block * s.y_block + first_run * s.y_run + first_pixel * s.y_pixel;
        run_channels(s, part, shape, offsets, weights, bias + block * kLanes,
                     residual == nullptr ? nullptr : residual + place, y + place);
        block += shape.blocks;
    }
    return ecv::StepStatus::ok;
}

}  // namespace

namespace ecv {

const ConvKernels ECV_EXPORT(conv_kernels) = {conv};

}  // namespace ecv
