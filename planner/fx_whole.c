/* Calls that the exporter wrote out as their parts before conversion, though the program ran (and autograd saw) one. A row says which calls in a row,
 * in one module and from one source line, are one. */
#include "planner/fx.h"

typedef struct parts {
  fx_rec *r;
  const fx_group *at[16]; /* NULL: an optional part that is absent */
  const fx_group *last;
  const char *name; /* of the call that they are */
} parts;

struct fx_whole_row {
  const char *name;
  const char *ops;    /* separated by blanks; "div?" may be absent (by 1: removed); "add.Scalar": of that overload; a last "*": all that follows in the module */
  const char *module; /* class that must contain them, or what the source line must hold; NULL: the sequence is clear enough */
  const char *source;
  uint32_t (*arguments)(parts *p, mp_arg *args);
  bool (*fits)(const fx_group *const *at); /* NULL: their operations are enough */
  bool two;                                /* a variance or deviation and a mean (var_mean) */
};

static mp_arg part_arg(parts *p, int part, uint32_t i) {
  const fx_group *g = p->at[part];
  if (!g || i >= g->call->arg_count) return mp_arg_none();
  fx_place place = {.g = g, .arg = i, .rank = -1};
  return fx_arg(p->r, &g->call->args[i], &place);
}

static mp_arg reduction(parts *p, int part) {
  const fx_group *g = p->at[part];
  return mp_arg_int(!g ? 0 : !strcmp(g->call->op, "aten::sum") ? 2 : 1);
}

/* pow mean add rsqrt mul [mul]: rms_norm(x, normalized_shape, weight, eps) */
static uint32_t rms_norm(parts *p, mp_arg *args) {
  args[0] = part_arg(p, 0, 0);
  if (args[0].kind != MP_ARG_VAR) return 0;
  const mp_var *x = mp_builder_at(p->r->b, args[0].as.var);
  mp_arg dims = part_arg(p, 1, 1), weight = mp_arg_none();
  uint32_t n = dims.kind == MP_ARG_INTS && dims.n <= (uint32_t)x->rank ? dims.n : 1;
  args[1] = mp_arg_ints(p->r->a, x->dims + x->rank - n, n);
  for (uint32_t i = 0; p->at[5] && i < p->at[5]->call->arg_count; i++)
    if (p->at[5]->call->args[i].kind == MP_FX_REF && fx_param_named(p->r, p->at[5]->call->args[i].text)) weight = part_arg(p, 5, i);
  args[2] = weight;
  args[3] = part_arg(p, 2, 1);
  return 4;
}

static bool rms_weighted(const fx_group *const *at) {
  for (uint32_t i = 0; i < at[5]->call->arg_count; i++)
    if (at[5]->call->args[i].kind == MP_FX_REF && !strncmp(at[5]->call->args[i].text, "p_", 2)) return true;
  return false;
}

/* linalg_vector_norm div mul: v (g / |v|), which is one call where the norm leaves out the first or the last dimension */
static uint32_t weight_norm(parts *p, mp_arg *args) {
  args[0] = part_arg(p, 0, 0);
  args[1] = part_arg(p, 1, 0);
  args[2] = mp_arg_int(0); /* which of the two makes no difference */
  return 3;
}

static bool norms_a_parameter(const fx_group *const *at) {
  const mp_fx_call *c = at[0]->call;
  if (c->arg_count < 4 || c->args[0].kind != MP_FX_REF || strncmp(c->args[0].text, "p_", 2) != 0 || c->args[2].kind != MP_FX_LIST) return false;
  bool first = false; /* is dimension 0 reduced, with one between it and the last left out? */
  for (uint32_t i = 0; i < c->args[2].n; i++) first |= c->args[2].at[i].i == 0;
  int64_t last = c->args[2].n ? c->args[2].at[c->args[2].n - 1].i : 0;
  return !first || last == (int64_t)c->args[2].n - 1;
}

/* sub mul log_sigmoid sub mean: (1 - y) x - log sigmoid(x) */
static uint32_t bce_with_logits(parts *p, mp_arg *args) {
  args[0] = part_arg(p, 2, 0);
  args[1] = part_arg(p, 0, 1);
  args[2] = args[3] = mp_arg_none();
  args[4] = reduction(p, 4);
  return 5;
}

/* sub neg log1p maximum mul log maximum mul sub mean */
static uint32_t bce(parts *p, mp_arg *args) {
  args[0] = part_arg(p, 1, 0);
  args[1] = part_arg(p, 0, 0);
  args[2] = mp_arg_none();
  args[3] = reduction(p, 9);
  return 4;
}

