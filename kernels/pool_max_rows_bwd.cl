/* The gradient of max pooling by runs of rows, in one pass, for windows of which few are over any one row.
 *
 * A work-item goes down its rows. Of each row of windows that begins there it takes the maxima, and keeps them until
 * the windows end; a pixel that equals the maximum of a window gets the window's gradient. Values are compared by
 * their keys, so that one comparison of integers decides.
 */
#include "pool_rows.h"
#include "pool_magnitude.h"

/* The most rows of windows that are kept: clconv.algorithms.pool_rows.KEPT. */
#define KEPT 9

/* A key is in the order of its values: zeros are equal, and NaN is the largest, whatever its bits. Beyond the image
 * there is NO_PIXEL, less than every value; a window whose first maximum has been found gets TAKEN, which no value
 * has either. */
#define NO_PIXEL ((bits)0)
#define TAKEN ((bits)1)

static inline bits key_of(const real value)
{
    const bits b = bits_of(value + 0);
    const bits flipped = b ^ ((0 - (b >> (sizeof(bits) * 8 - 1))) | SIGN);
    return value != value ? ~(bits)0 : flipped;
}

static inline bits larger_key(const bits a, const bits b) { return a > b ? a : b; }

/* The value, or 0: by its bits, so that compilers see no branch. */
static inline real given_if(const int is_given, const real value)
{
    return real_of(bits_of(value) & (0 - (bits)is_given));
}

static inline void fill_keys(bits *keys, const bits key, const int count)
{
    EACH_OF_BLOCKS(i, count) keys[i] = key;
}

/* keys[i] = the key of a row's pixel i, or the largest of that and what is there. Of the pixel, the `kept` bits count:
 * all of them, or all but the sign. */
static inline void read_keys(bits *restrict keys, global const element *restrict x, const index64 start,
                             const index64 step, const int count, const bits kept)
{
    if (step == 1) for (int i = 0; i < count; i++) keys[i] = key_of(masked(load(x, start + i), kept));
    else for (int i = 0; i < count; i++) keys[i] = key_of(masked(load(x, start + i * step), kept));
}

static inline void raise_keys(bits *restrict keys, global const element *restrict x, const index64 start,
                              const index64 step, const int count, const bits kept)
{
    if (step == 1)
        for (int i = 0; i < count; i++) keys[i] = larger_key(keys[i], key_of(masked(load(x, start + i), kept)));
    else
        for (int i = 0; i < count; i++) keys[i] = larger_key(keys[i], key_of(masked(load(x, start + i * step), kept)));
}

static inline void part_keys(bits *restrict parts, const bits *restrict keys, const int length)
{
    EACH_OF_BLOCKS(i, length / 2 + 1) {
        parts[i] = keys[2 * i];
        parts[ROOM + i] = keys[2 * i + 1];
    }
}

/* top[o] = the largest key of window o */
static inline void top_keys(bits *restrict top, const bits *restrict keys, const int windows, const int K, const int S,
                            const int D, const int step)
{
    EACH_WINDOW(o, windows) top[o] = keys[o * step];
    for (int k = 1; k < K; k++) {
        const bits *restrict taps = TAPS(keys, k * D);
        EACH_WINDOW(o, windows) top[o] = larger_key(top[o], taps[o * step]);
    }
}

/* count[o] += how many taps of window o in a row have its maximum */
static inline void count_tops(real *restrict count, const bits *restrict top, const bits *restrict keys,
                              const int windows, const int K, const int S, const int D, const int step)
{
    for (int k = 0; k < K; k++) {
        const bits *restrict taps = TAPS(keys, k * D);
        EACH_WINDOW(o, windows) count[o] += taps[o * step] == top[o] ? (real)1 : (real)0;
    }
}

/* Adds to each place of a line what windows give it; with `once`, a window gives to the first place alone. */
static inline void give(real *restrict line, bits *restrict top, const real *restrict given, const bits *restrict keys,
                        const int windows, const int K, const int S, const int D, const int once, const int step)
{
    for (int k = 0; k < K; k++) {
        const bits *restrict taps = TAPS(keys, k * D);
        real *restrict to = TAPS(line, k * D);
        EACH_WINDOW(o, windows) {
            const int has_top = taps[o * step] == top[o];
            to[o * step] += given_if(has_top, given[o]);
            if (once) top[o] = has_top ? TAKEN : top[o];
        }
    }
}

