/* Rows of matrix products. */
#include <string.h>

#include "planner/em.h"

static void linear(mp_em *e) { mp_c_out(e, 0, mp_op_linear(e, mp_c_ten(e, 0), mp_c_ten(e, 1), mp_c_ten(e, 2))); }
static void matmul(mp_em *e) { mp_c_out(e, 0, mp_op_matmul(e, mp_c_ten(e, 0), mp_c_ten(e, 1))); }
static void addmm(mp_em *e) { mp_c_out(e, 0, mp_op_addmm(e, mp_c_ten(e, 0), mp_c_ten(e, 1), mp_c_ten(e, 2))); }
static void mm(mp_em *e) { mp_c_out(e, 0, mp_op_mm(e, mp_c_ten(e, 0), mp_c_ten(e, 1))); }
static void bmm(mp_em *e) { mp_c_out(e, 0, mp_op_bmm(e, mp_c_ten(e, 0), mp_c_ten(e, 1))); }
static void mv(mp_em *e) { mp_c_out(e, 0, mp_op_mv(e, mp_c_ten(e, 0), mp_c_ten(e, 1))); }

/* baddbmm(self, batch1, batch2): like bmm with self added in the kernel; FunctionsManual: batch1, batch2, self */
static void back_baddbmm(mp_em *e, mp_bw *b) {
  mp_ten g = mp_bw_grad(b, 0);
  if (mp_bw_wants(b, 1)) mp_bw_give(b, 1, mp_op_bmm(e, g, mp_op_transpose(e, mp_bw_saved(b, 1), 1, 2)));
  if (mp_bw_wants(b, 2)) mp_bw_give(b, 2, mp_op_bmm(e, mp_op_transpose(e, mp_bw_saved(b, 0), 1, 2), g));
  mp_bw_give(b, 0, g);
}
static const mp_grad grad_baddbmm = {"BaddbmmBackward0", back_baddbmm};

static void baddbmm(mp_em *e) {
  mp_ten in[] = {mp_c_ten(e, 0), mp_c_ten(e, 1), mp_c_ten(e, 2)};
  const mp_tensor_info *x = mp_em_info(e, in[1]), *y = mp_em_info(e, in[2]);
  int64_t dims[] = {x->dims[0], x->dims[1], y->dims[2]};
  mp_ten r = mp_em_new(e, "aten::baddbmm", x->dtype, 3, dims);
  if (mp_fn_begin(e, &grad_baddbmm, in, 3)) {
    if (mp_em_needs(e, in[2])) mp_fn_save(e, 0, in[1]);
    if (mp_em_needs(e, in[1])) mp_fn_save(e, 1, in[2]);
    mp_fn_output(e, r);
    mp_fn_end(e);
  }
  mp_c_out(e, 0, r);
}

/* ---- einsum: aten/src/ATen/native/Linear.cpp, einsum and sumproduct_pair ---- */

typedef struct letters { /* of one operand or the result: dimension of each letter, -1 */
  int8_t dim[128];
} letters;

static const char *parse_letters(mp_em *e, const char *s, letters *l, int rank) {
  memset(l->dim, -1, sizeof l->dim);
  int n = 0;
  for (; *s && *s != ',' && *s != '-'; s++) {
    if (*s == ' ') continue;
    bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z');
    if (!letter || l->dim[(unsigned char)*s] >= 0) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: memplan follows equations of plain distinct letters, not '%s'", s);
    l->dim[(unsigned char)*s] = (int8_t)n++;
  }
  if (rank >= 0 && n != rank) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: an operand of rank %d has %d letters; the recovered program is wrong here", rank, n);
  return s;
}

/* x with its dims in the order of `order`, missing ones of size 1 */
static mp_ten arranged(mp_em *e, mp_ten x, const letters *l, const char *order, int n) {
  mp_tensor_info i = *mp_em_info(e, x);
  int64_t perm[MP_RANK];
  int at = 0;
  for (int k = 0; k < n; k++)
    if (l->dim[(unsigned char)order[k]] >= 0) perm[at++] = l->dim[(unsigned char)order[k]];
  for (int k = 0; k < i.rank; k++)
    if (perm[k] != k) {
      x = mp_op_permute(e, x, perm);
      break;
    }
  return x;
}

static int64_t product(const mp_tensor_info *x, const letters *l, const char *of, int n) {
  int64_t p = 1;
  for (int k = 0; k < n; k++) p *= x->dims[l->dim[(unsigned char)of[k]]];
  return p;
}

