/* What the gradients of weights in vectors of channels share: tiles of sums in registers, and pieces of their terms. */
#ifndef CLCONV_WEIGHTS_H
#define CLCONV_WEIGHTS_H

#include "convolution.h"
#include "vector.h"

/* Vectors in a row of a tile, and rows: as many as registers hold, 32 of 64 bytes, 16 narrower ones. */
#ifndef COLUMNS
#define COLUMNS 3
#endif
#if VECTOR_BYTES == 64
#define ROWS (COLUMNS == 1 ? 12 : COLUMNS == 4 ? 6 : 8)
#else
#define ROWS 4
#endif
#define TILE (ROWS * COLUMNS)

/* A row of outputs, counted through all samples and planes, and what follows it. */
typedef struct {
    index64 n;
    int od, oh;
} output_row;

static inline output_row row_at(const index64 row, const int OD, const int OH)
{
    output_row at;
    at.oh = row % OH;
    at.od = row / OH % OD;
    at.n = row / OH / OD;
    return at;
}

static inline void to_next_row(output_row *at, const int OD, const int OH)
{
    if (++at->oh < OH) return;
    at->oh = 0;
    if (++at->od < OD) return;
    at->od = 0;
    at->n++;
}

/* The terms are cut into pieces of at most LONGEST_PIECE: of several rows of outputs, or of a part of one. */
#ifndef LONGEST_PIECE
#define LONGEST_PIECE TERMS_PER_PART
#endif

typedef struct {
    index64 first_row, last_row;
    int begin, end;
} piece_of_terms;

static inline index64 pieces_of(const index64 rows, const int OW)
{
    const int together = OW < LONGEST_PIECE ? LONGEST_PIECE / OW : 1;
    return (rows + together - 1) / together * ((OW + LONGEST_PIECE - 1) / LONGEST_PIECE);
}

static inline piece_of_terms piece_at(const index64 piece, const index64 rows, const int OW)
{
    const int CUTS = (OW + LONGEST_PIECE - 1) / LONGEST_PIECE;
    const int together = OW < LONGEST_PIECE ? LONGEST_PIECE / OW : 1;
    const int cut = piece % CUTS;
    piece_of_terms at;
    at.first_row = piece / CUTS * together;
    at.last_row = at.first_row + together < rows ? at.first_row + together : rows;
    at.begin = (index64)OW * cut / CUTS;
    at.end = (index64)OW * (cut + 1) / CUTS;
    return at;
}

#endif
