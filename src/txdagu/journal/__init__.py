"""
The coordinator's journal on disk: every transition of every task, kept before anybody hears of it.

`durable` is the journal as the coordinator knows it: commits of the reactor's thread are gathered into groups, and one thread
writes a group at a time, with one wait for the disk. `database` reads and writes tables, `schema` says which there are and how
older ones become newer, `rows` turns entries into rows with checksums and back. All SQL there is understood by PostgreSQL too;
what only SQLite knows is in `dialect`. `place` looks at the directory: who holds it, and whether it is on this host at all.
`assembly` puts it together as the settings say; `inspection` reads the journal of a coordinator from outside.
"""
