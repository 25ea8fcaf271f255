"""Makes test/golden/training/optimizers.json: weights after each step of small runs of PyTorch in f64.

Run with a Python that has torch (1.13 or later): python3 scripts/make-optimizer-vectors.py
Every case is a `train` block for the model of test/null/passes/optimizer-vectors.test.ts and what torch makes of it. Lion is no part of
torch: its reference here is Algorithm 2 of Chen et al. 2023, written out.
"""
import json
import os

import torch

STEPS = 6
LR = 0.03
torch.set_default_dtype(torch.float64)
torch.manual_seed(7)

start = {"head.weight": torch.randn(4, 3), "head.bias": torch.randn(4)}
batches = [(torch.randn(5, 3), torch.randn(5, 4), torch.tensor([at % 4, 1, -100, 3, (at + 2) % 4])) for at in range(STEPS)]


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of "Symbolic Discovery of Optimization Algorithms"."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = torch.sign(beta1 * m + (1 - beta1) * p.grad)
                p -= group["lr"] * (update + group["weight_decay"] * p)
                m.mul_(beta2).add_(p.grad, alpha=1 - beta2)


def mse(model, x, y, label):
    return torch.nn.functional.mse_loss(model(x), y)


def run(name, block, optimizer, loss="mse(score, y)", of=mse, clip=None, ema=None, schedule=None):
    model = torch.nn.Sequential()
    model.add_module("head", torch.nn.Linear(3, 4))
    with torch.no_grad():
        for path, value in start.items():
            dict(model.named_parameters())[path].copy_(value)
    chosen = optimizer(dict(model.named_parameters()))
    plan = schedule(chosen) if schedule else None
    average = torch.optim.swa_utils.AveragedModel(model, avg_fn=lambda a, p, n: ema * a + (1 - ema) * p) if ema else None
    steps = []
    for x, y, label in batches:
        rate = chosen.param_groups[0]["lr"]
        chosen.zero_grad()
        value = of(model, x, y, label)
        value.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        chosen.step()
        if plan:
            plan.step()
        step = {"lr": rate, "loss": value.item()}
        step["weights"] = {path: p.detach().flatten().tolist() for path, p in model.named_parameters()}
        if average:
            average.update_parameters(model)
            step["averages"] = {
                path.removeprefix("module."): p.detach().flatten().tolist() for path, p in average.named_parameters()
            }
        steps.append(step)
    return {"name": name, "loss": loss, "block": block, "steps": steps}


def every(make):
    return lambda parameters: make(list(parameters.values()))


optim = torch.optim
cases = [
    run("sgd", f"optimizer: sgd({LR})", every(lambda p: optim.SGD(p, lr=LR))),
    run(
        "sgd with Nesterov momentum and decay",
        f"optimizer: sgd({LR}, momentum: 0.9, nesterov: true, weight_decay: 0.1)",
        every(lambda p: optim.SGD(p, lr=LR, momentum=0.9, nesterov=True, weight_decay=0.1)),
    ),
    run(
        "adam, clipped",
        f"optimizer: adam({LR}, beta1: 0.8, beta2: 0.95, weight_decay: 0.05)\n  clip_norm: 0.5",
        every(lambda p: optim.Adam(p, lr=LR, betas=(0.8, 0.95), weight_decay=0.05)),
        clip=0.5,
    ),
    run(
        "adamw",
        f"optimizer: adamw({LR}, weight_decay: 0.2)",
        every(lambda p: optim.AdamW(p, lr=LR, weight_decay=0.2)),
    ),
    run("lion", f"optimizer: lion({LR}, weight_decay: 0.1)", every(lambda p: Lion(p, LR, weight_decay=0.1))),
    run("sgd, averaged", f"optimizer: sgd({LR}, momentum: 0.5)\n  ema: 0.9", every(lambda p: optim.SGD(p, lr=LR, momentum=0.5)), ema=0.9),
    run("adamw, averaged with a small decay", f"optimizer: adamw({LR})\n  ema: 0.25", every(lambda p: optim.AdamW(p, lr=LR)), ema=0.25),
    run(
        "adamw, decay by groups",
        f'optimizer: adamw({LR}, weight_decay: 0.2)\n  "head.*": decay(0.5)\n  "head.weight": decay(0.05)',
        lambda p: optim.AdamW(
            [
                {"params": [p["head.weight"]], "weight_decay": 0.05},
                {"params": [p["head.bias"]], "weight_decay": 0.5},
            ],
            lr=LR,
        ),
    ),
    run(
        "lion, one weight without decay",
        f'optimizer: lion({LR}, beta1: 0.8, beta2: 0.9)\n  "**": decay(0.3)\n  no_decay: "**.bias"',
        lambda p: Lion(
            [
                {"params": [p["head.weight"]], "weight_decay": 0.3},
                {"params": [p["head.bias"]], "weight_decay": 0.0},
            ],
            LR,
            betas=(0.8, 0.9),
        ),
    ),
    run(
        "sgd by steps",
        f"optimizer: sgd(step(peak: {LR}, every: 2, factor: 0.3), momentum: 0.9)",
        every(lambda p: optim.SGD(p, lr=LR, momentum=0.9)),
        schedule=lambda chosen: optim.lr_scheduler.StepLR(chosen, step_size=2, gamma=0.3),
    ),
    run(
        "cross entropy with class weights",
        f"optimizer: sgd({LR})",
        every(lambda p: optim.SGD(p, lr=LR)),
        loss="cross_entropy(score, label, weights: tensor([0.5, 1.0, 2.5, 0.25]), ignore: -100, smoothing: 0.1)",
        of=lambda model, x, y, label: torch.nn.functional.cross_entropy(
            model(x), label, weight=torch.tensor([0.5, 1.0, 2.5, 0.25]), label_smoothing=0.1
        ),
    ),
]

out = os.path.join(os.path.dirname(__file__), "..", "test", "golden", "training", "optimizers.json")
numbers = lambda value: value.flatten().tolist()
with open(out, "w") as file:
    json.dump(
        {
            "start": {path: numbers(value) for path, value in start.items()},
            "batches": [{"x": numbers(x), "y": numbers(y), "label": numbers(label)} for x, y, label in batches],
            "cases": cases,
        },
        file,
        indent=1,
    )
    file.write("\n")
