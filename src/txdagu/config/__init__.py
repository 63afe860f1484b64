"""
Flags > environment > file > defaults, merged into one frozen `Settings`.

`definitions` is the one table of what can be set: key, type, environment variables, flag, default, meaning. `loading` merges
what was given, with every mistake reported at once and by the place where it was made; `files` reads the two YAML
files, `places` decides where things lie, `values` turns text into typed values, `nearest` finds what a misspelled
word was meant to be, `settings` is the result. All of it is pure: whoever calls it hands in flags, environment and a way to
read a file (`txdagu.cli.settings` does, for the command line and for `twistd` alike).

The names are those of Dagu 1.30.2 and of its documentation, in camelCase and snake_case; label keys keep their case.
"""
