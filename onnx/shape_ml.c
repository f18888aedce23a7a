/* ai.onnx.ml: classical models over rows of features. */
#include "onnx/shape_tools.h"

/* rows of input 0: (rows, features), or (features) for one row */
static mp_int rows_of(mp_infer *c) {
  int rank = mp_infer_rank(c, 0);
  return rank < 0 ? mp_int_unknown() : rank == 1 ? mp_num(1) : mp_infer_dim(c, 0, 0);
}

static uint32_t length_of(mp_infer *c, const char *name) {
  const mp_attr *a = mp_node_attr(mp_infer_node(c), name);
  return a && (a->kind == MP_ATTR_INTS || a->kind == MP_ATTR_FLOATS || a->kind == MP_ATTR_STRINGS) ? a->n : 0;
}

static void table(mp_infer *c, int o, mp_dtype t, mp_int columns) {
  if (mp_infer_wants(c, o)) mp_infer_set_dims(c, o, t, 2, (mp_int[]){rows_of(c), mp_below(columns, 0) ? mp_int_unknown() : columns});
}

/* output 0: a label a row; output 1: scores */
static void classify(mp_infer *c, mp_int scores) {
  mp_int n = rows_of(c);
  mp_infer_set_dims(c, 0, length_of(c, "classlabels_strings") ? MP_STRING : MP_INT64, 1, &n);
  table(c, 1, MP_FLOAT, scores);
}

static uint32_t labels(mp_infer *c, const char *ints) {
  uint32_t n = length_of(c, "classlabels_strings");
  return n ? n : length_of(c, ints);
}

static void linear_classifier(mp_infer *c) {
  uint32_t biases = length_of(c, "intercepts"), n = labels(c, "classlabels_ints");
  mp_int columns = biases == 1 && n == 2 ? mp_num(2) : biases ? mp_num(biases) : n ? mp_num(n) : mp_int_unknown();
  classify(c, columns);
  mp_int features = mp_infer_rank(c, 0) > 0 ? mp_infer_dim(c, 0, -1) : mp_int_unknown();
  mp_cost_macs(c, mp_sym_mul(c, mp_sym_mul(c, rows_of(c), features), mp_num(biases ? biases : n)), mp_num(0));
}

/* Support vectors without probabilities: a score for each pair of classes; a linear model (no vectors): one for each class. */
static void svm_classifier(mp_infer *c) {
  int64_t n = length_of(c, "vectors_per_class"), classes = n ? n : labels(c, "classlabels_ints");
  bool pairs = n && !length_of(c, "prob_a") && classes > 2;
  classify(c, pairs ? mp_num(classes * (classes - 1) / 2) : classes ? mp_num(n && classes < 2 ? 2 : classes) : mp_int_unknown());
}

static void tree_classifier(mp_infer *c) {
  uint32_t n = labels(c, "classlabels_int64s");
  classify(c, n > 1 ? mp_num(n) : mp_int_unknown());
}

static void linear_regressor(mp_infer *c) {
  int64_t n = mp_infer_int(c, "targets", 1);
  table(c, 0, MP_FLOAT, mp_num(n));
  mp_int features = mp_infer_rank(c, 0) > 0 ? mp_infer_dim(c, 0, -1) : mp_int_unknown();
  mp_cost_macs(c, mp_mul_n(c, mp_sym_mul(c, rows_of(c), features), n), mp_num(0));
}

static void svm_regressor(mp_infer *c) { table(c, 0, MP_FLOAT, mp_num(1)); }
static mp_int targets(mp_infer *c) { return mp_infer_has_attr(c, "n_targets") ? mp_num(mp_infer_int(c, "n_targets", 1)) : mp_int_unknown(); }
static void tree_regressor(mp_infer *c) { table(c, 0, MP_FLOAT, targets(c)); }
static void tree_ensemble(mp_infer *c) { table(c, 0, mp_infer_dtype(c, 0), targets(c)); }

MP_SIGNATURE(float_same, ". -> .:f")

/* the last axis is gathered; a vector becomes one row */
static void feature_extractor(mp_infer *c) {
  mp_shape s, index;
  mp_infer_shape(c, 0, &s);
  mp_infer_shape(c, 1, &index);
  mp_int n = mp_elements(c, &index);
  if (s.rank == 0) mp_infer_bad(c, "the data is a scalar");
  if (s.rank == 1) s.rank = 2, s.dims[0] = mp_num(1);
  if (s.rank > 0) s.dims[s.rank - 1] = n;
  mp_infer_set(c, 0, mp_infer_dtype(c, 0), s.rank <= 0 ? NULL : &s);
  mp_infer_no_cost(c);
}

