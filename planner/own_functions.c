/* Functions of one's own, with a backward of their own (torch.autograd.Function): the exporter goes through their forward, whose calls run without gradients. The stack trace shows where:
 *
 *     File "utils.py", line 80, in forward
 *       return SwishImplementation.apply(x)
 *     File "utils.py", line 67, in forward
 *       result = i * torch.sigmoid(i)                                                                            */
#include <ctype.h>
#include <string.h>

#include "planner/inside.h"
#include "planner/reading.h"

typedef struct pass {
  mp_arena *a;
  mp_builder *b;
  int32_t vars;         /* that the program had before */
  int32_t *instead;     /* of each: what its readers read behind the function that returned it; 0: itself */
  uint32_t *last_read;  /* of each: by the call of that number, as they were before */
  uint32_t found;       /* functions, each a call more */
} pass;

/* the part of the trace that ends with the line `Name.apply(..)`, if another frame follows; 0 where there is none, and for checkpoint's own, whose forward is run again */
static size_t applied(const char *stack) {
  for (const char *at = stack ? strstr(stack, ".apply(") : NULL; at; at = strstr(at + 1, ".apply(")) {
    const char *name = at;
    while (name > stack && (isalnum((unsigned char)name[-1]) || name[-1] == '_')) name--;
    while (*name == '_') name++;
    size_t end = (size_t)(at - stack) + strcspn(at, "\n");
    if (isupper((unsigned char)*name) && strncmp(name, "Checkpoint", 10) != 0 && strstr(stack + end, ", line ")) return end;
  }
  return 0;
}

/* Is call c one of the function's whose first call is `from`? That one over again, of nothing that the function has read or made, begins the next: F.apply(q), F.apply(k). */
static bool belongs(pass *p, uint32_t from, const mp_call *first, size_t part, const mp_call *c) {
  if (!c->stack || c->module != first->module || strncmp(c->stack, first->stack, part) != 0) return false;
  bool new = c->row == first->row && !strcmp(c->stack, first->stack);
  for (uint32_t i = 0; i < c->arg_count; i++) {
    int32_t v = mp_call_operand(c, i);
    new = new && (v < 0 || (mp_builder_at(p->b, v)->call < (int32_t)from && v != mp_call_operand(first, 0) && v != mp_call_operand(first, 1)));
  }
  return !new;
}

static void add_operand(pass *p, uint32_t first, int32_t v, int32_t *list, uint32_t *n) {
  const mp_var *x = v < 0 ? NULL : mp_builder_at(p->b, v);
  if (!x || x->call >= (int32_t)first || !mp_dtype_is_float(x->dtype) || *n >= MP_MAX_SAVED) return;
  for (uint32_t i = 0; i < *n; i++)
    if (list[i] == v) return;
  list[(*n)++] = v;
}

static uint32_t operands(pass *p, uint32_t first, uint32_t end, int32_t *list) {
  uint32_t n = 0;
  for (uint32_t c = first; c < end; c++) {
    const mp_call *call = mp_builder_call_at(p->b, c);
    for (uint32_t i = 0; i < call->arg_count; i++) {
      add_operand(p, first, mp_call_operand(call, i), list, &n);
      for (uint32_t k = 0; call->args[i].kind == MP_ARG_VARS && k < call->args[i].n; k++) add_operand(p, first, call->args[i].as.vars[k], list, &n);
    }
  }
  return n;
}

/* what the function returns: the floating result of its last call; -1 where it is none */
static int32_t result(pass *p, uint32_t end) {
  const mp_call *last = mp_builder_call_at(p->b, end - 1);
  int32_t v = last->out_count == 1 ? last->outs[0] : -1;
  return v >= 0 && mp_dtype_is_float(mp_builder_at(p->b, v)->dtype) ? v : -1;
}

/* does somebody read what is made inside but for the result? Then the function returns more than that, and is left as its calls are. */
static bool leaks(const pass *p, uint32_t first, uint32_t end, int32_t out) {
  for (uint32_t c = first; c < end; c++) {
    const mp_call *call = mp_builder_call_at(p->b, c);
    for (uint32_t i = 0; i < call->out_count; i++)
      if (call->outs[i] >= 0 && call->outs[i] != out && p->last_read[call->outs[i]] >= end - p->found) return true;
  }
  return false;
}

static void find_readers(pass *p, const int32_t *outputs, uint32_t output_count) {
  for (uint32_t c = 0; c < mp_builder_call_count(p->b); c++) {
    const mp_call *call = mp_builder_call_at(p->b, c);
    for (uint32_t i = 0; i < call->arg_count; i++) {
      if (mp_call_operand(call, i) >= 0) p->last_read[mp_call_operand(call, i)] = c;
      for (uint32_t k = 0; call->args[i].kind == MP_ARG_VARS && k < call->args[i].n; k++)
        if (call->args[i].as.vars[k] >= 0) p->last_read[call->args[i].as.vars[k]] = c;
    }
  }
  for (uint32_t i = 0; i < output_count; i++) p->last_read[outputs[i]] = UINT32_MAX;
}

/* calls [first, end) without gradients, and behind them the call that gives their result a history -> the call behind that */
static uint32_t wrap(pass *p, uint32_t first, uint32_t end) {
  int32_t in[MP_MAX_SAVED], out = result(p, end);
  uint32_t n = operands(p, first, end, in);
  if (out < 0 || !n || n == MP_MAX_SAVED || leaks(p, first, end, out)) return end;
  for (uint32_t c = first; c < end; c++) mp_builder_call_at(p->b, c)->no_grad = true;
  mp_var v = *mp_builder_at(p->b, out);
  int32_t own = mp_builder_var(p->b, MP_ROLE_RESULT, mp_format(p->a, "%s.applied", v.name), v.dtype, v.rank, v.dims, -1);
  mp_builder_insert(p->b, end, "autograd::Function", (mp_arg[]){mp_arg_var(out), mp_arg_vars(p->a, in, n), mp_arg_int(end - first)}, 3, own);
  p->instead[out] = own;
  p->found++;
  return end + 1;
}

void mp_own_functions(mp_builder *b, int32_t *outputs, uint32_t output_count) {
  pass p = {.a = mp_builder_arena(b), .b = b, .vars = mp_builder_var_count(b)};
  p.instead = mp_alloc_array(p.a, (size_t)p.vars + 1, sizeof *p.instead);
  p.last_read = mp_alloc_array(p.a, (size_t)p.vars + 1, sizeof *p.last_read);
  find_readers(&p, outputs, output_count);
  for (uint32_t c = 0; c < mp_builder_call_count(b);) {
    mp_call first = *mp_builder_call_at(b, c);
    size_t part = applied(first.stack);
    uint32_t end = c;
    do mp_builder_reread(b, end++, p.instead, p.vars);
    while (part && end < mp_builder_call_count(b) && belongs(&p, c, &first, part, mp_builder_call_at(b, end)));
    c = part ? wrap(&p, c, end) : end;
  }
  for (uint32_t i = 0; i < output_count; i++)
    if (outputs[i] < p.vars && p.instead[outputs[i]]) outputs[i] = p.instead[outputs[i]];
  if (p.found) mp_builder_warn(b, "%u calls of autograd functions of the model's own (NAME.apply): what they keep is not in the file; taken to keep their operands", p.found);
}
