/* Models drawn as text, so that a test reads like a drawing:
 *
 *     "x: float[batch,3]; w = float[3,4]; y = MatMul(x, w); -> y"
 *
 * Statements are separated by ';' or a new line; '#' starts a comment.
 *
 *   graph inputs    x: float[batch,3]     one dim may be ?; float without brackets: rank unknown
 *                   also seq(float[2]), optional(int64[]), map(int64, float[2]), sparse(float[2])
 *   initializers    w = float[3,4]                               without payload
 *                   k = int64[2]{1, -1}                          payload in the typed field; int64[2]raw{1, -1}: in raw_data
 *                   w = float[3,4]external{weights.bin, 0, 48}   location, offset, length
 *   nodes           y, z = Op(x, _, w) axis=1 to=[1,2] mode="edge" alpha=1.5 value=int64[2]{1,2} body={ ... -> c } other=@ref
 *                   _ is a name left out; com.microsoft.Op picks a domain, Op:o an overload; @ref refers to a function's attribute
 *                   name="n" doc="text" meta.key="value" are the node's own fields; in a "text" ` stands for a double quote
 *   value_info      info y: float[2,3]     meta.key="value" may follow, as behind a graph input
 *   outputs         -> y, z: float[2]      with or without a type
 *   imports         opset 13, opset com.microsoft 1   (17 where none is given; opset none: no import);  ir 8
 *   metadata        graphmeta key="value";  modelmeta key="value"
 *   functions       fun dom.Name(a, b) attr1 attr2=3 { opset 13; c = Add(a, b) -> c }     attr2 has a default */
#ifndef MP_TEST_GRAPH_H
#define MP_TEST_GRAPH_H
#include "support_base.h"

/* The model as the bytes of a file, in the arena; fails the test where the drawing has no meaning. */
const uint8_t *test_model(mp_arena *a, const char *drawing, size_t *n);
/* Read and built; fails the test on an error. */
const mp_graph *test_graph(mp_arena *a, const char *drawing);
const mp_graph *test_graph_with(mp_arena *a, const char *drawing, const mp_graph_options *o);
/* The error that reading or building gives; fails the test where there is none. */
const char *test_graph_error(mp_arena *a, const char *drawing, const mp_graph_options *o);

const mp_value *test_value(const mp_graph *g, const char *name); /* fails the test where it is absent */
const mp_node *test_node(const mp_graph *g, const char *output); /* the producer of a value */
/* "float32[batch, 3]", "int64[2]{1, -1}" with contents, "float32" of unknown rank, "sequence float32[2]" */
const char *test_shown(mp_arena *a, const mp_graph *g, const char *name);
bool test_warned(const mp_graph *g, const char *part); /* some warning holds the part */
#define assert_value(a, g, name, text) assert_string_equal(test_shown(a, g, name), text)

#endif
