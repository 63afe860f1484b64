"""
Traces of runs, sent to a collector by OTLP when ``otel`` asks for it.

`context` names traces and spans, `settings` is what ``otel`` says, evaluated; `tracing` is what one run knows of both. When the
run has ended, `spans` makes one message of its final state, and `export` sends it, over a channel of our own or as an HTTP
request. Nothing waits for that but who asks `export.Exports` to.
"""
