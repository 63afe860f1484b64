"""
Why a run is where it is, and where a DAG would run.

`situation` gathers the facts about a run from its files, the queues and the coordinators; `account` puts them into sentences and
`document` into fields, both pure. `outlook` does the same for a DAG that has not begun: where each of its steps would run now.
"""
