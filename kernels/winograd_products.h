/* Sums of products for some numbers of rows, DEFINE_PRODUCTS(NAME, COUNT) each, and PRODUCTS, which calls the least that
 * is enough: sums of so many rows by two vectors, these vectors and a factor fit into 32 registers of 64 bytes, or into 16
 * narrower ones.
 */
#if VECTOR_BYTES == 64
DEFINE_PRODUCTS(products_of_14, 14)
DEFINE_PRODUCTS(products_of_11, 11)
DEFINE_PRODUCTS(products_of_8, 8)
DEFINE_PRODUCTS(products_of_4, 4)
#define PRODUCTS(count, ...) \
    do { \
        if ((count) > 11) products_of_14(__VA_ARGS__); \
        else if ((count) > 8) products_of_11(__VA_ARGS__); \
        else if ((count) > 4) products_of_8(__VA_ARGS__); \
        else products_of_4(__VA_ARGS__); \
    } while (0)
#else
DEFINE_PRODUCTS(products_of_6, 6)
DEFINE_PRODUCTS(products_of_4, 4)
#define PRODUCTS(count, ...) \
    do { \
        if ((count) > 4) products_of_6(__VA_ARGS__); \
        else products_of_4(__VA_ARGS__); \
    } while (0)
#endif
