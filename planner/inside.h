/* For the planner's own files: what a program, a trace and a tape are made of, and the emitter that calls are written against. */
#ifndef MP_INSIDE_H
#define MP_INSIDE_H

#include "planner/memplan.h"

#define MP_RANK 8 /* of a tensor on the device */
#define MP_MOST_ELEMENTS (UINT64_C(1) << 56) /* of a tensor, expanded axes included: products of dims never overflow */

/* ================= program ================= */

/* Arguments follow the aten schema of the call (torch.ops.aten.NAME), positional, keyword arguments at their schema position. */
typedef enum mp_arg_kind { MP_ARG_NONE, MP_ARG_VAR, MP_ARG_VARS, MP_ARG_INT, MP_ARG_FLOAT, MP_ARG_BOOL, MP_ARG_INTS, MP_ARG_BOOLS, MP_ARG_DTYPE, MP_ARG_STR } mp_arg_kind;
typedef struct mp_arg {
  mp_arg_kind kind;
  uint32_t n; /* of vars (-1: None in a list), ints, bools */
  union {
    int32_t var;
    const int32_t *vars;
    int64_t i;
    double f;
    bool b;
    const int64_t *ints;
    mp_dtype dtype;
    const char *s;
  } as;
} mp_arg;

typedef enum mp_role { MP_ROLE_INPUT, MP_ROLE_PARAMETER, MP_ROLE_BUFFER, MP_ROLE_CONSTANT, MP_ROLE_RESULT } mp_role;

/* A program value. It need not exist in the ONNX file (value -1). A CONSTANT is a tensor that lives on the device from the start as a buffer does
 * but is not in the state_dict (a lifted tensor constant). Python numbers are arguments, never values. */
typedef struct mp_var {
  const char *name;
  mp_dtype dtype;
  mp_role role;
  int32_t rank;
  int64_t dims[MP_RANK];
  int32_t call, slot; /* producer, -1 where it has none */
  int32_t value;      /* the graph's value, -1 */
  int32_t tied;       /* PARAMETER, BUFFER: the variable whose storage it shares (a view or the same), -1 for its own */
  int32_t dies;       /* RESULT: the call after which the program's Python lets go of it (locals.c); call count: at the end of the step */
  int32_t until;      /* RESULT: it dies no sooner than after this call, 0: any (edit.c) */
  bool is_output;     /* of the model */
  bool is_returned;   /* RESULT: what made it hands it out, though nothing reads it (mha.c) */
  bool is_held;       /* RESULT: the loop keeps it until the next forward pass returns (outputs.h) */
  bool is_boundary;   /* INPUT: made by an earlier stage, which wants its gradient back */
} mp_var;

typedef struct mp_call_row mp_call_row;
typedef struct mp_call {
  const mp_call_row *row; /* never NULL; a name that no table has gets a row of its own (mp_call_unknown) */
  const mp_arg *args;
  const int32_t *outs;  /* variables; -1: unused */
  const int32_t *nodes; /* ONNX nodes that it came from */
  uint32_t arg_count, out_count, node_count;
  int32_t module;       /* innermost module instance */
  bool in_place;        /* writes its result into its first operand (relu_, add_) */
  bool no_grad;         /* runs under torch.no_grad / on detached operands */
  uint64_t macs, flops; /* forward, summed over its nodes */
  const char *source;   /* the source line that wrote it, where the file has it (the dynamo exporter's stack trace), else NULL */
  const char *stack;    /* the whole stack trace, outermost frame first, else NULL */
} mp_call;

/* A module instance: (path, n-th time it runs) and the calls it covers. Instance 0 is the whole model, path "". */
typedef struct mp_instance {
  const char *path, *type;  /* "bert.encoder.layer.0"; class name or NULL */
  int32_t parent;           /* -1 for instance 0 */
  uint32_t turn;            /* 0 for the first run of this path */
  uint32_t first, end;      /* calls [first, end) */
  int32_t block;            /* a repeated module: number of its family; -1 otherwise (blocks.c) */
} mp_instance;

