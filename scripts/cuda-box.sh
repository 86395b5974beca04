#!/usr/bin/env bash
# Everything that is to be known of the CUDA backend on a machine with an NVIDIA GPU, in one call: builds (CMake, a C++20
# compiler and nvcc; no Node), tests, looks for bad accesses and races, measures ceilings and peers, times the backend.
# Prints a short table last and writes JSON: device, driver, clocks, commit, figures.
#
#   scripts/cuda-box.sh [--folder FOLDER] [--seconds N] [--toy]
#
# --folder: where logs and report.json go (default cuda-report). --seconds: the limit for all of it (default 570); what it
# leaves no time for is skipped and said so. --toy: the emulated device and tiny sizes, to try the script
# itself; its figures mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=cuda-report limit=570 toy=
while [ $# -gt 0 ]; do
  case $1 in
    --folder) folder=$2; shift 2 ;;
    --seconds) limit=$2; shift 2 ;;
    --toy) toy=1; shift ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
mkdir -p "$folder"
folder=$(realpath "$folder")
rm -f "$folder"/*.json
steps=()

# step NAME MOST COMMAND…: runs it for at most so many seconds, if so many are left; its output goes to FOLDER/NAME.log.
step() {
  local name=$1 most=$2 left=$((limit - SECONDS)) status=0 start=$SECONDS
  shift 2
  if [ "$left" -lt 10 ]; then
    echo "$name: SKIPPED, no time left"
    steps+=("$name=skipped")
    return 1
  fi
  timeout "$((most < left ? most : left))" "$@" >"$folder/$name.log" 2>&1 || status=$?
  echo "$name: $([ $status -eq 0 ] && echo passed || echo "FAILED ($status), see $folder/$name.log") in $((SECONDS - start)) s"
  steps+=("$name=$([ $status -eq 0 ] && echo passed || echo "failed $status")")
  return $status
}

build() {
  cmake -S . -B "$tree" -DPOINTSMAN_ADDON=OFF -DCMAKE_BUILD_TYPE=Release "$@"
  cmake --build "$tree" --parallel "$(nproc)" --target "${targets[@]}"
}
export -f build

if [ -n "$toy" ]; then
  export tree=build/cuda-emulation
  targets=(pointsman_cuda_bench_emulated pointsman_cuda_emulated_plugin pointsman_cuda_test_emulated)
  programs=$tree/cuda_emulated suffix=_emulated
  set -- -DPOINTSMAN_CUDA_EMULATION=ON
else
  export tree=build/cuda-box
  targets=(pointsman_cuda_box)
  programs=$tree/cuda suffix=
  set --
fi
step build 240 bash -c "targets=(${targets[*]}); build $*"

# ---- correct first ----
test=$programs/pointsman_cuda_test$suffix
if [ -x "$test" ]; then
  step test "$([ -n "$toy" ] && echo 400 || echo 120)" "$test" --duration || true
  if [ -z "$toy" ] && command -v compute-sanitizer >/dev/null; then
    # Small cases: under a checker everything takes many times as long.
    for tool in memcheck racecheck initcheck synccheck; do
      step "$tool" 45 compute-sanitizer --tool "$tool" --error-exitcode 9 "$test" \
        --test-case='cuda: a score is*,cuda: filters*,cuda: equal rows*,cuda: every kernel*' || true
    done
  else
    echo 'memcheck, racecheck, initcheck, synccheck: SKIPPED, there is no compute-sanitizer'
  fi
else
  echo 'test: SKIPPED, doctest is not installed (Debian: doctest-dev)'
fi

# ---- then the figures ----
bench=$programs/pointsman_cuda_bench$suffix
if [ -n "$toy" ]; then
  step small 60 "$bench" --rows 3000 --dims 32 --seconds 0 --cases 1:10,9:10,3:10:10 --kernels stream4 --json "$folder/small.json" || true
else
  step batches 120 "$bench" --rows 10000000 --dims 128 --seconds 0.5 --json "$folder/batches.json" \
    --cases 1:10,4:10,8:10,16:10,64:10,256:10,1024:10,8192:10,1024:100,1024:1000,16:10:1,16:10:10,16:10:50,1024:10:1,1024:10:10,1024:10:50 || true
  step kernels 60 "$bench" --rows 10000000 --dims 128 --seconds 0.2 --no-check --json "$folder/kernels.json" \
    --cases 1:10,4:10,16:10,128:10,1024:10 --kernels stream1,stream4,matrix8,matrix16,matrix32,matrix64,matrix128 || true
  step wide 60 "$bench" --rows 1000000 --dims 768 --seconds 0.5 --json "$folder/wide.json" --cases 1:10,16:10,1024:10 || true
fi
if command -v python3 >/dev/null; then
  step peers 150 python3 bench/peers/cuda_peers.py ${toy:+--toy} --json "$folder/peers.json" || true
fi

# ---- the report ----
query() { nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null | head -n 1 || true; }
if ! command -v python3 >/dev/null; then
  echo "no python3: the figures are in $folder/*.log"
  [[ "${steps[*]}" != *failed* ]]
  exit
fi
python3 bench/peers/cuda_report.py "$folder" \
  "commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD 2>/dev/null || echo ' with changes')" \
  "gpu=$(query name)" "driver=$(query driver_version)" "clocks=$(query clocks.sm,clocks.mem)" \
  "most_clocks=$(query clocks.max.sm,clocks.max.mem)" "emulated=${toy:-0}" "${steps[@]/#/step.}"
if [[ "${steps[*]}" == *failed* ]]; then exit 1; fi
