/* Winograd's short convolutions: their sizes, and their transforms along one axis.
 *
 * A tile is M neighbouring outputs of an axis with three taps; they read A = M + 2 positions d. With numbers s_1 to
 * s_(A-1), and infinity as the last one, and with L the product of all s - s_j, Toom and Cook's interpolation gives
 *
 *     y = Y((U w) * (V d)),   V row j: the coefficients of L / (s - s_j), and of L for infinity,
 *                             U row j: (1, s_j, s_j^2) / L'(s_j), and (0, 0, 1),
 *                             Y row i: s_j^i, and for infinity 1 in the last row only.
 *
 * The gradient of the taps is a short convolution, too: the gradient of the outputs plays M taps, and three sums come
 * out: V is the same, U has M columns, and Y three rows. For M = 4 the numbers are 0, +-3/4, +-3/2: the
 * sums lose less than a third of what they do with 0, +-1, +-2. For M = 2 they are 0, +-1.
 */
#ifndef CLCONV_WINOGRAD_H
#define CLCONV_WINOGRAD_H

#include "vector.h"

#ifndef TILE
#define TILE 4 /* outputs along each axis with three taps */
#endif
#ifndef KH
#define KH 3
#endif
#ifndef KW
#define KW 3
#endif

#define MH (KH == 3 ? TILE : 1)
#define MW (KW == 3 ? TILE : 1)
#define AH (MH + KH - 1)
#define AW (MW + KW - 1)
#define POINTS (AH * AW)
#define TAPS (KH * KW)

/* Numbers are `step` vectors apart on the way in and `pace` on the way out. */

#define TRANSFORM static inline void

#if TILE == 4

/* s^2 of the inner and the outer pair, their sum and their product. */
#define S ((real)3 / 4)
#define T ((real)3 / 2)
#define SS ((real)9 / 16)
#define TT ((real)9 / 4)
#define SUM ((real)45 / 16)
#define PRODUCT ((real)81 / 64)

TRANSFORM transformed_taps(vector *u, const int pace, const vector *w, const int step)
{
    const vector first = w[0], last = w[2 * step];
    const vector inner = first * ((real)-128 / 243) + last * ((real)-8 / 27), inner_odd = w[step] * ((real)-32 / 81);
    const vector outer = first * ((real)32 / 243) + last * ((real)8 / 27), outer_odd = w[step] * ((real)16 / 81);
    u[0] = first * ((real)64 / 81);
    u[pace] = inner + inner_odd;
    u[2 * pace] = inner - inner_odd;
    u[3 * pace] = outer + outer_odd;
    u[4 * pace] = outer - outer_odd;
    u[5 * pace] = last;
}

TRANSFORM transformed_data(vector *v, const int pace, const vector *d, const int step)
{
    const vector d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
    const vector inner = d4 - d2 * TT, inner_odd = d3 - d1 * TT;
    const vector outer = d4 - d2 * SS, outer_odd = d3 - d1 * SS;
    const vector first = d[0] * PRODUCT + (d4 - d2 * SUM), last = d1 * PRODUCT + (d[5 * step] - d3 * SUM);
    v[0] = first;
    v[pace] = inner + inner_odd * S;
    v[2 * pace] = inner - inner_odd * S;
    v[3 * pace] = outer + outer_odd * T;
    v[4 * pace] = outer - outer_odd * T;
    v[5 * pace] = last;
}

TRANSFORM transformed_sums(vector *y, const int pace, const vector *m, const int step)
{
    const vector inner = m[step] + m[2 * step], inner_odd = m[step] - m[2 * step];
    const vector outer = m[3 * step] + m[4 * step], outer_odd = m[3 * step] - m[4 * step];
    y[0] = m[0] + inner + outer;
    y[pace] = inner_odd * S + outer_odd * T;
    y[2 * pace] = inner * SS + outer * TT;
    y[3 * pace] = inner_odd * (S * SS) + outer_odd * (T * TT) + m[5 * step];
}

/* The gradient of four outputs, in place of three taps. */
TRANSFORM transformed_gradient(vector *u, const int pace, const vector *dy, const int step)
{
    const vector first = dy[0], last = dy[3 * step];
    const vector inner = first * ((real)-128 / 243) + dy[2 * step] * ((real)-8 / 27);
    const vector inner_odd = dy[step] * ((real)-32 / 81) + last * ((real)-2 / 9);
    const vector outer = first * ((real)32 / 243) + dy[2 * step] * ((real)8 / 27);
    const vector outer_odd = dy[step] * ((real)16 / 81) + last * ((real)4 / 9);
    u[0] = first * ((real)64 / 81);
    u[pace] = inner + inner_odd;
    u[2 * pace] = inner - inner_odd;
    u[3 * pace] = outer + outer_odd;
    u[4 * pace] = outer - outer_odd;
    u[5 * pace] = last;
}

/* The gradient of three taps, in place of four outputs. */
TRANSFORM gradient_of_taps(vector *dw, const int pace, const vector *m, const int step)
{
    const vector inner = m[step] + m[2 * step], inner_odd = m[step] - m[2 * step];
    const vector outer = m[3 * step] + m[4 * step], outer_odd = m[3 * step] - m[4 * step];
    dw[0] = m[0] + inner + outer;
    dw[pace] = inner_odd * S + outer_odd * T;
    dw[2 * pace] = inner * SS + outer * TT + m[5 * step];
}

#else

TRANSFORM transformed_taps(vector *u, const int pace, const vector *w, const int step)
{
    const vector even = (w[0] + w[2 * step]) * ((real)1 / 2), odd = w[step] * ((real)1 / 2);
    u[0] = -w[0];
    u[pace] = even + odd;
    u[2 * pace] = even - odd;
    u[3 * pace] = w[2 * step];
}

TRANSFORM transformed_data(vector *v, const int pace, const vector *d, const int step)
{
    const vector d1 = d[step], d2 = d[2 * step];
    v[0] = d2 - d[0];
    v[3 * pace] = d[3 * step] - d1;
    v[pace] = d2 + d1;
    v[2 * pace] = d2 - d1;
}

TRANSFORM transformed_sums(vector *y, const int pace, const vector *m, const int step)
{
    y[0] = m[0] + m[step] + m[2 * step];
    y[pace] = m[step] - m[2 * step] + m[3 * step];
}

#endif

#endif
