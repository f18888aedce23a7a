/* Parameters that no call names: the exporter computed what was made of them and left the result. Where the file has another module of the same class that still has
 * its own (what is large is not folded), theirs follow from it: dims that differ between parameters which both have map the one module's sizes to the other's. */
#include <string.h>

#include "planner/fx.h"

typedef struct module_class {
  const char *path, *type;
} module_class;

typedef struct sizes { /* from a dimension of the model module to one of ours */
  int64_t from[16], to[16];
  uint32_t n;
} sizes;

static uint32_t classes(fx_rec *r, const module_class **list) {
  MP_VEC(module_class) v = {0};
  mp_names *seen = mp_names_new(r->a, 64);
  for (size_t i = 0; i < r->groups.n; i++) {
    const fx_group *g = &r->groups.at[i];
    bool fresh = false;
    if (!g->path || !*g->path || !g->type) continue;
    mp_names_add(r->a, seen, g->path, strlen(g->path), &fresh);
    if (fresh) *mp_push(r->a, &v) = (module_class){g->path, g->type};
  }
  *list = v.at;
  return (uint32_t)v.n;
}

/* what a name is called inside a module; NULL: it is not inside */
static const char *inside(const char *path, const char *target) {
  size_t n = strlen(path);
  return target && !strncmp(path, target, n) && target[n] == '.' ? target + n + 1 : NULL;
}

static fx_param *known_as(fx_rec *r, const char *path, const char *leaf) {
  for (size_t i = 0; i < r->params.n; i++) {
    fx_param *p = &r->params.at[i];
    const char *name = inside(path, p->spec->target);
    if (name && p->known && !strcmp(name, leaf)) return p;
  }
  return NULL;
}

/* false: the same size stands for two */
static bool relate(sizes *s, int64_t from, int64_t to) {
  for (uint32_t i = 0; i < s->n; i++)
    if (s->from[i] == from) return s->to[i] == to;
  if (s->n == MP_RANK * 2) return false;
  s->from[s->n] = from;
  s->to[s->n++] = to;
  return true;
}

static bool relate_modules(fx_rec *r, const char *ours, const char *other, sizes *s) {
  s->n = 0;
  for (size_t i = 0; i < r->params.n; i++) {
    const fx_param *p = &r->params.at[i];
    const char *leaf = p->known ? inside(ours, p->spec->target) : NULL;
    const fx_param *q = leaf ? known_as(r, other, leaf) : NULL;
    if (!q) continue;
    const mp_var *x = mp_builder_at(r->b, p->var), *y = mp_builder_at(r->b, q->var);
    if (x->rank != y->rank) return false;
    for (int k = 0; k < x->rank; k++)
      if (!relate(s, y->dims[k], x->dims[k])) return false;
  }
  return s->n > 0;
}

static bool mapped(const sizes *s, int64_t from, int64_t *to) {
  for (uint32_t i = 0; i < s->n; i++)
    if (s->from[i] == from) return *to = s->to[i], true;
  return false;
}

static bool size_like(fx_rec *r, fx_param *p, const fx_param *model, const sizes *s) {
  const mp_var v = *mp_builder_at(r->b, model->var);
  int64_t dims[MP_RANK] = {0};
  for (int k = 0; k < v.rank; k++)
    if (!mapped(s, v.dims[k], &dims[k])) return false;
  fx_give_dims(r, p, v.dtype, v.rank, dims);
  return true;
}

static bool is_forgotten(fx_rec *r, const fx_param *p) { return p->spec->target && !p->known && !fx_uses(r, p->spec->name) && !fx_twin_of(r, p); } /* one that its module reads another for is tied */

void fx_size_by_analogy(fx_rec *r) {
  const module_class *list = NULL;
  uint32_t n = UINT32_MAX;
  for (size_t i = 0; i < r->params.n; i++) {
    fx_param *p = &r->params.at[i];
    if (!is_forgotten(r, p)) continue;
    if (n == UINT32_MAX) n = classes(r, &list);
    for (uint32_t m = 0; m < n && !p->known; m++) {
      const char *leaf = inside(list[m].path, p->spec->target);
      if (!leaf || strchr(leaf, '.')) continue;
      for (uint32_t k = 0; k < n && !p->known; k++) {
        sizes s;
        const fx_param *model = k != m && !strcmp(list[k].type, list[m].type) ? known_as(r, list[k].path, leaf) : NULL;
        if (model && relate_modules(r, list[m].path, list[k].path, &s) && size_like(r, p, model, &s)) fx_note(r, &r->likened, p->spec->target);
      }
    }
  }
}
