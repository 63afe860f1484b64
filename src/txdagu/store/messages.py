"""Conversations of chat steps, which all attempts of a run share: ``messages/STEP.json`` in the run's directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from txdagu.model.chat import ChatMessage
from txdagu.store.layout import MESSAGES, messages_file_name
from txdagu.store.messagesjson import decode_messages, encode_messages
from txdagu.system.files import make_directories, put_in_place


def write_messages(run_directory: Path, step_name: str, messages: Sequence[ChatMessage]) -> None:
    """Keep a step's conversation, in place of an earlier one."""
    path = run_directory / MESSAGES / messages_file_name(step_name)
    make_directories(path.parent)
    put_in_place(path, encode_messages(messages))


def read_messages(run_directory: Path, step_name: str) -> tuple[ChatMessage, ...]:
    """A step's conversation; empty if there is none that can be read."""
    try:
        return decode_messages((run_directory / MESSAGES / messages_file_name(step_name)).read_bytes())
    except (OSError, ValueError):
        return ()
