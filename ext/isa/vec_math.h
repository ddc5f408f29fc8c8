// Functions of vectors that are no instruction of any ISA: the same bits on all of them.
//
// Include it only from kernel files, as vec.h.
#pragma once

#include "vec.h"

namespace {

// e^x to about 1e-7 of the value, x held to [-87, 88]; of NaN e^-87. Range reduction by ln 2 in two parts,
// the first of which a product with a whole number keeps exact, and Taylor's series to the seventh power.
inline VecF f_exp(VecF x) {
    const VecF bounded = f_min(f_max(x, f_set(-87.0f)), f_set(88.0f));
    // Adding and subtracting 1.5 * 2^23 rounds to a whole number.
    const VecF rounder = f_set(12582912.0f);
    const VecF n = (bounded * f_set(1.44269504f) + rounder) - rounder;
    const VecF r = (bounded - n * f_set(0.693359375f)) - n * f_set(-2.12194440e-4f);
    VecF p = f_set(1.0f / 5040);
    p = p * r + f_set(1.0f / 720);
    p = p * r + f_set(1.0f / 120);
    p = p * r + f_set(1.0f / 24);
    p = p * r + f_set(1.0f / 6);
    p = p * r + f_set(0.5f);
    p = p * r + f_set(1.0f);
    p = p * r + f_set(1.0f);
    return p * f_exp2_whole(n);
}

}  // namespace
