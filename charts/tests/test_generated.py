"""Generated files, compared with their sources: values table, dashboard, names of AWS's regions."""

import ast
import base64
import importlib.util
import json
import re
from xml.etree import ElementTree

import yaml

from chart import CHART, CHARTS, ROOT, compare, helm_template
from values_table import table, undescribed, with_table


def test_the_readme_has_the_table_of_values(update):
    readme = CHART / "README.md"
    compare(readme, with_table(readme.read_text(), (CHART / "values.yaml").read_text()), update)


def test_templates_know_the_defaults(update):
    """Templates cannot read values.yaml, and with --reuse-values Helm does not use it at all."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    header = "# values.yaml without comments (charts/check --update), for templates/_defaults.tpl.\n"
    compare(CHART / "files/defaults.yaml", header + yaml.safe_dump(defaults, sort_keys=False), update)


def test_the_charts_icon_is_the_drawing():
    """A data URL, because the project has no address from which the icon could be fetched."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["icon"] == "data:image/svg+xml;base64," + base64.b64encode((CHARTS / "icon.svg").read_bytes()).decode()
    ElementTree.parse(CHARTS / "icon.svg")


def test_every_value_is_described():
    text = (CHART / "values.yaml").read_text()
    assert not undescribed(text)
    assert table(text).count("\n") > 100


def test_the_dashboards_file_is_what_its_program_writes(update):
    spec = importlib.util.spec_from_file_location("dashboard", CHARTS / "dashboard.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    compare(CHART / "files/dashboard.json", json.dumps(program.dashboard(), indent=2) + "\n", update)


def names_in(block):
    """The names in a list of the Rust source, where one of them is a constant."""
    return ast.literal_eval("[" + block.replace("US_EAST_1", '"us-east-1"') + "]")


def test_aws_names_are_those_that_the_program_knows():
    source = (ROOT / "crates/protocol/src/aws_endpoint.rs").read_text()
    suffixes = dict(re.findall(r'const (\w+): &str = "(amazonaws[a-z.]+)";', source))
    regions = re.search(r"(?s)const REGIONS: .*?= &\[(.*?)\n\];", source)[1]
    listed = {suffixes[suffix]: names_in(block) for suffix, block in re.findall(r"(?s)\((\w+), &\[(.*?)\]\)", regions)}
    chart = yaml.safe_load((CHART / "files/aws-regions.yaml").read_text())
    assert chart["regions"] == listed
    for name, constant in (("fips", "FIPS_REGIONS"), ("dashed", "DASHED_REGIONS")):
        assert chart[name] == names_in(re.search(rf"(?s)const {constant}: .*?= &\[(.*?)\];", source)[1])
    assert chart["global"] == ["s3.amazonaws.com", "s3-external-1.amazonaws.com"]
    assert re.search(r'Form::Global => format!\("s3\.\{suffix\}"\)', source)
    assert re.search(r'Form::External => format!\("s3-external-1\.\{suffix\}"\)', source)


def plain(text):
    """A rendered chart without the lines that name Helm."""
    lines = [line for line in text.splitlines() if not re.match(
        r"# Source: |\s+(helm\.sh/chart|app\.kubernetes\.io/managed-by|app\.kubernetes\.io/instance): ", line)]
    return "\n".join(lines) + "\n"


def test_the_plain_manifests_are_what_the_chart_renders(update):
    folder = ROOT / "deploy/dns-redirection"
    result = helm_template("--skip-tests", "--values", folder / "s3proxy.values")
    assert result.returncode == 0, result.stderr
    header = "# Made from the chart with s3proxy.values (charts/check --update); see README.md.\n"
    compare(folder / "s3proxy.yaml", header + plain(result.stdout), update)
