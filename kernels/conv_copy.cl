/* The copy of x, as reals, that the convolutions for processors read: with its padding, so that every tap of every output
 * lies in memory, and with the positions of one remainder by the strides side by side, so that a tap of neighbouring outputs
 * reads neighbours:
 *
 *     copy[n, c, r, e] = x[n, c, source(e*S + r - P)]        r < F and e < E, for all three axes
 *
 * or, where ROWS_TOGETHER, copy[n, r, ed, eh, c, ew]: a row of outputs then reads what lies together.
 */
#include "convolution.h"
#include "vector.h"

#define HALF (LANES / 2)

/* What a position of the copy shows, less than 0 for zeros. Whole strides reach beyond what taps read: a position there may
 * lie farther from the data than circular padding repeats them. */
static inline int shown_at(const int position, const int extent, const int padding_mode)
{
    const int source = source_of(position, extent, padding_mode);
    return source < extent ? source : -1;
}

/* row[e] = x[first + e*step] for the e from begin up to end. What is left of neighbours, or few ones, is copied in vectors, or
 * halves of them, that end where the others do. */
static inline void copy_row(
    global real *row, global const element *x, const index64 first, const index64 step, const int begin, const int end)
{
    int e = begin;
    if (step == 1 && end - begin >= LANES) {
        for (; e < end; e += LANES) {
            const int place = e + LANES <= end ? e : end - LANES;
            store_global(row + place, load_lanes(x, first + place));
        }
    } else if (step == 1 && end - begin >= HALF) {
        for (; e < end; e += HALF) {
            const int place = e + HALF <= end ? e : end - HALF;
            real few[HALF];
            UNROLLED for (int i = 0; i < HALF; i++) few[i] = load(x, first + place + i);
            UNROLLED for (int i = 0; i < HALF; i++) row[place + i] = few[i];
        }
    } else if (step == 2) {
        for (; e + LANES < end; e += LANES) {
            const vector one = load_lanes(x, first + 2 * e), other = load_lanes(x, first + 2 * e + LANES);
            store_global(row + e, SHUFFLED(one, other, EVEN_LANES));
        }
    }
    for (; e < end; e++) row[e] = load(x, first + e * step);
}

/* Clears a row of at least LANES places, in vectors, but for those that lie within begin and end. */
static inline void clear_row(global real *row, const int width, const int begin, const int end)
{
    for (int e = 0; e < width; e += LANES) {
        const int place = e + LANES <= width ? e : width - LANES;
        if (place < begin || place + LANES > end) store_global(row + place, splat(0));
    }
}

/* The same of LANES neighbouring channels, whose rows are `pitch` apart. */
static inline void copy_rows_of_lanes(
    global real *row, const index64 pitch, global const element *x, const index64 first, const index64 step,
    const int begin, const int end)
{
    for (int e = begin; e < end;) {
        const int last = e + LANES <= end ? e : end - LANES;
        if (last < begin) {
            real lanes[LANES];
            store_vector(lanes, load_lanes(x, first + e * step));
            for (int lane = 0; lane < LANES; lane++) row[lane * pitch + e] = lanes[lane];
            e++;
            continue;
        }
        vector square[LANES];
        UNROLLED for (int i = 0; i < LANES; i++) square[i] = load_lanes(x, first + (last + i) * step);
        TRANSPOSE(square, LANES);
        UNROLLED for (int lane = 0; lane < LANES; lane++) store_global(row + lane * pitch + last, square[lane]);
        e = last + LANES;
    }
}

/* One work-item copies ROWS rows of LANES channels, neighbours in memory one after the other; the work-item after the last
 * clears SLACK reals that tiles read beyond the end. */
