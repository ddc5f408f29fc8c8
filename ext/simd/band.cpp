#include "band.h"

#include <string.h>

#include "blocked.h"
#include "memory.h"

namespace ecv {
namespace {

constexpr int64_t kMostRows = 1 << 20;
// Strides and counts of rows are no larger, so that products of two, and sums of those, fit.
constexpr int64_t kMost = int64_t{1} << 30;
constexpr int64_t kStripFields = 3;
constexpr int64_t kFloat = sizeof(float);

Examined unsound(const char* problem) { return {problem, 0, 0}; }

// ---- What a step touches of strips

// A step of a band: the strip that it reads, and the one that it writes; nullptr for the first and the last
// one.
class Ends {
  public:
    Ends(const Band& band, int64_t lanes, int64_t index)
        : lanes(lanes),
          in(index > 0 ? &band.strips[index - 1] : nullptr),
          out(index + 1 < band.step.n_steps ? &band.strips[index] : nullptr),
          first_slot_(band.first_slot),
          out_slot_(band.first_slot + index) {}

    const int64_t lanes;
    const BandStrip* const in;
    const BandStrip* const out;

    // For what strips are not for: weights, residuals.
    bool is_outside(int64_t ref) const { return ref >= 0 && ref_slot(ref) < first_slot_; }
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

bool is_distance(int64_t n) { return is_count(n, 0, INT32_MAX); }

const char* check_windows(const RowWindows& reads, const Ends& ends) {
    if (ends.in) {
        if (reads.pixel != ends.lanes || reads.row != ends.in->row || reads.floats > ends.in->row)
            return kNoRows;
        if (!is_distance(reads.h) || !is_count(reads.first, -kMost, kMost) ||
            !is_count(reads.stride, 0, kMost) || !is_count(reads.extent, 0, int64_t{1} << kAddressBits))
            return kNoRows;
        // Of a strip, rows are at other distances than of a map.
        if (reads.besides) return kLeaves;
    }
    for (int64_t i = 0; i < reads.blocks.n; ++i)
        if (!ends.can_read(reads.blocks.table[i * reads.blocks.pitch])) return kLeaves;
    return nullptr;
}

const char* check_points(const RowPoints& reads, const Ends& ends) {
    if (!ends.in) return ends.is_outside(reads.base) ? nullptr : kLeaves;
    if (!ends.is_input(reads.base)) return kLeaves;
    // Whole pixels: the last one of all rows is a pixel before their end.
    if (!is_count(reads.n, 1, kMost) || !is_distance(reads.run) || !is_distance(reads.pixel) ||
        reads.run % ends.lanes != 0 || reads.pixel % ends.lanes != 0)
        return kNoRows;
    const int64_t start = ref_address(reads.base) / kFloat;
    const int64_t room = (ends.in->blocks - 1) * ends.in->rows * ends.in->row + ends.lanes;
    return start + reads.least < 0 || start + reads.most >= room ? kLeaves : nullptr;
}

const char* check_written(const RowAccess& access, const Ends& ends, BandStrip* made) {
    const RowsWritten& written = access.written;
    const BlockRefs& blocks = written.blocks;
    for (int64_t i = 0; i < blocks.n; ++i)
        if (!ends.can_write(blocks.table ? blocks.table[i * blocks.pitch] : blocks.last)) return kLeaves;
    if (!made) return nullptr;
    if (written.pixel != ends.lanes) return kNoRows;
    const int64_t width = made->row / ends.lanes;
    if (access.is_pixels ? access.made % width != 0 || access.chunk % width != 0
                         : written.row != made->row || written.floats > made->row)
        return kNoRows;
    // It also tells of the strip what chunks make.
    made->chunk_rows = access.is_pixels ? access.chunk / width : access.chunk;
    made->all_rows = access.is_pixels ? access.made / width : access.made;
    return nullptr;
}

const char* check_member(const RowAccess& access, const Ends& ends, BandStrip* made) {
    if (access.problem) return access.problem;
    if (!is_distance(access.made) || access.made < 1 || access.chunk < 1) return kNoRows;
    for (const int64_t ref : access.others)
        if (!ends.is_outside(ref)) return kLeaves;
    const char* const problem =
        access.is_points ? check_points(access.points, ends) : check_windows(access.windows, ends);
    return problem ? problem : check_written(access, ends, made);
}

// ---- Which rows a chunk of a step reads

// Rows from `first` up to `end`, of which those of a map of n are there.
Range inside(int64_t first, int64_t end, int64_t n) {
    first = first < 0 ? 0 : first < n ? first : n;
    end = end < n ? end : n;
    return {first, end > first ? end : first};
}

Range rows_of(const PoolWindow* windows, const Range& part, int64_t h) {
    Range rows{h, 0};
    for (int64_t i = part.first; i < part.end; ++i) {
        if (windows[i].first >= windows[i].end) continue;
        if (windows[i].first < rows.first) rows.first = windows[i].first;
        if (windows[i].end > rows.end) rows.end = windows[i].end;
    }
    return rows.first < rows.end ? rows : Range{0, 0};
}

Range rows_read(const RowAccess& access, const BandStrip& strip, int64_t chunk) {
    const Range part = part_of(access.made, access.chunk, chunk);
    if (!access.is_points) {
        const RowWindows& reads = access.windows;
        if (reads.windows) return rows_of(reinterpret_cast<const PoolWindow*>(reads.windows), part, reads.h);
        return inside(part.first * reads.stride + reads.first,
                      (part.end - 1) * reads.stride + reads.first + reads.extent, reads.h);
    }
    const RowPoints& reads = access.points;
    const int64_t next = access.is_pixels ? reads.pixel : reads.run;
    const int64_t last = (part.end - 1) * next + (reads.n - 1) * reads.pixel;
    return {part.first * next / strip.row, last / strip.row + 1};
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
const char* check_rows(const BandMember& member, const BandStrip& strip) {
    if (!is_count(member.examined.chunks, 1, kMostRows)) return "it has too many chunks";
    int64_t before = 0;
    for (int64_t i = 0; i < member.examined.chunks; ++i) {
        const Range rows = rows_read(member.rows, strip, i);
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
            const Range rows = rows_read(member.rows, strip, chunk);
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
        if (const char* problem = check_member(member.rows, Ends(*band, lanes, i), made))
            return unsound(problem);
        if (i > 0)
            if (const char* problem = check_rows(member, band->strips[i - 1])) return unsound(problem);
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
