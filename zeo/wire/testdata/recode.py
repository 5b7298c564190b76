"""Decode each message on standard input as ZEO's client does, and encode it again.

Lines are an encoding's letter and a frame in hexadecimal; so are the answers.
"""
import sys

from ZEO.asyncio.marshal import decoder, encoder

coders = {c: (decoder(c.encode()), encoder(c.encode(), True)) for c in "ZM"}
for line in sys.stdin:
    letter, frame = line.split()
    decode, encode = coders[letter]
    print(letter, encode(*decode(bytes.fromhex(frame))).hex())
