"""Container figures of both versions, and of none."""

from pathlib import Path

import pytest

from generation_service.performance.cgroup import Cgroup, CgroupSample


def write(root: Path, **files: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text + "\n")


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    return tmp_path / "membership"


def test_unified_hierarchy_with_limits(tmp_path: Path, membership: Path) -> None:
    membership.write_text("0::/pod/box\n")
    write(tmp_path / "fs", cgroup__controllers="cpu memory")
    write(tmp_path / "fs" / "pod", memory__max="4000", cpu__max="150000 100000")
    write(
        tmp_path / "fs" / "pod" / "box",
        memory__current="1000", memory__max="max", cpu__max="max 100000", cpu__stat="usage_usec 2500000\nnr_periods 3",
    )  # fmt: skip
    assert Cgroup(tmp_path / "fs", membership).read() == CgroupSample(1000, 4000, 2.5, 1.5)


def test_group_named_by_the_host_is_the_mount_itself_inside_a_container(tmp_path: Path, membership: Path) -> None:
    membership.write_text("0::/kubepods/not-visible-here\n")
    write(
        tmp_path / "fs",
        cgroup__controllers="cpu", memory__current="7", memory__max="9", cpu__max="50000 100000", cpu__stat="odd",
    )  # fmt: skip
    assert Cgroup(tmp_path / "fs", membership).read() == CgroupSample(7, 9, None, 0.5)


@pytest.mark.parametrize(
    ("quota", "limit", "expected"),
    [
        ("200000", "4096", CgroupSample(1000, 4096, 3.0, 2.0)),
        ("-1", str(2**63 - 4096), CgroupSample(1000, None, 3.0, None)),
        ("rubbish", "", CgroupSample(1000, None, 3.0, None)),
    ],
)
def test_separate_controllers(tmp_path: Path, membership: Path, quota: str, limit: str, expected: CgroupSample) -> None:
    membership.write_text("4:memory:/box\n2:cpuacct,cpu:/box\n")
    root = tmp_path / "fs"
    write(root / "memory" / "box", memory__usage_in_bytes="1000", memory__limit_in_bytes=limit)
    write(root / "cpu" / "box", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    write(root / "cpuacct" / "box", cpuacct__usage="3000000000")
    assert Cgroup(root, membership).read() == expected


def test_outside_of_any_container_nothing_is_known(tmp_path: Path, membership: Path) -> None:
    assert Cgroup(tmp_path / "nothing", membership).read() == CgroupSample(None, None, None, None)
