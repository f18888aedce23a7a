/* Small programs as drawings: the framework's calls from a few lines of text, traced and taped.
 *
 *     in x float32 3 8                  an input (p: a parameter, b: a buffer)
 *     call linear y x w none            aten::linear(x, w, None) -> y; several results: y,i; dims where a test needs them before the trace: y:3x8; "call!" writes in place
 *     module layer.0 [Layer]            the calls behind it are this module's, of that class; without a path: the whole model's; "leave layer.0": its forward returned
 *     flops 100                         what each call behind it costs
 *     out y
 *
 * Arguments: a variable's name, 2, 0.5, true, none, [1,2], (a,b) a list of variables, "text", float32 a type. Results need no declaration. */
#ifndef MP_TEST_PROGRAM_H
#define MP_TEST_PROGRAM_H
#include "planner/inside.h"
#include "support_base.h"

typedef struct test_run {
  const mp_program *program;
  const mp_tape *tape;
  uint64_t saved; /* what autograd keeps at the end of the forward pass, exact bytes */
  uint64_t
      forward; /* most alive at once in the last iteration's forward phase: exact bytes of what calls made, without state, inputs and gradients */
  uint64_t backward; /* the same of the backward phase, its gradients included */
} test_run;

const mp_program *test_program(mp_arena *a, const char *text);
/* precision as on the command line: "fp32", "amp-bf16", ...; no optimizer. Fails the test where the program cannot run. */
test_run test_program_run(mp_arena *a, const char *text, const char *precision);
/* the kept storages of one kind ("mask") and their bytes */
uint64_t test_saved_what(const test_run *r, const char *what);

#endif
