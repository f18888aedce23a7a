"""Models beside those of the reference data, small: configurations written out, no weights. ROWS: name -> function(checkpoint) -> (build, inputs(batch, length, device), step).
Most are of transformers; tv- and timm- rows are image networks as those libraries have them. `python3 unseen_models.py` prints the names."""
import os, sys, types

sys.path.insert(0, os.path.join(os.environ.get("MEMPLAN_SHARED", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "shared")), "truth", "lab"))
sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))
import torch
import torch.nn.functional as F
import transformers as T
import transformers.masking_utils
from zoo_transformers import floats, hf, image_inputs, ints, t5_inputs, tokens

transformers.masking_utils.find_packed_sequence_indices = lambda position_ids: None  # on fake tensors it writes out a mask that a real run never makes
ROWS = {}


def row(name, cls, config, inputs, attention="sdpa", image=False):
    def make(checkpoint="none", kernel=None):   # kernel: attention of another kind than the row's
        build, batches, step, _ = hf(config, cls, inputs, [(8, 128)], attention)(checkpoint=checkpoint, attention_=kernel)
        return build, lambda b, n, device: batches(b, None if image else n, device)(), step
    ROWS[name] = make


def encoder(name, cls, config, labels="seq", attention="sdpa", types=False, mask=True, extra=None):
    row(name, cls, config, tokens(mask=mask, types=types, labels=labels, extra=extra), attention)
def decoder(name, cls, config, attention="sdpa", mask=False): row(name, cls, config, tokens(mask=mask), attention)
def pair(name, cls, config, attention="sdpa"): row(name, cls, config, t5_inputs, attention)
def image(name, cls, config, attention="sdpa", inputs=image_inputs(64)): row(name, cls, config, inputs, attention, image=True)
def spans(b, s, device): return dict(start_positions=ints(b, device=device), end_positions=ints(b, device=device))
def sound(b, s, device="cuda"): return lambda: dict(input_values=floats(b, 128, 64, device=device), labels=ints(b, device=device))
def maps(b, s, device="cuda"): return lambda: dict(pixel_values=floats(b, 3, 64, 64, device=device), labels=ints(b, 64, 64, device=device))


