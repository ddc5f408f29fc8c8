// A band: steps that run in turns, with what goes from one to the next in a strip of the thread's scratch.
#pragma once

#include "ops.h"
#include "steps.h"

namespace ecv {

constexpr int64_t kMostStrips = 7;

// One of the steps, examined by itself with memory in which strips are as large as a slot can be.
struct BandMember {
    const void* fields;
    Kernel run;
    Examined examined;
    RowAccess rows;
};

// What one step makes and the next one reads.
struct BandStrip {
    int64_t blocks, rows, row;  // rows: that are there at a time; row: floats
    int64_t chunk_rows;         // that a chunk of the step makes, the last one perhaps fewer
    int64_t all_rows;           // that all of them make
    int64_t place;              // in scratch
};

// A sound band, ready to run.
struct Band {
    BandStep step;
    BandMember members[kMostStrips + 1];
    BandStrip strips[kMostStrips];
    int64_t first_slot;  // of the strips
    int64_t bases;       // where those of a thread lie in scratch
};

// Fills in what follows from step and members. What any chunk of a step touches of strips lies inside them,
// or the answer tells why not. memory: without the strips.
Examined examine_band(const Memory& memory, int lanes, Band* band);

// A kernel whose step is a Band.
StepStatus run_band(const void* band, const Memory& memory, int64_t chunk, char* scratch);

}  // namespace ecv
