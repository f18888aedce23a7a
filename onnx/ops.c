/* The operator table: the families' tables behind one hash of (domain, operator), each with its rows by rising opset. Made once, then only read. */
#include "onnx/shape.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 2048, SLOTS = 4096 };

static const mp_op_table *const tables[] = {&mp_ops_elementwise, &mp_ops_math, &mp_ops_move, &mp_ops_index, &mp_ops_resize, &mp_ops_nn,   &mp_ops_norm, &mp_ops_matmul, &mp_ops_signal,  &mp_ops_rnn,   &mp_ops_quant,
                                            &mp_ops_seq,  &mp_ops_flow, &mp_ops_loss, &mp_ops_grad, &mp_ops_ml,     &mp_ops_contrib, &mp_ops_fused, &mp_ops_dialect};
static const mp_op *sorted[MAX_ROWS + 1]; /* by domain, operator, opset; NULL ends it */
static uint16_t slots[SLOTS];             /* first row of an operator + 1 */
static uint32_t rows;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int by_name(const mp_op *a, const char *domain, const char *type) {
  int d = strcmp(a->domain, domain);
  return d ? d : strcmp(a->type, type);
}

static int by_row(const void *a, const void *b) {
  const mp_op *x = *(const mp_op *const *)a, *y = *(const mp_op *const *)b;
  int d = by_name(x, y->domain, y->type);
  return d ? d : (x->since > y->since) - (x->since < y->since);
}

static uint32_t slot_of(const char *domain, const char *type) {
  uint32_t h = 2166136261u;
  for (const char *p = domain; *p; p++) h = (h ^ (unsigned char)*p) * 16777619u;
  for (const char *p = type; *p; p++) h = (h ^ (unsigned char)*p) * 16777619u;
  uint32_t i = (h ^ h >> 15) % SLOTS;
  while (slots[i] && by_name(sorted[slots[i] - 1], domain, type)) i = (i + 1) % SLOTS;
  return i;
}

static void make(void) {
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
    for (uint32_t i = 0; i < tables[t]->count && rows < MAX_ROWS; i++) sorted[rows++] = &tables[t]->rows[i];
  qsort(sorted, rows, sizeof *sorted, by_row);
  for (uint32_t i = 0; i < rows; i++)
    if (!i || by_name(sorted[i - 1], sorted[i]->domain, sorted[i]->type)) slots[slot_of(sorted[i]->domain, sorted[i]->type)] = (uint16_t)(i + 1);
}

/* the row that holds for opset; a version older than the operator itself gets its first row: files with a wrong opset_import exist */
static const mp_op *row_for(const char *domain, const char *type, int64_t opset, int64_t *next) {
  pthread_once(&once, make);
  if (strcmp(domain, "ai.onnx") == 0) domain = "";
  uint32_t slot = slots[slot_of(domain, type)];
  *next = INT64_MAX;
  if (!slot) return NULL;
  const mp_op *const *r = &sorted[slot - 1], *found = *r;
  for (r++; *r && by_name(*r, domain, type) == 0; r++) {
    if ((*r)->since > opset) {
      *next = (*r)->since;
      break;
    }
    found = *r;
  }
  return found;
}

const mp_op *mp_op_find(const char *domain, const char *type, int64_t opset) {
  int64_t next;
  return row_for(domain, type, opset, &next);
}

int64_t mp_op_opset(const mp_op *op, int64_t opset) {
  int64_t next;
  if (opset < op->since) return op->since;
  row_for(op->domain, op->type, op->since, &next);
  return opset < next ? opset : next - 1;
}

uint32_t mp_op_count(void) {
  pthread_once(&once, make);
  return rows;
}

void mp_op_row(uint32_t i, const char **domain, const char **type, int64_t *since) {
  pthread_once(&once, make);
  *domain = sorted[i]->domain;
  *type = sorted[i]->type;
  *since = sorted[i]->since;
}
