"""The local cluster's own logic: names, networks, start order, messages. Starting real ones is for the higher tiers."""

import json
import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509

from localcluster import build, configs, folders, packages, pki, sandbox
from localcluster.components import components
from localcluster.errors import LocalClusterError
from localcluster.plan import FAST_HPA, HpaTiming, Plan, Shape, load, ports
from localcluster.shell import run


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path


def make_plan(state: Path, shape: Shape = Shape.NODE, slot: int = 7) -> Plan:
    return Plan("dev", shape, state, state / "bin", slot, ports(shape))


@pytest.mark.parametrize("name", ["", "1st", "UPPER", "has_underscore", "a" * 21, "dots.in.it", "../up"])
def test_unusable_cluster_name_is_refused(name: str) -> None:
    with pytest.raises(LocalClusterError, match=r"cluster name .* is not usable"):
        folders.state(name)


def test_state_folder_too_deep_for_unix_sockets_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ("d" * 60)))
    with pytest.raises(LocalClusterError, match="set XDG_CACHE_HOME to a shorter folder"):
        folders.state("dev")


def test_too_little_disk_space_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LocalClusterError, match=r"1e\+09 GB are needed below .* make room"):
        folders.require_space(tmp_path, 1e9)


def test_missing_packages_are_named_and_not_installed_when_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALCLUSTER_APT", "0")
    said: list[str] = []
    with pytest.raises(LocalClusterError, match="missing packages: no-such-package; LOCALCLUSTER_APT=0 forbids"):
        packages.ensure({"no-such-command-here": "no-such-package"}, said.append)
    assert said == []


def test_nothing_is_installed_when_nothing_is_missing() -> None:
    said: list[str] = []
    packages.ensure({sys.executable: "python3", "sh": "dash"}, said.append)
    assert said == []


def test_missing_command_is_one_sentence() -> None:
    with pytest.raises(LocalClusterError, match="the command 'no-such-command' is missing on this machine"):
        run(["no-such-command"])


def test_failed_command_shows_its_last_lines() -> None:
    with pytest.raises(LocalClusterError, match=r"exit code 3: two / three"):
        run(["sh", "-c", "echo two >&2; echo three >&2; exit 3"])


@pytest.mark.parametrize("shape", [Shape.NODE, Shape.KWOK])
def test_every_component_starts_after_known_components(tmp_path: Path, shape: Shape) -> None:
    seen: set[str] = set()
    for component in components(make_plan(tmp_path, shape), build.Binaries(tmp_path)):
        assert set(component.after) <= seen
        seen.add(component.name)
    assert "kube-controller-manager" in seen
    assert ("kubelet" in seen) == (shape is Shape.NODE)


def test_hpa_timing_reaches_the_controller_manager(tmp_path: Path) -> None:
    plan = Plan("dev", Shape.KWOK, tmp_path, tmp_path, 1, ports(Shape.KWOK), FAST_HPA)
    [manager] = [c for c in components(plan, build.Binaries(tmp_path)) if c.name == "kube-controller-manager"]
    assert "--horizontal-pod-autoscaler-sync-period=1s" in manager.argv
    assert HpaTiming().sync_period == 15, "Kubernetes' own default stays the default"


def test_simulated_pods_are_on_this_machine(tmp_path: Path) -> None:
    networks = [ip_network(Plan("dev", Shape.KWOK, tmp_path, tmp_path, slot, {}).pod_network) for slot in (1, 2)]
    assert all(network.is_loopback for network in networks)
    assert not networks[0].overlaps(networks[1])


def test_two_clusters_share_no_network_and_no_port(tmp_path: Path) -> None:
    first, second = (make_plan(tmp_path / str(slot), Shape.NODE, slot) for slot in (1, 2))
    for aspect in ("address", "service_network", "pod_network", "link", "dns_address"):
        assert getattr(first, aspect) != getattr(second, aspect)
    rootless = ports(Shape.KWOK)
    assert len(set(rootless.values())) == len(rootless)


def test_free_slot_skips_those_that_other_clusters_hold(tmp_path: Path) -> None:
    before = sandbox.free_slot(tmp_path / "clusters")
    make_plan(tmp_path / "clusters" / "a", slot=before).save()
    assert sandbox.free_slot(tmp_path / "clusters") != before


def test_plan_survives_a_round_trip(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    plan.save()
    assert load(tmp_path) == plan


def test_unknown_cluster_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(LocalClusterError, match="start it with `up --name nowhere`"):
        load(tmp_path / "nowhere")


def test_reused_pid_is_never_taken_for_ours(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, Shape.KWOK)
    (tmp_path / "supervisor.pid").write_text(f"{os.getpid()} 1")  # our pid, somebody else's start time
    assert not sandbox.is_alive(plan)
    sandbox.end(plan)  # and so this test survives


def test_kubebuilder_assets_are_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "etcd").write_text("#!/bin/sh\n")
    (assets / "etcd").chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    binaries = build.Binaries(tmp_path / "built")
    assert binaries.path("etcd") == assets / "etcd"
    assert binaries.path("kubelet") == tmp_path / "built" / "kubelet"


def test_version_set_is_in_the_folder_name() -> None:
    assert build.KUBERNETES_VERSION in build.folder().name
    assert not build.is_built()


def test_certificates_carry_names_and_groups(tmp_path: Path) -> None:
    pki.create(tmp_path, server="https://127.0.0.1:1", addresses=["127.0.0.1"], names=["kubernetes.default.svc"])
    kubelet, serving = (
        x509.load_pem_x509_certificate((tmp_path / f"{name}.crt").read_bytes()) for name in ("kubelet", "apiserver")
    )
    assert kubelet.subject.rfc4514_string() == "O=system:nodes,CN=system:node:node-1"
    names = serving.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes.default.svc"]
    assert (tmp_path / "admin.key").stat().st_mode & 0o077 == 0
    assert json.loads((tmp_path / "admin.kubeconfig").read_text())["current-context"] == "localcluster"


def test_node_configuration_stays_in_the_state_folder(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    configs.write(plan, build.Binaries(tmp_path))
    kubelet = (tmp_path / "kubelet.yaml").read_text()
    assert f"unix://{tmp_path}/run/containerd.sock" in kubelet
    assert "/var/lib" not in kubelet + (tmp_path / "containerd.toml").read_text()


def test_command_line_ends_with_one_sentence_and_exit_code_1(own_cache: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "localcluster", "env", "--name", "1st"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(own_cache)},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("localcluster: cluster name '1st' is not usable")
    assert "Traceback" not in done.stderr
