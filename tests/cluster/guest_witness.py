# In a guest, until /root/done is there. What it says it has done it has told outside_witness.py before it went on.
#   guest_witness.py count HOST PORT             numbers, one after the other, on one TCP session
#   guest_witness.py ledger HOST PORT DATABASE   transactions of an SQLite database, each told once it is committed
import hashlib, os, socket, sqlite3, sys, time

DONE = "/root/done"
bad = 0


def complain(text):
    global bad
    bad += 1
    print(text, flush=True)


class Outside:
    """Tells a line, and hears that it was taken."""

    def __init__(self, host, port):
        self.stream = socket.create_connection((host, int(port))).makefile("rw")

    def tell(self, number, text):
        self.stream.write(f"{number} {text}\n")
        self.stream.flush()
        heard = self.stream.readline()
        if heard != f"{number}\n":
            complain(f"told {number}, heard {heard!r}")
        return heard != ""


def digest(data):
    return hashlib.sha256(data).hexdigest()


def count(host, port):
    outside, n = Outside(host, port), 0
    while not os.path.exists(DONE):
        n += 1
        if not outside.tell(n, digest(b"%d" % n) * 8):
            break
        time.sleep(0.02)
    print(f"COUNT {n} numbers, {bad} bad", flush=True)


ACCOUNTS, EACH = 50, 1000


def make_database(path):
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("PRAGMA synchronous = FULL")
    base.execute("CREATE TABLE entries (n INTEGER PRIMARY KEY, digest TEXT, body BLOB)")
    base.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER)")
    base.executemany("INSERT INTO accounts VALUES (?, ?)", [(i, EACH) for i in range(ACCOUNTS)])
    return base


# Each entry's digest is over its own bytes and the entry before, so that none can be missing, or stand elsewhere.
def add_entry(base, n, before):
    body = os.urandom(700)
    mark = digest(before.encode() + body)
    base.execute("BEGIN IMMEDIATE")
    base.execute("INSERT INTO entries VALUES (?, ?, ?)", (n, mark, body))
    base.execute("UPDATE accounts SET balance = balance - ? WHERE id = ?", (n % 7, n % ACCOUNTS))
    base.execute("UPDATE accounts SET balance = balance + ? WHERE id = ?", (n % 7, n * 3 % ACCOUNTS))
    base.execute("COMMIT")
    return mark


def check_database(path, entries):
    base = sqlite3.connect(path)
    said = base.execute("PRAGMA integrity_check").fetchall()
    if said != [("ok",)]:
        complain(f"integrity_check: {said}")
    if base.execute("SELECT sum(balance), count(*) FROM accounts").fetchone() != (ACCOUNTS * EACH, ACCOUNTS):
        complain("the balances do not add up")
    last, before = 0, ""
    with open("/root/table", "w") as table:
        for n, mark, body in base.execute("SELECT n, digest, body FROM entries ORDER BY n"):
            if n != last + 1 or mark != digest(before.encode() + body):
                complain(f"entry {n} after {last}")
            last, before = n, mark
            table.write(f"{n} {mark}\n")
    if last != entries:
        complain(f"{entries} were committed, {last} are there")


def ledger(host, port, path):
    outside, base, n, mark = Outside(host, port), make_database(path), 0, ""
    while not os.path.exists(DONE):
        n += 1
        mark = add_entry(base, n, mark)
        if not outside.tell(n, mark):
            break
    base.close()
    check_database(path, n)
    print(f"LEDGER {n} entries, {bad} bad", flush=True)


{"count": count, "ledger": ledger}[sys.argv[1]](*sys.argv[2:])
