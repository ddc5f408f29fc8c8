// Sums and largest values of pixels in places that data tell, of all channels of a block at once.
#include "sampling.h"

#include "kernels.h"
#include "transpose.h"

namespace {

using namespace ecv;

constexpr int64_t kLanes = kFloatLanes;

template <typename Join>
inline void join_taps(const float* x, const TapPiece& piece, float* y, Join join) {
    const Tap* tap = piece.taps;
    for (int64_t i = 0; i < piece.n_outputs; ++i, y += kLanes) {
        VecF result = f_load(y);
        for (const Tap* const end = tap + piece.counts[i]; tap != end; ++tap)
            result = join(result, f_load(x + tap->place * kLanes) * f_set(tap->weight));
        f_store(y, result);
    }
}

void sum_taps(const float* x, const TapPiece& piece, float* y) {
    join_taps(x, piece, y, [](VecF sum, VecF value) { return sum + value; });
}

void max_taps(const float* x, const TapPiece& piece, float* y) {
    join_taps(x, piece, y, [](VecF most, VecF value) { return f_max(value, most); });
}

constexpr TapRuns kRuns = {kLanes, sum_taps, max_taps, transpose};

StepStatus sample(const void* step, const Memory& memory, int64_t chunk, char* scratch) {
    return sample_points(*static_cast<const SampleStep*>(step), memory, chunk, scratch, kRuns);
}

StepStatus roi_pool(const void* step, const Memory& memory, int64_t chunk, char* scratch) {
    return pool_rois(*static_cast<const RoiPoolStep*>(step), memory, chunk, scratch, kRuns);
}

}  // namespace

namespace ecv {

extern const SamplingKernels ECV_EXPORT(sampling_kernels) = {sample, roi_pool};

}  // namespace ecv
