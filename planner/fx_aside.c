/* Regions that torch.export took out of the program as graphs of their own, and put back: what ran under torch.no_grad, or under an autocast of its own
 * (torch/_export/passes/replace_set_grad_with_hop_pass.py, replace_autocast_with_hop_pass.py). Their calls lost their modules, and their source lines are
 * generated code, which says nothing of Python's variables:
 *
 *     File "<eval_with_key>.42", line 8, in forward
 *       relu_2 = torch.ops.aten.relu.default(batch_norm_3);  batch_norm_3 = None
 *
 * A region under torch.no_grad (a teacher, a momentum encoder) goes by the names of the parameters that it reads (p_fc_weight), one under autocast numbers
 * all that it is given (arg2_1). */
#include <string.h>

#include "planner/fx.h"

static const char *generated(const fx_group *g) { return g->stack ? strstr(g->stack, "<eval_with_key>") : NULL; }

/* is one of the arguments a parameter that the line of code goes by its name for? */
static bool names_parameter(const mp_fx_item *items, uint32_t n, const char *code) {
  for (uint32_t i = 0; i < n; i++) {
    bool parameter = items[i].kind == MP_FX_REF && (!strncmp(items[i].text, "p_", 2) || !strncmp(items[i].text, "b_", 2)) && strstr(code, items[i].text);
    if (parameter || (items[i].kind == MP_FX_LIST && names_parameter(items[i].at, items[i].n, code))) return true;
  }
  return false;
}

void fx_set_aside(fx_rec *r) {
  mp_names *keys = mp_names_new(r->a, 8);
  MP_VEC(bool) without = {0}; /* of each region: does it run without gradients */
  uint32_t *of = mp_alloc_array(r->a, r->groups.n, sizeof *of); /* 1 + the region of each group */
  for (size_t i = 0; i < r->groups.n; i++) {
    const fx_group *g = &r->groups.at[i];
    const char *key = generated(g);
    bool fresh;
    if (!key) continue;
    uint32_t id = mp_names_add(r->a, keys, key, strcspn(key, "\""), &fresh);
    if (fresh) *mp_push(r->a, &without) = false;
    of[i] = 1 + id;
    without.at[id] |= g->call && g->source && names_parameter(g->call->args, g->call->arg_count, g->source);
  }
  for (size_t i = 0; i < r->groups.n; i++) {
    if (!of[i]) continue;
    fx_group *g = &r->groups.at[i];
    g->aside = true;
    g->no_grad = without.at[of[i] - 1];
    g->stack = g->source = NULL;
  }
}
