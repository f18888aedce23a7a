/* For the onnx room's own files: how an operator's row infers shapes, small contents and FLOPs.
 *
 * A row is (domain, operator, first opset it holds from, rule). A rule reads the node's inputs through the functions below and sets its outputs;
 * what a rule does not set stays unknown. A rule never guesses and never fails on strange input: contradictory input is mp_infer_bad
 * (one warning; the outputs stay unknown). Rules by family: shape_elementwise.c, shape_math.c (reductions, ranges, Einsum), shape_move.c (reshape, concat ...),
 * shape_index.c (slice, gather, top-k ...), shape_resize.c,
 * shape_nn.c (convolution, pooling, norms, matmul, attention), shape_rnn.c, shape_quant.c, shape_seq.c (sequences, optionals, strings, maps),
 * shape_flow.c (If, Loop, Scan), shape_loss.c (losses, training), shape_ml.c (ai.onnx.ml), shape_contrib.c (com.microsoft). Each file has one table; shape.c
 * joins the tables and runs the rules over the graph. Formulas and defaults: the ONNX operator specification of the row's opset, and for com.microsoft
 * ONNX Runtime's ContribOperators.md. */
#ifndef MP_SHAPE_H
#define MP_SHAPE_H

#include "onnx/onnx.h"

#define MP_MAX_RANK 32          /* more is refused */
#define MP_MAX_CONTENTS 4096    /* integer contents are followed up to this many elements */
#define MP_MAX_EXPR 64          /* an expression with more terms than this becomes unknown: growth is capped */

typedef struct mp_infer mp_infer;

struct mp_op {
  const char *domain, *type;
  int16_t since;                 /* the row holds from this opset to the next row of the same operator */
  void (*rule)(mp_infer *);
};

typedef struct mp_op_table {
  const mp_op *rows;
  uint32_t count;
} mp_op_table;
extern const mp_op_table mp_ops_elementwise, mp_ops_math, mp_ops_move, mp_ops_index, mp_ops_resize, mp_ops_nn, mp_ops_norm, mp_ops_matmul, mp_ops_signal, mp_ops_rnn, mp_ops_quant, mp_ops_seq,
  mp_ops_flow, mp_ops_loss, mp_ops_grad, mp_ops_ml, mp_ops_contrib, mp_ops_fused, mp_ops_dialect;

/* A shape while it is being made. rank -1: not known. */
typedef struct mp_shape {
  int rank;
  mp_int dims[MP_MAX_RANK];
} mp_shape;

/* ---- reading (i: input number; an input that is absent has dtype MP_UNDEFINED and rank -1) ---- */
mp_arena *mp_infer_arena(mp_infer *c);
const mp_node *mp_infer_node(const mp_infer *c);
int64_t mp_infer_opset(const mp_infer *c);        /* of the node's domain */
int mp_infer_ins(const mp_infer *c);
int mp_infer_outs(const mp_infer *c);
bool mp_infer_has(const mp_infer *c, int i);      /* present, not "" */
bool mp_infer_wants(const mp_infer *c, int o);    /* output o is present */
const char *mp_infer_out_name(const mp_infer *c, int o); /* "" for one that is absent */
mp_dtype mp_infer_dtype(const mp_infer *c, int i);
mp_value_form mp_infer_form(const mp_infer *c, int i);
int mp_infer_rank(const mp_infer *c, int i);
mp_int mp_infer_dim(const mp_infer *c, int i, int axis);      /* unknown where it is; axis may be negative when the rank is known */
void mp_infer_shape(const mp_infer *c, int i, mp_shape *s);
/* contents of a small integer or bool tensor (elements may be symbolic or unknown singly), NULL where not followed; *n elements */
const mp_int *mp_infer_ints(const mp_infer *c, int i, uint32_t *n); /* for a floating tensor: whole but symbolic contents */
const double *mp_infer_floats(const mp_infer *c, int i, uint32_t *n);
const mp_int *mp_infer_length(const mp_infer *c, int i); /* the one integer that is a sequence's length; NULL where not followed or no sequence */
/* the sequence element / optional content / map value is described by the value's dtype and dims as well (rank -1 where elements differ) */

const mp_node *mp_infer_producer(const mp_infer *c, int i); /* the node that makes input i, NULL for what no node of this graph makes */
const mp_value *mp_infer_input_of(const mp_infer *c, const mp_node *n, int i); /* input i of such a node; NULL where it is absent */

/* attributes */
bool mp_infer_has_attr(const mp_infer *c, const char *name);
const mp_attr *mp_infer_attr(const mp_infer *c, const char *name); /* NULL when absent */
const struct mp_tensor *mp_infer_attr_tensor(const mp_infer *c, const char *name);
const double *mp_infer_attr_floats(const mp_infer *c, const char *name, uint32_t *n); /* NULL when absent or empty */
int64_t mp_infer_int(const mp_infer *c, const char *name, int64_t otherwise);
double mp_infer_float(const mp_infer *c, const char *name, double otherwise);
const char *mp_infer_string(const mp_infer *c, const char *name, const char *otherwise);
const int64_t *mp_infer_attr_ints(const mp_infer *c, const char *name, uint32_t *n); /* NULL when absent */
/* "attribute until opset N, input i since": gives the integers of whichever is there; false when they are not known. Up to max of them. */
bool mp_infer_attr_or_input(mp_infer *c, const char *name, int i, int64_t *ints, uint32_t max, uint32_t *n);