/* Gradients of magnitudes get the pixels' signs. */
static inline void sign_as(real *restrict line, const real *restrict pixels, const int count)
{
    EACH_OF_BLOCKS(i, count) {
        const real negative = pixels[i] < 0 ? -line[i] : 0;
        line[i] = pixels[i] > 0 ? line[i] : negative;
    }
}

static inline int wins_over(const real value, const real best)
{
    return (value > best) | ((value != value) & (best == best));
}

/* Windows of 2x2 beside each other, the gradient of each to its first maximum: two rows at once. */
static inline void give_in_pairs(global const element *restrict upper, global const element *restrict lower,
                                 global const element *restrict dy, global element *restrict upper_dx,
                                 global element *restrict lower_dx, const int windows)
{
    for (int o = 0; o < windows; o++) {
        const real a = load(upper, 2 * o), b = load(upper, 2 * o + 1);
        const real c = load(lower, 2 * o), d = load(lower, 2 * o + 1);
        const real given = load(dy, o);
        const int b_wins = wins_over(b, a), d_wins = wins_over(d, c);
        const int lower_wins = wins_over(chosen(d_wins, d, c), chosen(b_wins, b, a));
        store(upper_dx, 2 * o, given_if((1 - lower_wins) & (1 - b_wins), given));
        store(upper_dx, 2 * o + 1, given_if((1 - lower_wins) & b_wins, given));
        store(lower_dx, 2 * o, given_if(lower_wins & (1 - d_wins), given));
        store(lower_dx, 2 * o + 1, given_if(lower_wins & d_wins, given));
    }
}

