#include "band.h"

#include <string.h>

#include "blocked.h"
#include "memory.h"

namespace ecv {
namespace {

enum class OpCode : int64_t {
#define X(name) name,
    ECV_SIMD_OPS(X)
#undef X
};

constexpr int64_t kMostRows = 1 << 20;
constexpr int64_t kTileFields = 4;
constexpr int64_t kStripFields = 3;
constexpr int64_t kFloat = sizeof(float);

Examined unsound(const char* problem) { return {problem, 0, 0}; }

// ---- What a step touches of strips

// A step of a band: the strip that it reads, and the one that it writes; nullptr for the first and the last
// one.
class Ends {
  public:
    Ends(const Band& band, const Memory& memory, int64_t lanes, int64_t index)
        : memory(memory),
          lanes(lanes),
          in(index > 0 ? &band.strips[index - 1] : nullptr),
          out(index + 1 < band.step.n_steps ? &band.strips[index] : nullptr),
          first_slot_(band.first_slot),
          out_slot_(band.first_slot + index) {}

    const Memory& memory;
    const int64_t lanes;
    const BandStrip* const in;
    const BandStrip* const out;

    // For what strips are not for: weights, residuals.
    bool is_outside(int64_t ref) const { return ref_slot(ref) < first_slot_; }
    bool is_input(int64_t ref) const { return in && ref_slot(ref) == out_slot_ - 1; }
    // Whether a block that starts at the Ref lies outside all strips, or with all the rows that are there at
    // a time inside the right one.
    bool can_read(int64_t ref) const { return is_outside(ref) || (is_input(ref) && has_block(*in, ref)); }
    bool can_write(int64_t ref) const {
        return out ? ref_slot(ref) == out_slot_ && has_block(*out, ref) : is_outside(ref);
    }

  private:
    static bool has_block(const BandStrip& strip, int64_t ref) {
        return ref_address(ref) <= (strip.blocks - 1) * strip.rows * strip.row * kFloat;
    }

