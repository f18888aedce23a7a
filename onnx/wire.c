/* Bytes -> messages: see wire.h. The encoding is protobuf's: a tag (field number and wire type), then a varint, 8 bytes, 4 bytes, or a length and
 * that many bytes. */
#include "onnx/wire.h"

#include <string.h>
#include <sys/mman.h>

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, GROUP = 3, GROUP_END = 4, FIXED32 = 5 };

_Noreturn void mp_walk_fail(const mp_walk *w, const uint8_t *at, const char *what) {
  mp_fail(w->source->a, MP_BAD_INPUT, "%s: byte %llu, in %s: %s; the file is cut short, damaged or no ONNX model: fetch or export it again",
          w->source->label, (unsigned long long)(at - w->source->start), w->message->short_name, what);
}

mp_walk mp_walk_span(const mp_source *source, mp_span s, const ProtobufCMessageDescriptor *message) {
  return (mp_walk){source, message, s.at, s.at + s.n, 1};
}

mp_walk mp_walk_into(const mp_walk *w, const mp_field *f) {
  if (w->depth >= MP_MAX_NESTING)
    mp_fail(w->source->a, MP_BAD_INPUT,
            "%s: byte %llu: messages are nested more than %d deep, as in no model that a framework writes; the file is damaged or hostile",
            w->source->label, (unsigned long long)(f->span.at - w->source->start), MP_MAX_NESTING);
  return (mp_walk){w->source, f->d->descriptor, f->span.at, f->span.at + f->span.n, w->depth + 1};
}

/* Slow path of varint(): more than one byte, or the end of the message. */
static uint64_t long_varint(mp_walk *w) {
  const uint8_t *start = w->at;
  uint64_t r = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (w->at >= w->end) mp_walk_fail(w, start, "a number runs past the end");
    uint8_t b = *w->at++;
    if (shift < 64) r |= (uint64_t)(b & 0x7f) << shift;
    if (!(b & 0x80)) return r;
  }
  mp_walk_fail(w, start, "a number has more than 10 bytes");
}

static inline uint64_t varint(mp_walk *w) {
  if (w->at < w->end && !(*w->at & 0x80)) return *w->at++;
  return long_varint(w);
}

static inline uint64_t fixed(mp_walk *w, size_t n) {
  if ((size_t)(w->end - w->at) < n) mp_walk_fail(w, w->at, "a number runs past the end");
  uint64_t r = 0;
  memcpy(&r, w->at, n); /* little-endian, as every machine that PyTorch runs on */
  w->at += n;
  return r;
}

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *m, uint64_t number) {
  if (number - 1 < m->n_fields && m->fields[number - 1].id == number) return &m->fields[number - 1]; /* most messages count from 1 without gaps */
  return number <= UINT32_MAX ? protobuf_c_message_descriptor_get_field(m, (unsigned)number) : NULL;
}

static int wire_of(ProtobufCType t) {
  switch (t) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
      return BYTES;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
      return FIXED32;
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
      return FIXED64;
    default:
      return VARINT;
  }
}

static void skip_group(mp_walk *w, const uint8_t *start) { /* groups are obsolete, and never known to the schema */
  for (int open = 1; open;) {
    uint64_t tag = varint(w);
    switch (tag & 7) {
      case VARINT:
        varint(w);
        break;
      case FIXED64:
        fixed(w, 8);
        break;
      case FIXED32:
        fixed(w, 4);
        break;
      case BYTES: {
        uint64_t n = varint(w);
        if (n > (uint64_t)(w->end - w->at)) mp_walk_fail(w, start, "a length reaches past the end");
        w->at += n;
        break;
      }
      case GROUP:
        if (++open > MP_MAX_NESTING) mp_walk_fail(w, start, "groups are nested too deep");
        break;
      case GROUP_END:
        open--;
        break;
      default:
        mp_walk_fail(w, start, "a wire type that does not exist");
    }
  }
}

#define LARGE ((size_t)1 << 20)
#define FOLIO ((size_t)4 << 20)
/* A header brings in the pages around it, payload included (the kernel maps whole folios of the page cache), and every pass over a graph does it again: what a large field and the header before
 * it brought in is handed back. It comes again from the page cache if anybody reads it. */
static void pass_by(const mp_walk *w, const mp_span *s) {
  static const size_t page = 4096;
  if (s->n < LARGE || !w->source->mapped) return;
  size_t at = (size_t)(s->at - w->source->start), from = at > FOLIO ? (at - FOLIO) / page * page : 0;
  madvise((void *)(uintptr_t)(w->source->start + from), (at + s->n) / page * page - from, MADV_DONTNEED); /* a hint: clean file pages */
}

bool mp_walk_next(mp_walk *w, mp_field *f) {
  while (w->at < w->end) {
    const uint8_t *start = w->at;
    uint64_t tag = varint(w), number = tag >> 3;
    int wire = (int)(tag & 7);
    if (!number || tag > UINT32_MAX) mp_walk_fail(w, start, "a field number that does not exist");
    f->span = (mp_span){NULL, 0};
    switch (wire) {
      case VARINT:
        f->bits = varint(w);
        break;
      case FIXED64:
        f->bits = fixed(w, 8);
        break;
      case FIXED32:
        f->bits = fixed(w, 4);
        break;
      case BYTES:
        f->bits = varint(w);
        if (f->bits > (uint64_t)(w->end - w->at)) mp_walk_fail(w, start, "a length reaches past the end");
        f->span = (mp_span){w->at, (size_t)f->bits};
        w->at += f->bits;
        pass_by(w, &f->span);
        break;
      case GROUP:
        skip_group(w, start);
        continue;
      default:
        mp_walk_fail(w, start, "a wire type that does not exist");
    }
    f->d = field_of(w->message, number);
    if (!f->d) continue;
    int expected = wire_of(f->d->type);
    f->packed = wire == BYTES && expected != BYTES;
    if (wire == expected || (f->packed && f->d->label == PROTOBUF_C_LABEL_REPEATED)) return true;
  }
  return false;
}

bool mp_field_take(const mp_walk *w, mp_field *f, uint64_t *bits) {
  if (!f->packed) { /* a single number: given once */
    if (!f->d) return false;
    *bits = f->bits;
    f->d = NULL;
    return true;
  }
  if (!f->span.n) return false;
  mp_walk inner = *w;
  inner.at = f->span.at;
  inner.end = f->span.at + f->span.n;
  int wire = wire_of(f->d->type);
  *bits = wire == VARINT ? varint(&inner) : fixed(&inner, wire == FIXED32 ? 4 : 8);
  f->span = (mp_span){inner.at, (size_t)(inner.end - inner.at)};
  return true;
}

double mp_bits_float(uint64_t bits) {
  uint32_t low = (uint32_t)bits;
  float x;
  memcpy(&x, &low, sizeof x);
  return (double)x;
}

double mp_bits_double(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

mp_span mp_field_text(const mp_field *f) {
  mp_span s = f->span;
  const uint8_t *nul = s.n ? memchr(s.at, 0, s.n) : NULL;
  if (nul) s.n = (size_t)(nul - s.at);
  return s;
}

mp_span mp_field_name(const mp_walk *w, const mp_field *f) {
  mp_span s = mp_field_text(f);
  if (s.n != f->span.n) mp_walk_fail(w, f->span.at, "a name holds a NUL byte");
  return s;
}
