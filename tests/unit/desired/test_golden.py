"""Every builder against the manifests a person has read."""

from unit.desired.regenerate_golden import GOLDEN, golden


def test_builders_give_exactly_the_golden_manifests() -> None:
    on_disk = {path.name: path.read_text() for path in GOLDEN.glob("*.yaml")}
    assert golden() == on_disk, "if the change is meant: python tests/unit/desired/regenerate_golden.py"
