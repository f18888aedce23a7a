"""Operators beside the reference's: micro modules, one call of PyTorch each or one small pattern as people write it.

The reference's scripts take this file as they take its own cases (NAME: the folder shared/truth/ops):
    python NAME/run.py measure tests/unseen_operators.py OUT && python NAME/run.py export tests/unseen_operators.py OUT OUT/files
    tar -C OUT/files -cJf OUT/cases.tar.xz . && python shared/score/ops.py OUT --details
The operand is x + p with a parameter p (an addition keeps nothing), the loss is a sum (nor does that): what is kept is the case's own. What moves values
about is followed by sin, which keeps what it is given: a view shows as the storage before it, a copy as a new one."""
import math
import torch
from torch import nn
import torch.nn.functional as F

B, S, H, V, C, HH, WW = 3, 35, 48, 103, 6, 18, 22
CASES = {}


class Case:
    def __init__(self, name, group, build, specs):
        self.name, self.group, self.build, self.specs, self.note = name, group, build, specs, ""
        self.opset14 = self.eval = self.dynamic = self.half = False


def f(*shape): return ("f", shape, 0)
def i(high, *shape): return ("i", shape, high)
def m(*shape): return ("b", shape, 0)


class Op1(nn.Module):
    def __init__(self, fn, p, reduce):
        super().__init__()
        self.fn, self.p, self.reduce = fn, nn.Parameter(torch.zeros(p)), reduce

    def forward(self, x):
        y = self.fn(x + self.p)
        return y.sum() if self.reduce else y


class Op2(nn.Module):
    def __init__(self, fn, p, q, reduce):
        super().__init__()
        self.fn, self.p, self.q, self.reduce = fn, nn.Parameter(torch.zeros(p)), nn.Parameter(torch.zeros(q)), reduce

    def forward(self, x, y):
        z = self.fn(x + self.p, y + self.q)
        return z.sum() if self.reduce else z


class Aux(nn.Module):
    """the others need no gradient"""
    def __init__(self, fn, p, reduce):
        super().__init__()
        self.fn, self.p, self.reduce = fn, nn.Parameter(torch.zeros(p)), reduce

    def forward(self, x, k):
        y = self.fn(x + self.p, k)
        return y.sum() if self.reduce else y


class Aux2(nn.Module):
    def __init__(self, fn, p, reduce):
        super().__init__()
        self.fn, self.p, self.reduce = fn, nn.Parameter(torch.zeros(p)), reduce

    def forward(self, x, k, l):
        y = self.fn(x + self.p, k, l)
        return y.sum() if self.reduce else y


class Op3(nn.Module):
    def __init__(self, fn, p, q, r):
        super().__init__()
        self.fn = fn
        self.p, self.q, self.r = (nn.Parameter(torch.zeros(s)) for s in (p, q, r))

    def forward(self, x, y, z):
        return self.fn(x + self.p, y + self.q, z + self.r).sum()


class Own(nn.Module):
    """fn(x + p, w): w is a parameter of the case's own"""
    def __init__(self, fn, p, w):
        super().__init__()
        self.fn, self.p, self.w = fn, nn.Parameter(torch.zeros(p)), nn.Parameter(torch.zeros(w))

    def forward(self, x):
        return self.fn(x + self.p, self.w).sum()


class Table(nn.Module):
    """fn(x + p, t): t is a buffer"""
    def __init__(self, fn, p, t):
        super().__init__()
        self.fn, self.p = fn, nn.Parameter(torch.zeros(p))
        self.register_buffer("table", torch.linspace(0.1, 1, math.prod(t)).view(t))

    def forward(self, x):
        return self.fn(x + self.p, self.table).sum()


class Bare(nn.Module):
    def __init__(self, mod):
        super().__init__()
        self.mod = mod

    def forward(self, *x):
        return self.mod(*x).sum()


class Ids(nn.Module):
    """fn(ids, w)"""
    def __init__(self, fn, w):
        super().__init__()
        self.fn, self.w = fn, nn.Parameter(torch.zeros(w))

    def forward(self, ids):
        return self.fn(ids, self.w).sum()


X, P, IMG, PC, SEQ, PS = f(B, S, H), (H,), f(B, C, HH, WW), (C, 1, 1), f(B, C, 57), (C, 1)


def case(name, group, build, *specs):
    assert name not in CASES, name
    CASES[name] = Case(name, group, build, specs)


def one(group, x=X, p=P, reduce=True, made=False, then=None, **fns):
    """fns: name -> a function of x, or (made) of nothing that makes one"""
    for name, fn in fns.items():
        def build(fn=fn):
            g = fn() if made else fn
            return Op1((lambda x: then(g(x))) if then else g if not isinstance(g, nn.Module) else g, p, reduce)
        case(name, group, build, x)


def two(group, x=X, y=X, p=P, q=P, reduce=True, **fns):
    for name, fn in fns.items(): case(name, group, lambda fn=fn: Op2(fn, p, q, reduce), x, y)


def aux(group, k, x=X, p=P, reduce=True, **fns):
    for name, fn in fns.items(): case(name, group, lambda fn=fn: Aux(fn, p, reduce), x, k)


def own(group, w, x=X, p=P, **fns):
    for name, fn in fns.items(): case(name, group, lambda fn=fn: Own(fn, p, w), x)


def table(group, t, x=X, p=P, **fns):
    for name, fn in fns.items(): case(name, group, lambda fn=fn: Table(fn, p, t), x)


# ---- products ---------------------------------------------------------------------------------------------------------
one("linear", made=True,
    linear_one_out=lambda: nn.Linear(H, 1),
    linear_of_4d=lambda: nn.Sequential(Fn(lambda x: x.view(B, S, 4, 12)), nn.Linear(12, 7)),
    linear_twice_same=lambda: Twice(nn.Linear(H, H)),
    linear_of_flat=lambda: nn.Sequential(nn.Flatten(0, 1), nn.Linear(H, 9)),
    linear_of_flat_sample=lambda: nn.Sequential(nn.Flatten(), nn.Linear(S * H, 9)),
    linear_of_last=lambda: nn.Sequential(Fn(lambda x: x[:, -1]), nn.Linear(H, 9)),
    linear_of_mean=lambda: nn.Sequential(Fn(lambda x: x.mean(1)), nn.Linear(H, 9)),
    linear_of_relu=lambda: nn.Sequential(nn.ReLU(), nn.Linear(H, 9)),
    linear_of_chunk=lambda: nn.Sequential(Fn(lambda x: x.chunk(2, -1)[1]), nn.Linear(24, 9)),
    linear_then_chunk=lambda: nn.Sequential(nn.Linear(H, 64), Fn(lambda x: x.chunk(2, -1)[0] * x.chunk(2, -1)[1].sigmoid())),
    bilinear=lambda: PairOf(nn.Bilinear(H, H, 5)),
    linear_of_step=lambda: nn.Sequential(Fn(lambda x: x[:, ::2]), nn.Linear(H, 9)),
    linear_of_expanded=lambda: nn.Sequential(Fn(lambda x: x[:, :1].expand(-1, 5, -1)), nn.Linear(H, 9)))
own("linear", (29, H),
    f_linear=lambda x, w: F.linear(x, w),
    f_linear_sliced=lambda x, w: F.linear(x, w[:13]),
    f_linear_scaled=lambda x, w: F.linear(x, w * 0.3),
    matmul_weight_transposed=lambda x, w: torch.matmul(x, w.transpose(0, 1)))
own("linear", (H, 29),
    einsum_free=lambda x, w: torch.einsum("...d,de->...e", x, w),
    einsum_transposed=lambda x, w: torch.einsum("bsd,de->bes", x, w),
    tensordot=lambda x, w: torch.tensordot(x, w, dims=([2], [0])),
    matmul_left=lambda x, w: w.t() @ x.transpose(1, 2))
own("linear", (H,),
    mv=lambda x, w: x @ w,
    einsum_vec=lambda x, w: torch.einsum("bsd,d->bs", x, w),
    mul_sum=lambda x, w: (x * w).sum(-1))
own("linear", (4, 12, 12),
    einsum_heads=lambda x, w: torch.einsum("bshd,hde->bshe", x.view(B, S, 4, 12), w),
    blockdiag=lambda x, w: (x.view(B * S, 4, 1, 12) @ w).view(B, S, H))
own("linear", (B, H, 29),
    bmm_param=lambda x, w: torch.bmm(x, w),
    baddbmm=lambda x, w: torch.baddbmm(x[:, :, :29], x, w))
two("matmul", y=f(B, H, 29), q=(29,),
    baddbmm_scaled=lambda x, y: torch.baddbmm(torch.zeros(1, 1, 1, dtype=x.dtype, device=x.device), x, y, beta=0.0, alpha=0.5),
    matmul_scaled=lambda x, y: x @ y * 0.25,
    matmul_scaled_first=lambda x, y: (x * 0.25) @ y)
two("matmul", y=f(B, 31, H),
    matmul_mt=lambda x, y: x @ y.mT,
    einsum_pairs=lambda x, y: torch.einsum("bid,bjd->bij", x, y),
    bmm_transposed=lambda x, y: x.bmm(y.transpose(1, 2)),
    cdist=lambda x, y: torch.cdist(x, y),
    dist_manual=lambda x, y: (x.unsqueeze(2) - y.unsqueeze(1)).pow(2).sum(-1))
two("matmul",
    einsum_row=lambda x, y: torch.einsum("bsd,bsd->bs", x, y),
    einsum_outer=lambda x, y: torch.einsum("bsd,bse->bsde", x[:, :5], y[:, :5]),
    outer_add=lambda x, y: x.unsqueeze(2) + y.unsqueeze(1),
    cosine=lambda x, y: F.cosine_similarity(x, y, dim=-1),
    pairwise=lambda x, y: F.pairwise_distance(x.flatten(0, 1), y.flatten(0, 1)),
    gram=lambda x, y: x.transpose(1, 2) @ y,
    kron_like=lambda x, y: (x[..., None] * y[..., None, :]).flatten(-2))
two("matmul", x=f(S, H), y=f(31, H),
    similarity=lambda x, y: F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).t(),
    mm=lambda x, y: torch.mm(x, y.t()),
    cdist_2d=lambda x, y: torch.cdist(x, y),
    vecdot=lambda x, y: (x[:31] * y).sum(1))
two("matmul", x=f(2, B, S, H), y=f(H, 29), q=(29,),
    matmul_4d_2d=lambda x, y: x @ y,
    matmul_2d_4d=lambda x, y: y.t() @ x.transpose(-1, -2))
case("addmm_scaled", "matmul", lambda: Op3(lambda a, b, c: torch.addmm(a, b, c, beta=0.5, alpha=2.0), (29,), P, (29,)), f(S, 29), f(S, H), f(H, 29))
case("addbmm_like", "matmul", lambda: Op3(lambda a, b, c: a + torch.bmm(b, c), (29,), P, (29,)), f(B, S, 29), X, f(B, H, 29))


class Fn(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return self.fn(x)


class Twice(nn.Module):
    def __init__(self, mod):
        super().__init__()
        self.mod = mod

    def forward(self, x):
        return self.mod(self.mod(x))


class PairOf(nn.Module):
    def __init__(self, mod):
        super().__init__()
        self.mod = mod

    def forward(self, x):
        return self.mod(x, x)


# ---- convolutions -----------------------------------------------------------------------------------------------------
one("conv", IMG, PC, made=True,
    conv_reflect=lambda: nn.Conv2d(C, 10, 3, padding=1, padding_mode="reflect"),
    conv_circular=lambda: nn.Conv2d(C, 10, 3, padding=1, padding_mode="circular"),
    conv_replicate=lambda: nn.Conv2d(C, 10, 3, padding=1, padding_mode="replicate"),
    conv_valid=lambda: nn.Conv2d(C, 10, 3, padding="valid"),
    conv_same_odd=lambda: nn.Conv2d(C, 10, 3, padding="same"),
    conv_rect=lambda: nn.Conv2d(C, 10, (1, 5), padding=(0, 2)),
    conv_grouped_bias=lambda: nn.Conv2d(C, 12, 3, groups=2),
    conv_separable=lambda: nn.Sequential(nn.Conv2d(C, C, 3, padding=1, groups=C), nn.Conv2d(C, 10, 1)),
    conv_transpose_k4=lambda: nn.ConvTranspose2d(C, 10, 4, 2, 1, bias=False),
    conv_transpose_grouped=lambda: nn.ConvTranspose2d(C, 6, 3, 2, 1, 1, groups=2),
    conv_of_relu=lambda: nn.Sequential(nn.ReLU(), nn.Conv2d(C, 10, 3)),
    conv_of_pool=lambda: nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(C, 10, 3)),
    conv_of_upsampled=lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(C, 10, 3)),
    conv_of_padded=lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(C, 10, 3, stride=2)),
    conv_of_reflected=lambda: nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(C, 10, 3)),
    conv_then_flatten=lambda: nn.Sequential(nn.Conv2d(C, 2, 3), nn.Flatten(), nn.Linear(640, 5)),
    conv_permuted=lambda: nn.Sequential(Fn(lambda x: x.transpose(2, 3)), nn.Conv2d(C, 10, 3)),
    conv_weight_norm=lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(C, 10, 3)),
    conv_shared=lambda: Twice(nn.Conv2d(C, C, 3, padding=1)),
    conv_sigmoid=lambda: nn.Sequential(nn.Conv2d(C, 10, 3), nn.Sigmoid()),
    conv_leaky_inplace=lambda: nn.Sequential(nn.Conv2d(C, 10, 3), nn.LeakyReLU(0.2, inplace=True)),
    conv_standardized=lambda: StdConv(C, 10, 3),
    pixel_shuffle_conv=lambda: nn.Sequential(nn.Conv2d(C, 16, 3), nn.PixelShuffle(2), nn.PReLU()),
    fold_unfold=lambda: nn.Sequential(nn.Unfold(3, padding=1), nn.Fold((HH, WW), 3, padding=1)))
one("conv", SEQ, PS, made=True,
    conv1d_k1=lambda: nn.Conv1d(C, 10, 1),
    conv1d_causal=lambda: nn.Sequential(Fn(lambda x: F.pad(x, (4, 0))), nn.Conv1d(C, 10, 5)),
    conv1d_cut=lambda: nn.Sequential(nn.Conv1d(C, C, 4, padding=3, groups=C), Fn(lambda x: x[..., :-3])),
    conv_transpose1d=lambda: nn.ConvTranspose1d(C, 10, 4, 2, 1),
    conv1d_glu=lambda: nn.Sequential(nn.Conv1d(C, 20, 3), nn.GLU(1)),
    conv1d_dilated=lambda: nn.Conv1d(C, 10, 3, dilation=4, padding=4))
one("conv", f(2, 4, 7, 13, 9), (4, 1, 1, 1), made=True,
    conv_transpose3d=lambda: nn.ConvTranspose3d(4, 6, 2, 2),
    conv3d_stride=lambda: nn.Conv3d(4, 6, 3, stride=2, padding=1, bias=False),
    maxpool3d=lambda: nn.MaxPool3d(2),
    avgpool3d=lambda: nn.AvgPool3d(2),
    batchnorm3d=lambda: nn.BatchNorm3d(4),
    instancenorm3d=lambda: nn.InstanceNorm3d(4),
    upsample_trilinear=lambda: nn.Upsample(scale_factor=2, mode="trilinear"),
    adaptive_avgpool3d=lambda: nn.AdaptiveAvgPool3d(1),
    dropout3d=lambda: nn.Dropout3d(0.2))
one("conv", X, P, made=True,
    conv1d_of_sequence=lambda: nn.Sequential(Fn(lambda x: x.transpose(1, 2)), nn.Conv1d(H, 10, 3, padding=1), Fn(lambda x: x.transpose(1, 2))))
own("conv", (10, C, 3, 3), IMG, PC,
    f_conv2d=lambda x, w: F.conv2d(x, w, padding=1),
    f_conv2d_scaled=lambda x, w: F.conv2d(x, w * 0.1))


class StdConv(nn.Conv2d):
    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias)


# ---- norms ------------------------------------------------------------------------------------------------------------
one("norm", X, P, made=True,
    layernorm_twice=lambda: nn.Sequential(nn.LayerNorm(H), nn.LayerNorm(H)),
    layernorm_linear=lambda: nn.Sequential(nn.LayerNorm(H), nn.Linear(H, 9)),
    rmsnorm_linear=lambda: nn.Sequential(nn.RMSNorm(H), nn.Linear(H, 9)),
    rmsnorm_noaffine=lambda: nn.RMSNorm(H, elementwise_affine=False),
    layernorm_of_transposed=lambda: nn.Sequential(Fn(lambda x: x.transpose(1, 2)), nn.LayerNorm(S)),
    layernorm_of_slice=lambda: nn.Sequential(Fn(lambda x: x[:, 0]), nn.LayerNorm(H)),
    batchnorm1d_of_sequence=lambda: nn.Sequential(Fn(lambda x: x.transpose(1, 2)), nn.BatchNorm1d(H)),
    batchnorm1d_3d=lambda: nn.BatchNorm1d(S),
    groupnorm_of_rows=lambda: nn.Sequential(nn.Flatten(0, 1), nn.GroupNorm(4, H)),
    linear_weight_norm=lambda: nn.utils.parametrizations.weight_norm(nn.Linear(H, 9)),
    linear_spectral_norm=lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(H, 9)),
    instancenorm1d=lambda: nn.InstanceNorm1d(S),
    groupnorm_3d=lambda: nn.GroupNorm(5, S),
    groupnorm_one=lambda: nn.GroupNorm(1, S))
