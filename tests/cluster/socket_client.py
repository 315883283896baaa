# socket_client.py SOCKET TYPES UNTIL [SECONDS]: types, reads nothing for so long, then prints all that
# comes until it has UNTIL or the other side ends.
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode())
if len(sys.argv) > 4: time.sleep(float(sys.argv[4]))
got = b""
while sys.argv[3].encode() not in got:
    part = s.recv(65536)
    if not part: break
    got += part
sys.stdout.buffer.write(got)
