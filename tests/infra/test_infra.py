"""Everything under infra/ checked without a cluster: keys, types, versions, paths, metric names, shell, YAML style."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
KEYS = yaml.safe_load(Path(__file__).with_name("kuberay_keys.yaml").read_text())
TYPES = {"str": str, "int": int, "bool": bool}
MANIFESTS = sorted((INFRA / "kubernetes").glob("*.yaml"))
SCRIPTS = sorted((INFRA / "slurm").glob("*.sbatch"))
TEXTS = sorted(p for p in INFRA.rglob("*") if p.is_file())


def documents():
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            yield pytest.param(document, id=f"{path.name}:{document['kind']}")


def problems(value, schema, where="spec"):
    """What in ``value`` the key list does not know."""
    if isinstance(schema, str) and schema in KEYS:
        schema = KEYS[schema]
    if schema == "any":
        return []
    if isinstance(schema, str):
        right = type(value) is TYPES[schema]
        return [] if right else [f"{where}: {value!r} is {type(value).__name__}, not {schema}"]
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f"{where}: not a list"]
        return [p for i, v in enumerate(value) for p in problems(v, schema[0], f"{where}[{i}]")]
    if not isinstance(value, dict):
        return [f"{where}: not a mapping"]
    found = []
    for key, inner in value.items():
        if key not in schema and "*" not in schema:
            found.append(f"{where}.{key}: unknown key")
        else:
            found += problems(inner, schema.get(key, schema.get("*")), f"{where}.{key}")
    return found


@pytest.mark.parametrize("document", list(documents()))
def test_manifests_use_known_keys_with_the_right_types(document):
    assert set(document) <= {"apiVersion", "kind", "metadata", "spec"}
    assert problems(document.get("spec", {}), document["kind"]) == []


def test_the_key_check_finds_typos_and_wrong_types():
    job = yaml.safe_load((INFRA / "kubernetes" / "rayjob-human-video.yaml").read_text())["spec"]
    job["rayClusterSpec"]["workerGroupSpecs"][0]["minReplica"] = 1
    job["backoffLimit"] = "3"
    job["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    assert sorted(p.rsplit(":", 1)[0].split("[")[0] for p in problems(job, "RayJob")) == [
        "spec.backoffLimit",
        "spec.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus",
        "spec.rayClusterSpec.workerGroupSpecs",
    ]


def clusters():
    """The job's and the standing cluster, each as it is and with its commented GPU group."""
    out = []
    for with_gpu in (False, True):
        for name in ("rayjob-human-video.yaml", "raycluster.yaml"):
            text = (INFRA / "kubernetes" / name).read_text()
            if with_gpu:
                head, gpu, group, cpu, rest = re.split(r"(# - groupName: gpu|- groupName: cpu)", text)
                text = head + re.sub(r"^( *)# ", r"\1", gpu + group, flags=re.M) + cpu + rest
            spec = yaml.safe_load(text)["spec"]
            out.append(spec.get("rayClusterSpec", spec))
    return out


def test_the_commented_gpu_group_is_a_group_like_the_other_with_a_gpu():
    for cluster in clusters()[2:]:
        assert problems(cluster, "RayCluster") == []
        gpu, cpu = cluster["workerGroupSpecs"]
        limits = [g["template"]["spec"]["containers"][0]["resources"]["limits"] for g in (cpu, gpu)]
        assert ["nvidia.com/gpu" in limit for limit in limits] == [False, True]
        assert gpu["minReplicas"] == 0


def test_hawor_settings_named_beside_gpus_exist():
    from unihand_data.hands.hawor_config import HaworReadSettings, HaworSettings

    used = {m for p in TEXTS for m in re.findall(r"--set hawor\.([a-z_.]+)=", p.read_text())}
    known = set(HaworSettings.model_fields) | {f"read.{f}" for f in HaworReadSettings.model_fields}
    assert {"repo", "python", "read.mano_dir"} <= used <= known


