/* Between the files that recover a program from nodes (recover_ts.c, patterns*.c).
 *
 * A row of the table is a small pattern of nodes and the framework's call that wrote them. Rows are tried from the most specific to "one node = one
 * call"; a match (hit) owns its nodes. Then the hits whose results something needs are emitted in the file's order. What Python computed on the host
 * (shapes, numbers) is no call: its nodes are never asked for. */
#ifndef MP_RECOVER_H
#define MP_RECOVER_H

#include "planner/inside.h"

#define MP_HIT_VALUES 10 /* $0 .. $9 */
#define MP_HIT_NUMBERS 4 /* #a .. #d */
#define MP_HIT_NODES 64

typedef struct mp_rec mp_rec;
typedef struct mp_hit mp_hit;

typedef struct mp_pattern {
  const char *nodes;                        /* the pattern's text: match.c has the grammar. Its first word is the type of the last node. */
  const char *call;                         /* one call as text: "aten::gelu($0, 'none')"; with `emit`: the names that it writes */
  bool (*check)(mp_rec *r, mp_hit *h);      /* what the text cannot say; may add needs; NULL */
  void (*emit)(mp_rec *r, const mp_hit *h); /* NULL: `call` says it all */
} mp_pattern;

struct mp_hit {
  const mp_pattern *row;
  int32_t root;                  /* the last node */
  int32_t values[MP_HIT_VALUES]; /* what $n stands for, -1 */
  double numbers[MP_HIT_NUMBERS];
  int32_t nodes[MP_HIT_NODES]; /* its nodes, the root first */
  uint32_t node_count;
  const int32_t *needs; /* values that the call reads besides $n, where a check lists them */
  uint32_t need_count;
  bool live, done, listed; /* listed: `needs` is all there is, though the text says (...) */
  int64_t note;            /* between a row's check and its emit */
};

struct mp_rec {
  mp_arena *a;
  const mp_graph *g;
  mp_builder *b;
  int32_t *var;        /* program variable of each value, -1 */
  uint8_t *cast;       /* of each node: what a Cast to the same type is (mp_cast_kind) */
  bool *host;          /* of each value: Python's, not a tensor on the device */
  bool *fixed;         /* of each value: follows from constants and shapes alone */
  bool *turned;        /* of each value: a folded weight whose variable has its module's dims by now */
  uint32_t *use_first; /* users of value v: use[use_first[v] .. use_first[v + 1]), node indices */
  int32_t *use;
  mp_hit **owner;    /* of each node, NULL */
  int32_t module;    /* instance that calls go to now */
  const char *path;  /* its path */
  const char *scope; /* name of the node that opened it, NULL */
  int32_t *alike;            /* of each value: the first constant that was read and holds the same, -1: not looked at yet */
  mp_names *contents;        /* what constants hold, a digest of it; `holder` has the first of each */
  MP_VEC(int32_t) holder;
  mp_names *lifted;          /* a constant of the file in one module; `lifted_var` has its variable */
  MP_VEC(int32_t) lifted_var;
  mp_names *scopes;      /* every scope of node names, and what is around it */
  const mp_hit *charged; /* the hit whose nodes a call has been given */
  mp_names *tops;        /* outermost modules of node names, */
  const char **homes;    /* and the container that each is in, which has no forward of its own and no scope: NULL not known, "" none */
  bool scoped;           /* node names carry module scopes */
  bool slashed;          /* node names begin with '/', as the exporter writes scopes, if only the whole model's */
  uint32_t folded_norms; /* batch norms put back behind convolutions */
  bool training;         /* exported for training, as far as the file shows */
};

/* A Cast to the type that its operand has. In a file of another precision than the run's it may still be a call. */
typedef enum mp_cast_kind {
  MP_CAST_ALIAS,  /* nothing */
  MP_CAST_FLOAT,  /* .float() before a loss: whoever reads it reads the copy */
  MP_CAST_SCOPED, /* .float() at the head of a norm: inside its module only; the tracer gave the tensor's later uses the cast's name too */
  MP_CAST_SQUARE, /* the same where only the square reads it */
  MP_CAST_BACK    /* .to(x.dtype) at the end of such a norm, of a softmax in fp32, of sines */
} mp_cast_kind;

/* ---- the table (patterns.c) ---- */
extern const mp_pattern mp_patterns[];
extern const uint32_t mp_pattern_count;

/* ---- matching (match.c) ---- */
bool mp_match(mp_rec *r, const mp_pattern *row, int32_t node, mp_hit *h); /* fills h; does not claim */
bool mp_r_expands_nothing(const mp_rec *r, int32_t node);                  /* an Expand to the size that its operand has */
bool mp_hit_node(mp_hit *h, int32_t node);                                /* adds a node; false: too many */
void mp_emit_text(mp_rec *r, const mp_hit *h);                            /* the row's `call` */

/* ---- modules (recover_scopes.c) ---- */
void mp_r_find_scopes(mp_rec *r);
size_t mp_r_scope_length(const mp_node *n); /* of the scope at the start of its name */
void mp_r_enter(mp_rec *r, int32_t node);   /* opens the modules around a node */

