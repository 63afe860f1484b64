"""
One file per kind of step; each is a coroutine that takes a `context.StepContext` and returns a `plan.StepEnd`.

`dispatch` finds the one for a step: `command` for commands and scripts, `child` for runs of other DAGs (`remote` where those
run on a worker), and for all other types a plugin: `interfaces` says what that is, `plugin` makes one of a function,
`registry` finds it by name. Ours are `http` (with `body`), `jq`, `archive`, `mail` and `python`;
``twisted/plugins/dagu_step_types.py`` lists them. `config` reads a step's options.

What may block for long or for ever is done by programs of our own (`programs`, which tell results by `exchange`): `jq_program`,
`python_program`, the package `archiving`. `gojson` is JSON in Dagu's form.
"""
