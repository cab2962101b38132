"""How long a LoRa packet is on the air.

    python examples/lora_airtime.py --bytes 178 --sf 11 --bandwidth 250 --coding-rate 5 --preamble 16

Explicit header and checksum, as mesh radios use. Source: Semtech, SX1276 datasheet, section 4.1.1.7.
"""

from __future__ import annotations

import argparse
from math import ceil


def airtime_s(packet_bytes: int, *, sf: int, bandwidth_khz: float, coding_rate: int, preamble: int) -> float:
    """Seconds of one packet.

    Args:
        packet_bytes: all bytes of the packet, those of the mesh's own header too.
        sf: spreading factor, 7 to 12.
        coding_rate: 5 to 8, for 4/5 to 4/8.
        preamble: symbols.
    """
    symbol_s = 2**sf / (1000 * bandwidth_khz)
    bits = sf - 2 * (symbol_s > 0.016)  # long symbols carry two bits less
    blocks = ceil((8 * packet_bytes - 4 * sf + 28 + 16) / (4 * bits))
    return (preamble + 4.25 + 8 + max(blocks, 0) * coding_rate) * symbol_s


def main() -> None:
    """Print the seconds of one packet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bytes", type=int, required=True, help="of the whole packet")
    parser.add_argument("--sf", type=int, required=True, choices=range(7, 13), help="spreading factor")
    parser.add_argument("--bandwidth", type=float, required=True, help="kHz")
    parser.add_argument("--coding-rate", type=int, default=5, choices=range(5, 9), help="5 for 4/5")
    parser.add_argument("--preamble", type=int, default=8, help="symbols")
    args = parser.parse_args()
    radio = {"sf": args.sf, "coding_rate": args.coding_rate, "preamble": args.preamble}
    print(f"{airtime_s(args.bytes, bandwidth_khz=args.bandwidth, **radio):.2f} s")


if __name__ == "__main__":
    main()
