"""Families of transformers that the other lists have none of: mixtures of experts, latent attention, state spaces, speech, detection. Held out until they were first measured.
`python3 unseen_families.py` prints the names."""
from unseen_models import E, I, L, T, ROWS as OTHERS, decoder, encoder, floats, image, ints, maps, pair, row
import torch.nn as nn
import torch.nn.functional as F

BEFORE = set(OTHERS)
def part(prefix, before): return {prefix + k: v for k, v in OTHERS.items() if k not in before}

# Experts as one batched product, of which every exporter says all; and as products by groups, which only transformers' own exports, and which the tracer runs in bfloat16 alone
for way in ("batched", "grouped"):
    M = dict(L, num_experts_per_tok=2, experts_implementation=way + "_mm")
    end = "-grouped" if way == "grouped" else ""
    decoder("mixtral" + end, "MixtralForCausalLM", lambda M=M: T.MixtralConfig(**M, num_local_experts=4))
    decoder("qwen2-moe" + end, "Qwen2MoeForCausalLM", lambda M=M: T.Qwen2MoeConfig(**M, num_experts=4, moe_intermediate_size=256, shared_expert_intermediate_size=256))
    decoder("qwen3-moe" + end, "Qwen3MoeForCausalLM", lambda M=M: T.Qwen3MoeConfig(**M, num_experts=4, moe_intermediate_size=256, head_dim=32))
    decoder("olmoe" + end, "OlmoeForCausalLM", lambda M=M: T.OlmoeConfig(**dict(M, intermediate_size=256), num_experts=4))
    decoder("phimoe" + end, "PhimoeForCausalLM", lambda M=M: T.PhimoeConfig(**M, num_local_experts=4))
    decoder("granitemoe" + end, "GraniteMoeForCausalLM", lambda M=M: T.GraniteMoeConfig(**M, num_local_experts=4))
    decoder("gpt-oss" + end, "GptOssForCausalLM", lambda M=M: T.GptOssConfig(**M, num_local_experts=4, head_dim=32), attention="eager")
    decoder("deepseek-v2" + end, "DeepseekV2ForCausalLM", lambda M=M: T.DeepseekV2Config(**dict(M, num_key_value_heads=4), n_routed_experts=4, n_shared_experts=1, first_k_dense_replace=1, moe_intermediate_size=256, kv_lora_rank=32, q_lora_rank=48, qk_rope_head_dim=16, qk_nope_head_dim=16, v_head_dim=32, n_group=1, topk_group=1))
