"""Reads [{"public_key", "headers", "body"}] from standard input, and says of each message whether one of its `v1a`
signatures is by the private half of that key, as PyPI's `cryptography` judges it."""

import base64
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

for message in json.load(sys.stdin):
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(message["public_key"].removeprefix("whpk_")))
    headers = message["headers"]
    signed = f'{headers["webhook-id"]}.{headers["webhook-timestamp"]}.{message["body"]}'.encode()
    verdict = "refused"
    for signature in headers["webhook-signature"].split():
        scheme, _, encoded = signature.partition(",")
        if scheme != "v1a":
            continue
        try:
            key.verify(base64.b64decode(encoded), signed)
            verdict = "verified"
        except InvalidSignature:
            pass
    print(verdict)
