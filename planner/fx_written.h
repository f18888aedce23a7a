/* What a source line says of types: the `.float()` and `.to(x.dtype)` that leave no node in a float32 export. */
#ifndef MP_FX_WRITTEN_H
#define MP_FX_WRITTEN_H
#include <stdbool.h>

/* of the operand of a call of `op` ("aten::softmax"), of the one behind it, and of what is done with its result: "softmax(x.float(), dim=-1).to(x.dtype)" and
 * "x.float().softmax(-1).type_as(x)" are widened and cast back, "F.linear(x.float(), w.float())" in both operands */
typedef struct fx_written {
  bool widened, second, back;
} fx_written;

fx_written fx_as_written(const char *source, const char *op); /* source NULL: neither */

bool fx_keeps_type(const char *source); /* does the line's first type say that of a tensor: softmax(x, dim=-1, dtype=x.dtype)? */

/* of what a line makes: "y = f(x).float()" is widened whole, of "y = x * dt.float()" the right operand is. A line that is more than one operator, or not one assignment: nothing. */
typedef struct fx_widening {
  bool whole, left, right;
  char sign; /* + - * / @, 0: none */
} fx_widening;

fx_widening fx_widening_of(const char *line); /* NULL: nothing */

#endif
