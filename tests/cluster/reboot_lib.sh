# Sourced after image_lib.sh by the tests in which a Debian panics and comes back.
# shellcheck shell=bash disable=SC2154 # dir is lib.sh's
srt() { ctl image --json srt | python3 -c "import json, sys; s = json.load(sys.stdin); print($1)"; }
disk_reads() { srt 's["reads"] - s["reads_served"]'; }
boots() { srt 's["boot"]'; }
reset_times() { # MS: no reset took longer, from the wish to the first vCPU's start
  python3 -c 'import json, sys
took = [e["took_ns"] / 1e6 for e in map(json.loads, open(sys.argv[1])) if e["event"] == "guest_restarted" and e["boot"] > 1]
print("      resets took", ", ".join(f"{ms:.1f} ms" for ms in took))
sys.exit(not took or max(took) > float(sys.argv[2]))' "$dir/image.events" "$1"
}
back() { # BOOT: it runs again
  local until=$((SECONDS + 400))
  while [ "$SECONDS" -lt "$until" ]; do
    [ "$(boots)" != "$1" ] || { image_runs; return; }
    sleep 1
  done
  return 1
}
