"""Models of other libraries, as their users build them, small: diffusers, segmentation-models-pytorch, vit-pytorch, x-transformers, open_clip, monai, efficientnet_pytorch.
ROWS as in unseen_models.py; a library that is not there has no rows. `python3 unseen_libraries.py` prints the names."""
import importlib, os, sys, types

sys.path.insert(0, os.path.join(os.environ.get("MEMPLAN_SHARED", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "shared")), "truth", "lab"))
sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))
import torch
import torch.nn.functional as F
from zoo_transformers import floats, ints

ROWS = {}


class Trained(torch.nn.Module):
    """A model and its loss: loss(model, *batch)"""
    def __init__(self, model, loss, names):
        super().__init__()
        self.m, self.loss, self.names = model, loss, names
    def forward(self, **batch): return self.loss(self.m, *(batch[n] for n in self.names))


def row(name, create, loss, **inputs):
    """inputs: name -> shape of one sample ("n" for the sequence's length) and "f" (floating) or "i" (integers)"""
    def make(b, n, device):
        made = {}
        for k, (kind, *shape) in inputs.items():
            shape = [b] + [n if d == "n" else d for d in shape]
            made[k] = (floats if kind == "f" else ints)(*shape, device=device)
        return made
    def of(checkpoint="none"):
        if checkpoint != "none": raise ValueError("no checkpointing of its own")
        return lambda: Trained(create(), loss, list(inputs)), make, lambda m, b: m(**b)
    ROWS[name] = of


def library(name):
    try: return importlib.import_module(name)
    except ImportError: return None


def first(y): return y if isinstance(y, torch.Tensor) else y[0]
def classified(m, x, labels): return F.cross_entropy(first(m(x)), labels)
def image(name, create, size=64): row(name, create, classified, x=("f", 3, size, size), labels=("i",))
def segmented(m, x, labels): return F.cross_entropy(first(m(x)), labels)
def mask(name, create, size=64): row(name, create, segmented, x=("f", 3, size, size), labels=("i", size, size))


