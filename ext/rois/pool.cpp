// ROI max pooling (Girshick 2015, Fast R-CNN, section 2.1), with the rounding of Caffe's ROIPooling layer.
//
// A block of channels at a time is laid out cell by cell, so that a bin is the largest of whole vectors, and
// of a quarter of them once every 2 x 2 cells have been joined; the bins of each box are then transposed into
// place. A block stays in the second nearest cache, the bins of a box in the nearest.
#include <math.h>

#include "rois.h"
#include "workspace.h"

namespace ecv {
namespace {

constexpr size_t kMostChannels = 64;
constexpr size_t kBlockBytes = 1 << 19;

constexpr size_t kCacheLine = 64;

// Floats from the start of a cache line on: a vector that lies in two lines costs two loads.
class LineBuffer {
  public:
    bool reserve(size_t n) { return buffer_.reserve(n + kCacheLine / sizeof(float)); }
    float* get() const {
        const uintptr_t address = reinterpret_cast<uintptr_t>(buffer_.get());
        return reinterpret_cast<float*>((address + kCacheLine - 1) / kCacheLine * kCacheLine);
    }

  private:
    Buffer<float> buffer_;
};

struct PoolWorkspace {
    LineBuffer cells, quads, bins;
    Buffer<int32_t> edges;  // x0, x1 of each column of bins, then y0, y1 of each row; box by box
};

thread_local PoolWorkspace workspace;

size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

size_t channels_at_once(const PoolRequest& request) {
    const size_t cells = request.height * request.width;
    size_t fit = kBlockBytes / (2 * cells * sizeof(float)) / kMaxLanes * kMaxLanes;
    if (fit > kMostChannels) fit = kMostChannels;
    const size_t all = round_up(request.channels, kMaxLanes);
    return fit == 0 ? kMaxLanes : fit < all ? fit : all;
}

// The cell that a coordinate lies in. Beyond 2^24 a float32 has no cells any more.
int32_t cell_of(float coordinate, float scale) {
    const float most = 1 << 24;
    const float at = coordinate * scale;
    return static_cast<int32_t>(roundf(at < -most ? -most : at > most ? most : at));
}

// From first to last cell, `bins` parts of equal length; each begins in the cell in which it begins and ends
// with the one in which it ends, so that neighbors overlap.
void split(int32_t first, int32_t last, size_t bins, size_t cells, int32_t* edges) {
    const int32_t length = last - first + 1 > 1 ? last - first + 1 : 1;
    const float bin = static_cast<float>(length) / static_cast<float>(bins);
    const int32_t most = static_cast<int32_t>(cells);
    const auto inside = [most](int32_t cell) { return cell < 0 ? 0 : cell > most ? most : cell; };
    for (size_t i = 0; i < bins; ++i) {
        edges[2 * i] = inside(static_cast<int32_t>(floorf(static_cast<float>(i) * bin)) + first);
        edges[2 * i + 1] = inside(static_cast<int32_t>(ceilf(static_cast<float>(i + 1) * bin)) + first);
    }
}

bool split_all(const PoolRequest& request, int32_t* edges, size_t* not_finite) {
    for (size_t i = 0; i < request.count; ++i) {
        const float* p = request.xyxy + static_cast<ptrdiff_t>(i) * request.box_stride;
        int32_t cell[4];
        for (int k = 0; k < 4; ++k, p += request.coordinate_stride) {
            if (!is_finite(*p)) {
                *not_finite = i;
                return false;
            }
            cell[k] = cell_of(*p, request.scale);
        }
        split(cell[0], cell[2], request.pooled_w, request.width, edges);
        edges += 2 * request.pooled_w;
        split(cell[1], cell[3], request.pooled_h, request.height, edges);
        edges += 2 * request.pooled_h;
    }
    return true;
}

}  // namespace

RoiStatus pool(const PoolRequest& request, size_t* not_finite) {
    PoolWorkspace& w = workspace;
    const size_t cells = request.height * request.width, bins = request.pooled_h * request.pooled_w;
    const size_t block = channels_at_once(request);
    const size_t of_box = 2 * (request.pooled_w + request.pooled_h);
    if (!w.cells.reserve(cells * block) || !w.quads.reserve(cells * block) || !w.bins.reserve(bins * block) ||
        !w.edges.reserve(request.count * of_box))
        return RoiStatus::out_of_memory;
    if (!split_all(request, w.edges.get(), not_finite)) return RoiStatus::not_finite;

    const RoiKernels& run = roi_kernels();
    for (size_t c = 0; c < request.channels; c += block) {
        const size_t some = request.channels - c < block ? request.channels - c : block;
        run.f32_transpose(request.features + c * cells, cells, some, cells, w.cells.get(), block);
        run.f32_max_quads(w.cells.get(), request.height, request.width, block, w.quads.get());
        const CellBlock pooled = {w.cells.get(), w.quads.get(), request.width, block};
        const int32_t* edges = w.edges.get();
        for (size_t i = 0; i < request.count; ++i, edges += of_box) {
            run.f32_max_bins(pooled,
                             {edges, edges + 2 * request.pooled_w, request.pooled_w, request.pooled_h},
                             w.bins.get());
            run.f32_transpose(w.bins.get(), block, bins, some,
                              request.out + (i * request.channels + c) * bins, bins);
        }
    }
    return RoiStatus::ok;
}

}  // namespace ecv
