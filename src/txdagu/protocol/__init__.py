"""
What travels between coordinators, workers and dispatchers: messages, methods, and their conversion to our own values.

`coordinator.proto` is written from the published field tables of Dagu 1.30.2 and its 2.x line, `health.proto` and
`reflection*.proto` from the standard services of gRPC; ``make protocol`` generates ``*_pb2`` from them. `services` names each
method once, for servers and clients; `conversion` turns messages into values of `txdagu.model` and back. Nobody above this
package handles field names of messages for tasks and workers by hand.
"""
