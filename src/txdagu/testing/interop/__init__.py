"""
The test service of the public gRPC interoperability cases (doc/interop-test-descriptions.md of the gRPC project).

`methods` has its calls, `service` answers them with our server, `foreign` with grpcio's; `program` is either server as a program
of its own, to be killed.
"""
