/* Weights that torch.nn.utils makes anew in every forward pass from other parameters of the module, where the export did it once and for all. */
#include "planner/fx.h"

/* the parameter or buffer <module>.<end> that nothing has sized yet */
static fx_param *own(fx_rec *r, const fx_group *g, const char *end) {
  const char *name = mp_format(r->a, "%s%s%s", g->path, *g->path ? "." : "", end);
  for (size_t i = 0; i < r->params.n; i++)
    if (!r->params.at[i].known && r->params.at[i].spec->target && !strcmp(r->params.at[i].spec->target, name)) return &r->params.at[i];
  return NULL;
}

/* those of the first way to name them that the module has all of */
static bool find(fx_rec *r, const fx_group *g, const char *const (*ways)[3], size_t n, fx_param **found) {
  for (size_t k = 0; k < n; k++) {
    bool all = true;
    for (int j = 0; j < 3 && ways[k][j]; j++) all &= (found[j] = own(r, g, ways[k][j])) != NULL;
    if (all) return true;
  }
  return false;
}

static void settle(fx_rec *r, fx_param *p, mp_dtype t, int rank, const int64_t *dims) {
  fx_give_dims(r, p, t, rank, dims);
  p->used = true;
}

/* weight_norm: of the direction and the length. Norms are of the first dimension's rows, as they are unless somebody asked for others. */
static bool weight_norm(fx_rec *r, const fx_group *g, mp_dtype t, int rank, const int64_t *dims, int32_t out) {
  static const char *const ways[][3] = {{"parametrizations.weight.original1", "parametrizations.weight.original0"}, {"weight_v", "weight_g"}};
  fx_param *of[3];
  if (!find(r, g, ways, 2, of)) return false;
  int64_t rows[MP_RANK] = {dims[0]};
  for (int i = 1; i < rank; i++) rows[i] = 1;
  settle(r, of[0], t, rank, dims);
  settle(r, of[1], t, rank, rows);
  fx_emit(r, g, "aten::_weight_norm_interface", (mp_arg[]){mp_arg_var(of[0]->var), mp_arg_var(of[1]->var), mp_arg_int(0)}, 3, fx_module(r, g), &out, 1, false);
  return true;
}

/* spectral_norm: weight / (u . (W v)), with copies of the vectors u and v, which the power iteration before it changes
 * (torch/nn/utils/parametrizations.py, _SpectralNorm.forward; spectral_norm.py, SpectralNorm.compute_weight) */
static bool spectral_norm(fx_rec *r, const fx_group *g, mp_dtype t, int rank, const int64_t *dims, int32_t out) {
  static const char *const ways[][3] = {{"parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v"}, {"weight_orig", "weight_u", "weight_v"}};
  fx_param *of[3];
  if (!find(r, g, ways, 2, of)) return false;
  int64_t matrix[2] = {dims[0], 1};
  for (int i = 1; i < rank; i++) matrix[1] *= dims[i];
  settle(r, of[0], t, rank, dims);
  settle(r, of[1], t, 1, matrix);
  settle(r, of[2], t, 1, matrix + 1);
  int32_t module = fx_module(r, g), w = of[0]->var, u = fx_result_dims(r, "u", t, 1, matrix), v = fx_result_dims(r, "v", t, 1, matrix + 1);
  fx_emit(r, g, "aten::clone", (mp_arg[]){mp_arg_var(of[1]->var)}, 1, module, &u, 1, false);
  fx_emit(r, g, "aten::clone", (mp_arg[]){mp_arg_var(of[2]->var)}, 1, module, &v, 1, false);
  if (rank != 2) {
    w = fx_result_dims(r, "weight_mat", t, 2, matrix);
    fx_emit(r, g, "aten::view", (mp_arg[]){mp_arg_var(of[0]->var), mp_arg_ints(r->a, matrix, 2)}, 2, module, &w, 1, false);
  }
  int32_t product = fx_result_dims(r, "mv", t, 1, matrix), sigma = fx_result_dims(r, "sigma", t, 0, NULL);
  fx_emit(r, g, "aten::mv", (mp_arg[]){mp_arg_var(w), mp_arg_var(v)}, 2, module, &product, 1, false);
  fx_emit(r, g, "aten::dot", (mp_arg[]){mp_arg_var(u), mp_arg_var(product)}, 2, module, &sigma, 1, false);
  fx_emit(r, g, "aten::div", (mp_arg[]){mp_arg_var(of[0]->var), mp_arg_var(sigma)}, 2, module, &out, 1, false);
  return true;
}

bool fx_normed_weight(fx_rec *r, const fx_group *g, const mp_value *v, int rank, const int64_t *dims, int32_t out) {
  if (rank < 2 || (strncmp(g->call->op, "aten::conv", 10) != 0 && strcmp(g->call->op, "aten::linear") != 0)) return false;
  return weight_norm(r, g, v->dtype, rank, dims, out) || spectral_norm(r, g, v->dtype, rank, dims, out);
}
