// What Python's encoder reads: names of the ops, of their fields and of their choices; facts of every ISA.
#pragma once

#include "isa_facts.h"

namespace ecv {

// A name, and the names that belong to it, in order: an op's fields, a choice's values.
struct Names {
    const char* name;
    const char* const* items;
    int count;
};

// By position; name is nullptr past the last.
Names op_names(int op);
Names choice_names(int choice);

// By position; nullptr past the last.
const IsaFacts* isa_facts(int position);

}  // namespace ecv
