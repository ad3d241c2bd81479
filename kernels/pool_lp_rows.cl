/* Lp pooling of runs of rows, for processors: the norms and gradients of pool_lp.cl.
 *
 * Powers are taken of |x| as it is, and added up along columns first. Where a sum of them is so small or so large that
 * a power may have been rounded to nothing or to infinity, the norm of the window is computed again, with a scale.
 */
#include "pool_rows.h"
#include "pool_lp.h"
#include "epilogue.h"

/* Calls a function with the order as literal where powers need no logarithm, and else with DRAWN. */
#define DRAWN (-1)
#define WITH_ORDER(call, p) \
    do { \
        if ((p) == 0) call(0); \
        else if ((p) == 1) call(1); \
        else if ((p) == 2) call(2); \
        else if ((p) == 3) call(3); \
        else call(DRAWN); \
    } while (0)

static inline real power_by(const int known, const real t, const real p)
{
    return known == DRAWN ? power(t, p) : power_of(t, (real)known);
}

/* A sum of powers from here on is exact to rounding: what subnormal powers have lost is nothing beside it. */
#define LEAST_SUM (SMALLEST_NORMAL * (real)((bits)1 << DIGITS))

static inline void add_powers(real *restrict line, global const element *restrict x, const index64 start,
                              const index64 step, const int count, const real p, const int known)
{
    if (step == 1) for (int i = 0; i < count; i++) line[i] += power_by(known, magnitude(load(x, start + i)), p);
    else for (int i = 0; i < count; i++) line[i] += power_by(known, magnitude(load(x, start + i * step)), p);
}

/* sum[o] = the sum of the taps of window o */
static inline void add_taps(
    real *restrict sum, const real *restrict line, const int windows, const int K, const int S, const int step)
{
    EACH_WINDOW(o, windows) sum[o] = line[o * step];
    for (int k = 1; k < K; k++) {
        const real *restrict taps = TAPS(line, k);
        EACH_WINDOW(o, windows) sum[o] += taps[o * step];
    }
}

/* 1/p in two parts, rounded and the rest: ln(sum)/p is large where a norm is, and must not lose digits to 1/p's. */
typedef struct { real rounded, rest; } reciprocal;

static inline reciprocal reciprocal_of(const real p)
{
    reciprocal r;
    r.rounded = 1 / p;
    const real p_upper = upper(p), r_upper = upper(r.rounded);
    const real p_lower = p - p_upper, r_lower = r.rounded - r_upper;
    r.rest = (((1 - p_upper * r_upper) - p_upper * r_lower - p_lower * r_upper) - p_lower * r_lower) / p;
    return r;
}

/* norm[o] = sum[o]^(1/p) */
static inline void take_roots(real *restrict norm, const int count, const real p)
{
    const reciprocal r = reciprocal_of(p);
    if (p == 2) EACH_OF_BLOCKS(o, count) norm[o] = square_root(norm[o]);
    else if (p != 1)
        EACH_OF_BLOCKS(o, count) {
            const real sum = norm[o];
            norm[o] = power(sum, r.rounded) * (1 + r.rest * logarithm(sum));
        }
}

/* The norms of a run of windows in row oh. */
static inline void norms_of_run(
    real *restrict norm, real *restrict line, real *restrict parts, global const element *restrict x, const band b,
    const int oh, POOL_SIZES, VIEW(x), const int RUN, const real p)
{
    const span s = span_of(b, RUN, IW, KW, SW, DW, PW, QW);
    const reach rd = reach_of(b.d, ID, KD, SD, DD, PD, QD);
    const reach rh = reach_of(oh, IH, KH, SH, DH, PH, QH);
    fill(line, 0, s.length + BLOCK); /* what rows leave of it stays the padding's */
    for (int id = rd.first; id < rd.end; id++)
        for (int ih = rh.first; ih < rh.end; ih++) {
            const index64 start = AT(x, b.n, b.c, id, ih, s.first);
            fetch_ahead(x, start, x_w, s.end - s.first);
#define ADD_POWERS(known) add_powers(line + s.first - s.start, x, start, x_w, s.end - s.first, p, known)
            WITH_ORDER(ADD_POWERS, p);
        }
    if (SW == 2) part(parts, line, s.length);
    const real *taps = SW == 2 ? parts : line;
#define ADD_TAPS(step) add_taps(norm, taps, b.count, KW, SW, step)
    WITH_STEP(ADD_TAPS);

    int inexact = 0;
    for (int o = 0; o < b.count; o++) inexact |= !((norm[o] >= LEAST_SUM) & (norm[o] < infinity()));
    if (!inexact || p == 1) {
        take_roots(norm, b.count, p);
        return;
    }
    for (int o = 0; o < b.count; o++) {
        place at = {b.n, b.c, b.d, oh, b.begin + o};
        const int is_exact = norm[o] >= LEAST_SUM && norm[o] < infinity();
        line[o] = is_exact ? 1 : norm_of(x, at, ALL_SIZES, p);
        parts[o] = is_exact ? 1 : 0;
    }
    take_roots(norm, b.count, p);
    for (int o = 0; o < b.count; o++) norm[o] = parts[o] > 0 ? norm[o] : line[o];
}

