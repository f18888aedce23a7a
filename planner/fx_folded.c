/* Calls that the exporter's optimizer merged into a convolution: the convolution itself, where a batch norm was folded into it, and the padding in front. */
#include <stdlib.h>
#include <string.h>

#include "planner/fx.h"

/* The placeholder of a weight: the initializer has its name, else it is the next that nothing names. */
static fx_param *param_of_value(fx_rec *r, const fx_group *g, int32_t value, const char *leaf) {
  for (size_t i = 0; i < r->params.n; i++)
    if (r->params.at[i].spec->target && !strcmp(r->params.at[i].spec->target, r->g->values[value].name)) return &r->params.at[i];
  const char *dot = strrchr(g->path, '.');
  char *around = mp_strndup(r->a, g->path, dot ? (size_t)(dot - g->path) : 0);
  for (size_t i = 0; i < r->params.n; i++) {
    fx_param *p = &r->params.at[i];
    const char *last = p->spec->target ? strrchr(p->spec->target, '.') : NULL;
    if (p->used || !last || strcmp(last + 1, leaf) != 0 || fx_uses(r, p->spec->name) || !fx_is_inside(p->spec->target, around)) continue;
    return p;
  }
  return NULL;
}

static mp_arg ints_attr(fx_rec *r, const mp_node *n, const char *name, uint32_t count, int64_t otherwise) {
  const mp_attr *at = mp_node_attr(n, name);
  int64_t ints[MP_RANK];
  for (uint32_t i = 0; i < count && i < MP_RANK; i++) ints[i] = at && at->kind == MP_ATTR_INTS && i < at->n ? at->as.ints[i] : otherwise;
  return mp_arg_ints(r->a, ints, count);
}

/* x with the padding of convolution node n beyond the call's own: constant_pad_nd(x, ...) -> its result, -1 where the node does not say */
static int32_t padded(fx_rec *r, const fx_group *g, const mp_node *n, const char *name, int32_t x, const mp_fx_item *own) {
  const mp_attr *pads = mp_node_attr(n, "pads");
  if (!pads || pads->kind != MP_ATTR_INTS || pads->n % 2 || pads->n > 2 * (MP_RANK - 2)) return -1;
  uint32_t spatial = pads->n / 2;
  mp_var v = *mp_builder_at(r->b, x);
  if (v.rank != (int)spatial + 2) return -1;
  int64_t list[2 * MP_RANK];
  for (uint32_t i = 0; i < spatial; i++) {
    int64_t already = own && own->n ? own->at[i < own->n ? i : 0].i : 0, low, high;
    if (__builtin_sub_overflow(pads->as.ints[i], already, &low) || __builtin_sub_overflow(pads->as.ints[spatial + i], already, &high)) return -1;
    if (low < INT32_MIN || low > INT32_MAX || high < INT32_MIN || high > INT32_MAX) return -1;
    uint32_t at = 2 * (spatial - 1 - i); /* F.pad counts from the last dimension */
    list[at] = low;
    list[at + 1] = high;
    v.dims[2 + i] += low + high;
  }
  int32_t out = fx_result_dims(r, name, v.dtype, v.rank, v.dims);
  mp_arg args[] = {mp_arg_var(x), mp_arg_ints(r->a, list, 2 * spatial), mp_arg_float(0)};
  fx_emit(r, g, "aten::constant_pad_nd", args, 3, fx_module(r, g), &out, 1, false);
  return out;
}

static bool is_uneven(const mp_node *n) {
  const mp_attr *pads = !strcmp(n->type, "Conv") ? mp_node_attr(n, "pads") : NULL;
  for (uint32_t i = 0; pads && pads->kind == MP_ATTR_INTS && i < pads->n / 2; i++)
    if (pads->as.ints[i] != pads->as.ints[pads->n / 2 + i]) return true;
  return false;
}

static bool is_odd(fx_rec *r, const mp_node *n) {
  int64_t dims[MP_RANK] = {0};
  int rank = n->ins > 1 && n->in[1] >= 0 ? fx_dims_of_value(r, n->in[1], dims) : 0;
  for (int i = 2; i < rank; i++)
    if (dims[i] % 2 == 0) return false;
  return rank > 2;
}

static const char *weight_of(const fx_rec *r, const mp_node *n) { return n->ins > 1 && n->in[1] >= 0 ? r->g->values[n->in[1]].name : ""; }

