#!/usr/bin/env bash
# Check the six performance objectives of a running generation service, strictly: a figure that is missing is a failure.
#
# The load is made here (20 workflows at once, 100 repeated questions), so the answer does not depend on what somebody
# else did before. Everything is bounded: number of requests, retries and the time of each.
set -euo pipefail

readonly WORKFLOWS=20           # at once
readonly WORKFLOW_SECONDS=30    # objective: a workflow takes less
readonly CACHED_REQUESTS=100    # of which the p95 is taken
readonly CACHED_SECONDS=0.1     # objective: p95 is less
readonly MEMORY_MB=2048         # objective: less
readonly HIT_RATIO=0.7          # objective: more
readonly SUCCESS_RATE=0.95      # objective: more
readonly REQUEST_SECONDS=10     # for one request that is not a workflow
readonly ATTEMPTS=3             # for reading a report
readonly CONCURRENT_SECONDS=90  # for all workflows together

usage() {
    cat <<'TEXT'
Usage: performance-validation.sh [--url URL] [--json] [--help]

  --url URL   the service (default: http://localhost:8000)
  --json      print JSON: {"url", "passed", "objectives": [{"name", "value", "objective", "unit", "passed", "detail"}]}
  --help      this text

Exit code: 0 all six objectives are met, 1 at least one is not or could not be measured, 2 wrong use.
Needs bash, curl, jq and awk.
TEXT
}

url=http://localhost:8000
json=false
while (($# > 0)); do
    case $1 in
    --url)
        (($# >= 2)) || { echo "--url needs a value, such as http://localhost:8000" >&2; exit 2; }
        url=${2%/}
        shift 2
        ;;
    --json) json=true; shift ;;
    --help | -h) usage; exit 0 ;;
    *) echo "unknown argument: $1 (see --help)" >&2; exit 2 ;;
    esac
done
for program in curl jq awk; do
    command -v "$program" >/dev/null || { echo "$program is not installed; install it and try again" >&2; exit 2; }
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
objectives=$scratch/objectives
: >"$objectives"
failed=0

# judge NAME VALUE RELATION BOUND UNIT DETAIL: VALUE must be a number, and stand in RELATION (< or >) to BOUND.
judge() {
    local name=$1 value=$2 relation=$3 bound=$4 unit=$5 detail=$6 passed=false
    if ! [[ $value =~ ^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$ ]]; then
        detail="not measured: $detail"
        value=null
    elif awk -v value="$value" -v bound="$bound" -v relation="$relation" \
        'BEGIN { exit !(relation == "<" ? value + 0 < bound + 0 : value + 0 > bound + 0) }'; then
        passed=true
    fi
    $passed || failed=1
    jq -cn --arg name "$name" --arg value "$value" --arg objective "$relation $bound" --arg unit "$unit" \
        --argjson passed "$passed" --arg detail "$detail" \
        '{name: $name, value: ($value | fromjson), objective: $objective, unit: $unit, passed: $passed,
          detail: $detail}' >>"$objectives"
    $json || printf '%-4s %-24s %s %s (objective: %s %s) %s\n' \
        "$($passed && echo ok || echo FAIL)" "$name" "$value" "$unit" "$relation" "$bound" "$detail"
}

# report PATH: the JSON of a report; nothing when it cannot be had.
report() {
    curl -fsS --max-time "$REQUEST_SECONDS" --retry "$ATTEMPTS" --retry-connrefused --retry-delay 1 \
        --retry-max-time 30 "$url$1" || true
}

# number JSON FILTER: a number of a report; `missing` when it is not there or not a number.
number() {
    jq -er "$2 | if type == \"number\" then . else error(\"no number\") end" <<<"$1" 2>/dev/null || echo missing
}

# workflow NUMBER: run one and write "HTTP_STATUS WORKFLOW_STATUS SECONDS".
workflow() {
    local body answer=$scratch/workflow-$1 outcome
    body=$(jq -cn --arg prompt "Validation $$-$RANDOM, question $1: what is load?" \
        '{steps: [{id: "answer", type: "generate", inputs: {prompt: $prompt, max_tokens: 16}}]}')
    outcome=$(curl -sS --max-time "$((WORKFLOW_SECONDS + 10))" -o "$answer.json" -w '%{http_code} %{time_total}' \
        -H 'Content-Type: application/json' -H "Prefer: wait=$WORKFLOW_SECONDS" --data "$body" \
        "$url/v1/workflows") || outcome='000 0'
    printf '%s %s %s\n' "${outcome% *}" "$(jq -r '.status // "none"' "$answer.json" 2>/dev/null || echo none)" \
        "${outcome#* }" >"$answer.result"
}

