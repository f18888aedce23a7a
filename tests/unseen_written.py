"""Models as people write them in their own files, small, each in the style of a well-known tutorial or repository. ROWS: as in unseen_models.py.
A row whose inputs are tokens takes part in every run, with recomputed blocks where its class has `recompute`."""
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint as recompute
from zoo_transformers import floats, ints

ROWS = {}


def register(rows, prefix):
    def written(inputs):
        """The class below is a model whose forward(**inputs) gives the loss."""
        def keep(cls):
            def make(checkpoint="none"):
                if checkpoint != "none" and not hasattr(cls, "recompute"): raise ValueError("nothing to recompute")

                def build():
                    m = cls()
                    if checkpoint != "none": m.recompute = True
                    return m
                return build, inputs, lambda m, b: m(**b)
            rows[prefix + cls.__name__.lower().replace("_", "-")] = make
            return cls
        return keep
    return written


written = register(ROWS, "own-")


def ids(b, n, device): return dict(idx=ints(b, n, device=device), targets=ints(b, n, device=device))
def text(b, n, device): return dict(x=ints(b, n, device=device), y=ints(b, device=device))
def pictures(size, channels=3): return lambda b, n, device: dict(x=floats(b, channels, size, size, device=device), y=ints(b, device=device))
def translated(size, cin=3, cout=3): return lambda b, n, device: dict(x=floats(b, cin, size, size, device=device), y=floats(b, cout, size, size, device=device))
def segmented(size): return lambda b, n, device: dict(x=floats(b, 3, size, size, device=device), y=ints(b, size, size, device=device))
def sequences(length, width): return lambda b, n, device: dict(x=floats(b, length, width, device=device), y=ints(b, device=device))


# ---------------------------------------------------------------- decoders

class CausalSelfAttention(nn.Module):
    def __init__(self, d=128, heads=4, block=512, flash=True, dropout=0.1):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.attn_dropout, self.resid_dropout = nn.Dropout(dropout), nn.Dropout(dropout)
        self.n_head, self.n_embd, self.dropout, self.flash = heads, d, dropout, flash
        if not flash: self.register_buffer("bias", torch.tril(torch.ones(block, block)).view(1, 1, block, block))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        k = k.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        q = q.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        v = v.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        if self.flash:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=self.dropout if self.training else 0, is_causal=True)
        else:
            att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
            att = F.softmax(att, dim=-1)
            att = self.attn_dropout(att)
            y = att @ v
        y = y.transpose(1, 2).contiguous().view(B, T, C)
        y = self.resid_dropout(self.c_proj(y))
        return y


class MLP(nn.Module):
    def __init__(self, d=128, dropout=0.1):
        super().__init__()
        self.c_fc, self.gelu, self.c_proj, self.dropout = nn.Linear(d, 4 * d, bias=False), nn.GELU(), nn.Linear(4 * d, d, bias=False), nn.Dropout(dropout)

    def forward(self, x):
        x = self.c_fc(x)
        x = self.gelu(x)
        x = self.c_proj(x)
        x = self.dropout(x)
        return x


class Block(nn.Module):
    def __init__(self, flash, dropout=0.1):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(128), CausalSelfAttention(flash=flash, dropout=dropout)
        self.ln_2, self.mlp = nn.LayerNorm(128), MLP(dropout=dropout)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        x = x + self.mlp(self.ln_2(x))
        return x


class GPT(nn.Module):
    recompute, flash, dropout = False, True, 0.1

    def __init__(self):
        super().__init__()
        self.transformer = nn.ModuleDict(dict(wte=nn.Embedding(1000, 128), wpe=nn.Embedding(512, 128), drop=nn.Dropout(self.dropout),
                                              h=nn.ModuleList([Block(self.flash, self.dropout) for _ in range(3)]), ln_f=nn.LayerNorm(128)))
        self.lm_head = nn.Linear(128, 1000, bias=False)
        self.transformer.wte.weight = self.lm_head.weight

    def forward(self, idx, targets):
        b, t = idx.size()
        pos = torch.arange(0, t, dtype=torch.long, device=idx.device)
        tok_emb = self.transformer.wte(idx)
        pos_emb = self.transformer.wpe(pos)
        x = self.transformer.drop(tok_emb + pos_emb)
        for block in self.transformer.h:
            x = recompute(block, x, use_reentrant=False) if self.recompute else block(x)
        x = self.transformer.ln_f(x)
        logits = self.lm_head(x)
        loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        return loss


@written(ids)
class NanoGPT(GPT): pass


@written(ids)
class NanoGPT_slow(GPT): flash = False


@written(ids)
class NanoGPT_no_dropout(GPT): dropout = 0.0


@written(ids)
class Bigram(nn.Module):
    """gpt.py of the lecture: a head is a module, heads are concatenated"""
    class Head(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.key, self.query, self.value = (nn.Linear(128, size, bias=False) for _ in range(3))
            self.register_buffer("tril", torch.tril(torch.ones(512, 512)))
            self.dropout = nn.Dropout(0.2)

        def forward(self, x):
            B, T, C = x.shape
            k = self.key(x)
            q = self.query(x)
            wei = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
            wei = wei.masked_fill(self.tril[:T, :T] == 0, float("-inf"))
            wei = F.softmax(wei, dim=-1)
            wei = self.dropout(wei)
            v = self.value(x)
            out = wei @ v
            return out

    class Heads(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.heads = nn.ModuleList([Bigram_Head(128 // n) for _ in range(n)])
            self.proj, self.dropout = nn.Linear(128, 128), nn.Dropout(0.2)

        def forward(self, x):
            out = torch.cat([h(x) for h in self.heads], dim=-1)
            out = self.dropout(self.proj(out))
            return out

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.sa = Bigram_Heads(4)
            self.ffwd = nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 128), nn.Dropout(0.2))
            self.ln1, self.ln2 = nn.LayerNorm(128), nn.LayerNorm(128)

        def forward(self, x):
            x = x + self.sa(self.ln1(x))
            x = x + self.ffwd(self.ln2(x))
            return x

    def __init__(self):
        super().__init__()
        self.token_embedding_table, self.position_embedding_table = nn.Embedding(1000, 128), nn.Embedding(512, 128)
        self.blocks = nn.Sequential(*[Bigram_Layer() for _ in range(2)])
        self.ln_f, self.lm_head = nn.LayerNorm(128), nn.Linear(128, 1000)

    def forward(self, idx, targets):
        B, T = idx.shape
        tok_emb = self.token_embedding_table(idx)
        pos_emb = self.position_embedding_table(torch.arange(T, device=idx.device))
        x = tok_emb + pos_emb
        x = self.blocks(x)
        x = self.ln_f(x)
        logits = self.lm_head(x)
        B, T, C = logits.shape
        logits = logits.view(B * T, C)
        targets = targets.view(B * T)
        return F.cross_entropy(logits, targets)


Bigram_Head, Bigram_Heads, Bigram_Layer = Bigram.Head, Bigram.Heads, Bigram.Layer


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.ones(dim))

    def _norm(self, x): return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)

    def forward(self, x):
        output = self._norm(x.float()).type_as(x)
        return output * self.weight


def apply_rotary(x, cos, sin):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((x1 * cos - x2 * sin, x1 * sin + x2 * cos), dim=-1)


class LlamaBlock(nn.Module):
    def __init__(self, d=128, heads=4, kv=2):
        super().__init__()
        self.heads, self.kv, self.hd = heads, kv, d // heads
        self.wq, self.wk, self.wv, self.wo = nn.Linear(d, d, bias=False), nn.Linear(d, kv * self.hd, bias=False), nn.Linear(d, kv * self.hd, bias=False), nn.Linear(d, d, bias=False)
        self.w1, self.w2, self.w3 = nn.Linear(d, 352, bias=False), nn.Linear(352, d, bias=False), nn.Linear(d, 352, bias=False)
        self.attention_norm, self.ffn_norm = RMSNorm(d), RMSNorm(d)

    def attention(self, x, cos, sin):
        b, t, _ = x.shape
        xq, xk, xv = self.wq(x), self.wk(x), self.wv(x)
        xq = xq.view(b, t, self.heads, self.hd)
        xk = xk.view(b, t, self.kv, self.hd)
        xv = xv.view(b, t, self.kv, self.hd)
        xq, xk = apply_rotary(xq, cos, sin), apply_rotary(xk, cos, sin)
        rep = self.heads // self.kv
        keys = xk[:, :, :, None, :].expand(b, t, self.kv, rep, self.hd).reshape(b, t, self.heads, self.hd)
        values = xv[:, :, :, None, :].expand(b, t, self.kv, rep, self.hd).reshape(b, t, self.heads, self.hd)
        output = F.scaled_dot_product_attention(xq.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), is_causal=True)
        output = output.transpose(1, 2).contiguous().view(b, t, -1)
        return self.wo(output)

    def forward(self, x, cos, sin):
        h = x + self.attention(self.attention_norm(x), cos, sin)
        out = h + self.feed_forward(self.ffn_norm(h))
        return out

    def feed_forward(self, x): return self.w2(F.silu(self.w1(x)) * self.w3(x))


@written(ids)
class LlamaLike(nn.Module):
    recompute = False

    def __init__(self):
        super().__init__()
        self.tok_embeddings = nn.Embedding(1000, 128)
        self.layers = nn.ModuleList([LlamaBlock() for _ in range(3)])
        self.norm, self.output = RMSNorm(128), nn.Linear(128, 1000, bias=False)
        angles = torch.outer(torch.arange(512).float(), 1.0 / (10000 ** (torch.arange(0, 16).float() / 16)))
        self.register_buffer("cos", angles.cos()[:, None, :])
        self.register_buffer("sin", angles.sin()[:, None, :])

    def forward(self, idx, targets):
        h = self.tok_embeddings(idx)
        cos, sin = self.cos[:idx.shape[1]], self.sin[:idx.shape[1]]
        for layer in self.layers:
            h = recompute(layer, h, cos, sin, use_reentrant=False) if self.recompute else layer(h, cos, sin)
        h = self.norm(h)
        logits = self.output(h)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


# ---------------------------------------------------------------- torch.nn's transformers, and the annotated one

class PositionalEncoding(nn.Module):
    def __init__(self, d=128, dropout=0.1, max_len=512):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        position, div = torch.arange(max_len).unsqueeze(1), torch.exp(torch.arange(0, d, 2) * (-math.log(10000.0) / d))
        pe = torch.zeros(1, max_len, d)
        pe[0, :, 0::2], pe[0, :, 1::2] = torch.sin(position * div), torch.cos(position * div)
        self.register_buffer("pe", pe)

    def forward(self, x):
        x = x + self.pe[:, :x.size(1)]
        return self.dropout(x)


@written(ids)
class TorchEncoder(nn.Module):
    """the word-language tutorial: nn.TransformerEncoder with a causal mask"""
    def __init__(self):
        super().__init__()
        self.embedding, self.pos_encoder = nn.Embedding(1000, 128), PositionalEncoding()
        self.transformer_encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 4, 512, 0.1, batch_first=True), 2, enable_nested_tensor=False)
        self.linear = nn.Linear(128, 1000)

    def forward(self, idx, targets):
        src = self.embedding(idx) * math.sqrt(128)
        src = self.pos_encoder(src)
        t = src.size(1)
        mask = torch.triu(torch.full((t, t), float("-inf"), device=src.device), diagonal=1)
        output = self.transformer_encoder(src, mask)
        output = self.linear(output)
        return F.cross_entropy(output.view(-1, 1000), targets.view(-1))


@written(text)
class TorchEncoder_prenorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.cls = nn.Embedding(1000, 128), nn.Parameter(torch.zeros(1, 1, 128))
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 4, 512, 0.1, activation="gelu", norm_first=True, batch_first=True), 2, nn.LayerNorm(128), enable_nested_tensor=False)
        self.head = nn.Linear(128, 10)

    def forward(self, x, y):
        x = self.emb(x)
        x = torch.cat([self.cls.expand(x.size(0), -1, -1), x], dim=1)
        x = self.encoder(x)
        return F.cross_entropy(self.head(x[:, 0]), y)


@written(ids)
class Annotated(nn.Module):
    """multi-head attention of the annotated transformer: attention as a function that gives probabilities, kept on the module"""
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.linears, self.attn, self.dropout = nn.ModuleList([nn.Linear(128, 128) for _ in range(4)]), None, nn.Dropout(0.1)

        def forward(self, query, key, value, mask):
            nbatches = query.size(0)
            query, key, value = [lin(x).view(nbatches, -1, 4, 32).transpose(1, 2) for lin, x in zip(self.linears, (query, key, value))]
            scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(32)
            scores = scores.masked_fill(mask == 0, -1e9)
            p_attn = scores.softmax(dim=-1)
            p_attn = self.dropout(p_attn)
            x = torch.matmul(p_attn, value)
            x = x.transpose(1, 2).contiguous().view(nbatches, -1, 128)
            return self.linears[-1](x)

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.self_attn, self.w_1, self.w_2 = Annotated_Attention(), nn.Linear(128, 512), nn.Linear(512, 128)
            self.norm1, self.norm2, self.dropout = nn.LayerNorm(128), nn.LayerNorm(128), nn.Dropout(0.1)

        def forward(self, x, mask):
            y = self.norm1(x)
            x = x + self.dropout(self.self_attn(y, y, y, mask))
            return x + self.dropout(self.w_2(self.dropout(self.w_1(self.norm2(x)).relu())))

    def __init__(self):
        super().__init__()
        self.lut, self.pe = nn.Embedding(1000, 128), PositionalEncoding()
        self.layers, self.norm, self.proj = nn.ModuleList([Annotated_Layer() for _ in range(2)]), nn.LayerNorm(128), nn.Linear(128, 1000)

    def forward(self, idx, targets):
        mask = torch.ones(idx.size(1), idx.size(1), device=idx.device).tril()
        x = self.pe(self.lut(idx) * math.sqrt(128))
        for layer in self.layers: x = layer(x, mask)
        return F.nll_loss(F.log_softmax(self.proj(self.norm(x)), dim=-1).view(-1, 1000), targets.view(-1))


