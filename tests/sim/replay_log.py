#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Replays a log of dm-log-writes into a file.

    replay_log.py LOG [--list] [--limit N] [--end-mark TEXT] [--to FILE]

It knows the format from the kernel's documentation alone, and nothing of the
program that wrote the log.  --limit: that many entries.  --list: one line for
each.  A mark "size N" is the length of the file from there on.
"""
import argparse
import struct
import sys

MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD, MARK, METADATA = 1, 2, 4, 8, 16
NAMES = {FLUSH: "FLUSH", FUA: "FUA", DISCARD: "DISCARD", MARK: "MARK",
         METADATA: "METADATA"}


class Log:
    """Entries: (where, length, flags, text, data), in bytes."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.bytes = f.read()
        head = self.take(0, struct.calcsize("<QQQI"))
        magic, version, self.count, self.sector = struct.unpack("<QQQI", head)
        if magic != MAGIC:
            raise ValueError(f"expected the magic {MAGIC:#x}, found {magic:#x}")
        if version != VERSION:
            raise ValueError(f"expected version {VERSION}, found {version}")
        if self.sector < 512 or self.sector & (self.sector - 1):
            raise ValueError(f"sectors of {self.sector} bytes")

    def take(self, at, n):
        if at + n > len(self.bytes):
            raise ValueError(f"the log ends at {len(self.bytes)}, "
                             f"expected {n} bytes at {at}")
        return self.bytes[at:at + n]

    def __iter__(self):
        at = self.sector
        for _ in range(self.count):
            head = self.take(at, self.sector)
            sector, n, flags, text_len = struct.unpack_from("<QQQQ", head)
            if flags & ~(FLUSH | FUA | DISCARD | MARK | METADATA):
                raise ValueError(f"flags {flags:#x} at {at}")
            if text_len > self.sector - 32:
                raise ValueError(f"a text of {text_len} bytes at {at}")
            text = head[32:32 + text_len].decode()
            at += self.sector
            data = b""
            if not flags & (DISCARD | MARK):
                data = self.take(at, n * self.sector)
                at += len(data)
            yield sector * self.sector, n * self.sector, flags, text, data
        if at != len(self.bytes):
            raise ValueError(f"{len(self.bytes) - at} bytes behind the last "
                             "entry")


class Medium:
    """What the entries make."""

    def __init__(self):
        self.bytes, self.size = bytearray(), 0

    def reach(self, end):
        if len(self.bytes) < end:
            self.bytes.extend(bytes(end - len(self.bytes)))

    def take(self, entry):
        off, n, flags, text, data = entry
        if flags & MARK:
            if text.startswith("size "):
                self.size = int(text[5:])
            return
        self.reach(off + n)
        self.bytes[off:off + n] = bytes(n) if flags & DISCARD else data

    def content(self):
        self.reach(self.size)
        return bytes(self.bytes[:self.size])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("log")
    p.add_argument("--list", action="store_true")
    p.add_argument("--limit", type=int)
    p.add_argument("--end-mark")
    p.add_argument("--to")
    a = p.parse_args()
    medium, found = Medium(), a.end_mark is None
    for i, e in enumerate(Log(a.log)):
        if a.limit is not None and i >= a.limit:
            break
        if a.list:
            flags = [name for bit, name in NAMES.items() if e[2] & bit]
            print(i, e[0], e[1], "|".join(flags) or "WRITE", e[3])
        medium.take(e)
        if e[2] & MARK and e[3] == a.end_mark:
            found = True
            break
    if not found:
        raise ValueError(f"no mark {a.end_mark!r}")
    if a.to:
        with open(a.to, "wb") as f:
            f.write(medium.content())


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as problem:
        sys.exit(f"replay_log.py: {problem}")
