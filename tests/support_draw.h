/* Small models as drawings: an ONNX file from a few lines of text.
 *
 *     opset 17                          (also "opset com.microsoft 1"; default 17)
 *     in x float batch 3 8 8            graph input: name, element type, dims (a number, a name, or ? for none)
 *     w W float 4 3 3 3                 initializer whose payload lies in an absent external file
 *     c S int64 2 : 0 -1                initializer with contents (integers, or floats where the type is float)
 *     r S float 2 : 0.5 1               the same as raw bytes, as PyTorch's exporters write a float payload
 *     node Conv x W -> y pads=[1,1,1,1] name=/conv/Conv   ("" is an input left out; attributes: 3, 0.5, [1,2], "text"; domain=... and name=... are the node's own)
 *     out y float                       graph output; dims may follow
 *
 * Element types: float, float16, bfloat16, double, int64, int32, bool. */
#ifndef MP_TEST_DRAW_H
#define MP_TEST_DRAW_H
#include "support_base.h"

/* the bytes of the file, freed by the caller; fails the test on a line that it cannot read */
uint8_t *test_draw(const char *text, size_t *n);
/* The same as a file under the temporary folder, whose path is written to path (size bytes). The caller removes it. */
void test_draw_file(const char *text, char *path, size_t size);

#endif
