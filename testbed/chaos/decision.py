"""The only source of randomness of the chaos layer: a hash of what a request is, never of when it came."""

import hashlib
from typing import Final

_BITS: Final = 53  # as many as a float holds without rounding up to 1.0


def draw(seed: int, fault_name: str, identity: str, attempt: int, purpose: str = "") -> float:
    """A number in [0, 1) that depends on the arguments alone.

    It looks uniform over identities, and is the same on every machine, in every Python version, in every order of the
    calls and at any concurrency: nothing is kept from one draw to the next.

    Args:
        seed: Seed of the run.
        fault_name: Name of the fault that decides, so that two faults decide independently of each other.
        identity: What stays the same for the request over runs with the same seed.
        attempt: 1 for the first time this identity is seen, 2 for the next: each retry is decided anew.
        purpose: Tells apart several draws of one fault for one request, for example ``"jitter"``.
    """
    words = f"{seed}\0{fault_name}\0{identity}\0{attempt}\0{purpose}"
    digest = hashlib.blake2b(words.encode(errors="surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _BITS)) / (1 << _BITS)
