/* conv2d and its gradients by the calling convention of clconv.oracle.adapters: each work-item gathers one element. */

#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

enum { N, IC, IH, IW, OC, KH, KW, SH, SW, PH, PW, QH, QW, DH, DW, G, OH, OW };

__kernel void conv2d(__global const T *input, __global const T *weight, __global const T *bias, __global T *output,
                     __global const long *s)
{
    long place = get_global_id(0), ow = place % s[OW], oh = place / s[OW] % s[OH], image = place / s[OW] / s[OH];
    long oc = image % s[OC], n = image / s[OC], ICG = s[IC] / s[G], first = oc / (s[OC] / s[G]) * ICG;
    T sum = bias ? bias[oc] : 0;
    for (long icg = 0; icg < ICG; icg++)
        for (long kh = 0; kh < s[KH]; kh++)
            for (long kw = 0; kw < s[KW]; kw++) {
                long ih = oh * s[SH] - s[PH] + kh * s[DH], iw = ow * s[SW] - s[PW] + kw * s[DW];
                if (ih >= 0 && ih < s[IH] && iw >= 0 && iw < s[IW])
                    sum += input[((n * s[IC] + first + icg) * s[IH] + ih) * s[IW] + iw]
                         * weight[((oc * ICG + icg) * s[KH] + kh) * s[KW] + kw];
            }
    output[place] = sum;
}

__kernel void grad_input(__global const T *grad_output, __global const T *input, __global const T *weight,
                         __global T *result, __global const long *s)
{
    long place = get_global_id(0), iw = place % s[IW], ih = place / s[IW] % s[IH], image = place / s[IW] / s[IH];
    long ic = image % s[IC], n = image / s[IC], ICG = s[IC] / s[G], OCG = s[OC] / s[G], first = ic / ICG * OCG;
    T sum = 0;
    for (long ocg = 0; ocg < OCG; ocg++)
        for (long kh = 0; kh < s[KH]; kh++)
            for (long kw = 0; kw < s[KW]; kw++) {
                long h = ih + s[PH] - kh * s[DH], w = iw + s[PW] - kw * s[DW], oh = h / s[SH], ow = w / s[SW];
                if (h >= 0 && h % s[SH] == 0 && oh < s[OH] && w >= 0 && w % s[SW] == 0 && ow < s[OW])
                    sum += grad_output[((n * s[OC] + first + ocg) * s[OH] + oh) * s[OW] + ow]
                         * weight[(((first + ocg) * ICG + ic % ICG) * s[KH] + kh) * s[KW] + kw];
            }
    result[place] = sum;
}

__kernel void grad_weight(__global const T *grad_output, __global const T *input, __global const T *weight,
                          __global T *result, __global const long *s)
{
    long place = get_global_id(0), kw = place % s[KW], kh = place / s[KW] % s[KH], filter = place / s[KW] / s[KH];
    long ICG = s[IC] / s[G], oc = filter / ICG, ic = oc / (s[OC] / s[G]) * ICG + filter % ICG;
    T sum = 0;
    for (long n = 0; n < s[N]; n++)
        for (long oh = 0; oh < s[OH]; oh++)
            for (long ow = 0; ow < s[OW]; ow++) {
                long ih = oh * s[SH] - s[PH] + kh * s[DH], iw = ow * s[SW] - s[PW] + kw * s[DW];
                if (ih >= 0 && ih < s[IH] && iw >= 0 && iw < s[IW])
                    sum += grad_output[((n * s[OC] + oc) * s[OH] + oh) * s[OW] + ow]
                         * input[((n * s[IC] + ic) * s[IH] + ih) * s[IW] + iw];
            }
    result[place] = sum;
}

__kernel void grad_bias(__global const T *grad_output, __global const T *input, __global const T *weight,
                        __global T *result, __global const long *s)
{
    long oc = get_global_id(0), positions = s[OH] * s[OW];
    T sum = 0;
    for (long n = 0; n < s[N]; n++)
        for (long i = 0; i < positions; i++)
            sum += grad_output[(n * s[OC] + oc) * positions + i];
    result[oc] = sum;
}
