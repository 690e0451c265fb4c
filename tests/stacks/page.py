"""The stack that docs/how-to/write-a-stack.md makes."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/how-to/write-a-stack.md"
MODULE = "littlest_hub_greeting"


def code_of_page() -> dict[str, str]:
    """Return the files that the how-to makes, with the page that it adds."""
    text = PAGE.read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    manifest, *additions = (each for each in blocks if "MANIFEST = Manifest(" in each)
    lines = [each.partition("and:\n")[2].rstrip().removesuffix(")") for each in additions]
    fragment = next(each for each in blocks if 'GREETING = "Hello"' in each)
    service = next(each for each in blocks if "stack_service" in each)
    return {
        f"{MODULE}/__init__.py": f"{manifest.rstrip().removesuffix(')')}{''.join(lines)})\n",
        f"{MODULE}/units.py": next(each for each in blocks if "def units(" in each),
        f"{MODULE}/pages.py": next(each for each in blocks if "class Page(" in each),
        f"{MODULE}/probes.py": next(each for each in blocks if "Finding(" in each),
        f"{MODULE}/fragments/60-greeting.py": f"{fragment}\n{service}",
    }
