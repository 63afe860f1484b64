"""A task's message as the worker gets it."""

from __future__ import annotations

from dataclasses import dataclass

from txdagu.dagfile import for_dagu
from txdagu.dispatch.turn import Offer
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol.conversion import attempt_key, task_to_message


@dataclass(frozen=True, slots=True)
class Owner:
    """The coordinator that keeps a task: its id, and where workers reach it."""

    id: str
    host: str
    port: int


def offered_task(offer: Offer, owner: Owner) -> pb.Task:
    """
    The task with everything a coordinator fills in.

    Peers of the 2.x line acknowledge the token, and want the owner's three fields together; they choose their attempt
    themselves where the attempt fields are empty. Peers of 1.30.2 know none of these, and refuse definitions with words of ours,
    which are left out where meaning allows. Our own get attempt and epoch too.
    """
    message = task_to_message(offer.task)
    message.worker_id = offer.poll.worker_id
    message.claim_token = offer.token
    message.owner_coordinator_id = owner.id
    message.owner_coordinator_host = owner.host
    message.owner_coordinator_port = owner.port
    if offer.confirms:
        message.attempt_id = offer.attempt_id
        message.attempt_key = attempt_key(offer.task.root, offer.task.run, offer.attempt_id)
        message.attempt_name = offer.attempt_name
        message.epoch = offer.epoch
    else:
        message.definition = for_dagu(message.definition)
    return message