one("norm", IMG, PC, made=True,
    batchnorm_no_stats=lambda: nn.BatchNorm2d(C, track_running_stats=False),
    batchnorm_no_momentum=lambda: nn.BatchNorm2d(C, momentum=None),
    groupnorm_noaffine=lambda: nn.GroupNorm(2, C, affine=False),
    instancenorm_stats=lambda: nn.InstanceNorm2d(C, track_running_stats=True),
    layernorm_image=lambda: nn.LayerNorm([C, HH, WW]),
    lrn5=lambda: nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0),
    bn_leaky=lambda: nn.Sequential(nn.BatchNorm2d(C), nn.LeakyReLU(0.1, inplace=True)),
    bn_hardswish=lambda: nn.Sequential(nn.BatchNorm2d(C), nn.Hardswish(inplace=True)),
    bn_relu6=lambda: nn.Sequential(nn.Conv2d(C, 10, 3), nn.BatchNorm2d(10), nn.ReLU6(inplace=True)),
    gn_silu=lambda: nn.Sequential(nn.GroupNorm(2, C), nn.SiLU()),
    gn_relu_inplace=lambda: nn.Sequential(nn.GroupNorm(2, C), nn.ReLU(inplace=True)),
    relu_bn_conv=lambda: nn.Sequential(nn.BatchNorm2d(C), nn.ReLU(inplace=True), nn.Conv2d(C, 10, 3)),
    bn_elu_inplace=lambda: nn.Sequential(nn.BatchNorm2d(C), nn.ELU(inplace=True)),
    bn_prelu=lambda: nn.Sequential(nn.BatchNorm2d(C), nn.PReLU(C)),
    bn_frozen_affine=lambda: still(nn.BatchNorm2d(C)),
    bn_dropout2d=lambda: nn.Sequential(nn.BatchNorm2d(C), nn.Dropout2d(0.2)),
    in_relu=lambda: nn.Sequential(nn.InstanceNorm2d(C, affine=True), nn.ReLU(inplace=True)))
one("norm",
    normalize_l1=lambda x: F.normalize(x, p=1.0, dim=-1),
    normalize_dim1=lambda x: F.normalize(x, dim=1),
    f_layer_norm=lambda x: F.layer_norm(x, (H,)),
    layernorm_float=lambda x: F.layer_norm(x.float(), (H,)).type_as(x),
    standardized=lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5),
    divided_by_norm=lambda x: x / x.norm(dim=-1, keepdim=True),
    divided_by_sum=lambda x: x / x.sum(-1, keepdim=True),
    minus_mean=lambda x: x - x.mean(1, keepdim=True),
    divided_by_max=lambda x: x / x.abs().amax(-1, keepdim=True),
    rms_manual=lambda x: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6),
    rms_div=lambda x: x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt(),
    var_mean_norm=lambda x: (lambda v, mu: (x - mu) * torch.rsqrt(v + 1e-5))(*torch.var_mean(x, -1, keepdim=True, unbiased=False)))
own("norm", (H,),
    f_layer_norm_weight=lambda x, w: F.layer_norm(x, (H,), w),
    f_rms_norm=lambda x, w: F.rms_norm(x, (H,), w),
    scale_norm=lambda x, w: F.normalize(x, dim=-1) * w,
    rms_weighted=lambda x, w: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w,
    rms_one_plus=lambda x, w: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + w),
    rms_float=lambda x, w: (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)).type_as(x) * w)
own("norm", (C, 1, 1), IMG, PC,
    channel_norm=lambda x, w: (x - x.mean(1, keepdim=True)) / torch.sqrt((x - x.mean(1, keepdim=True)).pow(2).mean(1, keepdim=True) + 1e-6) * w,
    grn=lambda x, w: (lambda g: w * (x * (g / (g.mean(1, keepdim=True) + 1e-6))) + x)(torch.norm(x, p=2, dim=(2, 3), keepdim=True)),
    pixel_norm=lambda x, w: x / torch.sqrt(torch.mean(x ** 2, dim=1, keepdim=True) + 1e-8) * w)


def still(mod):
    for p in mod.parameters(): p.requires_grad_(False)
    return mod


# ---- activations and dropout ------------------------------------------------------------------------------------------
one("activation",
    threshold=lambda x: F.threshold(x, 0.1, 0.0),
    hardshrink=F.hardshrink,
    softshrink=F.softshrink,
    softmin=lambda x: F.softmin(x, -1),
    relu_squared=lambda x: F.relu(x).square(),
    relu_pow2=lambda x: F.relu(x) ** 2,
    relu_pow2_call=lambda x: torch.pow(F.relu(x), 2),
    snake=lambda x: x + torch.sin(x).pow(2),
    swiglu=lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
    geglu=lambda x: (lambda a, b: a * F.gelu(b))(*x.chunk(2, -1)),
    reglu=lambda x: (lambda a, b: a * F.relu(b))(*x.chunk(2, -1)),
    gated=lambda x: torch.tanh(x[..., :24]) * torch.sigmoid(x[..., 24:]),
    glu_dim1=lambda x: F.glu(x[:, :34], 1),
    softplus_beta=lambda x: F.softplus(x, beta=2.0),
    celu_alpha=lambda x: F.celu(x, 0.5),
    elu_plus_one=lambda x: F.elu(x) + 1,
    softmax_dim0=lambda x: x.softmax(0),
    softmax_scaled=lambda x: F.softmax(x / 0.7, -1),
    softmax_float=lambda x: F.softmax(x.float(), -1).type_as(x),
    log_softmax_float=lambda x: F.log_softmax(x, -1, dtype=torch.float32),
    maxout=lambda x: x.view(B, S, 24, 2).max(-1)[0],
    clamp_max=lambda x: x.clamp(max=0.5),
    relu_call=torch.relu,
    sigmoid_inplace=lambda x: (x * 2).sigmoid_(),
    tanh_inplace=lambda x: (x * 2).tanh_(),
    relu_call_inplace=lambda x: F.relu(x * 2, inplace=True),
    relu_underscore=lambda x: torch.relu_(x * 2),
    exp_inplace=lambda x: (x * 2).exp_(),
    hardtanh_range=lambda x: F.hardtanh(x, -2, 2),
    logsigmoid_neg=lambda x: -F.logsigmoid(-x),
    gelu_half=lambda x: F.gelu(x) * 0.5,
    silu_of_linear=lambda x: F.silu(x * 3 + 1),
    mish_manual=lambda x: x * torch.tanh(F.softplus(x)),
    hardswish_manual=lambda x: x * F.relu6(x + 3) / 6,
    gelu_sigmoid=lambda x: torch.sigmoid(1.702 * x) * x,
    swish_beta=lambda x: x * torch.sigmoid(1.5 * x),
    gumbel=lambda x: F.gumbel_softmax(x, tau=0.7),
    gumbel_hard=lambda x: F.gumbel_softmax(x, tau=0.7, hard=True),
    drop_path=lambda x: x / 0.9 * torch.floor(0.9 + torch.rand((B, 1, 1), dtype=x.dtype, device=x.device)),
    noise=lambda x: x + 0.1 * torch.randn_like(x),
    noise_mul=lambda x: x * torch.randn_like(x),
    dropout_relu=lambda x: F.dropout(F.relu(x), 0.2),
    dropout_half=lambda x: F.dropout(x, 0.5),
    dropout_call_inplace=lambda x: F.dropout(x * 2, 0.2, inplace=True),
    alpha_dropout=lambda x: F.alpha_dropout(x, 0.2, True),
    feature_dropout=lambda x: F.dropout1d(x, 0.2),
    mc_dropout=lambda x: F.dropout(x, 0.2, training=True))
one("activation", made=True,
    relu6_inplace=lambda: nn.Sequential(nn.Linear(H, 9), nn.ReLU6(inplace=True)),
    selu_inplace=lambda: nn.Sequential(nn.Linear(H, 9), nn.SELU(inplace=True)),
    mish_inplace=lambda: nn.Sequential(nn.Linear(H, 9), nn.Mish(inplace=True)),
    celu_inplace=lambda: nn.Sequential(nn.Linear(H, 9), nn.CELU(inplace=True)),
    hardsigmoid_inplace=lambda: nn.Sequential(nn.Linear(H, 9), nn.Hardsigmoid(inplace=True)),
    threshold_module=lambda: nn.Threshold(0.1, 20.0),
    rrelu=lambda: nn.RReLU(),
    hardtanh_inplace=lambda: nn.Sequential(nn.Linear(H, 9), nn.Hardtanh(inplace=True)),
    softmax2d_like=lambda: nn.Sequential(Fn(lambda x: x.unsqueeze(1)), nn.Softmax(1)),
    prelu_channels=lambda: nn.PReLU(S),
    alpha_dropout_module=lambda: nn.AlphaDropout(0.1))
two("activation",
    swiglu_two=lambda x, y: F.silu(x) * y,
    gated_two=lambda x, y: x.sigmoid() * y.tanh(),
    highway=lambda x, y: (lambda g: g * x + (1 - g) * y)(torch.sigmoid(x)),
    gelu_times=lambda x, y: F.gelu(x, approximate="tanh") * y,
    max_then=lambda x, y: F.relu(torch.max(x, y)),
    softmax_times=lambda x, y: x.softmax(-1) * y,
    residual_scaled=lambda x, y: x + 0.5 * y,
    residual_relu=lambda x, y: F.relu(x + y),
    residual_gate=lambda x, y: x * (1 + y) + y)

# ---- elementwise ------------------------------------------------------------------------------------------------------
one("elementwise",
    pow4=lambda x: x ** 4,
    pow15=lambda x: x ** 1.5,
    pow_minus1=lambda x: x ** -1,
    pow_minus_half=lambda x: x ** -0.5,
    pow1=lambda x: x ** 1,
    base2=lambda x: 2.0 ** x,
    exp2=torch.exp2,
    expm1=torch.expm1,
    log2=torch.log2,
    log10=torch.log10,
    tan=torch.tan,
    asin=torch.asin,
    acos=torch.acos,
    atan=torch.atan,
    sinh=torch.sinh,
    cosh=torch.cosh,
    asinh=torch.asinh,
    acosh=lambda x: torch.acosh(x + 2),
    atanh=torch.atanh,
    erfc=torch.erfc,
    sign_times=lambda x: torch.sign(x) * x,
    round_=torch.round,
    ceil=torch.ceil,
    frac=lambda x: x - x.floor(),
    logit=lambda x: torch.logit(x, eps=1e-4),
    nan_to_num=torch.nan_to_num,
    remainder=lambda x: torch.remainder(x, 0.7),
    fmod=lambda x: torch.fmod(x, 0.7),
    add_alpha=lambda x: torch.add(x, x.sin(), alpha=0.3),
    mul_int=lambda x: x * 3,
    minus_one=lambda x: x - 1,
    reciprocal_plus=lambda x: 1 / (1 + x),
    one_minus_square=lambda x: 1 - x * x,
    cube=lambda x: x * x * x,
    poly=lambda x: 0.5 * x + 0.1 * x ** 2 + 0.01 * x ** 3,
    sqrt_abs=lambda x: x.abs().sqrt(),
    log_clamped=lambda x: x.clamp(min=1e-6).log(),
    log_eps=lambda x: torch.log(x + 1e-6),
    exp_neg=lambda x: torch.exp(-x),
    x_log_x=lambda x: x * x.log(),
    gauss=lambda x: torch.exp(-0.5 * x ** 2),
    rsqrt_eps=lambda x: torch.rsqrt(x + 1e-6),
    positive=lambda x: x * (x > 0),
    positive_float=lambda x: x * (x > 0).float(),
    where_zero=lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    where_scalar_else=lambda x: torch.where(x > 0, x, 0.1 * x),
    masked_self=lambda x: x.masked_fill(x < 0, 0.0),
    mul_inplace=lambda x: x.sin().mul_(2.0),
    div_inplace=lambda x: x.sin().div_(2.0),
    add_scalar_inplace=lambda x: x.sin().add_(1.0),
    clamp_inplace=lambda x: x.sin().clamp_(0, 1),
    detach=lambda x: x * x.detach(),
    straight_through=lambda x: x + (x.round() - x).detach(),
    stop_half=lambda x: x.sin() + x.cos().detach(),
    half_cast=lambda x: x.half().float() * 2,
    double_cast=lambda x: (x.double() * 2).float(),
    double_sin=lambda x: x.double().sin().float(),
    to_int_mask=lambda x: x * (x.long() % 2).to(x.dtype),
    sigmoid_twice=lambda x: x.sigmoid().sigmoid(),
    sin_cos_cat=lambda x: torch.cat([x.sin(), x.cos()], -1),
    fourier=lambda x: torch.cat([x] + [fn(x * 2 ** k) for k in range(3) for fn in (torch.sin, torch.cos)], -1),
    neg_inplace=lambda x: x.sin().neg_(),
    lerp_scalar=lambda x: torch.lerp(x, x.sin(), 0.3),
    addcmul_self=lambda x: torch.addcmul(x, x.sin(), x.cos(), value=0.5),
    hypot_self=lambda x: (x ** 2 + x.sin() ** 2).sqrt())
two("elementwise",
    minimum=torch.minimum,
    fmod_tt=torch.fmod,
    remainder_tt=torch.remainder,
    logaddexp=torch.logaddexp,
    addcmul=lambda x, y: torch.addcmul(x, x, y),
    addcdiv=lambda x, y: torch.addcdiv(x, x, y),
    lerp=lambda x, y: torch.lerp(x, y, 0.1),
    lerp_tt=lambda x, y: torch.lerp(x, y, torch.sigmoid(x)),
    xlogy=torch.xlogy,
    hypot=torch.hypot,
    where_tt=lambda x, y: torch.where(x > y, x, y),
    where_gt=lambda x, y: torch.where(x > 0.5, x * 2, y),
    mul_inplace_tt=lambda x, y: x.sin().mul_(y),
    add_mul=lambda x, y: (x + y) * (x - y),
    sub_square=lambda x, y: (x - y).square(),
    div_eps=lambda x, y: x / (y + 1e-6),
    sub_alpha=lambda x, y: torch.sub(x, y, alpha=0.5),
    iadd=lambda x, y: iadd(x.sin(), y),
    imul=lambda x, y: imul(x + 1, y),
    idiv=lambda x, y: idiv(x + 1, y),
    isub=lambda x, y: isub(x + 1, y),
    copysign=torch.copysign,
    diff_abs=lambda x, y: (x - y).abs(),
    complex_mul=lambda x, y: torch.cat([x[..., :24] * y[..., :24] - x[..., 24:] * y[..., 24:], x[..., :24] * y[..., 24:] + x[..., 24:] * y[..., :24]], -1),
    smooth_max=lambda x, y: torch.logsumexp(torch.stack([x, y]), 0),
    weighted=lambda x, y: 0.3 * x + 0.7 * y,
    clamp_tensors=lambda x, y: torch.clamp(x, min=y.detach() - 1, max=y.detach() + 1))
own("elementwise", (H,),
    film=lambda x, w: x * (1 + w),
    plus_param=lambda x, w: x * w + w,
    div_param=lambda x, w: x / (w + 2),
    sub_param=lambda x, w: x - w,
    exp_param=lambda x, w: x * w.exp(),
    pow_param=lambda x, w: (x + 1) ** w,
    sigmoid_param=lambda x, w: x * torch.sigmoid(w),
    param_inplace=lambda x, w: iadd(x.sin(), w),
    where_param=lambda x, w: torch.where(x > 0, x, w * x),
    max_param=lambda x, w: torch.maximum(x, w),
    tanh_param=lambda x, w: torch.tanh(x * w))
own("elementwise", (1,),
    scale=lambda x, w: x * w,
    gate_scalar=lambda x, w: x * torch.sigmoid(w),
    temperature=lambda x, w: x * w.exp(),
    temperature_clamped=lambda x, w: x * w.exp().clamp(max=100),
    div_scalar_param=lambda x, w: x / w,
    add_scalar_param=lambda x, w: x + w,
    mix=lambda x, w: w * x + (1 - w) * x.sin())
own("elementwise", (),
    scale_0d=lambda x, w: x * w,
    rezero=lambda x, w: x + w * x.sin())
table("elementwise", (H,),
    mul_buffer=lambda x, t: x * t,
    div_buffer=lambda x, t: x / t,
    add_buffer=lambda x, t: x + t,
    normalized_input=lambda x, t: (x - t) / (t + 1),
    where_buffer=lambda x, t: torch.where(t > 0.5, x, -x))
table("elementwise", (S, S),
    mix_buffer=lambda x, t: t @ x,
    mask_buffer=lambda x, t: (x @ x.transpose(1, 2)).masked_fill(t == 0.1, -1e9).softmax(-1),
    bias_buffer=lambda x, t: (x @ x.transpose(1, 2) + t).softmax(-1))
aux("elementwise", m(B, S),
    mask_rows=lambda x, k: x * k.unsqueeze(-1),
    mask_rows_float=lambda x, k: x * k.unsqueeze(-1).float(),
    mask_fill=lambda x, k: x.masked_fill(k.unsqueeze(-1), 0.0),
    mask_fill_inplace=lambda x, k: x.sin().masked_fill_(k.unsqueeze(-1), 0.0),
    masked_mean=lambda x, k: (x * k.unsqueeze(-1)).sum(1) / k.sum(1, keepdim=True).clamp(min=1),
    masked_max=lambda x, k: x.masked_fill(~k.unsqueeze(-1), float("-inf")).max(1)[0],
    where_rows=lambda x, k: torch.where(k.unsqueeze(-1), x, x.sin()),
    additive_mask=lambda x, k: (x @ x.transpose(1, 2) + (1.0 - k[:, None].to(x.dtype)) * -1e4).softmax(-1),
    masked_select=lambda x, k: x[k])
aux("elementwise", X,
    mul_input=lambda x, k: x * k,
    sub_input=lambda x, k: x - k,
    div_by_input=lambda x, k: x / k,
    input_div=lambda x, k: k / x,
    lerp_input=lambda x, k: k * x + (1 - k) * x.sin(),
    input_minus=lambda x, k: k - x,
    input_sin=lambda x, k: x * k.sin(),
    pow_input=lambda x, k: (x + 1) ** k,
    max_input=lambda x, k: torch.max(x, k),
    residual_square=lambda x, k: (x - k) ** 2)


def iadd(x, y):
    x += y
    return x


def isub(x, y):
    x -= y
    return x


def imul(x, y):
    x *= y
    return x


def idiv(x, y):
    x /= y
    return x


