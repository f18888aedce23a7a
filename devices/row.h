/* How a catalogue row is written; for the room's own files.
 *
 * The usable memory is the driver's own figure where it is known; else a rule that says what drivers keep back, measured on the row's neighbours. */
#ifndef MP_DEVICES_ROW_H
#define MP_DEVICES_ROW_H

#include "devices/devices.h"

#define GIB(x) ((uint64_t)((x)*1024) << 20)
#define MIB(x) ((uint64_t)(x) << 20)

/* memory, usable, usable_from */
#define SMI(gib, mib) GIB(gib), MIB(mib), "driver: nvidia-smi, memory.total"
#define SMI_ECC(gib, mib) GIB(gib), MIB(mib), "driver: nvidia-smi, memory.total, with ECC on"
#define PLAIN(gib) GIB(gib), GIB(gib) - GIB(gib) / 2048, "rule: graphics memory without ECC, less 1/2048 (RTX 4090: 24,564 of 24,576 MiB)"
#define ECC(gib) GIB(gib), GIB(gib) - GIB(gib) / 16, "rule: ECC kept in graphics memory takes 1/16 (T4, L4, A40)"
#define KEPLER(gib) GIB(gib), GIB(gib) - GIB(gib) / 14, "rule: ECC kept in GDDR5 takes 1/16 and the driver the rest (K80: 11,441 of 12,288 MiB)"
#define HBM(gib) GIB(gib), GIB(gib) - GIB(gib) / 200, "rule: stacked memory, less 1/200 (H100: 81,559 of 81,920 MiB)"
#define ROCM(gib) GIB(gib), GIB(gib) - MIB(16), "rule: ROCm keeps 16 MiB (MI210, MI250X: rocm-smi, 68,702,699,520 bytes of 64 GiB)"
#define MP_SHARED_FROM "rule: memory shared with the host, whose firmware and system take at least 1/16"
#define SHARED(gib) GIB(gib), GIB(gib) - GIB(gib) / 16, MP_SHARED_FROM
#define METAL(gib) \
  GIB(gib), GIB(gib) - GIB(gib) / ((gib) > 36 ? 4 : 3), "rule: Metal's recommendedMaxWorkingSetSize, 3/4 of unified memory (2/3 up to 36 GB)"
#define XLA(gib, mib) GIB(gib), MIB(mib), "driver: the limit that XLA's out-of-memory error names"
#define WHOLE(gib) GIB(gib), GIB(gib), "rule: no reserve is documented"

#endif
