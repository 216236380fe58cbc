"""Every value set in ci/ passes helm lint, renders as its snapshot, and fits a server's schemas."""

import functools
import re

import kubernetes_validate
import pytest
import yaml

from chart import (CHART, KUBERNETES, ROOT, SNAPSHOTS, TOOLS, VALUE_SETS, compare, container, objects,
                   only, rendered, run, values_file)
from schemas import custom_schemas


def test_there_are_at_least_eight_value_sets_and_both_older_charts_among_them():
    assert len(VALUE_SETS) >= 8
    assert {"intrinsec", "constellation"} <= set(VALUE_SETS)


@pytest.mark.parametrize("name", VALUE_SETS)
def test_it_lints(name):
    result = run(TOOLS / "bin/helm", "lint", "--strict", "--kube-version", KUBERNETES[-1],
                 "--values", values_file(name), CHART)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not [level for level in ("[INFO]", "[WARNING]") if level in result.stdout], result.stdout


@pytest.mark.parametrize("name", VALUE_SETS)
def test_it_renders_as_the_snapshot_has_it(name, update):
    compare(SNAPSHOTS / f"{name}.yaml", rendered(name), update)


def manifests():
    """Manifests for a server: the rendered value sets, and the plain manifests of deploy/."""
    for name in VALUE_SETS:
        yield name, None
    for path in sorted((ROOT / "deploy").rglob("*.yaml")):
        # The files in deploy/compose are for Docker.
        if path.parent.name != "compose":
            yield str(path.relative_to(ROOT)), path


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize(("name", "path"), [pytest.param(*each, id=each[0]) for each in manifests()])
def test_it_fits_the_schemas_of_kubernetes_and_of_custom_resources(name, path, version):
    text = path.read_text() if path else rendered(name, version)
    custom = custom_schemas(TOOLS / "definitions")
    found = objects(text)
    assert found
    for each in found:
        schema = custom.get((each["apiVersion"], each["kind"]))
        where = f'{each["kind"]} {each["metadata"]["name"]}'
        if schema:
            problems = [f"{where}: {'.'.join(map(str, error.path))}: {error.message}" for error in schema.iter_errors(each)]
            assert not problems, problems
        else:
            try:
                kubernetes_validate.validate(each, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                pytest.fail(f"{where}: {'.'.join(map(str, error.path))}: {error.message}")


def test_the_schemas_see_a_misspelt_field():
    custom = custom_schemas(TOOLS / "definitions")
    route = only(objects(rendered("production")), "HTTPRoute")
    route["spec"]["rules"][0]["backendReffs"] = []
    assert list(custom[route["apiVersion"], "HTTPRoute"].iter_errors(route))
    deployment = only(objects(rendered("production")), "Deployment")
    deployment["spec"]["template"]["spec"]["hostAlias"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("name", VALUE_SETS)
def test_names_in_a_namespace_are_unique(name):
    found = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
             for each in objects(rendered(name))]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("name", VALUE_SETS)
def test_environment_variables_stand_there_once_and_the_program_knows_them(name):
    names = [each["name"] for each in container(objects(rendered(name)))["env"]]
    assert len(names) == len(set(names))
    reference = (ROOT / "docs/configuration.md").read_text()
    # The path of the file is the only variable that is not a setting.
    known = set(re.findall(r"`(S3PROXY_[A-Z0-9_]+)`", reference)) | {"S3PROXY_CONFIG"}
    assert {each for each in names if each.startswith("S3PROXY_")} <= known


@pytest.mark.parametrize("name", VALUE_SETS)
def test_secrets_stand_in_secrets_only(name):
    values = yaml.safe_load(values_file(name).read_text())
    secrets = {values.get("awsSecretAccessKey"), *(values.get("config", {}).get(key) for key in
                                                   ("secretKey", "encryptKey", "decryptKeys"))} - {None, ""}
    if values.get("configurationKind") == "Secret":
        secrets.add("an-example-secret")
    for each in objects(rendered(name)):
        if each["kind"] != "Secret":
            assert not [secret for secret in secrets if secret in yaml.safe_dump(each)], each["kind"]


@pytest.mark.parametrize("name", VALUE_SETS)
def test_pods_are_restricted_as_kubernetes_pod_security_has_it(name):
    for each in objects(rendered(name)):
        spec = each.get("spec", {})
        pods = {"Deployment": ["template", "spec"], "Job": ["template", "spec"], "Pod": [],
                "CronJob": ["jobTemplate", "spec", "template", "spec"]}
        if each["kind"] not in pods:
            continue
        pod = functools.reduce(dict.__getitem__, pods[each["kind"]], spec)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in [*pod.get("initContainers", []), *pod["containers"]]:
            assert one["securityContext"]["allowPrivilegeEscalation"] is False
            assert one["securityContext"]["readOnlyRootFilesystem"] is True
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("name", VALUE_SETS)
def test_the_admin_port_is_on_no_service_route_or_ingress_but_its_own(name):
    for each in objects(rendered(name)):
        if each["kind"] == "Service" and not each["metadata"]["name"].endswith("-admin"):
            assert [port["targetPort"] for port in each["spec"]["ports"]] == ["s3"]
        if each["kind"] in ("Ingress", "HTTPRoute", "TLSRoute"):
            assert "admin" not in yaml.safe_dump(each) and "9090" not in yaml.safe_dump(each)


@pytest.mark.parametrize("name", VALUE_SETS)
def test_a_pod_outlives_its_drain(name):
    found = objects(rendered(name))
    environment = {each["name"]: each.get("value") for each in container(found)["env"]}
    drain = sum(int(environment[f"S3PROXY_LISTEN_DRAIN_{part}"].removesuffix("s")) for part in ("DELAY", "TIMEOUT"))
    pod = only(found, "Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= drain + 5


def test_the_versions_of_chart_and_program_are_equal():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    program = re.search(r'(?ms)^\[workspace\.package\]\nversion = "([^"]+)"', (ROOT / "Cargo.toml").read_text())[1]
    assert (chart["version"], chart["appVersion"]) == (program, program)


def test_the_packaged_chart_holds_no_test_values(tmp_path):
    result = run(TOOLS / "bin/helm", "package", CHART, "--destination", tmp_path)
    assert result.returncode == 0, result.stderr
    [package] = tmp_path.glob("*.tgz")
    contents = run("tar", "--list", "--file", package).stdout.splitlines()
    assert "s3proxy/files/dashboard.json" in contents and "s3proxy/values.schema.json" in contents
    assert not [each for each in contents if each.startswith("s3proxy/ci/")]
