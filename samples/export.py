#!/usr/bin/env python3
"""Writes the sample models: known networks as small ONNX files. Only the graph is kept; a weight is its name, dims and type.

    python3 export.py            all of them, beside this file
    python3 export.py gpt2 vae   these

Needs torch, torchvision, transformers and onnx. Random weights, nothing is downloaded. The exporter is torch.onnx.export(dynamo=False) in training
mode, without constant folding, so that a file holds what training runs. Definitions follow the papers named at each builder.
"""
import pathlib
import sys
import tempfile
import types

# a CPU build of torch has no NMS for torchvision to register
sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))
import onnx
import torch
import torch.nn.functional as F
import torchvision.models as vision
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
SAMPLES = {}


def sample(*inputs, outputs=("output",)):
    """inputs: (name, dims, how it is filled); a dim is a number, or (name, value while exporting)."""
    def keep(build):
        SAMPLES[build.__name__.replace("_", "-")] = build, inputs, outputs
        return build
    return keep


BATCH, SEQ = ("batch", 2), ("seq", 16)
IDS = lambda name: (name, (BATCH, SEQ), "integer")
IMAGE = lambda size: ("image", (BATCH, 3, size, size), "real")


# ---- language models ----

def named_inputs(kind, *wanted):
    """The class with a forward that takes the named inputs in the sample's order and hands back the wanted outputs; the names of its modules stay."""
    class Named(kind):
        def forward(self, *inputs):
            out = super().forward(**dict(zip(self.input_names, inputs)))
            return tuple(out[w] for w in wanted)
    return Named


@sample(IDS("input_ids"), IDS("attention_mask"), IDS("token_type_ids"), outputs=("last_hidden_state", "pooler_output"))
def bert_base():
    """Devlin et al. 2018, without heads: 109,482,240 parameters."""
    from transformers import BertConfig, BertModel
    return named_inputs(BertModel, "last_hidden_state", "pooler_output")(BertConfig())


@sample(IDS("input_ids"), IDS("attention_mask"), IDS("token_type_ids"), IDS("labels"), ("next_sentence_label", (BATCH,), "integer"), outputs=("loss",))
def bert_large():
    """Devlin et al. 2018, with the two heads of pre-training and their losses."""
    from transformers import BertConfig, BertForPreTraining
    config = BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    return named_inputs(BertForPreTraining, "loss")(config)


