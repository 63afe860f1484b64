"""
Steps in containers, by the HTTP API that Docker and Podman speak.

Pure: `address` (where the engine is), `images` (names of images and who may fetch them), `blueprint` (what container a DAG or
step asks for), `multiplexed` (the stream in which an engine sends what a container prints). With Twisted: `transport` (requests,
and why there is no answer), `engine` (the calls of the API), `lifecycle` (a container from its image to its removal), `commands`
(a command run in one), `stopping` (the end that is wanted, passed on), `shared` (the one container of a whole run).
"""
