"""Random losses, duplicates, foreign messages and damage of split files, and what joining makes of them.

`python -m tests.properties.message_losses --count 10000` prints how often each outcome came.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter

from onedc.errors import FormatError
from onedc.messages import join, split


def outcome(rng: random.Random) -> str:
    """Lose, double, shuffle and mix the messages of one random file; say what came of it.

    Losses of up to as many messages as there is parity must be repaired, whichever they are.
    """
    data = b"\x1d\xb5" + rng.randbytes(rng.randrange(3, 400))
    size, parity = rng.randrange(40, 160), rng.randrange(4)
    messages = split(data, size, parity=parity)
    lost = rng.sample(range(len(messages)), rng.randrange(len(messages)))
    if parity and rng.random() < 0.5:
        lost = lost[:parity]
    came = [message for number, message in enumerate(messages) if number not in lost]
    came += rng.choices(came, k=rng.randrange(3))
    foreign = rng.random() < 0.2 and len(came) > 1
    if foreign:
        came.append(
            bytes([messages[0][0] & 0xF0 | rng.randrange(len(messages)), rng.randrange(256)]) + came[0][2:]
        )
    rng.shuffle(came)
    enough = len(set(lost)) <= parity
    kind = f"{'repairable' if enough else 'too many lost'}{', a foreign one beside' if foreign else ''}"
    try:
        joined = join(came)
    except FormatError:
        assert foreign or not enough
        return f"{kind}: refused"
    if joined.whole and joined.data == data:
        return f"{kind}: whole"
    assert foreign or not enough, (lost, parity)
    if joined.whole:
        return f"{kind}: wrong file, which meets the file's own checksum"
    if data.startswith(joined.data):
        return f"{kind}: the part before the first hole, named as such"
    return f"{kind}: a wrong part, named as partial"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    outcomes = Counter(outcome(rng) for _ in range(args.count))
    for name, count in sorted(outcomes.items()):
        print(f"{count:7}  {name}")


if __name__ == "__main__":
    main()
