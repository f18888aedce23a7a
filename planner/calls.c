/* The table of framework calls: the families' tables joined, found by name. */
#include "planner/calls.h"

#include <stdio.h>
#include <string.h>
#include <threads.h>

static const mp_call_table *const tables[] = {
    &mp_calls_point, &mp_calls_binary, &mp_calls_choose, &mp_calls_random, &mp_calls_matrix,    &mp_calls_conv,
    &mp_calls_pool,  &mp_calls_norm,   &mp_calls_reduce, &mp_calls_order,  &mp_calls_loss,      &mp_calls_create,
    &mp_calls_rnn,   &mp_calls_cell,   &mp_calls_shape,  &mp_calls_copy,   &mp_calls_attention, &mp_calls_function,
};

/* PyTorch's second names (torch/_decomp, native_functions.yaml: "alias for"). */
static const struct {
  const char *name, *row;
} aliases[] = {
    {"absolute", "abs"},
    {"negative", "neg"},
    {"fix", "trunc"},
    {"subtract", "sub"},
    {"multiply", "mul"},
    {"divide", "div"},
    {"arccos", "acos"},
    {"arcsin", "asin"},
    {"arctan", "atan"},
    {"arccosh", "acosh"},
    {"arcsinh", "asinh"},
    {"arctanh", "atanh"},
    {"arctan2", "atan2"},
    {"greater", "gt"},
    {"greater_equal", "ge"},
    {"less", "lt"},
    {"less_equal", "le"},
    {"not_equal", "ne"},
    {"concat", "cat"},
    {"concatenate", "cat"},
    {"swapdims", "transpose"},
    {"unsafe_chunk", "chunk"},
    {"unsafe_split", "split"},
    {"unsafe_split_with_sizes", "split_with_sizes"},
    {"log_sigmoid_forward", "log_sigmoid"},
    {"nll_loss2d_forward", "nll_loss2d"},
    {"msort", "sort"},
    {"special_expit", "sigmoid"},
    {"special_erf", "erf"},
    {"special_log1p", "log1p"},
    {"special_logsumexp", "logsumexp"},
};

/* An index of the rows by name, made once: open addressing, two thirds empty. */
enum { SLOTS = 2048 };
static const mp_call_row *slots[SLOTS];
static once_flag indexed = ONCE_FLAG_INIT;

static uint32_t hash_of(const char *s, size_t len) { /* FNV-1a */
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < len; i++) h = (h ^ (uint8_t)s[i]) * 16777619u;
  return h;
}

static void index_rows(void) {
  for (uint32_t i = 0; i < mp_call_count(); i++) {
    const mp_call_row *r = mp_call_at(i);
    uint32_t k = hash_of(r->name, strlen(r->name)) % SLOTS;
    while (slots[k] && strcmp(slots[k]->name, r->name) != 0) k = (k + 1) % SLOTS;
    if (!slots[k]) slots[k] = r;
  }
}

static const mp_call_row *find(const char *name, size_t len) {
  for (uint32_t k = hash_of(name, len) % SLOTS; slots[k]; k = (k + 1) % SLOTS)
    if (!strncmp(slots[k]->name, name, len) && !slots[k]->name[len]) return slots[k];
  return NULL;
}

static const mp_call_row *find_alias(const char *name, size_t len) {
  static const char prefix[] = "aten::";
  size_t skip = sizeof prefix - 1;
  if (len <= skip || strncmp(name, prefix, skip) != 0) return NULL;
  for (uint32_t k = 0; k < MP_COUNT(aliases); k++)
    if (!strncmp(aliases[k].name, name + skip, len - skip) && !aliases[k].name[len - skip]) {
      char full[64];
      int n = snprintf(full, sizeof full, "%s%s", prefix, aliases[k].row);
      return find(full, (size_t)n);
    }
  return NULL;
}

/* Names may come with an overload ("aten::add.Tensor") and with a trailing underscore (the in-place form, which the call itself says). */
const mp_call_row *mp_call_find(const char *name) {
  call_once(&indexed, index_rows);
  size_t len = strcspn(name, ".");
  const mp_call_row *r = find(name, len);
  if (!r) r = find_alias(name, len);
  if (!r && len && name[len - 1] == '_') {
    r = find(name, len - 1);
    if (!r) r = find_alias(name, len - 1);
  }
  return r;
}

/* ---- a call that no row claims: results as the file has them; every floating operand is kept and gets a gradient. The program's warnings name it.
 * ---- */

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
    if (mp_c_is_ten(e, i))
      in[n++] = mp_c_ten(e, i);
    else if (c->args[i].kind == MP_ARG_VARS && c->args[i].n <= MP_MAX_SAVED - n)
      n += mp_c_tens(e, i, in + n, MP_MAX_SAVED - n);
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
