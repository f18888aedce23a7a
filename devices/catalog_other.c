/* AMD, Google, Intel, AWS, Apple. Columns and rules as in catalog_nvidia.c. MI250X, TPU v2 and v3 boards: parts, with the board's figures; one die
 * or one core of them is a row of its own, because clouds and supercomputers count in those. */
#include "devices/row.h"

#define A "AMD"
#define G "Google"
#define I "Intel"
#define W "AWS"
#define M "Apple"
#define R MP_RUNS_ROCM
#define O MP_RUNS_OTHER
#define NEURON "AWS Neuron documentation"
#define METAL_PAGE "Apple newsroom (unified memory, the largest configuration)"

/* clang-format off */
static const mp_device rows[] = {
    {"Radeon Instinct MI25", "mi25", A, 2017, 1, ROCM(16), 484, 12.3, 0, 24.6, 0, 0, 32, 300, 0, R, "MI25 data sheet"},
    {"Radeon Instinct MI50 16GB", "mi50 mi50-16gb", A, 2018, 1, ROCM(16), 1024, 13.3, 0, 26.5, 0, 0, 0, 300, 0, R, "MI50 data sheet"},
    {"Radeon Instinct MI50 32GB", "mi50-32gb", A, 2018, 1, ROCM(32), 1024, 13.3, 0, 26.5, 0, 0, 0, 300, 0, R, "MI50 data sheet"},
    {"Radeon Instinct MI60", "mi60", A, 2018, 1, ROCM(32), 1024, 14.7, 0, 29.5, 0, 0, 0, 300, 0, R, "MI60 data sheet"},
    {"Radeon VII", "radeon7", A, 2019, 1, ROCM(16), 1024, 13.4, 0, 0, 0, 0, 32, 300, 0, R, "AMD product page"},
    {"Instinct MI100", "mi100", A, 2020, 1, ROCM(32), 1228.8, 23.1, 0, 184.6, 92.3, 0, 276, 300, 0, R, "MI100 data sheet (three IF links)"},
    {"Instinct MI210", "mi210", A, 2021, 1, ROCM(64), 1638.4, 22.6, 0, 181, 181, 0, 300, 300, 0, R, "MI210 data sheet (vector fp32)"},
    {"Instinct MI250", "mi250", A, 2021, 2, ROCM(64), 3276.8, 45.3, 0, 362.1, 362.1, 0, 800, 500, 0, R, "MI250 data sheet (two dies, 64 GB each)"},
    {"Instinct MI250X", "mi250x", A, 2021, 2, ROCM(64), 3276.8, 47.9, 0, 383, 383, 0, 800, 500, 0, R, "MI250X data sheet (two dies, 64 GB each)"},
    {"Instinct MI250X (one GCD)", "mi250x-gcd", A, 2021, 1, ROCM(64), 1638.4, 23.9, 0, 191.5, 191.5, 0, 400, 0, 0, R, "half of the MI250X"},
    {"Instinct MI300A", "mi300a", A, 2023, 1, SHARED(128), 5300, 122.6, 490.3, 980.6, 980.6, 1961.2, 0, 550, 0, R,
     "MI300A data sheet (unified memory)"},
    {"Instinct MI300X", "mi300x mi300", A, 2023, 1, ROCM(192), 5300, 163.4, 653.7, 1307.4, 1307.4, 2614.9, 896, 750, 0, R, "MI300X data sheet"},
    {"Instinct MI325X", "mi325x", A, 2024, 1, ROCM(256), 6000, 163.4, 653.7, 1307.4, 1307.4, 2614.9, 896, 1000, 0, R, "MI325X data sheet"},
    {"Instinct MI350X", "mi350x", A, 2025, 1, ROCM(288), 8000, 144.2, 0, 2306.9, 2306.9, 4613.9, 1075, 1000, 0, R, "MI350X data sheet"},
    {"Instinct MI355X", "mi355x", A, 2025, 1, ROCM(288), 8000, 157.3, 0, 2516.6, 2516.6, 5033.2, 1075, 1400, 0, R, "MI355X data sheet"},
    {"Radeon RX 6900 XT", "rx6900xt 6900xt", A, 2020, 1, ROCM(16), 512, 23, 0, 0, 0, 0, 64, 300, 0, R, "AMD product page"},
    {"Radeon PRO W6800", "w6800", A, 2021, 1, ROCM(32), 512, 17.8, 0, 0, 0, 0, 64, 250, 0, R, "AMD product page"},
    {"Radeon RX 7900 XT", "rx7900xt 7900xt", A, 2022, 1, ROCM(20), 800, 51.6, 0, 0, 0, 0, 64, 315, 0, R, "AMD product page"},
    {"Radeon RX 7900 XTX", "rx7900xtx 7900xtx", A, 2022, 1, ROCM(24), 960, 61.4, 0, 0, 0, 0, 64, 355, 0, R, "AMD product page"},
    {"Radeon PRO W7900", "w7900", A, 2023, 1, ROCM(48), 864, 61.3, 0, 0, 0, 0, 64, 295, 0, R, "AMD product page"},
    {"Radeon RX 9070 XT", "rx9070xt 9070xt", A, 2025, 1, ROCM(16), 640, 48.7, 0, 0, 0, 0, 128, 304, 0, R, "AMD product page"},

    {"TPU v2 (board, 4 chips)", "tpu-v2 tpu-v2-8 colab-tpu", G, 2017, 8, XLA(8, 7660), 2800, 0, 0, 0, 180, 0, 0, 1120, 0, O,
     "Google Cloud: 180 TFLOPS, 64 GB a board; power: Jouppi et al. 2021, 280 W a chip"},
    {"TPU v2 (one core)", "tpu-v2-core", G, 2017, 1, XLA(8, 7660), 350, 0, 0, 0, 22.5, 0, 0, 0, 0, O,
     "half a chip; Jouppi et al. 2020: 700 GB/s a chip"},
    {"TPU v3 (board, 4 chips)", "tpu-v3 tpu-v3-8 kaggle-tpu", G, 2018, 8, XLA(16, 15852), 3600, 0, 0, 0, 420, 0, 0, 1800, 0, O,
     "Google Cloud: 420 TFLOPS, 128 GB a board; power: Jouppi et al. 2021, 450 W a chip"},
    {"TPU v3 (one core)", "tpu-v3-core", G, 2018, 1, XLA(16, 15852), 450, 0, 0, 0, 61.5, 0, 0, 0, 0, O, "half a chip: chip 123 TFLOP/s, 900 GB/s"},
    {"TPU v4 (chip)", "tpu-v4", G, 2021, 1, XLA(32, 31488), 1228, 0, 0, 0, 275, 0, 0, 0, 0, O, "Cloud TPU documentation, v4"},
    {"TPU v5e (chip)", "tpu-v5e tpu-v5-lite colab-v5e", G, 2023, 1, XLA(16, 16128), 819, 0, 0, 0, 197, 0, 400, 0, 0, O,
     "Cloud TPU documentation, v5e"},
    {"TPU v5p (chip)", "tpu-v5p", G, 2023, 1, WHOLE(95), 2765, 0, 0, 0, 459, 0, 1200, 0, 0, O, "Cloud TPU documentation, v5p"},
    {"TPU v6e (chip)", "tpu-v6e trillium colab-v6e", G, 2024, 1, XLA(32, 32000), 1638, 0, 0, 0, 918, 0, 800, 0, 0, O, "Cloud TPU documentation, v6e"},
    {"TPU v7 (chip)", "tpu-v7 ironwood tpu7x", G, 2025, 2, WHOLE(96), 7370, 0, 0, 0, 2307, 4614, 1200, 0, 0, O,
     "Cloud TPU documentation, TPU7x (two chiplets)"},

    {"Gaudi", "gaudi1 hl205 dl1", I, 2019, 1, WHOLE(32), 1000, 0, 0, 0, 0, 0, 250, 350, 0, O, "HL-205 data sheet"},
    {"Gaudi 2", "gaudi2 hl225", I, 2022, 1, WHOLE(96), 2460, 0, 0, 0, 432, 865, 600, 600, 0, O, "Gaudi 2 white paper; Hot Chips 2024"},
    {"Gaudi 3", "gaudi3 hl325", I, 2024, 1, WHOLE(128), 3670, 0, 0, 0, 1835, 1835, 1200, 900, 0, O, "Hot Chips 2024 (24 x 200 GbE)"},
    {"Data Center GPU Max 1550", "max1550 ponte-vecchio pvc", I, 2023, 2, WHOLE(64), 3276.8, 52, 419, 839, 839, 0, 0, 600, 0, O,
     "Intel Max 1550 specification (two stacks, 64 GB each)"},
    {"Data Center GPU Max 1100", "max1100", I, 2023, 1, WHOLE(48), 1228.8, 22, 0, 0, 0, 0, 0, 300, 0, O, "Intel Max 1100 specification"},
    {"Arc A770 16GB", "a770 arc-a770", I, 2022, 1, PLAIN(16), 560, 0, 0, 0, 0, 0, 64, 225, 0, O, "Intel product page"},
    {"Arc B580", "b580 arc-b580", I, 2024, 1, PLAIN(12), 456, 0, 0, 0, 0, 0, 32, 190, 0, O, "Intel product page"},

    {"Trainium1 (chip)", "trainium trainium1 trn1", W, 2021, 1, WHOLE(32), 820, 47.5, 190, 190, 190, 190, 0, 0, 0, O, NEURON},
    {"Trainium2 (chip)", "trainium2 trn2", W, 2024, 1, WHOLE(96), 2900, 181, 667, 667, 667, 1299, 1280, 0, 0, O, NEURON " (dense; NeuronLink-v3)"},
    {"Trainium3 (chip)", "trainium3 trn3", W, 2025, 1, WHOLE(144), 4900, 183, 671, 671, 671, 2517, 2560, 0, 0, O, NEURON " (MXFP8)"},
    {"Inferentia2 (chip)", "inferentia2 inf2", W, 2023, 1, WHOLE(32), 820, 47.5, 190, 190, 190, 190, 0, 0, 0, O, NEURON},

    {"M1", "apple-m1 m1-16gb", M, 2020, 1, METAL(16), 68.25, 2.6, 0, 0, 0, 0, 0, 0, 0, O, METAL_PAGE},
    {"M1 Max", "apple-m1-max", M, 2021, 1, METAL(64), 400, 10.4, 0, 0, 0, 0, 0, 0, 0, O, METAL_PAGE},
    {"M1 Ultra", "apple-m1-ultra", M, 2022, 1, METAL(128), 800, 21, 0, 0, 0, 0, 0, 0, 0, O, METAL_PAGE},
    {"M2", "apple-m2", M, 2022, 1, METAL(24), 100, 3.6, 0, 0, 0, 0, 0, 0, 0, O, METAL_PAGE},
    {"M2 Max", "apple-m2-max", M, 2023, 1, METAL(96), 400, 13.6, 0, 0, 0, 0, 0, 0, 0, O, METAL_PAGE},
    {"M2 Ultra", "apple-m2-ultra", M, 2023, 1, METAL(192), 800, 0, 0, 0, 0, 0, 0, 0, 0, O, METAL_PAGE},
    {"M3", "apple-m3", M, 2023, 1, METAL(24), 100, 0, 0, 0, 0, 0, 0, 0, 0, O, METAL_PAGE},
    {"M3 Max", "apple-m3-max", M, 2023, 1, METAL(128), 400, 0, 0, 0, 0, 0, 0, 0, 0, O, METAL_PAGE},
    {"M3 Ultra", "apple-m3-ultra", M, 2025, 1, METAL(512), 819, 0, 0, 0, 0, 0, 0, 0, 0, O, METAL_PAGE},
    {"M4", "apple-m4", M, 2024, 1, METAL(32), 120, 0, 0, 0, 0, 0, 0, 0, 0, O, METAL_PAGE},
    {"M4 Pro", "apple-m4-pro", M, 2024, 1, METAL(64), 273, 0, 0, 0, 0, 0, 0, 0, 0, O, METAL_PAGE},
    {"M4 Max", "apple-m4-max", M, 2024, 1, METAL(128), 546, 0, 0, 0, 0, 0, 0, 0, 0, O, METAL_PAGE},
};

/* clang-format on */
const mp_device_table mp_devices_other = {rows, sizeof rows / sizeof *rows};
