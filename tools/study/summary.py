"""Table of a study.

    summary.py OUT.jsonl…      markdown: per variant and phantom the mean over seeds, trained | untrained, paired differences

An interval is the bootstrap (95 %, over test volumes, 1000 draws) of the paired difference trained − untrained. A variant's
line shows every seed's interval: "wins" needs all of them above zero.
"""
import collections, json, sys
import numpy as np

PHANTOM = ("size", "small", "noise", "shift", "angle", "scale", "jitter", "big", "spine", "texture", "contrast")
rows = collections.defaultdict(dict)
for f in sys.argv[1:]:
    for l in open(f):
        r = json.loads(l)
        if "trained" not in r: continue
        g = " ".join(f"{k}={r['args'][k]}" for k in PHANTOM if k in r["args"]); o = " ".join(f"{k}={v}" for k, v in r["args"].items() if k not in PHANTOM)
        rows[g, r["name"], o][r["seed"]] = r
last = None
for (g, name, o), s in sorted(rows.items(), key=lambda kv: (kv[0][0], -len(kv[1]), kv[0][1])):
    if g != last:
        print(f"\nPhantom: {g}\n\n| variant | what it changes | seeds | TFLOP | loss | volume accuracy untrained → trained | difference, each seed's interval | Dice untrained → trained | difference, each seed's interval | wins (volume, dense) |\n|---|---|---|---|---|---|---|---|---|---|"); last = g
    m = lambda k, q: np.mean([r[k][q] for r in s.values()]); R = [s[k] for k in sorted(s)]
    iv = lambda q: " ".join(f"[{r['trained'][q][0]:+.3f}, {r['trained'][q][1]:+.3f}]" for r in R); w = lambda q: "yes" if all(r["trained"][q][0] > 0 for r in R) else "no"
    print(f"| {name} | {o} | {len(s)} | {np.mean([r['tflop'] for r in R]):.2f} | {np.mean([r['loss'] for r in R]):.3f} | {m('untrained', 'acc'):.3f} → {m('trained', 'acc'):.3f} | {m('trained', 'acc') - m('untrained', 'acc'):+.3f} {iv('dacc')} "
          f"| {m('untrained', 'dice'):.3f} → {m('trained', 'dice'):.3f} | {m('trained', 'dice') - m('untrained', 'dice'):+.3f} {iv('ddice')} | {w('dacc')}, {w('ddice')} |")
