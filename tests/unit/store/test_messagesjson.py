"""The file with a conversation."""

from __future__ import annotations

import json
from unittest import TestCase

from txdagu.model.chat import Answered, ChatMessage
from txdagu.store.layout import messages_file_name
from txdagu.store.messagesjson import decode_messages, encode_messages

TALK = (
    ChatMessage("system", "be kind"),
    ChatMessage("user", "é\n"),
    ChatMessage("assistant", "", Answered("openai", "gpt", 11, 7, 18)),
    ChatMessage("assistant", "x", Answered("local", "m")),
)


class MessagesTests(TestCase):
    def test_as_dagu_writes_it(self) -> None:
        """Keys and indentation are those of Dagu 1.30.2; counts that are not known are left out."""
        data = encode_messages(TALK)
        self.assertTrue(data.startswith(b'[\n  {\n    "role": "system",\n    "content": "be kind"\n  },\n'), data)
        read = json.loads(data)
        self.assertEqual(
            read[2],
            {
                "role": "assistant",
                "content": "",
                "metadata": {
                    "provider": "openai",
                    "model": "gpt",
                    "promptTokens": 11,
                    "completionTokens": 7,
                    "totalTokens": 18,
                },
            },
        )
        self.assertEqual(read[3]["metadata"], {"provider": "local", "model": "m"})

    def test_read_again(self) -> None:
        """What was written is read; what is no such file is an error."""
        self.assertEqual(decode_messages(encode_messages(TALK)), TALK)
        for broken in (b"", b"{", b'{"a": 1}', b'[{"role": 1}]'):
            with self.assertRaises(ValueError):
                decode_messages(broken)

    def test_names(self) -> None:
        """The file is named after its step; a name leads nowhere else."""
        self.assertEqual(messages_file_name("ask me"), "ask me.json")
        self.assertEqual(messages_file_name("../a"), ".._a.json")
