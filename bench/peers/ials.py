# The sweeps of native/train/implicit.hpp in numpy: a peer of `npm run bench -- factorise`. Needs python3-numpy, linked with
# OpenBLAS. Reads lines of JSON on standard input: first { users, items, user, item (paths of uint32 files), factors,
# unobserved, penalty, first (path of float32 items × factors) }, then one { sweeps } for each run; answers
# each with { seconds }, and to { save } writes the users' vectors.
#
# As good as numpy can: rows sorted both ways beforehand (not timed), for each user one BLAS call for the Gram matrix of what
# they met (YᵀY of one array is a symmetric rank-k update), written into a stack of matrices that LAPACK solves in one call,
# stacks small enough for the cache.
import json
import sys

import numpy as np

STACK = 256


def solve_side(starts, ids, other, factors, unobserved, penalty, out):
    gram = unobserved * (other.T @ other)
    size = unobserved * other.shape[0]
    eye = np.arange(factors)
    matrices = np.empty((STACK, factors, factors), other.dtype)
    right = np.empty((STACK, factors, 1), other.dtype)
    lines = len(starts) - 1
    for first in range(0, lines, STACK):
        count = min(STACK, lines - first)
        for n in range(count):
            rows = other[ids[starts[first + n] : starts[first + n + 1]]]
            np.matmul(rows.T, rows, out=matrices[n])
            right[n, :, 0] = rows.sum(0)
        met = starts[first + 1 : first + count + 1] - starts[first : first + count]
        matrices[:count] += gram
        matrices[:count, eye, eye] += (penalty * (met + size)).astype(other.dtype)[:, None]
        out[first : first + count] = np.linalg.solve(matrices[:count], right[:count])[:, :, 0]


def sorted_by(line, other, count):
    order = np.argsort(line, kind="stable")
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(line, minlength=count), out=starts[1:])
    return starts, other[order].astype(np.int64)


def blas():
    """What the BLAS in this process says of itself: version, kernel, threads."""
    import ctypes

    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "openblas" in line}
    for path in paths:
        library = ctypes.CDLL(path)
        for name in ("openblas_get_config", "scipy_openblas_get_config64_", "openblas_get_config64_"):
            config = getattr(library, name, None)
            if config is not None:
                config.restype = ctypes.c_char_p
                return config().decode().strip()
    return "a BLAS other than OpenBLAS"


def main():
    import time

    setup = json.loads(sys.stdin.readline())
    user, item = (np.fromfile(setup[name], np.uint32) for name in ("user", "item"))
    users, items, factors = setup["users"], setup["items"], setup["factors"]
    by_user = sorted_by(user, item, users)
    by_item = sorted_by(item, user, items)
    first = np.fromfile(setup["first"], np.float32).reshape(items, factors)
    x = np.zeros((users, factors), first.dtype)
    print(json.dumps({"numpy": np.__version__, "blas": blas()}), flush=True)
    model = (factors, setup["unobserved"], setup["penalty"])
    for line in sys.stdin:
        order = json.loads(line)
        if "save" in order:
            x.astype(np.float32).tofile(order["save"])
            print("{}", flush=True)
            continue
        y = first.copy()
        start = time.perf_counter()
        for _ in range(order["sweeps"]):
            solve_side(*by_user, y, *model, x)
            solve_side(*by_item, x, *model, y)
        solve_side(*by_user, y, *model, x)
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)


main()
