#!/usr/bin/env python3
"""A Forward receiver that shares nothing with fairlead: TLS by OpenSSL, digests by hashlib, MessagePack by hand.

    receiver.py KEY USER PASSWORD [CERT KEYFILE CLIENT_CA]

It prints its port, then for each message "tag events compressed"; "denied reason" for each client that it refuses.
An empty KEY means no <security> section.
"""
import gzip
import hashlib
import os
import socket
import ssl
import struct
import sys
import threading

KEY, USER, PASSWORD = (a.encode() for a in sys.argv[1:4])
CONTEXT = None
if len(sys.argv) > 4:
    CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CONTEXT.load_cert_chain(sys.argv[4], sys.argv[5])
    if sys.argv[6]:
        CONTEXT.load_verify_locations(sys.argv[6])
        CONTEXT.verify_mode = ssl.CERT_REQUIRED


def say(*words):
    print(*words, flush=True)


def sha(*parts):
    return hashlib.sha512(b"".join(parts)).hexdigest().encode()


def pack(v):
    if v is True or v is False:
        return b"\xc3" if v else b"\xc2"
    if isinstance(v, list):
        return bytes([0x90 | len(v)]) + b"".join(map(pack, v))
    if isinstance(v, dict):
        return bytes([0x80 | len(v)]) + b"".join(pack(k) + pack(x) for k, x in v.items())
    if isinstance(v, bytearray):
        return bytes([0xC4, len(v)]) + bytes(v)
    return (bytes([0xA0 | len(v)]) if len(v) < 32 else bytes([0xD9, len(v)])) + v


class Unpacker:
    def __init__(self, read):
        self.read = read

    def number(self, form):
        return struct.unpack(">" + form, self.read(struct.calcsize(form)))[0]

    def value(self):
        t = self.read(1)[0]
        if t < 0x80:
            return t
        if t < 0x90:
            return self.map(t & 15)
        if t < 0xA0:
            return [self.value() for _ in range(t & 15)]
        if t < 0xC0:
            return self.read(t & 31)
        if t in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[t]
        if t in (0xC4, 0xD9, 0xC5, 0xDA, 0xC6, 0xDB):
            return self.read(self.number({0xC4: "B", 0xD9: "B", 0xC5: "H", 0xDA: "H", 0xC6: "I", 0xDB: "I"}[t]))
        if t in (0xCC, 0xCD, 0xCE, 0xCF):
            return self.number({0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q"}[t])
        if t == 0xD7:
            return self.read(9)
        if t == 0xDE:
            return self.map(self.number("H"))
        raise ValueError("byte %02x" % t)

    def map(self, n):
        return {k: v for k, v in [(self.value(), self.value()) for _ in range(n)]}


def entries(body):
    at = 0

    def read(n):
        nonlocal at
        at += n
        if at > len(body):
            raise EOFError
        return body[at - n:at]

    u, n = Unpacker(read), 0
    while at < len(body):
        time, record = u.value()
        assert len(time) == 9 and b"log" in record
        n += 1
    return n


def serve(conn):
    if CONTEXT:
        try:
            conn = CONTEXT.wrap_socket(conn, server_side=True)
        except (ssl.SSLError, OSError) as e:
            say("denied", getattr(e, "reason", None) or e)
            return
    stream = conn.makefile("rb")

    def read(n):
        p = stream.read(n)
        if len(p) < n:
            raise EOFError
        return p

    u = Unpacker(read)
    try:
        if KEY:
            nonce, auth = os.urandom(16), os.urandom(16)
            conn.sendall(pack([b"HELO", {b"nonce": bytearray(nonce), b"auth": bytearray(auth), b"keepalive": True}]))
            message, reason = u.value(), b""
            ping, client, salt, key, user, password = message if len(message) == 6 else [b""] * 6
            if ping != b"PING":
                reason = b"invalid ping message"
            elif key != sha(salt, client, nonce, KEY):
                reason = b"shared_key mismatch"
            elif USER and (user, password) != (USER, sha(auth, USER, PASSWORD)):
                reason = b"username/password mismatch"
            if reason:
                conn.sendall(pack([b"PONG", False, reason, b"", b""]))
                say("denied", reason.decode())
                return
            conn.sendall(pack([b"PONG", True, b"", b"python", sha(salt, b"python", nonce, KEY)]))
        while True:
            message = u.value()
            if not isinstance(message, list):  # Fluentd ignores what is no message, and stays
                while stream.read(1):
                    pass
                return
            tag, body, options = message
            form = options.get(b"compressed", b"text").decode()
            if form == "gzip":
                body = gzip.decompress(body)
            n = len(body) if isinstance(body, list) else entries(body)
            say(tag.decode(), n, form)
            conn.sendall(pack({b"ack": options[b"chunk"]}))
    except (EOFError, OSError):
        pass
    finally:
        conn.close()


listener = socket.create_server(("127.0.0.1", 0))
say(listener.getsockname()[1])
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