Annotated_Attention, Annotated_Layer = Annotated.Attention, Annotated.Layer


# ---------------------------------------------------------------- vision transformers and mixers

class FeedForward(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.net = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(hidden, dim), nn.Dropout(0.1))

    def forward(self, x): return self.net(x)


class ViTAttention(nn.Module):
    def __init__(self, dim=128, heads=4, dim_head=32):
        super().__init__()
        self.heads, self.scale, inner = heads, dim_head ** -0.5, heads * dim_head
        self.norm, self.attend, self.dropout = nn.LayerNorm(dim), nn.Softmax(dim=-1), nn.Dropout(0.1)
        self.to_qkv, self.to_out = nn.Linear(dim, inner * 3, bias=False), nn.Sequential(nn.Linear(inner, dim), nn.Dropout(0.1))

    def forward(self, x):
        x = self.norm(x)
        qkv = self.to_qkv(x).chunk(3, dim=-1)
        q, k, v = map(lambda t: t.reshape(t.shape[0], t.shape[1], self.heads, -1).permute(0, 2, 1, 3), qkv)
        dots = torch.matmul(q, k.transpose(-1, -2)) * self.scale
        attn = self.attend(dots)
        attn = self.dropout(attn)
        out = torch.matmul(attn, v)
        out = out.permute(0, 2, 1, 3).reshape(out.shape[0], out.shape[2], -1)
        return self.to_out(out)


@written(pictures(64))
class SimpleViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Sequential(nn.LayerNorm(192), nn.Linear(192, 128), nn.LayerNorm(128))
        self.pos_embedding, self.cls_token = nn.Parameter(torch.randn(1, 65, 128)), nn.Parameter(torch.randn(1, 1, 128))
        self.layers = nn.ModuleList([nn.ModuleList([ViTAttention(), FeedForward(128, 512)]) for _ in range(2)])
        self.dropout, self.norm, self.mlp_head = nn.Dropout(0.1), nn.LayerNorm(128), nn.Linear(128, 10)

    def forward(self, x, y):
        b = x.shape[0]
        x = x.reshape(b, 3, 8, 8, 8, 8).permute(0, 2, 4, 3, 5, 1).reshape(b, 64, 192)
        x = self.patch(x)
        x = torch.cat((self.cls_token.expand(b, -1, -1), x), dim=1)
        x += self.pos_embedding[:, :65]
        x = self.dropout(x)
        for attn, ff in self.layers:
            x = attn(x) + x
            x = ff(x) + x
        x = self.norm(x)
        return F.cross_entropy(self.mlp_head(x[:, 0]), y)


@written(pictures(64))
class MlpMixer(nn.Module):
    class Mix(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_token, self.token_mix = nn.LayerNorm(128), nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Dropout(0.1), nn.Linear(256, 64), nn.Dropout(0.1))
            self.ln_channel, self.channel_mix = nn.LayerNorm(128), nn.Sequential(nn.Linear(128, 512), nn.GELU(), nn.Dropout(0.1), nn.Linear(512, 128), nn.Dropout(0.1))

        def forward(self, x):
            out = self.ln_token(x).transpose(1, 2)
            x = x + self.token_mix(out).transpose(1, 2)
            out = self.ln_channel(x)
            x = x + self.channel_mix(out)
            return x

    def __init__(self):
        super().__init__()
        self.embedding = nn.Conv2d(3, 128, 8, 8)
        self.mlp, self.ln, self.classifier = nn.Sequential(*[Mixer() for _ in range(3)]), nn.LayerNorm(128), nn.Linear(128, 10)

    def forward(self, x, y):
        out = self.embedding(x)
        out = out.flatten(2).transpose(1, 2)
        out = self.mlp(out)
        out = self.ln(out).mean(dim=1)
        return F.cross_entropy(self.classifier(out), y)


Mixer = MlpMixer.Mix


# ---------------------------------------------------------------- convolutional networks

class BasicBlock(nn.Module):
    def __init__(self, cin, planes, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False), nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or cin != planes: self.shortcut = nn.Sequential(nn.Conv2d(cin, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        out = F.relu(out)
        return out


class PreActBlock(BasicBlock):
    def __init__(self, cin, planes, stride=1):
        super().__init__(cin, planes, stride)
        self.bn1 = nn.BatchNorm2d(cin)

    def forward(self, x):
        out = F.relu(self.bn1(x))
        shortcut = self.shortcut(out) if len(self.shortcut) else x
        out = self.conv1(out)
        out = self.conv2(F.relu(self.bn2(out)))
        out += shortcut
        return out


class SEBlock(BasicBlock):
    def __init__(self, cin, planes, stride=1):
        super().__init__(cin, planes, stride)
        self.fc1, self.fc2 = nn.Conv2d(planes, planes // 16, 1), nn.Conv2d(planes // 16, planes, 1)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        w = F.avg_pool2d(out, out.size(2))
        w = F.relu(self.fc1(w))
        w = F.sigmoid(self.fc2(w))
        out = out * w
        out += self.shortcut(x)
        out = F.relu(out)
        return out


class Cifar(nn.Module):
    block = BasicBlock

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32)
        self.layer1, self.layer2 = nn.Sequential(self.block(32, 32), self.block(32, 32)), nn.Sequential(self.block(32, 64, 2), self.block(64, 64))
        self.layer3, self.linear = nn.Sequential(self.block(64, 128, 2), self.block(128, 128)), nn.Linear(128, 10)

    def forward(self, x, y):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer1(out)
        out = self.layer2(out)
        out = self.layer3(out)
        out = F.avg_pool2d(out, 8)
        out = out.view(out.size(0), -1)
        out = self.linear(out)
        return F.cross_entropy(out, y)


@written(pictures(32))
class Cifar_ResNet(Cifar): pass


@written(pictures(32))
class Cifar_PreAct(Cifar): block = PreActBlock


@written(pictures(32))
class Cifar_SE(Cifar): block = SEBlock


@written(pictures(32))
class Cifar_DenseNet(nn.Module):
    class Layer(nn.Module):
        def __init__(self, cin, growth=12):
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2d(cin), nn.Conv2d(cin, 4 * growth, 1, bias=False)
            self.bn2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

        def forward(self, x):
            out = self.conv1(F.relu(self.bn1(x)))
            out = self.conv2(F.relu(self.bn2(out)))
            out = torch.cat([out, x], 1)
            return out

    def __init__(self):
        super().__init__()
        self.conv1, self.dense1 = nn.Conv2d(3, 24, 3, padding=1, bias=False), nn.Sequential(*[DenseLayer(24 + 12 * i) for i in range(4)])
        self.bn, self.trans = nn.BatchNorm2d(72), nn.Conv2d(72, 36, 1, bias=False)
        self.dense2 = nn.Sequential(*[DenseLayer(36 + 12 * i) for i in range(4)])
        self.bn2, self.linear = nn.BatchNorm2d(84), nn.Linear(84, 10)

    def forward(self, x, y):
        out = self.conv1(x)
        out = F.avg_pool2d(self.trans(F.relu(self.bn(self.dense1(out)))), 2)
        out = self.dense2(out)
        out = F.avg_pool2d(F.relu(self.bn2(out)), 4)
        out = out.view(out.size(0), -1)
        return F.cross_entropy(self.linear(out[:, :84]), y)


DenseLayer = Cifar_DenseNet.Layer


@written(pictures(28, 1))
class LeNet(nn.Module):
    """the MNIST example"""
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, 1), nn.Conv2d(32, 64, 3, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, x, y):
        x = self.conv1(x)
        x = F.relu(x)
        x = self.conv2(x)
        x = F.relu(x)
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = self.fc1(x)
        x = F.relu(x)
        x = self.dropout2(x)
        x = self.fc2(x)
        output = F.log_softmax(x, dim=1)
        return F.nll_loss(output, y)


@written(pictures(28, 1))
class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten, self.stack = nn.Flatten(), nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))

    def forward(self, x, y): return F.cross_entropy(self.stack(self.flatten(x)), y)


class DoubleConv(nn.Module):
    def __init__(self, cin, cout, mid=None):
        super().__init__()
        mid = mid or cout
        self.double_conv = nn.Sequential(nn.Conv2d(cin, mid, 3, padding=1, bias=False), nn.BatchNorm2d(mid), nn.ReLU(inplace=True),
                                         nn.Conv2d(mid, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))

    def forward(self, x): return self.double_conv(x)


class Up(nn.Module):
    def __init__(self, cin, cout, bilinear):
        super().__init__()
        if bilinear: self.up, self.conv = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), DoubleConv(cin, cout, cin // 2)
        else: self.up, self.conv = nn.ConvTranspose2d(cin, cin // 2, 2, stride=2), DoubleConv(cin, cout)

    def forward(self, x1, x2):
        x1 = self.up(x1)
        dy, dx = x2.size(2) - x1.size(2), x2.size(3) - x1.size(3)
        x1 = F.pad(x1, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        x = torch.cat([x2, x1], dim=1)
        return self.conv(x)


class UNet(nn.Module):
    bilinear = False

    def __init__(self):
        super().__init__()
        f = 2 if self.bilinear else 1
        self.inc, self.down1 = DoubleConv(3, 32), nn.Sequential(nn.MaxPool2d(2), DoubleConv(32, 64))
        self.down2, self.down3 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(64, 128)), nn.Sequential(nn.MaxPool2d(2), DoubleConv(128, 256 // f))
        self.up1, self.up2, self.up3 = Up(256, 128 // f, self.bilinear), Up(128, 64 // f, self.bilinear), Up(64, 32, self.bilinear)
        self.outc = nn.Conv2d(32, 4, 1)

    def forward(self, x, y):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x = self.up1(x4, x3)
        x = self.up2(x, x2)
        x = self.up3(x, x1)
        logits = self.outc(x)
        loss = F.cross_entropy(logits, y)
        probs = F.softmax(logits, dim=1).float()
        hot = F.one_hot(y, 4).permute(0, 3, 1, 2).float()
        inter = 2 * (probs * hot).sum(dim=(-1, -2))
        sets = probs.sum(dim=(-1, -2)) + hot.sum(dim=(-1, -2))
        loss += 1 - ((inter + 1e-6) / (sets + 1e-6)).mean()
        return loss


@written(segmented(64))
class UNet_transposed(UNet): pass


@written(segmented(64))
class UNet_bilinear(UNet): bilinear = True


@written(lambda b, n, device: dict(x=floats(b, 3, 32, 32, device=device), noise=floats(b, 3, 32, 32, device=device), t=floats(b, device=device)))
class Diffusion(nn.Module):
    """a small denoising U-Net: group norm, SiLU, time embedding, attention in the middle"""
    class Res(nn.Module):
        def __init__(self, cin, cout):
            super().__init__()
            self.norm1, self.conv1, self.emb = nn.GroupNorm(8, cin), nn.Conv2d(cin, cout, 3, padding=1), nn.Linear(128, cout)
            self.norm2, self.conv2, self.drop = nn.GroupNorm(8, cout), nn.Conv2d(cout, cout, 3, padding=1), nn.Dropout(0.1)
            self.skip = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

        def forward(self, x, t):
            h = self.conv1(F.silu(self.norm1(x)))
            h = h + self.emb(F.silu(t))[:, :, None, None]
            h = self.conv2(self.drop(F.silu(self.norm2(h))))
            return h + self.skip(x)

    class Attention(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.norm, self.qkv, self.proj = nn.GroupNorm(8, c), nn.Conv2d(c, 3 * c, 1), nn.Conv2d(c, c, 1)

        def forward(self, x):
            b, c, h, w = x.shape
            q, k, v = self.qkv(self.norm(x)).reshape(b, 3, c, h * w).unbind(1)
            attn = torch.einsum("bci,bcj->bij", q * c ** -0.5, k).softmax(dim=-1)
            out = torch.einsum("bij,bcj->bci", attn, v).reshape(b, c, h, w)
            return x + self.proj(out)

    def __init__(self):
        super().__init__()
        self.time, self.inp = nn.Sequential(nn.Linear(32, 128), nn.SiLU(), nn.Linear(128, 128)), nn.Conv2d(3, 32, 3, padding=1)
        self.d1, self.down, self.d2 = Denoise(32, 32), nn.Conv2d(32, 64, 3, 2, 1), Denoise(64, 64)
        self.mid1, self.attn, self.mid2 = Denoise(64, 64), DenoiseAttention(64), Denoise(64, 64)
        self.u2, self.u1, self.norm, self.out = Denoise(128, 32), Denoise(64, 32), nn.GroupNorm(8, 32), nn.Conv2d(32, 3, 3, padding=1)

    def forward(self, x, noise, t):
        freqs = torch.exp(-math.log(10000) * torch.arange(16, device=t.device) / 16)
        args = t[:, None] * freqs[None]
        emb = self.time(torch.cat([args.cos(), args.sin()], dim=-1))
        a = t.sigmoid()[:, None, None, None]
        x = a.sqrt() * x + (1 - a).sqrt() * noise
        h0 = self.inp(x)
        h1 = self.d1(h0, emb)
        h2 = self.d2(self.down(h1), emb)
        h = self.mid2(self.attn(self.mid1(h2, emb)), emb)
        h = self.u2(torch.cat([h, h2], dim=1), emb)
        h = F.interpolate(h, scale_factor=2.0, mode="nearest")
        h = self.u1(torch.cat([h, h1], dim=1), emb)
        return F.mse_loss(self.out(F.silu(self.norm(h))), noise)


Denoise, DenoiseAttention = Diffusion.Res, Diffusion.Attention


@written(translated(64))
class CycleGAN_generator(nn.Module):
    class Res(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.block = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), nn.InstanceNorm2d(c), nn.ReLU(True), nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), nn.InstanceNorm2d(c))

        def forward(self, x): return x + self.block(x)

    def __init__(self):
        super().__init__()
        model = [nn.ReflectionPad2d(3), nn.Conv2d(3, 32, 7), nn.InstanceNorm2d(32), nn.ReLU(True)]
        for c in (32, 64): model += [nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.InstanceNorm2d(2 * c), nn.ReLU(True)]
        model += [CycleRes(128) for _ in range(2)]
        for c in (128, 64): model += [nn.ConvTranspose2d(c, c // 2, 3, stride=2, padding=1, output_padding=1), nn.InstanceNorm2d(c // 2), nn.ReLU(True)]
        self.model = nn.Sequential(*model, nn.ReflectionPad2d(3), nn.Conv2d(32, 3, 7), nn.Tanh())

    def forward(self, x, y): return F.l1_loss(self.model(x), y)


CycleRes = CycleGAN_generator.Res


@written(pictures(64))
class DCGAN_discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2, inplace=True),
                                  nn.Conv2d(128, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(256, 1, 8, 1, 0, bias=False))

    def forward(self, x, y):
        out = self.main(x).view(-1)
        return F.binary_cross_entropy_with_logits(out, y.float())


@written(lambda b, n, device: dict(x=floats(b, 3, 32, 32, device=device), y=floats(b, 3, 64, 64, device=device)))
class SuperResolution(nn.Module):
    class Res(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1, self.prelu, self.conv2, self.bn2 = nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.PReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64)

        def forward(self, x):
            residual = self.conv1(x)
            residual = self.bn1(residual)
            residual = self.prelu(residual)
            residual = self.conv2(residual)
            residual = self.bn2(residual)
            return x + residual

    def __init__(self):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 64, 9, padding=4), nn.PReLU())
        self.block2, self.block3 = SRRes(), SRRes()
        self.block4 = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64))
        self.block5 = nn.Sequential(nn.Conv2d(64, 256, 3, padding=1), nn.PixelShuffle(2), nn.PReLU(), nn.Conv2d(64, 3, 9, padding=4))

    def forward(self, x, y):
        block1 = self.block1(x)
        block2 = self.block2(block1)
        block3 = self.block3(block2)
        block4 = self.block4(block3)
        block5 = self.block5(block1 + block4)
        return F.mse_loss((torch.tanh(block5) + 1) / 2, y)


SRRes = SuperResolution.Res


@written(translated(32))
class RRDB(nn.Module):
    """residual in residual dense blocks"""
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 32, 3, 1, 1), nn.Conv2d(32, 3, 3, 1, 1)
        self.convs = nn.ModuleList([nn.Conv2d(32 + 16 * (i % 4), 16 if i % 4 < 3 else 32, 3, 1, 1) for i in range(8)])
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def dense(self, x, c):
        x1 = self.lrelu(c[0](x))
        x2 = self.lrelu(c[1](torch.cat((x, x1), 1)))
        x3 = self.lrelu(c[2](torch.cat((x, x1, x2), 1)))
        x4 = c[3](torch.cat((x, x1, x2, x3), 1))
        return x4 * 0.2 + x

    def forward(self, x, y):
        fea = self.first(x)
        out = self.dense(fea, self.convs[:4])
        out = self.dense(out, self.convs[4:])
        out = self.last(out * 0.2 + fea)
        return F.l1_loss(out, y)