E = dict(vocab_size=1000, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512)
L = dict(E, num_key_value_heads=2, pad_token_id=0)
L1 = dict(L, num_key_value_heads=4)
S = dict(vocab_size=1000, d_model=128, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=512, decoder_ffn_dim=512)
T5 = dict(vocab_size=1000, d_model=128, d_kv=32, d_ff=512, num_layers=2, num_decoder_layers=2, num_heads=4, decoder_start_token_id=0)
I = dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512, image_size=64, patch_size=16, num_labels=10)
encoder("albert", "AlbertForMaskedLM", lambda: T.AlbertConfig(**dict(E, embedding_size=64)))
encoder("electra", "ElectraForMaskedLM", lambda: T.ElectraConfig(**dict(E, embedding_size=64)))
encoder("electra-cls", "ElectraForSequenceClassification", lambda: T.ElectraConfig(**dict(E, embedding_size=64)), labels="batch", attention="eager")
encoder("xlmr-cls", "XLMRobertaForSequenceClassification", lambda: T.XLMRobertaConfig(**E, max_position_embeddings=514), labels="batch", attention="eager")
encoder("camembert-tok", "CamembertForTokenClassification", lambda: T.CamembertConfig(**E, max_position_embeddings=514))
encoder("bert-qa", "BertForQuestionAnswering", lambda: T.BertConfig(**E), labels=None, extra=spans, types=True)
encoder("distilbert", "DistilBertForMaskedLM", lambda: T.DistilBertConfig(vocab_size=1000, dim=128, n_layers=2, n_heads=4, hidden_dim=512))
encoder("distilbert-cls", "DistilBertForSequenceClassification", lambda: T.DistilBertConfig(vocab_size=1000, dim=128, n_layers=2, n_heads=4, hidden_dim=512), labels="batch", attention="eager")
encoder("mpnet", "MPNetForMaskedLM", lambda: T.MPNetConfig(**E, max_position_embeddings=514), attention="eager")
encoder("deberta", "DebertaForMaskedLM", lambda: T.DebertaConfig(**E, relative_attention=True, pos_att_type=["c2p", "p2c"]), attention="eager")
encoder("deberta-v2", "DebertaV2ForMaskedLM", lambda: T.DebertaV2Config(**E, relative_attention=True, pos_att_type=["c2p", "p2c"], position_buckets=256), attention="eager")
encoder("roformer", "RoFormerForMaskedLM", lambda: T.RoFormerConfig(**E), attention="eager")
encoder("squeezebert", "SqueezeBertForMaskedLM", lambda: T.SqueezeBertConfig(**dict(E, embedding_size=128)), attention="eager")
encoder("mobilebert", "MobileBertForMaskedLM", lambda: T.MobileBertConfig(**dict(E, embedding_size=64, intra_bottleneck_size=64)), attention="eager")
encoder("convbert", "ConvBertForMaskedLM", lambda: T.ConvBertConfig(**dict(E, embedding_size=64)), attention="eager")
encoder("fnet", "FNetForMaskedLM", lambda: T.FNetConfig(vocab_size=1000, hidden_size=128, num_hidden_layers=2, intermediate_size=512), mask=False, attention="eager")
encoder("layoutlm", "LayoutLMForMaskedLM", lambda: T.LayoutLMConfig(**E), attention="eager")
encoder("ernie", "ErnieForMaskedLM", lambda: T.ErnieConfig(**E))
encoder("megatron-bert", "MegatronBertForMaskedLM", lambda: T.MegatronBertConfig(**E), attention="eager")
encoder("roberta-prelayernorm", "RobertaPreLayerNormForMaskedLM", lambda: T.RobertaPreLayerNormConfig(**E, max_position_embeddings=514))
encoder("data2vec-text", "Data2VecTextForMaskedLM", lambda: T.Data2VecTextConfig(**E, max_position_embeddings=514))
encoder("rembert", "RemBertForMaskedLM", lambda: T.RemBertConfig(**dict(E, input_embedding_size=64, output_embedding_size=96)), attention="eager")
encoder("modernbert", "ModernBertForMaskedLM", lambda: T.ModernBertConfig(**dict(E, pad_token_id=0, global_attn_every_n_layers=2)))
encoder("esm", "EsmForMaskedLM", lambda: T.EsmConfig(**E, pad_token_id=1, mask_token_id=4, position_embedding_type="rotary", emb_layer_norm_before=False, token_dropout=False), attention="eager")
encoder("splinter", "SplinterForQuestionAnswering", lambda: T.SplinterConfig(**E), labels=None, extra=spans, attention="eager")
encoder("xlnet", "XLNetLMHeadModel", lambda: T.XLNetConfig(vocab_size=1000, d_model=128, n_layer=2, n_head=4, d_inner=512), attention="eager")
decoder("llama", "LlamaForCausalLM", lambda: T.LlamaConfig(**L1))
decoder("llama-eager", "LlamaForCausalLM", lambda: T.LlamaConfig(**L), attention="eager")
decoder("qwen2", "Qwen2ForCausalLM", lambda: T.Qwen2Config(**L))
decoder("qwen3", "Qwen3ForCausalLM", lambda: T.Qwen3Config(**L, head_dim=32))
decoder("mistral", "MistralForCausalLM", lambda: T.MistralConfig(**L))
decoder("gemma", "GemmaForCausalLM", lambda: T.GemmaConfig(**L, head_dim=32))
decoder("gemma2", "Gemma2ForCausalLM", lambda: T.Gemma2Config(**L, head_dim=32), attention="eager")
decoder("gemma3", "Gemma3ForCausalLM", lambda: T.Gemma3TextConfig(**L, head_dim=32))
decoder("phi", "PhiForCausalLM", lambda: T.PhiConfig(**L1))
decoder("phi3", "Phi3ForCausalLM", lambda: T.Phi3Config(**L))
decoder("stablelm", "StableLmForCausalLM", lambda: T.StableLmConfig(**L1))
decoder("olmo", "OlmoForCausalLM", lambda: T.OlmoConfig(**L1))
decoder("olmo2", "Olmo2ForCausalLM", lambda: T.Olmo2Config(**L1))
decoder("cohere", "CohereForCausalLM", lambda: T.CohereConfig(**L))
decoder("granite", "GraniteForCausalLM", lambda: T.GraniteConfig(**L))
decoder("starcoder2", "Starcoder2ForCausalLM", lambda: T.Starcoder2Config(**L))
decoder("smollm3", "SmolLM3ForCausalLM", lambda: T.SmolLM3Config(**L))
decoder("glm", "GlmForCausalLM", lambda: T.GlmConfig(**L, head_dim=32))
decoder("helium", "HeliumForCausalLM", lambda: T.HeliumConfig(**L, head_dim=32))
decoder("nemotron", "NemotronForCausalLM", lambda: T.NemotronConfig(**L, head_dim=32))
decoder("falcon", "FalconForCausalLM", lambda: T.FalconConfig(vocab_size=1000, hidden_size=128, num_hidden_layers=2, num_attention_heads=4))
decoder("bloom", "BloomForCausalLM", lambda: T.BloomConfig(vocab_size=1000, hidden_size=128, n_layer=2, n_head=4), attention="eager")
decoder("mpt", "MptForCausalLM", lambda: T.MptConfig(vocab_size=1000, d_model=128, n_layers=2, n_heads=4), attention="eager")
decoder("gptj", "GPTJForCausalLM", lambda: T.GPTJConfig(vocab_size=1000, n_embd=128, n_layer=2, n_head=4, rotary_dim=16), attention="eager")
decoder("codegen", "CodeGenForCausalLM", lambda: T.CodeGenConfig(vocab_size=1000, n_embd=128, n_layer=2, n_head=4, rotary_dim=16), attention="eager")
decoder("gpt-bigcode", "GPTBigCodeForCausalLM", lambda: T.GPTBigCodeConfig(vocab_size=1000, n_embd=128, n_layer=2, n_head=4))
decoder("gpt-neox-eager", "GPTNeoXForCausalLM", lambda: T.GPTNeoXConfig(vocab_size=1000, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512), attention="eager")
decoder("biogpt", "BioGptForCausalLM", lambda: T.BioGptConfig(**E))
decoder("xglm", "XGLMForCausalLM", lambda: T.XGLMConfig(vocab_size=1000, d_model=128, num_layers=2, attention_heads=4, ffn_dim=512), attention="eager")
decoder("ctrl", "CTRLLMHeadModel", lambda: T.CTRLConfig(vocab_size=1000, n_embd=128, n_layer=2, n_head=4, dff=512), attention="eager")
decoder("openai-gpt", "OpenAIGPTLMHeadModel", lambda: T.OpenAIGPTConfig(vocab_size=1000, n_embd=128, n_layer=2, n_head=4), attention="eager")
decoder("gpt2-eager", "GPT2LMHeadModel", lambda: T.GPT2Config(vocab_size=1000, n_embd=128, n_layer=2, n_head=4), attention="eager")
decoder("opt-eager", "OPTForCausalLM", lambda: T.OPTConfig(vocab_size=1000, hidden_size=128, num_hidden_layers=2, ffn_dim=512, num_attention_heads=4, word_embed_proj_dim=128), attention="eager")
pair("bart", "BartForConditionalGeneration", lambda: T.BartConfig(**S))
pair("mbart", "MBartForConditionalGeneration", lambda: T.MBartConfig(**S))
pair("marian", "MarianMTModel", lambda: T.MarianConfig(**S, pad_token_id=0, decoder_start_token_id=0))
pair("pegasus", "PegasusForConditionalGeneration", lambda: T.PegasusConfig(**S))
pair("blenderbot", "BlenderbotForConditionalGeneration", lambda: T.BlenderbotConfig(**S))
pair("mt5", "MT5ForConditionalGeneration", lambda: T.MT5Config(**T5), attention="eager")
pair("flan-t5", "T5ForConditionalGeneration", lambda: T.T5Config(**T5, feed_forward_proj="gated-gelu"), attention="eager")
pair("umt5", "UMT5ForConditionalGeneration", lambda: T.UMT5Config(**T5), attention="eager")
image("deit", "DeiTForImageClassification", lambda: T.DeiTConfig(**I))
image("beit", "BeitForImageClassification", lambda: T.BeitConfig(**I), attention="eager")
image("dinov2", "Dinov2ForImageClassification", lambda: T.Dinov2Config(**{k:v for k, v in I.items() if k!="intermediate_size"}))
image("swin-hf", "SwinForImageClassification", lambda: T.SwinConfig(image_size=64, patch_size=4, embed_dim=32, depths=[2, 2], num_heads=[2, 4], window_size=4, num_labels=10), attention="eager")
image("swinv2", "Swinv2ForImageClassification", lambda: T.Swinv2Config(image_size=64, patch_size=4, embed_dim=32, depths=[2, 2], num_heads=[2, 4], window_size=4, num_labels=10), attention="eager")
image("convnext-hf", "ConvNextForImageClassification", lambda: T.ConvNextConfig(hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 2, 1], num_labels=10), attention="eager")
image("convnextv2", "ConvNextV2ForImageClassification", lambda: T.ConvNextV2Config(hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 2, 1], num_labels=10), attention="eager")
image("resnet-hf", "ResNetForImageClassification", lambda: T.ResNetConfig(hidden_sizes=[64, 128, 256, 512], depths=[1, 1, 1, 1], embedding_size=32, num_labels=10), attention="eager")
image("regnet-hf", "RegNetForImageClassification", lambda: T.RegNetConfig(hidden_sizes=[64, 128, 128, 128], depths=[1, 1, 1, 1], groups_width=16, num_labels=10), attention="eager")
image("segformer", "SegformerForImageClassification", lambda: T.SegformerConfig(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 64], num_labels=10), attention="eager")
image("poolformer", "PoolFormerForImageClassification", lambda: T.PoolFormerConfig(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 64], num_labels=10), attention="eager")
image("pvt", "PvtForImageClassification", lambda: T.PvtConfig(image_size=64, depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 64], num_attention_heads=[1, 2, 2, 4], num_labels=10), attention="eager")
image("mobilevit", "MobileViTForImageClassification", lambda: T.MobileViTConfig(image_size=64, hidden_sizes=[48, 64, 80], neck_hidden_sizes=[16, 32, 48, 64, 80, 96, 128], num_labels=10), attention="eager")
image("levit", "LevitForImageClassification", lambda: T.LevitConfig(image_size=64, hidden_sizes=[64, 96, 128], num_attention_heads=[2, 3, 4], depths=[1, 1, 1], key_dim=[16, 16, 16], num_labels=10), attention="eager")
image("efficientnet-hf", "EfficientNetForImageClassification", lambda: T.EfficientNetConfig(width_coefficient=0.5, depth_coefficient=0.3, num_labels=10, hidden_dim=640), attention="eager")
image("focalnet", "FocalNetForImageClassification", lambda: T.FocalNetConfig(image_size=64, embed_dim=32, depths=[1, 1, 1, 1], num_labels=10), attention="eager")
image("ijepa", "IJepaForImageClassification", lambda: T.IJepaConfig(**I))
image("bit", "BitForImageClassification", lambda: T.BitConfig(hidden_sizes=[32, 64, 128, 256], depths=[1, 1, 1, 1], embedding_size=16, num_labels=10, num_groups=8), attention="eager")
image("vit-msn", "ViTMSNForImageClassification", lambda: T.ViTMSNConfig(**I))
image("vit-eager", "ViTForImageClassification", lambda: T.ViTConfig(**I), attention="eager")
image("ast", "ASTForAudioClassification", lambda: T.ASTConfig(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512, max_length=128, num_mel_bins=64, num_labels=10), inputs=sound)
image("segformer-seg", "SegformerForSemanticSegmentation", lambda: T.SegformerConfig(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 64], num_labels=10, decoder_hidden_size=64), inputs=maps, attention="eager")
encoder("longformer", "LongformerForMaskedLM", lambda: T.LongformerConfig(**E, attention_window=[32, 32], max_position_embeddings=514), attention="eager")
encoder("bigbird", "BigBirdForMaskedLM", lambda: T.BigBirdConfig(**E, attention_type="original_full"), attention="eager")
decoder("mamba", "MambaForCausalLM", lambda: T.MambaConfig(vocab_size=1000, hidden_size=64, num_hidden_layers=2, state_size=8))
encoder("xlm", "XLMWithLMHeadModel", lambda: T.XLMConfig(vocab_size=1000, emb_dim=128, n_layers=2, n_heads=4), attention="eager")
encoder("flaubert", "FlaubertWithLMHeadModel", lambda: T.FlaubertConfig(vocab_size=1000, emb_dim=128, n_layers=2, n_heads=4), attention="eager")
encoder("luke", "LukeForMaskedLM", lambda: T.LukeConfig(**E, entity_vocab_size=100, entity_emb_size=32), attention="eager")
encoder("bert-eager-mlm", "BertForMaskedLM", lambda: T.BertConfig(**E), types=True, attention="eager")
encoder("bert-tok", "BertForTokenClassification", lambda: T.BertConfig(**E), types=True)
encoder("roberta-mc", "RobertaForSequenceClassification", lambda: T.RobertaConfig(**E, max_position_embeddings=514), labels="batch")
encoder("gpt2-seqcls", "GPT2ForSequenceClassification", lambda: T.GPT2Config(vocab_size=1000, n_embd=128, n_layer=2, n_head=4, pad_token_id=0), mask=False, labels="batch")
encoder("llama-cls", "LlamaForSequenceClassification", lambda: T.LlamaConfig(**L), mask=False, labels="batch")
decoder("gpt-neo-sdpa", "GPTNeoForCausalLM", lambda: T.GPTNeoConfig(vocab_size=1000, hidden_size=128, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=32), attention="eager")
decoder("llama-mask", "LlamaForCausalLM", lambda: T.LlamaConfig(**L), mask=True, attention="eager")
decoder("gpt2-mask", "GPT2LMHeadModel", lambda: T.GPT2Config(vocab_size=1000, n_embd=128, n_layer=2, n_head=4), mask=True)
decoder("exaone4", "Exaone4ForCausalLM", lambda: T.Exaone4Config(**L, sliding_window=64, sliding_window_pattern=2), attention="eager")
decoder("lfm2", "Lfm2ForCausalLM", lambda: T.Lfm2Config(**L), attention="eager")
decoder("ernie45", "Ernie4_5ForCausalLM", lambda: T.Ernie4_5Config(**L), attention="eager")
decoder("hunyuan", "HunYuanDenseV1ForCausalLM", lambda: T.HunYuanDenseV1Config(**L, head_dim=32), attention="eager")
decoder("seed-oss", "SeedOssForCausalLM", lambda: T.SeedOssConfig(**L, head_dim=32), attention="eager")
decoder("arcee", "ArceeForCausalLM", lambda: T.ArceeConfig(**L), attention="eager")
decoder("persimmon", "PersimmonForCausalLM", lambda: T.PersimmonConfig(**dict(L, num_key_value_heads=4)), attention="eager")
image("dpt", "DPTForSemanticSegmentation", lambda: T.DPTConfig(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512, image_size=64, patch_size=16, num_labels=10, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 32, 64, 64], fusion_hidden_size=32, readout_type="project"), inputs=maps, attention="eager")

