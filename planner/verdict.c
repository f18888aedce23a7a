/* timeline + device -> verdict. */
#include <string.h>

#include "planner/inside.h"

/* The stated error of reserved bytes: 2 % of what is needed counts as not certain. */
#define STATED_ERROR 0.02

const char *mp_fits_name(mp_fits f) { return f == MP_FITS ? "fits" : f == MP_TIGHT ? "tight" : "no"; }
mp_workspaces mp_workspaces_default(void) { return (mp_workspaces){UINT64_MAX, UINT64_MAX, UINT64_MAX}; }

mp_verdict mp_verdict_make(const mp_timeline *t, const mp_device *d, const mp_workspaces *w) {
  mp_verdict v = {.device = d, .usable = d ? d->usable : 0, .cudnn_low = t->cudnn_low, .cudnn_high = t->cudnn_high};
  mp_device_overheads(d, &v.overhead);
  if (w->cublas != UINT64_MAX) v.overhead.cublas = w->cublas;
  if (w->cudnn != UINT64_MAX) v.cudnn_low = v.cudnn_high = (int64_t)w->cudnn;
  if (w->context != UINT64_MAX) v.overhead.context = w->context;
  int64_t cudnn = v.cudnn_low > 0 ? v.cudnn_low : 0; /* what it may save is not counted on */
  v.needed = t->peak.reserved + v.overhead.cublas + (uint64_t)cudnn + v.overhead.context;
  uint64_t offered = v.usable > v.overhead.held ? v.usable - v.overhead.held : 0;
  v.spare = (int64_t)offered - (int64_t)v.needed;
  uint64_t doubt = (uint64_t)(STATED_ERROR * (double)t->peak.reserved) + (uint64_t)(v.cudnn_high - cudnn);
  v.fits = v.spare < 0 ? MP_FITS_NOT : (uint64_t)v.spare < doubt ? MP_TIGHT : MP_FITS;
  return v;
}
