/* Calls of the model's own functions -> the functions' nodes.
 *
 * A call opens a frame: formal inputs and outputs stand for the call's values, every other name gets a fresh value whose name is prefixed with the
 * call's. */
#include <string.h>

#include "onnx/model.h"

#define MAX_INLINED 200000 /* nodes that functions may add in all: nested functions grow exponentially */

static mp_function *parse(mp_build *b, mp_span span) {
  mp_function *fn = mp_alloc(b->a, sizeof *fn);
  fn->span = span;
  mp_walk w = mp_walk_span(&b->source, span, &onnx__function_proto__descriptor);
  mp_rows none = {.build = b};
  const mp_frame bare = {.rows = &none, .names = mp_names_new(b->a, 1)};
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->offset) {
      case offsetof(Onnx__FunctionProto, name):
        fn->name = f.span;
        break;
      case offsetof(Onnx__FunctionProto, input):
        *mp_push(b->a, &fn->inputs) = mp_field_name(&w, &f);
        break;
      case offsetof(Onnx__FunctionProto, output):
        *mp_push(b->a, &fn->outputs) = mp_field_name(&w, &f);
        break;
      case offsetof(Onnx__FunctionProto, opset_import):
        if (!mp_opset_read(b->a, mp_walk_into(&w, &f), &fn->opsets))
          mp_build_warn(b, "an opset import with a version that does not exist is left out");
        break;
      default:
        if (!strcmp(f.d->name, "attribute_proto")) { /* defaults; not in the oldest schema that is supported */
          mp_attr *to = mp_push(b->a, &fn->defaults);
          mp_walk inner = mp_walk_into(&w, &f);
          if (!mp_attr_read(&bare, inner, to)) fn->defaults.n--;
        }
    }
  return fn;
}

const mp_function *mp_function_find(mp_build *b, mp_span domain, mp_span name, mp_span overload) {
  char key[MP_FUNCTION_KEY];
  size_t n;
  if (!mp_function_key(key, &n, domain, name, overload)) return NULL;
  uint32_t id = mp_names_find(b->model->function_names, key, n);
  if (id == UINT32_MAX) return NULL;
  if (!b->functions[id]) b->functions[id] = parse(b, b->model->functions.at[id]);
  return b->functions[id];
}

static bool local(mp_frame *in, mp_span name, int32_t value) { /* false: the name is there already */
  bool added;
  mp_arena *a = in->rows->build->a;
  mp_names_add(a, in->names, (const char *)name.at, name.n, &added);
  if (added) *mp_push(a, &in->values) = value;
  return added;
}

_Noreturn static void broken(const mp_frame *in, mp_span name, const char *what) {
  mp_span fn = in->function->name;
  mp_fail(in->rows->build->a, MP_BAD_INPUT, "%s: function '%.*s': '%.*s' %s; the file is damaged: export it again", in->rows->build->source.label,
          (int)(fn.n < 100 ? fn.n : 100), fn.n ? (const char *)fn.at : "", (int)(name.n < 200 ? name.n : 200), name.n ? (const char *)name.at : "",
          what);
}

/* A fresh value of the graph: "PREFIXname", made unique where that is taken. */
static int32_t fresh(const mp_frame *in, mp_span name) {
  mp_build *b = in->rows->build;
  const char *extra = "";
  for (;;) {
    const char *full = mp_format(b->a, "%s%.*s%s", in->prefix, (int)(name.n < 4096 ? name.n : 4096), name.n ? (const char *)name.at : "", extra);
    bool added;
    int32_t v = mp_rows_declare(in->rows, (mp_span){(const uint8_t *)full, strlen(full)}, MP_VALUE_NODE, &added);
    if (added) return v;
    extra = mp_format(b->a, "#%u", ++b->serial);
  }
}

typedef struct formals { /* formal outputs: their local numbers are first, first + 1, ... but those that name something twice */
  uint32_t first, n;
  bool *made;
} formals;

static formals declare_formals(mp_frame *in) {
  const mp_function *fn = in->function;
  const mp_node *call = in->call;
  for (size_t i = 0; i < fn->inputs.n; i++)
    if (!local(in, fn->inputs.at[i], i < call->ins ? call->in[i] : -1)) broken(in, fn->inputs.at[i], "is an input twice");
  formals o = {.first = (uint32_t)in->values.n, .made = mp_alloc_array(in->rows->build->a, fn->outputs.n, 1)};
  for (size_t i = 0; i < fn->outputs.n; i++) {
    mp_span name = fn->outputs.at[i];
    if (mp_names_find(in->names, (const char *)name.at, name.n) != UINT32_MAX)
      continue; /* an input handed out, or an output twice: copied at the end */
    local(in, name, i < call->outs && call->out[i] >= 0 ? call->out[i] : fresh(in, name));
    o.n++;
  }
  return o;
}