# ---- reductions -------------------------------------------------------------------------------------------------------
one("reduction",
    sum_keep=lambda x: x * x.sum(1, keepdim=True),
    mean_keep=lambda x: x * x.mean(-1, keepdim=True),
    mean_two=lambda x: x.view(B, S, 6, 8).mean((1, 3)),
    sum_all_square=lambda x: x.sum() ** 2,
    min_dim=lambda x: x.min(1)[0],
    amin=lambda x: x.amin(1),
    amax_two=lambda x: x.amax((1, 2)),
    min_all=lambda x: x.min(),
    max_keep=lambda x: x - x.max(-1, keepdim=True)[0],
    max_detached=lambda x: x - x.max(-1, keepdim=True)[0].detach(),
    amax_keep=lambda x: x - x.amax(-1, keepdim=True),
    var_biased=lambda x: x.var(-1, unbiased=False),
    var_two=lambda x: x.var((1, 2)),
    std_keep=lambda x: x / x.std(1, keepdim=True),
    std_mean=lambda x: torch.cat(torch.std_mean(x, -1)),
    norm1=lambda x: x.norm(p=1, dim=-1),
    norm_inf=lambda x: x.norm(p=float("inf"), dim=-1),
    norm_all=lambda x: x.norm(),
    linalg_norm=lambda x: torch.linalg.norm(x, dim=-1),
    vector_norm=lambda x: torch.linalg.vector_norm(x, ord=2, dim=-1, keepdim=True) * x,
    logsumexp_keep=lambda x: x - x.logsumexp(-1, keepdim=True),
    cumsum_last=lambda x: x.cumsum(-1),
    cumprod=lambda x: x.cumprod(-1),
    prod_all=lambda x: x.prod(),
    nansum=lambda x: x.nansum(-1),
    logcumsumexp=lambda x: x.logcumsumexp(-1),
    argmax_gather=lambda x: x.gather(-1, x.argmax(-1, keepdim=True)),
    topk_both=lambda x: (lambda v, k: v * x.gather(-1, k))(*x.topk(4, -1)),
    topk_softmax=lambda x: x.topk(4, -1)[0].softmax(-1),
    sort_desc=lambda x: x.sort(-1, descending=True)[0],
    argsort_gather=lambda x: x.gather(1, x.argsort(1)),
    mean_pow=lambda x: x.pow(2).mean(-1),
    mean_abs=lambda x: x.abs().mean((1, 2)),
    gem=lambda x: x.clamp(min=1e-6).pow(3).mean(1).pow(1 / 3),
    entropy=lambda x: (lambda p: -(p * p.log()).sum(-1))(x.softmax(-1)),
    entropy_log=lambda x: -(x.softmax(-1) * x.log_softmax(-1)).sum(-1),
    attention_pool=lambda x: (x.mean(-1, keepdim=True).softmax(1) * x).sum(1),
    attention_pool_matmul=lambda x: (x.mean(-1, keepdim=True).softmax(1).transpose(1, 2) @ x).squeeze(1),
    diff_call=lambda x: torch.diff(x, dim=1),
    diff_slices=lambda x: (x[:, 1:] - x[:, :-1]).abs(),
    total_variation=lambda x: (x[:, 1:] - x[:, :-1]).pow(2).mean() + (x[..., 1:] - x[..., :-1]).pow(2).mean(),
    covariance=lambda x: (lambda d: d.transpose(1, 2) @ d / (S - 1))(x - x.mean(1, keepdim=True)),
    mean_of_max=lambda x: x.max(-1)[0].mean(1),
    squeeze_excite=lambda x: x * x.mean(1, keepdim=True).sigmoid(),
    count=lambda x: x.sum(-1) / (x > 0).sum(-1),
    softmax_entropy_keep=lambda x: x * (x.softmax(-1) * x).sum(-1, keepdim=True),
    median=lambda x: x.median(-1)[0])

# ---- moves ------------------------------------------------------------------------------------------------------------
one("move",
    then=torch.sin,
    movedim=lambda x: x.movedim(1, 2),
    swapaxes=lambda x: x.swapaxes(0, 1),
    flatten_front=lambda x: x.flatten(0, 1),
    unflatten=lambda x: x.unflatten(-1, (4, 12)),
    mt=lambda x: x.mT,
    narrow=lambda x: x.narrow(1, 3, 7),
    new_axis=lambda x: x[:, None],
    flip_two=lambda x: x.flip([1, 2]),
    rot90=lambda x: x.rot90(1, (1, 2)),
    repeat_two=lambda x: x.repeat(2, 1, 3),
    tile=lambda x: x.tile((1, 1, 2)),
    expand_as=lambda x: x[:, :1].expand_as(x),
    broadcast_to=lambda x: x[:, :1].broadcast_to(B, S, H),
    interleave0=lambda x: x.repeat_interleave(3, 0),
    cat_self=lambda x: torch.cat([x, x], 1),
    cat_three=lambda x: torch.cat([x[:, :3], x, x[:, 5:]], 1),
    cat_zeros=lambda x: torch.cat([x, torch.zeros_like(x[:, :1])], 1),
    hstack=lambda x: torch.hstack([x, x]),
    vstack=lambda x: torch.vstack([x, x]),
    stack_dim1=lambda x: torch.stack([x, x], 1),
    stack_last=lambda x: torch.stack([x[..., ::2], x[..., 1::2]], -1),
    split_uneven=lambda x: x.split([8, 16, 24], -1)[1],
    tensor_split=lambda x: torch.tensor_split(x, 3, 1)[0],
    chunk_swapped=lambda x: torch.cat(x.chunk(2, -1)[::-1], -1),
    unbind_one=lambda x: x.unbind(1)[3],
    triu=lambda x: x.triu(1),
    diag_embed=lambda x: torch.diag_embed(x[:, :4]),
    diagonal=lambda x: x.diagonal(dim1=1, dim2=2),
    contiguous=lambda x: x.contiguous(),
    clone_permuted=lambda x: x.transpose(1, 2).clone(),
    reshape_view=lambda x: x.reshape(B, S * H),
    reshape_copy=lambda x: x.transpose(1, 2).reshape(B, S * H),
    view_permuted=lambda x: x.view(B, S, 4, 12).permute(0, 2, 3, 1),
    windows=lambda x: x.view(B, 5, 7, 4, 12).permute(0, 1, 3, 2, 4).reshape(-1, 7, 12),
    roll_two=lambda x: x.roll((1, 2), (1, 2)),
    roll_pad=lambda x: torch.cat([x[:, -1:], x[:, :-1]], 1),
    shift=lambda x: F.pad(x, (0, 0, 1, -1)),
    pad_value=lambda x: F.pad(x, (0, 0, 2, 1), value=1.0),
    pad_none=lambda x: F.pad(x, (0, 0)),
    select_many=lambda x: x[:, 2:9, 5],
    ellipsis=lambda x: x[..., 3:],
    last_slice=lambda x: x[:, -1:],
    negative=lambda x: x[:, :-1],
    list_index=lambda x: x[:, [0, 3, 4]],
    squeeze_all=lambda x: x[:, :1].squeeze(),
    as_is=lambda x: x.view_as(x),
    permute_twice=lambda x: x.transpose(1, 2).transpose(1, 2),
    permute_contiguous_back=lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    t_of_2d=lambda x: x[0].t(),
    unsqueeze_expand=lambda x: x.unsqueeze(2).expand(-1, -1, 5, -1),
    unsqueeze_repeat=lambda x: x.unsqueeze(2).repeat(1, 1, 5, 1),
    interleave_reshape=lambda x: x[:, :, None].expand(B, S, 2, H).reshape(B, 2 * S, H),
    meshed=lambda x: (x[:, :, None] + x[:, None]),
    every_second=lambda x: torch.cat([x[:, 0::2], x[:, 1::2]], 1),
    slice_two=lambda x: x[:, 2:9, 4:20],
    chunk_three=lambda x: sum(x.chunk(3, -1)),
    unfold_overlap=lambda x: x.unfold(1, 6, 3),
    patches=lambda x: x[:, :, :].reshape(B, 5, 7, H).transpose(1, 2).flatten(1, 2),
    to_same=lambda x: x.to(x.dtype),
    float_same=lambda x: x.float(),
    take_along=lambda x: x.take_along_dim(x.argsort(1), 1),
    nested_views=lambda x: x.view(B, S, 4, 12)[:, 1:].transpose(1, 2)[..., :6],
    zeros_assign=lambda x: assigned(x),
    slice_assign=lambda x: sliced(x),
    add_to_slice=lambda x: added(x))
one("move", IMG, PC,
    then=torch.sin,
    channel_shuffle=lambda x: x.view(B, 2, 3, HH, WW).transpose(1, 2).reshape(B, C, HH, WW),
    pixel_unshuffle=lambda x: F.pixel_unshuffle(x, 2),
    to_tokens=lambda x: x.flatten(2).transpose(1, 2),
    to_tokens_permute=lambda x: x.permute(0, 2, 3, 1).reshape(B, -1, C),
    window_partition=lambda x: x.permute(0, 2, 3, 1).reshape(B, 2, 9, 2, 11, C).permute(0, 1, 3, 2, 4, 5).reshape(-1, 99, C),
    pad_circular=lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"),
    pad_replicate=lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"),
    pad_zero=lambda x: F.pad(x, (1, 1, 1, 1)),
    crop=lambda x: x[:, :, 1:-1, 1:-1],
    focus=lambda x: torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1),
    flip_image=lambda x: x.flip(-1),
    channels_last=lambda x: x.permute(0, 2, 3, 1),
    split_channels=lambda x: torch.cat([x[:, :3] * 2, x[:, 3:]], 1),
    coords=lambda x: torch.cat([x, torch.linspace(-1, 1, WW, dtype=x.dtype, device=x.device).expand(B, 1, HH, WW)], 1),
    repeat_image=lambda x: x.repeat(1, 2, 1, 1),
    spatial_vector=lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, HH, WW))
aux("move", i(S, 29),
    index_rows=lambda x, k: torch.sin(x[:, k]),
    index_last=lambda x, k: torch.sin(x.index_select(-1, k)),
    index_first=lambda x, k: torch.sin(x[0][k]))
aux("move", i(S, B),
    index_pairs=lambda x, k: torch.sin(x[torch.arange(B, device=x.device), k]),
    gather_row=lambda x, k: torch.sin(x.gather(1, k.view(B, 1, 1).expand(-1, -1, H)).squeeze(1)),
    index_length=lambda x, k: torch.sin(x[torch.arange(x.size(0)), k - 1]))
aux("move", i(S, B, S),
    scatter_src=lambda x, k: torch.sin(torch.zeros_like(x).scatter(1, k.unsqueeze(-1).expand_as(x), x)),
    gather_expand=lambda x, k: torch.sin(x.gather(1, k.unsqueeze(-1).expand(-1, -1, H))),
    index_add=lambda x, k: torch.sin(torch.zeros(S, H, dtype=x.dtype, device=x.device).index_add(0, k.flatten(), x.flatten(0, 1))),
    scatter_sum=lambda x, k: torch.sin(torch.zeros(S, H, dtype=x.dtype, device=x.device).scatter_add_(0, k.flatten()[:, None].expand(-1, H), x.flatten(0, 1))),
    onehot_route=lambda x, k: torch.sin(F.one_hot(k, S).to(x.dtype) @ x),
    gather_flat=lambda x, k: torch.sin(x.flatten(0, 1)[k]),
    scatter_reduce=lambda x, k: torch.sin(torch.zeros_like(x).scatter_reduce(1, k.unsqueeze(-1).expand_as(x), x, "mean")))
own("move", (1, 1, H),
    cls_token=lambda x, w: torch.sin(torch.cat([w.expand(B, -1, -1), x], 1)),
    mask_token=lambda x, w: torch.sin(torch.where(x[..., :1] > 0, x, w)),
    cls_repeat=lambda x, w: torch.sin(torch.cat([w.repeat(B, 1, 1), x], 1)))
own("move", (61, H),
    positions_sliced=lambda x, w: x + w[:S],
    positions_unsqueezed=lambda x, w: x + w[None, :x.size(1)],
    positions_indexed=lambda x, w: x + w[torch.arange(S, device=x.device)],
    prefix=lambda x, w: torch.sin(torch.cat([w[None, :4].expand(B, -1, -1), x], 1)),
    queries=lambda x, w: (w.expand(B, -1, -1) @ x.transpose(1, 2)).softmax(-1) @ x)


def assigned(x):
    y = torch.zeros_like(x)
    y[:, 1:] = x[:, :-1]
    return y


def sliced(x):
    x = x.clone()
    x[:, 0] = 0
    return x


def added(x):
    x = x.clone()
    x[:, :5] += 1.5 * x[:, 5:10]
    return x


# ---- pooling and resampling -------------------------------------------------------------------------------------------
one("pool", IMG, PC, made=True,
    avgpool_uncounted=lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    maxpool_ceil=lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
    maxpool_same=lambda: nn.MaxPool2d(3, 1, 1),
    lppool=lambda: nn.LPPool2d(2, 2),
    adaptive_max1=lambda: nn.AdaptiveMaxPool2d(1),
    adaptive_max=lambda: nn.AdaptiveMaxPool2d((6, 11)),
    adaptive_avg_rows=lambda: nn.AdaptiveAvgPool2d((1, WW)),
    adaptive_avg_same=lambda: nn.AdaptiveAvgPool2d((HH, WW)),
    upsample_size=lambda: nn.Upsample(size=(31, 40)),
    upsample_aligned=lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    upsample_bicubic=lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
    upsample_exact=lambda: nn.Upsample(scale_factor=2, mode="nearest-exact"),
    global_max=lambda: Fn(lambda x: x.amax((2, 3))),
    global_max_view=lambda: Fn(lambda x: x.flatten(2).max(-1)[0]),
    avg_and_max=lambda: Fn(lambda x: F.adaptive_avg_pool2d(x, 1) + F.adaptive_max_pool2d(x, 1)),
    cbam_spatial=lambda: Fn(lambda x: torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)),
    downsample=lambda: Fn(lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear")),
    area=lambda: Fn(lambda x: F.interpolate(x, size=(9, 11), mode="area")),
    to_other_size=lambda: Fn(lambda x: F.interpolate(x[:, :, ::2, ::2], size=x.shape[2:], mode="bilinear", align_corners=False)),
    maxunpool=lambda: Unpool(),
    avg_stride1=lambda: nn.AvgPool2d(3, 1, 1),
    spp=lambda: Fn(lambda x: torch.cat([F.adaptive_avg_pool2d(x, k).flatten(1) for k in (1, 2)], 1)),
    blur=lambda: Fn(lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), torch.ones(C, 1, 3, 3, dtype=x.dtype, device=x.device) / 9, stride=2, groups=C)))
one("pool", SEQ, PS, made=True,
    avgpool1d=lambda: nn.AvgPool1d(3),
    adaptive_avg1d=lambda: nn.AdaptiveAvgPool1d(1),
    adaptive_max1d=lambda: nn.AdaptiveMaxPool1d(1),
    upsample1d=lambda: nn.Upsample(scale_factor=2),
    upsample_linear=lambda: nn.Upsample(scale_factor=2, mode="linear"),
    adaptive_avg1d_19=lambda: nn.AdaptiveAvgPool1d(19),
    moving_average=lambda: Fn(lambda x: x - F.avg_pool1d(F.pad(x, (2, 2), mode="replicate"), 5, 1)))
aux("pool", f(B, HH, WW, 2), IMG, PC,
    grid_sample=lambda x, g: F.grid_sample(x, g, align_corners=False),
    grid_nearest=lambda x, g: F.grid_sample(x, g, mode="nearest", padding_mode="border", align_corners=True))


class Unpool(nn.Module):
    def forward(self, x):
        y, k = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(y, k, 2)


# ---- losses -----------------------------------------------------------------------------------------------------------
LOGITS, LP = f(S, V), (V,)
aux("loss", i(V, S), LOGITS, LP, False,
    ce_smooth=lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1),
    ce_none=lambda x, y: F.cross_entropy(x, y, reduction="none").mean(),
    ce_smooth_ignore=lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1, ignore_index=0),
    ce_scaled=lambda x, y: F.cross_entropy(x / 0.07, y),
    ce_float=lambda x, y: F.cross_entropy(x.float(), y),
    nll_none=lambda x, y: F.nll_loss(x.log_softmax(-1), y, reduction="none").mean(),
    focal=lambda x, y: (lambda c: ((1 - torch.exp(-c)) ** 2 * c).mean())(F.cross_entropy(x, y, reduction="none")),
    smooth_manual=lambda x, y: (lambda l: 0.9 * F.nll_loss(l, y) - 0.1 * l.mean(-1).mean())(F.log_softmax(x, -1)),
    onehot_mse=lambda x, y: F.mse_loss(x.softmax(-1), F.one_hot(y, V).to(x.dtype)),
    onehot_ce=lambda x, y: -(F.one_hot(y, V).to(x.dtype) * x.log_softmax(-1)).sum(-1).mean(),
    ce_plus=lambda x, y: F.cross_entropy(x, y) + (1 - x.softmax(-1).gather(1, y[:, None])).mean(),
    gather_log=lambda x, y: -torch.log(x.softmax(-1)[torch.arange(S, device=x.device), y] + 1e-9).mean())
aux("loss", i(C, B, HH, WW), IMG, PC, False,
    nll_image=lambda x, y: F.nll_loss(F.log_softmax(x, 1), y),
    ce_image_ignore=lambda x, y: F.cross_entropy(x, y, ignore_index=5),
    dice=lambda x, y: (lambda p, t: 1 - (2 * (p * t).sum((2, 3)) / (p.sum((2, 3)) + t.sum((2, 3)) + 1)).mean())(x.softmax(1), F.one_hot(y, C).permute(0, 3, 1, 2).to(x.dtype)))
