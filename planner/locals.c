/* When Python lets go of a value. The file says what is read by whom, not which local variable holds what; three rules of Python and nn.Module bound
 * it:
 *
 *   arguments   nn.Module's call holds the arguments of a module until its forward returns: a value made outside of a module and read inside lives to
 *               the module's end.
 *   results     what a module makes and others read is its result, and belongs to the frame that called it.
 *   locals      a frame holds a value until the variable is assigned anew or the frame returns (locals_source.c reads which). Where the file has no
 *               source lines, `x = f(x)` is assumed: a value whose last reader works on it alone dies with that reader (when it is a module: with its
 *               return). A value that meets another of its size there (`x + residual`) is a variable of its own, and so are one that two modules are
 *               given and logits on their way to a loss: they stay until the frame returns, or until the next turn of a loop makes their successor.
 *
 * A value that nothing reads dies at once. Outputs of the model live to the end of the step. */
#include <string.h>

#include "planner/inside.h"

#define FARTHEST 1000 /* modules that are looked through for another layer */

typedef struct context {
  mp_var *vars;
  const mp_call *calls;
  const mp_instance *instances;
  uint32_t instance_count;
  int8_t *layer; /* of each instance: 1: a layer, -1: none, 0: not known yet */
  int32_t *first, *last; /* of each variable: the calls that read it first and last, -1 */
  const mp_sources *sources;
  int32_t last_call;
} context;

static bool within(const context *x, int32_t module, int32_t outer) {
  for (; module >= 0; module = x->instances[module].parent)
    if (module == outer) return true;
  return false;
}

static void note_reader(context *x, int32_t var, int32_t call) {
  if (var < 0) return;
  if (x->last[var] < call) x->last[var] = call;
  if (x->first[var] < 0) x->first[var] = call;
}

/* The frame that holds the value: the maker's module, or one around it as far out as some reader is. */
static int32_t owner_of(const context *x, int32_t var) {
  int32_t m = x->calls[x->vars[var].call].module;
  int32_t reader = x->calls[x->last[var]].module;
  while (m >= 0 && !within(x, reader, m)) m = x->instances[m].parent;
  /* a module made of one call hands its result out even when it is the last to touch it */
  return m < 0 ? 0 : m;
}

/* The call after which the frame `owner` has back what call `reader` gives: the end of the module that it runs in, one level below the owner. */
static int32_t return_of(const context *x, int32_t owner, int32_t reader) {
  int32_t m = x->calls[reader].module, below = -1;
  for (; m >= 0 && m != owner; m = x->instances[m].parent) below = m;
  return below >= 0 && m == owner ? (int32_t)x->instances[below].end - 1 : reader;
}

static int64_t elements(const mp_var *v) {
  int64_t n = 1;
  for (int i = 0; i < v->rank; i++) n *= v->dims[i];
  return n;
}

/* Does the call read another computed value of at least this size beside `var`? */
static bool meets_another(const context *x, const mp_call *c, int32_t var, bool loose) {
  for (uint32_t i = 0; i < c->arg_count; i++) {
    const mp_arg *a = &c->args[i];
    uint32_t n = a->kind == MP_ARG_VARS ? a->n : a->kind == MP_ARG_VAR ? 1 : 0;
    for (uint32_t k = 0; k < n; k++) {
      int32_t other = a->kind == MP_ARG_VARS ? a->as.vars[k] : a->as.var;
      if (other >= 0 && other != var && x->vars[other].role == MP_ROLE_RESULT && (loose || elements(&x->vars[other]) >= elements(&x->vars[var])))
        return true;
    }
  }
  return false;
}

static bool named(const mp_call *c, const char *name) { return !strcmp(c->row->name, name); }