encoder("lilt", "LiltForTokenClassification", lambda: T.LiltConfig(**E, max_position_embeddings=514), attention="eager")
encoder("xmod", "XmodForMaskedLM", lambda: T.XmodConfig(**E, max_position_embeddings=514, languages=("en_XX",), default_language="en_XX"))
encoder("ibert", "IBertForMaskedLM", lambda: T.IBertConfig(**E, max_position_embeddings=514), attention="eager")
encoder("nystromformer", "NystromformerForMaskedLM", lambda: T.NystromformerConfig(**E, segment_means_seq_len=64, num_landmarks=16), attention="eager")
encoder("canine", "CanineForSequenceClassification", lambda: T.CanineConfig(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512), labels="batch", attention="eager")
encoder("funnel", "FunnelForMaskedLM", lambda: T.FunnelConfig(vocab_size=1000, block_sizes=[1, 1], num_decoder_layers=1, d_model=128, n_head=4, d_head=32, d_inner=512), attention="eager")
encoder("bert-generation", "BertGenerationDecoder", lambda: T.BertGenerationConfig(**E, is_decoder=True))
encoder("nomic", "NomicBertForMaskedLM", lambda: T.NomicBertConfig(**E))
encoder("eurobert", "EuroBertForMaskedLM", lambda: T.EuroBertConfig(**dict(L, num_key_value_heads=4)))
encoder("xlmr-xl", "XLMRobertaXLForMaskedLM", lambda: T.XLMRobertaXLConfig(**E, max_position_embeddings=514))
decoder("roberta-lm", "RobertaForCausalLM", lambda: T.RobertaConfig(**E, max_position_embeddings=514, is_decoder=True))
decoder("bert-lm", "BertLMHeadModel", lambda: T.BertConfig(**E, is_decoder=True))
decoder("gpt-neox-japanese", "GPTNeoXJapaneseForCausalLM", lambda: T.GPTNeoXJapaneseConfig(vocab_size=1000, hidden_size=128, num_hidden_layers=2, num_attention_heads=4), attention="eager")
decoder("rwkv", "RwkvForCausalLM", lambda: T.RwkvConfig(vocab_size=1000, hidden_size=128, num_hidden_layers=2, attention_hidden_size=128))
decoder("bitnet", "BitNetForCausalLM", lambda: T.BitNetConfig(**L))
decoder("diffllama", "DiffLlamaForCausalLM", lambda: T.DiffLlamaConfig(**L1), attention="eager")
decoder("apertus", "ApertusForCausalLM", lambda: T.ApertusConfig(**L))
decoder("glm4", "Glm4ForCausalLM", lambda: T.Glm4Config(**L, head_dim=32))
decoder("cohere2", "Cohere2ForCausalLM", lambda: T.Cohere2Config(**L))
decoder("opt-350m", "OPTForCausalLM", lambda: T.OPTConfig(vocab_size=1000, hidden_size=128, num_hidden_layers=2, ffn_dim=512, num_attention_heads=4, word_embed_proj_dim=64, do_layer_norm_before=False))
decoder("recurrent-gemma", "RecurrentGemmaForCausalLM", lambda: T.RecurrentGemmaConfig(**L1, lru_width=128, attention_window_size=64))
decoder("ministral", "MinistralForCausalLM", lambda: T.MinistralConfig(**L))
decoder("vaultgemma", "VaultGemmaForCausalLM", lambda: T.VaultGemmaConfig(**L, head_dim=32), attention="eager")
pair("m2m100", "M2M100ForConditionalGeneration", lambda: T.M2M100Config(**S))
pair("plbart", "PLBartForConditionalGeneration", lambda: T.PLBartConfig(**S))
pair("mvp", "MvpForConditionalGeneration", lambda: T.MvpConfig(**S), attention="eager")
pair("blenderbot-small", "BlenderbotSmallForConditionalGeneration", lambda: T.BlenderbotSmallConfig(**S))
pair("longt5", "LongT5ForConditionalGeneration", lambda: T.LongT5Config(**T5, local_radius=31), attention="eager")
pair("prophetnet", "ProphetNetForConditionalGeneration", lambda: T.ProphetNetConfig(vocab_size=1000, hidden_size=128, encoder_ffn_dim=512, num_encoder_layers=2, num_encoder_attention_heads=4, decoder_ffn_dim=512, num_decoder_layers=2, num_decoder_attention_heads=4), attention="eager")
image("dinov2-reg", "Dinov2WithRegistersForImageClassification", lambda: T.Dinov2WithRegistersConfig(**{k: v for k, v in I.items() if k != "intermediate_size"}))
image("hiera-hf", "HieraForImageClassification", lambda: T.HieraConfig(image_size=[64, 64], embed_dim=32, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8], num_labels=10), attention="eager")
image("cvt", "CvtForImageClassification", lambda: T.CvtConfig(embed_dim=[32, 64, 96], num_heads=[1, 2, 3], depth=[1, 1, 2], num_labels=10), attention="eager")
image("mobilevitv2", "MobileViTV2ForImageClassification", lambda: T.MobileViTV2Config(image_size=64, width_multiplier=0.5, num_labels=10), attention="eager")
image("mobilenet-v1", "MobileNetV1ForImageClassification", lambda: T.MobileNetV1Config(image_size=64, depth_multiplier=0.5, num_labels=10), attention="eager")
image("mobilenet-v2", "MobileNetV2ForImageClassification", lambda: T.MobileNetV2Config(image_size=64, depth_multiplier=0.5, num_labels=10), attention="eager")
image("swiftformer", "SwiftFormerForImageClassification", lambda: T.SwiftFormerConfig(image_size=64, depths=[1, 1, 2, 1], embed_dims=[16, 32, 64, 96], num_labels=10), attention="eager")
image("pvt-v2", "PvtV2ForImageClassification", lambda: T.PvtV2Config(image_size=64, depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 64], num_attention_heads=[1, 2, 2, 4], num_labels=10), attention="eager")
image("data2vec-vision", "Data2VecVisionForImageClassification", lambda: T.Data2VecVisionConfig(**I), attention="eager")


