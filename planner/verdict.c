/* timeline + device -> verdict. */
#include <string.h>

#include "planner/inside.h"

/* The stated error of reserved bytes: 2 % of what is needed counts as not certain. */
#define STATED_ERROR 0.02

const char *mp_fits_name(mp_fits f) { return f == MP_FITS ? "fits" : f == MP_TIGHT ? "tight" : "no"; }
mp_workspaces mp_workspaces_default(void) { return (mp_workspaces){UINT64_MAX, UINT64_MAX, UINT64_MAX}; }

mp_verdict mp_verdict_make(const mp_timeline *t, const mp_device *d, const mp_workspaces *w, uint64_t convolution) {
  mp_verdict v = {.device = d, .usable = d->usable};
  mp_device_overheads(d, convolution, &v.overhead);
  if (w->cublas != UINT64_MAX) v.overhead.cublas = w->cublas;
  if (w->cudnn != UINT64_MAX) v.overhead.cudnn_low = v.overhead.cudnn_high = w->cudnn;
  if (w->context != UINT64_MAX) v.overhead.context = w->context;
  v.needed = t->peak.reserved + v.overhead.cublas + v.overhead.cudnn_low + v.overhead.context;
  uint64_t offered = d->usable > v.overhead.held ? d->usable - v.overhead.held : 0;
  v.spare = (int64_t)offered - (int64_t)v.needed;
  uint64_t doubt = (uint64_t)(STATED_ERROR * (double)t->peak.reserved) + v.overhead.cudnn_high - v.overhead.cudnn_low;
  v.fits = v.spare < 0 ? MP_FITS_NOT : (uint64_t)v.spare < doubt ? MP_TIGHT : MP_FITS;
  return v;
}

static uint64_t bytes_of(const mp_trace *t, int32_t var) {
  if (var < 0 || t->var_tensor[var] < 0) return 0;
  const mp_tensor_info *i = &t->tensors[t->var_tensor[var]];
  uint64_t bytes = 0;
  return mp_dtype_bytes(i->dtype, mp_numel(i), &bytes) ? bytes : 0;
}

uint64_t mp_trace_convolution(const mp_trace *t) {
  uint64_t most = 0;
  const mp_program *p = t->program;
  for (uint32_t c = 0; c < p->call_count; c++) {
    const mp_call *call = &p->calls[c];
    if (!strstr(call->row->name, "::conv") || call->out_count < 1) continue;
    uint64_t sum = bytes_of(t, call->outs[0]);
    for (uint32_t i = 0; i < 2 && i < call->arg_count; i++)
      if (call->args[i].kind == MP_ARG_VAR) sum += bytes_of(t, call->args[i].as.var);
    if (sum > most) most = sum;
  }
  return most;
}