/* ---- parameters and buffers (recover_weights.c) ---- */
void mp_r_make_parameters(mp_rec *r);                              /* a variable for each initializer */
int32_t mp_r_make_var(mp_rec *r, mp_role role, int32_t value);     /* the variable of a value that no call makes */

/* ---- reading values (recover_values.c) ---- */
void mp_r_read_values(mp_rec *r);
bool mp_r_norm_trains(const mp_node *n);                           /* a BatchNormalization: by its attribute, before opset 14 by its statistics' outputs */
int32_t mp_r_resolve(const mp_rec *r, int32_t value,
                     int32_t reader); /* the value that it is another name of, for this node (-1: for none in particular) */
bool mp_r_is_scalar(const mp_value *v);
bool mp_r_is_number(const mp_rec *r, int32_t value);             /* Python's number: a scalar on the host */
bool mp_r_is_python(const mp_rec *r, int32_t value);             /* that, or a list of sizes */
bool mp_r_is_number_initializer(const mp_rec *r, int32_t value); /* a number that the file holds as an initializer, without a state_dict name */
const mp_node *mp_r_node(const mp_rec *r, int32_t node);
int32_t mp_r_in(const mp_rec *r, int32_t node, int i);                /* value behind input i (aliases resolved), -1 */
int32_t mp_r_raw(const mp_rec *r, int32_t node, int i);               /* input i as the file has it, -1 */
int32_t mp_r_producer(const mp_rec *r, int32_t value);                /* node, -1 */
int32_t mp_r_maker(const mp_rec *r, int32_t value, const char *type); /* producer if it is of this type, else -1 */
int mp_r_rank(const mp_rec *r, int32_t value);
int64_t mp_r_axis(mp_rec *r, int32_t node, int64_t axis, int rank); /* an axis that the node names, from 0; fails where a tensor of that rank has none such */
int64_t mp_r_product(mp_rec *r, int32_t node, int64_t a, int64_t b); /* of sizes that the node names; fails from MP_MOST_ELEMENTS on */
int64_t mp_r_dim(mp_rec *r, int32_t value, int i);           /* i may be negative. Unknown: fails with the reason */
bool mp_r_number(const mp_rec *r, int32_t value, double *x); /* a host scalar whose number is known */
uint32_t mp_r_ints(mp_rec *r, int32_t value, int64_t *out,
                   uint32_t max);                       /* contents of a host value; elements that are not known are INT64_MIN. 0: nothing known */
bool mp_r_is_parameter(const mp_rec *r, int32_t value); /* an initializer */
bool mp_r_is_constant(const mp_rec *r, int32_t value, double of);                  /* every element known to be `of` */
uint32_t mp_r_users(const mp_rec *r, int32_t value, int32_t *nodes, uint32_t max); /* nodes that read it (other names followed), not for its shape */
bool mp_r_same_scope(const mp_rec *r, int32_t node, int32_t other);
uint32_t mp_r_axes(mp_rec *r, int32_t node, int input, int64_t *axes); /* attribute or input `axes`; 0: absent */

/* ---- writing calls (recover_ts.c) ---- */
int32_t mp_r_var(mp_rec *r, int32_t value);    /* the program variable of a value that exists by now */
mp_arg mp_r_arg(mp_rec *r, int32_t value);     /* a host scalar as a number, none for -1, else the variable */
mp_arg mp_r_tensor(mp_rec *r, int32_t value);  /* as a variable, none for -1 */
int32_t mp_r_norm_cast(const mp_rec *r, int32_t product, int32_t node); /* recover_values.c: .float() at the head of the norm that `product` ends, in the scope of `node`; -1 */
int32_t mp_r_layer_norm_cast(const mp_rec *r, int32_t norm, int32_t node); /* the cast that the LayerNormalization `norm` reads, in the module of `node`; -1 */
mp_arg mp_r_latest_type(mp_rec *r, mp_dtype t); /* the latest result of this type: factories are given the dtype of what they will meet; before any, mp_r_model_type */
mp_arg mp_r_model_type(mp_rec *r, mp_dtype t); /* a parameter of this type, for calls that take the type of another tensor; without one, the type */
int32_t mp_r_new(mp_rec *r, const char *name, mp_dtype t, int rank, const int64_t *dims); /* a result that no ONNX value is */
int32_t mp_r_new_like(mp_rec *r, int32_t var);
/* a call of the hit; out: variables. mp_r_result: the variable of output `slot` of the hit's root. */
mp_call *mp_r_call(mp_rec *r, const mp_hit *h, const char *name, const mp_arg *args, uint32_t n, const int32_t *out, uint32_t outs);
int32_t mp_r_result(mp_rec *r, const mp_hit *h, int slot);
/* a call whose one result is the root's first output */
void mp_r_last(mp_rec *r, const mp_hit *h, const char *name, const mp_arg *args, uint32_t n);

const char *mp_r_module_path(mp_rec *r, int32_t node); /* "": the name has none */

/* ---- rows' functions, by family ---- */
#define MP_ROW_CHECK(name) bool name(mp_rec *r, mp_hit *h)
#define MP_ROW_EMIT(name) void name(mp_rec *r, const mp_hit *h)

#endif
