// What steps on blocked storage need of memory and of their tables.
#include "blocked.h"
#include "steps.h"

namespace ecv {
namespace {

#define X(name) +1
constexpr int64_t kBlockedMapOps = ECV_BLOCKED_MAP_OPS(X);
constexpr int64_t kActivations = ECV_ACTIVATIONS(X);
constexpr int64_t kPoolKinds = ECV_POOL_KINDS(X);
#undef X

Examined unsound(const char* problem) { return {problem, 0, 0}; }

int64_t chunks_of(int64_t n, int64_t size) { return ceil_div(n, size); }

// Sides and taps are indices of int32.
bool are_sides(int64_t a, int64_t b) { return is_count(a, 1, INT32_MAX) && is_count(b, 1, INT32_MAX); }

// Whether the table of (input, output) Refs names blocks of so many floats.
bool are_blocks(const Memory& memory, int64_t ref, int64_t n, int64_t in_floats, int64_t out_floats) {
    const auto* blocks = table<int64_t>(memory, ref, times(n, 2));
    if (!blocks) return false;
    for (int64_t i = 0; i < n; ++i)
        if (!can_read(memory, blocks[2 * i], in_floats, sizeof(float)) ||
            !can_write(memory, blocks[2 * i + 1], out_floats, sizeof(float)))
            return false;
    return true;
}

int64_t block_floats(int64_t h, int64_t w, int lanes) { return times(times(h, w), lanes); }

// The table of n windows, each of which is empty or inside [0, size).
const PoolWindow* windows_of(const Memory& memory, int64_t ref, int64_t n, int64_t size) {
    static_assert(sizeof(PoolWindow) == 3 * sizeof(int32_t));
    const auto* entries = table<int32_t>(memory, ref, times(n, 3));
    if (!entries) return nullptr;
    const auto* windows = reinterpret_cast<const PoolWindow*>(entries);
    for (int64_t i = 0; i < n; ++i)
        if (windows[i].first < windows[i].end && (windows[i].first < 0 || windows[i].end > size))
            return nullptr;
    return windows;
}

// Whether the taps of weight other than 0 lie inside [0, size). Bits tell, as a comparison may take denormals
// for 0 where the kernel's does not.
bool are_taps(const Memory& memory, int64_t index_ref, int64_t weight_ref, int64_t n, int64_t size) {
    const auto* index = table<int32_t>(memory, index_ref, n);
    const auto* weight = table<uint32_t>(memory, weight_ref, n);
    if (!index || !weight) return false;
    for (int64_t i = 0; i < n; ++i)
        if ((weight[i] & 0x7fffffffu) && (index[i] < 0 || index[i] >= size)) return false;
    return true;
}

// Whether no product of a distance and a place in [0, n) comes near the ends of int64.
bool is_distance(int64_t distance, int64_t n) {
    return distance != INT64_MIN && is_count(times(distance < 0 ? -distance : distance, n), 0, INT64_MAX / 4);
}

}  // namespace

Examined examine_pool(const void* fields, const Memory& memory, int lanes) {
    const PoolStep& step = *static_cast<const PoolStep*>(fields);
    if (!is_count(step.kind, 0, kPoolKinds - 1)) return unsound("its kind is unknown");
    if (!are_sides(step.in_h, step.in_w) || !are_sides(step.out_h, step.out_w))
        return unsound("it has no pixels");
    if (!are_sides(step.dilation_y, step.dilation_x)) return unsound("its dilation is not positive");
    if (step.chunk_blocks < 1 || step.chunk_rows < 1) return unsound("its chunks are empty");
    if (!are_blocks(memory, step.blocks, step.n_blocks, block_floats(step.in_h, step.in_w, lanes),
                    block_floats(step.out_h, step.out_w, lanes)))
        return unsound("a block lies outside its memory");
    const PoolWindow* rows = windows_of(memory, step.rows, step.out_h, step.in_h);
    const PoolWindow* columns = windows_of(memory, step.columns, step.out_w, step.in_w);
    if (!rows || !columns) return unsound("a window lies outside the pixels");
    const int64_t row = times(times(step.in_w, lanes), sizeof(float));
    return {nullptr,
            times(chunks_of(step.n_blocks, step.chunk_blocks), chunks_of(step.out_h, step.chunk_rows)),
            is_direct(rows, columns, step) ? 0 : times(row, kPoolRows)};
}

RowAccess row_access_pool(const void* fields, const Memory& memory, int lanes) {
    const PoolStep& step = *static_cast<const PoolStep*>(fields);
    RowAccess access = row_access_of(step, at<const int64_t>(memory, step.blocks), lanes);
    access.windows.windows = at<const int32_t>(memory, step.rows);
    return access;
}

Examined examine_spatial(const void* fields, const Memory& memory, int lanes) {
    const SpatialStep& step = *static_cast<const SpatialStep*>(fields);
    switch (static_cast<ReduceKind>(step.kind)) {
        case ReduceKind::sum:
        case ReduceKind::mean:
        case ReduceKind::max:
        case ReduceKind::min:
        case ReduceKind::sum_square:
            break;
        default:
            return unsound("its kind is none of sum, mean, max, min, sum_square");
    }
    if (step.pixels < 1) return unsound("it has no pixels");
    if (step.chunk_blocks < 1) return unsound("its chunks are empty");
    if (!are_blocks(memory, step.blocks, step.n_blocks, times(step.pixels, lanes), lanes))
        return unsound("a block lies outside its memory");
    return {nullptr, chunks_of(step.n_blocks, step.chunk_blocks), 0};
}

ECV_NO_ROWS(spatial)

Examined examine_resize(const void* fields, const Memory& memory, int lanes) {
    const ResizeStep& step = *static_cast<const ResizeStep*>(fields);
    if (!are_sides(step.in_h, step.in_w) || !are_sides(step.out_h, step.out_w))
        return unsound("it has no pixels");
    if (!are_sides(step.y_taps, step.x_taps)) return unsound("it has no taps");
    if (step.chunk_blocks < 1 || step.chunk_rows < 1) return unsound("its chunks are empty");
    if (!are_blocks(memory, step.blocks, step.n_blocks, block_floats(step.in_h, step.in_w, lanes),
                    block_floats(step.out_h, step.out_w, lanes)))
        return unsound("a block lies outside its memory");
    if (!are_taps(memory, step.y_index, step.y_weight, times(step.out_h, step.y_taps), step.in_h) ||
        !are_taps(memory, step.x_index, step.x_weight, times(step.out_w, step.x_taps), step.in_w))
        return unsound("a tap lies outside the pixels");
    const ResizeScratch scratch = resize_scratch(step, lanes);
    // Places in the row between are int32.
    if (!is_count(scratch.rows, 0, INT32_MAX)) return unsound("its rows are too long");
    return {nullptr,
            times(chunks_of(step.n_blocks, step.chunk_blocks), chunks_of(step.out_h, step.chunk_rows)),
            scratch.bytes};
}

ECV_NO_ROWS(resize)

Examined examine_map(const void* fields, const Memory& memory, int lanes) {
    const MapStep& step = *static_cast<const MapStep*>(fields);
    if (!is_count(step.op, 0, kBlockedMapOps - 1)) return unsound("its op is unknown");
    if (!is_count(step.activation, 0, kActivations - 1)) return unsound("its activation is unknown");
    if (step.pixels < 0) return unsound("its pixels are negative");
    if (step.chunk_blocks < 1) return unsound("its chunks are empty");
    const auto* operands = table<int64_t>(memory, step.operands, times(step.n_blocks, 4));
    if (!operands) return unsound("its operands lie outside the constants");
    const int taken = map_operands(static_cast<MapOp>(step.op));
    const int64_t pixels[] = {step.a_pixel, step.b_pixel, step.c_pixel};
    const int64_t block = times(step.pixels, lanes);
    for (int k = 0; k < taken; ++k)
        if (pixels[k] != 0 && pixels[k] != lanes)
            return unsound("an operand's pixels are neither packed nor one");
    for (int64_t i = 0; i < step.n_blocks; ++i, operands += 4) {
        for (int k = 0; k < taken; ++k)
            if (!can_read(memory, operands[k], pixels[k] ? block : lanes, sizeof(float)))
                return unsound("an operand lies outside its memory");
        if (!can_write(memory, operands[3], block, sizeof(float)))
            return unsound("its result lies outside its memory");
    }
    return {nullptr, chunks_of(step.n_blocks, step.chunk_blocks), 0};
}

ECV_NO_ROWS(map)

Examined examine_planes(const void* fields, const Memory& memory, int) {
    const PlanesStep& step = *static_cast<const PlanesStep*>(fields);
    const int64_t shape[] = {step.h, step.w};
    const int64_t x_strides[] = {step.x_row, step.x_pixel}, y_strides[] = {step.y_row, step.y_pixel};
    if (!is_count(step.h, 0, INT32_MAX) || !is_count(step.w, 0, INT32_MAX))
        return unsound("its sides are negative");
    if (!is_count(step.n_places, 0, INT32_MAX)) return unsound("it has too many planes");
    if (step.chunk_places < 1) return unsound("its chunks are empty");
    for (int k = 0; k < 2; ++k)
        if (!is_distance(x_strides[k], shape[k]) || !is_distance(y_strides[k], shape[k]))
            return unsound("its distances are too large");
    const auto* places = table<int64_t>(memory, step.places, 2 * step.n_places);
    if (!places) return unsound("its places lie outside the constants");
    for (int64_t i = 0; i < step.n_places; ++i, places += 2) {
        if (places[0] && !can_walk(memory, places[0], shape, x_strides, 2, sizeof(float)))
            return unsound("a source lies outside its memory");
        if (!is_writable(memory, places[1]) ||
            !can_walk(memory, places[1], shape, y_strides, 2, sizeof(float)))
            return unsound("a target lies outside its memory");
    }
    const int64_t together = step.chunk_places < step.n_places ? step.chunk_places : step.n_places;
    return {nullptr, chunks_of(step.n_places, step.chunk_places), times(together, sizeof(PlaneGroup))};
}

ECV_NO_ROWS(planes)

}  // namespace ecv
