/* The walk over the encoding, byte by byte: every case is written out by hand. Tags: number << 3 | type. */
#include "onnx-ml.pb-c.h"
#include "onnx/wire.h"
#include "support_base.h"

typedef struct sum { /* what a walk over a NodeProto saw */
  char text[256];
} sum;

typedef struct input {
  const ProtobufCMessageDescriptor *message;
  const char *bytes;
  size_t n;
  sum *to;
} input;

static const void *walk_all(mp_arena *a, void *arg) {
  const input *in = arg;
  mp_source source = {a, "f", (const uint8_t *)in->bytes, false};
  mp_walk w = mp_walk_span(&source, (mp_span){(const uint8_t *)in->bytes, in->n}, in->message);
  size_t at = 0;
  in->to->text[0] = 0;
  for (mp_field f; mp_walk_next(&w, &f);) {
    const ProtobufCFieldDescriptor *d = f.d;
    at += (size_t)snprintf(in->to->text + at, sizeof in->to->text - at, "%s", d->name);
    if (d->type == PROTOBUF_C_TYPE_STRING || d->type == PROTOBUF_C_TYPE_BYTES)
      at += (size_t)snprintf(in->to->text + at, sizeof in->to->text - at, "=%.*s", (int)f.span.n, f.span.n ? (const char *)f.span.at : "");
    else if (d->type == PROTOBUF_C_TYPE_FLOAT)
      for (uint64_t bits; mp_field_take(&w, &f, &bits);)
        at += (size_t)snprintf(in->to->text + at, sizeof in->to->text - at, "=%g", mp_bits_float(bits));
    else if (d->type != PROTOBUF_C_TYPE_MESSAGE)
      for (uint64_t bits; mp_field_take(&w, &f, &bits);)
        at += (size_t)snprintf(in->to->text + at, sizeof in->to->text - at, "=%lld", (long long)bits);
    at += (size_t)snprintf(in->to->text + at, sizeof in->to->text - at, ";");
  }
  return in->to;
}

/* the fields that come out, "name=value;" each; NULL with the error's text in `error` */
static const char *walked(const ProtobufCMessageDescriptor *m, const char *bytes, size_t n, char *error) {
  static sum to;
  mp_arena *a = mp_arena_new(0);
  char *copy = malloc(n ? n : 1); /* exactly as long: a sanitizer sees the first byte too far */
  memcpy(copy, bytes, n);
  input in = {m, copy, n, &to};
  mp_err err;
  const void *r = mp_protect(a, &err, walk_all, &in);
  if (error) snprintf(error, sizeof err.text, "%s", err.text);
  free(copy);
  mp_arena_free(a);
  return r ? to.text : NULL;
}

#define NODE &onnx__node_proto__descriptor
#define ATTR &onnx__attribute_proto__descriptor
#define TENSOR &onnx__tensor_proto__descriptor
#define assert_walk(m, bytes, fields) assert_string_equal(walked(m, bytes, sizeof(bytes) - 1, NULL), fields)

static void assert_damaged(const ProtobufCMessageDescriptor *m, const char *bytes, size_t n, const char *part) {
  char error[768];
  if (walked(m, bytes, n, error)) fail_msg("accepted; expected: %s", part);
  if (!strstr(error, part)) fail_msg("'%s' lacks '%s'", error, part);
}
#define assert_bad(m, bytes, part) assert_damaged(m, bytes, sizeof(bytes) - 1, part)

static void known_fields_come_out_in_order(void **state) {
  (void)state;
  assert_walk(NODE, "", "");
  assert_walk(NODE, "\x0a\x01x\x0a\x00\x12\x01y\x22\x04Relu", "input=x;input=;output=y;op_type=Relu;");
  assert_walk(NODE,
              "\x22\x03"
              "Add\x0a\x01x",
              "op_type=Add;input=x;");
}

static void unknown_fields_are_skipped(void **state) {
  (void)state;
  assert_walk(NODE, "\xf8\x07\x01\x0a\x01x", "input=x;"); /* field 127, varint */
  assert_walk(NODE,
              "\xf9\x07"
              "12345678\x0a\x01x",
              "input=x;"); /* 8 bytes */
  assert_walk(NODE,
              "\xfd\x07"
              "1234\x0a\x01x",
              "input=x;"); /* 4 bytes */
  assert_walk(NODE,
              "\xfa\x07\x03"
              "abc\x0a\x01x",
              "input=x;");                                                            /* length 3 */
  assert_walk(NODE, "\xfb\x07\x08\x01\xfb\x07\xfc\x07\xfc\x07\x0a\x01x", "input=x;"); /* a group with a field and a group in it */
}

static void a_known_field_of_another_wire_type_is_unknown(void **state) {
  (void)state;
  assert_walk(NODE, "\x08\x05\x0a\x01x", "input=x;"); /* input as a varint */
  assert_walk(ATTR, "\x1a\x01z\x18\x07", "i=7;");     /* i as bytes, then as it should be */
  assert_walk(ATTR,
              "\x1d"
              "abcd\x18\x07",
              "i=7;"); /* i as 4 bytes */
}

static void repeated_numbers_come_packed_and_single(void **state) {
  (void)state;
  assert_walk(TENSOR, "\x08\x03\x08\xac\x02", "dims=3;dims=300;");
  assert_walk(TENSOR, "\x0a\x03\x03\xac\x02\x08\x01", "dims=3=300;dims=1;");
  assert_walk(TENSOR, "\x0a\x00", "dims;");
  assert_walk(TENSOR, "\x22\x08\x00\x00\x80\x3f\x00\x00\x00\xc0", "float_data=1=-2;");
  assert_walk(TENSOR, "\x25\x00\x00\x80\x3f", "float_data=1;");
  assert_walk(TENSOR, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "dims=-1;");
}

