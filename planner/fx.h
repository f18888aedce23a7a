/* What recover_fx.c, fx_missing.c and fx_whole.c share: the program while it is being read from the dynamo exporter's metadata. */
#ifndef MP_FX_H
#define MP_FX_H

#include <string.h>

#include "planner/fx_text.h"
#include "planner/inside.h"

/* What an FX name stands for. */
typedef enum fx_kind { FX_UNKNOWN, FX_TENSOR, FX_SCALAR, FX_TUPLE } fx_kind;
typedef struct fx_ref {
  fx_kind kind;
  uint32_t n;
  int32_t var;
  int32_t stands; /* 1 + the value that it stands for where it was removed */
  mp_arg scalar;
  const int32_t *members; /* of a tuple: variables */
} fx_ref;

/* How a name is read: by calls of the file, and by others that the exporter's optimizer merged or removed. */
typedef struct fx_use {
  uint32_t references, readers; /* in arguments that the file has; calls that have one */
  uint32_t users, lost;         /* calls that there were (num_users; 0: not known); those of the lost that were found again */
  uint32_t latest;              /* 1 + the group that was counted last */
} fx_use;

/* What stands for a result that was merged with `of`, for so many more readers. */
typedef struct fx_remade {
  int32_t of, var;
  uint32_t left;
} fx_remade;

typedef struct fx_whole_row fx_whole_row;

/* The nodes that one FX call became; call NULL: a node that an optimizer put in without saying what for. */
typedef struct fx_group {
  const mp_fx_call *call;
  int32_t *nodes;
  uint32_t node_count;
  const char *stack, *source;
  const char *path, *type; /* innermost module */
  int32_t scope;           /* the node whose metadata names the modules: of a bare node, its first reader */
  uint32_t cap;
  const fx_whole_row *whole; /* the last part of a call that was made whole (fx_whole.c) */
  uint32_t whole_first;      /* its first */
  bool dropped;              /* a part before the last */
  bool padded;               /* of a batch norm: the convolution folded into it read what F.pad made (fx_folded.c) */
  bool aside, no_grad;       /* of a region without its modules; under torch.no_grad (fx_aside.c) */
} fx_group;

/* Where an argument stands, and the shape of its call's result. */
typedef struct fx_place {
  const fx_group *g;
  uint32_t arg;
  int rank; /* -1: not known */
  int64_t dims[MP_RANK];
} fx_place;

#define FX_MAX_ARGS 16
static inline bool fx_one_of(const char *op, const char *const *ops, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(op, ops[i])) return true;
  return false;
}
#define FX_ONE_OF(op, ...) fx_one_of(op, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

typedef struct fx_param {
  const mp_fx_spec *spec;
  int32_t var;
  bool known; /* are its dims */
  bool used;
  int32_t selects; /* rows of it that were folded into constants */
} fx_param;

/* A norm that is being read: its operand, and the operand in float32. */
typedef struct fx_norm {
  const char *path;
  int32_t x, wide;
  bool centres; /* a layer norm: it began with the mean */
  bool ends;    /* this call is its last: the result is cast back */
  bool alone;   /* only the square was widened */
} fx_norm;

/* A member of a list of modules that is open ("layer.3"), and the submodules that it has run. */
typedef struct fx_layer {
  const char *path, *first, *last;
  uint32_t children;
} fx_layer;

/* What was made in one member of a list and again in another, whose own calls were merged with the first's. */
typedef struct fx_twin {
  const char *in;
  int32_t of, var;
} fx_twin;

/* A constant that a module was handed: the `place`-th that it reads. */
typedef struct fx_handed {
  const char *path, *type;
  uint32_t place;
  int32_t value, var;
} fx_handed;

typedef struct fx_rec {
  mp_arena *a;
  mp_builder *b;
  const mp_graph *g;
  mp_names *names;
  MP_VEC(fx_ref) refs; /* by number of the name */
  MP_VEC(fx_group) groups;
  MP_VEC(fx_param) params;
  MP_VEC(const mp_fx_spec *) lifted; /* tensors written in a forward: torch.tensor(...) makes them anew in every pass */
  MP_VEC(fx_use) uses; /* by number of the name */
  MP_VEC(fx_remade) remade;
  mp_names *value_names;
  MP_VEC(int32_t) value_ids;
  MP_VEC(fx_layer) layers;
  MP_VEC(fx_twin) twins;
  MP_VEC(fx_handed) handed;
  MP_VEC(int32_t) taken; /* values that references of the group being read stand for */
  MP_VEC(int32_t) lost;  /* results of calls with one operand that the exporter's optimizer removed */
  int32_t *var_of_value, *group_of_node;
  mp_text guessed, likened, unread; /* names of parameters, for one warning each */
  fx_norm norm;
  bool uneven_known;
  MP_VEC(const char *) uneven; /* parts of the model, "encoder.", where convolutions of odd kernels pad unlike sides */
  int32_t narrow; /* the operand that a softmax's or layer norm's source line widens; -1 */
  bool train_op, convolutional;
  const char *unsound; /* a call that makes no sense: the metadata is not to be trusted */
} fx_rec;

