/* Headers of tensors: dtype, dims, where the payload lies. Weights are never read; what is small enough to decide a shape is. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "onnx/model.h"

#define MAX_FLOATS 64 /* contents of floating tensors are kept up to this many elements */

typedef struct mp_outside { /* a file of external data */
  bool present;
  uint64_t size;
  bool warned;
} mp_outside;

/* ---- external data: only looked at from outside, and only where the location stays beside the model ---- */

static bool is_symlink_inside(const char *base, size_t base_n, const char *full) { /* any component below the model's folder */
  char part[4096];
  for (const char *p = full + base_n;; p++) {
    if (*p && *p != '/') continue;
    size_t n = (size_t)(p - full);
    if (n >= sizeof part) return true;
    memcpy(part, full, n);
    part[n] = 0;
    struct stat st;
    if (n > base_n && lstat(part, &st) == 0 && S_ISLNK(st.st_mode)) return true;
    if (!*p) return false;
  }
  (void)base;
}

static mp_outside look_at(mp_build *b, const char *location) {
  mp_outside o = {0};
  bool climbs = false;
  for (const char *p = location; (p = strstr(p, "..")); p += 2) climbs |= (p == location || p[-1] == '/') && (!p[2] || p[2] == '/');
  if (location[0] == '/' || climbs) {
    mp_build_warn(b, "external data at '%.200s' lies outside the model's folder: it is not opened", location);
    return o;
  }
  if (!b->model->mapped) return o;
  const char *slash = strrchr(b->model->path, '/');
  size_t base = slash ? (size_t)(slash + 1 - b->model->path) : 0;
  const char *full = mp_format(b->a, "%.*s%s", (int)base, b->model->path, location);
  if (is_symlink_inside(b->model->path, base, full)) {
    mp_build_warn(b, "external data at '%.200s' is a symbolic link: it is not opened", location);
    return o;
  }
  struct stat st;
  if (lstat(full, &st) || !S_ISREG(st.st_mode)) return o; /* absent is normal */
  o.present = true;
  o.size = (uint64_t)st.st_size;
  return o;
}

static bool number_of(mp_span s, uint64_t *n) {
  *n = 0;
  for (size_t i = 0; i < s.n; i++)
    if (s.at[i] < '0' || s.at[i] > '9' || !mp_mul_u64(*n, 10, n) || !mp_add_u64(*n, (uint64_t)(s.at[i] - '0'), n)) return false;
  return s.n > 0;
}

typedef struct place { /* external_data entries */
  mp_span location, offset, length;
} place;

static void check_outside(mp_build *b, const mp_tensor *t, const place *p, uint64_t bytes) {
  if (!p->location.n || p->location.n > 2048) return;
  bool added;
  uint32_t id = mp_names_add(b->a, b->locations, (const char *)p->location.at, p->location.n, &added);
  if (added) *mp_push(b->a, &b->outside) = look_at(b, mp_names_text(b->locations, id));
  mp_outside *o = &b->outside.at[id];
  if (!o->present || o->warned) return;
  uint64_t offset = 0, length = bytes, end;
  bool ok = (!p->offset.n || number_of(p->offset, &offset)) && (!p->length.n || number_of(p->length, &length)) && mp_add_u64(offset, length, &end) &&
            end <= o->size && length >= bytes;
  if (ok) return;
  o->warned = true;
  mp_build_warn(b, "external data '%.200s' has %llu bytes, tensor '%.100s' needs %llu from byte %.*s on: the file is cut short or of another model",
                mp_names_text(b->locations, id), (unsigned long long)o->size, t->name, (unsigned long long)bytes,
                (int)(p->offset.n ? p->offset.n : 1), p->offset.n ? (const char *)p->offset.at : "0");
}

/* ---- small contents ---- */

static bool is_integer(mp_dtype t) { return (t >= MP_UINT8 && t <= MP_INT64) || t == MP_BOOL || t == MP_UINT32 || t == MP_UINT64; }

static double half(uint64_t bits) { /* IEEE 754 binary16 */
  int e = (int)(bits >> 10 & 31);
  double m = (double)(bits & 1023), x = e == 31 ? (m != 0 ? __builtin_nan("") : __builtin_inf())
                                        : e     ? (1024 + m) * __builtin_ldexp(1, e - 25)
                                                : m * __builtin_ldexp(1, -24);
  return bits >> 15 & 1 ? -x : x;
}