M = dict(L, num_experts_per_tok=2, experts_implementation="batched_mm")
decoder("deepseek-v3-dense", "DeepseekV3ForCausalLM", lambda: T.DeepseekV3Config(**dict(M, num_key_value_heads=4), n_routed_experts=4, first_k_dense_replace=2, kv_lora_rank=32, q_lora_rank=48, qk_rope_head_dim=16, qk_nope_head_dim=16, v_head_dim=32))
decoder("cwm", "CwmForCausalLM", lambda: T.CwmConfig(**L, head_dim=32, sliding_window=64, layer_types=["sliding_attention", "full_attention"]))
decoder("bamba", "BambaForCausalLM", lambda: T.BambaConfig(**L, attn_layer_indices=[1], mamba_n_heads=8, mamba_d_state=16, mamba_d_head=32, mamba_n_groups=1, mamba_chunk_size=32))
decoder("falcon-h1", "FalconH1ForCausalLM", lambda: T.FalconH1Config(**L, head_dim=32, mamba_n_heads=8, mamba_d_state=16, mamba_d_head=32, mamba_d_ssm=256, mamba_n_groups=1, mamba_chunk_size=32))
decoder("qwen3-next", "Qwen3NextForCausalLM", lambda: T.Qwen3NextConfig(**M, num_experts=4, moe_intermediate_size=256, shared_expert_intermediate_size=256, head_dim=32, layer_types=["linear_attention", "full_attention"], linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=32, linear_value_head_dim=32, mlp_only_layers=[0, 1]))
decoder("gemma4", "Gemma4ForCausalLM", lambda: T.Gemma4TextConfig(**L, head_dim=32, layer_types=["sliding_attention", "full_attention"]))
decoder("xlstm", "xLSTMForCausalLM", lambda: T.xLSTMConfig(vocab_size=1000, hidden_size=128, num_hidden_layers=2, num_heads=4, chunk_size=32), attention="eager")
encoder("mra", "MraForMaskedLM", lambda: T.MraConfig(**E), attention="eager")
encoder("tapas", "TapasForMaskedLM", lambda: T.TapasConfig(**E), attention="eager")
pair("t5gemma", "T5GemmaForConditionalGeneration", lambda: T.T5GemmaConfig(encoder=dict(L, head_dim=32), decoder=dict(L, head_dim=32, cross_attention_hidden_size=128)), attention="eager")
image("metaclip-2", "MetaClip2ForImageClassification", lambda: T.MetaClip2Config(vision_config={k: v for k, v in I.items() if k != "num_labels"}, num_labels=10))
image("upernet", "UperNetForSemanticSegmentation", lambda: T.UperNetConfig(backbone_config=T.ConvNextConfig(hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"]), hidden_size=64, auxiliary_channels=32, auxiliary_in_channels=96, num_labels=10), attention="eager", inputs=maps)
def mel(b, s, device="cuda"): return lambda: dict(input_features=floats(b, 64, 80, device=device), labels=ints(b, device=device))
row("moonshine", "MoonshineForConditionalGeneration", lambda: T.MoonshineConfig(vocab_size=1000, pad_token_id=0, hidden_size=128, intermediate_size=512, encoder_num_hidden_layers=2, decoder_num_hidden_layers=2, encoder_num_attention_heads=4, decoder_num_attention_heads=4), lambda b, s, device="cuda": lambda: dict(input_values=floats(b, 16000, device=device), labels=ints(b, 32, device=device)), image=True)
row("wav2vec2-bert", "Wav2Vec2BertForSequenceClassification", lambda: T.Wav2Vec2BertConfig(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512, feature_projection_input_dim=80, conv_depthwise_kernel_size=15, layerdrop=0.0, apply_spec_augment=False), mel, "eager", image=True)
row("whisper-cls", "WhisperForAudioClassification", lambda: T.WhisperConfig(d_model=128, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=512, max_source_positions=64, num_mel_bins=80, num_labels=10), lambda b, s, device="cuda": lambda: dict(input_features=floats(b, 80, 128, device=device), labels=ints(b, device=device)), image=True)
def video(b, s, device="cuda"): return lambda: dict(pixel_values_videos=floats(b, 4, 3, 64, 64, device=device), labels=ints(b, device=device))
row("vjepa2", "VJEPA2ForVideoClassification", lambda: T.VJEPA2Config(patch_size=16, crop_size=64, frames_per_clip=4, hidden_size=128, num_attention_heads=4, num_hidden_layers=2, mlp_ratio=4, pred_hidden_size=128, pred_num_attention_heads=4, pred_num_hidden_layers=1, num_pooler_layers=1, num_labels=10), video, image=True)


class Boxes(nn.Module):
    """logits and boxes of every query against targets that are matched already"""
    def __init__(self, m): super().__init__(); self.m = m
    def forward(self, pixel_values, labels, boxes):
        y = self.m(pixel_values=pixel_values)
        return type("Out", (), dict(loss=F.cross_entropy(y.logits.transpose(1, 2), labels) + 5 * (y.pred_boxes - boxes).abs().mean(), logits=y.logits))


def detector(name, cls, config, queries):
    def make(checkpoint="none", kernel=None):
        def build():
            c = config()
            c._attn_implementation = "eager"  # one that looks at the values of its mask cannot be traced
            return Boxes(getattr(T, cls)(c))
        def inputs(b, n, device): return dict(pixel_values=floats(b, 3, 64, 64, device=device), labels=ints(b, queries, device=device), boxes=floats(b, queries, 4, device=device))
        return build, inputs, lambda m, b: m(**b).loss
    OTHERS[name] = make


detector("yolos", "YolosForObjectDetection", lambda: T.YolosConfig(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512, image_size=[64, 64], patch_size=16, num_detection_tokens=20, num_labels=9), 20)

ROWS = part("family-", BEFORE)
if __name__ == "__main__": print("\n".join(ROWS))
