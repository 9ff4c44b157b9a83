"""Manifests as text that an API server reads as YAML.

Server-side apply takes YAML alone. JSON is nearly YAML, but not where it spells a character beyond the basic plane as
two escapes, and not with raw control characters: one emoji in an environment variable, and nothing could be applied.
"""

import json
import re
from typing import Final

from generation_operator.api.kinds import Manifest

# What YAML forbids raw, or takes for the end of a line; all in the basic plane, so one escape each.
_ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def yaml_text(manifest: Manifest) -> str:
    """The manifest as JSON that is YAML, too."""
    text = json.dumps(manifest, ensure_ascii=False, separators=(",", ":"))
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