/* attention's probabilities, which are a softmax's result behind casts and a dropout, where the call multiplies them with the values; else -1 */
static int32_t probabilities_of(const context *x, int32_t call) {
  const mp_call *c = &x->calls[call];
  if ((!named(c, "aten::matmul") && !named(c, "aten::bmm")) || !c->arg_count || c->args[0].kind != MP_ARG_VAR || x->vars[c->args[0].as.var].call < 0) return -1;
  const mp_call *m = &x->calls[x->vars[c->args[0].as.var].call];
  for (int step = 0; step < 2 && (named(m, "aten::dropout") || named(m, "aten::native_dropout") || named(m, "aten::to") || named(m, "aten::type_as"));
       step++) {
    int32_t from = m->arg_count && m->args[0].kind == MP_ARG_VAR ? x->vars[m->args[0].as.var].call : -1;
    if (from < 0) return -1;
    m = &x->calls[from];
  }
  return named(m, "aten::softmax") ? c->args[0].as.var : -1;
}

/* Is the module another member of the list of module `of`, with parts of the same names? */
static bool is_fellow(const context *x, int32_t of, int32_t i) {
  const mp_instance *a = &x->instances[of], *b = &x->instances[i];
  if (a->parent != b->parent || !mp_in_one_list(a->path, b->path)) return false;
  int32_t k = i + 1, last = (int32_t)x->instance_count;
  for (int32_t j = of + 1; j < last && x->instances[j].parent >= of; j++) {
    if (x->instances[j].parent != of) continue;
    while (k < last && x->instances[k].parent != i && x->instances[k].parent >= i) k++;
    if (k >= last || x->instances[k].parent != i || strcmp(x->instances[j].path + strlen(a->path), x->instances[k].path + strlen(b->path)) != 0) return false;
    k++;
  }
  return true;
}

/* a layer: a member of a list whose next or last member has the same parts; the sublayers of one layer may be a list, too (T5) */
static bool is_layer(context *x, int32_t i) {
  if (x->layer[i]) return x->layer[i] > 0;
  bool found = false;
  for (int32_t k = i + 1; !found && k < (int32_t)x->instance_count && k - i < FARTHEST && x->instances[k].parent >= x->instances[i].parent; k++) found = is_fellow(x, i, k);
  for (int32_t k = i - 1; !found && k > x->instances[i].parent && i - k < FARTHEST; k--) found = is_fellow(x, i, k);
  x->layer[i] = found ? 1 : -1;
  return found;
}

/* Attention that is written out returns its probabilities beside its result, as transformers has it, and the modules around it hold both: those that
 * take several values from it (`y, _ = self.attention(x)`), where the file has source lines, else all up to the layer. A layer's next attention takes
 * their variable.
 * -> the call after which they go, -1 */
static int32_t layer_of_probabilities(context *x, int32_t var, int32_t reader) {
  if (probabilities_of(x, reader) != var) return -1;
  const char *type = x->calls[reader].source || x->calls[reader].module < 0 ? NULL : x->instances[x->calls[reader].module].type;
  if (type && strncmp(type, "transformers.", strlen("transformers.")) != 0) return -1;
  int32_t holder = -1, taken = -1;
  for (int32_t i = x->calls[reader].module; i > 0; i = x->instances[i].parent) {
    if (taken >= 0 && mp_source_targets(x->sources, i, reader) == 1) {
      holder = taken;
      break;
    }
    taken = i;
    if (!mp_is_member(x->instances[i].path)) continue;
    bool layer = is_layer(x, i);
    if (holder < 0 || layer) holder = i; /* a model of one layer has no other to compare it with */
    if (layer) break;
  }
  if (holder < 0) return -1;
  int32_t end = (int32_t)x->instances[holder].end - 1;
  for (int32_t c = reader + 1; c <= end; c++)
    if (probabilities_of(x, c) >= 0) return return_of(x, holder, c);
  return end;
}

