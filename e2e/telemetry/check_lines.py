"""Checks lines of JSON against a schema; runs in a separate virtual environment."""

import argparse
import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("schema", type=Path)
    parser.add_argument("lines", type=Path)
    options = parser.parse_args()
    schema = json.loads(options.schema.read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    wrong = 0
    for number, line in enumerate(options.lines.read_text().splitlines(), start=1):
        for error in validator.iter_errors(json.loads(line)):
            wrong += 1
            print(f"line {number}: {error.json_path}: {error.message}\n  {line}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
