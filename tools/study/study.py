"""Which recipe makes I-JEPA beat its own untrained encoder on generated torsos, within a demo's budget?

    study.py OUT.jsonl [--name NAME] [--seed S] [options]     one run, one line appended to OUT.jsonl
    summary.py OUT.jsonl                                      the table

Self-contained: numpy, scipy and torch on the CPU. The model, the masks and the step follow preset `default`
(disjoint masks, random truncation, sin-cos positions in token order); loss terms and their formulas are in README.md.
"""
import argparse, json, os, tempfile, time
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from scipy.ndimage import gaussian_filter

p = argparse.ArgumentParser()
p.add_argument("out"); p.add_argument("--name", default="base"); p.add_argument("--seed", type=int, default=0); p.add_argument("--cache", default=os.path.join(tempfile.gettempdir(), "study_cache"))
g_ = p.add_argument_group("phantoms")
g_.add_argument("--size", type=int, default=24); g_.add_argument("--small", type=float, default=.62); g_.add_argument("--noise", type=float, default=.35)
g_.add_argument("--shift", type=float, default=.12); g_.add_argument("--angle", type=float, default=.25); g_.add_argument("--scale", type=float, nargs=2, default=[.85, 1.1])
g_.add_argument("--jitter", type=float, default=.05); g_.add_argument("--big", type=float, default=1.); g_.add_argument("--spine", type=float, default=.12); g_.add_argument("--texture", type=float, default=.3)
g_.add_argument("--contrast", type=float, default=.45); g_.add_argument("--ntrain", type=int, default=240); g_.add_argument("--nval", type=int, default=120)
g_.add_argument("--ntest", type=int, default=400); g_.add_argument("--pool", type=int, default=1024, help="pre-training volumes (unlabelled, generated)")
m_ = p.add_argument_group("model")
m_.add_argument("--patch", type=int, default=4); m_.add_argument("--width", type=int, default=64); m_.add_argument("--depth", type=int, default=3); m_.add_argument("--heads", type=int, default=4)
m_.add_argument("--pw", type=int, default=32); m_.add_argument("--pd", type=int, default=2); m_.add_argument("--pos", default="sincos", choices=["sincos", "learned", "none"])
m_.add_argument("--posscale", type=float, default=1.); m_.add_argument("--init", default="trunc", choices=["trunc", "xavier"])
t_ = p.add_argument_group("training")
t_.add_argument("--batch", type=int, default=16); t_.add_argument("--steps", type=int, default=400); t_.add_argument("--lr", type=float, default=1e-3); t_.add_argument("--wd", type=float, default=.05)
t_.add_argument("--beta2", type=float, default=.999); t_.add_argument("--warm", type=float, default=.1); t_.add_argument("--ema", type=float, default=.99); t_.add_argument("--ema-end", type=float, default=1.)
t_.add_argument("--blocks", type=int, default=4); t_.add_argument("--tscale", type=float, nargs=2, default=[.15, .2]); t_.add_argument("--cscale", type=float, nargs=2, default=[.85, 1.])
t_.add_argument("--tnorm", default="ln", choices=["ln", "ln-center", "ln-poscenter", "ln-posstd", "instance"])
t_.add_argument("--jepa", type=float, default=1., help="weight of the prediction loss; 0 leaves the regularisers alone (a control)")
for k in ("var", "cov", "sig", "varp", "covp", "sigp"): t_.add_argument("--" + k, type=float, default=0.)
t_.add_argument("--sign", type=int, default=512, help="tokens that SIGReg on tokens looks at"); t_.add_argument("--proj", type=int, default=32)
t_.add_argument("--gain", type=float, nargs=2, default=[1., 1.]); t_.add_argument("--probes", type=int, default=0, help="probe this many times on the way")
a = p.parse_args(); torch.set_num_threads(1); torch.manual_seed(a.seed); rng = np.random.default_rng(a.seed)

