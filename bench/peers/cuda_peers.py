"""Ceilings and peers of the CUDA backend on the same device: PyTorch's bf16 matrix product; PyTorch matmul + topk in
bf16 and TF32, the rows cut into tiles of several sizes; JAX top_k and approx_max_k. Times are medians over CUDA
events (PyTorch) or the clock after block_until_ready (JAX). What is not installed is left out, and said so.

    python3 bench/peers/cuda_peers.py [--toy] [--json FILE]
"""
import argparse
import json
import statistics
import time

parser = argparse.ArgumentParser()
parser.add_argument("--toy", action="store_true", help="tiny sizes, to try the program")
parser.add_argument("--json", default="")
options = parser.parse_args()
K = 10
CASES = [(2000, 32, 3)] if options.toy else [(10_000_000, 128, 16), (10_000_000, 128, 1024), (1_000_000, 768, 1024)]
SIZE = 256 if options.toy else 8192
report = {"k": K, "results": [], "missing": []}


def add(**result):
    report["results"].append(result)
    print(" ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in result.items()))


def torch_peers():
    import torch

    if not torch.cuda.is_available():
        raise ImportError("PyTorch sees no GPU")
    report["torch"] = torch.__version__

    def timed(body, repeats=15):
        for _ in range(3):
            body()
        times = []
        for _ in range(repeats):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            body()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
        return statistics.median(times)

    a, b = (torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    milliseconds = timed(lambda: a @ b)
    add(what="bf16 matmul", ms=milliseconds, tmacs=SIZE**3 / milliseconds * 1e-9)
    del a, b

    for rows, dims, batch in CASES:
        # The bare product of the search's own shape, as many rows at a time as a score matrix of 2 GB allows.
        for name, dtype in (("bf16", torch.bfloat16), ("tf32", torch.float32)):
            torch.backends.cuda.matmul.allow_tf32 = True
            x = torch.randn(rows, dims, device="cuda", dtype=dtype)
            q = torch.randn(batch, dims, device="cuda", dtype=dtype)
            most = max(1, 2**31 // (batch * x.element_size()))

            def product(tile):
                for first in range(0, rows, tile):
                    q @ x[first : first + tile].T

            def search(tile):
                values, indices = [], []
                for first in range(0, rows, tile):
                    top = torch.topk(q @ x[first : first + tile].T, min(K, rows - first), dim=1)
                    values.append(top.values)
                    indices.append(top.indices + first)
                best = torch.topk(torch.cat(values, 1), K, dim=1)
                return torch.gather(torch.cat(indices, 1), 1, best.indices)

            add(what=f"torch {name} product alone", rows=rows, dims=dims, batch=batch, ms=timed(lambda: product(min(rows, most)), 7))
            tiles = sorted({min(rows, most, tile) for tile in (2**15, 2**17, 2**19, 2**21, 2**24)})
            best = min(((timed(lambda: search(tile), 5), tile) for tile in tiles))
            add(what=f"torch {name} matmul + topk", rows=rows, dims=dims, batch=batch, tile=best[1], ms=best[0])
            del x, q
            torch.cuda.empty_cache()


def jax_peers():
    import os

    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax
    import jax.numpy as jnp

    if jax.default_backend() != "gpu":
        raise ImportError("JAX sees no GPU")
    report["jax"] = jax.__version__
    for rows, dims, batch in CASES:
        if rows * batch * 2 > 30e9:  # XLA makes the whole score matrix
            batch = int(30e9 / (rows * 2))
        x = jax.random.normal(jax.random.PRNGKey(0), (rows, dims), jnp.bfloat16)
        q = jax.random.normal(jax.random.PRNGKey(1), (batch, dims), jnp.bfloat16)
        for name, select in (("top_k", jax.lax.top_k), ("approx_max_k", jax.lax.approx_max_k)):
            run = jax.jit(lambda q, x, select=select: select(q @ x.T, K))
            try:
                jax.block_until_ready(run(q, x))
                times = []
                for _ in range(7):
                    start = time.perf_counter()
                    jax.block_until_ready(run(q, x))
                    times.append((time.perf_counter() - start) * 1e3)
                add(what=f"jax {name}", rows=rows, dims=dims, batch=batch, ms=statistics.median(times))
            except Exception as error:  # out of memory, mostly
                report["missing"].append(f"jax {name} at {rows} x {dims}, batch {batch}: {str(error)[:200]}")


for peers in (torch_peers, jax_peers):
    try:
        peers()
    except ImportError as error:
        report["missing"].append(f"{peers.__name__}: {error}")
for line in report["missing"]:
    print("left out:", line)
if options.json:
    with open(options.json, "w") as file:
        json.dump(report, file)
