#!/usr/bin/env python3
"""Has QEMU stop and go on again, for as long as it runs: stop_often.py QMP-SOCKET PAUSE-SECONDS.

Each stop asks the emulated CPU to leave its loop without an interrupt of its own, which happens otherwise
only now and then."""
import json
import socket
import sys
import time


def main():
    path, pause = sys.argv[1], float(sys.argv[2])
    connection = socket.socket(socket.AF_UNIX)
    while True:
        try:
            connection.connect(path)
            break
        except OSError:  # not started yet
            time.sleep(0.1)
    lines = connection.makefile("rw")
    lines.readline()

    def command(name):
        lines.write(json.dumps({"execute": name}) + "\n")
        lines.flush()
        while "return" not in (reply := json.loads(lines.readline())):
            if "error" in reply:
                sys.exit(reply["error"]["desc"])

    command("qmp_capabilities")
    while True:
        command("stop")
        command("cont")
        time.sleep(pause)


try:
    main()
except (OSError, ValueError, IndexError):  # QEMU has ended
    pass