kernel void copy_input(
    WORK_ITEM
    global const element *x, global real *copy,
    const index64 N, const index64 C, const int SLACK, const int ROWS, const int ROWS_TOGETHER,
    const int ID, const int IH, const int IW, const int ED, const int EH, const int EW,
    const int SD, const int SH, const int SW, const int FD, const int FH, const int FW,
    const int PD, const int PH, const int PW, const int padding_mode,
    const index64 x_start, const index64 x_n, const index64 x_c, const index64 x_d, const index64 x_h, const index64 x_w)
{
    const index64 BLOCKS = (C + LANES - 1) / LANES;
    const int BANDS = (EH + ROWS - 1) / ROWS;
    const index64 plane = (index64)FD * FH * FW * ED * EH * EW;
    index64 item = WORK_ITEM_INDEX;
    if (item > N * BLOCKS * FD * FH * FW * ED * BANDS) return;
    if (item == N * BLOCKS * FD * FH * FW * ED * BANDS) {
        for (int e = 0; e < SLACK; e++) copy[N * C * plane + e] = 0;
        return;
    }
    const index64 c = item % BLOCKS * LANES; item /= BLOCKS;
    const int first_eh = item % BANDS * ROWS; item /= BANDS;
    const int last_eh = first_eh + ROWS < EH ? first_eh + ROWS : EH;
    const int ed = item % ED; item /= ED;
    const int rw = item % FW; item /= FW;
    const int rh = item % FH; item /= FH;
    const int rd = item % FD;
    const index64 n = item / FD;
    const int channels = C - c < LANES ? C - c : LANES;
    const int id = shown_at(ed * SD + rd - PD, ID, padding_mode);
    const index64 source = x_start + n * x_n + c * x_c + id * x_d;
    /* From a channel to the next, and from a row. */
    const index64 next_channel = ROWS_TOGETHER ? EW : plane, pitch = ROWS_TOGETHER ? C * EW : EW;
    const index64 slice = (((index64)rd * FH + rh) * FW + rw) * ED + ed;
    global real *rows = copy + n * C * plane + c * next_channel + slice * EH * pitch;
    /* Places whose position e*S + r - P lies within [0, I). */
    int begin = PW > rw ? (PW - rw + SW - 1) / SW : 0;
    int end = IW + PW - rw > 0 ? (IW + PW - rw + SW - 1) / SW : 0;
    if (begin > EW) begin = EW;
    if (end > EW) end = EW;
    if (end < begin) end = begin;
    const index64 column = (rw - PW) * x_w, step = SW * x_w;
    const int is_turned = x_c == 1 && step != 1 && channels == LANES;
    const int is_cleared = padding_mode == PADDING_ZEROS && EW >= LANES && !is_turned;
    if (is_turned)
        for (int eh = first_eh; eh < last_eh; eh++) {
            const int ih = shown_at(eh * SH + rh - PH, IH, padding_mode);
            if (id < 0 || ih < 0) continue;
            copy_rows_of_lanes(rows + eh * pitch, next_channel, x, source + ih * x_h + column, step, begin, end);
        }
    for (int channel = 0; channel < channels; channel++)
        for (int eh = first_eh; eh < last_eh; eh++) {
            global real *row = rows + channel * next_channel + eh * pitch;
            const int ih = shown_at(eh * SH + rh - PH, IH, padding_mode);
            const index64 first = source + channel * x_c + ih * x_h;
            const int is_empty = id < 0 || ih < 0;
            if (is_cleared) clear_row(row, EW, is_empty ? EW : begin, is_empty ? EW : end);
            if (!is_turned && !is_empty) copy_row(row, x, first + column, step, begin, end);
            if (is_cleared) continue;
            for (int e = 0; e < EW; e++) {
                if (!is_empty && e == begin) e = end;
                if (e == EW) break;
                const int iw = is_empty ? -1 : shown_at(e * SW + rw - PW, IW, padding_mode);
                row[e] = iw < 0 ? 0 : load(x, first + iw * x_w);
            }
        }
}

/* The same with channels side by side, for tiles that read a few values of each of many channels: apart, these are on a
 * line and in a page for each channel, which no processor fetches ahead. Places are PITCH reals apart.
 *
 *     copy[n, e, c] = x[n, c, source(e - P)]        for all three axes
 *
 * One work-item copies ROWS rows of LANES channels, at most WIDTH places of each, in squares that are turned. Work-items
 * that follow each other copy what lies together, as those that read it do. */
kernel void copy_channels_last(
    WORK_ITEM
    global const element *x, global real *copy,
    const index64 N, const index64 C, const int PITCH, const int ROWS, const int WIDTH,
    const int ID, const int IH, const int IW, const int ED, const int EH, const int EW,
    const int PD, const int PH, const int PW, const int padding_mode,
    const index64 x_start, const index64 x_n, const index64 x_c, const index64 x_d, const index64 x_h, const index64 x_w)
{
    const index64 BLOCKS = (C + LANES - 1) / LANES;
    const int BANDS = (EH + ROWS - 1) / ROWS, COLUMNS = (EW + WIDTH - 1) / WIDTH;
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * BLOCKS * ED * BANDS * COLUMNS) return;
    const index64 c = item % BLOCKS * LANES; item /= BLOCKS;
    const int first_e = item % COLUMNS * WIDTH; item /= COLUMNS;
    const int last_e = first_e + WIDTH < EW ? first_e + WIDTH : EW;
    const int first_eh = item % BANDS * ROWS; item /= BANDS;
    const int last_eh = first_eh + ROWS < EH ? first_eh + ROWS : EH;
    const int ed = item % ED;
    const index64 n = item / ED;
    const int channels = C - c < LANES ? C - c : LANES;
    const int id = source_of(ed - PD, ID, padding_mode);
    /* Places within the data, where a square fits. */
    const int begin = PW > first_e ? PW : first_e, end = IW + PW < last_e ? IW + PW : last_e;
    const int has_squares = x_w == 1 && end - begin >= LANES;
    for (int eh = first_eh; eh < last_eh; eh++) {
        const int ih = source_of(eh - PH, IH, padding_mode), is_empty = id < 0 || ih < 0;
        const index64 row = x_start + n * x_n + c * x_c + id * x_d + ih * x_h;
        global real *places = copy + ((n * ED + ed) * EH + eh) * (index64)EW * PITCH + c;
        for (int e = first_e; e < last_e; e++) {
            if (has_squares && !is_empty && e >= begin && e < end) {
                const int first = e + LANES <= end ? e : end - LANES;
                vector square[LANES];
                UNROLLED for (int lane = 0; lane < LANES; lane++)
                    square[lane] = lane < channels ? load_lanes(x, row + lane * x_c + first - PW) : splat(0);
                TRANSPOSE(square, LANES);
                UNROLLED for (int i = 0; i < LANES; i++) store_global(places + (index64)(first + i) * PITCH, square[i]);
                e = first + LANES - 1;
                continue;
            }
            const int iw = is_empty ? -1 : source_of(e - PW, IW, padding_mode);
            vector here = splat(0);
            if (iw >= 0 && channels == LANES) here = lanes_at(x, row + iw * x_w, x_c);
            else if (iw >= 0) {
                real lane[LANES];
                for (int i = 0; i < LANES; i++) lane[i] = i < channels ? load(x, row + i * x_c + iw * x_w) : 0;
                here = load_private(lane);
            }
            store_global(places + (index64)e * PITCH, here);
        }
    }
}