static int64_t integer_of(mp_dtype t, uint64_t bits) { /* sign from the type: raw bytes come without it */
  switch (t) {
    case MP_INT8:
      return (int8_t)bits;
    case MP_INT16:
      return (int16_t)bits;
    case MP_INT32:
      return (int32_t)bits;
    case MP_UINT8:
      return (uint8_t)bits;
    case MP_UINT16:
      return (uint16_t)bits;
    case MP_UINT32:
      return (uint32_t)bits;
    case MP_BOOL:
      return (bits & 0xff) != 0;
    default:
      return (int64_t)bits;
  }
}

static double float_of(mp_dtype t, uint64_t bits) {
  switch (t) {
    case MP_FLOAT:
      return mp_bits_float(bits);
    case MP_DOUBLE:
      return mp_bits_double(bits);
    case MP_FLOAT16:
      return half(bits & 0xffff);
    default:
      return mp_bits_float((bits & 0xffff) << 16); /* bfloat16 */
  }
}

/* The typed field that the schema puts elements of t in. */
static unsigned data_field(mp_dtype t) {
  switch (t) {
    case MP_FLOAT:
      return offsetof(Onnx__TensorProto, float_data);
    case MP_DOUBLE:
      return offsetof(Onnx__TensorProto, double_data);
    case MP_INT64:
      return offsetof(Onnx__TensorProto, int64_data);
    case MP_UINT32:
    case MP_UINT64:
      return offsetof(Onnx__TensorProto, uint64_data);
    default:
      return offsetof(Onnx__TensorProto, int32_data);
  }
}

static void put(mp_tensor *t, uint32_t i, uint64_t bits) {
  if (t->ints)
    t->ints[i] = mp_int_of(integer_of(t->dtype, bits));
  else
    t->floats[i] = float_of(t->dtype, bits);
}

/* Elements of a tensor without dims-overflow; contents follow where they are few. */
static void read_small(mp_build *b, mp_walk w, mp_tensor *t, uint64_t elements) {
  bool ints = is_integer(t->dtype), floats = t->dtype == MP_FLOAT || t->dtype == MP_DOUBLE || t->dtype == MP_FLOAT16 || t->dtype == MP_BFLOAT16;
  if (t->external || (!ints && !floats) || elements > (ints ? MP_MAX_CONTENTS : MAX_FLOATS)) return;
  unsigned bytes = mp_dtype_bits(t->dtype) / 8;
  uint32_t n = 0;
  if (t->raw ? t->raw_bytes != elements * bytes : false) return; /* the caller has warned */
  if (!t->raw) {                                                 /* count first: a stripped or damaged tensor has too few */
    mp_walk count = w;
    for (mp_field f; mp_walk_next(&count, &f);)
      if (f.d->offset == data_field(t->dtype))
        for (uint64_t bits; n < elements && mp_field_take(&count, &f, &bits);) n++;
    if (n < elements) return;
    n = 0;
  }
  size_t room = elements ? (size_t)elements : 1; /* an empty tensor has contents too: none */
  if (ints)
    t->ints = mp_alloc_array(b->a, room, sizeof *t->ints);
  else
    t->floats = mp_alloc_array(b->a, room, sizeof *t->floats);
  t->contents = (uint32_t)elements;
  if (t->raw) {
    for (; n < elements; n++) {
      uint64_t bits = 0;
      memcpy(&bits, t->raw + (size_t)n * bytes, bytes);
      put(t, n, bits);
    }
    return;
  }
  for (mp_field f; mp_walk_next(&w, &f);)
    if (f.d->offset == data_field(t->dtype))
      for (uint64_t bits; n < elements && mp_field_take(&w, &f, &bits);) put(t, n++, bits);
}

/* ---- the header ---- */

typedef struct header {
  int64_t dims[MP_MAX_RANK];
  uint32_t rank;
  place outside;
  bool external;
} header;

static void add_dims(mp_walk *w, mp_field *f, header *h) {
  for (uint64_t bits; mp_field_take(w, f, &bits);) {
    if (h->rank == MP_MAX_RANK) mp_walk_fail(w, w->at, "a tensor has more than 32 dimensions");
    h->dims[h->rank++] = mp_bits_int(bits);
  }
}