@written(lambda b, n, device: dict(x=floats(b, 1, 8, 32, 32, device=device), y=ints(b, device=device)))
class Volume(nn.Module):
    """C3D"""
    def __init__(self):
        super().__init__()
        self.conv1, self.pool1, self.conv2, self.pool2 = nn.Conv3d(1, 32, 3, padding=1), nn.MaxPool3d((1, 2, 2)), nn.Conv3d(32, 64, 3, padding=1), nn.MaxPool3d(2)
        self.bn, self.relu, self.fc = nn.BatchNorm3d(64), nn.ReLU(), nn.Linear(64 * 4 * 8 * 8, 10)

    def forward(self, x, y):
        h = self.relu(self.conv1(x))
        h = self.pool1(h)
        h = self.relu(self.bn(self.conv2(h)))
        h = self.pool2(h)
        h = h.view(-1, 64 * 4 * 8 * 8)
        return F.cross_entropy(self.fc(h), y)


# ---------------------------------------------------------------- sound, sequences, points

@written(ids)
class WaveNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(1000, 64)
        self.dilated = nn.ModuleList([nn.Conv1d(64, 128, 2, dilation=2 ** i) for i in range(5)])
        self.residual, self.skip = nn.ModuleList([nn.Conv1d(64, 64, 1) for _ in range(5)]), nn.ModuleList([nn.Conv1d(64, 64, 1) for _ in range(5)])
        self.end1, self.end2 = nn.Conv1d(64, 128, 1), nn.Conv1d(128, 1000, 1)

    def forward(self, idx, targets):
        x = self.embed(idx).transpose(1, 2)
        skip = 0
        for i, (d, r, s) in enumerate(zip(self.dilated, self.residual, self.skip)):
            h = d(F.pad(x, (2 ** i, 0)))
            filt, gate = h.chunk(2, dim=1)
            h = torch.tanh(filt) * torch.sigmoid(gate)
            skip = skip + s(h)
            x = r(h) + x
        x = F.relu(skip)
        x = F.relu(self.end1(x))
        x = self.end2(x)
        return F.cross_entropy(x, targets)


@written(lambda b, n, device: dict(x=floats(b, 16, 256, device=device), y=ints(b, device=device)))
class TCN(nn.Module):
    class Temporal(nn.Module):
        def __init__(self, cin, cout, dilation):
            super().__init__()
            self.pad = 2 * dilation
            self.conv1, self.conv2 = nn.Conv1d(cin, cout, 3, padding=self.pad, dilation=dilation), nn.Conv1d(cout, cout, 3, padding=self.pad, dilation=dilation)
            self.relu1, self.relu2, self.drop1, self.drop2, self.relu = nn.ReLU(), nn.ReLU(), nn.Dropout(0.2), nn.Dropout(0.2), nn.ReLU()
            self.downsample = nn.Conv1d(cin, cout, 1) if cin != cout else None

        def forward(self, x):
            out = self.drop1(self.relu1(self.conv1(x)[:, :, :-self.pad].contiguous()))
            out = self.drop2(self.relu2(self.conv2(out)[:, :, :-self.pad].contiguous()))
            res = x if self.downsample is None else self.downsample(x)
            return self.relu(out + res)

    def __init__(self):
        super().__init__()
        self.network, self.linear = nn.Sequential(Temporal(16, 64, 1), Temporal(64, 64, 2), Temporal(64, 64, 4)), nn.Linear(64, 10)

    def forward(self, x, y):
        y1 = self.network(x)
        return F.cross_entropy(self.linear(y1[:, :, -1]), y)


Temporal = TCN.Temporal


@written(text)
class TextCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(1000, 128)
        self.convs = nn.ModuleList([nn.Conv2d(1, 100, (k, 128)) for k in (3, 4, 5)])
        self.dropout, self.fc1 = nn.Dropout(0.5), nn.Linear(300, 10)

    def forward(self, x, y):
        x = self.embed(x)
        x = x.unsqueeze(1)
        x = [F.relu(conv(x)).squeeze(3) for conv in self.convs]
        x = [F.max_pool1d(i, i.size(2)).squeeze(2) for i in x]
        x = torch.cat(x, 1)
        x = self.dropout(x)
        logit = self.fc1(x)
        return F.cross_entropy(logit, y)


@written(text)
class Bag(nn.Module):
    """a mean of embeddings"""
    def __init__(self):
        super().__init__()
        self.embedding, self.fc = nn.Embedding(1000, 64), nn.Linear(64, 10)

    def forward(self, x, y): return F.cross_entropy(self.fc(self.embedding(x).mean(dim=1)), y)


@written(sequences(24, 32))
class WrittenLSTM(nn.Module):
    """gates by hand, one step after another"""
    def __init__(self):
        super().__init__()
        self.x2h, self.h2h, self.fc = nn.Linear(32, 256), nn.Linear(64, 256), nn.Linear(64, 10)

    def forward(self, x, y):
        h = torch.zeros(x.size(0), 64, device=x.device)
        c = torch.zeros(x.size(0), 64, device=x.device)
        for t in range(x.size(1)):
            gates = self.x2h(x[:, t]) + self.h2h(h)
            i, f, g, o = gates.chunk(4, 1)
            i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
            c = f * c + i * g
            h = o * torch.tanh(c)
        return F.cross_entropy(self.fc(h), y)


@written(sequences(24, 32))
class WrittenGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.wz, self.wr, self.wh, self.fc = nn.Linear(96, 64), nn.Linear(96, 64), nn.Linear(96, 64), nn.Linear(64, 10)

    def forward(self, x, y):
        h = x.new_zeros(x.size(0), 64)
        out = []
        for t in range(x.size(1)):
            xh = torch.cat([x[:, t, :], h], dim=1)
            z = torch.sigmoid(self.wz(xh))
            r = torch.sigmoid(self.wr(xh))
            n = torch.tanh(self.wh(torch.cat([x[:, t, :], r * h], dim=1)))
            h = (1 - z) * h + z * n
            out.append(h)
        return F.cross_entropy(self.fc(torch.stack(out, dim=1).mean(1)), y)


@written(lambda b, n, device: dict(x=floats(b, 3, 1024, device=device), y=ints(b, device=device)))
class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.t1, self.t2, self.tf = nn.Conv1d(3, 64, 1), nn.Conv1d(64, 256, 1), nn.Linear(256, 9)
        self.tb1, self.tb2 = nn.BatchNorm1d(64), nn.BatchNorm1d(256)
        self.conv1, self.conv2, self.conv3 = nn.Conv1d(3, 64, 1), nn.Conv1d(64, 128, 1), nn.Conv1d(128, 256, 1)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm1d(64), nn.BatchNorm1d(128), nn.BatchNorm1d(256)
        self.fc1, self.fc2, self.bn4, self.dropout = nn.Linear(256, 128), nn.Linear(128, 10), nn.BatchNorm1d(128), nn.Dropout(0.3)

    def forward(self, x, y):
        t = F.relu(self.tb1(self.t1(x)))
        t = F.relu(self.tb2(self.t2(t)))
        t = torch.max(t, 2, keepdim=True)[0]
        t = self.tf(t.view(-1, 256))
        iden = torch.eye(3, device=x.device).view(1, 9).repeat(x.size(0), 1)
        trans = (t + iden).view(-1, 3, 3)
        x = x.transpose(2, 1)
        x = torch.bmm(x, trans)
        x = x.transpose(2, 1)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x = torch.max(x, 2, keepdim=True)[0]
        x = x.view(-1, 256)
        x = F.relu(self.bn4(self.dropout(self.fc1(x))))
        x = self.fc2(x)
        x = F.log_softmax(x, dim=1)
        loss = F.nll_loss(x, y)
        d = torch.eye(3, device=x.device)[None]
        reg = torch.mean(torch.norm(torch.bmm(trans, trans.transpose(2, 1)) - d, dim=(1, 2)))
        return loss + reg * 0.001


# ---------------------------------------------------------------- graphs, fields, recommendation, others

def graph(b, n, device): return dict(x=floats(b, 64, 32, device=device), adj=floats(b, 64, 64, device=device), y=ints(b, device=device))


@written(graph)
class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1, self.w2, self.b1, self.fc = nn.Parameter(torch.randn(32, 64)), nn.Parameter(torch.randn(64, 64)), nn.Parameter(torch.zeros(64)), nn.Linear(64, 10)

    def forward(self, x, adj, y):
        x = F.relu(torch.bmm(adj, torch.matmul(x, self.w1)) + self.b1)
        x = F.dropout(x, 0.5, training=self.training)
        x = torch.bmm(adj, torch.matmul(x, self.w2))
        return F.cross_entropy(self.fc(x.sum(1)), y)


@written(graph)
class GAT(nn.Module):
    def __init__(self):
        super().__init__()
        self.W, self.a1, self.a2, self.fc = nn.Linear(32, 64, bias=False), nn.Parameter(torch.randn(64, 1)), nn.Parameter(torch.randn(64, 1)), nn.Linear(64, 10)

    def forward(self, x, adj, y):
        h = self.W(x)
        e = F.leaky_relu(torch.matmul(h, self.a1) + torch.matmul(h, self.a2).transpose(1, 2), 0.2)
        zero = -9e15 * torch.ones_like(e)
        attention = torch.where(adj > 0, e, zero)
        attention = F.softmax(attention, dim=2)
        attention = F.dropout(attention, 0.6, training=self.training)
        h = F.elu(torch.matmul(attention, h))
        return F.cross_entropy(self.fc(h.mean(1)), y)


@written(lambda b, n, device: dict(x=floats(b, 1024, 3, device=device), d=floats(b, 1024, 3, device=device), y=floats(b, 1024, 4, device=device)))
class NeRF(nn.Module):
    def __init__(self):
        super().__init__()
        self.pts = nn.ModuleList([nn.Linear(39, 128), nn.Linear(128, 128), nn.Linear(167, 128), nn.Linear(128, 128)])
        self.views, self.feature, self.alpha, self.rgb = nn.Linear(155, 64), nn.Linear(128, 128), nn.Linear(128, 1), nn.Linear(64, 3)

    def encode(self, x, n):
        out = [x]
        for i in range(n): out += [torch.sin(2.0 ** i * x), torch.cos(2.0 ** i * x)]
        return torch.cat(out, -1)

    def forward(self, x, d, y):
        pts, views = self.encode(x, 6), self.encode(d, 4)
        h = pts
        for i, l in enumerate(self.pts):
            h = self.pts[i](h)
            h = F.relu(h)
            if i == 1: h = torch.cat([pts, h], -1)
        alpha = self.alpha(h)
        feature = self.feature(h)
        h = torch.cat([feature, views], -1)
        h = F.relu(self.views(h))
        rgb = self.rgb(h)
        outputs = torch.cat([torch.sigmoid(rgb), F.softplus(alpha)], -1)
        return torch.mean((outputs - y) ** 2)