# ---- phantoms: the first four organs look alike; only where they lie tells them apart. Class: which of the four is small.
S = a.size; ax = (np.arange(S) - S / 2 + .5) / (S / 2); grid = np.stack(np.meshgrid(ax, ax, ax, indexing="ij"), -1)
ORGANS = [((-.35, .30, .05), (.26, .20, .24)), ((.35, .30, .05), (.26, .20, .24)), ((-.35, -.30, .05), (.24, .20, .24)), ((.35, -.30, .05), (.24, .20, .24)), ((0, 0, -.1), (.12, .12, .7))]
def phantom(cls, r):
    t = r.uniform(-a.angle, a.angle, 3); c, s = np.cos(t), np.sin(t)
    R = np.array([[c[0], -s[0], 0], [s[0], c[0], 0], [0, 0, 1]]) @ np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]]) @ np.array([[1, 0, 0], [0, c[2], -s[2]], [0, s[2], c[2]]])
    q = (grid - r.uniform(-a.shift, a.shift, 3)) @ R / r.uniform(*a.scale)
    v = np.zeros((S,) * 3); L = np.zeros((S,) * 3, np.uint8); v[(q ** 2 / np.array([.85, .7, .95]) ** 2).sum(-1) < 1] = .3
    for k, (ce, ra) in enumerate(ORGANS):
        ra = np.array(ra) * (a.small if k == cls else 1.) * (a.big if k < 4 else (a.spine / .12, a.spine / .12, 1.))
        ce = np.array(ce) + r.uniform(-a.jitter, a.jitter, 3); ra = ra * r.uniform(.9, 1.1, 3)
        m = (((q - ce) / ra) ** 2).sum(-1) < 1; v[m] = .3 + a.contrast if k < 4 else 1.; L[m] = k + 1
    t = gaussian_filter(r.normal(size=(S,) * 3), 1.) * 3
    v = (v + a.noise * (t * a.texture + r.normal(size=(S,) * 3) * .7) * .5) * r.uniform(.6, 1.6) + r.uniform(-.3, .3)
    return ((v - v.mean()) / v.std()).astype(np.float32), L
def phantoms(n, seed):
    key = f"{a.cache}/{n}-{seed}-" + "-".join(str(getattr(a, k)) for k in ("size", "small", "noise", "shift", "angle", "scale", "jitter", "big", "spine", "texture", "contrast")) + ".npz"
    if os.path.exists(key): z = np.load(key); return z["x"], z["l"], z["y"]
    r = np.random.default_rng(seed); y = r.integers(0, 4, n); x, l = map(np.stack, zip(*[phantom(c, r) for c in y]))
    os.makedirs(os.path.dirname(key), exist_ok=True); np.savez(key, x=x, l=l, y=y); return x, l, y
P, G = a.patch, S // a.patch; N = G ** 3
def patches(x): return x.reshape(len(x), G, P, G, P, G, P).transpose(0, 1, 3, 5, 2, 4, 6).reshape(len(x), N, P ** 3)

# ---- model
def sincos(D):
    k = -(-D // 6); om = 10000. ** (-np.arange(k) / (D / 6)); i = np.stack(np.meshgrid(*[np.arange(G)] * 3, indexing="ij"), -1).reshape(-1, 3)
    return torch.tensor(np.concatenate([f(i[:, [ax_]] * om) for ax_ in (1, 0, 2) for f in (np.sin, np.cos)], 1)[:, :D], dtype=torch.float32)
def linear(i, o, gain=1.):
    m = nn.Linear(i, o); nn.init.zeros_(m.bias); nn.init.trunc_normal_(m.weight, std=.02) if a.init == "trunc" else nn.init.xavier_uniform_(m.weight); m.weight.data.mul_(gain); return m
class Block(nn.Module):
    def __init__(self, D, H, scale=1.):
        super().__init__(); self.H = H; self.n1, self.n2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.proj, self.fc1, self.fc2 = linear(D, 3 * D), linear(D, D, scale), linear(D, 4 * D), linear(4 * D, D, scale)
    def forward(self, x):
        B, T, D = x.shape; q, k, v = self.qkv(self.n1(x)).view(B, T, 3, self.H, -1).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, T, D)); return x + self.fc2(F.gelu(self.fc1(self.n2(x))))