kernel void lp_pool_rows(
    WORK_ITEM
    global const element *x, EPILOGUE_ARRAYS, global element *y, POOL_SIZES, VIEW(x), VIEW(y),
    EPILOGUE, VIEW(residual), const int BAND, const int RUN, const real p)
{
    if (WORK_ITEM_INDEX >= N * C * OD * bands_of_plane(OH, OW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, OD, OH, OW, BAND, RUN);
    real norm[ROOM], line[ROOM], parts[2 * ROOM];
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        norms_of_run(norm, line, parts, x, b, oh, ALL_SIZES, RUN, p);
        FINISH_RUN(norm, b.count, b.c, AT(residual, b.n, b.c, b.d, oh, b.begin), residual_w);
        write_row(y, AT(y, b.n, b.c, b.d, oh, b.begin), y_w, norm, b.count);
    }
}

/* The norms again, for the gradient: of halves, before they are rounded. */
kernel void lp_pool_rows_norms(
    WORK_ITEM
    global const element *x, global real *norms, POOL_SIZES, VIEW(x), const int BAND, const int RUN, const real p)
{
    if (WORK_ITEM_INDEX >= N * C * OD * bands_of_plane(OH, OW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, OD, OH, OW, BAND, RUN);
    real norm[ROOM], line[ROOM], parts[2 * ROOM];
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        norms_of_run(norm, line, parts, x, b, oh, ALL_SIZES, RUN, p);
        global real *target = norms + (((b.n * C + b.c) * OD + b.d) * OH + oh) * OW + b.begin;
        for (int o = 0; o < b.count; o++) target[o] = norm[o];
    }
}

/* Adds to each place of a line what windows give it: given (size / norm)^(p-1), `order` being p - 1. */
static inline void give_parts(real *restrict line, const real *restrict x, global const real *restrict norm,
                              const real *restrict given, const int windows, const int K, const int S,
                              const real order, const int known, const int step)
{
    for (int k = 0; k < K; k++) {
        const real *restrict taps = TAPS(x, k);
        real *restrict to = TAPS(line, k);
        for (int o = 0; o < windows; o++) {
            const real size = magnitude(taps[o * step]);
            to[o * step] += given[o] * (known == 0 ? (real)1 : power_by(known, size / norm[o], order));
        }
    }
}

/* A gradient has its pixel's sign, and is 0 where that is 0. */
static inline real signed_as(const real sum, const real x)
{
    const real nonzero = x < 0 ? -sum : sum;
    return x == 0 ? 0 : nonzero;
}

kernel void lp_pool_rows_bwd(
    WORK_ITEM
    global const element *x, global const real *norms, global const element *dy, global element *dx,
    POOL_SIZES, VIEW(x), VIEW(dy), VIEW(dx), const int BAND, const int RUN, const real p)
{
    if (WORK_ITEM_INDEX >= N * C * ID * bands_of_plane(IH, IW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, ID, IH, IW, BAND, RUN);
    const windows wd = windows_over(b.d, OD, KD, SD, DD, PD, QD);
    const window_line l = line_under(b, IW, OW, KW, SW, DW, PW);
    real pixels[ROOM], given[ROOM], x_parts[2 * ROOM], line[2 * ROOM];
    fill(pixels, 0, ROOM);
    for (int ih = b.first_row; ih < b.end_row; ih++) {
        const windows wh = windows_over(ih, OH, KH, SH, DH, PH, QH);
        const index64 row = AT(x, b.n, b.c, b.d, ih, l.origin + l.begin);
        fetch_ahead(x, row, x_w, l.end - l.begin);
        read_row(pixels + l.begin, x, row, x_w, l.end - l.begin);
        if (SW == 2) part(x_parts, pixels, l.length);
        const real *taps = SW == 2 ? x_parts : pixels;
        const int places = SW == 2 ? l.length / 2 + 1 : l.length;
        fill(line, 0, places + BLOCK);
        if (SW == 2) fill(line + ROOM, 0, places + BLOCK);
        for (int od = wd.first; od <= wd.last; od++)
            for (int oh = wh.first; oh <= wh.last; oh++) {
                global const real *norm = norms + (((b.n * C + b.c) * OD + od) * OH + oh) * OW + l.first;
                read_row(given, dy, AT(dy, b.n, b.c, od, oh, l.first), dy_w, l.count);
#define GIVE(known, step) give_parts(line, taps, norm, given, l.count, KW, SW, p - 1, known, step)
#define GIVE_NEAR(known) GIVE(known, 1)
#define GIVE_FAR(known) GIVE(known, SW)
                if (SW <= 2) WITH_ORDER(GIVE_NEAR, p - 1);
                else WITH_ORDER(GIVE_FAR, p - 1);
            }
        EACH_OF_BLOCKS(i, places) line[i] = signed_as(line[i], taps[i]);
        if (SW == 2) EACH_OF_BLOCKS(i, places) line[ROOM + i] = signed_as(line[ROOM + i], x_parts[ROOM + i]);
        const index64 target = AT(dx, b.n, b.c, b.d, ih, b.begin);
        if (SW == 2) write_interleaved(dx, target, dx_w, line, l.before, b.count);
        else write_row(dx, target, dx_w, line + l.before, b.count);
    }
}