@written(lambda b, n, device: dict(x=floats(b, 1024, 2, device=device), y=floats(b, 1024, 3, device=device)))
class SIREN(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 256), nn.Linear(256, 256), nn.Linear(256, 256)])
        self.last = nn.Linear(256, 3)

    def forward(self, x, y):
        for l in self.layers: x = torch.sin(30 * l(x))
        return ((self.last(x) - y) ** 2).mean()


@written(lambda b, n, device: dict(dense=floats(b, 4, 13, device=device), sparse=ints(b, 4, 26, device=device), y=floats(b, 4, 1, device=device)))
class DLRM(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.ModuleList([nn.Embedding(1000, 16) for _ in range(26)])
        self.bot = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU())
        self.top = nn.Sequential(nn.Linear(745, 128), nn.ReLU(), nn.Linear(128, 1))

    def forward(self, dense, sparse, y):
        x = self.bot(dense).flatten(0, 1)
        ly = [e(sparse[:, :, i]).flatten(0, 1) for i, e in enumerate(self.emb)]
        T = torch.stack([x] + ly, dim=1)
        Z = torch.bmm(T, T.transpose(1, 2))
        R = torch.cat([x, Z.flatten(1)], dim=1)
        p = self.top(R)
        return F.binary_cross_entropy_with_logits(p.squeeze(1), y.flatten())


@written(ids)
class SASRec(nn.Module):
    """nn.MultiheadAttention with the sequence first"""
    def __init__(self):
        super().__init__()
        self.item, self.pos, self.drop = nn.Embedding(1000, 64), nn.Embedding(512, 64), nn.Dropout(0.2)
        self.attn = nn.ModuleList([nn.MultiheadAttention(64, 2, 0.2) for _ in range(2)])
        self.ln1, self.ln2 = nn.ModuleList([nn.LayerNorm(64) for _ in range(2)]), nn.ModuleList([nn.LayerNorm(64) for _ in range(2)])
        self.c1, self.c2 = nn.ModuleList([nn.Conv1d(64, 64, 1) for _ in range(2)]), nn.ModuleList([nn.Conv1d(64, 64, 1) for _ in range(2)])

    def forward(self, idx, targets):
        seqs = self.item(idx) * 64 ** 0.5
        seqs = seqs + self.pos(torch.arange(idx.shape[1], device=idx.device))
        seqs = self.drop(seqs)
        tl = seqs.shape[1]
        mask = ~torch.tril(torch.ones((tl, tl), dtype=torch.bool, device=idx.device))
        for a, n1, n2, c1, c2 in zip(self.attn, self.ln1, self.ln2, self.c1, self.c2):
            seqs = torch.transpose(seqs, 0, 1)
            Q = n1(seqs)
            out, _ = a(Q, seqs, seqs, attn_mask=mask)
            seqs = Q + out
            seqs = torch.transpose(seqs, 0, 1)
            seqs = n2(seqs)
            out = c2(F.relu(self.drop(c1(seqs.transpose(-1, -2))))).transpose(-1, -2)
            seqs = seqs + self.drop(out)
        pos = self.item(targets)
        logits = (seqs * pos).sum(dim=-1)
        return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


@written(ids)
class DenseMoE(nn.Module):
    """every expert computes, a router weighs"""
    def __init__(self):
        super().__init__()
        self.emb, self.gate, self.head = nn.Embedding(1000, 128), nn.Linear(128, 4), nn.Linear(128, 1000)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(128, 256), nn.GELU(), nn.Linear(256, 128)) for _ in range(4)])

    def forward(self, idx, targets):
        x = self.emb(idx)
        w = F.softmax(self.gate(x), dim=-1)
        y = torch.stack([e(x) for e in self.experts], dim=2)
        x = x + (w.unsqueeze(-1) * y).sum(dim=2)
        return F.cross_entropy(self.head(x).reshape(-1, 1000), targets.reshape(-1))


@written(ids)
class LinearAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.qkv, self.out, self.norm, self.head = nn.Embedding(1000, 128), nn.Linear(128, 384), nn.Linear(128, 128), nn.LayerNorm(128), nn.Linear(128, 1000)

    def forward(self, idx, targets):
        x = self.emb(idx)
        q, k, v = self.qkv(self.norm(x)).split(128, dim=-1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        kv = torch.einsum("bnd,bne->bde", k, v)
        z = 1 / (torch.einsum("bnd,bd->bn", q, k.sum(dim=1)) + 1e-6)
        y = torch.einsum("bnd,bde,bn->bne", q, kv, z)
        x = x + self.out(y)
        return F.cross_entropy(self.head(x).transpose(1, 2), targets)


@written(lambda b, n, device: dict(image=floats(b, 3, 32, 32, device=device), words=ints(b, n or 16, device=device)))
class CLIPLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(3, 32, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 64))
        self.token, self.text_projection, self.logit_scale = nn.Embedding(1000, 64), nn.Parameter(torch.randn(64, 64)), nn.Parameter(torch.ones([]))

    def forward(self, image, words):
        image_features, text_features = self.visual(image), self.token(words).mean(1) @ self.text_projection
        image_features = image_features / image_features.norm(dim=1, keepdim=True)
        text_features = text_features / text_features.norm(dim=1, keepdim=True)
        logits_per_image = self.logit_scale.exp() * image_features @ text_features.t()
        logits_per_text = logits_per_image.t()
        labels = torch.arange(image.shape[0], device=image.device)
        return (F.cross_entropy(logits_per_image, labels) + F.cross_entropy(logits_per_text, labels)) / 2


@written(translated(32))
class VQVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(3, 64, 4, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(64, 64, 4, 2, 1))
        self.codebook = nn.Embedding(128, 64)
        self.dec = nn.Sequential(nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU(inplace=True), nn.ConvTranspose2d(64, 3, 4, 2, 1))

    def forward(self, x, y):
        z = self.enc(x)
        flat = z.permute(0, 2, 3, 1).contiguous().view(-1, 64)
        d = flat.pow(2).sum(1, keepdim=True) - 2 * flat @ self.codebook.weight.t() + self.codebook.weight.pow(2).sum(1)
        index = d.argmin(1)
        q = self.codebook(index).view(z.shape[0], 8, 8, 64).permute(0, 3, 1, 2)
        loss = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        q = z + (q - z).detach()
        return F.mse_loss(self.dec(q), y) + loss


@written(pictures(28, 1))
class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc21, self.fc22, self.fc3, self.fc4 = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20), nn.Linear(20, 400), nn.Linear(400, 784)

    def forward(self, x, y):
        x = x.view(-1, 784)
        h1 = F.relu(self.fc1(x))
        mu, logvar = self.fc21(h1), self.fc22(h1)
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        z = mu + eps * std
        h3 = F.relu(self.fc3(z))
        recon = torch.sigmoid(self.fc4(h3))
        BCE = F.binary_cross_entropy(recon, torch.sigmoid(x), reduction="sum")
        KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return BCE + KLD


@written(sequences(1, 784))
class Highway(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp, self.h, self.t, self.out = nn.Linear(784, 128), nn.ModuleList([nn.Linear(128, 128) for _ in range(4)]), nn.ModuleList([nn.Linear(128, 128) for _ in range(4)]), nn.Linear(128, 10)

    def forward(self, x, y):
        x = torch.relu(self.inp(x.squeeze(1)))
        for h, t in zip(self.h, self.t):
            gate = torch.sigmoid(t(x))
            x = gate * torch.relu(h(x)) + (1 - gate) * x
        return F.cross_entropy(self.out(x), y, label_smoothing=0.1)


@written(pictures(32))
class Focal(nn.Module):
    """a small network with a loss written by hand"""
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.SiLU(), nn.Dropout2d(0.1), nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.Mish(), nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(64, 10)

    def forward(self, x, y):
        logits = self.fc(self.body(x).flatten(1))
        hot = F.one_hot(y, 10).to(logits.dtype)
        p = torch.sigmoid(logits)
        ce = F.binary_cross_entropy_with_logits(logits, hot, reduction="none")
        p_t = p * hot + (1 - p) * (1 - hot)
        loss = ce * ((1 - p_t) ** 2)
        alpha = 0.25 * hot + 0.75 * (1 - hot)
        return (alpha * loss).mean()


@written(lambda b, n, device: dict(x=floats(b, 256, 8, device=device), y=floats(b, 1, 8, device=device)))
class Forecast(nn.Module):
    """decomposition and linear layers, as time series have them"""
    def __init__(self):
        super().__init__()
        self.avg, self.seasonal, self.trend = nn.AvgPool1d(25, 1, 12), nn.Linear(256, 96), nn.Linear(256, 96)
        self.norm = nn.InstanceNorm1d(8, affine=True)

    def forward(self, x, y):
        x = self.norm(x.permute(0, 2, 1))
        trend = self.avg(x)
        seasonal = x - trend
        out = self.seasonal(seasonal) + self.trend(trend)
        out = out.permute(0, 2, 1)
        return F.smooth_l1_loss(out, y.expand(-1, 96, -1))


@written(lambda b, n, device: dict(a=floats(b, 1, 28, 28, device=device), p=floats(b, 1, 28, 28, device=device), n=floats(b, 1, 28, 28, device=device)))
class Triplet(nn.Module):
    def __init__(self):
        super().__init__()
        self.convnet = nn.Sequential(nn.Conv2d(1, 32, 5), nn.PReLU(), nn.MaxPool2d(2, stride=2), nn.Conv2d(32, 64, 5), nn.PReLU(), nn.MaxPool2d(2, stride=2))
        self.fc = nn.Sequential(nn.Linear(64 * 4 * 4, 256), nn.PReLU(), nn.Linear(256, 2))

    def embed(self, x):
        output = self.convnet(x)
        output = output.view(output.size()[0], -1)
        output = self.fc(output)
        return output

    def forward(self, a, p, n):
        anchor, positive, negative = self.embed(a), self.embed(p), self.embed(n)
        dp = (anchor - positive).pow(2).sum(1)
        dn = (anchor - negative).pow(2).sum(1)
        return F.relu(dp - dn + 1.0).mean()


# ---------------------------------------------------------------- operations on parameters

@written(ids)
class TiedHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.ff, self.ln = nn.Embedding(1000, 128), nn.Sequential(nn.Linear(128, 512), nn.GELU(), nn.Linear(512, 128)), nn.LayerNorm(128)

    def forward(self, idx, targets):
        h = self.wte(idx)
        h = h + self.ff(self.ln(h))
        logits = h @ self.wte.weight.t()
        return F.cross_entropy(logits.view(-1, 1000), targets.view(-1))


@written(pictures(32))
class ArcFace(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.PReLU(32), nn.Conv2d(32, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64), nn.Flatten(), nn.Linear(4096, 128), nn.BatchNorm1d(128))
        self.weight = nn.Parameter(torch.randn(10, 128))

    def forward(self, x, y):
        x = self.body(x)
        cosine = F.linear(F.normalize(x), F.normalize(self.weight))
        sine = torch.sqrt((1.0 - torch.pow(cosine, 2)).clamp(0, 1))
        phi = cosine * math.cos(0.5) - sine * math.sin(0.5)
        phi = torch.where(cosine > math.cos(math.pi - 0.5), phi, cosine - math.sin(math.pi - 0.5) * 0.5)
        one_hot = F.one_hot(y, 10).to(x.dtype)
        output = (one_hot * phi) + ((1.0 - one_hot) * cosine)
        output *= 30.0
        return F.cross_entropy(output, y)


class WSConv2d(nn.Conv2d):
    def forward(self, x):
        weight = self.weight
        weight_mean = weight.mean(dim=1, keepdim=True).mean(dim=2, keepdim=True).mean(dim=3, keepdim=True)
        weight = weight - weight_mean
        std = weight.view(weight.size(0), -1).std(dim=1).view(-1, 1, 1, 1) + 1e-5
        weight = weight / std.expand_as(weight)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


@written(pictures(32))
class WeightStandardized(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.n1, self.c2, self.n2 = WSConv2d(3, 32, 3, padding=1), nn.GroupNorm(8, 32), WSConv2d(32, 64, 3, 2, 1), nn.GroupNorm(8, 64)
        self.fc = nn.Linear(64, 10)

    def forward(self, x, y):
        x = F.relu(self.n1(self.c1(x)))
        x = F.relu(self.n2(self.c2(x)))
        return F.cross_entropy(self.fc(x.mean([2, 3])), y)


@written(lambda b, n, device: dict(x=floats(b, 16, 512, device=device), y=floats(b, 1, 512, device=device)))
class WeightNormed(nn.Module):
    def __init__(self):
        super().__init__()
        norm = torch.nn.utils.parametrizations.weight_norm
        self.net = nn.Sequential(norm(nn.Conv1d(16, 64, 7, padding=3)), nn.LeakyReLU(0.1), norm(nn.Conv1d(64, 64, 7, padding=3)), nn.LeakyReLU(0.1), norm(nn.Conv1d(64, 1, 7, padding=3)), nn.Tanh())

    def forward(self, x, y): return F.mse_loss(self.net(x), y)


class LoRALinear(nn.Module):
    def __init__(self, i, o, rank=8):
        super().__init__()
        self.linear = nn.Linear(i, o)
        self.lora_A, self.lora_B, self.scaling = nn.Parameter(torch.randn(rank, i)), nn.Parameter(torch.zeros(o, rank)), 2.0
        self.lora_dropout = nn.Dropout(0.1)

    def forward(self, x):
        result = self.linear(x)
        result = result + (self.lora_dropout(x) @ self.lora_A.transpose(0, 1) @ self.lora_B.transpose(0, 1)) * self.scaling
        return result


@written(text)
class WrittenLoRA(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.fc1, self.fc2, self.head = nn.Embedding(1000, 128), LoRALinear(128, 256), LoRALinear(256, 128), nn.Linear(128, 10)

    def forward(self, x, y):
        x = self.emb(x)
        x = x + self.fc2(F.gelu(self.fc1(x)))
        return F.cross_entropy(self.head(x.mean(dim=1)), y)


@written(pictures(28, 1))
class TiedAutoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.bias = nn.Linear(784, 128), nn.Parameter(torch.zeros(784))

    def forward(self, x, y):
        x = x.flatten(1)
        h = torch.sigmoid(self.enc(x))
        out = F.linear(h, self.enc.weight.t(), self.bias)
        return F.mse_loss(torch.sigmoid(out), x) + 1e-3 * self.enc.weight.pow(2).sum()


@written(ids)
class RelativeBias(nn.Module):
    """T5's buckets, simplified: a bias table looked up by distance; and ALiBi's slopes"""
    def __init__(self):
        super().__init__()
        self.emb, self.qkv, self.out = nn.Embedding(1000, 128), nn.Linear(128, 384), nn.Linear(128, 128)
        self.bias, self.norm, self.head = nn.Embedding(64, 4), nn.LayerNorm(128), nn.Linear(128, 1000, bias=False)
        self.register_buffer("slopes", torch.tensor([0.5, 0.25, 0.125, 0.0625]))

    def forward(self, idx, targets):
        x = self.emb(idx)
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, 4, 32).permute(2, 0, 3, 1, 4)
        pos = torch.arange(t, device=idx.device)
        dist = (pos[None, :] - pos[:, None]).clamp(-32, 31) + 32
        bias = self.bias(dist).permute(2, 0, 1).unsqueeze(0)
        alibi = -self.slopes[:, None, None] * (pos[:, None] - pos[None, :]).abs()
        scores = q @ k.transpose(-1, -2) / math.sqrt(32) + bias + alibi
        scores = scores.masked_fill(torch.ones(t, t, dtype=torch.bool, device=idx.device).triu(1), float("-inf"))
        y = scores.softmax(-1) @ v
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return F.cross_entropy(self.head(x).view(-1, 1000), targets.view(-1))


# ---------------------------------------------------------------- detection's and segmentation's parts

@written(pictures(64))
class CBAM(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)
        self.mlp, self.spatial, self.fc = nn.Sequential(nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 64)), nn.Conv2d(2, 1, 7, padding=3), nn.Linear(64, 10)

    def forward(self, x, y):
        x = F.relu(self.bn(self.conv(x)))
        avg = self.mlp(F.avg_pool2d(x, (x.size(2), x.size(3))).flatten(1))
        mx = self.mlp(F.max_pool2d(x, (x.size(2), x.size(3))).flatten(1))
        x = x * torch.sigmoid(avg + mx)[:, :, None, None]
        s = torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)
        x = x * torch.sigmoid(self.spatial(s))
        return F.cross_entropy(self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1)), y)


