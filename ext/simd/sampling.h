// What the steps share that look at pixels in places which data tell. Baseline code makes taps of the places,
// a kernel of each ISA sums them up, or takes the largest, in all channels of a block at once.
//
// Plain structs and declarations only: this header is compiled once per ISA.
#pragma once

#include "strided.h"

namespace ecv {

struct Tap {
    int32_t place;  // number of a pixel of a block
    float weight;
};

// Taps of outputs that follow one another, from the number `first` on.
struct TapPiece {
    static constexpr int64_t kMostOutputs = 128, kMostTaps = 512;
    int64_t first, n_outputs, n_taps;
    int32_t counts[kMostOutputs];
    Tap taps[kMostTaps];
};

// Runs of an ISA over one block: x, and y of the first output of the piece. The same bits on all of them.
// sum: y[i] += weight x[place] for each tap of output i. max: y[i] is the larger of y[i] and weight x[place];
// a NaN never is.
using TapRun = void (*)(const float* x, const TapPiece& piece, float* y);
struct TapRuns {
    int64_t lanes;
    TapRun sum, max;
    Transpose transpose;
};

StepStatus sample_points(const SampleStep& step, const Memory& memory, int64_t chunk, char* scratch,
                         const TapRuns& runs);
StepStatus pool_rois(const RoiPoolStep& step, const Memory& memory, int64_t chunk, char* scratch,
                     const TapRuns& runs);

// Bytes of scratch: a piece; of roi_pool then the bins of the blocks of a chunk.
constexpr int64_t kTapBytes = (sizeof(TapPiece) + 63) / 64 * 64;

// Samples of a bin of roi_pool along an axis, at most: each is looked at.
constexpr int64_t kMostSamples = 1 << 12;

}  // namespace ecv