def take(x, idx): return x.gather(1, idx.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
class Encoder(nn.Module):
    def __init__(self):
        super().__init__(); D = a.width; self.embed = linear(P ** 3, D, a.gain[0])
        self.pos = nn.Parameter(torch.randn(N, D) * .02) if a.pos == "learned" else nn.Parameter(sincos(D) * (a.posscale if a.pos == "sincos" else 0), requires_grad=False)
        self.blocks = nn.Sequential(*[Block(D, a.heads, a.gain[1]) for _ in range(a.depth)]); self.norm = nn.LayerNorm(D)
    def forward(self, x, keep=None):
        x = self.embed(x) + self.pos; return self.norm(self.blocks(x if keep is None else take(x, keep)))
class Predictor(nn.Module):
    def __init__(self):
        super().__init__(); self.inp, self.out, self.norm = linear(a.width, a.pw), linear(a.pw, a.width), nn.LayerNorm(a.pw)
        self.mask = nn.Parameter(torch.randn(a.pw) * .02); self.register_buffer("pos", sincos(a.pw)); self.blocks = nn.Sequential(*[Block(a.pw, a.heads, (2 * l) ** -.5) for l in range(1, a.pd + 1)])
    def forward(self, z, ctx, tgt):                        # z (B,K,D), ctx (B,K), tgt (M,B,L) -> (M*B,L,D)
        M, B, L = tgt.shape; c = (self.inp(z) + self.pos[ctx]).repeat(M, 1, 1); t = self.mask + self.pos[tgt.reshape(M * B, L)]
        return self.out(self.norm(self.blocks(torch.cat([c, t], 1)))[:, -L:])

# ---- masks
def block(scale, aspect):
    r = rng.random(); m = int(N * (scale[0] + r * (scale[1] - scale[0]))); q = aspect[0] + r * (aspect[1] - aspect[0])
    s = [round((m * q) ** (1 / 3)), round((m / q) ** (1 / 3)), round(m ** (1 / 3))]; return np.clip(np.array(s)[rng.permutation(3)], 1, G - 1)
def place(s):
    o = [rng.integers(0, G - k + 1) for k in s]; m = np.zeros((G,) * 3, bool); m[o[0]:o[0] + s[0], o[1]:o[1] + s[1], o[2]:o[2] + s[2]] = True; return m.ravel()
def masks(B):
    ts, cs = block(a.tscale, (.75, 1.5)), block(a.cscale, (1, 1)); T, C = [], []
    for _ in range(B):
        while True:
            t = [place(ts) for _ in range(a.blocks)]; c = place(cs) & ~np.any(t, 0)
            if c.sum() > 4: break
        T.append([np.flatnonzero(m) for m in t]); C.append(np.flatnonzero(c))
    K = min(map(len, C)); return torch.tensor(np.stack([np.sort(rng.choice(c, K, replace=False)) for c in C])), torch.tensor(np.array(T)).transpose(0, 1).contiguous()

# ---- anti-collapse terms on Z (n, D)
def variance(Z): return F.relu(1 - torch.sqrt(Z.var(0) + 1e-4)).mean()
def covariance(Z):
    C = Z - Z.mean(0); C = C.T @ C / (len(Z) - 1); return (C.square().sum() - C.diagonal().square().sum()) / Z.shape[1]
def sigreg(Z):
    A = torch.randn(Z.shape[1], a.proj); A = A / A.norm(dim=0); t = torch.linspace(-4, 4, 17); w = torch.exp(-t ** 2 / 2); x = (Z @ A).unsqueeze(-1) * t
    e = (torch.cos(x).mean(0) - w) ** 2 + torch.sin(x).mean(0) ** 2; return torch.trapezoid(e * w, t, dim=1).mean() * min(len(Z), 256)

# ---- probes: multinomial logistic regression on standardised frozen features
def logistic(X, y, n, l2):
    W = torch.zeros(X.shape[1] + 1, n, requires_grad=True); A = torch.cat([X, torch.ones(len(X), 1)], 1); o = torch.optim.LBFGS([W], max_iter=150, line_search_fn="strong_wolfe")
    def f(): o.zero_grad(); l = F.cross_entropy(A @ W, y) + l2 * W[:-1].square().sum(); l.backward(); return l
    o.step(f); return lambda X: (torch.cat([X, torch.ones(len(X), 1)], 1) @ W.detach())
def standard(X, n): mu, sd = X[:n].mean(0), X[:n].std(0) + 1e-6; return (X - mu) / sd
NT, NV = a.ntrain, a.nval
def volume(M):                                             # penalty chosen on the validation split; (test correctness, l2)
    M = standard(M, NT); fits = [(logistic(M[:NT], Y[:NT], 4, l2), l2) for l2 in (1e-3, 1e-2, 3e-2, .1, .3)]
    f, l2 = max(fits, key=lambda v: (v[0](M[NT:NT + NV]).argmax(1) == Y[NT:NT + NV]).float().mean()); return (f(M[NT + NV:]).argmax(1) == Y[NT + NV:]).numpy(), l2
def dense(Z):                                              # (test volumes, 5 organs, [hit, predicted + true])
    D = Z.shape[-1]; k = min(NT, 120); X = Z[:k].reshape(-1, D); mu, sd = X.mean(0), X.std(0) + 1e-6
    f = logistic((X - mu) / sd, MAJ[:k].reshape(-1), 6, 1e-4); q = f((Z[NT + NV:].reshape(-1, D) - mu) / sd).argmax(1).view(-1, N); t = MAJ[NT + NV:]
    return np.stack([np.stack([((q == c) & (t == c)).sum(1), (q == c).sum(1) + (t == c).sum(1)], -1) for c in range(1, 6)], 1)
def rankme(X): s = torch.linalg.svdvals(X - X.mean(0)); q = s / s.sum() + 1e-9; return float(torch.exp(-(q * q.log()).sum()))
def dice(h): h = h.sum(0); return 2 * h[:, 0] / np.maximum(1, h[:, 1])
def boot(f, n, r=np.random.default_rng(0), B=1000): v = np.sort([f(r.integers(0, n, n)) for _ in range(B)]); return [round(float(v[int(.025 * B)]), 3), round(float(v[int(.975 * B)]), 3)]
def probe(m):
    with torch.no_grad(): Z = torch.cat([m(XP[i:i + 40]) for i in range(0, len(XP), 40)])
    M = Z.mean(1); acc, l2 = volume(M); h = dense(Z); acc2, _ = volume(torch.cat([M, Z.amax(1), Z.std(1)], 1))
    return dict(acc=acc, dense=h, rich=acc2), dict(acc=round(float(acc.mean()), 3), rich=round(float(acc2.mean()), 3), dice=round(float(dice(h).mean()), 3), organs=np.round(dice(h), 3).tolist(), l2=l2,
                pooled_std=round(float(M.std(0).mean()), 4), rank=round(rankme(M), 1), trank=round(rankme(Z[:60].reshape(-1, a.width)[::5]), 1))

X, L, y = phantoms(NT + NV + a.ntest, 1000 + a.seed); XP = torch.from_numpy(patches(X)); Y = torch.from_numpy(y); lp = patches(L)
MAJ = torch.from_numpy(np.stack([(lp == c).mean(-1) for c in range(6)], -1).argmax(-1)); XT = torch.from_numpy(patches(phantoms(a.pool, 2000 + a.seed)[0])) if a.steps else None
enc, pred = Encoder(), Predictor(); target = Encoder(); target.load_state_dict(enc.state_dict()); raw0, untrained = probe(enc)
res = dict(name=a.name, seed=a.seed, args={k: v for k, v in vars(a).items() if k not in ("out", "name", "seed", "cache") and v != p.get_default(k)}, untrained=untrained, share=round(float((MAJ > 0).float().mean()), 3))
if not a.steps:
    raw = XP.mean(-1); acc, l2 = volume(raw); res["patch_means"] = dict(acc=round(float(acc.mean()), 3), l2=l2)
    t = np.eye(6)[MAJ[:NT].numpy()].mean(0).argmax(-1); res["position_only"] = np.round([2 * ((t == c) & (MAJ[NT + NV:].numpy() == c)).sum() / max(1, (t == c).sum() * a.ntest + (MAJ[NT + NV:].numpy() == c).sum()) for c in range(1, 6)], 3).tolist()
    print(json.dumps(res)); open(a.out, "a").write(json.dumps(res) + "\n"); raise SystemExit
ps = [q for q in [*enc.parameters(), *pred.parameters()] if q.requires_grad]
opt = torch.optim.AdamW([dict(params=[q for q in ps if q.ndim > 1]), dict(params=[q for q in ps if q.ndim <= 1], weight_decay=0)], lr=a.lr, weight_decay=a.wd, betas=(.9, a.beta2))
pt, pe = [q.data for q in target.parameters()], [q.data for q in enc.parameters()]; center = None; losses, flops, curve, t0, spent = [], 0., [], time.time(), 0.
def cost(T, D, d): return d * (24 * T * D * D + 4 * T * T * D)
for s in range(a.steps):
    for gr in opt.param_groups: gr["lr"] = a.lr * min(1, (s + 1) / max(1, a.warm * a.steps)) * .5 * (1 + np.cos(np.pi * s / a.steps))
    x = XT[torch.from_numpy(rng.integers(0, len(XT), a.batch))]; ctx, tgt = masks(a.batch); M, B, Lt = tgt.shape
    with torch.no_grad():
        h = target(x); h = F.layer_norm(h, (a.width,))
        if a.tnorm == "ln-center": c = h.mean((0, 1)); center = c if center is None else .9 * center + .1 * c; h = h - center
        if a.tnorm == "ln-poscenter": c = h.mean(0); center = c if center is None else .9 * center + .1 * c; h = h - center
        if a.tnorm == "ln-posstd": c = h.mean(0); center = c if center is None else .9 * center + .1 * c; h = h - center; h = h / (h.std((0, 1)) + 1e-5)
        if a.tnorm == "instance": h = (h - h.mean(1, keepdim=True)) / (h.std(1, keepdim=True) + 1e-5)
        h = take(h.repeat(M, 1, 1), tgt.reshape(M * B, Lt))
    zc = enc(x, ctx); jl = F.smooth_l1_loss(pred(zc, ctx, tgt), h); Z, ZM = zc.reshape(-1, a.width), zc.mean(1); loss = a.jepa * jl
    if a.var: loss = loss + a.var * variance(Z)
    if a.cov: loss = loss + a.cov * covariance(Z)
    if a.sig: loss = loss + a.sig * sigreg(Z[torch.randperm(len(Z))[:a.sign]])
    if a.varp: loss = loss + a.varp * variance(ZM)
    if a.covp: loss = loss + a.covp * covariance(ZM)
    if a.sigp: loss = loss + a.sigp * sigreg(ZM)
    opt.zero_grad(); loss.backward(); opt.step(); losses.append(float(jl.detach()))
    lam = a.ema_end - (a.ema_end - a.ema) * (np.cos(np.pi * s / a.steps) + 1) / 2; torch._foreach_lerp_(pt, pe, 1 - lam)
    K = ctx.shape[1]; flops += B * (cost(N, a.width, a.depth) + 2 * N * P ** 3 * a.width * 2 + 3 * cost(K, a.width, a.depth) + 3 * M * cost(K + Lt, a.pw, a.pd) + 6 * M * Lt * a.width * a.pw)
    if a.probes and (s + 1) % (a.steps // a.probes) == 0 and s + 1 < a.steps: t1 = time.time(); curve.append(dict(step=s + 1, loss=round(float(np.mean(losses[-20:])), 4), **probe(enc)[1])); print(curve[-1], flush=True); spent += time.time() - t1
dt = time.time() - t0 - spent; raw1, res["trained"] = probe(enc); raw2, res["target"] = probe(target); n = a.ntest
for k, r in (("trained", raw1), ("target", raw2)):
    res[k]["dacc"] = boot(lambda i: r["acc"][i].mean() - raw0["acc"][i].mean(), n); res[k]["drich"] = boot(lambda i: r["rich"][i].mean() - raw0["rich"][i].mean(), n); res[k]["ddice"] = boot(lambda i: dice(r["dense"][i]).mean() - dice(raw0["dense"][i]).mean(), n)
for k, r in (("untrained", raw0), ("trained", raw1), ("target", raw2)): res[k]["acc_ci"] = boot(lambda i: r["acc"][i].mean(), n); res[k]["dice_ci"] = boot(lambda i: dice(r["dense"][i]).mean(), n)
res |= dict(loss_first=round(float(np.mean(losses[:5])), 4), loss=round(float(np.mean(losses[-20:])), 4), tflop=round(flops / 1e12, 2), s_per_step=round(dt / a.steps, 3), context=K, target_len=Lt, curve=curve)
open(a.out, "a").write(json.dumps(res) + "\n")
f = lambda d: f"acc {d['acc']} rich {d['rich']} dice {d['dice']} {d['organs']} rank {d['rank']}/{d['trank']} std {d['pooled_std']}"
print(f"{a.name} s{a.seed} loss {res['loss_first']}->{res['loss']} {res['tflop']} TFLOP {res['s_per_step']} s/step\n  untrained {f(untrained)}\n  trained   {f(res['trained'])} d {res['trained']['dacc']} {res['trained']['ddice']}\n  target    {f(res['target'])} d {res['target']['dacc']} {res['target']['ddice']}", flush=True)