static void one_hot_encoder(mp_infer *c) {
  mp_shape s;
  uint32_t ints = length_of(c, "cats_int64s"), strings = length_of(c, "cats_strings");
  mp_infer_shape(c, 0, &s);
  mp_shape_append(&s, ints || strings ? mp_num(ints ? ints : strings) : mp_int_unknown());
  mp_infer_set(c, 0, MP_FLOAT, s.rank < 0 ? NULL : &s);
}

static void feature_vectorizer(mp_infer *c) {
  uint32_t n = 0;
  const int64_t *sizes = mp_infer_attr_ints(c, "inputdimensions", &n);
  mp_int sum = mp_num(0);
  for (uint32_t i = 0; i < n; i++) sum = mp_add_n(c, sum, sizes[i]);
  for (int i = 0; i < mp_infer_ins(c) && !sizes; i++) sum = mp_sym_add(c, sum, mp_infer_rank(c, i) > 0 ? mp_infer_dim(c, i, -1) : mp_int_unknown());
  table(c, 0, MP_FLOAT, sum);
}

static void dict_vectorizer(mp_infer *c) {
  uint32_t ints = length_of(c, "int64_vocabulary"), strings = length_of(c, "string_vocabulary");
  mp_infer_set_dims(c, 0, mp_infer_dtype(c, 0), 2, (mp_int[]){mp_num(1), mp_num(ints ? ints : strings)});
}

static void cast_map(mp_infer *c) {
  const char *to = mp_infer_string(c, "cast_to", "TO_FLOAT");
  mp_dtype t = !strcmp(to, "TO_STRING") ? MP_STRING : !strcmp(to, "TO_INT64") ? MP_INT64 : MP_FLOAT;
  bool sparse = !strcmp(mp_infer_string(c, "map_form", "DENSE"), "SPARSE");
  mp_int n = sparse ? mp_num(mp_infer_int(c, "max_map", 1)) : mp_int_unknown();
  mp_infer_set_dims(c, 0, t, 2, (mp_int[]){mp_num(1), n});
  if (!sparse) mp_infer_depends(c, 0, "the number of entries");
}

static void mapped(mp_infer *c, mp_dtype t) {
  mp_shape s;
  mp_infer_shape(c, 0, &s);
  mp_infer_set(c, 0, t, s.rank < 0 ? NULL : &s);
}

static void category_mapper(mp_infer *c) {
  mp_dtype t = mp_infer_dtype(c, 0);
  mapped(c, t == MP_STRING ? MP_INT64 : t ? MP_STRING : MP_UNDEFINED);
}

static void label_encoder(mp_infer *c) {
  static const struct {
    const char *attr;
    mp_dtype t;
  } by[] = {{"values_strings", MP_STRING}, {"values_int64s", MP_INT64}, {"values_floats", MP_FLOAT}};
  const mp_attr *values = mp_node_attr(mp_infer_node(c), "values_tensor");
  mp_dtype t = values && values->kind == MP_ATTR_TENSOR ? values->as.tensor->dtype : MP_UNDEFINED;
  for (size_t i = 0; i < sizeof by / sizeof *by; i++)
    if (!t && mp_infer_has_attr(c, by[i].attr)) t = by[i].t;
  if (!t && mp_infer_opset(c) < 2) category_mapper(c);
  else mapped(c, t);
}

/* a sequence of maps, one a row */
static void zip_map(mp_infer *c) {
  mp_int n = rows_of(c);
  mp_infer_set(c, 0, MP_FLOAT, NULL);
  mp_infer_set_form(c, 0, MP_FORM_SEQUENCE);
  mp_infer_set_ints(c, 0, &n, 1);
  mp_infer_no_cost(c);
}

#define ML "ai.onnx.ml"
static const mp_op rows[] = {
  {ML, "ArrayFeatureExtractor", 1, feature_extractor},
  {ML, "Binarizer", 1, mp_rule_same},
  {ML, "CastMap", 1, cast_map},
  {ML, "CategoryMapper", 1, category_mapper},
  {ML, "DictVectorizer", 1, dict_vectorizer},
  {ML, "FeatureVectorizer", 1, feature_vectorizer},
  {ML, "Imputer", 1, mp_rule_same},
  {ML, "LabelEncoder", 1, label_encoder},
  {ML, "LinearClassifier", 1, linear_classifier},
  {ML, "LinearRegressor", 1, linear_regressor},
  {ML, "Normalizer", 1, float_same},
  {ML, "OneHotEncoder", 1, one_hot_encoder},
  {ML, "SVMClassifier", 1, svm_classifier},
  {ML, "SVMRegressor", 1, svm_regressor},
  {ML, "Scaler", 1, float_same},
  {ML, "TreeEnsemble", 5, tree_ensemble},
  {ML, "TreeEnsembleClassifier", 1, tree_classifier},
  {ML, "TreeEnsembleRegressor", 1, tree_regressor},
  {ML, "ZipMap", 1, zip_map},
};
const mp_op_table mp_ops_ml = {rows, sizeof rows / sizeof *rows};
