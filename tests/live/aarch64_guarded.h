/* SPDX-License-Identifier: MIT */
#ifndef AARCH64_GUARDED_H
#define AARCH64_GUARDED_H

typedef long unary(long);

long guarded_adds_one(long a);
long guarded_calls(long a, unary *function);
unary *guarded_behind(void);

#endif