/* mul xlogy sub sum: the target's own entropy less target * x */
static uint32_t kl_div(parts *p, mp_arg *args) {
  args[0] = part_arg(p, 0, 1);
  args[1] = part_arg(p, 0, 0);
  args[2] = reduction(p, 3);
  return 3;
}

/* sub abs lt ... where mean: x, y, reduction, beta or delta */
static uint32_t smooth(parts *p, mp_arg *args) {
  args[0] = part_arg(p, 0, 0);
  args[1] = part_arg(p, 0, 1);
  args[2] = reduction(p, 8);
  args[3] = part_arg(p, 2, 1);
  return 4;
}

/* index [masked_fill ... div] in the pooling module, index mean in a forward that calls the function: adaptive_avg_pool2d whose windows differ in
 * size */
static uint32_t adaptive_avg_pool(parts *p, mp_arg *args) {
  int64_t dims[MP_RANK] = {0};
  fx_place place = {.g = p->at[0], .rank = -1};
  int rank = fx_dims_of_value(p->r, fx_value_output(p->r, p->last), dims);
  args[0] = fx_arg(p->r, &p->at[0]->call->args[0], &place);
  args[1] = mp_arg_ints(p->r->a, dims + rank - 2, 2);
  return 2;
}

/* is it windows of the last two dimensions that are gathered: index(x, [None, None, rows, columns]) */
static bool gathers_windows(const fx_group *const *at) {
  const fx_group *g = at[0];
  if (g->call->arg_count < 2 || g->call->args[1].kind != MP_FX_LIST || g->call->args[1].n != 4) return false;
  const mp_fx_item *i = g->call->args[1].at;
  return i[0].kind == MP_FX_NONE && i[1].kind == MP_FX_NONE && i[2].kind == MP_FX_REF && i[3].kind == MP_FX_REF;
}

/* a mean as torch.var_mean is written out: prims::sum over as many */
static bool takes_var_mean(const fx_group *const *at) { return !strcmp(at[2]->call->op, "prims::sum"); }
static bool takes_std_mean(const fx_group *const *at) { /* the root is that of the variance */
  const mp_fx_item *of = at[5]->call->args;
  const char *name = (at[1] ? at[1] : at[0])->call->name;
  return takes_var_mean(at) && at[5]->call->arg_count && of->kind == MP_FX_REF && !strcmp(of->text, name);
}

/* var [broadcast_in_dim] [sum [broadcast_in_dim] div] [sqrt]: x, dims, correction, keepdim */
static uint32_t variance(parts *p, mp_arg *args) {
  for (uint32_t i = 0; i < 3; i++) args[i] = part_arg(p, 0, i);
  args[3] = mp_arg_bool(p->at[1] != NULL);
  return 4;
}

/* pow sum pow sum mul cat cat transpose matmul clamp_min sqrt: the rows of x1 and of x2 */
static uint32_t euclidean_dist(parts *p, mp_arg *args) {
  args[0] = part_arg(p, 0, 0);
  args[1] = part_arg(p, 3, 0);
  return 2;
}

/* the operand, and where there is one the limit that the second part compares with */
static uint32_t shrink(parts *p, mp_arg *args) {
  args[0] = part_arg(p, 0, 0);
  args[1] = part_arg(p, 1, 1);
  return 2;
}
static uint32_t operand(parts *p, mp_arg *args) {
  args[0] = part_arg(p, 0, 0);
  return 1;
}
static uint32_t nansum(parts *p, mp_arg *args) {
  args[0] = part_arg(p, 0, 0);
  args[1] = part_arg(p, 2, 1);
  args[2] = part_arg(p, 2, 2);
  return 3;
}

/* the operand and the size of the last dimensions that the last part makes: of pooling, of resampling */
static uint32_t to_size(parts *p, mp_arg *args) {
  int64_t dims[MP_RANK] = {0};
  int rank = fx_dims_of_value(p->r, fx_value_output(p->r, p->last), dims);
  int n = strchr(p->name, '1') ? 1 : strchr(p->name, '3') ? 3 : 2;
  args[0] = part_arg(p, 0, 0);
  args[1] = mp_arg_ints(p->r->a, dims + (rank > n ? rank - n : 0), (uint32_t)(rank > n ? n : rank));
  return 2;
}

/* ne where unsqueeze gather squeeze neg where sum _to_copy sum div: what is picked of x, where the target is not to be ignored */
static uint32_t nll_loss2d(parts *p, mp_arg *args) {
  args[0] = part_arg(p, 3, 0);
  args[1] = part_arg(p, 0, 0);
  args[2] = mp_arg_none();
  args[3] = mp_arg_int(1);
  args[4] = part_arg(p, 0, 1);
  return 5;
}

