# Outside of the guest, until SIGTERM: what guest_witness.py tells, on two ports, is taken and answered.
#   outside_witness.py ADDRESS COUNT-PORT LEDGER-PORT LEDGER-FILE
# Numbers must come in order, each once, on one session; at the end a line says whether they did. What is told of the
# ledger is written to the file.
import hashlib, signal, socket, sys, threading, time

address, count_port, ledger_port, ledger_file = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
seen = {"sessions": 0, "last": 0, "bad": 0, "gap": 0.0}


def listen(port):
    server = socket.create_server((address, port))
    while True:
        session, _ = server.accept()
        yield session.makefile("rw")


def answer(stream, take):
    try:
        for line in stream:
            number, text = line.split()
            take(int(number), text)
            stream.write(f"{number}\n")
            stream.flush()
    except (OSError, ValueError) as failure:
        seen["bad"] += 1
        print(f"session broken: {failure}", flush=True)


def count():
    at = None

    def take(number, text):
        nonlocal at
        now = time.monotonic()
        seen["gap"] = max(seen["gap"], now - (at or now))
        at = now
        if number != seen["last"] + 1 or text != hashlib.sha256(b"%d" % number).hexdigest() * 8:
            seen["bad"] += 1
            print(f"{number} after {seen['last']}", flush=True)
        seen["last"] = number

    for stream in listen(count_port):
        seen["sessions"] += 1
        answer(stream, take)


def ledger():
    with open(ledger_file, "w") as file:

        def take(number, text):
            file.write(f"{number} {text}\n")
            file.flush()

        for stream in listen(ledger_port):
            answer(stream, take)


# Blocked before there are threads, so that only the wait below takes it.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
for work in (count, ledger):
    threading.Thread(target=work, daemon=True).start()
signal.sigwait([signal.SIGTERM])
print(f"COUNT {seen['last']} numbers on {seen['sessions']} sessions, {seen['bad']} bad, "
      f"longest silence {seen['gap'] * 1000:.0f} ms", flush=True)
