# node_deaths.py NAME FOLDER SEED [--grows FILE] KIND:TIMES…: nodes of a running guest, which have vCPUs, end so often, one
# after the other, at random moments; each comes back, and gets vCPUs, before the next one goes. KIND: kill, pair
# (of nodes at once), hang, power-failure, host (the keeper too), and NAME of a point that nodes pass: killed there. What each vCPU that went
# elsewhere stood still for is added to FOLDER/pauses.KIND (point). With --grows, that file must have grown after each.
#
# One process, which talks to the control socket itself: under emulation and load it takes Python half a minute to start.
import json, os, random, signal, socket, subprocess, sys, time

name, folder, seed, words = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
grows = words[1] if words[0] == "--grows" else None
wanted = [(kind, int(times)) for kind, times in (word.split(":") for word in words[2 if grows else 0 :])]
runtime = os.environ["DVM_RUNTIME_DIR"]
# While the guest goes on; a node's last process is collected, and its number free, well before that.
PATIENCE = 240


class Failure(Exception):
    pass


class Guest:
    def __init__(self):
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(PATIENCE)
        link.connect(f"{runtime}/{name}/control.sock")
        self.lines = link.makefile("rw")

    def ask(self, command, **words):
        self.lines.write(json.dumps({"command": command, **words}) + "\n")
        self.lines.flush()
        for line in self.lines:
            reply = json.loads(line)
            if "ok" in reply:
                return reply
        raise Failure("the guest has ended")

    def nodes(self):
        return {node["id"]: node for node in self.ask("status")["nodes"]}

    def until(self, what, so):
        end = time.monotonic() + PATIENCE
        while not (found := so()):
            if time.monotonic() > end:
                raise Failure(f"waited {PATIENCE} s in vain: {what}")
            time.sleep(0.05)
        return found


def fault(*words):
    done = subprocess.run(["build/bin/dvm-fault", "--name", name, *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(done.stderr.strip())


def end_node(kind, node):
    if kind in ("kill", "pair"):
        os.kill(node["pid"], signal.SIGKILL)
    elif "." in kind:
        fault("kill", str(node["id"]), "--at-point", f"{kind}:{random.randint(1, 20)}")
    else:
        fault({"hang": "hang", "power-failure": "power-fail", "host": "kill-host"}[kind], str(node["id"]))


class Events:
    """Those written since it was last asked."""

    def __init__(self, path):
        self.file, self.rest = open(path), ""

    def new(self):
        *lines, self.rest = (self.rest + self.file.read()).split("\n")
        return [json.loads(line) for line in lines]


def add_pauses(kind, events):
    with open(f"{folder}/pauses.{'point' if '.' in kind else kind}", "a") as pauses:
        for event in events:
            if event["event"] == "vcpu_moved":
                pauses.write(f"pause_ns:{event['pause_ns']}\n")


# Of two, the second within 50 ms: while the first one's vCPUs are on their way to it, perhaps.
def end_some(kind, guest):
    nodes = list(guest.nodes().values())
    first = random.choice([node for node in nodes if node["vcpus"]])
    time.sleep(random.random())
    end_node(kind, first)
    if kind != "pair":
        return {first["id"]}
    second = random.choice([node for node in nodes if node is not first])
    time.sleep(random.random() / 20)
    end_node(kind, second)
    return {first["id"], second["id"]}


# Under the same numbers, unless something of a dead one is still to be done by others.
def come_back(guest, ended):
    return {guest.until("a node can be added", lambda: (r := guest.ask("add-node"))["ok"] and r)["node"] for _ in ended}


def one_death(guest, events, kind):
    events.new()
    ended, at = end_some(kind, guest), [time.monotonic()]
    guest.until(f"{ended} taken off", lambda: not ended & guest.nodes().keys())
    at.append(time.monotonic())
    add_pauses(kind, events.new())
    came = come_back(guest, ended)
    at.append(time.monotonic())
    for node in list(came) * (3 - len(came)):
        vcpu = random.randrange(4)
        guest.until(f"vCPU {vcpu} goes to node {node}", lambda: guest.ask("migrate-vcpu", vcpu=vcpu, to=node)["ok"])
    at.append(time.monotonic())
    if grows:
        size = os.path.getsize(grows)
        guest.until("the guest gets on", lambda: os.path.getsize(grows) > size)
    return [later - earlier for earlier, later in zip(at, at[1:])]


def deaths(guest, events, kind, times):
    began, parts = time.monotonic(), []
    for done in range(1, times + 1):
        parts.append(one_death(guest, events, kind))
        if done % 20 == 0 or done == times:
            gone, back, used = (sum(part) / done for part in zip(*parts))
            print(f"ok    {kind}: {done} of {times}, {time.monotonic() - began:.0f} s; on average off after {gone:.1f} s, "
                  f"back after {back:.1f} s more, used after {used:.1f} s", flush=True)


random.seed(seed)
now = ""
try:
    guest, events = Guest(), Events(f"{folder}/{name}.events")
    for now, times in wanted:
        deaths(guest, events, now, times)
except (Failure, OSError, KeyError, ValueError) as failure:
    print(f"FAIL  {now}: {failure!r}", flush=True)
    sys.exit(1)
