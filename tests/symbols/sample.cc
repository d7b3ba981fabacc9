// SPDX-License-Identifier: MIT
// C++ that compilers like to do something to, and names to be found.
#include <string>

#define EXPORTED __attribute__((visibility("default")))

volatile int sample_sink;

namespace sample
{
struct shape {
    virtual ~shape() = default;
    virtual __attribute__((noinline)) int area(int x)
    {
        sample_sink = x;
        return sample_sink * 2;
    }
};

struct square final : shape {
    __attribute__((noinline)) int area(int x) override
    {
        sample_sink = x;
        return sample_sink * sample_sink;
    }
    __attribute__((noinline)) int plain(int x)
    {
        sample_sink = x;
        return x + 1;
    }
};

template <typename T> __attribute__((noinline)) T twice(T x)
{
    sample_sink = int(x);
    return x + x;
}

__attribute__((noinline)) int over(int x)
{
    sample_sink = x;
    return x;
}

__attribute__((noinline)) int over(const std::string &x)
{
    sample_sink = int(x.size());
    return sample_sink;
}
} // namespace sample

// The object's class is known: no vtable is asked.
EXPORTED int sample_direct(sample::square &s)
{
    return s.area(3) + s.plain(4);
}

// It is not.
EXPORTED int sample_virtual(sample::shape &s)
{
    return s.area(3);
}

EXPORTED int sample_others(int x)
{
    sample::square s;
    return sample::twice(x) + int(sample::twice(2.5)) + sample::over(x) +
           sample::over(std::string("x")) + sample_direct(s) +
           sample_virtual(s);
}