struct mp_program {
  const char *path; /* of the file */
  const mp_graph *graph;
  const mp_call *calls;
  const mp_var *vars;
  const mp_instance *instances;
  const int32_t *inputs, *outputs; /* variables */
  uint32_t call_count, var_count, instance_count, input_count, output_count;
  uint32_t first_call; /* a stage runs calls [first_call, call_count); 0 otherwise */
  bool is_stage;
  const char *exporter; /* "dynamo", "torchscript", "unknown" */
  bool training;        /* false: an inference export */
  const char *const *warnings;
  uint32_t warning_count;
};

/* ---- building a program (recover_*.c, edits) ---- */
typedef struct mp_builder mp_builder;
mp_builder *mp_builder_new(mp_arena *a, const mp_graph *g);
mp_arena *mp_builder_arena(mp_builder *b);
const mp_graph *mp_builder_graph(mp_builder *b);
int32_t mp_builder_var(mp_builder *b, mp_role role, const char *name, mp_dtype t, int rank, const int64_t *dims, int32_t value);
mp_var *mp_builder_at(mp_builder *b, int32_t var);
int32_t mp_builder_var_count(mp_builder *b);
mp_call *mp_builder_call_at(mp_builder *b, uint32_t call);
uint32_t mp_builder_call_count(mp_builder *b);
void mp_builder_count_product(mp_builder *b, uint32_t call, int64_t rows, int64_t in, int64_t out); /* the call's arithmetic is that of (rows, in) times (in, out) */
const mp_instance *mp_builder_instance(mp_builder *b, int32_t module); /* its path and class; valid until the next one is made */
/* A call; name as in the table ("aten::linear"); outs may hold -1. Returns its index. An unknown name is remembered and reported in one warning. */
uint32_t mp_builder_call(mp_builder *b, const char *name, const mp_arg *args, uint32_t n, const int32_t *outs, uint32_t outs_n, int32_t module, const int32_t *nodes,
                         uint32_t node_count);
/* The instance of `path` that is open now, or a new turn of it: paths must come in execution order. Parents are made as needed, but for one that is only a
 * list: "layer.0.attn" makes layer.0 and layer.0.attn; a Sequential, which runs itself, is asked for by name ("features") before its members. */
