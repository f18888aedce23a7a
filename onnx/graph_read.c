/* Small helpers for those who read a graph. */
#include <string.h>

#include "onnx/onnx.h"

const mp_attr *mp_node_attr(const mp_node *n, const char *name) {
  for (int i = 0; i < n->attrs; i++)
    if (!strcmp(n->attr[i].name, name)) return &n->attr[i];
  return NULL;
}

int64_t mp_node_int(const mp_node *n, const char *name, int64_t otherwise) {
  const mp_attr *a = mp_node_attr(n, name);
  return a && a->kind == MP_ATTR_INT ? a->as.i : otherwise;
}

double mp_node_float(const mp_node *n, const char *name, double otherwise) {
  const mp_attr *a = mp_node_attr(n, name);
  return a && a->kind == MP_ATTR_FLOAT ? a->as.f : otherwise;
}

static const char *find(const mp_kv *kv, uint32_t n, const char *key) {
  for (uint32_t i = 0; i < n; i++)
    if (!strcmp(kv[i].key, key)) return kv[i].value;
  return NULL;
}

const char *mp_node_meta(const mp_node *n, const char *key) { return find(n->meta, n->metas, key); }
const char *mp_graph_meta(const mp_graph *g, const char *key) { return find(g->meta, g->metas, key); }

bool mp_value_elements(const mp_value *v, uint64_t *elements) {
  uint64_t n = 1;
  bool fits = true, zero = false;
  if (v->rank < 0) return false;
  for (int i = 0; i < v->rank; i++) {
    if (!mp_int_is_number(v->dims[i]) || v->dims[i].n < 0) return false;
    zero |= !v->dims[i].n;
    fits = fits && mp_mul_u64(n, (uint64_t)v->dims[i].n, &n);
  }
  *elements = zero ? 0 : n;
  return zero || fits;
}
