/* The parameters that all poolings share, and how their windows meet one axis.
 *
 * Window o along an axis begins at  start(o) = floor(o*S / Q) - P  and has  ceil((o*S + K) / Q) - floor(o*S / Q)  taps;
 * tap k reads position start(o) + k*D. Windows that slide have Q = 1, which leaves o*S - P and K. Windows that share
 * out an axis of I positions among O outputs have S = K = I, Q = O and D = 1. Every window has a tap on the image.
 */
#ifndef CLCONV_POOL_H
#define CLCONV_POOL_H

#include "convolution.h"

#define POOL_SIZES \
    const index64 N, const index64 C, \
    const int ID, const int IH, const int IW, \
    const int OD, const int OH, const int OW, \
    const int KD, const int KH, const int KW, \
    const int SD, const int SH, const int SW, \
    const int DD, const int DH, const int DW, \
    const int PD, const int PH, const int PW, \
    const int QD, const int QH, const int QW

static inline int smaller(const int a, const int b) { return a < b ? a : b; }
static inline int larger(const int a, const int b) { return a > b ? a : b; }

/* A place in an array of shape (N, C, D, H, W), counted in row-major order. */
typedef struct { index64 n, c; int d, h, w; } place;

static inline place place_of(index64 item, const index64 C, const int D, const int H, const int W)
{
    place at;
    at.w = item % W; item /= W;
    at.h = item % H; item /= H;
    at.d = item % D; item /= D;
    at.c = item % C;
    at.n = item / C;
    return at;
}

#define AT_PLACE(a, at) AT(a, (at).n, (at).c, (at).d, (at).h, (at).w)

/* The positions of a window that are on the image: first, first + step, and so on below end. `start` and `taps` are
 * those of the whole window. */
typedef struct { int start, taps, first, end; } reach;

static inline reach reach_of(const int o, const int I, const int K, const int S, const int D, const int P, const int Q)
{
    const index64 from = (index64)o * S;
    reach r;
    r.start = (int)(Q == 1 ? from : from / Q) - P;
    r.taps = Q == 1 ? K : (int)((from + K + Q - 1) / Q - from / Q);
    r.first = r.start < 0 ? r.start + (D - 1 - r.start) / D * D : r.start;
    const index64 end = (index64)r.start + (index64)(r.taps - 1) * D + 1;
    r.end = end < I ? (int)end : I;
    return r;
}

/* The windows that position i may be in: first to last. Of those, i is in the ones of which it is a multiple of D away
 * from the start. */
typedef struct { int first, last; } windows;

/* a / S for a >= 0; a division takes as long as a dozen additions. */
static inline int quotient(const int a, const int S) { return S == 1 ? a : S == 2 ? a >> 1 : a / S; }

static inline windows windows_over(
    const int i, const int O, const int K, const int S, const int D, const int P, const int Q)
{
    /* start(o) <= i  means  o*S < (i + P + 1)*Q,  and window o ends behind i where  o*S + K > (i + P)*Q. */
    windows over;
    if (Q == 1) {
        const int least = i + P - D * (K - 1);
        over.first = least > 0 ? quotient(least - 1, S) + 1 : 0;
        over.last = smaller(quotient(i + P, S), O - 1);
    } else {
        const index64 least = ((index64)i + P) * Q - K + 1;
        const index64 last = (((index64)i + P + 1) * Q - 1) / S;
        over.first = least > 0 ? (int)((least + S - 1) / S) : 0;
        over.last = last < O ? (int)last : O - 1;
    }
    return over;
}

static inline int is_tap(const int i, const int o, const int S, const int D, const int P)
{
    return D == 1 || ((index64)i + P - (index64)o * S) % D == 0;
}

#endif
