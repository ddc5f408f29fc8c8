// Names of the ops, of their fields and of their choices, as Python's encoder reads them.
#pragma once

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

}  // namespace ecv
