"""Models that no rule had been made on when they were first measured: image networks of timm and torchvision from families that unseen_models.py has none of, other heads and families of
transformers, attention in windows that the sequence fills, and configurations beside the default. ROWS as there. `python3 unseen_held_out.py` prints the names."""
from unseen_models import *  # noqa: F403

ROWS.clear()
for n in "cpubone_b0_bfrobust csatv2 cspnext_tiny densenet169 dpn68b efficientformerv2_s0 efficientvim_m1 efficientvit_m0 fasternet_t0 hieradet_small iformer_s inception_v3 inception_v4 lcnetv2_small lowformer_b0 repghostnet_050 legacy_seresnet18 shvit_s1 swiftformer_xs swinv2_tiny_window8_256 tresnet_m vit_tiny_r_s16_p8_224 vitamin_small_224 legacy_xception naflexvit_base_patch16_gap swinv2_cr_tiny_224".split():
    network("timm-" + n, 299 if "inception" in n else 256 if "256" in n or n.startswith("csatv2") else 224, lambda n=n: timm(n)())
class Out(torch.nn.Module):
    def __init__(self, m): super().__init__(); self.m = m
    def forward(self, x, labels):
        y = self.m(x); return F.cross_entropy(y["out"] if isinstance(y, dict) else y, labels)
def seg(name, size):
    def inputs(b, n, device): return dict(x=floats(b, 3, size, size, device=device), labels=ints(b, size, size, device=device))
    def create():
        import torchvision.models.segmentation as s
        return Out(getattr(s, name)(weights=None, weights_backbone=None, num_classes=5))
    ROWS["seg-" + name] = lambda checkpoint="none": (create, inputs, lambda m, b: m(**b))
for n in "fcn_resnet50 deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large".split(): seg(n, 128)
def video(name, *shape):
    def inputs(b, n, device): return dict(x=floats(b, *shape, device=device), labels=ints(b, device=device))
    def create():
        import torchvision.models.video as s
        return Out(getattr(s, name)(weights=None))
    ROWS["video-" + name] = lambda checkpoint="none": (create, inputs, lambda m, b: m(**b))
video("r3d_18", 3, 8, 64, 64); video("mc3_18", 3, 8, 64, 64); video("r2plus1d_18", 3, 8, 64, 64); video("mvit_v2_s", 3, 16, 224, 224); video("swin3d_t", 3, 8, 64, 64)

def wavec(b, s, device="cuda"): return lambda: dict(input_values=floats(b, 4000, device=device), labels=ints(b, device=device))
W = dict(vocab_size=40, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512, conv_dim=(64,64,64), conv_stride=(5,4,2), conv_kernel=(10,8,4), num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, mask_time_prob=0.0, layerdrop=0.0, apply_spec_augment=False, pad_token_id=0)
for n, c in dict(wav2vec2="Wav2Vec2", hubert="Hubert", wavlm="WavLM", unispeech="UniSpeech", unispeechsat="UniSpeechSat", data2vecaudio="Data2VecAudio", conformer="Wav2Vec2Conformer").items():
    row("hf-" + n, c + "ForSequenceClassification", lambda c=c: getattr(T, c + "Config")(**W), wavec, "eager", image=True)
row("hf-wav2vec2-stable", "Wav2Vec2ForSequenceClassification", lambda: T.Wav2Vec2Config(**W, do_stable_layer_norm=True, feat_extract_norm="layer"), wavec, "sdpa", image=True)
row("hf-sew", "SEWForSequenceClassification", lambda: T.SEWConfig(**W, squeeze_factor=2), wavec, "eager", image=True)
for n, c, o in (("olmo3", "Olmo3", {}), ("nanochat", "NanoChat", {}), ("jais2", "Jais2", {}), ("ministral3", "Ministral3", {}), ("doge", "Doge", {})):
    decoder("hf-" + n, c.replace("Text", "") + "ForCausalLM", lambda c=c: getattr(T, c + "Config")(**L))