aux("loss", X, X, P, False,
    kl=lambda x, y: F.kl_div(x.log_softmax(-1), y.softmax(-1), reduction="batchmean"),
    kl_log=lambda x, y: F.kl_div(x.log_softmax(-1), y.log_softmax(-1), reduction="batchmean", log_target=True),
    mse_sum=lambda x, y: F.mse_loss(x, y, reduction="sum"),
    mse_none=lambda x, y: F.mse_loss(x, y, reduction="none").mean((1, 2)).sum(),
    mse_masked=lambda x, y: (F.mse_loss(x, y, reduction="none") * (y > 0.5)).mean(),
    l1_sum=lambda x, y: F.l1_loss(x, y, reduction="sum"),
    l1_none=lambda x, y: F.l1_loss(x, y, reduction="none").mean(-1).mean(),
    smooth_l1_beta=lambda x, y: F.smooth_l1_loss(x, y, beta=0.5),
    smooth_l1_none=lambda x, y: F.smooth_l1_loss(x, y, reduction="none").sum(-1).mean(),
    huber_delta=lambda x, y: F.huber_loss(x, y, delta=0.5),
    gaussian_nll=lambda x, y: F.gaussian_nll_loss(x, y, x.exp()),
    gaussian_manual=lambda x, y: (0.5 * ((y - x) ** 2 / x.exp() + x)).mean(),
    poisson=lambda x, y: F.poisson_nll_loss(x, y),
    cosine_loss=lambda x, y: 1 - F.cosine_similarity(x, y, dim=-1).mean(),
    charbonnier=lambda x, y: torch.sqrt((x - y) ** 2 + 1e-6).mean(),
    logcosh=lambda x, y: torch.log(torch.cosh(x - y)).mean(),
    bce_weighted=lambda x, y: F.binary_cross_entropy_with_logits(x, y, weight=y),
    bce_pos_weight=lambda x, y: F.binary_cross_entropy_with_logits(x, y, pos_weight=torch.ones(H, device=x.device, dtype=x.dtype)),
    bce_sum=lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="sum"),
    bce_none=lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="none").mean(-1).sum(),
    bce_manual=lambda x, y: -(y * F.logsigmoid(x) + (1 - y) * F.logsigmoid(-x)).mean(),
    soft_margin=lambda x, y: F.soft_margin_loss(x, y),
    multilabel_soft=lambda x, y: F.multilabel_soft_margin_loss(x.flatten(0, 1), y.flatten(0, 1)),
    hinge=lambda x, y: F.relu(1 - x * y).mean(),
    distill=lambda x, y: F.kl_div(F.log_softmax(x / 2, -1), F.softmax(y / 2, -1), reduction="batchmean") * 4,
    vae=lambda x, y: F.mse_loss(x, y) - 0.5 * torch.mean(1 + x - x.pow(2) - x.exp()),
    soft_ce=lambda x, y: torch.sum(-y * F.log_softmax(x, -1), -1).mean(),
    quantile=lambda x, y: torch.max(0.9 * (y - x), -0.1 * (y - x)).mean(),
    mape=lambda x, y: ((y - x).abs() / (y.abs() + 1e-6)).mean(),
    rmse=lambda x, y: torch.sqrt(F.mse_loss(x, y)),
    mse_scaled=lambda x, y: 0.5 * F.mse_loss(x, y),
    two_losses=lambda x, y: F.mse_loss(x, y) + F.l1_loss(x, y))
two("loss", x=f(S, H), y=f(S, H), reduce=False,
    infonce=lambda x, y: F.cross_entropy(F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).t() / 0.07, torch.arange(S, device=x.device)),
    clip=lambda x, y: (lambda l, t: (F.cross_entropy(l, t) + F.cross_entropy(l.t(), t)) / 2)(x @ y.t(), torch.arange(S, device=x.device)),
    barlow=lambda x, y: (lambda c: (torch.diagonal(c) - 1).pow(2).sum() + c.pow(2).sum() * 0.005)((x - x.mean(0)).t() @ (y - y.mean(0)) / S),
    bpr=lambda x, y: -F.logsigmoid((x * y).sum(-1)).mean(),
    margin=lambda x, y: F.margin_ranking_loss(x, y, torch.ones_like(x), margin=0.5),
    mse_both=lambda x, y: F.mse_loss(x, y),
    l1_both=lambda x, y: (x - y).abs().mean(),
    byol=lambda x, y: 2 - 2 * (F.normalize(x, dim=-1) * F.normalize(y, dim=-1).detach()).sum(-1).mean(),
    wgan=lambda x, y: x.mean() - y.mean(),
    gan_hinge=lambda x, y: F.relu(1 - x).mean() + F.relu(1 + y).mean(),
    gan_softplus=lambda x, y: F.softplus(-x).mean() + F.softplus(y).mean(),
    coral=lambda x, y: (x.t() @ x - y.t() @ y).pow(2).sum(),
    cos_embedding=lambda x, y: F.cosine_embedding_loss(x, y, torch.ones(S, device=x.device)))
case("triplet", "loss", lambda: Op3(lambda a, b, c: F.triplet_margin_loss(a, b, c), P, P, P), f(S, H), f(S, H), f(S, H))
case("bce_ones", "loss", lambda: Op1(lambda x: F.binary_cross_entropy_with_logits(x, torch.ones_like(x)), P, False), X)
case("ctc", "loss", lambda: Aux(lambda x, y: F.ctc_loss(x.log_softmax(-1), y, (41, 41, 41), (9, 9, 9)), (V,), False), f(41, 3, V), i(V - 1, 3, 9))

# ---- embeddings -------------------------------------------------------------------------------------------------------
ID = i(V, B, S)
for name, fn in dict(
    table_indexed=lambda k, w: w[k],
    f_embedding=lambda k, w: F.embedding(k, w),
    embedding_scaled=lambda k, w: F.embedding(k, w) * math.sqrt(H),
    embedding_onehot=lambda k, w: F.one_hot(k, V).to(w.dtype) @ w,
    embedding_mean=lambda k, w: F.embedding(k, w).mean(1),
    embedding_twice=lambda k, w: F.embedding(k, w) + F.embedding(k.flip(1), w),
    embedding_shifted=lambda k, w: F.embedding(k[:, :-1], w) * F.embedding(k[:, 1:], w),
    embedding_tied=lambda k, w: F.embedding(k, w) @ w.t(),
    embedding_masked=lambda k, w: F.embedding(k, w) * (k != 0).unsqueeze(-1),
    embedding_dropout=lambda k, w: F.dropout(F.embedding(k, w), 0.1),
    embedding_positions=lambda k, w: F.embedding(k, w) + w[:S],
    embedding_padding=lambda k, w: F.embedding(k, w, padding_idx=1)).items():
    case(name, "embedding", lambda fn=fn: Ids(fn, (V, H)), ID)
for name, fn in dict(bag_mean=lambda: nn.EmbeddingBag(V, H, mode="mean"),
    bag_sum=lambda: nn.EmbeddingBag(V, H, mode="sum"),
    embedding_frozen=lambda: nn.Sequential(still(nn.Embedding(V, H)), nn.Linear(H, 9)),
    embedding_linear=lambda: nn.Sequential(nn.Embedding(V, H), nn.Linear(H, 9)),
    embedding_norm=lambda: nn.Sequential(nn.Embedding(V, H), nn.LayerNorm(H), nn.Dropout(0.1)),
    embedding_lstm=lambda: nn.Sequential(nn.Embedding(V, H), Rnn(nn.LSTM)),
    embedding_conv=lambda: nn.Sequential(nn.Embedding(V, H), Fn(lambda x: x.transpose(1, 2)), nn.Conv1d(H, 9, 3), nn.ReLU(), Fn(lambda x: x.max(-1)[0]))).items():
    case(name, "embedding", lambda fn=fn: Bare(fn()), ID)


class Rnn(nn.Module):
    def __init__(self, kind, take="all", **k):
        super().__init__()
        k = dict(dict(batch_first=True), **k)
        self.rnn, self.take = kind(H, 31, **k), take

    def forward(self, x):
        y, h = self.rnn(x)
        return y if self.take == "all" else y[:, -1] if self.take == "last" else (h[0] if isinstance(h, tuple) else h)[-1]


class Cell(nn.Module):
    def __init__(self, kind, steps=5):
        super().__init__()
        self.cell, self.steps = kind(H, 31), steps

    def forward(self, x):
        h = x.new_zeros(x.size(0), 31)
        h, out = (h, h) if isinstance(self.cell, nn.LSTMCell) else h, []
        for t in range(self.steps):
            h = self.cell(x[:, t], h)
            out.append(h[0] if isinstance(h, tuple) else h)
        return torch.stack(out, 1)


one("recurrent", made=True,
    lstm_last=lambda: Rnn(nn.LSTM, "last"),
    lstm_hidden=lambda: Rnn(nn.LSTM, "hidden"),
    lstm_time_first=lambda: Rnn(nn.LSTM, batch_first=False),
    lstm_nobias=lambda: Rnn(nn.LSTM, bias=False),
    lstm_three=lambda: Rnn(nn.LSTM, num_layers=3, dropout=0.2),
    lstm_proj=lambda: Rnn(nn.LSTM, proj_size=13),
    gru_bidir=lambda: Rnn(nn.GRU, bidirectional=True),
    gru_two=lambda: Rnn(nn.GRU, num_layers=2),
    gru_hidden=lambda: Rnn(nn.GRU, "hidden"),
    rnn_tanh=lambda: Rnn(nn.RNN),
    rnn_relu=lambda: Rnn(nn.RNN, nonlinearity="relu"),
    lstm_cell=lambda: Cell(nn.LSTMCell),
    gru_cell=lambda: Cell(nn.GRUCell),
    rnn_cell=lambda: Cell(nn.RNNCell))


# ---- attention --------------------------------------------------------------------------------------------------------
def split(t, h=4): return t.view(t.shape[0], t.shape[1], h, -1).transpose(1, 2)
def join(t): return t.transpose(1, 2).reshape(t.shape[0], t.shape[2], -1)
def sdpa(q, k, v, **o): return join(F.scaled_dot_product_attention(split(q), split(k), split(v), **o))


class MHA(nn.Module):
    def __init__(self, *a, call=None, **k):
        super().__init__()
        self.mha, self.call = nn.MultiheadAttention(*a, **k), call or (lambda m, x: m(x, x, x, need_weights=False)[0])

    def forward(self, *x):
        return self.call(self.mha, *x)


def causal(n, device): return torch.triu(torch.ones(n, n, dtype=torch.bool, device=device), 1)


one("attention",
    sdpa_self=lambda x: sdpa(x, x, x),
    sdpa_scale=lambda x: sdpa(x, x, x, scale=0.3),
    sdpa_drop_causal=lambda x: sdpa(x, x, x, dropout_p=0.1, is_causal=True),
    sdpa_3d=lambda x: F.scaled_dot_product_attention(x, x, x),
    sdpa_tril=lambda x: sdpa(x, x, x, attn_mask=torch.ones(S, S, dtype=torch.bool, device=x.device).tril()),
    manual_causal=lambda x: (lambda q: join((q @ q.transpose(-2, -1) / math.sqrt(12)).masked_fill(causal(S, x.device), float("-inf")).softmax(-1) @ q))(split(x)),
    manual_einsum=lambda x: (lambda q: torch.einsum("bhij,bhjd->bhid", torch.einsum("bhid,bhjd->bhij", q, q).mul(0.3).softmax(-1), q))(split(x)),
    linear_attention=lambda x: (lambda q: join(q @ (q.transpose(-2, -1) @ q)))(F.elu(split(x)) + 1),
    linear_attention_normed=lambda x: (lambda q: torch.einsum("bhnd,bhde,bhn->bhne", q, torch.einsum("bhnd,bhne->bhde", q, q), 1 / torch.einsum("bhnd,bhd->bhn", q, q.sum(2))))(F.relu(split(x))),
    softmax_attention_q=lambda x: (lambda q: q.softmax(-1) @ (q.softmax(-2).transpose(-2, -1) @ q))(split(x)),
    cosine_attention=lambda x: (lambda q: (F.normalize(q, dim=-1) @ F.normalize(q, dim=-1).transpose(-2, -1) * 10).softmax(-1) @ q)(split(x)),
    channel_attention=lambda x: (lambda q: ((q.transpose(-2, -1) @ q) * 0.3).softmax(-1) @ q.transpose(-2, -1))(split(x)),
    manual_baddbmm=lambda x: (torch.baddbmm(torch.empty(B, S, S, dtype=x.dtype, device=x.device), x, x.transpose(1, 2), beta=0, alpha=0.3).softmax(-1) @ x),
    alibi=lambda x: (lambda q: (q @ q.transpose(-2, -1) * 0.3 + torch.arange(S, device=x.device, dtype=x.dtype).view(1, 1, 1, S) * torch.tensor([0.5, 0.25, 0.125, 0.06], device=x.device, dtype=x.dtype).view(1, 4, 1, 1)).softmax(-1) @ q)(split(x)),
    sdpa_windows=lambda x: F.scaled_dot_product_attention(*[x.view(B * 5, 7, 4, 12).transpose(1, 2)] * 3),
    softmax_plus_one=lambda x: (lambda e: (e / (1 + e.sum(-1, keepdim=True))) @ x)(torch.exp(x @ x.transpose(1, 2) * 0.1)),
    manual_dropout=lambda x: (lambda q: join(F.dropout((q @ q.transpose(-2, -1) * 0.3).softmax(-1), 0.1) @ q))(split(x)),
    rotary_pairs=lambda x: rotary(x),
    rotary_complex=lambda x: torch.view_as_real(torch.view_as_complex(x.float().view(B, S, 24, 2)) * torch.polar(torch.ones(S, 24, device=x.device), torch.arange(S * 24, device=x.device).view(S, 24) * 0.01)).flatten(2).type_as(x))
two("attention", y=f(B, 29, H),
    sdpa_cross=lambda x, y: sdpa(x, y, y),
    manual_cross=lambda x, y: (x @ y.transpose(1, 2) * 0.2).softmax(-1) @ y,
    co_attention=lambda x, y: (lambda a: a.softmax(-1) @ y + (a.transpose(1, 2).softmax(-1) @ x).mean(1, keepdim=True))(x @ y.transpose(1, 2)),
    additive=lambda x, y: torch.tanh(x.unsqueeze(2) + y.unsqueeze(1)).sum(-1).softmax(-1) @ y)
aux("attention", m(B, S),
    sdpa_padding=lambda x, k: sdpa(x, x, x, attn_mask=k[:, None, None]),
    sdpa_padding_expanded=lambda x, k: sdpa(x, x, x, attn_mask=k[:, None, None].expand(B, 4, S, S)),
    sdpa_float_padding=lambda x, k: sdpa(x, x, x, attn_mask=torch.zeros(B, 1, 1, S, dtype=x.dtype, device=x.device).masked_fill(k[:, None, None], float("-inf"))),
    manual_padding=lambda x, k: (x @ x.transpose(1, 2)).masked_fill(k[:, None], float("-inf")).softmax(-1) @ x)
own("attention", (4, S, S),
    sdpa_bias=lambda x, w: sdpa(x, x, x, attn_mask=w),
    manual_bias=lambda x, w: (lambda q: (q @ q.transpose(-2, -1) + w).softmax(-1) @ q)(split(x)),
    manual_bias_unsqueezed=lambda x, w: (lambda q: (q @ q.transpose(-2, -1) * 0.3 + w.unsqueeze(0)).softmax(-1) @ q)(split(x)))
own("attention", (4, 4),
    talking_heads=lambda x, w: (lambda q: torch.einsum("bhij,hg->bgij", (q @ q.transpose(-2, -1)), w).softmax(-1) @ q)(split(x)))
one("attention", made=True,
    mha_time_first=lambda: MHA(H, 4, dropout=0.1),
    mha_nobias=lambda: MHA(H, 4, bias=False, batch_first=True),
    mha_weights_summed=lambda: MHA(H, 4, batch_first=True, call=lambda m, x: m(x, x, x)[0]),
    mha_weights_used=lambda: MHA(H, 4, batch_first=True, call=lambda m, x: (lambda y, w: w @ y)(*m(x, x, x))),
    mha_causal=lambda: MHA(H, 4, batch_first=True, call=lambda m, x: m(x, x, x, attn_mask=causal(S, x.device), need_weights=False)[0]),
    mha_heads=lambda: MHA(H, 4, batch_first=True, call=lambda m, x: m(x, x, x, average_attn_weights=False)[0]),
    mha_causal_weights=lambda: MHA(H, 4, batch_first=True, call=lambda m, x: m(x, x, x, attn_mask=causal(S, x.device))[0]),
    encoder_time_first=lambda: nn.TransformerEncoderLayer(H, 4, 90),
    encoder_two=lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(H, 4, 90, batch_first=True), 2),
    encoder_two_normed=lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(H, 4, 90, batch_first=True, norm_first=True), 2, nn.LayerNorm(H), enable_nested_tensor=False),
    encoder_gelu=lambda: nn.TransformerEncoderLayer(H, 4, 90, activation="gelu", batch_first=True),
    encoder_nodrop=lambda: nn.TransformerEncoderLayer(H, 4, 90, 0.0, batch_first=True),
    encoder_causal=lambda: Causal(nn.TransformerEncoderLayer(H, 4, 90, batch_first=True)),
    decoder_layer=lambda: Pair(nn.TransformerDecoderLayer(H, 4, 90, batch_first=True)),
    encoder_nobias=lambda: nn.TransformerEncoderLayer(H, 4, 90, bias=False, batch_first=True))
case("mha_cross", "attention", lambda: Cross(MHA(H, 4, batch_first=True, call=lambda m, x, y: m(x, y, y, need_weights=False)[0])), X, f(B, 29, H))
case("mha_cross_weights", "attention", lambda: Cross(MHA(H, 4, batch_first=True, call=lambda m, x, y: m(x, y, y)[0])), X, f(B, 29, H))
case("decoder_cross", "attention", lambda: Cross(nn.TransformerDecoderLayer(H, 4, 90, batch_first=True)), X, f(B, 29, H))
case("transformer", "attention", lambda: Cross(nn.Transformer(H, 4, 1, 1, 90, batch_first=True)), X, f(B, 29, H))
case("mha_kdim", "attention", lambda: Cross(MHA(H, 4, batch_first=True, kdim=20, vdim=20, call=lambda m, x, y: m(x, y[..., :20], y[..., :20], need_weights=False)[0])), X, f(B, 29, H))
case("mha_padding", "attention", lambda: Pads(MHA(H, 4, batch_first=True, call=lambda m, x, k: m(x, x, x, key_padding_mask=k, need_weights=False)[0])), X, m(B, S))
case("encoder_padding", "attention", lambda: Pads(Padded(nn.TransformerEncoderLayer(H, 4, 90, batch_first=True))), X, m(B, S))


def rotary(x):
    a = torch.arange(S, device=x.device, dtype=torch.float32)[:, None] * 10000 ** (-torch.arange(0, H, 2, device=x.device, dtype=torch.float32) / H)
    c, s = a.cos().to(x.dtype), a.sin().to(x.dtype)
    u, v = x[..., ::2], x[..., 1::2]
    return torch.stack([u * c - v * s, u * s + v * c], -1).flatten(-2)


