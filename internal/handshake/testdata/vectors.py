#!/usr/bin/env python3
"""Computes vectors.json with nothing but hashlib and bytes packed by hand, from the protocol's text:

    python3 vectors.py > vectors.json

HELO  ["HELO", {"nonce": bin, "auth": bin, "keepalive": bool}]
PING  ["PING", hostname, salt, sha512(salt + hostname + nonce + key), username, sha512(auth + username + password)]
PONG  ["PONG", bool, reason, hostname, sha512(the client's salt + hostname + nonce + key)]
"""
import hashlib
import json


def sha(*parts):
    return hashlib.sha512(b"".join(parts)).hexdigest().encode()


def s(b):  # str
    n = len(b)
    if n < 32:
        return bytes([0xA0 | n]) + b
    if n < 256:
        return bytes([0xD9, n]) + b
    return bytes([0xDA, n >> 8, n & 255]) + b


def binary(b):
    return bytes([0xC4, len(b)]) + b


def boolean(v):
    return b"\xc3" if v else b"\xc2"


def case(name, nonce, auth, keepalive, client, salt, key, user, password, server):
    helo = (b"\x92" + s(b"HELO") + b"\x83" + s(b"nonce") + binary(nonce) + s(b"auth") + binary(auth)
            + s(b"keepalive") + boolean(keepalive))
    keyd = sha(salt, client, nonce, key)
    userd = sha(auth, user, password) if auth else b""
    ping = (b"\x96" + s(b"PING") + s(client) + s(salt) + s(keyd) + s(user if auth else b"") + s(userd))
    pong = b"\x95" + s(b"PONG") + boolean(True) + s(b"") + s(server) + s(sha(salt, server, nonce, key))
    no = b"\x95" + s(b"PONG") + boolean(False) + s(b"shared_key mismatch") + s(b"") + s(b"")
    return {
        "name": name, "nonce": nonce.hex(), "auth": auth.hex(), "keepalive": keepalive, "client": client.decode(),
        "salt": salt.hex(), "key": key.decode(), "user": user.decode(), "password": password.decode(),
        "server": server.decode(), "helo": helo.hex(), "ping": ping.hex(), "pong": pong.hex(), "refusal": no.hex(),
    }


NONCE, AUTH = bytes(range(16)), bytes(range(240, 256))
SALT = b"00112233445566778899aabbccddeeff"
print(json.dumps([
    case("key and users", NONCE, AUTH, True, b"client.example", SALT, b"secret", b"fairlead", b"pass word", b"server.example"),
    case("key alone, auth sent all the same", NONCE, AUTH, True, b"client.example", SALT, b"secret", b"", b"", b"server.example"),
    case("key alone, no auth", NONCE, b"", True, b"client.example", SALT, b"secret", b"unused", b"unused", b"server.example"),
    case("no keepalive", NONCE, AUTH, False, b"c", SALT, b"k", b"u", b"p", b"s"),
    case("long texts, not ASCII", bytes([255] * 16), AUTH, True, b"c" * 60, bytes([0x41] * 16), "schlüssel€".encode(), "jürgen".encode(),
         b"x" * 300, b"s" * 300),
], indent=1))
