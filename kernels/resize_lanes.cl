/* Resizing for processors: a work-item makes a run of positions in LANES rows of the output, which may lie in several
 * planes.
 *
 * All rows have the same weights along W. So the rows are turned into lanes: column[i] holds pixel low + i of every row,
 * after the rows of the input that it comes from were added up with the weights of the axes D and H. A position then is
 * a sum of columns, whatever the distance of neighbouring positions may be, and needs no gather. Squares of LANES vectors
 * are transposed on the way in and on the way out. Rows are read and written one after the other.
 */
#include "resize_rows.h"

/* What a run may write: clconv.algorithms.resize knows the number. */
#define RUN_MOST 256

/* One row of the output: where it begins, and the row of the input where its sums begin. */
typedef struct {
    index64 to, from;
    int od, oh;
} output_row;

/* Transposes squares of reals that lie behind each other, LANES * count of them. */
static inline void transpose_squares(real *squares, const int count)
{
    for (int i = 0; i < count; i += LANES) {
        vector square[LANES];
        for (int lane = 0; lane < LANES; lane++) square[lane] = load_private(squares + (i + lane) * LANES);
        TRANSPOSE(square, LANES);
        for (int lane = 0; lane < LANES; lane++) store_vector(squares + (i + lane) * LANES, square[lane]);
    }
}

/* Stores a row of `count` elements that lies in squares. */
static inline void store_row(global element *y, const index64 to, const index64 y_w, const real *row, const int count)
{
    int i = 0;
    for (; y_w == 1 && i + LANES <= count; i += LANES) store_elements(y, to + i, load_private(row + i * LANES));
    for (; i < count; i++) store(y, to + i * y_w, row[i / LANES * LANES * LANES + i % LANES]);
}

kernel void resize_lanes(
    WORK_ITEM
    global const element *x, global element *y, global const int *pixels, global const real *weights,
    RESIZE_SIZES, const int RUN, VIEW(x), VIEW(y))
{
    const index64 ROWS = N * C * OD * OH;
    const int RUNS = (OW + RUN - 1) / RUN;
    const index64 item = WORK_ITEM_INDEX;
    if (item >= (ROWS + LANES - 1) / LANES * RUNS) return;
    const int run = item % RUNS;
    const index64 first_row = item / RUNS * LANES;
    const int rows = ROWS - first_row < LANES ? ROWS - first_row : LANES;
    const int begin = run * RUN;
    const int positions = OW - begin < RUN ? OW - begin : RUN;
    /* Behind the axes' pixels stand the first pixel of every run, and the number of its pixels. */
    const int low = PIXELS_END[run];
    const int count = PIXELS_END[RUNS + run];

    output_row row[LANES];
    index64 place = first_row;
    int oh = place % OH; place /= OH;
    int od = place % OD; place /= OD;
    index64 c = place % C;
    index64 n = place / C;
    for (int r = 0; r < rows; r++) {
        row[r].od = od;
        row[r].oh = oh;
        row[r].from = AT(x, n, c, PIXELS_D[od], PIXELS_H[oh], low);
        row[r].to = AT(y, n, c, od, oh, begin);
        if (++oh < OH) continue;
        oh = 0;
        if (++od < OD) continue;
        od = 0;
        if (++c < C) continue;
        c = 0;
        n++;
    }

    /* Row r of a square first waits where column r of it will stand. */
    real columns[(MOST + LANES) * LANES], results[(RUN_MOST + LANES) * LANES];
    for (int r = 0; r < LANES; r++) {
        real *line = columns + r * LANES;
        const output_row from = row[r < rows ? r : 0];
        const int taps_d = PIXELS_D[OD + from.od], taps_h = PIXELS_H[OH + from.oh];
        if (taps_d == 0 || taps_h == 0) clear_line(line, LANES * LANES, count);
        for (int td = 0; td < taps_d; td++)
            add_plane(line, LANES * LANES, x, from.from + td * x_d, x_h, x_w, count,
                      WEIGHTS_D[(index64)td * OD + from.od], WEIGHTS_H + from.oh, OH, taps_h, td == 0);
    }
    transpose_squares(columns, count);

    for (int i = 0; i < positions; i++) {
        global const int *first = PIXELS_W + begin + i;
        global const real *w = WEIGHTS_W + begin + i;
        const real *column = columns + (first[0] - low) * LANES;
        const int taps = first[OW];
        vector sum = taps > 0 ? w[0] * load_private(column) : splat(0);
        for (int t = 1; t < taps; t++) sum += w[(index64)t * OW] * load_private(column + t * LANES);
        store_vector(results + i * LANES, sum);
    }
    for (int i = positions; i % LANES; i++) store_vector(results + i * LANES, splat(0));
    transpose_squares(results, positions);

    for (int r = 0; r < rows; r++) store_row(y, row[r].to, y_w, results + r * LANES, positions);
}
