/* From a word to a device: names and aliases compared by their letters and digits alone, sizes, and the nearest rows when nothing fits. */
#include <ctype.h>
#include <string.h>

#include "devices/devices.h"

#define WORD 64 /* longest name, squeezed */

static const mp_device_table *const tables[] = {&mp_devices_nvidia, &mp_devices_other};

uint32_t mp_device_count(void) {
  uint32_t n = 0;
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) n += tables[t]->count;
  return n;
}

const mp_device *mp_device_at(uint32_t i) {
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
    if (i < tables[t]->count) return &tables[t]->rows[i];
    i -= tables[t]->count;
  }
  return NULL;
}

const char *mp_runtime_name(mp_runtime r) {
  static const char *const names[] = {"cuda", "rocm", "other"};
  return names[r];
}

double mp_device_peak(const mp_device *d, const char *precision) {
  const struct {
    const char *name;
    double peak;
  } peaks[] = {{"fp32", d->fp32}, {"tf32", d->tf32}, {"fp16", d->fp16}, {"bf16", d->bf16}, {"fp8", d->fp8}};
  for (size_t i = 0; i < sizeof peaks / sizeof *peaks; i++)
    if (!strcmp(peaks[i].name, precision)) return peaks[i].peak;
  return -1;
}

/* letters and digits of text, lower case, up to the first of `stops`; returns where it ended */
static const char *squeeze(const char *text, const char *stops, char word[WORD]) {
  size_t n = 0;
  for (; *text && !strchr(stops, *text); text++)
    if (isalnum((unsigned char)*text) && n < WORD - 1) word[n++] = (char)tolower((unsigned char)*text);
  word[n] = 0;
  return text;
}

/* What sellers put before a name, and what people leave out; each is taken off once, in this order. */
static const char *bare(const char *word) {
  static const char *const fronts[] = {"nvidia", "amd",     "google", "intel",    "aws", "apple", "tesla",
                                       "quadro", "geforce", "radeon", "instinct", "rtx", "gtx"};
  for (size_t i = 0; i < sizeof fronts / sizeof *fronts; i++) {
    size_t n = strlen(fronts[i]);
    if (!strncmp(word, fronts[i], n) && word[n]) word += n;
  }
  return word;
}

/* calls see(word) for a row's name, its name without the maker's words, and its aliases, until one returns true */
static bool words(const mp_device *d, bool (*see)(void *, const char *), void *to) {
  char word[WORD];
  squeeze(d->name, "", word);
  if (see(to, word)) return true;
  for (const char *p = d->aliases; *p;) {
    p = squeeze(p, " ", word);
    if (see(to, word)) return true;
    while (*p == ' ') p++;
  }
  return false;
}

static bool same(void *to, const char *word) { return !strcmp(to, word); }
static bool same_bare(void *to, const char *word) { return !strcmp(to, bare(word)); }

static const mp_device *lookup(bool (*see)(void *, const char *), const char *word) {
  for (uint32_t i = 0; i < mp_device_count(); i++)
    if (words(mp_device_at(i), see, (void *)(uintptr_t)word)) return mp_device_at(i);
  return NULL;
}

/* ---- near misses ---- */

/* Levenshtein with two rows */
static unsigned distance(const char *a, const char *b) {
  unsigned row[WORD + 1], n = (unsigned)strlen(b);
  for (unsigned j = 0; j <= n; j++) row[j] = j;
  for (unsigned i = 1; a[i - 1]; i++) {
    unsigned diagonal = row[0];
    row[0] = i;
    for (unsigned j = 1; j <= n; j++) {
      unsigned up = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
      if (up + 1 < best) best = up + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      diagonal = up;
      row[j] = best;
    }
  }
  return row[n];
}

typedef struct nearest {
  const char *word;
  unsigned best;
} nearest;

static bool measure(void *to, const char *word) {
  nearest *n = to;
  unsigned d = 2 * distance(n->word, word), e = 2 * distance(n->word, bare(word)) + 1;
  if (strlen(n->word) >= 3 && strstr(word, n->word)) d = 1; /* a part of the name: "1080" of "gtx1080" */
  if (e < d) d = e;
  if (d < n->best) n->best = d;
  return false;
}

