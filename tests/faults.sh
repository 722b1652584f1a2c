#!/usr/bin/env bash
# The long fault tests, on a real Apache Kafka. Each run prints its seed and appends one line to RESULTS, so that
# a series that was interrupted goes on where it stopped: runs that are in RESULTS already are not repeated.
#
#   tests/faults.sh kills RESULTS [RUNS]   RUNS (default 4) times 50 SIGKILLs, with seeds 1, 2, 3, …
#   tests/faults.sh stall                  the broker killed, stopped for 30 s, restarted
#   tests/faults.sh rolling [KILLS]        three brokers, killed in turn (default 6 kills)
#
# Ends with 1 when a run failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

test_one() { # NAME OF THE TEST
    cargo test --release --test it -- --exact "faults::$1" --nocapture
}

kills() { # RESULTS RUNS
    local results=$1 seed failed=0
    mkdir -p "$(dirname "$results")"
    touch "$results"
    results=$(realpath "$results")
    for seed in $(seq 1 "$2"); do
        if grep -q "^seed=$seed kills=50 .* wrong=0$" "$results"; then
            echo "seed $seed: done before"
            continue
        fi
        TIDEGATE_FAULT_SEED=$seed TIDEGATE_FAULT_KILLS=50 TIDEGATE_FAULT_RESULTS=$results \
            test_one kills::sigkills_at_random_moments_lose_and_double_nothing || failed=1
    done
    cat "$results"
    return "$failed"
}

case ${1:-} in
kills) kills "${2:?a file for the results}" "${3:-4}" ;;
stall) TIDEGATE_FAULT_STALL_S=30 test_one brokers::the_broker_may_be_killed_stopped_and_restarted ;;
rolling) TIDEGATE_FAULT_ROLLING=${2:-6} test_one rolling::three_brokers_may_be_killed_one_after_the_other ;;
*) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 64 ;;
esac
