#!/bin/sh
# The crash harness notices what it is there to notice: each seeded mistake is caught, and the same
# campaign without one is not. usage: mistakes_test.sh DVM-CRASH
set -u
crash=$1
status=0
for mistake in unlock-before-publish no-mend free-without-log free-while-named publish-without-log \
  never-release skip-announcement leave-without-journal recover-unclaimed; do
  if timeout 120 "$crash" --kills 4000 --seed 5 --stall 3 --mistake $mistake >/dev/null 2>&1; then
    echo "$mistake was not caught"
    status=1
  fi
done
for mistake in no-mend free-without-log publish-without-log leave-without-journal; do
  if timeout 120 "$crash" --points --steps --every-step-up-to 0 --mistake $mistake >/dev/null 2>&1; then
    echo "$mistake was not caught by steps"
    status=1
  fi
done
exit $status
