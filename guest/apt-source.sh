# Sourced: the machine's own apt sources, as something else can use them. No mirror is named here.
# shellcheck shell=bash

codename() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }

# The apt source entry that the machine has for suite $1 of Debian's main component (mirror, key and all), with
# the suite's name changed to $2. Written to $3.sources or $3.list, whichever format it was in; prints that name.
# Exit code 1, and nothing printed, when the machine has none.
write_source() {
  local from=$1 suite=$2 to=$3 file
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    # Paragraph by paragraph: the one that has exactly this suite and the component main.
    awk -v from="$from" -v suite="$suite" '
      BEGIN { RS = ""; FS = "\n" }
      /(^|\n)Enabled: *no/ { next }
      !done && $0 ~ "(^|\n)Suites:([^\n]* )?" from "( |\n|$)" && /(^|\n)Components:[^\n]* main( |\n|$)/ {
        for (i = 1; i <= NF; i++) {
          if ($i ~ /^#/) continue
          if ($i ~ /^Suites:/) $i = "Suites: " suite
          if ($i ~ /^Types:/) $i = "Types: deb"
          if ($i ~ /^Components:/) $i = "Components: main"
          print $i
        }
        done = 1
      }' "$file" > "$to.sources"
    if [ -s "$to.sources" ]; then echo "$to.sources"; return; fi
  done
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -e "$file" ] || continue
    sed -nE "/^deb +(\[[^]]*\] +)?[^c ][^ ]* +$from +(.* )?main( |\$)/{
      s|^(deb +(\[[^]]*\] +)?[^ ]+) .*|\1 $suite main|p;q;}" "$file" > "$to.list"
    if [ -s "$to.list" ]; then echo "$to.list"; return; fi
  done
  rm -f "$to.sources" "$to.list"
  return 1
}
