// Pooling that tells where the largest elements are.
#include "blocked.h"
#include "steps.h"

namespace ecv {
namespace {

// Whether there is a table of windows, each of which lies in an axis of n elements.
bool has_windows(const Memory& memory, int64_t ref, int64_t count, int64_t n) {
    const int32_t* const numbers = table<int32_t>(memory, ref, times(count, 3));
    if (!numbers) return false;
    for (int64_t i = 0; i < count; ++i)
        if (numbers[3 * i] < 0 || numbers[3 * i + 1] > n) return false;
    return true;
}

int64_t volume(int64_t planes, int64_t h, int64_t w) { return times(planes, times(h, w)); }

}  // namespace

Examined examine_pool_indices(const void* fields, const Memory& memory, int) {
    const PoolIndicesStep& step = *static_cast<const PoolIndicesStep*>(fields);
    constexpr int64_t kMost = int64_t{1} << 31;
    const int64_t sides[] = {step.planes, step.in_h, step.in_w, step.out_h, step.out_w};
    for (const int64_t side : sides)
        if (!is_count(side, 0, kMost - 1)) return {"its sides are not sound", 0, 0};
    if (!is_count(step.dilation_y, 1, kMost) || !is_count(step.dilation_x, 1, kMost))
        return {"its dilations are not sound", 0, 0};
    if (!has_windows(memory, step.rows, step.out_h, step.in_h) ||
        !has_windows(memory, step.columns, step.out_w, step.in_w))
        return {"its windows lie outside the plane", 0, 0};
    if (!can_read(memory, step.x, volume(step.planes, step.in_h, step.in_w), 4))
        return {"an operand lies outside its memory", 0, 0};
    const int64_t results = volume(step.planes, step.out_h, step.out_w);
    if (!can_write(memory, step.y, results, 4) || !can_write(memory, step.indices, results, 8))
        return {"its result lies outside its memory", 0, 0};
    return {nullptr, results ? step.planes : 0, 0};
}

// A chunk: a plane.
ECV_NO_ROWS(pool_indices)

StepStatus run_pool_indices(const void* fields, const Memory& memory, int64_t chunk, char*) {
    const PoolIndicesStep& step = *static_cast<const PoolIndicesStep*>(fields);
    const auto* const rows = at<const PoolWindow>(memory, step.rows);
    const auto* const columns = at<const PoolWindow>(memory, step.columns);
    const int64_t plane = step.in_h * step.in_w, made = step.out_h * step.out_w;
    const float* const x = at<const float>(memory, step.x) + chunk * plane;
    float* y = at<float>(memory, step.y) + chunk * made;
    int64_t* index = at<int64_t>(memory, step.indices) + chunk * made;
    for (int64_t i = 0; i < step.out_h; ++i) {
        for (int64_t j = 0; j < step.out_w; ++j) {
            float best = -__builtin_inff();
            int64_t best_row = rows[i].first, best_column = columns[j].first;
            bool is_first = true;
            for (int64_t row = rows[i].first; row < rows[i].end; row += step.dilation_y) {
                for (int64_t column = columns[j].first; column < columns[j].end; column += step.dilation_x) {
                    const float value = x[row * step.in_w + column];
                    if (!is_first && !(value > best) && (value == value || best != best)) continue;
                    best = value;
                    best_row = row;
                    best_column = column;
                    is_first = false;
                }
            }
            if (is_first) best_row = best_column = 0;
            *y++ = best;
            *index++ = chunk * plane + (step.by_columns ? best_column * step.in_h + best_row
                                                        : best_row * step.in_w + best_column);
        }
    }
    return StepStatus::ok;
}

}  // namespace ecv
