// SPDX-License-Identifier: MIT
// Exceptions through patched frames, for test_self_protection.c.
#include <cstdint>
#include <stdexcept>
#include <string>

#include "machine.h"
#include "patas.h"

extern "C" {
int throws_from_deep(void);
int throws_from_moved_call(void);
int moved_call(int x);
MACHINE_CALLED int thrower MACHINE_PARAMETERS;
}

#define KEEP __attribute__((noinline, used))

int thrower MACHINE_PARAMETERS
{
    if (x > 0)
        throw std::runtime_error("from the moved call " + std::to_string(x));
    return 7;
}

static patas_patch *patches[2];

struct Guard {
    int &count;
    ~Guard()
    {
        count++;
    }
};
static int destroyed;

// What the compiler may not know: else it works results out by itself.
static int opaque(int x)
{
    __asm__ volatile("" : "+r"(x));
    return x;
}

static KEEP int inner(int x)
{
    Guard guard{destroyed};
    if (x > 2)
        throw x;
    return opaque(x);
}
static KEEP int outer(int x)
{
    Guard guard{destroyed};
    return opaque(inner(x) + 1);
}
template <int n> static int pass(int x)
{
    Guard guard{destroyed};
    auto original = reinterpret_cast<int (*)(int)>(patas_original(patches[n]));
    return original(x) + 100;
}

// 0 if every frame was unwound, 1 to 4 for what was not.
int throws_from_deep(void)
{
    if (patas_replace(reinterpret_cast<patas_fn>(inner),
                      reinterpret_cast<patas_fn>(pass<0>), &patches[0],
                      nullptr) != PATAS_OK ||
        patas_replace(reinterpret_cast<patas_fn>(outer),
                      reinterpret_cast<patas_fn>(pass<1>), &patches[1],
                      nullptr) != PATAS_OK)
        return 1;
    if (outer(1) != 202 || destroyed != 4)
        return 2;
    for (int i = 0; i < 100; i++) {
        destroyed = 0;
        try {
            (void)outer(3 + i);
            return 3;
        } catch (int x) {
            if (x != 3 + i || destroyed != 4)
                return 4;
        }
    }
    return patas_restore_all(nullptr) == PATAS_OK ? 0 : 5;
}

int throws_from_moved_call(void)
{
    if (patas_replace(reinterpret_cast<patas_fn>(moved_call),
                      reinterpret_cast<patas_fn>(pass<0>), &patches[0],
                      nullptr) != PATAS_OK)
        return 1;
    if (moved_call(0) != 108)
        return 2;
    try {
        (void)moved_call(5);
        return 3;
    } catch (const std::exception &e) {
        if (e.what() != std::string("from the moved call 5"))
            return 4;
    }
    return patas_restore_all(nullptr) == PATAS_OK ? 0 : 5;
}
