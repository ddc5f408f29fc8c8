// Operations on contiguous runs. Integers other than int64 and uint64 are converted to int64, which holds
// them: what wraps there is cut to what wraps in their own size.
#include <stdint.h>

#include "blocked.h"
#include "elements.h"
#include "steps.h"

namespace ecv {
namespace {

template <typename T>
constexpr bool kIsFloat = static_cast<T>(0.5) != T{0};
template <typename T>
constexpr bool kIsSigned = static_cast<T>(-1) < T{0};

// ---- Functions of elements

// The same bits as in T, without the undefined behavior of a signed overflow.
template <typename T>
struct Wrapping {
    using Type = T;
};
template <>
struct Wrapping<int64_t> {
    using Type = uint64_t;
};
template <typename T>
using W = typename Wrapping<T>::Type;

template <typename T>
T sign_of(T x) {
    if (x > T{0}) return T{1};
    if constexpr (kIsSigned<T>) {
        if (x < T{0}) return T{-1};
    }
    return x == T{0} ? T{0} : x;  // NaN stays
}

// b is not 0.
template <typename T>
T quotient(T a, T b) {
    if constexpr (kIsSigned<T>) {
        if (b == -1) return static_cast<T>(0 - static_cast<uint64_t>(a));
    }
    return a / b;
}
template <typename T>
T remainder_of(T a, T b) {
    if constexpr (kIsSigned<T>) {
        if (b == -1) return 0;
    }
    return a % b;
}

// With the sign of b, as Python has it.
template <typename T>
T modulo(T a, T b) {
    T r;
    if constexpr (kIsFloat<T>) {
        // Exact in either type: a remainder of float32 is one.
        r = static_cast<T>(__builtin_fmod(static_cast<double>(a), static_cast<double>(b)));
        if (r == T{0}) return static_cast<T>(__builtin_copysign(0.0, static_cast<double>(b)));
    } else {
        r = remainder_of(a, b);
    }
    return r != T{0} && (r < T{0}) != (b < T{0}) ? r + b : r;
}

// By squaring, wrapping. Of negative exponents the part that is whole: 1 and -1 have one.
template <typename T>
T whole_power(T base, T exponent) {
    if constexpr (kIsSigned<T>) {
        if (exponent < 0) return base == 1 || (base == -1 && exponent % 2 == 0) ? 1 : base == -1 ? -1 : 0;
    }
    uint64_t result = 1, square = static_cast<uint64_t>(base);
    for (uint64_t e = static_cast<uint64_t>(exponent); e; e >>= 1) {
        if (e & 1) result *= square;
        square *= square;
    }
    return static_cast<T>(result);
}

double softplus(double x) { return (x > 0 ? x : 0) + __builtin_log1p(__builtin_exp(-__builtin_fabs(x))); }

double activate(double x, const RunOptions& options) {
    const double alpha = options.alpha, beta = options.beta;
    const auto clipped = [](double v, double low, double high) {
        v = v < low ? low : v;
        return v > high ? high : v;
    };
    switch (options.activation) {
        case Activation::none:
            return x;
        case Activation::relu:
            return x < 0 ? 0 : x;
        case Activation::clip:
            return clipped(x, alpha, beta);
        case Activation::leaky_relu:
            return x < 0 ? alpha * x : x;
        case Activation::sigmoid:
            return 1 / (1 + __builtin_exp(-x));
        case Activation::silu:
            return x / (1 + __builtin_exp(-x));
        case Activation::hard_sigmoid:
            return clipped(alpha * x + beta, 0, 1);
        case Activation::hard_swish:
            return x * clipped(x / 6 + 0.5, 0, 1);
        case Activation::tanh:
            return __builtin_tanh(x);
        case Activation::mish:
            return x * __builtin_tanh(softplus(x));
        case Activation::gelu:
            return 0.5 * x * (1 + __builtin_erf(x * 0.70710678118654752));
        case Activation::gelu_tanh:
            return 0.5 * x * (1 + __builtin_tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
        case Activation::elu:
            return x < 0 ? alpha * __builtin_expm1(x) : x;
        case Activation::selu:
            return beta * (x > 0 ? x : alpha * __builtin_expm1(x));
        case Activation::softplus:
            return x == x ? softplus(x) : x;
        case Activation::exp:
            return __builtin_exp(x);
        case Activation::softsign:
            return x / (1 + __builtin_fabs(x));
    }
    return x;
}

// ---- Runs

// f(a, b, c, options); a run passes over operands that f has no use for, which may be nullptr.
template <int operands, typename T, typename Y, typename F>
StepStatus run(const void* a, const void* b, const void* c, void* y, size_t n, const RunOptions&) {
    const T* const p = static_cast<const T*>(a);
    const T* const q = static_cast<const T*>(b);
    const T* const r = static_cast<const T*>(c);
    Y* const out = static_cast<Y*>(y);
    for (size_t i = 0; i < n; ++i) {
        if constexpr (operands == 1)
            out[i] = F::of(p[i]);
        else if constexpr (operands == 2)
            out[i] = F::of(p[i], q[i]);
        else
            out[i] = F::of(p[i], q[i], r[i]);
    }
    return StepStatus::ok;
}

// A division of integers.
template <typename T, typename F>
StepStatus run_division(const void* a, const void* b, const void*, void* y, size_t n, const RunOptions&) {
    const T* const p = static_cast<const T*>(a);
    const T* const q = static_cast<const T*>(b);
    T* const out = static_cast<T*>(y);
    for (size_t i = 0; i < n; ++i) {
        if (q[i] == 0) return StepStatus::division_by_zero;
        out[i] = F::of(p[i], q[i]);
    }
    return StepStatus::ok;
}

template <typename T>
StepStatus run_activation(const void* a, const void*, const void*, void* y, size_t n,
                          const RunOptions& options) {
    for (size_t i = 0; i < n; ++i)
        static_cast<T*>(y)[i] =
            static_cast<T>(activate(static_cast<double>(static_cast<const T*>(a)[i]), options));
    return StepStatus::ok;
}

template <typename T>
StepStatus run_is_inf(const void* a, const void*, const void*, void* y, size_t n, const RunOptions& options) {
    const bool positive = options.alpha != 0, negative = options.beta != 0;
    for (size_t i = 0; i < n; ++i) {
        const T x = static_cast<const T*>(a)[i];
        static_cast<uint8_t*>(y)[i] = (positive && x == static_cast<T>(__builtin_inf())) ||
                                      (negative && x == -static_cast<T>(__builtin_inf()));
    }
    return StepStatus::ok;
}

template <typename T>
StepStatus run_where(const void* a, const void* b, const void* c, void* y, size_t n, const RunOptions&) {
    const uint8_t* const condition = static_cast<const uint8_t*>(a);
    for (size_t i = 0; i < n; ++i)
        static_cast<T*>(y)[i] = condition[i] ? static_cast<const T*>(b)[i] : static_cast<const T*>(c)[i];
    return StepStatus::ok;
}

#define ECV_UNARY(Name, expression)             \
    template <typename T>                       \
    struct Name {                               \
        static T of(T a) { return expression; } \
    };
#define ECV_BINARY(Name, Y, expression)              \
    template <typename T>                            \
    struct Name {                                    \
        static Y of(T a, T b) { return expression; } \
    };
// Of a function of libm.
#define ECV_LIBM(Name, function)                                        \
    template <typename>                                                 \
    struct Name {                                                       \
        static float of(float a) { return __builtin_##function##f(a); } \
        static double of(double a) { return __builtin_##function(a); }  \
    };
#define ECV_LIBM_BINARY(Name, function)                                             \
    template <typename>                                                             \
    struct Name {                                                                   \
        static float of(float a, float b) { return __builtin_##function##f(a, b); } \
        static double of(double a, double b) { return __builtin_##function(a, b); } \
    };

ECV_BINARY(Add, T, static_cast<T>(W<T>(a) + W<T>(b)))
ECV_BINARY(Sub, T, static_cast<T>(W<T>(a) - W<T>(b)))
ECV_BINARY(Mul, T, static_cast<T>(W<T>(a) * W<T>(b)))
// The first that is NaN, as NumPy's maximum and minimum have it.
ECV_BINARY(Max, T, a != a || a >= b ? a : b)
ECV_BINARY(Min, T, a != a || a <= b ? a : b)
ECV_BINARY(Prelu, T, a < T{0} ? Mul<T>::of(a, b) : a)
ECV_BINARY(Quotient, T, quotient(a, b))
ECV_BINARY(Remainder, T, remainder_of(a, b))
ECV_BINARY(Modulo, T, modulo(a, b))
ECV_BINARY(Divide, T, a / b)
ECV_LIBM_BINARY(FloatRemainder, fmod)
ECV_BINARY(WholePower, T, whole_power(a, b))
ECV_LIBM_BINARY(Power, pow)
ECV_BINARY(Equal, bool, a == b)
ECV_BINARY(Less, bool, a < b)
ECV_BINARY(LessEqual, bool, a <= b)
ECV_BINARY(Greater, bool, a > b)
ECV_BINARY(GreaterEqual, bool, a >= b)
// Of bools, which are bytes that may be any but 0.
ECV_BINARY(And, bool, (a != 0) & (b != 0))
ECV_BINARY(Or, bool, (a != 0) | (b != 0))
ECV_BINARY(Xor, bool, (a != 0) ^ (b != 0))
ECV_UNARY(Not, a == 0)
ECV_UNARY(Neg, static_cast<T>(W<T>{0} - W<T>(a)))
ECV_UNARY(Minus, -a)
ECV_UNARY(Abs, a < T{0} ? Neg<T>::of(a) : a)
ECV_UNARY(Sign, sign_of(a))
ECV_UNARY(Reciprocal, T{1} / a)
ECV_UNARY(Sigmoid, T{1} / (T{1} + static_cast<T>(__builtin_exp(-static_cast<double>(a)))))
ECV_UNARY(Softplus, a != a ? a : static_cast<T>(softplus(static_cast<double>(a))))
ECV_LIBM(Magnitude, fabs)
ECV_LIBM(Sqrt, sqrt)
ECV_LIBM(Exp, exp)
ECV_LIBM(Log, log)
ECV_LIBM(Tanh, tanh)
ECV_LIBM(Erf, erf)
ECV_LIBM(Floor, floor)
ECV_LIBM(Ceil, ceil)
ECV_LIBM(Round, nearbyint)
ECV_LIBM(Sin, sin)
ECV_LIBM(Cos, cos)
ECV_LIBM(Tan, tan)
ECV_LIBM(Asin, asin)
ECV_LIBM(Acos, acos)
ECV_LIBM(Atan, atan)
ECV_LIBM(Sinh, sinh)
ECV_LIBM(Cosh, cosh)
ECV_LIBM(Asinh, asinh)
ECV_LIBM(Acosh, acosh)
ECV_LIBM(Atanh, atanh)

template <typename T>
struct Affine {
    static T of(T a, T b, T c) { return Add<T>::of(Mul<T>::of(a, b), c); }
};
template <typename T>
struct IsNan {
    static bool of(T a) { return a != a; }
};

template <typename T, template <typename> class F>
constexpr MapRun kUnary = run<1, T, T, F<T>>;
template <typename T, template <typename> class F>
constexpr MapRun kBinary = run<2, T, T, F<T>>;
template <typename T, template <typename> class F>
constexpr MapRun kComparison = run<2, T, uint8_t, F<T>>;

// Of numbers of any kind.
template <typename T>
MapRun number_run(MapOp op) {
    switch (op) {
        case MapOp::add:
            return kBinary<T, Add>;
        case MapOp::sub:
            return kBinary<T, Sub>;
        case MapOp::mul:
            return kBinary<T, Mul>;
        case MapOp::max:
            return kBinary<T, Max>;
        case MapOp::min:
            return kBinary<T, Min>;
        case MapOp::prelu:
            return kBinary<T, Prelu>;
        case MapOp::affine:
            return run<3, T, T, Affine<T>>;
        case MapOp::sign:
            return kUnary<T, Sign>;
        case MapOp::equal:
            return kComparison<T, Equal>;
        case MapOp::less:
            return kComparison<T, Less>;
        case MapOp::less_equal:
            return kComparison<T, LessEqual>;
        case MapOp::greater:
            return kComparison<T, Greater>;
        case MapOp::greater_equal:
            return kComparison<T, GreaterEqual>;
        default:
            return nullptr;
    }
}

template <typename T>
MapRun integer_run(MapOp op) {
    switch (op) {
        case MapOp::div:
            return run_division<T, Quotient<T>>;
        case MapOp::mod:
            return run_division<T, Modulo<T>>;
        case MapOp::fmod:
            return run_division<T, Remainder<T>>;
        case MapOp::pow:
            return kBinary<T, WholePower>;
        case MapOp::neg:
            return kUnary<T, Neg>;
        case MapOp::abs:
            return kUnary<T, Abs>;
        default:
            return number_run<T>(op);
    }
}

template <typename T>
MapRun float_run(MapOp op) {
    switch (op) {
#define ECV_CASE(name, Name) \
    case MapOp::name:        \
        return kUnary<T, Name>;
        ECV_CASE(neg, Minus)
        ECV_CASE(abs, Magnitude)
        ECV_CASE(sqrt, Sqrt)
        ECV_CASE(exp, Exp)
        ECV_CASE(log, Log)
        ECV_CASE(reciprocal, Reciprocal)
        ECV_CASE(sigmoid, Sigmoid)
        ECV_CASE(tanh, Tanh)
        ECV_CASE(erf, Erf)
        ECV_CASE(floor, Floor)
        ECV_CASE(ceil, Ceil)
        ECV_CASE(round, Round)
        ECV_CASE(sin, Sin)
        ECV_CASE(cos, Cos)
        ECV_CASE(softplus, Softplus)
        ECV_CASE(tan, Tan)
        ECV_CASE(asin, Asin)
        ECV_CASE(acos, Acos)
        ECV_CASE(atan, Atan)
        ECV_CASE(sinh, Sinh)
        ECV_CASE(cosh, Cosh)
        ECV_CASE(asinh, Asinh)
        ECV_CASE(acosh, Acosh)
        ECV_CASE(atanh, Atanh)
#undef ECV_CASE
        case MapOp::div:
            return kBinary<T, Divide>;
        case MapOp::mod:
            return kBinary<T, Modulo>;
        case MapOp::fmod:
            return kBinary<T, FloatRemainder>;
        case MapOp::pow:
            return kBinary<T, Power>;
        case MapOp::activation:
            return run_activation<T>;
        case MapOp::is_nan:
            return run<1, T, uint8_t, IsNan<T>>;
        case MapOp::is_inf:
            return run_is_inf<T>;
        default:
            return number_run<T>(op);
    }
}

MapRun bool_run(MapOp op) {
    switch (op) {
        case MapOp::not_:
            return kUnary<uint8_t, Not>;
        case MapOp::and_:
            return kBinary<uint8_t, And>;
        case MapOp::or_:
            return kBinary<uint8_t, Or>;
        case MapOp::xor_:
            return kBinary<uint8_t, Xor>;
        default:
            return nullptr;
    }
}

MapRun where_run(Dtype dtype) {
    switch (size_of(dtype)) {
        case 1:
            return run_where<uint8_t>;
        case 2:
            return run_where<uint16_t>;
        case 4:
            return run_where<uint32_t>;
        default:
            return run_where<uint64_t>;
    }
}

bool is_comparison(MapOp op) { return op >= MapOp::equal && op <= MapOp::greater_equal; }
bool is_logic(MapOp op) { return op >= MapOp::not_ && op <= MapOp::xor_; }

int operands_of(MapOp op) {
    if (op == MapOp::where) return 3;
    if (is_comparison(op) || op == MapOp::mod || op == MapOp::fmod) return 2;
    return is_logic(op) ? 1 + (op != MapOp::not_) : map_operands(op);
}

}  // namespace

MapRun element_run(MapOp op, Dtype dtype) {
    if (op == MapOp::where) return where_run(dtype);
    switch (dtype) {
        case Dtype::f32:
            return float_run<float>(op);
        case Dtype::f64:
            return float_run<double>(op);
        case Dtype::i64:
            return integer_run<int64_t>(op);
        case Dtype::u64:
            return integer_run<uint64_t>(op);
        case Dtype::boolean:
            return bool_run(op);
        default:
            return nullptr;
    }
}

MapPlan map_plan(MapOp op, Dtype dtype, Dtype y_dtype) {
    MapPlan plan{};
    plan.operands = operands_of(op);
    for (Dtype& operand : plan.operand) operand = dtype;
    plan.taken = plan.given = dtype;
    if (op == MapOp::first || (op == MapOp::cast && y_dtype == dtype)) {
        plan.supported = y_dtype == dtype;
        return plan;
    }
    if (op == MapOp::cast) {
        plan.supported = true;
        plan.store = converter(dtype, y_dtype);
        if (plan.store) return plan;
        plan.taken = plan.given = wide_dtype(dtype);
        plan.load = converter(dtype, plan.taken);
        plan.store = converter(plan.taken, y_dtype);
        return plan;
    }
    const bool tells = is_comparison(op) || op == MapOp::is_nan || op == MapOp::is_inf;
    if (y_dtype != (tells ? Dtype::boolean : dtype)) return plan;
    if (op == MapOp::where) {
        plan.operand[0] = Dtype::boolean;
    } else if (dtype == Dtype::f16) {
        plan.taken = Dtype::f32;
    } else if (!is_logic(op) && !is_float(dtype)) {
        if (dtype == Dtype::boolean && op != MapOp::equal) return plan;
        plan.taken = wide_dtype(dtype);
    }
    plan.run = element_run(op, plan.taken);
    plan.supported = plan.run != nullptr;
    plan.given = tells ? Dtype::boolean : plan.taken;
    plan.load = converter(dtype, plan.taken);
    plan.store = converter(plan.given, y_dtype);
    return plan;
}

bool map_nd_supported(int64_t op, int64_t dtype, int64_t y_dtype) {
    return op >= 0 && op < kMapOps && is_dtype(dtype) && is_dtype(y_dtype) &&
           map_plan(static_cast<MapOp>(op), static_cast<Dtype>(dtype), static_cast<Dtype>(y_dtype)).supported;
}

}  // namespace ecv
