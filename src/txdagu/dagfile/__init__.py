"""
From the text of a DAG file to `txdagu.model.dag.Dag`, without I/O: text in, values out.

`loading` reads documents with positions (`txdagu.yamltree`) and puts DAGs together; `fields` knows the fields by all their
spellings and refuses what is unknown or not supported; `values`, `commands` and `steps` read what stands in the fields; `order`
settles names, ids and dependencies and finds cycles; `cron` checks schedules; `report` collects what is wrong, all of it, with
file, line and column. `definitions` is about the file's other documents: what a worker needs to run one of them, and which
calls name none of them.

Nothing is evaluated: references and backticks stay in the texts until a run starts.
"""

from txdagu.dagfile.definitions import called_at, definition_for, name_in, unknown_children
from txdagu.dagfile.loading import load_dag

__all__ = ["called_at", "definition_for", "load_dag", "name_in", "unknown_children"]