/* "did you mean A, B or C?", or what to do where nothing is near */
static const char *suggest(mp_arena *a, const char *word) {
  struct {
    unsigned far;
    const mp_device *d;
  } top[3] = {{UINT32_MAX, NULL}, {UINT32_MAX, NULL}, {UINT32_MAX, NULL}};
  for (uint32_t i = 0; i < mp_device_count(); i++) {
    nearest n = {word, UINT32_MAX};
    words(mp_device_at(i), measure, &n);
    for (int k = 0; k < 3; k++)
      if (n.best < top[k].far) {
        memmove(&top[k + 1], &top[k], (size_t)(2 - k) * sizeof *top);
        top[k].far = n.best;
        top[k].d = mp_device_at(i);
        break;
      }
  }
  unsigned limit = (unsigned)strlen(word) + 1; /* half of the letters wrong (distances are doubled) */
  mp_text t = {0};
  for (int k = 0; k < 3 && top[k].d && top[k].far <= limit && top[k].far <= top[0].far + 4; k++)
    mp_text_add(a, &t, "%s%s", k ? ", " : "did you mean ", top[k].d->name);
  if (!t.n) return "memplan devices lists them; a size such as 24GB will do as well";
  mp_text_add(a, &t, "? memplan devices lists all; a size such as 24GB will do as well");
  return t.at;
}

/* ---- sizes ---- */

bool mp_size_parse(const char *text, uint64_t *bytes) {
  uint64_t whole = 0, part = 0, unit = 1;
  unsigned places = 0;
  const char *p = text;
  while (isspace((unsigned char)*p)) p++;
  if (!isdigit((unsigned char)*p)) return false;
  for (; isdigit((unsigned char)*p); p++)
    if (!mp_mul_u64(whole, 10, &whole) || !mp_add_u64(whole, (uint64_t)(*p - '0'), &whole)) return false;
  if (*p == '.') {
    if (!isdigit((unsigned char)*++p)) return false;
    for (; isdigit((unsigned char)*p); p++)
      if (places < 6) part = part * 10 + (uint64_t)(*p - '0'), places++;
  }
  while (isspace((unsigned char)*p)) p++;
  static const char units[] = "kmgtp";
  const char *u = *p ? strchr(units, tolower((unsigned char)*p)) : NULL;
  if (u) {
    unit = (uint64_t)1 << (10 * (u - units + 1));
    if (tolower((unsigned char)*++p) == 'i') {
      p++;
      if (tolower((unsigned char)*p) != 'b') return false; /* "24Gi" is Kubernetes' word, but then so is "24G": only "iB" is taken */
    }
  }
  if (tolower((unsigned char)*p) == 'b') p++;
  while (isspace((unsigned char)*p)) p++;
  if (*p || (places && unit == 1)) return false;
  if (!mp_mul_u64(whole, unit, &whole)) return false;
  uint64_t scale = 1;
  for (unsigned i = 0; i < places; i++) scale *= 10;
  uint64_t extra = (uint64_t)((long double)part * (long double)unit / (long double)scale);
  return mp_add_u64(whole, extra, bytes);
}

/* ---- the stage ---- */

static const void *find(mp_arena *a, void *arg) {
  const char *text = arg;
  char word[WORD];
  squeeze(text, "", word);
  const mp_device *d = *word ? lookup(same, word) : NULL;
  uint64_t bytes;
  if (!d && mp_size_parse(text, &bytes)) {
    if (!bytes) mp_fail(a, MP_BAD_INPUT, "device '%s': a device has at least one byte; give a size such as 24GB", text);
    mp_device *size = mp_alloc(a, sizeof *size);
    *size = (mp_device){.name = mp_strdup(a, text), .aliases = "", .vendor = "", .parts = 1, .memory = bytes, .usable = bytes};
    size->usable_from = "given as a size: all of it counts";
    size->source = "given as a size";
    return size;
  }
  if (!d && *word) d = lookup(same_bare, bare(word));
  if (!d) mp_fail(a, MP_BAD_INPUT, "device '%s': no such device; %s", text, suggest(a, word));
  return d;
}

const mp_device *mp_device_find(mp_arena *a, const char *text, mp_err *err) { return mp_protect(a, err, find, (void *)(uintptr_t)text); }