decoder("hf-modernbert-decoder", "ModernBertDecoderForCausalLM", lambda: T.ModernBertDecoderConfig(**dict(E, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)))
decoder("hf-qwen35", "Qwen3_5ForCausalLM", lambda: T.Qwen3_5TextConfig(**L, head_dim=32))
decoder("hf-imagegpt", "ImageGPTForCausalImageModeling", lambda: T.ImageGPTConfig(vocab_size=513, n_positions=256, n_embd=128, n_layer=2, n_head=4), attention="eager")
encoder("hf-yoso", "YosoForMaskedLM", lambda: T.YosoConfig(**E, use_expectation=True), attention="eager")
encoder("hf-jina3", "JinaEmbeddingsV3ForMaskedLM", lambda: T.JinaEmbeddingsV3Config(**E))
encoder("hf-gte", "GteForMaskedLM", lambda: T.GteConfig(**E))
pair("hf-pegasusx", "PegasusXForConditionalGeneration", lambda: T.PegasusXConfig(**S, block_size=32, num_global_tokens=8), attention="eager")
pair("hf-bigbirdpegasus", "BigBirdPegasusForConditionalGeneration", lambda: T.BigBirdPegasusConfig(**S, attention_type="original_full"), attention="eager")
def speech(b, s, device="cuda"): return lambda: dict(input_features=floats(b, 64, 80, device=device), labels=ints(b, 32, device=device))
row("hf-speech2text", "Speech2TextForConditionalGeneration", lambda: T.Speech2TextConfig(**S, conv_channels=128, input_feat_per_channel=80, max_source_positions=200, max_target_positions=64, pad_token_id=1, decoder_start_token_id=2), speech, "eager", image=True)
image("hf-siglip", "SiglipForImageClassification", lambda: T.SiglipConfig(vision_config=dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512, image_size=64, patch_size=16), num_labels=10))
image("hf-clip", "CLIPForImageClassification", lambda: T.CLIPConfig(vision_config=dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512, image_size=64, patch_size=16), num_labels=10))
image("hf-textnet", "TextNetForImageClassification", lambda: T.TextNetConfig(num_labels=10), attention="eager")
def vid(b, s, device="cuda"): return lambda: dict(pixel_values=floats(b, 4, 3, 64, 64, device=device), labels=ints(b, device=device))
for n, c, o in (("videomae", "VideoMAE", dict(num_frames=4, tubelet_size=2)), ("timesformer", "Timesformer", dict(num_frames=4)), ("vivit", "Vivit", dict(num_frames=4, tubelet_size=[2, 16, 16]))):
    row("hf-" + n, c + "ForVideoClassification", lambda c=c, o=o: getattr(T, c + "Config")(**{k: v for k, v in I.items() if not (c == "Vivit" and k == "patch_size")}, **o), vid, "eager", image=True)
def series(b, s, device="cuda"): return lambda: dict(past_values=floats(b, 96, 7, device=device), future_values=floats(b, 24, 7, device=device))
row("hf-patchtsmixer", "PatchTSMixerForPrediction", lambda: T.PatchTSMixerConfig(num_input_channels=7, context_length=96, prediction_length=24, patch_length=16, patch_stride=8, d_model=32, num_layers=2, loss="mse"), series, "eager", image=True)

LW = dict(L, sliding_window=64)
decoder("w-mistral", "MistralForCausalLM", lambda: T.MistralConfig(**LW))
decoder("w-gemma3", "Gemma3ForCausalLM", lambda: T.Gemma3TextConfig(**LW, head_dim=32, layer_types=["sliding_attention", "full_attention"]))
decoder("w-gemma3-eager", "Gemma3ForCausalLM", lambda: T.Gemma3TextConfig(**LW, head_dim=32, layer_types=["sliding_attention", "full_attention"]), attention="eager")
decoder("w-cohere2", "Cohere2ForCausalLM", lambda: T.Cohere2Config(**LW, layer_types=["sliding_attention", "full_attention"]))
decoder("w-qwen2", "Qwen2ForCausalLM", lambda: T.Qwen2Config(**LW, use_sliding_window=True, max_window_layers=0))
decoder("w-starcoder2", "Starcoder2ForCausalLM", lambda: T.Starcoder2Config(**LW))
decoder("w-exaone4", "Exaone4ForCausalLM", lambda: T.Exaone4Config(**LW, sliding_window_pattern=2))
decoder("w-phi3", "Phi3ForCausalLM", lambda: T.Phi3Config(**LW))
decoder("w-mistral-at", "MistralForCausalLM", lambda: T.MistralConfig(**dict(L, sliding_window=128)))
decoder("w-mistral-wide", "MistralForCausalLM", lambda: T.MistralConfig(**dict(L, sliding_window=129)))
encoder("w-modernbert", "ModernBertForMaskedLM", lambda: T.ModernBertConfig(**dict(E, pad_token_id=0, global_attn_every_n_layers=2, local_attention=64)), mask=False)
encoder("w-modernbert-mask", "ModernBertForMaskedLM", lambda: T.ModernBertConfig(**dict(E, pad_token_id=0, global_attn_every_n_layers=2, local_attention=64)))
encoder("w-modernbert-eager", "ModernBertForMaskedLM", lambda: T.ModernBertConfig(**dict(E, pad_token_id=0, global_attn_every_n_layers=2, local_attention=64)), mask=False, attention="eager")
decoder("w-mistral-mask", "MistralForCausalLM", lambda: T.MistralConfig(**LW), mask=True)

