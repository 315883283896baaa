#!/bin/sh
# The crash harness notices what it is there to notice: each seeded mistake is caught, and the same
# campaign without one is not. usage: mistakes_test.sh DVM-CRASH
set -u
crash=$1
status=0
# Exit code 1 says that violations were found; anything else, a time-out too, is no catch.
must_catch() {
  mistake=$1
  shift
  timeout 120 "$crash" --mistake "$mistake" "$@" >/dev/null 2>&1
  if [ $? -ne 1 ]; then
    echo "$mistake was not caught by $*"
    status=1
  fi
}
for mistake in unlock-before-publish no-mend free-without-log free-while-named publish-without-log \
  never-release skip-announcement leave-without-journal recover-unclaimed; do
  must_catch $mistake --kills 4000 --seed 5 --stall 3
done
for mistake in no-mend free-without-log publish-without-log leave-without-journal; do
  must_catch $mistake --points --steps --every-step-up-to 0
done
exit $status