static bool elementwise(const mp_call *c) {
  static const char *const names[] = {"aten::add", "aten::sub",  "aten::mul", "aten::div",     "aten::pow",
                                      "aten::neg", "aten::rsub", "aten::exp", "aten::sigmoid", "aten::tanh"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (named(c, names[i])) return true;
  return false;
}

/* `x = merge(cat([skip, x]))`: the statement ends when the module returns that is given the result at once */
static int32_t statement_end(const context *x, int32_t owner, int32_t call) {
  const mp_call *c = &x->calls[call];
  int32_t out = c->out_count == 1 ? c->outs[0] : -1, next = call + 1;
  if (out < 0 || x->first[out] != next || x->calls[next].module == owner) return call;
  return return_of(x, owner, next);
}

/* y = norm(y + x), as after a sublayer: nothing else reads the sum. Embeddings are added in statements of their own. */
static bool is_normed_alone(const context *x, int32_t var) {
  int32_t call = x->last[var], sum = named(&x->calls[call], "aten::add") && x->calls[call].out_count == 1 ? x->calls[call].outs[0] : -1;
  return !named(&x->calls[x->vars[var].call], "aten::embedding") && sum >= 0 && x->first[sum] >= 0 && x->first[sum] == x->last[sum] && named(&x->calls[x->first[sum]], "aten::layer_norm");
}

/* Looked-up embeddings that only a dropout reads are a variable of their own in the models that are written so: `hidden =
 * self.dropout(inputs_embeds)`. */
static bool kept_apart(const context *x, int32_t var, int32_t owner) {
  const mp_call *m = &x->calls[x->vars[var].call], *c = &x->calls[x->last[var]];
  return named(m, "aten::embedding") && m->module != owner && (named(c, "aten::dropout") || named(c, "aten::native_dropout"));
}

static bool has_weights(const context *x, const mp_instance *m) {
  for (uint32_t c = m->first; c < m->end; c++)
    for (uint32_t i = 0; i < x->calls[c].arg_count; i++)
      if (x->calls[c].args[i].kind == MP_ARG_VAR && x->vars[x->calls[c].args[i].as.var].role == MP_ROLE_PARAMETER) return true;
  return false;
}

/* does the frame that runs instance i run it, or the next member of its list, in a loop? */
static bool is_next_turn(const context *x, int32_t i, int32_t next) {
  const char *path = x->instances[i].path, *other = x->instances[next].path;
  return !strcmp(path, other) || (mp_is_member(path) && mp_is_member(other) && is_fellow(x, i, next));
}

/* Where the turn after that of `anchor`, which the frame `owner` runs, has call n: of the module, or at the same distance from it. -1 */
static int32_t in_next_turn(const context *x, int32_t owner, int32_t anchor, int32_t n) {
  int32_t next = -1;
  uint32_t turns = 0; /* as far as is known; a list's members are taken for a loop */
  for (int32_t i = anchor + 1, seen = 0; i < (int32_t)x->instance_count && x->instances[i].parent >= owner && seen < FARTHEST && turns < 3; i++, seen++) {
    const mp_instance *m = &x->instances[i], *from = &x->instances[anchor];
    if (m->parent != owner || !is_next_turn(x, anchor, i)) continue;
    if (next < 0) next = i;
    turns = m->turn > from->turn ? m->turn : 3;
  }
  if (next < 0 || turns < 3 || !has_weights(x, &x->instances[anchor])) return -1;
  int32_t again = (int32_t)x->instances[next].first + n - (int32_t)x->instances[anchor].first;
  return again > n && again <= x->last_call && x->calls[again].row == x->calls[n].row ? again : -1;
}

/* A frame that runs a module with weights more than three times, or the members of a list, is in a loop, whose next turn assigns the same variables.
 * -> the call that makes the value's successor, -1 */
static int32_t made_again(const context *x, int32_t var, int32_t owner) {
  int32_t n = x->vars[var].call, before = -1, behind = -1;
  for (int32_t i = owner + 1, seen = 0; behind < 0 && i < (int32_t)x->instance_count && x->instances[i].parent >= owner && seen < FARTHEST; i++, seen++) {
    if (x->instances[i].parent != owner) continue;
    if ((int32_t)x->instances[i].first <= n) before = i;
    else behind = i;
  }
  int32_t again = before < 0 ? -1 : in_next_turn(x, owner, before, n);
  return again >= 0 || behind < 0 ? again : in_next_turn(x, owner, behind, n);
}

/* A variable of its own: until the frame returns or the next turn of a loop takes it, but not before its last reader gives `back` what it makes. */
static int32_t until_taken(const context *x, int32_t var, int32_t owner, int32_t back) {
  int32_t again = made_again(x, var, owner), end = again >= 0 ? again : (int32_t)x->instances[owner].end - 1;
  return end > back ? end : back;
}

/* Logits, seen from the loss of tokens: widened, cut and reshaped on the way there. A variable holds them, and another what the head was given. */
static bool leads_to_loss(const context *x, int32_t var) {
  static const char *const ways[] = {"aten::to", "aten::_to_copy", "aten::view", "aten::reshape", "aten::slice", "aten::contiguous", "aten::flatten", "aten::transpose"};
  for (int step = 0; step < 6 && var >= 0 && x->last[var] >= 0; step++) {
    const mp_call *c = &x->calls[x->last[var]];
    if (named(c, "aten::cross_entropy_loss") || named(c, "aten::nll_loss")) return true;
    bool on = false;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) on |= named(c, ways[i]);
    if (!on || c->out_count != 1) return false;
    var = c->outs[0];
  }
  return false;
}