if D := library("diffusers"):
    def denoised(m, x, t, noise): return F.mse_loss(m(x, t).sample, noise)
    def conditioned(m, x, t, text, noise): return F.mse_loss(m(x, t, encoder_hidden_states=text).sample, noise)
    def of_class(m, x, t, label, noise): return F.mse_loss(m(x, timestep=t, class_labels=label).sample, noise)
    X, T, N, TEXT = ("f", 4, 32, 32), ("i",), ("f", 4, 32, 32), ("f", 77, 64)
    row("diff-unet2d", lambda: D.UNet2DModel(sample_size=32, in_channels=4, out_channels=4, block_out_channels=(32, 64, 64), layers_per_block=1, norm_num_groups=8, attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D")), denoised, x=X, t=T, noise=N)
    row("diff-unet-text", lambda: D.UNet2DConditionModel(sample_size=32, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, cross_attention_dim=64, attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")), conditioned, x=X, t=T, text=TEXT, noise=N)
    row("diff-unet-sdxl", lambda: D.UNet2DConditionModel(sample_size=32, block_out_channels=(32, 64), layers_per_block=2, norm_num_groups=8, cross_attention_dim=64, attention_head_dim=(2, 4), transformer_layers_per_block=(1, 2),
        use_linear_projection=True, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D")), conditioned, x=X, t=T, text=TEXT, noise=N)
    row("diff-dit", lambda: D.DiTTransformer2DModel(num_attention_heads=4, attention_head_dim=16, in_channels=4, out_channels=4, num_layers=2, sample_size=32, patch_size=2, num_embeds_ada_norm=10), of_class, x=X, t=T, label=T, noise=N)
    row("diff-pixart", lambda: D.PixArtTransformer2DModel(num_attention_heads=4, attention_head_dim=16, in_channels=4, out_channels=4, num_layers=2, cross_attention_dim=64, sample_size=32, caption_channels=64, use_additional_conditions=False),
        lambda m, x, t, text, noise: F.mse_loss(m(x, encoder_hidden_states=text, timestep=t).sample, noise), x=X, t=T, text=TEXT, noise=N)
    row("diff-sd3", lambda: D.SD3Transformer2DModel(sample_size=32, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=4, joint_attention_dim=64, caption_projection_dim=64, pooled_projection_dim=48, pos_embed_max_size=32),
        lambda m, x, t, text, pooled, noise: F.mse_loss(m(x, encoder_hidden_states=text, pooled_projections=pooled, timestep=t).sample, noise), x=X, t=T, text=TEXT, pooled=("f", 48), noise=N)
    row("diff-vae", lambda: D.AutoencoderKL(block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2),
        lambda m, x: F.mse_loss(m(x).sample, x), x=("f", 3, 64, 64))
    row("diff-vae-kl", lambda: D.AutoencoderKL(block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2),
        lambda m, x: (lambda p: F.mse_loss(m.decode(p.mode()).sample, x) + 1e-6 * p.kl().mean())(m.encode(x).latent_dist), x=("f", 3, 64, 64))
    row("diff-vq", lambda: D.VQModel(block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, num_vq_embeddings=64, down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2),
        lambda m, x: F.mse_loss(m(x).sample, x), x=("f", 3, 64, 64))
    row("diff-asymmetric", lambda: D.AutoencoderTiny(), lambda m, x: F.mse_loss(m(x).sample, x), x=("f", 3, 64, 64))
    row("diff-uvit", lambda: D.UVit2DModel(hidden_size=64, cond_embed_dim=48, encoder_hidden_size=64, vocab_size=128, codebook_size=120, block_out_channels=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, block_num_heads=4, micro_cond_embed_dim=320, micro_cond_encode_dim=64, sample_size=16),
        lambda m, x, text, pooled, micro, labels: F.cross_entropy(m(x, encoder_hidden_states=text, pooled_text_emb=pooled, micro_conds=micro), labels), x=("i", 16, 16), text=TEXT, pooled=("f", 48), micro=("f", 5), labels=("i", 16, 16))
    row("diff-unet3d", lambda: D.UNet3DConditionModel(sample_size=16, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, cross_attention_dim=64, attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), up_block_types=("UpBlock3D", "CrossAttnUpBlock3D")), conditioned, x=("f", 4, 4, 16, 16), t=T, text=TEXT, noise=("f", 4, 4, 16, 16))

if library("segmentation_models_pytorch"):
    S = library("segmentation_models_pytorch")
    for net, encoder in (("Unet", "resnet18"), ("UnetPlusPlus", "resnet18"), ("FPN", "resnet18"), ("PSPNet", "resnet18"), ("DeepLabV3", "resnet18"), ("DeepLabV3Plus", "resnet18"), ("Linknet", "mobilenet_v2"),
                         ("MAnet", "resnet18"), ("UPerNet", "resnet18"), ("Unet", "efficientnet-b0"), ("Unet", "vgg11_bn")):
        mask(f"smp-{net}-{encoder}".lower(), lambda net=net, encoder=encoder: getattr(S, net)(encoder, encoder_weights=None, classes=5))
    row("smp-dice", lambda: S.Unet("resnet18", encoder_weights=None, classes=5), lambda m, x, labels: S.losses.DiceLoss("multiclass")(m(x), labels), x=("f", 3, 64, 64), labels=("i", 64, 64))
    row("smp-focal", lambda: S.Unet("resnet18", encoder_weights=None, classes=1), lambda m, x, labels: S.losses.FocalLoss("binary")(m(x), labels), x=("f", 3, 64, 64), labels=("f", 1, 64, 64))
    row("smp-jaccard", lambda: S.FPN("resnet18", encoder_weights=None, classes=1), lambda m, x, labels: S.losses.JaccardLoss("binary")(m(x), labels), x=("f", 3, 64, 64), labels=("f", 1, 64, 64))

if library("vit_pytorch"):
    V = {"image_size": 64, "patch_size": 16, "num_classes": 10, "dim": 64, "depth": 2, "heads": 4, "mlp_dim": 128}
    def vit(name, module, cls, **options): image(f"vp-{name}", lambda: getattr(library("vit_pytorch." + module), cls)(**options))
    vit("vit", "vit", "ViT", **V, dropout=0.1, emb_dropout=0.1)
    vit("simple", "simple_vit", "SimpleViT", **V)
    vit("deepvit", "deepvit", "DeepViT", **V, dropout=0.1)
    vit("cait", "cait", "CaiT", **V, cls_depth=1, dropout=0.1)
    vit("t2t", "t2t", "T2TViT", dim=64, image_size=64, depth=2, heads=4, mlp_dim=128, num_classes=10, t2t_layers=((7, 4), (3, 2)))
    vit("cross", "cross_vit", "CrossViT", image_size=64, num_classes=10, depth=1, sm_dim=32, sm_patch_size=16, sm_enc_depth=1, sm_enc_heads=4, sm_enc_mlp_dim=64, lg_dim=64, lg_patch_size=32, lg_enc_depth=1, lg_enc_heads=4, lg_enc_mlp_dim=128, cross_attn_depth=1, cross_attn_heads=4)
    vit("pit", "pit", "PiT", image_size=64, patch_size=8, dim=64, num_classes=10, depth=(1, 1), heads=4, mlp_dim=128)
    vit("levit", "levit", "LeViT", image_size=64, num_classes=10, stages=2, dim=(64, 96), depth=1, heads=(2, 3), mlp_mult=2)
    vit("cvt", "cvt", "CvT", num_classes=10, s1_emb_dim=32, s2_emb_dim=64, s3_emb_dim=96, s3_depth=2)
    vit("maxvit", "max_vit", "MaxViT", num_classes=10, dim_conv_stem=32, dim=32, dim_head=16, depth=(1, 1), window_size=4, mbconv_expansion_rate=2)
    vit("nest", "nest", "NesT", image_size=64, patch_size=4, dim=32, heads=2, num_hierarchies=2, block_repeats=(1, 1), num_classes=10)
    vit("mobile", "mobile_vit", "MobileViT", image_size=(64, 64), dims=[32, 48, 64], channels=[16, 16, 24, 24, 32, 32, 48, 48, 64, 64, 128], num_classes=10)
    vit("xcit", "xcit", "XCiT", image_size=64, patch_size=16, num_classes=10, dim=64, depth=2, cls_depth=1, heads=4, mlp_dim=128)
    vit("crossformer", "crossformer", "CrossFormer", num_classes=10, dim=(32, 48, 64, 64), depth=(1, 1, 1, 1), global_window_size=(4, 2, 2, 1), local_window_size=(4, 4, 2, 2))
    vit("registers", "simple_vit_with_register_tokens", "SimpleViT", **V)
    vit("qknorm", "simple_vit_with_qk_norm", "SimpleViT", **V)
    vit("small", "vit_for_small_dataset", "ViT", **V, dropout=0.1)
    vit("parallel", "parallel_vit", "ViT", **V, num_parallel_branches=2, dropout=0.1)
    row("vp-vivit", lambda: library("vit_pytorch.vivit").ViViT(image_size=32, frames=8, image_patch_size=8, frame_patch_size=2, num_classes=10, dim=64, spatial_depth=1, temporal_depth=1, heads=4, mlp_dim=128), classified, x=("f", 3, 8, 32, 32), labels=("i",))
    row("vp-vit3d", lambda: library("vit_pytorch.vit_3d").ViT(image_size=32, frames=8, image_patch_size=8, frame_patch_size=2, num_classes=10, dim=64, depth=2, heads=4, mlp_dim=128, dropout=0.1), classified, x=("f", 3, 8, 32, 32), labels=("i",))

if library("x_transformers"):
    W = library("x_transformers")
    def told(m, x, labels): return F.cross_entropy(m(x).transpose(1, 2), labels)
    def language(name, layers, **options): row(f"xt-{name}", lambda: W.TransformerWrapper(num_tokens=1000, max_seq_len=128, attn_layers=layers(), **options), told, x=("i", "n"), labels=("i", "n"))
    A = dict(dim=128, depth=2, heads=4)
    language("gpt", lambda: W.Decoder(**A))
    language("bert", lambda: W.Encoder(**A, attn_dropout=0.1, ff_dropout=0.1))
    language("flash", lambda: W.Decoder(**A, attn_flash=True))
    language("llama", lambda: W.Decoder(**A, rotary_pos_emb=True, use_rmsnorm=True, ff_swish=True, ff_glu=True, ff_no_bias=True))
    language("alibi", lambda: W.Decoder(**A, alibi_pos_bias=True, alibi_num_heads=2))
    language("t5-bias", lambda: W.Decoder(**A, rel_pos_bias=True))
    language("gqa", lambda: W.Decoder(**A, attn_kv_heads=2, attn_flash=True, rotary_pos_emb=True))
    language("sandwich", lambda: W.Encoder(**A, sandwich_norm=True, attn_qk_norm=True))
    language("relu2", lambda: W.Decoder(**A, ff_relu_squared=True), tie_embedding=True)
    row("xt-pair", lambda: W.XTransformer(dim=128, tie_token_emb=True, enc_num_tokens=1000, enc_depth=2, enc_heads=4, enc_max_seq_len=128, dec_num_tokens=1000, dec_depth=2, dec_heads=4, dec_max_seq_len=128), lambda m, src, tgt: m(src, tgt), src=("i", "n"), tgt=("i", "n"))
    row("xt-vit", lambda: W.ViTransformerWrapper(image_size=64, patch_size=16, num_classes=10, attn_layers=W.Encoder(**A)), classified, x=("f", 3, 64, 64), labels=("i",))

if library("open_clip"):
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    def contrasted(m, image, text):
        i, t, scale = m(image, text)
        logits = scale * i @ t.T
        labels = torch.arange(logits.shape[0], device=logits.device)
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    text = dict(context_length=77, vocab_size=1000, width=64, heads=4, layers=2)
    row("clip-vit", lambda: CLIP(64, CLIPVisionCfg(layers=2, width=64, head_width=16, patch_size=16, image_size=64), CLIPTextCfg(**text)), contrasted, image=("f", 3, 64, 64), text=("i", 77))
    row("clip-resnet", lambda: CLIP(64, CLIPVisionCfg(layers=(1, 1, 1, 1), width=16, head_width=16, image_size=64), CLIPTextCfg(**text)), contrasted, image=("f", 3, 64, 64), text=("i", 77))

if M := library("monai.networks.nets"):
    def dice(y, labels):   # monai.losses.DiceLoss without its looks at values
        p, t = y.softmax(1), F.one_hot(labels, 3).permute(0, 4, 1, 2, 3).float()
        return 1 - ((2 * (p * t).sum((2, 3, 4)) + 1e-5) / (p.sum((2, 3, 4)) + t.sum((2, 3, 4)) + 1e-5)).mean()
    def dice_and_entropy(y, labels): return dice(y, labels) + F.cross_entropy(y, labels)
    V3 = dict(x=("f", 1, 32, 32, 32), labels=("i", 32, 32, 32))
    def volume(name, create, loss=dice_and_entropy): row(f"monai-{name}", create, lambda m, x, labels: loss(first(m(x)), labels), **V3)
    volume("unet", lambda: M.UNet(3, 1, 3, channels=(8, 16, 32), strides=(2, 2), num_res_units=2))
    volume("basic-unet", lambda: M.BasicUNet(3, 1, 3, features=(8, 8, 16, 16, 32, 8)))
    volume("attention-unet", lambda: M.AttentionUnet(3, 1, 3, channels=(8, 16, 32), strides=(2, 2)))
    volume("segresnet", lambda: M.SegResNet(3, 8, 1, 3, blocks_down=(1, 1, 1), blocks_up=(1, 1)), dice)
    volume("vnet", lambda: M.VNet(3, 1, 3))
    volume("dynunet", lambda: M.DynUNet(3, 1, 3, kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=[8, 16, 32], res_block=True))
    volume("unetr", lambda: M.UNETR(1, 3, (32, 32, 32), feature_size=8, hidden_size=48, mlp_dim=96, num_heads=4))
    row("monai-densenet", lambda: M.DenseNet121(3, 1, 3), classified, x=("f", 1, 32, 32, 32), labels=("i",))
    row("monai-autoencoder", lambda: M.AutoEncoder(2, 3, 3, channels=(8, 16), strides=(2, 2)), lambda m, x: F.mse_loss(m(x), x), x=("f", 3, 64, 64))
    row("monai-vae", lambda: M.VarAutoEncoder(2, (3, 64, 64), 3, latent_size=16, channels=(8, 16), strides=(2, 2)), lambda m, x: (lambda y: F.mse_loss(y[0], x) - 0.5 * (1 + y[2] - y[1] ** 2 - y[2].exp()).mean())(m(x)), x=("f", 3, 64, 64))

if library("efficientnet_pytorch"):
    image("effnet-lukemelas", lambda: library("efficientnet_pytorch").EfficientNet.from_name("efficientnet-b0"))

if __name__ == "__main__": print(*ROWS, sep="\n")
