/* Signals, images and text: Fourier transforms, windows, decoders, strings. */
#include "onnx/shape_tools.h"

static mp_dtype data_type(mp_infer *c) {
  int64_t t = mp_infer_int(c, "output_datatype", MP_FLOAT);
  return t > 0 && t < MP_DTYPES ? (mp_dtype)t : MP_FLOAT;
}

/* The half of a spectrum that a real signal needs: n / 2 + 1. */
static mp_int half(mp_infer *c, mp_int n) { return mp_add_n(c, mp_sym_div(c, n, mp_num(2)), 1); }

/* signal (..., 1 or 2), length, axis (an attribute until opset 19) */
static void dft(mp_infer *c) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  bool onesided = mp_infer_int(c, "onesided", 0) != 0, inverse = mp_infer_int(c, "inverse", 0) != 0;
  bool by_input = *mp_infer_node(c)->domain == 0 && mp_infer_opset(c) >= 20;
  int64_t axis = by_input ? -2 : mp_infer_int(c, "axis", 1);
  bool axis_known = !by_input || !mp_infer_has(c, 2) || mp_scalar_int(c, 2, &axis);
  if (s.rank >= 0 && (s.rank < 2 || (axis_known && !mp_axis(c, &axis, s.rank)))) return;
  if (s.rank >= 0) {
    s.dims[s.rank - 1] = mp_num(onesided && inverse ? 1 : 2);
    if (!axis_known) {
      for (int i = 0; i < s.rank - 1; i++)
        if (onesided || mp_infer_has(c, 1)) s.dims[i] = mp_int_unknown();
    } else {
      mp_int in = s.dims[axis], n = mp_infer_has(c, 1) ? mp_scalar_dim(c, 1) : in;
      if (onesided && inverse && !mp_infer_has(c, 1)) n = mp_mul_n(c, mp_add_n(c, in, -1), 2);
      s.dims[axis] = onesided && !inverse ? half(c, n) : n;
    }
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank < 0 ? NULL : &s);
}

/* signal (batch, length) or (batch, length, 1 or 2); the numbers of the inputs that hold the step, the window and the frame's length */
static void frames(mp_infer *c, int step_in, int window_in, int frame_in) {
  int rank = mp_infer_rank(c, 0);
  if (rank >= 0 && rank != 3 && rank != 2) {
    mp_infer_bad(c, "the signal has rank %d, expected 3", rank);
    return;
  }
  mp_int none = mp_int_unknown(), batch = rank < 0 ? none : mp_infer_dim(c, 0, 0), length = rank < 0 ? none : mp_infer_dim(c, 0, 1), frame = length;
  if (mp_infer_has(c, frame_in)) frame = mp_scalar_dim(c, frame_in);
  else if (mp_infer_has(c, window_in)) frame = mp_infer_rank(c, window_in) == 1 ? mp_infer_dim(c, window_in, 0) : none;
  mp_int step = mp_scalar_dim(c, step_in), room = mp_sym_sub(c, length, frame);
  if (mp_below(step, 1) || mp_below(room, 0) || mp_below(frame, 1)) {
    mp_infer_bad(c, "step and frame must be positive, the frame no longer than the signal");
    return;
  }
  if (mp_int_is_unknown(step)) mp_infer_depends(c, step_in, "the contents");
  mp_int count = mp_add_n(c, mp_sym_div(c, room, step), 1), bins = mp_infer_int(c, "onesided", 1) ? half(c, frame) : frame;
  mp_infer_set_dims(c, 0, mp_infer_dtype(c, 0), 4, (mp_int[]){batch, count, bins, mp_num(2)});
}

static void stft(mp_infer *c) { frames(c, 1, 2, 3); }
static void experimental_stft(mp_infer *c) { frames(c, 3, 1, 2); } /* Windows ML's: signal, window, length, step */

static void mel(mp_infer *c) {
  mp_int bands = mp_scalar_dim(c, 0), length = mp_scalar_dim(c, 1);
  if (mp_below(bands, 0) || mp_below(length, 0)) mp_infer_bad(c, "a negative size");
  else mp_infer_set_dims(c, 0, data_type(c), 2, (mp_int[]){half(c, length), bands});
}

static void window(mp_infer *c) {
  mp_int n = mp_scalar_dim(c, 0);
  if (mp_below(n, 0)) mp_infer_bad(c, "a negative size");
  else mp_infer_set_dims(c, 0, data_type(c), 1, &n);
}

