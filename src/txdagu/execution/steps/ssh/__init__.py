"""
Steps of type ``ssh``: commands on another host.

`words` says what is sent for a command, `target` where to, `known_hosts` whose key is trusted there and `identities` who we are.
`transport`, `authentication`, `session` and `client` stand on Twisted Conch, and are imported only by a step of that type.
"""
