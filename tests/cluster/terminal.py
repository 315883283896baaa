# A pseudo-terminal with `dvm-ctl console` on it, for tests that type.
import fcntl, os, pty, select, struct, termios, time

class Terminal:
    def __init__(self, guest, rows, columns):
        self.pid, self.tty = pty.fork()
        if self.pid == 0:
            os.execv("build/bin/dvm-ctl", ["dvm-ctl", "--name", guest, "console"])
        self.seen = b""
        self.resize(rows, columns)

    def resize(self, rows, columns):
        fcntl.ioctl(self.tty, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.tty, text)

    # One check: it is printed within so many seconds.
    def until(self, text, seconds=30):
        end = time.time() + seconds
        while text not in self.seen and time.time() < end:
            if select.select([self.tty], [], [], 0.2)[0]:
                try: self.seen += os.read(self.tty, 4096)
                except OSError: break
        self.check(text in self.seen, text.decode())
        if text not in self.seen: print(self.seen[-500:])
        self.seen = self.seen.split(text)[-1]

    def check(self, holds, what):
        print("ok   " if holds else "FAIL ", "terminal:", what, flush=True)
