"""Secrets: where their values come from."""

from __future__ import annotations

from txdagu.dagfile.fields import Field, Fields, Level, type_name
from txdagu.dagfile.shapes import TEXT, TEXT_MAP, list_of
from txdagu.model.dag import Secret

SECRET = Level(
    "secret",
    "secret",
    (
        Field("name", TEXT, "The variable that takes the value."),
        Field("provider", TEXT, "`env`: an environment variable; `file`: the content of a file."),
        Field("key", TEXT, "The environment variable's name, or the file's."),
        Field("options", TEXT_MAP, "Options of the provider."),
    ),
    required=("name", "provider", "key"),
)
SECRETS = list_of(SECRET.reference)


def read_secrets(fields: Fields) -> tuple[Secret, ...]:
    """The secrets in their order; name, provider and key must be there, and no name twice."""
    node = fields.node("secrets")
    if node is None:
        return ()
    if not isinstance(node.value, list):
        message = f"source data must be an array or slice, got {type_name(node)}"
        fields.problem("secrets", message, "begin each secret with '- name:'")
        return ()
    found: dict[str, Secret] = {}
    for index, item in enumerate(node.value):
        if not isinstance(item.value, dict):
            fields.report.field("secrets", f"a secret must be a map, got {type_name(item)}", item)
            continue
        own = Fields(item, SECRET, fields.report, f"secrets[{index}].")
        texts = {name: own.text(name) for name in SECRET.required}
        for name, text in texts.items():
            if not text and (name not in own or isinstance(own.at(name).value, str)):
                fields.report.field("secrets", f"secret at index {index}: '{name}' field is required", own.at(name))
        secret = Secret(texts["name"], texts["provider"], texts["key"], _options(own))
        if secret.name and secret.name in found:
            fields.report.field("secrets", f'duplicate secret name "{secret.name}"', own.at("name"))
        found.setdefault(secret.name, secret)
    return tuple(found.values())


def _options(fields: Fields) -> dict[str, str]:
    node = fields.node("options")
    if node is None:
        return {}
    if not isinstance(node.value, dict):
        fields.wrong_type("options", "map")
        return {}
    for key, value in node.value.items():
        if not isinstance(value.value, str | None):
            message = f"expected type 'string', got unconvertible type '{type_name(value)}'"
            fields.report.field(f"{fields.path}options.{key}", message, value, f'write "{value.text}"')
    return {key: value.value for key, value in node.value.items() if isinstance(value.value, str)}
