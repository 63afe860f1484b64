"""
Header blocks (RFC 7541), each encoded and decoded only once for as long as the dynamic table stays as it is.

Calls of one client differ in nothing but their messages: once its headers are in the table, every request has the same
block, and so have the answers. hpack would take each of them apart again, header by header. The same bytes mean the same
headers until the table changes, so a block that left the table alone is remembered, and all are forgotten when it changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpack import Decoder, Encoder, HeaderTuple, HPACKDecodingError
from hpack.table import HeaderTable

from txdagu.wire.metadata import header_list_size

# Clients use a few methods in turn. Larger blocks are rare, and what a peer can make us keep should be little.
BLOCKS_KEPT = 32
LARGEST_KEPT = 256
# And what they stand for, in bytes: few references to large entries of the table make long lists.
LARGEST_LIST_KEPT = 4096
# The most that our encoder remembers, whatever the peer allows: it searches all of it for each header.
HEADER_TABLE_SIZE = 4096
# hpack's Huffman code takes time that grows with the square of a value's length.
LARGEST_HUFFMAN = 512
# RFC 7541 section 4.2 wants at most two; encoders written with hpack tell every change.
_SIZE_UPDATES = 32
# Values that differ from call to call. In the table they would only drive out what is worth keeping.
_NEVER_INDEXED = frozenset({b"grpc-message", b"grpc-timeout", b"grpc-status-details-bin"})


class HeaderBlock(list[Any]):
    """
    Decoded headers, to be read only: the same object is handed out for every repetition of the block.

    `is_plain` is set by the connection, when HTTP/2 itself has nothing to find in them. `meaning` is for its reader, who
    keeps there what the headers mean to him.
    """

    __slots__ = ("is_plain", "meaning")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__(headers)
        self.is_plain = False
        self.meaning: Any = None


class CountingTable(HeaderTable):
    """A dynamic table that counts its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        """Add an entry, perhaps driving out others."""
        self.changes += 1
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        """The size in octets as RFC 7541 section 4.1 counts them."""
        return self._maxsize

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        self.changes += 1
        HeaderTable.maxsize.__set__(self, size)  # type: ignore[attr-defined]  # mypy takes it for a plain attribute


class CachingDecoder(Decoder):
    """A decoder that remembers blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.header_table: CountingTable = CountingTable()
        self._known: dict[bytes, HeaderBlock] = {}
        self._size_updates = 0

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        """The headers of a block, always as raw bytes. Raises what `hpack.Decoder` raises."""
        known = self._known.get(data)
        if known is not None:
            return known
        table = self.header_table
        before = table.changes
        self._size_updates = 0
        headers = HeaderBlock(super().decode(data, raw=True))
        if table.changes != before:
            self._known.clear()
        elif len(data) <= LARGEST_KEPT and header_list_size(headers) <= LARGEST_LIST_KEPT:
            if len(self._known) >= BLOCKS_KEPT:
                self._known.clear()
            self._known[bytes(data)] = headers
        return headers

    def _update_encoding_context(self, data: bytes | memoryview) -> int:
        """A new size of the table. More than a block may have are only there to cost us time."""
        self._size_updates += 1
        if self._size_updates > _SIZE_UPDATES:
            raise HPACKDecodingError(f"more than {_SIZE_UPDATES} table size updates in a block")
        return super()._update_encoding_context(data)


class CachingEncoder(Encoder):
    """
    An encoder that remembers blocks, whose table never grows beyond the default size. It takes names and values in bytes.

    When the peer's limit changes, the last size, and a smaller one that came between, are what RFC 7541 section 4.2 wants to be
    told. hpack would tell all, also those beyond the last limit, and forget them when a peer repeats its setting.
    """

    def __init__(self) -> None:
        super().__init__()
        self.header_table: CountingTable = CountingTable()
        self._known: dict[tuple[Any, ...], bytes] = {}
        self._known_at = 0

    @property
    def header_table_size(self) -> int:
        """The table's size in bytes, as RFC 7541 section 4.1 counts them."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        size = min(value, HEADER_TABLE_SIZE)
        if size == self.header_table.maxsize:
            return
        self.header_table.maxsize = size
        self.header_table.resized = True
        smallest = min([size, *self.table_size_changes])
        self.table_size_changes = [size] if smallest == size else [smallest, size]

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:
        """The block for headers; tuples are the cheapest to look up."""
        key = tuple(headers)
        table = self.header_table
        if table.changes != self._known_at:  # a change of size must be told in the next block
            self._known.clear()
        else:
            known = self._known.get(key)
            if known is not None:
                return known
        before = table.changes
        must_tell = table.resized
        block = super().encode(key, huffman)
        self._known_at = table.changes
        if table.changes != before:
            self._known.clear()
        elif not must_tell and len(block) <= LARGEST_KEPT:
            if len(self._known) >= BLOCKS_KEPT:
                self._known.clear()
            self._known[key] = block
        return block

    def add(self, to_add: tuple[bytes, bytes], sensitive: bool, huffman: bool = False) -> bytes:
        """One header. What changes with every call stays out of the table."""
        varies = to_add[0] in _NEVER_INDEXED and bool(to_add[1])
        return super().add(to_add, sensitive or varies, huffman and len(to_add[1]) <= LARGEST_HUFFMAN)
