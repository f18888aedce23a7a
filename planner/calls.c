/* The table of framework calls: the families' tables joined, found by name. */
#include <string.h>

#include "planner/calls.h"

static const mp_call_table *const tables[] = {
    &mp_calls_point, &mp_calls_binary, &mp_calls_choose, &mp_calls_random, &mp_calls_matrix, &mp_calls_conv, &mp_calls_pool, &mp_calls_norm, &mp_calls_reduce, &mp_calls_order,
    &mp_calls_loss, &mp_calls_create, &mp_calls_rnn, &mp_calls_shape, &mp_calls_copy, &mp_calls_attention,
};

/* Names may come with a trailing underscore (the in-place form, which the call itself says) and with an overload ("aten::add.Tensor"). */
static bool same(const char *row, const char *name, size_t len) { return !strncmp(row, name, len) && !row[len]; }

static const mp_call_row *find(const char *name, size_t len) {
  for (uint32_t t = 0; t < MP_COUNT(tables); t++)
    for (uint32_t k = 0; k < tables[t]->count; k++)
      if (same(tables[t]->rows[k].name, name, len)) return &tables[t]->rows[k];
  return NULL;
}

const mp_call_row *mp_call_find(const char *name) {
  size_t len = strcspn(name, ".");
  const mp_call_row *r = find(name, len);
  if (!r && len && name[len - 1] == '_') r = find(name, len - 1);
  return r;
}

/* ---- a call that no row claims: results as the file has them; every floating operand is kept and gets a gradient. The program's warnings name it. ---- */

static void unknown_backward(mp_em *e, mp_bw *b) {
  for (int64_t k = 0; k < mp_bw_meta(b)[0]; k++)
    if (mp_bw_wants(b, (uint32_t)k)) mp_bw_give(b, (uint32_t)k, mp_fresh_as(e, "aten::unknown_backward", mp_bw_input(b, (uint32_t)k)));
}
static const mp_grad unknown_grad = {"UnknownBackward0", unknown_backward};

void mp_call_unknown(mp_em *e) {
  const mp_call *c = mp_em_call(e);
  mp_ten in[MP_MAX_SAVED], out[MP_MAX_SAVED];
  uint32_t n = 0, made = 0;
  mp_dtype t = MP_UNDEFINED;
  for (uint32_t i = 0; i < c->arg_count && n < MP_MAX_SAVED; i++)
    if (mp_c_is_ten(e, i)) in[n++] = mp_c_ten(e, i);
    else if (c->args[i].kind == MP_ARG_VARS && c->args[i].n <= MP_MAX_SAVED - n) n += mp_c_tens(e, i, in + n, MP_MAX_SAVED - n);
  for (uint32_t i = 0; i < n; i++)
    if (in[i] >= 0 && t == MP_UNDEFINED && mp_dtype_is_float(mp_em_info(e, in[i])->dtype)) t = mp_em_info(e, in[i])->dtype;
  size_t s = mp_em_enter(e);
  for (uint32_t i = 0; i < c->out_count && made < MP_MAX_SAVED; i++) {
    const mp_var *v = mp_c_out_var(e, i);
    if (!v) continue;
    out[made] = mp_em_new(e, c->row->name, t != MP_UNDEFINED && mp_dtype_is_float(v->dtype) ? t : v->dtype, v->rank, v->dims);
    mp_c_out(e, i, out[made++]);
  }
  if (made && mp_fn_begin(e, &unknown_grad, in, n)) {
    for (uint32_t i = 0; i < n; i++)
      if (in[i] >= 0 && mp_dtype_is_float(mp_em_info(e, in[i])->dtype)) mp_fn_save(e, i, in[i]);
    mp_fn_meta(e, MP_INTS(n));
    for (uint32_t i = 0; i < made; i++) mp_fn_output(e, out[i]);
    mp_fn_end(e);
  }
  mp_em_leave(e, s, MP_NO_TENS);
}

uint32_t mp_call_count(void) {
  uint32_t n = 0;
  for (uint32_t t = 0; t < MP_COUNT(tables); t++) n += tables[t]->count;
  return n;
}

const mp_call_row *mp_call_at(uint32_t i) {
  for (uint32_t t = 0; t < MP_COUNT(tables); t++) {
    if (i < tables[t]->count) return &tables[t]->rows[i];
    i -= tables[t]->count;
  }
  return NULL;
}