/* two operands: batch letters in both and the result, m only left, n only right, the rest summed; one bmm */
static mp_ten pair(mp_em *e, mp_ten a, mp_ten b, const letters *la, const letters *lb, const letters *lr, const char *result, int result_rank) {
  char order[4][MP_RANK * 2]; /* batch, left, sum, right */
  int n[4] = {0};
  a = mp_em_autocast(e, a, MP_CAST_HALF);
  b = mp_em_autocast(e, b, MP_CAST_HALF);
  mp_tensor_info x = *mp_em_info(e, a), y = *mp_em_info(e, b);
  for (int c = 0; c < 128; c++) {
    bool in_a = la->dim[c] >= 0, in_b = lb->dim[c] >= 0, in_r = lr->dim[c] >= 0;
    if (!in_a && !in_b) continue;
    int group = in_a && in_b ? (in_r ? 0 : 2) : in_a ? 1 : 3;
    if (!in_r && in_a != in_b) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: letter '%c' is summed over one operand alone; memplan does not follow that", c);
    order[group][n[group]++] = (char)c;
  }
  /* the result's order inside each group */
  for (int g = 0; g < 4; g += g == 1 ? 2 : 1) {
    if (g == 2) continue;
    int at = 0;
    for (int k = 0; k < result_rank; k++) {
      unsigned char c = (unsigned char)result[k];
      bool in_a = la->dim[c] >= 0, in_b = lb->dim[c] >= 0;
      if ((g == 0 && in_a && in_b) || (g == 1 && in_a && !in_b) || (g == 3 && !in_a && in_b)) order[g][at++] = (char)c;
    }
  }
  char left[MP_RANK * 2], right[MP_RANK * 2];
  int nl = n[0] + n[1] + n[2], nr = n[0] + n[2] + n[3];
  memcpy(left, order[0], (size_t)n[0]);
  memcpy(left + n[0], order[1], (size_t)n[1]);
  memcpy(left + n[0] + n[1], order[2], (size_t)n[2]);
  memcpy(right, order[0], (size_t)n[0]);
  memcpy(right + n[0], order[2], (size_t)n[2]);
  memcpy(right + n[0] + n[2], order[3], (size_t)n[3]);
  int64_t batch = product(&x, la, order[0], n[0]), m = product(&x, la, order[1], n[1]), s = product(&x, la, order[2], n[2]), w = product(&y, lb, order[3], n[3]);
  mp_ten l = mp_op_reshape(e, arranged(e, a, la, left, nl), 3, (int64_t[]){batch, m, s});
  mp_ten r = mp_op_reshape(e, arranged(e, b, lb, right, nr), 3, (int64_t[]){batch, s, w});
  mp_ten z = mp_op_bmm(e, l, r);
  int64_t dims[MP_RANK], perm[MP_RANK];
  char got[MP_RANK * 2];
  int rank = 0;
  for (int g = 0; g < 4; g++) {
    if (g == 2) continue;
    for (int k = 0; k < n[g]; k++) {
      unsigned char c = (unsigned char)order[g][k];
      dims[rank] = la->dim[c] >= 0 ? x.dims[la->dim[c]] : y.dims[lb->dim[c]];
      got[rank++] = (char)c;
    }
  }
  z = mp_op_view(e, z, rank, dims);
  bool same = true;
  for (int k = 0; k < rank; k++)
    for (int j = 0; j < rank; j++)
      if (got[j] == result[k]) {
        perm[k] = j;
        same = same && j == k;
      }
  return same ? z : mp_op_permute(e, z, perm);
}

static void einsum(mp_em *e) { /* einsum(equation, tensors) */
  size_t scope = mp_em_enter(e);
  const char *s = mp_c_str(e, 0);
  mp_ten x[MP_RANK];
  uint32_t n = mp_c_tens(e, 1, x, MP_RANK);
  letters in[2], out;
  if (!s || n != 2) mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: memplan follows products of two operands, not of %u", n);
  for (uint32_t k = 0; k < n; k++) {
    s = parse_letters(e, s, &in[k], mp_em_info(e, x[k])->rank);
    if (*s == ',') s++;
  }
  if (s[0] != '-' || s[1] != '>') mp_fail(e->a, MP_BAD_INPUT, "aten::einsum: expected '->' and the result's letters");
  char result[MP_RANK * 2] = {0};
  int rank = 0;
  for (const char *c = s + 2; *c && rank < MP_RANK; c++)
    if (*c != ' ') result[rank++] = *c;
  parse_letters(e, result, &out, rank);
  mp_c_out(e, 0, pair(e, x[0], x[1], &in[0], &in[1], &out, result, rank));
  mp_em_leave(e, scope, NULL, 0);
}

static const mp_call_row rows[] = {
    {"aten::einsum", einsum, MP_CAST_NONE, "both operands, contiguous in (batch, rows, columns): a bmm"},
    {"aten::linear", linear, MP_CAST_HALF, "its input, when the weight is trained; the weight by reference"},
    {"aten::matmul", matmul, MP_CAST_HALF, "each operand whose partner needs a gradient, contiguous (bmm copies what it cannot view as 3-D)"},
    {"aten::addmm", addmm, MP_CAST_HALF, "mat1 and mat2, each when the other needs a gradient"},
    {"aten::mm", mm, MP_CAST_HALF, "each operand whose partner needs a gradient"},
    {"aten::bmm", bmm, MP_CAST_HALF, "each operand whose partner needs a gradient"},
    {"aten::baddbmm", baddbmm, MP_CAST_HALF, "batch1 and batch2, each when the other needs a gradient"},
    {"aten::mv", mv, MP_CAST_HALF, "the matrix and the vector, each when the other needs a gradient"},
};
const mp_call_table mp_calls_matrix = {rows, sizeof rows / sizeof *rows};
