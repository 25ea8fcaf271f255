"""The same run in PyTorch: fresh weights, batches, order and schedule are those of `train.mjs --export`.

    npm run train:characters -- --text input.txt --export
    python3 examples/characters/torch_reference.py examples/characters/generated

Writes `torch.json` into the folder: losses of every step and of the characters held back, as `log.json` has them. Needs torch
(1.13 or later) and nothing else. What `models/characters/characters.sora` says of the optimizer stands below once more.
"""

import json
import math
import struct
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

WEIGHT_DECAY = 0.1
CLIP_NORM = 1.0
EPS = 1e-8
TYPES = {"F32": torch.float32, "I32": torch.int32}


def read_safetensors(path):
    content = bytearray(path.read_bytes())
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    tensors = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        data = torch.frombuffer(content, dtype=TYPES[info["dtype"]], offset=8 + length + begin, count=(end - begin) // 4)
        tensors[name] = data.reshape(info["shape"]).clone()
    return tensors


class RMSNorm(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x, theta):
    """Rotary positions of x [B, heads, T, D]: pairs are elements of the first and the second half."""
    half = x.shape[-1] // 2
    frequencies = theta ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        width = c["hidden"]
        self.heads, self.theta = c["heads"], c["theta"]
        self.norm1 = RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.norm2 = RMSNorm(width)
        self.up = nn.Linear(width, c["ffn"], bias=False)
        self.down = nn.Linear(c["ffn"], width, bias=False)

    def attend(self, x):
        batch, length, width = x.shape
        parts = self.qkv(x).split(width, -1)
        q, k, v = (part.reshape(batch, length, self.heads, -1).transpose(1, 2) for part in parts)
        q, k = rotate(q, self.theta), rotate(k, self.theta)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        return (scores.masked_fill(later, -math.inf).softmax(-1) @ v).transpose(1, 2).reshape(batch, length, width)

    def forward(self, x):
        x = x + self.mix(self.attend(self.norm1(x)))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class CharacterModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.token = nn.Embedding(c["vocab"], c["hidden"])
        self.block = nn.ModuleList(Block(c) for _ in range(c["layers"]))
        self.norm = RMSNorm(c["hidden"])

    def loss(self, ids):
        """Mean over all positions but the last of each row."""
        x = self.token(ids)
        for block in self.block:
            x = block(x)
        logits = functional.linear(self.norm(x), self.token.weight)[:, :-1]
        return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))


def rate(step, schedule, total):
    """Learning rate of a step, counted from 0."""
    warm = round(schedule["warmup"] * total)
    if step < warm:
        return schedule["peak"] * step / warm
    share = min(1.0, (step - warm) / max(1, total - warm))
    final = schedule.get("final", 0)
    return final + (schedule["peak"] - final) * (1 + math.cos(math.pi * share)) / 2


def held_loss(model, rows, size):
    with torch.no_grad():
        parts = [model.loss(part).item() * len(part) for part in rows.split(size)]
    return sum(parts) / len(rows)


def main(folder):
    settings = json.loads((folder / "settings.json").read_text())
    batches = read_safetensors(folder / "batches.safetensors")
    total, every, size = settings["totalSteps"], settings["every"], settings["batchSize"]
    train, held = batches["train"].long(), batches["validation"].long()
    looked = held[: -(-settings["looked"] // held.shape[1])]
    model = CharacterModel({name.split(".")[-1]: value for name, value in settings["config"].items()})
    model.load_state_dict(read_safetensors(folder / "fresh.safetensors"))
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}],
        betas=(settings["optimizer"]["beta1"], settings["optimizer"]["beta2"]),
        eps=EPS,
    )
    log = {"device": f"PyTorch {torch.__version__}, CPU", "seconds": 0, "train": []}
    log["validation"] = [{"step": 0, "loss": held_loss(model, looked, size)}]
    start = time.time()
    for at in range(total):
        lr = rate(at, settings["schedule"], total)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        loss = model.loss(train[at])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        step = at + 1
        log["train"].append({"step": step, "loss": loss.item(), "gradNorm": norm.item(), "lr": lr})
        if step % every == 0 or step == total:
            found = held_loss(model, looked, size)
            log["validation"].append({"step": step, "loss": found})
            log["seconds"] = time.time() - start
            print(f"step {step}/{total}  loss {loss.item():.4f}  validation {found:.4f}  {log['seconds']:.0f} s", flush=True)
            (folder / "torch.json").write_text(json.dumps(log))
    log["whole"] = held_loss(model, held, size)
    (folder / "torch.json").write_text(json.dumps(log))
    print(f"validation loss over all characters held back: {log['whole']:.4f}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 torch_reference.py FOLDER")
    main(Path(sys.argv[1]))
