/* Measurements to set beside predictions: a table of peaks, or PyTorch's memory snapshot. */
#ifndef MP_MEASURED_H
#define MP_MEASURED_H

#include "planner/memplan.h"

/* ---- a table: CSV with a header; columns that are none of these are left alone ---- */

/* columns that say how a row was run; each is the option of the same name (dims: NAME=N, separated by blanks, ';' or ',') */
typedef enum mp_setting { MP_SET_DIMS, MP_SET_PRECISION, MP_SET_OPTIMIZER, MP_SET_ATTENTION, MP_SET_CHECKPOINT, MP_SET_ACCUMULATE, MP_SET_ZERO_GRAD, MP_SET_LOSS, MP_SET_FREEZE, MP_SETTINGS } mp_setting;
const char *mp_setting_name(mp_setting s); /* of the column */

/* columns of bytes, as PyTorch counts them */
typedef enum mp_quantity {
  MP_Q_PARAMETERS, MP_Q_BUFFERS, MP_Q_INPUTS, MP_Q_GRADIENTS, MP_Q_OPTIMIZER, MP_Q_SAVED, MP_Q_AFTER_FORWARD, MP_Q_FIRST_PEAK, MP_Q_PEAK, MP_Q_RESERVED, MP_QUANTITIES
} mp_quantity;
const char *mp_quantity_name(mp_quantity q);   /* for people: "parameters" */
const char *mp_quantity_column(mp_quantity q); /* "param_bytes" */
uint64_t mp_quantity_of(const mp_timeline *t, mp_quantity q);

typedef struct mp_measured_row {
  unsigned line;
  const char *setting[MP_SETTINGS]; /* NULL: not said */
  uint64_t bytes[MP_QUANTITIES];    /* UINT64_MAX: not measured */
} mp_measured_row;

/* ---- a snapshot: torch.cuda.memory._snapshot() written as JSON ---- */

typedef struct mp_measured_alloc {
  uint64_t bytes;      /* as requested */
  const char *where;   /* "modeling_bert.py:123 forward", "" */
} mp_measured_alloc;

typedef struct mp_measured {
  const char *path;
  const mp_measured_row *rows; /* of this model; none: a snapshot */
  uint32_t row_count, other_rows;
  const mp_measured_alloc *allocs; /* in order */
  uint32_t alloc_count;
  uint64_t peak, reserved;     /* of the snapshot, blocks rounded to 512 B; peak 0: it has no history */
} mp_measured;

/* Rows whose onnx_file (else model) names another file than `model` are counted in other_rows and left out. MP_BAD_INPUT with path:line. */
const mp_measured *mp_measured_read(mp_arena *a, const char *path, const char *model, mp_err *err);

/* Answers beside the rows of a table: answers[i] belongs to m->rows[i]; where it is NULL, why[i] says why there is none. At least one there must be. */
const char *mp_report_diff_rows(mp_arena *a, const mp_measured *m, const mp_answer *const *answers, const char *const *why, bool json, mp_err *err);
/* One answer beside a snapshot: peaks, and where the order or size of allocations first part; at most `places` of them. */
const char *mp_report_diff_snapshot(mp_arena *a, const mp_measured *m, const mp_answer *x, uint32_t places, bool json, mp_err *err);

#endif
