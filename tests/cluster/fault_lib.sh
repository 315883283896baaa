# Sourced after lib.sh by the tests of dvm-fault: busy guests, and the events of what befalls them.
# shellcheck shell=bash disable=SC2016,SC2154 # what the guest is to expand; dir is lib.sh's
busy='i=0; while :; do i=$((i + 1)); [ $((i % 1000)) != 0 ] || echo alive $i; done'
inject() { build/bin/dvm-fault --name "$@" > "$dir/fault.out" 2> "$dir/fault.err"; }
begin() { # NAME OPTION…
  start "$1" "$busy" --nodes 2 --cpus 2 --memory 256M --events "$dir/$1.events" "${@:2}" &&
    wait_for "$1" alive 60
}
# An event of this fault, and exactly N of them (default 1).
told() { # NAME EVENT REGEX [N]
  local n
  n=$(grep -E "\"event\":\"$2\"" "$dir/$1.events" | grep -cE "$3")
  [ "$n" = "${4:-1}" ] || { echo "      $n events $2 $3"; return 1; }
}
told_soon() {
  local i
  for ((i = 0; i < 50; ++i)); do told "$@" > /dev/null && return; sleep 0.1; done
  told "$@"
}
# The guest still prints.
lives() { # NAME
  local before i
  before=$(count "$1" alive)
  for ((i = 0; i < 50; ++i)); do
    [ "$(count "$1" alive)" -gt "$before" ] && return
    sleep 0.1
  done
  return 1
}
