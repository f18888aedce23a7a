/* How fast and how small the importer is, beside the Python package onnx (its C++ parser and shape inference) on the same graphs.
 *
 *     bench [FOLDER [NAME...]]      FOLDER keeps the graphs between runs (default /tmp/memplan-bench)
 *
 * Environment: MEMPLAN_PYTHON (default python3; needs onnx and numpy), MEMPLAN_SHARED (default ../shared; bench/import/gen.py makes the graphs). Each
 * side times itself from the file's path to the last shape, in a process of its own: best of twenty runs for memplan, of two for onnx. `cpu` is
 * processor time, which a busy machine does not stretch. MB are the process's peak; 10^6 bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "onnx/onnx.h"

typedef struct figure {
  double seconds, cpu, megabytes;
} figure;

static const struct {
  const char *name;
  double seconds, megabytes; /* what memplan promises; 0: nothing */
} cases[] = {{"llama", 0.015, 0}, {"d10k", 0, 0}, {"d100k", 0.150, 80}, {"s100k", 0, 0}, {"inline510", 0.010, 20}};

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double peak(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)u.ru_maxrss * 1024 / 1e6;
}

static figure once(const char *path) {
  figure f = {now(CLOCK_MONOTONIC), now(CLOCK_PROCESS_CPUTIME_ID), 0};
  mp_err err = {0};
  mp_arena *a = mp_arena_new(0);
  const mp_model *m = a ? mp_model_read(a, path, &err) : NULL;
  const mp_graph *g = m ? mp_graph_build(a, m, NULL, &err) : NULL;
  f.seconds = now(CLOCK_MONOTONIC) - f.seconds;
  f.cpu = now(CLOCK_PROCESS_CPUTIME_ID) - f.cpu;
  if (!g) {
    fprintf(stderr, "bench: %s\n", err.text);
    exit(1);
  }
  mp_model_close(m);
  mp_arena_free(a);
  f.megabytes = peak();
  return f;
}

/* In a child, so that the peak is this graph's alone: the first run's peak, the best of all runs' time. */
static figure ours(const char *path) {
  int ends[2];
  figure f = {0};
  fflush(stdout);
  if (pipe(ends)) exit(1);
  pid_t child = fork();
  if (!child) {
    f = once(path);
    for (int i = 0; i < 19; i++) {
      figure again = once(path);
      if (again.seconds < f.seconds) f.seconds = again.seconds;
      if (again.cpu < f.cpu) f.cpu = again.cpu;
    }
    _exit(write(ends[1], &f, sizeof f) != sizeof f);
  }
  close(ends[1]);
  bool got = child > 0 && read(ends[0], &f, sizeof f) == sizeof f;
  close(ends[0]);
  int status = 0;
  if (child > 0) waitpid(child, &status, 0);
  if (!got || status) exit(1);
  return f;
}

static const char script[] =
    "import resource, sys, time, onnx\n"
    "best = cpu = 1e9\n"
    "for i in range(2):\n"
    "    t, c = time.perf_counter(), time.process_time()\n"
    "    m = onnx.load(sys.argv[1], load_external_data=False)\n"
    "    m = onnx.shape_inference.infer_shapes(m, data_prop=True)\n"
    "    best, cpu = min(best, time.perf_counter() - t), min(cpu, time.process_time() - c)\n"
    "    del m\n"
    "print(best, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, onnx.__version__)\n";

static bool theirs(const char *python, const char *path, figure *f, char version[64]) {
  char line[8192];
  snprintf(line, sizeof line, "'%s' -c '%s' '%s'", python, script, path);
  FILE *p = popen(line, "r");
  if (!p) return false;
  bool ok = fscanf(p, "%lf %lf %lf %63s", &f->seconds, &f->cpu, &f->megabytes, version) == 4;
  return pclose(p) == 0 && ok;
}

static void make(const char *python, const char *folder, const char *name) {
  char path[4096], line[8192];
  struct stat st;
  snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
  if (stat(path, &st) == 0) return;
  const char *shared = getenv("MEMPLAN_SHARED");
  snprintf(line, sizeof line, "'%s' '%s/bench/import/gen.py' '%s' %s >&2", python, shared ? shared : MEMPLAN_SOURCE "/../shared", folder, name);
  if (system(line)) {
    fprintf(stderr, "bench: %s could not be made; set MEMPLAN_SHARED and MEMPLAN_PYTHON\n", path);
    exit(1);
  }
}

static bool wanted(const char *name, int argc, char **argv) {
  for (int i = 2; i < argc; i++)
    if (!strcmp(argv[i], name)) return true;
  return argc <= 2;
}

int main(int argc, char **argv) {
  const char *python = getenv("MEMPLAN_PYTHON"), *folder = argc > 1 ? argv[1] : "/tmp/memplan-bench";
  if (!python) python = "python3";
  int missed = 0;
  mkdir(folder, 0777);
  printf("%-10s %10s %8s %8s   %8s %8s %8s   %8s %8s   %s\n", "graph", "memplan s", "cpu", "MB", "onnx s", "cpu", "MB", "faster", "smaller",
         "promised");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (!wanted(cases[i].name, argc, argv)) continue;
    char path[4096], version[64] = "";
    make(python, folder, cases[i].name);
    snprintf(path, sizeof path, "%s/%s.onnx", folder, cases[i].name);
    figure we = ours(path), they = {0};
    printf("%-10s %10.4f %8.4f %8.1f   ", cases[i].name, we.seconds, we.cpu, we.megabytes);
    if (theirs(python, path, &they, version))
      printf("%8.3f %8.3f %8.0f   %7.1fx %7.1fx   ", they.seconds, they.cpu, they.megabytes, they.seconds / we.seconds,
             they.megabytes / we.megabytes);
    else
      printf("%8s %8s %8s   %8s %8s   ", "-", "-", "-", "-", "-");
    bool short_of = (cases[i].seconds > 0 && we.seconds > cases[i].seconds) || (cases[i].megabytes > 0 && we.megabytes > cases[i].megabytes);
    missed += short_of;
    if (cases[i].seconds > 0) printf("%.0f ms", cases[i].seconds * 1000);
    if (cases[i].megabytes > 0) printf(", %.0f MB", cases[i].megabytes);
    printf("%s%s%s\n", short_of ? ": MISSED" : "", version[0] ? "   onnx " : "", version);
    fflush(stdout);
  }
  return missed != 0;
}