/* "m.encoder." of m.encoder.blocks.0.conv.weight and of m.encoder.stem.weight: what has the list, else what has the module */
static const char *part_of(fx_rec *r, const char *weight) {
  const char *last = NULL, *before = NULL; /* the dots before a name's last and last but one component */
  for (const char *dot = strchr(weight, '.'); dot; dot = strchr(dot + 1, '.')) {
    if (dot[1] >= '0' && dot[1] <= '9') {
      before = last;
      break;
    }
    before = last;
    last = dot;
  }
  return before ? mp_strndup(r->a, weight, (size_t)(before + 1 - weight)) : "";
}

static bool pads_at_all(const mp_node *n) {
  const mp_attr *pads = mp_node_attr(n, "pads");
  bool any = false;
  for (uint32_t i = 0; pads && pads->kind == MP_ATTR_INTS && i < pads->n; i++) any |= pads->as.ints[i] != 0;
  return any;
}

static const mp_node *folded_convolution(const fx_rec *r, const fx_group *g) {
  const mp_node *n = &r->g->nodes[g->nodes[g->node_count - 1]];
  return g->call && !strncmp(g->call->op, "aten::_native_batch_norm", 24) && !strcmp(n->type, "Conv") ? n : NULL;
}

/* The number of a call of F.pad that the group is or reads: pad 0, pad_1 1; -1 none */
static int64_t pad_number(fx_rec *r, const fx_group *g) {
  int64_t number = -1;
  for (uint32_t i = 0; g->call && i <= g->call->arg_count; i++) {
    const char *name = i == g->call->arg_count ? g->call->name : g->call->args[i].kind == MP_FX_REF ? g->call->args[i].text : "";
    if (!strcmp(fx_stem(r->a, name), "pad") && atoll(name + strcspn(name, "0123456789")) > number) number = atoll(name + strcspn(name, "0123456789"));
  }
  return number;
}

enum { UNKNOWN, ALL, THOSE_THAT_PAD, MIXED };

static int padded_among(fx_rec *r, size_t first, size_t end, int64_t calls) {
  int64_t all = 0, wide = 0;
  for (size_t i = first; i < end; i++) {
    const mp_node *n = folded_convolution(r, &r->groups.at[i]);
    all += n != NULL;
    wide += n && pads_at_all(n);
  }
  return !all ? UNKNOWN : calls == all ? ALL : calls == wide ? THOSE_THAT_PAD : MIXED;
}

static void mark_padded(fx_rec *r, size_t first, size_t end, int which) {
  for (size_t i = first; i < end && (which == ALL || which == THOSE_THAT_PAD); i++) {
    const mp_node *n = folded_convolution(r, &r->groups.at[i]);
    r->groups.at[i].padded = n && (which == ALL || pads_at_all(n));
  }
}

/* Calls are numbered as they run. As many numbers of F.pad as are missing between two that the file has were merged into the folded convolutions between these; behind the last one as before. */
static void count_pads(fx_rec *r) {
  int64_t last = -1;
  size_t first = 0;
  int before = UNKNOWN;
  for (size_t i = 0; i < r->groups.n; i++) {
    int64_t number = pad_number(r, &r->groups.at[i]);
    if (number <= last) continue;
    int which = number - last > 1 ? padded_among(r, first, i, number - last - 1) : UNKNOWN;
    mark_padded(r, first, i, which);
    if (which != UNKNOWN) before = before == UNKNOWN || before == which ? which : MIXED;
    last = number;
    first = i;
  }
  if (last >= 0) mark_padded(r, first, r->groups.n, before);
}

/* Was a folded convolution padded by a call of its own? The calls' numbers may tell. With unlike sides it was. Where odd kernels have such, as TensorFlow pads at a stride, all of that part of the model are that are
 * padded at all; an even one has none that are alike. */
static bool is_padded_by_call(fx_rec *r, const fx_group *g, const mp_node *n) {
  if (!r->uneven_known) count_pads(r);
  for (uint32_t i = 0; !r->uneven_known && i < r->g->node_count; i++) {
    const mp_node *other = &r->g->nodes[i];
    const char *part = is_uneven(other) && is_odd(r, other) ? part_of(r, weight_of(r, other)) : NULL;
    bool known = !part;
    for (size_t k = 0; !known && k < r->uneven.n; k++) known = !strcmp(part, r->uneven.at[k]);
    if (!known) *mp_push(r->a, &r->uneven) = part;
  }
  r->uneven_known = true;
  if (g->padded) return true;
  if (!pads_at_all(n) || strcmp(n->type, "Conv") != 0) return false;
  for (size_t i = 0; i < r->uneven.n; i++)
    if (!strncmp(weight_of(r, n), r->uneven.at[i], strlen(r->uneven.at[i]))) return true;
  return is_uneven(n);
}

