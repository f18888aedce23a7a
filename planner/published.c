/* Published compute figures with the inputs that their source states: the appendix of OpenAI, "AI and Compute" (2018). Facts only; every figure is
 * recomputed. `why` says what is known about a figure that its own inputs do not give. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/memplan.h"

#define NONE 0, 0, 0, 0, 0, 0, 0
#define COUNT(macs, samples, epochs) macs, samples, epochs, 0, 0, 0, 0
#define TIME(devices, tflops, days, utilization) 0, 0, 0, devices, tflops, days, utilization

/* clang-format off */
static const mp_published rows[] = {
    {"alexnet-1", "AlexNet", 1, COUNT(0.75e9, 1.2e6, 90), 1, '=', "470", "0.0054",
     "470 PF follows from 0.7244e9 multiply-adds (the network at 227 x 227), which the appendix prints as 0.75e9", "alexnet.onnx", "batch=1", 1},
    {"alexnet-2", "AlexNet", 2, TIME(2, 1.58, 5.5, 0.33), 1, '=', "500", "0.0058", "rounded in between: 496 PF is printed as 500", NULL, NULL, 0},
    {"dropout-2", "Dropout", 2, TIME(1, 1.54, 4, 0.33), 1, '=', "184", "0.0021", "prints 184 PF where its inputs give 176", NULL, NULL, 0},
    {"zeiler-fergus-2", "Visualizing and understanding conv nets (Zeiler-Fergus)", 2, TIME(1, 1.54, 12, 0.33), 1, '=', "532", "0.0062",
     "prints 532 PF where its inputs give 527", "zeiler-fergus.onnx", "batch=1", 1},
    {"dqn-1", "DQN", 1, COUNT(2.5e6, 160e6, 1), 1, '=', "2.3", "2.7e-5",
     "the stated layers (three input planes; the paper has four frames) sum to 2,555,904, the formula uses 2.5e6 (2.4 PF), 2.3 PF is printed",
     "dqn.onnx", "batch=1", 1},
    {"seq2seq-1", "Seq2Seq", 1, COUNT(380e6, 652e6, 7.5), 1, '=', "7300", "0.085",
     "11,149 PF is printed as 7,300; 3.8e8 is the number of parameters, of which 2.4e8 are word vectors, looked up and not multiplied",
     "seq2seq.onnx", "batch=1,source_seq=1,target_seq=1", 2},
    {"seq2seq-2", "Seq2Seq", 2, TIME(8, 3.5, 10, 0.33), 1, '=', "8100", "0.093", "rounded in between: 7,983 PF is printed as 8,100", NULL, NULL, 0},
    {"vgg-1", "VGG", 1, COUNT(16e9, 1.2e6, 74), 1, '=', "8524", "0.098", "8,524.8 PF and 0.0987: both printed figures are cut off, not rounded",
     "vgg16.onnx", "batch=1", 1},
    {"vgg-2", "VGG", 2, TIME(4, 5.1, 15, 0.33), 1, '=', "10000", "0.12", "the stated inputs give 8,725 PF, 0.87 of the printed 10,000; not known why",
     NULL, NULL, 0},
    {"resnet-1", "ResNet", 1, COUNT(11.4e9, 1.2e6, 128), 1, '=', "10000", "0.117", "10,506 PF is printed as 10,000 and 0.1216 as 0.117",
     "resnet152.onnx", "batch=1", 1},
    {"deepspeech2-1", "DeepSpeech2", 1, COUNT(98e6, 2.16e9, 20), 1, '=', "26000", "0.30",
     "rounded in between: 25,402 PF is printed as 26,000; 98e6 a timestep = 1280^2 x (7 x 4 + 2) x 2", NULL, NULL, 0},
    {"deepspeech2-2", "DeepSpeech2", 2, TIME(16, 6, 5, 0.5), 1, '=', "21000", "0.25", "20,736 PF is printed as 21,000, 0.24 as 0.25", NULL, NULL, 0},
    {"xception-2", "Xception", 2, TIME(60, 8.5, 30, 0.33), 1, '=', "4.5e5", "5.0", "", "xception.onnx", "batch=1", 1},
    {"nas-1", "Neural Architecture Search", 1, COUNT(10e9, 50000, 50), 12800, '=', "1.9e6", "22", "", NULL, NULL, 0},
    {"nas-2", "Neural Architecture Search", 2, TIME(800, 4.2, 28, 0.33), 1, '=', "2.8e6", "31", "", NULL, NULL, 0},
    {"gnmt-2", "Neural machine translation (GNMT)", 2, TIME(96, 8.5, 9, 0.33), 31.6227766016838, '=', "6.9e6", "79",
     "6.62e6 PF is printed as 6.9e6; the factor is sqrt(10 x 100): the production model saw 2 to 3 orders of magnitude more data, once, not 10 times",
     NULL, NULL, 0},
    {"attention", "Attention is all you need", 0, NONE, 1, '=', "", "0.089", "no inputs stated", "transformer.onnx",
     "batch=1,source_seq=25,target_seq=25", 1},
    {"adam", "Adam", 0, NONE, 1, '<', "", "0.0007", "no inputs stated", NULL, NULL, 0},
    {"align-translate", "Learning to align and translate", 0, NONE, 1, '=', "", "0.018", "no inputs stated", NULL, NULL, 0},
    {"gan", "GANs", 0, NONE, 1, '<', "", "0.006", "no inputs stated", "gan.onnx", "batch=1", 1},
    {"word2vec", "Word2Vec", 0, NONE, 1, '<', "", "0.00045", "no inputs stated", "word2vec.onnx", "batch=1", 1},
    {"vae", "Variational auto-encoders", 0, NONE, 1, '<', "", "0.0000055", "no inputs stated", "vae.onnx", "batch=1", 1},
};
/* clang-format on */

uint32_t mp_published_count(void) { return sizeof rows / sizeof *rows; }
const mp_published *mp_published_at(uint32_t i) { return i < mp_published_count() ? &rows[i] : NULL; }

double mp_published_pfs_days(const mp_published *p) {
  if (p->method == 1) return p->multiply_adds * p->samples * p->epochs * MP_OPS_A_MULTIPLY_ADD * MP_PASSES * p->extra / MP_PFS_DAY;
  if (p->method == 2) return p->devices * p->tflops * 1e12 * p->days * 86400 * p->utilization * p->extra / MP_PFS_DAY;
  return 0;
}

bool mp_follows(double value, const char *printed) {
  int digits = 0;
  for (const char *p = printed; *p && *p != 'e' && *p != 'E'; p++)
    if (*p >= '0' && *p <= '9' && (digits || *p != '0')) digits++;
  if (!digits || value <= 0) return false;
  char rounded[64];
  snprintf(rounded, sizeof rounded, "%.*e", digits - 1, value);
  return strtod(rounded, NULL) == strtod(printed, NULL);
}
