// Convolution: rectangles of outputs, cut into tiles.

#include <string.h>

#include "conv_tiles.h"
#include "kernels.h"

namespace {

using ecv::ConvStep;

// Where weights of a tile are larger than this, the taps are taken in slices that fit the first cache, each
// for all pixels, with the sums kept in y in between.
constexpr int64_t kHeldWeights = 384 << 10;
constexpr int64_t kSliceWeights = 24 << 10;

struct Range {
    int64_t first, end;
    bool is_empty() const { return first >= end; }
};

Range common(const Range& a, const Range& b) {
    return {a.first > b.first ? a.first : b.first, a.end < b.end ? a.end : b.end};
}

// A rectangle of outputs.
struct Part {
    const float* x;  // of its first output
    int64_t x_run, x_pixel;
    const int32_t* offsets;
    int64_t y, y_run, y_pixel;  // floats from a block's first output to its own; distances
    int64_t runs, pixels;
};

// The rectangles of a chunk: all of it; or what is above, below, left and right of the inner outputs, and
// these.
struct Parts {
    Part part[5];
    int count = 0;

    void add(const Part& p) { part[count++] = p; }
};

// The outputs of a chunk.
struct Chunk {
    Range runs, pixels;
};

// Copies what the outputs of `part` read of each plane to its place in the window of the chunk, with zeros
// where it leaves the plane.
void gather_window(const ConvStep& s, const ecv::Memory& memory, int64_t first_run, const Chunk& part,
                   float* window) {
    const int64_t* planes = ecv::at<const int64_t>(memory, s.planes);
    const int64_t lanes = s.plane_lanes, stride_x = s.x_pixel / lanes;
    const int64_t plane_rows = (s.chunk_runs - 1) * s.stride_y + s.extent_y;
    const int64_t top = part.runs.first * s.stride_y;
    const int64_t bottom = (part.runs.end - 1) * s.stride_y + s.extent_y;
    // Columns of the window: [from, to), of which [left, right) lie in the plane.
    const int64_t from = part.pixels.first * stride_x;
    const int64_t to = s.window_w - (s.pixels - part.pixels.end) * stride_x;
    const auto within = [&](int64_t column) { return column < from ? from : column < to ? column : to; };
    const int64_t left = within(s.pad_left), right = within(s.pad_left + s.in_w);
    const auto bytes = [&](int64_t columns) { return static_cast<size_t>(columns * lanes) * sizeof(float); };
    for (int64_t i = 0; i < s.n_planes; ++i) {
        const float* plane = ecv::at<const float>(memory, planes[i]) - s.pad_left * lanes;
        float* to_row = window + (i * plane_rows + top - first_run * s.stride_y) * s.window_w * lanes;
        for (int64_t row = top - s.pad_top; row < bottom - s.pad_top; ++row, to_row += s.window_w * lanes) {
            if (row < 0 || row >= s.in_h || left >= right) {
                memset(to_row + from * lanes, 0, bytes(to - from));
                continue;
            }
            memset(to_row + from * lanes, 0, bytes(left - from));
            memcpy(to_row + left * lanes, plane + row * s.plane_row + left * lanes, bytes(right - left));
            memset(to_row + right * lanes, 0, bytes(to - right));
        }
    }
}

// A rectangle that reads the window.
void add_gathered(const ConvStep& s, const ecv::Memory& memory, const Chunk& chunk, const Chunk& part,
                  float* window, Parts* parts) {
    if (part.runs.is_empty() || part.pixels.is_empty()) return;
    const int64_t first_run = chunk.runs.first;
    gather_window(s, memory, first_run, part, window);
    Part p;
    p.x = window + (part.runs.first - first_run) * s.x_run + part.pixels.first * s.x_pixel;
    p.offsets = ecv::at<const int32_t>(memory, s.offsets);
    p.y = part.runs.first * s.y_run + part.pixels.first * s.y_pixel;
    p.x_run = s.x_run, p.y_run = s.y_run, p.runs = part.runs.end - part.runs.first;
    p.x_pixel = s.x_pixel, p.y_pixel = s.y_pixel, p.pixels = part.pixels.end - part.pixels.first;
    // Tiles are cut along pixels: of a column, those are its runs.
    if (p.pixels < p.runs) {
        const Part turned = p;
        p.x_run = turned.x_pixel, p.y_run = turned.y_pixel, p.runs = turned.pixels;
        p.x_pixel = turned.x_run, p.y_pixel = turned.y_run, p.pixels = turned.runs;
    }
    parts->add(p);
}

void add_window(const ConvStep& s, const ecv::Memory& memory, const Chunk& chunk, float* window,
                Parts* parts) {
    const Range runs = common(chunk.runs, {s.inner_run, s.inner_run + s.inner_runs});
    const Range pixels = common(chunk.pixels, {s.inner_pixel, s.inner_pixel + s.inner_pixels});
    const auto gathered = [&](const Range& some_runs, const Range& some_pixels) {
        add_gathered(s, memory, chunk, {some_runs, some_pixels}, window, parts);
    };
    if (runs.is_empty() || pixels.is_empty()) {
        gathered(chunk.runs, chunk.pixels);
        return;
    }
    gathered({chunk.runs.first, runs.first}, chunk.pixels);
    gathered({runs.end, chunk.runs.end}, chunk.pixels);
    gathered(runs, {chunk.pixels.first, pixels.first});
    gathered(runs, {pixels.end, chunk.pixels.end});
    Part inner;
    inner.x_run = s.stride_y * s.plane_row, inner.x_pixel = s.x_pixel;
    inner.x = ecv::at<const float>(memory, s.x) + (runs.first - s.inner_run) * inner.x_run +
              (pixels.first - s.inner_pixel) * inner.x_pixel;
    inner.offsets = ecv::at<const int32_t>(memory, s.inner);
    inner.y = runs.first * s.y_run + pixels.first * s.y_pixel;
    inner.y_run = s.y_run, inner.y_pixel = s.y_pixel;
    inner.runs = runs.end - runs.first, inner.pixels = pixels.end - pixels.first;
    parts->add(inner);
}

struct TileShape {
    int64_t vectors, taps, offset, weight;
    bool is_paired;

