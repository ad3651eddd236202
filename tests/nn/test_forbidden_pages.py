"""Memory safety: plain calls and all others read and write only inside their tensors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Every tensor of a call begins, and in another call ends, at a forbidden memory page. A kernel that accesses
# one element outside of a tensor ends the process. The last line that it printed says in which call.
AT_FORBIDDEN_PAGES = """
import ctypes, faulthandler, mmap, sys
import torch
import gatewise
from gatewise import cells
from gatewise.nn.kernels import scratch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence
from tests.nn.layers import mixed

faulthandler.enable()
page, kept, guarded, at_end = mmap.PAGESIZE, [], 0, False
protect = ctypes.CDLL(None).mprotect
protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

def forbidden_around(like):
    # A copy of a tensor, in memory of its own.
    global guarded
    if not like.numel() or like.layout is not torch.strided:
        return like
    pages = -(-like.nbytes // page)
    memory = mmap.mmap(-1, (pages + 2) * page)
    offset = page + at_end * (pages * page - like.nbytes)
    copy = torch.frombuffer(memory, dtype=like.dtype, offset=offset, count=like.numel())
    start = copy.data_ptr() - offset
    copy.copy_(like.detach().reshape(-1))
    assert protect(start, page, 0) == protect(start + (pages + 1) * page, page, 0) == 0
    kept.append(memory)
    guarded += 1
    return copy.view(like.shape)

def guard(place, name, initial=None):
    make = getattr(place, name)
    def made(*args, **options):
        tensor = make(*args, **options)
        if type(tensor) is not Tensor or tensor.requires_grad or tensor.device.type != "cpu":
            return tensor
        return forbidden_around(tensor if initial is None else tensor.fill_(initial))
    setattr(place, name, made)

originals = [(Tensor, name, getattr(Tensor, name)) for name in ("new_empty", "new_zeros", "clone")]
originals += [(torch, name, getattr(torch, name)) for name in ("empty", "zeros", "empty_like", "zeros_like")]

def run(layer, case, guards):
    torch.manual_seed(1)
    T, B, I, H = sizes
    dtype = next(layer.parameters()).dtype
    place = forbidden_around if guards else lambda tensor: tensor
    for parameter in layer.parameters():
        parameter.data = place(torch.randn(parameter.shape, dtype=dtype) * 0.3)
        parameter.grad = None
    step = isinstance(layer, gatewise.nn.Step)
    x = place(torch.randn((B, I) if step else (B, T, I) if layer.batch_first else (T, B, I), dtype=dtype))
    train = "train" in case
    x.requires_grad_(train)
    scans = 1 if step else layer.num_layers * (1 + layer.bidirectional)
    widths = [0 if step else layer.proj_size] + [0] * (len(layer.cell.states) - 1)
    states = [place(torch.randn((B, w or H) if step else (scans, B, w or H), dtype=dtype)) for w in widths]
    hx = (tuple(states) if len(states) > 1 else states[0]) if "hx" in case else None
    options = {}
    if "lengths" in case:
        options["lengths"] = torch.randint(1, T + 1, (B,))
    if "reset" in case:
        options["reset"] = torch.rand(x.shape[:2]) < 0.3
    if "packed" in case:
        lengths = torch.randint(1, T + 1, (B,))
        x = pack_padded_sequence(x, lengths, layer.batch_first, enforce_sorted=False)
        x = x._replace(data=place(x.data.detach()).requires_grad_(train))
    if guards:
        for where, name, _ in originals:
            guard(where, name, torch.nan if "empty" in name else None)
    scratch._kept.tensors.clear()
    if hasattr(layer, "_plain"):
        layer._plain.clear()
    try:
        with torch.set_grad_enabled(train):
            for _ in range(2):  # the second call is the prepared one
                results = flat(layer(x, hx, **options))
                if train:
                    torch.autograd.backward([part.square().sum() for part in results])
    finally:
        for where, name, original in originals:
            setattr(where, name, original)
    if case in ("", "hx"):
        assert "_plain" in vars(layer) or layer.num_layers > 1 or layer.checkpoint  # prepared
    gradients = [p.grad for p in layer.parameters() if p.grad is not None]
    return [tensor.detach().clone() for tensor in [*results, *gradients]]

def flat(results):
    if isinstance(results, Tensor):
        return [results] if results.is_floating_point() else []
    return [tensor for part in results if part is not None for tensor in flat(part)]

LAYERS = {
    "LSTM": lambda i, h: gatewise.nn.LSTM(i, h),
    "GRU, rows first": lambda i, h: gatewise.nn.GRU(i, h, batch_first=True),
    "RNN without biases": lambda i, h: gatewise.nn.RNN(i, h, bias=False),
    "projected": lambda i, h: gatewise.nn.LSTM(i, h, proj_size=h // 2),
    "two layers, both directions": lambda i, h: gatewise.nn.GRU(i, h, 2, bidirectional=True),
    "checkpoint": lambda i, h: gatewise.nn.LSTM(i, h, checkpoint=2),
    "every kind of parameter": lambda i, h: gatewise.nn.Recurrent(mixed, i, h),
    "peepholes": lambda i, h: gatewise.nn.Recurrent(cells.lstm_peephole, i, h),
    "layer norm": lambda i, h: gatewise.nn.Recurrent(cells.lstm_layer_norm, i, h),
    "linear": lambda i, h: gatewise.nn.Recurrent(cells.gru_reset_before, i, h),
    "frozen": lambda i, h: gatewise.freeze(gatewise.nn.LSTM(i, h)),
    "LSTMCell": lambda i, h: gatewise.nn.LSTMCell(i, h),
    "GRUCell": lambda i, h: gatewise.nn.GRUCell(i, h),
    "a step": lambda i, h: gatewise.nn.Step(mixed, i, h),
}
CASES = ["", "hx", "train", "train hx", "lengths", "train lengths hx", "train reset", "train packed"]

for name, make in LAYERS.items():
    for sizes in ((1, 1, 1, 1), (5, 7, 3, 5), (3, 1, 13, 18), (4, 3, 30, 33)):
        for dtype in (torch.float32, torch.float64):
            layer = make(*sizes[2:]).to(dtype)
            for case in CASES:
                if isinstance(layer, gatewise.nn.Step) and {"lengths", "reset", "packed"} & set(case.split()):
                    continue
                expected = run(layer, case, False)
                for at_end in (False, True):
                    where = "ends" if at_end else "begins"
                    print(name, sizes, dtype, case, where, file=sys.stderr, flush=True)
                    before = guarded
                    found = run(layer, case, True)
                    assert guarded - before > 5, (name, case)
                    for a, b in zip(found, expected, strict=True):
                        assert torch.equal(a, b) and a.isfinite().all(), (name, sizes, dtype, case, at_end)
            kept.clear()
print(guarded)
"""


@pytest.mark.skipif(os.name != "posix", reason="pages are forbidden by mprotect")
def test_nothing_outside_a_tensor_is_read_or_written() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_FORBIDDEN_PAGES],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert int(done.stdout) > 20_000