/* The node of a batch norm is a convolution (or a Gemm) that it was folded into: there was a call before it, whose result no value holds. */
bool fx_folded_product(fx_rec *r, const fx_group *g, const char *name) {
  const mp_node *n = &r->g->nodes[g->nodes[g->node_count - 1]];
  bool product = FX_ONE_OF(n->type, "Conv", "ConvTranspose", "Gemm");
  if (strncmp(g->call->op, "aten::_native_batch_norm", 24) != 0 || !product || n->ins < 2 || n->in[0] < 0 || n->in[1] < 0) return false;
  int32_t x = r->var_of_value[n->in[0]], out_value = fx_value_output(r, g);
  fx_param *w = param_of_value(r, g, n->in[1], "weight");
  if (x < 0 || !w) return false;
  int64_t dims[MP_RANK] = {0};
  int rank = fx_dims_of_value(r, n->in[1], dims);
  bool flipped = !strcmp(n->type, "Gemm") && !mp_node_int(n, "transB", 0);
  if (flipped && rank != 2) return false;
  w->used = true;
  if (!w->known) fx_give_dims(r, w, r->g->values[n->in[1]].dtype, rank, flipped ? (int64_t[]){dims[1], dims[0]} : dims);
  const char *dot = strrchr(w->spec->target, '.');
  char *path = mp_strndup(r->a, w->spec->target, dot ? (size_t)(dot - w->spec->target) : 0);
  fx_param *bias = NULL;
  for (size_t i = 0; i < r->params.n; i++)
    if (r->params.at[i].spec->target && !strcmp(r->params.at[i].spec->target, mp_format(r->a, "%s%sbias", path, *path ? "." : "")))
      bias = &r->params.at[i];
  int32_t out = fx_result(r, name, out_value, -1);
  const mp_var *shape = mp_builder_at(r->b, out);
  if (bias) {
    bias->used = true;
    if (!bias->known) fx_give_dims(r, bias, shape->dtype, 1, &shape->dims[shape->rank > 1]);
  }
  int32_t wide = is_padded_by_call(r, g, n) ? padded(r, g, n, mp_format(r->a, "%s.padded", name), x, NULL) : -1; /* merged into the convolution before that was folded */
  mp_arg args[9] = {mp_arg_var(wide >= 0 ? wide : x), mp_arg_var(w->var), bias ? mp_arg_var(bias->var) : mp_arg_none()};
  uint32_t count = 3, spatial = rank > 2 ? (uint32_t)rank - 2 : 0;
  const char *op = "aten::linear", *stem = fx_stem(r->a, name);
  mp_arg groups = mp_arg_int(mp_node_int(n, "group", 1));
  if (spatial) {
    op = mp_format(r->a, "aten::%s", stem);
    args[3] = ints_attr(r, n, "strides", spatial, 1);
    args[4] = ints_attr(r, n, wide >= 0 ? "" : "pads", spatial, 0);
    args[5] = ints_attr(r, n, "dilations", spatial, 1);
    args[6] = groups;
    count = 7;
    if (!strcmp(stem, "convolution")) {
      args[6] = mp_arg_bool(!strcmp(n->type, "ConvTranspose"));
      args[7] = ints_attr(r, n, "output_padding", spatial, 0);
      args[8] = groups;
      count = 9;
    }
  }
  fx_module_around(r, g);
  uint32_t call = fx_emit(r, g, op, args, count, mp_builder_module(r->b, path, NULL), &out, 1, true);
  dot = strrchr(path, '.');
  if (g->stack && !strstr(g->stack, mp_format(r->a, ".%s(", dot ? dot + 1 : path))) mp_builder_call_at(r->b, call)->stack = NULL; /* the norm's statement is another: self.bn(self.conv(x)) it is not */
  fx_set(r, name, out);
  return true;
}

/* A convolution whose padding on both sides differs was padded by a call of its own. */
bool fx_merged_pad(fx_rec *r, const fx_group *g, const char *name, const char *stem) {
  const mp_node *n = &r->g->nodes[g->nodes[g->node_count - 1]];
  if (!FX_ONE_OF(stem, "constant_pad_nd", "pad") || strcmp(n->type, "Conv") != 0 || !n->ins || n->in[0] < 0) return false;
  int32_t x = r->var_of_value[n->in[0]];
  if (x < 0) return false;
  const mp_fx_item *own = g->call->arg_count > 4 && g->call->args[4].kind == MP_FX_LIST ? &g->call->args[4] : NULL;
  int32_t out = padded(r, g, n, name, x, own);
  if (out < 0) return false;
  fx_set(r, name, out);
  return true;
}