/* com.microsoft: the real axes are the last signal_ndim; complex numbers are an axis of 2 at the end */
static void rfft(mp_infer *c) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  if (s.rank == 0) return;
  if (s.rank > 0) {
    mp_int *last = &s.dims[s.rank - 1];
    if (mp_infer_int(c, "onesided", 1)) *last = half(c, *last);
    mp_shape_append(&s, mp_num(2));
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank < 0 ? NULL : &s);
}

static void irfft(mp_infer *c) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  if (s.rank >= 0 && s.rank < 2) {
    mp_infer_bad(c, "the spectrum has rank %d, expected 2 or more", s.rank);
    return;
  }
  if (s.rank >= 2) {
    s.rank--;
    mp_int *last = &s.dims[s.rank - 1];
    if (mp_infer_int(c, "onesided", 1)) *last = mp_mul_n(c, mp_add_n(c, *last, -1), 2);
  }
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank < 0 ? NULL : &s);
}

static void image_decoder(mp_infer *c) {
  bool gray = !strcmp(mp_infer_string(c, "pixel_format", "RGB"), "Grayscale");
  mp_infer_set_dims(c, 0, MP_UINT8, 3, (mp_int[]){mp_int_unknown(), mp_int_unknown(), mp_num(gray ? 1 : 3)});
  mp_infer_depends(c, 0, "the encoded image");
}

/* ---- text ---- */

/* stop words may be dropped: then the last dim is what is left */
static void string_normalizer(mp_infer *c) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  if (s.rank > 0 && mp_infer_has_attr(c, "stopwords")) {
    s.dims[s.rank - 1] = mp_int_unknown();
    mp_infer_depends(c, 0, "the words");
  }
  mp_infer_set(c, 0, MP_STRING, s.rank < 0 ? NULL : &s);
}

static void string_split(mp_infer *c) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  if (mp_infer_outs(c) > 1 && mp_infer_wants(c, 1)) mp_infer_set(c, 1, MP_INT64, s.rank < 0 ? NULL : &s);
  mp_shape_append(&s, mp_int_unknown());
  mp_infer_set(c, 0, MP_STRING, s.rank < 0 ? NULL : &s);
  mp_infer_depends(c, 0, "the text");
}

MP_SIGNATURE(string_match, ". -> .:b")

static void tfidf(mp_infer *c) {
  uint32_t n = 0;
  const int64_t *at = mp_infer_attr_ints(c, "ngram_indexes", &n);
  int64_t most = -1;
  for (uint32_t i = 0; i < n; i++)
    if (at[i] > most) most = at[i];
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  if (s.rank > 2) {
    mp_infer_bad(c, "the words have rank %d, expected 1 or 2", s.rank);
    return;
  }
  if (s.rank == 0) s.rank = 1;
  if (s.rank > 0) s.dims[s.rank - 1] = most < 0 || most == INT64_MAX ? mp_int_unknown() : mp_num(most + 1);
  mp_infer_set(c, 0, MP_FLOAT, s.rank < 0 ? NULL : &s);
}

MP_SIGNATURE(tokenizer, ". -> .,?:s")
MP_SIGNATURE(hash, ". -> .:i")

static const mp_op rows[] = {
  {"", "DFT", 17, dft},
  {"", "STFT", 17, stft},
  {"", "MelWeightMatrix", 17, mel},
  {"", "HannWindow", 17, window},
  {"", "HammingWindow", 17, window},
  {"", "BlackmanWindow", 17, window},
  {"com.microsoft.experimental", "STFT", 1, experimental_stft},
  {"com.microsoft.experimental", "MelWeightMatrix", 1, mel},
  {"com.microsoft.experimental", "HannWindow", 1, window},
  {"com.microsoft.experimental", "HammingWindow", 1, window},
  {"com.microsoft.experimental", "BlackmanWindow", 1, window},
  {"com.microsoft", "Rfft", 1, rfft},
  {"com.microsoft", "Irfft", 1, irfft},
  {"", "ImageDecoder", 20, image_decoder},
  {"", "StringNormalizer", 10, string_normalizer},
  {"", "StringConcat", 20, mp_rule_broadcast},
  {"", "StringSplit", 20, string_split},
  {"", "RegexFullMatch", 20, string_match},
  {"", "TfIdfVectorizer", 9, tfidf},
  {"com.microsoft", "Tokenizer", 1, tokenizer},
  {"com.microsoft", "MurmurHash3", 1, hash},
};
const mp_op_table mp_ops_signal = {rows, sizeof rows / sizeof *rows};
