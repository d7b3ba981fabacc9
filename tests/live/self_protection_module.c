/* SPDX-License-Identifier: MIT */
/* A module that is loaded and unloaded again. */
int module_answer(int x);
int module_replacement(int x);

__attribute__((visibility("default"), noinline)) int module_answer(int x)
{
    return x * 7 + 1;
}

__attribute__((visibility("default"), noinline)) int module_replacement(int x)
{
    return x + 4000;
}