kernel void max_pool_rows_bwd(
    WORK_ITEM
    global const element *x, global const element *dy, global element *dx,
    POOL_SIZES, VIEW(x), VIEW(dy), VIEW(dx),
    const int BAND, const int RUN, const int magnitudes, const int once, const int shared)
{
    if (WORK_ITEM_INDEX >= N * C * ID * bands_of_plane(IH, IW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, ID, IH, IW, BAND, RUN);
    const windows wd = windows_over(b.d, OD, KD, SD, DD, PD, QD);
    const window_line l = line_under(b, IW, OW, KW, SW, DW, PW);
    const int kept_d = (KD - 1) * DD / SD + 1, kept_h = (KH - 1) * DH / SH + 1;

    real line[2 * ROOM], count[ROOM], given[KEPT][ROOM], pixels[ROOM], parted[2 * ROOM];
    bits keys[ROOM], parts[2 * ROOM], tops[KEPT][ROOM];
    for (int i = 0; i < kept_d * kept_h; i++) fill(given[i], 0, ROOM);
    fill_keys(keys, NO_PIXEL, ROOM);
    if (magnitudes) fill(pixels, 0, ROOM);
    const bits *taps = SW == 2 ? parts : keys;
    const bits kept = kept_bits(magnitudes);
    int opened = 0;
    const int in_pairs = once && !magnitudes && KD == 1 && KH == 2 && KW == 2 && SD == 1 && SH == 2
        && SW == 2 && DH == 1 && DW == 1
        && PD == 0 && PH == 0 && PW == 0 && QH == 1 && b.begin % 2 == 0 && b.count == 2 * l.count
        && x_w == 1 && dy_w == 1 && dx_w == 1;
    for (int ih = b.first_row; ih < b.end_row; ih++) {
        if (in_pairs && ih % 2 == 0 && ih + 1 < b.end_row) {
            const index64 start = AT(x, b.n, b.c, b.d, ih, b.begin), target = AT(dx, b.n, b.c, b.d, ih, b.begin);
            fetch_ahead(x, start, 1, b.count);
            fetch_ahead(x, start + x_h, 1, b.count);
            give_in_pairs(x + start, x + start + x_h, dy + AT(dy, b.n, b.c, b.d, ih / 2, l.first),
                          dx + target, dx + target + dx_h, l.count);
            opened = ih / 2 + 1;
            ih++;
            continue;
        }
        const windows wh = windows_over(ih, OH, KH, SH, DH, PH, QH);
        for (int oh = larger(opened, wh.first); oh <= wh.last; oh++)
            for (int od = wd.first; od <= wd.last; od++) {
                bits *top = tops[od % kept_d * kept_h + oh % kept_h];
                real *gives = given[od % kept_d * kept_h + oh % kept_h];
                const reach rd = reach_of(od, ID, KD, SD, DD, PD, QD);
                const reach rh = reach_of(oh, IH, KH, SH, DH, PH, QH);
                fill_keys(keys + l.begin, NO_PIXEL, l.end - l.begin);
                for (int id = rd.first; id < rd.end; id += DD)
                    for (int jh = rh.first; jh < rh.end; jh += DH) {
                        const index64 row = AT(x, b.n, b.c, id, jh, l.origin + l.begin);
                        fetch_ahead(x, row, x_w, l.end - l.begin);
                        raise_keys(keys + l.begin, x, row, x_w, l.end - l.begin, kept);
                    }
                if (SW == 2) part_keys(parts, keys, l.length);
#define TOP(step) top_keys(top, taps, l.count, KW, SW, DW, step)
                WITH_STEP(TOP);
                read_row(gives, dy, AT(dy, b.n, b.c, od, oh, l.first), dy_w, l.count);
                fill(count, 0, l.count);
                for (int id = rd.first; id < rd.end; id += DD)
                    for (int jh = rh.first; jh < rh.end; jh += DH) {
                        const int is_before = id < b.d || (id == b.d && jh < ih);
                        if (!(shared || (once && is_before))) continue;
                        const index64 row = AT(x, b.n, b.c, id, jh, l.origin + l.begin);
                        read_keys(keys + l.begin, x, row, x_w, l.end - l.begin, kept);
                        if (SW == 2) part_keys(parts, keys, l.length);
#define COUNT(step) count_tops(count, top, taps, l.count, KW, SW, DW, step)
                        if (shared) WITH_STEP(COUNT);
#define GIVE(step) give(line, top, gives, taps, l.count, KW, SW, DW, once, step)
                        else WITH_STEP(GIVE); /* to a line that nobody reads */
                    }
                if (shared) for (int o = 0; o < l.count; o++) gives[o] /= count[o];
            }
        opened = larger(opened, wh.last + 1);

        const index64 row = AT(x, b.n, b.c, b.d, ih, l.origin + l.begin);
        read_keys(keys + l.begin, x, row, x_w, l.end - l.begin, kept);
        if (SW == 2) part_keys(parts, keys, l.length);
        fill(line, 0, SW == 2 ? l.length / 2 + 1 + BLOCK : l.length + BLOCK);
        if (SW == 2) fill(line + ROOM, 0, l.length / 2 + 1 + BLOCK);
        for (int od = wd.first; od <= wd.last; od++)
            for (int oh = wh.first; oh <= wh.last; oh++) {
                if (!is_tap(b.d, od, SD, DD, PD) || !is_tap(ih, oh, SH, DH, PH)) continue;
                bits *top = tops[od % kept_d * kept_h + oh % kept_h];
                const real *gives = given[od % kept_d * kept_h + oh % kept_h];
                WITH_STEP(GIVE);
            }
        if (magnitudes) {
            read_row(pixels + l.begin, x, row, x_w, l.end - l.begin);
            if (SW == 2) part(parted, pixels, l.length);
            const int places = SW == 2 ? l.length / 2 + 1 : l.length;
            sign_as(line, SW == 2 ? parted : pixels, places);
            if (SW == 2) sign_as(line + ROOM, parted + ROOM, places);
        }
        const index64 target = AT(dx, b.n, b.c, b.d, ih, b.begin);
        if (SW == 2) write_interleaved(dx, target, dx_w, line, l.before, b.count);
        else write_row(dx, target, dx_w, line + l.before, b.count);
    }
}
