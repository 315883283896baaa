# Sourced by the scripts here: steps that show what happens.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${DVM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dvm}

# step TITLE CMD…: runs CMD quietly. A line when it takes over two seconds, one more every 20 s, one at
# its end; its output only if it fails.
step() {
  local title=$1 file log started=$SECONDS status=0 ticker
  shift
  file=$(mktemp)
  exec {log}<> "$file"
  rm "$file" # whatever ends us, nothing stays behind
  # CMD in the foreground and the clock behind it, not the other way round: shells keep Ctrl-C from what
  # they run in the background.
  tick "$title" "/dev/fd/$log" &
  ticker=$!
  "$@" > "/dev/fd/$log" 2>&1 < /dev/null {log}>&- || status=$?
  kill "$ticker"
  wait "$ticker" 2> /dev/null || true
  if ((status != 0)); then
    cat "/dev/fd/$log" >&2
    echo "✗ $title: failed with exit code $status after $((SECONDS - started)) s" >&2
  elif ((SECONDS - started >= 2)); then
    echo "✓ $title ($((SECONDS - started)) s)" >&2
  fi
  exec {log}>&-
  return "$status"
}

# tick TITLE LOG: says how long it has been, and how far a build is: ninja's last line starts with [3/45].
tick() {
  local started=$SECONDS next=2 progress
  while sleep 0.5 && kill -0 $$ 2> /dev/null; do
    if ((SECONDS - started >= next)); then
      progress=$(tail -n 1 "$2" | grep -o '^\[[0-9]*/[0-9]*\]') || progress=''
      echo "… $1 ($((SECONDS - started)) s)${progress:+ $progress}" >&2
      next=$((next + 20))
    fi
  done
}

# One CMake preset, configured if need be and built.
build_preset() { # PRESET TARGET…
  local preset=$1
  shift
  cmake --preset "$preset" -S "$top" && cmake --build --preset "$preset" ${@:+--target "$@"}
}