def with_positions(b, s, device="cuda"): return lambda: dict(input_ids=ints(b, s, device=device), position_ids=ints(b, s, device=device), labels=ints(b, s, device=device))
def embeds(b, s, device="cuda"): return lambda: dict(inputs_embeds=floats(b, s, 128, device=device), labels=ints(b, s, device=device))
def regress(b, s, device="cuda"): return lambda: dict(input_ids=ints(b, s, device=device), labels=floats(b, device=device))
def multilabel(b, s, device="cuda"): return lambda: dict(input_ids=ints(b, s, device=device), labels=floats(b, 4, device=device))
def choices(b, s, device="cuda"): return lambda: dict(input_ids=ints(b, 2, s // 2, device=device), labels=ints(b, device=device))
decoder("c-llama-bias", "LlamaForCausalLM", lambda: T.LlamaConfig(**L1, attention_bias=True, mlp_bias=True, tie_word_embeddings=True))
decoder("c-llama-dropout", "LlamaForCausalLM", lambda: T.LlamaConfig(**L1, attention_dropout=0.1))
decoder("c-llama-dropout-eager", "LlamaForCausalLM", lambda: T.LlamaConfig(**L1, attention_dropout=0.1), attention="eager")
decoder("c-llama-yarn", "LlamaForCausalLM", lambda: T.LlamaConfig(**L1, rope_scaling=dict(rope_type="yarn", factor=2.0, original_max_position_embeddings=1024)))
decoder("c-llama-gelu", "LlamaForCausalLM", lambda: T.LlamaConfig(**L1, hidden_act="gelu_pytorch_tanh", head_dim=64))
row("c-llama-positions", "LlamaForCausalLM", lambda: T.LlamaConfig(**L1), with_positions)
row("c-llama-embeds", "LlamaForCausalLM", lambda: T.LlamaConfig(**L1), embeds)
row("c-bert-embeds", "BertForMaskedLM", lambda: T.BertConfig(**E), embeds)
row("c-bert-regress", "BertForSequenceClassification", lambda: T.BertConfig(**E, num_labels=1), regress)
row("c-bert-multilabel", "BertForSequenceClassification", lambda: T.BertConfig(**E, num_labels=4, problem_type="multi_label_classification"), multilabel)
row("c-bert-choice", "BertForMultipleChoice", lambda: T.BertConfig(**E), choices)
encoder("c-bert-relu", "BertForMaskedLM", lambda: T.BertConfig(**E, hidden_act="relu", attention_probs_dropout_prob=0.0))
encoder("c-bert-no-dropout", "BertForMaskedLM", lambda: T.BertConfig(**E, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), attention="eager")
encoder("c-bert-silu", "BertForMaskedLM", lambda: T.BertConfig(**E, hidden_act="silu", tie_word_embeddings=False), mask=False)
encoder("c-bert-gelunew", "BertForMaskedLM", lambda: T.BertConfig(**E, hidden_act="gelu_new"), mask=False, attention="eager")
encoder("c-bert-quick", "BertForMaskedLM", lambda: T.BertConfig(**E, hidden_act="quick_gelu"), mask=False)
encoder("c-bert-nsp", "BertForNextSentencePrediction", lambda: T.BertConfig(**E), labels="batch", types=True)
decoder("c-gpt2-upcast", "GPT2LMHeadModel", lambda: T.GPT2Config(vocab_size=1000, n_embd=128, n_layer=2, n_head=4, reorder_and_upcast_attn=True, scale_attn_by_inverse_layer_idx=True), attention="eager")
decoder("c-gpt2-no-dropout", "GPT2LMHeadModel", lambda: T.GPT2Config(vocab_size=1000, n_embd=128, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
decoder("c-gpt2-relu", "GPT2LMHeadModel", lambda: T.GPT2Config(vocab_size=1000, n_embd=128, n_layer=2, n_head=4, activation_function="relu", n_inner=256, tie_word_embeddings=False))
encoder("c-gpt2-token", "GPT2ForTokenClassification", lambda: T.GPT2Config(vocab_size=1000, n_embd=128, n_layer=2, n_head=4), mask=False)
pair("c-t5-silu", "T5ForConditionalGeneration", lambda: T.T5Config(**T5, feed_forward_proj="gated-silu", dropout_rate=0.0, tie_word_embeddings=False), attention="eager")
pair("c-bart-eager", "BartForConditionalGeneration", lambda: T.BartConfig(**S, attention_dropout=0.1, activation_dropout=0.1, scale_embedding=True), attention="eager")
decoder("c-opt-no-bias", "OPTForCausalLM", lambda: T.OPTConfig(vocab_size=1000, hidden_size=128, num_hidden_layers=2, ffn_dim=512, num_attention_heads=4, word_embed_proj_dim=128, enable_bias=False, activation_function="gelu", attention_dropout=0.1))
decoder("c-neox-serial", "GPTNeoXForCausalLM", lambda: T.GPTNeoXConfig(vocab_size=1000, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512, use_parallel_residual=False, hidden_dropout=0.1, attention_dropout=0.1))
decoder("c-phi-dropout", "PhiForCausalLM", lambda: T.PhiConfig(**L1, resid_pdrop=0.1, embd_pdrop=0.1, qk_layernorm=True))
image("c-vit-regress", "ViTForImageClassification", lambda: T.ViTConfig(**dict(I, num_labels=10), qkv_bias=False, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1))
image("c-vit-layer-drop", "BeitForImageClassification", lambda: T.BeitConfig(**I, drop_path_rate=0.2, use_mean_pooling=False, use_shared_relative_position_bias=True), attention="eager")
image("c-convnext-drop", "ConvNextForImageClassification", lambda: T.ConvNextConfig(hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 2, 1], num_labels=10, drop_path_rate=0.3, layer_scale_init_value=0.0), attention="eager")
image("c-swin-ape", "SwinForImageClassification", lambda: T.SwinConfig(image_size=64, patch_size=4, embed_dim=32, depths=[2, 2], num_heads=[2, 4], window_size=4, num_labels=10, use_absolute_embeddings=True, drop_path_rate=0.2, attention_probs_dropout_prob=0.1), attention="eager")
image("c-dinov2-swiglu", "Dinov2ForImageClassification", lambda: T.Dinov2Config(**{k: v for k, v in I.items() if k != "intermediate_size"}, use_swiglu_ffn=True, drop_path_rate=0.1))

def tm(label, name, size=224, **kw):
    def make():
        import timm as library
        return library.create_model(name, pretrained=False, num_classes=1000, **kw)
    network("k-" + label, size, make)
tm("resnet-drop", "resnet26", drop_rate=0.2, drop_path_rate=0.1)
tm("resnet-catavgmax", "resnet26", global_pool="catavgmax")
tm("resnet-dilated", "resnet26", output_stride=8)
tm("convnext-drop", "convnext_atto", drop_path_rate=0.2, drop_rate=0.1)
tm("swin-drop", "swin_tiny_patch4_window7_224", drop_path_rate=0.2)
tm("vit-drop", "vit_tiny_patch16_224", drop_rate=0.1, attn_drop_rate=0.1, proj_drop_rate=0.1, drop_path_rate=0.1)
tm("vit-avg", "vit_tiny_patch16_224", class_token=False, global_pool="avg", init_values=1e-5)
tm("vit-dynamic", "vit_tiny_patch16_224", dynamic_img_size=True)
tm("vit-patchdrop", "vit_tiny_patch16_224", patch_drop_rate=0.25)
tm("effnet-drop", "efficientnet_lite0", drop_rate=0.2, drop_path_rate=0.2)
tm("mixer-drop", "mixer_s32_224", drop_rate=0.1, proj_drop_rate=0.1, drop_path_rate=0.1)
tm("resnet-aa", "resnet26", block_args=dict(attn_layer="cbam"))

if __name__ == "__main__": print(*ROWS, sep="\n")