class Causal(nn.Module):
    def __init__(self, mod):
        super().__init__()
        self.mod = mod

    def forward(self, x):
        return self.mod(x, src_mask=nn.Transformer.generate_square_subsequent_mask(x.size(1), device=x.device), is_causal=True)


class Padded(nn.Module):
    def __init__(self, mod):
        super().__init__()
        self.mod = mod

    def forward(self, x, k):
        return self.mod(x, src_key_padding_mask=k)


class Pair(nn.Module):
    def __init__(self, mod):
        super().__init__()
        self.mod = mod

    def forward(self, x):
        return self.mod(x, x.sin())


class Cross(nn.Module):
    def __init__(self, mod):
        super().__init__()
        self.mod, self.p, self.q = mod, nn.Parameter(torch.zeros(H)), nn.Parameter(torch.zeros(H))

    def forward(self, x, y):
        return self.mod(x + self.p, y + self.q).sum()


class Pads(nn.Module):
    def __init__(self, mod):
        super().__init__()
        self.mod, self.p = mod, nn.Parameter(torch.zeros(H))

    def forward(self, x, k):
        return self.mod(x + self.p, k).sum()


# ---- blocks -----------------------------------------------------------------------------------------------------------
class Block(nn.Module):
    def __init__(self, parts, call):
        super().__init__()
        self.parts, self.call = nn.ModuleList(parts), call

    def forward(self, x):
        return self.call(x, *self.parts)


def conv_bn(a, b, k=3, act=True): return nn.Sequential(nn.Conv2d(a, b, k, padding=k // 2, bias=False), nn.BatchNorm2d(b), *([nn.ReLU(inplace=True)] if act else []))


one("block", IMG, PC, made=True,
    se=lambda: Block([nn.Conv2d(C, 3, 1), nn.Conv2d(3, C, 1)], lambda x, a, b: x * torch.sigmoid(b(F.relu(a(x.mean((2, 3), keepdim=True)))))),
    se_linear=lambda: Block([nn.Linear(C, 3), nn.Linear(3, C)], lambda x, a, b: x * b(a(F.adaptive_avg_pool2d(x, 1).flatten(1)).relu()).sigmoid()[:, :, None, None]),
    fire=lambda: Block([nn.Conv2d(C, 3, 1), nn.Conv2d(3, 5, 1), nn.Conv2d(3, 5, 3, padding=1)], lambda x, s, a, b: (lambda y: torch.cat([F.relu(a(y)), F.relu(b(y))], 1))(F.relu(s(x)))),
    dense=lambda: Block([conv_bn(C, 4), conv_bn(C + 4, 4)], lambda x, a, b: (lambda y: torch.cat([y, b(y)], 1))(torch.cat([x, a(x)], 1))),
    inverted=lambda: Block([conv_bn(C, 12, 1), conv_bn(12, C, 3, False)], lambda x, a, b: x + b(a(x))),
    unet=lambda: Block([conv_bn(C, 8), nn.ConvTranspose2d(8, C, 2, 2)], lambda x, a, b: torch.cat([x, b(a(F.max_pool2d(x, 2)))], 1)),
    convnext=lambda: Block([nn.Conv2d(C, C, 7, padding=3, groups=C), nn.LayerNorm(C), nn.Linear(C, 24), nn.GELU(), nn.Linear(24, C)], lambda x, d, n, a, g, b: x + b(g(a(n(d(x).permute(0, 2, 3, 1))))).permute(0, 3, 1, 2)),
    preact=lambda: Block([nn.BatchNorm2d(C), nn.Conv2d(C, C, 3, padding=1)], lambda x, n, c: x + c(F.relu(n(x)))),
    ghost=lambda: Block([conv_bn(C, 5, 1), nn.Conv2d(5, 5, 3, padding=1, groups=5)], lambda x, a, b: (lambda y: torch.cat([y, b(y)], 1))(a(x))),
    shuffle=lambda: Block([conv_bn(3, 3)], lambda x, a: torch.cat([x[:, :3], a(x[:, 3:])], 1).view(B, 2, 3, HH, WW).transpose(1, 2).reshape(B, C, HH, WW)),
    aspp=lambda: Block([conv_bn(C, 4, 1), nn.Conv2d(C, 4, 3, padding=2, dilation=2), nn.Conv2d(C, 4, 1)], lambda x, a, b, c: torch.cat([a(x), b(x), F.interpolate(c(F.adaptive_avg_pool2d(x, 1)), size=x.shape[2:], mode="bilinear", align_corners=False)], 1)),
    csp=lambda: Block([conv_bn(3, 3), conv_bn(C, C, 1)], lambda x, a, b: (lambda u, v: b(torch.cat([u, v + a(v)], 1)))(*x.chunk(2, 1))),
    sppf=lambda: Block([nn.MaxPool2d(5, 1, 2)], lambda x, p: (lambda a: (lambda b: torch.cat([x, a, b, p(b)], 1))(p(a)))(p(x))),
    fpn=lambda: Block([nn.Conv2d(C, 4, 1), nn.Conv2d(C, 4, 1)], lambda x, a, b: a(x) + F.interpolate(b(F.max_pool2d(x, 2)), scale_factor=2, mode="nearest")),
    nonlocal_=lambda: Block([nn.Conv2d(C, 3, 1), nn.Conv2d(C, 3, 1), nn.Conv2d(C, C, 1)], lambda x, q, k, v: x + (v(x).flatten(2) @ (q(x).flatten(2).transpose(1, 2) @ k(x).flatten(2)).softmax(-1).transpose(1, 2)).view_as(x)),
    residual_out=lambda: Block([conv_bn(C, C), conv_bn(C, C, 3, False)], lambda x, a, b: F.relu(b(a(x)) + x)),
    time_embedded=lambda: Block([nn.GroupNorm(2, C), nn.Conv2d(C, C, 3, padding=1), nn.Linear(C, C)], lambda x, n, c, t: c(F.silu(n(x))) + t(F.silu(x.mean((2, 3))))[:, :, None, None]))
one("block", made=True,
    prenorm_attention=lambda: Block([nn.LayerNorm(H), nn.Linear(H, 3 * H), nn.Linear(H, H)], lambda x, n, i, o: x + o(join(F.scaled_dot_product_attention(*(split(t) for t in i(n(x)).chunk(3, -1)))))),
    vit_attention=lambda: Block([nn.Linear(H, 3 * H), nn.Linear(H, H)], lambda x, i, o: (lambda q, k, v: o(((q * 12 ** -0.5) @ k.transpose(-2, -1)).softmax(-1).matmul(v).transpose(1, 2).reshape(B, S, H)))(*i(x).reshape(B, S, 3, 4, 12).permute(2, 0, 3, 1, 4).unbind(0))),
    vit_sdpa=lambda: Block([nn.Linear(H, 3 * H), nn.Linear(H, H)], lambda x, i, o: o(F.scaled_dot_product_attention(*i(x).reshape(B, S, 3, 4, 12).permute(2, 0, 3, 1, 4)).transpose(1, 2).reshape(B, S, H))),
    llama_mlp=lambda: Block([nn.Linear(H, 90, False), nn.Linear(H, 90, False), nn.Linear(90, H, False)], lambda x, a, b, c: c(F.silu(a(x)) * b(x))),
    geglu_mlp=lambda: Block([nn.Linear(H, 180), nn.Linear(90, H)], lambda x, a, b: b((lambda u, v: u * F.gelu(v))(*a(x).chunk(2, -1)))),
    qk_norm=lambda: Block([nn.Linear(H, H), nn.Linear(H, H), nn.LayerNorm(12), nn.LayerNorm(12)], lambda x, q, k, n, m: F.scaled_dot_product_attention(n(split(q(x))), m(split(k(x))), split(x))),
    mixer=lambda: Block([nn.LayerNorm(H), nn.Linear(S, 50), nn.Linear(50, S)], lambda x, n, a, b: x + b(F.gelu(a(n(x).transpose(1, 2)))).transpose(1, 2)),
    moe_dense=lambda: Block([nn.Linear(H, 3), nn.Linear(H, 3 * H)], lambda x, g, e: (g(x).softmax(-1).unsqueeze(-1) * e(x).view(B, S, 3, H)).sum(2)),
    adaln=lambda: Block([nn.Linear(H, 2 * H), nn.LayerNorm(H, elementwise_affine=False), nn.SiLU()], lambda x, a, n, s: (lambda u, v: n(x) * (1 + u) + v)(*a(s(x.mean(1, keepdim=True))).chunk(2, -1))),
    mlp_relu_drop=lambda: nn.Sequential(nn.Linear(H, 90), nn.ReLU(), nn.Dropout(0.1), nn.Linear(90, H), nn.Dropout(0.1)),
    mlp_relu_inplace=lambda: nn.Sequential(nn.Linear(H, 90), nn.ReLU(True), nn.Linear(90, H), nn.ReLU(True)),
    mlp_tanh=lambda: nn.Sequential(nn.Linear(H, 90), nn.Tanh(), nn.Linear(90, H), nn.Sigmoid()),
    mlp_bn=lambda: nn.Sequential(nn.Flatten(0, 1), nn.Linear(H, 90), nn.BatchNorm1d(90), nn.ReLU(), nn.Linear(90, 9)),
    postnorm=lambda: Block([nn.Linear(H, H), nn.Dropout(0.1), nn.LayerNorm(H)], lambda x, a, d, n: n(x + d(a(x)))),
    mqa=lambda: Block([nn.Linear(H, H), nn.Linear(H, 24)], lambda x, q, kv: (lambda k, v: F.scaled_dot_product_attention(split(q(x)), k[:, None].expand(-1, 4, -1, -1), v[:, None].expand(-1, 4, -1, -1), is_causal=True))(*kv(x).chunk(2, -1))),
    gqa_repeat=lambda: Block([nn.Linear(H, H), nn.Linear(H, 24), nn.Linear(H, 24)], lambda x, q, k, v: F.scaled_dot_product_attention(split(q(x)), split(k(x), 2).repeat_interleave(2, 1), split(v(x), 2).repeat_interleave(2, 1), is_causal=True)),
    vector_quantize=lambda: Block([nn.Embedding(17, H)], lambda x, e: (lambda z, k: x + (e(k) - x).detach() + (z - e(k).flatten(0, 1)).pow(2).mean())(x.flatten(0, 1), (x.flatten(0, 1).pow(2).sum(1, keepdim=True) - 2 * x.flatten(0, 1) @ e.weight.t() + e.weight.pow(2).sum(1)).argmin(1).view(B, S))),
    sinusoidal=lambda: Block([nn.Linear(H, H)], lambda x, a: a(x + sinusoid(S, H, x))),
    graph_conv=lambda: Block([nn.Linear(H, 20)], lambda x, a: F.relu((x @ x.transpose(1, 2)).softmax(-1) @ a(x))),
    router_topk=lambda: Block([nn.Linear(H, 4, bias=False)], lambda x, g: (lambda v, k: x * (v / v.sum(-1, keepdim=True)).sum(-1, keepdim=True))(*g(x).softmax(-1).topk(2, -1))))


def sinusoid(n, d, x):
    a = torch.arange(n, device=x.device)[:, None] * torch.exp(torch.arange(0, d, 2, device=x.device) * (-math.log(10000.0) / d))
    return torch.stack([a.sin(), a.cos()], -1).flatten(1).to(x.dtype)


# ---- small functions and blocks as people write them -------------------------------------------------------------------
own("a", (H, H),
    addmm_3d=lambda x, w: torch.addmm(w[0], x.flatten(0, 1), w),
    matmul_tanh=lambda x, w: torch.tanh(x @ w),
    lowrank=lambda x, w: x @ w[:, :7] @ w[:7],
    gram_weight=lambda x, w: x @ (w @ w.t()),
    orth=lambda x, w: ((w.t() @ w - torch.eye(H, device=x.device, dtype=x.dtype)) ** 2).sum() + x.mean(),
    weight_decay=lambda x, w: (x @ w).mean() + 0.01 * w.pow(2).sum(),
    weight_masked=lambda x, w: x @ (w * torch.tril(torch.ones(H, H, device=x.device, dtype=x.dtype))),
    weight_softmax=lambda x, w: x @ w.softmax(0),
    weight_normed=lambda x, w: x @ F.normalize(w, dim=0),
    weight_cat=lambda x, w: F.linear(x, torch.cat([w, w], 0)),
    weight_dropout=lambda x, w: F.linear(x, F.dropout(w, 0.1)),
    weight_quant=lambda x, w: F.linear(x, w + (torch.round(w * 8) / 8 - w).detach()),
    weight_sign=lambda x, w: F.linear(x, w.sign() * w.abs().mean()))
own("b", (7, H),
    prototypes=lambda x, w: -(x.unsqueeze(2) - w).pow(2).sum(-1),
    cosine_head=lambda x, w: F.normalize(x, dim=-1) @ F.normalize(w, dim=-1).t() * 16,
    soft_assign=lambda x, w: torch.einsum("bsk,bsd->bkd", (x @ w.t()).softmax(-1), x),
    memory=lambda x, w: (x @ w.t() / 7).softmax(-1) @ w,
    mixture=lambda x, w: torch.logsumexp(x @ w.t(), -1),
    top_one=lambda x, w: x + w[(x @ w.t()).argmax(-1)],
    gate_sum=lambda x, w: ((x @ w.t()).sigmoid().unsqueeze(-1) * w).sum(2),
    bias_rows=lambda x, w: x + w.mean(0),
    repeated_rows=lambda x, w: x + w.repeat(5, 1),
    slots=lambda x, w: torch.einsum("kd,bsd->bks", w, x).softmax(1) @ x)
own("c", (1, 1, H),
    add_token=lambda x, w: torch.cat([x, w.expand(x.shape[0], 1, -1)], 1).mean(1),
    layer_scale=lambda x, w: x + w * F.gelu(x),
    gate_tanh=lambda x, w: x + torch.tanh(w) * x.sin(),
    shift_too=lambda x, w: x - w.mean(),
    affine=lambda x, w: (x - x.mean(-1, keepdim=True)) * w)
one("d",
    chunk_rotate=lambda x: torch.cat([-x.chunk(2, -1)[1], x.chunk(2, -1)[0]], -1),
    dynamic_tanh=lambda x: torch.tanh(0.5 * x) * x,
    window_mean=lambda x: F.avg_pool1d(x.transpose(1, 2), 3, 1, 1).transpose(1, 2),
    global_context=lambda x: x + (x * x.mean(-1, keepdim=True).softmax(1)).sum(1, keepdim=True),
    topk_mask=lambda x: x.masked_fill(x < x.topk(5, -1)[0][..., -1:], float("-inf")).softmax(-1),
    causal_mean=lambda x: x.cumsum(1) / torch.arange(1, S + 1, device=x.device, dtype=x.dtype).view(1, -1, 1),
    exponential_average=lambda x: torch.stack([x[:, 0], 0.9 * x[:, 0] + 0.1 * x[:, 1], 0.9 * x[:, 1] + 0.1 * x[:, 2]], 1),
    pairwise_products=lambda x: torch.stack([x[:, i] * x[:, j] for i in range(3) for j in range(i + 1, 4)], 1),
    factorization=lambda x: 0.5 * (x.sum(1).pow(2) - x.pow(2).sum(1)),
    cross_terms=lambda x: (x.unsqueeze(2) * x.unsqueeze(1)).sum(-1),
    binarize=lambda x: (x > 0.5).to(x.dtype) + x - x.detach(),
    soft_threshold=lambda x: torch.sign(x) * F.relu(torch.abs(x) - 0.1),
    squash=lambda x: (lambda n: (n / (1 + n)) * x / (n + 1e-8).sqrt())((x ** 2).sum(-1, keepdim=True)),
    power_norm=lambda x: x.sign() * x.abs().sqrt(),
    log_sum=lambda x: torch.log(torch.exp(x).sum(-1)),
    stable_softmax=lambda x: (lambda e: e / e.sum(-1, keepdim=True))(torch.exp(x - x.max(-1, keepdim=True)[0])),
    tempered=lambda x: F.softmax(x * 5, dim=-1).pow(2).sum(-1),
    entropy_reg=lambda x: (F.softmax(x, -1) * F.log_softmax(x, -1)).sum(-1).mean(),
    margin_scores=lambda x: F.relu(0.2 + x[:, 1:] - x[:, :1]).sum(),
    rank_pairs=lambda x: -F.logsigmoid(x[:, :17] - x[:, 17:34]).mean(),
    sum_then_norm=lambda x: F.normalize(x.sum(1), dim=-1),
    mean_std=lambda x: torch.cat([x.mean(1), x.std(1)], -1),
    max_mean=lambda x: torch.cat([x.max(1)[0], x.mean(1)], -1),
    min_max_scaled=lambda x: (x - x.amin(1, keepdim=True)) / (x.amax(1, keepdim=True) - x.amin(1, keepdim=True) + 1e-5),
    l2_penalty=lambda x: x.norm(dim=-1).mean(),
    angle=lambda x: torch.atan2(x[..., :24], x[..., 24:]),
    polar=lambda x: torch.cat([x[..., :24] * x[..., 24:].cos(), x[..., :24] * x[..., 24:].sin()], -1),
    complex_abs=lambda x: torch.sqrt(x[..., :24] ** 2 + x[..., 24:] ** 2 + 1e-8),
    quaternion=lambda x: (lambda a, b, c, d: torch.cat([a * b - c * d, a * c + b * d], -1))(*x.chunk(4, -1)),
    sinc=lambda x: torch.sin(3 * x) / (3 * x),
    gaussian_rbf=lambda x: torch.exp(-((x.unsqueeze(-1) - torch.linspace(0, 1, 6, device=x.device, dtype=x.dtype)) ** 2) / 0.1),
    reparameterize=lambda x: (lambda mu, lv: mu + torch.exp(0.5 * lv) * torch.randn_like(mu))(*x.chunk(2, -1)),
    kl_normal=lambda x: (lambda mu, lv: -0.5 * torch.sum(1 + lv - mu.pow(2) - lv.exp()))(*x.chunk(2, -1)),
    gumbel_noise=lambda x: x - torch.log(-torch.log(torch.rand_like(x) + 1e-9) + 1e-9),
    noisy=lambda x: x + torch.randn_like(x) * 0.1,
    mixup=lambda x: 0.3 * x + 0.7 * x.flip(0),
    mixup_rolled=lambda x: 0.3 * x + 0.7 * x.roll(1, 0),
    detached_target=lambda x: F.mse_loss(x[:, :-1], x[:, 1:].detach()),
    stop_mean=lambda x: x - x.mean(0, keepdim=True).detach(),
    checker=lambda x: x * (torch.arange(S, device=x.device) % 2).view(1, -1, 1).to(x.dtype),
    positions=lambda x: x + torch.arange(S, device=x.device, dtype=x.dtype).view(1, S, 1) / S,
    relative=lambda x: (x @ x.transpose(1, 2)) - (torch.arange(S, device=x.device)[None, :] - torch.arange(S, device=x.device)[:, None]).abs().to(x.dtype),
    banded=lambda x: (x @ x.transpose(1, 2)).masked_fill(((torch.arange(S, device=x.device)[None, :] - torch.arange(S, device=x.device)[:, None]).abs() > 3), float("-inf")).softmax(-1) @ x,
    shift_tokens=lambda x: torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1),
    token_shift=lambda x: (lambda a, b: torch.cat([F.pad(a, (0, 0, 1, -1)), b], -1))(*x.chunk(2, -1)),
    split_mean=lambda x: torch.stack([p.mean(1) for p in x.split(7, 1)], 1),
    pooled_windows=lambda x: x.view(B, 5, 7, H).amax(2),
    strided=lambda x: x[:, ::5].reshape(B, -1),
    unfold_mean=lambda x: x.unfold(1, 5, 5).mean(-1),
    outer_self=lambda x: torch.einsum("bsi,bsj->bij", x, x) / S,
    correlation=lambda x: (lambda z: z @ z.transpose(1, 2))(F.normalize(x - x.mean(-1, keepdim=True), dim=-1)),
    whiten=lambda x: (x - x.mean((0, 1), keepdim=True)) / x.var((0, 1), keepdim=True).add(1e-5).sqrt(),
    instance_like=lambda x: (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-5),
    ada_in=lambda x: (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, keepdim=True) + 1e-5) * x.amax(1, keepdim=True),
    swish_gate=lambda x: (lambda a, b: F.silu(a) + F.silu(b))(*x.chunk(2, -1)),
    tanh_gelu=lambda x: torch.tanh(F.gelu(x)),
    relu_chain=lambda x: F.relu(F.relu(x) - 0.5),
    leaky_call=lambda x: F.leaky_relu(x, 0.01) * 2,
    elu_call=lambda x: F.elu(x * 2),
    selu_drop=lambda x: F.dropout(F.selu(x), 0.1),
    hard_gate=lambda x: x * F.hardsigmoid(x),
    softsign_call=lambda x: F.softsign(x) * x,
    softplus_log=lambda x: torch.log(F.softplus(x)),
    mish_call=lambda x: F.mish(x).mean(1),
    glu_call=lambda x: F.glu(x, dim=-1) * 2,
    clamp_exp=lambda x: torch.exp(torch.clamp(x, -5, 5)),
    clamp_grad=lambda x: x.clamp(0, 1) * x,
    log_safe=lambda x: torch.log(torch.clamp(x, min=1e-8)),
    logit_safe=lambda x: torch.log(x + 1e-6) - torch.log(1 - x + 1e-6),
    sqrt_sum=lambda x: torch.sqrt(torch.sum(x ** 2, dim=-1) + 1e-8),
    cube_root=lambda x: torch.pow(x.abs() + 1e-6, 1 / 3),
    inverse_square=lambda x: 1.0 / (1.0 + x ** 2),
    rational=lambda x: (x + 1) / (x ** 2 + 2),
    poly_horner=lambda x: ((0.1 * x + 0.2) * x + 0.3) * x,
    hinge_square=lambda x: F.relu(1 - x) ** 2,
    huber_manual=lambda x: torch.where(x.abs() < 0.5, 0.5 * x ** 2, 0.5 * (x.abs() - 0.25)),
    abs_pow=lambda x: x.abs().pow(1.5).mean(-1),
    prod_pairs=lambda x: x[..., 0::2] * x[..., 1::2],
    max_pairs=lambda x: torch.max(x[..., 0::2], x[..., 1::2]),
    median_filter=lambda x: x.unfold(1, 3, 1).median(-1)[0],
    sorted_mean=lambda x: x.sort(1)[0][:, :5].mean(1),
    rank_weights=lambda x: (x.sort(1, descending=True)[0] * torch.linspace(1, 0, S, device=x.device, dtype=x.dtype).view(1, -1, 1)).sum(1))