class Classifier(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.m = model

    def forward(self, x, labels):
        y = self.m(x)
        return F.cross_entropy(y if isinstance(y, torch.Tensor) else y[0], labels)


def network(name, size, create):
    def inputs(b, n, device): return dict(x=floats(b, 3, size, size, device=device), labels=ints(b, device=device))
    ROWS[name] = lambda checkpoint="none": (lambda: Classifier(create()), inputs, lambda m, b: m(**b))


def tv(name):
    import torchvision.models as models
    options = dict(aux_logits=False, init_weights=False) if name in ("googlenet", "inception_v3") else {}
    return lambda: getattr(models, name)(weights=None, **options)


def timm(name):
    import timm as library
    return lambda: library.create_model(name, pretrained=False, num_classes=1000)


TORCHVISION = """
    alexnet vgg11_bn resnet18 resnet34 resnext50_32x4d wide_resnet50_2 densenet121 googlenet inception_v3 squeezenet1_1 mobilenet_v2 mobilenet_v3_small
    mobilenet_v3_large shufflenet_v2_x1_0 mnasnet1_0 efficientnet_b0 efficientnet_v2_s regnet_y_400mf regnet_x_400mf convnext_tiny swin_t swin_v2_t
    vit_b_16 maxvit_t"""
TIMM = """
    resnet26 resnetv2_50 seresnet18 ecaresnet26t skresnet18 regnetz_b16 mobilenetv3_small_050 mobilenetv4_conv_small efficientnet_lite0 ghostnet_050
    fbnetc_100 tinynet_e hrnet_w18_small dla34 res2net50_26w_4s vovnet39a darknet53 cspresnet50 xception41 nfnet_l0 convnext_atto convnextv2_atto
    convmixer_768_32 mixer_s32_224 resmlp_12_224 gmlp_ti16_224 vit_tiny_patch16_224 deit_tiny_patch16_224 deit3_small_patch16_224 beit_base_patch16_224
    cait_xxs24_224 crossvit_tiny_240 coat_tiny convit_tiny levit_128s pit_ti_224 poolformer_s12 pvt_v2_b0 swin_tiny_patch4_window7_224 twins_svt_small
    tnt_s_patch16_224 visformer_tiny volo_d1_224 xcit_nano_12_p16_224 edgenext_xx_small efficientformer_l1 maxvit_rmlp_pico_rw_256 mobilevit_xxs
    vgg13 resnest14d selecsls42 hardcorenas_a lcnet_050 mnasnet_small gcresnet33ts botnet26t_256 eva02_tiny_patch14_224 cs3darknet_s
    efficientvit_b0 repvit_m0_9 starnet_s1 mambaout_femto tiny_vit_5m_224 vit_relpos_small_patch16_224 gcvit_xxtiny coatnet_pico_rw_224 ghostnetv2_100 hgnet_tiny rdnet_tiny
    mobileone_s0 repvgg_a0 fastvit_t8 inception_next_tiny hiera_tiny_224 mvitv2_tiny davit_tiny focalnet_tiny_srf nextvit_small rexnet_100 sequencer2d_s"""
for n in TORCHVISION.split(): network("tv-" + n, 299 if n == "inception_v3" else 224, lambda n=n: tv(n)())
for n in TIMM.split(): network("timm-" + n, 240 if "240" in n else 256 if n.startswith(("mobilevit", "fastvit", "edgenext", "maxvit", "botnet")) else 224, lambda n=n: timm(n)())

import unseen_written  # noqa: E402
ROWS.update(unseen_written.ROWS)

if __name__ == "__main__": print(*ROWS)