/* recover_fx.c */
fx_ref *fx_ref_of(fx_rec *r, const char *name);        /* made when new; valid until the next one is made */
void fx_note(fx_rec *r, mp_text *t, const char *name); /* adds to a list of names */
void fx_set(fx_rec *r, const char *name, int32_t var);
void fx_add_node(fx_rec *r, fx_group *g, int32_t node);
int32_t fx_module(fx_rec *r, const fx_group *g);
int32_t fx_module_around(fx_rec *r, const fx_group *g); /* the module that its module is in */
uint32_t fx_emit(fx_rec *r, const fx_group *g, const char *name, const mp_arg *args, uint32_t n, int32_t module, const int32_t *outs, uint32_t outs_n,
                 bool with_nodes);
int32_t fx_result(fx_rec *r, const char *name, int32_t like_value, int32_t value); /* a variable with the dtype and dims of a value */
int32_t fx_result_dims(fx_rec *r, const char *name, mp_dtype t, int rank, const int64_t *dims);
fx_param *fx_param_named(fx_rec *r, const char *placeholder);
int fx_dims_of_value(fx_rec *r, int32_t value, int64_t *dims);          /* rank; fails where a dim is not a number */
int32_t fx_value_output(const fx_rec *r, const fx_group *g);            /* the value of the group's (first) result */
const int32_t *fx_externals(fx_rec *r, const fx_group *g, uint32_t *n); /* values read and not made by the group, in order, each once */
int32_t fx_value_named(fx_rec *r, const char *name);                    /* -1: none */
uint32_t fx_uses(fx_rec *r, const char *name);                          /* references to it in all arguments */
fx_use *fx_use_of(fx_rec *r, const char *name);                         /* made when new; valid until the next one is made */
const char *fx_stem(mp_arena *a, const char *name);                     /* "clone_3" -> "clone" */

/* fx_unfuse.c: the graph with the nodes that the exporter's optimizer fused at opset 23 written out again; g itself where there are none. Its first values are g's. */
const mp_graph *fx_unfuse(mp_arena *a, const mp_graph *g);

/* fx_alias.c: is the group a number or a size, or another name of something? Then it is noted as that */
bool fx_read_scalar(fx_rec *r, const fx_group *g);
bool fx_read_alias(fx_rec *r, const fx_group *g);

/* fx_args.c: arguments of a call */
uint32_t fx_read_args(fx_rec *r, const fx_group *g, mp_arg *args, uint32_t max);
mp_arg fx_arg(fx_rec *r, const mp_fx_item *i, const fx_place *p);
bool fx_number_of_value(const mp_value *v, mp_arg *out);
bool fx_is_arithmetic(const char *stem); /* "sqrt": of numbers alone it makes a number, which stays on the CPU */

/* fx_in_place.c: which results are written over an operand; the file does not say */
bool fx_in_place(fx_rec *r, const fx_group *g, const char *name, const mp_arg *args, uint32_t n);

/* fx_check.c: are these arguments that the call can have */
bool fx_sound(fx_rec *r, const char *name, const mp_arg *args, uint32_t n);

/* fx_masks.c: attention masks that only an export makes */
void fx_drop_masks(fx_rec *r);

/* fx_casts.c: casts that a float32 export does not show */
void fx_casts_before(fx_rec *r, const fx_group *g, const char *name, mp_arg *args, uint32_t n);
void fx_casts_after(fx_rec *r, const fx_group *g, const char *name, const mp_arg *args, uint32_t n, int32_t out);

/* fx_params.c: the table of parameters and buffers */
uint32_t fx_signature_from_names(fx_rec *r, mp_fx_spec **out);
void fx_add_placeholder(fx_rec *r, const mp_fx_spec *s);
void fx_give_dims(fx_rec *r, fx_param *p, mp_dtype t, int rank, const int64_t *dims);
void fx_size_param(fx_rec *r, const fx_group *g, fx_param *p, uint32_t arg); /* from the call that reads it as argument `arg` */
void fx_settle_params(fx_rec *r);                                            /* when all is read */
/* Of e.weight, which nobody reads, while the calls of module e read head.weight: that one, one tensor under two names; NULL */
const fx_param *fx_twin_of(fx_rec *r, const fx_param *p);

