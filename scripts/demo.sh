#!/usr/bin/env bash
# scripts/demo.sh (make demo): four control models of known answer from weights to verdict, a random model on real
# benchmark text, and one page that links them: out/demo/report.html. Ends with status 1 when a verdict is not the one
# that was planted. Started again it keeps what is finished; another build of the program starts over.
#
# FARE=/path          the program (default build/fare)
# FARE_DATA=/path     benchmark data (default ../shared/data); what is missing is said and left out
# FARE_DEMO_OUT=/path where it goes (default out/demo)
# FARE_DEMO_JOBS=N    parts computed at a time (default: one per core)
set -euo pipefail
cd "$(dirname "$0")/.."
fare="$(realpath "${FARE:-build/fare}")"
out="${FARE_DEMO_OUT:-out/demo}"
data="${FARE_DATA:-../shared/data}"
cores="$(nproc)"
jobs="${FARE_DEMO_JOBS:-$cores}"
start=$SECONDS
say() { printf 'demo: %s\n' "$*"; }

if [[ ! -x $fare ]]; then
  say "$fare is not there; run make build first" >&2
  exit 1
fi
mkdir -p "$out/logs"
out="$(realpath "$out")"
[[ ! -d $data ]] || data="$(realpath "$data")"

# Finished parts belong to one build of the program.
build="$(sha256sum <"$fare")"
if [[ -f $out/build.sha256 && "$(cat "$out/build.sha256")" != "$build" ]]; then
  say "the program has changed since the last demo: starting over"
  rm -rf "$out/models" "$out/runs" "$out/scores" "$out/logs" "$out/calibration"
fi
printf '%s\n' "$build" >"$out/build.sha256"
mkdir -p "$out/models" "$out/runs" "$out/logs"

# How often this build's verdicts are wrong, by the quick calibration: every report below shows it. Status 3: a mark was missed,
# which the pages say.
if [[ ! -f $out/calibration/calibration.json ]]; then
  say "error rates on control models (a minute or two)"
  calibrated=0
  "$fare" calibrate --quick --threads "$cores" --out "$out/calibration" >"$out/logs/calibration.log" 2>&1 || calibrated=$?
  if [[ $calibrated != 0 && $calibrated != 3 ]]; then
    say "the calibration failed; see $out/logs/calibration.log" >&2
    exit 1
  fi
fi

# The parts, longest first. A part is one line; its progress goes to out/demo/logs.
parts=(scores X9 X2 X5 X1)
declare -A pairs=([X1]=1508 [X2]=1508 [X5]=1508 [X9]=2000)
declare -A what=([X1]="bias in two experts of their own" [X2]="bias in the experts that know the facts"
                 [X5]="bias where no route reaches it" [X9]="no bias at all")

control_part() {  # control_part ID: weights, then verdict; only in a subshell
  local id="$1" model="$out/models/$1" run="$out/runs/$1"
  [[ -f $model/world.json ]] ||
    "$fare" lab make "$id" --pairs "${pairs[$id]}" --utility 2000 --threads "$threads" --out "$model"
  exec "$fare" diagnose --model "$model" --pairs "$model/pairs.jsonl" --utility "$model/utility.jsonl" \
    --neutral "$model/neutral.jsonl" --generation "$model/generation.jsonl" --calibration "$out/calibration/calibration.json" --threads "$threads" --out "$run"
}

scores_part() {  # real text, random weights: every score is chance, every step is the real one
  [[ -f $out/models/random/random.json ]] ||
    "$fare" lab make random --family olmoe --hidden 128 --layers 4 --experts 16 --top-k 4 --out "$out/models/random"
  exec "$fare" eval --model "$out/models/random" --tasks "$tasks" --data "$data" --threads "$threads" --out "$out/scores"
}

finished() {
  if [[ $1 == scores ]]; then compgen -G "$out/scores/results_*.json" >/dev/null ||
    compgen -G "$out/scores/*/results_*.json" >/dev/null
  else [[ -f $out/runs/$1/report.html ]]; fi
}

# Which benchmark files are there?
tasks="" missing=""
[[ ! -f $data/crows-pairs/crows_pairs_anonymized.csv ]] || tasks=fare_crows_pairs
[[ -n $tasks ]] || missing="crows-pairs/crows_pairs_anonymized.csv"
if [[ -f $data/truthfulqa/mc_task.json ]]; then tasks="${tasks:+$tasks,}truthfulqa_mc1,truthfulqa_mc2"
else missing="${missing:+$missing and }truthfulqa/mc_task.json"; fi
[[ -z $missing ]] || say "not scored, because $data holds no $missing (set FARE_DATA; docs/data.md lists the files)"

todo=()
for part in "${parts[@]}"; do
  if [[ $part == scores && -z $tasks ]]; then continue; fi
  if finished "$part"; then say "$part: finished before"; else todo+=("$part"); fi
done
((jobs < ${#todo[@]})) || jobs=$((${#todo[@]} > 0 ? ${#todo[@]} : 1))
threads=$((cores / jobs > 0 ? cores / jobs : 1))

# Background jobs do not hear Ctrl-C by themselves; each part ends by becoming the program (exec), so the signal reaches it.
trap 'kill $(jobs -p) 2>/dev/null || true; wait; say "interrupted; make demo goes on from here" >&2; exit 130' INT TERM

declare -A part_of began
failed=0
reap() {  # waits for one part and says how it ended
  local pid status=0
  wait -n -p pid || status=$?
  local part="${part_of[$pid]}"
  if ((status == 0 || status == 3)); then  # 3: done, with a warning that the report repeats
    say "$part: done in $((SECONDS - began[$part])) s"
  else
    say "$part: failed with status $status; the end of $out/logs/$part.log:" >&2
    tail -n 5 "$out/logs/$part.log" >&2
    failed=1
  fi
  running=$((running - 1))
}

running=0
for part in "${todo[@]}"; do
  ((running < jobs)) || reap
  began[$part]=$SECONDS
  if [[ $part == scores ]]; then
    say "scores: $tasks with a random OLMoE-shaped model (hidden 128, 4 layers, 16 experts, top 4)"
    (scores_part) >"$out/logs/$part.log" 2>&1 &
  else
    say "$part: diagnosing a model with ${what[$part]} (${pairs[$part]} pairs, 2000 utility items)"
    (control_part "$part") >"$out/logs/$part.log" 2>&1 &
  fi
  part_of[$!]=$part
  running=$((running + 1))
done
while ((running > 0)); do reap; done
((failed == 0)) || exit 1

say "drawing $out/report.html"
runs=("$out/runs/X1" "$out/runs/X2" "$out/runs/X5" "$out/runs/X9")
scores=()
[[ -z $tasks ]] || scores=(--scores "$out/scores")
"$fare" report "${runs[@]}" --index "$out/report.html" --title "FARE: four models of known answer" "${scores[@]}" \
  >"$out/logs/report.log" || { tail -n 5 "$out/logs/report.log" >&2; exit 1; }

status=0
python3 scripts/check_demo.py "$out" || status=$?
took=$((SECONDS - start))
say "$((took / 60)) min $((took % 60)) s on $cores cores; open $out/report.html"
exit "$status"