    const int64_t first_slot_, out_slot_;
};

constexpr char kLeaves[] = "it touches what is not of its strips";
constexpr char kNoRows[] = "its rows are none of its strips";

// Of steps with tables of blocks. Also tells of the strip that it writes what its chunks make.
template <typename T>
const char* check_blocks(const T& s, const Ends& ends, BandStrip* made) {
    if (s.chunk_blocks < s.n_blocks) return "a chunk of it has not all blocks";
    if ((ends.in && s.in_w != ends.in->row / ends.lanes) || (made && s.out_w != made->row / ends.lanes))
        return kNoRows;
    const auto* blocks = at<const int64_t>(ends.memory, s.blocks);
    for (int64_t i = 0; i < s.n_blocks; ++i)
        if (!ends.can_read(blocks[2 * i]) || !ends.can_write(blocks[2 * i + 1])) return kLeaves;
    if (made) {
        made->chunk_rows = s.chunk_rows;
        made->all_rows = s.out_h;
    }
    return nullptr;
}

const char* check_input(const ConvStep& s, const Ends& ends) {
    if (s.n_planes > 0) {
        if (ends.in && (s.runs < 2 || s.plane_lanes != ends.lanes || s.plane_row != ends.in->row ||
                        s.in_w > ends.in->row / ends.lanes))
            return kNoRows;
        // Of a strip, rows are at other distances than of a plane.
        if (s.inner_runs > 0 && (ends.in || !ends.is_outside(s.x))) return kLeaves;
        const auto* planes = at<const int64_t>(ends.memory, s.planes);
        for (int64_t i = 0; i < s.n_planes; ++i)
            if (!ends.can_read(planes[i])) return kLeaves;
        return nullptr;
    }
    if (ends.is_outside(s.x) && !ends.in) return nullptr;
    if (!ends.is_input(s.x)) return kLeaves;
    // Places are whole pixels: the last one of all rows is a pixel before their end.
    if (!is_count(s.x_run, 0, INT32_MAX) || !is_count(s.x_pixel, 0, INT32_MAX) || s.x_run % ends.lanes != 0 ||
        s.x_pixel % ends.lanes != 0)
        return kNoRows;
    const auto* offsets = at<const int32_t>(ends.memory, s.offsets);
    const int64_t start = ref_address(s.x) / kFloat;
    const int64_t room =
        (ends.in->blocks - 1) * ends.in->rows * ends.in->row + ends.lanes - (s.paired != 0 ? 1 : 0);
    for (int64_t i = 0; i < s.n_offsets; ++i)
        if (start + offsets[i] < 0 || start + offsets[i] >= room) return kLeaves;
    return nullptr;
}

const char* check_conv(const ConvStep& s, const Ends& ends, BandStrip* made) {
    if (s.chunk_tiles < s.n_tiles) return "a chunk of it has not all tiles";
    if (!ends.is_outside(s.residual) || !ends.is_outside(s.weights) || !ends.is_outside(s.bias))
        return kLeaves;
    if (const char* problem = check_input(s, ends)) return problem;
    const auto* tiles = at<const int64_t>(ends.memory, s.tiles);
    int64_t blocks = 0;
    for (int64_t i = 0; i < s.n_tiles; ++i) {
        const int64_t vectors = tiles[kTileFields * i];
        blocks += s.paired != 0 ? (vectors + 1) / 2 : vectors;
    }
    const int64_t last = plus(s.y, times(times(blocks - 1, s.y_block), kFloat));
    if (last < 0 || ref_slot(last) != ref_slot(s.y) || !ends.can_write(last)) return kLeaves;
    if (!made) return nullptr;
    if (s.y_pixel != ends.lanes) return kNoRows;
    const int64_t width = made->row / ends.lanes;
    if (s.runs > 1) {
        if (s.y_run != made->row || s.pixels > width) return kNoRows;
        made->chunk_rows = s.chunk_runs;
        made->all_rows = s.runs;
    } else {
        if (s.n_planes > 0 || s.pixels % width != 0 || s.chunk_pixels % width != 0) return kNoRows;
        made->chunk_rows = s.chunk_pixels / width;
        made->all_rows = s.pixels / width;
    }
    return nullptr;
}

const char* check_member(const BandMember& member, const Ends& ends, BandStrip* made) {
    switch (static_cast<OpCode>(member.op)) {
        case OpCode::conv:
            return check_conv(*static_cast<const ConvStep*>(member.fields), ends, made);
        case OpCode::depthwise: {
            const auto& s = *static_cast<const DepthwiseStep*>(member.fields);
            if (!ends.is_outside(s.weights) || !ends.is_outside(s.bias)) return kLeaves;
            return check_blocks(s, ends, made);
        }
        case OpCode::pool:
            return check_blocks(*static_cast<const PoolStep*>(member.fields), ends, made);
        default:
            return "a step of it is of an op that does not go by rows";
    }
}

// ---- Which rows a chunk of a step reads

// Rows from `first` up to `end`, of which those of a map of n are there.
Range inside(int64_t first, int64_t end, int64_t n) {
    first = first < 0 ? 0 : first < n ? first : n;
    end = end < n ? end : n;
    return {first, end > first ? end : first};
}

Range rows_read(const ConvStep& s, int64_t chunk, int64_t row) {
    const bool has_runs = s.runs > 1;
    const Range part =
        has_runs ? part_of(s.runs, s.chunk_runs, chunk) : part_of(s.pixels, s.chunk_pixels, chunk);
    if (s.n_planes > 0)
        return inside(part.first * s.stride_y - s.pad_top,
                      (part.end - 1) * s.stride_y - s.pad_top + s.extent_y, s.in_h);
    const int64_t first = part.first * (has_runs ? s.x_run : s.x_pixel);
    const int64_t last =
        has_runs ? (part.end - 1) * s.x_run + (s.pixels - 1) * s.x_pixel : (part.end - 1) * s.x_pixel;
    return {first / row, last / row + 1};
}

Range rows_read(const DepthwiseStep& s, int64_t chunk) {
    const Range part = part_of(s.out_h, s.chunk_rows, chunk);
    return inside(part.first * s.stride_y - s.pad_top,
                  (part.end - 1) * s.stride_y - s.pad_top + (s.kernel_h - 1) * s.dilation_y + 1, s.in_h);
}

Range rows_read(const PoolStep& s, const Memory& memory, int64_t chunk) {
    const Range part = part_of(s.out_h, s.chunk_rows, chunk);
    const auto* windows = at<const PoolWindow>(memory, s.rows);
    Range rows{s.in_h, 0};
    for (int64_t i = part.first; i < part.end; ++i) {
        if (windows[i].first >= windows[i].end) continue;
        if (windows[i].first < rows.first) rows.first = windows[i].first;
        if (windows[i].end > rows.end) rows.end = windows[i].end;
    }
    return rows.first < rows.end ? rows : Range{0, 0};
}

Range rows_read(const BandMember& member, const BandStrip& strip, const Memory& memory, int64_t chunk) {
    switch (static_cast<OpCode>(member.op)) {
        case OpCode::conv:
            return rows_read(*static_cast<const ConvStep*>(member.fields), chunk, strip.row);
        case OpCode::depthwise:
            return rows_read(*static_cast<const DepthwiseStep*>(member.fields), chunk);
        default:
            return rows_read(*static_cast<const PoolStep*>(member.fields), memory, chunk);
    }
}

// The chunks that make these rows.
Range chunks_for(const BandStrip& strip, const Range& rows) {
    return {rows.first / strip.chunk_rows, ceil_div(rows.end, strip.chunk_rows)};
}

// Rows from the first of these chunks to the last one's end.
int64_t rows_of(const BandStrip& strip, const Range& chunks) {
    const int64_t end = chunks.end * strip.chunk_rows;
    return (end < strip.all_rows ? end : strip.all_rows) - chunks.first * strip.chunk_rows;
}

// ---- Examination

int64_t whole_lines(int64_t bytes) {
    const int64_t more = plus(bytes, kAlignment - 1);
    return more < 0 ? -1 : more / kAlignment * kAlignment;
}

int64_t bytes_of(const BandStrip& strip) {
    return times(times(times(strip.blocks, strip.rows), strip.row), kFloat);
}

const char* take_strips(const Memory& memory, int lanes, Band* band) {
    const int64_t n = band->step.n_steps - 1;
    const auto* sizes = table<int64_t>(memory, band->step.strips, times(n, kStripFields));
    if (!sizes) return "its strips lie outside the constants";
    for (int64_t i = 0; i < n; ++i, sizes += kStripFields) {
        BandStrip& strip = band->strips[i];
        strip = {sizes[0], sizes[1], sizes[2], 0, 0, 0};
        if (!is_count(strip.blocks, 1, kMostRows) || !is_count(strip.rows, 1, kMostRows) ||
            !is_count(strip.row, lanes, INT32_MAX) || strip.row % lanes != 0)
            return "a strip is none";
        if (!is_count(bytes_of(strip), 1, int64_t{1} << kAddressBits)) return "a strip is too large";
    }
    return nullptr;
}

// Whether every chunk of a step finds its rows in the strip before it.
const char* check_rows(const BandMember& member, const BandStrip& strip, const Memory& memory) {
    if (!is_count(member.examined.chunks, 1, kMostRows)) return "it has too many chunks";
    int64_t before = 0;
    for (int64_t i = 0; i < member.examined.chunks; ++i) {
        const Range rows = rows_read(member, strip, memory, i);
        // What is made once is never made again.
        if (rows.first < before) return "a step goes back to rows that are gone";
        before = rows.first;
        if (rows.end > strip.all_rows) return "a step reads rows that the one before it does not make";
        if (rows_of(strip, chunks_for(strip, rows)) > strip.rows)
            return "a strip has too few rows for a chunk of the next step";
    }
    return nullptr;
}

// ---- A run

class Turns {
  public:
    Turns(const Band& band, const Memory& memory, char* scratch)
        : band_(band),
          scratch_(scratch),
          bases_(reinterpret_cast<char**>(scratch + band.bases)),
          memory_{bases_, memory.sizes, band.first_slot + band.step.n_steps - 1, memory.first_output} {
        memcpy(bases_, memory.bases, static_cast<size_t>(band.first_slot) * sizeof(char*));
    }