/* fx_twins.c: x, made in another member of a list by the operation `stem`, as the reader's own member made it: a variable `name`; -1 where it is not so */
int32_t fx_made_again(fx_rec *r, const fx_group *g, const char *name, const char *stem, int32_t x);
/* Is it read by a call that the file has no more, and that nothing stands for yet? */
bool fx_has_lost_reader(fx_rec *r, const char *name);
/* The operand of a merged call that is made again: var, where lost calls read it; else var was merged, too, and is made again as well, in the group's module */
int32_t fx_operand_again(fx_rec *r, const fx_group *g, int32_t var, uint32_t depth);
const mp_arg *fx_args_again(fx_rec *r, const fx_group *g, const mp_call *c, uint32_t depth); /* of all of a call */

/* fx_analogy.c: sizes of parameters that no call names: before calls are read, and again with what these told */
void fx_size_by_analogy(fx_rec *r);

/* fx_missing.c: calls that the exporter's optimizer removed, from the references that are left */
bool fx_resurrect(fx_rec *r, const fx_group *g, const char *name, uint32_t arg);
bool fx_is_dropped_out(const fx_rec *r, int32_t x);                                    /* is a clone of x a dropout that does not act, as far as what made x tells? */
bool fx_is_taken(const fx_rec *r, int32_t value);                                      /* by a reference of the group being read */
bool fx_item_has_value(fx_rec *r, const mp_fx_item *items, uint32_t n, int32_t value); /* do the arguments name what the value is read for */
bool fx_is_factory(const char *stem);                                                  /* "zeros_like": made from nothing in every pass */
int32_t fx_joined_indices(const fx_rec *r, const fx_group *g);                         /* the constant that several indices were joined into; -1 */

/* fx_constants.c: the variable of the constant `value` that the group reads for `name`: a parameter, what was made of one at export, or made anew in every pass */
int32_t fx_constant_var(fx_rec *r, const fx_group *g, const char *name, int32_t value);
int32_t fx_var_of_initializer(fx_rec *r, int32_t value);                 /* of a constant that a bare node reads */
int32_t fx_latest(fx_rec *r, mp_dtype t, int rank, const int64_t *dims); /* the latest result of this type and these dims (NULL: of any); -1 */
/* a call of one result, in the group's module: of `like`'s dims and type, under `name` -> that result */
int32_t fx_emit_unary(fx_rec *r, const fx_group *g, const char *op, const char *name, const mp_arg *args, uint32_t n, int32_t like);
fx_param *fx_forgotten(fx_rec *r, const fx_group *g, bool looks_up); /* the first of the group's module that no call names (looks_up: of an embedding inside it); NULL */
fx_param *fx_only_one(fx_rec *r, const fx_group *g);                 /* the only parameter of the module and its parts, and of the file, that no call names and whose size nothing tells; NULL */

/* fx_views.c: x as the view `name` of it, which argument `arg` of the group's call was; x itself where it changed nothing that matters */
int32_t fx_first_transpose(fx_rec *r, const fx_group *g, const char *name, int32_t x);
int32_t fx_first_unsqueeze(fx_rec *r, const fx_group *g, const char *name, int32_t x);
int32_t fx_lost_view(fx_rec *r, const fx_group *g, const char *name, int32_t x, uint32_t arg);

/* fx_place.c: where those of r->lost ran that stand in front of their readers */
void fx_place_lost(fx_rec *r);

bool fx_is_inside(const char *inner, const char *outer); /* is the path that of module `outer` ("": the model), or of what is in it */

/* fx_folded.c: the call `name` (stem: its operation), of which a convolution that the group is, or reads, has become all that is left; false: it is none */
bool fx_folded_product(fx_rec *r, const fx_group *g, const char *name);
bool fx_merged_pad(fx_rec *r, const fx_group *g, const char *name, const char *stem);

/* fx_normed.c: the weight of a module under a parametrization, made at export: `out`, of `dims`, from that module's parameters; false: it is none */
bool fx_normed_weight(fx_rec *r, const fx_group *g, const mp_value *v, int rank, const int64_t *dims, int32_t out);

/* fx_aside.c: calls of regions that torch.export took aside, which say nothing of the program's source lines, and may run without gradients */
void fx_set_aside(fx_rec *r);

/* fx_whole.c: calls that the exporter wrote out as their parts */
bool fx_whole_at(uint32_t i, const char **call, const char **ops); /* the i-th row, for `memplan ops`; false past the last */
void fx_make_whole(fx_rec *r);
void fx_emit_whole(fx_rec *r, const fx_group *g);

#endif