static bool is_held_for_loss(const context *x, int32_t var, int32_t owner) {
  const mp_call *c = &x->calls[x->last[var]];
  bool widened = (named(c, "aten::to") || named(c, "aten::_to_copy")) && c->out_count == 1 && c->outs[0] >= 0 && x->first[c->outs[0]] >= 0;
  if (widened && named(&x->calls[x->first[c->outs[0]]], "aten::slice")) return false; /* logits = logits.float(); shift_logits = logits[..., :-1, :] */
  if (c->module == owner) return leads_to_loss(x, var);
  int32_t logits = c->out_count == 1 ? c->outs[0] : -1;
  if (!named(c, "aten::linear") || c->module < 0 || logits < 0 || x->last[logits] < 0) return false;
  return x->instances[c->module].parent == owner && owner_of(x, logits) == owner && leads_to_loss(x, logits);
}

/* y = self.b(x); z = self.c(y, x): two modules are given the value, so that y has another variable, and so has z as a rule */
static bool read_by_two(const context *x, int32_t var, int32_t owner) {
  int32_t parts[2] = {-1, -1}, calls[2] = {x->first[var], x->last[var]};
  for (int i = 0; i < 2; i++)
    for (int32_t m = x->calls[calls[i]].module; m >= 0 && m != owner; m = x->instances[m].parent) parts[i] = m;
  return parts[0] >= 0 && parts[1] >= 0 && parts[0] != parts[1];
}

/* a, b = x.chunk(2): a variable for each part */
static bool is_unpacked(const context *x, int32_t var) {
  static const char *const splits[] = {"aten::split", "aten::split_with_sizes", "aten::chunk", "aten::unbind", "aten::tensor_split"};
  const mp_call *c = &x->calls[x->vars[var].call];
  bool found = false;
  uint32_t read = 0;
  for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) found |= named(c, splits[i]);
  for (uint32_t o = 0; o < c->out_count && found; o++) read += c->outs[o] >= 0 && x->last[c->outs[o]] >= 0;
  return read > 1;
}

/* torch.nn.TransformerEncoderLayer or DecoderLayer: by its class, else by the names of its parts */
static bool is_torch_layer(const context *x, int32_t i) {
  static const char *const parts[] = {"self_attn", "linear1", "linear2", "norm1", "norm2"};
  const char *type = x->instances[i].type;
  if (type) return !strncmp(type, "torch.nn.", 9);
  size_t n = strlen(x->instances[i].path), found = 0;
  for (int32_t k = i + 1, seen = 0; k < (int32_t)x->instance_count && x->instances[k].parent >= i && seen < FARTHEST; k++, seen++) {
    if (x->instances[k].parent != i || strlen(x->instances[k].path) <= n) continue;
    const char *name = x->instances[k].path + n + (n > 0);
    for (size_t j = 0; j < sizeof parts / sizeof *parts; j++) found |= (size_t)!strcmp(name, parts[j]) << j;
  }
  return found == (1u << sizeof parts / sizeof *parts) - 1;
}

