/* Changes a model as a model: libFuzzer's own changes of bytes seldom survive the file format. Driven by protobuf-c's descriptors: one field that is present, chosen at random
 * in the whole message, gets another value: a number nearby or extreme, a name that stands elsewhere in the file in a field of that name, an operator of the table; an element of a
 * list goes, comes twice, changes places or is replaced by one from elsewhere. Linked into every fuzz_*.c; needs no name of a field but op_type. */
#include <stdlib.h>
#include <string.h>

#include "onnx-ml.pb-c.h"
#include "onnx/onnx.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);

/* ---- memory of one change: all of it goes at once ---- */

enum { POOL = 64 << 20 };
static uint8_t *pool;
static size_t used;

static void *take(void *unused, size_t n) {
  (void)unused;
  n = (n + 15) & ~(size_t)15;
  if (!pool && !(pool = malloc(POOL))) return NULL;
  if (n > POOL - used) return NULL;
  used += n;
  return pool + used - n;
}

static void keep(void *unused, void *p) { (void)unused, (void)p; }

/* ---- a random field of a message, or one of the same name as another ---- */

typedef struct place {
  ProtobufCMessage *message;
  const ProtobufCFieldDescriptor *field;
} place;

typedef struct search {
  const char *field; /* NULL: any field */
  const ProtobufCMessageDescriptor *of; /* of the message that the field's elements are; NULL: any */
  uint32_t seen;
  place at;
} search;

static uint32_t seed_now;
static uint32_t below(uint32_t n) { /* xorshift */
  seed_now ^= seed_now << 13, seed_now ^= seed_now >> 17, seed_now ^= seed_now << 5;
  return n ? seed_now % n : 0;
}

static void *at(ProtobufCMessage *m, unsigned offset) { return (uint8_t *)m + offset; }

static size_t *count_of(place p) { return at(p.message, p.field->quantifier_offset); }

static bool is_present(place p) {
  const ProtobufCFieldDescriptor *f = p.field;
  if (f->label == PROTOBUF_C_LABEL_REPEATED) return *count_of(p) > 0;
  if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) return *(uint32_t *)at(p.message, f->quantifier_offset) == f->id;
  if (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING) return *(void **)at(p.message, f->offset) != NULL;
  return true;
}

static void look(search *s, ProtobufCMessage *m) {
  for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
    place p = {m, &m->descriptor->fields[i]};
    if (!is_present(p)) continue;
    bool is_message = p.field->type == PROTOBUF_C_TYPE_MESSAGE, is_list = p.field->label == PROTOBUF_C_LABEL_REPEATED;
    bool wanted = (!s->field || !strcmp(s->field, p.field->name)) && (!s->of || (is_message && p.field->descriptor == s->of)) && (is_list || !is_message);
    if (wanted && below(++s->seen) == 0) s->at = p;
    if (!is_message) continue;
    ProtobufCMessage **sub = is_list ? *(ProtobufCMessage ***)at(m, p.field->offset) : at(m, p.field->offset);
    for (size_t k = is_list ? *count_of(p) : 1; k-- > 0;) look(s, sub[k]);
  }
}

/* ---- other values ---- */

static int64_t other_int(int64_t v) {
  static const int64_t odd[] = {0, 1, -1, 2, 3, 4, 7, 8, 16, 255, 1 << 20, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, INT64_MAX / 2};
  switch (below(6)) {
    case 0: return (int64_t)((uint64_t)v + 1);
    case 1: return (int64_t)((uint64_t)v - 1);
    case 2: return (int64_t)-(uint64_t)v;
    case 3: return below(40);
    case 4: return (int64_t)((uint64_t)v * 2);
    default: return odd[below(sizeof odd / sizeof *odd)];
  }
}

static char *other_string(ProtobufCMessage *model, const char *field, char *now) {
  if (!strcmp(field, "op_type") && below(2)) {
    const char *domain, *type;
    int64_t since;
    mp_op_row(below(mp_op_count()), &domain, &type, &since);
    return (char *)(uintptr_t)type;
  }
  if (below(8) == 0) { /* other letters */
    size_t n = strlen(now), room = n + 16;
    char *text = take(NULL, room + 1);
    if (!text) return now;
    memcpy(text, now, n);
    text[LLVMFuzzerMutate((uint8_t *)text, n, room)] = 0;
    return text;
  }
  static const char *const alike[] = {"input", "output", "name"}; /* values are named in all three */
  const char *from = strcmp(field, "input") && strcmp(field, "output") ? field : alike[below(3)];
  search s = {.field = from};
  look(&s, model);
  if (!s.seen || s.at.field->type != PROTOBUF_C_TYPE_STRING) return now;
  if (s.at.field->label != PROTOBUF_C_LABEL_REPEATED) return *(char **)at(s.at.message, s.at.field->offset);
  return (*(char ***)at(s.at.message, s.at.field->offset))[below((uint32_t)*count_of(s.at))];
}

