/* The door to the devices room: facts about accelerators. It knows nothing of models or of planning.
 *
 * A device is one row: what is sold under one name. A board may be several memories (a Tesla K80 is two GPUs of 12 GiB, a TPU v3 board eight cores
 * of 16 GiB): a process sees one of them, so `memory` and `usable` are one part's; bandwidth, peaks and power are the whole device's, as its data
 * sheet has them. A size ("24GB") is a device too: one part, all of it usable.
 * Nothing is guessed: a figure that no source states is 0. */
#ifndef MP_DEVICES_H
#define MP_DEVICES_H

#include "onnx/base.h"

/* what PyTorch is on it; OTHER: memory figures are "as PyTorch on CUDA would" */
typedef enum mp_runtime { MP_RUNS_CUDA, MP_RUNS_ROCM, MP_RUNS_OTHER } mp_runtime;

typedef struct mp_device {
  const char *name;
  const char *aliases;       /* separated by spaces; letters and digits are compared, nothing else */
  const char *vendor;
  uint16_t year, parts;      /* parts: equal memories */
  uint64_t memory;           /* bytes of one part, as sold (powers of 1024) */
  uint64_t usable;           /* bytes of one part that the driver has for processes */
  const char *usable_from;   /* where `usable` comes from */
  double bandwidth;          /* GB/s (1e9) */
  double fp32, tf32, fp16, bf16, fp8; /* dense peaks, TFLOP/s (1e12), accumulating in fp32 where a board differs; fp32 without tensor cores */
  double link;               /* GB/s, both directions together: the best interconnect, else PCIe */
  double watts;              /* board power */
  uint8_t cc;                /* CUDA compute capability times ten, 0 if none */
  mp_runtime runs;
  const char *source;        /* of memory, bandwidth, peaks, link, power */
} mp_device;
static inline bool mp_device_is_size(const mp_device *d) { return !d->year; } /* made from a size */

/* A name or alias of the catalogue (case and punctuation do not count; "NVIDIA", "GeForce", "Tesla" and the like may be left out), or a size. NULL
 * with one line in err that names the nearest rows. A row lives for ever, a size as long as the arena. */
const mp_device *mp_device_find(mp_arena *a, const char *text, mp_err *err);
uint32_t mp_device_count(void);
const mp_device *mp_device_at(uint32_t i); /* in the order of the catalogue: vendor, then year */

/* "24GB", "24GiB", "80g", "512 MiB", "1.5T", "1000000": bytes, powers of 1024. false when text is no size. */
bool mp_size_parse(const char *text, uint64_t *bytes);

const char *mp_runtime_name(mp_runtime r); /* "cuda", "rocm", "other" */

/* The peak of a precision ("fp32", "tf32", "fp16", "bf16", "fp8") in TFLOP/s, 0 where the row has none; -1 for a precision that is none of these. */
double mp_device_peak(const mp_device *d, const char *precision);

/* ---- what a process takes besides tensors (overhead.c) ---- */

typedef struct mp_device_overhead {
  uint64_t context;          /* CUDA context of one process: the runtime and the kernels that are loaded lazily */
  uint64_t held;             /* what the driver keeps of `usable`: no process can have it */
  uint64_t cublas_stream;    /* cuBLAS workspace of one (thread, stream) */
  uint64_t cublas;           /* of a training process: the forward thread and autograd's */
  uint64_t nccl;             /* one communicator */
  const char *context_from, *held_from, *cublas_from, *nccl_from;
} mp_device_overhead;
/* For a size and for what does not run CUDA: the figures of a recent consumer GPU. cuDNN's workspaces depend on the run: planner/timeline.c. */
void mp_device_overheads(const mp_device *d, mp_device_overhead *o);

/* ---- the room's own ---- */
typedef struct mp_device_table {
  const mp_device *rows;
  uint32_t count;
} mp_device_table;
extern const mp_device_table mp_devices_nvidia, mp_devices_other;

#endif
