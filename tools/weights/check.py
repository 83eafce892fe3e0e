"""Loads what this project exports into the programs it is for, and compares.

    pip install nidl timm transformers onnxruntime torch
    python tools/weights/check.py [--keep DIR]

A Go test writes encoders of many kinds in every layout (with Go on the PATH).
Each file is loaded by its own program, strictly: no missing name, no name too
many. The features that it computes in double precision are compared with the
reference: for the golden weights what the original program computed from the
original file, for the others timm's or nidl's class with the exported tensors,
given to it by hand. ONNX runs in onnxruntime, in float32, with batches of 1 and
3. Differences are relative to the largest feature. Exits with 1 where one is
over its bound.
"""
import argparse, json, os, subprocess, sys, tempfile
from functools import partial

import numpy as np, onnxruntime, timm, torch, transformers
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

try:
    from nidl.backbones.volume import VisionTransformer3D
except ImportError:
    from nidl.volume.backbones.vit3d import VisionTransformer3D
from nidl.estimators.ssl import IJEPA

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
GOLDEN = os.environ.get("JEPA_TEST_GOLDEN", os.path.join(ROOT, "..", "shared", "golden"))
BOUND = {"double": 1e-12, "float32": 5e-6, "same": 0.0}
rows = []


def row(case, file, program, what, value, kind):
    rows.append((case, file, program, what, value, "ok" if value <= BOUND[kind] else "FAILED"))


def build(c, pos_embed="learned"):
    """timm's or nidl's encoder of a configuration."""
    cls, extra = VisionTransformer, {}
    if len(c["PatchSize"]) == 3:
        cls, extra = VisionTransformer3D, {"pos_embed": pos_embed}
    else:
        extra = {"fc_norm": False}
    return cls(img_size=tuple(c["ImgSize"]), patch_size=tuple(c["PatchSize"]), in_chans=c["InChans"], num_classes=0, embed_dim=c["EmbedDim"],
               depth=c["Depth"], num_heads=c["NumHeads"], mlp_ratio=c["MLPRatio"], qkv_bias=c["QKVBias"], qk_norm=c["QKNorm"],
               class_token=c["ClassToken"], reg_tokens=c["RegTokens"], no_embed_class=c["NoEmbedClass"], pre_norm=c["PreNorm"],
               global_pool="" , norm_layer=partial(torch.nn.LayerNorm, eps=c["NormEps"]), **extra).eval()


def prefix(c):
    return int(c["ClassToken"]) + c["RegTokens"]


@torch.no_grad()
def run(encoder, x, c):
    """Patch features (B, P, D) in double precision."""
    return encoder.double().forward_features(x.double())[:, prefix(c):].numpy()


def difference(got, want):
    assert got.shape == want.shape, (got.shape, want.shape)
    return float(np.abs(got - want).max() / np.abs(want).max())


def torch_load(path):
    return torch.load(path, map_location="cpu", weights_only=True)


