"""
Traces of runs, sent to a collector by OTLP when ``otel`` asks for it.

`context` names traces and spans, `settings` is what ``otel`` says, evaluated; `tracing` is what one run knows of both. When the
run has ended, `export` has it sent: `spans` makes one message of its final state, `sending` sends that, over a channel of our own
or as an HTTP request. Nothing waits for that but who asks `export.Exports` to.
"""
