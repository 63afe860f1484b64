"""
The coordinator: takes tasks in, gives them to workers that poll, and knows what became of them.

`service` is the Twisted service with its port, registry entry and end in good order. `rpc` answers the calls of
``coordinator.v1.CoordinatorService`` in terms of the dispatch core (`txdagu.dispatch`), with the status codes and
texts of Dagu 1.30.2, `workers` the orders of people for workers; `handover` fills in a task's message for the
worker that gets it. `dispatcher` is the core's hands: commits entries to the journal, wakes the calls that wait,
asks the run store where a peer cannot tell, and ticks when the core wants it. `endings` turns reports into outcomes
and outcomes into run states. `address` finds the name under which others reach us; `naming` draws tokens and
attempts.
"""
