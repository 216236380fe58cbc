"""Tools, value sets and rendering with Helm, for all checks of the chart."""

import functools
import os
import pathlib
import shutil
import subprocess

import yaml

CHARTS = pathlib.Path(__file__).parent.parent
ROOT = CHARTS.parent
CHART = CHARTS / "s3proxy"
SNAPSHOTS = CHARTS / "snapshots"
TOOLS = pathlib.Path(os.environ.get("S3PROXY_TEST_DIR", ROOT / ".work")) / "chart-tools"
# The three latest minor versions when the chart was written.
KUBERNETES = ["1.35.0", "1.36.0", "1.37.0"]
VALUE_SETS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*.yaml"))


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)


def values_file(name):
    return CHART / "ci" / f"{name}-values.yaml"


def helm_template(*arguments, version=KUBERNETES[-1], stdin=None):
    return run(TOOLS / "bin/helm", "template", "s3proxy", CHART, "--namespace", "storage",
               "--kube-version", version, *arguments, input=stdin)


@functools.cache
def rendered(name, version=KUBERNETES[-1]):
    result = helm_template("--values", values_file(name), version=version)
    assert result.returncode == 0, result.stderr
    return result.stdout


def with_chart_values(folder, values, *arguments, further=None):
    """Renders a copy of the chart with other default values, as `helm upgrade --reuse-values` does.
    `further` are additional templates."""
    copy = folder / "s3proxy"
    shutil.copytree(CHART, copy, dirs_exist_ok=True)
    if values is not None:
        (copy / "values.yaml").write_text(values)
    for name, text in (further or {}).items():
        (copy / "templates" / name).write_text(text)
    return run(TOOLS / "bin/helm", "template", "s3proxy", copy, "--namespace", "storage",
               "--kube-version", KUBERNETES[-1], *arguments)


def notes(folder, *arguments):
    """The text that `helm install` prints at the end: `helm template` has no option for it."""
    shutil.copytree(CHART, folder / "s3proxy", dirs_exist_ok=True)
    shutil.copyfile(CHART / "templates/NOTES.txt", folder / "s3proxy/notes")
    printer = '{{ dict "kind" "Notes" "metadata" (dict "name" "notes") "text" (tpl (.Files.Get "notes") .) | toYaml }}\n'
    result = with_chart_values(folder, None, *arguments, further={"notes.yaml": printer})
    assert result.returncode == 0, result.stderr
    return only(objects(result.stdout), "Notes")["text"]


def objects(text):
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def render(values):
    """The objects for a mapping of values; fails if the chart refuses them."""
    result = helm_template("--values", "-", stdin=yaml.safe_dump(values))
    assert result.returncode == 0, result.stderr
    return objects(result.stdout)


def only(found, kind, name=None):
    matching = [each for each in found if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    assert len(matching) == 1, [(each["kind"], each["metadata"]["name"]) for each in found]
    return matching[0]


def container(found):
    return only(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]


def compare(path, text, update):
    """Compares a generated file with its expected text; with --update, writes the text."""
    if update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.exists() and path.read_text() == text, f"{path.relative_to(ROOT)} is not current: charts/check --update"