two("e",
    gated_sum=lambda x, y: (lambda g: g * x + (1 - g) * y)(torch.sigmoid(x + y)),
    cross_gate=lambda x, y: x * torch.sigmoid(y) + y * torch.sigmoid(x),
    bilinear_pool=lambda x, y: (x.transpose(1, 2) @ y).flatten(1).sqrt(),
    dot_scores=lambda x, y: (x * y).sum(-1) / math.sqrt(H),
    concat_mul=lambda x, y: torch.cat([x, y, x * y, (x - y).abs()], -1),
    film2=lambda x, y: x * (1 + y.mean(1, keepdim=True)) + y.amax(1, keepdim=True),
    residual_norm=lambda x, y: F.layer_norm(x + y, (H,)),
    softmax_mix=lambda x, y: (lambda w: w[0] * x + w[1] * y)(torch.softmax(torch.stack([x.mean(), y.mean()]), 0)),
    contrast=lambda x, y: torch.log(torch.exp((x * y).sum(-1)) / torch.exp(x @ y.transpose(1, 2)).sum(-1)),
    distance_margin=lambda x, y: F.relu(1.0 - (x - y).norm(dim=-1)).pow(2).mean(),
    cosine_margin=lambda x, y: F.relu(0.5 - F.cosine_similarity(x, y, -1)).mean(),
    wasserstein=lambda x, y: (x.sort(1)[0] - y.sort(1)[0]).abs().mean(),
    mmd=lambda x, y: (x.mean((0, 1)) - y.mean((0, 1))).pow(2).sum(),
    max_sim=lambda x, y: (x @ y.transpose(1, 2)).max(-1)[0].sum(-1),
    ncut=lambda x, y: ((x @ y.transpose(1, 2)).softmax(-1) * (y @ x.transpose(1, 2))).sum(),
    alternate=lambda x, y: torch.stack([x, y], 2).flatten(1, 2),
    select_halves=lambda x, y: torch.cat([x[:, :17], y[:, 17:]], 1),
    power_mean=lambda x, y: ((x.pow(3) + y.pow(3)) / 2).pow(1 / 3),
    attend_values=lambda x, y: torch.bmm(F.softmax(torch.bmm(x, y.transpose(1, 2)), dim=2), y),
    add_drop_norm=lambda x, y: F.layer_norm(x + F.dropout(y, 0.1), (H,)),
    where_mask=lambda x, y: torch.where(x > y, x - y, torch.zeros_like(x)),
    lerp_half=lambda x, y: x.lerp(y, 0.5),
    max_out=lambda x, y: torch.maximum(x, y) + torch.minimum(x, y))
one("f", IMG, PC,
    focal_modulation=lambda x: x * F.gelu(x.mean((2, 3), keepdim=True)),
    instance_manual=lambda x: (lambda m, v: (x - m) / torch.sqrt(v + 1e-5))(x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)),
    demodulate=lambda x: x * torch.rsqrt(x.square().sum((1, 2, 3), keepdim=True) + 1e-8),
    minibatch_std=lambda x: torch.cat([x, x.std(0, unbiased=False).mean().view(1, 1, 1, 1).expand(B, 1, HH, WW)], 1),
    laplacian=lambda x: x - F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="nearest"),
    tv_loss=lambda x: (x[:, :, 1:] - x[:, :, :-1]).abs().mean() + (x[..., 1:] - x[..., :-1]).abs().mean(),
    gram_matrix=lambda x: (lambda f: f @ f.transpose(1, 2) / (C * HH * WW))(x.flatten(2)),
    spatial_softmax=lambda x: (lambda p: (p * torch.linspace(-1, 1, HH * WW, device=x.device, dtype=x.dtype)).sum(-1))(x.flatten(2).softmax(-1)),
    channel_max=lambda x: x.max(1, keepdim=True)[0] * x,
    global_std=lambda x: x.flatten(2).std(-1),
    edge_pad_diff=lambda x: x - F.pad(x, (1, 0, 0, 0), mode="replicate")[..., :-1],
    four_crops=lambda x: torch.cat([x[..., :9, :11], x[..., 9:, :11], x[..., :9, 11:], x[..., 9:, 11:]], 0),
    haar=lambda x: (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 2,
    patch_tokens=lambda x: x.unfold(2, 6, 6).unfold(3, 11, 11).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2),
    reverse_window=lambda x: x.view(B, C, 2, 9, 2, 11).permute(0, 2, 4, 3, 5, 1).contiguous().view(-1, 9, 11, C),
    blur_pool=lambda x: F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 2),
    max_avg_mix=lambda x: 0.5 * F.max_pool2d(x, 2) + 0.5 * F.avg_pool2d(x, 2),
    pyramid=lambda x: torch.cat([F.adaptive_avg_pool2d(x, k).flatten(2) for k in (1, 2, 3)], -1).mean(-1),
    upsample_add=lambda x: x + F.interpolate(F.max_pool2d(x, 2), size=(HH, WW), mode="bilinear", align_corners=False),
    grid_coords=lambda x: torch.cat([x, torch.stack(torch.meshgrid(torch.linspace(-1, 1, HH, device=x.device, dtype=x.dtype), torch.linspace(-1, 1, WW, device=x.device, dtype=x.dtype), indexing="ij")).expand(B, -1, -1, -1)], 1),
    se_hard=lambda x: x * F.hardsigmoid(F.adaptive_avg_pool2d(x, 1)),
    eca=lambda x: x * torch.sigmoid(F.avg_pool1d(x.mean((2, 3)).unsqueeze(1), 3, 1, 1)).transpose(1, 2).unsqueeze(-1),
    drop_block=lambda x: x * (1 - F.max_pool2d((torch.rand(B, 1, HH, WW, device=x.device) < 0.05).to(x.dtype), 3, 1, 1)),
    grayscale=lambda x: (x[:, :3] * torch.tensor([0.3, 0.6, 0.1], device=x.device, dtype=x.dtype).view(1, 3, 1, 1)).sum(1, keepdim=True),
    normalized_image=lambda x: (x[:, :3] - torch.tensor([0.48, 0.45, 0.40], device=x.device, dtype=x.dtype)[None, :, None, None]) / 0.25,
    l2_map=lambda x: F.normalize(x, p=2, dim=1),
    attention_transfer=lambda x: F.normalize(x.pow(2).mean(1).view(B, -1)))
one("g", IMG, PC, made=True,
    conv_bn_gelu=lambda: nn.Sequential(nn.Conv2d(C, 8, 3), nn.BatchNorm2d(8), nn.GELU()),
    conv_gn_mish=lambda: nn.Sequential(nn.Conv2d(C, 8, 3), nn.GroupNorm(4, 8), nn.Mish()),
    conv_in_leaky=lambda: nn.Sequential(nn.Conv2d(C, 8, 3), nn.InstanceNorm2d(8), nn.LeakyReLU(0.2)),
    conv_ln=lambda: nn.Sequential(nn.Conv2d(C, 8, 3), Fn(lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2))),
    deconv_bn_relu=lambda: nn.Sequential(nn.ConvTranspose2d(C, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(True)),
    deconv_tanh=lambda: nn.Sequential(nn.ConvTranspose2d(C, 3, 4, 2, 1), nn.Tanh()),
    conv_pool_flat=lambda: nn.Sequential(nn.Conv2d(C, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(640, 5)),
    conv_dropout=lambda: nn.Sequential(nn.Conv2d(C, 8, 3), nn.ReLU(inplace=True), nn.Dropout(0.3)),
    conv_softplus=lambda: nn.Sequential(nn.Conv2d(C, 8, 3), nn.Softplus()),
    conv_glu=lambda: nn.Sequential(nn.Conv2d(C, 16, 3), nn.GLU(dim=1)),
    conv_stride_same=lambda: nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(C, 8, 7), nn.InstanceNorm2d(8), nn.ReLU(True)),
    dilated_stack=lambda: nn.Sequential(nn.Conv2d(C, C, 3, padding=1), nn.ELU(), nn.Conv2d(C, C, 3, padding=2, dilation=2), nn.ELU()),
    bottleneck=lambda: Block([nn.Conv2d(C, 3, 1), nn.Conv2d(3, C, 1)], lambda x, a, b: x + b(F.relu(a(x)))),
    attention_gate=lambda: Block([nn.Conv2d(C, 1, 1)], lambda x, a: x * torch.sigmoid(a(x))),
    cbam=lambda: Block([nn.Conv2d(2, 1, 7, padding=3)], lambda x, a: x * torch.sigmoid(a(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))),
    involution=lambda: Block([nn.Conv2d(C, 9, 1)], lambda x, a: (F.unfold(x, 3, padding=1).view(B, C, 9, HH, WW) * a(x).unsqueeze(1)).sum(2)),
    dynamic_conv=lambda: Block([nn.Linear(C, 2), nn.Conv2d(C, C, 3, padding=1), nn.Conv2d(C, C, 3, padding=1)], lambda x, g, a, b: (lambda w: w[:, 0, None, None, None] * a(x) + w[:, 1, None, None, None] * b(x))(g(x.mean((2, 3))).softmax(-1))),
    film_conv=lambda: Block([nn.Linear(C, 2 * C)], lambda x, l: (lambda s, t: x * (1 + s[..., None, None]) + t[..., None, None])(*l(x.mean((2, 3))).chunk(2, 1))),
    coord_att=lambda: Block([nn.Conv2d(C, 3, 1), nn.Conv2d(3, C, 1), nn.Conv2d(3, C, 1)], lambda x, a, u, v: (lambda y: x * u(y[:, :, :HH]).sigmoid() * v(y[:, :, HH:].transpose(2, 3)).sigmoid())(F.relu(a(torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)], 2))))),
    mobile=lambda: Block([nn.Conv2d(C, 12, 1, bias=False), nn.BatchNorm2d(12), nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12), nn.Conv2d(12, C, 1, bias=False), nn.BatchNorm2d(C)], lambda x, a, n, b, m, c, o: x + o(c(F.relu6(m(b(F.relu6(n(a(x))))))))),
    dense2=lambda: Block([nn.Conv2d(C, 4, 3, padding=1), nn.Conv2d(C + 4, 4, 3, padding=1)], lambda x, a, b: (lambda y: torch.cat([x, y, b(torch.cat([x, y], 1))], 1))(F.relu(a(x)))),
    sr_residual=lambda: Block([nn.Conv2d(C, 12, 3, padding=1), nn.Conv2d(12, C, 3, padding=1)], lambda x, a, b: x + 0.1 * b(F.relu(a(x)))),
    weight_shared=lambda: Block([nn.Conv2d(C, C, 3, padding=1)], lambda x, a: a(x) + a(F.relu(x))))
