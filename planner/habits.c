/* What no file says about a program that was traced: which calls wrote into their operand, which ran without gradients. Habits of the framework's
 * users, as structure.
 *
 * In place. An image network writes nn.ReLU(inplace=True) and `out += identity`. So in a network of mostly convolutions: an activation module whose
 * operand is read by nobody else and not kept by the call that made it writes in place; so does the addition of a shortcut, where its first operand
 * is such a fresh result. Where a shortcut is the first operand (x + f(x)), all modules of the kind add out of place. Sequences are activated out of
 * place, and where the file has an addition's source line, that says what it does.
 *
 * No gradient. The target of a regression loss, and a teacher's distribution, are constants to it: calls that only lead there ran under
 * torch.no_grad. A module of a class that is called sinusoidal looks up a table that was computed, not learnt: it does so under torch.no_grad. */
#include <string.h>

#include "planner/inside.h"
#include "planner/reading.h"

typedef struct habits {
  mp_arena *a;
  mp_builder *b;
  const int32_t *outputs;
  uint32_t output_count;
} habits;

static bool starts(const mp_call *c, const char *stem) { return c && !strncmp(c->row->name, stem, strlen(stem)); }

static const mp_call *maker(habits *r, int32_t var) {
  int32_t c = var < 0 ? -1 : mp_builder_at(r->b, var)->call;
  return c < 0 ? NULL : mp_builder_call_at(r->b, (uint32_t)c);
}

/* how many times each variable is read */
static uint32_t *readers(habits *r) {
  uint32_t *n = mp_alloc_array(r->a, (size_t)mp_builder_var_count(r->b), sizeof *n);
  for (uint32_t c = 0; c < mp_builder_call_count(r->b); c++) {
    const mp_call *call = mp_builder_call_at(r->b, c);
    for (uint32_t i = 0; i < call->arg_count; i++) {
      if (call->args[i].kind == MP_ARG_VAR) n[call->args[i].as.var]++;
      for (uint32_t k = 0; call->args[i].kind == MP_ARG_VARS && k < call->args[i].n; k++)
        if (call->args[i].as.vars[k] >= 0) n[call->args[i].as.vars[k]]++;
    }
  }
  for (uint32_t i = 0; i < r->output_count; i++) n[r->outputs[i]]++;
  return n;
}

/* dropout of p = 0 returns its operand itself (_dropout_impl of Dropout.cpp) */
static bool passes_on(const mp_call *c) { return mp_call_is(c, "aten::dropout") && c->arg_count > 1 && c->args[1].kind == MP_ARG_FLOAT && c->args[1].as.f == 0; }

/* a result that its maker does not keep for backward: it may be overwritten */
static bool fresh(habits *r, const uint32_t *reads, int32_t var) {
  const mp_call *m = maker(r, var);
  if (!m || reads[var] != 1) return false;
  return starts(m, "aten::conv") || mp_call_is(m, "aten::batch_norm") || starts(m, "aten::_native_batch_norm") || mp_call_is(m, "aten::instance_norm") || mp_call_is(m, "aten::add") || mp_call_is(m, "aten::mul") ||
         mp_call_is(m, "aten::linear") || starts(m, "aten::max_pool") || starts(m, "aten::avg_pool");
}

/* -> convolutions; *linears: products with a weight */
static uint32_t layers(habits *r, uint32_t *linears) {
  uint32_t convolutions = 0;
  for (uint32_t c = 0; c < mp_builder_call_count(r->b); c++) {
    const mp_call *call = mp_builder_call_at(r->b, c);
    convolutions += starts(call, "aten::conv") && !mp_call_is(call, "aten::contiguous");
    *linears += mp_call_is(call, "aten::linear") || mp_call_is(call, "aten::addmm");
  }
  return convolutions;
}

/* Add(a, b): the shortcut is the operand that others read too. 1: the second, 0: the first, -1: neither */
static int shortcut(const mp_call *c, const uint32_t *reads) {
  int32_t a = mp_call_operand(c, 0), b = mp_call_operand(c, 1);
  if (a < 0 || b < 0) return -1;
  return reads[b] > 1 ? 1 : reads[a] > 1 ? 0 : -1;
}

static bool same_dims(habits *r, int32_t a, int32_t b) {
  const mp_var *x = mp_builder_at(r->b, a), *y = mp_builder_at(r->b, b);
  if (x->rank != y->rank || x->dtype != y->dtype) return false;
  for (int i = 0; i < x->rank; i++)
    if (x->dims[i] != y->dims[i]) return false;
  return true;
}

/* what tells the code that makes a call, where the class is not known: the module's path without its numbers */
static const char *kind_of(habits *r, const mp_call *c) {
  char *kind = mp_strdup(r->a, c->module < 0 ? "" : mp_builder_instance(r->b, c->module)->path), *to = kind;
  for (const char *p = kind; *p; p++)
    if (*p < '0' || *p > '9') *to++ = *p;
  *to = 0;
  return kind;
}

static bool known(const mp_names *names, const char *name) { return mp_names_find(names, name, strlen(name)) != UINT32_MAX; }

