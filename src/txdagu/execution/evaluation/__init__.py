"""
Turns the text of a DAG file into what a program receives. Pure: no files, no clock, no Twisted.

Every text goes through up to five stages, in this order: quoted references, references with a path, plain references
(`references`, with `jsonpath` for the paths), text in backticks (`backticks`, which hands the commands to a callable
of the shell ring), and shell-style expansion of the environment (`expansion`, with `arithmetic`). `Evaluator` in `stages`
knows which fields go through which. `params` merges defaults and overrides, `environment` builds what a step's process
sees, and `outputs` says which outputs a step can see.
"""