/* sub mul log_sigmoid sub mul mean: the loss of each, times a weight */
static uint32_t bce_weighted(parts *p, mp_arg *args) {
  bce_with_logits(p, args);
  args[2] = part_arg(p, 4, 1);
  args[4] = reduction(p, 5);
  return 5;
}

/* [sub] mul add sub mul log_sigmoid mul sub mean: (1 - y) x - (1 + (w - 1) y) log sigmoid(x); w - 1 is done at export where w is a constant */
static uint32_t bce_pos_weight(parts *p, mp_arg *args) {
  int first = !strcmp(p->at[0]->call->op, "aten::sub");
  args[0] = part_arg(p, first + 4, 0);
  args[1] = part_arg(p, first + 2, 1);
  args[2] = mp_arg_none();
  args[3] = part_arg(p, 0, 0);
  args[4] = reduction(p, first + 7);
  return 5;
}

/* add view new_zeros view view _unsafe_index_put view: values to the places that a pooling took them from */
static uint32_t max_unpool(parts *p, mp_arg *args) {
  int64_t dims[MP_RANK] = {0};
  int rank = fx_dims_of_value(p->r, fx_value_output(p->r, p->last), dims);
  args[0] = part_arg(p, 4, 0);
  args[1] = part_arg(p, 0, 0);
  args[2] = mp_arg_ints(p->r->a, dims + (rank > 2 ? rank - 2 : 0), rank > 2 ? 2 : (uint32_t)rank);
  return 3;
}

static bool of_rank(const fx_group *g, uint32_t n) { return g->call->arg_count > 1 && g->call->args[1].kind == MP_FX_LIST && g->call->args[1].n == n; }
static bool takes_points(const fx_group *const *at) { return of_rank(at[0], 3); }
static bool takes_pixels(const fx_group *const *at) { return of_rank(at[0], 4); }

/* x of x.expand(..), which the call does itself */
static mp_arg before_expand(parts *p, mp_arg x) {
  int32_t call = x.kind == MP_ARG_VAR ? mp_builder_at(p->r->b, x.as.var)->call : -1;
  const mp_call *c = call < 0 ? NULL : mp_builder_call_at(p->r->b, (uint32_t)call);
  return c && !strcmp(c->row->name, "aten::expand") && c->arg_count && c->args[0].kind == MP_ARG_VAR ? c->args[0] : x;
}

/* linalg_vector_norm linalg_vector_norm clamp_min clamp_min div div mul sum: of x1 and x2, over one dimension */
static uint32_t cosine_similarity(parts *p, mp_arg *args) {
  mp_arg dims = part_arg(p, 7, 1);
  args[0] = before_expand(p, part_arg(p, 0, 0));
  args[1] = before_expand(p, part_arg(p, 1, 0));
  args[2] = mp_arg_int(dims.kind == MP_ARG_INTS && dims.n ? dims.as.ints[0] : 1);
  args[3] = part_arg(p, 2, 1);
  return 4;
}

/* does the choice take a number that the exporter made a tensor of? A program's own would be one already */
static bool chooses_number(const fx_group *g) {
  return g->call->arg_count == 3 && g->call->args[1].kind == MP_FX_REF && !strncmp(g->call->args[1].text, "scalar_tensor", strlen("scalar_tensor"));
}
static bool shrinks(const fx_group *const *at) { return chooses_number(at[2]); }
static bool sums_numbers(const fx_group *const *at) { return chooses_number(at[1]); }

