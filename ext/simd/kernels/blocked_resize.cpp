// Interpolation of blocked storage: rows into a row of scratch, then along it. A tap of weight 0 is not read:
// it takes a pixel of zeros at the end of that row.
#include "blocked.h"
#include "kernels.h"
#include "vec_math.h"

namespace {

using namespace ecv;

constexpr int64_t kLanes = kFloatLanes;

// What all rows of a chunk share.
struct Columns {
    int64_t n, taps;
    const int32_t* place;  // [n][taps]: where in the row of scratch, in floats
    const float* weight;
    const int32_t*
        source;      // the column of x that each pixel of the row comes from; nullptr where it is the same
    int64_t pixels;  // of that row, without the zero
};

// ---- Along y

template <int taps>
void blend_rows(const ResizeRow* rows, int64_t pixels, float* y) {
    VecF weight[taps];
    for (int t = 0; t < taps; ++t) weight[t] = f_set(rows[t].weight);
    for (int64_t i = 0; i < pixels * kLanes; i += kLanes) {
        VecF sum = f_load(rows[0].p + i) * weight[0];
        for (int t = 1; t < taps; ++t) sum = f_fma(f_load(rows[t].p + i), weight[t], sum);
        f_store(y + i, sum);
    }
}

void blend_any_rows(const ResizeRow* rows, int64_t taps, int64_t pixels, const int32_t* source, float* y) {
    for (int64_t i = 0; i < pixels; ++i) {
        const int64_t place = (source ? source[i] : i) * kLanes;
        VecF sum = f_set(0.0f);
        for (int64_t t = 0; t < taps; ++t) sum = f_fma(f_load(rows[t].p + place), f_set(rows[t].weight), sum);
        f_store(y + i * kLanes, sum);
    }
}

void blend(const ResizeRow* rows, int64_t taps, const Columns& columns, float* y) {
    if (columns.source) return blend_any_rows(rows, taps, columns.pixels, columns.source, y);
    switch (taps) {
        case 1:
            return blend_rows<1>(rows, columns.pixels, y);
        case 2:
            return blend_rows<2>(rows, columns.pixels, y);
        case 3:
            return blend_rows<3>(rows, columns.pixels, y);
        case 4:
            return blend_rows<4>(rows, columns.pixels, y);
        default:
            return blend_any_rows(rows, taps, columns.pixels, nullptr, y);
    }
}

// ---- Along x

template <int taps>
void blend_columns(const Columns& columns, const float* row, float* y) {
    const int32_t* place = columns.place;
    const float* weight = columns.weight;
    for (int64_t j = 0; j < columns.n; ++j, place += taps, weight += taps) {
        VecF sum = f_load(row + place[0]) * f_set(weight[0]);
        for (int t = 1; t < taps; ++t) sum = f_fma(f_load(row + place[t]), f_set(weight[t]), sum);
        f_store(y + j * kLanes, sum);
    }
}

void blend_any_columns(const Columns& columns, const float* row, float* y) {
    const int32_t* place = columns.place;
    const float* weight = columns.weight;
    for (int64_t j = 0; j < columns.n; ++j, place += columns.taps, weight += columns.taps) {
        VecF sum = f_set(0.0f);
        for (int64_t t = 0; t < columns.taps; ++t) sum = f_fma(f_load(row + place[t]), f_set(weight[t]), sum);
        f_store(y + j * kLanes, sum);
    }
}

void blend_row(const Columns& columns, const float* row, float* y) {
    switch (columns.taps) {
        case 1:
            return blend_columns<1>(columns, row, y);
        case 2:
            return blend_columns<2>(columns, row, y);
        case 4:
            return blend_columns<4>(columns, row, y);
        default:
            return blend_any_columns(columns, row, y);
    }
}

// ---- Copies

bool all_are_one(const float* weights, int64_t n) {
    for (int64_t i = 0; i < n; ++i)
        if (weights[i] != 1.0f) return false;
    return true;
}

void copy_row(const float* x, int64_t pixels, float* y) {
    for (int64_t i = 0; i < pixels * kLanes; i += kLanes) f_store(y + i, f_load(x + i));
}

void pick_row(const float* x, const int32_t* columns, int64_t n, float* y) {
    for (int64_t j = 0; j < n; ++j) f_store(y + j * kLanes, f_load(x + columns[j] * kLanes));
}

// Nearest neighbors; a row that repeats the one before it is copied, which reads half as much.
void pick_block(const ResizeStep& step, const int32_t* rows, const int32_t* columns, Range range,
                const float* x, float* y) {
    const int64_t width = step.out_w * kLanes;
    for (int64_t i = range.first; i < range.end; ++i) {
        float* out = y + i * width;
        if (i > range.first && rows[i] == rows[i - 1])
            copy_row(out - width, step.out_w, out);
        else
            pick_row(x + rows[i] * step.in_w * kLanes, columns, step.out_w, out);
    }
}

// ---- The step

// The tables of a chunk, in its scratch.
Columns prepare_columns(const ResizeStep& step, const int32_t* index, const float* weight, int32_t* place) {
    const bool few = takes_few_columns(step);
    Columns columns = {step.out_w, step.x_taps, place, weight, nullptr, resize_pixels(step)};
    const int64_t n = step.out_w * step.x_taps, zero = columns.pixels;
    int32_t* source = place + n;
    if (few) columns.source = source;
    for (int64_t i = 0; i < n; ++i) {
        const bool is_read = weight[i] != 0.0f;
        place[i] = static_cast<int32_t>((!is_read ? zero : few ? i : index[i]) * kLanes);
        if (few) source[i] = is_read ? index[i] : 0;
    }
    return columns;
}

void resize_block(const ResizeStep& step, const int32_t* index, const float* weight, const Columns& columns,
                  Range range, const float* x, float* y, ResizeRow* rows, float* between) {
    for (int64_t i = range.first; i < range.end; ++i) {
        int64_t taps = 0;
        for (int64_t t = i * step.y_taps; t < (i + 1) * step.y_taps; ++t)
            if (weight[t] != 0.0f) rows[taps++] = {x + index[t] * step.in_w * kLanes, weight[t]};
        blend(rows, taps, columns, between);
        blend_row(columns, between, y + i * step.out_w * kLanes);
    }
}

StepStatus resize(const void* fields, const Memory& memory, int64_t chunk, char* scratch) {
    const ResizeStep& step = *static_cast<const ResizeStep*>(fields);
    const ChunkOf part = chunk_of(step.n_blocks, step.chunk_blocks, step.out_h, step.chunk_rows, chunk);
    const auto* blocks = at<const int64_t>(memory, step.blocks);
    const auto* y_index = at<const int32_t>(memory, step.y_index);
    const auto* x_index = at<const int32_t>(memory, step.x_index);
    const auto* y_weight = at<const float>(memory, step.y_weight);
    const auto* x_weight = at<const float>(memory, step.x_weight);
    const bool copies = step.x_taps == 1 && step.y_taps == 1 && all_are_one(x_weight, step.out_w) &&
                        all_are_one(y_weight, step.out_h);

    const ResizeScratch places = resize_scratch(step, kFloatLanes);
    auto* between = reinterpret_cast<float*>(scratch);
    auto* rows = reinterpret_cast<ResizeRow*>(scratch + places.rows);
    Columns columns = {};
    if (!copies) {
        columns =
            prepare_columns(step, x_index, x_weight, reinterpret_cast<int32_t*>(scratch + places.places));
        f_store(between + columns.pixels * kLanes, f_set(0.0f));
    }
    for (int64_t i = part.blocks.first; i < part.blocks.end; ++i) {
        const auto* x = at<const float>(memory, blocks[2 * i]);
        auto* y = at<float>(memory, blocks[2 * i + 1]);
        if (copies)
            pick_block(step, y_index, x_index, part.rows, x, y);
        else
            resize_block(step, y_index, y_weight, columns, part.rows, x, y, rows, between);
    }
    return StepStatus::ok;
}

}  // namespace

namespace ecv {

extern const ResizeKernels ECV_EXPORT(resize_kernels) = {resize};

}  // namespace ecv
