#!/usr/bin/env bash
# job_work's jobs are right, alone and with several threads, and each one's check finds one wrong bit.
# usage: job_work_test.sh [OUTDIR (a temporary one)]   where guest programs are built
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
programs=${1:-$work}
failed=0

fail() { echo "FAIL $*"; failed=1; }
# ends CODE WORDS OPTION…: the program's exit code, and what its last line begins with.
ends() {
  local code=0 wanted=$1 words=$2 last
  shift 2
  "$programs/job_work" "$@" > "$work/out" 2> "$work/err" || code=$?
  last=$(cat "$work/out" "$work/err" | tail -n 1)
  [ "$code" = "$wanted" ] || fail "$*: exit code $code, not $wanted: $last"
  case $last in "$words"*) ;; *) fail "$*: no '$words' in: $last" ;; esac
}

guest/programs/build.sh "$programs" job_work
for job in wordcount kmeans matrix histogram blackscholes dedup; do
  for threads in 1 3 4; do
    ends 0 "job_work: ok job=$job units=" --job "$job" --repeats 2 --threads "$threads"
  done
  grep -q '^job_work: 0 of 2$' "$work/out" || fail "$job does not tell when it begins"
  # Bytes of the result, counted round and round.
  for byte in 0 77 720719; do
    ends 1 "job_work: FAIL repeat 2: byte" --job "$job" --repeats 2 --spoil "result:$byte"
  done
  ends 1 "job_work: FAIL repeat 1: " --job "$job" --repeats 1 --spoil input:12345
done
ends 64 "--job sort: none of" --job sort
ends 64 "--repeats: 1 to" --repeats 0
ends 64 "--repeats: 1 to" --threads 0
for spoil in what input result: result:x :1; do ends 64 "--spoil: input:N or" --spoil "$spoil"; done
ends 64 "$programs/job_work: unknown option" --jobs dedup
[ "$failed" = 0 ] && echo "job_work finds what is wrong"