/* weights = self.up[chosen]: rows of a parameter, a matrix for each token. Of a batched product they are the larger operand, and a variable, which the next such lookup takes. */
static bool is_chosen(const context *x, const mp_call *c) {
  return named(c, "aten::index") && c->arg_count > 1 && c->args[0].kind == MP_ARG_VAR && x->vars[c->args[0].as.var].role == MP_ROLE_PARAMETER && x->vars[c->args[0].as.var].rank > 2;
}

static int32_t until_chosen_again(const context *x, int32_t var, int32_t owner, int32_t back) {
  int32_t end = (int32_t)x->instances[owner].end - 1;
  for (int32_t c = x->vars[var].call + 1; c < end; c++)
    if (x->calls[c].module == owner && is_chosen(x, &x->calls[c])) end = c;
  return end > back ? end : back;
}

static int32_t death_of(context *x, int32_t var) {
  const mp_var *v = &x->vars[var];
  int32_t last = x->last[var];
  if (last < 0 && v->is_returned) { /* `y, _ = attention(x)` */
    int32_t caller = x->instances[x->calls[v->call].module].parent, again = caller < 0 ? -1 : made_again(x, var, caller);
    return again >= 0 ? again : caller < 0 ? v->call : (int32_t)x->instances[caller].end - 1;
  }
  if (last < 0) return v->call;
  int32_t layer = layer_of_probabilities(x, var, last);
  if (layer >= 0) return layer;
  int32_t owner = owner_of(x, var), back = return_of(x, owner, last);
  int32_t told = mp_source_death(x->sources, owner, v->call, (uint32_t)v->slot, last);
  if (told >= 0) return told > back ? told : back;
  if (kept_apart(x, var, owner) || is_held_for_loss(x, var, owner)) return (int32_t)x->instances[owner].end - 1;
  if (is_chosen(x, &x->calls[v->call])) return until_chosen_again(x, var, owner, back);
  if (read_by_two(x, var, owner) || is_unpacked(x, var)) return until_taken(x, var, owner, back);
  if (x->calls[last].module != owner ||
      !meets_another(x, &x->calls[last], var, x->calls[v->call].module != owner && named(&x->calls[last], "aten::add")))
    return back; /* inside a module it is an argument: the caller's variable is free */
  if (x->calls[v->call].module == owner && elementwise(&x->calls[v->call]) && elementwise(&x->calls[last])) return back; /* inside one formula */
  if (named(&x->calls[last], "aten::add") && is_torch_layer(x, owner)) return back; /* its sums are of what functions return: x + self._sa_block(x) */
  if (named(&x->calls[last], "aten::cat") && x->first[var] == last) return statement_end(x, owner, last);
  if (is_normed_alone(x, var)) return statement_end(x, owner, last);
  return until_taken(x, var, owner, back);
}

void mp_lifetimes(mp_arena *a, mp_var *vars, uint32_t var_count, const mp_call *calls, uint32_t call_count, const mp_instance *instances,
                  uint32_t instance_count) {
  context x = {vars, calls, instances, instance_count, mp_alloc_array(a, instance_count + 1, sizeof(int8_t)), mp_alloc_array(a, var_count, sizeof(int32_t)), mp_alloc_array(a, var_count, sizeof(int32_t)),
               mp_sources_new(a, calls, call_count, instances, instance_count), (int32_t)call_count - 1};
  for (uint32_t i = 0; i < var_count; i++) x.first[i] = x.last[i] = -1;
  for (uint32_t c = 0; c < call_count; c++)
    for (uint32_t i = 0; i < calls[c].arg_count; i++) {
      const mp_arg *g = &calls[c].args[i];
      if (g->kind == MP_ARG_VAR) note_reader(&x, g->as.var, (int32_t)c);
      for (uint32_t k = 0; g->kind == MP_ARG_VARS && k < g->n; k++) note_reader(&x, g->as.vars[k], (int32_t)c);
    }
  for (uint32_t i = 0; i < var_count; i++) {
    bool stays = vars[i].is_output || vars[i].role != MP_ROLE_RESULT || vars[i].call < 0;
    vars[i].dies = stays ? (int32_t)call_count : death_of(&x, (int32_t)i);
    if (vars[i].dies < vars[i].until) vars[i].dies = vars[i].until;
  }
}
