/* SPDX-License-Identifier: MIT */
/* libm: 10 000 inputs through the functions, bits of every result summed. */
#include "workload.h"

#include <complex.h>
#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static uint64_t hash = 1469598103934665603u;

static void mix(const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
}

static void mix_d(double value)
{
    if (isnan(value))
        value = 0.5;
    mix(&value, sizeof value);
}

static void mix_l(long double value)
{
    if (isnan(value))
        value = 0.5L;
    mix(&value, 10);
}

static const struct {
    const char *name;
    double (*d)(double);
    float (*f)(float);
    long double (*l)(long double);
} one[] = {
#define ONE(name)                     \
    {                                 \
#name, name, name##f, name##l \
    }
    ONE(sin),   ONE(cos),   ONE(tan),       ONE(asin),      ONE(acos),
    ONE(atan),  ONE(sinh),  ONE(cosh),      ONE(tanh),      ONE(asinh),
    ONE(acosh), ONE(atanh), ONE(exp),       ONE(exp2),      ONE(expm1),
    ONE(log),   ONE(log2),  ONE(log10),     ONE(log1p),     ONE(sqrt),
    ONE(cbrt),  ONE(erf),   ONE(erfc),      ONE(tgamma),    ONE(lgamma),
    ONE(floor), ONE(ceil),  ONE(trunc),     ONE(round),     ONE(rint),
    ONE(logb),  ONE(fabs),  ONE(nearbyint), ONE(exp10),     ONE(j0),
    ONE(j1),    ONE(y0),    ONE(y1),        ONE(roundeven),
};

static const struct {
    const char *name;
    double (*d)(double, double);
    float (*f)(float, float);
    long double (*l)(long double, long double);
} two[] = {
#define TWO(name)                     \
    {                                 \
#name, name, name##f, name##l \
    }
    TWO(pow),       TWO(atan2), TWO(hypot),    TWO(fmod), TWO(remainder),
    TWO(nextafter), TWO(fdim),  TWO(copysign), TWO(fmin), TWO(fmax),
};

static void say_hash(bench_emit emit, const char *name)
{
    bench_say(emit, "%-12s %016llx\n", name, (unsigned long long)hash);
}

static void odd_ones(bench_emit emit)
{
    for (int i = -200; i < 200; i++) {
        double x = i * 0.37, whole;
        int exponent, quotient;
        mix_d(frexp(x, &exponent));
        mix_d(modf(x, &whole));
        mix_d(ldexp(x, i / 9));
        mix_d(scalbn(x, exponent));
        mix_d(remquo(x, 1.7, &quotient));
        mix_d(fma(x, x, whole));
        mix_d(jn(2, x));
        double sine, cosine;
        sincos(x, &sine, &cosine);
        mix_d(sine + cosine + quotient % 8);
        long rounded = lrint(x) + lround(x) + (long)llrint(x);
        mix(&rounded, sizeof rounded);
        double complex z = x + 0.25 * I;
        mix_d(creal(cexp(z / 30)) + cimag(csqrt(z)) + creal(clog(z)));
        mix_d(cabs(csin(z / 40)) + carg(cpow(z, 0.5)));
    }
    fesetround(FE_UPWARD);
    mix_d(rint(0.1));
    fesetround(FE_TONEAREST);
    feclearexcept(FE_ALL_EXCEPT);
    mix_d(log(-1.0));
    bench_say(emit, "invalid %d\n", fetestexcept(FE_INVALID) != 0);
    say_hash(emit, "odd ones");
}

void bench_work(bench_emit emit)
{
    hash = 1469598103934665603u;
    for (size_t k = 0; k < sizeof one / sizeof *one; k++) {
        for (int i = 0; i < 250; i++) {
            double x = (i - 125) * 0.173;
            mix_d(one[k].d(x));
            mix_d((double)one[k].f((float)x));
            mix_l(one[k].l((long double)x));
        }
        say_hash(emit, one[k].name);
    }
    for (size_t k = 0; k < sizeof two / sizeof *two; k++) {
        for (int i = 0; i < 250; i++) {
            double x = (i - 125) * 0.173, y = (i % 17) * 0.71 + 0.1;
            mix_d(two[k].d(x, y));
            mix_d((double)two[k].f((float)x, (float)y));
            mix_l(two[k].l((long double)x, (long double)y));
        }
        say_hash(emit, two[k].name);
    }
    odd_ones(emit);
}
