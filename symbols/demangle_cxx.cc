/* SPDX-License-Identifier: MIT */
/* The C++ run-time library's own demangler: the one file that is C++. */
#include "internal.h"

#include <cxxabi.h>

char *patas__demangle_cxx(const char *name)
{
    int status = 0;
    char *plain = abi::__cxa_demangle(name, nullptr, nullptr, &status);
    return status == 0 ? plain : nullptr;
}