static const fx_whole_row rows[] = {
    {"aten::rms_norm", "pow mean add.Scalar rsqrt mul mul", NULL, NULL, rms_norm, rms_weighted, false},
    {"aten::rms_norm", "pow mean add.Scalar rsqrt mul", NULL, NULL, rms_norm, NULL, false},
    {"aten::rms_norm", "pow mean add rsqrt mul mul", "torch.nn.modules.normalization.RMSNorm", "rms_norm(", rms_norm, NULL, false},
    {"aten::rms_norm", "pow mean add rsqrt mul", "torch.nn.modules.normalization.RMSNorm", "rms_norm(", rms_norm, NULL, false},
    {"aten::_weight_norm_interface", "linalg_vector_norm div mul", NULL, NULL, weight_norm, norms_a_parameter, false},
    {"aten::binary_cross_entropy_with_logits", "sub mul log_sigmoid sub mean|sum", NULL, NULL, bce_with_logits, NULL, false},
    {"aten::binary_cross_entropy", "sub neg log1p maximum mul log maximum mul sub mean|sum", NULL, NULL, bce, NULL, false},
    {"aten::kl_div", "mul xlogy sub mean|sum", NULL, NULL, kl_div, NULL, false},
    {"aten::smooth_l1_loss", "sub abs lt pow mul div? sub where mean|sum", NULL, NULL, smooth, NULL, false},
    {"aten::huber_loss", "sub abs lt mul mul sub mul? where mean|sum", NULL, NULL, smooth, NULL, false},
    {"aten::std_mean", "var broadcast_in_dim? sum broadcast_in_dim? div sqrt", NULL, NULL, variance, takes_std_mean, true},
    {"aten::var_mean", "var broadcast_in_dim? sum broadcast_in_dim? div", NULL, NULL, variance, takes_var_mean, true},
    {"aten::std", "var broadcast_in_dim? sqrt", NULL, NULL, variance, NULL, false},
    {"aten::var", "var broadcast_in_dim?", NULL, NULL, variance, NULL, false},
    {"aten::_euclidean_dist", "pow sum ones_like? pow sum ones_like? mul cat cat transpose matmul clamp_min sqrt", NULL, NULL, euclidean_dist, NULL, false},
    {"aten::cosine_similarity", "linalg_vector_norm linalg_vector_norm clamp_min clamp_min div div mul sum", NULL, NULL, cosine_similarity, NULL, false},
    {"aten::hardshrink", "abs le where", NULL, NULL, shrink, shrinks, false},
    {"aten::softshrink", "abs gt sign mul sub mul where", NULL, NULL, shrink, NULL, false},
    {"aten::threshold", "le where", ".Threshold", "threshold(", operand, NULL, false},
    {"aten::nan_to_num", "isnan where isneginf where isposinf where", NULL, NULL, operand, NULL, false},
    {"aten::nansum", "isnan where sum", NULL, NULL, nansum, sums_numbers, false},
    {"aten::binary_cross_entropy_with_logits", "sub mul log_sigmoid sub mul mean|sum", NULL, NULL, bce_weighted, NULL, false},
    {"aten::binary_cross_entropy_with_logits", "sub mul add sub mul log_sigmoid mul sub mean|sum", NULL, NULL, bce_pos_weight, NULL, false},
    {"aten::binary_cross_entropy_with_logits", "mul add sub mul log_sigmoid mul sub mean|sum", NULL, NULL, bce_pos_weight, NULL, false},
    {"aten::nll_loss2d", "ne where unsqueeze gather squeeze neg where sum _to_copy sum div", NULL, NULL, nll_loss2d, NULL, false},
    {"aten::upsample_linear1d", "_unsafe_index _unsafe_index sub mul add", NULL, NULL, to_size, takes_points, false},
    {"aten::_upsample_nearest_exact1d", "_unsafe_index", NULL, NULL, to_size, takes_points, false},
    {"aten::_upsample_nearest_exact2d", "_unsafe_index", NULL, NULL, to_size, takes_pixels, false},
    {"aten::adaptive_max_pool1d", "amax", ".AdaptiveMaxPool1d", "adaptive_max_pool1d(", to_size, NULL, false},
    {"aten::adaptive_max_pool2d", "amax", ".AdaptiveMaxPool2d", "adaptive_max_pool2d(", to_size, NULL, false},
    {"aten::max_unpool2d", "add view new_zeros view view _unsafe_index_put view", NULL, NULL, max_unpool, NULL, false},
    {"aten::adaptive_avg_pool2d", "index *", ".AdaptiveAvgPool2d", "adaptive_avg_pool2d(", adaptive_avg_pool, gathers_windows, false},
    {"aten::adaptive_avg_pool2d", "index mean", NULL, NULL, adaptive_avg_pool, gathers_windows, false},
};

bool fx_whole_at(uint32_t i, const char **call, const char **ops) {
  if (i >= sizeof rows / sizeof *rows) return false;
  *call = rows[i].name;
  *ops = rows[i].ops;
  return true;
}

static bool same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

/* is the group the operation that the pattern's word names: "mean|sum", "div?" */
static bool is_op(const fx_group *g, const char *word, size_t n) {
  const char *op = g->call ? strstr(g->call->op, "::") : NULL;
  if (!op || (strncmp(g->call->op, "aten::", 6) != 0 && strncmp(g->call->op, "prims::", 7) != 0)) return false;
  op += 2;
  const char *dot = memchr(word, '.', n);
  if (dot && (strlen(g->call->overload) != (size_t)(word + n - dot - 1) || strncmp(g->call->overload, dot + 1, strlen(g->call->overload)) != 0)) return false;
  if (dot) n = (size_t)(dot - word);
  size_t len = strlen(op);
  for (const char *p = word, *end = word + n; p < end;) {
    const char *stop = p;
    while (stop < end && *stop != '|' && *stop != '?') stop++;
    if ((size_t)(stop - p) == len && !strncmp(p, op, len)) return true;
    p = stop + 1;
  }
  return false;
}

