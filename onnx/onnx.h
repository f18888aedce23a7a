/* The door to the onnx room: facts about models and operators. It knows nothing of planning.
 *
 *     file -- mp_model_read --> model -- mp_graph_build --> graph
 *
 * A model is the checked file: nodes, headers of tensors, metadata; the weights stay on disk. A graph has the model's functions inlined,
 * nodes in topological order, and for every value its dtype, its dims and, where it is a small integer or float tensor that
 * follows from constants and shapes, its contents. Nothing is guessed: what is not known is unknown, and mp_graph_why says what blocks it. */
#ifndef MP_ONNX_H
#define MP_ONNX_H

#include "base.h"

/* TensorProto.DataType of the ONNX schema, same numbers. */
typedef enum mp_dtype {
  MP_UNDEFINED = 0, MP_FLOAT = 1, MP_UINT8 = 2, MP_INT8 = 3, MP_UINT16 = 4, MP_INT16 = 5, MP_INT32 = 6, MP_INT64 = 7, MP_STRING = 8, MP_BOOL = 9,
  MP_FLOAT16 = 10, MP_DOUBLE = 11, MP_UINT32 = 12, MP_UINT64 = 13, MP_COMPLEX64 = 14, MP_COMPLEX128 = 15, MP_BFLOAT16 = 16,
  MP_FLOAT8E4M3FN = 17, MP_FLOAT8E4M3FNUZ = 18, MP_FLOAT8E5M2 = 19, MP_FLOAT8E5M2FNUZ = 20, MP_UINT4 = 21, MP_INT4 = 22, MP_FLOAT4E2M1 = 23,
  MP_FLOAT8E8M0 = 24, MP_UINT2 = 25, MP_INT2 = 26, MP_FLOAT6E2M3 = 27, MP_FLOAT6E3M2 = 28, MP_DTYPES
} mp_dtype;

const char *mp_dtype_name(mp_dtype t);    /* "float32", "int64", "bfloat16", ...; "undefined" */
unsigned mp_dtype_bits(mp_dtype t);       /* of one element; 0 for strings and undefined */
bool mp_dtype_is_float(mp_dtype t);
/* bytes of `elements` elements, ceil(elements * bits / 8); false when that overflows */
bool mp_dtype_bytes(mp_dtype t, uint64_t elements, uint64_t *bytes);

/* ---- integers that may be symbolic: dims, and contents of shape tensors (onnx/sym.c) ---- */

/* An expression over named dimensions in a canonical form: a sum of products of atoms; an atom is a name, or a floor division, modulo, minimum or maximum of
 * expressions. Equal expressions are the same pointer within one graph. */
typedef struct mp_expr mp_expr;
extern const mp_expr mp_expr_unknown; /* "not known" */
typedef struct mp_int {
  int64_t n;        /* the number, where e is NULL */
  const mp_expr *e; /* NULL: a number. &mp_expr_unknown: not known. Else the expression. */
} mp_int;
static inline bool mp_int_is_number(mp_int i) { return !i.e; }
static inline bool mp_int_is_unknown(mp_int i) { return i.e == &mp_expr_unknown; }
static inline mp_int mp_int_of(int64_t n) { return (mp_int){n, NULL}; }
static inline mp_int mp_int_unknown(void) { return (mp_int){0, &mp_expr_unknown}; }
const char *mp_int_text(mp_arena *a, mp_int i); /* "12", "batch*seq", "?" */

/* ---- the graph ---- */

typedef enum mp_value_kind { MP_VALUE_INPUT, MP_VALUE_INITIALIZER, MP_VALUE_NODE, MP_VALUE_CAPTURE } mp_value_kind;
typedef enum mp_value_form { MP_FORM_TENSOR, MP_FORM_SEQUENCE, MP_FORM_OPTIONAL, MP_FORM_MAP, MP_FORM_SPARSE } mp_value_form;

