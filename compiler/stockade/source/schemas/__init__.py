"""The JSON Schemas (2020-12) of every kind of policy file, generated from the model's own tables.

`python -m stockade.source.schemas` writes them beside this module, from where the loader and editors read them; a test
holds the written files against what is generated here.
"""

from __future__ import annotations

import json

from stockade.source.schemas.container import container, groups
from stockade.source.schemas.host import host
from stockade.source.schemas.promise import action, expectation, promise, waiver

__all__ = ["KINDS", "generated"]

KINDS = {
    "host": host,
    "container": container,
    "groups": groups,
    "promise": promise,
    "waiver": waiver,
    "action": action,
    "expectation": expectation,
}


def generated() -> dict[str, str]:
    """File name -> content of every schema."""
    result = {}
    for kind, build in KINDS.items():
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"stockade:{kind}", **build()}
        result[f"{kind}.schema.json"] = json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return result
