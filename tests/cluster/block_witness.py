"""In the guest, on a disk of its own: writes blocks that tell by themselves what they are, and says what it has flushed.

block_witness.py write DISK SEED   until it is killed: "BLOCK VERSION" for each that is on the disk
block_witness.py read DISK         "BLOCK VERSION" of what is there; exit code 1 if a block is torn or somebody else's
"""
import os
import random
import struct
import sys
import zlib

BLOCK, BLOCKS, HEAD = 4096, 2048, struct.Struct("<QQI")


def content(number, version):
    body = struct.pack("<QQ", number, version) * ((BLOCK - HEAD.size) // 16)
    body += bytes(BLOCK - HEAD.size - len(body))
    return HEAD.pack(number, version, zlib.crc32(body)) + body


def write(disk, seed):
    rng, version = random.Random(seed), seed << 32
    while True:
        written = {}
        for _ in range(rng.randrange(1, 24)):
            version += 1
            number = rng.randrange(BLOCKS)
            os.pwrite(disk, content(number, version), number * BLOCK)
            written[number] = version
        os.fdatasync(disk)
        print("".join(f"{n} {v}\n" for n, v in written.items()), end="", flush=True)


def read(disk):
    bad = 0
    for number in range(BLOCKS):
        data = os.pread(disk, BLOCK, number * BLOCK)
        version = HEAD.unpack_from(data)[1]
        if data.count(0) == BLOCK:
            continue
        if data == content(number, version):
            print(number, version)
        else:
            bad = 1
            print(f"block {number} is not whole", file=sys.stderr)
    sys.exit(bad)


device = os.open(sys.argv[2], os.O_RDWR)
if sys.argv[1] == "write":
    write(device, int(sys.argv[3]))
read(device)