/* ---- writing ---- */
/* what has been set so far */
mp_dtype mp_infer_out_dtype(const mp_infer *c, int o);
void mp_infer_out_shape(const mp_infer *c, int o, mp_shape *s);
void mp_infer_set(mp_infer *c, int o, mp_dtype t, const mp_shape *s); /* s NULL: rank not known */
void mp_infer_set_dims(mp_infer *c, int o, mp_dtype t, int rank, const mp_int *dims);
void mp_infer_set_scalar(mp_infer *c, int o, mp_dtype t);
void mp_infer_set_form(mp_infer *c, int o, mp_value_form f);          /* sequence, optional, ...; dtype and dims then are the element's */
void mp_infer_same(mp_infer *c, int o, int i);                        /* dtype, form and dims of input i (not contents) */
void mp_infer_set_ints(mp_infer *c, int o, const mp_int *ints, uint32_t n);   /* copied */
void mp_infer_set_floats(mp_infer *c, int o, const double *x, uint32_t n);
void mp_infer_cost(mp_infer *c, uint64_t macs, uint64_t flops);       /* replaces the default: one flop for each element of output 0 */
void mp_infer_no_cost(mp_infer *c);                                   /* moves data, computes nothing */
/* a contradiction: one warning "node 'x' (Op): ..." */
void mp_infer_bad(mp_infer *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* something odd that has one meaning all the same: a warning, the outputs stand */
void mp_infer_warn(mp_infer *c, const char *text);
/* what the outputs depend on that no static analysis can know: kept for mp_graph_why */
void mp_infer_depends(mp_infer *c, int i, const char *what);

/* ---- subgraphs (shape_flow.c) ---- */
/* infers a body graph after its inputs have been given dtype, dims and contents with mp_infer_body_input */
void mp_infer_body_input(mp_infer *c, struct mp_graph *body, uint32_t i, mp_value_form form, mp_dtype t, const mp_shape *s, const mp_int *ints, uint32_t n);
void mp_infer_body(mp_infer *c, struct mp_graph *body);
const mp_value *mp_infer_body_output(const mp_infer *c, const struct mp_graph *body, uint32_t i);

/* ---- symbolic integers (sym.c); canonical, so equal values are equal structs ---- */
typedef struct mp_syms mp_syms; /* one table a graph, shared with its subgraphs */
mp_syms *mp_syms_new(mp_arena *a);
mp_int mp_syms_name(mp_syms *t, const char *name);         /* for graph.c: the same as mp_sym_name */
/* What the name of a dimension says: "past + seq", "2*(s0//8)" are expressions over the names in them, and value(arg, name, length) gives those; any other
 * text is a name as it stands. */
mp_int mp_syms_parse(mp_arena *a, mp_syms *t, const char *text, mp_int (*value)(void *arg, const char *name, size_t n), void *arg);
mp_infer *mp_infer_bare(mp_arena *a, mp_syms *t);          /* a context without a node: arithmetic outside rules, and tests */
mp_syms *mp_infer_syms(const mp_infer *c);
mp_int mp_sym_name(mp_infer *c, const char *name);         /* a named dimension; positive or zero */
mp_int mp_sym_add(mp_infer *c, mp_int a, mp_int b);
mp_int mp_sym_sub(mp_infer *c, mp_int a, mp_int b);
mp_int mp_sym_mul(mp_infer *c, mp_int a, mp_int b);
mp_int mp_sym_div(mp_infer *c, mp_int a, mp_int b);        /* floor */
mp_int mp_sym_div_trunc(mp_infer *c, mp_int a, mp_int b);  /* as ONNX Div does on integers: towards zero */
mp_int mp_sym_mod(mp_infer *c, mp_int a, mp_int b);        /* of the divisor's sign */
mp_int mp_sym_ceil_div(mp_infer *c, mp_int a, mp_int b);
mp_int mp_sym_min(mp_infer *c, mp_int a, mp_int b);
mp_int mp_sym_max(mp_infer *c, mp_int a, mp_int b);
bool mp_sym_equal(mp_int a, mp_int b);                     /* surely equal */
/* -1: surely a < b, 0: surely equal, 1: surely a > b, 2: not known. Named dimensions are taken as >= 1 here. */
int mp_sym_compare(mp_infer *c, mp_int a, mp_int b);
mp_int mp_shape_elements(mp_infer *c, const mp_shape *s, int from, int to); /* product of dims[from..to) */
/* numpy broadcasting of two shapes; false (and mp_infer_bad) when they contradict */
bool mp_shape_broadcast(mp_infer *c, const mp_shape *a, const mp_shape *b, mp_shape *r);

/* ---- ops.c ---- */
/* opset brought into the range that the row holds for: what the row's rule may test */
int64_t mp_op_opset(const mp_op *op, int64_t opset);

/* ---- shape.c ---- */
/* Runs the rules over a sorted graph whose inputs and initializers are filled. Called by graph.c, and for bodies through mp_infer_body. */
void mp_graph_infer(mp_arena *a, mp_graph *g, mp_syms *syms, bool from_scratch);

#endif