@written(segmented(64))
class ASPP(nn.Module):
    """DeepLab's head on a small body, with a second loss"""
    def __init__(self):
        super().__init__()
        def block(i, o, k=3, s=1, d=1): return nn.Sequential(nn.Conv2d(i, o, k, s, d * (k // 2), d, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))
        self.low, self.body = block(3, 32, s=2), nn.Sequential(block(32, 64, s=2), block(64, 64))
        self.branches, self.pool = nn.ModuleList([block(64, 32, 1), block(64, 32, d=2), block(64, 32, d=4)]), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(64, 32, 1), nn.ReLU())
        self.project, self.drop, self.aux, self.out = block(128, 64, 1), nn.Dropout(0.5), nn.Conv2d(32, 4, 1), nn.Conv2d(64, 4, 1)

    def forward(self, x, y):
        size = x.shape[-2:]
        low = self.low(x)
        x = self.body(low)
        res = [b(x) for b in self.branches]
        res.append(F.interpolate(self.pool(x), size=x.shape[-2:], mode="bilinear", align_corners=False))
        x = self.drop(self.project(torch.cat(res, dim=1)))
        out = F.interpolate(self.out(x), size=size, mode="bilinear", align_corners=False)
        aux = F.interpolate(self.aux(low), size=size, mode="bilinear", align_corners=False)
        return F.cross_entropy(out, y, ignore_index=255) + 0.4 * F.cross_entropy(aux, y, ignore_index=255)


@written(segmented(64))
class Pyramid(nn.Module):
    """a feature pyramid: lateral connections added to what is upsampled"""
    def __init__(self):
        super().__init__()
        self.c = nn.ModuleList([nn.Sequential(nn.Conv2d(3 if not i else 16 * 2 ** i, 32 * 2 ** i, 3, 2, 1), nn.BatchNorm2d(32 * 2 ** i), nn.ReLU(inplace=True)) for i in range(3)])
        self.lateral, self.smooth, self.head = nn.ModuleList([nn.Conv2d(32 * 2 ** i, 64, 1) for i in range(3)]), nn.ModuleList([nn.Conv2d(64, 64, 3, padding=1) for _ in range(3)]), nn.Conv2d(192, 4, 1)

    def forward(self, x, y):
        c1 = self.c[0](x)
        c2 = self.c[1](c1)
        c3 = self.c[2](c2)
        p3 = self.lateral[2](c3)
        p2 = self.lateral[1](c2) + F.interpolate(p3, scale_factor=2, mode="nearest")
        p1 = self.lateral[0](c1) + F.interpolate(p2, scale_factor=2, mode="nearest")
        ps = [s(p) for s, p in zip(self.smooth, (p1, p2, p3))]
        ps = [ps[0]] + [F.interpolate(p, size=ps[0].shape[2:], mode="bilinear", align_corners=False) for p in ps[1:]]
        logits = F.interpolate(self.head(torch.cat(ps, 1)), scale_factor=2, mode="bilinear", align_corners=False)
        return F.cross_entropy(logits, y)


@written(segmented(64))
class AttentionUNet(nn.Module):
    class Gate(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.W_g, self.W_x = nn.Sequential(nn.Conv2d(c, c // 2, 1), nn.BatchNorm2d(c // 2)), nn.Sequential(nn.Conv2d(c, c // 2, 1), nn.BatchNorm2d(c // 2))
            self.psi, self.relu = nn.Sequential(nn.Conv2d(c // 2, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid()), nn.ReLU(inplace=True)

        def forward(self, g, x):
            g1 = self.W_g(g)
            x1 = self.W_x(x)
            psi = self.relu(g1 + x1)
            psi = self.psi(psi)
            return x * psi

    def __init__(self):
        super().__init__()
        self.e1, self.e2, self.pool = DoubleConv(3, 32), DoubleConv(32, 64), nn.MaxPool2d(2)
        self.up, self.gate, self.d1, self.out = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(64, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(inplace=True)), AttentionGate(32), DoubleConv(64, 32), nn.Conv2d(32, 4, 1)

    def forward(self, x, y):
        e1 = self.e1(x)
        e2 = self.pool(e1)
        e2 = self.e2(e2)
        d = self.up(e2)
        s = self.gate(g=d, x=e1)
        d = torch.cat((s, d), dim=1)
        d = self.d1(d)
        return F.cross_entropy(self.out(d), y)


AttentionGate = AttentionUNet.Gate


@written(pictures(28, 1))
class Transformer_spatial(nn.Module):
    """spatial transformer: affine_grid, grid_sample"""
    def __init__(self):
        super().__init__()
        self.localization = nn.Sequential(nn.Conv2d(1, 8, 7), nn.MaxPool2d(2, stride=2), nn.ReLU(True), nn.Conv2d(8, 10, 5), nn.MaxPool2d(2, stride=2), nn.ReLU(True))
        self.fc_loc = nn.Sequential(nn.Linear(90, 32), nn.ReLU(True), nn.Linear(32, 6))
        self.conv1, self.conv2, self.drop, self.fc1, self.fc2 = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5), nn.Dropout2d(), nn.Linear(320, 50), nn.Linear(50, 10)

    def forward(self, x, y):
        xs = self.localization(x)
        xs = xs.view(-1, 90)
        theta = self.fc_loc(xs)
        theta = theta.view(-1, 2, 3)
        grid = F.affine_grid(theta, x.size(), align_corners=False)
        x = F.grid_sample(x, grid, align_corners=False)
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.drop(self.conv2(x)), 2))
        x = x.view(-1, 320)
        x = F.relu(self.fc1(x))
        x = F.dropout(x, training=self.training)
        x = self.fc2(x)
        return F.nll_loss(F.log_softmax(x, dim=1), y)


# ---------------------------------------------------------------- attention over other things

@written(pictures(64))
class Queries(nn.Module):
    """DETR's shape: a convolutional body, nn.Transformer, learnt queries"""
    def __init__(self):
        super().__init__()
        self.body, self.conv = nn.Sequential(nn.Conv2d(3, 64, 8, 8), nn.BatchNorm2d(64), nn.ReLU(True)), nn.Conv2d(64, 128, 1)
        self.transformer, self.query_pos = nn.Transformer(128, 4, 2, 2, 256), nn.Parameter(torch.rand(20, 128))
        self.row_embed, self.col_embed, self.linear_class = nn.Parameter(torch.rand(50, 64)), nn.Parameter(torch.rand(50, 64)), nn.Linear(128, 10)

    def forward(self, x, y):
        h = self.conv(self.body(x))
        H, W = h.shape[-2:]
        pos = torch.cat([self.col_embed[:W].unsqueeze(0).repeat(H, 1, 1), self.row_embed[:H].unsqueeze(1).repeat(1, W, 1)], dim=-1).flatten(0, 1).unsqueeze(1)
        h = self.transformer(pos + 0.1 * h.flatten(2).permute(2, 0, 1), self.query_pos.unsqueeze(1).repeat(1, x.size(0), 1)).transpose(0, 1)
        return F.cross_entropy(self.linear_class(h).mean(1), y)


@written(sequences(256, 32))
class PerceiverLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.latents, self.inp = nn.Parameter(torch.randn(32, 128)), nn.Linear(32, 128)
        self.cross, self.self_attn = nn.MultiheadAttention(128, 4, batch_first=True), nn.MultiheadAttention(128, 4, batch_first=True)
        self.n1, self.n2, self.n3, self.ff, self.out = nn.LayerNorm(128), nn.LayerNorm(128), nn.LayerNorm(128), nn.Sequential(nn.Linear(128, 256), nn.GELU(), nn.Linear(256, 128)), nn.Linear(128, 10)

    def forward(self, x, y):
        x = self.inp(x)
        z = self.latents.unsqueeze(0).expand(x.size(0), -1, -1)
        z = z + self.cross(self.n1(z), x, x, need_weights=False)[0]
        q = self.n2(z)
        z = z + self.self_attn(q, q, q, need_weights=False)[0]
        z = z + self.ff(self.n3(z))
        return F.cross_entropy(self.out(z.mean(1)), y)


@written(pictures(32))
class Windows(nn.Module):
    """attention in shifted windows, by hand"""
    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Conv2d(3, 64, 2, 2), nn.ModuleList([nn.LayerNorm(64) for _ in range(2)])
        self.qkv, self.proj = nn.ModuleList([nn.Linear(64, 192) for _ in range(2)]), nn.ModuleList([nn.Linear(64, 64) for _ in range(2)])
        self.table, self.head = nn.ParameterList([nn.Parameter(torch.zeros(49, 2)) for _ in range(2)]), nn.Linear(64, 10)
        c = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")).flatten(1)
        r = (c[:, :, None] - c[:, None, :] + 3).permute(1, 2, 0)
        self.register_buffer("index", r[..., 0] * 7 + r[..., 1])

    def forward(self, x, y):
        x = self.embed(x).permute(0, 2, 3, 1)
        B, H, W, C = x.shape
        for i in range(2):
            shortcut = x
            h = self.norm[i](x)
            if i: h = torch.roll(h, shifts=(-2, -2), dims=(1, 2))
            h = h.view(B, H // 4, 4, W // 4, 4, C).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, 16, C)
            q, k, v = self.qkv[i](h).reshape(-1, 16, 3, 2, 32).permute(2, 0, 3, 1, 4).unbind(0)
            attn = (q * 32 ** -0.5) @ k.transpose(-2, -1)
            bias = self.table[i][self.index.view(-1)].view(16, 16, -1).permute(2, 0, 1).contiguous()
            attn = attn + bias.unsqueeze(0)
            attn = attn.softmax(dim=-1)
            h = (attn @ v).transpose(1, 2).reshape(-1, 16, C)
            h = self.proj[i](h)
            h = h.view(B, H // 4, W // 4, 4, 4, C).permute(0, 1, 3, 2, 4, 5).contiguous().view(B, H, W, C)
            if i: h = torch.roll(h, shifts=(2, 2), dims=(1, 2))
            x = shortcut + h
        return F.cross_entropy(self.head(x.mean((1, 2))), y)


@written(text)
class AttentionPooling(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.conv, self.attn, self.fc = nn.Embedding(1000, 64), nn.Conv1d(64, 128, 3, padding=1), nn.Linear(128, 1), nn.Linear(128, 10)

    def forward(self, x, y):
        mask = x != 0
        h = self.emb(x).transpose(1, 2)
        h = F.glu(torch.cat([self.conv(h), self.conv(h)], dim=1), dim=1)
        h = h.transpose(1, 2)
        w = self.attn(torch.tanh(h)).squeeze(-1)
        w = w.masked_fill(~mask, torch.finfo(w.dtype).min)
        w = torch.softmax(w, dim=1)
        h = torch.bmm(w.unsqueeze(1), h).squeeze(1)
        return F.cross_entropy(self.fc(h), y)


# ---------------------------------------------------------------- objectives

class SmallEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.proj = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(inplace=True), nn.Linear(128, 64))

    def forward(self, x): return self.proj(self.net(x))


def two_views(b, n, device): return dict(x1=floats(b, 3, 32, 32, device=device), x2=floats(b, 3, 32, 32, device=device))


@written(two_views)
class SimCLR(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = SmallEncoder()

    def forward(self, x1, x2):
        z = F.normalize(self.encoder(torch.cat([x1, x2], dim=0)), dim=1)
        n = z.size(0)
        sim = z @ z.t() / 0.5
        eye = torch.eye(n, dtype=torch.bool, device=z.device)
        sim = sim.masked_fill(eye, -9e15)
        half = n // 2
        target = torch.cat([torch.arange(half, n, device=z.device), torch.arange(0, half, device=z.device)])
        return F.cross_entropy(sim, target)


@written(two_views)
class SimSiam(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.predictor = SmallEncoder(), nn.Sequential(nn.Linear(64, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(inplace=True), nn.Linear(16, 64))

    def forward(self, x1, x2):
        z1 = self.encoder(x1)
        z2 = self.encoder(x2)
        p1 = self.predictor(z1)
        p2 = self.predictor(z2)
        return -(F.cosine_similarity(p1, z2.detach()).mean() + F.cosine_similarity(p2, z1.detach()).mean()) * 0.5


@written(two_views)
class BarlowTwins(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.bn = SmallEncoder(), nn.BatchNorm1d(64, affine=False)

    def forward(self, x1, x2):
        c = self.bn(self.encoder(x1)).T @ self.bn(self.encoder(x2))
        c = c / x1.size(0)
        on = torch.diagonal(c).add(-1).pow(2).sum()
        off = c.flatten()[:-1].view(63, 65)[:, 1:].flatten().pow(2).sum()
        return on + 0.0051 * off


@written(pictures(32))
class Distilled(nn.Module):
    """a student and a teacher that runs without gradients"""
    def __init__(self):
        super().__init__()
        self.student, self.teacher = nn.Sequential(SmallEncoder(), nn.Linear(64, 10)), nn.Sequential(SmallEncoder(), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x, y):
        out = self.student(x)
        with torch.no_grad(): soft = self.teacher(x)
        kd = F.kl_div(F.log_softmax(out / 4, dim=1), F.softmax(soft / 4, dim=1), reduction="batchmean") * 16
        return 0.9 * kd + 0.1 * F.cross_entropy(out, y)


@written(ids)
class Smoothed(nn.Module):
    """label smoothing by hand, several heads"""
    def __init__(self):
        super().__init__()
        self.emb, self.rnn, self.h1, self.h2 = nn.Embedding(1000, 128), nn.Conv1d(128, 128, 3, padding=1), nn.Linear(128, 1000), nn.Linear(128, 1)

    def forward(self, idx, targets):
        x = self.emb(idx)
        x = x + self.rnn(x.transpose(1, 2)).transpose(1, 2)
        lprobs = F.log_softmax(self.h1(x), dim=-1)
        nll = -lprobs.gather(dim=-1, index=targets.unsqueeze(-1))
        smooth = -lprobs.sum(dim=-1, keepdim=True)
        loss = 0.9 * nll.sum() + 0.1 / 1000 * smooth.sum()
        value = self.h2(x).squeeze(-1)
        return loss / targets.numel() + F.mse_loss(value, (targets > 500).to(value.dtype))


@written(lambda b, n, device: dict(x=floats(b, 1, 64, 64, device=device), y=floats(b, 1, 64, 64, device=device)))
class Unrolled(nn.Module):
    """the same small network, run several times on its own result"""
    def __init__(self):
        super().__init__()
        self.net, self.step = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 3, padding=1)), nn.Parameter(torch.tensor(0.1))

    def forward(self, x, y):
        z = x
        for _ in range(5): z = z - self.step * (z - x) - self.net(z)
        return F.mse_loss(z, y)


@written(lambda b, n, device: dict(x=floats(b, 32, 64, device=device), y=floats(b, 32, 1, device=device)))
class Tabular(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 128), nn.SELU(), nn.AlphaDropout(0.1), nn.Linear(128, 64)) for _ in range(2)])
        self.mu, self.log_var = nn.Linear(64, 1), nn.Linear(64, 1)

    def forward(self, x, y):
        for b in self.blocks: x = x + b(x)
        mu, log_var = self.mu(x), self.log_var(x).clamp(-10, 10)
        return (0.5 * (log_var + (y - mu) ** 2 / log_var.exp())).mean()


@written(translated(32, 12, 12))
class Coupling(nn.Module):
    """affine coupling layers with an exact likelihood"""
    def __init__(self):
        super().__init__()
        self.nets = nn.ModuleList([nn.Sequential(nn.Conv2d(6, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU(), nn.Conv2d(32, 12, 3, padding=1)) for _ in range(3)])

    def forward(self, x, y):
        logdet = 0
        x = x + 0.05 * y
        for net in self.nets:
            xa, xb = x.chunk(2, 1)
            log_s, t = net(xa).chunk(2, 1)
            s = torch.sigmoid(log_s + 2)
            xb = (xb + t) * s
            logdet = logdet + torch.log(s).flatten(1).sum(1)
            x = torch.cat([xb, xa], 1)
        prior = -0.5 * (x ** 2 + math.log(2 * math.pi)).flatten(1).sum(1)
        return -(prior + logdet).mean()


# ---------------------------------------------------------------- newer decoders

@written(ids)
class Modded(nn.Module):
    """a speed-run decoder: F.rms_norm, squared ReLU, rotary by halves, no biases, capped logits"""
    recompute = False

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.c_q, self.c_k, self.c_v, self.c_proj = (nn.Linear(128, 128, bias=False) for _ in range(4))
            self.c_fc, self.c_out = nn.Linear(128, 512, bias=False), nn.Linear(512, 128, bias=False)

        def forward(self, x, cos, sin):
            B, T, _ = x.size()
            h = F.rms_norm(x, (x.size(-1),))
            q = self.c_q(h).view(B, T, 4, 32)
            k = self.c_k(h).view(B, T, 4, 32)
            v = self.c_v(h).view(B, T, 4, 32)
            q, k = F.rms_norm(q, (32,)), F.rms_norm(k, (32,))
            q, k = apply_rotary(q, cos, sin), apply_rotary(k, cos, sin)
            y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True)
            y = y.transpose(1, 2).contiguous().view_as(x)
            x = x + self.c_proj(y)
            h = self.c_fc(F.rms_norm(x, (x.size(-1),)))
            h = F.relu(h).square()
            return x + self.c_out(h)

    def __init__(self):
        super().__init__()
        self.wte, self.h, self.lm_head = nn.Embedding(1000, 128), nn.ModuleList([ModdedLayer() for _ in range(2)]), nn.Linear(128, 1000, bias=False)
        angles = torch.outer(torch.arange(512).float(), 1.0 / (10000 ** (torch.arange(0, 16).float() / 16)))
        self.register_buffer("cos", angles.cos()[None, :, None, :], persistent=False)
        self.register_buffer("sin", angles.sin()[None, :, None, :], persistent=False)

    def forward(self, idx, targets):
        x = self.wte(idx)
        x = F.rms_norm(x, (x.size(-1),))
        T = idx.size(1)
        for block in self.h:
            x = recompute(block, x, self.cos[:, :T], self.sin[:, :T], use_reentrant=False) if self.recompute else block(x, self.cos[:, :T], self.sin[:, :T])
        x = F.rms_norm(x, (x.size(-1),))
        logits = self.lm_head(x)
        logits = 30 * torch.tanh(logits / 30)
        logits = logits.float()
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


ModdedLayer = Modded.Layer


@written(ids)
class LatentAttention(nn.Module):
    """keys and values through a narrow layer, parallel feed-forward, a window mask"""
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.q, self.down, self.up, self.out = nn.LayerNorm(128), nn.Linear(128, 128, bias=False), nn.Linear(128, 32, bias=False), nn.Linear(32, 256, bias=False), nn.Linear(128, 128, bias=False)
            self.gate, self.lift, self.drop = nn.Linear(128, 256, bias=False), nn.Linear(128, 256, bias=False), nn.Linear(256, 128, bias=False)
            self.kv_norm, self.act = nn.LayerNorm(32), nn.SiLU()

        def forward(self, x, mask):
            b, t, c = x.shape
            h = self.norm(x)
            q = self.q(h).view(b, t, 4, 32).transpose(1, 2)
            k, v = self.up(self.kv_norm(self.down(h))).view(b, t, 4, 64).transpose(1, 2).split(32, dim=-1)
            scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * 32 ** -0.5
            scores = 50.0 * torch.tanh(scores / 50.0)
            attn = F.softmax(scores + mask, dim=-1, dtype=torch.float32).to(q.dtype)
            y = torch.einsum("bhqk,bhkd->bhqd", attn, v).transpose(1, 2).reshape(b, t, c)
            return x + self.out(y) + self.drop(self.act(self.gate(h)) * self.lift(h))

    def __init__(self):
        super().__init__()
        self.emb, self.layers, self.norm, self.head = nn.Embedding(1000, 128), nn.ModuleList([LatentLayer() for _ in range(2)]), nn.LayerNorm(128), nn.Linear(128, 1000, bias=False)

    def forward(self, idx, targets):
        x = self.emb(idx) * 128 ** 0.5
        t = idx.size(1)
        i = torch.arange(t, device=idx.device)
        allowed = (i[None, :] <= i[:, None]) & (i[:, None] - i[None, :] < 64)
        mask = torch.zeros(t, t, device=idx.device, dtype=x.dtype).masked_fill(~allowed, torch.finfo(x.dtype).min)
        for layer in self.layers: x = layer(x, mask)
        return F.cross_entropy(self.head(self.norm(x)).view(-1, 1000), targets.view(-1))


LatentLayer = LatentAttention.Layer


@written(ids)
class TopTwo(nn.Module):
    """two of four experts, by a one-hot of the router's choice"""
    def __init__(self):
        super().__init__()
        self.emb, self.router, self.head = nn.Embedding(1000, 128), nn.Linear(128, 4, bias=False), nn.Linear(128, 1000)
        self.w1, self.w2 = nn.Parameter(torch.randn(4, 128, 256) * 0.02), nn.Parameter(torch.randn(4, 256, 128) * 0.02)

    def forward(self, idx, targets):
        x = self.emb(idx)
        probs = F.softmax(self.router(x), dim=-1)
        weight, chosen = torch.topk(probs, 2, dim=-1)
        weight = weight / weight.sum(dim=-1, keepdim=True)
        gates = (F.one_hot(chosen, 4).to(x.dtype) * weight.unsqueeze(-1)).sum(dim=-2)
        h = F.gelu(torch.einsum("btd,edh->beth", x, self.w1))
        y = torch.einsum("beth,ehd->betd", h, self.w2)
        x = x + torch.einsum("betd,bte->btd", y, gates)
        balance = (gates.mean(dim=(0, 1)) * probs.mean(dim=(0, 1))).sum() * 4
        return F.cross_entropy(self.head(x).view(-1, 1000), targets.view(-1)) + 0.01 * balance


@written(ids)
class StateSpace(nn.Module):
    """a diagonal linear recurrence over a few chunks, gated"""
    def __init__(self):
        super().__init__()
        self.emb, self.inp, self.conv = nn.Embedding(1000, 64), nn.Linear(64, 256, bias=False), nn.Conv1d(128, 128, 4, groups=128, padding=3)
        self.x_proj, self.dt_proj, self.A_log, self.D = nn.Linear(128, 4 + 16, bias=False), nn.Linear(4, 128), nn.Parameter(torch.zeros(128, 8)), nn.Parameter(torch.ones(128))
        self.out, self.norm, self.head = nn.Linear(128, 64, bias=False), nn.LayerNorm(64), nn.Linear(64, 1000, bias=False)

    def forward(self, idx, targets):
        u = self.emb(idx)
        b, l, _ = u.shape
        x, res = self.inp(self.norm(u)).split(128, dim=-1)
        x = self.conv(x.transpose(1, 2))[:, :, :l].transpose(1, 2)
        x = F.silu(x)
        dt, B, C = self.x_proj(x).split([4, 8, 8], dim=-1)
        dt = F.softplus(self.dt_proj(dt))
        A = -torch.exp(self.A_log.float())
        decay = torch.cumsum(dt.unsqueeze(-1) * A, dim=1)
        states = torch.cumsum(torch.exp(-decay) * (dt.unsqueeze(-1) * B.unsqueeze(2)) * x.unsqueeze(-1), dim=1) * torch.exp(decay)
        y = (states * C.unsqueeze(2)).sum(-1) + x * self.D
        y = y * F.silu(res)
        u = u + self.out(y)
        return F.cross_entropy(self.head(u).view(-1, 1000), targets.view(-1))


# ---------------------------------------------------------------- newer vision

def modulate(x, shift, scale): return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


@written(lambda b, n, device: dict(x=floats(b, 4, 16, 16, device=device), noise=floats(b, 4, 16, 16, device=device), t=floats(b, device=device), y=ints(b, device=device)))
class DiT(nn.Module):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(128, elementwise_affine=False, eps=1e-6), nn.LayerNorm(128, elementwise_affine=False, eps=1e-6)
            self.qkv, self.proj, self.mlp = nn.Linear(128, 384), nn.Linear(128, 128), nn.Sequential(nn.Linear(128, 512), nn.GELU(approximate="tanh"), nn.Linear(512, 128))
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(128, 768))

        def attn(self, x):
            B, N, C = x.shape
            q, k, v = self.qkv(x).reshape(B, N, 3, 4, 32).permute(2, 0, 3, 1, 4).unbind(0)
            x = F.scaled_dot_product_attention(q, k, v)
            return self.proj(x.transpose(1, 2).reshape(B, N, C))

        def forward(self, x, c):
            shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = self.adaLN_modulation(c).chunk(6, dim=1)
            x = x + gate_msa.unsqueeze(1) * self.attn(modulate(self.norm1(x), shift_msa, scale_msa))
            x = x + gate_mlp.unsqueeze(1) * self.mlp(modulate(self.norm2(x), shift_mlp, scale_mlp))
            return x

    def __init__(self):
        super().__init__()
        self.x_embedder, self.pos_embed = nn.Conv2d(4, 128, 2, 2), nn.Parameter(torch.zeros(1, 64, 128), requires_grad=False)
        self.t_mlp, self.y_embedder = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 128)), nn.Embedding(11, 128)
        self.blocks, self.final, self.norm = nn.ModuleList([DiTLayer() for _ in range(2)]), nn.Linear(128, 16), nn.LayerNorm(128, elementwise_affine=False, eps=1e-6)

    def forward(self, x, noise, t, y):
        h = self.x_embedder(x + noise).flatten(2).transpose(1, 2) + self.pos_embed
        freqs = torch.exp(-math.log(10000) * torch.arange(0, 32, dtype=torch.float32, device=t.device) / 32)
        args = t[:, None].float() * freqs[None]
        c = self.t_mlp(torch.cat([torch.cos(args), torch.sin(args)], dim=-1)) + self.y_embedder(y)
        for block in self.blocks: h = block(h, c)
        h = self.final(self.norm(h))
        h = h.reshape(h.shape[0], 8, 8, 2, 2, 4)
        h = torch.einsum("nhwpqc->nchpwq", h)
        out = h.reshape(h.shape[0], 4, 16, 16)
        return F.mse_loss(out, noise)


DiTLayer = DiT.Layer


class LayerNorm2d(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(c)), nn.Parameter(torch.zeros(c))

    def forward(self, x):
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        x = (x - u) / torch.sqrt(s + 1e-6)
        x = self.weight[:, None, None] * x + self.bias[:, None, None]
        return x


@written(pictures(64))
class ConvNextLike(nn.Module):
    class Layer(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.dwconv, self.norm = nn.Conv2d(dim, dim, 7, padding=3, groups=dim), nn.LayerNorm(dim, eps=1e-6)
            self.pwconv1, self.act, self.pwconv2, self.gamma = nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim), nn.Parameter(1e-6 * torch.ones(dim))

        def forward(self, x):
            input = x
            x = self.dwconv(x)
            x = x.permute(0, 2, 3, 1)
            x = self.norm(x)
            x = self.pwconv1(x)
            x = self.act(x)
            x = self.pwconv2(x)
            if self.gamma is not None: x = self.gamma * x
            x = x.permute(0, 3, 1, 2)
            x = input + x
            return x

    def __init__(self):
        super().__init__()
        self.stem, self.stage1 = nn.Sequential(nn.Conv2d(3, 32, 4, 4), LayerNorm2d(32)), nn.Sequential(ConvNextLayer(32), ConvNextLayer(32))
        self.down, self.stage2 = nn.Sequential(LayerNorm2d(32), nn.Conv2d(32, 64, 2, 2)), nn.Sequential(ConvNextLayer(64), ConvNextLayer(64))
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, x, y):
        x = self.stage2(self.down(self.stage1(self.stem(x))))
        return F.cross_entropy(self.head(self.norm(x.mean([-2, -1]))), y)


ConvNextLayer = ConvNextLike.Layer


@written(translated(32))
class NAFNet(nn.Module):
    class Layer(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.norm1, self.norm2, self.conv1, self.conv2 = LayerNorm2d(c), LayerNorm2d(c), nn.Conv2d(c, 2 * c, 1), nn.Conv2d(2 * c, 2 * c, 3, padding=1, groups=2 * c)
            self.sca, self.conv3, self.conv4, self.conv5 = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c, 1)), nn.Conv2d(c, c, 1), nn.Conv2d(c, 2 * c, 1), nn.Conv2d(c, c, 1)
            self.beta, self.gamma = nn.Parameter(torch.zeros((1, c, 1, 1))), nn.Parameter(torch.zeros((1, c, 1, 1)))

        def sg(self, x):
            x1, x2 = x.chunk(2, dim=1)
            return x1 * x2

        def forward(self, inp):
            x = inp
            x = self.norm1(x)
            x = self.conv1(x)
            x = self.conv2(x)
            x = self.sg(x)
            x = x * self.sca(x)
            x = self.conv3(x)
            y = inp + x * self.beta
            x = self.conv4(self.norm2(y))
            x = self.sg(x)
            x = self.conv5(x)
            return y + x * self.gamma

    def __init__(self):
        super().__init__()
        self.intro, self.enc, self.down = nn.Conv2d(3, 16, 3, padding=1), NAFLayer(16), nn.Conv2d(16, 32, 2, 2)
        self.mid, self.up, self.dec, self.ending = NAFLayer(32), nn.Sequential(nn.Conv2d(32, 64, 1, bias=False), nn.PixelShuffle(2)), NAFLayer(16), nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x, y):
        h = self.intro(x)
        skip = self.enc(h)
        h = self.mid(self.down(skip))
        h = self.up(h)
        h = h + skip
        h = self.dec(h)
        h = self.ending(h)
        h = h + x
        return -10 * torch.log10(1.0 / (F.mse_loss(h, y) + 1e-8)).mean() * -1