typedef struct mp_value {
  const char *name;       /* "" for an unnamed output */
  mp_dtype dtype;         /* of the elements, MP_UNDEFINED where not known */
  uint8_t kind, form;     /* mp_value_kind, mp_value_form */
  int8_t rank;            /* -1: not known */
  bool is_output;         /* of the graph */
  mp_int *dims;           /* rank of them */
  int32_t producer, slot; /* node and its output, -1 for inputs and initializers */
  int32_t users;          /* how many node inputs (subgraphs included) and graph outputs read it */
  /* contents, where small and known (row-major; scalars have 1): at most one of the two is set */
  mp_int *ints;           /* integer and bool tensors; floating ones too where the contents are whole but symbolic (Cast of a shape); of a sequence: its length */
  double *floats;         /* floating tensors: scalars and tensors of up to 64 elements */
  uint32_t contents;      /* elements in ints or floats */
  const uint8_t *raw;     /* an initializer's payload where the file holds it whole and raw (mp_tensor), else NULL */
  const struct mp_kv *meta; /* metadata_props of its ValueInfoProto (the dynamo exporter's InputSpec kind) */
  uint32_t metas;
} mp_value;

typedef struct mp_kv {
  const char *key, *value;
} mp_kv;

typedef enum mp_attr_kind { MP_ATTR_NONE, MP_ATTR_INT, MP_ATTR_FLOAT, MP_ATTR_STRING, MP_ATTR_INTS, MP_ATTR_FLOATS, MP_ATTR_STRINGS, MP_ATTR_TENSOR, MP_ATTR_GRAPH, MP_ATTR_OTHER } mp_attr_kind;

typedef struct mp_attr {
  const char *name;
  mp_attr_kind kind;
  uint32_t n;             /* length of ints, floats, strings; bytes of string */
  union {
    int64_t i;
    double f;
    const char *string;   /* NUL-terminated copy */
    const int64_t *ints;
    const double *floats;
    const char *const *strings;
    struct mp_graph *graph; /* a subgraph: a body of If, Loop, Scan */
    const struct mp_tensor *tensor;
  } as;
} mp_attr;

/* A tensor's header; its payload stays in the file. */
typedef struct mp_tensor {
  const char *name;
  mp_dtype dtype;
  int32_t rank;
  const int64_t *dims;
  const uint8_t *raw;     /* payload in the mapped file in little-endian element order, NULL where it is absent, external or in typed fields */
  uint64_t raw_bytes;
  bool external, whole;   /* whole: raw holds every element */
  mp_int *ints;           /* small contents, as in mp_value */
  double *floats;
  uint32_t contents;
} mp_tensor;

typedef struct mp_node {
  const struct mp_op *op; /* row of the operator table, NULL for an operator that memplan does not know */
  const char *type, *domain, *name, *doc; /* never NULL; domain "" is ai.onnx; doc is doc_string */
  const int32_t *in, *out; /* values; -1: an optional one left out */
  uint16_t ins, outs;
  uint16_t attrs, metas;
  int32_t opset;          /* version of its domain that it is written in (a function may import another than the graph does) */
  const mp_attr *attr;
  const mp_kv *meta;      /* metadata_props, e.g. pkg.torch.onnx.fx_node */
  uint64_t macs, flops;   /* of one run of this node; 0 where unknown or none. flops = 2 macs + one for each elementwise result */
} mp_node;

/* A value of a subgraph that stands for one of the graph around it: `inner` is its row here (kind MP_VALUE_CAPTURE), `outer` its row in the outer graph
 * (itself a capture there, where the value comes from further out). */
typedef struct mp_capture {
  int32_t inner, outer;
} mp_capture;

/* What no static analysis can know about a node's outputs, or what contradicts itself: for mp_graph_why. */
typedef struct mp_reason {
  int32_t node, input; /* input number of the node, -1: none in particular */
  const char *what;
} mp_reason;

typedef struct mp_opset {
  const char *domain;
  int64_t version;
} mp_opset;