def check(case, folder):
    path = lambda name: os.path.join(folder, name)
    c = json.load(open(path("case.json")))
    x = torch.randn(3, c["InChans"], *c["ImgSize"], generator=torch.Generator().manual_seed(0))
    tensors = load_file(path("timm.safetensors"))
    encoder = build(c)
    encoder.load_state_dict(tensors, strict=True)
    want = run(encoder, x, c)
    if case == "golden_inflated":
        expected = load_file(os.path.join(GOLDEN, "weights", "inflation_expected.safetensors"))
        worst = max(float((tensors[k].double() - v).abs().max()) for k, v in expected.items())
        row(case, "timm.safetensors", "nidl", "inflated tensors, absolute", worst, "float32")
    if case in ("golden_timm", "golden_hf", "golden_nidl"):
        e = load_file(os.path.join(GOLDEN, "weights", case[7:] + "_expected.safetensors"))
        x, want = e["x"], e["features"].numpy()
        if case == "golden_timm":
            want = want[:, 1:]
        row(case, "timm.safetensors", "timm" if len(c["PatchSize"]) == 2 else "nidl", "features", difference(run(encoder, x, c), want), "double")
    if len(x) == 2:
        x, want = torch.cat([x, x[:1]]), np.concatenate([want, want[:1]])

    program = "timm " + timm.__version__ if len(c["PatchSize"]) == 2 else "nidl"
    encoder = build(c)
    encoder.load_state_dict(torch_load(path("timm.pth")), strict=True)
    row(case, "timm.pth", program, "features", difference(run(encoder, x, c), want), "double")

    if os.path.exists(path("nidl.ckpt")) and c["Predictor"]["EmbedDim"]:
        p = c["Predictor"]
        pos_embed = "sincos" if (c["PosEmbed"], c["PosOrder"], len(c["PatchSize"])) == ("sincos", "nidl", 3) else "learned"
        make = lambda: IJEPA(encoder=build(c, pos_embed), dim=len(c["PatchSize"]), predictor_embed_dim=p["EmbedDim"], predictor_depth_pred=p["Depth"],
                             max_epochs=1, enable_checkpointing=False, logger=False, accelerator="cpu")
        state = load_file(path("nidl.safetensors"))
        if p["NumHeads"] == c["NumHeads"]:
            for name in ("nidl.pt", "nidl.safetensors", "nidl.ckpt"):
                if name == "nidl.ckpt":
                    m = IJEPA.load_from_checkpoint(path(name), map_location="cpu", encoder=build(c, pos_embed), max_epochs=1, accelerator="cpu")
                else:
                    m = make()
                    m.load_state_dict(torch_load(path(name)) if name == "nidl.pt" else state, strict=True)
                m = m.double().eval()
                with torch.no_grad():
                    got = m.context_encoder(x.double()).numpy()
                # nidl computes its own table of fixed positions, in float32.
                row(case, name, "nidl", "features", difference(got, want), "float32" if pos_embed == "sincos" else "double")
                worst = max(float((v.float() - state[k]).abs().max()) for k, v in m.state_dict().items() if k in state)
                row(case, name, "nidl", "all %d tensors" % len(state), worst, "same")

    if os.path.exists(path("original.pth.tar")):
        root = torch_load(path("original.pth.tar"))
        flat = load_file(path("original.safetensors"))
        strip = lambda d: {k.removeprefix("module."): v for k, v in d.items()}
        encoder = build(c)
        encoder.load_state_dict(strip(root["encoder"]), strict=True)
        row(case, "original.pth.tar", program, "features", difference(run(encoder, x, c), want), "double")
        nested = {f"{k}.{n}": v for k, d in root.items() if isinstance(d, dict) for n, v in d.items()}
        assert nested.keys() == flat.keys()
        if case == "golden_paper":
            start = torch.load(os.path.join(GOLDEN, "paper2d_start.pth.tar"), map_location="cpu", weights_only=False)
            for net in ("encoder", "target_encoder", "predictor"):
                assert list(sorted(start[net])) == list(sorted(root[net])), net
                worst = max(float((start[net][k] - v).abs().max()) for k, v in root[net].items())
                row(case, "original.pth.tar", "the original file", net, worst, "same")
        row(case, "original.safetensors", "safetensors", "all %d tensors" % len(flat), max(float((nested[k] - v).abs().max()) for k, v in flat.items()), "same")

    if os.path.exists(path("huggingface")):
        m, info = transformers.AutoModel.from_pretrained(path("huggingface"), output_loading_info=True, add_pooling_layer=False)
        assert type(m).__name__ == "IJepaModel" and not info["missing_keys"] and not info["unexpected_keys"], info
        with torch.no_grad():
            got = m.double().eval()(x.double()).last_hidden_state.numpy()
        row(case, "huggingface/", "transformers " + transformers.__version__, "features", difference(got, want), "double")

    session = onnxruntime.InferenceSession(path("encoder.onnx"), providers=["CPUExecutionProvider"])
    for n in (1, 3):
        features, embedding = session.run(["features", "embedding"], {"x": x[:n].numpy()})
        program = "onnxruntime " + onnxruntime.__version__
        row(case, "encoder.onnx", program, f"features, batch {n}", difference(features, want[:n]), "float32")
        row(case, "encoder.onnx", program, f"embedding, batch {n}", difference(embedding, want[:n].mean(1)), "float32")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--keep", help="write the exported files to this folder and keep them")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.abspath(a.keep) if a.keep else tmp
        os.makedirs(out, exist_ok=True)
        subprocess.run(["go", "test", "./checkpoint/weights", "-count=1", "-run", "TestExportForPrograms"], cwd=ROOT,
                       env=dict(os.environ, WGJEPA_EXPORT_DIR=out), check=True, stdout=subprocess.DEVNULL)
        cases = sorted(os.listdir(out))
        if not cases:
            sys.exit("nothing was exported: are the golden data there?")
        for case in cases:
            check(case, os.path.join(out, case))
    print("| case | file | loaded by | compared | difference | |\n|---|---|---|---|---|---|")
    for r in rows:
        print("| %s | %s | %s | %s | %.1e | %s |" % r)
    failed = [r for r in rows if r[-1] != "ok"]
    print(f"\n{len(rows)} comparisons, {len(failed)} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
