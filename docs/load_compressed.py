# A file of `sorac compress` as a dictionary of f32 tensors under the names of the checkpoint: for `load_state_dict`.
import json, re, sys, numpy, torch

TYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I8": "i1", "U8": "u1", "I32": "<i4", "I64": "<i8", "BOOL": "?"}

def load(path):
    data = open(path, "rb").read()
    size = int.from_bytes(data[:8], "little")
    head, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    formats = head.pop("__metadata__", {})
    raw = {name: numpy.frombuffer(body[slice(*t["data_offsets"])], TYPES[t["dtype"]]).reshape(t["shape"]) for name, t in head.items()}
    tensors = {}
    for name, q in raw.items():
        match = re.match(r"(int8|int4)(?: group (\d+))?( asymmetric)?( transposed)? \[(.*)\]", formats.get("format:" + name, ""))
        if match:
            kind, group, asymmetric, transposed, shape = match.groups()
            shape = [int(n) for n in shape.split(",")]
            columns = shape[0] if transposed else int(numpy.prod(shape[1:]))
            if kind == "int4":  # two to a byte, the first in the lower half
                q = numpy.stack([q & 15, q >> 4], -1).reshape(len(q), -1)[:, :columns].astype("i4") - (0 if asymmetric else 8)
            place = numpy.arange(columns) // int(group or columns)
            scale, zero = raw[name + ".scale"].reshape(len(q), -1), raw.get(name + ".zero")
            q = (q.astype("f4") - (zero.reshape(len(q), -1)[:, place] if asymmetric else 0)) * scale[:, place]
            q = q.T.reshape(shape) if transposed else q.reshape(shape)
        if not (name.endswith((".scale", ".zero")) and "format:" + name.rpartition(".")[0] in formats):
            tensors[name] = torch.from_numpy(numpy.array(q, "f4" if match or q.dtype.kind == "f" else q.dtype))
    for name in [name for name in tensors if name.endswith(".places")]:  # a table of fewer rows: those that are gone are zeros
        table, places = tensors[name[:-7]], tensors.pop(name).long()
        tensors[name[:-7]] = torch.cat([torch.zeros_like(table[:1]), table])[places]
    return tensors

for name, tensor in load(sys.argv[1]).items() if __name__ == "__main__" else ():
    print(name, tuple(tensor.shape), f"{tensor.double().abs().sum():.6g}")