one("h", made=True,
    attn_pool=lambda: Block([nn.Linear(H, 1)], lambda x, a: (a(x).softmax(1) * x).sum(1)),
    attn_tanh=lambda: Block([nn.Linear(H, H), nn.Linear(H, 1, bias=False)], lambda x, a, v: torch.bmm(v(torch.tanh(a(x))).softmax(1).transpose(1, 2), x).squeeze(1)),
    gated_mlp=lambda: Block([nn.Linear(H, 60), nn.Linear(H, 60), nn.Linear(60, H)], lambda x, a, b, c: c(F.gelu(a(x)) * b(x))),
    relu2_mlp=lambda: Block([nn.Linear(H, 60), nn.Linear(60, H)], lambda x, a, b: b(F.relu(a(x)).square())),
    highway_too=lambda: Block([nn.Linear(H, H), nn.Linear(H, H)], lambda x, a, g: (lambda t: t * F.relu(a(x)) + (1 - t) * x)(torch.sigmoid(g(x)))),
    residual_mlp=lambda: Block([nn.LayerNorm(H), nn.Linear(H, 60), nn.Linear(60, H), nn.Dropout(0.1)], lambda x, n, a, b, d: x + d(b(d(F.gelu(a(n(x))))))),
    post_mlp=lambda: Block([nn.LayerNorm(H), nn.Linear(H, 60), nn.Linear(60, H), nn.Dropout(0.1)], lambda x, n, a, b, d: n(x + d(b(F.relu(a(x)))))),
    moe_topk=lambda: Block([nn.Linear(H, 3, bias=False), nn.Linear(H, H), nn.Linear(H, H), nn.Linear(H, H)], lambda x, g, a, b, c: (lambda w: sum(w[..., k:k + 1] * e(x) for k, e in enumerate((a, b, c))))(g(x).softmax(-1))),
    mha_manual=lambda: Block([nn.Linear(H, H), nn.Linear(H, H), nn.Linear(H, H), nn.Linear(H, H)], lambda x, q, k, v, o: o(join(F.dropout(F.softmax(split(q(x)) @ split(k(x)).transpose(-2, -1) / math.sqrt(12), -1), 0.1) @ split(v(x))))),
    mha_einsum=lambda: Block([nn.Linear(H, 3 * H)], lambda x, i: (lambda q, k, v: torch.einsum("bhqk,bkhd->bqhd", (torch.einsum("bqhd,bkhd->bhqk", q, k) * 0.28).softmax(-1), v).reshape(B, S, H))(*i(x).view(B, S, 3, 4, 12).unbind(2))),
    mha_causal_too=lambda: Block([nn.Linear(H, 3 * H), nn.Linear(H, H)], lambda x, i, o: (lambda q, k, v: o(join((split(q) @ split(k).transpose(-2, -1) * 0.28).masked_fill(torch.tril(torch.ones(S, S, device=x.device)) == 0, float("-inf")).softmax(-1) @ split(v))))(*i(x).split(H, -1))),
    mha_sdpa_causal=lambda: Block([nn.Linear(H, 3 * H), nn.Linear(H, H)], lambda x, i, o: o(join(F.scaled_dot_product_attention(*(split(t) for t in i(x).split(H, -1)), is_causal=True, dropout_p=0.1)))),
    mha_rope=lambda: Block([nn.Linear(H, 2 * H)], lambda x, i: (lambda q, k: (rope(split(q)) @ rope(split(k)).transpose(-2, -1)).softmax(-1) @ split(x))(*i(x).chunk(2, -1))),
    mqa2=lambda: Block([nn.Linear(H, H), nn.Linear(H, 12), nn.Linear(H, 12)], lambda x, q, k, v: (split(q(x)) @ k(x).unsqueeze(1).transpose(-2, -1) * 0.28).softmax(-1) @ v(x).unsqueeze(1)),
    linear_attn=lambda: Block([nn.Linear(H, 3 * H)], lambda x, i: (lambda q, k, v: join(q.softmax(-1) @ (k.softmax(-2).transpose(-2, -1) @ v)))(*(split(t) for t in i(x).chunk(3, -1)))),
    cross_latents=lambda: Block([nn.Linear(H, H), nn.Linear(H, 2 * H)], lambda x, q, kv: (lambda k, v: F.scaled_dot_product_attention(split(q(x[:, :5])), split(k), split(v)))(*kv(x).chunk(2, -1))),
    window_attn=lambda: Block([nn.Linear(H, 3 * H)], lambda x, i: (lambda q, k, v: ((q * 0.28) @ k.transpose(-2, -1)).softmax(-1) @ v)(*i(x).reshape(B * 5, 7, 3, 4, 12).permute(2, 0, 3, 1, 4))),
    lambda_layer=lambda: Block([nn.Linear(H, H), nn.Linear(H, 16), nn.Linear(H, 12)], lambda x, q, k, v: split(q(x)) @ (k(x).softmax(1).transpose(1, 2) @ v(x)).unsqueeze(1)[..., :12, :]),
    conv_ffn=lambda: Block([nn.Conv1d(H, 60, 3, padding=1), nn.Conv1d(60, H, 1)], lambda x, a, b: b(F.relu(a(x.transpose(1, 2)))).transpose(1, 2)),
    glu_conv=lambda: Block([nn.Conv1d(H, 2 * H, 1), nn.Conv1d(H, H, 5, padding=2, groups=H), nn.BatchNorm1d(H)], lambda x, a, d, n: F.silu(n(d(F.glu(a(x.transpose(1, 2)), 1)))).transpose(1, 2)),
    aft=lambda: Block([nn.Linear(H, 3 * H)], lambda x, i: (lambda q, k, v: torch.sigmoid(q) * (torch.exp(k) * v).sum(1, keepdim=True) / torch.exp(k).sum(1, keepdim=True))(*i(x).chunk(3, -1))),
    fnet_like=lambda: Block([nn.Linear(S, S), nn.Linear(H, H)], lambda x, a, b: b(a(x.transpose(1, 2)).transpose(1, 2))),
    gmlp=lambda: Block([nn.Linear(H, 2 * H), nn.LayerNorm(H), nn.Conv1d(S, S, 1), nn.Linear(H, H)], lambda x, a, n, c, o: (lambda u, v: o(u * c(n(v))))(*F.gelu(a(x)).chunk(2, -1))),
    adapter=lambda: Block([nn.Linear(H, 5), nn.Linear(5, H)], lambda x, a, b: x + b(F.relu(a(x)))),
    hyper=lambda: Block([nn.Linear(H, H * 3)], lambda x, a: torch.bmm(x, a(x.mean(1)).view(B, H, 3))),
    capsule=lambda: Block([nn.Linear(H, 24)], lambda x, a: (lambda u: (lambda n: n / (1 + n) * u / torch.sqrt(n + 1e-8))((u ** 2).sum(-1, keepdim=True)))(a(x).view(B, S, 4, 6))),
    autoencoder=lambda: Block([nn.Linear(H, 9), nn.Linear(9, H)], lambda x, a, b: F.mse_loss(b(torch.relu(a(x))), x)),
    bow_head=lambda: Block([nn.Linear(H, V)], lambda x, a: F.log_softmax(a(x.mean(1)), -1)),
    cls_head=lambda: Block([nn.Linear(H, H), nn.Linear(H, 5), nn.Dropout(0.1)], lambda x, a, b, d: b(d(torch.tanh(a(x[:, 0]))))),
    lm_tied=lambda: Block([nn.Embedding(V, H)], lambda x, e: F.log_softmax(x @ e.weight.t(), -1)),
    time_mlp=lambda: Block([nn.Linear(16, H), nn.Linear(H, H)], lambda x, a, b: x + b(F.silu(a(torch.cat([torch.sin(x[..., :8]), torch.cos(x[..., :8])], -1)))).mean(1, keepdim=True)),
    graph_norm=lambda: Block([nn.Linear(H, 20)], lambda x, a: F.relu(a((lambda A: A / A.sum(-1, keepdim=True).clamp(min=1e-6))(F.relu(x @ x.transpose(1, 2))) @ x))),
    gat=lambda: Block([nn.Linear(H, 20), nn.Linear(20, 1), nn.Linear(20, 1)], lambda x, a, u, v: (lambda h: F.elu(F.softmax(F.leaky_relu(u(h) + v(h).transpose(1, 2), 0.2), -1) @ h))(a(x))),
    gru_manual=lambda: Block([nn.Linear(H, 3 * 16), nn.Linear(16, 3 * 16)], lambda x, i, h: gru_loop(x, i, h)),
    rnn_manual=lambda: Block([nn.Linear(H, 16), nn.Linear(16, 16)], lambda x, i, h: rnn_loop(x, i, h)),
    ssm=lambda: Block([nn.Linear(H, H)], lambda x, a: scan(x, torch.sigmoid(a(x)))),
    ema_scan=lambda: Block([nn.Linear(H, H)], lambda x, a: ema(a(x))))
aux("i", i(V, B, S), x=f(B, S, V), p=(V,), reduce=False,
    lm_loss=lambda x, y: F.cross_entropy(x.view(-1, V), y.view(-1)),
    lm_transposed=lambda x, y: F.cross_entropy(x.transpose(1, 2), y),
    lm_shift=lambda x, y: F.cross_entropy(x[:, :-1].reshape(-1, V), y[:, 1:].reshape(-1)),
    lm_ignore=lambda x, y: F.cross_entropy(x.reshape(-1, V), y.reshape(-1), ignore_index=0),
    lm_masked=lambda x, y: (lambda l, m: (l * m).sum() / m.sum())(F.cross_entropy(x.transpose(1, 2), y, reduction="none"), (y != 0).to(x.dtype)),
    lm_z=lambda x, y: F.cross_entropy(x.view(-1, V), y.view(-1)) + 1e-4 * x.logsumexp(-1).pow(2).mean(),
    lm_scaled=lambda x, y: F.cross_entropy((x / 2.0).view(-1, V), y.view(-1)),
    lm_capped=lambda x, y: F.cross_entropy((30 * torch.tanh(x / 30)).view(-1, V), y.view(-1)),
    nll_lm=lambda x, y: F.nll_loss(F.log_softmax(x, -1).view(-1, V), y.view(-1)),
    gather_nll=lambda x, y: -x.log_softmax(-1).gather(-1, y.unsqueeze(-1)).squeeze(-1).mean(),
    policy=lambda x, y: -(x.log_softmax(-1).gather(-1, y.unsqueeze(-1)).squeeze(-1) * 0.5).mean(),
    ppo=lambda x, y: (lambda r: -torch.min(r * 0.3, r.clamp(0.8, 1.2) * 0.3).mean())(torch.exp(x.log_softmax(-1).gather(-1, y.unsqueeze(-1)).squeeze(-1) + 1.0)),
    dpo=lambda x, y: (lambda l: -F.logsigmoid(0.1 * (l[:1] - l[1:2])).mean())(x.log_softmax(-1).gather(-1, y.unsqueeze(-1)).squeeze(-1).sum(-1)),
    q_learning=lambda x, y: F.smooth_l1_loss(x.gather(-1, y.unsqueeze(-1)).squeeze(-1), x.detach().max(-1)[0] * 0.99),
    last_token=lambda x, y: F.cross_entropy(x[:, -1], y[:, -1]),
    mean_logits=lambda x, y: F.cross_entropy(x.mean(1), y[:, 0]),
    smoothed=lambda x, y: F.cross_entropy(x.view(-1, V), y.view(-1), label_smoothing=0.1),
    soft_targets=lambda x, y: F.cross_entropy(x.view(-1, V), F.one_hot(y.view(-1), V).float() * 0.9 + 0.001),
    kl_teacher=lambda x, y: F.kl_div(F.log_softmax(x / 2, -1), F.softmax(x.detach().roll(1, 0) / 2, -1), reduction="batchmean") + F.cross_entropy(x.view(-1, V), y.view(-1)),
    margin_softmax=lambda x, y: F.cross_entropy((x - 0.3 * F.one_hot(y, V).to(x.dtype)).view(-1, V), y.view(-1)),
    focal2=lambda x, y: (lambda lp: -((1 - lp.exp()) ** 2 * lp).mean())(x.log_softmax(-1).gather(-1, y.unsqueeze(-1))),
    perplexity=lambda x, y: torch.exp(F.cross_entropy(x.view(-1, V), y.view(-1))))
aux("j", X, X, P, False,
    mae_mse=lambda x, y: F.l1_loss(x, y) + 0.5 * F.mse_loss(x, y),
    weighted_mse=lambda x, y: ((x - y) ** 2 * (1 + y)).mean(),
    relative_error=lambda x, y: ((x - y).abs() / (y.abs() + 1e-6)).mean(),
    log_mse=lambda x, y: F.mse_loss(torch.log1p(x), torch.log1p(y)),
    snr=lambda x, y: -10 * torch.log10((y ** 2).sum() / ((x - y) ** 2).sum()),
    si_sdr=lambda x, y: (lambda a: -10 * torch.log10(((a * y) ** 2).sum(-1) / ((x - a * y) ** 2).sum(-1)).mean())((x * y).sum(-1, keepdim=True) / (y ** 2).sum(-1, keepdim=True)),
    pearson=lambda x, y: (lambda a, b: 1 - (a * b).sum() / (a.norm() * b.norm()))(x - x.mean(), y - y.mean()),
    cosine_dist=lambda x, y: (1 - F.cosine_similarity(x, y, dim=-1)).mean(),
    bce_logits2=lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="none").sum(-1).mean(),
    bce_prob=lambda x, y: F.binary_cross_entropy(x.sigmoid(), y, reduction="sum"),
    dice2=lambda x, y: (lambda p: 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1))(x.sigmoid()),
    iou=lambda x, y: (lambda p: 1 - (p * y).sum() / (p + y - p * y).sum())(x.sigmoid()),
    focal_bce=lambda x, y: (lambda b: ((1 - torch.exp(-b)) ** 2 * b).mean())(F.binary_cross_entropy_with_logits(x, y, reduction="none")),
    asymmetric=lambda x, y: (lambda p: -(y * torch.log(p.clamp(min=1e-8)) + (1 - y) * torch.log((1 - p).clamp(min=1e-8)) * p ** 2).mean())(x.sigmoid()),
    quantiles=lambda x, y: sum(torch.max(q * (y - x), (q - 1) * (y - x)).mean() for q in (0.1, 0.5, 0.9)),
    gaussian_mix=lambda x, y: -torch.logsumexp(-0.5 * (x - y) ** 2, -1).mean(),
    poisson2=lambda x, y: (torch.exp(x) - y * x).mean(),
    gradient_penalty=lambda x, y: ((x.norm(2, dim=-1) - 1) ** 2).mean() + (y - x).mean(),
    vae_loss=lambda x, y: F.binary_cross_entropy(x.sigmoid(), y, reduction="sum") - 0.5 * (1 + x - x.pow(2) - x.exp()).sum(),
    adversarial=lambda x, y: F.binary_cross_entropy_with_logits(x, torch.ones_like(x)) + F.binary_cross_entropy_with_logits(x, torch.zeros_like(x)),
    lsgan=lambda x, y: 0.5 * ((x - 1) ** 2).mean() + 0.5 * (x ** 2).mean(),
    perceptual=lambda x, y: sum(F.l1_loss(a, b) for a, b in zip(x.chunk(3, -1), y.chunk(3, -1))),
    spectral=lambda x, y: F.l1_loss(x.abs().clamp(min=1e-5).log(), y.abs().clamp(min=1e-5).log()),
    energy=lambda x, y: 0.5 * (x * (x @ y.transpose(1, 2) @ x)).sum(),
    nce_pairs=lambda x, y: F.cross_entropy((x @ y.transpose(1, 2)).flatten(0, 1), torch.arange(S, device=x.device).repeat(B)))


def rope(q):
    n = q.shape[-1] // 2
    a = torch.arange(q.shape[2], device=q.device, dtype=torch.float32)[:, None] * (10000 ** (-torch.arange(n, device=q.device, dtype=torch.float32) / n))[None]
    c, s = torch.cat([a.cos(), a.cos()], -1).to(q.dtype), torch.cat([a.sin(), a.sin()], -1).to(q.dtype)
    return q * c + torch.cat([-q[..., n:], q[..., :n]], -1) * s


def gru_loop(x, i, h):
    state, out = torch.zeros(x.size(0), 16, device=x.device, dtype=x.dtype), []
    for t in range(4):
        r, z, n = i(x[:, t]).chunk(3, -1)
        a, b, c = h(state).chunk(3, -1)
        r, z = torch.sigmoid(r + a), torch.sigmoid(z + b)
        n = torch.tanh(n + r * c)
        state = (1 - z) * n + z * state
        out.append(state)
    return torch.stack(out, 1)


def rnn_loop(x, i, h):
    state = torch.zeros(x.size(0), 16, device=x.device, dtype=x.dtype)
    for t in range(5):
        state = torch.tanh(i(x[:, t]) + h(state))
    return state


def scan(x, a):
    state, out = torch.zeros_like(x[:, 0]), []
    for t in range(5):
        state = a[:, t] * state + (1 - a[:, t]) * x[:, t]
        out.append(state)
    return torch.stack(out, 1)


def ema(x):
    y = x[:, 0]
    for t in range(1, 5):
        y = 0.9 * y + 0.1 * x[:, t]
    return y


