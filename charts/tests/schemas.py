"""Schemas of custom resources, made from the definitions that their projects publish.

A definition lists the known fields, and a server drops all others. Here another field is an error,
since nobody would notice a dropped one.
"""

import functools
import pathlib

import jsonschema
import yaml

# Operators whose definitions are in no registry: the fields that the chart uses, from their
# documentation.
WRITTEN_DOWN = pathlib.Path(__file__).parent / "definitions.yaml"


class Loader(yaml.CSafeLoader):
    """YAML 1.1 gives `=` a special meaning; in definitions it is a string."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)


def strict(schema):
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: strict(value) if key not in ("enum", "default", "required") else value
           for key, value in schema.items() if not key.startswith("x-") and key != "format"}
    if schema.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
        out["type"] = ["integer", "string"]
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_ended:
        out["additionalProperties"] = False
    if schema.get("nullable") and "type" in out:
        out["type"] = [out["type"], "null"] if isinstance(out["type"], str) else out["type"]
    return out


@functools.cache
def custom_schemas(folder):
    schemas = {}
    for path in [*sorted(pathlib.Path(folder).glob("*.yaml")), WRITTEN_DOWN]:
        for definition in yaml.load_all(path.read_text(), Loader=Loader):
            if not definition or definition.get("kind") != "CustomResourceDefinition":
                continue
            spec = definition["spec"]
            for version in spec["versions"]:
                if not version["served"]:
                    continue
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                key = (f'{spec["group"]}/{version["name"]}', spec["names"]["kind"])
                schemas[key] = jsonschema.Draft7Validator(schema)
    return schemas
