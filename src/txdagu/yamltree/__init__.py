"""
YAML text as a tree in which every key and value knows its line and column.

`parse` reads a text of one or several documents and collects everything that is wrong with it into one
`InvalidInputError` whose problems point at ``file:line:column``. A `Node` holds a mapping, a list or a scalar; `plain`
drops the positions, `where` writes one. `parse_documents` gives each document's own text in addition.

Scalars are read as Dagu 1.30.2 reads them, which is YAML 1.2 with a few older habits: see `txdagu.yamltree.scalars`.
`scalar_text` is what such a value becomes as a param or in the environment, `label_text` as a worker's label.
"""

from txdagu.model.scalars import scalar_text
from txdagu.yamltree.node import Node, Position, label_text, plain, where
from txdagu.yamltree.parser import Document, parse, parse_documents

__all__ = [
    "Document",
    "Node",
    "Position",
    "label_text",
    "parse",
    "parse_documents",
    "plain",
    "scalar_text",
    "where",
]