typedef struct mp_graph {
  const char *path, *name, *producer, *producer_version;
  int64_t ir_version, opset; /* of ai.onnx */
  const mp_opset *opsets;
  uint32_t opset_count;
  mp_node *nodes;         /* topologically sorted, functions inlined */
  mp_value *values;
  const int32_t *inputs, *outputs; /* value indices in the file's order; inputs without those that are initializers */
  uint32_t node_count, value_count, input_count, output_count;
  const mp_kv *meta;      /* graph metadata_props (the dynamo exporter's graph signature) */
  uint32_t metas;
  const struct mp_graph *outer; /* the graph that a subgraph is in */
  const mp_capture *captures;   /* of a subgraph: values of the outer graph that it reads */
  const mp_reason *reasons;
  uint32_t capture_count, reason_count;
  const char **warnings;
  uint32_t warning_count;
} mp_graph;

/* ---- stages ---- */

typedef struct mp_model mp_model; /* the checked file (wire.c) */

/* Reads and checks a model file. External data is not opened. Errors: MP_BAD_INPUT with one line. The file stays mapped until mp_model_close (or exit). */
const mp_model *mp_model_read(mp_arena *a, const char *path, mp_err *err);
/* The same from memory, which must outlive the graph. */
const mp_model *mp_model_read_memory(mp_arena *a, const char *label, const void *bytes, size_t n, mp_err *err);
void mp_model_close(const mp_model *m);

/* What --dim says: "NAME=N" binds a named dimension everywhere, "INPUT:AXIS=N" one axis of one input. */
typedef struct mp_binding {
  const char *name; /* dimension or input */
  int32_t axis;     /* -1: name is a dimension */
  int64_t n;
} mp_binding;

/* Reads the argument of --dim. The last ':' before the '=' splits off the axis. The name lies in the arena. False with *err filled: no such form. */
bool mp_binding_parse(mp_arena *a, const char *text, mp_binding *to, mp_err *err);

typedef struct mp_graph_options {
  const mp_binding *bindings;
  uint32_t binding_count;
  bool from_scratch; /* ignore every declared shape but the inputs' */
} mp_graph_options;

/* Inlines, sorts, infers. Errors: MP_BAD_INPUT (cycle, an input or initializer defined again, missing value, a binding that contradicts the file or binds nothing). */
const mp_graph *mp_graph_build(mp_arena *a, const mp_model *m, const mp_graph_options *o, mp_err *err);

/* Why a value's dims are not known: a line that names the node and the input that blocks it; NULL where they are. */
const char *mp_graph_why(mp_arena *a, const mp_graph *g, int32_t value);
/* The same for every value at once, by index, at a cost that is linear in the graph. */
const char *const *mp_graph_why_all(mp_arena *a, const mp_graph *g, mp_err *err);
/* The first named dimension among the graph inputs that is still open, NULL if none. */
const char *mp_graph_open_dim(const mp_graph *g);

/* ---- small helpers for readers of a graph ---- */
const mp_attr *mp_node_attr(const mp_node *n, const char *name); /* NULL when absent */
int64_t mp_node_int(const mp_node *n, const char *name, int64_t otherwise);
double mp_node_float(const mp_node *n, const char *name, double otherwise);
const char *mp_node_meta(const mp_node *n, const char *key); /* NULL when absent */
const char *mp_graph_meta(const mp_graph *g, const char *key);
/* number of elements; false where a dim is not a number or the product overflows */
bool mp_value_elements(const mp_value *v, uint64_t *elements);

/* ---- the operator table ---- */
typedef struct mp_op mp_op; /* rows: onnx/shape.h, for the room's own files */
const mp_op *mp_op_find(const char *domain, const char *type, int64_t opset);
uint32_t mp_op_count(void);
/* the i-th row, for `memplan ops` */
void mp_op_row(uint32_t i, const char **domain, const char **type, int64_t *since);

#endif