# Only children of this shell are waited for and, at the end of the time, ended.
run_workflows() {
    local number waited=0 pids=() pid
    for ((number = 1; number <= WORKFLOWS; number++)); do
        workflow "$number" 2>/dev/null &
        pids+=("$!")
    done
    for pid in "${pids[@]}"; do
        while kill -0 "$pid" 2>/dev/null && ((waited < CONCURRENT_SECONDS * 10)); do
            sleep 0.1
            waited=$((waited + 1))
        done
        if kill -0 "$pid" 2>/dev/null; then kill "$pid" 2>/dev/null || true; fi
        wait "$pid" 2>/dev/null || true
    done
    cat "$scratch"/workflow-*.result 2>/dev/null >"$scratch/workflows" || true
}

# ask: one cached question; prints "STATUS SECONDS" and leaves the headers.
ask() {
    curl -sS --max-time "$1" -o /dev/null -D "$scratch/headers" -w '%{http_code} %{time_total}\n' \
        -H 'Content-Type: application/json' --data "$question" "$url/v1/chat/completions" || echo '000 0'
}

# Measure answers that say themselves that they came from the cache.
run_cached() {
    local number
    question=$(jq -cn --arg text "Validation $$-$RANDOM: what is a cache?" \
        '{model: "default", messages: [{role: "user", content: $text}], max_tokens: 16, temperature: 0}')
    : >"$scratch/cached"
    ask "$WORKFLOW_SECONDS" >/dev/null 2>&1 # fills the cache
    for ((number = 1; number <= CACHED_REQUESTS; number++)); do
        ask "$REQUEST_SECONDS" >"$scratch/outcome" 2>/dev/null
        # One that fails ends it: a service that hangs must not cost the time of a hundred requests.
        grep -q '^200 ' "$scratch/outcome" || break
        if grep -qi '^x-cache: *hit' "$scratch/headers"; then
            cut -d' ' -f2 "$scratch/outcome" >>"$scratch/cached"
        fi
    done
}

# p95 FILE: nearest rank; `missing` without lines.
p95() {
    sort -g "$1" | awk '{ values[NR] = $1 }
        END { rank = int(NR * 0.95); if (rank < NR * 0.95) rank++; print (NR ? values[rank] : "missing") }'
}

run_workflows
run_cached
good=$(awk '$1 == 200 && $2 == "succeeded"' "$scratch/workflows" | wc -l | tr -d ' ')
cached=$(wc -l <"$scratch/cached" | tr -d ' ')
if ((cached < CACHED_REQUESTS)); then cached_p95=missing; else cached_p95=$(p95 "$scratch/cached"); fi
metrics=$(report /api/monitoring/metrics)
cache=$(report /api/cache/status)

judge workflow_execution_time "$(number "$metrics" .metrics.workflow_execution_time)" "<" "$WORKFLOW_SECONDS" s \
    "p95 of .metrics.workflow_execution_time"
judge concurrent_workflows "$good" ">" "$((WORKFLOWS - 1))" workflows \
    "$good of $WORKFLOWS workflows that ran at the same time succeeded"
judge cached_response_p95 "$cached_p95" "<" "$CACHED_SECONDS" s \
    "$cached of $CACHED_REQUESTS repeated questions were answered from the cache"
judge memory_usage "$(number "$metrics" .metrics.memory_usage_mb)" "<" "$MEMORY_MB" MB ".metrics.memory_usage_mb"
judge cache_hit_ratio "$(number "$cache" .statistics.hit_ratio)" ">" "$HIT_RATIO" share ".statistics.hit_ratio"
judge success_rate "$(number "$metrics" .metrics.success_rate)" ">" "$SUCCESS_RATE" share ".metrics.success_rate"

if $json; then
    jq -s --arg url "$url" '{url: $url, passed: all(.passed), objectives: .}' "$objectives"
fi
exit "$failed"
