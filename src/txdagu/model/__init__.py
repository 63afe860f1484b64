"""
The words everybody else uses: frozen values and pure functions, without I/O, clock or Twisted.

`labels` what a worker offers and what a task asks for; `health` how a heartbeat's age becomes a word; `ids` names of
runs and how they are made; `status` the numbers a run and a step can end with; `dag` what a file says should happen, with
`conditions`, `policies` (going on, retrying, repeating, lost workers), `container` and `mail` for its parts;
`addresses` hosts and ports; `params` a DAG's params as one text, and `scalars` the text of other values; `run` what
did happen; `task` a piece of work on its way to a worker; `errors` what went wrong, for people.
"""
