"""Generate fragments for a hub on a machine of its own: `make test-check TRIES=500`."""

import argparse
import sys
from pathlib import Path

from tests.fuzz.judge import judge
from tests.hub import Hub, build_installer
from tests.machine import Machine


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--tries", type=int, default=500, help="how many fragments")
    parser.add_argument("--seed", type=int, default=0, help="another number: other fragments")
    parser.add_argument("--only", default="", help="a pattern of the settings to generate")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="then try no more")
    parser.add_argument("--installer", type=Path, help="default: built from this checkout")
    options = parser.parse_args()
    with Machine("bookworm") as machine:
        hub = Hub.install(machine, options.installer or build_installer())
        hub.write_fragment("20-everybody.py", "c.Authenticator.allow_all = True\n")
        found = judge(
            hub,
            options.tries,
            seed=options.seed,
            only=options.only,
            timeout_s=options.timeout,
            say=lambda text: print(text, flush=True),
        )
    print(f"{found.tries} tries: {len(found.findings)} findings; reached:")
    for stage, count in found.stages.items():
        print(f"  {count:4} {stage}: {found.seconds[stage] / count:.1f} s each")
    for text, count in found.refusals.most_common():
        print(f"refused {count}x: {text}")
    return 1 if found.findings else 0


if __name__ == "__main__":
    sys.exit(main())