NAFLayer = NAFNet.Layer


@written(translated(32))
class Restormer(nn.Module):
    """attention between channels"""
    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.qkv, self.dw = nn.Conv2d(3, 32, 3, padding=1, bias=False), LayerNorm2d(32), nn.Conv2d(32, 96, 1, bias=False), nn.Conv2d(96, 96, 3, padding=1, groups=96, bias=False)
        self.temperature, self.project, self.out = nn.Parameter(torch.ones(4, 1, 1)), nn.Conv2d(32, 32, 1, bias=False), nn.Conv2d(32, 3, 3, padding=1, bias=False)

    def forward(self, x, y):
        h = self.embed(x)
        b, c, H, W = h.shape
        q, k, v = self.dw(self.qkv(self.norm(h))).chunk(3, dim=1)
        q = q.reshape(b, 4, c // 4, H * W)
        k = k.reshape(b, 4, c // 4, H * W)
        v = v.reshape(b, 4, c // 4, H * W)
        q = F.normalize(q, dim=-1)
        k = F.normalize(k, dim=-1)
        attn = (q @ k.transpose(-2, -1)) * self.temperature
        attn = attn.softmax(dim=-1)
        out = (attn @ v).reshape(b, c, H, W)
        h = h + self.project(out)
        return torch.sqrt((self.out(h) + x - y) ** 2 + 1e-6).mean()


@written(pictures(32))
class MaskedAutoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.pos, self.mask_token, self.dec_pos = nn.Linear(48, 64), nn.Parameter(torch.zeros(1, 64, 64)), nn.Parameter(torch.zeros(1, 1, 64)), nn.Parameter(torch.zeros(1, 64, 64))
        self.enc, self.dec = nn.TransformerEncoderLayer(64, 2, 128, 0.0, batch_first=True, norm_first=True), nn.TransformerEncoderLayer(64, 2, 128, 0.0, batch_first=True, norm_first=True)
        self.pred = nn.Linear(64, 48)

    def forward(self, x, y):
        p = x.reshape(x.shape[0], 3, 8, 4, 8, 4)
        p = torch.einsum("nchpwq->nhwpqc", p).reshape(x.shape[0], 64, 48)
        h = self.patch(p) + self.pos
        noise = torch.rand(h.shape[0], 64, device=h.device)
        shuffle = torch.argsort(noise, dim=1)
        restore = torch.argsort(shuffle, dim=1)
        keep = shuffle[:, :16]
        h = torch.gather(h, dim=1, index=keep.unsqueeze(-1).repeat(1, 1, 64))
        h = self.enc(h)
        tokens = self.mask_token.repeat(h.shape[0], 48, 1)
        h = torch.cat([h, tokens], dim=1)
        h = torch.gather(h, dim=1, index=restore.unsqueeze(-1).repeat(1, 1, 64))
        h = self.dec(h + self.dec_pos)
        loss = (self.pred(h) - p) ** 2
        mask = torch.ones(h.shape[0], 64, device=h.device)
        mask[:, :16] = 0
        mask = torch.gather(mask, dim=1, index=restore)
        return (loss.mean(dim=-1) * mask).sum() / mask.sum()


@written(segmented(64))
class Detector(nn.Module):
    """DarkNet's blocks, two scales, an objectness loss"""
    def __init__(self):
        super().__init__()
        def cbl(i, o, k=3, s=1): return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.1))
        self.s1, self.r1, self.s2, self.r2 = cbl(3, 32, s=2), nn.Sequential(cbl(32, 16, 1), cbl(16, 32)), cbl(32, 64, s=2), nn.Sequential(cbl(64, 32, 1), cbl(32, 64))
        self.lat, self.up, self.h1, self.h2 = cbl(64, 32, 1), nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(64, 5, 1), nn.Conv2d(64, 5, 1)

    def forward(self, x, y):
        a = self.s1(x)
        a = a + self.r1(a)
        b = self.s2(a)
        b = b + self.r2(b)
        small = self.h2(b)
        big = self.h1(torch.cat([a, self.up(self.lat(b))], 1))
        obj = (y[:, ::2, ::2] > 500).float()
        xy = big[:, :2].sigmoid()
        wh = big[:, 2:4].exp()
        loss = F.binary_cross_entropy_with_logits(big[:, 4], obj) + (xy ** 2).mean() + (torch.sqrt(wh) * obj.unsqueeze(1)).mean()
        return loss + small.abs().mean()


@written(lambda b, n, device: dict(z=floats(b, 64, 1, device=device), y=floats(b, 3, 16, 16, device=device)))
class Modulated(nn.Module):
    """weights of a convolution scaled for each sample (grouped convolution), noise added"""
    def __init__(self):
        super().__init__()
        self.map, self.const = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2)), nn.Parameter(torch.randn(1, 32, 8, 8))
        self.style, self.weight, self.noise, self.bias, self.rgb = nn.Linear(64, 32), nn.Parameter(torch.randn(32, 32, 3, 3)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1, 32, 1, 1)), nn.Conv2d(32, 3, 1)

    def forward(self, z, y):
        z = z.flatten(1)
        w = self.map(z * torch.rsqrt(z.pow(2).mean(1, keepdim=True) + 1e-8))
        b = w.shape[0]
        x = self.const.repeat(b, 1, 1, 1)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        s = self.style(w).view(b, 1, 32, 1, 1)
        weight = self.weight.unsqueeze(0) * s
        demod = torch.rsqrt(weight.pow(2).sum([2, 3, 4]) + 1e-8)
        weight = weight * demod.view(b, 32, 1, 1, 1)
        x = x.view(1, b * 32, 16, 16)
        x = F.conv2d(x, weight.view(b * 32, 32, 3, 3), padding=1, groups=b)
        x = x.view(b, 32, 16, 16)
        x = x + self.noise * torch.randn(b, 1, 16, 16, device=x.device)
        x = F.leaky_relu(x + self.bias, 0.2) * math.sqrt(2)
        return F.softplus(-(self.rgb(x) - y).mean((1, 2, 3))).mean()