/* parts of the exporter's own making between those of the pattern */
static bool between(const fx_group *g) {
  return !g->call || !strcmp(g->call->op, "prims::convert_element_type") || !strcmp(g->call->op, "aten::scalar_tensor");
}

/* Groups from `first` that the row describes: how many, with `members` filled; 0 when it does not fit. */
static uint32_t match(const fx_rec *r, size_t first, const fx_whole_row *row, const fx_group **members) {
  const fx_group *head = &r->groups.at[first];
  bool hinted = !row->module || (head->type && strstr(head->type, row->module)) || (head->source && strstr(head->source, row->source));
  if (!hinted || !is_op(head, row->ops, strcspn(row->ops, " "))) return 0;
  size_t i = first, end = first; /* behind the last part */
  uint32_t k = 0;
  for (const char *p = row->ops; *p;) {
    size_t n = strcspn(p, " ");
    bool optional = p[n - 1] == '?';
    if (*p == '*') {
      if (row->fits && !row->fits(members)) return 0;
      while (i < r->groups.n && !strcmp(r->groups.at[i].path, head->path) && same_text(r->groups.at[i].type, head->type)) i++;
      return (uint32_t)(i - first);
    }
    while (i > first && i < r->groups.n && between(&r->groups.at[i])) i++;
    const fx_group *g = i < r->groups.n ? &r->groups.at[i] : NULL;
    bool fits = g && !g->whole && !g->dropped && is_op(g, p, n) && same_text(g->path, head->path) && same_text(g->stack, head->stack);
    if (!fits && !optional) return 0;
    members[k++] = fits ? g : NULL;
    i += fits;
    if (fits) end = i;
    p += n + (p[n] == ' ');
  }
  return !row->fits || row->fits(members) ? (uint32_t)(end - first) : 0;
}

void fx_make_whole(fx_rec *r) {
  for (size_t i = 0; i < r->groups.n; i++)
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
      const fx_group *members[16];
      uint32_t n = r->groups.at[i].call && !r->groups.at[i].dropped ? match(r, i, &rows[k], members) : 0;
      if (!n) continue;
      for (uint32_t j = 0; j + 1 < n; j++) r->groups.at[i + j].dropped = true;
      r->groups.at[i + n - 1].whole = &rows[k];
      r->groups.at[i + n - 1].whole_first = (uint32_t)i;
      break;
    }
}

void fx_emit_whole(fx_rec *r, const fx_group *g) {
  parts p = {.r = r};
  mp_arg args[FX_MAX_ARGS] = {0};
  for (size_t j = g->whole_first; &r->groups.at[j] <= g; j++) r->groups.at[j].dropped = false; /* to match once more */
  fx_group last = *g, all = *g;
  p.last = g;
  p.name = last.whole->name;
  r->groups.at[g - r->groups.at].whole = NULL;
  if (!match(r, g->whole_first, last.whole, p.at)) { /* names that another call has, too */
    r->unsound = mp_format(r->a, "%s of %s", last.whole->name, last.call->name);
    return;
  }
  uint32_t n = last.whole->arguments(&p, args);
  all.nodes = NULL;
  all.node_count = all.cap = 0;
  for (size_t j = g->whole_first; &r->groups.at[j] <= g; j++)
    for (uint32_t k = 0; k < r->groups.at[j].node_count; k++) fx_add_node(r, &all, r->groups.at[j].nodes[k]);
  const fx_group *results[] = {g, g};
  if (last.whole->two) {
    results[0] = !strcmp(last.whole->name, "aten::std_mean") ? p.at[5] : p.at[1] ? p.at[1] : p.at[0];
    results[1] = p.at[4];
  }
  int32_t outs[2];
  uint32_t count = last.whole->two ? 2 : 1;
  for (uint32_t k = 0; k < count; k++) {
    int32_t value = fx_value_output(r, results[k]);
    outs[k] = fx_result(r, results[k]->call->name, value, value);
  }
  fx_emit(r, &all, last.whole->name, args, n, fx_module(r, g), outs, count, true);
  for (uint32_t k = 0; k < count; k++) fx_set(r, results[k]->call->name, outs[k]);
}
