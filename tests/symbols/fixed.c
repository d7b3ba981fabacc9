/* SPDX-License-Identifier: MIT */
/* Built without -fPIC: the linker writes addresses into this code. */
int fixed_data;

int fixed_function(int x);
int fixed_function(int x)
{
    fixed_data += x;
    return fixed_data * x;
}

int fixed_caller(int x);
int fixed_caller(int x)
{
    return fixed_function(x) + fixed_function(fixed_data) + fixed_data;
}