int32_t mp_builder_module(mp_builder *b, const char *path, const char *type);
/* The same for a whole chain of modules, outermost first (without the model itself): opens those that are not open. types may be NULL. */
int32_t mp_builder_modules(mp_builder *b, const char *const *paths, const char *const *types, uint32_t n);
void mp_builder_leave(mp_builder *b, const char *path); /* its forward returned: the next mp_builder_module of this path is a new turn */
/* Takes out the calls marked in `dead` (one flag a call); nothing that stays may read their results. */
void mp_builder_remove(mp_builder *b, const bool *dead);
/* Puts a call with one result before call `at` (> 0), into the module of the call before it. */
void mp_builder_insert(mp_builder *b, uint32_t at, const char *name, const mp_arg *args, uint32_t n, int32_t out);
/* What call reads is replaced by what `instead` has for it: of the first `count` variables, 0 where one stays. */
void mp_builder_reread(mp_builder *b, uint32_t call, const int32_t *instead, int32_t count);
/* Moves call `from` before call `to` (<= from), into instance `module`. */
void mp_builder_move(mp_builder *b, uint32_t from, uint32_t to, int32_t module);
void mp_builder_warn(mp_builder *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* mha.c: averaged attention weights that nothing reads. Before mp_program_habits. */
void mp_averaged_weights(mp_builder *b);
/* cells.c: recurrent cells that an exporter wrote out, as one call each. Before mp_unseen_casts. */
void mp_whole_cells(mp_builder *b, const int32_t *outputs, uint32_t output_count);
/* own_functions.c: torch.autograd.Functions of the model's own, seen in stack traces; `outputs` become their results. Before mp_unseen_casts. */
void mp_own_functions(mp_builder *b, int32_t *outputs, uint32_t output_count);
/* unseen_casts.c: casts without which the program would not run in half precision. Before mp_program_habits. */
void mp_unseen_casts(mp_builder *b);
/* habits.c: permute(0, 3, 1, 2).contiguous() before a shortcut is added, whose second call leaves no trace. Of a traced file, before mp_program_habits. */
void mp_maps_of_tokens(mp_builder *b);
/* habits.c: what no file says, assumed as usual: which calls write in place, which ran without gradients. Before the builder finishes. */
void mp_program_habits(mp_builder *b, const int32_t *outputs, uint32_t output_count);
/* fixes instance ranges, lifetimes (locals.c), blocks; the builder is done */
const mp_program *mp_builder_finish(mp_builder *b, const int32_t *inputs, uint32_t input_count, const int32_t *outputs, uint32_t output_count, const char *exporter,
                                    bool training);

static inline mp_arg mp_arg_none(void) { return (mp_arg){.kind = MP_ARG_NONE}; }
static inline mp_arg mp_arg_var(int32_t v) { return v < 0 ? mp_arg_none() : (mp_arg){.kind = MP_ARG_VAR, .as.var = v}; }
static inline mp_arg mp_arg_int(int64_t i) { return (mp_arg){.kind = MP_ARG_INT, .as.i = i}; }
static inline mp_arg mp_arg_float(double f) { return (mp_arg){.kind = MP_ARG_FLOAT, .as.f = f}; }
static inline mp_arg mp_arg_bool(bool v) { return (mp_arg){.kind = MP_ARG_BOOL, .as.b = v}; }
static inline mp_arg mp_arg_dtype(mp_dtype t) { return (mp_arg){.kind = MP_ARG_DTYPE, .as.dtype = t}; }
static inline mp_arg mp_arg_str(const char *s) { return (mp_arg){.kind = MP_ARG_STR, .as.s = s}; }
mp_arg mp_arg_ints(mp_arena *a, const int64_t *ints, uint32_t n); /* copied */
mp_arg mp_arg_vars(mp_arena *a, const int32_t *vars, uint32_t n); /* copied */

/* The part of a program that one stage of a pipeline runs, calls [first, end): what earlier stages made are inputs whose gradients are sent back (split.c). */
const mp_program *mp_program_slice(mp_arena *a, const mp_program *p, uint32_t first, uint32_t end);

/* decided.c: g without the Ifs whose condition is known, the branch that is taken in their place; g itself where there is none */
const mp_graph *mp_graph_decided(mp_arena *a, const mp_graph *g);
/* the stages behind mp_program_recover, tried in this order: NULL when the file is not of that kind */
/* the dynamo exporter's metadata; NULL where the file has none, or where a call of it makes no sense, which `unsound` then names */
const mp_program *mp_recover_fx(mp_arena *a, const mp_graph *g, const char **unsound);
/* scopes and patterns; also every other file, node by node. `unsound` (or NULL) becomes a warning. */
const mp_program *mp_recover_ts(mp_arena *a, const mp_graph *g, const char *unsound);
/* locals_source.c: the same from source lines, where calls have stack traces; NULL where none has. mp_source_death: the call after which the frame of instance
 * `owner` lets go of result `slot` of call `made`, last read by call `read`: its variable is assigned anew, or the frame returns. -1: the lines do not say. */
typedef struct mp_sources mp_sources;
mp_sources *mp_sources_new(mp_arena *a, const mp_call *calls, uint32_t call_count, const mp_instance *instances, uint32_t instance_count);
int32_t mp_source_death(const mp_sources *s, int32_t owner, int32_t made, uint32_t slot, int32_t read);
/* how many values the statement of the frame of `owner` takes in which `call` runs: as many as it assigns variables, or several in one that is called
 * outputs; 0: none, as a return does; -1: not known */
int32_t mp_source_targets(const mp_sources *s, int32_t owner, int32_t call);
void mp_lifetimes(mp_arena *a, mp_var *vars, uint32_t var_count, const mp_call *calls, uint32_t call_count, const mp_instance *instances, uint32_t instance_count);
bool mp_is_member(const char *path); /* of a list of modules: "encoder.layer.3" */
bool mp_in_one_list(const char *a, const char *b); /* layers.3 and layers.4; or the same member of members that are lists: layers.3.0 and layers.4.0 */
void mp_find_blocks(mp_arena *a, mp_instance *instances, uint32_t instance_count, const mp_call *calls);

/* ================= trace ================= */

typedef int32_t mp_ten; /* a tensor by number; -1: none (an undefined tensor) */

typedef struct mp_tensor_info {
  int32_t storage;
  mp_dtype dtype;
  int32_t rank;
  int64_t offset; /* in elements */
  int64_t dims[MP_RANK], strides[MP_RANK];
  int32_t fn, fn_out;  /* the autograd node that made it and which output of it; -1: none. A leaf that requires grad: its AccumulateGrad node. */
  bool requires_grad;
  bool is_view;        /* shares the storage of a base that it keeps alive */
  bool is_leaf_param;
} mp_tensor_info;

typedef struct mp_storage {
  uint64_t bytes;
  mp_category category; /* at birth */
  const char *op;       /* the aten call that made it, "parameter", "input" */
  int32_t call;         /* program call, -1 */
  int32_t var;          /* parameter, buffer, input: the variable */
  uint8_t what;         /* mp_what, for the saved list */
} mp_storage;
typedef enum mp_what { MP_WHAT_RESULT, MP_WHAT_INPUT, MP_WHAT_MASK, MP_WHAT_STATISTICS, MP_WHAT_COPY, MP_WHAT_INDICES } mp_what;

typedef struct mp_em mp_em;
typedef struct mp_bw mp_bw;

/* An autograd node's row: how it turns gradients of its outputs into gradients of its inputs. */
typedef struct mp_grad {
  const char *name;                      /* PyTorch's name: "AddmmBackward0" */
  void (*backward)(mp_em *e, mp_bw *b);
} mp_grad;

#define MP_MAX_SAVED 12
typedef struct mp_edge {
  int32_t fn, out; /* node and which of its outputs; -1: no gradient wanted */
} mp_edge;

typedef struct mp_fn {
  const mp_grad *row;
  int32_t call;                  /* program call that made it */
  int32_t param;                 /* AccumulateGrad: the parameter's tensor, else -1 */
  uint16_t edge_count, out_count, saved_count;
  mp_edge *edges;                /* one for each differentiable input */
  mp_ten *outs;                  /* shape and dtype of each output, as tensors of the trace (for undefined gradients and checks) */
  mp_ten saved[MP_MAX_SAVED];    /* -1: not saved */
  mp_ten *in_meta;               /* tensors whose shape and dtype the gradient of edge i must have */
  int64_t *meta;                 /* whatever ints the backward needs; a copy made at recording */
  uint32_t meta_count;
  bool dead;                     /* backward does not reach it (dead.c) */
} mp_fn;

/* What the forward pass did, in order. */
typedef enum mp_event_kind {
  MP_EV_CALL,    /* a program call begins: index a */
  MP_EV_NEW,     /* a storage appears: a */
  MP_EV_TENSOR,  /* a tensor appears: a (takes a reference on its storage) */
  MP_EV_DROP,    /* the last Python or C++ holder of tensor a lets go */
  MP_EV_FN,      /* autograd node a appears (its saved tensors take references) */
  MP_EV_GONE,    /* autograd node a, which backward would not reach, lets go of what it saved */
  MP_EV_SCRATCH, /* a kernel takes and gives back b bytes */
  MP_EV_MARK     /* program: inputs are made / forward ends */
} mp_event_kind;
typedef struct mp_event {
  uint8_t kind;
  int32_t a;
  uint64_t b;
} mp_event;

struct mp_trace {
  const mp_program *program;
  const mp_run *run;
  const mp_tensor_info *tensors;
  const mp_storage *storages;
  const mp_fn *fns;
  const mp_event *events;
  uint32_t tensor_count, storage_count, fn_count, event_count;
  const mp_ten *var_tensor;  /* that each program variable was made as, -1 */
  uint32_t setup_events;     /* events before this one make parameters and buffers */
  uint32_t input_events;     /* events before this one (after setup) make one batch */
  mp_ten loss;               /* -1: nothing to differentiate */
  const mp_ten *held;        /* what the loop keeps of the model's outputs */
  uint32_t held_count;
  const mp_ten *roots;       /* what backward starts from: the loss, or a stage's outputs, whose gradients the next stage sends */
  uint32_t root_count;
  bool train;                /* loss exists and something requires grad */
  const char *const *warnings;
  uint32_t warning_count;
};

/* ================= the emitter: what calls are written against =================
 *
 * A call's forward and a node's backward are written once, as PyTorch's own code is: they make tensors through the functions below. The emitter records them (trace) or
 * performs them (tape). References are kept by scopes: what a function makes is dropped when the function's scope ends, except what it hands out (mp_em_leave). Backward functions need no scope of their own:
 * the engine drops what they did not hand out.
 *
 * Shapes and copies: a view never allocates; a fresh tensor is contiguous unless strides are given. */

mp_arena *mp_em_arena(mp_em *e);
const mp_tensor_info *mp_em_info(const mp_em *e, mp_ten t); /* valid until the next tensor is made: copy what you need */
const mp_tensor_info *mp_em_ranked(const mp_em *e, mp_ten t, int least); /* the same of a tensor with at least that many dimensions: else MP_BAD_INPUT */
int64_t mp_em_axis(const mp_em *e, int64_t axis, int rank); /* an axis from 0 (negative: from the end; a 0-d tensor has one); MP_BAD_INPUT where a tensor of that rank has none such */
int64_t mp_em_product(const mp_em *e, int64_t a, int64_t b); /* of sizes: MP_BAD_INPUT from MP_MOST_ELEMENTS on */
bool mp_em_grad_enabled(const mp_em *e);
const mp_run *mp_em_run(const mp_em *e);

/* fresh storage */
mp_ten mp_em_new(mp_em *e, const char *op, mp_dtype t, int rank, const int64_t *dims);
mp_ten mp_em_new_strided(mp_em *e, const char *op, mp_dtype t, int rank, const int64_t *dims, const int64_t *strides);
mp_ten mp_em_new_format(mp_em *e, const char *op, mp_dtype t, int rank, const int64_t *dims, bool channels_last); /* else contiguous */
mp_ten mp_em_new_like(mp_em *e, const char *op, mp_ten like);                      /* dims, dtype; strides preserved when dense (empty_like), else contiguous */
mp_ten mp_em_new_like_dtype(mp_em *e, const char *op, mp_ten like, mp_dtype t);
mp_ten mp_em_scalar(mp_em *e, const char *op, mp_dtype t);                         /* a 0-d tensor on the device */
void mp_em_set_what(mp_em *e, mp_ten t, mp_what what);                             /* what its storage is, for the saved list */
/* a view of t's storage */
mp_ten mp_em_view(mp_em *e, mp_ten t, int rank, const int64_t *dims, const int64_t *strides, int64_t offset);
mp_ten mp_em_alias(mp_em *e, mp_ten t);                                            /* same dims and strides (detach, view_as) */
void mp_em_scratch(mp_em *e, const char *op, uint64_t bytes);                      /* taken and given back within one kernel */
void mp_em_drop(mp_em *e, mp_ten t);                                               /* gives up this scope's hold early, as a C++ move or a Python del does */

/* scopes */
size_t mp_em_enter(mp_em *e);
void mp_em_leave(mp_em *e, size_t scope, const mp_ten *keep, uint32_t n);          /* drops what the scope made, but `keep`, which the outer scope now owns */
mp_ten mp_em_leave1(mp_em *e, size_t scope, mp_ten keep);

/* autograd: recording. mp_fn_begin returns false when no input needs a gradient (or under no_grad): then nothing is to be done. */
bool mp_em_needs(const mp_em *e, mp_ten t);                                        /* requires grad, and grad is enabled */
bool mp_fn_begin(mp_em *e, const mp_grad *row, const mp_ten *inputs, uint32_t n);
void mp_fn_save(mp_em *e, uint32_t slot, mp_ten t);                                /* t -1 is fine */
void mp_fn_meta(mp_em *e, const int64_t *ints, uint32_t n);
void mp_fn_output(mp_em *e, mp_ten t);                                             /* in order; then */
void mp_fn_end(mp_em *e);
void mp_em_copy_needs(mp_em *e, mp_ten to, mp_ten from);                           /* in-place calls: to now has from's history */

/* autograd: backward rows */
mp_ten mp_bw_grad(const mp_bw *b, uint32_t out);   /* gradient of output `out`; -1: undefined (zero) */
mp_ten mp_bw_saved(const mp_bw *b, uint32_t slot); /* -1: not saved */
bool mp_bw_wants(const mp_bw *b, uint32_t input);  /* is the gradient of input i wanted */
const int64_t *mp_bw_meta(const mp_bw *b);
uint32_t mp_bw_meta_count(const mp_bw *b);
const mp_tensor_info *mp_bw_input(const mp_bw *b, uint32_t input); /* shape, dtype and strides of the forward's input i */
const mp_tensor_info *mp_bw_output(const mp_bw *b, uint32_t out);
void mp_bw_give(mp_bw *b, uint32_t input, mp_ten g);  /* the engine reduces a broadcast gradient (sum_to) and casts it, as validate_outputs does */

/* program calls: reading arguments (i: schema position); absent and None give the default */
const mp_call *mp_em_call(const mp_em *e);
mp_ten mp_c_ten(mp_em *e, uint32_t i);             /* -1 when absent. Already cast as the row's autocast policy says. */
uint32_t mp_c_tens(mp_em *e, uint32_t i, mp_ten *out, uint32_t max); /* a list */
bool mp_c_is_ten(mp_em *e, uint32_t i);
bool mp_c_has(mp_em *e, uint32_t i);               /* given and not None */
int64_t mp_c_int(mp_em *e, uint32_t i, int64_t otherwise);
double mp_c_float(mp_em *e, uint32_t i, double otherwise);
bool mp_c_bool(mp_em *e, uint32_t i, bool otherwise);
mp_dtype mp_c_dtype(mp_em *e, uint32_t i, mp_dtype otherwise);
uint32_t mp_c_ints(mp_em *e, uint32_t i, int64_t *out, uint32_t max); /* an int counts as a list of one; 0 when absent */
const char *mp_c_str(mp_em *e, uint32_t i);        /* NULL when absent */
uint32_t mp_c_count(mp_em *e);                     /* of arguments */
void mp_c_out(mp_em *e, uint32_t slot, mp_ten t);  /* the call's result */
const mp_var *mp_c_out_var(const mp_em *e, uint32_t slot); /* the program's variable of that result, NULL where unused: dims and dtype as the file has them */

/* What autocast does to a call's tensor arguments (torch/csrc: autocast_mode.h, the lists AT_FORALL_LOWER_PRECISION_FP, _FP32, _PROMOTE). */
typedef enum mp_policy { MP_CAST_NONE, MP_CAST_HALF, MP_CAST_FP32, MP_CAST_PROMOTE } mp_policy;

/* autocast's cast of one tensor, for a composite call whose inner calls have policies of their own; t itself when autocast is off or it has the type already */
mp_ten mp_em_autocast(mp_em *e, mp_ten t, mp_policy p);
/* The floating type that a tensor made from nothing has: sources write dtype=x.dtype, of which an fp32 export shows only float32, so in a pure half run float32 is the
 * model's type. Other types stay. (A cast of a tensor to float32 is meant as it stands.) */
mp_dtype mp_em_made_dtype(const mp_em *e, mp_dtype t);
bool mp_em_is_autocast(const mp_em *e);
mp_dtype mp_em_autocast_dtype(const mp_em *e); /* half or bfloat16 */

/* One row a framework call: what it saves, its backward and its scratch follow from its forward, written against the emitter. */
struct mp_call_row {
  const char *name;              /* "aten::layer_norm" */
  void (*forward)(mp_em *e);     /* reads mp_c_*, makes tensors, records autograd nodes, sets mp_c_out */
  mp_policy policy;
  const char *note;              /* for `memplan ops`: what it saves, in words */
};
typedef struct mp_call_table {
  const mp_call_row *rows;
  uint32_t count;
} mp_call_table;
/* tables by family: calls_point.c elementwise and activations, calls_shape.c views and copies, calls_matrix.c, calls_conv.c convolution and pooling and resampling,
 * calls_norm.c, calls_attention.c, calls_loss.c embedding and losses, calls_reduce.c reductions, softmax and sorting, calls_create.c factories, calls_rnn.c */
extern const mp_call_table mp_calls_point, mp_calls_shape, mp_calls_matrix, mp_calls_conv, mp_calls_norm, mp_calls_attention, mp_calls_loss, mp_calls_reduce, mp_calls_create, mp_calls_copy,
    mp_calls_rnn;
const mp_call_row *mp_call_find(const char *name); /* "aten::add"; NULL: no row */
void mp_call_unknown(mp_em *e);                    /* the forward of a call without a row: results as the file has them, operands kept */
uint32_t mp_call_count(void);
const mp_call_row *mp_call_at(uint32_t i);

/* ---- differentiable functions that several calls and backwards share (ops_*.c): each is the aten function of that name ---- */
mp_ten mp_op_to(mp_em *e, mp_ten t, mp_dtype dtype);                 /* Tensor.to(dtype): itself when it already is */
mp_ten mp_op_clone(mp_em *e, mp_ten t, bool contiguous);             /* clone(memory_format=contiguous or preserve) */
mp_ten mp_op_contiguous(mp_em *e, mp_ten t);
mp_ten mp_op_view(mp_em *e, mp_ten t, int rank, const int64_t *dims);        /* one dim may be -1. Fails (MP_INTERNAL) where no strides exist. */
mp_ten mp_op_reshape(mp_em *e, mp_ten t, int rank, const int64_t *dims);     /* view, else copy and _unsafe_view */
mp_ten mp_op_unsafe_view(mp_em *e, mp_ten t, int rank, const int64_t *dims);
mp_ten mp_op_permute(mp_em *e, mp_ten t, const int64_t *perm);
mp_ten mp_op_transpose(mp_em *e, mp_ten t, int64_t d0, int64_t d1);
mp_ten mp_op_t(mp_em *e, mp_ten t);
mp_ten mp_op_expand(mp_em *e, mp_ten t, int rank, const int64_t *dims);
mp_ten mp_op_unsqueeze(mp_em *e, mp_ten t, int64_t dim);
mp_ten mp_op_squeeze(mp_em *e, mp_ten t, int64_t dim);
mp_ten mp_op_select(mp_em *e, mp_ten t, int64_t dim, int64_t index);
mp_ten mp_op_slice(mp_em *e, mp_ten t, int64_t dim, int64_t start, int64_t end, int64_t step);
mp_ten mp_op_sum_dims(mp_em *e, mp_ten t, const int64_t *dims, uint32_t n, bool keepdim); /* n 0: all */
mp_ten mp_op_sum_to(mp_em *e, mp_ten t, int rank, const int64_t *dims);
mp_ten mp_op_add(mp_em *e, mp_ten a, mp_ten b);
mp_ten mp_op_mul(mp_em *e, mp_ten a, mp_ten b);
mp_ten mp_op_mul_scalar(mp_em *e, mp_ten a, double s);
mp_ten mp_op_div_scalar(mp_em *e, mp_ten a, double s);
mp_ten mp_op_neg(mp_em *e, mp_ten a);
mp_ten mp_op_mm(mp_em *e, mp_ten a, mp_ten b);
mp_ten mp_op_addmm(mp_em *e, mp_ten bias, mp_ten a, mp_ten b);
mp_ten mp_op_mv(mp_em *e, mp_ten a, mp_ten b);
mp_ten mp_op_bmm(mp_em *e, mp_ten a, mp_ten b);
mp_ten mp_op_matmul(mp_em *e, mp_ten a, mp_ten b);
mp_ten mp_op_linear(mp_em *e, mp_ten x, mp_ten w, mp_ten bias);
mp_ten mp_op_softmax(mp_em *e, mp_ten t, int64_t dim, mp_dtype dtype); /* MP_UNDEFINED: the operand's */
mp_ten mp_op_dropout(mp_em *e, mp_ten t, double p);

/* ---- plain shape arithmetic (tensor_math.c) ---- */
bool mp_strides_for_view(const mp_tensor_info *t, int rank, const int64_t *dims, int64_t *strides); /* at::detail::computeStride; false: a copy is needed */
void mp_strides_contiguous(int rank, const int64_t *dims, int64_t *strides);
void mp_strides_channels_last(int rank, const int64_t *dims, int64_t *strides); /* rank 2 or more */
bool mp_is_contiguous(const mp_tensor_info *t);
bool mp_is_dense(const mp_tensor_info *t);                       /* non-overlapping and dense */
uint64_t mp_numel(const mp_tensor_info *t);
/* the strides that an elementwise kernel gives its result for these operands (TensorIterator's permutation); dims: the broadcast shape */
void mp_strides_elementwise(const mp_em *e, const mp_ten *operands, uint32_t n, int rank, const int64_t *dims, int64_t *strides);
int mp_broadcast(mp_em *e, mp_ten a, mp_ten b, int64_t *dims);   /* rank of the result */
mp_dtype mp_promote(mp_em *e, mp_ten a, mp_ten b);               /* torch.result_type: dimensioned tensors before 0-d ones, by category */

/* ================= tape ================= */

typedef enum mp_step_kind { MP_ALLOC, MP_FREE, MP_BECOME /* storage is now of another category */, MP_ITERATION, MP_PHASE, MP_FORWARD_END } mp_step_kind;
typedef struct mp_step {
  uint8_t kind, phase, category;
  uint8_t iteration;   /* 0, 1, 2 */
  int32_t id;          /* storage instance: one number for each allocation */
  int32_t call;        /* program call, -1 */
  const char *op;      /* aten name */
  uint64_t bytes;      /* exact; the allocator rounds */
} mp_step;

struct mp_tape {
  const mp_trace *trace;
  const mp_run *run;
  const mp_step *steps;
  uint32_t step_count, instance_count;
  const mp_saved *saved;
  uint32_t saved_count;
  uint64_t gradient_bytes, optimizer_bytes, input_bytes;
  uint64_t flops_recompute;
  const char *const *warnings;
  uint32_t warning_count;
};

/* mp_tape_make builds three micro-batches of an iteration at most, because those behind the second are alike; this one builds them all (tests compare the two). */
const mp_tape *mp_tape_make_whole(mp_arena *a, const mp_trace *t, const mp_run *run, const mp_plan *plan, mp_err *err);

/* Peak allocated bytes of the tape's last iteration, and nothing else (timeline.c). */
uint64_t mp_timeline_peak(const mp_tape *t);

/* ---- the caching allocator (allocator.c): reserved bytes of a tape ---- */
typedef struct mp_reserved {
  uint64_t reserved, fragmentation; /* at the end; reserved - allocated at the peak */
} mp_reserved;
mp_reserved mp_allocator_replay(mp_arena *a, const mp_tape *t, bool expandable_segments);
/* Does the tape run where the device gives no more than `limit` bytes? Segments that are wholly free go back to it first. */
bool mp_allocator_runs_in(mp_arena *a, const mp_tape *t, bool expandable_segments, uint64_t limit);
typedef struct mp_hole { /* a free block */
  uint64_t bytes, address;
  int32_t before, after; /* storage instances next to it in its segment; -1: the segment's edge */
} mp_hole;
typedef struct mp_fragments {
  uint64_t reserved, held; /* held: blocks in use, with what could not be split off them */
  const mp_hole *holes;    /* the largest first; with held they are reserved */
  uint32_t hole_count;
} mp_fragments;
mp_fragments mp_allocator_at(mp_arena *a, const mp_tape *t, bool expandable_segments, uint32_t step); /* after that step */

/* Bytes alive after every step of the tape, by category: see(arg, step, all, by). */
typedef void mp_timeline_visit(void *arg, uint32_t step, uint64_t now, const uint64_t *by);
void mp_timeline_walk(mp_arena *a, const mp_tape *t, mp_timeline_visit *see, void *arg);

#endif