    // One chunk of a step, after those chunks of the one before it that it needs.
    StepStatus run(int64_t index, int64_t chunk) {
        const BandMember& member = band_.members[index];
        if (index > 0) {
            const BandStrip& strip = band_.strips[index - 1];
            const Range rows = rows_read(member, strip, memory_, chunk);
            const Range wanted = chunks_for(strip, rows);
            make_room(index - 1, wanted, rows.first);
            for (int64_t& done = there_[index - 1].end; done < wanted.end; ++done) {
                const StepStatus status = run(index - 1, done);
                if (status != StepStatus::ok) return status;
            }
        }
        return member.run(member.fields, memory_, chunk, scratch_);
    }

  private:
    // The strip holds what chunks `there` of the step before it made; now it is to hold what `wanted` make,
    // of which rows before `first_row` are not read again.
    void make_room(int64_t index, const Range& wanted, int64_t first_row) {
        const BandStrip& strip = band_.strips[index];
        Range& there = there_[index];
        char* const start = scratch_ + strip.place;
        const int64_t row = strip.row * kFloat, block = strip.rows * row;
        if (wanted.first >= there.end) {
            there = {wanted.first, wanted.first};
        } else if (rows_of(strip, {there.first, wanted.end}) > strip.rows) {
            // What is still needed goes to the front.
            const int64_t skipped = (wanted.first - there.first) * strip.chunk_rows;
            const int64_t past = first_row - wanted.first * strip.chunk_rows;
            const int64_t kept = rows_of(strip, {wanted.first, there.end}) - past;
            for (int64_t i = 0; i < strip.blocks; ++i) {
                char* const to = start + i * block + past * row;
                memmove(to, to + skipped * row, static_cast<size_t>(kept * row));
            }
            there.first = wanted.first;
        }
        bases_[band_.first_slot + index] = start - there.first * strip.chunk_rows * row;
    }

