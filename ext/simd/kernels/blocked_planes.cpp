// Planes of float32 from one layout to another: planar, channel-last or blocked on either side. Rows of the
// table that are neighbors in memory form groups, which move as vectors.
#include "blocked.h"
#include "kernels.h"
#include "vec.h"

namespace {

using namespace ecv;

constexpr int64_t kLanes = kFloatLanes;
constexpr int64_t kFloat = sizeof(float);

// How the planes of a group lie: as lanes, side by side in each pixel, or as planes, pixel after pixel.
//   kLanesToLanes: `loaded` lanes of a pixel, and zeros, make `count` lanes.
//   kLanesToPlanes: `count` lanes of a pixel belong to as many planes.
//   kPlanesToLanes: the other way round; a source may be 0.
//   kSingle: one plane, anyhow.
enum Way : int32_t { kLanesToLanes, kLanesToPlanes, kPlanesToLanes, kSingle };

struct PlaneRef {
    int64_t source, target;
};

// The walk that all planes of a step share, in floats.
struct Walk {
    int64_t h, w, x_row, x_pixel, y_row, y_pixel;
};

Walk walk_of(const PlanesStep& step) {
    Walk walk = {step.h, step.w, step.x_row, step.x_pixel, step.y_row, step.y_pixel};
    // A column is walked as a row; rows without gaps are one.
    if (walk.w == 1) walk = {1, walk.h, 0, walk.x_row, 0, walk.y_row};
    if (walk.h == 1 || (walk.x_row == walk.w * walk.x_pixel && walk.y_row == walk.w * walk.y_pixel)) {
        walk.w *= walk.h;
        walk.h = 1;
    }
    return walk;
}

// ---- Grouping

// The group that starts at places[0].
PlaneGroup group_of(const PlaneRef* places, int64_t n, const Walk& walk) {
    const int32_t most = static_cast<int32_t>(n < kLanes ? n : kLanes);
    int32_t targets = 1, sources = 1;
    while (targets < most && places[targets].target == places[0].target + targets * kFloat) ++targets;
    if (places[0].source)
        while (sources < most && places[sources].source == places[0].source + sources * kFloat) ++sources;
    else
        sources = 0;

    // Planes whose pixels are neighbors are planar, even where lanes would fit as well.
    if (targets > 1 && walk.x_pixel == 1 && walk.w > 1) return {0, targets, 0, kPlanesToLanes};
    int32_t loaded = sources < targets ? sources : targets, count = loaded;
    while (count < targets && !places[count].source) ++count;
    if (count > 1) return {0, count, loaded, kLanesToLanes};
    if (sources > 1 && walk.y_pixel == 1 && walk.x_pixel != 1) return {0, sources, 0, kLanesToPlanes};
    return {0, 1, 0, kSingle};
}

int64_t find_groups(const PlaneRef* places, Range range, const Walk& walk, PlaneGroup* groups) {
    int64_t n = 0;
    for (int64_t i = range.first; i < range.end; i += groups[n++].count) {
        groups[n] = group_of(places + i, range.end - i, walk);
        groups[n].first = static_cast<int32_t>(i);
    }
    return n;
}

// ---- Moving w pixels of a group; the pointers are those of its first pixel

void move_lanes(const float* x, int64_t x_pixel, float* y, int64_t y_pixel, int64_t w, size_t loaded,
                size_t count) {
    if (loaded == kLanes) {
        for (int64_t i = 0; i < w; ++i) f_store(y + i * y_pixel, f_load(x + i * x_pixel));
    } else if (count == kLanes) {
        for (int64_t i = 0; i < w; ++i) f_store(y + i * y_pixel, f_load_first(x + i * x_pixel, loaded));
    } else {
        for (int64_t i = 0; i < w; ++i)
            f_store_first(y + i * y_pixel, f_load_first(x + i * x_pixel, loaded), count);
    }
}

void clear_lanes(float* y, int64_t y_pixel, int64_t w, size_t count) {
    for (int64_t i = 0; i < w; ++i) f_store_first(y + i * y_pixel, f_set(0.0f), count);
}

void lanes_to_planes(const float* x, int64_t x_pixel, float* const* y, int64_t w, int64_t count) {
    const bool is_full = count == kLanes;
    for (int64_t i = 0; i < w; i += kLanes) {
        const int64_t n = w - i < kLanes ? w - i : kLanes;
        VecF v[kLanes];
        for (int64_t k = 0; k < kLanes; ++k) v[k] = f_set(0.0f);
        for (int64_t k = 0; k < n; ++k) {
            const float* p = x + (i + k) * x_pixel;
            v[k] = is_full ? f_load(p) : f_load_first(p, static_cast<size_t>(count));
        }
        f_transpose(v);
        for (int64_t k = 0; k < count; ++k) {
            if (n == kLanes)
                f_store(y[k] + i, v[k]);
            else
                f_store_first(y[k] + i, v[k], static_cast<size_t>(n));
        }
    }
}

void planes_to_lanes(const float* const* x, float* y, int64_t y_pixel, int64_t w, int64_t count) {
    const bool is_full = count == kLanes;
    for (int64_t i = 0; i < w; i += kLanes) {
        const int64_t n = w - i < kLanes ? w - i : kLanes;
        VecF v[kLanes];
        for (int64_t k = 0; k < kLanes; ++k) v[k] = f_set(0.0f);
        for (int64_t k = 0; k < count; ++k)
            if (x[k]) v[k] = n == kLanes ? f_load(x[k] + i) : f_load_first(x[k] + i, static_cast<size_t>(n));
        f_transpose(v);
        for (int64_t k = 0; k < n; ++k) {
            float* p = y + (i + k) * y_pixel;
            if (is_full)
                f_store(p, v[k]);
            else
                f_store_first(p, v[k], static_cast<size_t>(count));
        }
    }
}

void move_single(const float* x, int64_t x_pixel, float* y, int64_t y_pixel, int64_t w) {
    if (!x) {
        for (int64_t i = 0; i < w; ++i) y[i * y_pixel] = 0.0f;
    } else if (x_pixel == 1 && y_pixel == 1) {
        __builtin_memmove(y, x, static_cast<size_t>(w) * sizeof(float));
    } else {
        for (int64_t i = 0; i < w; ++i) y[i * y_pixel] = x[i * x_pixel];
    }
}

// Pixels [first, first + w) of one row of the walk.
void move_group(const PlaneRef* places, const PlaneGroup& group, const Memory& memory, const Walk& walk,
                int64_t row, int64_t first, int64_t w) {
    const int64_t x_offset = row * walk.x_row + first * walk.x_pixel;
    const int64_t y_offset = row * walk.y_row + first * walk.y_pixel;
    const auto source = [&](int64_t k) -> const float* {
        const int64_t ref = places[group.first + k].source;
        return ref ? at<const float>(memory, ref) + x_offset : nullptr;
    };
    const auto target = [&](int64_t k) {
        return at<float>(memory, places[group.first + k].target) + y_offset;
    };
    switch (group.way) {
        case kLanesToLanes:
            if (!group.loaded)
                return clear_lanes(target(0), walk.y_pixel, w, static_cast<size_t>(group.count));
            return move_lanes(source(0), walk.x_pixel, target(0), walk.y_pixel, w,
                              static_cast<size_t>(group.loaded), static_cast<size_t>(group.count));
        case kLanesToPlanes: {
            float* y[kLanes];
            for (int64_t k = 0; k < group.count; ++k) y[k] = target(k);
            return lanes_to_planes(source(0), walk.x_pixel, y, w, group.count);
        }
        case kPlanesToLanes: {
            const float* x[kLanes];
            for (int64_t k = 0; k < group.count; ++k) x[k] = source(k);
            return planes_to_lanes(x, target(0), walk.y_pixel, w, group.count);
        }
        case kSingle:
            return move_single(source(0), walk.x_pixel, target(0), walk.y_pixel, w);
    }
}

StepStatus planes(const void* fields, const Memory& memory, int64_t chunk, char* scratch) {
    // Pixels that all groups move before the next ones: groups that share lines of a target find them in L1.
    constexpr int64_t kTile = 128;
    const PlanesStep& step = *static_cast<const PlanesStep*>(fields);
    const auto* places = at<const PlaneRef>(memory, step.places);
    const Walk walk = walk_of(step);
    auto* groups = reinterpret_cast<PlaneGroup*>(scratch);
    const int64_t n = find_groups(places, part_of(step.n_places, step.chunk_places, chunk), walk, groups);
    for (int64_t row = 0; row < walk.h; ++row)
        for (int64_t first = 0; first < walk.w; first += kTile) {
            const int64_t w = walk.w - first < kTile ? walk.w - first : kTile;
            for (int64_t i = 0; i < n; ++i) move_group(places, groups[i], memory, walk, row, first, w);
        }
    return StepStatus::ok;
}

}  // namespace

namespace ecv {

extern const PlanesKernels ECV_EXPORT(planes_kernels) = {planes};

}  // namespace ecv