@written(pictures(28, 1))
class Capsules(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.primary, self.W = nn.Conv2d(1, 32, 9), nn.Conv2d(32, 32, 9, 4), nn.Parameter(0.01 * torch.randn(1, 36, 10, 16, 8))

    def squash(self, x):
        n = (x ** 2).sum(-1, keepdim=True)
        return n / (1 + n) * x / torch.sqrt(n + 1e-8)

    def forward(self, x, y):
        u = F.relu(self.conv(x))
        u = self.primary(u).view(x.size(0), -1, 8)
        u = self.squash(u)
        u_hat = torch.matmul(self.W, u[:, :, None, :, None]).squeeze(-1)
        b = torch.zeros(x.size(0), 36, 10, 1, device=x.device)
        for i in range(3):
            c = F.softmax(b, dim=2)
            s = (c * u_hat).sum(dim=1)
            v = self.squash(s)
            if i < 2: b = b + (u_hat * v.unsqueeze(1)).sum(-1, keepdim=True)
        norm = torch.sqrt((v ** 2).sum(-1) + 1e-8)
        hot = F.one_hot(y % 10, 10).float()
        loss = hot * F.relu(0.9 - norm) ** 2 + 0.5 * (1 - hot) * F.relu(norm - 0.1) ** 2
        return loss.sum(1).mean()


# ---------------------------------------------------------------- sound, series, graphs, users

@written(lambda b, n, device: dict(x=floats(b, 128, 40, device=device), y=ints(b, device=device)))
class Conformer(nn.Module):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            def ff(): return nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 256), nn.SiLU(), nn.Dropout(0.1), nn.Linear(256, 64), nn.Dropout(0.1))
            self.ff1, self.ff2, self.norm_attn, self.attn = ff(), ff(), nn.LayerNorm(64), nn.MultiheadAttention(64, 4, 0.1, batch_first=True)
            self.norm_conv, self.pw1, self.dw, self.bn, self.pw2, self.drop, self.norm = nn.LayerNorm(64), nn.Conv1d(64, 128, 1), nn.Conv1d(64, 64, 15, padding=7, groups=64), nn.BatchNorm1d(64), nn.Conv1d(64, 64, 1), nn.Dropout(0.1), nn.LayerNorm(64)

        def forward(self, x):
            x = x + 0.5 * self.ff1(x)
            h = self.norm_attn(x)
            x = x + self.drop(self.attn(h, h, h, need_weights=False)[0])
            h = self.norm_conv(x).transpose(1, 2)
            h = F.glu(self.pw1(h), dim=1)
            h = F.silu(self.bn(self.dw(h)))
            x = x + self.drop(self.pw2(h).transpose(1, 2))
            x = x + 0.5 * self.ff2(x)
            return self.norm(x)

    def __init__(self):
        super().__init__()
        self.sub, self.lin, self.layers, self.out = nn.Sequential(nn.Conv2d(1, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 32, 3, 2), nn.ReLU()), nn.Linear(32 * 9, 64), nn.ModuleList([ConformerLayer() for _ in range(2)]), nn.Linear(64, 10)

    def forward(self, x, y):
        h = self.sub(x.unsqueeze(1))
        b, c, t, f = h.size()
        h = self.lin(h.transpose(1, 2).contiguous().view(b, t, c * f))
        for layer in self.layers: h = layer(h)
        return F.cross_entropy(self.out(h.mean(dim=1)), y)