    const Band& band_;
    char* const scratch_;
    char** const bases_;
    const Memory memory_;
    Range there_[kMostStrips] = {};
};

}  // namespace

Examined examine_band(const Memory& memory, int lanes, Band* band) {
    const BandStep& step = band->step;
    if (!is_count(step.chunk, 1, kMostRows)) return unsound("its chunks are empty");
    if (const char* problem = take_strips(memory, lanes, band)) return unsound(problem);
    band->first_slot = memory.n_slots;
    int64_t scratch = 0;
    for (int64_t i = 0; i < step.n_steps; ++i) {
        const BandMember& member = band->members[i];
        BandStrip* const made = i + 1 < step.n_steps ? &band->strips[i] : nullptr;
        if (const char* problem = check_member(member, Ends(*band, memory, lanes, i), made))
            return unsound(problem);
        if (i > 0)
            if (const char* problem = check_rows(member, band->strips[i - 1], memory))
                return unsound(problem);
        if (made && made->chunk_rows > made->all_rows) made->chunk_rows = made->all_rows;
        if (member.examined.scratch < 0) return unsound("it needs too much scratch");
        if (member.examined.scratch > scratch) scratch = member.examined.scratch;
    }
    scratch = whole_lines(scratch);
    for (int64_t i = 0; i + 1 < step.n_steps; ++i) {
        band->strips[i].place = scratch;
        scratch = whole_lines(plus(scratch, bytes_of(band->strips[i])));
    }
    band->bases = scratch;
    const int64_t slots = memory.n_slots + step.n_steps - 1;
    return {nullptr, ceil_div(band->members[step.n_steps - 1].examined.chunks, step.chunk),
            plus(scratch, slots * static_cast<int64_t>(sizeof(char*)))};
}

StepStatus run_band(const void* step, const Memory& memory, int64_t chunk, char* scratch) {
    const Band& band = *static_cast<const Band*>(step);
    const int64_t last = band.step.n_steps - 1;
    const Range part = part_of(band.members[last].examined.chunks, band.step.chunk, chunk);
    Turns turns(band, memory, scratch);
    for (int64_t i = part.first; i < part.end; ++i) {
        const StepStatus status = turns.run(last, i);
        if (status != StepStatus::ok) return status;
    }
    return StepStatus::ok;
}

}  // namespace ecv
