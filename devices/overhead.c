/* What a training process takes besides tensors, one table a kind. Every figure can be overridden by an option of the command; each row says where it
 * is from. None of them is a constant of nature: drivers, CUDA releases and the kernels that a model happens to load move them. */
#include <string.h>

#include "devices/row.h"

/* The CUDA context, by compute capability from `cc` up: what the driver shows for a process that holds one small tensor, with lazy module loading
 * (CUDA 11.7 and later); before it PyTorch's kernels alone took over 1 GB. */
static const struct {
  uint8_t cc;
  uint16_t mib;
  const char *from;
} contexts[] = {
    {90, 430, "measured range 300-430 MiB with lazy loading; the upper end for Hopper and later, whose contexts hold more multiprocessors"},
    {80, 400, "measured range 300-430 MiB with lazy loading; A100 and consumer Ampere and Ada boards lie between"},
    {0, 300, "measured range 300-430 MiB with lazy loading; the lower end for boards before Ampere"},
};

/* What the driver keeps of memory.total: total minus the capacity in PyTorch's out-of-memory message (cudaMemGetInfo), GiB as printed there; where
 * drivers print several, the least. */
static const struct {
  const char *device;
  double capacity;
} capacities[] = {
    {"Tesla K80", 11.17},
    {"Tesla K80 (one GPU)", 11.17},
    {"Tesla V100 SXM2 16GB", 15.77},
    {"Tesla V100 SXM2 32GB", 31.74},
    {"GeForce RTX 2060", 5.79},
    {"GeForce RTX 2080 Ti", 10.75},
    {"TITAN RTX", 23.64},
    {"Tesla T4", 14.58},
    {"GeForce RTX 3060 12GB", 11.76},
    {"GeForce RTX 3070", 7.79},
    {"GeForce RTX 3080 10GB", 9.77},
    {"GeForce RTX 3090", 23.69},
    {"RTX A6000", 47.53},
    {"A10G", 22.06},
    {"A30", 23.53},
    {"A100 SXM4 40GB", 39.39},
    {"A100 SXM4 80GB", 79.15},
    {"GeForce RTX 4090", 23.64},
    {"L4", 22.03},
    {"L40S", 44.40},
    {"H100 SXM5 80GB", 79.11},
    {"H200 SXM 141GB", 139.8},
    {"GeForce RTX 5090", 31.36},
    {"B200 (HGX)", 178.35},
    {"RTX PRO 6000 Blackwell", 94.97},
};
/* The other NVIDIA boards from Pascal on (before, memory.total was what old drivers offered, without what they kept): a line through those rows, 0.2
 * GiB + 0.6 % of the memory, at most what the largest of them keeps (0.7 GiB). */
static uint64_t held_by_rule(uint64_t memory) {
  uint64_t held = MIB(205) + memory / 1000 * 6;
  return held < MIB(717) ? held : MIB(717);
}

/* Workspace of matrix products, of one (thread, stream), taken through the caching allocator: PyTorch, aten/src/ATen/cuda/CublasHandlePool.cpp,
 * parseChosenWorkspaceSize (CUBLAS_WORKSPACE_CONFIG unset). First row that fits: what runs on it, capability from `cc`, name from `name`. */
#define SOURCE "PyTorch CublasHandlePool.cpp, parseChosenWorkspaceSize: "
static const struct {
  mp_runtime runs;
  uint8_t cc;
  const char *name;
  uint64_t bytes;
  const char *from;
} cublas[] = {
    {MP_RUNS_ROCM, 0, "Instinct MI3", MIB(128), SOURCE "128 MiB for gfx942 and gfx950, a (thread, stream)"},
    {MP_RUNS_ROCM, 0, "", MIB(32), SOURCE "32 MiB on ROCm, a (thread, stream)"},
    {MP_RUNS_CUDA, 90, "", MIB(32), SOURCE "32 MiB for Hopper and Blackwell, a (thread, stream)"},
    {MP_RUNS_CUDA, 0, "", 8519680, SOURCE "2 x 4,096 KiB + 8 x 16 KiB before Hopper, a (thread, stream)"},
};

#define ROWS(t) (sizeof(t) / sizeof *(t))

void mp_device_overheads(const mp_device *d, mp_device_overhead *o) {
  bool known = d && !mp_device_is_size(d) && d->cc;
  uint8_t cc = known ? d->cc : 86; /* a recent consumer GPU */
  mp_runtime runs = d && d->runs == MP_RUNS_ROCM ? MP_RUNS_ROCM : MP_RUNS_CUDA;
  *o = (mp_device_overhead){.held_from = "contained in the usable figure"};
  for (size_t i = 0; i < ROWS(contexts) && !o->context; i++)
    if (cc >= contexts[i].cc) {
      o->context = MIB(contexts[i].mib);
      o->context_from = contexts[i].from;
    }
  for (size_t i = 0; i < ROWS(cublas) && !o->cublas_stream; i++)
    if (runs == cublas[i].runs && cc >= cublas[i].cc && (!*cublas[i].name || !strncmp(d->name, cublas[i].name, strlen(cublas[i].name)))) {
      o->cublas_stream = cublas[i].bytes;
      o->cublas_from = cublas[i].from;
    }
  o->cublas = 2 * o->cublas_stream;
  if (known && cc >= 60 && strcmp(d->usable_from, MP_SHARED_FROM)) {
    o->held = held_by_rule(d->memory);
    o->held_from = "rule: 0.2 GiB + 0.6 % of the memory, at most 0.7 GiB, as on boards where it is known";
    for (size_t i = 0; i < ROWS(capacities); i++)
      if (!strcmp(capacities[i].device, d->name)) {
        o->held = d->usable - ((uint64_t)(capacities[i].capacity * 1024) << 20);
        o->held_from = "memory.total less the capacity in PyTorch's out-of-memory message";
      }
  }
  if (d && mp_device_is_size(d)) o->held_from = "a size counts as usable: 0";
  o->nccl = MIB(512);
  o->nccl_from = "about 0.5 GB a communicator: channels' buffers, NCCL_BUFFSIZE 4 MiB a channel and peer, and its kernels";
}