ConformerLayer = Conformer.Layer


@written(lambda b, n, device: dict(x=floats(b, 1, 1024, device=device), y=floats(b, 1, 1024, device=device)))
class Separator(nn.Module):
    """an encoder, a stack of dilated blocks with skip connections, a mask, a decoder; scale-invariant loss"""
    class Layer(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.net = nn.Sequential(nn.Conv1d(32, 64, 1), nn.PReLU(), nn.GroupNorm(1, 64, eps=1e-8), nn.Conv1d(64, 64, 3, dilation=d, padding=d, groups=64), nn.PReLU(), nn.GroupNorm(1, 64, eps=1e-8))
            self.res, self.skip = nn.Conv1d(64, 32, 1), nn.Conv1d(64, 32, 1)

        def forward(self, x):
            y = self.net(x)
            return self.res(y), self.skip(y)

    def __init__(self):
        super().__init__()
        self.encoder, self.norm, self.layers = nn.Conv1d(1, 32, 16, 8, bias=False), nn.GroupNorm(1, 32, eps=1e-8), nn.ModuleList([SeparatorLayer(2 ** i) for i in range(3)])
        self.mask, self.decoder = nn.Sequential(nn.PReLU(), nn.Conv1d(32, 32, 1), nn.Sigmoid()), nn.ConvTranspose1d(32, 1, 16, 8, bias=False)

    def forward(self, x, y):
        w = F.relu(self.encoder(x))
        h = self.norm(w)
        skips = 0.0
        for layer in self.layers:
            res, skip = layer(h)
            h = h + res
            skips = skips + skip
        est = self.decoder(w * self.mask(skips)).squeeze(1)
        ref = y.squeeze(1)
        est = est - est.mean(dim=-1, keepdim=True)
        ref = ref - ref.mean(dim=-1, keepdim=True)
        proj = (est * ref).sum(-1, keepdim=True) * ref / (ref.pow(2).sum(-1, keepdim=True) + 1e-8)
        noise = est - proj
        return -10 * torch.log10(proj.pow(2).sum(-1) / (noise.pow(2).sum(-1) + 1e-8) + 1e-8).mean()


SeparatorLayer = Separator.Layer


@written(lambda b, n, device: dict(x=floats(b, 80, 200, device=device), y=ints(b, device=device)))
class Speaker(nn.Module):
    """Res2 blocks, squeeze and excitation, attentive statistics"""
    class Layer(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.conv1, self.bn1, self.convs, self.bns = nn.Conv1d(64, 64, 1), nn.BatchNorm1d(64), nn.ModuleList([nn.Conv1d(16, 16, 3, padding=d, dilation=d) for _ in range(3)]), nn.ModuleList([nn.BatchNorm1d(16) for _ in range(3)])
            self.conv3, self.bn3, self.relu = nn.Conv1d(64, 64, 1), nn.BatchNorm1d(64), nn.ReLU()
            self.se = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Conv1d(64, 16, 1), nn.ReLU(), nn.Conv1d(16, 64, 1), nn.Sigmoid())

        def forward(self, x):
            residual = x
            out = self.conv1(x)
            out = self.relu(out)
            out = self.bn1(out)
            spx = torch.split(out, 16, 1)
            for i in range(3):
                sp = spx[i] if i == 0 else sp + spx[i]
                sp = self.convs[i](sp)
                sp = self.relu(sp)
                sp = self.bns[i](sp)
                out = sp if i == 0 else torch.cat((out, sp), 1)
            out = torch.cat((out, spx[3]), 1)
            out = self.conv3(out)
            out = self.relu(out)
            out = self.bn3(out)
            out = out * self.se(out)
            out += residual
            return out

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.bn, self.l1, self.l2 = nn.Conv1d(80, 64, 5, padding=2), nn.ReLU(), nn.BatchNorm1d(64), SpeakerLayer(2), SpeakerLayer(3)
        self.cat, self.attention, self.bn2, self.fc = nn.Conv1d(128, 96, 1), nn.Sequential(nn.Conv1d(96, 32, 1), nn.ReLU(), nn.BatchNorm1d(32), nn.Tanh(), nn.Conv1d(32, 96, 1), nn.Softmax(dim=2)), nn.BatchNorm1d(192), nn.Linear(192, 10)

    def forward(self, x, y):
        x = self.bn(self.relu(self.conv(x)))
        x1 = self.l1(x)
        x2 = self.l2(x + x1)
        x = self.relu(self.cat(torch.cat((x1, x2), dim=1)))
        w = self.attention(x)
        mu = torch.sum(x * w, dim=2)
        sg = torch.sqrt((torch.sum((x ** 2) * w, dim=2) - mu ** 2).clamp(min=1e-4))
        return F.cross_entropy(self.fc(self.bn2(torch.cat((mu, sg), 1))), y)


SpeakerLayer = Speaker.Layer


@written(lambda b, n, device: dict(x=floats(b, 256, 7, device=device), y=floats(b, 96, 7, device=device)))
class Patches(nn.Module):
    """a forecast by patches of each channel, normalised by its own statistics"""
    def __init__(self):
        super().__init__()
        self.patch, self.pos = nn.Linear(16, 64), nn.Parameter(torch.zeros(1, 31, 64))
        self.encoder, self.head = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128, 0.2, activation="gelu", batch_first=True), 2, enable_nested_tensor=False), nn.Linear(31 * 64, 96)

    def forward(self, x, y):
        mean = x.mean(1, keepdim=True).detach()
        std = torch.sqrt(x.var(dim=1, keepdim=True, unbiased=False) + 1e-5).detach()
        x = (x - mean) / std
        x = x.permute(0, 2, 1)
        x = x.unfold(-1, 16, 8)
        b, c, n, p = x.shape
        x = self.patch(x.reshape(b * c, n, p)) + self.pos
        x = self.encoder(x)
        x = self.head(x.reshape(b, c, -1)).permute(0, 2, 1)
        return F.mse_loss(x * std + mean, y)


@written(lambda b, n, device: dict(x=floats(b, 128, 1, device=device), y=floats(b, 32, 1, device=device)))
class Basis(nn.Module):
    """stacked blocks, each subtracting what it explains"""
    def __init__(self):
        super().__init__()
        self.fc = nn.ModuleList([nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()) for _ in range(4)])
        self.back, self.fore = nn.ModuleList([nn.Linear(128, 128) for _ in range(4)]), nn.ModuleList([nn.Linear(128, 32) for _ in range(4)])

    def forward(self, x, y):
        x = x.flatten(1)
        forecast = torch.zeros(x.size(0), 32, device=x.device)
        for f, b, g in zip(self.fc, self.back, self.fore):
            h = f(x)
            x = x - b(h)
            forecast = forecast + g(h)
        return (forecast - y.flatten(1)).abs().mean()


@written(lambda b, n, device: dict(z=ints(b, 32, 1, device=device), pos=floats(b, 32, 3, device=device), y=floats(b, device=device)))
class Molecule(nn.Module):
    """continuous-filter convolutions between all atoms"""
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.filter, self.lin1, self.lin2, self.lin3 = nn.Sequential(nn.Linear(50, 64), nn.Softplus(), nn.Linear(64, 64)), nn.Linear(64, 64, bias=False), nn.Linear(64, 64), nn.Linear(64, 64)

        def forward(self, h, rbf, cut):
            W = self.filter(rbf) * cut.unsqueeze(-1)
            m = self.lin1(h)
            m = (m.unsqueeze(1) * W).sum(dim=2)
            return self.lin3(F.softplus(self.lin2(m)))

    def __init__(self):
        super().__init__()
        self.embedding, self.layers, self.out1, self.out2 = nn.Embedding(1000, 64), nn.ModuleList([MoleculeLayer() for _ in range(2)]), nn.Linear(64, 32), nn.Linear(32, 1)
        self.register_buffer("offset", torch.linspace(0, 10, 50))

    def forward(self, z, pos, y):
        h = self.embedding(z.squeeze(-1))
        diff = pos.unsqueeze(2) - pos.unsqueeze(1)
        d = torch.sqrt((diff ** 2).sum(-1) + 1e-8)
        rbf = torch.exp(-10.0 * (d.unsqueeze(-1) - self.offset) ** 2)
        cut = 0.5 * (torch.cos(d * math.pi / 10.0) + 1.0) * (d < 10.0).float()
        for layer in self.layers: h = h + layer(h, rbf, cut)
        energy = self.out2(F.softplus(self.out1(h))).sum(1).squeeze(-1)
        return F.l1_loss(energy, y)


MoleculeLayer = Molecule.Layer


@written(lambda b, n, device: dict(fields=ints(b, 1, 20, device=device), y=floats(b, 1, 1, device=device)))
class Click(nn.Module):
    """factorisation machine, compressed interactions, a deep part"""
    def __init__(self):
        super().__init__()
        self.linear, self.emb, self.bias = nn.Embedding(1000, 1), nn.Embedding(1000, 16), nn.Parameter(torch.zeros(1))
        self.cin, self.cin_out = nn.ModuleList([nn.Conv1d(400, 32, 1), nn.Conv1d(640, 32, 1)]), nn.Linear(64, 1)
        self.deep = nn.Sequential(nn.Linear(320, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))

    def forward(self, fields, y):
        fields = fields.squeeze(1)
        e = self.emb(fields)
        square_of_sum = torch.sum(e, dim=1) ** 2
        sum_of_square = torch.sum(e ** 2, dim=1)
        fm = 0.5 * torch.sum(square_of_sum - sum_of_square, dim=1, keepdim=True)
        x0, h, xs = e.unsqueeze(2), e, []
        for conv in self.cin:
            z = x0 * h.unsqueeze(1)
            z = z.view(z.size(0), -1, 16)
            h = F.relu(conv(z))
            xs.append(h)
        cin = self.cin_out(torch.sum(torch.cat(xs, dim=1), 2))
        out = self.linear(fields).sum(1) + self.bias + fm + cin + self.deep(e.view(e.size(0), -1))
        return F.binary_cross_entropy(torch.sigmoid(out), torch.sigmoid(y).squeeze(-1))


@written(lambda b, n, device: dict(x=floats(b, 3, 32, 32, device=device), y=floats(b, 3, 32, 32, device=device)))
class Gumbel(nn.Module):
    """discrete codes by a straight-through sample"""
    def __init__(self):
        super().__init__()
        self.enc, self.codebook = nn.Sequential(nn.Conv2d(3, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 128, 1)), nn.Embedding(128, 32)
        self.dec = nn.Sequential(nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 3, 1))

    def forward(self, x, y):
        logits = self.enc(x)
        gumbels = -torch.log(-torch.log(torch.rand_like(logits) + 1e-9) + 1e-9)
        soft = F.softmax((logits + gumbels) / 0.9, dim=1)
        index = soft.argmax(dim=1, keepdim=True)
        hard = torch.zeros_like(logits).scatter_(1, index, 1.0)
        one_hot = hard - soft.detach() + soft
        sampled = torch.einsum("bnhw,nd->bdhw", one_hot, self.codebook.weight)
        out = self.dec(sampled)
        probs = F.softmax(logits, dim=1)
        kl = (probs * (torch.log(probs + 1e-9) - math.log(1 / 128))).sum(1).mean()
        return F.mse_loss(out, y) + 0.01 * kl


@written(pictures(32))
class Splines(nn.Module):
    """layers of learnt one-dimensional functions: a base activation and radial bumps"""
    class Layer(nn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.register_buffer("grid", torch.linspace(-2, 2, 8))
            self.norm, self.spline, self.base = nn.LayerNorm(i), nn.Linear(i * 8, o, bias=False), nn.Linear(i, o)

        def forward(self, x):
            basis = torch.exp(-((self.norm(x)[..., None] - self.grid) / 0.5) ** 2)
            ret = self.spline(basis.view(*basis.shape[:-2], -1))
            return ret + self.base(F.silu(x))

    def __init__(self):
        super().__init__()
        self.pool, self.layers = nn.AvgPool2d(4), nn.ModuleList([SplineLayer(192, 64), SplineLayer(64, 10)])

    def forward(self, x, y):
        x = self.pool(x).flatten(1)
        for layer in self.layers: x = layer(x)
        return F.cross_entropy(x, y)


SplineLayer = Splines.Layer


@written(pictures(28, 1))
class PixelCNN(nn.Module):
    class Masked(nn.Conv2d):
        def __init__(self, kind, *args, **kw):
            super().__init__(*args, **kw)
            self.register_buffer("mask", torch.ones_like(self.weight))
            k = self.weight.size(-1)
            self.mask[:, :, k // 2, k // 2 + (kind == "B"):] = 0
            self.mask[:, :, k // 2 + 1:] = 0

        def forward(self, x): return F.conv2d(x, self.weight * self.mask, self.bias, self.stride, self.padding)

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(MaskedConv("A", 1, 32, 7, padding=3), nn.ReLU(), *[m for _ in range(2) for m in (MaskedConv("B", 32, 32, 5, padding=2), nn.BatchNorm2d(32), nn.ReLU())], nn.Conv2d(32, 16, 1))

    def forward(self, x, y):
        logits = self.net(x)
        target = (torch.sigmoid(x[:, 0]) * 15).long()
        return F.cross_entropy(logits, target)


MaskedConv = PixelCNN.Masked
