"""
From the text of a DAG file to `txdagu.model.dag.Dag`, without I/O: text in, values out.

`language` is the table of all fields of DAGs and steps, `steptypes` that of step types; `fields` says what a definition is, by
which spellings a field is known, and refuses what is unknown; `schema` makes a JSON Schema of the table, from
the `shapes` that values have.

`loading` reads documents with positions (`txdagu.yamltree`) and puts DAGs together, and `base` lays them over the base
configuration. `values`, `commands`, `conditions`, `policies`, `mail`, `secrets`, `parallel`, `containers` and `settings` read
what stands in the fields; `stepfields` one step, `steptype` its type, `steps` the list of them, `handlers` those that run at
certain points of a run. `order` settles names, ids and dependencies and finds cycles; `cron` checks schedules; `report` collects
what is wrong, all of it, with file, line, column and path of keys. `definitions` is about the file's other documents: what a
worker needs to run one of them, and which calls name none of them. `dialect` knows which words are ours alone.

Nothing is evaluated: references and backticks stay in the texts until a run starts.
"""

from txdagu.dagfile.base import BaseConfiguration
from txdagu.dagfile.definitions import called_at, definition_for, name_in, unknown_children
from txdagu.dagfile.dialect import beyond_dagu, for_dagu
from txdagu.dagfile.loading import load_dag

__all__ = [
    "BaseConfiguration",
    "beyond_dagu",
    "called_at",
    "definition_for",
    "for_dagu",
    "load_dag",
    "name_in",
    "unknown_children",
]