@sample(IDS("input_ids"), IDS("attention_mask"), IDS("labels"), outputs=("loss",))
def gpt2():
    """Radford et al. 2019, the smallest: 12 layers of 768, with its loss."""
    from transformers import GPT2Config, GPT2LMHeadModel
    return named_inputs(GPT2LMHeadModel, "loss")(GPT2Config(use_cache=False))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.query, self.key, self.value, self.out = heads, *(nn.Linear(width, width) for _ in range(4))

    def forward(self, x, memory, causal=False):
        pairs = (self.query, x), (self.key, memory), (self.value, memory)
        q, k, v = (f(t).view(t.shape[0], -1, self.heads, t.shape[2] // self.heads).transpose(1, 2) for f, t in pairs)
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Of the encoder; with memory, of the decoder. Norms come last, as in the paper."""

    def __init__(self, width, heads, inner, decoder):
        super().__init__()
        self.attention, self.norm = Attention(width, heads), nn.LayerNorm(width)
        if decoder: self.cross, self.cross_norm = Attention(width, heads), nn.LayerNorm(width)
        self.feed, self.feed_norm = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width)), nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x, memory=None):
        x = self.norm(x + self.dropout(self.attention(x, x, causal=memory is not None)))
        if memory is not None: x = self.cross_norm(x + self.dropout(self.cross(x, memory)))
        return self.feed_norm(x + self.dropout(self.feed(x)))


class Transformer(nn.Module):
    def __init__(self, vocabulary=37_000, width=512, heads=8, inner=2048, layers=6, longest=512):
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(longest, width)
        self.encoder, self.decoder = (nn.ModuleList(Layer(width, heads, inner, d) for _ in range(layers)) for d in (False, True))
        self.dropout, self.out, self.scale = nn.Dropout(0.1), nn.Linear(width, vocabulary, bias=False), width ** 0.5
        self.out.weight = self.words.weight

    def embed(self, ids):
        return self.dropout(self.words(ids) * self.scale + self.places(torch.arange(ids.shape[1], device=ids.device)))

    def forward(self, source, target):
        memory, x = self.embed(source), self.embed(target)
        for layer in self.encoder: memory = layer(memory)
        for layer in self.decoder: x = layer(x, memory)
        return self.out(x)


@sample(("source", (BATCH, ("source_seq", 16)), "integer"), ("target", (BATCH, ("target_seq", 12)), "integer"), outputs=("logits",))
def transformer():
    """Vaswani et al. 2017, base: one table of 37,000 words for both sides and the output; learned places, which the paper found to do as well."""
    return Transformer()


class Seq2Seq(nn.Module):
    def __init__(self, source=160_000, target=80_000, width=1000, layers=4):
        super().__init__()
        self.source_words, self.target_words = nn.Embedding(source, width), nn.Embedding(target, width)
        self.encoder, self.decoder = nn.LSTM(width, width, layers, batch_first=True), nn.LSTM(width, width, layers, batch_first=True)
        self.out = nn.Linear(width, target)

    def forward(self, source, target):
        _, state = self.encoder(self.source_words(source))
        words, _ = self.decoder(self.target_words(target), state)
        return self.out(words)


@sample(("source", (BATCH, ("source_seq", 16)), "integer"), ("target", (BATCH, ("target_seq", 12)), "integer"), outputs=("logits",))
def seq2seq():
    """Sutskever, Vinyals and Le 2014: four LSTM layers of 1000 a side, 160,000 and 80,000 words."""
    return Seq2Seq()


class SkipGram(nn.Module):
    def __init__(self, vocabulary=692_000, width=300):
        super().__init__()
        self.word, self.context = nn.Embedding(vocabulary, width), nn.Embedding(vocabulary, width)

    def forward(self, word, contexts):
        return torch.bmm(self.context(contexts), self.word(word).unsqueeze(2)).squeeze(2)


@sample(("word", (BATCH,), "integer"), ("contexts", (BATCH, 6), "integer"), outputs=("scores",))
def word2vec():
    """Mikolov et al. 2013: skip-gram, one true and five negative contexts, 692,000 words of 300."""
    return SkipGram()


# ---- image networks ----

@sample(IMAGE(224))
def resnet50():
    """He et al. 2015: 25,557,032 parameters."""
    return vision.resnet50()


@sample(IMAGE(224))
def resnet152():
    """He et al. 2015."""
    return vision.resnet152()


@sample(IMAGE(224))
def vgg16():
    """Simonyan and Zisserman 2014, configuration D."""
    return vision.vgg16()


def relu():
    return nn.ReLU(inplace=True)


def response():
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)


def head(features):
    return nn.Sequential(nn.Flatten(), nn.Linear(features, 4096), relu(), nn.Dropout(),
                         nn.Linear(4096, 4096), relu(), nn.Dropout(), nn.Linear(4096, 1000))


@sample(IMAGE(227))
def alexnet():
    """Krizhevsky, Sutskever and Hinton 2012: layers 2, 4 and 5 see half of the channels, as on the two GPUs. 60,965,224 parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4), relu(), response(), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), relu(), response(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), relu(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), relu(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), relu(), nn.MaxPool2d(3, 2),
        head(256 * 6 * 6))


@sample(IMAGE(224))
def zeiler_fergus():
    """Zeiler and Fergus 2013: 7 x 7 stride 2, then 5 x 5 stride 2, nothing split."""
    return nn.Sequential(
        nn.Conv2d(3, 96, 7, stride=2, padding=1), relu(), nn.MaxPool2d(3, 2, padding=1), response(),
        nn.Conv2d(96, 256, 5, stride=2), relu(), nn.MaxPool2d(3, 2, padding=1), response(),
        nn.Conv2d(256, 384, 3, padding=1), relu(), nn.Conv2d(384, 384, 3, padding=1), relu(),
        nn.Conv2d(384, 256, 3, padding=1), relu(), nn.MaxPool2d(3, 2),
        head(256 * 6 * 6))


def separable(channels, wider):
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
                         nn.Conv2d(channels, wider, 1, bias=False), nn.BatchNorm2d(wider))


class Unit(nn.Module):
    """Separable convolutions around a shortcut; a stride halves the image and gives the shortcut a 1 x 1 convolution."""

    def __init__(self, widths, stride, first_relu=True):
        super().__init__()
        layers = []
        for i, (a, b) in enumerate(zip(widths, widths[1:])): layers += ([nn.ReLU()] if i or first_relu else []) + [separable(a, b)]
        if stride > 1: layers.append(nn.MaxPool2d(3, stride, padding=1))
        self.body = nn.Sequential(*layers)
        project = nn.Conv2d(widths[0], widths[-1], 1, stride=stride, bias=False), nn.BatchNorm2d(widths[-1])
        self.shortcut = nn.Sequential(*project) if stride > 1 else nn.Identity()

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


