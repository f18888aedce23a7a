/* The checked file: maps it and makes its table of contents. Nothing is decoded that a graph does not ask for, so a file of any size costs the same.
 */
#include "onnx/model.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

mp_span mp_domain_of(mp_span s) { return mp_span_is(s, "ai.onnx") ? (mp_span){s.at, 0} : s; }

bool mp_function_key(char key[MP_FUNCTION_KEY], size_t *n, mp_span domain, mp_span name, mp_span overload) {
  const mp_span parts[] = {mp_domain_of(domain), name, overload};
  *n = 0;
  for (int i = 0; i < 3; i++) {
    if (parts[i].n >= MP_FUNCTION_KEY - 1 - *n) return false;
    if (parts[i].n) memcpy(key + *n, parts[i].at, parts[i].n);
    *n += parts[i].n;
    if (i < 2) key[(*n)++] = 1;
  }
  return true;
}

bool mp_opset_read(mp_arena *a, mp_walk w, mp_opsets *sets) {
  mp_span domain = {0};
  int64_t version = 0;
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->offset) {
      case offsetof(Onnx__OperatorSetIdProto, domain):
        domain = mp_domain_of(mp_field_name(&w, &f));
        break;
      case offsetof(Onnx__OperatorSetIdProto, version):
        version = mp_bits_int(f.bits);
        break;
    }
  if (version < 1 || version > INT32_MAX) return false;
  for (size_t i = 0; i < sets->n; i++)
    if (mp_span_is(domain, sets->at[i].domain)) { /* as in a map: the last one counts */
      sets->at[i].version = version;
      return true;
    }
  *mp_push(a, sets) = (mp_opset){mp_strndup(a, (const char *)domain.at, domain.n), version};
  return true;
}

void mp_kv_read(mp_walk w, mp_span *key, mp_span *value) {
  *key = *value = (mp_span){NULL, 0};
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->offset) {
      case offsetof(Onnx__StringStringEntryProto, key):
        *key = mp_field_text(&f);
        break;
      case offsetof(Onnx__StringStringEntryProto, value):
        *value = mp_field_text(&f);
        break;
    }
}

static void add_function(mp_arena *a, mp_model *m, mp_walk w, mp_span span) {
  mp_span name = {0}, domain = {0}, overload = {0};
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->offset) {
      case offsetof(Onnx__FunctionProto, name):
        name = mp_field_name(&w, &f);
        break;
      case offsetof(Onnx__FunctionProto, domain):
        domain = mp_field_name(&w, &f);
        break;
      default:
        if (!strcmp(f.d->name, "overload")) overload = mp_field_name(&w, &f); /* newer than the oldest schema that is supported */
    }
  char key[MP_FUNCTION_KEY];
  size_t n;
  bool added;
  if (!mp_function_key(key, &n, domain, name, overload)) mp_walk_fail(&w, span.at, "a function's name is too long");
  mp_names_add(a, m->function_names, key, n, &added);
  if (!added)
    mp_fail(a, MP_BAD_INPUT, "%s: function '%.*s' of domain '%.*s' is defined twice; a name may be defined once: export the model again", m->path,
            (int)name.n, (const char *)name.at, (int)domain.n, (const char *)domain.at);
  *mp_push(a, &m->functions) = span;
}

static const char *text_of(mp_arena *a, const mp_field *f) {
  mp_span s = mp_field_text(f);
  return mp_strndup(a, (const char *)s.at, s.n);
}

/* What is often found under a model's name: a pointer of Git LFS, a link that was stored as text, an error page. A model's first bytes are not all
 * printable. */
static void refuse_text(mp_arena *a, const mp_model *m) {
  size_t n = m->size < 64 ? m->size : 64;
  for (size_t i = 0; i < n; i++)
    if (!((m->bytes[i] >= 32 && m->bytes[i] < 127) || m->bytes[i] == '\n' || m->bytes[i] == '\r')) return;
  bool lfs = n > 20 && !memcmp(m->bytes, "version https://git-", 20);
  mp_fail(a, MP_BAD_INPUT, "%s: is text, not a model: '%.*s'; %s", m->path, (int)(n < 40 ? n : 40), (const char *)m->bytes,
          lfs ? "this is a pointer of Git LFS: run 'git lfs pull'" : "download or export the model itself");
}

