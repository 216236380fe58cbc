"""The chart's values as a table, made from values.yaml: a comment that begins with `--` describes
the value below it, with all nested values that have no comment of their own."""

import json
import re

import yaml

BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"


def described(text):
    """Paths with their descriptions, in the file's order."""
    stack, pending, rows = [], None, []
    for line in text.splitlines():
        if match := re.match(r"\s*# -- (.*)$", line):
            pending = match[1]
            continue
        match = re.match(r"( *)([A-Za-z0-9_]+):", line)
        if not match:
            pending = None if not line.strip().startswith("#") else pending
            continue
        depth = len(match[1]) // 2
        stack[depth:] = [match[2]]
        if pending:
            rows.append((".".join(stack), pending))
            pending = None
    return rows


def lookup(values, path):
    for key in path.split("."):
        values = values[key]
    return values


def undescribed(text):
    """Values without a description of their own or of a value that contains them."""
    paths = {path for path, _ in described(text)}

    def walk(value, path):
        if path in paths and not any(each.startswith(f"{path}.") for each in paths):
            return
        if isinstance(value, dict) and value:
            for key, below in value.items():
                yield from walk(below, f"{path}.{key}" if path else key)
        elif path not in paths:
            yield path

    return list(walk(yaml.safe_load(text), ""))


def table(text):
    values = yaml.safe_load(text)
    rows = ["| value | default | |", "|---|---|---|"]
    for path, description in described(text):
        default = json.dumps(lookup(values, path), ensure_ascii=False)
        default = default if len(default) <= 60 else "see values.yaml"
        code = f"`{default}`" if default != "see values.yaml" else default
        rows.append(f"| `{path}` | {code} | {description} |")
    return "\n".join(rows) + "\n"


def with_table(readme, text):
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{table(text)}\n{END}{after}"