static void read_entry(mp_walk w, place *p) {
  mp_span key, value;
  mp_kv_read(w, &key, &value);
  if (mp_span_is(key, "location")) p->location = value;
  if (mp_span_is(key, "offset")) p->offset = value;
  if (mp_span_is(key, "length")) p->length = value;
}

static uint64_t keep_dims(mp_build *b, mp_tensor *t, const header *h, uint64_t *bytes) {
  int64_t *dims = mp_alloc_array(b->a, h->rank, sizeof *dims);
  uint64_t n = 1;
  bool ok = true, zero = false;
  for (uint32_t i = 0; i < h->rank; i++) {
    dims[i] = h->dims[i];
    if (dims[i] < 0)
      mp_fail(b->a, MP_BAD_INPUT, "%s: tensor '%.100s': dimension %u is %lld; a number from 0 on was expected: the file is damaged, export it again",
              b->source.label, t->name, i, (long long)dims[i]);
    zero |= !dims[i];
  }
  for (uint32_t i = 0; i < h->rank && !zero; i++) ok = ok && mp_mul_u64(n, (uint64_t)dims[i], &n);
  if (zero) n = 0;
  if (!ok || n > INT64_MAX || !mp_dtype_bytes(t->dtype, n, bytes) || *bytes > INT64_MAX)
    mp_fail(b->a, MP_BAD_INPUT,
            "%s: tensor '%.100s': its dimensions multiply to more than 2^63 bytes; no such tensor exists: the file is damaged, export it again",
            b->source.label, t->name);
  t->dims = dims;
  t->rank = (int32_t)h->rank;
  return n;
}

void mp_tensor_read(mp_build *b, mp_walk w, mp_tensor *t) {
  *t = (mp_tensor){.name = ""};
  header h = {0};
  mp_walk again = w;
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->offset) {
      case offsetof(Onnx__TensorProto, dims):
        add_dims(&w, &f, &h);
        break;
      case offsetof(Onnx__TensorProto, data_type):
        t->dtype = f.bits < MP_DTYPES ? (mp_dtype)f.bits : MP_UNDEFINED;
        if (f.bits >= MP_DTYPES)
          mp_build_warn(b, "a tensor has element type %lld, which memplan does not know: its size counts as nothing", (long long)f.bits);
        break;
      case offsetof(Onnx__TensorProto, name): {
        mp_span s = mp_field_name(&w, &f);
        t->name = mp_strndup(b->a, (const char *)s.at, s.n);
        break;
      }
      case offsetof(Onnx__TensorProto, raw_data):
        t->raw = f.span.at;
        t->raw_bytes = f.span.n;
        break;
      case offsetof(Onnx__TensorProto, external_data):
        h.external = true;
        read_entry(mp_walk_into(&w, &f), &h.outside);
        break;
      case offsetof(Onnx__TensorProto, data_location):
        t->external = f.bits == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
        break;
    }
  uint64_t bytes, elements = keep_dims(b, t, &h, &bytes);
  if (h.external && t->external) check_outside(b, t, &h.outside, bytes);
  if (t->raw && !t->external && mp_dtype_bits(t->dtype) && t->raw_bytes != bytes && t->raw_bytes)
    mp_build_warn(b, "tensor '%.100s' holds %llu bytes, its dimensions say %llu", t->name, (unsigned long long)t->raw_bytes,
                  (unsigned long long)bytes);
  t->whole = t->raw && !t->external && t->raw_bytes == bytes;
  read_small(b, again, t, elements);
}

/* A sparse tensor: its name and dtype are those of its values, its dims its own; the stored values are not followed. */
void mp_sparse_read(mp_build *b, mp_walk w, mp_tensor *t) {
  *t = (mp_tensor){.name = ""};
  header h = {0};
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->offset) {
      case offsetof(Onnx__SparseTensorProto, values):
        mp_tensor_read(b, mp_walk_into(&w, &f), t);
        break;
      case offsetof(Onnx__SparseTensorProto, dims):
        add_dims(&w, &f, &h);
        break;
    }
  uint64_t bytes;
  keep_dims(b, t, &h, &bytes);
  t->raw = NULL;
  t->raw_bytes = 0;
  t->ints = NULL;
  t->floats = NULL;
  t->contents = 0;
}
