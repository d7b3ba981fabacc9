// SPDX-License-Identifier: MIT
// The same for C++: an overload, by its demangled name.
#include <patas/symbols.h>

namespace ns
{
__attribute__((noinline, noipa)) int twice(int x)
{
    return 2 * x;
}
__attribute__((noinline, noipa)) long twice(long x)
{
    return 2 * x;
}
} // namespace ns

static int thrice(int x)
{
    return 3 * x;
}

int main()
{
    patas_patch *patch;
    patas_fn function;

    if (patas_find("ns::twice", &function, nullptr) != PATAS_ERR_AMBIGUOUS)
        return 1;
    if (patas_replace_name("ns::twice(int)", reinterpret_cast<patas_fn>(thrice),
                           nullptr, &patch, nullptr) != PATAS_OK)
        return 2;
    return ns::twice(5) == 15 && ns::twice(5L) == 10 ? 0 : 3;
}