def test_ray_clusters_scale_by_autoscaler_v2_with_an_idle_head_and_token_authentication():
    for cluster in clusters():
        assert cluster["enableInTreeAutoscaling"] is True
        assert cluster["autoscalerOptions"]["version"] == "v2"
        assert cluster["authOptions"] == {"mode": "token"}
        head = cluster["headGroupSpec"]
        assert head["rayStartParams"]["num-cpus"] == "0"
        memory = head["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        assert int(memory.removesuffix("Gi")) >= 5
        for group in [head, *cluster["workerGroupSpecs"]]:
            spec = group["template"]["spec"]
            shm = next(v for v in spec["volumes"] if v["name"] == "shm")["emptyDir"]
            assert shm["medium"] == "Memory"
            store = int(group["rayStartParams"]["object-store-memory"])
            assert store < int(shm["sizeLimit"].removesuffix("Gi")) << 30
            assert spec["securityContext"]["runAsNonRoot"] is True
            for container in spec["containers"]:
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
                assert container["resources"]["requests"] == container["resources"]["limits"]


def test_the_standing_cluster_and_the_jobs_cluster_are_the_same():
    job, standing, job_gpu, standing_gpu = clusters()
    assert job == standing
    assert job_gpu == standing_gpu


def test_metrics_ports_and_labels_fit_together():
    monitor = yaml.safe_load((INFRA / "kubernetes" / "podmonitor.yaml").read_text())["spec"]
    policy = yaml.safe_load((INFRA / "kubernetes" / "networkpolicy.yaml").read_text())["spec"]
    allowed = {p["port"] for rule in policy["ingress"] for p in rule.get("ports", [])}
    for cluster in clusters():
        for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
            labels = group["template"]["metadata"]["labels"]
            assert monitor["selector"]["matchLabels"].items() <= labels.items()
            assert policy["podSelector"]["matchLabels"].items() <= labels.items()
            ports = {p["name"]: p["containerPort"] for p in group["template"]["spec"]["containers"][0]["ports"]}
            assert ports[monitor["podMetricsEndpoints"][0]["port"]] in allowed


@pytest.mark.parametrize("path", sorted((INFRA / "ray").glob("*.yaml")), ids=lambda p: p.name)
def test_cluster_files_pass_rays_own_validation(path):
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(path.read_text())
    validate_config(prepare_config(config))
    with pytest.raises(Exception, match="typo"):
        validate_config(prepare_config({**yaml.safe_load(path.read_text()), "typo": 1}))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_shell_scripts_parse_and_pass_shellcheck(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([str(shellcheck), "-s", "bash", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_yaml_passes_yamllint():
    rules = (
        "{extends: default, rules: {line-length: {max: 140}, document-start: disable, braces: {max-spaces-inside: 1},"
        " comments: {min-spaces-from-content: 1}}}"
    )
    done = subprocess.run(
        [sys.executable, "-m", "yamllint", "-s", "-d", rules, str(INFRA)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_every_version_of_ray_is_the_one_of_the_constraints():
    pinned = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned
    for cluster in clusters():
        assert cluster["rayVersion"] == pinned[1]
    for path in TEXTS:
        for found in re.findall(r"ray[=:@](\d+\.\d+\.\d+)", path.read_text()):
            assert found == pinned[1], path


def test_every_image_is_ours_with_one_tag():
    images = {m for p in TEXTS for m in re.findall(r"image: (\S+)|-t (unihand\S+)", p.read_text())}
    assert {a or b for a, b in images} == {"unihand-data:0.1.0"}


def test_every_path_of_the_repository_that_is_named_exists():
    # Build context paths of the Dockerfile and paths in commands; the image has the repository under /opt/unihand.
    named = re.compile(r"(?:/opt/unihand/)?\b((?:infra|pipelines|packages|benchmarks|docs)/[\w./-]*\w)")
    missing = {
        f"{path.name}: {name}"
        for path in TEXTS
        for name in named.findall(path.read_text())
        if not (ROOT / name).exists()
    }
    assert not missing
    for line in (INFRA / "docker" / "data.Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            assert (ROOT / line.split()[1]).exists(), line


def test_options_given_to_the_pipeline_exist():
    from unihand_data.runner.settings import RunnerSettings

    used = {m for p in TEXTS for m in re.findall(r"runner\.([a-z_]+)", p.read_text())}
    assert used <= set(RunnerSettings.model_fields)
    assert used >= {"elastic", "units_per_part", "num_cpus"}


def test_the_image_runs_without_root_and_has_what_opencv_loads():
    text = (INFRA / "docker" / "data.Dockerfile").read_text()
    assert re.search(r"^USER (?!root)", text, re.M)
    assert {"libgl1", "libegl1", "libgles2", "wget"} <= set(text.split())
    assert "-c constraints.txt" in text
    assert not re.search(r"(?i)(secret|password|token)\s*=", text)


def metric_names(expression: str) -> set[str]:
    """Metrics of ours in a PromQL expression, by their registered names."""
    return {re.sub(r"_(bucket|sum|count)$", "", n) for n in re.findall(r"\bunihand_\w+", expression)}


def test_every_metric_of_dashboard_and_alerts_is_in_the_registry_and_is_used():
    from unihand_data.runner.metrics import METRICS

    board = json.loads((INFRA / "grafana" / "data_job.json").read_text())
    rules = yaml.safe_load((INFRA / "prometheus" / "rules.yml").read_text())
    shown = {n for panel in board["panels"] for t in panel["targets"] for n in metric_names(t["expr"])}
    alerted = {n for g in rules["groups"] for r in g["rules"] for n in metric_names(r["expr"])}
    registered = {m.name for m in METRICS}
    assert shown == registered, "the dashboard shows every metric there is, and no other"
    assert alerted <= registered


def test_labels_in_queries_are_labels_of_the_metric():
    from unihand_data.runner.metrics import METRICS

    labels = {m.name: {*m.labels, "le"} for m in METRICS}
    board = json.loads((INFRA / "grafana" / "data_job.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            for group in re.findall(r"by \(([^)]*)\)", target["expr"]):
                for name in metric_names(target["expr"]):
                    assert {g.strip() for g in group.split(",")} <= labels[name], target["expr"]


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    board = json.loads((INFRA / "grafana" / "data_job.json").read_text())
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"])
    cells = [
        (x, y)
        for g in (p["gridPos"] for p in board["panels"])
        for x in range(g["x"], g["x"] + g["w"])
        for y in range(g["y"], g["y"] + g["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_scrape_configurations_strip_rays_prefix():
    scrape = yaml.safe_load((INFRA / "prometheus" / "prometheus.yml").read_text())
    rule = scrape["scrape_configs"][0]["metric_relabel_configs"][0]
    assert re.sub(rule["regex"], r"\1", "ray_unihand_units_total") == "unihand_units_total"
    assert (INFRA / "prometheus" / scrape["rule_files"][0]).exists()


def test_the_readme_names_every_file():
    text = (INFRA / "README.md").read_text()
    assert {p.name for p in TEXTS if f"{p.parent.name}/{p.name}" not in text} <= {"README.md"}
