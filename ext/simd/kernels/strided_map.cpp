// Operations of map_nd on contiguous runs of float32; walks over strided operands are baseline code.
#include "blocked.h"
#include "kernels.h"
#include "map_ops.h"
#include "strided.h"

namespace {

using namespace ecv;

constexpr size_t kLanes = kFloatLanes;

// n < kLanes elements, and zeros in the other lanes.
__attribute__((noinline)) VecF load_few(const float* p, size_t n) {
    float lanes[kLanes] = {};
    for (size_t i = 0; i < n; ++i) lanes[i] = p[i];
    return f_load(lanes);
}
__attribute__((noinline)) void store_few(float* p, VecF v, size_t n) {
    float lanes[kLanes];
    f_store(lanes, v);
    for (size_t i = 0; i < n; ++i) p[i] = lanes[i];
}

template <MapOp op>
StepStatus run(const void* a, const void* b, const void* c, void* y, size_t n, const RunOptions&) {
    constexpr int operands = map_operands(op);
    const float* const p = static_cast<const float*>(a);
    const float* const q = operands > 1 ? static_cast<const float*>(b) : p;
    const float* const r = operands > 2 ? static_cast<const float*>(c) : p;
    float* const out = static_cast<float*>(y);
    const auto value = [&](size_t i) {
        const VecF first = f_load(p + i);
        return f_map<op>(first, operands > 1 ? f_load(q + i) : first, operands > 2 ? f_load(r + i) : first);
    };
    if (n < kLanes) {
        const VecF first = load_few(p, n);
        store_few(out, f_map<op>(first, load_few(q, n), load_few(r, n)), n);
        return StepStatus::ok;
    }
    // The last elements, of which some were in the vector before, are read before y, which may be an operand,
    // is written.
    const size_t tail = n - kLanes;
    const VecF end = value(tail);
    for (size_t i = 0; i + kLanes <= n; i += kLanes) f_store(out + i, value(i));
    f_store(out + tail, end);
    return StepStatus::ok;
}

StepStatus run_activation(const void* a, const void*, const void*, void* y, size_t n,
                          const RunOptions& options) {
    const float* const x = static_cast<const float*>(a);
    float* const out = static_cast<float*>(y);
    const size_t whole = n / kLanes * kLanes;
    if (x != out)
        for (size_t i = 0; i < whole; i += kLanes) f_store(out + i, f_load(x + i));
    activate_run(options.activation, out, n / kLanes, options.alpha, options.beta);
    if (whole == n) return StepStatus::ok;
    float lanes[kLanes];
    f_store(lanes, load_few(x + whole, n - whole));
    activate_run(options.activation, lanes, 1, options.alpha, options.beta);
    store_few(out + whole, f_load(lanes), n - whole);
    return StepStatus::ok;
}

constexpr MapRuns make_runs() {
    MapRuns runs{};
#define ECV_RUN(op) runs.of[static_cast<int>(MapOp::op)] = run<MapOp::op>;
    ECV_RUN(add)
    ECV_RUN(sub)
    ECV_RUN(mul)
    ECV_RUN(div)
    ECV_RUN(max)
    ECV_RUN(min)
    ECV_RUN(pow)
    ECV_RUN(prelu)
    ECV_RUN(affine)
    ECV_RUN(neg)
    ECV_RUN(abs)
    ECV_RUN(sqrt)
    ECV_RUN(exp)
    ECV_RUN(log)
    ECV_RUN(reciprocal)
    ECV_RUN(sigmoid)
    ECV_RUN(tanh)
    ECV_RUN(erf)
    ECV_RUN(floor)
    ECV_RUN(ceil)
    ECV_RUN(round)
    ECV_RUN(sign)
    ECV_RUN(softplus)
#undef ECV_RUN
    runs.of[static_cast<int>(MapOp::activation)] = run_activation;
    return runs;
}

constexpr MapRuns kRuns = make_runs();

StepStatus map_nd(const void* step, const Memory& memory, int64_t chunk, char* scratch) {
    return map_strided(*static_cast<const MapNdStep*>(step), memory, chunk, scratch, kRuns);
}

}  // namespace

namespace ecv {

extern const MapNdKernels ECV_EXPORT(map_nd_kernels) = {map_nd};

}  // namespace ecv