static size_t size_of(ProtobufCType t) {
  switch (t) {
    case PROTOBUF_C_TYPE_INT64: case PROTOBUF_C_TYPE_UINT64: case PROTOBUF_C_TYPE_DOUBLE: case PROTOBUF_C_TYPE_SINT64: return 8;
    case PROTOBUF_C_TYPE_STRING: case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    default: return 4;
  }
}

static void change_scalar(ProtobufCMessage *model, place p, void *v) {
  ProtobufCBinaryData *bytes = v;
  switch (p.field->type) {
    case PROTOBUF_C_TYPE_INT64: case PROTOBUF_C_TYPE_UINT64: case PROTOBUF_C_TYPE_SINT64: *(int64_t *)v = other_int(*(int64_t *)v); break;
    case PROTOBUF_C_TYPE_FLOAT: *(float *)v = (float)other_int((int64_t)below(9)) / 2; break;
    case PROTOBUF_C_TYPE_DOUBLE: *(double *)v = (double)other_int((int64_t)below(9)) / 2; break;
    case PROTOBUF_C_TYPE_STRING: *(char **)v = other_string(model, p.field->name, *(char **)v); break;
    case PROTOBUF_C_TYPE_BYTES: bytes->len = bytes->len ? LLVMFuzzerMutate(bytes->data, bytes->len, bytes->len) : 0; break;
    case PROTOBUF_C_TYPE_MESSAGE: break;
    default: *(int32_t *)v = (int32_t)other_int(*(int32_t *)v);
  }
}

static bool holds(ProtobufCMessage *m, const ProtobufCMessage *what) {
  if (m == what) return true;
  for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
    place p = {m, &m->descriptor->fields[i]};
    if (p.field->type != PROTOBUF_C_TYPE_MESSAGE || !is_present(p)) continue;
    bool is_list = p.field->label == PROTOBUF_C_LABEL_REPEATED;
    ProtobufCMessage **sub = is_list ? *(ProtobufCMessage ***)at(m, p.field->offset) : at(m, p.field->offset);
    for (size_t k = is_list ? *count_of(p) : 1; k-- > 0;)
      if (holds(sub[k], what)) return true;
  }
  return false;
}

static void change_list(ProtobufCMessage *model, place p) {
  size_t *n = count_of(p), size = size_of(p.field->type), i = below((uint32_t)*n), k = below((uint32_t)*n);
  uint8_t **list = at(p.message, p.field->offset), *more, swap[sizeof(ProtobufCBinaryData)];
  switch (below(5)) {
    case 0: /* one goes */
      memmove(*list + i * size, *list + (i + 1) * size, (*n - i - 1) * size);
      --*n;
      break;
    case 1: /* one comes twice */
      if (!(more = take(NULL, (*n + 1) * size))) return;
      memcpy(more, *list, *n * size);
      memcpy(more + *n * size, *list + i * size, size);
      *list = more, ++*n;
      break;
    case 2: /* two change places */
      memcpy(swap, *list + i * size, size);
      memcpy(*list + i * size, *list + k * size, size);
      memcpy(*list + k * size, swap, size);
      break;
    default:
      if (p.field->type != PROTOBUF_C_TYPE_MESSAGE) {
        change_scalar(model, p, *list + i * size);
        break;
      }
      search s = {.of = p.field->descriptor}; /* one from elsewhere */
      look(&s, model);
      ProtobufCMessage *other = (*(ProtobufCMessage ***)at(s.at.message, s.at.field->offset))[below((uint32_t)*count_of(s.at))];
      if (!holds(other, p.message)) memcpy(*list + i * size, &other, size); /* a message inside itself has no end */
  }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
  seed_now = seed | 1;
  if (below(8) == 0) return LLVMFuzzerMutate(data, n, max);
  mp_arena *a = mp_arena_new((uint64_t)64 << 20); /* protobuf-c has no limit of nesting: memplan's own reader goes first */
  mp_err err = {0};
  bool is_model = a && mp_model_read_memory(a, "fuzz", data, n, &err);
  if (a) mp_arena_free(a);
  used = 0;
  ProtobufCAllocator from_pool = {take, keep, NULL};
  Onnx__ModelProto *m = is_model ? onnx__model_proto__unpack(&from_pool, n, data) : NULL;
  if (!m) return LLVMFuzzerMutate(data, n, max);
  for (uint32_t times = 1 + below(3); times-- > 0;) {
    search s = {0};
    look(&s, &m->base);
    if (!s.seen) break;
    if (s.at.field->label == PROTOBUF_C_LABEL_REPEATED) change_list(&m->base, s.at);
    else change_scalar(&m->base, s.at, at(s.at.message, s.at.field->offset));
  }
  size_t size = protobuf_c_message_get_packed_size(&m->base);
  if (size > max) return LLVMFuzzerMutate(data, n, max);
  return onnx__model_proto__pack(m, data);
}
