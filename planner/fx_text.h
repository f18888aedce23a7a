/* What the dynamo exporter wrote as text: one call (pkg.torch.onnx.fx_node), the lists beside it, and the graph signature. */
#ifndef MP_FX_TEXT_H
#define MP_FX_TEXT_H

#include "onnx/onnx.h"

typedef enum mp_fx_kind { MP_FX_NONE, MP_FX_REF, MP_FX_INT, MP_FX_FLOAT, MP_FX_BOOL, MP_FX_STRING, MP_FX_WORD, MP_FX_LIST } mp_fx_kind;

/* An argument as written. A word is what is neither a number nor a reference: torch.float32, cpu, s77. */
typedef struct mp_fx_item {
  mp_fx_kind kind;
  uint32_t n; /* members of a list */
  int64_t i;
  double f; /* of ints too */
  bool b;
  const char *text;      /* reference (without %), string, word */
  struct mp_fx_item *at; /* list */
} mp_fx_item;

typedef struct mp_fx_key {
  const char *key;
  mp_fx_item value;
} mp_fx_key;

/* %name : [num_users=1] = call_function[target=torch.ops.aten.linear.default](args = (...), kwargs = {...}) */
typedef struct mp_fx_call {
  const char *name, *op,
      *overload; /* "linear_3", "aten::linear", "default"; of a plain function op is its name ("getitem", "mul", "sym_min") and overload "" */
  mp_fx_item *args;
  mp_fx_key *kwargs;
  uint32_t arg_count, kwarg_count;
  uint32_t users; /* calls that read its result, among them those that the exporter's optimizer merged or removed since; 0: not said */
} mp_fx_call;

/* NULL where the text is not of that form (then it is not a call). */
const mp_fx_call *mp_fx_parse(mp_arena *a, const char *text);

/* A list of strings as Python prints it: ['', 'fn', 'fn.0', 'conv2d']. Returns how many; at most max are stored. */
uint32_t mp_fx_strings(mp_arena *a, const char *text, const char **out, uint32_t max);

/* A line of the graph signature: "p_fn_weight: PARAMETER target='fn.weight'". */
typedef struct mp_fx_spec {
  const char *name, *kind, *target; /* target NULL: none. Under "# outputs" kind is USER_OUTPUT, BUFFER_MUTATION, ... */
  bool is_output, persistent;
} mp_fx_spec;
uint32_t mp_fx_signature(mp_arena *a, const char *text, mp_fx_spec **out);

/* torch.float32 -> MP_FLOAT; MP_UNDEFINED where it names no dtype */
mp_dtype mp_fx_dtype(const char *word);

#endif