# ---- modules of torch.nn with their options, more blocks and losses: written after the rules and left as they fell out ------
one("n2", IMG, PC, made=True,
    upsampling_bilinear=lambda: nn.UpsamplingBilinear2d(scale_factor=2),
    upsampling_nearest=lambda: nn.UpsamplingNearest2d(scale_factor=3),
    softmax2d=lambda: nn.Softmax2d(),
    channel_shuffle_module=lambda: nn.ChannelShuffle(3),
    pixel_unshuffle_module=lambda: nn.PixelUnshuffle(2),
    replication_pad=lambda: nn.ReplicationPad2d(2),
    constant_pad=lambda: nn.ConstantPad2d((1, 0, 2, 1), 0.5),
    circular_pad=lambda: nn.CircularPad2d(1),
    avgpool_stride=lambda: nn.AvgPool2d(3, stride=2, padding=1),
    avgpool_ceil=lambda: nn.AvgPool2d(4, ceil_mode=True),
    maxpool_rect=lambda: nn.MaxPool2d((3, 1), stride=(2, 1)),
    maxpool_dilated=lambda: nn.MaxPool2d(3, stride=1, dilation=2),
    adaptive_avg_pair=lambda: nn.AdaptiveAvgPool2d((3, 2)),
    adaptive_avg_uneven=lambda: nn.AdaptiveAvgPool2d((5, 7)),
    flatten_from_2=lambda: nn.Sequential(nn.Flatten(2), nn.Linear(HH * WW, 5)),
    unflatten_module=lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), Fn(lambda x: x.sum(2).sin())),
    conv_asymmetric=lambda: nn.Sequential(nn.Conv2d(C, 8, (3, 1), padding=(1, 0)), nn.Conv2d(8, 4, (1, 3), padding=(0, 1))),
    conv_stride3=lambda: nn.Conv2d(C, 7, 5, stride=3),
    conv_depth_multiplier=lambda: nn.Conv2d(C, 12, 3, groups=6, padding=1),
    convtranspose_dilated=lambda: nn.ConvTranspose2d(C, 4, 3, dilation=2),
    convtranspose_outpad=lambda: nn.ConvTranspose2d(C, 4, 3, stride=3, output_padding=1),
    conv_bn_silu=lambda: nn.Sequential(nn.Conv2d(C, 8, 3, bias=False), nn.BatchNorm2d(8), nn.SiLU()),
    conv_bn_tanh=lambda: nn.Sequential(nn.Conv2d(C, 8, 3), nn.BatchNorm2d(8), nn.Tanh()),
    bn_first=lambda: nn.Sequential(nn.BatchNorm2d(C), nn.Conv2d(C, 8, 3)),
    two_bn=lambda: nn.Sequential(nn.BatchNorm2d(C), nn.BatchNorm2d(C)),
    gn_conv=lambda: nn.Sequential(nn.GroupNorm(3, C), nn.Conv2d(C, 8, 3)),
    in_conv=lambda: nn.Sequential(nn.InstanceNorm2d(C), nn.Conv2d(C, 8, 3)),
    relu_pool=lambda: nn.Sequential(nn.ReLU(), nn.AvgPool2d(2)),
    pool_relu=lambda: nn.Sequential(nn.MaxPool2d(2), nn.ReLU()),
    lrelu_bn=lambda: nn.Sequential(nn.LeakyReLU(0.3), nn.BatchNorm2d(C)),
    dropout_conv=lambda: nn.Sequential(nn.Dropout(0.4), nn.Conv2d(C, 8, 3)),
    prelu_one=lambda: nn.Sequential(nn.Conv2d(C, 8, 3), nn.PReLU()),
    prelu_each=lambda: nn.Sequential(nn.Conv2d(C, 8, 3), nn.PReLU(8)),
    hardtanh_default=lambda: nn.Sequential(nn.Conv2d(C, 8, 3), nn.Hardtanh()),
    softshrink_wide=lambda: nn.Softshrink(0.2),
    hardshrink_wide=lambda: nn.Hardshrink(0.1),
    celu_module=lambda: nn.CELU(0.7),
    threshold_zero=lambda: nn.Threshold(0.0, 0.0),
    logsigmoid_module=lambda: nn.LogSigmoid(),
    fold_patches=lambda: nn.Sequential(nn.Unfold(2, stride=2), Fn(lambda x: x * 2), nn.Fold((HH, WW), 2, stride=2)),
    stem=lambda: nn.Sequential(nn.Conv2d(C, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)),
    head=lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(C, 5)),
    head_conv=lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(C, 12, 1), nn.Hardswish(), nn.Flatten(1), nn.Linear(12, 5)),
    discriminator=lambda: nn.Sequential(nn.Conv2d(C, 8, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(8, 12, 4, 2, 1, bias=False), nn.BatchNorm2d(12), nn.LeakyReLU(0.2, inplace=True), nn.Flatten(), nn.Linear(240, 1), nn.Sigmoid()),
    encoder_decoder=lambda: nn.Sequential(nn.Conv2d(C, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(12, 8, 2, 2), nn.ReLU(), nn.Conv2d(8, C, 1)))
one("n3", SEQ, PS, made=True,
    reflection_pad1=lambda: nn.Sequential(nn.ReflectionPad1d(2), nn.Conv1d(C, 8, 5)),
    replication_pad1=lambda: nn.ReplicationPad1d(3),
    constant_pad1=lambda: nn.ConstantPad1d(2, 1.0),
    maxpool1_stride=lambda: nn.MaxPool1d(4, 2, 1),
    avgpool1_pad=lambda: nn.AvgPool1d(5, 1, 2),
    conv1_stride=lambda: nn.Conv1d(C, 8, 4, stride=4),
    conv1_depth=lambda: nn.Conv1d(C, C, 3, padding=1, groups=C, bias=False),
    conv1_bn=lambda: nn.Sequential(nn.Conv1d(C, 8, 3), nn.BatchNorm1d(8), nn.ReLU(inplace=True)),
    conv1_gn=lambda: nn.Sequential(nn.Conv1d(C, 8, 3), nn.GroupNorm(2, 8), nn.GELU()),
    conv1_ln=lambda: nn.Sequential(nn.Conv1d(C, 8, 3), Fn(lambda x: F.layer_norm(x.transpose(1, 2), (8,)).transpose(1, 2))),
    tcn=lambda: Block([nn.Conv1d(C, C, 3, padding=2, dilation=1), nn.Conv1d(C, C, 3, padding=4, dilation=2)], lambda x, a, b: F.relu(x + b(F.relu(a(x)[..., :-2]))[..., :-4])),
    wavenet=lambda: Block([nn.Conv1d(C, 16, 3, padding=1), nn.Conv1d(8, C, 1)], lambda x, a, b: (lambda f, g: x + b(torch.tanh(f) * torch.sigmoid(g)))(*a(x).chunk(2, 1))),
    upsample1_size=lambda: nn.Upsample(size=100, mode="nearest"),
    instancenorm1_affine=lambda: nn.InstanceNorm1d(C, affine=True),
    spectro=lambda: Fn(lambda x: torch.log1p(x.unfold(-1, 8, 4).pow(2).sum(-1))),
    frames=lambda: nn.Sequential(Fn(lambda x: x.unfold(-1, 9, 8).transpose(1, 2).flatten(2)), nn.Linear(54, 7)))
one("n4", made=True,
    cosine_module=lambda: Block([nn.Linear(H, H)], lambda x, a: nn.CosineSimilarity(dim=-1)(x, a(x))),
    pairwise_module=lambda: Block([nn.Linear(H, H)], lambda x, a: nn.PairwiseDistance()(x.flatten(0, 1), a(x).flatten(0, 1))),
    bn_over_features=lambda: nn.Sequential(nn.Linear(H, 20), Fn(lambda x: x.transpose(1, 2)), nn.BatchNorm1d(20), Fn(lambda x: x.transpose(1, 2)), nn.ReLU()),
    ln_elementless=lambda: nn.LayerNorm(H, elementwise_affine=False),
    ln_two_dims=lambda: nn.LayerNorm([S, H]),
    rms_module=lambda: nn.RMSNorm(H, eps=1e-5),
    mlp_selu=lambda: nn.Sequential(nn.Linear(H, 30), nn.SELU(), nn.AlphaDropout(0.1), nn.Linear(30, 5)),
    mlp_elu=lambda: nn.Sequential(nn.Linear(H, 30), nn.ELU(), nn.Linear(30, 5)),
    mlp_leaky=lambda: nn.Sequential(nn.Linear(H, 30), nn.LeakyReLU(), nn.Linear(30, 5)),
    mlp_mish=lambda: nn.Sequential(nn.Linear(H, 30), nn.Mish(), nn.Linear(30, 5)),
    mlp_softplus=lambda: nn.Sequential(nn.Linear(H, 30), nn.Softplus(), nn.Linear(30, 5)),
    mlp_glu=lambda: nn.Sequential(nn.Linear(H, 60), nn.GLU(), nn.Linear(30, 5)),
    mlp_nobias=lambda: nn.Sequential(nn.Linear(H, 30, bias=False), nn.ReLU(), nn.Linear(30, 5, bias=False)),
    mlp_ln=lambda: nn.Sequential(nn.Linear(H, 30), nn.LayerNorm(30), nn.GELU(), nn.Dropout(0.1), nn.Linear(30, 5)),
    mlp_softmax=lambda: nn.Sequential(nn.Linear(H, 5), nn.Softmax(dim=-1)),
    mlp_logsoftmax=lambda: nn.Sequential(nn.Linear(H, 5), nn.LogSoftmax(dim=-1)),
    mlp_sigmoid=lambda: nn.Sequential(nn.Linear(H, 1), nn.Sigmoid()),
    dueling=lambda: Block([nn.Linear(H, 4), nn.Linear(H, 1)], lambda x, a, v: (lambda q: v(x) + q - q.mean(-1, keepdim=True))(a(x))),
    actor=lambda: Block([nn.Linear(H, 4), nn.Linear(H, 4)], lambda x, m, s: (lambda mu, std: -((torch.randn_like(mu) * std) ** 2) / (2 * std ** 2) - std.log())(torch.tanh(m(x)), s(x).clamp(-5, 2).exp())),
    gating=lambda: Block([nn.Linear(H, H), nn.Linear(H, H)], lambda x, a, b: torch.sigmoid(a(x)) * torch.tanh(b(x))),
    squeeze_tokens=lambda: Block([nn.Linear(H, 9), nn.Linear(9, H)], lambda x, a, b: x * torch.sigmoid(b(F.relu(a(x.mean(1))))).unsqueeze(1)),
    cls_concat=lambda: Block([nn.Linear(2 * H, 5)], lambda x, a: a(torch.cat([x[:, 0], x[:, 1:].mean(1)], -1))),
    attention_masked=lambda: Block([nn.Linear(H, 3 * H)], lambda x, i: (lambda q, k, v: F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=torch.zeros(S, S, device=x.device, dtype=x.dtype)))(*i(x).chunk(3, -1))),
    attention_multi_query=lambda: Block([nn.Linear(H, H), nn.Linear(H, 24)], lambda x, q, kv: (lambda k, v: F.scaled_dot_product_attention(split(q(x)), k.unsqueeze(1).expand(-1, 4, -1, -1), v.unsqueeze(1).expand(-1, 4, -1, -1)))(*kv(x).chunk(2, -1))),
    attention_relative=lambda: Block([nn.Linear(H, 2 * H), nn.Embedding(2 * S, 4)], lambda x, i, e: (lambda q, k: ((split(q) @ split(k).transpose(-2, -1)) * 0.28 + e(torch.arange(S, device=x.device)[None] - torch.arange(S, device=x.device)[:, None] + S).permute(2, 0, 1)).softmax(-1) @ split(x))(*i(x).chunk(2, -1))),
    attention_sigmoid=lambda: Block([nn.Linear(H, 2 * H)], lambda x, i: (lambda q, k: torch.sigmoid(split(q) @ split(k).transpose(-2, -1) * 0.28 - 3) @ split(x))(*i(x).chunk(2, -1))),
    attention_gated=lambda: Block([nn.Linear(H, 3 * H), nn.Linear(H, H)], lambda x, i, g: torch.sigmoid(g(x)) * join(F.scaled_dot_product_attention(*(split(t) for t in i(x).chunk(3, -1)), is_causal=True))),
    attention_normed=lambda: Block([nn.Linear(H, 3 * H), nn.RMSNorm(12), nn.RMSNorm(12)], lambda x, i, a, b: (lambda q, k, v: join(F.scaled_dot_product_attention(a(split(q)), b(split(k)), split(v), is_causal=True)))(*i(x).chunk(3, -1))),
    attention_alibi=lambda: Block([nn.Linear(H, 3 * H)], lambda x, i: (lambda q, k, v: (split(q) @ split(k).transpose(-2, -1) * 0.28 + torch.arange(S, device=x.device, dtype=x.dtype) * 0.1).softmax(-1) @ split(v))(*i(x).chunk(3, -1))),
    attention_dropout=lambda: Block([nn.Linear(H, 3 * H), nn.Dropout(0.1), nn.Dropout(0.1), nn.Linear(H, H)], lambda x, i, d, e, o: (lambda q, k, v: e(o(join(d((split(q) @ split(k).transpose(-2, -1) * 0.28).softmax(-1)) @ split(v)))))(*i(x).chunk(3, -1))),
    swin_window=lambda: Block([nn.Linear(H, 3 * H), nn.Linear(H, H)], lambda x, i, o: (lambda w: (lambda q, k, v: o(((q * 0.28) @ k.transpose(-2, -1)).softmax(-1).matmul(v).transpose(1, 2).reshape(B * 5, 7, H)).view(B, S, H))(*i(w).reshape(B * 5, 7, 3, 4, 12).permute(2, 0, 3, 1, 4).unbind(0)))(x.view(B * 5, 7, H))),
    mixer_full=lambda: Block([nn.LayerNorm(H), nn.Linear(S, 20), nn.Linear(20, S), nn.LayerNorm(H), nn.Linear(H, 60), nn.Linear(60, H)], lambda x, n, a, b, m, c, d: (lambda y: y + d(F.gelu(c(m(y)))))(x + b(F.gelu(a(n(x).transpose(1, 2)))).transpose(1, 2))),
    conformer_conv=lambda: Block([nn.LayerNorm(H), nn.Conv1d(H, 2 * H, 1), nn.GLU(1), nn.Conv1d(H, H, 7, padding=3, groups=H), nn.BatchNorm1d(H), nn.SiLU(), nn.Conv1d(H, H, 1)], lambda x, n, a, g, d, b, s, c: x + c(s(b(d(g(a(n(x).transpose(1, 2))))))).transpose(1, 2)),
    parallel_block=lambda: Block([nn.LayerNorm(H), nn.Linear(H, 60), nn.Linear(60, H), nn.Linear(H, H)], lambda x, n, a, b, c: (lambda y: x + b(F.gelu(a(y))) + c(y))(n(x))),
    sandwich=lambda: Block([nn.LayerNorm(H), nn.Linear(H, H), nn.LayerNorm(H)], lambda x, n, a, m: x + m(a(n(x)))),
    deepnorm=lambda: Block([nn.Linear(H, H), nn.LayerNorm(H)], lambda x, a, n: n(2.0 * x + a(x))),
    lora2=lambda: Block([nn.Linear(H, H), nn.Linear(H, 4, bias=False), nn.Linear(4, H, bias=False), nn.Dropout(0.05)], lambda x, w, a, b, d: w(x) + b(a(d(x))) * 0.5),
    stochastic_depth=lambda: Block([nn.Linear(H, H)], lambda x, a: x + a(x) * (torch.empty(B, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(0.9) / 0.9)),
    embedding_bag_like=lambda: Block([nn.Linear(H, 8)], lambda x, a: F.normalize(a(x).sum(1), dim=-1)),
    set_transformer=lambda: Block([nn.Linear(H, H), nn.Linear(H, H)], lambda x, a, b: F.relu(a(x)).max(1)[0] + b(x).mean(1)),
    deep_sets=lambda: Block([nn.Linear(H, 20), nn.Linear(20, 5)], lambda x, a, b: b(torch.tanh(a(x)).sum(1))),
    sinkhorn=lambda: Fn(lambda x: (lambda l: l - torch.logsumexp(l, 1, keepdim=True))((x @ x.transpose(1, 2)) - torch.logsumexp(x @ x.transpose(1, 2), 2, keepdim=True)).exp()),
    ntm=lambda: Block([nn.Linear(H, 12), nn.Linear(H, 12)], lambda x, k, v: (F.cosine_similarity(k(x).unsqueeze(2), v(x).unsqueeze(1), dim=-1) * 5).softmax(-1) @ x),
    bilinear_scores=lambda: Block([nn.Linear(H, H, bias=False)], lambda x, a: torch.einsum("bid,bjd->bij", a(x), x).softmax(-1).sum(1)),
    biaffine=lambda: Block([nn.Linear(H, 12), nn.Linear(H, 12), nn.Linear(12, 12, bias=False)], lambda x, h, d, w: w(F.relu(h(x))) @ F.relu(d(x)).transpose(1, 2)),
    crf=lambda: Block([nn.Linear(H, 5), nn.Linear(5, 5, bias=False)], lambda x, e, t: crf_loop(e(x), t.weight)))
aux("l2", i(V, S), f(S, V), (V,), False,
    ce_module=lambda x, y: nn.CrossEntropyLoss()(x, y),
    ce_module_smooth=lambda x, y: nn.CrossEntropyLoss(label_smoothing=0.05)(x, y),
    nll_module=lambda x, y: nn.NLLLoss()(F.log_softmax(x, 1), y),
    multimargin=lambda x, y: F.multi_margin_loss(x, y),
    ce_sum_scaled=lambda x, y: F.cross_entropy(x, y, reduction="sum") / S,
    arcface=lambda x, y: F.cross_entropy(16 * (x.clamp(-1, 1) - 0.2 * F.one_hot(y, V)), y),
    top_k_loss=lambda x, y: F.cross_entropy(x, y, reduction="none").topk(9)[0].mean(),
    ce_weighted_rows=lambda x, y: (F.cross_entropy(x, y, reduction="none") * torch.linspace(0, 1, S, device=x.device, dtype=x.dtype)).mean(),
    entropy_plus=lambda x, y: F.cross_entropy(x, y) - 0.01 * (lambda p: -(p * (p + 1e-8).log()).sum(-1).mean())(x.softmax(-1)),
    hinge_multi=lambda x, y: F.relu(1 + x - x.gather(1, y[:, None])).sum(1).mean())
aux("l3", X, X, P, False,
    mse_module=lambda x, y: nn.MSELoss()(x, y),
    l1_module=lambda x, y: nn.L1Loss()(x, y),
    huber_module=lambda x, y: nn.HuberLoss(delta=0.3)(x, y),
    smooth_module=lambda x, y: nn.SmoothL1Loss()(x, y),
    bce_module=lambda x, y: nn.BCEWithLogitsLoss()(x, y),
    kl_module=lambda x, y: nn.KLDivLoss(reduction="batchmean")(F.log_softmax(x, -1), F.softmax(y, -1)),
    poisson_module=lambda x, y: nn.PoissonNLLLoss()(x, y),
    soft_margin_module=lambda x, y: nn.SoftMarginLoss()(x, y),
    cosine_module_loss=lambda x, y: nn.CosineEmbeddingLoss()(x.flatten(0, 1), y.flatten(0, 1), torch.ones(B * S, device=x.device)),
    mse_rows=lambda x, y: F.mse_loss(x, y, reduction="none").mean(-1).sqrt().mean(),
    l1_weighted=lambda x, y: ((x - y).abs() * (0.5 + y)).sum() / y.sum(),
    log_cosh=lambda x, y: (lambda d: d + F.softplus(-2 * d) - math.log(2))(x - y).mean(),
    tweedie=lambda x, y: (-y * x.exp().pow(-0.5) / -0.5 + x.exp().pow(0.5) / 0.5).mean(),
    pinball=lambda x, y: (lambda e: torch.where(e > 0, 0.9 * e, -0.1 * e))(y - x).mean(),
    masked_l1=lambda x, y: (F.l1_loss(x, y, reduction="none") * (y > 0.3).float()).sum() / (y > 0.3).float().sum(),
    diffusion=lambda x, y: F.mse_loss(x, torch.randn_like(x)),
    snr_weighted=lambda x, y: (F.mse_loss(x, y, reduction="none").mean(dim=(1, 2)) * torch.linspace(1, 2, B, device=x.device, dtype=x.dtype)).mean(),
    contrastive=lambda x, y: (lambda d: ((1 - 0.5) * d.pow(2) + 0.5 * F.relu(1 - d).pow(2)).mean())((x - y).pow(2).sum(-1).add(1e-9).sqrt()),
    variance_reg=lambda x, y: F.relu(1 - torch.sqrt(x.flatten(0, 1).var(0) + 1e-4)).mean() + F.mse_loss(x, y))
two("l4", x=f(S, H), y=f(S, H), reduce=False,
    ntxent=lambda x, y: (lambda z: F.cross_entropy((z @ z.t() / 0.5).masked_fill(torch.eye(2 * S, dtype=torch.bool, device=x.device), -1e9), torch.cat([torch.arange(S, 2 * S, device=x.device), torch.arange(S, device=x.device)])))(F.normalize(torch.cat([x, y]), dim=-1)),
    siglip=lambda x, y: -F.logsigmoid((F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).t() * 10 - 5) * (2 * torch.eye(S, device=x.device) - 1)).sum() / S,
    vicreg=lambda x, y: F.mse_loss(x, y) + F.relu(1 - x.std(0)).mean() + F.relu(1 - y.std(0)).mean(),
    triplet2=lambda x, y: F.relu((x - y).pow(2).sum(1) - (x - y.roll(1, 0)).pow(2).sum(1) + 0.3).mean(),
    dcl=lambda x, y: -(x * y).sum(-1).mean() + torch.logsumexp(x @ y.t(), -1).mean(),
    hsic=lambda x, y: ((x - x.mean(0)).t() @ (y - y.mean(0))).pow(2).sum() / (S - 1) ** 2,
    ranking=lambda x, y: F.relu(0.5 - x.sum(-1) + y.sum(-1)).mean(),
    js=lambda x, y: (lambda p, q: (lambda m: 0.5 * ((p * (p / m).log()).sum(-1) + (q * (q / m).log()).sum(-1)).mean())((p + q) / 2))(x.softmax(-1), y.softmax(-1)))


def crf_loop(e, t):
    a = e[:, 0]
    for k in range(1, 4):
        a = torch.logsumexp(a.unsqueeze(2) + t + e[:, k].unsqueeze(1), 1)
    return a.logsumexp(-1)