static void find_in_place(habits *r, const uint32_t *reads) {
  static const char *const activations[] = {"aten::relu", "aten::hardtanh", "aten::hardswish", "aten::silu", "aten::leaky_relu"};
  uint32_t count = 0, linears = 0, convolutions = layers(r, &linears);
  bool adds = convolutions > 0, activations_too = convolutions > linears;
  mp_names *outward = mp_names_new(r->a, 64); /* kinds of modules that add out of place */
  mp_names *writing = mp_names_new(r->a, 64); /* modules that write in place */
  for (uint32_t c = 0; c < mp_builder_call_count(r->b); c++) {
    const mp_call *call = mp_builder_call_at(r->b, c);
    if (!mp_call_is(call, "aten::add") || !call->out_count || call->outs[0] < 0 || mp_builder_at(r->b, call->outs[0])->rank != 4 || shortcut(call, reads) != 0) continue;
    const char *kind = kind_of(r, call);
    mp_names_add(r->a, outward, kind, strlen(kind), NULL);
  }
  for (uint32_t c = 0; c < mp_builder_call_count(r->b); c++) {
    mp_call *call = mp_builder_call_at(r->b, c);
    bool activation = false;
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) activation |= mp_call_is(call, activations[i]);
    const char *type = call->module < 0 ? NULL : mp_builder_instance(r->b, call->module)->type; /* known: F.relu of a linear layer is out of place */
    int32_t x = mp_call_operand(call, 0), y = mp_call_operand(call, 1);
    const mp_call *made = maker(r, x);
    bool normed = starts(made, "aten::conv") || mp_call_is(made, "aten::batch_norm") || starts(made, "aten::_native_batch_norm") || mp_call_is(made, "aten::instance_norm");
    bool again = call->module >= 0 && known(writing, mp_builder_instance(r->b, call->module)->path); /* the same module, whose flag is one */
    bool slope = mp_call_is(call, "aten::leaky_relu") && (call->arg_count < 2 || (call->args[1].kind == MP_ARG_FLOAT && (float)call->args[1].as.f == 0.01f)); /* nn.LeakyReLU(), with nothing given to it */
    activation |= mp_call_is(call, "aten::elu") && normed && !starts(made, "aten::conv");
    if (slope && starts(made, "aten::conv")) activation = false;
    activation &= activations_too || again || (normed && mp_call_is(call, "aten::leaky_relu"));      /* LeakyReLU(0.01, inplace=True), whatever else the network has */
    if (activation && !again && mp_call_is(made, "aten::add") && !mp_call_is(call, "aten::relu")) activation = false; /* behind a shortcut ReLU(inplace=True) is the one that is written so */
    if (type && activation && !strstr(type, ".activation.") && (!normed || call->source))
      activation = false; /* with the source line, it says inplace=True */
    if (x < 0 || call->no_grad || !fresh(r, reads, activation && passes_on(made) && reads[x] == 1 ? mp_call_operand(made, 0) : x)) continue;
    if (mp_builder_at(r->b, x)->rank == 3) activation = false; /* sound and text: such networks are written out of place */
    bool noise = y >= 0 && mp_call_is(maker(r, y), "aten::mul") && reads[y] == 1; /* out + weight * noise is no shortcut */
    bool residual = adds && !call->source && !noise && mp_call_is(call, "aten::add") && !known(outward, kind_of(r, call)) && y >= 0 && mp_builder_at(r->b, x)->rank == 4 && same_dims(r, x, y) && maker(r, y) &&
                    mp_builder_at(r->b, y)->role == MP_ROLE_RESULT;
    if (!activation && !residual) continue;
    call->in_place = true;
    count++;
    const char *path = activation && call->module >= 0 ? mp_builder_instance(r->b, call->module)->path : NULL;
    if (path) mp_names_add(r->a, writing, path, strlen(path), NULL);
  }
  if (count)
    mp_builder_warn(r->b, "in-place calls leave no trace: %u activations and additions of shortcuts are taken to write into their operand", count);
}

/* marks what a sinusoidal table's module does */
static void find_tables(habits *r) {
  for (uint32_t c = 0; c < mp_builder_call_count(r->b); c++) {
    mp_call *call = mp_builder_call_at(r->b, c);
    const char *type = call->module < 0 ? NULL : mp_builder_instance(r->b, call->module)->type;
    if (!type || !strstr(type, "Sinusoidal") || !mp_call_is(call, "aten::embedding") || mp_call_operand(call, 0) < 0) continue;
    call->no_grad = true;
    const mp_var *table = mp_builder_at(r->b, mp_call_operand(call, 0));
    mp_builder_warn(r->b, "'%s' is a sinusoidal table: taken to be computed, not learnt", table->name);
  }
}

