/* Convolution with one input channel in each group, for processors: it waits for memory, so x is read, and y written, once.
 *
 *     y[n, g, oc, o] = b[g, oc] + sum over k of w[g, oc, k] * x[n, g, source(o*S - P + k*D)]
 *
 * A work-item copies what a band of rows of y needs, with its padding, to private memory that stays in the nearest cache:
 * positions with one remainder by SW side by side, so that each tap of a row of outputs reads neighbours. Then it computes
 * UNITS vectors of outputs at once, in any rows.
 *
 * The gradient of the data is such a convolution of dy, with U - 1 zeros between its values where the stride was U. Neither
 * those nor zero padding contribute products, as in conv.cl: outputs that are not finite are computed again by that rule.
 */
#include "convolution.h"
#include "epilogue.h"
#include "vector.h"

#define UNITS 8
/* 32 KiB of reals, and a vector that is read beyond them. */
#define BUFFER (32768 / sizeof(real))

/* Copies a row of x: its value j goes to position p = j*UW + PW, which lies at row[p % SW * EW + p / SW]. The rest is zero. */
static inline void copy_row(
    real *row, global const element *x, const index64 start, const index64 x_w,
    const int IW, const int PW, const int SW, const int EW, const int UW)
{
    for (int e = 0; e < SW * EW; e++) row[e] = 0;
    const int low = PW < 0 ? (UW - 1 - PW) / UW : 0;
    const int values = (IW - 1) / UW + 1, room = (SW * EW - PW + UW - 1) / UW;
    const int high = values < room ? values : room;
    int j = low;
    if (x_w == 1 && SW == 1 && UW == 1) {
        for (; j + LANES <= high; j += LANES) store_vector(row + j + PW, load_lanes(x, start + j));
    } else if (x_w == 1 && SW == 2 && UW == 1) {
        real *even = row + (j + PW) % 2 * EW + (j + PW) / 2, *odd = row + (j + 1 + PW) % 2 * EW + (j + 1 + PW) / 2;
        for (; j + 2 * LANES <= high; j += 2 * LANES, even += LANES, odd += LANES) {
            const vector first = load_lanes(x, start + j), second = load_lanes(x, start + j + LANES);
            store_vector(even, SHUFFLED(first, second, EVEN_LANES));
            store_vector(odd, SHUFFLED(first, second, ODD_LANES));
        }
    } else if (x_w == 1 && SW == 1 && UW == 2) {
        for (; j + LANES <= high; j += LANES) {
            const vector values_of_x = load_lanes(x, start + j);
            store_vector(row + 2 * j + PW, SHUFFLED(values_of_x, splat(0), FIRST_HALVES));
            store_vector(row + 2 * j + PW + LANES, SHUFFLED(values_of_x, splat(0), SECOND_HALVES));
        }
    }
    for (; j < high; j++) {
        const int p = j * UW + PW;
        row[p % SW * EW + p / SW] = load(x, start + j * x_w);
    }
}

/* Fills in the padding of a row whose padding is not zero. */
static inline void pad_row(
    real *row, global const element *x, const index64 start, const index64 x_w,
    const int IW, const int PW, const int SW, const int EW, const int padding_mode)
{
    for (int p = 0; p < SW * EW; p++) {
        if (p >= PW && p < PW + IW) continue;
        const int iw = source_of(p - PW, IW, padding_mode);
        if (iw >= 0) row[p % SW * EW + p / SW] = load(x, start + iw * x_w);
    }
}

/* The sum of a single output, whose window begins at (id, ih, iw), without products of zeros that stand for no value. */
APART real sum_by_the_rule(
    const real *line, global const element *w, const real bias, const int HEIGHT, const int EW, const int padding_mode,
    const int KD, const int KH, const int KW, const int ID, const int IH, const int IW, const int SW,
    const int DD, const int DH, const int DW, const int UD, const int UH, const int UW,
    const int id, const int ih, const int iw, const index64 w_d, const index64 w_h, const index64 w_w)
{
    real sum = bias;
    for (int tap = 0; tap < KD * KH * KW; tap++) {
        const int kw = tap % KW, kh = tap / KW % KH, kd = tap / KW / KH;
        const int d = source_of(id + kd * DD, ID, padding_mode);
        const int h = source_of(ih + kh * DH, IH, padding_mode);
        const int p = source_of(iw + kw * DW, IW, padding_mode);
        if (d < 0 || h < 0 || p < 0 || d % UD != 0 || h % UH != 0 || p % UW != 0) continue;
        const int place = (kd * HEIGHT + kh * DH) * SW * EW + kw * DW % SW * EW + kw * DW / SW;
        sum += load(w, kd * w_d + kh * w_h + kw * w_w) * line[place];
    }
    return sum;
}

