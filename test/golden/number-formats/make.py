"""Writes numpy.json: the number formats of docs/decisions/0009-compression.md by numpy, in f32, for test/null/runtime/number-formats.test.ts.

    python3 test/golden/number-formats/make.py
"""
import json
import pathlib

import numpy as np

f = np.float32
random = np.random.default_rng(7)
source = (random.standard_normal((3, 10)) * 0.3).astype(f)
source[1, 4:8] = 0
source[2] = np.abs(source[2]) + f(0.25)
# Halves: 2.5 and -0.5 steps of int8.
source[0, :4] = [f(1), f(2.5) / f(127), f(-0.5) / f(127), 0]


def bits(values):
    return [int(value) for value in np.asarray(values, f).reshape(-1).view(np.uint32)]


def encode(group, limit, asymmetric=False):
    rows, columns = source.shape
    values = np.zeros((rows, columns), int)
    decoded = np.zeros((rows, columns), f)
    scales, zeros = [], []
    for row in range(rows):
        for start in range(0, columns, group or columns):
            part = slice(start, min(start + (group or columns), columns))
            x = source[row, part]
            low, high = min(x.min(), f(0)), max(x.max(), f(0))
            scale = f((high - low) / f(15)) if asymmetric else f(np.abs(x).max() / f(limit))
            scale = scale if scale != 0 else f(1)
            zero = int(np.clip(np.rint(f(-low / scale)), 0, 15)) if asymmetric else 0
            least, most = (0, 15) if asymmetric else (-limit, limit)
            q = np.clip(np.rint((x / scale).astype(f)).astype(int) + zero, least, most)
            values[row, part] = q
            decoded[row, part] = ((q - zero).astype(f) * scale).astype(f)
            scales.append(scale)
            zeros.append(zero)
    return {
        "values": [int(value) for value in values.reshape(-1)],
        "scales": bits(scales),
        "zeros": zeros if asymmetric else None,
        "decoded": bits(decoded),
    }


cases = {
    "columns": 10,
    "source": bits(source),
    "int8": encode(None, 127),
    "int8_group4": encode(4, 127),
    "int4_group4": encode(4, 7),
    "int4_group4_asymmetric": encode(4, 7, asymmetric=True),
}
pathlib.Path(__file__).with_name("numpy.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