static const void *read_contents(mp_arena *a, void *arg) {
  const mp_model *file = arg; /* path, bytes, size, mapped */
  mp_model *m = mp_alloc(a, sizeof *m);
  *m = *file;
  m->path = mp_strdup(a, file->path);
  m->producer = m->producer_version = "";
  m->function_names = mp_names_new(a, 8);
  if (!m->size) mp_fail(a, MP_BAD_INPUT, "%s: the file is empty; an ONNX model was expected: download or export it again", m->path);
  refuse_text(a, m);
  mp_source source = {a, m->path, m->bytes, m->mapped};
  mp_walk w = mp_walk_span(&source, (mp_span){m->bytes, m->size}, &onnx__model_proto__descriptor);
  for (mp_field f; mp_walk_next(&w, &f);) switch (f.d->offset) {
      case offsetof(Onnx__ModelProto, ir_version):
        m->ir_version = mp_bits_int(f.bits);
        break;
      case offsetof(Onnx__ModelProto, producer_name):
        m->producer = text_of(a, &f);
        break;
      case offsetof(Onnx__ModelProto, producer_version):
        m->producer_version = text_of(a, &f);
        break;
      case offsetof(Onnx__ModelProto, opset_import):
        if (!mp_opset_read(a, mp_walk_into(&w, &f), &m->opsets))
          *mp_push(a, &m->warnings) = "an opset import with a version that does not exist is left out";
        break;
      case offsetof(Onnx__ModelProto, graph):
        m->graph = f.span;
        break;
      case offsetof(Onnx__ModelProto, functions):
        add_function(a, m, mp_walk_into(&w, &f), f.span);
        break;
      case offsetof(Onnx__ModelProto, metadata_props):
        *mp_push(a, &m->metas) = f.span;
        break;
    }
  if (!m->graph.at)
    mp_fail(a, MP_BAD_INPUT, "%s: holds no graph; an ONNX model (ModelProto) was expected: is this an ONNX file, and is it complete?", m->path);
  bool has_opset = false;
  for (size_t i = 0; i < m->opsets.n; i++) has_opset |= !m->opsets.at[i].domain[0];
  if (!has_opset && !m->functions.n && !m->opsets.n) {
    *mp_push(a, &m->opsets) = (mp_opset){"", 1};
    *mp_push(a, &m->warnings) = "the file imports no operator set: operators are read as of opset 1";
  }
  return m;
}

const mp_model *mp_model_read_memory(mp_arena *a, const char *label, const void *bytes, size_t n, mp_err *err) {
  mp_model file = {.path = label, .bytes = bytes, .size = n};
  return mp_protect(a, err, read_contents, &file);
}

/* Opens what is a regular file and nothing else (a fifo would block, a device might never end). */
static bool map_file(const char *path, mp_model *file, mp_err *err) {
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st)) {
    mp_err_set(err, MP_BAD_INPUT, "%s: cannot be opened: %s; give the path of an ONNX file", path, strerror(errno));
  } else if (!S_ISREG(st.st_mode)) {
    mp_err_set(err, MP_BAD_INPUT, "%s: is %s; an ONNX file was expected: give the path of a file", path,
               S_ISDIR(st.st_mode) ? "a directory" : "no regular file");
  } else {
    *file = (mp_model){.path = path, .size = (size_t)st.st_size, .mapped = true};
    void *at = st.st_size ? mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (at == MAP_FAILED) mp_err_set(err, MP_BAD_INPUT, "%s: cannot be mapped: %s; a local file was expected", path, strerror(errno));
    file->bytes = at == MAP_FAILED ? NULL : at;
  }
  if (fd >= 0) close(fd);
  return !err->code;
}

const mp_model *mp_model_read(mp_arena *a, const char *path, mp_err *err) {
  mp_err local;
  if (!err) err = &local;
  *err = (mp_err){0};
  mp_model file;
  if (!map_file(path, &file, err)) return NULL;
  const mp_model *m = mp_protect(a, err, read_contents, &file);
  if (!m && file.bytes) munmap((void *)(uintptr_t)file.bytes, file.size);
  return m;
}

void mp_model_close(const mp_model *m) {
  if (m && m->mapped && m->bytes) munmap((void *)(uintptr_t)m->bytes, m->size);
}