static void declare_body(mp_frame *in, mp_walk w, formals *o) {
  for (mp_field f; mp_walk_next(&w, &f);) {
    if (f.d->offset != offsetof(Onnx__FunctionProto, node)) continue;
    if (++in->rows->build->inlined > MAX_INLINED)
      mp_fail(in->rows->build->a, MP_BAD_INPUT, "%s: its functions stand for more than %d nodes; no framework writes such a file",
              in->rows->build->source.label, MAX_INLINED);
    mp_walk node = mp_walk_into(&w, &f);
    for (mp_field x; mp_walk_next(&node, &x);) {
      if (x.d->offset != offsetof(Onnx__NodeProto, output) || !x.span.n) continue;
      mp_span name = mp_field_name(&node, &x);
      uint32_t id = mp_names_find(in->names, (const char *)name.at, name.n);
      if (id == UINT32_MAX) {
        local(in, name, fresh(in, name));
      } else if (id >= o->first && id < o->first + o->n && !o->made[id - o->first]) {
        o->made[id - o->first] = true;
      } else {
        broken(in, name, "is defined twice");
      }
    }
  }
}

/* Formal outputs that no node makes: copies of inputs or of other outputs. */
static void copy_outputs(mp_frame *in, const formals *o) {
  const mp_function *fn = in->function;
  mp_build *b = in->rows->build;
  uint32_t next = o->first;
  for (size_t i = 0; i < fn->outputs.n; i++) {
    mp_span name = fn->outputs.at[i];
    uint32_t id = mp_names_find(in->names, (const char *)name.at, name.n);
    if (id == next) {
      if (!o->made[id - o->first]) broken(in, name, "is an output that no node makes");
      next++;
      continue;
    }
    if (i >= in->call->outs || in->call->out[i] < 0) continue;
    int32_t *links = mp_alloc_array(b->a, 2, sizeof *links);
    links[0] = in->values.at[id];
    links[1] = in->call->out[i];
    mp_node n = {.type = "Identity", .domain = "", .doc = "", .name = in->call->name, .in = links, .out = links + 1, .ins = 1, .outs = 1};
    n.meta = in->call->meta;
    n.metas = in->call->metas;
    mp_node_add(in, &n);
  }
}

static void refuse_recursion(const mp_frame *f, const mp_function *fn) {
  mp_build *b = f->rows->build;
  for (const mp_frame *c = f; c; c = c->function ? c->caller : c->outer)
    if (c->function == fn)
      mp_fail(b->a, MP_BAD_INPUT, "%s: function '%.*s' calls itself; ONNX knows no recursion: the file is damaged, export it again", b->source.label,
              (int)(fn->name.n < 100 ? fn->name.n : 100), (const char *)fn->name.at);
}

/* A result that the function does not have is a value that no node makes. */
static void refuse_extra_results(const mp_frame *in) {
  const mp_node *call = in->call;
  for (size_t i = in->function->outputs.n; i < call->outs; i++)
    if (call->out[i] >= 0)
      mp_fail(in->rows->build->a, MP_BAD_INPUT, "%s: node '%.200s' (%.60s) names %d outputs, the function of that name has %zu; the file is damaged: export it again",
              in->rows->build->source.label, call->name, call->type, call->outs, in->function->outputs.n);
}

void mp_function_inline(const mp_frame *f, const mp_function *fn, const mp_node *call, int depth) {
  mp_build *b = f->rows->build;
  refuse_recursion(f, fn);
  mp_frame in = {.rows = f->rows, .opsets = fn->opsets.at, .opset_count = fn->opsets.n, .function = fn, .caller = f, .call = call};
  in.names = mp_names_new(b->a, 16);
  in.prefix = mp_format(b->a, "%s/", call->name[0] ? call->name : call->type);
  mp_walk w = mp_walk_span(&b->source, fn->span, &onnx__function_proto__descriptor);
  refuse_extra_results(&in);
  w.depth = depth; /* counts on: a function's nodes stand where the call stands */
  formals o = declare_formals(&in);
  declare_body(&in, w, &o);
  for (mp_field x; mp_walk_next(&w, &x);)
    if (x.d->offset == offsetof(Onnx__FunctionProto, node)) mp_node_build(&in, mp_walk_into(&w, &x));
  copy_outputs(&in, &o);
}
