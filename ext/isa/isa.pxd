cdef extern from "isa.h" namespace "ecv" nogil:
    const int kIsaCount
    const char* isa_label(int isa)
    bint isa_is_supported(int isa)
    int isa_best()
    int isa_from_label(const char* label)
