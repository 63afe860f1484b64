"""
Steps of type ``chat``: one question to a language model, its answer printed.

`step` executes them; `settings` is what ``llm`` says, evaluated; `providers` knows each provider's dialect, which the modules
`openai`, `anthropic` and `gemini` write and read; `exchange` sends and tries again, `events` takes streams apart. Dialects and
streams do no I/O.
"""
