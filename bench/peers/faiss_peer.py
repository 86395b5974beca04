"""FAISS as a peer of the search benchmark: its current wheel, which picks the processor's best instruction set. A process of
its own for each setting; commands and answers are those of main.cpp.

    faiss_peer.py faiss|faiss-blas|faiss-ivf ROWS QUERIES DIMENSIONS THREADS

faiss and faiss-blas are IndexFlatIP, which is exact, by default and with BLAS for every batch; faiss-ivf is approximate.
"""
import json
import math
import sys
import time

import faiss
import numpy
from threadpoolctl import threadpool_info


def say(**facts):
    print(json.dumps(facts), flush=True)


def matrix(path, dimensions):
    return numpy.fromfile(path, numpy.float32).reshape(-1, dimensions)


def build_flat(rows):
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index, "exact", 0


def build_ivf(rows):
    """About 2·√n lists (2,048 for a million rows), a power of two; the finest product quantiser of at most 64 parts."""
    count, dimensions = rows.shape
    lists = 2 ** round(math.log2(2 * math.sqrt(count)))
    parts = next(n for n in range(min(64, dimensions), 0, -1) if dimensions % n == 0)
    key = f"IVF{lists},PQ{parts}x4fs,RFlat"
    index = faiss.index_factory(dimensions, key, faiss.METRIC_INNER_PRODUCT)
    index.train(rows[: 256 * lists])  # its clustering takes at most 256 points for each list
    index.add(rows)
    return index, f"approximate, {key}", parts / 2 + 8  # codes and id beside the floats


def main(peer, rows_path, queries_path, dimensions, threads):
    faiss.omp_set_num_threads(int(threads))
    rows, queries = matrix(rows_path, int(dimensions)), matrix(queries_path, int(dimensions))
    start = time.perf_counter()
    index, setting, more_bytes = build_ivf(rows) if peer == "faiss-ivf" else build_flat(rows)
    seconds = time.perf_counter() - start
    bytes_per_row = 4 * rows.shape[1] + more_bytes
    del rows
    name = "FAISS IVF" if peer == "faiss-ivf" else "FAISS IndexFlatIP"
    if peer == "faiss-blas":
        faiss.cvar.distance_compute_blas_threshold = 1
        name += ", BLAS always"
        setting += ", distance_compute_blas_threshold = 1, OMP_WAIT_POLICY = passive"
    blas = next(library for library in threadpool_info() if library["internal_api"] == "openblas" and "faiss" in library["filepath"])
    setting += (
        f", {faiss.omp_get_max_threads()} threads; runs {faiss.get_compile_options().strip()},"
        f" BLAS: OpenBLAS {blas['version']} {blas['architecture']}"
    )
    say(name=name, version=faiss.__version__, setting=setting, buildSeconds=seconds, bytesPerRow=bytes_per_row)

    for line in sys.stdin:
        command, *words = line.split()
        if command == "tune":
            space = faiss.ParameterSpace()
            space.set_index_parameter(index, "nprobe", float(words[0]))
            space.set_index_parameter(index, "k_factor_rf", float(words[1]))
            say()
            continue
        first, count, k = map(int, words[:3])
        own = queries[first : first + count]
        scores, ids = numpy.empty((count, k), numpy.float32), numpy.empty((count, k), numpy.int64)
        start = time.perf_counter()
        index.search_c(count, faiss.swig_ptr(own), k, faiss.swig_ptr(scores), faiss.swig_ptr(ids))
        say(milliseconds=1000 * (time.perf_counter() - start))
        if words[3] == "ids":
            sys.stdout.buffer.write(ids.astype("<i4").tobytes())
            sys.stdout.buffer.flush()


main(*sys.argv[1:])
