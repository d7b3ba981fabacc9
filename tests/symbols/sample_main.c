/* SPDX-License-Identifier: MIT */
/* Makes a program of sample.c, which is asked from outside. */
int main(void)
{
    return 0;
}
