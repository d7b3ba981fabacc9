// SPDX-License-Identifier: MIT
// C++ functions to be found by the names that people write.
#include "find.h"

#include <map>
#include <string>

#define KEPT __attribute__((noinline, used))

namespace ns
{
struct klass {
    KEPT int method(int x)
    {
        return x + value;
    }
    KEPT int method(const char *text) const
    {
        return text[0] + value;
    }
    KEPT int operator()(int x)
    {
        return x - value;
    }
    KEPT bool operator<(const klass &other) const
    {
        return value < other.value;
    }
    int value = 1;
};

template <typename T> struct box {
    KEPT T get(T x)
    {
        return x + 1;
    }
};
template struct box<int>;
template struct box<std::map<int, std::string> *>;

template <typename T> KEPT T generic(T x)
{
    return x;
}

namespace
{
KEPT int hidden(int x)
{
    return x + 40;
}
} // namespace
} // namespace ns

KEPT int global_cxx(int x)
{
    return x + 50;
}

template <typename M> static void (*address(M member))(void)
{
    union {
        M member;
        void (*function)(void);
    } both = {member};
    return both.function;
}

extern "C" void (*find_cxx(int which))(void)
{
    using ns::klass;
    switch (which) {
    case 0:
        return address<int (klass::*)(int)>(&klass::method);
    case 1:
        return address<int (klass::*)(const char *) const>(&klass::method);
    case 2:
        return address(&klass::operator());
    case 3:
        return address(&klass::operator<);
    case 4:
        return address(&ns::box<int>::get);
    case 5:
        return reinterpret_cast<void (*)(void)>(&ns::generic<long>);
    case 6:
        return reinterpret_cast<void (*)(void)>(&ns::hidden);
    case 7:
        return reinterpret_cast<void (*)(void)>(&global_cxx);
    default:
        return nullptr;
    }
}
