/* Element types: names, sizes. One row a type, in the order of the schema's numbers. */
#include "onnx/onnx.h"

static const struct {
  const char *name;
  uint8_t bits;
  bool is_float;
} types[MP_DTYPES] = {
    [MP_UNDEFINED] = {"undefined", 0, false},
    [MP_FLOAT] = {"float32", 32, true},
    [MP_UINT8] = {"uint8", 8, false},
    [MP_INT8] = {"int8", 8, false},
    [MP_UINT16] = {"uint16", 16, false},
    [MP_INT16] = {"int16", 16, false},
    [MP_INT32] = {"int32", 32, false},
    [MP_INT64] = {"int64", 64, false},
    [MP_STRING] = {"string", 0, false},
    [MP_BOOL] = {"bool", 8, false},
    [MP_FLOAT16] = {"float16", 16, true},
    [MP_DOUBLE] = {"float64", 64, true},
    [MP_UINT32] = {"uint32", 32, false},
    [MP_UINT64] = {"uint64", 64, false},
    [MP_COMPLEX64] = {"complex64", 64, false},
    [MP_COMPLEX128] = {"complex128", 128, false},
    [MP_BFLOAT16] = {"bfloat16", 16, true},
    [MP_FLOAT8E4M3FN] = {"float8e4m3fn", 8, true},
    [MP_FLOAT8E4M3FNUZ] = {"float8e4m3fnuz", 8, true},
    [MP_FLOAT8E5M2] = {"float8e5m2", 8, true},
    [MP_FLOAT8E5M2FNUZ] = {"float8e5m2fnuz", 8, true},
    [MP_UINT4] = {"uint4", 4, false},
    [MP_INT4] = {"int4", 4, false},
    [MP_FLOAT4E2M1] = {"float4e2m1", 4, true},
    [MP_FLOAT8E8M0] = {"float8e8m0", 8, true},
    [MP_UINT2] = {"uint2", 2, false},
    [MP_INT2] = {"int2", 2, false},
    [MP_FLOAT6E2M3] = {"float6e2m3", 6, true},
    [MP_FLOAT6E3M2] = {"float6e3m2", 6, true},
};

static bool known(mp_dtype t) { return (unsigned)t < MP_DTYPES; }

const char *mp_dtype_name(mp_dtype t) { return types[known(t) ? t : MP_UNDEFINED].name; }
unsigned mp_dtype_bits(mp_dtype t) { return known(t) ? types[t].bits : 0; }
bool mp_dtype_is_float(mp_dtype t) { return known(t) && types[t].is_float; }

bool mp_dtype_bytes(mp_dtype t, uint64_t elements, uint64_t *bytes) {
  uint64_t bits = mp_dtype_bits(t), whole; /* packed: the last byte of a type below 8 bits may be part full */
  return mp_mul_u64(elements / 8, bits, &whole) && mp_add_u64(whole, (elements % 8 * bits + 7) / 8, bytes);
}