    int64_t blocks() const { return is_paired ? (vectors + 1) / 2 : vectors; }
};

// One tile of output channels for all pixels of the part.
void run_channels(const ConvStep& s, const Part& part, const TileShape& shape, const Finish& finish,
                  const float* weights, const float* bias, const float* residual, float* y) {
    const Tiles& tiles = tile_table(part.x_pixel, shape.is_paired).vectors[shape.vectors - 1];
    const EqualParts cuts(part.pixels, kMostPixels[shape.vectors - 1]);
    const int64_t tap_floats = shape.vectors * kLanes;
    int64_t slice = shape.taps;
    // In y, sums would overwrite a residual that is y itself.
    if (slice * tap_floats * 4 > kHeldWeights && cuts.count * part.runs > 1 && residual != y &&
        !shape.is_paired)
        slice = kSliceWeights / (tap_floats * 4);
    Tile t;
    t.x_pixel = part.x_pixel;
    t.y_pixel = part.y_pixel;
    t.y_block = s.y_block;
    int64_t done = 0;
    do {
        const bool is_first = done == 0, is_last = shape.taps - done <= slice;
        t.taps = is_last ? shape.taps - done : slice;
        t.offsets = part.offsets + shape.offset + done;
        t.weights = weights + shape.weight + done * tap_floats;
        t.finish = is_last ? finish : kNoFinish;
        t.start_block = is_first ? kLanes : s.y_block;
        t.start_pixel = is_first ? 0 : part.y_pixel;
        for (int64_t run = 0; run < part.runs; ++run) {
            int64_t place = part.y + run * part.y_run;
            t.x = part.x + run * part.x_run;
            for (int64_t i = 0; i < cuts.count; ++i) {
                const int64_t pixels = cuts.size(i);
                t.y = y + place;
                t.start = is_first ? bias : t.y;
                t.residual = is_last && residual != nullptr ? residual + place : nullptr;
                tiles.run[pixels - 1](t);
                if (t.finish.after != nullptr)
                    t.finish.after(t.y, shape.blocks(), s.y_block, pixels, part.y_pixel, t.finish.alpha,
                                   t.finish.beta);
                t.x += pixels * part.x_pixel;
                place += pixels * part.y_pixel;
            }
        }
        done += t.taps;
    } while (done < shape.taps);
}

ecv::StepStatus conv(const void* step, const ecv::Memory& memory, int64_t chunk_index, char* scratch) {
    const ConvStep& s = *static_cast<const ConvStep*>(step);
    const int64_t tile_chunks = ecv::ceil_div(s.n_tiles, s.chunk_tiles);
    const int64_t first_tile = chunk_index % tile_chunks * s.chunk_tiles, part = chunk_index / tile_chunks;
    const int64_t last_tile = first_tile + s.chunk_tiles < s.n_tiles ? first_tile + s.chunk_tiles : s.n_tiles;

    Chunk chunk{{0, s.runs}, {0, s.pixels}};
    if (s.runs > 1)
        chunk.runs = common(chunk.runs, {part * s.chunk_runs, (part + 1) * s.chunk_runs});
    else
        chunk.pixels = common(chunk.pixels, {part * s.chunk_pixels, (part + 1) * s.chunk_pixels});
    Parts parts;
    if (s.n_planes > 0) {
        add_window(s, memory, chunk, reinterpret_cast<float*>(scratch), &parts);
    } else {
        const int64_t run = chunk.runs.first, pixel = chunk.pixels.first;
        parts.add({ecv::at<const float>(memory, s.x) + run * s.x_run + pixel * s.x_pixel, s.x_run, s.x_pixel,
                   ecv::at<const int32_t>(memory, s.offsets), run * s.y_run + pixel * s.y_pixel, s.y_run,
                   s.y_pixel, chunk.runs.end - run, chunk.pixels.end - pixel});
    }
    const Finish finish = finish_of(s.activation, s.alpha, s.beta);

    const int64_t* tiles = ecv::at<const int64_t>(memory, s.tiles);
    const float* weights = ecv::at<const float>(memory, s.weights);
    const float* bias = ecv::at<const float>(memory, s.bias);
    const float* residual = s.residual == 0 ? nullptr : ecv::at<const float>(memory, s.residual);
    float* y = ecv::at<float>(memory, s.y);
    int64_t block = 0;
    for (int64_t i = 0; i < last_tile; ++i) {
        const TileShape shape{tiles[4 * i], tiles[4 * i + 1], tiles[4 * i + 2], tiles[4 * i + 3],
                              s.paired != 0};
        const int64_t place = block * s.y_block;
        for (int k = 0; i >= first_tile && k < parts.count; ++k)
            run_channels(s, parts.part[k], shape, finish, weights, bias,
                         residual == nullptr ? nullptr : residual + place, y + place);
        block += shape.blocks();
        bias += shape.vectors * kLanes;
    }
    return ecv::StepStatus::ok;
}

}  // namespace

namespace ecv {

const ConvKernels ECV_EXPORT(conv_kernels) = {conv};

}  // namespace ecv
