/* The functions of the table's rows, by family (patterns.c has the rows). */
#ifndef MP_PATTERNS_H
#define MP_PATTERNS_H

#include "planner/recover.h"

/* patterns_shape.c: views, copies, factories */
MP_ROW_EMIT(mp_row_reshape);
MP_ROW_EMIT(mp_row_transpose);
MP_ROW_EMIT(mp_row_unsqueeze);
MP_ROW_EMIT(mp_row_squeeze);
MP_ROW_CHECK(mp_row_is_squeeze);
MP_ROW_EMIT(mp_row_squeeze_if);
MP_ROW_EMIT(mp_row_expand);
MP_ROW_EMIT(mp_row_slice);
MP_ROW_CHECK(mp_row_is_chunk);
MP_ROW_EMIT(mp_row_chunk);
MP_ROW_EMIT(mp_row_split);
MP_ROW_CHECK(mp_row_is_select);
MP_ROW_EMIT(mp_row_select);
MP_ROW_CHECK(mp_row_is_embedding);
MP_ROW_EMIT(mp_row_gather);
MP_ROW_EMIT(mp_row_dim_index);
MP_ROW_CHECK(mp_row_is_index_add);
MP_ROW_EMIT(mp_row_index_add);
MP_ROW_EMIT(mp_row_one_hot);
MP_ROW_EMIT(mp_row_index);
MP_ROW_EMIT(mp_row_cat);
MP_ROW_CHECK(mp_row_is_stack);
MP_ROW_EMIT(mp_row_stack);
MP_ROW_CHECK(mp_row_is_sequence);
MP_ROW_EMIT(mp_row_cat_sequence);
MP_ROW_EMIT(mp_row_part);
MP_ROW_CHECK(mp_row_is_roll);
MP_ROW_EMIT(mp_row_roll);
MP_ROW_EMIT(mp_row_pad);
MP_ROW_EMIT(mp_row_tile);
MP_ROW_EMIT(mp_row_repeat_interleave);
MP_ROW_CHECK(mp_row_is_slice_write);
MP_ROW_EMIT(mp_row_slice_write);
MP_ROW_EMIT(mp_row_full);
MP_ROW_EMIT(mp_row_arange);
MP_ROW_EMIT(mp_row_trilu);
MP_ROW_EMIT(mp_row_bernoulli);
MP_ROW_CHECK(mp_row_is_unfold);
MP_ROW_EMIT(mp_row_unfold);
MP_ROW_EMIT(mp_row_im2col);

/* patterns_nn.c: convolution, pooling, norms, matrices */
MP_ROW_EMIT(mp_row_conv);
MP_ROW_EMIT(mp_row_conv_transpose);
MP_ROW_EMIT(mp_row_max_pool);
MP_ROW_EMIT(mp_row_avg_pool);
MP_ROW_EMIT(mp_row_global_pool);
MP_ROW_EMIT(mp_row_resize);
MP_ROW_EMIT(mp_row_batch_norm);
MP_ROW_EMIT(mp_row_layer_norm);
MP_ROW_EMIT(mp_row_layer_norm_nodes);
MP_ROW_CHECK(mp_row_is_channel_norm);
MP_ROW_EMIT(mp_row_channel_norm);
MP_ROW_CHECK(mp_row_is_flat_group_norm);
MP_ROW_EMIT(mp_row_group_norm);
MP_ROW_EMIT(mp_row_group_norm_node);
MP_ROW_EMIT(mp_row_rms_norm_node);
MP_ROW_EMIT(mp_row_instance_norm);
MP_ROW_CHECK(mp_row_is_matrix);
MP_ROW_CHECK(mp_row_is_folded_linear);
MP_ROW_EMIT(mp_row_folded_linear);
MP_ROW_EMIT(mp_row_einsum);
MP_ROW_EMIT(mp_row_dropout);
MP_ROW_CHECK(mp_row_is_lstm);
MP_ROW_EMIT(mp_row_lstm);

/* patterns_attention.c */
MP_ROW_CHECK(mp_row_is_sdpa);
MP_ROW_EMIT(mp_row_sdpa);
MP_ROW_CHECK(mp_row_is_wide_softmax);
MP_ROW_EMIT(mp_row_wide_softmax);
MP_ROW_CHECK(mp_row_is_softmax_cast);
MP_ROW_EMIT(mp_row_softmax_cast);
MP_ROW_EMIT(mp_row_mha_pack);
MP_ROW_CHECK(mp_row_is_attention);
MP_ROW_EMIT(mp_row_attention);

/* patterns_math.c: elementwise, reductions, casts, losses */
MP_ROW_EMIT(mp_row_operands);
MP_ROW_EMIT(mp_row_sum);
MP_ROW_EMIT(mp_row_where);
MP_ROW_EMIT(mp_row_cast);
MP_ROW_EMIT(mp_row_clip);
MP_ROW_EMIT(mp_row_softmax);
MP_ROW_EMIT(mp_row_reduce);
MP_ROW_EMIT(mp_row_norm);
MP_ROW_CHECK(mp_row_is_weight_norm);
MP_ROW_EMIT(mp_row_weight_norm);
MP_ROW_EMIT(mp_row_sort);
MP_ROW_EMIT(mp_row_alpha);
MP_ROW_EMIT(mp_row_cosine);
MP_ROW_EMIT(mp_row_cross_entropy);
MP_ROW_EMIT(mp_row_loss);
MP_ROW_CHECK(mp_row_is_glu);
MP_ROW_EMIT(mp_row_glu);
MP_ROW_CHECK(mp_row_in_module);
MP_ROW_CHECK(mp_row_is_silu);
MP_ROW_CHECK(mp_row_is_squared_relu);
MP_ROW_EMIT(mp_row_cumsum);

/* patterns_fused.c: operators of com.microsoft */
MP_ROW_EMIT(mp_row_bias_gelu);
MP_ROW_EMIT(mp_row_quick_gelu);
MP_ROW_EMIT(mp_row_skip_norm);
MP_ROW_EMIT(mp_row_rms_norm);
MP_ROW_EMIT(mp_row_embed_norm);
MP_ROW_CHECK(mp_row_is_contrib);
MP_ROW_EMIT(mp_row_contrib_attention);
MP_ROW_EMIT(mp_row_contrib_heads);

#endif