static void damage_is_told_with_its_place(void **state) {
  (void)state;
  assert_bad(NODE, "\x0a\x01x\x0a\x05x", "f: byte 3, in NodeProto: a length reaches past the end");
  assert_bad(NODE, "\x0a", "a number runs past the end");
  assert_bad(NODE, "\x80", "a number runs past the end");
  assert_bad(NODE, "\x00\x01", "a field number that does not exist");
  assert_bad(NODE, "\x0f", "a wire type that does not exist");
  assert_bad(NODE, "\x0c", "a wire type that does not exist"); /* the end of a group that was never opened */
  assert_bad(NODE, "\xfb\x07\x08", "a number runs past the end");
  assert_bad(NODE, "\xfb\x07\x0a\x05x", "a length reaches past the end");
  assert_bad(NODE, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a number has more than 10 bytes");
  assert_bad(NODE, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", "a field number that does not exist");
  assert_bad(NODE, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", "a length reaches past the end");
  assert_bad(TENSOR, "\x0a\x01\x80", "a number runs past the end"); /* the last packed number is cut short */
  assert_bad(TENSOR, "\x22\x06\x00\x00\x80\x3f\x00\x00", "a number runs past the end");
}

static void groups_nest_to_a_limit(void **state) {
  (void)state;
  char bytes[1200];
  for (int i = 0; i < 600; i++) memcpy(bytes + 2 * i, "\xfb\x07", 2);
  assert_damaged(NODE, bytes, sizeof bytes, "groups are nested too deep");
}

static const void *names(mp_arena *a, void *arg) {
  const input *in = arg;
  mp_source source = {a, "f", (const uint8_t *)in->bytes, false};
  mp_walk w = mp_walk_span(&source, (mp_span){(const uint8_t *)in->bytes, in->n}, in->message);
  mp_field f;
  assert_true(mp_walk_next(&w, &f));
  assert_int_equal(mp_field_text(&f).n, 1);
  mp_field_name(&w, &f);
  return in;
}

static void a_name_holds_no_nul(void **state) {
  (void)state;
  mp_arena *a = mp_arena_new(0);
  input in = {NODE, "\x0a\x03x\0y", 5, NULL};
  mp_err err;
  assert_null(mp_protect(a, &err, names, &in));
  assert_non_null(strstr(err.text, "NUL"));
  mp_arena_free(a);
}

static const void *descend(mp_arena *a, void *arg) {
  const input *in = arg;
  mp_source source = {a, "f", (const uint8_t *)in->bytes, false};
  mp_walk w = mp_walk_span(&source, (mp_span){(const uint8_t *)in->bytes, in->n}, in->message);
  for (mp_field f; mp_walk_next(&w, &f);) w = mp_walk_into(&w, &f);
  return in;
}

/* `levels` messages inside one another, written from the innermost out: TypeProto.sequence_type (4) and Sequence.elem_type (1) in turn */
static size_t nested(char *bytes, size_t room, int levels) {
  size_t n = 0;
  for (int i = levels; i-- > 0;) {
    char head[3] = {i % 2 ? 0x0a : 0x22, (char)(n < 128 ? n : n % 128 + 128), (char)(n / 128)};
    size_t len = n < 128 ? 2 : 3;
    assert_true(n + len <= room);
    memmove(bytes + len, bytes, n);
    memcpy(bytes, head, len);
    n += len;
  }
  return n;
}

static void messages_nest_to_a_limit(void **state) {
  (void)state;
  static char bytes[1000];
  mp_arena *a = mp_arena_new(0);
  mp_err err;
  input in = {&onnx__type_proto__descriptor, bytes, nested(bytes, sizeof bytes, MP_MAX_NESTING - 1), NULL};
  assert_non_null(mp_protect(a, &err, descend, &in));
  in.n = nested(bytes, sizeof bytes, MP_MAX_NESTING);
  assert_null(mp_protect(a, &err, descend, &in));
  assert_non_null(strstr(err.text, "nested more than 100 deep"));
  mp_arena_free(a);
}

static void sizes_of_types(void **state) {
  (void)state;
  uint64_t n;
  assert_true(mp_dtype_bytes(MP_FLOAT, 3, &n) && n == 12);
  assert_true(mp_dtype_bytes(MP_BOOL, 9, &n) && n == 9);
  assert_true(mp_dtype_bytes(MP_INT4, 3, &n) && n == 2);
  assert_true(mp_dtype_bytes(MP_UINT2, 9, &n) && n == 3);
  assert_true(mp_dtype_bytes(MP_FLOAT6E2M3, 4, &n) && n == 3);
  assert_true(mp_dtype_bytes(MP_STRING, 5, &n) && n == 0);
  assert_true(mp_dtype_bytes(MP_INT4, UINT64_MAX, &n) && n == (uint64_t)1 << 63);
  assert_false(mp_dtype_bytes(MP_DOUBLE, UINT64_MAX / 4, &n));
  assert_string_equal(mp_dtype_name(MP_BFLOAT16), "bfloat16");
  assert_string_equal(mp_dtype_name((mp_dtype)99), "undefined");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_fields_come_out_in_order),
      cmocka_unit_test(unknown_fields_are_skipped),
      cmocka_unit_test(a_known_field_of_another_wire_type_is_unknown),
      cmocka_unit_test(repeated_numbers_come_packed_and_single),
      cmocka_unit_test(damage_is_told_with_its_place),
      cmocka_unit_test(groups_nest_to_a_limit),
      cmocka_unit_test(a_name_holds_no_nul),
      cmocka_unit_test(messages_nest_to_a_limit),
      cmocka_unit_test(sizes_of_types),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