kernel void conv_depthwise(
    WORK_ITEM
    global const element *x, global const element *w, global const element *b, EPILOGUE_ARRAYS, global element *y,
    const index64 N, const int G, const int OC,
    const int OD, const int OH, const int OW, const int KD, const int KH, const int KW,
    const int SD, const int SH, const int SW, const int DD, const int DH, const int DW,
    const int ID, const int IH, const int IW, const int PD, const int PH, const int PW, const int padding_mode,
    const int UD, const int UH, const int UW, const int ROWS, const int EW,
    GROUPED_VIEW(x), GROUPED_VIEW(w), GROUPED_VIEW(y), const index64 b_start, const index64 b_c, const int has_bias,
    EPILOGUE, GROUPED_VIEW(residual))
{
    const int BANDS = (OH + ROWS - 1) / ROWS;
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * G * OD * BANDS) return;
    const int first_row = item % BANDS * ROWS; item /= BANDS;
    const int od = item % OD; item /= OD;
    const index64 g = item % G;
    const index64 n = item / G;
    const int rows = OH - first_row < ROWS ? OH - first_row : ROWS;
    const int id = od * SD - PD, ih = first_row * SH - PH;

    /* Every tap's rows of x, KD planes of HEIGHT rows of PITCH positions. */
    const int PITCH = SW * EW;
    const int HEIGHT = (rows - 1) * SH + (KH - 1) * DH + 1;
    real buffer[BUFFER + LANES];
    for (int kd = 0; kd < KD; kd++) {
        const int d = source_of(id + kd * DD, ID, padding_mode);
        for (int height = 0; height < HEIGHT; height++) {
            const int h = source_of(ih + height, IH, padding_mode);
            real *row = buffer + (kd * HEIGHT + height) * PITCH;
            if (d < 0 || h < 0 || d % UD != 0 || h % UH != 0) {
                for (int e = 0; e < PITCH; e++) row[e] = 0;
                continue;
            }
            const index64 start = x_start + n * x_n + g * x_g + d / UD * x_d + h / UH * x_h;
            copy_row(row, x, start, x_w, IW, PW, SW, EW, UW);
            if (padding_mode != ZEROS) pad_row(row, x, start, x_w, IW, PW, SW, EW, padding_mode);
        }
    }
    store_vector(buffer + KD * HEIGHT * PITCH, splat(0));

    const int is_plain = !(has_scale | has_shift | has_residual | (activation != NO_ACTIVATION));
    const int is_dense = is_plain && y_w == 1 && y_h == OW;
    for (int oc = 0; oc < OC; oc++) {
        const index64 taps = w_start + g * w_g + oc * w_n;
        const index64 c = g * OC + oc;
        const real bias = has_bias ? load(b, b_start + c * b_c) : 0;
        const index64 y_first = y_start + n * y_n + g * y_g + oc * y_c + od * y_d + first_row * y_h;
        const index64 residual_first = residual_start + n * residual_n + g * residual_g + oc * residual_c
            + od * residual_d + first_row * residual_h;
        int row = 0, column = 0;
        while (row < rows) {
            int units = 0, line[UNITS], first[UNITS];
            const real *place[UNITS];
            for (int u = 0; u < UNITS; u++) {
                if (row < rows) {
                    line[u] = row;
                    first[u] = column;
                    units++;
                    column += LANES;
                    if (column >= OW) {
                        column = 0;
                        row++;
                    }
                } else { /* none is left: the last one again */
                    line[u] = line[u - 1];
                    first[u] = first[u - 1];
                }
                place[u] = buffer + line[u] * SH * PITCH + first[u];
            }
            vector sum[UNITS], total[UNITS];
            for (int u = 0; u < UNITS; u++) {
                sum[u] = splat(0);
                total[u] = splat(bias);
            }
            int terms = 0;
            for (int kd = 0; kd < KD; kd++)
                for (int kh = 0; kh < KH; kh++) {
                    int offset = (kd * HEIGHT + kh * DH) * PITCH, remainder = 0;
                    for (int kw = 0; kw < KW; kw++) {
                        const real weight = load(w, taps + kd * w_d + kh * w_h + kw * w_w);
                        for (int u = 0; u < UNITS; u++) sum[u] += load_private(place[u] + offset) * weight;
                        for (int step = 0; step < DW; step++) { /* DW positions on, which lie EW apart */
                            offset += EW;
                            if (++remainder < SW) continue;
                            remainder = 0;
                            offset -= PITCH - 1;
                        }
                    }
                    terms += KW;
                    if (terms < TERMS_PER_PART) continue;
                    terms = 0;
                    for (int u = 0; u < UNITS; u++) {
                        total[u] += sum[u];
                        sum[u] = splat(0);
                    }
                }
            vector zeros = splat(0);
            for (int u = 0; u < UNITS; u++) {
                total[u] += sum[u];
                zeros += total[u] * 0;
            }
            const int by_the_rule = (padding_mode == ZEROS) & !(sum_of_lanes(zeros) == 0);
            for (int u = 0; u < units; u++) {
                const int count = OW - first[u] < LANES ? OW - first[u] : LANES;
                const index64 target = y_first + line[u] * y_h + first[u] * y_w;
                /* A whole vector, if what follows these outputs is written later. */
                if (is_dense && !by_the_rule && (rows - 1 - line[u]) * OW >= LANES - count) {
                    store_lanes(y, target, total[u]);
                    continue;
                }
                real run[LANES];
                store_vector(run, total[u]);
                if (by_the_rule)
                    for (int t = 0; t < count; t++)
                        run[t] = sum_by_the_rule(
                            place[u] + t, w + taps, bias, HEIGHT, EW, padding_mode, KD, KH, KW, ID, IH, IW, SW,
                            DD, DH, DW, UD, UH, UW, id, ih + line[u] * SH, (first[u] + t) * SW - PW, w_d, w_h, w_w);
                FINISH_RUN(run, count, c, residual_first + line[u] * residual_h + first[u] * residual_w, residual_w);
                store_run(y, target, y_w, run, count);
            }
        }
    }
}
