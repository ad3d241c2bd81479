/* Which of the x86-64 levels that kernels are compiled for this processor runs. */
#include "clconv_native.h"

#include <string.h>

#if defined(__x86_64__)

#include <cpuid.h>

static int has_f16c(void)
{
    unsigned int a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

int clconv_level_runs(const char *level)
{
    __builtin_cpu_init();
    const int v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    const int v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    const int v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (strcmp(level, "v2") == 0) return v2;
    if (strcmp(level, "v3") == 0) return v3;
    return strcmp(level, "v4") == 0 && v4;
}

#else

int clconv_level_runs(const char *level) { return strcmp(level, "generic") == 0; }

#endif