@sample(IMAGE(299))
def xception():
    """Chollet 2016: 22,855,952 parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32), relu(), nn.Conv2d(32, 64, 3, bias=False), nn.BatchNorm2d(64), relu(),
        Unit((64, 128, 128), 2, first_relu=False), Unit((128, 256, 256), 2), Unit((256, 728, 728), 2),
        *(Unit((728, 728, 728, 728), 1) for _ in range(8)),
        Unit((728, 728, 1024), 2), separable(1024, 1536), relu(), separable(1536, 2048), relu(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


@sample(("frames", (BATCH, 4, 84, 84), "real"), outputs=("values",))
def dqn():
    """Mnih et al. 2013: four frames, four actions (Breakout)."""
    return nn.Sequential(nn.Conv2d(4, 16, 8, stride=4), relu(), nn.Conv2d(16, 32, 4, stride=2), relu(), nn.Flatten(),
                         nn.Linear(32 * 9 * 9, 256), relu(), nn.Linear(256, 4))


# ---- generative models ----

class Maxout(nn.Module):
    def __init__(self, features, units, pieces):
        super().__init__()
        self.units, self.pieces, self.linear = units, pieces, nn.Linear(features, units * pieces)

    def forward(self, x):
        return self.linear(x).view(-1, self.units, self.pieces).amax(2)


class Gan(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(100, 1200), nn.ReLU(), nn.Linear(1200, 1200), nn.ReLU(), nn.Linear(1200, 784), nn.Sigmoid())
        self.discriminator = nn.Sequential(Maxout(784, 240, 5), nn.Dropout(), Maxout(240, 240, 5), nn.Dropout(), nn.Linear(240, 1))

    def forward(self, real, noise):
        return self.discriminator(real), self.discriminator(self.generator(noise))


@sample(("real", (BATCH, 784), "real"), ("noise", (BATCH, 100), "real"), outputs=("on_real", "on_generated"))
def gan():
    """Goodfellow et al. 2014, the networks for MNIST: rectifiers against maxout, both steps' forward passes."""
    return Gan()


class Vae(nn.Module):
    def __init__(self, hidden=500, latent=20):
        super().__init__()
        self.encoder, self.mean, self.log_variance = nn.Linear(784, hidden), nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder, self.out = nn.Linear(latent, hidden), nn.Linear(hidden, 784)

    def forward(self, x, noise):
        h = torch.tanh(self.encoder(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + noise * torch.exp(0.5 * log_variance)
        return torch.sigmoid(self.out(torch.tanh(self.decoder(z)))), mean, log_variance


@sample(("image", (BATCH, 784), "real"), ("noise", (BATCH, 20), "real"), outputs=("reconstruction", "mean", "log_variance"))
def vae():
    """Kingma and Welling 2013, for MNIST: 500 hidden units, 20 latent ones. 815,824 parameters."""
    return Vae()


# ---- writing ----

def strip(model):
    """Keeps dims and types of weights and drops their values; small tensors of integers (shapes, axes) stay."""
    for t in model.graph.initializer:
        if t.data_type in (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL) and len(t.raw_data) <= 4096: continue
        t.ClearField("raw_data")
        t.data_location = onnx.TensorProto.EXTERNAL
        del t.external_data[:]
        t.external_data.add(key="location", value="none")
    for n in model.graph.node:
        n.ClearField("doc_string")
        if n.op_type == "Constant": n.ClearField("name")


def export(name, folder):
    build, inputs, outputs = SAMPLES[name]
    torch.manual_seed(0)
    model = build().train()
    model.input_names = [i[0] for i in inputs]
    args, axes = [], {}
    for label, dims, kind in inputs:
        sizes = [d[1] if isinstance(d, tuple) else d for d in dims]
        axes[label] = {i: d[0] for i, d in enumerate(dims) if isinstance(d, tuple)}
        args.append(torch.randn(sizes) if kind == "real" else torch.ones(sizes, dtype=torch.int64))
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "model.onnx"
        torch.onnx.export(model, tuple(args), str(path), dynamo=False, training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False,
                          opset_version=17,
                          input_names=[i[0] for i in inputs], output_names=list(outputs), dynamic_axes=axes)
        proto = onnx.load(str(path))
    strip(proto)
    target = folder / f"{name}.onnx"
    onnx.save(proto, str(target))
    print(f"{name}: {sum(p.numel() for p in model.parameters()):,} parameters, {target.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    unknown = [n for n in sys.argv[1:] if n not in SAMPLES]
    if unknown: sys.exit(f"{', '.join(unknown)}: no such sample; there are {', '.join(SAMPLES)}")
    for n in sys.argv[1:] or SAMPLES: export(n, HERE)
