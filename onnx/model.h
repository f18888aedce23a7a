/* For model*.c and graph*.c: the checked file, and a graph while it is being built. */
#ifndef MP_MODEL_H
#define MP_MODEL_H

#include "onnx-ml.pb-c.h"
#include "onnx/onnx.h"
#include "onnx/shape.h"
#include "onnx/wire.h"

/* ---- the model: a table of contents of the file ---- */

typedef struct mp_opsets {
  mp_opset *at;
  size_t n, cap;
} mp_opsets;

struct mp_model {
  const char *path;
  const uint8_t *bytes;
  size_t size;
  bool mapped; /* from a file: external data is looked for beside it */
  int64_t ir_version;
  const char *producer, *producer_version;
  mp_opsets opsets;
  mp_span graph;
  MP_VEC(mp_span) functions;
  mp_names *function_names; /* the number of "domain\1name\1overload" is its place in functions */
  MP_VEC(mp_span) metas;    /* metadata_props of the model, StringStringEntryProto each */
  MP_VEC(const char *) warnings;
};

/* key of a function in function_names; false when the three names are too long to be one's */
#define MP_FUNCTION_KEY 1024
bool mp_function_key(char key[MP_FUNCTION_KEY], size_t *n, mp_span domain, mp_span name, mp_span overload);
/* "ai.onnx" is another spelling of "" */
mp_span mp_domain_of(mp_span s);
bool mp_opset_read(mp_arena *a, mp_walk w, mp_opsets *sets); /* false: a version that does not exist */
void mp_kv_read(mp_walk w, mp_span *key, mp_span *value);

/* ---- a graph while it is being built ---- */

typedef struct mp_build { /* one mp_graph_build */
  mp_arena *a;
  mp_source source;
  const mp_model *model;
  const mp_graph_options *options;
  mp_syms *syms;
  mp_names *words; /* what repeats: operator types, domains, attribute names, metadata */
  bool *binding_used;
  struct mp_function **functions; /* parsed when first called, by place in model->functions */
  MP_VEC(const char *) warnings;
  mp_names *locations; /* external files seen, and what is known of each */
  MP_VEC(struct mp_outside) outside;
  mp_names *domains_missed;                                 /* domains used without an opset import */
  const ProtobufCFieldDescriptor *value_metas, *node_metas; /* metadata_props; NULL in a schema that is too old for them */
  uint64_t inlined;                                         /* nodes that came from functions */
  uint32_t serial;                                          /* makes names of inlined values unique */
} mp_build;

typedef struct mp_rows { /* one graph of it */
  mp_build *build;
  mp_graph *g;
  mp_names *names; /* a name's number is its value's index */
  MP_VEC(mp_value) values;
  MP_VEC(mp_node) nodes;
  MP_VEC(mp_capture) captures;
  MP_VEC(int32_t) made; /* values of the graph's own nodes' outputs, in the file's order */
  size_t next_made;
  bool unsorted;    /* a node reads what a later one makes */
  bool redefined;   /* a name has several definitions: then */
  int32_t *current; /* which value a name stands for just now, for the first current_count names */
  uint32_t current_count;
} mp_rows;

typedef struct mp_function {
  mp_span span, name;
  mp_opsets opsets;
  MP_VEC(mp_span) inputs, outputs;
  MP_VEC(mp_attr) defaults;
} mp_function;

/* Where names are looked up: a graph's own names, or those of a function that is being inlined into it. */
typedef struct mp_frame {
  mp_rows *rows;                /* rows go here */
  const struct mp_frame *outer; /* of a subgraph: the frame around its node */
  const mp_opset *opsets;
  size_t opset_count;
  /* the rest: functions only */
  const mp_function *function;
  const struct mp_frame *caller; /* for functions and their subgraphs: the frame of the call */
  const mp_node *call;           /* copy of the call's row: attributes and metadata to inherit */
  mp_names *names;               /* local names; the value of number i is at values[i] */
  MP_VEC(int32_t) values;
  const char *prefix;
} mp_frame;

#define MP_NOT_FOUND (-2)
#define MP_STANDS_FOR(v) (-2 - (v)) /* in `producer`, until the node is there: an earlier definition of v's name */

/* graph.c */
int32_t mp_frame_find(const mp_frame *f, mp_span name); /* a value of f->rows; -1: an optional input left out; MP_NOT_FOUND */
int32_t mp_rows_declare(mp_rows *r, mp_span name, mp_value_kind kind, bool *added);
mp_graph *mp_rows_build(mp_build *b, mp_walk w, const mp_frame *outer, int depth);
const char *mp_word(mp_build *b, mp_span s);
void mp_build_warn(mp_build *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* graph_node.c */
void mp_node_build(const mp_frame *f, mp_walk w);
bool mp_attr_read(const mp_frame *f, mp_walk w, mp_attr *to); /* false: refers to an attribute that the call does not give */
const mp_kv *mp_metas_read(mp_build *b, mp_walk w, const ProtobufCFieldDescriptor *metas, uint32_t *n);
void mp_node_add(const mp_frame *f, const mp_node *n);
/* graph_inline.c */
const mp_function *mp_function_find(mp_build *b, mp_span domain, mp_span name, mp_span overload);
void mp_function_inline(const mp_frame *f, const mp_function *fn, const mp_node *call, int depth);
/* graph_sort.c */
void mp_rows_sort(mp_rows *r);
/* graph_type.c */
void mp_value_type_read(mp_build *b, mp_walk w, mp_value *v);
/* graph_bind.c */
void mp_bind_input(mp_build *b, mp_value *v);
void mp_check_bindings(mp_build *b, const mp_graph *g);
/* model_tensor.c */
void mp_tensor_read(mp_build *b, mp_walk w, mp_tensor *t);
void mp_sparse_read(mp_build *b, mp_walk w, mp_tensor *t);

#endif
