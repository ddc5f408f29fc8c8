// Elementwise operations on blocked storage.
#include "blocked.h"
#include "kernels.h"
#include "map_ops.h"

namespace {

using namespace ecv;

constexpr int64_t kLanes = kFloatLanes;

// The pixels of one block; `pixel` is the distance between those of an operand, in floats.
struct Operand {
    const float* p;
    int64_t pixel;
};
struct MapRun {
    Operand a, b, c;
    float* y;
    int64_t pixels;
    float alpha, beta;
};

template <MapOp op, Activation activation>
void map_run(const MapRun& run) {
    constexpr int kOperands = map_operands(op);
    constexpr int64_t kAtOnce = 4;
    const VecF alpha = f_set(run.alpha), beta = f_set(run.beta);
    const auto of = [&](int64_t i) {
        const VecF a = f_load(run.a.p + i * run.a.pixel);
        const VecF b = kOperands > 1 ? f_load(run.b.p + i * run.b.pixel) : a;
        const VecF c = kOperands > 2 ? f_load(run.c.p + i * run.c.pixel) : a;
        return f_activate<activation>(f_map<op>(a, b, c), alpha, beta);
    };
    int64_t i = 0;
    for (; i + kAtOnce <= run.pixels; i += kAtOnce) {
        VecF y[kAtOnce];
        for (int64_t k = 0; k < kAtOnce; ++k) y[k] = of(i + k);
        for (int64_t k = 0; k < kAtOnce; ++k) f_store(run.y + (i + k) * kLanes, y[k]);
    }
    for (; i < run.pixels; ++i) f_store(run.y + i * kLanes, of(i));
}

using Run = void (*)(const MapRun&);

// With relu or nothing after it: the others follow in a second walk over a piece that is in L1 by then.
struct OpRuns {
    Run plain, relu;
};
constexpr OpRuns kOpRuns[] = {
#define X(op) {map_run<MapOp::op, Activation::none>, map_run<MapOp::op, Activation::relu>},
    ECV_BLOCKED_MAP_OPS(X)
#undef X
};

constexpr Run kActivationRuns[] = {
#define X(activation) map_run<MapOp::first, Activation::activation>,
    ECV_ACTIVATIONS(X)
#undef X
};

constexpr int64_t kPiece = 128;  // pixels

void map_block(MapOp op, Activation activation, MapRun run) {
    const bool is_alone = op == MapOp::first || op == MapOp::activation;
    const Run first = is_alone                         ? kActivationRuns[static_cast<int64_t>(activation)]
                      : activation == Activation::relu ? kOpRuns[static_cast<int64_t>(op)].relu
                                                       : kOpRuns[static_cast<int64_t>(op)].plain;
    if (is_alone || activation == Activation::none || activation == Activation::relu) return first(run);
    const Run second = kActivationRuns[static_cast<int64_t>(activation)];
    for (int64_t left = run.pixels; left > 0; left -= kPiece) {
        run.pixels = left < kPiece ? left : kPiece;
        first(run);
        MapRun after = run;
        after.a = {run.y, kLanes};
        second(after);
        run.a.p += kPiece * run.a.pixel;
        run.b.p += kPiece * run.b.pixel;
        run.c.p += kPiece * run.c.pixel;
        run.y += kPiece * kLanes;
    }
}

StepStatus map(const void* fields, const Memory& memory, int64_t chunk, char*) {
    const MapStep& step = *static_cast<const MapStep*>(fields);
    const Range range = part_of(step.n_blocks, step.chunk_blocks, chunk);
    const auto* operands = at<const int64_t>(memory, step.operands);
    const auto op = static_cast<MapOp>(step.op);
    const int taken = map_operands(op);
    for (int64_t i = range.first; i < range.end; ++i) {
        const int64_t* refs = operands + 4 * i;
        const Operand a = {at<const float>(memory, refs[0]), step.a_pixel};
        const Operand b = taken > 1 ? Operand{at<const float>(memory, refs[1]), step.b_pixel} : a;
        const Operand c = taken > 2 ? Operand{at<const float>(memory, refs[2]), step.c_pixel} : a;
        map_block(
            op, static_cast<Activation>(step.activation),
            {a, b, c, at<float>(memory, refs[3]), step.pixels, float_of(step.alpha), float_of(step.beta)});
    }
    return StepStatus::ok;
}

}  // namespace

namespace ecv {

extern const MapKernels ECV_EXPORT(map_kernels) = {map};

}  // namespace ecv
