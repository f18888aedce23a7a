/* Bytes -> messages: a walk over the protobuf encoding that copies nothing.
 *
 * A walk stands in one message and hands out its fields one by one. What a field is (its number, type, name) comes from protobuf-c's descriptors of
 * the ONNX schema, so no field number is written by hand: readers switch over f.d->offset with offsetof(Onnx__NodeProto, input) as the cases. Only
 * fields that the schema knows come out; unknown ones, and known ones with another wire type, are skipped, as protobuf's C++ parser does. Payloads
 * (strings, weights, inner messages) are spans of the mapped file. Every length is checked against the message around it; damage is mp_fail with the
 * byte where it is. */
#ifndef MP_WIRE_H
#define MP_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "onnx/base.h"

#define MP_MAX_NESTING 100 /* messages in messages: protobuf's own limit */

typedef struct mp_span {
  const uint8_t *at;
  size_t n;
} mp_span;

/* A file's bytes, with what is needed to report damage in them. */
typedef struct mp_source {
  mp_arena *a;
  const char *label; /* the file's name in messages */
  const uint8_t *start;
  bool mapped; /* from a file: pages that the walk skips are handed back */
} mp_source;

typedef struct mp_walk {
  const mp_source *source;
  const ProtobufCMessageDescriptor *message;
  const uint8_t *at, *end;
  int depth;
} mp_walk;

typedef struct mp_field {
  const ProtobufCFieldDescriptor *d;
  mp_span span;  /* strings, bytes, messages, packed numbers */
  uint64_t bits; /* a single number as it lies in the file */
  bool packed;
} mp_field;

/* The whole of s as a message. */
mp_walk mp_walk_span(const mp_source *source, mp_span s, const ProtobufCMessageDescriptor *message);
/* The message in f, a field of w's. Deeper than MP_MAX_NESTING is refused. */
mp_walk mp_walk_into(const mp_walk *w, const mp_field *f);
/* The next known field; false at the end. */
bool mp_walk_next(mp_walk *w, mp_field *f);

/* Numbers of a repeated field, packed or not: each call takes one off f; false when there are no more. */
bool mp_field_take(const mp_walk *w, mp_field *f, uint64_t *bits);
static inline int64_t mp_bits_int(uint64_t bits) { return (int64_t)bits; }
double mp_bits_float(uint64_t bits); /* float: the lower 32 bits */
double mp_bits_double(uint64_t bits);

/* A name: never longer than a string can be, without NUL bytes (refused). */
mp_span mp_field_name(const mp_walk *w, const mp_field *f);
/* Free text: cut at the first NUL byte. */
mp_span mp_field_text(const mp_field *f);
static inline bool mp_span_is(mp_span s, const char *text) { return s.n == __builtin_strlen(text) && (!s.n || !__builtin_memcmp(s.at, text, s.n)); }

_Noreturn void mp_walk_fail(const mp_walk *w, const uint8_t *at, const char *what);

#endif
