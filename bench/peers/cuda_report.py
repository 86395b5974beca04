"""Joins what scripts/cuda-box.sh found: FOLDER/*.json become FOLDER/report.json and a short table.

    python3 bench/peers/cuda_report.py FOLDER name=value…
"""
import json
import os
import sys

folder, *facts = sys.argv[1:]
report = {"steps": {}}
for fact in facts:
    name, _, value = fact.partition("=")
    if name.startswith("step."):
        report["steps"][name[5:]] = value
    else:
        report[name] = value
for name in sorted(os.listdir(folder)):
    if name.endswith(".json") and name != "report.json":
        with open(os.path.join(folder, name)) as file:
            report[name[:-5]] = json.load(file)
with open(os.path.join(folder, "report.json"), "w") as file:
    json.dump(report, file, indent=1)

peers = report.get("peers", {"results": []})["results"]
gemm = next((peer["tmacs"] for peer in peers if peer["what"] == "bf16 matmul"), None)
print(f"\n{report['gpu'] or 'no GPU'}, driver {report['driver'] or 'none'}, clocks {report['clocks']}, commit {report['commit']}")
if report["emulated"] == "1":
    print("EMULATED: these figures mean nothing")
print("steps:", ", ".join(f"{name} {how}" for name, how in report["steps"].items()))
if gemm:
    print(f"bf16 matmul {gemm:.1f} TMAC/s")
print(f"{'rows x dims':>16} {'batch':>6} {'k':>5} {'filter':>6} {'kernel':>10} {'device ms':>10} {'p50 ms':>9} {'of copy':>8} {'of GEMM':>8} {'checked':>9} {'x torch':>8}")
for name in ("small", "batches", "wide", "kernels"):
    part = report.get(name)
    if not part:
        continue
    for case in part["cases"]:
        if name == "kernels" and case["chosen"]:
            continue
        cells = part["rows"] * part["dimensions"]
        seconds = case["device_ms"] * 1e-3
        of_copy = f"{100 * cells / seconds / part['copy_bytes_per_second']:.0f}%"
        of_gemm = f"{100 * cells * case['batch'] / seconds * 1e-12 / gemm:.0f}%" if gemm else "-"
        same = [p["ms"] for p in peers if "topk" in p["what"] and (p["rows"], p["dims"], p["batch"]) == (part["rows"], part["dimensions"], case["batch"])]
        times = f"{min(same) / case['device_ms']:.1f}" if same and case["k"] == 10 and case["percent"] == 100 else "-"
        size = f"{part['rows']} x {part['dimensions']}"
        print(f"{size:>16} {case['batch']:>6} {case['k']:>5} {case['percent']:>5g}% {case['kernel']:>10} {case['device_ms']:>10.3f} "
              f"{case['p50_ms']:>9.3f} {of_copy:>8} {of_gemm:>8} {case['checked']:>9} {times:>8}")
for missing in report.get("peers", {}).get("missing", []):
    print("left out:", missing)