/* by variable: does it follow from a parameter? */
static const bool *find_trained(habits *r) {
  bool *trained = mp_alloc_array(r->a, (size_t)mp_builder_var_count(r->b), sizeof *trained);
  for (int32_t v = 0; v < mp_builder_var_count(r->b); v++) trained[v] = mp_builder_at(r->b, v)->role == MP_ROLE_PARAMETER;
  for (uint32_t c = 0; c < mp_builder_call_count(r->b); c++) {
    const mp_call *call = mp_builder_call_at(r->b, c);
    bool any = false;
    for (uint32_t i = 0; i < call->arg_count; i++) {
      any |= call->args[i].kind == MP_ARG_VAR && trained[call->args[i].as.var];
      for (uint32_t k = 0; call->args[i].kind == MP_ARG_VARS && k < call->args[i].n; k++) any |= call->args[i].as.vars[k] >= 0 && trained[call->args[i].as.vars[k]];
    }
    for (uint32_t o = 0; o < call->out_count && any; o++)
      if (call->outs[o] >= 0) trained[call->outs[o]] = true;
  }
  return trained;
}

/* Marks what leads to a loss's target alone. mse_loss(noise, prediction) has them the other way round: what follows from no parameter is no prediction. */
static void find_no_grad(habits *r) {
  uint32_t calls = mp_builder_call_count(r->b), count = 0;
  int32_t vars = mp_builder_var_count(r->b);
  bool *wanted = mp_alloc_array(r->a, (size_t)vars, sizeof *wanted); /* a gradient may flow to it */
  const bool *trained = find_trained(r);
  bool any = false;
  for (uint32_t i = 0; i < r->output_count; i++) wanted[r->outputs[i]] = true;
  for (uint32_t c = calls; c-- > 0;) {
    mp_call *call = mp_builder_call_at(r->b, c);
    bool reached = false, loss = mp_call_is(call, "aten::mse_loss") || mp_call_is(call, "aten::binary_cross_entropy_with_logits") || mp_call_is(call, "aten::kl_div");
    for (uint32_t o = 0; o < call->out_count; o++) reached |= call->outs[o] >= 0 && wanted[call->outs[o]];
    if (!reached) {
      call->no_grad = true;
      any = true;
      continue;
    }
    for (uint32_t i = 0; i < call->arg_count; i++) {
      int32_t first = mp_call_operand(call, 0), second = mp_call_operand(call, 1);
      if (loss && i == 1 && (first < 0 || second < 0 || trained[first] || !trained[second])) continue;
      if (call->args[i].kind == MP_ARG_VAR) wanted[call->args[i].as.var] = true;
      for (uint32_t k = 0; call->args[i].kind == MP_ARG_VARS && k < call->args[i].n; k++)
        if (call->args[i].as.vars[k] >= 0) wanted[call->args[i].as.vars[k]] = true;
    }
  }
  for (uint32_t c = 0; c < calls && any; c++) {
    const mp_call *call = mp_builder_call_at(r->b, c);
    for (uint32_t i = 0; i < call->arg_count && call->no_grad; i++) {
      int32_t v = mp_call_operand(call, i);
      if (v >= 0 && mp_builder_at(r->b, v)->role == MP_ROLE_PARAMETER) count++, i = call->arg_count;
    }
  }
  if (count) mp_builder_warn(r->b, "%u calls with parameters only lead to the loss's target: taken to run without gradients", count);
}

/* tokens to maps: view(N, H, W, C).permute(0, 3, 1, 2) */
static bool makes_maps(habits *r, const mp_call *c) {
  const mp_call *m = maker(r, mp_call_operand(c, 0));
  return mp_call_makes_maps(c) && (mp_call_is(m, "aten::view") || mp_call_is(m, "aten::reshape"));
}

void mp_maps_of_tokens(mp_builder *b) {
  habits h = {mp_builder_arena(b), b, NULL, 0};
  int32_t vars = mp_builder_var_count(b), *copy = mp_alloc_array(h.a, (size_t)vars, sizeof *copy);
  bool *pooled = mp_alloc_array(h.a, (size_t)vars, sizeof *pooled); /* tokens of windows, which become tokens again */
  for (uint32_t c = 0; c < mp_builder_call_count(b); c++)
    if (mp_call_operand(mp_builder_call_at(b, c), 0) >= 0 && strstr(mp_builder_call_at(b, c)->row->name, "_pool")) pooled[mp_call_operand(mp_builder_call_at(b, c), 0)] = true;
  for (uint32_t c = 0; c < mp_builder_call_count(b); c++) {
    mp_builder_reread(b, c, copy, vars);
    const mp_call *call = mp_builder_call_at(b, c);
    if (!makes_maps(&h, call) || pooled[call->outs[0]]) continue;
    mp_var v = *mp_builder_at(b, call->outs[0]);
    int32_t out = copy[call->outs[0]] = mp_builder_var(b, MP_ROLE_RESULT, mp_format(h.a, "%s.contiguous", v.name), v.dtype, v.rank, v.dims, -1);
    mp_builder_insert(b, ++c, "aten::contiguous", (mp_arg[]){mp_arg_var(call->outs[0])}, 1, out);
  }
}

void mp_program_habits(mp_builder *b, const int32_t *outputs, uint32_t output_count) {
  habits h = {mp_builder_arena(b), b, outputs, output_count};
  const uint32_t *reads = readers(&h);
  find_tables(&h);
  find_no_grad(&h);
  find_in_place(&h, reads);
}
